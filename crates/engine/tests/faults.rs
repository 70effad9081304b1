//! Rows of the list of faults that whole fleets of engines answer to, in virtual time.

mod fleet;

use content::{Fact, NodeId, PieceNo};
use fleet::*;
use std::time::Duration;
use tiding_engine::Engine;
use tiding_engine::door::*;

const SECOND: u64 = 1_000_000_000;

/// Deploys and waits until everyone runs it, or these do; gives the nanoseconds that took.
fn deploy(fleet: &mut Fleet, name: &str, pieces: u32, epoch: u64, except: &[usize]) -> u64 {
    let release = release(name, pieces);
    let signed = sign_release(&release);
    let began = fleet.now;
    let publisher = fleet.deploy(&release, &order(epoch, &signed, None));
    let awaited: Vec<usize> = fleet.agents().into_iter().filter(|nr| !except.contains(nr)).collect();
    fleet.run_until(name, |fleet| awaited.iter().all(|nr| fleet.confirmed(*nr) == Some(id_of(&signed))));
    let took = fleet.now - began;
    fleet.stop(publisher);
    fleet.run_for(Duration::from_millis(100));
    took
}

fn seen(fleet: &Fleet, nr: usize, what: impl Fn(&Event) -> bool) -> usize {
    fleet.nodes[nr].events.iter().filter(|event| what(event)).count()
}

#[test]
fn b3_a_tenth_that_takes_requests_and_never_answers_costs_a_deadline_at_most() {
    let honest = deploy(&mut Fleet::new(20, 3), "v1", 400, 1, &[]);
    let mut fleet = Fleet::new(20, 3);
    for nr in [5, 11] {
        fleet.nodes[nr].evil = Some(Evil::Stalls);
    }
    let took = deploy(&mut fleet, "v1", 400, 1, &[]);
    let late: usize = fleet.agents().into_iter().map(|nr| seen(&fleet, nr, |e| matches!(e, Event::Late { .. }))).sum();
    assert!(late > 0, "nobody was ever kept waiting");
    assert!(took <= honest + 3 * SECOND / 2, "{} ms instead of {}", took / 1_000_000, honest / 1_000_000);
}

#[test]
fn b7_agents_that_reach_only_their_origin_get_all_from_it_at_once() {
    let mut fleet = Fleet::new(0, 4);
    fleet.only_origin = true;
    let agents: Vec<usize> = (0..4).map(|_| fleet.add(content::Role::Agent)).collect();
    agents.iter().for_each(|nr| fleet.start(*nr));
    fleet.run_for(Duration::from_millis(200));
    let took = deploy(&mut fleet, "v1", 60, 1, &[]);
    // The origin finds out that nobody passes on what it pushed, once for the pages and once for the pieces.
    assert!(took < 6 * SECOND / 5, "no more than that is waited for: {} ms", took / 1_000_000);
    for nr in agents {
        let said = seen(&fleet, nr, |event| matches!(event, Event::PlainRoad { .. }));
        // Once when it finds nobody, and once more when the origin had nothing yet.
        assert!(said <= 3, "node {nr} said {said} times why, for two contents");
    }
    assert!(fleet.refused > 0, "no agent ever tried to reach another");
    let copies = fleet.copies(release("v1", 60).content);
    // What was pushed to one that seemed to keep it goes out again, until it is clear that nobody reaches anybody.
    assert!((3.9..=4.2).contains(&copies), "each got about one copy from the origin: {copies}");
}

