//! An origin that dies, stays dead, or is away, with the real binary.

#[path = "support/arrivals.rs"]
mod arrivals;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/said.rs"]
mod said;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/strace.rs"]
mod strace;
#[path = "support/watched.rs"]
mod watched;

use arrivals::{Arrivals, hold_jointly};
use lab::{Lab, Node, until};
use proxy::{GatedProxy, agent_behind, lead_to};
use rustix::process::Signal;
use said::{deploy_words, expect, live};
use skip::skipped;
use std::fs;
use std::path::Path;
use strace::Strace;
use watched::Watched;

/// A deploy that was submitted and goes on.
fn submitted(lab: &Lab, source: &Path) -> Watched {
    let mut deploy = Watched::start(lab.operator_command(&deploy_words(source)));
    assert!(deploy.reads("submitted"), "{}", deploy.said);
    deploy
}

/// Whether every agent shows the source.
fn all_show(agents: &[Node], source: &Path) -> bool {
    agents.iter().all(|agent| lab::same(source, &live(agent)))
}

#[test]
fn d1_an_origin_killed_at_twenty_moments_of_a_deploy_delays_it_and_loses_nothing() {
    const MOMENTS: u64 = 20;
    const LARGE: u64 = 6 << 20;
    let mut lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let (mut struck, mut rounds) = (0, 0);
    while struck < MOMENTS {
        rounds += 1;
        assert!(rounds <= 2 * MOMENTS, "only {struck} of {rounds} kills struck during a deploy");
        let source = lab.dir().join(format!("source-{rounds}"));
        lab::tree(&source, LARGE as usize, 100 + rounds);
        let arrivals = Arrivals::from_now_on(&[&lab.origin, &agents[0], &agents[1]]);
        // The moments lie evenly between the first byte at the origin and the last one at an agent.
        let due = 3 * LARGE * struck / MOMENTS;
        let mut deploy = submitted(&lab, &source);
        until("the drawn moment comes", || arrivals.bytes() >= due || !deploy.runs());
        lab.origin.kill();
        struck += u64::from(deploy.runs());
        lab.restart_origin();
        let ended = deploy.end();
        assert!(ended.success(), "at {due} bytes: {ended}\n{}", deploy.said);
        assert!(all_show(&agents, &source), "at {due} bytes: {}", deploy.said);
    }
}

#[test]
fn d1_without_its_origin_a_swarm_finishes_what_it_holds_between_its_members() {
    let mut lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2"), lab.agent("node-3")];
    let [first, second, last] = &agents;
    let source = lab.dir().join("source");
    lab::tree(&source, 24 << 20, 1);
    let (theirs, its) = (Arrivals::from_now_on(&[first, second]), Arrivals::from_now_on(&[last]));
    let mut deploy = submitted(&lab, &source);
    until("the last agent has begun", || its.bytes() > 0);
    last.signal(Signal::STOP);
    assert!(!its.are_complete(), "it was stopped too late to show anything");
    until("the others hold every piece", || theirs.are_complete());
    lab.origin.kill();
    last.signal(Signal::CONT);
    until("the last agent is complete without an origin", || its.are_complete());
    assert!(!lab.origin.runs(), "there was no origin");
    lab.restart_origin();
    let ended = deploy.end();
    assert!(ended.success(), "{ended}\n{}", deploy.said);
    assert!(all_show(&agents, &source), "{}", deploy.said);
}

/// Lets through a little more of what has all passed, and no more to one of two than to the other: without that the quicker one has
/// everything before the other one begins. Whether it let anything through.
fn allow_evenly(proxies: &[GatedProxy; 2]) -> bool {
    const STEP: u64 = 64 << 10;
    let passed = proxies.each_ref().map(GatedProxy::passed);
    let least = passed.into_iter().min().unwrap_or_default();
    let behind = proxies.iter().zip(passed).filter(|(_, passed)| *passed < least + 2 * STEP);
    behind.fold(false, |any, (proxy, _)| proxy.allow_when_used_up(STEP) || any)
}

/// How often a node went live, ever.
fn switches(node: &Node) -> usize {
    node.log().lines().filter(|line| line.contains("Phase {") && line.contains("phase: Live")).count()
}

