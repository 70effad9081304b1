//! An agent behind a NAT that forgets: its connections lead nowhere, and nobody is told.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/said.rs"]
mod said;

use lab::Lab;
use proxy::{ForgetfulProxy, agent_behind};
use said::{deploy, expect};
use serde_json::Value;
use std::collections::BTreeMap;

/// The agents that the origin knows, by identity, and whether it thinks that they are there.
fn agents(lab: &Lab) -> BTreeMap<String, bool> {
    let status = lab.status().unwrap_or(Value::Null);
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let agents = nodes.iter().filter(|node| node["role"] == "agent");
    agents.map(|node| (node["node"].to_string(), node["up"] == true)).collect()
}

#[test]
fn b10_an_agent_whose_nat_forgets_all_its_connections_comes_back_as_the_same_node() {
    let lab = Lab::new();
    let nat = ForgetfulProxy::start(lab.origin.address).expect("a proxy can listen");
    let (inside, other) = (agent_behind(&lab, nat.address(), "node-1"), lab.agent("node-2"));
    let [first, second, third] = ["first", "second", "third"].map(|name| lab.dir().join(name));
    for (seed, source) in (1..).zip([&first, &second, &third]) {
        lab::tree(source, 1 << 20, seed);
    }
    lab.deploy(&first);
    let before = agents(&lab);
    assert!(before.len() == 2 && before.values().all(|up| *up), "{before:?}");
    assert_eq!(nat.swallowed(), 0);
    // At once, while both ends still think that they are connected, and once more when it has come back.
    nat.forget();
    expect(&deploy(&lab, &second, &["--patience", "20s"]), 0, "confirmed on 2 of 2 nodes");
    assert!(inside.shows(&second) && other.shows(&second));
    assert!(nat.swallowed() > 0, "nothing was said over a connection that was forgotten");
    expect(&deploy(&lab, &third, &[]), 0, "confirmed on 2 of 2 nodes");
    assert!(inside.shows(&third) && other.shows(&third));
    assert_eq!(agents(&lab), before, "the same nodes, and nobody else");
}
