//! Deploys through real engines in a fleet in memory: the whole trip, and what may happen on the way.

mod fleet;

use content::{Fact, NodeId, PieceNo, Role};
use fleet::*;
use std::time::Duration;
use tiding_engine::door::*;

#[test]
fn a_deploy_reaches_everyone_and_the_origin_sends_one_copy() {
    for seed in 0..4 {
        let mut fleet = Fleet::new(8, seed);
        let release = release("v1", 160);
        let signed = sign_release(&release);
        let publisher = fleet.deploy(&release, &order(1, &signed, None));
        let began = fleet.now;
        fleet.run_until("everyone confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
        assert!(fleet.now - began < 200_000_000, "a unicast takes 105 ms, and this {} ns", fleet.now - began);
        assert!(matches!(fleet.answer(publisher, 1), Some(Answer::Ordered { epoch: 1, .. })));
        assert!(fleet.copies(release.content) <= 1.2, "{} copies", fleet.copies(release.content));
        for nr in fleet.agents() {
            let twice = fleet.nodes[nr].got_pieces.values().filter(|n| **n > 1).count();
            assert!(twice <= 5, "{twice} pieces came twice");
            assert!(!fleet.nodes[nr].events.iter().any(|e| matches!(e, Event::Convicted { .. } | Event::Late { .. })));
        }
    }
}

/// Deploys and waits until everyone runs it; gives the signed release.
fn settle(fleet: &mut Fleet, name: &str, epoch: u64, fallback: Option<content::ReleaseId>) -> content::Signed {
    let release = release(name, 60);
    let signed = sign_release(&release);
    let publisher = fleet.deploy(&release, &order(epoch, &signed, fallback));
    fleet.run_until(name, |fleet| fleet.all_confirmed(id_of(&signed)) && fleet.answer(publisher, 1).is_some());
    fleet.stop(publisher);
    fleet.run_for(Duration::from_millis(100));
    signed
}

fn has_finished(fleet: &Fleet) -> bool {
    matches!(fleet.facts().last(), Some(Fact::Finished { .. }))
}

#[test]
fn d3_an_old_copy_of_an_origins_state_takes_nobody_back_and_says_how_far_the_fleet_is() {
    for seed in 0..5 {
        let mut fleet = Fleet::new(4, seed);
        let first = settle(&mut fleet, "v1", 1, None);
        let old = fleet.nodes[ORIGIN].disk.clone();
        let second = settle(&mut fleet, "v2", 2, Some(id_of(&first)));
        let third = settle(&mut fleet, "v3", 3, Some(id_of(&second)));
        fleet.stop(ORIGIN);
        fleet.nodes[ORIGIN].disk = old;
        fleet.start(ORIGIN);
        fleet.run_for(Duration::from_secs(20));
        let live = |fleet: &Fleet, nr: usize| fleet.nodes[nr].disk.apps[&app()].live;
        assert!(fleet.agents().into_iter().all(|nr| live(&fleet, nr) == Some(id_of(&third))), "seed {seed}");
        let known = status(&mut fleet);
        assert_eq!(known.ahead, [Ahead { app: app(), epoch: 3, agents: 4 }], "seed {seed}");
        // An epoch that the fleet has behind it moves nobody; one above all of them everyone.
        let again = sign_order(&order(2, &first, None));
        fleet.request(ORIGIN, 77, Request::Order { order: again });
        fleet.run_for(Duration::from_secs(5));
        assert!(fleet.agents().into_iter().all(|nr| live(&fleet, nr) == Some(id_of(&third))), "seed {seed}");
        settle(&mut fleet, "v4", 4, Some(id_of(&first)));
        assert_eq!(status(&mut fleet).ahead, [], "seed {seed}");
    }
}

#[test]
fn d9_a_second_deploy_a_rollback_and_its_rollback() {
    let mut fleet = Fleet::new(5, 1);
    let first = settle(&mut fleet, "v1", 1, None);
    let second = settle(&mut fleet, "v2", 2, Some(id_of(&first)));
    assert!(has_finished(&fleet));
    let sent = fleet.messages;
    for (epoch, (to, from)) in [(3, (&first, &second)), (4, (&second, &first))] {
        let back = sign_order(&order(epoch, to, Some(id_of(from))));
        fleet.request(ORIGIN, epoch, Request::Order { order: back });
        fleet
            .run_until("the rollback", |fleet| fleet.all_confirmed(id_of(to)) && fleet.answer(ORIGIN, epoch).is_some());
        assert!(matches!(fleet.answer(ORIGIN, epoch), Some(Answer::Ordered { epoch: e, .. }) if *e == epoch));
    }
    assert!(fleet.messages - sent < 400, "going back fetches nothing");
    let status = status(&mut fleet);
    assert_eq!(status.apps[0].releases.len(), 2);
    assert_eq!(status.apps[0].state, RolloutState::Finished);
    assert!(status.nodes.iter().filter(|node| node.role == Role::Agent).all(|node| node.up));
}

#[test]
fn d9_releases_that_no_order_needs_are_forgotten_by_the_origin_and_said_to_be_gone() {
    let mut fleet = Fleet::new(2, 21);
    let signed: Vec<content::Signed> =
        (1..=5).map(|epoch| settle(&mut fleet, &format!("v{epoch}"), epoch, None)).collect();
    let versions: Vec<String> = status(&mut fleet).apps[0].releases.iter().map(|(_, name, _)| name.clone()).collect();
    assert_eq!(versions, ["v3", "v4", "v5"], "the live one and the two that nodes keep");
    let back = sign_order(&order(6, &signed[0], None));
    fleet.request(ORIGIN, 50, Request::Order { order: back });
    assert!(
        matches!(fleet.answer(ORIGIN, 50), Some(Answer::Refused(Refusal::Unknown(why))) if why.ends_with("v3, v4, v5"))
    );
}

fn status(fleet: &mut Fleet) -> FleetStatus {
    fleet.run_for(Duration::from_millis(300));
    fleet.request(ORIGIN, 99, Request::Status);
    match fleet.answer(ORIGIN, 99) {
        Some(Answer::Status(status)) => (**status).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_agent_alone_is_pushed_everything_once() {
    let mut fleet = Fleet::new(1, 2);
    let signed = settle(&mut fleet, "v1", 1, None);
    let content = release("v1", 60).content;
    assert!(fleet.copies(content) <= 1.05, "{}", fleet.copies(content));
    assert_eq!(fleet.nodes[1].switches, [id_of(&signed)]);
}

#[test]
fn d7_the_same_deploy_twice_has_one_effect() {
    let mut fleet = Fleet::new(3, 3);
    let release = release("v1", 60);
    let signed = sign_release(&release);
    let (one, other) = (fleet.publisher(&release), fleet.publisher(&release));
    let request =
        Request::Deploy { release: signed.clone(), order: sign_order(&order(1, &signed, None)), wish: Wish::default() };
    fleet.request(one, 1, request.clone());
    fleet.request(other, 1, request.clone());
    fleet.run_until("both are told", |fleet| fleet.answer(other, 1).is_some() || fleet.answer(one, 1).is_some());
    fleet.run_until("everyone confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
    let third = fleet.publisher(&release);
    fleet.request(third, 1, request);
    fleet.run_until("the third is told", |fleet| fleet.answer(third, 1).is_some());
    assert!(matches!(fleet.answer(third, 1), Some(Answer::Ordered { epoch: 1, .. })));
    let orders = fleet.facts().iter().filter(|fact| matches!(fact, Fact::Ordered { .. })).count();
    assert_eq!(orders, 1);
    assert!(fleet.agents().iter().all(|nr| fleet.nodes[*nr].switches.len() == 1));
}

#[test]
fn d5_a_second_deploy_under_way_is_told_who_and_what() {
    let mut fleet = Fleet::new(3, 4);
    let (mine, theirs) = (release("v1", 160), release("other", 20));
    let signed = sign_release(&mine);
    fleet.deploy(&mine, &order(1, &signed, None));
    fleet.run_for(Duration::from_millis(20));
    let late = bob().sign(content::PayloadKind::Release, theirs.encode());
    let publisher = fleet.publisher(&theirs);
    let order = bob().sign(content::PayloadKind::Order, order(1, &late, None).encode());
    let request = Request::Deploy { release: late, order, wish: Wish::default() };
    fleet.request(publisher, 1, request.clone());
    fleet.run_until("the second is told", |fleet| fleet.answer(publisher, 1).is_some());
    let Some(Answer::Refused(Refusal::Conflict { by, what, .. })) = fleet.answer(publisher, 1) else {
        panic!("{:?}", fleet.answer(publisher, 1))
    };
    assert_eq!(by, "alice");
    assert!(what.contains("web v1 by alice is under way"), "{what}");
    fleet.run_until("the first wins", |fleet| fleet.all_confirmed(id_of(&signed)));
    fleet.request(publisher, 2, request);
    fleet.run_until("the second is told again", |fleet| fleet.answer(publisher, 2).is_some());
    assert!(matches!(
        fleet.answer(publisher, 2),
        Some(Answer::Refused(Refusal::Conflict { epoch: 1, by, .. })) if by == "alice"
    ));
    assert!(fleet.facts().iter().filter(|fact| matches!(fact, Fact::Ordered { .. })).count() == 1);
}

#[test]
fn d6_a_publisher_that_dies_leaves_nothing_half_ordered_and_can_come_again() {
    let mut fleet = Fleet::new(4, 5);
    let release = release("v1", 160);
    let signed = sign_release(&release);
    let order = order(1, &signed, None);
    let publisher = fleet.deploy(&release, &order);
    fleet.run_for(Duration::from_millis(30));
    fleet.stop(publisher);
    fleet.run_for(Duration::from_secs(5));
    assert!(fleet.facts().is_empty());
    let said = status(&mut fleet);
    assert_eq!(said.apps[0].state, RolloutState::Spreading);
    let held = said.apps[0].origin_have.0;
    assert!(held > 10 && fleet.agents().iter().all(|nr| fleet.nodes[*nr].switches.is_empty()));
    fleet.start(publisher);
    let request = Request::Deploy { release: signed.clone(), order: sign_order(&order), wish: Wish::default() };
    fleet.request(publisher, 2, request);
    fleet.run_until("everyone confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
    let again = fleet.nodes[ORIGIN].got_pieces.values().filter(|n| **n > 1).count();
    assert!(again <= 70, "{again} pieces were fetched again");
}

#[test]
fn a_new_submission_replaces_one_whose_publisher_is_gone() {
    let mut fleet = Fleet::new(3, 6);
    let first = release("v1", 160);
    let publisher = fleet.deploy(&first, &order(1, &sign_release(&first), None));
    fleet.run_for(Duration::from_millis(30));
    fleet.stop(publisher);
    fleet.run_for(Duration::from_millis(10));
    settle(&mut fleet, "v2", 1, None);
}

#[test]
fn d1_an_origin_killed_at_any_moment_loses_nothing() {
    for moment in 0..20 {
        let mut fleet = Fleet::new(4, 100 + moment);
        let first = settle(&mut fleet, "v1", 1, None);
        let release = release("v2", 60);
        let signed = sign_release(&release);
        fleet.deploy(&release, &order(2, &signed, Some(id_of(&first))));
        fleet.run_for(Duration::from_millis(5 * moment));
        fleet.stop(ORIGIN);
        fleet.run_for(Duration::from_millis(700));
        fleet.start(ORIGIN);
        fleet.run_until("everyone confirms", |fleet| fleet.all_confirmed(id_of(&signed)) && has_finished(fleet));
        for nr in fleet.agents() {
            assert_eq!(fleet.nodes[nr].switches, [id_of(&first), id_of(&signed)]);
        }
    }
}

#[test]
fn b8_a_swarm_that_holds_every_piece_finishes_without_its_origin() {
    let mut fleet = Fleet::new(6, 7);
    let release = release("v1", 400);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(1, &signed, None));
    let content = release.content;
    let out = |fleet: &Fleet| {
        let holds = |nr: &usize, piece| {
            fleet.nodes[*nr].disk.contents.get(&content.id()).is_some_and(|h| h.have.contains(piece))
        };
        (0..content.total()).map(content::PieceNo).all(|piece| fleet.agents().iter().any(|nr| holds(nr, piece)))
    };
    fleet.run_until("every piece is out", out);
    let whole = |fleet: &Fleet| {
        fleet.agents().into_iter().filter(|nr| fleet.nodes[*nr].disk.contents[&content.id()].have.is_full()).count()
    };
    assert!(whole(&fleet) < 6);
    fleet.stop(ORIGIN);
    fleet.run_until("the swarm finishes alone", |fleet| whole(fleet) == 6);
    assert!(fleet.agents().iter().all(|nr| fleet.nodes[*nr].events.contains(&Event::OriginSilent)));
}

#[test]
fn c1_a_corrupt_sender_is_convicted_by_one_piece_and_left() {
    let mut fleet = Fleet::new(6, 8);
    fleet.nodes[2].evil = Some(Evil::Corrupts);
    let release = release("v1", 160);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(1, &signed, None));
    fleet.run_until("everyone confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
    let liar = fleet.nodes[2].id;
    let convicts = |nr: &usize| {
        let of = |event: &&Event| matches!(event, Event::Convicted { peer, of: Misbehaviour::CorruptPiece } if *peer == liar);
        fleet.nodes[*nr].events.iter().filter(of).count()
    };
    let convictions: Vec<usize> = fleet.agents().iter().filter(|nr| **nr != 2).map(convicts).collect();
    assert!(convictions.iter().all(|n| *n <= 1) && convictions.iter().sum::<usize>() >= 3, "{convictions:?}");
    assert!(fleet.agents().iter().all(|nr| {
        !fleet.nodes[*nr].events.iter().any(|e| matches!(e, Event::Convicted { peer, .. } if *peer != liar))
    }));
}

/// Who was convicted by whom, so far.
fn convictions(fleet: &Fleet, judge: usize) -> Vec<NodeId> {
    let convicted = |event: &Event| if let Event::Convicted { peer, .. } = event { Some(*peer) } else { None };
    fleet.nodes[judge].events.iter().filter_map(convicted).collect()
}

#[test]
fn c1_a_convict_is_not_dealt_with_after_its_judge_was_started_again() {
    let mut fleet = Fleet::new(3, 12);
    fleet.nodes[2].evil = Some(Evil::Corrupts);
    let liar = fleet.nodes[2].id;
    let first = settle(&mut fleet, "v1", 1, None);
    let judges: Vec<usize> = [1, 3].into_iter().filter(|nr| convictions(&fleet, *nr) == [liar]).collect();
    assert!(!judges.is_empty(), "nobody met the liar");
    for judge in &judges {
        assert_eq!(fleet.nodes[*judge].disk.shunned, [liar], "a verdict is remembered at once");
        fleet.stop(*judge);
        fleet.nodes[*judge].events.clear();
        fleet.start(*judge);
    }
    settle(&mut fleet, "v2", 2, Some(id_of(&first)));
    for judge in judges {
        let events = &fleet.nodes[judge].events;
        assert!(events.contains(&Event::Shunned { peer: liar }), "it came again");
        assert!(!events.contains(&Event::PeerUp { peer: liar }), "and was let in");
        assert_eq!(convictions(&fleet, judge), [], "it was asked for another piece");
    }
}

#[test]
fn c5_liars_and_stallers_cost_a_deadline_and_no_more() {
    let honest = {
        let mut fleet = Fleet::new(9, 9);
        let began = fleet.now;
        settle(&mut fleet, "v1", 1, None);
        fleet.now - began
    };
    for evil in [Evil::Lies, Evil::Stalls] {
        let days: Vec<EvilDay> = (9..17).map(|seed| evil_day(evil, seed)).collect();
        let EvilDay { of_honest, of_all, .. } = days[0];
        let millis = |nanos: u64| nanos / 1_000_000;
        let took = (millis(of_honest), millis(of_all), millis(honest));
        assert!(of_honest < honest + 1_500_000_000, "{evil:?}: {took:?}");
        // Those that say they have it all get it in the end as well: a piece a second from each, as they need none by their own word.
        let patience: u64 = if evil == Evil::Lies { 40_000_000_000 } else { 2_500_000_000 };
        assert!(of_all < honest + patience, "{evil:?}: {took:?}");
        // A liar says that it wants nothing, so nobody pushes it anything: it fetches a copy of its own in the end. And whoever
        // should get something from it asks the origin for some of it, until the liar is convicted.
        // The pages go to four at once, and what is overdue is asked for sooner than a staller is found out.
        let most = if evil == Evil::Lies { 3.0 } else { 3.5 };
        let copies = days.iter().map(|day| day.copies).sum::<f64>() / days.len() as f64;
        assert!(copies <= most, "{evil:?}: {copies} copies");
    }
}

/// How long a deploy took on a day on which three of nine are not honest, in nanoseconds, and how many copies the origin sent.
struct EvilDay {
    of_honest: u64,
    of_all: u64,
    copies: f64,
}

fn evil_day(evil: Evil, seed: u64) -> EvilDay {
    let mut fleet = Fleet::new(9, seed);
    (1..=3).for_each(|nr| fleet.nodes[nr].evil = Some(evil));
    let began = fleet.now;
    let release = release("v1", 60);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(1, &signed, None));
    fleet.run_until("the honest", |fleet| (4..=9).all(|nr| fleet.confirmed(nr) == Some(id_of(&signed))));
    let of_honest = fleet.now - began;
    fleet.run_until("all", |fleet| fleet.all_confirmed(id_of(&signed)));
    EvilDay { of_honest, of_all: fleet.now - began, copies: fleet.copies(release.content) }
}

#[test]
fn d4_g2_an_old_order_is_refused_and_so_is_another_one_of_the_same_epoch() {
    let mut fleet = Fleet::new(2, 10);
    let first = settle(&mut fleet, "v1", 5, None);
    let second = settle(&mut fleet, "v2", 6, Some(id_of(&first)));
    let origin = fleet.nodes[ORIGIN].id;
    let mut twin = order(6, &first, None);
    twin.message = "another one".to_owned();
    for (stale, epoch) in [(order(5, &first, None), 5), (twin, 6)] {
        let message = Message::Command { order: sign_order(&stale), gate: Gate::Open };
        fleet.input(1, Input::Message { from: origin, message });
        let refused = Event::StaleOrder { app: app(), epoch, floor: 6, by: Some(alice().public().id()) };
        assert!(fleet.nodes[1].events.contains(&refused));
    }
    let far = Message::Command { order: sign_order(&order(7 + (1 << 20), &first, None)), gate: Gate::Open };
    fleet.input(1, Input::Message { from: origin, message: far });
    assert!(fleet.nodes[1].events.iter().any(|event| matches!(event, Event::Distrusted { .. })));
    fleet.run_for(Duration::from_secs(2));
    assert_eq!(fleet.confirmed(1), Some(id_of(&second)));
    assert_eq!(fleet.nodes[1].switches.len(), 2);
}

#[test]
fn g1_g16_what_no_operator_signed_for_this_fleet_is_refused() {
    let mut fleet = Fleet::new(2, 11);
    let mut foreign = release("v1", 20);
    foreign.fleet = content::FleetId(content::Digest::of(b"another"));
    let stranger = content::SigningKey::from_secret(&[77; 32]);
    let unsigned = stranger.sign(content::PayloadKind::Release, release("v1", 20).encode());
    for release in [sign_release(&foreign), unsigned] {
        let publisher = fleet.add(Role::Operator);
        fleet.start(publisher);
        let request = Request::Deploy {
            order: sign_order(&order(1, &release, None)),
            release: release.clone(),
            wish: Wish::default(),
        };
        fleet.request(publisher, 1, request);
        fleet.run_until("an answer", |fleet| fleet.answer(publisher, 1).is_some());
        assert!(matches!(fleet.answer(publisher, 1), Some(Answer::Refused(Refusal::NotBelieved(_)))));
        let from = fleet.nodes[ORIGIN].id;
        fleet.input(1, Input::Message { from, message: Message::Announce { release } });
        assert!(fleet.nodes[1].events.iter().any(|event| matches!(event, Event::Distrusted { .. })));
        fleet.run_for(Duration::from_secs(1));
    }
    assert!(fleet.nodes[1].disk.contents.is_empty());
}

#[test]
fn a_full_disk_keeps_the_old_release_says_so_and_goes_on_when_there_is_room() {
    let mut fleet = Fleet::new(4, 12);
    let first = settle(&mut fleet, "v1", 1, None);
    fleet.nodes[3].evil = Some(Evil::Full);
    let release = release("v2", 60);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(2, &signed, Some(id_of(&first))));
    let others = |fleet: &Fleet| [1, 2, 4].iter().all(|nr| fleet.confirmed(*nr) == Some(id_of(&signed)));
    fleet.run_until("the others confirm", others);
    assert_eq!(fleet.confirmed(3), Some(id_of(&first)));
    let said = status(&mut fleet);
    let trouble =
        |node: &NodeStatus| node.apps.iter().any(|app| app.trouble.as_deref().is_some_and(|t| t.contains("disk full")));
    assert_eq!(said.nodes.iter().filter(|node| trouble(node)).count(), 1);
    fleet.nodes[3].evil = None;
    fleet.run_until("the last one", |fleet| fleet.all_confirmed(id_of(&signed)) && has_finished(fleet));
}

#[test]
fn a_failure_beyond_the_budget_halts_and_everyone_goes_back() {
    let mut fleet = Fleet::new(4, 13);
    let first = settle(&mut fleet, "v1", 1, None);
    fleet.nodes[3].evil = Some(Evil::Refuses);
    let release = release("v2", 60);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(2, &signed, Some(id_of(&first))));
    fleet.run_until("it falls back", |fleet| {
        fleet.facts().iter().any(|fact| matches!(fact, Fact::FellBack { .. })) && fleet.all_confirmed(id_of(&first))
    });
    fleet.run_for(Duration::from_secs(2));
    assert!(fleet.all_confirmed(id_of(&first)));
    let said = status(&mut fleet);
    assert!(matches!(&said.apps[0].state, RolloutState::Halted { why } if why.contains("1 node failed")));
}

#[test]
fn waves_open_one_after_the_other() {
    let mut fleet = Fleet::new(6, 14);
    let release = release("v1", 20);
    let signed = sign_release(&release);
    let mut order = order(1, &signed, None);
    order.waves =
        vec![content::order::Wave::Count(1), content::order::Wave::PerMille(500), content::order::Wave::PerMille(1000)];
    fleet.deploy(&release, &order);
    let live = |fleet: &Fleet| fleet.agents().into_iter().filter(|nr| !fleet.nodes[*nr].switches.is_empty()).count();
    let mut seen = std::collections::BTreeSet::new();
    fleet.run_until("all waves", |fleet| {
        let waves = fleet.facts().iter().filter(|fact| matches!(fact, Fact::WaveOpened { .. })).count();
        assert!(live(fleet) <= [0, 1, 3, 6][waves]);
        seen.insert(waves);
        has_finished(fleet)
    });
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_new_node_and_one_that_was_away_converge_from_their_neighbours() {
    let mut fleet = Fleet::new(5, 15);
    let first = settle(&mut fleet, "v1", 1, None);
    fleet.stop(2);
    let release = release("v2", 60);
    let signed = sign_release(&release);
    fleet.deploy(&release, &order(2, &signed, Some(id_of(&first))));
    fleet.run_until("the others", |fleet| [1, 3, 4, 5].iter().all(|nr| fleet.confirmed(*nr) == Some(id_of(&signed))));
    let before = fleet.copies(release.content);
    fleet.start(2);
    let new = fleet.add(Role::Agent);
    fleet.start(new);
    fleet.run_until("all", |fleet| fleet.all_confirmed(id_of(&signed)));
    assert!(fleet.copies(release.content) - before < 0.3, "{before} and then {}", fleet.copies(release.content));
}

#[test]
fn an_agent_killed_at_any_moment_of_a_switch_decides_by_itself() {
    for moment in 0..12 {
        let mut fleet = Fleet::new(2, 200 + moment);
        let first = settle(&mut fleet, "v1", 1, None);
        let release = release("v2", 20);
        let signed = sign_release(&release);
        fleet.deploy(&release, &order(2, &signed, Some(id_of(&first))));
        fleet.run_for(Duration::from_millis(4 * moment));
        fleet.stop(1);
        fleet.stop(ORIGIN);
        fleet.run_for(Duration::from_millis(100));
        let intent = fleet.nodes[1].disk.apps[&app()].intent;
        fleet.start(1);
        fleet.run_for(Duration::from_secs(1));
        let record = &fleet.nodes[1].disk.apps[&app()];
        assert_eq!((record.intent, record.live), (None, record.confirmed));
        if let Some(intent) = intent {
            assert_eq!(record.confirmed, Some(intent), "a switch that was begun is finished without a network");
        }
        fleet.start(ORIGIN);
        fleet.run_until("all", |fleet| fleet.all_confirmed(id_of(&signed)));
    }
}

#[test]
fn a_lost_piece_is_fetched_again_and_the_release_stays() {
    let mut fleet = Fleet::new(4, 16);
    let signed = settle(&mut fleet, "v1", 1, None);
    let content = release("v1", 60).content;
    let held = fleet.nodes[2].disk.contents.get_mut(&content.id()).expect("it is here");
    held.have.remove(content::PieceNo(7));
    held.complete = false;
    fleet.input(2, Input::Lost { content: content.id(), piece: content::PieceNo(7) });
    fleet.run_until("it is whole again", |fleet| fleet.nodes[2].disk.contents[&content.id()].complete);
    assert!(fleet.nodes[2].events.contains(&Event::Quarantined { content: content.id(), piece: content::PieceNo(7) }));
    assert_eq!(fleet.nodes[2].switches, [id_of(&signed)]);
}

#[test]
fn verify_asks_everyone_and_does_not_wait_for_who_goes_away() {
    let mut fleet = Fleet::new(3, 17);
    settle(&mut fleet, "v1", 1, None);
    fleet.run_for(Duration::from_millis(300));
    fleet.request(ORIGIN, 7, Request::Verify { app: app() });
    fleet.stop(2);
    fleet.run_until("the report", |fleet| fleet.answer(ORIGIN, 7).is_some());
    let Some(Answer::Verified { nodes }) = fleet.answer(ORIGIN, 7) else { panic!("no report") };
    assert_eq!(nodes.len(), 3);
    assert_eq!(nodes.iter().filter(|(_, _, found)| found.is_ok()).count(), 2);
}

#[test]
fn who_asks_for_a_verify_that_is_under_way_is_answered_by_it() {
    let mut fleet = Fleet::new(3, 20);
    settle(&mut fleet, "v1", 1, None);
    let verified = |fleet: &Fleet| fleet.agents().iter().map(|nr| fleet.nodes[*nr].verifies).collect::<Vec<_>>();
    let answered = |fleet: &Fleet, client| matches!(fleet.answer(ORIGIN, client), Some(Answer::Verified { .. }));
    fleet.request(ORIGIN, 1, Request::Verify { app: app() });
    fleet.request(ORIGIN, 2, Request::Verify { app: app() });
    fleet.run_until("both are answered", |fleet| answered(fleet, 1) && answered(fleet, 2));
    assert_eq!(fleet.answer(ORIGIN, 1), fleet.answer(ORIGIN, 2));
    assert_eq!(verified(&fleet), [1; 3], "every disk is read once");
    fleet.request(ORIGIN, 3, Request::Verify { app: app() });
    fleet.run_until("who asks later is answered", |fleet| answered(fleet, 3));
    assert_eq!(verified(&fleet), [2; 3], "and has it read again");
}

#[test]
fn forty_agents_know_only_some_of_each_other_and_the_origin_still_sends_one_copy() {
    let mut fleet = Fleet::new(40, 18);
    let signed = settle(&mut fleet, "v1", 1, None);
    let content = release("v1", 60).content;
    assert!(fleet.copies(content) <= 1.2, "{}", fleet.copies(content));
    assert!(fleet.all_confirmed(id_of(&signed)));
    for nr in fleet.agents() {
        let footprint = fleet.nodes[nr].engine.as_ref().expect("it is up").footprint();
        assert!((6..=34).contains(&footprint.connections), "{footprint:?}");
        assert_eq!((footprint.in_flight, footprint.queued), (0, 0));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut fleet = Fleet::new(5, 19);
        settle(&mut fleet, "v1", 1, None);
        (fleet.now, fleet.messages, fleet.nodes.iter().map(|node| node.events.clone()).collect::<Vec<_>>())
    };
    assert_eq!(run(), run());
}

#[test]
fn b2_a_machine_that_vanishes_without_a_word_is_missed_and_those_that_answer_are_not() {
    let mut fleet = Fleet::new(3, 31);
    settle(&mut fleet, "v1", 1, None);
    let origin = fleet.nodes[ORIGIN].id;
    fleet.run_for(Duration::from_secs(60));
    assert!(fleet.nodes.iter().all(|node| !node.events.contains(&Event::OriginSilent)), "an idle fleet stays together");
    fleet.vanish(1);
    fleet.run_for(Duration::from_secs(30));
    let gone = fleet.nodes[1].id;
    for nr in [ORIGIN, 2, 3] {
        assert!(fleet.nodes[nr].events.contains(&Event::PeerDown { peer: gone }), "node {nr} has not noticed");
    }
    assert!(!fleet.nodes[2].events.contains(&Event::PeerDown { peer: origin }));
    fleet.vanish(ORIGIN);
    fleet.run_for(Duration::from_secs(30));
    assert!(fleet.nodes[2].events.contains(&Event::OriginSilent));
    fleet.start(1);
    fleet.start(ORIGIN);
    settle(&mut fleet, "v2", 2, None);
}

#[test]
fn a_node_that_comes_late_and_fails_takes_nothing_from_those_that_run() {
    let mut fleet = Fleet::new(3, 32);
    let first = settle(&mut fleet, "v1", 1, None);
    let second = settle(&mut fleet, "v2", 2, Some(id_of(&first)));
    let late = fleet.add(Role::Agent);
    fleet.nodes[late].evil = Some(Evil::Refuses);
    fleet.start(late);
    let has_failed =
        |fleet: &Fleet| fleet.nodes[late].events.iter().any(|event| matches!(event, Event::JobFailed { .. }));
    fleet.run_until("the late one has failed", has_failed);
    fleet.run_for(Duration::from_secs(60));
    assert!((1..=3).all(|nr| fleet.confirmed(nr) == Some(id_of(&second))));
    assert_eq!(status(&mut fleet).apps[0].state, RolloutState::Finished);
}

#[test]
fn a_source_that_changes_while_it_is_published_ends_the_deploy_with_words() {
    let mut fleet = Fleet::new(2, 33);
    let release = release("v1", 400);
    let signed = sign_release(&release);
    let publisher = fleet.publisher(&release);
    let request =
        Request::Deploy { release: signed.clone(), order: sign_order(&order(1, &signed, None)), wish: Wish::default() };
    fleet.request(publisher, 1, request);
    fleet.run_for(Duration::from_millis(20));
    fleet.input(publisher, Input::Lost { content: release.content.id(), piece: PieceNo(390) });
    fleet.run_until("the publisher is told", |fleet| fleet.answer(publisher, 1).is_some());
    assert!(
        matches!(fleet.answer(publisher, 1), Some(Answer::Refused(Refusal::Failed(why))) if why.contains("changed"))
    );
    assert!(!fleet.facts().iter().any(|fact| matches!(fact, Fact::Ordered { .. })));
}

#[test]
fn who_asks_for_more_than_anyone_could_send_is_convicted() {
    let mut fleet = Fleet::new(2, 34);
    settle(&mut fleet, "v1", 1, None);
    let pieces: Vec<PieceNo> = (0..100_000).map(PieceNo).collect();
    let (from, content) = (fleet.nodes[1].id, content::ContentId(content::Digest::of(b"nothing of ours")));
    fleet.input(ORIGIN, Input::Message { from, message: Message::Want { content, pieces } });
    let convicted = Event::Convicted { peer: from, of: Misbehaviour::Flood };
    assert!(fleet.nodes[ORIGIN].events.contains(&convicted));
}

/// What the origin knows of its agents' progress with a content.
fn progress(fleet: &mut Fleet, nth: u64) -> Vec<AppStatus> {
    fleet.request(ORIGIN, 10_000 + nth, Request::Status);
    let Some(Answer::Status(status)) = fleet.answer(ORIGIN, 10_000 + nth) else { panic!("no status") };
    status.nodes.iter().flat_map(|node| node.apps.clone()).collect()
}

#[test]
fn d12_what_is_said_of_progress_never_exceeds_what_came_and_adds_up() {
    const PIECE: u64 = 65_536;
    for (seed, evil) in [(1, None), (2, Some(Evil::Corrupts)), (3, Some(Evil::Lies)), (4, Some(Evil::Greedy))] {
        let mut fleet = Fleet::new(6, seed);
        fleet.nodes[1].evil = evil;
        // It takes a second: long enough for several words on the way.
        let release = release("v1", 1600);
        let (signed, content) = (sign_release(&release), release.content);
        fleet.deploy(&release, &order(1, &signed, None));
        let (mut looks, mut between) = (0, 0);
        while !(2..=6).all(|nr| fleet.confirmed(nr) == Some(id_of(&signed))) {
            fleet.run_for(Duration::from_millis(5));
            looks += 1;
            assert!(looks < 10_000, "it does not end");
            for app in progress(&mut fleet, looks) {
                assert!(app.have <= app.total && app.total <= content.total(), "seed {seed}: {app:?}");
                let verified = u64::from(app.have.saturating_sub(content.pages())) * PIECE;
                let came = app.from_origin + app.from_peers + app.had;
                assert!(
                    verified <= came,
                    "seed {seed}: {verified} bytes are said to be here, and {came} came: {app:?}"
                );
                between += u64::from(app.have > 0 && app.have < app.total);
            }
        }
        assert!(between > 3, "seed {seed}: nothing was said on the way");
        fleet.run_for(Duration::from_secs(1));
        // Who is not honest may take longer.
        for app in progress(&mut fleet, 9_999).into_iter().filter(|app| app.phase == Phase::Confirmed) {
            let came = app.from_origin + app.from_peers + app.had;
            assert_eq!(app.have, app.total, "seed {seed}");
            assert!(
                evil.is_some() || came <= (content.bytes + content.blob.len) * 11 / 10,
                "seed {seed}: {came}: {app:?}"
            );
        }
    }
}
