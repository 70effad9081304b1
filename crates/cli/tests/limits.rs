//! Limits with the real binary: what a node is limited to it does not exceed, while everything but pieces goes on as ever.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;
#[path = "support/watched.rs"]
mod watched;

use lab::{Lab, until};
use said::{deploy_words, expect, live};
use serde_json::Value;
use watched::Watched;

/// Payload bytes that came to a node, by what its origin knows, and whether all of them have.
fn received(lab: &Lab, node: &str) -> (u64, bool) {
    let app = lab.status_of(node).unwrap_or(Value::Null);
    let bytes = app["from_origin"].as_u64().unwrap_or(0) + app["from_peers"].as_u64().unwrap_or(0);
    (bytes, app["have"].as_u64().is_some_and(|have| have > 0 && app["total"] == have))
}

/// How long a node took from the news of a release to its last byte, in seconds.
fn took(lab: &Lab, node: &str) -> f64 {
    let app = lab.status_of(node).expect("the origin knows it");
    app["timeline"]["last_byte_us"].as_u64().expect("it has all") as f64 / 1e6
}

#[test]
fn a_nodes_own_limit_holds_from_its_start_and_is_shown() {
    let lab = Lab::listening("127.0.0.1:0", &["--limit", "24Mbit"]);
    let agent = lab.agent("node-1");
    let source = lab.dir().join("source");
    lab::tree(&source, 6 << 20, 1);
    lab.deploy(&source);
    assert!(lab::same(&source, &live(&agent)));
    let (bytes, _) = received(&lab, "node-1");
    // It cannot have had its last byte sooner than the origin may have sent it; what the origin received before took time as well.
    let least = (bytes as f64 - 100_000.0) / 3e6;
    assert!(took(&lab, "node-1") >= least, "{bytes} bytes in {} s at 3 MB/s", took(&lab, "node-1"));
    expect(&lab.operator(&["status"]), 0, "limited: origin 24 Mbit/s");
}

#[test]
fn a_limit_is_set_lowered_and_lifted_while_pieces_move_and_words_do_not_wait() {
    let lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    expect(&lab.operator(&["limit"]), 0, "no limit is set");
    expect(&lab.operator(&["limit", "16Mbit"]), 0, "each node sends, and receives, at most 16 Mbit/s");
    let source = lab.dir().join("source");
    lab::tree(&source, 12 << 20, 2);
    let mut deploying = Watched::start(lab.operator_command(&deploy_words(&source)));
    until("pieces come", || received(&lab, "node-1").0 > 300_000);
    expect(&lab.operator(&["limit", "8kbit"]), 0, "at most 8 kbit/s");
    // A piece takes a minute now: the links are as full as they can be, and only words get through.
    let before = received(&lab, "node-1").0;
    for _ in 0..3 {
        expect(&lab.operator(&["status"]), 0, "limit: each node 8 kbit/s");
    }
    let (after, all) = received(&lab, "node-1");
    assert!(!all, "it was limited too late to see anything");
    // What was in buffers of the kernel when the limit came still arrives, and no more.
    assert!(after - before <= 4 << 20, "{before} and then {after} bytes");
    expect(&lab.operator(&["limit", "none"]), 0, "not limited any more");
    let ended = deploying.end();
    assert!(ended.success(), "{ended}\n{}", deploying.said);
    assert!(agents.iter().all(|agent| lab::same(&source, &live(agent))));
    expect(&lab.operator(&["limit"]), 0, "no limit is set");
}

#[test]
fn all_together_send_no_more_than_the_total() {
    let lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2"), lab.agent("node-3")];
    expect(&lab.operator(&["limit", "--total", "32Mbit"]), 0, "all nodes together send at most 32 Mbit/s");
    let source = lab.dir().join("source");
    lab::tree(&source, 4 << 20, 3);
    lab.deploy(&source);
    assert!(agents.iter().all(|agent| lab::same(&source, &live(agent))));
    let bytes: u64 = (1..=3).map(|nr| received(&lab, &format!("node-{nr}")).0).sum();
    let longest = (1..=3).map(|nr| took(&lab, &format!("node-{nr}"))).fold(0.0, f64::max);
    let least = (bytes as f64 - 400_000.0) / 4e6;
    assert!(longest >= least, "{bytes} bytes in {longest} s at 4 MB/s");
    expect(&lab.operator(&["status"]), 0, "limit: all nodes together 32 Mbit/s");
}

#[test]
fn limits_survive_the_origin_and_unclear_ones_are_refused() {
    let mut lab = Lab::new();
    let _agent = lab.agent("node-1");
    expect(&lab.operator(&["limit", "50Mbit", "--on", "node-1"]), 0, "node-1 sends, and receives, at most 50 Mbit/s");
    expect(&lab.operator(&["limit", "6MB", "--on", "zone=a"]), 0, "each node with zone=a");
    expect(&lab.operator(&["limit", "50Mb"]), 2, "50Mbit, 2.5Gbit, 6MB");
    expect(&lab.operator(&["limit", "50"]), 2, "may be bits or bytes");
    expect(&lab.operator(&["limit", "50Mbit", "--on", "nobody"]), 3, "no node is called nobody");
    expect(&lab.operator(&["limit", "50Mbit", "--on", "node-1", "--total"]), 2, "--total");
    lab.origin.kill();
    lab.restart_origin();
    expect(&lab.operator(&["limit"]), 0, "limit: node-1 50 Mbit/s");
    expect(&lab.operator(&["limit", "none", "--on", "node-1"]), 0, "not limited any more");
    expect(&lab.operator(&["limit"]), 0, "limit: each node with zone=a 48 Mbit/s");
}
