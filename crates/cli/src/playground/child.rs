//! One node as a process of its own, which ends when we do.
//!
//! Its standard input is the line by which it lives: when this process is gone, however it went, that input closes and the
//! node stops. A node that is to be left running is started without that and ignores the terminal.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use node::escape::escape;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, Command, Stdio};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a node may take until it runs.
const START: Duration = Duration::from_secs(60);

/// A node that was started.
pub(crate) struct Child {
    /// Its name.
    pub(crate) name: String,
    log: PathBuf,
    process: Process,
    lifeline: Option<ChildStdin>,
    ready: Option<oneshot::Receiver<String>>,
}

/// What a node prints once it runs, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Ready {
    node: String,
}

impl Child {
    /// Starts `tiding` with these arguments, as the node `name` with everything in `home`. `first` is the first line of its
    /// standard input.
    pub(crate) fn start(
        name: &str,
        home: &Path,
        arguments: &[&str],
        first: Option<&str>,
        detached: bool,
    ) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| {
            Failure::new(Kind::Failed, format!("cannot start {name}"))
                .because(error)
                .next("check that there is room for files and processes, or try with fewer --agents")
        };
        std::fs::create_dir_all(home.join("root")).map_err(cannot)?;
        let log = home.join("log");
        let output = File::create(&log).map_err(cannot)?;
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        for variable in Settings::VARIABLES {
            command.env_remove(variable);
        }
        command.args(arguments).args(["--config", "/dev/null", "--json", "--listen", "127.0.0.1:0"]);
        command.arg("--home").arg(home).arg("--root").arg(home.join("root"));
        command.arg(if detached { "--ignore-hangup" } else { "--until-stdin-closes" });
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(output).process_group(0);
        let mut process = command.spawn().map_err(cannot)?;
        let mut lifeline = process.stdin.take();
        if let (Some(input), Some(first)) = (&mut lifeline, first) {
            writeln!(input, "{first}").map_err(cannot)?;
        }
        let ready = process.stdout.take().map(first_line);
        Ok(Self { name: name.to_owned(), log, process, lifeline, ready })
    }

    /// Waits until it runs, or says why it does not.
    pub(crate) async fn ready(&mut self) -> Result<(), Failure> {
        let Some(ready) = self.ready.take() else { return Err(self.failure("it was waited for before")) };
        let line = match tokio::time::timeout(START, ready).await {
            Ok(Ok(line)) => line,
            Ok(Err(_)) => return Err(self.failure("it ended before it ran")),
            Err(_) => return Err(self.failure("it did not come up in a minute")),
        };
        match serde_json::from_str::<Ready>(&line) {
            Ok(ready) if ready.node == self.name => Ok(()),
            _ => Err(self.failure(&format!("it said `{}`", escape(&line)))),
        }
    }

    /// Whether it has ended, and how.
    pub(crate) fn has_ended(&mut self) -> Option<Failure> {
        let status = self.process.try_wait().ok()??;
        Some(self.failure(&format!("it ended ({status})")))
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_gone(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Asks it to stop in order.
    pub(crate) fn let_go(&mut self) {
        self.lifeline = None;
    }

    /// Ends it now.
    pub(crate) fn kill(&mut self) {
        // One that is gone already cannot be killed, which is what we want.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }

    fn failure(&self, why: &str) -> Failure {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(12)..].join("\n");
        Failure::new(Kind::Failed, format!("{} does not run: {why}", self.name))
            .because(format!("the end of its log:\n{tail}"))
            .next("read the above; --dir D keeps whole logs in D/NODE/log")
    }
}

/// The first line of a stream, as soon as it is there; a thread waits for it and keeps the stream open until its end.
fn first_line(stream: impl std::io::Read + Send + 'static) -> oneshot::Receiver<String> {
    let (say, heard) = oneshot::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        if reader.read_line(&mut line).is_ok_and(|read| read > 0) {
            // Nobody waits any more: the playground ended first.
            let _unheard = say.send(line.trim_end().to_owned());
        }
    });
    heard
}