#[test]
fn who_closes_a_connection_in_the_middle_is_no_criminal_and_is_dealt_with_again() {
    let mut fleet = Fleet::new(6, 8);
    fleet.run_for(Duration::from_secs(1));
    let release = release("v1", 400);
    let signed = sign_release(&release);
    let publisher = fleet.deploy(&release, &order(1, &signed, None));
    // In the middle: the first agent has a part of it, and leaves everyone, as a process does that is stopped.
    let has_some = |fleet: &Fleet, nr: usize| fleet.nodes[nr].got_pieces.len() > 40;
    fleet.run_until("some of it", |fleet| has_some(fleet, fleet.agents()[0]));
    let leaver = fleet.agents()[0];
    let others: Vec<usize> = (0..fleet.nodes.len()).filter(|nr| *nr != leaver && *nr != publisher).collect();
    let closed = others.iter().filter(|other| fleet.close(leaver, **other)).count();
    assert!(closed > 1, "it had {closed} connections");
    fleet.run_until("v1", |fleet| fleet.agents().iter().all(|nr| fleet.confirmed(*nr) == Some(id_of(&signed))));
    fleet.stop(publisher);
    let leaver_is = fleet.nodes[leaver].id;
    for nr in 0..fleet.nodes.len() {
        assert_eq!(
            seen(&fleet, nr, |e| matches!(e, Event::Convicted { .. } | Event::Distrusted { .. })),
            0,
            "node {nr}"
        );
        assert_eq!(seen(&fleet, nr, |e| *e == Event::Benched { node: leaver_is }), 0, "node {nr}");
    }
    fleet.run_for(Duration::from_secs(10));
    let again = others.iter().filter(|other| fleet.is_connected(leaver, **other)).count();
    assert!(again > 1, "{again} of {closed} connections stand again");
}

#[test]
fn an_origin_hears_of_pieces_by_the_dozen() {
    let mut fleet = Fleet::new(20, 9);
    deploy(&mut fleet, "v1", 200, 1, &[]);
    let by_length = [400, 800].map(|pieces| {
        let (before, epoch) = (fleet.to_origin, u64::from(pieces / 100));
        deploy(&mut fleet, &format!("of {pieces}"), pieces, epoch, &[]);
        fleet.to_origin - before
    });
    let each = (by_length[1].saturating_sub(by_length[0])) as f64 / 400.0 / 20.0;
    assert!(each < 0.25, "{each} messages for each piece that an agent gets; {by_length:?}");
}

#[test]
fn b13_messages_that_come_twice_or_late_have_one_effect() {
    let mut fleet = Fleet::new(4, 5);
    fleet.repeats = true;
    for (epoch, name) in [(1, "v1"), (2, "v2"), (3, "v3")] {
        deploy(&mut fleet, name, 40, epoch, &[]);
    }
    assert!(fleet.repeated > 200, "{} messages came again", fleet.repeated);
    let wanted = id_of(&sign_release(&release("v3", 40)));
    for nr in fleet.agents() {
        assert_eq!(fleet.nodes[nr].switches.len(), 3, "each release was switched to once");
        assert_eq!(fleet.confirmed(nr), Some(wanted));
        assert_eq!(seen(&fleet, nr, |event| matches!(event, Event::Convicted { .. } | Event::Distrusted { .. })), 0);
    }
}

#[test]
fn b12_connections_that_end_at_any_moment_of_a_deploy_leave_one_effect() {
    let whole = |cut: Option<Duration>| {
        let mut fleet = Fleet::new(4, 12);
        let release = release("v1", 60);
        let signed = sign_release(&release);
        let began = fleet.now;
        let publisher = fleet.deploy(&release, &order(1, &signed, None));
        if let Some(after) = cut {
            fleet.run_for(after);
            for (a, b) in [(publisher, ORIGIN), (ORIGIN, 1), (1, 2), (3, 4)] {
                fleet.disconnect(a, b, DownReason::Broken("reset".to_owned()));
            }
        }
        fleet.run_until("v1", |fleet| fleet.all_confirmed(id_of(&signed)));
        let took = fleet.now - began;
        fleet.run_for(Duration::from_secs(1));
        for nr in fleet.agents() {
            assert_eq!(fleet.nodes[nr].switches, [id_of(&signed)], "cut {cut:?}: node {nr} switched");
            assert_eq!(seen(&fleet, nr, |event| matches!(event, Event::Convicted { .. })), 0, "cut {cut:?}");
        }
        let told = |what: fn(&Fact) -> bool| fleet.facts().iter().filter(|fact| what(fact)).count();
        let published = told(|fact| matches!(fact, Fact::Published { .. }));
        let ordered = told(|fact| matches!(fact, Fact::Ordered { .. }));
        assert_eq!([published, ordered], [1, 1], "cut {cut:?}");
        took
    };
    let took = whole(None);
    let cuts = 150;
    (1..=cuts).for_each(|nr| assert!(whole(Some(Duration::from_nanos(took * nr / cuts))) > 0));
}

