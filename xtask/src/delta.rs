//! `cargo xtask bench delta`: patches between versions of real software, by `tiding` and by others in the same run.
//!
//! Every patch is applied by another process, in a directory that has nothing but the old file and the patch, and what it makes is
//! compared byte by byte: a patch that does not come back is a failure and no figure. Which pairs there are stands in
//! `bench/delta/pairs.tsv`; `bench/delta/fetch` fetches them. No part of CI.

mod arguments;
mod degenerate;
mod measured;
mod pairs;
mod records;
mod sameness;
mod table;
mod tools;

use crate::step::{self, cargo};
use anyhow::{Context, Result, bail, ensure};
use arguments::{Arguments, Wish};
use measured::Spent;
pub(crate) use measured::measured;
use records::{Outcome, Record};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use tools::{Form, Tool};

/// `cargo xtask bench delta [PAIR ...] [...]`; see [`arguments::HELP`].
pub(crate) fn run(words: &[String]) -> Result<()> {
    match arguments::parse(words)? {
        Wish::Help => print!("{}", arguments::HELP),
        Wish::Show(files, arguments) => {
            let read = |file: &PathBuf| fs::read_to_string(file).with_context(|| format!("reading {}", file.display()));
            let text = files.iter().map(read).collect::<Result<String>>()?;
            return conclude(&arguments, &records::read_all(&text)?);
        }
        Wish::Degenerate(binary) => return degenerate::run(&binary.map_or_else(build, Ok)?),
        Wish::Measure(arguments) => return conclude(&arguments, &measure(&arguments)?),
    }
    Ok(())
}

/// Prints the tables of what was measured; an error when a patch did not come back.
fn conclude(arguments: &Arguments, records: &[Record]) -> Result<()> {
    let text = table::all(&arguments.pairs, records);
    print!("{text}");
    if let Some(file) = &arguments.out {
        table::write(file, arguments.set, &text)?;
    }
    let failed: Vec<_> = records.iter().filter_map(Record::failure).collect();
    ensure!(failed.is_empty(), "not every patch came back:\n{}", failed.join("\n"));
    Ok(())
}

/// Every pair by every tool that is here, as many times as was asked for.
fn measure(arguments: &Arguments) -> Result<Vec<Record>> {
    let binary = arguments.binary.clone().map_or_else(build, Ok)?;
    let tools: Vec<Tool> = tools::present(&binary).into_iter().filter(|tool| arguments.wants(tool.name)).collect();
    let itself = program_itself(&binary)?;
    let file = step::target().join("bench-delta.jsonl");
    fs::create_dir_all(step::target())?;
    let mut kept = File::create(&file).with_context(|| format!("making {}", file.display()))?;
    let mut records = Vec::new();
    for pair in &arguments.pairs {
        let files = pair.files(&arguments.corpus)?;
        eprintln!("\n=== {}: {} to {}", pair.name, pair.old, pair.new);
        for _ in 0..arguments.runs {
            for tool in &tools {
                let outcome = one(tool, &pair.name, &files)?;
                let record = Record::new(pair, tool, files.new_len, itself, outcome);
                eprintln!("    {}", record.in_short());
                writeln!(kept, "{}", record.line()).with_context(|| format!("writing {}", file.display()))?;
                records.push(record);
            }
        }
    }
    eprintln!("\n=== every run is in {}; `--from` makes the tables again", file.display());
    Ok(records)
}

fn build() -> Result<PathBuf> {
    step::run("release build", cargo(["build", "--release", "--package", "tiding-cli"]))?;
    Ok(step::release_binary())
}

/// What memory the program takes that has nothing to do, which is no part of what a patch takes.
fn program_itself(binary: &Path) -> Result<u64> {
    let words = [binary.to_string_lossy().into_owned(), "--version".into()];
    let (spent, _) = measured::run(Path::new("."), &words)?.map_err(anyhow::Error::msg)?;
    Ok(spent.memory)
}

