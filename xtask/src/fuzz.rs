//! Fuzzing: needs what stable Rust does not have, so it is run by hand and says what is missing.

mod kept;

use crate::step::{self, installed, root};
use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Seconds per target when none are named.
const SECONDS: &str = "60";
/// The triple that libFuzzer's programs are built for.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// `cargo xtask fuzz [SECONDS] [TARGET ...]`, `fuzz keep [TARGET ...]`, `fuzz coverage [TARGET ...]`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    ensure!(root().join("fuzz").is_dir(), "there is no directory fuzz/ with targets");
    ensure!(installed("cargo-fuzz"), "cargo-fuzz is missing: cargo install cargo-fuzz; rustup toolchain add nightly");
    let (what, named) = words.split_first().map_or((SECONDS, &[][..]), |(first, rest)| (first.as_str(), rest));
    let targets = targets(named)?;
    match what {
        "keep" => targets.iter().try_for_each(|target| keep(target)),
        "coverage" => targets.iter().try_for_each(|target| coverage(target)),
        seconds => {
            seconds.parse::<u32>().with_context(|| format!("`{seconds}` is not a number of seconds"))?;
            let done = targets.iter().map(|target| fuzz(target, seconds)).collect::<Result<Vec<_>>>()?;
            println!("\n{:<12}{:>14}{:>10}{:>8}{:>10}{:>9}", "target", "runs", "CPU s", "edges", "features", "inputs");
            for (target, done) in targets.iter().zip(done) {
                println!("{target:<12}{done}");
            }
            Ok(())
        }
    }
}

/// All targets, or those that are named.
fn targets(named: &[String]) -> Result<Vec<String>> {
    let mut list = nightly();
    list.args(["fuzz", "list"]);
    let known: Vec<String> = step::output("fuzz targets", list)?.split_whitespace().map(str::to_owned).collect();
    if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
        bail!("there is no fuzz target `{unknown}`; there are {}", known.join(", "));
    }
    Ok(if named.is_empty() { known } else { named.to_vec() })
}

/// What a run came to, as libFuzzer's last line of it says.
#[derive(Debug, PartialEq, Default)]
struct Done {
    runs: u64,
    cpu: f64,
    edges: u64,
    features: u64,
    inputs: u64,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { runs, cpu, edges, features, inputs } = self;
        write!(f, "{runs:>14}{cpu:>10.0}{edges:>8}{features:>10}{inputs:>9}")
    }
}

impl Done {
    /// `#123  NEW    cov: 56 ft: 206 corp: 115/16Kb ...`; other lines change nothing.
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.split('/').next()?.parse().ok()
        };
        let runs = words.first().and_then(|word| word.strip_prefix('#')?.parse().ok());
        if let (Some(runs), Some(edges), Some(features)) = (runs, after("cov:"), after("ft:")) {
            (self.runs, self.edges, self.features) = (runs, edges, features);
            self.inputs = after("corp:").unwrap_or(self.inputs);
        }
    }
}

/// Runs one target from what is kept, and says what it came to.
fn fuzz(target: &str, seconds: &str) -> Result<Done> {
    kept::unpacked(target, &corpus(target))?;
    let mut build = nightly();
    build.args(["fuzz", "build", target]);
    step::run("fuzz build", build)?;
    let before = cpu()?;
    let mut command = nightly();
    command.args(["fuzz", "run", target, "--"]).arg(format!("-max_total_time={seconds}")).stderr(Stdio::piped());
    eprintln!("\n=== {target}: {seconds} s");
    let mut child = command.spawn().context("starting cargo fuzz")?;
    let mut done = Done::default();
    for line in BufReader::new(child.stderr.take().context("its output")?).lines() {
        let line = line.context("reading what the fuzzer says")?;
        eprintln!("{line}");
        done.hear(&line);
    }
    ensure!(child.wait()?.success(), "{target}: found something; the input is in fuzz/artifacts/{target}/");
    done.cpu = cpu()? - before;
    Ok(done)
}

/// Processor seconds of everything that was started and has ended.
fn cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking what it took")?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