#[test]
fn d1_without_its_origin_a_swarm_finishes_what_no_member_of_it_holds_alone() {
    let mut lab = Lab::new();
    let proxies = [(); 2].map(|()| GatedProxy::start(lab.origin.address).expect("a proxy can listen"));
    let [first, second] = &proxies;
    let agents = [("node-1", first), ("node-2", second)].map(|(name, proxy)| agent_behind(&lab, proxy.address(), name));
    let [first, second] = &agents;
    // Neither lets the other in, before they have heard of each other: each has what the origin sent it, and nothing else.
    let trace = |agent: &Node| {
        let trace = agent.home.join("trace");
        Strace::attach(agent.pid(), &trace, "accept4", "accept4:error=EMFILE")
    };
    let [Some(one), Some(other)] = [trace(first), trace(second)] else {
        return skipped("d1_without_its_origin...", "strace is not installed, or not allowed to trace");
    };
    until("both have found the origin", || {
        allow_evenly(&proxies);
        let status = lab.status().expect("the origin answers");
        status["nodes"].as_array().into_iter().flatten().filter(|node| node["up"] == true).count() == 2
    });
    let source = lab.dir().join("source");
    lab::tree(&source, 4 << 20, 1);
    let its = [first, second].map(|agent| Arrivals::from_now_on(&[agent]));
    let mut deploy = submitted(&lab, &source);
    assert!(deploy.reads("ordered"), "{}", deploy.said);
    let has_begun =
        |agent: &Node| fs::read_dir(agent.home.join("store/staging")).is_ok_and(|mut files| files.next().is_some());
    until("both want it", || {
        allow_evenly(&proxies);
        has_begun(first) && has_begun(second)
    });
    until("every piece is with one of them", || allow_evenly(&proxies) && hold_jointly(&[first, second], &lab.origin));
    lab.origin.kill();
    proxies.iter().for_each(GatedProxy::cut);
    assert!(its.iter().all(|its| !its.are_complete()), "it was killed too late to show anything");
    assert!(deploy.reads("waiting"), "{}", deploy.said);
    drop((one.detach(), other.detach()));
    until("both are complete without an origin", || its.iter().all(Arrivals::are_complete));
    assert!(!lab.origin.runs() && deploy.runs(), "there was no origin, and the rollout is not over without it");
    proxies.iter().for_each(GatedProxy::open);
    lab.restart_origin();
    let ended = deploy.end();
    assert!(ended.success(), "{ended}\n{}", deploy.said);
    assert!(all_show(&agents, &source), "{}", deploy.said);
    assert_eq!(agents.each_ref().map(switches), [1, 1], "each node switched once");
}

#[test]
fn d1_while_pieces_are_missing_a_deploy_waits_for_its_origin_and_says_so() {
    const LARGE: u64 = 32 << 20;
    let mut lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let source = lab.dir().join("source");
    lab::tree(&source, LARGE as usize, 1);
    let [origin, swarm] = [&[&lab.origin][..], &[&agents[0], &agents[1]]].map(Arrivals::from_now_on);
    // What the origin asks of the publisher passes bit by bit, and nothing once it has something.
    let proxy = GatedProxy::start(lab.origin.address).expect("a proxy can listen");
    lead_to(proxy.address(), &lab.dir().join("operator/fleet.json"));
    let mut deploy = Watched::start(lab.operator_command(&deploy_words(&source)));
    until("the origin has begun", || {
        proxy.allow_when_used_up(1);
        origin.bytes() > 0
    });
    lab.origin.kill();
    proxy.cut();
    assert!(!origin.are_complete() && origin.bytes() < LARGE, "it was killed too late to show anything");
    assert!(deploy.reads("waiting"), "{}", deploy.said);
    assert!(deploy.said.contains("no origin answers"), "{}", deploy.said);
    assert!(!swarm.are_complete() && !all_show(&agents, &source), "there are pieces that only the publisher has");
    proxy.open();
    lab.restart_origin();
    let ended = deploy.end();
    assert!(ended.success(), "{ended}\n{}", deploy.said);
    assert!(all_show(&agents, &source), "{}", deploy.said);
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
