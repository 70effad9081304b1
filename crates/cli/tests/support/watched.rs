//! A command that runs while a test does something to it: its lines are waited for, never the clock.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

/// A command that was started.
pub struct Watched {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it has said on standard error so far.
    pub said: String,
}

impl Watched {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("standard error is piped"));
        Self { child, stderr, said: String::new() }
    }

    /// Reads until a line begins with `start`; false when it ended before.
    pub fn reads(&mut self, start: &str) -> bool {
        loop {
            let mut line = String::new();
            if self.stderr.read_line(&mut line).expect("what it says can be read") == 0 {
                return false;
            }
            self.said += &line;
            if line.starts_with(start) {
                return true;
            }
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }

    /// Waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        self.reads("\0 never said");
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ended = (self.child.kill(), self.child.wait());
    }
}
