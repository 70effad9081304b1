//! Who did what, when and why; and whether anyone changed that afterwards.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;

use lab::{Lab, until};
use said::{deploy, expect, live, text};
use std::fs;

fn history(lab: &Lab, more: &[&str]) -> Vec<serde_json::Value> {
    let words: Vec<&str> = ["history", "--all", "--json"].iter().chain(more).copied().collect();
    let told = lab.operator(&words);
    expect(&told, 0, "");
    serde_json::from_slice(&told.stdout).expect("it is JSON")
}

#[test]
fn g18_history_tells_who_did_what_and_why_and_an_old_copy_of_it_is_noticed() {
    let mut lab = Lab::new();
    let agents = ["one", "two"].map(|name| lab.agent(name));
    let source = lab.dir().join("source");
    lab::tree(&source, 1000, 1);
    expect(&deploy(&lab, &source, &["-m", "the first, at last"]), 0, "confirmed on 2 of 2 nodes");
    expect(&lab.operator(&["audit", "verify"]), 0, "from now on what you have seen is remembered");
    let state = lab.dir().join("origin/store/state.redb");
    lab.origin.kill();
    let old = fs::read(&state).expect("a state file");
    lab.restart_origin();

    fs::write(source.join("new"), "x").expect("a file");
    expect(&deploy(&lab, &source, &["-m", "the second"]), 0, "confirmed on 2 of 2 nodes");
    expect(&lab.operator(&["rollback", "-m", "it was too slow"]), 0, "confirmed on 2 of 2 nodes");
    expect(&lab.operator(&["token", "--label", "role=web"]), 0, "tiding1.");

    let told = history(&lab, &[]);
    let of = |kind: &str, field: &str| -> Vec<String> {
        let all = told.iter().filter(|told| told["kind"] == kind);
        all.map(|told| told[field].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(of("ordered", "why"), ["the first, at last", "the second", "it was too slow"]);
    let me = of("ordered", "who").remove(0);
    assert_eq!(of("token-issued", "who"), ["-", "-", me.as_str()], "what `up` printed twice, and what was asked for");
    assert_eq!(of("enrolled", "what").iter().filter(|what| what.contains("as agent by join line")).count(), 2);
    assert_eq!(of("finished", "app").len(), 3);
    assert!(told.iter().all(|told| told["time"].as_u64().is_some_and(|time| time > 1_700_000_000)), "{told:?}");
    assert!(history(&lab, &["app"]).iter().all(|told| told["app"] == "app"));
    let shown = lab.operator(&["history", "-n", "2"]);
    assert_eq!(text(&shown.stdout).lines().count(), 3, "a head and two lines: {}", text(&shown.stdout));

    expect(&lab.operator(&["audit", "verify"]), 0, "continue what you had seen");
    // Somebody puts an old copy of the state back.
    lab.origin.kill();
    fs::write(&state, old).expect("a state file");
    lab.restart_origin();
    expect(&lab.operator(&["audit", "verify"]), 3, "not what you have seen here before");
    until("both agents are back", || text(&lab.operator(&["status"]).stdout).contains("2 of 2 agents up"));
    expect(&lab.operator(&["status"]), 0, "WARNING: 2 agents had accepted epoch 3 of app");
    assert!(agents.iter().all(|agent| !live(agent).join("new").exists()), "nobody went anywhere");
    // Whoever deploys again is above what the fleet has behind it.
    expect(&deploy(&lab, &source, &["-m", "after the accident"]), 0, "confirmed on 2 of 2 nodes (epoch 4)");
    assert!(agents.iter().all(|agent| live(agent).join("new").exists()));
    assert!(!text(&lab.operator(&["status"]).stdout).contains("WARNING"));
}

/// A command with the keys in a directory of the lab.
fn with(lab: &Lab, keys: &str, words: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(&*lab::TIDING);
    command.args(words).arg("--operator-home").arg(lab.dir().join(keys));
    command.output().expect("the binary runs")
}

#[test]
fn g14_a_key_for_ci_deploys_its_application_and_nothing_else_until_it_is_removed() {
    let lab = Lab::new();
    let agent = lab.agent("one");
    let (source, keys) = (lab.dir().join("source"), lab.dir().join("ci"));
    lab::tree(&source, 1000, 1);
    let path = source.to_string_lossy().into_owned();
    let out = keys.to_string_lossy().into_owned();
    let add = ["operator", "add", "ci", "--may", "deploy", "--app", "app", "--out", &out];
    expect(&lab.operator(&add), 0, "ci may now do: deploy of app; trust root 2");
    expect(&lab.operator(&add), 0, "trust root 2");
    expect(&lab.operator(&["operator", "list"]), 0, "deploy of app");
    let other = lab.dir().join("other").to_string_lossy().into_owned();
    expect(&lab.operator(&["operator", "add", "ci", "--out", &other]), 3, "there is an operator ci already");
    expect(&with(&lab, "ci", &["operator", "add", "eve", "--out", &other]), 3, "has no root.key");

    let deploy_as = |keys: &str, app: &str, to: &str| with(&lab, keys, &["deploy", &path, "--to", to, "--app", app]);
    expect(&deploy_as("ci", "app", "/srv/app"), 0, "is confirmed on 1 of 1 node");
    assert!(agent.shows(&source));
    expect(&deploy_as("ci", "db", "/srv/db"), 3, "ci (who may deploy of app) may not deploy db");
    expect(&with(&lab, "ci", &["forget", "one", "--force"]), 3, "the power fleet is missing");
    expect(&with(&lab, "ci", &["token"]), 3, "the power fleet is missing");
    fs::write(source.join("second"), "x").expect("a file");
    expect(&deploy_as("ci", "app", "/srv/app"), 0, "is confirmed on 1 of 1 node");
    expect(&with(&lab, "ci", &["pause", "app"]), 3, "ci (who may deploy of app) may not steer app");
    assert!(agent.shows(&source));

    expect(&lab.operator(&["operator", "remove", "ci"]), 0, "co-signed  epoch 2 of app");
    expect(&with(&lab, "ci", &["status"]), 3, "was revoked");
    let refused = deploy_as("ci", "app", "/srv/app");
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    expect(&lab.operator(&["operator", "remove", "ci"]), 0, "is no operator any more");
    expect(&lab.operator(&["operator", "remove", "nobody"]), 3, "no operator is called nobody");

    // A machine that is new follows every root, and gets what ci deployed last.
    let late = lab.agent("two");
    lab::until("the new one has it", || late.shows(&source));
    let told = history(&lab, &[]);
    let rooted: Vec<&str> =
        told.iter().filter(|of| of["kind"] == "rooted").filter_map(|of| of["what"].as_str()).collect();
    assert_eq!(rooted.len(), 3, "{rooted:?}");
    assert!(rooted[1].contains("trust root 2") && rooted[1].contains(", ci may order"), "{rooted:?}");
    expect(&lab.operator(&["audit", "verify"]), 0, "");
}

#[test]
fn g9_nobody_removes_the_last_operator_or_themselves() {
    let lab = Lab::new();
    let listed = lab.operator(&["operator", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("it is JSON");
    let me = listed[0]["name"].as_str().expect("a name").to_owned();
    assert_eq!((listed[0]["may"].as_str(), listed[0]["since"].as_u64()), (Some("everything"), Some(1)));
    expect(&lab.operator(&["operator", "remove", &me]), 3, "nobody removes themselves");
    fs::rename(lab.dir().join("operator/root.key"), lab.dir().join("root.key")).expect("it is there");
    let out = lab.dir().join("bob").to_string_lossy().into_owned();
    expect(&lab.operator(&["operator", "add", "bob", "--out", &out]), 3, "has no root.key");
    assert!(!lab.dir().join("bob").exists());
    fs::rename(lab.dir().join("root.key"), lab.dir().join("operator/root.key")).expect("it is there");
    expect(&lab.operator(&["operator", "add", "bob", "--may", "steer", "--out", &out]), 0, "bob may now do: steer");
    expect(&with(&lab, "bob", &["operator", "list"]), 0, "bob");
}
