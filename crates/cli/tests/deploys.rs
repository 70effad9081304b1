//! A fleet from its founding to its end: joining, deploying, going back, verifying, stopping, with the real binary.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;

use lab::{Lab, Node, TIDING};
use said::{deploy, deploy_words, expect, live, text};
use skip::skipped;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    expect(&lab.operator(&nowhere), 3, "no agent of 1 is zone=z");
}

/// Gives a directory, and the files in it, to somebody.
fn give(dir: &Path, uid: u32) {
    let entries = fs::read_dir(dir).expect("a directory can be listed").flatten().map(|entry| entry.path());
    entries.chain([dir.to_owned()]).for_each(|path| chown(path, Some(uid), Some(uid)).expect("root may give"));
}

#[test]
fn what_root_deploys_keeps_its_owners_and_what_others_deploy_is_roots() {
    const SOMEBODY: u32 = 54_321;
    let lab = Lab::new();
    if fs::metadata(lab.dir()).is_ok_and(|meta| meta.uid() != 0) {
        return skipped("what_root_deploys...", "only root can deploy as somebody else");
    }
    let agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    fs::create_dir(&source).expect("a directory can be made");
    fs::write(source.join("file"), "bytes").expect("a file can be written");
    give(&source, SOMEBODY);
    let owner = || {
        let meta = fs::symlink_metadata(live(&agent).join("file")).expect("it is live");
        (meta.uid(), meta.gid())
    };
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 1 of 1 node");
    assert_eq!(owner(), (SOMEBODY, SOMEBODY));
    // Now somebody deploys the same, with the keys and a copy of the binary.
    let (operator, binary) = (lab.dir().join("operator"), lab.dir().join("tiding"));
    fs::copy(&*TIDING, &binary).expect("the binary can be copied");
    fs::set_permissions(lab.dir(), fs::Permissions::from_mode(0o755)).expect("modes can be changed");
    give(&operator, SOMEBODY);
    let mut command = Command::new(binary);
    command.args(deploy_words(&source)).arg("--operator-home").arg(operator).uid(SOMEBODY).gid(SOMEBODY);
    expect(&command.output().expect("the binary runs"), 0, "confirmed on 1 of 1 node");
    assert_eq!(owner(), (0, 0));
    // Unless somebody says what the numbers of here are there.
    fs::set_permissions(source.join("file"), fs::Permissions::from_mode(0o644)).expect("modes can be changed");
    let words = ["--map-owner".to_owned(), format!("{SOMEBODY}=33"), "--chmod".to_owned(), "o-rwx,D711".to_owned()];
    command.args(&words);
    expect(&command.output().expect("the binary runs"), 0, "confirmed on 1 of 1 node");
    assert_eq!(owner(), (33, 0));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    expect(&deploy(&lab, &source, &words), 0, "confirmed on 1 of 1 node");
    assert_eq!(owner(), (33, SOMEBODY));
    // And what a deploy would change is compared with what it would make of the tree.
    let diff = |words: &[&str]| lab.operator(&[&["diff", &source.to_string_lossy()], words].concat());
    expect(&diff(&words), 0, "nothing");
    expect(&diff(&[]), 0, "owner");
    expect(&diff(&words[2..]), 0, "owner");
    expect(&diff(&words[..2]), 0, "mode");
    let mode = |path: PathBuf| fs::metadata(path).expect("it is live").mode() & 0o777;
    assert_eq!((mode(live(&agent)), mode(live(&agent).join("file"))), (0o711, 0o640));
}
