//! `tiding stop`: stops the node that runs from a home, in order, and waits until it has.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
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
        match stop(&home, self.wait)? {
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
        Err(error) => return Err(cannot_stop(home).because(format!("{}: {error}", path.display()))),
    };
    match lock.try_lock() {
        Ok(()) => return Ok(Stopped::NothingRan),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(cannot_stop(home).because(error)),
    }
    let pid = owner(&path).ok_or_else(|| cannot_stop(home).because("its lock does not say which process has it"))?;
    kill_process(pid, Signal::TERM).map_err(|error| cannot_stop(home).because(format!("process {pid:?}: {error}")))?;
    wait_until_free(lock, wait).then_some(Stopped::Now).ok_or_else(|| {
        cannot_stop(home)
            .because(format!("process {} has not ended within {wait:?}", pid.as_raw_nonzero()))
            .next("wait longer with --wait, or kill it: a node survives that")
    })
}

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
    fn a_free_lock_means_that_nothing_runs_and_nobody_is_killed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("store")).expect("a directory");
        // Process 1 is never ours to stop: were it asked to, this test would not return.
        std::fs::write(dir.path().join("store/lock"), "1\n").expect("a file");
        assert_eq!(stop(dir.path(), Duration::ZERO).map_err(|failure| failure.kind), Ok(Stopped::NothingRan));
    }
}
