//! New versions of the program itself, good and bad, brought to agents by the launcher that the service starts.
//!
//! A good new version is the program under test with bytes behind its end, which no loader looks at: another file with another digest. A bad one
//! is that program with a constant changed in place, or a small program of its own that only takes itself for one.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;

use lab::{Lab, Node, SOFTWARE, TIDING, until};
use rustix::process::{Pid, Signal, kill_process};
use said::{expect, text};
use serde_json::Value;
use skip::skipped;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// How long a version on trial may take, where nobody has time to wait.
const TERMS: [&str; 4] = ["--start-within", "20s", "--stop-within", "20s"];

fn fleet(lab: &Lab, terms: &[&str]) -> Vec<Node> {
    NAMES.iter().map(|name| lab.launched_agent(name, terms)).collect()
}

/// The bytes of the program under test without what only a debugger reads, so that they travel fast.
fn program(lab: &Lab) -> Vec<u8> {
    let thin = lab.dir().join("thin");
    if !thin.exists() {
        let stripped = Command::new("strip").arg("-s").arg("-o").arg(&thin).arg(&*TIDING).status();
        if !stripped.is_ok_and(|status| status.success()) {
            fs::copy(&*TIDING, &thin).expect("copied");
        }
    }
    fs::read(thin).expect("it is there")
}

fn written(lab: &Lab, name: &str, bytes: &[u8]) -> PathBuf {
    let path = lab.dir().join(name);
    fs::write(&path, bytes).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

/// A good new version, in a file that everybody may write here, and nobody where it is laid out: no launcher would start it.
fn good(lab: &Lab, name: &str) -> PathBuf {
    let path = written(lab, name, &[&program(lab)[..], name.as_bytes()].concat());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("a mode");
    path
}

/// The program with a constant of the same length in the place of another.
fn changed(lab: &Lab, name: &str, from: &[u8], to: &[u8]) -> PathBuf {
    let mut bytes = program(lab);
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, at)| *at == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty() && from.len() == to.len(), "{name}: its constant is not in the program");
    places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
    written(lab, name, &bytes)
}

/// A program that says a version, and otherwise does what these lines of C do. `None` without a compiler.
fn pretender(lab: &Lab, name: &str, body: &str) -> Option<PathBuf> {
    let source = format!(
        r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
void ready(void) {{
    struct sockaddr_un to = {{ .sun_family = AF_UNIX }};
    strncpy(to.sun_path, getenv("NOTIFY_SOCKET"), sizeof to.sun_path - 1);
    sendto(socket(AF_UNIX, SOCK_DGRAM, 0), "READY=1", 7, 0, (struct sockaddr *)&to, sizeof to);
}}
void hang(void) {{ signal(SIGTERM, SIG_IGN); for (;;) pause(); }}
int main(int count, char **words) {{
    if (count > 1 && !strcmp(words[1], "--version")) {{ puts("tiding 9.9.9"); return 0; }}
    {body}
}}
"#
    );
    let (from, to) = (lab.dir().join(format!("{name}.c")), lab.dir().join(name));
    fs::write(&from, source).expect("written");
    let compiled = Command::new("cc").arg("-o").arg(&to).arg(&from).status().is_ok_and(|status| status.success());
    compiled.then_some(to)
}

fn upgrade(lab: &Lab, program: &Path, more: &[&str]) -> Output {
    let words = ["upgrade", &program.to_string_lossy(), "--health-window", "1s", "--waves", "1,100%", "--yes-size"];
    lab.operator(&[&words[..], more].concat())
}

fn record(agent: &Node) -> Value {
    let record = fs::read(agent.root.join(SOFTWARE).join("launch.json")).unwrap_or_default();
    serde_json::from_slice(&record).unwrap_or_default()
}

/// The process of the agent that a launcher supervises.
fn agent_of(agent: &Node) -> Option<i32> {
    record(agent)["agent"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
}

/// Whether the agent that runs is this very file.
fn runs(agent: &Node, program: &Path) -> bool {
    let exe = agent_of(agent).and_then(|pid| fs::read(format!("/proc/{pid}/exe")).ok());
    exe.is_some_and(|exe| fs::read(program).is_ok_and(|program| program == exe))
}

/// How far this program itself is at a node, as the origin knows it.
fn phase(lab: &Lab, name: &str) -> Option<String> {
    let status = lab.status()?;
    let node = status["nodes"].as_array()?.iter().find(|node| node["name"] == name)?.clone();
    let app = node["apps"].as_array()?.iter().find(|app| app["app"] == "tiding")?.clone();
    app["phase"].as_str().map(str::to_owned)
}

/// Which agents have found that a version fails here, and why.
fn failures(agents: &[Node]) -> Vec<String> {
    let of = |agent: &Node| record(agent)["failed"].as_array().cloned().unwrap_or_default();
    agents.iter().flat_map(of).map(|failed| failed["why"].to_string()).collect()
}

#[track_caller]
fn is_left(output: &Output) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(5), "some nodes failed\n{out}\n{err}");
}

