//! Plants known faults in a copy of the workspace, one at a time, and sees whether the sweep catches each.
//!
//! A mutant is a file `mutants/NAME.mutant`: which file it changes, why that is wrong, and pairs of a text to find and
//! what stands there instead; `--- find FILE` looks in another file. A text that is not found exactly once makes the mutant stale, which is an error: a mutant
//! that changes nothing would be survived by everything.

use crate::step::{self, root};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How many worlds a mutant may survive before it counts as not caught.
const SEEDS: u64 = 1500;
/// How many worlds must pass without a mutant, so that failing means something.
const BASELINE: u64 = 200;
/// How many mutants are tried when not all are asked for.
const SAMPLE: usize = 4;

/// One known fault.
#[derive(Debug)]
struct Mutant {
    name: String,
    why: String,
    /// How many worlds it may take to catch it, when that is more than others may take.
    seeds: Option<u64>,
    edits: Vec<Edit>,
}

/// One text of a file, and what stands there instead.
#[derive(Debug)]
struct Edit {
    file: PathBuf,
    find: String,
    replace: String,
}

/// How a mutant fared.
#[derive(Debug)]
struct Fate {
    name: String,
    why: String,
    /// The seed and the words of the first broken promise; `None` when it survived.
    caught: Option<(String, String)>,
    took: Duration,
}

/// `cargo xtask mutants [--all | --sample N | --only NAME] [--seeds N]`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let value = |flag: &str| words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1));
    let seeds = value("--seeds").map_or(Ok(SEEDS), |text| text.parse().context("--seeds wants a number"))?;
    let chosen = choose(read_all()?, words, value("--only"), value("--sample"))?;
    let tree = root().join("target/mutants/tree");
    copy_workspace(&tree)?;
    chosen.iter().try_for_each(|mutant| mutant.plant(&tree).map(drop))?;
    build(&tree)?.context("the workspace does not build without a mutant")?;
    let clean = sweep(&tree, BASELINE)?;
    ensure!(clean.status.success(), "the sweep fails without a mutant:\n{}", text(&clean.stdout));
    let fates: Vec<Fate> = chosen
        .iter()
        .map(|mutant| try_one(&tree, mutant, mutant.seeds.unwrap_or(0).max(seeds)))
        .collect::<Result<_>>()?;
    fates.iter().for_each(|fate| eprintln!("{}", line(fate)));
    let survivors: Vec<&str> =
        fates.iter().filter(|fate| fate.caught.is_none()).map(|fate| fate.name.as_str()).collect();
    ensure!(survivors.is_empty(), "not caught within {seeds} worlds: {}", survivors.join(", "));
    eprintln!("all {} mutants were caught", fates.len());
    Ok(())
}

fn choose(all: Vec<Mutant>, words: &[String], only: Option<&String>, sample: Option<&String>) -> Result<Vec<Mutant>> {
    if words.iter().any(|word| word == "--all") {
        return Ok(all);
    }
    if let Some(only) = only {
        let found: Vec<Mutant> = all.into_iter().filter(|mutant| mutant.name == *only).collect();
        ensure!(!found.is_empty(), "there is no mutant {only}");
        return Ok(found);
    }
    let count = sample.map_or(Ok(SAMPLE), |text| text.parse().context("--sample wants a number"))?;
    // Another part of them for every commit, the same one each time: all have their turn, and a run can be repeated.
    let mut head = Command::new("git");
    head.args(["rev-parse", "--short=8", "HEAD"]).current_dir(root());
    let drawn = step::output("asking for the commit", head).ok();
    let drawn = drawn.and_then(|commit| usize::from_str_radix(commit.trim(), 16).ok()).unwrap_or(0);
    let mut all = all;
    let first = drawn % all.len().max(1);
    all.rotate_left(first);
    all.truncate(count);
    Ok(all)
}

fn read_all() -> Result<Vec<Mutant>> {
    let folder = root().join("mutants");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "mutant"));
    files.sort();
    ensure!(!files.is_empty(), "{} holds no mutants", folder.display());
    files.iter().map(|file| read_one(file).with_context(|| format!("{}", file.display()))).collect()
}

fn read_one(path: &Path) -> Result<Mutant> {
    let name = path.file_stem().context("it has no name")?.to_string_lossy().into_owned();
    parse(name, &fs::read_to_string(path)?)
}

fn parse(name: String, text: &str) -> Result<Mutant> {
    let mut sections = text.split("--- find");
    let head = sections.next().unwrap_or_default();
    let field = |key: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("{key} is missing"));
        line.map(|value| value.trim().to_owned())
    };
    let file = field("file:")?;
    let edits: Vec<Edit> = sections.map(|section| parse_edit(&file, section)).collect::<Result<_>>()?;
    ensure!(!edits.is_empty(), "it changes nothing");
    let seeds = field("seeds:").ok().map(|text| text.parse().context("`seeds:` wants a number")).transpose()?;
    Ok(Mutant { name, why: field("why:")?, seeds, edits })
}

fn parse_edit(file: &str, section: &str) -> Result<Edit> {
    let (other, section) = section.split_once('\n').context("it looks for nothing")?;
    let (find, replace) = section.split_once("--- replace\n").context("`--- find` without `--- replace`")?;
    ensure!(!find.trim().is_empty(), "it looks for nothing");
    let file = if other.trim().is_empty() { file } else { other.trim() };
    let text = |text: &str| text.trim_end_matches('\n').to_owned();
    Ok(Edit { file: PathBuf::from(file), find: text(find), replace: text(replace) })
}

