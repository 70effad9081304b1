//! Runs other programs, saying which, how long they took, and stopping at the first that fails.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the root of the repository").to_owned()
}

/// `cargo` with arguments, in the root of the repository.
pub(crate) fn cargo<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Where builds and results go.
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(target)
}

/// Where the release build of `tiding` is.
pub(crate) fn release_binary() -> PathBuf {
    target().join("release").join("tiding")
}

/// Runs a command to its end with its output on ours.
pub(crate) fn run(what: &str, mut command: Command) -> Result<()> {
    eprintln!("\n=== {what}: {}", words(&command));
    let start = Instant::now();
    let status = command.status().with_context(|| format!("{what}: cannot start {}", words(&command)))?;
    ensure!(status.success(), "{what} failed ({status})");
    eprintln!("=== {what}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command to its end and gives what it wrote to stdout; its stderr is ours.
pub(crate) fn output(what: &str, mut command: Command) -> Result<String> {
    let out = command.stderr(Stdio::inherit()).output().with_context(|| format!("{what}: cannot start"))?;
    if !out.status.success() {
        bail!("{what} failed ({}): {}\n{}", out.status, words(&command), String::from_utf8_lossy(&out.stdout));
    }
    String::from_utf8(out.stdout).with_context(|| format!("{what}: the output is not text"))
}

/// Whether a program can be found.
pub(crate) fn installed(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