#[test]
fn b14_a_clock_that_jumps_an_hour_costs_no_connection() {
    let mut fleet = Fleet::new(6, 6);
    deploy(&mut fleet, "v1", 20, 1, &[]);
    let downs = |fleet: &Fleet| -> usize {
        (0..7).map(|nr| seen(fleet, nr, |event| matches!(event, Event::PeerDown { .. }))).sum()
    };
    let before = downs(&fleet);
    // Every machine was asleep: what was on its way comes afterwards, and all deadlines are over at once.
    fleet.jump(Duration::from_secs(3600));
    fleet.run_for(Duration::from_secs(40));
    assert_eq!(downs(&fleet), before, "they ask each other first");
    deploy(&mut fleet, "v2", 20, 2, &[]);
}

#[test]
fn b14_one_machine_that_sleeps_through_a_deploy_is_missed_by_nobody_and_arrives_when_it_wakes() {
    let mut fleet = Fleet::new(6, 14);
    deploy(&mut fleet, "v1", 20, 1, &[]);
    let honest = deploy(&mut Fleet::new(6, 14), "v1", 400, 1, &[]);
    let release = release("v2", 400);
    let signed = sign_release(&release);
    let (sleeper, began) = (3, fleet.now);
    fleet.deploy(&release, &order(2, &signed, None));
    fleet.run_for(Duration::from_nanos(honest / 2));
    let half = fleet.nodes[sleeper].disk.contents.get(&spec("v2", 400).id()).map_or(0, |held| held.have.count());
    assert!((20..400).contains(&half), "it sleeps in the middle: {half} pieces");
    fleet.sleep(sleeper, Duration::from_secs(3600));
    let here = |fleet: &Fleet, nr| fleet.confirmed(nr) == Some(id_of(&signed));
    fleet.run_until("v2", |fleet| fleet.agents().into_iter().filter(|nr| *nr != sleeper).all(|nr| here(fleet, nr)));
    assert!(
        fleet.now - began < honest + SECOND / 2,
        "{} ms instead of {}",
        (fleet.now - began) / 1_000_000,
        honest / 1_000_000
    );
    fleet.run_for(Duration::from_secs(3590));
    assert!(!here(&fleet, sleeper), "it sleeps");
    assert!(seen(&fleet, ORIGIN, |event| matches!(event, Event::PeerDown { .. })) > 0, "it was given up");
    fleet.run_until("v2 there", |fleet| here(fleet, sleeper));
    for nr in 0..fleet.nodes.len() {
        assert_eq!(seen(&fleet, nr, |event| matches!(event, Event::Convicted { .. })), 0, "node {nr} convicts someone");
    }
    let had = fleet.nodes[sleeper].got_pieces.iter().filter(|((of, _), n)| *of == release.content.id() && **n > 1);
    assert!(had.count() < 40, "what it had does not come again");
}

#[test]
fn c6_three_in_ten_that_corrupt_everything_delay_the_others_and_stop_nobody() {
    for seed in 0..3 {
        let honest = deploy(&mut Fleet::new(10, seed), "v1", 400, 1, &[]);
        let mut fleet = Fleet::new(10, seed);
        let bad = [2, 5, 9];
        bad.into_iter().for_each(|nr| fleet.nodes[nr].evil = Some(Evil::Corrupts));
        // The convicts get theirs from the origin, in their own time.
        let took = deploy(&mut fleet, "v1", 400, 1, &bad);
        let convicted: usize =
            (0..=10).map(|nr| seen(&fleet, nr, |event| matches!(event, Event::Convicted { .. }))).sum();
        assert!(convicted >= 3, "the corrupt ones were found out {convicted} times");
        // A source finds out only by looking that nobody takes from a convict what it pushed there.
        assert!(took <= honest + 3 * SECOND, "seed {seed}: {} ms instead of {}", took / 1_000_000, honest / 1_000_000);
    }
}