impl Mutant {
    /// Every file with the fault in it, and as it was.
    fn plant(&self, tree: &Path) -> Result<BTreeMap<PathBuf, Planted>> {
        let mut files: BTreeMap<PathBuf, Planted> = BTreeMap::new();
        for edit in &self.edits {
            let path = tree.join(&edit.file);
            if !files.contains_key(&path) {
                let original =
                    fs::read_to_string(&path).with_context(|| format!("{}: {}", self.name, path.display()))?;
                files.insert(path.clone(), Planted { mutated: original.clone(), original });
            }
            let planted = files.get_mut(&path).expect("it was just read");
            planted.mutated = edit.apply(&planted.mutated).with_context(|| format!("mutant {} is stale", self.name))?;
        }
        Ok(files)
    }
}

/// A file with a fault in it.
#[derive(Debug)]
struct Planted {
    original: String,
    mutated: String,
}

impl Edit {
    fn apply(&self, text: &str) -> Result<String> {
        match text.matches(self.find.as_str()).count() {
            1 => Ok(text.replacen(self.find.as_str(), &self.replace, 1)),
            found => bail!("its text stands {found} times in {}:\n{}", self.file.display(), self.find),
        }
    }
}

/// Plants one mutant, builds, sweeps, and takes it out again.
fn try_one(tree: &Path, mutant: &Mutant, seeds: u64) -> Result<Fate> {
    let begun = Instant::now();
    let files = mutant.plant(tree)?;
    files.iter().try_for_each(|(file, planted)| fs::write(file, &planted.mutated))?;
    let swept = build(tree)?.and_then(|()| sweep(tree, seeds));
    files.iter().try_for_each(|(file, planted)| fs::write(file, &planted.original))?;
    let swept = swept.with_context(|| format!("mutant {} does not build", mutant.name))?;
    let caught = (!swept.status.success()).then(|| first_failure(&text(&swept.stdout)));
    let fate = Fate { name: mutant.name.clone(), why: mutant.why.clone(), caught, took: begun.elapsed() };
    eprintln!("{}", line(&fate));
    Ok(fate)
}

/// The seed and the words of the first failure that a sweep printed.
fn first_failure(printed: &str) -> (String, String) {
    let mut lines = printed.lines().skip_while(|line| !(line.starts_with("seed ") && line.contains("failed")));
    let seed = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("?");
    (seed.to_owned(), lines.next().unwrap_or("it ended without words").trim().to_owned())
}

fn line(fate: &Fate) -> String {
    let Fate { name, why, caught, took } = fate;
    let took = took.as_secs_f64();
    match caught {
        Some((seed, words)) => {
            let words: String = words.chars().take(110).collect();
            format!("caught    {name:32} seed {seed:>5}  {took:>5.0} s  {words}")
        }
        None => format!("SURVIVED  {name:32}             {took:>5.0} s  {why}"),
    }
}

/// Builds the sweep in the copy: an outer error when that cannot be tried, an inner one when it does not compile.
fn build(tree: &Path) -> Result<Result<()>> {
    let out = cargo(tree, &["build"]).output().context("cannot start cargo")?;
    Ok(if out.status.success() { Ok(()) } else { Err(anyhow::anyhow!("{}", text(&out.stderr))) })
}

fn sweep(tree: &Path, seeds: u64) -> Result<Output> {
    let mut command = cargo(tree, &["run"]);
    command.args(["--", "--stop", "1", "--seeds"]).arg(seeds.to_string());
    command.output().context("cannot start the sweep")
}

/// Cargo in the copy, with a target directory of its own and a profile that builds quickly.
fn cargo(tree: &Path, verb: &[&str]) -> Command {
    let mut command = step::cargo(verb);
    command.args(["--release", "--quiet", "--package", "tiding-sim", "--example", "sweep"]).current_dir(tree);
    command.env("CARGO_TARGET_DIR", root().join("target/mutants/target"));
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    command.env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true").env("RUSTFLAGS", "--cap-lints=allow");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Copies what git knows of the workspace; files that are the same already keep their times, so builds stay warm.
fn copy_workspace(tree: &Path) -> Result<()> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let names = step::output("listing the workspace", list)?;
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root().join(name), tree.join(name));
        let Ok(bytes) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file stands in a directory")?)?;
        fs::write(&to, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "file: a.rs\nwhy: because\n--- find\n  one\n--- replace\n  two\n--- find b.rs\nx\n--- replace\n";

    #[test]
    fn a_mutant_is_read() {
        let mutant = parse("m".to_owned(), TEXT).expect("a mutant");
        let files: Vec<&Path> = mutant.edits.iter().map(|edit| edit.file.as_path()).collect();
        assert_eq!((files, mutant.why.as_str()), (vec![Path::new("a.rs"), Path::new("b.rs")], "because"));
        assert_eq!(mutant.edits[0].apply("a\n  one\nx\n").expect("it is there once"), "a\n  two\nx\n");
        assert!(parse("m".to_owned(), "file: a.rs\nwhy: because\n").is_err());
    }

    #[test]
    fn a_stale_mutant_is_refused() {
        let mutant = parse("m".to_owned(), TEXT).expect("a mutant");
        assert!(mutant.edits[0].apply("a\nx\n").is_err() && mutant.edits[0].apply("  one\n  one\nx\n").is_err());
    }

    #[test]
    fn every_kept_mutant_still_finds_its_text() {
        for mutant in read_all().expect("the mutants can be read") {
            let planted = mutant.plant(&root());
            assert!(planted.is_ok(), "{planted:?}");
        }
    }

    #[test]
    fn the_first_failure_is_found_in_what_a_sweep_prints() {
        let printed = "3 worlds\nseed 7 failed; replay it\n  Bytes broken at 1.0 s: x\n";
        assert_eq!(first_failure(printed), ("7".to_owned(), "Bytes broken at 1.0 s: x".to_owned()));
    }
}
