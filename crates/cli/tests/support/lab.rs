//! A small fleet of real processes of the real binary on loopback, to which bad things can be done.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The binary under test: the one that was built with the tests, or the one that `TIDING_TESTED` names.
pub static TIDING: LazyLock<OsString> =
    LazyLock::new(|| std::env::var_os("TIDING_TESTED").unwrap_or_else(|| env!("CARGO_BIN_EXE_tiding").into()));

/// How long anything here may take before the test gives up; never how long it should take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Where agents lay versions of the program out, below the root of their paths.
pub const SOFTWARE: &str = "var/lib/tiding/software";

/// A running node.
pub struct Node {
    child: Child,
    /// Where it keeps everything.
    pub home: PathBuf,
    /// Where the paths of releases begin.
    pub root: PathBuf,
    /// Where it accepts connections.
    pub address: SocketAddr,
    /// The join line, of an origin.
    pub join: Option<String>,
}

impl Node {
    /// Kills it as a power cut would, short of the disk.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child that runs can be killed");
        self.child.wait().expect("a child that was killed can be waited for");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child that was not waited for can be signalled");
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> bool {
        until("the process ends", || self.child.try_wait().expect("a child can be waited for").is_some());
        true
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).expect("a node has a log")
    }

    /// What is live at `/srv/app`.
    pub fn live(&self) -> PathBuf {
        self.root.join("srv/app")
    }

    /// Whether exactly this tree is live.
    pub fn shows(&self, source: &Path) -> bool {
        same(&self.live(), source)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ended = (self.child.kill(), self.child.wait());
    }
}

/// A directory with one origin in it, and the operator's keys.
pub struct Lab {
    held: tempfile::TempDir,
    /// What runs the origin's and the operator's programs, if they do not run here.
    on: Vec<String>,
    /// The origin.
    pub origin: Node,
}

impl Lab {
    /// Founds a fleet and starts its origin.
    pub fn new() -> Self {
        Self::listening("127.0.0.1:0", &[])
    }

    /// The same on a given address, with more arguments for `tiding up`.
    pub fn listening(address: &str, more: &[&str]) -> Self {
        Self::on(Vec::new(), address, more)
    }

    /// The same on another machine: whatever these words run programs on.
    pub fn on(on: Vec<String>, address: &str, more: &[&str]) -> Self {
        let held = tempfile::tempdir().expect("a temporary directory can be made");
        let mut command = program(&on);
        command.args(["up", "--json", "--listen", address, "--name", "origin", "--operator-home"]);
        command.arg(held.path().join("operator")).args(more);
        let origin = start(command, &held.path().join("origin"));
        Self { held, on, origin }
    }

    /// Where everything is.
    pub fn dir(&self) -> &Path {
        self.held.path()
    }

    /// Starts the origin again from its home, on the port it had.
    pub fn restart_origin(&mut self) {
        let mut command = program(&self.on);
        command.args(["up", "--json", "--listen", &self.origin.address.to_string(), "--operator-home"]);
        command.arg(self.dir().join("operator"));
        self.origin = start(command, &self.dir().join("origin"));
    }

    /// Starts an agent that joins (or runs again, if its home is there).
    pub fn agent(&self, name: &str) -> Node {
        self.agent_in(name, &self.dir().join(name))
    }

    /// Starts an agent that joins with these labels.
    pub fn labelled_agent(&self, name: &str, labels: &[&str]) -> Node {
        let words = ["token", "--json"].into_iter().chain(labels.iter().flat_map(|label| ["--label", label]));
        let made = self.operator(&words.collect::<Vec<_>>());
        let made: Value = serde_json::from_slice(&made.stdout).expect("a token as JSON");
        let line = made["line"].as_str().expect("a join line");
        let mut command = program(&[]);
        command.args(["join", line, "--json", "--name", name, "--listen", "127.0.0.1:0"]);
        start(command, &self.dir().join(name))
    }

    /// Starts an agent as the service does, by the launcher with these words; it joins first, if its home is not there.
    pub fn launched_agent(&self, name: &str, words: &[&str]) -> Node {
        let home = self.dir().join(name);
        if !home.join("identity").exists() {
            let mut joining = self.agent_command(name, &home);
            joining.arg("--no-run");
            start(joining, &home).wait();
        }
        let mut command = program(&[]);
        command.arg("launch").arg("--software").arg(home.join("root").join(SOFTWARE)).args(words);
        command.args(["--", "run", "--json", "--listen", "127.0.0.1:0"]);
        start(command, &home)
    }

    /// The same in a home elsewhere.
    pub fn agent_in(&self, name: &str, home: &Path) -> Node {
        start(self.agent_command(name, home), home)
    }

    /// Starts an agent on another machine, listening at an address there.
    pub fn agent_on(&self, on: &[String], name: &str, address: &str) -> Node {
        let home = self.dir().join(name);
        start(self.command_on(on, name, &home, address), &home)
    }

    /// What starts an agent.
    fn agent_command(&self, name: &str, home: &Path) -> Command {
        self.command_on(&[], name, home, "127.0.0.1:0")
    }

    fn command_on(&self, on: &[String], name: &str, home: &Path, address: &str) -> Command {
        let line = self.origin.join.as_deref().expect("the origin printed a join line");
        let mut command = program(on);
        match home.join("identity").exists() {
            true => command.args(["run", "--json"]),
            false => command.args(["join", line, "--json", "--name", name]),
        };
        command.args(["--listen", address]);
        command
    }

