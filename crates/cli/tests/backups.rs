//! An origin that is lost with its disk, and is there again from a backup.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::{Lab, until};
use said::{deploy, expect, live, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn d2_an_origin_that_is_lost_with_its_disk_is_there_again_from_its_backup_and_epochs_go_on() {
    let mut lab = Lab::new();
    let agents = ["one", "two"].map(|name| lab.agent(name));
    let source = lab.dir().join("source");
    lab::tree(&source, 100_000, 1);
    let all_show = |what: &str| {
        until(what, || {
            agents.iter().all(|agent| live(agent).join("version").metadata().is_ok() && agent.shows(&source))
        });
    };
    let version = |version: &str| fs::write(source.join("version"), version).expect("a file");
    version("one");
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 2 of 2 nodes (epoch 1)");

    let home = lab.dir().join("origin");
    let file = lab.dir().join("origin.tiding");
    let (home_word, file_word) = (home.to_str().expect("plain"), file.to_str().expect("plain"));
    let backup = |lab: &Lab| lab.operator(&["backup", file_word, "--home", home_word]);
    let restore = |lab: &Lab| lab.operator_less(&["restore", file_word, "--home", home_word]);
    let agents_home = lab.dir().join("one");
    let not_here = lab.operator(&["backup", file_word, "--home", agents_home.to_str().expect("plain")]);
    expect(&not_here, 2, "is no origin's home");
    expect(&backup(&lab), 0, "facts");
    expect(&backup(&lab), 0, "facts");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    expect(&restore(&lab), 3, "is there already and not empty");
    // What was ordered later is not in it.
    version("two");
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 2 of 2 nodes (epoch 2)");
    expect(&lab.operator(&["audit", "verify"]), 0, "remembered");
    lab.origin.kill();
    fs::remove_dir_all(&home).expect("a home");

    let whole = fs::read(&file).expect("a backup");
    fs::write(&file, &whole[..whole.len() - 1]).expect("a file");
    expect(&restore(&lab), 2, "it is cut, or not what was written");
    fs::write(&file, &whole).expect("a file");
    // An earlier try was interrupted.
    fs::create_dir_all(lab.dir().join("origin.restoring/identity/half")).expect("a directory");
    expect(&restore(&lab), 0, "`tiding up` starts it");
    assert!(!lab.dir().join("origin.restoring").exists());
    lab.restart_origin();
    until("both are back", || text(&lab.operator(&["status"]).stdout).contains("2 of 2 agents up"));
    expect(&lab.operator(&["status"]), 0, "WARNING: 2 agents had accepted epoch 2 of app");
    expect(&lab.operator(&["doctor", "--home", home_word]), 1, "the origin's state is an old copy");
    all_show("nobody goes back");
    expect(&lab.operator(&["audit", "verify"]), 3, "not what you have seen here before");
    expect(&lab.operator(&["audit", "verify", "--accept"]), 0, "");

    // It has no pieces any more; a new machine gets what is ordered from the others, and all of them what is deployed next.
    let three = lab.agent("three");
    version("three");
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 3 of 3 nodes (epoch 3)");
    all_show("the next deploy");
    assert!(three.shows(&source));
    expect(&lab.operator(&["doctor", "--home", home_word]), 0, "3 of 3 agents connected");
    expect(&lab.operator(&["audit", "verify"]), 0, "continue what you had seen");
    // It fetches from its agents what a way back needs.
    let releases = |lab: &Lab| lab.status().and_then(|status| status["apps"][0]["releases"].as_array().map(Vec::len));
    until("the first release is here again", || releases(&lab) == Some(2));
    expect(&lab.operator(&["rollback"]), 0, "confirmed on 3 of 3 nodes (epoch 4)");
    version("one");
    all_show("the way back");
    expect(&backup(&lab), 0, "facts");
}

#[test]
fn d3_an_origin_that_lost_a_trust_root_gets_it_back_from_who_has_seen_it() {
    let mut lab = Lab::new();
    let (home, file, ci) = (lab.dir().join("origin"), lab.dir().join("origin.tiding"), lab.dir().join("ci"));
    let [home_word, file_word, ci_word] = [&home, &file, &ci].map(|path| path.to_str().expect("plain"));
    expect(&lab.operator(&["backup", file_word, "--home", home_word]), 0, "facts");
    expect(&lab.operator(&["operator", "add", "ci", "--may", "deploy", "--out", ci_word]), 0, "ci");
    lab.origin.kill();
    fs::remove_dir_all(&home).expect("a home");
    expect(&lab.operator_less(&["restore", file_word, "--home", home_word]), 0, "`tiding up` starts it");
    lab.restart_origin();
    expect(&lab.operator(&["operator", "list"]), 3, "had lost 1 newer trust root");
    expect(&lab.operator(&["operator", "list"]), 0, "ci");
}

#[test]
fn d3_an_origin_that_lost_a_trust_root_gets_it_back_from_an_agent_that_follows_it() {
    let mut lab = Lab::new();
    let agent = lab.agent("one");
    let (home, file, ci) = (lab.dir().join("origin"), lab.dir().join("origin.tiding"), lab.dir().join("ci"));
    let [home_word, file_word, ci_word] = [&home, &file, &ci].map(|path| path.to_str().expect("plain"));
    expect(&lab.operator(&["backup", file_word, "--home", home_word]), 0, "facts");
    expect(&lab.operator(&["operator", "add", "ci", "--may", "deploy", "--out", ci_word]), 0, "ci");
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 1 of 1 node");
    lab.origin.kill();
    fs::remove_dir_all(&home).expect("a home");
    expect(&lab.operator_less(&["restore", file_word, "--home", home_word]), 0, "`tiding up` starts it");
    lab.restart_origin();
    // Nobody but the agent has told it: what only reads brings no root.
    until("the root is back", || {
        let told = lab.operator(&["history", "--all", "--json"]);
        let told: Vec<serde_json::Value> = serde_json::from_slice(&told.stdout).unwrap_or_default();
        told.iter().filter(|told| told["kind"] == "rooted").count() == 2
    });
    expect(&lab.operator(&["operator", "list"]), 0, "ci");
    fs::write(source.join("new"), "x").expect("a file");
    expect(&deploy(&lab, &source, &[]), 0, "confirmed on 1 of 1 node");
    assert!(agent.shows(&source));
}
