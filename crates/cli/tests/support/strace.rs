//! `strace` on a process that runs already: makes chosen system calls fail, or kill, and tells which calls it saw.
//!
//! A count (`when=3`) is kept for each thread and each kind of call, from the moment at which it attached.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use crate::lab::until;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An `strace` that is attached to every thread of a process.
pub struct Strace {
    child: Child,
    process: u32,
    trace: PathBuf,
}

impl Strace {
    /// Attaches to a process, shows the calls and does to them what `inject` says; returns once every call is seen. `None`
    /// where it is not installed or not allowed. `trace` names its files.
    pub fn attach(process: u32, trace: &Path, calls: &str, inject: &str) -> Option<Self> {
        Self::attach_with(process, trace, calls, inject, &[])
    }

    /// The same for calls that touch one path only.
    pub fn attach_to_path(process: u32, trace: &Path, path: &Path, calls: &str, inject: &str) -> Option<Self> {
        Self::attach_with(process, trace, calls, inject, &[OsStr::new("-P"), path.as_os_str()])
    }

    fn attach_with(process: u32, trace: &Path, calls: &str, inject: &str, more: &[&OsStr]) -> Option<Self> {
        let said = trace.with_extension("said");
        let stderr = File::create(&said).expect("a file can be made");
        let mut command = Command::new("strace");
        // `-y` shows the path behind a descriptor, `-s 0` no payloads.
        command.args(["-f", "-y", "-s", "0", "-e", &format!("trace={calls}"), "-e", &format!("inject={inject}"), "-o"]);
        command.arg(trace).args(more).args(["-p", &process.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(stderr).spawn().ok()?;
        let mut strace = Self { child, process, trace: trace.to_owned() };
        let attached = || fs::read_to_string(&said).is_ok_and(|said| said.contains(" attached"));
        until("strace is attached, or ends", || attached() || !strace.runs());
        attached().then_some(strace)
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Lets go of the process, which goes on unharmed, and tells the calls that were seen in their order: each a line like
    /// `fdatasync(7</path>) = 0`.
    pub fn detach(mut self) -> Vec<String> {
        if self.runs() {
            kill_process(Pid::from_child(&self.child), Signal::INT).expect("a child that runs can be signalled");
        }
        // It can wait for ever for a process that it kills while it lets go of it; then it is not needed any more.
        let dies =
            |process| fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| stat.contains(") Z "));
        until("strace lets go", || !self.runs() || dies(self.process));
        // It may have ended by itself already.
        let _ended = self.child.kill();
        self.child.wait().expect("a child can be waited for");
        whole_lines(&fs::read_to_string(&self.trace).expect("strace left a trace"))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ended = (self.child.kill(), self.child.wait());
    }
}

/// A trace without process numbers; calls that others interrupted in it stand where they ended.
fn whole_lines(trace: &str) -> Vec<String> {
    let (mut begun, mut lines) = (BTreeMap::new(), Vec::new());
    for (process, line) in trace.lines().filter_map(|line| line.split_once(' ')) {
        let line = line.trim_start();
        if let Some(start) = line.strip_suffix("<unfinished ...>") {
            begun.insert(process, start.trim_end());
        } else if let Some((_, rest)) = line.split_once(" resumed>").filter(|_| line.starts_with("<...")) {
            lines.push(format!("{}{rest}", begun.remove(process).unwrap_or_default()));
        } else {
            lines.push(line.to_owned());
        }
    }
    // Calls in which a process was killed have no end.
    lines.extend(begun.into_values().map(|start| format!("{start} = ?")));
    lines
}

/// The path behind the first descriptor of a call.
pub fn path_of(call: &str) -> Option<&str> {
    Some(call.split_once('<')?.1.split_once('>')?.0)
}
