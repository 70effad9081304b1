//! A fleet from its founding to its end: joining, deploying, going back, verifying, stopping, with the real binary.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/watched.rs"]
mod watched;

use lab::{Lab, Node, TIDING, until};
use rustix::process::Signal;
use skip::skipped;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use watched::Watched;

fn live(agent: &Node) -> PathBuf {
    agent.root.join("srv/app")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn deploy(lab: &Lab, source: &Path, more: &[&str]) -> Output {
    let words = ["deploy", &source.to_string_lossy(), "--to", "/srv/app"];
    lab.operator(&[&words[..], more].concat())
}

#[track_caller]
fn expect(output: &Output, code: i32, said: &str) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    assert!(out.contains(said) || err.contains(said), "`{said}` was not said:\n{out}\n{err}");
}

/// What rsync would change to make `b` the same as `a`; empty also when it is not installed, which is said.
fn rsync_differences(a: &Path, b: &Path) -> String {
    let with_slash = |path: &Path| format!("{}/", path.display());
    match Command::new("rsync").args(["-aHSnic", "--delete", &with_slash(a), &with_slash(b)]).output() {
        Ok(output) => text(&output.stdout) + &text(&output.stderr),
        Err(_) => {
            skipped("a_tree_goes_to_every_node...", "the comparison by rsync, which is not installed");
            String::new()
        }
    }
}

#[test]
fn a_tree_goes_to_every_node_and_back_and_is_verified() {
    let lab = Lab::new();
    let mut agents = [lab.agent("node-1"), lab.agent("node-2")];
    let (first, second) = (lab.dir().join("first"), lab.dir().join("second"));
    lab::tree(&first, 1 << 20, 1);
    lab::tree(&second, 1 << 20, 2);
    expect(&deploy(&lab, &first, &["--version", "one"]), 0, "one is confirmed on 2 of 2 nodes");
    for agent in &agents {
        assert_eq!(rsync_differences(&first, &live(agent)), "");
        assert!(lab::same(&first, &live(agent)));
    }
    expect(&deploy(&lab, &second, &["--version", "two", "--json"]), 0, "\"confirmed\":true");
    assert!(agents.iter().all(|agent| lab::same(&second, &live(agent))));
    expect(&lab.operator(&["rollback"]), 0, "one is confirmed on 2 of 2 nodes");
    assert!(agents.iter().all(|agent| lab::same(&first, &live(agent))));
    expect(&lab.operator(&["rollback", "app", "--to", "two"]), 0, "two is confirmed on 2 of 2 nodes");
    assert!(agents.iter().all(|agent| lab::same(&second, &live(agent))));
    expect(&lab.operator(&["rollback", "app", "--to", "three"]), 3, "three");
    expect(&lab.operator(&["status"]), 0, "finished");
    expect(&lab.operator(&["verify"]), 0, "as published");
    fs::write(live(&agents[0]).join("sub/small-3"), "not what was published").expect("a live file can be written");
    expect(&lab.operator(&["verify", "app"]), 5, "small-3");
    let home = lab.origin.home.to_string_lossy().into_owned();
    let stopped = Command::new(&*TIDING).args(["stop", "--home", &home]).output().expect("the binary runs");
    expect(&stopped, 0, "has stopped");
    expect(&lab.operator(&["status"]), 4, "next:");
    assert!(agents.iter_mut().all(Node::runs), "agents outlive their origin");
    assert!(agents.iter().all(|agent| lab::same(&first.join("sub/small-5"), &live(agent).join("sub/small-5"))));
}

#[test]
fn a_single_file_is_live_at_its_path() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let source = lab.dir().join("motd");
    fs::write(&source, "news\n").expect("a file");
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 1 of 1 node");
    assert_eq!(fs::read(live(&agent)).expect("a live file"), b"news\n");
    fs::write(&source, "more news\n").expect("a file");
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 1 of 1 node");
    assert_eq!(fs::read(live(&agent)).expect("a live file"), b"more news\n");
}

#[test]
fn what_may_not_be_published_is_refused_and_all_of_it_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    fs::write(source.join("root-shell"), "x").expect("a file");
    fs::set_permissions(source.join("root-shell"), fs::Permissions::from_mode(0o4755)).expect("a mode");
    rustix::fs::mknodat(rustix::fs::CWD, source.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("a fifo can be made");
    let refused = deploy(&lab, &source, &[]);
    expect(&refused, 3, "root-shell");
    expect(&refused, 3, "pipe");
    expect(&refused, 3, "next:");
    let status = lab.status().expect("the origin answers");
    assert_eq!(status["apps"].as_array().map(Vec::len), Some(0), "nothing was published: {status}");
    assert!(!live(&agent).exists());
}

#[test]
fn a_file_that_cannot_be_read_is_noticed() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        return skipped("a_file_that_cannot_be_read_is_noticed", "root can read everything");
    }
    let lab = Lab::new();
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    fs::set_permissions(source.join("large"), fs::Permissions::from_mode(0o0)).expect("a mode");
    let refused = deploy(&lab, &source, &[]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("large"), "{}", text(&refused.stderr));
}

