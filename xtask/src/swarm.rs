//! `cargo xtask bench swarm`: broadcasts in the laboratory of shaped network namespaces, by `tiding` and by others in the same run,
//! beside what was promised and what the simulator foretells.
//!
//! One run of one tool in one cell is a process of `bench/swarmlab/swarmlab.py`, which measures; this decides what is run in which
//! order, keeps every record, and makes the tables. A run that fails or never ends is a record as well, and the next one begins.

mod arguments;
mod cells;
mod foretold;
mod needs;
mod records;
mod table;

use crate::step::{self, cargo, root};
use anyhow::{Context, Result, ensure};
use arguments::{Arguments, Wish};
use cells::Cell;
use foretold::Foretold;
use needs::Python;
use records::Record;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Seconds that a run waits at most for the machine to be quiet.
const QUIET: &str = "20";

/// `cargo xtask bench swarm [CELL ...] [...]`; see [`arguments::HELP`].
pub(crate) fn run(words: &[String]) -> Result<()> {
    match arguments::parse(words)? {
        Wish::Help => print!("{}", arguments::HELP),
        Wish::List => print!("{}", cells::list()),
        Wish::Show(file, arguments) => {
            let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            return conclude(&arguments, &records::read_all(&text)?);
        }
        Wish::Measure(arguments) => {
            let laboratory = Laboratory::open(&arguments)?;
            return conclude(&arguments, &laboratory.measure(&arguments)?);
        }
    }
    Ok(())
}

/// Prints the tables of what was measured; an error when a run failed that should not have.
fn conclude(arguments: &Arguments, records: &[Record]) -> Result<()> {
    let foretold = match arguments.model {
        true => Foretold::of(&arguments.cells)?,
        false => Foretold::default(),
    };
    let text = table::all(&arguments.cells, &arguments.tools, records, &foretold);
    print!("{text}");
    if let Some(file) = &arguments.out {
        std::fs::write(file, &text).with_context(|| format!("writing {}", file.display()))?;
    }
    let failed = records.iter().filter(|record| record.has_failed()).count();
    ensure!(failed == 0, "{failed} of {} runs failed; the tables say why", records.len());
    Ok(())
}

/// Everything that a run needs, built and found.
struct Laboratory {
    python: Python,
    relay: PathBuf,
}

impl Laboratory {
    /// Checks what this machine lacks, says all of it, and builds the rest.
    fn open(arguments: &Arguments) -> Result<Self> {
        let python = needs::check(&arguments.tools)?;
        step::run("release build", cargo(["build", "--release", "--package", "tiding-cli"]))?;
        let relay = step::target().join("swl-relay");
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-Wall", "-o"]).arg(&relay).arg(lab().join("swl-relay.c"));
        step::run("bare relay", compile)?;
        Ok(Self { python, relay })
    }

    /// Every cell: all tools once, then all of them again, so that what else the machine does hits everyone alike.
    fn measure(&self, arguments: &Arguments) -> Result<Vec<Record>> {
        let file = step::target().join("bench-swarm.jsonl");
        let mut kept = File::create(&file).with_context(|| format!("making {}", file.display()))?;
        let mut records = Vec::new();
        for cell in &arguments.cells {
            eprintln!("\n=== {}: {}", cell.name, cell.about());
            for run in 0..arguments.runs {
                for tool in &arguments.tools {
                    let record = self.one(cell, tool, run, arguments.keep)?;
                    writeln!(kept, "{}", record.line()).with_context(|| format!("writing {}", file.display()))?;
                    records.push(record);
                }
            }
        }
        eprintln!("\n=== every run is in {}; `--from` makes the tables again", file.display());
        Ok(records)
    }

    fn one(&self, cell: &Cell, tool: &str, run: usize, keep: bool) -> Result<Record> {
        let mut command = Command::new(self.python.program());
        command.arg(lab().join("swarmlab.py")).args(["run", "--driver", tool, "--quiet", QUIET]).args(cell.arguments());
        command.args(keep.then_some("--keep"));
        command.env("TIDING_BIN", step::release_binary()).env("SWL_RELAY", &self.relay);
        let out = command.stderr(Stdio::inherit()).output().context("cannot start the laboratory")?;
        let text = String::from_utf8_lossy(&out.stdout);
        Ok(Record::from_laboratory(cell.name, tool, run, text.trim(), &out.status.to_string()))
    }
}

fn lab() -> PathBuf {
    root().join("bench").join("swarmlab")
}
