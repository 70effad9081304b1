//! Worlds in the simulator: one of them, or a sweep.

use crate::step::{self, cargo};
use anyhow::Result;

/// `cargo xtask sim [--seed N | --seeds N]`: arguments go to the sweep as they are.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let mut command = cargo(["run", "--release", "--quiet", "--package", "tiding-sim", "--example", "sweep", "--"]);
    command.args(words);
    step::run("sweep", command)
}
