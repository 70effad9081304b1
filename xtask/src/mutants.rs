//! Plants known faults in the code and sees whether the sweep catches each.

use anyhow::{Result, bail};

/// `cargo xtask mutants [--all | --sample N]`.
pub(crate) fn run(_words: &[String]) -> Result<()> {
    bail!("no mutants are kept yet")
}
