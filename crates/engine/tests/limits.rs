//! How fast pieces move when operators limit it: what whole fleets of engines send, in virtual time.

mod fleet;

use content::{Fact, Labels, Rate, Scope};
use fleet::*;
use std::time::Duration;
use tiding_engine::door::*;

/// A piece of the fleet's contents.
const PIECE: u64 = 65_536;

fn limit(fleet: &mut Fleet, scope: Scope, rate: Option<u64>) {
    fleet.request(ORIGIN, 77, Request::Limit { scope, rate: rate.map(Rate) });
    fleet.run_for(Duration::from_millis(5));
    assert_eq!(fleet.answer(ORIGIN, 77), Some(&Answer::Noted));
}

/// Makes a node one that a fact names.
fn enrol(fleet: &mut Fleet, nr: usize) {
    let (token, secret) = (content::TokenId(content::Digest::of(b"token")), content::Digest::of(b"secret"));
    let (uses, expires, role) = (1, content::UnixTime(9), content::Role::Agent);
    fleet.request(ORIGIN, 1, Request::IssueToken { token, secret, uses, expires, role, labels: Labels::new() });
    fleet.run_for(Duration::from_millis(5));
    let (node, name) = (fleet.nodes[nr].id, "web".to_owned());
    fleet.request(ORIGIN, 2, Request::Enrol { token, secret, node, name, now: content::UnixTime(5) });
    fleet.run_for(Duration::from_millis(5));
    assert!(matches!(fleet.answer(ORIGIN, 2), Some(Answer::Enrolled { .. })));
}

fn everyone() -> Scope {
    Scope::Selected(Labels::new())
}

