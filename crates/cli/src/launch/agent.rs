//! One supervised process: started with a way to say how it does, listened to, and ended.
//!
//! It ends with its supervisor: its standard input is a pipe that closes then. What it started itself (the commands of releases, and what
//! those left running) is not touched.

use super::record::Process;
use node::notify::Word;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, timeout};

/// The socket on which it says how it does.
const SOCKET: &str = "notify";

/// A process that is supervised.
pub(super) struct Agent {
    child: Child,
    /// It ends when this closes. (Waiting for a child closes what the child itself holds of it.)
    _leash: Option<ChildStdin>,
    socket: UnixDatagram,
    /// The same socket, to be read without waiting whether anybody said that there is something.
    rest: std::os::unix::net::UnixDatagram,
    /// The directory of the socket, where it has one of its own.
    _place: Option<TempDir>,
    pub(super) started: Instant,
    /// When it last said that it turns.
    pub(super) alive: Instant,
    pub(super) is_ready: bool,
    pub(super) is_settled: bool,
    pub(super) is_stopping: bool,
}

/// What comes from it.
pub(super) enum Heard {
    Words(Vec<Word>),
    /// It has ended; what it said last may not be heard yet.
    End(ExitStatus),
}

impl Agent {
    /// Starts a program. It is to say that it turns at least once in `silence`.
    pub(super) fn start(program: &Path, words: &[OsString], software: &Path, silence: Duration) -> io::Result<Self> {
        let (rest, address, _place) = bound(software)?;
        rest.set_nonblocking(true)?;
        let socket = UnixDatagram::from_std(rest.try_clone()?)?;
        let mut command = Command::new(program);
        command.args(words).arg("--until-stdin-closes").stdin(Stdio::piped());
        command.env("NOTIFY_SOCKET", &address).env_remove("WATCHDOG_PID");
        command.env("WATCHDOG_USEC", silence.as_micros().to_string());
        let (mut child, now) = (command.spawn()?, Instant::now());
        let _leash = child.stdin.take();
        let (is_ready, is_settled, is_stopping) = (false, false, false);
        Ok(Self { child, _leash, socket, rest, _place, started: now, alive: now, is_ready, is_settled, is_stopping })
    }

    /// Which process it is.
    pub(super) fn process(&self) -> Option<Process> {
        Process::of(i32::try_from(self.child.id()?).ok()?)
    }

    /// Waits for what it says next, and keeps it; or for its end.
    pub(super) async fn hear(&mut self) -> io::Result<Heard> {
        let mut buffer = [0; 4096];
        tokio::select! {
            biased;
            status = self.child.wait() => status.map(Heard::End),
            read = self.socket.recv(&mut buffer) => {
                let words = Word::all_of(&buffer[..read?]);
                words.iter().for_each(|word| self.keep(word));
                Ok(Heard::Words(words))
            }
        }
    }

    fn keep(&mut self, word: &Word) {
        match word {
            Word::Ready => (self.is_ready, self.alive) = (true, Instant::now()),
            Word::Alive => self.alive = Instant::now(),
            Word::Settled => self.is_settled = true,
            Word::Stopping => self.is_stopping = true,
            Word::Status(_) => {}
        }
    }

    /// What it said and nobody has heard yet: what a process said last is there when it has ended.
    pub(super) fn hear_the_rest(&mut self) -> Vec<Word> {
        let (mut buffer, mut all) = ([0; 4096], Vec::new());
        // One that never ends to talk is not listened to for ever.
        for _ in 0..64 {
            let Ok(read) = self.rest.recv(&mut buffer) else { break };
            all.extend(Word::all_of(&buffer[..read]));
        }
        all.iter().for_each(|word| self.keep(word));
        all
    }

    /// Asks it to end in order, and kills it when it does not; whether it is gone.
    pub(super) async fn end(&mut self, patience: Duration) -> bool {
        self.signal(Signal::TERM);
        timeout(patience, self.child.wait()).await.is_ok() || self.kill().await
    }

    /// Ends it as it is; whether it is gone.
    pub(super) async fn kill(&mut self) -> bool {
        self.signal(Signal::KILL);
        // What hangs in the kernel dies when it can.
        timeout(Duration::from_secs(10), self.child.wait()).await.is_ok()
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
            // It may have ended meanwhile.
            kill_process(pid, signal).ok();
        }
    }
}

/// A socket that only this user reaches, its path, and the directory that was made for it: beside the versions, or, where that disk is full or
/// cannot be written, in memory. (A name without a path would need no disk, and anybody on the machine could speak there.)
fn bound(software: &Path) -> io::Result<(std::os::unix::net::UnixDatagram, PathBuf, Option<TempDir>)> {
    let bind = |place: &Path| {
        let address = place.join(SOCKET);
        match std::fs::remove_file(&address) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::os::unix::net::UnixDatagram::bind(&address).map(|socket| (socket, address))
    };
    let refused = match bind(software) {
        Ok((socket, address)) => return Ok((socket, address, None)),
        Err(error) => error,
    };
    for elsewhere in [Path::new("/run"), Path::new("/dev/shm"), &std::env::temp_dir()] {
        // Made anew, with a name that nobody guesses, for this user alone.
        if let Ok(own) = tempfile::Builder::new().prefix("tiding-launch-").tempdir_in(elsewhere)
            && let Ok((socket, address)) = bind(own.path())
        {
            return Ok((socket, address, Some(own)));
        }
    }
    Err(refused)
}

/// Ends what a supervisor before this one left behind: it has the store, and listens.
pub(super) async fn end_stray(stray: &Process, patience: Duration) {
    let Some(pid) = Pid::from_raw(stray.pid) else { return };
    for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, Duration::from_secs(10))] {
        if !stray.runs() || kill_process(pid, signal).is_err() {
            return;
        }
        let until = Instant::now() + patience;
        while stray.runs() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
