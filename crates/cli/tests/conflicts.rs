//! Deploys that meet each other, or an interruption: wholly or not at all, with the real binary.

#[path = "support/arrivals.rs"]
mod arrivals;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/watched.rs"]
mod watched;

use arrivals::Arrivals;
use lab::{Lab, Node, TIDING, until};
use rustix::process::Signal;
use said::{deploy, deploy_words, expect, live, text};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use watched::Watched;

/// Calls of a publisher that touch a file or the network.
const CALLS: &str = "%file,%network,read,write,writev,ftruncate,flock";

/// Whether every agent shows the source.
fn all_show(agents: &[Node], source: &Path) -> bool {
    agents.iter().all(|agent| lab::same(source, &live(agent)))
}

#[test]
fn d5_the_second_of_two_deploys_at_once_is_told_about_the_first() {
    let lab = Lab::new();
    let agents = [lab.agent("node-1")];
    let [old, first, second] = ["old", "first", "second"].map(|name| lab.dir().join(name));
    lab::tree(&old, 100_000, 1);
    lab::tree(&first, 48 << 20, 2);
    lab::tree(&second, 1 << 20, 3);
    expect(&deploy(&lab, &old, &["--version", "zero"]), 0, "confirmed on 1 of 1 node");
    let keys = fs::read(lab.dir().join("operator/fleet.json")).expect("the keys are there");
    let keys: Value = serde_json::from_slice(&keys).expect("it is JSON");
    let operator = keys["operator"].as_str().expect("an operator has a name");
    let arrivals = Arrivals::from_now_on(&[&lab.origin]);
    let words = [&deploy_words(&first)[..], &["--version", "one"]].concat();
    let mut slow = Watched::start(lab.operator_command(&words));
    assert!(slow.reads("submitted"), "{}", slow.said);
    until("the origin fetches the first", || arrivals.bytes() > 0);
    slow.signal(Signal::STOP);
    assert!(!arrivals.are_complete(), "the first was stopped too late to be in the way of anything");
    // Another deploy with these keys is told before it reads anything; another order by the origin.
    let refused = deploy(&lab, &second, &["--version", "two"]);
    expect(&refused, 3, &format!("app by {operator} (process {})", slow.pid()));
    expect(&refused, 3, "another deploy with these keys is under way");
    let back = lab.operator(&["rollback", "app", "--to", "zero"]);
    expect(&back, 3, &format!("conflict: a deploy of app one by {operator} is under way"));
    expect(&back, 3, "next: see `tiding status`, wait until it is done, and give yours again");
    assert!(all_show(&agents, &old), "nothing of what is not ordered is live");
    slow.signal(Signal::CONT);
    let ended = slow.end();
    assert!(ended.success(), "{ended}\n{}", slow.said);
    assert!(all_show(&agents, &first), "nothing of the second is in it");
    let epoch = lab.status().expect("the origin answers")["apps"][0]["epoch"].clone();
    assert_eq!(epoch, 2, "what was refused is no order");
    expect(&deploy(&lab, &second, &["--yes-size"]), 0, "confirmed on 1 of 1 node");
    assert!(all_show(&agents, &second));
}

#[test]
fn d6_a_deploy_interrupted_at_a_line_says_what_stands_and_is_wholly_applied_or_not_at_all() {
    let lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    for (round, moment) in ["read", "submitted", "ordered"].into_iter().enumerate() {
        let source = lab.dir().join(moment);
        lab::tree(&source, 24 << 20, round as u64 + 10);
        let before = fs::read_link(live(&agents[0])).ok();
        // A window in which nobody is confirmed yet, so that the rollout cannot end before the interrupt.
        let words = [&deploy_words(&source)[..], &["--health-window", "1s"]].concat();
        let mut interrupted = Watched::start(lab.operator_command(&words));
        assert!(interrupted.reads(moment), "{}", interrupted.said);
        interrupted.signal(Signal::INT);
        let ended = interrupted.end();
        assert_eq!(ended.code(), Some(130), "at `{moment}`: {}", interrupted.said);
        assert!(interrupted.said.contains("interrupted") && interrupted.said.contains("next:"), "{}", interrupted.said);
        if moment == "ordered" {
            until("it goes on by itself", || all_show(&agents, &source));
        } else {
            assert!(fs::read_link(live(&agents[0])).ok() == before, "what was not ordered is nowhere live");
        }
        expect(&deploy(&lab, &source, &[]), 0, "confirmed on 2 of 2 nodes");
        assert!(all_show(&agents, &source));
    }
}

/// Deploys under a tracer that kills the publisher at the n-th of its calls (of any thread); whether it did.
fn killed_at(lab: &Lab, source: &Path, nth: u32) -> bool {
    let trace = lab.dir().join(format!("trace-{nth}"));
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace);
    command.args(["-e", &format!("trace={CALLS}"), "-e", &format!("inject={CALLS}:signal=KILL:when={nth}")]);
    command.arg(&*TIDING).args(deploy_words(source)).arg("--operator-home").arg(lab.dir().join("operator"));
    let output = command.output().expect("the tracer runs");
    let struck = fs::read_to_string(&trace).expect("there is a trace").contains("killed by SIGKILL");
    assert_eq!(struck, !output.status.success(), "at call {nth}: {}", text(&output.stderr));
    struck
}

/// Whether status tells of another order than that one; what only spreads was not ordered.
fn is_ordered(lab: &Lab, before: &Value) -> bool {
    let app = &lab.status().expect("the origin answers")["apps"][0];
    app["state"]["is"] != "spreading" && app["order"] != *before
}

#[test]
fn d6_a_publisher_killed_at_any_call_leaves_the_old_release_or_the_new_one() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return skip::skipped("d6_...", "strace is not installed");
    }
    let lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let mut old = lab.dir().join("source-0");
    lab::tree(&old, 300_000, 1);
    lab.deploy(&old);
    let (mut nth, mut kept, mut taken) = (1, 0, 0);
    loop {
        let new = lab.dir().join(format!("source-{nth}"));
        lab::tree(&new, 300_000, 1 + u64::from(nth));
        let before = lab.status().expect("the origin answers")["apps"][0]["order"].clone();
        let struck = killed_at(&lab, &new, nth);
        let mut ordered = false;
        until("the fleet is wholly on the release that status tells", || {
            ordered = is_ordered(&lab, &before);
            all_show(&agents, if ordered { &new } else { &old })
        });
        assert!(struck || ordered, "a deploy that was let alone is applied");
        *(if ordered { &mut taken } else { &mut kept }) += u32::from(struck);
        expect(&deploy(&lab, &new, &[]), 0, "confirmed on 2 of 2 nodes");
        assert!(all_show(&agents, &new), "the same command again completes it");
        if !struck {
            break;
        }
        old = new;
        nth += 1 + nth / 4;
    }
    assert!(kept >= 10 && kept + taken >= 12, "{kept} kills before the order and {taken} after it");
}
