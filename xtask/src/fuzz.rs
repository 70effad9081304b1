//! Fuzzing: needs what stable Rust does not have, so it is run by hand and says what is missing.

use crate::step::{self, installed, root};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Seconds per target when none are named.
const SECONDS: &str = "60";

/// `cargo xtask fuzz [SECONDS]`: every target in turn.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let seconds = words.first().map_or(SECONDS, String::as_str);
    seconds.parse::<u32>().with_context(|| format!("`{seconds}` is not a number of seconds"))?;
    ensure!(root().join("fuzz").is_dir(), "there is no directory fuzz/ with targets");
    ensure!(installed("cargo-fuzz"), "cargo-fuzz is missing: cargo install cargo-fuzz; rustup toolchain add nightly");
    let mut list = nightly();
    list.args(["fuzz", "list"]);
    for target in step::output("fuzz targets", list)?.split_whitespace() {
        let mut command = nightly();
        command.args(["fuzz", "run", target, "--"]).arg(format!("-max_total_time={seconds}"));
        step::run(target, command)?;
    }
    Ok(())
}

/// Nightly cargo: found through rustup's proxy, which the variables of the cargo that runs us would get past.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root()).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").arg("+nightly");
    command
}