/// What a pair consists of, on this machine.
struct Files {
    old: PathBuf,
    new: PathBuf,
    /// Where a pair is two trees.
    trees: Option<(PathBuf, PathBuf)>,
    new_len: u64,
}

/// Applying is over soon and its time is noisy: it is done so often, but not for much longer than so many processor seconds.
const APPLIES: usize = 7;
const ENOUGH: f64 = 3.0;

/// A patch by one tool, applied where there is nothing else, and compared.
fn one(tool: &Tool, pair: &str, files: &Files) -> Result<Outcome> {
    let (form, old, new) = match &files.trees {
        Some((old, new)) if tool.takes_trees => (Form::Tree, old, new),
        _ => (Form::File, &files.old, &files.new),
    };
    let here = Room::new(pair)?;
    let patch = here.0.join("patch");
    let diff = tool.diff(&old.to_string_lossy(), &new.to_string_lossy(), &patch.to_string_lossy());
    let made = match measured::run(&here.0, &diff)? {
        Ok((spent, _)) => spent,
        Err(said) if said.contains("is a directory") => return Ok(Outcome::NotBuilt),
        Err(said) => return Ok(Outcome::Failed(format!("no patch: {said}"))),
    };
    let bytes = fs::metadata(&patch).with_context(|| format!("{} wrote no patch", tool.name))?.len();
    let there = Room::new(pair)?;
    copy(old, &there.0.join("old"), form)?;
    fs::rename(&patch, there.0.join("patch")).context("moving the patch")?;
    let made_there = there.0.join("made");
    let mut applied: Vec<Spent> = Vec::new();
    while applied.len() < APPLIES && applied.iter().map(|spent| spent.cpu).sum::<f64>() < ENOUGH {
        // Put away and not removed: some file systems are slow with names and nodes that have just gone.
        if !applied.is_empty() {
            fs::rename(&made_there, there.0.join(format!("made-{}", applied.len())))
                .context("putting away what was made")?;
        }
        match measured::run(&there.0, &tool.apply("old", "patch", "made"))? {
            Ok((spent, _)) => applied.push(spent),
            Err(said) => return Ok(Outcome::Failed(format!("not applied: {said}"))),
        }
    }
    if let Some(what) = sameness::difference(new, &made_there, form)? {
        return Ok(Outcome::Failed(format!("what it made is not the new one: {what}")));
    }
    Ok(Outcome::Done { bytes, diff: made, apply: middle(applied) })
}

/// The median of the times, the most of the memory.
fn middle(mut all: Vec<Spent>) -> Spent {
    all.sort_by(|one, other| one.cpu.total_cmp(&other.cpu));
    let most = |of: fn(&Spent) -> u64| all.iter().map(of).max().unwrap_or_default();
    let (memory, anonymous) = (most(|spent| spent.memory), most(|spent| spent.anonymous));
    Spent { cpu: all.get(all.len() / 2).map_or(0.0, |spent| spent.cpu), memory, anonymous }
}

fn copy(from: &Path, to: &Path, form: Form) -> Result<()> {
    match form {
        Form::File => fs::copy(from, to).map(drop).with_context(|| format!("copying {}", from.display())),
        Form::Tree => {
            let mut copy = std::process::Command::new("cp");
            copy.arg("-a").arg(from).arg(to);
            let status = copy.status().context("cannot start cp")?;
            if status.success() { Ok(()) } else { bail!("cp of {} failed", from.display()) }
        }
    }
}

/// An empty directory that goes when it is not needed any more.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Result<Self> {
        for number in 0.. {
            let room = std::env::temp_dir().join(format!("bench-delta-{}-{name}-{number}", std::process::id()));
            match fs::create_dir(&room) {
                Ok(()) => return Ok(Self(room)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("making {}", room.display())),
            }
        }
        unreachable!("there are numbers enough")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("!!! {} stays: {error}", self.0.display());
        }
    }
}