#[test]
fn c8_whoever_asks_for_everything_again_and_again_slows_nobody_down_by_a_tenth() {
    let (pieces, greedy) = (800, 3);
    let second = |fleet: &mut Fleet, ask: bool| {
        deploy(fleet, "v1", 100, 1, &[]);
        let release = release("v2", pieces);
        let signed = sign_release(&release);
        let began = fleet.now;
        fleet.deploy(&release, &order(2, &signed, None));
        let old = spec("v1", 100);
        let all: Vec<PieceNo> = (0..old.total()).map(PieceNo).collect();
        while !fleet.all_confirmed(id_of(&signed)) {
            assert!(fleet.now < began + 60 * SECOND, "they do not arrive");
            for nr in (1..=8).filter(|nr| ask && *nr != greedy) {
                let (from, pieces) = (fleet.nodes[greedy].id, all.clone());
                fleet.input(nr, Input::Message { from, message: Message::Want { content: old.id(), pieces } });
            }
            fleet.run_for(Duration::from_millis(10));
        }
        fleet.now - began
    };
    let honest = second(&mut Fleet::new(8, 8), false);
    let mut fleet = Fleet::new(8, 8);
    fleet.nodes[greedy].evil = Some(Evil::Greedy);
    let took = second(&mut fleet, true);
    // It gets one piece in a while of each neighbour, of what it says that it has.
    assert!((5..=30).contains(&fleet.thrown_away), "it got {} pieces that it had", fleet.thrown_away);
    assert!(took * 10 <= 11 * honest, "{} ms instead of {}", took / 1_000_000, honest / 1_000_000);
    let left = footprints(&fleet).iter().map(|footprint| footprint.queued).max();
    assert!(left <= Some(512), "what it asked for does not pile up: {left:?}");
}

#[test]
fn c9_a_node_whose_neighbours_all_pretend_gets_everything_from_its_origin() {
    for evil in [Evil::Stalls, Evil::Lies] {
        let mut fleet = Fleet::new(5, 9);
        let bad = [1, 2, 4, 5];
        bad.into_iter().for_each(|nr| fleet.nodes[nr].evil = Some(evil));
        let took = deploy(&mut fleet, "v1", 60, 1, &bad);
        assert!(took < 10 * SECOND, "{evil:?}: {} ms", took / 1_000_000);
        let copies = fleet.copies(release("v1", 60).content);
        assert!(copies >= 1.0, "{evil:?}: it had no other source: {copies} copies");
    }
}

#[test]
fn c13_a_peer_that_floods_with_news_is_left_and_nothing_grows() {
    let mut fleet = Fleet::new(4, 13);
    let quiet: Vec<_> = footprints(&fleet);
    let (from, at) = (fleet.nodes[1].id, 2);
    let have = |n: u32| Message::Have { content: spec("v1", 60).id(), pieces: vec![PieceNo(n % 60)] };
    let mut said = 0;
    while seen(&fleet, at, |event| is_flood(event, from)) == 0 {
        said += 1;
        assert!(said <= 10_001, "ten thousand messages within a second are borne");
        fleet.input(at, Input::Message { from, message: have(said) });
    }
    assert!(said > 5000, "an honest peer in a hurry is no flood: {said}");
    fleet.run_for(Duration::from_millis(200));
    assert_eq!(footprints(&fleet)[at].queued, quiet[at].queued);
    deploy(&mut fleet, "v1", 60, 1, &[]);
}

#[test]
fn c13_whoever_takes_many_pieces_in_a_second_may_say_as_much_about_them() {
    let mut fleet = Fleet::new(4, 13);
    let (from, at, content) = (fleet.nodes[1].id, 2, spec("v1", 60).id());
    for n in 0..30_000 {
        let piece = PieceNo(n % 60);
        fleet.input(at, Input::Sent { to: from, content, piece, bytes: 65_536, took: Duration::from_micros(20) });
        for _ in 0..3 {
            fleet.input(at, Input::Message { from, message: Message::Have { content, pieces: vec![piece] } });
        }
    }
    assert_eq!(seen(&fleet, at, |event| is_flood(event, from)), 0);
}

fn is_flood(event: &Event, from: NodeId) -> bool {
    matches!(event, Event::Convicted { peer, of: Misbehaviour::Flood } if *peer == from)
}

fn footprints(fleet: &Fleet) -> Vec<tiding_engine::Footprint> {
    fleet.nodes.iter().filter_map(|node| node.engine.as_ref().map(Engine::footprint)).collect()
}
