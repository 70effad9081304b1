//! Operators come and go: roots reach everyone, and what is signed counts by the newest one.

mod fleet;

use content::root::Operator;
use content::{
    Act, Digest, Fact, NodeId, Order, PayloadKind, Powers, Release, Role, Root, Selector, Signed, SigningKey,
};
use fleet::*;
use std::time::Duration;
use tiding_engine::door::*;

fn carol() -> SigningKey {
    SigningKey::from_secret(&[5; 32])
}

fn named(name: &str, key: &SigningKey, powers: Powers) -> Operator {
    Operator { name: name.to_owned(), key: key.public(), powers }
}

fn everything(name: &str, key: &SigningKey) -> Operator {
    named(name, key, Powers::default())
}

fn next_root(version: u64, operators: Vec<Operator>) -> Root {
    Root { version, operators, ..Root::decode(&root().payload).expect("a root") }
}

fn signed_root(version: u64, operators: Vec<Operator>) -> Signed {
    root_key().sign(PayloadKind::Root, next_root(version, operators).encode())
}

/// Alice and Carol; Bob is gone.
fn second() -> Signed {
    signed_root(2, vec![everything("alice", &alice()), everything("carol", &carol())])
}

/// Carol alone.
fn third() -> Signed {
    signed_root(3, vec![everything("carol", &carol())])
}

fn ask(fleet: &mut Fleet, client: u64, request: Request) -> Answer {
    fleet.request(ORIGIN, client, request);
    fleet.run_until("an answer", |fleet| fleet.answer(ORIGIN, client).is_some());
    fleet.answer(ORIGIN, client).cloned().expect("an answer")
}

fn follow(fleet: &mut Fleet, client: u64, root: Signed) {
    assert_eq!(ask(fleet, client, Request::Root { root }), Answer::Noted);
    fleet.run_for(Duration::from_millis(50));
}

fn by(key: &SigningKey, release: &Release, epoch: u64) -> (Signed, Signed) {
    let signed = key.sign(PayloadKind::Release, release.encode());
    let order = key.sign(PayloadKind::Order, order(epoch, &signed, None).encode());
    (signed, order)
}

/// Brings what somebody has signed; gives the publisher and the release.
fn bring(fleet: &mut Fleet, key: &SigningKey, name: &str, epoch: u64) -> (usize, Signed) {
    let release = release(name, 40);
    let (signed, order) = by(key, &release, epoch);
    let publisher = fleet.publisher(&release);
    fleet.request(publisher, 1, Request::Deploy { release: signed.clone(), order, wish: Wish::default() });
    (publisher, signed)
}

fn settle(fleet: &mut Fleet, key: &SigningKey, name: &str, epoch: u64) -> Signed {
    let (publisher, signed) = bring(fleet, key, name, epoch);
    fleet.run_until(name, |fleet| fleet.all_confirmed(id_of(&signed)) && fleet.answer(publisher, 1).is_some());
    fleet.stop(publisher);
    fleet.run_for(Duration::from_millis(100));
    signed
}

fn convictions(fleet: &Fleet) -> usize {
    let events = fleet.nodes.iter().flat_map(|node| &node.events);
    events.filter(|event| matches!(event, Event::Convicted { .. })).count()
}

fn version(fleet: &Fleet, nr: usize) -> Option<u64> {
    let root = fleet.nodes[nr].disk.root.as_ref()?;
    Root::decode(&root.payload).ok().map(|root| root.version)
}