/// The most payload bytes that these nodes sent within any second.
fn most_in_a_second(fleet: &Fleet, nodes: &[usize], from: u64) -> u64 {
    let mut all: Vec<(u64, u64)> = nodes.iter().flat_map(|nr| fleet.nodes[*nr].leavings.clone()).collect();
    all.retain(|(at, _)| *at >= from);
    all.sort_unstable();
    let (mut most, mut sum, mut first) = (0, 0, 0);
    for (at, bytes) in &all {
        sum += bytes;
        while all[first].0 + 1_000_000_000 <= *at {
            sum -= all[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

fn fleet_members(fleet: &Fleet) -> Vec<usize> {
    std::iter::once(ORIGIN).chain(fleet.agents()).collect()
}

#[test]
fn all_together_send_no_more_than_the_total() {
    let mut fleet = Fleet::new(8, 1);
    limit(&mut fleet, Scope::Total, Some(4 << 20));
    let release = release("one", 128);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(1, &signed, None));
    fleet.run_until("the release is everywhere", |fleet| fleet.all_confirmed(id_of(&signed)));
    let members = fleet_members(&fleet);
    let most = most_in_a_second(&fleet, &members, 0);
    assert!(most <= (4 << 20) + 9 * PIECE, "{most} bytes in a second");
    let sent: u64 = members.iter().flat_map(|nr| &fleet.nodes[*nr].leavings).map(|(_, bytes)| bytes).sum();
    let needed = 8 * (release.content.bytes + release.content.blob.len);
    assert!(sent < needed * 3 / 2, "{sent} bytes sent for {needed}");
}

#[test]
fn a_node_sends_no_more_than_its_lowest_limit_and_the_others_as_ever() {
    let mut fleet = Fleet::new(4, 2);
    limit(&mut fleet, everyone(), Some(8 << 20));
    enrol(&mut fleet, 2);
    let slow = Scope::Node(fleet.nodes[2].id);
    limit(&mut fleet, slow, Some(1 << 20));
    let release = release("one", 64);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(1, &signed, None));
    fleet.run_until("the release is everywhere", |fleet| fleet.all_confirmed(id_of(&signed)));
    assert_eq!(fleet.nodes[2].allowed.sending, Some(Rate(1 << 20)));
    assert!(most_in_a_second(&fleet, &[2], 0) <= (1 << 20) + PIECE);
    for nr in [ORIGIN, 1, 3, 4] {
        assert_eq!(fleet.nodes[nr].allowed.sending, Some(Rate(8 << 20)));
    }
}

#[test]
fn a_limit_holds_at_once_while_a_deploy_runs_and_is_taken_back_at_once() {
    let mut fleet = Fleet::new(4, 3);
    limit(&mut fleet, everyone(), Some(4 << 20));
    let release = release("one", 256);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(1, &signed, None));
    fleet.run_for(Duration::from_millis(500));
    limit(&mut fleet, everyone(), Some(1 << 20));
    let from = fleet.now + 2 * PIECE * 1000;
    fleet.run_for(Duration::from_secs(3));
    assert!(!fleet.all_confirmed(id_of(&signed)), "it has changed while it was running");
    for nr in fleet_members(&fleet) {
        assert!(most_in_a_second(&fleet, &[nr], from) <= (1 << 20) + PIECE, "node {nr}");
    }
    let asked = fleet.now;
    fleet.request(ORIGIN, 5, Request::Status);
    assert!(matches!(fleet.answer(ORIGIN, 5), Some(Answer::Status(_))) && fleet.now == asked);
    limit(&mut fleet, everyone(), None);
    assert!(fleet.nodes.iter().take(5).all(|node| node.allowed == Allowed::default()));
    fleet.run_until("the release is everywhere", |fleet| fleet.all_confirmed(id_of(&signed)));
}

#[test]
fn an_order_reaches_nodes_whose_links_are_full_of_pieces() {
    let mut fleet = Fleet::new(3, 4);
    let small = release("small", 2);
    let first = sign_release(&small);
    fleet.deploy(&small, &order(1, &first, None));
    fleet.run_until("the first release is everywhere", |fleet| fleet.all_confirmed(id_of(&first)));
    limit(&mut fleet, everyone(), Some(8000));
    let mut large = release("large", 64);
    large.app = content::AppName::new("other").expect("a plain name");
    let signed = sign_release(&large);
    let order_of_large = content::Order { app: large.app.clone(), ..order(1, &signed, None) };
    fleet.deploy(&large, &order_of_large);
    fleet.run_for(Duration::from_secs(20));
    // A whole piece takes eight seconds on each link now; a word takes none of that.
    let again = sign_order(&order(2, &first, None));
    fleet.request(ORIGIN, 6, Request::Order { order: again });
    fleet.run_for(Duration::from_millis(200));
    assert!(matches!(fleet.answer(ORIGIN, 6), Some(Answer::Ordered { epoch: 2, .. })));
    for nr in fleet.agents() {
        let record = &fleet.nodes[nr].disk.apps[&app()];
        let order = record.order.as_ref().and_then(|order| content::Order::decode(&order.payload).ok());
        assert_eq!(order.map(|order| order.epoch), Some(2), "node {nr}");
    }
}

#[test]
fn limits_outlive_their_origin_and_a_forgotten_node_takes_its_own_along() {
    let mut fleet = Fleet::new(2, 5);
    let zone = Scope::Selected(Labels::from([(
        content::Label::new("zone").expect("plain"),
        content::Label::new("a").expect("plain"),
    )]));
    limit(&mut fleet, everyone(), Some(5 << 20));
    limit(&mut fleet, zone.clone(), Some(2000));
    limit(&mut fleet, zone, None);
    let limits = fleet.facts().into_iter().filter(|fact| matches!(fact, Fact::Limited { .. })).count();
    assert_eq!(limits, 3);
    fleet.stop(ORIGIN);
    fleet.run_for(Duration::from_millis(200));
    fleet.start(ORIGIN);
    fleet.run_for(Duration::from_secs(8));
    for node in &fleet.nodes {
        assert_eq!(node.allowed.sending, Some(Rate(5 << 20)));
    }
}

#[test]
fn without_its_origin_a_swarm_finishes_within_the_total_and_sends_at_what_each_may_alone() {
    let mut fleet = Fleet::new(4, 6);
    limit(&mut fleet, Scope::Total, Some(10 << 20));
    let release = release("one", 96);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(1, &signed, None));
    fleet.run_until("the origin has it all", |fleet| {
        fleet.facts().iter().any(|fact| matches!(fact, Fact::Ordered { .. }))
    });
    fleet.run_until("one copy is out", |fleet| fleet.copies(release.content) > 0.99);
    fleet.run_for(Duration::from_millis(300));
    fleet.stop(ORIGIN);
    let gone = fleet.now + 1_000_000_000;
    let holds_all = |fleet: &Fleet, nr: usize| {
        fleet.nodes[nr].disk.contents.get(&release.content.id()).is_some_and(|held| held.complete)
    };
    fleet.run_until("all have it", |fleet| fleet.agents().into_iter().all(|nr| holds_all(fleet, nr)));
    for nr in fleet.agents() {
        assert_eq!(fleet.nodes[nr].allowed.sending, Some(Rate((10 << 20) / 5)));
    }
    assert!(most_in_a_second(&fleet, &fleet.agents(), gone) <= (10 << 20) + 4 * PIECE);
}