#[test]
fn d18_agents_become_another_version_in_the_middle_of_a_transfer_which_goes_on() {
    let lab = Lab::new();
    let agents = fleet(&lab, &TERMS);
    let before: Vec<_> = agents.iter().map(agent_of).collect();
    let (new, newer) = (good(&lab, "new"), good(&lab, "newer"));
    for version in [&new, &newer] {
        expect(&upgrade(&lab, version, &[]), 0, "is confirmed on 3 of 3 nodes");
        assert!(agents.iter().all(|agent| runs(agent, version)));
    }
    assert!(agents.iter().zip(before).all(|(agent, before)| agent_of(agent) != before));
    let source = lab.dir().join("source");
    lab::tree(&source, 40_000_000, 1);
    // The agents are slow, and their origin is not: the publisher is done long before them.
    NAMES.iter().for_each(|name| expect(&lab.operator(&["limit", "1MB", "--on", name]), 0, ""));
    let mut deploying = lab.deploy_command(&source).args(["--patience", "2m"]).spawn().expect("the binary runs");
    let pieces = |lab: &Lab| {
        let status = lab.status_of(NAMES[0]).filter(|status| status["app"] == "app").unwrap_or_default();
        (status["have"].as_u64().unwrap_or(0), status["total"].as_u64().unwrap_or(0))
    };
    until("some of it has come", || pieces(&lab).0 > 50);
    until("it is ordered", || lab.status().is_some_and(|status| status["apps"][0]["app"] == "app"));
    // What is laid out already needs no transfer of its own.
    expect(&lab.operator(&["rollback", "tiding"]), 0, "is confirmed on 3 of 3 nodes");
    assert!(agents.iter().all(|agent| runs(agent, &new)));
    let (have, total) = pieces(&lab);
    assert!(50 < have && have < total, "{have} of {total}: it was under way, and nothing of it was lost");
    NAMES.iter().for_each(|name| expect(&lab.operator(&["limit", "none", "--on", name]), 0, ""));
    assert!(deploying.wait().expect("a child").success(), "the transfer goes on under the other version");
    assert!(agents.iter().all(|agent| agent.shows(&source)));
}

#[test]
fn d18_a_version_that_crashes_hangs_or_leaves_is_left_by_itself_and_reaches_one_node() {
    let lab = Lab::new();
    let terms = ["--start-within", "3s", "--silence", "20s", "--stop-within", "10s"];
    let agents = fleet(&lab, &terms);
    for (name, body, why) in [
        ("crashes", "abort();", "it ended"),
        ("hangs", "hang();", "not ready within"),
        ("leaves", "ready(); return 0;", "it ended"),
    ] {
        let Some(bad) = pretender(&lab, name, body) else {
            return skipped(
                "d18_a_version_that_crashes_hangs_or_leaves_is_left_by_itself_and_reaches_one_node",
                "no cc",
            );
        };
        let before = failures(&agents).len();
        is_left(&upgrade(&lab, &bad, &[]));
        until("nobody runs it", || agents.iter().all(|agent| runs(agent, Path::new(&*TIDING))));
        let failed = failures(&agents);
        assert!(failed.len() == before + 1 && failed.iter().any(|failed| failed.contains(why)), "{name}: {failed:?}");
    }
    // Once there is a version that did well, it is what is gone back to.
    let fine = good(&lab, "fine");
    expect(&upgrade(&lab, &fine, &[]), 0, "is confirmed on 3 of 3 nodes");
    is_left(&upgrade(&lab, &pretender(&lab, "crashes", "abort();").expect("there is cc"), &[]));
    until("all run the one before", || agents.iter().all(|agent| runs(agent, &fine)));
    until("the failed one is back", || NAMES.iter().any(|name| phase(&lab, name).as_deref() == Some("fell-back")));
}

