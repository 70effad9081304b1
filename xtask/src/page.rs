//! The page on which an operator watches a fleet, with one that was made up: to design it, and to measure what it takes.

use crate::step::{self, cargo};
use anyhow::Result;

/// `cargo xtask page [--nodes N] [...]`: arguments go to the program as they are.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let mut command = cargo(["run", "--release", "--quiet", "--package", "tiding-node", "--example", "page", "--"]);
    command.args(words);
    step::run("page", command)
}
