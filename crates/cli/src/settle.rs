//! `tiding settle`: what a release of this program runs on a node, as its command after the switch and as its probe.
//!
//! The release is well when the agent that asks *is* the program at its path. When it is another one, the launcher is asked to start that
//! one, unless it has failed here before: then the command fails, and the node goes back as from any release.

use crate::failure::{Failure, Kind};
use crate::launch::record::{CURRENT, Process, Record, current};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a release of this program runs on a node.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tiding settle --agent $PPID --software /var/lib/tiding/software")]
pub(crate) struct Settle {
    /// The process of the agent that runs this
    #[arg(long, value_name = "PID")]
    agent: i32,
    /// Where versions of this program are laid out
    #[arg(long, value_name = "DIR")]
    software: PathBuf,
    /// Only say whether it is well
    #[arg(long)]
    look: bool,
}

/// How long the launcher may take to end the agent, and this with it; less than the time that the command has.
const PATIENCE: Duration = Duration::from_secs(170);

/// What stands between an agent and being the ordered version.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// It is that one.
    Settled,
    /// The launcher is to start it.
    Asks(Process),
    /// It cannot be: in words.
    Cannot(String),
}

impl Settle {
    /// Looks, and asks the launcher if something is to be done.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match (self.standing(), self.look) {
            (Standing::Settled, _) => Ok(()),
            (Standing::Asks(_), true) => Err(failure("the agent that runs is still another version")),
            (Standing::Asks(launcher), false) => swap(launcher),
            (Standing::Cannot(why), _) => Err(failure(why)),
        }
    }

    fn standing(&self) -> Standing {
        let link = self.software.join(CURRENT);
        if is_same(&PathBuf::from(format!("/proc/{}/exe", self.agent)), &link) {
            return Standing::Settled;
        }
        let (record, _) = Record::read(&self.software);
        of(&record, current(&link), Process::of(self.agent))
    }
}

fn of(record: &Record, ordered: Option<String>, agent: Option<Process>) -> Standing {
    let Some(ordered) = ordered else { return Standing::Cannot("nothing is ordered here".to_owned()) };
    if let Some(why) = record.why_failed(&ordered) {
        return Standing::Cannot(format!("this version failed here: {why}"));
    }
    let known = |process: &Option<Process>| process.clone().map(Process::or_of_this_boot);
    match known(&record.launcher).filter(Process::runs) {
        Some(launcher) if agent.is_some() && known(&record.agent) == agent => Standing::Asks(launcher),
        _ => Standing::Cannot("this agent was not started by `tiding launch`, and nobody would put it back".to_owned()),
    }
}

/// Asks the launcher, and waits to be ended with the agent.
fn swap(launcher: Process) -> Result<(), Failure> {
    let pid = Pid::from_raw(launcher.pid).ok_or_else(|| failure("the launcher has no number"))?;
    kill_process(pid, Signal::USR1).map_err(|error| failure(format!("the launcher cannot be asked: {error}")))?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(failure("the launcher did not start it"))
}

fn is_same(a: &Path, b: &Path) -> bool {
    let of = |path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    of(a).is_some_and(|file| of(b) == Some(file))
}

fn failure(why: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Failed, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_failed_is_not_asked_for_again_and_nobody_is_asked_who_does_not_supervise() {
        let me = Process::of(std::process::id() as i32);
        let mut record = Record::default();
        (record.agent, record.launcher) = (me.clone(), me.clone());
        let ordered = || Some("one".to_owned());
        assert_eq!(of(&record, ordered(), me.clone()), Standing::Asks(me.clone().expect("this process")));
        assert!(matches!(of(&record, None, me.clone()), Standing::Cannot(_)));
        assert!(
            matches!(of(&record, ordered(), Process::of(1)), Standing::Cannot(why) if why.contains("tiding launch"))
        );
        assert!(matches!(of(&Record::default(), ordered(), me.clone()), Standing::Cannot(_)));
        record.give_up("one", "it hangs".to_owned());
        assert_eq!(of(&record, ordered(), me), Standing::Cannot("this version failed here: it hangs".to_owned()));
    }
}
