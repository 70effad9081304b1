//! `tiding stop`: stops the node that runs from a home, in order, and waits until it has.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// Stops a node on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tiding stop --home /var/lib/tiding")]
pub(crate) struct Stop {
    /// The node's home [default: /var/lib/tiding for root, else ~/.local/share/tiding]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// How long to wait until it has stopped
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::parse::duration)]
    wait: Duration,
    /// Print how it was found as one line of JSON on standard output
    #[arg(long)]
    json: bool,
}

/// How a node was found, for programs.
#[derive(Debug, Serialize)]
struct StoppedJson<'a> {
    home: &'a Path,
    /// Whether it ran, and does not any more.
    stopped: bool,
}

/// How a node was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It ran and has stopped in order.
    Now,
    /// Nothing ran there.
    NothingRan,
}

impl Stop {
    /// Stops it and says so.
    pub(crate) fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let home = settings.home(self.home.as_ref())?;
        let found = stop(&home, self.wait)?;
        if self.json {
            speak::json(&StoppedJson { home: &home, stopped: found == Stopped::Now });
            return Ok(());
        }
        match found {
            Stopped::Now => speak::result(format!("the node in {} has stopped", home.display())),
            Stopped::NothingRan => speak::result(format!("nothing runs in {}", home.display())),
        }
        Ok(())
    }
}

/// Asks the process that has the home's store to terminate, and waits until its lock is free.
pub(crate) fn stop(home: &Path, wait: Duration) -> Result<Stopped, Failure> {
    let path = home.join("store").join("lock");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return missing(home),
        Err(error) => return Err(cannot_stop(home).because(format!("{}: {error}", path.display())).next(AS_WHOM)),
    };
    match lock.try_lock() {
        Ok(()) => return Ok(Stopped::NothingRan),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(cannot_stop(home).because(error).next(AS_WHOM)),
    }
    let pid = owner(&path).ok_or_else(|| {
        cannot_stop(home)
            .because("its lock does not say which process has it")
            .next(format!("`fuser {}` may tell; it stops in order when it is sent SIGTERM", path.display()))
    })?;
    kill_process(pid, Signal::TERM).map_err(|error| {
        cannot_stop(home).because(format!("process {}: {error}", pid.as_raw_nonzero())).next(AS_WHOM)
    })?;
    wait_until_free(lock, wait).then_some(Stopped::Now).ok_or_else(|| {
        cannot_stop(home)
            .because(format!("process {} has not ended within {wait:?}", pid.as_raw_nonzero()))
            .next("wait longer with --wait, or kill it: a node survives that")
    })
}

/// What helps when this user may not.
const AS_WHOM: &str = "stop it as the user that started it, or as root";

/// A home without a store never ran; a directory that is no home at all is a mistake.
fn missing(home: &Path) -> Result<Stopped, Failure> {
    match node::founding::is_founded(home) {
        true => Ok(Stopped::NothingRan),
        false => Err(Failure::new(Kind::Usage, format!("{} is no node's home", home.display()))
            .next("say where it is with --home DIR")),
    }
}

/// The process that wrote itself into the lock.
fn owner(path: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(path).ok()?;
    Pid::from_raw(text.split_whitespace().next()?.parse().ok()?)
}

/// Waits for the lock itself: it ends with the process, however that ends.
fn wait_until_free(lock: File, wait: Duration) -> bool {
    let (free, waiting) = mpsc::channel();
    std::thread::spawn(move || free.send(lock.lock().is_ok()));
    waiting.recv_timeout(wait).unwrap_or(false)
}

fn cannot_stop(home: &Path) -> Failure {
    Failure::new(Kind::Failed, format!("cannot stop the node in {}", home.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_node_is_a_mistake_of_the_arguments() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(stop(dir.path(), Duration::ZERO).map_err(|failure| failure.kind), Err(Kind::Usage));
    }

    #[test]
    fn every_way_not_to_stop_a_node_says_what_next() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("store/lock");
        std::fs::create_dir(dir.path().join("store")).expect("a directory");
        let held = File::create(&path).expect("a file");
        held.lock().expect("nobody else has it");
        let nameless = stop(dir.path(), Duration::ZERO).expect_err("nobody is named");
        assert!(nameless.next.is_some());
        // No process has this number: it is beyond what the kernel gives.
        std::fs::write(&path, "2147483647\n").expect("written");
        let gone = stop(dir.path(), Duration::ZERO).expect_err("no such process");
        assert!(gone.why.is_some_and(|why| why.starts_with("process 2147483647:")) && gone.next.is_some());
    }

    #[test]
    fn a_free_lock_means_that_nothing_runs_and_nobody_is_killed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("store")).expect("a directory");
        // Process 1 is never ours to stop: were it asked to, this test would not return.
        std::fs::write(dir.path().join("store/lock"), "1\n").expect("a file");
        assert_eq!(stop(dir.path(), Duration::ZERO).map_err(|failure| failure.kind), Ok(Stopped::NothingRan));
    }
}
