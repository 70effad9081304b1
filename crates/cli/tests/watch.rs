//! `tiding status --watch` and `--metrics` with the real binary: on a terminal, in a pipe, and while an origin comes and goes.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;

use lab::{Lab, PATIENCE, TIDING, tree};
use said::{expect, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A watch that writes into a pipe.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start(lab: &Lab) -> Self {
        let mut command = lab.operator_command(&["status", "--watch"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    /// Reads until a line says so.
    fn until(&mut self, said: &str) -> String {
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("it can be read") > 0 {
            assert!(!line.contains('\x1b'), "{line:?}");
            if line.contains(said) {
                return line;
            }
            line.clear();
        }
        panic!("it ended before it said `{said}`");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ended = (self.child.kill(), self.child.wait());
    }
}

#[test]
fn w7_a_pipe_gets_a_line_for_each_change_and_the_origin_may_come_and_go() {
    let mut lab = Lab::new();
    let _agent = lab.agent("node-1");
    let mut watch = Watch::start(&lab);
    let source = lab.dir().join("source");
    tree(&source, 20_000, 1);
    expect(&said::deploy(&lab, &source, &["--version", "one"]), 0, "confirmed");
    watch.until("one  finished; 1 of 1 node confirmed");
    lab.origin.kill();
    watch.until("no origin answers");
    lab.restart_origin();
    watch.until("an origin answers again");
}

#[test]
fn a_terminal_is_painted_and_left_as_it_was() {
    if Command::new("script").arg("--version").output().is_err() {
        return skip::skipped(
            "a_terminal_is_painted_and_left_as_it_was",
            "there is no `script`, which makes a terminal",
        );
    }
    let lab = Lab::new();
    let _agent = lab.agent("node-1");
    let operator = lab.dir().join("operator");
    let watch = format!("'{}' status --watch --operator-home '{}'", TIDING.to_string_lossy(), operator.display());
    let words = format!("stty rows 30 cols 90; stty -g; {watch}; echo ended with $?; stty -g");
    let mut command = Command::new("script");
    command.args(["-qec", &words, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let (mut keys, mut out) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let mut seen = Vec::new();
    read_until(&mut out, &mut seen, "nothing was deployed yet");
    keys.write_all(b"xq").expect("it reads keys");
    read_until(&mut out, &mut seen, "ended with 0");
    out.read_to_end(&mut seen).ok();
    assert!(child.wait().is_ok_and(|ended| ended.success()));

    let seen = text(&seen);
    let (before, painted) = seen.split_once("\x1b[?1049h").expect("the picture is on another screen");
    let (painted, after) = painted.split_once("\x1b[?1049l").expect("and the one before comes back");
    assert!(painted.contains("of dc1: 1 agent"), "{painted:?}");
    assert!(painted.contains("\x1b[?25l") && painted.contains("\x1b[?25h"), "the cursor comes back: {painted:?}");
    let colours = painted.split('\x1b').filter(|part| {
        part.starts_with('[')
            && part.split(|c: char| c.is_alphabetic()).next().is_some_and(|code| part[code.len()..].starts_with('m'))
    });
    assert_eq!(colours.count(), 0, "NO_COLOR is set: {painted:?}");
    let modes = |text: &str| text.lines().map(str::trim).find(|line| line.matches(':').count() > 10).map(str::to_owned);
    assert!(modes(before).is_some() && modes(before) == modes(after), "{before:?} {after:?}");
}

fn read_until(out: &mut impl Read, seen: &mut Vec<u8>, said: &str) {
    let mut some = [0; 4096];
    while !text(seen).contains(said) {
        let read = out.read(&mut some).expect("it can be read");
        assert!(read > 0, "it ended: {}", text(seen));
        seen.extend_from_slice(&some[..read]);
    }
}

#[test]
fn figures_are_served_where_it_was_said_and_not_to_everyone_by_mistake() {
    let lab = Lab::listening("127.0.0.1:0", &["--metrics", "127.0.0.1:0"]);
    let log = lab.origin.log();
    let at = log.split("http://").nth(1).and_then(|rest| rest.split("/metrics").next()).expect("it says where");
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {at}\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains("\ntiding_build_info{version="), "{answer}");

    let refused = lab.operator_less(&["run", "--metrics", "0.0.0.0:9723"]);
    expect(&refused, 2, "write public:0.0.0.0:9723 if a firewall");
    // An address that is taken keeps nobody from running.
    let other = Lab::listening("127.0.0.1:0", &["--metrics", at]);
    assert!(other.origin.log().contains("the node runs without them"), "{}", other.origin.log());
}