#[test]
fn g9_a_rotation_reaches_everyone_also_who_was_away_and_who_starts_again() {
    let mut fleet = Fleet::new(6, 1);
    settle(&mut fleet, &alice(), "v1", 1);
    fleet.stop(5);
    follow(&mut fleet, 10, second());
    assert!((1..=4).chain([6]).all(|nr| version(&fleet, nr) == Some(2)), "all that are here");
    // The origin is killed, too: it learns its roots from its journal.
    fleet.stop(ORIGIN);
    fleet.start(ORIGIN);
    fleet.run_for(Duration::from_secs(8));
    let countersign = {
        let (mut release, mut order) = by(&alice(), &release("v1", 40), 1);
        [&mut release, &mut order].into_iter().for_each(|document| carol().co_sign(document));
        Request::Countersign { documents: vec![release, order] }
    };
    assert_eq!(ask(&mut fleet, 11, countersign), Answer::Noted);
    follow(&mut fleet, 12, third());
    fleet.stop(3);
    fleet.start(3);
    fleet.start(5);
    fleet.run_until("all follow", |fleet| (1..=6).all(|nr| version(fleet, nr) == Some(3)));
    settle(&mut fleet, &carol(), "v2", 2);
    let (late, _) = bring(&mut fleet, &alice(), "v3", 3);
    fleet.run_until("an answer", |fleet| fleet.answer(late, 1).is_some());
    assert!(matches!(fleet.answer(late, 1), Some(Answer::Refused(Refusal::NotBelieved(_)))));
    assert_eq!(convictions(&fleet), 0, "nobody has done anything wrong");
}

#[test]
fn g12_a_stolen_origin_mints_no_operators() {
    let mut fleet = Fleet::new(3, 2);
    settle(&mut fleet, &alice(), "v1", 1);
    let mallory = SigningKey::from_secret(&[66; 32]);
    let minted = next_root(2, vec![everything("alice", &alice()), everything("mallory", &mallory)]);
    for key in [alice(), mallory] {
        let root = key.sign(PayloadKind::Root, minted.encode());
        // The origin that is honest refuses it.
        let refused = ask(&mut fleet, 20, Request::Root { root: root.clone() });
        assert!(matches!(refused, Answer::Refused(Refusal::NotBelieved(_))), "{refused:?}");
        // One that is not says it to its agents.
        let said = Message::Roots { roots: vec![root] };
        let from = fleet.nodes[ORIGIN].id;
        fleet.input(2, Input::Message { from, message: said });
        fleet.run_for(Duration::from_secs(2));
    }
    assert_eq!((1..=3).find_map(|nr| version(&fleet, nr)), None, "none follows");
    let convicted = |event: &&Event| matches!(event, Event::Convicted { of: Misbehaviour::BadSignature, .. });
    assert!(fleet.nodes[2].events.iter().filter(convicted).count() >= 1, "the origin was left for it");
}

#[test]
fn g12_old_roots_change_nothing_and_gaps_are_not_followed() {
    let mut fleet = Fleet::new(2, 3);
    follow(&mut fleet, 10, second());
    // A root that once followed the first is played again, also one that the same keys had signed instead.
    let fork = signed_root(2, vec![everything("alice", &alice()), everything("bob", &bob())]);
    let from = fleet.nodes[ORIGIN].id;
    for root in [second(), fork, root()] {
        fleet.input(1, Input::Message { from, message: Message::Roots { roots: vec![root] } });
    }
    fleet.run_for(Duration::from_millis(100));
    assert_eq!((version(&fleet, 1), convictions(&fleet)), (Some(2), 0));
    let gap = signed_root(4, vec![everything("carol", &carol())]);
    fleet.input(1, Input::Message { from, message: Message::Roots { roots: vec![gap] } });
    assert_eq!((version(&fleet, 1), convictions(&fleet)), (Some(2), 1));
}

