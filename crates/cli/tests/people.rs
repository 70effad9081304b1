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
fn history_tells_who_did_what_and_why_and_an_old_copy_of_it_is_noticed() {
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
