//! What a program takes: processor time and the most memory, of it and of all that it starts.
//!
//! The kernel keeps those figures for all children of a process together. So each program is started by a process of its own: this one again,
//! as `xtask measured FILE PROGRAM ...`, which has no other child and writes the figures into a file.

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::path::Path;
use std::process::{Command, Stdio};

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Spent {
    /// Processor seconds, user and system.
    pub(crate) cpu: f64,
    /// The most resident memory, in bytes.
    pub(crate) memory: u64,
    /// The most of it that was of no file, in bytes, looked at each half millisecond: of the program itself, not of what it starts.
    pub(crate) anonymous: u64,
}

/// How much of what a program says when it fails is kept, in characters.
const SAID: usize = 200;

/// Runs a program in a directory: what it took and what it printed, or what it said when it failed.
pub(crate) fn run(directory: &Path, words: &[String]) -> Result<Result<(Spent, String), String>> {
    let figures = std::env::temp_dir().join(format!("bench-delta-{}-figures", std::process::id()));
    let mut command = Command::new(std::env::current_exe().context("where this program is")?);
    command.arg("measured").arg(&figures).args(words).current_dir(directory).stdin(Stdio::null());
    let out = command.output().with_context(|| format!("cannot start {}", words[0]))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        return Ok(Err(said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SAID).collect()));
    }
    let text = std::fs::read_to_string(&figures).context("reading what a program took")?;
    std::fs::remove_file(&figures).context("removing what a program took")?;
    Ok(Ok((Spent::read(&text)?, String::from_utf8_lossy(&out.stdout).into_owned())))
}

/// `xtask measured FILE PROGRAM ...`.
pub(crate) fn measured(words: &[String]) -> Result<()> {
    let [figures, program, arguments @ ..] = words else { bail!("measured FILE PROGRAM ...") };
    let mut child = Command::new(program).args(arguments).spawn().with_context(|| format!("cannot start {program}"))?;
    let mut anonymous = 0;
    let status = loop {
        anonymous = anonymous.max(held(child.id()).unwrap_or(0));
        match child.try_wait().context("waiting for it")? {
            Some(status) => break status,
            None => std::thread::sleep(std::time::Duration::from_micros(500)),
        }
    };
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking what it took")?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    std::fs::write(figures, format!("{micros} {} {anonymous}", usage.max_rss())).context("writing what it took")?;
    match status.success() {
        true => Ok(()),
        false => bail!("{program} ended with {status}"),
    }
}

/// The memory of a process that is of no file, in KiB.
fn held(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Spent {
    /// Microseconds and twice KiB.
    fn read(text: &str) -> Result<Self> {
        let figures: Vec<&str> = text.split(' ').collect();
        let [micros, resident, anonymous] = figures[..] else { bail!("three figures, and not `{text}`") };
        let bytes = |kib: &str| kib.parse::<u64>().map(|kib| kib << 10);
        Ok(Self { cpu: micros.parse::<f64>()? / 1e6, memory: bytes(resident)?, anonymous: bytes(anonymous)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_read() {
        assert_eq!(
            Spent::read("1500000 2048 1024").expect("figures"),
            Spent { cpu: 1.5, memory: 2 << 20, anonymous: 1 << 20 }
        );
        assert!(Spent::read("1 2").is_err());
        assert!(held(std::process::id()).is_some_and(|kib| kib > 0));
    }
}