#[test]
fn arguments_that_make_no_sense_say_so_before_anything_happens() {
    let lab = Lab::new();
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    let source = source.to_string_lossy().into_owned();
    expect(&lab.operator(&["deploy", &source, "--to", "srv/app"]), 2, "relative");
    expect(&lab.operator(&["deploy", &source, "--to", "/srv/../etc/passwd"]), 2, "climbs");
    expect(&lab.operator(&["deploy", &source, "--to", "/"]), 2, "names no place");
    expect(&lab.operator(&["deploy", &source, "--to", "/srv/app", "--health-window", "3"]), 2, "write a number");
    expect(&lab.operator(&["deploy", &source, "--to", "/srv/app", "--yes-please"]), 2, "--yes-please");
    expect(&lab.operator(&["deploy", &format!("{source}-missing"), "--to", "/srv/app"]), 1, "next:");
    expect(&lab.operator(&["deploy", &source, "--to", "/srv/app", "--app", "no good"]), 2, "next:");
    expect(&lab.operator(&["verify", "nothing"]), 3, "no application nothing was deployed");
    expect(&lab.operator(&["rollback", "nothing"]), 3, "no application nothing was deployed");
    let elsewhere = lab.dir().join("nobody").to_string_lossy().into_owned();
    let keyless = Command::new(&*TIDING).args(["status", "--operator-home", &elsewhere]).output();
    expect(&keyless.expect("the binary runs"), 1, "--operator-home");
}

