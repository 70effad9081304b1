//! Real trees, deployed by the release binary to eight agents and compared by programs that are not ours.
//!
//! The trees are this repository's `.git` and the Rust toolchain's own `lib`. `rsync` must find nothing to do between the source
//! and each live tree (times, owners, modes, links, checksums, extra files), and a listing of SHA-256 sums must agree.

use crate::step::{self, cargo, installed, output, root};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Agents in the playground.
const AGENTS: usize = 8;

/// `cargo xtask trees [DIR ...]`.
pub(crate) fn run(words: &[String]) -> Result<()> {
    step::run("release build", cargo(["build", "--release", "--package", "tiding-cli"]))?;
    let tiding = step::release_binary();
    let mut trees: Vec<PathBuf> = words.iter().map(PathBuf::from).collect();
    if trees.is_empty() {
        let toolchain = output("rustc --print sysroot", rustc_sysroot())?;
        trees = vec![root().join(".git"), Path::new(toolchain.trim()).join("lib")];
    }
    for tree in trees {
        compare(&tiding, &tree)?;
    }
    Ok(())
}

fn rustc_sysroot() -> Command {
    let mut command = Command::new("rustc");
    command.args(["--print", "sysroot"]);
    command
}

/// Deploys one tree and compares every live copy; the fleet is stopped and removed whatever comes of it.
fn compare(tiding: &Path, tree: &Path) -> Result<()> {
    let dir = std::env::temp_dir().join(format!("tiding-trees-{}", std::process::id()));
    let mut playground = Command::new(tiding);
    playground.arg("playground").arg(tree).args(["--keep", "--nodes", &AGENTS.to_string(), "--dir"]).arg(&dir);
    let outcome = step::run("playground", playground).and_then(|()| compare_all(tree, &dir));
    let mut stop = Command::new(tiding);
    stop.args(["playground", "stop", "--dir"]).arg(&dir);
    let stopped = step::run("stop", stop);
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    outcome.and(stopped)
}

fn compare_all(tree: &Path, dir: &Path) -> Result<()> {
    let expected = sums(tree)?;
    for number in 1..=AGENTS {
        let live = dir.join(format!("node-{number}/root/srv/app"));
        ensure!(sums(&live)? == expected, "the SHA-256 sums of {} differ from the source's", live.display());
        if installed("rsync") {
            same_for_rsync(tree, &live)?;
        }
    }
    let files = expected.lines().count();
    let rsync =
        if installed("rsync") { "rsync finds nothing to do" } else { "!!! rsync is NOT installed, NOT compared" };
    println!("{}: {files} files on {AGENTS} agents: SHA-256 sums agree, {rsync}", tree.display());
    Ok(())
}

/// What `rsync` would do to make the live tree like the source: nothing.
fn same_for_rsync(tree: &Path, live: &Path) -> Result<()> {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHSnic", "--delete"]);
    rsync.arg(format!("{}/", tree.display())).arg(format!("{}/", live.display()));
    match output("rsync", rsync)?.as_str() {
        "" => Ok(()),
        found => bail!("rsync finds differences in {}:\n{found}", live.display()),
    }
}

/// The SHA-256 sums of all regular files, by path, as `sha256sum` lists them.
fn sums(tree: &Path) -> Result<String> {
    let mut command = Command::new("sh");
    command.arg("-c").arg("find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum").current_dir(tree);
    output("sha256sum", command)
}
