//! Thousands of real agents that join at once on this machine, and a deploy meanwhile.

use crate::step::{self, cargo};
use anyhow::Result;

/// `cargo xtask thin [--agents N] [...]`: arguments go to the program as they are.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let mut command = cargo(["run", "--release", "--quiet", "--package", "tiding-node", "--example", "thin", "--"]);
    command.args(words);
    step::run("thin agents", command)
}
