//! Everything CI runs, in the order in which it fails fastest; `cargo test`'s own summary comes last.

use crate::step::{self, cargo, installed, root};
use crate::{hashes, missing, mutants, sim, tidy};
use anyhow::{Result, bail};
use std::process::Command;

/// Worlds in the sweep: one in eight is calm, and 2,000 with faults are wanted.
const SEEDS: &str = "2400";

/// Planted faults that are tried: others for every commit, so that all have their turn. `cargo xtask mutants --all` tries all of them.
const PLANTED: &str = "8";

/// What is checked and tested with all that can be in a build; the release build is as users build it.
const TRACES: &str = "tiding-cli/otel";

fn everything(quick: bool) -> Result<()> {
    missing::say();
    step::run("format", cargo(["fmt", "--all", "--check"]))?;
    step::run(
        "clippy",
        cargo(["clippy", "--workspace", "--features", TRACES, "--all-targets", "--quiet", "--", "-D", "warnings"]),
    )?;
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
        mutants::run(&["--sample".into(), PLANTED.into()])?;
        step::run("damage, with the release binary", damage())?;
    }
    if installed("python3") {
        step::run("laboratory", laboratory())?;
    }
    step::run("tests", waiting(cargo(["test", "--workspace", "--features", TRACES])))
}

/// Most tests of whole fleets wait, for timeouts, windows and reconnects: twice as many at a time as there are cores
/// take a sixth less in all. `RUST_TEST_THREADS` goes before.
fn waiting(mut tests: Command) -> Command {
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        tests.env("RUST_TEST_THREADS", (2 * cores).to_string());
    }
    tests
}

/// The tests of flipped bits on the binary that users get. Only that is a release build: the tests are those of the last
/// step, chosen from the same packages with the same features, or cargo would build the program twice.
fn damage() -> Command {
    let mut tests = cargo(["test", "--workspace", "--features", TRACES, "--test", "faults"]);
    tests.env("TIDING_TESTED", step::release_binary());
    tests
}

/// The tests of the laboratory itself, which measure nothing.
fn laboratory() -> Command {
    let mut tests = Command::new("python3");
    tests.args(["-B", "-m", "unittest", "discover", "bench/swarmlab"]).current_dir(root());
    tests
}

/// `cargo xtask long`: the tests that take minutes, which `cargo test` leaves out.
pub(crate) fn long() -> Result<()> {
    step::run("long tests", cargo(["test", "--workspace", "--release", "--no-fail-fast", "--", "--ignored"]))
}

/// `cargo xtask test [--quick]`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    match words {
        [] => everything(false),
        [quick] if quick == "--quick" => everything(true),
        other => bail!("unknown arguments: {}; `cargo xtask test` knows --quick", other.join(" ")),
    }
}