/// Packs what reaches something that nothing smaller reaches, for whoever fuzzes next and for the tests.
fn keep(target: &str) -> Result<()> {
    kept::unpacked(target, &corpus(target))?;
    let merged = step::target().join("fuzz-merged").join(target);
    if merged.exists() {
        std::fs::remove_dir_all(&merged).with_context(|| format!("clearing {}", merged.display()))?;
    }
    std::fs::create_dir_all(&merged).with_context(|| format!("making {}", merged.display()))?;
    let mut command = nightly();
    command.args(["fuzz", "run", target]).args([&merged, &corpus(target)]).args(["--", "-merge=1"]);
    step::run("fuzz merge", command)?;
    kept::pack(target, &merged)
}

/// Which parts of the crates the corpus of a target reaches, by file.
fn coverage(target: &str) -> Result<()> {
    kept::unpacked(target, &corpus(target))?;
    let mut command = nightly();
    command.args(["fuzz", "coverage", target]);
    step::run("fuzz coverage", command)?;
    let mut sysroot = Command::new("rustc");
    sysroot.env_remove("RUSTUP_TOOLCHAIN").args(["+nightly", "--print", "sysroot"]);
    let sysroot = step::output("the sysroot", sysroot)?;
    let tool = Path::new(sysroot.trim()).join("lib/rustlib").join(TRIPLE).join("bin/llvm-cov");
    ensure!(tool.is_file(), "llvm-cov is missing: rustup component add llvm-tools --toolchain nightly");
    let mut report = Command::new(tool);
    report.arg("export").arg("-summary-only").arg(built(target)?).arg("--ignore-filename-regex=registry|rustc|fuzz/");
    let profile = root().join("fuzz/coverage").join(target).join("coverage.profdata");
    report.arg(format!("--instr-profile={}", profile.display()));
    let report = serde_json::from_str(&step::output("fuzz report", report)?).context("what llvm-cov wrote")?;
    print!("\n{target}: lines that its inputs reach\n{}", reached(&report));
    Ok(())
}

/// The files of which anything is reached: a function that is compiled in and never called is no parser's.
fn reached(report: &Value) -> String {
    let mut lines = String::new();
    for file in report["data"][0]["files"].as_array().into_iter().flatten() {
        let (summary, name) = (&file["summary"]["lines"], file["filename"].as_str().unwrap_or_default());
        let (Some(covered), Some(count)) = (summary["covered"].as_u64(), summary["count"].as_u64()) else { continue };
        if covered > 0 {
            let name = name.rsplit_once("crates/").map_or(name, |(_, within)| within);
            lines += &format!("{name:<36}{covered:>6} of {count:>5}  {:>3} %\n", covered * 100 / count);
        }
    }
    lines
}

/// The program with counters, which cargo-fuzz puts under the directory of builds.
fn built(target: &str) -> Result<PathBuf> {
    let within = Path::new(TRIPLE).join("coverage").join(TRIPLE).join("release").join(target);
    let places = [step::target(), root().join("target"), root().join("fuzz/target")].map(|place| place.join(&within));
    let found = places.iter().find(|place| place.is_file());
    found.cloned().with_context(|| format!("the program with counters is not at {}", places[0].display()))
}

fn corpus(target: &str) -> PathBuf {
    root().join("fuzz/corpus").join(target)
}

/// Nightly cargo: found through rustup's proxy, which the variables of the cargo that runs us would get past.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root()).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").arg("+nightly");
    command
}

#[cfg(test)]
mod tests {
    use super::Done;

    #[test]
    fn files_that_nothing_reaches_are_left_out() {
        let file = |name: &str, covered: u64| serde_json::json!({"filename": name, "summary": {"lines": {"count": 8, "covered": covered}}});
        let report = serde_json::json!({"data": [{"files": [file("/a/crates/x/src/y.rs", 6), file("z.rs", 0)]}]});
        let line = super::reached(&report);
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["x/src/y.rs", "6", "of", "8", "75", "%"]);
    }

    #[test]
    fn the_last_line_of_libfuzzer_counts() {
        let mut done = Done::default();
        done.hear("INFO: Seed: 123");
        done.hear("#298855\tREDUCE cov: 56 ft: 192 corp: 102/10763b lim: 2133 exec/s: 74713 rss: 98Mb L: 46/769");
        done.hear("#298900\tDONE   cov: 57 ft: 193 corp: 103/10Kb lim: 4096 exec/s: 7 rss: 98Mb");
        done.hear("Done 298900 runs in 4 second(s)");
        assert_eq!(done, Done { runs: 298_900, cpu: 0.0, edges: 57, features: 193, inputs: 103 });
    }
}
