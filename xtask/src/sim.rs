//! The simulator: one drawn world, or a sweep of them; or scenarios of flocks, and what they are expected to come to.

use crate::step::{self, cargo};
use anyhow::{Context, Result};
use std::process::Command;

/// Seeds of a measurement, and of the expected figures.
const SEEDS: &str = "20";
const EXPECTED: &str = "5";

/// `cargo xtask sim [--seed N | --seeds N]`: a world, or a sweep; arguments go to it as they are.
/// `cargo xtask sim figures [NAME ...] [--large] [--seeds N]`: median and worst of each measure, beside what was promised.
/// `cargo xtask sim --expect`: rewrites the figures that the tests expect.
pub(crate) fn run(words: &[String]) -> Result<()> {
    match words.first().map(String::as_str) {
        Some("figures") => figures(&words[1..]),
        Some("--expect") => expect(),
        _ => {
            let mut command = example("sweep");
            command.args(words);
            step::run("sweep", command)
        }
    }
}

/// An example program of the simulator; arguments may follow.
pub(crate) fn example(name: &str) -> Command {
    cargo(["run", "--release", "--quiet", "--package", "tiding-sim", "--example", name, "--"])
}

fn figures(words: &[String]) -> Result<()> {
    let mut command = example("flock");
    command.args(["--seeds", SEEDS]);
    if words.iter().any(|word| word == "--seeds") {
        command = example("flock");
    }
    command.args(words);
    step::run("figures", command)
}

fn expect() -> Result<()> {
    let mut command = example("flock");
    command.args(["--expect", "--seeds", EXPECTED]);
    let file = step::output("figures", command)?;
    let path = step::root().join("crates/sim/expected.txt");
    std::fs::write(&path, file).with_context(|| format!("writing {}", path.display()))
}
