//! Keys that were stolen, and documents that are not what they seem: who is let in no more, and what leaves no trace.

mod fleet;

use content::{
    AppName, ContentId, Digest, NodeId, Order, PayloadKind, Release, Role, Signed, SigningKey, TokenId, UnixTime,
};
use fleet::*;
use std::time::Duration;
use tiding_engine::door::*;

fn ask(fleet: &mut Fleet, client: u64, request: Request) -> Answer {
    fleet.request(ORIGIN, client, request);
    fleet.run_until("an answer", |fleet| fleet.answer(ORIGIN, client).is_some());
    fleet.answer(ORIGIN, client).cloned().expect("an answer")
}

fn settle(fleet: &mut Fleet, name: &str, epoch: u64, but: Option<usize>) -> Signed {
    let release = release(name, 40);
    let signed = sign_release(&release);
    let publisher = fleet.deploy(&release, &order(epoch, &signed, None));
    fleet.run_until(name, |fleet| {
        let mut agents = fleet.agents().into_iter().filter(|nr| Some(*nr) != but);
        agents.all(|nr| fleet.confirmed(nr) == Some(id_of(&signed))) && fleet.answer(publisher, 1).is_some()
    });
    fleet.stop(publisher);
    fleet.run_for(Duration::from_millis(100));
    signed
}

/// Has an agent in the journal, as one that joined with a line.
fn enrol(fleet: &mut Fleet, nr: usize) {
    let (token, secret) = (TokenId(Digest::of(b"token")), Digest::of(b"secret"));
    let (role, expires) = (Role::Agent, UnixTime(100));
    let issue = Request::IssueToken { token, secret, uses: 9, expires, role, labels: Default::default() };
    assert_eq!(ask(fleet, 50, issue), Answer::Noted);
    let node = fleet.nodes[nr].id;
    let enrol = Request::Enrol { token, secret, node, name: format!("node-{nr}"), now: UnixTime(1) };
    assert!(matches!(ask(fleet, 51, enrol), Answer::Enrolled { .. }));
}

fn forget(fleet: &mut Fleet, nr: usize, client: u64) {
    let node = fleet.nodes[nr].id;
    assert_eq!(ask(fleet, client, Request::Forget { node }), Answer::Noted);
}

#[test]
fn g13_c10_whoever_is_revoked_is_left_by_everyone_at_once_and_let_in_by_nobody() {
    let mut fleet = Fleet::new(6, 1);
    enrol(&mut fleet, 3);
    settle(&mut fleet, "v1", 1, None);
    assert!((0..=6).filter(|nr| *nr != 3).all(|nr| fleet.is_connected(nr, 3)), "a full mesh");
    forget(&mut fleet, 3, 60);
    fleet.run_for(Duration::from_secs(1));
    let met = |fleet: &Fleet| (0..=6).filter(|nr| *nr != 3 && fleet.is_connected(*nr, 3)).collect::<Vec<_>>();
    assert_eq!(met(&fleet), [0; 0], "within a second");
    // It dials them all again, as whoever has its key would.
    fleet.stop(3);
    fleet.start(3);
    let addresses: Vec<_> = (1..=6).filter(|nr| *nr != 3).map(|nr| fleet.nodes[nr].id).collect();
    let dial = |fleet: &mut Fleet| {
        for peer in &addresses {
            let seen = std::net::IpAddr::from([10, 0, 0, 3]);
            let nr = fleet.nodes.iter().position(|node| node.id == *peer).expect("a node");
            let id = fleet.nodes[3].id;
            fleet.input(nr, Input::PeerUp { peer: id, role: Role::Agent, seen, dialled: None });
            let known = fleet.nodes[nr].events.iter().rev().take(3).any(|event| *event == Event::PeerUp { peer: id });
            assert!(!known, "{nr} deals with it");
        }
    };
    dial(&mut fleet);
    fleet.run_for(Duration::from_secs(70));
    assert_eq!(met(&fleet), [0; 0], "nor a minute later");
    // Agents and an origin that start again know it as soon as they reach each other.
    for nr in [1, ORIGIN] {
        fleet.stop(nr);
        fleet.start(nr);
    }
    fleet.run_for(Duration::from_secs(10));
    dial(&mut fleet);
    let second = settle(&mut fleet, "v2", 2, Some(3));
    assert_ne!(fleet.confirmed(3), Some(id_of(&second)));
    assert_eq!(met(&fleet), [0; 0]);
}

#[test]
fn g13_only_an_origin_says_who_is_revoked_and_no_origin_is() {
    let mut fleet = Fleet::new(3, 2);
    settle(&mut fleet, "v1", 1, None);
    let [origin, one, two] = [ORIGIN, 1, 2].map(|nr| fleet.nodes[nr].id);
    let revoked = |nodes: Vec<NodeId>| Message::Revoked { nodes };
    fleet.input(3, Input::Message { from: one, message: revoked(vec![two]) });
    assert!(!fleet.is_connected(3, 1), "an agent that says so is left");
    fleet.run_for(Duration::from_secs(1));
    assert!(fleet.is_connected(3, 2));
    fleet.input(2, Input::Message { from: origin, message: revoked(vec![origin]) });
    fleet.run_for(Duration::from_secs(1));
    assert!(fleet.is_connected(2, ORIGIN));
}

