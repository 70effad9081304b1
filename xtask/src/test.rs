//! Everything CI runs, in the order in which it fails fastest; `cargo test`'s own summary comes last.

use crate::step::{self, cargo, installed};
use crate::{hashes, mutants, sim, tidy};
use anyhow::{Result, bail};

/// Worlds in the sweep: one in eight is calm, and 2,000 with faults are wanted.
const SEEDS: &str = "2400";
/// Programs that some tests need, and what is not tested without them.
const OPTIONAL: [(&str, &str); 4] = [
    ("rsync", "live trees are compared with their source by SHA-256 only"),
    ("strace", "the tests that kill at every system call or make calls fail"),
    ("mkfs.ext4", "the power-cut tests on a loop-mounted ext4"),
    ("cargo-deny", "licences and advisories of dependencies"),
];

fn everything(quick: bool) -> Result<()> {
    say_what_is_missing();
    step::run("format", cargo(["fmt", "--all", "--check"]))?;
    step::run("clippy", cargo(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    let mut docs = cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    step::run("docs", docs)?;
    tidy::run()?;
    if installed("cargo-deny") {
        step::run("deny", cargo(["deny", "--offline", "check", "licenses", "bans", "sources"]))?;
    }
    if !quick {
        step::run("release build", cargo(["build", "--release", "--package", "tiding-cli"]))?;
        sim::run(&["--seeds".into(), SEEDS.into(), "--all-strike".into()])?;
        hashes::run()?;
        mutants::run(&["--all".into()])?;
    }
    step::run("tests", cargo(["test", "--workspace"]))
}

/// `cargo xtask test [--quick]`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    match words {
        [] => everything(false),
        [quick] if quick == "--quick" => everything(true),
        other => bail!("unknown arguments: {}; `cargo xtask test` knows --quick", other.join(" ")),
    }
}

fn say_what_is_missing() {
    for (program, lost) in OPTIONAL {
        if !installed(program) {
            eprintln!("!!! {program} is not installed. NOT TESTED: {lost}.");
        }
    }
}
