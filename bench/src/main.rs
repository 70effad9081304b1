//! Measures `tiding` as a user runs it, beside a bare relay in the same run. Prints one table; asserts nothing.
//!
//! `tiding-bench [--runs N] [--agents N] [--dir D]`; the binary is named by `TIDING_BIN`.
//! `tiding-bench files ...` measures files only: see `speed`.

mod files;
mod fleet;
mod lab;
mod process;
mod relay;
mod report;
mod speed;

use anyhow::{Context, Result, bail};
use fleet::Fleet;
use std::path::{Path, PathBuf};

/// 128 MiB.
const PAYLOAD: usize = 128 << 20;
/// Small files of the tree, and their length in bytes.
const SMALL: (usize, usize) = (20_000, 4096);

struct Arguments {
    runs: usize,
    agents: usize,
    dir: Option<PathBuf>,
    tiding: PathBuf,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "relay") {
        let out = arguments.get(1).context("relay OUT [PORT]")?;
        return relay::run_relay(Path::new(out), arguments.get(2).map(|port| port.parse()).transpose()?);
    }
    if arguments.first().is_some_and(|first| first == "files") {
        return speed::run(&arguments[1..], &tiding());
    }
    let arguments = parse(&arguments)?;
    let held = tempfile::Builder::new().prefix("tiding-bench-").tempdir()?;
    let dir = arguments.dir.clone().unwrap_or_else(|| held.path().to_owned());
    std::fs::create_dir_all(&dir)?;
    report::head();
    spread(&arguments, &dir)?;
    small(&arguments, &dir)
}

/// The release binary.
fn tiding() -> PathBuf {
    std::env::var_os("TIDING_BIN").map_or_else(|| PathBuf::from("target/release/tiding"), PathBuf::from)
}

fn parse(words: &[String]) -> Result<Arguments> {
    let mut arguments = Arguments { runs: 3, agents: 15, dir: None, tiding: tiding() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--runs" => arguments.runs = value.parse()?,
            "--agents" => arguments.agents = value.parse()?,
            "--dir" => arguments.dir = Some(value.into()),
            other => bail!("unknown argument {other}; known: --runs N --agents N --dir D"),
        }
    }
    Ok(arguments)
}

/// One large file to all agents, beside the relay; then what importing it costs, and the agents' memory.
fn spread(arguments: &Arguments, dir: &Path) -> Result<()> {
    let gib = arguments.agents as f64 * PAYLOAD as f64 / (1u64 << 30) as f64;
    let payload = dir.join("payload");
    let fleet = Fleet::start(&arguments.tiding, arguments.agents, dir)?;
    let rest = fleet.memory();
    let (mut ours, mut theirs, mut imports) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..arguments.runs {
        files::random_file(&payload, PAYLOAD, run as u64 + 99)?;
        imports.push(PAYLOAD as f64 / 1e6 / files::import(&payload)?.as_secs_f64());
        theirs.push(relay::broadcast(&payload, arguments.agents, dir)?);
        ours.push(fleet.deploy(&payload, &format!("/srv/large-{run}"))?);
    }
    let hosts = arguments.agents;
    report::row(
        &format!("128 MiB to {hosts} agents, deploy to confirmed"),
        "s",
        ours.iter().map(|d| d.wall.as_secs_f64()).collect(),
    );
    report::row(
        &format!("128 MiB to {hosts} hosts, bare relay chain"),
        "s",
        theirs.iter().map(|d| d.wall.as_secs_f64()).collect(),
    );
    report::row("CPU per GiB delivered, all processes", "s", ours.iter().map(|d| d.cpu / gib).collect());
    report::row("the same, bare relay chain", "s", theirs.iter().map(|d| d.cpu / gib).collect());
    report::row("import (read, cut, hash), one thread, warm", "MB/s", imports);
    report::row("memory of an agent at rest", "MiB", vec![rest.now as f64 / 1024.0]);
    report::row("memory of an agent at work, peak", "MiB", vec![fleet.memory().peak as f64 / 1024.0]);
    Ok(())
}

/// Many small files to four agents, beside a bare create / write / syncfs loop.
fn small(arguments: &Arguments, dir: &Path) -> Result<()> {
    let (count, len) = SMALL;
    let dir = dir.join("small");
    std::fs::create_dir_all(&dir)?;
    let fleet = Fleet::start(&arguments.tiding, 4, &dir)?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for run in 0..arguments.runs {
        let tree = dir.join(format!("tree-{run}"));
        files::small_files(&tree, count, len)?;
        std::fs::write(tree.join("run"), run.to_string())?;
        bare.push(count as f64 / files::bare_loop(&dir.join(format!("bare-{run}")), count, len)?.wall.as_secs_f64());
        ours.push(count as f64 / fleet.deploy(&tree, &format!("/srv/small-{run}"))?.wall.as_secs_f64());
    }
    report::row("20,000 files of 4 KiB to 4 agents, deploy to confirmed, files/s each", "", ours);
    report::row("bare create / write / syncfs loop, one tree, files/s", "", bare);
    Ok(())
}
