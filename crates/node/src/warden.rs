//! A shell that outlives the agent by a moment, and takes the agent's commands with it.
//!
//! Commands are process groups that are killed when nobody waits for them any more. An agent that is itself killed runs nothing of that,
//! and what it had begun would go on beside what its next life begins. So a small shell hears of every group on a pipe that only the agent
//! can write to: when the pipe ends the agent is gone, however that went, and the groups that have begun and not ended go, too.
//!
//! It decides nothing else, and commands run without it where no shell can be started.

use rustix::process::Pid;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

/// What the shell does. It is deaf to what a terminal or a service manager says to all: it ends when the pipe does.
const LINE: &str = r#"trap '' HUP INT TERM QUIT PIPE
groups=' '
while read -r what group; do
  case $what in
    begun) groups="$groups$group " ;;
    ended) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group"; done"#;

/// Who kills what a killed agent leaves; started with the first group.
#[derive(Debug, Default)]
pub(crate) struct Warden(Mutex<Option<Watch>>);

/// The shell that runs, and the pipe to it.
#[derive(Debug)]
struct Watch {
    child: Child,
    pipe: ChildStdin,
}

impl Warden {
    /// A group has begun: it is to go with the agent.
    pub(crate) fn begun(&self, group: Pid) {
        let Ok(mut watch) = self.0.lock() else { return };
        if watch.as_mut().is_none_or(|watch| !watch.runs()) {
            *watch = Watch::start();
        }
        if let Some(watch) = watch.as_mut() {
            watch.say("begun", group);
        }
    }

    /// A group has ended: what it left running is meant to run.
    pub(crate) fn ended(&self, group: Pid) {
        if let Ok(mut watch) = self.0.lock()
            && let Some(watch) = watch.as_mut()
        {
            watch.say("ended", group);
        }
    }
}

impl Watch {
    fn start() -> Option<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", LINE, "tiding-warden"]).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn().inspect_err(|why| {
            tracing::warn!(
                "no shell watches over the commands of releases, which outlive this agent if it is killed: {why}"
            );
        });
        let mut child = started.ok()?;
        let pipe = child.stdin.take()?;
        Some(Self { child, pipe })
    }

    fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn say(&mut self, what: &str, group: Pid) {
        // One that is gone is found out at the next group.
        writeln!(self.pipe, "{what} {}", group.as_raw_nonzero()).ok();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Whoever started a service and stops in order leaves it: all groups have ended or were killed by now.
        self.child.kill().and_then(|()| self.child.wait().map(drop)).ok();
    }
}