    /// Runs a command that needs no operator's home to its end.
    pub fn operator_less(&self, words: &[&str]) -> Output {
        program(&self.on).args(words).output().expect("the binary runs")
    }

    /// Runs a command of the operator to its end.
    pub fn operator(&self, words: &[&str]) -> Output {
        self.operator_command(words).output().expect("the binary runs")
    }

    /// A command of the operator, not started.
    pub fn operator_command(&self, words: &[&str]) -> Command {
        self.operator_command_on(&self.on, words)
    }

    /// The same from another machine.
    pub fn operator_command_on(&self, on: &[String], words: &[&str]) -> Command {
        let mut command = program(on);
        command.args(words).arg("--operator-home").arg(self.dir().join("operator"));
        command
    }

    /// The command that deploys `source` to `/srv/app`, not started.
    pub fn deploy_command(&self, source: &Path) -> Command {
        self.operator_command(&["deploy", &source.to_string_lossy(), "--to", "/srv/app"])
    }

    /// Deploys `source` to `/srv/app` and asserts that it went well.
    pub fn deploy(&self, source: &Path) -> String {
        let output = self.deploy_command(source).output().expect("the binary runs");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "deploy: {}\n{out}\n{err}", output.status);
        format!("{out}\n{err}")
    }

    /// What the origin says of one node and the application.
    pub fn status_of(&self, name: &str) -> Option<Value> {
        let status = self.status()?;
        let node = status["nodes"].as_array()?.iter().find(|node| node["name"] == name)?;
        node["apps"].as_array()?.first().cloned()
    }

    /// What the origin says of everything.
    pub fn status(&self) -> Option<Value> {
        let output = self.operator(&["status", "--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
    }
}

/// The binary, run by these words if there are any.
fn program(on: &[String]) -> Command {
    match on {
        [] => Command::new(&*TIDING),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(&*TIDING);
            command
        }
    }
}

/// Starts a node and waits for the line that says that it runs.
pub fn start(mut command: Command, home: &Path) -> Node {
    let root = home.join("root");
    fs::create_dir_all(root.join("srv")).expect("a directory can be made");
    let log = fs::File::options().create(true).append(true).open(home.join("log")).expect("a log can be made");
    command.arg("--home").arg(home).arg("--root").arg(&root).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().expect("the binary starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("standard output is piped");
    BufReader::new(stdout).read_line(&mut line).expect("a child's output can be read");
    let Ok(ready) = serde_json::from_str::<Value>(&line) else {
        let log = fs::read_to_string(home.join("log")).unwrap_or_default();
        panic!("it said {line:?}, and in its log:\n{log}");
    };
    let text = |key: &str| ready[key].as_str().map(str::to_owned);
    let address = text("address").and_then(|text| text.parse().ok()).expect("a node says where it listens");
    Node { child, home: home.to_owned(), root, address, join: text("join") }
}

/// Asks again and again until it is so; yields in between, and gives up after [`PATIENCE`].
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "gave up waiting: {what}");
        std::thread::yield_now();
    }
}

/// A tree with a large file, many small ones, links and an empty directory; `seed` makes it another one.
pub fn tree(at: &Path, large: usize, seed: u64) {
    let bytes = |len: usize, seed: u64| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = |state: &mut u64| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            (*state >> 24) as u8
        };
        (0..len).map(|_| next(&mut state)).collect::<Vec<u8>>()
    };
    fs::create_dir_all(at.join("sub/empty")).expect("a directory can be made");
    fs::write(at.join("large"), bytes(large, seed)).expect("a file can be written");
    for number in 0..20u64 {
        fs::write(at.join(format!("sub/small-{number}")), bytes(700 * number as usize, number))
            .expect("a file can be written");
    }
    std::os::unix::fs::symlink("large", at.join("link")).expect("a link can be made");
    fs::hard_link(at.join("large"), at.join("sub/again")).expect("a link can be made");
}

/// Whether two trees hold the same names, kinds, bytes and links, or two files the same bytes.
pub fn same(a: &Path, b: &Path) -> bool {
    let of = |path: &Path| {
        let mut entries = Vec::new();
        walk(path, Path::new(""), &mut entries);
        entries
    };
    of(a) == of(b)
}

fn walk(root: &Path, at: &Path, into: &mut Vec<(PathBuf, String)>) {
    let mut names: Vec<_> = match fs::read_dir(root.join(at)) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name()).collect(),
        Err(_) => return into.push((at.to_owned(), bytes_of(root))),
    };
    names.sort();
    for name in names {
        let path = at.join(name);
        let whole = root.join(&path);
        if whole.is_symlink() {
            into.push((path, format!("-> {}", fs::read_link(&whole).unwrap_or_default().display())));
        } else if whole.is_dir() {
            into.push((path.clone(), "/".into()));
            walk(root, &path, into);
        } else {
            into.push((path, bytes_of(&whole)));
        }
    }
}

/// The bytes of a file in short; what cannot be read is like nothing else.
fn bytes_of(file: &Path) -> String {
    match fs::read(file) {
        Ok(bytes) => format!("{} {:?}", bytes.len(), content::Digest::of(&bytes)),
        Err(error) => format!("{}: {error}", file.display()),
    }
}