#[test]
fn a_machines_own_limit_holds_beside_what_operators_say() {
    let mut fleet = Fleet::new(2, 7);
    fleet.stop(1);
    fleet.nodes[1].limit = Some(Rate(100_000));
    fleet.start(1);
    assert_eq!(fleet.nodes[1].allowed.sending, Some(Rate(100_000)), "from the first moment on");
    fleet.run_for(Duration::from_secs(1));
    limit(&mut fleet, everyone(), Some(200_000));
    assert_eq!(fleet.nodes[1].allowed.sending, Some(Rate(100_000)));
    assert_eq!(fleet.nodes[2].allowed.sending, Some(Rate(200_000)));
    fleet.request(ORIGIN, 9, Request::Status);
    let Some(Answer::Status(status)) = fleet.answer(ORIGIN, 9) else { panic!("no status") };
    let id = fleet.nodes[1].id;
    let shown = status.nodes.iter().find(|node| node.node == id).and_then(|node| node.limit);
    assert_eq!(shown, Some(Rate(100_000)), "what holds is shown");
}

#[test]
fn a_peer_that_does_not_know_limits_is_served_and_told_nothing_of_them() {
    let mut fleet = Fleet::new(1, 8);
    limit(&mut fleet, everyone(), Some(100_000));
    let old = content::NodeId(content::Digest::of(b"old"));
    let seen = std::net::IpAddr::from([10, 9, 9, 9]);
    let engine = fleet.nodes[ORIGIN].engine.as_mut().expect("it runs");
    let now = Time(fleet.now);
    engine.handle(now, Input::PeerUp { peer: old, role: content::Role::Agent, seen, dialled: None });
    let hello = Hello {
        versions: (1, 1),
        fleet: fleet::fleet(),
        software: "0.0.1".to_owned(),
        name: "old".to_owned(),
        labels: Labels::new(),
        listen: None,
        floors: Vec::new(),
    };
    engine.handle(now, Input::Message { from: old, message: Message::Hello(Box::new(hello)) });
    let said: Vec<Message> = std::iter::from_fn(|| engine.poll())
        .filter_map(|output| match output {
            Output::Send { to, message } if to == old => Some(message),
            Output::Close { .. } => panic!("it is not served"),
            _ => None,
        })
        .collect();
    assert!(said.iter().any(|message| matches!(message, Message::Head { .. })));
    assert!(!said.iter().any(|message| matches!(message, Message::Limit(_))));
    engine.handle(now, Input::Request { client: ClientId(3), by: None, request: Request::Status });
    let status = std::iter::from_fn(|| engine.poll()).find_map(|output| match output {
        Output::Answer { answer: Answer::Status(status), .. } => Some(status),
        _ => None,
    });
    let nodes = status.expect("it answers").nodes;
    assert!(nodes.iter().any(|node| node.node == old && !node.obeys_limits), "and that is shown");
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let mut fleet = Fleet::new(1, 9);
    let mut asked = |scope, rate| {
        fleet.request(ORIGIN, 1, Request::Limit { scope, rate: Some(Rate(rate)) });
        fleet.run_for(Duration::from_millis(5));
        fleet.answer(ORIGIN, 1).cloned()
    };
    assert!(matches!(asked(everyone(), 999), Some(Answer::Refused(Refusal::Invalid(_)))));
    let nobody = Scope::Node(content::NodeId(content::Digest::of(b"nobody")));
    assert!(matches!(asked(nobody, 5000), Some(Answer::Refused(Refusal::Unknown(_)))));
}
