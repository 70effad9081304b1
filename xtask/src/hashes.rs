//! A seed is a world: its events are the same in two processes, in debug and in release.

use crate::step::{self, cargo};
use anyhow::{Result, ensure};

/// Seeds whose event hashes are compared.
const SEEDS: &str = "12";

/// `cargo xtask hashes`.
pub(crate) fn run() -> Result<()> {
    let release = hashes(&["--release"])?;
    ensure!(!release.trim().is_empty(), "the sweep printed no hashes");
    ensure!(release == hashes(&["--release"])?, "two processes disagree on the events of a seed:\n{release}");
    let debug = hashes(&[])?;
    ensure!(release == debug, "debug and release disagree on the events of a seed:\n{release}\n{debug}");
    eprintln!("event hashes of {SEEDS} seeds: the same in two processes, in debug and in release");
    Ok(())
}

fn hashes(profile: &[&str]) -> Result<String> {
    let mut command = cargo(["run", "--quiet", "--package", "tiding-sim", "--example", "sweep"]);
    command.args(profile).args(["--", "--hashes", "--seeds", SEEDS]);
    step::output("hashes", command)
}