#[test]
fn h2_a_join_line_that_is_mistyped_used_up_or_revoked_joins_nobody() {
    let lab = Lab::new();
    let line = lab.origin.join.clone().expect("a join line");
    let home = lab.dir().join("stranger");
    let join = |line: &str| {
        let mut command = Command::new(&*TIDING);
        command.args(["join", line, "--listen", "127.0.0.1:0", "--home"]).arg(&home);
        command.output().expect("the binary runs")
    };
    let mut mistyped = line.clone().into_bytes();
    let middle = mistyped.len() / 2;
    mistyped[middle] = if mistyped[middle] == b'a' { b'b' } else { b'a' };
    expect(&join(&text(&mistyped)), 2, "next:");
    expect(&join(&line[..line.len() - 3]), 2, "next:");
    expect(&join("hello"), 2, "tiding1.");
    let made = lab.operator(&["token", "--uses", "1", "--json"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("a token as JSON");
    let id = made["token"].as_str().expect("an id");
    expect(&lab.operator(&["token", "revoke", id]), 0, "revoked");
    expect(&join(made["line"].as_str().expect("a line")), 3, "next:");
    assert!(!home.join("identity").exists(), "nothing is left of a join that failed");
    expect(&lab.operator(&["token", "--uses", "0"]), 2, "next:");
    expect(&lab.operator(&["token", "--uses", "1", "--valid", "0s"]), 2, "next:");
}

#[test]
fn a_path_that_is_somebody_elses_is_left_alone_and_the_others_go_on() {
    let lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    fs::create_dir_all(live(&agents[0])).expect("a directory");
    fs::write(live(&agents[0]).join("mine"), "x").expect("a file");
    let source = lab.dir().join("source");
    lab::tree(&source, 100_000, 1);
    let outcome = deploy(&lab, &source, &["--patience", "2s", "--budget", "1"]);
    expect(&outcome, 5, "node-1");
    assert_eq!(fs::read(live(&agents[0]).join("mine")).expect("it is still there"), b"x");
    assert!(lab::same(&source, &live(&agents[1])));
}

#[test]
fn d5_the_second_of_two_deploys_at_once_is_told_about_the_first() {
    let lab = Lab::new();
    let agent = lab.agent("node-1");
    let (first, second) = (lab.dir().join("first"), lab.dir().join("second"));
    lab::tree(&first, 8 << 20, 1);
    lab::tree(&second, 1 << 20, 2);
    let other = lab.dir().join("other-operator");
    let copied = Command::new("cp").arg("-a").arg(lab.dir().join("operator")).arg(&other).status();
    assert!(copied.expect("cp runs").success());
    let mut slow = Watched::start(lab.operator_command(&deploy_words(&first)));
    assert!(slow.reads("submitted"), "{}", slow.said);
    slow.signal(Signal::STOP);
    let quick = Command::new(&*TIDING)
        .args(["deploy", &second.to_string_lossy(), "--to", "/srv/app", "--operator-home"])
        .arg(&other)
        .output()
        .expect("the binary runs");
    slow.signal(Signal::CONT);
    let ended = slow.end();
    // Either the first had ended before it was stopped, or the second was refused and told why.
    match quick.status.code() {
        Some(0) => assert!(lab::same(&second, &live(&agent))),
        _ => {
            expect(&quick, 3, "conflict");
            assert!(ended.success(), "{}", slow.said);
            assert!(lab::same(&first, &live(&agent)));
        }
    }
    expect(&deploy(&lab, &second, &[]), 0, "confirmed on 1 of 1 node");
    assert!(lab::same(&second, &live(&agent)));
}

#[test]
fn d6_an_interrupted_deploy_is_applied_wholly_or_not_at_all() {
    let lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let source = lab.dir().join("source");
    for (round, moment) in ["read", "submitted", "ordered"].into_iter().enumerate() {
        let before = fs::read_link(live(&agents[0])).ok();
        lab::tree(&source.join(moment), 4 << 20, round as u64 + 10);
        let mut interrupted = Watched::start(lab.operator_command(&deploy_words(&source.join(moment))));
        assert!(interrupted.reads(moment), "{}", interrupted.said);
        interrupted.signal(Signal::INT);
        let ended = interrupted.end();
        assert!(matches!(ended.code(), Some(0 | 130)), "{ended}: {}", interrupted.said);
        if ended.code() == Some(130) {
            assert!(interrupted.said.contains("next:"), "{}", interrupted.said);
        }
        if moment == "ordered" {
            until("it goes on by itself", || agents.iter().all(|agent| lab::same(&source.join(moment), &live(agent))));
        }
        let now = fs::read_link(live(&agents[0])).ok();
        assert!(now == before || lab::same(&source.join(moment), &live(&agents[0])), "it is one or the other");
        expect(&deploy(&lab, &source.join(moment), &[]), 0, "confirmed on 2 of 2 nodes");
        assert!(agents.iter().all(|agent| lab::same(&source.join(moment), &live(agent))));
    }
}

#[test]
fn d1_an_origin_killed_at_any_moment_of_a_deploy_delays_it_and_loses_nothing() {
    const MOMENTS: u32 = 20;
    let mut lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let mut struck = 0;
    let mut usual = Duration::ZERO;
    for moment in 0..=MOMENTS {
        let source = lab.dir().join(format!("source-{moment}"));
        lab::tree(&source, 6 << 20, 100 + u64::from(moment));
        let mut deploy = Watched::start(lab.operator_command(&deploy_words(&source)));
        assert!(deploy.reads("submitted"), "{}", deploy.said);
        let began = Instant::now();
        if moment > 0 {
            // Most of the moments are early ones, in which the origin does not hold everything yet.
            let drawn = usual * moment * moment / (2 * MOMENTS * MOMENTS);
            until("the drawn moment comes", || began.elapsed() >= drawn);
            struck += u32::from(deploy.runs());
            lab.origin.kill();
            lab.restart_origin();
        }
        let ended = deploy.end();
        assert!(ended.success(), "moment {moment}: {ended}\n{}", deploy.said);
        assert!(agents.iter().all(|agent| lab::same(&source, &live(agent))), "moment {moment}: {}", deploy.said);
        if moment == 0 {
            usual = began.elapsed();
        }
    }
    assert!(struck >= MOMENTS / 2, "the origin was killed during only {struck} of {MOMENTS} deploys");
}

fn deploy_words(source: &Path) -> [&str; 4] {
    ["deploy", source.to_str().expect("a temporary directory has a plain name"), "--to", "/srv/app"]
}

#[test]
fn an_origin_that_is_away_before_anything_was_submitted_is_said_at_once() {
    let mut lab = Lab::new();
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    lab.origin.kill();
    expect(&lab.operator(&deploy_words(&source)), 4, "no origin answers");
    lab.restart_origin();
    expect(&lab.operator(&deploy_words(&source)), 0, "no agent is there yet");
}

#[test]
fn a_deploy_that_reaches_nobody_and_a_verify_by_nobody_are_no_success() {
    let lab = Lab::new();
    let mut agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    lab.deploy(&source);
    agent.kill();
    let is_down = |status: serde_json::Value| {
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|node| node["name"] == "node-1" && node["up"] == false)
    };
    lab::until("the origin sees that it is gone", || lab.status().is_some_and(is_down));
    expect(&lab.operator(&["verify"]), 5, "no node has looked");
    fs::write(source.join("new"), "x").expect("a file");
    expect(&lab.operator(&deploy_words(&source)), 5, "no agent was reached");
    let nowhere = [&deploy_words(&source)[..3], &["/srv/other", "--on", "zone=z"]].concat();
    expect(&lab.operator(&nowhere), 0, "no agent has these labels yet");
}

#[test]
fn the_keys_of_one_fleet_are_not_taken_for_another() {
    let lab = Lab::new();
    let operator = lab.dir().join("operator");
    let before = fs::read(operator.join("fleet.json")).expect("the keys are there");
    let second = Command::new(&*TIDING)
        .args(["up", "--listen", "127.0.0.1:0", "--home"])
        .arg(lab.dir().join("second"))
        .arg("--operator-home")
        .arg(&operator)
        .output()
        .expect("the binary runs");
    expect(&second, 3, "--operator-home");
    assert_eq!(fs::read(operator.join("fleet.json")).expect("the keys are there"), before);
    assert!(!lab.dir().join("second/identity").exists());
}