#[test]
fn a_root_that_would_leave_what_stands_behind_waits_for_a_countersignature() {
    let mut fleet = Fleet::new(4, 4);
    let signed = settle(&mut fleet, &alice(), "v1", 1);
    follow(&mut fleet, 10, second());
    let refused = ask(&mut fleet, 11, Request::Root { root: third() });
    let Answer::Refused(Refusal::Invalid(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("epoch 1 of web, ordered by alice, would be believed no more"), "{why}");

    let (mut known, mut order) = by(&alice(), &release("v1", 40), 1);
    carol().co_sign(&mut known);
    carol().co_sign(&mut order);
    let (switches, facts) = (fleet.nodes[1].switches.len(), fleet.facts().len());
    let stranger = by(&carol(), &release("never", 40), 9).0;
    let unknown = ask(&mut fleet, 12, Request::Countersign { documents: vec![stranger] });
    assert!(matches!(unknown, Answer::Refused(Refusal::Unknown(_))), "{unknown:?}");
    let mut unsigned = known.clone();
    unsigned.signatures.clear();
    let forged = ask(&mut fleet, 13, Request::Countersign { documents: vec![unsigned] });
    assert!(matches!(forged, Answer::Refused(Refusal::NotBelieved(_))), "{forged:?}");
    let both = Request::Countersign { documents: vec![known, order] };
    assert_eq!(ask(&mut fleet, 14, both.clone()), Answer::Noted);
    assert_eq!(ask(&mut fleet, 15, both), Answer::Noted, "and again");
    assert_eq!(fleet.facts().len(), facts + 2, "it stands there once");
    follow(&mut fleet, 16, third());

    // Nothing that runs has changed, whoever starts again.
    fleet.stop(ORIGIN);
    fleet.start(ORIGIN);
    fleet.run_for(Duration::from_secs(8));
    fleet.request(ORIGIN, 17, Request::Status);
    let Some(Answer::Status(status)) = fleet.answer(ORIGIN, 17) else { panic!("no status") };
    assert_eq!((status.apps[0].epoch, &status.apps[0].state), (1, &RolloutState::Finished));
    assert_eq!(status.apps[0].by.matches(" and ").count(), 1, "{}", status.apps[0].by);
    assert_eq!(fleet.nodes[1].switches.len(), switches);

    // A node that is new begins at the first root, and gets to what stands.
    let new = fleet.add(Role::Agent);
    fleet.start(new);
    fleet.run_until("it converges", |fleet| fleet.confirmed(new) == Some(id_of(&signed)));
    assert_eq!((version(&fleet, new), convictions(&fleet)), (Some(3), 0));
}

#[test]
fn a_document_of_another_root_is_ignored_and_a_forged_one_convicts() {
    let mut fleet = Fleet::new(3, 5);
    fleet.run_for(Duration::from_secs(1));
    let (release, order) = by(&carol(), &release("v1", 40), 1);
    let passes = |release: &Signed, order: &Signed| Message::Pass { release: release.clone(), order: order.clone() };
    let from = fleet.nodes[2].id;
    assert!(fleet.is_connected(1, 2));
    fleet.input(1, Input::Message { from, message: passes(&release, &order) });
    assert_eq!(convictions(&fleet), 0, "she may be an operator by a root that is on its way");
    let mut forged = order.clone();
    forged.signatures[0].key = alice().public().id();
    let mut release = release;
    alice().co_sign(&mut release);
    fleet.input(1, Input::Message { from, message: passes(&release, &forged) });
    assert_eq!(convictions(&fleet), 1, "alice is known here, and has not signed this");
}

fn member(nr: u8) -> NodeId {
    NodeId(Digest::of(&[b'm', nr]))
}

/// Enrols whoever has a certificate as an operator of this name.
fn enrol(fleet: &mut Fleet, nr: u8, name: &str) -> Answer {
    ask(fleet, 100 + u64::from(nr), Request::EnrolOperator { node: member(nr), name: name.to_owned() })
}

fn asks(fleet: &mut Fleet, client: u64, nr: u8, request: Request) -> Answer {
    fleet.input(ORIGIN, Input::Request { client: ClientId(client), by: Some(member(nr)), request });
    fleet.run_until("an answer", |fleet| fleet.answer(ORIGIN, client).is_some());
    fleet.answer(ORIGIN, client).cloned().expect("an answer")
}

fn not_allowed(answer: Answer) -> String {
    match answer {
        Answer::Refused(Refusal::NotAllowed(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn h7_a_certificate_alone_vouches_for_nobody() {
    let mut fleet = Fleet::new(1, 6);
    enrol(&mut fleet, 1, "alice");
    enrol(&mut fleet, 2, "ci");
    let vouch = |nr: u8, role| Request::Vouch { node: member(nr), role };
    assert_eq!(asks(&mut fleet, 1, 1, vouch(1, Role::Operator)), Answer::Noted);
    for (client, role) in [(2, Role::Agent), (3, Role::Origin)] {
        assert!(not_allowed(asks(&mut fleet, client, 1, vouch(1, role))).contains("nobody was let into this fleet"));
    }
    assert!(not_allowed(asks(&mut fleet, 4, 9, vouch(9, Role::Operator))).contains("nobody was let into this fleet"));
    assert_eq!(asks(&mut fleet, 5, 1, Request::Dismiss { name: "ci".to_owned() }), Answer::Noted);
    assert!(not_allowed(asks(&mut fleet, 6, 1, vouch(2, Role::Operator))).contains("nobody was let into this fleet"));
}

#[test]
fn h7_everyone_is_told_which_cas_the_newest_root_names() {
    let mut fleet = Fleet::new(2, 6);
    let mut root = Root::decode(&root().payload).expect("a root");
    (root.version, root.authorities) = (2, vec![b"old".to_vec(), b"new".to_vec()]);
    follow(&mut fleet, 10, root_key().sign(PayloadKind::Root, root.encode()));
    let told = |fleet: &Fleet| {
        let is_it = |event: &Event| matches!(event, Event::Rooted { version: 2, authorities } if *authorities == root.authorities);
        fleet.nodes.iter().filter(|node| node.events.iter().any(is_it)).count()
    };
    fleet.run_until("all follow", |fleet| told(fleet) == 3);
}

#[test]
fn g14_who_has_not_the_power_changes_nothing_and_who_is_removed_reads_nothing() {
    let mut fleet = Fleet::new(1, 6);
    let forget = |fleet: &Fleet| Request::Forget { node: fleet.nodes[1].id };
    enrol(&mut fleet, 1, "alice");
    enrol(&mut fleet, 2, "ci");
    let early = not_allowed(asks(&mut fleet, 1, 2, Request::RevokeToken { token: content::TokenId(Digest::of(b"t")) }));
    assert!(early.contains("ci is no operator by the newest trust root, and may do nothing but read"), "{early}");
    assert!(matches!(asks(&mut fleet, 2, 2, Request::Status), Answer::Status(_)));
    let deploys = Powers::new(vec![Act::Deploy], vec![app()], content::Selector::default());
    let ci = SigningKey::from_secret(&[7; 32]);
    let operators = vec![everything("alice", &alice()), named("ci", &ci, deploys)];
    follow(&mut fleet, 10, signed_root(2, operators));
    settle(&mut fleet, &ci, "v1", 1);

    let request = forget(&fleet);
    let why = not_allowed(asks(&mut fleet, 3, 2, request));
    assert_eq!(why, "ci may not forget nodes: the power fleet is missing (ci may deploy of web)");
    for (client, request) in [
        (30, Request::Limit { scope: content::Scope::Total, rate: None }),
        (31, Request::Root { root: third() }),
        (32, Request::Countersign { documents: Vec::new() }),
        (33, Request::EnrolOperator { node: member(9), name: "eve".to_owned() }),
        (34, Request::Dismiss { name: "alice".to_owned() }),
        (35, Request::RevokeToken { token: content::TokenId(Digest::of(b"t")) }),
    ] {
        assert!(not_allowed(asks(&mut fleet, client, 2, request)).contains("the power fleet is missing"));
    }
    let other = content::AppName::new("another").expect("a plain name");
    let why = not_allowed(asks(&mut fleet, 36, 2, Request::Repair { app: other }));
    assert_eq!(why, "ci may not repair another there: ci may deploy of web");
    assert!(
        matches!(asks(&mut fleet, 37, 2, Request::Repair { app: app() }), Answer::Verified { .. }),
        "its own it may"
    );
    let standing = not_allowed(asks(&mut fleet, 4, 1, Request::Dismiss { name: "ci".to_owned() }));
    assert!(standing.contains("bring a root without them first"), "{standing}");

    let (mut known, mut order) = by(&ci, &release("v1", 40), 1);
    [&mut known, &mut order].into_iter().for_each(|document| alice().co_sign(document));
    let documents = vec![known, order];
    assert_eq!(asks(&mut fleet, 5, 1, Request::Countersign { documents }), Answer::Noted);
    follow(&mut fleet, 6, signed_root(3, vec![everything("alice", &alice())]));
    assert_eq!(asks(&mut fleet, 7, 1, Request::Dismiss { name: "ci".to_owned() }), Answer::Noted);
    assert!(not_allowed(asks(&mut fleet, 8, 2, Request::Status)).contains("was revoked"));
    let (late, _) = bring(&mut fleet, &ci, "v2", 2);
    fleet.run_until("an answer", |fleet| fleet.answer(late, 1).is_some());
    assert!(matches!(fleet.answer(late, 1), Some(Answer::Refused(Refusal::NotBelieved(_)))));
    assert_eq!(convictions(&fleet), 0);
    let revoked = fleet.facts().into_iter().filter(|fact| *fact == Fact::Revoked { node: member(2) }).count();
    assert_eq!(revoked, 1);
}

#[test]
fn g8_an_operator_has_one_certificate_and_an_abandoned_one_makes_room() {
    let mut fleet = Fleet::new(0, 7);
    assert!(matches!(enrol(&mut fleet, 1, "alice"), Answer::Enrolled { role: Role::Operator, .. }));
    assert!(matches!(enrol(&mut fleet, 1, "alice"), Answer::Enrolled { .. }), "the same again");
    assert!(not_allowed(enrol(&mut fleet, 2, "alice")).contains("has a certificate"));
    assert!(matches!(enrol(&mut fleet, 3, "dave"), Answer::Enrolled { .. }));
    assert!(matches!(enrol(&mut fleet, 4, "dave"), Answer::Enrolled { .. }), "no root ever named the first one");
    assert!(not_allowed(asks(&mut fleet, 1, 3, Request::Status)).contains("was revoked"));
    assert!(not_allowed(enrol(&mut fleet, 1, "bob")).contains("as another member"));
}

#[test]
fn g12_an_origin_that_brings_an_order_to_others_than_it_is_for_is_not_followed() {
    for (selector, follows) in [("role=db", false), ("", true)] {
        let mut fleet = Fleet::new(1, 3);
        let release = sign_release(&release("v1", 4));
        let selector = if selector.is_empty() { Selector::default() } else { selector.parse().expect("a selector") };
        let order = sign_order(&Order { selector, ..order(1, &release, None) });
        let from = fleet.nodes[ORIGIN].id;
        for message in [Message::Announce { release }, Message::Command { order, gate: Gate::Open }] {
            fleet.input(1, Input::Message { from, message });
        }
        fleet.run_for(Duration::from_secs(1));
        let order = fleet.nodes[1].disk.apps.get(&app()).and_then(|app| app.order.clone());
        assert_eq!(order.is_some(), follows);
    }
}

#[test]
fn d3_a_new_machine_follows_whatever_epoch_a_fleet_is_at() {
    let mut fleet = Fleet::new(1, 4);
    let release = sign_release(&release("v1", 4));
    let order = sign_order(&order(3 * Order::MAX_EPOCH_STEP, &release, None));
    let from = fleet.nodes[ORIGIN].id;
    for message in [Message::Announce { release }, Message::Command { order, gate: Gate::Open }] {
        fleet.input(1, Input::Message { from, message });
    }
    fleet.run_for(Duration::from_secs(1));
    assert!(fleet.nodes[1].disk.apps[&app()].order.is_some());
}
