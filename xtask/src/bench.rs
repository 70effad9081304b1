//! Measurements, by the release binary and the bench program.

use crate::step::{self, cargo, root};
use anyhow::Result;

/// `cargo xtask bench [...]`: arguments go to the bench program as they are.
pub(crate) fn run(words: &[String]) -> Result<()> {
    step::run("release build", cargo(["build", "--release", "--package", "tiding-cli", "--package", "tiding-bench"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let mut command = cargo(["run", "--release", "--quiet", "--package", "tiding-bench", "--"]);
    command.args(words).env("TIDING_BIN", target.join("release").join("tiding"));
    step::run("bench", command)
}
