//! Thousands of real agents that join at once on this machine, and a deploy meanwhile; watched, if that is wanted.

use crate::step::{self, cargo};
use anyhow::Result;

/// The flag that has the deploy watched.
const PAGE: &str = "--page";

/// `cargo xtask thin [--agents N] [--page] [...]`: arguments go to the program as they are; with `--page` it is told where `tiding` is.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let mut command = cargo(["run", "--release", "--quiet", "--package", "tiding-node", "--example", "thin", "--"]);
    let (watched, rest): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| *word == PAGE);
    command.args(rest);
    if !watched.is_empty() {
        step::run("tiding", cargo(["build", "--release", "--quiet", "--package", "tiding-cli"]))?;
        command.arg(PAGE).arg(step::release_binary());
    }
    step::run("thin agents", command)
}
