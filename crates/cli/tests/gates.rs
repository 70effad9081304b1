//! Gates of a rollout, with real processes: a person's word, and a command that says it.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::{Lab, Node, until};
use said::{deploy, expect, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn settled(lab: &Lab) -> (Vec<Node>, PathBuf) {
    let agents = ["one", "two", "three"].map(|name| lab.labelled_agent(name, &["rack=a"])).into();
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    expect(&deploy(lab, &source, &["--version", "v1"]), 0, "confirmed on 3 of 3 nodes");
    fs::write(source.join("new"), "x").expect("a file");
    (agents, source)
}

fn run(agents: &[Node], which: &Path) -> usize {
    agents.iter().filter(|agent| agent.shows(which)).count()
}

fn gated(lab: &Lab, source: &Path, more: &[&str]) -> Output {
    let words = ["--version", "v2", "--waves", "1,100%", "--health-window", "100ms"];
    deploy(lab, source, &[&words, more].concat())
}

#[test]
fn a_command_that_ends_well_opens_the_gate_and_knows_what_it_is_about() {
    let lab = Lab::new();
    let (agents, source) = settled(&lab);
    let seen = lab.dir().join("seen");
    let line = format!(
        "test -n \"$TIDING_RELEASE\" && test -n \"$TIDING_PREVIOUS\" && \
         echo $TIDING_APP $TIDING_VERSION $TIDING_WAVE/$TIDING_WAVES $TIDING_NODES $TIDING_CONFIRMED >> {}",
        seen.display()
    );
    let deployed = gated(&lab, &source, &["--gate-command", &line, "--at-once", "rack=1", "--wave-deadline", "10m"]);
    expect(&deployed, 0, "confirmed on 3 of 3 nodes");
    assert!(text(&deployed.stderr).contains("wave 1: the command ended well"), "{}", text(&deployed.stderr));
    assert_eq!(fs::read_to_string(seen).expect("it ran"), "app v2 1/2 1 1\n", "once, after the wave with a gate");
    assert_eq!(run(&agents, &source), 3);
    let history = text(&lab.operator(&["history", "--all"]).stdout);
    for part in ["its gate waits for `tiding promote`", "ended well"] {
        assert!(history.contains(part), "{part} in {history}");
    }
    expect(&lab.operator(&["audit", "verify"]), 0, "");
}

#[test]
fn a_command_that_fails_aborts_and_everyone_goes_back_with_its_last_words() {
    let lab = Lab::new();
    let (agents, source) = settled(&lab);
    let deployed = gated(&lab, &source, &["--gate-command", "echo the error rate is 7 per cent; false"]);
    assert_eq!(deployed.status.code(), Some(5), "{}", text(&deployed.stderr));
    assert!(text(&deployed.stderr).contains("the error rate is 7 per cent"), "{}", text(&deployed.stderr));
    until("everyone is back", || agents.iter().all(|agent| !agent.live().join("new").exists()));
    expect(&lab.operator(&["status"]), 0, "HALTED: aborted by");
    expect(&lab.operator(&["status"]), 0, "it said: the error rate is 7 per cent");
}

#[test]
fn argo_942_status_says_that_a_gate_waits_and_which_command_opens_it() {
    let lab = Lab::new();
    let (agents, source) = settled(&lab);
    let mut command = lab.deploy_command(&source);
    command.args(["--version", "v2", "--waves", "1,100%", "--gate", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut deploying = command.spawn().expect("the binary runs");
    let status = || text(&lab.operator(&["status"]).stdout);
    until("it waits", || status().contains("WAITS FOR A WORD"));
    assert!(status().contains("wave 1 of 2 is confirmed; `tiding promote app` opens the next"), "{}", status());
    // Whoever gave it goes away: it waits all the same.
    deploying.kill().expect("it still waits");
    deploying.wait().expect("it is gone");
    let json = lab.status().expect("a status");
    let awaits = &json["apps"][0]["restraint"]["awaits"];
    assert_eq!((awaits["wave"].as_u64(), awaits["say"].as_str()), (Some(0), Some("tiding promote app")), "{json}");
    assert_eq!(run(&agents, &source), 1);
    expect(&lab.operator(&["promote", "app", "-m", "it sells"]), 0, "opens its next wave");
    until("all run it", || run(&agents, &source) == 3);
}

#[test]
fn g14_a_key_that_may_not_steer_gives_no_command_as_a_gate() {
    let lab = Lab::new();
    let (agents, source) = settled(&lab);
    let (path, out) = (source.to_string_lossy().into_owned(), lab.dir().join("ci").to_string_lossy().into_owned());
    expect(&lab.operator(&["operator", "add", "ci", "--may", "deploy", "--out", &out]), 0, "ci may now do");
    let with = |more: &[&str]| {
        let mut command = Command::new(&*lab::TIDING);
        command.args(["deploy", &path, "--to", "/srv/app", "--waves", "1,100%", "--operator-home", &out]).args(more);
        command.output().expect("the binary runs")
    };
    let refused = with(&["--gate-command", "true"]);
    expect(&refused, 3, "which takes the power steer, and ci may do: deploy");
    assert!(text(&refused.stderr).contains("nothing was published"), "{}", text(&refused.stderr));
    assert_eq!(run(&agents, &source), 0);
    expect(&with(&["--all-at-once"]), 2, "cannot be used with");
}

#[test]
fn all_at_once_is_said_in_the_history() {
    let lab = Lab::new();
    let (agents, source) = settled(&lab);
    expect(&deploy(&lab, &source, &["--all-at-once"]), 0, "confirmed on 3 of 3 nodes");
    assert_eq!(run(&agents, &source), 3);
    let history = text(&lab.operator(&["history", "--all"]).stdout);
    assert!(history.contains("ordered, all at once, however many fail (epoch 2)"), "{history}");
}