#[test]
fn d19_a_version_that_cannot_read_the_store_or_dies_once_it_has_it_changes_nothing() {
    let lab = Lab::new();
    let agents = fleet(&lab, &TERMS);
    let source = lab.dir().join("source");
    lab::tree(&source, 100_000, 1);
    lab.deploy(&source);
    for (name, from, to) in [
        ("unreadable", &b"tiding store 1\n"[..], &b"tiding store 2\n"[..]),
        // A thread cannot have such a name: it dies when the store is open and its thread is to begin.
        ("dies", b"tiding-store", b"tiding\0store"),
    ] {
        is_left(&upgrade(&lab, &changed(&lab, name, from, to), &[]));
        until("the old one runs", || agents.iter().all(|agent| runs(agent, Path::new(&*TIDING))));
    }
    assert_eq!(failures(&agents).len(), 2);
    fs::write(source.join("more"), "x").expect("written");
    lab.deploy(&source);
    assert!(agents.iter().all(|agent| agent.shows(&source)));
    for agent in &agents {
        assert_eq!(fs::read_to_string(agent.home.join("store/format")).expect("it is there"), "tiding store 1\n");
    }
}

#[test]
fn d18_a_launcher_or_an_agent_that_is_killed_in_the_middle_of_it_ends_where_it_should() {
    let lab = Lab::new();
    let mut agents = fleet(&lab, &TERMS);
    let kill = |pid: i32| kill_process(Pid::from_raw(pid).expect("a number"), Signal::KILL).expect("it runs");
    // The new version, killed in its window.
    let new = good(&lab, "new");
    let start = |program: &Path, window: &str| {
        let words = ["upgrade", &program.to_string_lossy(), "--health-window", window, "--waves", "100%", "--yes-size"];
        lab.operator_command(&words).spawn().expect("the binary runs")
    };
    let mut upgrading = start(&new, "4s");
    until("it runs", || runs(&agents[0], &new));
    agent_of(&agents[0]).into_iter().for_each(kill);
    assert!(upgrading.wait().expect("a child").success());
    // The launcher, killed in the window; its agent ends by itself, or is ended by the next launcher.
    let newer = good(&lab, "newer");
    let mut upgrading = start(&newer, "4s");
    until("it runs", || runs(&agents[1], &newer));
    let left = agent_of(&agents[1]).expect("it runs");
    agents[1].kill();
    agents[1] = lab.launched_agent(NAMES[1], &TERMS);
    until("what was left behind is gone", || !Path::new(&format!("/proc/{left}/exe")).exists());
    assert!(upgrading.wait().expect("a child").success());
    assert!(agents.iter().all(|agent| runs(agent, &newer)));
    // Everything, killed when all is done: what was settled runs again, with nobody to ask.
    let pids: Vec<i32> = agents.iter().filter_map(agent_of).collect();
    agents.iter_mut().for_each(Node::kill);
    pids.into_iter().for_each(kill);
    let mut lab = lab;
    lab.origin.kill();
    let agents = fleet(&lab, &TERMS);
    assert!(agents.iter().all(|agent| runs(agent, &newer)));
}

#[test]
fn d22_what_was_confirmed_starts_with_its_machine_and_without_any_network() {
    let mut lab = Lab::new();
    let mut agent = lab.agent("one");
    let (source, seen) = (lab.dir().join("source"), lab.dir().join("seen"));
    lab::tree(&source, 1000, 1);
    let line = format!("echo $TIDING_MOMENT $TIDING_APP $PWD >> {}", seen.display());
    expect(&said::deploy(&lab, &source, &["--boot", &line]), 0, "confirmed on 1 of 1 node");
    lab.origin.kill();
    agent.kill();
    agent = lab.agent("one");
    assert!(!seen.exists(), "an agent that starts again is no machine that does");
    agent.kill();
    fs::write(agent.home.join("boot"), "a start of this machine before\n").expect("written");
    let agent = lab.agent("one");
    let said = fs::read_to_string(&seen).expect("it ran before the agent was ready");
    assert!(said.starts_with("boot app /") && said.lines().count() == 1 && agent.shows(&source), "{said}");
}

#[test]
fn what_is_no_program_of_this_kind_is_refused_and_the_name_is_taken() {
    let lab = Lab::new();
    let script = written(&lab, "script", b"#!/bin/sh\necho tiding 9.9.9\n");
    expect(&upgrade(&lab, &script, &[]), 3, "no program for machines like this one");
    expect(&upgrade(&lab, Path::new("/bin/true"), &[]), 3, "asked for its version it says");
    let to = lab.operator(&["deploy", &script.to_string_lossy(), "--to", "/srv/tiding"]);
    expect(&to, 2, "tiding upgrade FILE");
}

#[test]
fn an_agent_that_no_launcher_started_does_not_take_a_version_that_it_could_not_leave() {
    let lab = Lab::new();
    let agent = lab.agent("one");
    let output = upgrade(&lab, &good(&lab, "new"), &[]);
    assert!(!output.status.success(), "{}", text(&output.stdout));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("not started by `tiding launch`"), "{said}");
    drop(agent);
}