#[test]
fn g4_releases_and_orders_of_different_applications_cannot_be_mixed() {
    let mut fleet = Fleet::new(2, 3);
    let first = settle(&mut fleet, "v1", 1, None);
    // A release of another application, and an order that names it for this one: both signed, never meant together.
    let other = Release { app: AppName::new("db").expect("a name"), ..release("v2", 40) };
    let signed = alice().sign(PayloadKind::Release, other.encode());
    let crossed = order(2, &signed, None);
    let publisher = fleet.publisher(&other);
    let deploy = Request::Deploy { release: signed.clone(), order: sign_order(&crossed), wish: Wish::default() };
    fleet.request(publisher, 1, deploy);
    fleet.run_until("an answer", |fleet| fleet.answer(publisher, 1).is_some());
    assert!(matches!(fleet.answer(publisher, 1), Some(Answer::Refused(_))), "an honest origin refuses");
    let from = fleet.nodes[ORIGIN].id;
    for message in [
        Message::Announce { release: signed.clone() },
        Message::Command { order: sign_order(&crossed), gate: Gate::Open },
    ] {
        fleet.input(1, Input::Message { from, message });
    }
    fleet.run_for(Duration::from_secs(5));
    assert_eq!(fleet.nodes[1].switches.last(), Some(&id_of(&first)), "a stolen one brings them to nobody");
}

#[test]
fn g5_an_epoch_far_above_is_refused_by_the_origin_and_by_agents() {
    let mut fleet = Fleet::new(2, 4);
    let first = settle(&mut fleet, "v1", 5, None);
    for epoch in [6 + Order::MAX_EPOCH_STEP, u64::MAX] {
        let far = sign_order(&order(epoch, &first, None));
        let refused = ask(&mut fleet, epoch, Request::Order { order: far.clone() });
        assert!(matches!(refused, Answer::Refused(_)), "{refused:?}");
        let from = fleet.nodes[ORIGIN].id;
        fleet.input(1, Input::Message { from, message: Message::Command { order: far, gate: Gate::Open } });
    }
    fleet.run_for(Duration::from_secs(2));
    let floor = Order::decode(&fleet.nodes[1].disk.apps[&app()].order.as_ref().expect("an order").payload);
    assert_eq!(floor.expect("an order").epoch, 5);
    settle(&mut fleet, "v2", 6, None);
}

/// Everything that a node would remember.
fn traces(fleet: &Fleet, nr: usize) -> String {
    let disk = &fleet.nodes[nr].disk;
    format!("{:?} {:?} {:?} {:?}", disk.apps, disk.facts, disk.root, disk.contents.keys().collect::<Vec<&ContentId>>())
}

#[test]
fn g10_what_is_refused_leaves_no_trace_on_any_disk() {
    let mut fleet = Fleet::new(2, 5);
    let first = settle(&mut fleet, "v1", 5, None);
    let stranger = SigningKey::from_secret(&[77; 32]);
    let new = release("evil", 10);
    let unsigned = Signed { signatures: Vec::new(), ..sign_release(&new) };
    let forged = stranger.sign(PayloadKind::Release, new.encode());
    let old = sign_order(&order(4, &first, None));
    let far = sign_order(&order(u64::MAX, &first, None));
    let by_stranger = stranger.sign(PayloadKind::Order, order(6, &first, None).encode());
    let minted = stranger.sign(PayloadKind::Root, root().payload.clone());
    let from = fleet.nodes[ORIGIN].id;
    let messages = [
        Message::Announce { release: unsigned },
        Message::Announce { release: forged.clone() },
        Message::Command { order: old, gate: Gate::Open },
        Message::Command { order: far, gate: Gate::Open },
        Message::Command { order: by_stranger.clone(), gate: Gate::Open },
        Message::Roots { roots: vec![minted.clone()] },
        Message::Pass { release: forged.clone(), order: by_stranger.clone() },
    ];
    for message in messages {
        let before = traces(&fleet, 1);
        let what = format!("{message:?}").chars().take(40).collect::<String>();
        fleet.input(1, Input::Message { from, message });
        fleet.run_for(Duration::from_secs(2));
        assert_eq!(traces(&fleet, 1), before, "{what}");
        // A crash right after it finds nothing either.
        fleet.stop(1);
        fleet.start(1);
        fleet.run_for(Duration::from_secs(2));
        assert_eq!(traces(&fleet, 1), before, "{what}, after a restart");
    }
    let before = traces(&fleet, ORIGIN);
    for (client, request) in [
        Request::Order { order: by_stranger.clone() },
        Request::Root { root: minted },
        Request::Deploy { release: forged, order: by_stranger, wish: Wish::default() },
    ]
    .into_iter()
    .enumerate()
    {
        let refused = ask(&mut fleet, 80 + client as u64, request);
        assert!(matches!(refused, Answer::Refused(_)), "{refused:?}");
        assert_eq!(traces(&fleet, ORIGIN), before);
    }
}

#[test]
fn g11_nothing_that_is_signed_ends_by_a_clock() {
    let mut fleet = Fleet::new(2, 6);
    let first = settle(&mut fleet, "v1", 1, None);
    // A decade passes: nothing that is signed lapses, here or after a restart.
    fleet.jump(Duration::from_secs(10 * 365 * 24 * 3600));
    fleet.stop(1);
    fleet.start(1);
    fleet.run_for(Duration::from_secs(60));
    assert_eq!(fleet.confirmed(1), Some(id_of(&first)));
    let second = settle(&mut fleet, "v2", 2, None);
    assert!(fleet.all_confirmed(id_of(&second)));
}
