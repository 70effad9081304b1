//! Measurements, by the release binary and the bench program; or in the laboratory.

use crate::step::{self, cargo};
use crate::{delta, swarm};
use anyhow::Result;

/// `cargo xtask bench swarm [...]`: broadcasts in the laboratory.
/// `cargo xtask bench delta [...]`: patches between versions of real software.
/// `cargo xtask bench [...]`: arguments go to the bench program as they are.
pub(crate) fn run(words: &[String]) -> Result<()> {
    match words.split_first() {
        Some((first, rest)) if first == "swarm" => return swarm::run(rest),
        Some((first, rest)) if first == "delta" => return delta::run(rest),
        _ => {}
    }
    step::run("release build", cargo(["build", "--release", "--package", "tiding-cli", "--package", "tiding-bench"]))?;
    let mut command = cargo(["run", "--release", "--quiet", "--package", "tiding-bench", "--"]);
    command.args(words).env("TIDING_BIN", step::release_binary());
    step::run("bench", command)
}
