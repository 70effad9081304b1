//! An origin that dies, stays dead, or is away, with the real binary.

#[path = "support/arrivals.rs"]
mod arrivals;
#[path = "support/lab.rs"]
mod lab;
#[path = "support/said.rs"]
mod said;
#[path = "support/watched.rs"]
mod watched;

use arrivals::Arrivals;
use lab::{Lab, Node, until};
use rustix::process::Signal;
use said::{deploy_words, expect, live};
use std::path::Path;
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

#[test]
fn d1_while_pieces_are_missing_a_deploy_waits_for_its_origin_and_says_so() {
    const LARGE: u64 = 32 << 20;
    let mut lab = Lab::new();
    let agents = [lab.agent("node-1"), lab.agent("node-2")];
    let source = lab.dir().join("source");
    lab::tree(&source, LARGE as usize, 1);
    let [origin, swarm] = [&[&lab.origin][..], &[&agents[0], &agents[1]]].map(Arrivals::from_now_on);
    let mut deploy = submitted(&lab, &source);
    until("the origin has begun", || origin.bytes() > 0);
    lab.origin.kill();
    assert!(!origin.are_complete() && origin.bytes() < LARGE, "it was killed too late to show anything");
    assert!(deploy.reads("waiting"), "{}", deploy.said);
    assert!(deploy.said.contains("no origin answers"), "{}", deploy.said);
    assert!(!swarm.are_complete() && !all_show(&agents, &source), "there are pieces that only the publisher has");
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
