//! Patches through real engines in a fleet in memory: who makes them, who waits, who gets one, and what comes when one does not do.

mod fleet;

use content::fact::Offer;
use content::order::{Restraint, Wave};
use content::{BlobRef, ContentSpec, Digest, Fact, NodeId, Rate, Release, Role, Signed};
use fleet::*;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use tiding_engine::door::*;
use tiding_engine::wire::{BRINGS, PATCHES, STEPS};

const BEST: Wish = Wish::Patches(Effort::Best);
const PIECES: u32 = 100;

/// Deploys to all, and waits until all run it.
fn settle(fleet: &mut Fleet, name: &str, epoch: u64, wish: Wish) -> (Release, Signed) {
    let (release, signed) = deploy(fleet, name, epoch, wish);
    fleet.run_until(name, |fleet| up_confirm(fleet, &signed));
    fleet.run_for(Duration::from_secs(1));
    (release, signed)
}

fn deploy(fleet: &mut Fleet, name: &str, epoch: u64, wish: Wish) -> (Release, Signed) {
    let release = release(name, PIECES);
    let signed = sign_release(&release);
    fleet.deploy_with(&release, &order(epoch, &signed, None), wish);
    (release, signed)
}

fn up_confirm(fleet: &Fleet, release: &Signed) -> bool {
    let up = fleet.agents().into_iter().filter(|nr| fleet.nodes[*nr].engine.is_some());
    up.into_iter().all(|nr| fleet.confirmed(nr) == Some(id_of(release)))
}

/// How many different pieces of a content came to a node.
fn came(fleet: &Fleet, nr: usize, content: ContentSpec) -> u32 {
    fleet.nodes[nr].got_pieces.iter().filter(|((of, _), _)| *of == content.id()).count() as u32
}

fn events(fleet: &Fleet, nr: usize, is_meant: impl Fn(&Event) -> bool) -> usize {
    fleet.nodes[nr].events.iter().filter(|event| is_meant(event)).count()
}

fn offers(fleet: &Fleet) -> Vec<Offer> {
    fleet
        .facts()
        .into_iter()
        .filter_map(|fact| if let Fact::Offered(offer) = fact { Some(offer) } else { None })
        .collect()
}

fn roads(fleet: &mut Fleet) -> Vec<RoadStatus> {
    rollout(fleet).roads
}

fn rollout(fleet: &mut Fleet) -> RolloutStatus {
    fleet.request(ORIGIN, 77, Request::Status);
    fleet.run_for(Duration::from_millis(10));
    match fleet.answer(ORIGIN, 77) {
        Some(Answer::Status(status)) => status.apps[0].clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_runs_the_release_before_gets_a_patch_and_no_piece() {
    for seed in 0..4 {
        let mut fleet = Fleet::patching(6, seed);
        let (old, _) = settle(&mut fleet, "v1", 1, BEST);
        let (new, _) = settle(&mut fleet, "v2", 2, BEST);
        let patch = patch_between(old.content.id(), new.content.id());
        assert_eq!(fleet.nodes[ORIGIN].diffs, [(old.content.id(), new.content.id(), Effort::Best)]);
        for nr in fleet.agents() {
            assert_eq!(came(&fleet, nr, new.content), 0, "node {nr}, seed {seed}");
            assert_eq!(came(&fleet, nr, patch), patch.total(), "node {nr}, seed {seed}");
            assert_eq!(fleet.nodes[nr].patches, [(old.content.id(), new.content.id())]);
            assert_eq!(events(&fleet, nr, |event| matches!(event, Event::Patched { .. })), 1);
        }
        assert_eq!(offers(&fleet).len(), 1);
        let roads = roads(&mut fleet);
        let seen: Vec<_> = roads.iter().map(|road| (road.base.as_deref(), road.nodes, road.patch)).collect();
        assert_eq!(seen, [(Some("v1"), 6, Some(patch.blob.len))]);
        assert_eq!(roads[0].why, "a patch is wished for");
    }
}

#[test]
fn whoever_hears_of_a_release_from_a_neighbour_before_its_origin_says_wait_waits_too() {
    for seed in 0..4 {
        let mut fleet = Fleet::patching(4, seed);
        settle(&mut fleet, "v1", 1, BEST);
        fleet.far.insert(2, 5_000_000);
        let (new, _) = settle(&mut fleet, "v2", 2, BEST);
        for nr in fleet.agents() {
            // Neighbours may have their patch before it is told to wait.
            let before = if nr == 2 { PIECES / 8 } else { 0 };
            assert!(came(&fleet, nr, new.content) <= before, "node {nr}, seed {seed}");
            assert_eq!(fleet.nodes[nr].patches.len(), 1, "node {nr}, seed {seed}");
        }
    }
}

#[test]
fn without_a_wish_nobody_waits_on_fast_links() {
    let mut fleet = Fleet::patching(3, 1);
    settle(&mut fleet, "v1", 1, Wish::Auto);
    let (new, _) = settle(&mut fleet, "v2", 2, Wish::Auto);
    for nr in fleet.agents() {
        assert_eq!(came(&fleet, nr, new.content), new.content.total());
        assert_eq!(fleet.nodes[nr].patches, []);
    }
    assert!(roads(&mut fleet)[0].why.starts_with("links are fast"), "it says why");
    assert_eq!(fleet.nodes[ORIGIN].diffs, [], "and nobody is left for whom one could be made");
    let (_, _) = settle(&mut fleet, "v3", 3, Wish::Whole);
    assert_eq!(roads(&mut fleet)[0].why, "no patch is wished for");
}

#[test]
fn without_a_wish_slow_links_get_patches() {
    let mut fleet = Fleet::patching(2, 1);
    settle(&mut fleet, "v1", 1, Wish::Auto);
    fleet.stop(1);
    fleet.nodes[1].limit = Some(Rate(100_000));
    fleet.start(1);
    fleet.run_for(Duration::from_secs(2));
    let (new, _) = settle(&mut fleet, "v2", 2, Wish::Auto);
    assert_eq!(came(&fleet, 1, new.content), 0);
    assert!(roads(&mut fleet)[0].why.starts_with("with patches it takes"), "it says why");
}

#[test]
fn three_nodes_on_three_releases_get_a_patch_each() {
    let mut fleet = Fleet::patching(3, 5);
    let mut olds = Vec::new();
    for (epoch, name) in [(1, "v1"), (2, "v2"), (3, "v3")] {
        let (release, signed) = (release(name, PIECES), sign_release(&release(name, PIECES)));
        let order = content::Order { budget: 3, ..order(epoch, &signed, None) };
        fleet.deploy_with(&release, &order, Wish::Whole);
        let runs = |fleet: &Fleet, nr: usize| fleet.confirmed(nr) == Some(id_of(&signed));
        fleet.run_until(name, |fleet| (epoch as usize..=3).all(|nr| runs(fleet, nr)));
        fleet.run_for(Duration::from_secs(2));
        // One of them stays behind from now on.
        fleet.nodes[epoch as usize].evil = Some(Evil::Refuses);
        olds.push(release.content.id());
    }
    fleet.nodes.iter_mut().for_each(|node| node.evil = None);
    let (new, _) = settle(&mut fleet, "v4", 4, BEST);
    let made: BTreeSet<_> = fleet.nodes[ORIGIN].diffs.iter().map(|(base, ..)| *base).collect();
    assert_eq!(made, olds.iter().copied().collect());
    for nr in fleet.agents() {
        assert_eq!(came(&fleet, nr, new.content), 0, "node {nr}");
        assert_eq!(fleet.nodes[nr].patches.len(), 1, "node {nr}");
    }
    let roads = roads(&mut fleet);
    let seen: BTreeSet<_> = roads.iter().map(|road| (road.base.as_deref(), road.nodes, road.patch.is_some())).collect();
    assert_eq!(seen, BTreeSet::from([(Some("v1"), 1, true), (Some("v2"), 1, true), (Some("v3"), 1, true)]));
}

#[test]
fn a_patch_that_does_not_do_costs_a_try_and_pieces_come() {
    for seed in 0..4 {
        let mut fleet = Fleet::patching(4, seed);
        settle(&mut fleet, "v1", 1, BEST);
        fleet.nodes[2].evil = Some(Evil::Unpatched);
        let (new, _) = settle(&mut fleet, "v2", 2, BEST);
        assert_eq!(came(&fleet, 2, new.content), new.content.total(), "seed {seed}");
        assert_eq!(fleet.nodes[2].patches.len(), 1, "it is not tried again");
        let said =
            |event: &Event| matches!(event, Event::PatchFailed { why, .. } if why == "the patch makes something else");
        assert_eq!(events(&fleet, 2, said), 1);
        for nr in [1, 3, 4] {
            assert_eq!(came(&fleet, nr, new.content), 0, "node {nr}, seed {seed}");
        }
    }
}

#[test]
fn nobody_waits_for_ever_for_a_patch_and_it_is_offered_to_whoever_comes_later() {
    let mut fleet = Fleet::patching(2, 3);
    settle(&mut fleet, "v1", 1, BEST);
    fleet.stop(2);
    fleet.nodes[ORIGIN].diff_takes = 100_000_000_000;
    let (new, signed) = deploy(&mut fleet, "v2", 2, BEST);
    fleet.run_until("one confirms", |fleet| fleet.confirmed(1) == Some(id_of(&signed)));
    assert_eq!(came(&fleet, 1, new.content), new.content.total());
    assert!(fleet.now > 30_000_000_000, "it waited");
    assert_eq!(roads(&mut fleet)[0].why, "making the patch takes too long");
    fleet.run_until("it is made after all", |fleet| !offers(fleet).is_empty());
    fleet.start(2);
    fleet.run_until("the other confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
    assert_eq!(came(&fleet, 2, new.content), 0);
}

/// A fleet of two whose machines may have such a limit when the first release comes, and another one later.
fn limited(then: Option<Rate>, later: Option<Rate>) -> Fleet {
    let mut fleet = Fleet::patching(2, 1);
    for (limit, settles) in [(then, true), (later, false)] {
        for nr in [1, 2] {
            fleet.stop(nr);
            fleet.nodes[nr].limit = limit;
            fleet.start(nr);
        }
        fleet.run_for(Duration::from_secs(2));
        if settles {
            settle(&mut fleet, "v1", 1, Wish::Auto);
        }
    }
    fleet
}

#[test]
fn without_a_wish_links_on_which_the_last_release_was_slow_get_patches() {
    let mut fleet = limited(Some(Rate(100_000)), None);
    let (new, _) = settle(&mut fleet, "v2", 2, Wish::Auto);
    assert_eq!(came(&fleet, 1, new.content), 0);
    let why = roads(&mut fleet)[0].why.clone();
    assert!(why.starts_with("with patches it takes") && why.contains("; the last release came at 0."), "{why}");
}

#[test]
fn without_a_wish_nobody_waits_where_the_last_patch_took_longer_than_its_pieces_would() {
    let mut fleet = limited(None, Some(Rate(100_000)));
    fleet.nodes[ORIGIN].diff_takes = 100_000_000_000;
    for (epoch, name) in [(2, "v2"), (3, "v3")] {
        let (new, _) = settle(&mut fleet, name, epoch, Wish::Auto);
        assert_eq!(came(&fleet, 1, new.content), 0, "it was not known then: {name}");
    }
    let made: Vec<Effort> = fleet.nodes[ORIGIN].diffs.iter().map(|(.., effort)| *effort).collect();
    assert_eq!(made, [Effort::Best, Effort::Fast], "the other may be quicker");
    let (new, _) = settle(&mut fleet, "v4", 4, Wish::Auto);
    assert_eq!(came(&fleet, 1, new.content), new.content.total());
    let why = roads(&mut fleet)[0].why.clone();
    assert!(why.starts_with("without a patch it takes") && why.ends_with("patches were made at 0.1 MB/s"), "{why}");
}

/// Deploys in two waves, each of which has so many seconds.
fn deploy_within(fleet: &mut Fleet, name: &str, seconds: u32) -> (Release, Signed) {
    let release = release(name, PIECES);
    let signed = sign_release(&release);
    let restraint = Restraint { deadline_s: Some(seconds), ..Restraint::default() };
    let waves = vec![Wave::Count(1), Wave::PerMille(1000)];
    fleet.deploy_with(&release, &content::Order { waves, restraint, ..order(2, &signed, None) }, BEST);
    (release, signed)
}

fn halted(fleet: &Fleet) -> bool {
    fleet.facts().iter().any(|fact| matches!(fact, Fact::Halted { .. }))
}

#[test]
fn what_making_a_patch_takes_is_not_taken_from_a_waves_time() {
    let mut fleet = Fleet::patching(3, 3);
    settle(&mut fleet, "v1", 1, BEST);
    fleet.nodes[ORIGIN].diff_takes = 25_000_000_000;
    let (_, signed) = deploy_within(&mut fleet, "v2", 10);
    fleet.run_for(Duration::from_secs(20));
    assert_eq!((halted(&fleet), rollout(&mut fleet).left), (false, Some(Duration::from_secs(10))));
    fleet.run_until("all confirm", |fleet| fleet.all_confirmed(id_of(&signed)));
    assert!(!halted(&fleet) && fleet.agents().into_iter().all(|nr| fleet.nodes[nr].patches.len() == 1));

    // From then on it counts, to the moment: nodes that do nothing with it are late. So are those that need not wait any more.
    for (takes, waits) in [(25, 25), (100, 30)] {
        let mut fleet = Fleet::patching(3, 3);
        settle(&mut fleet, "v1", 1, BEST);
        fleet.nodes[ORIGIN].diff_takes = takes * 1_000_000_000;
        (1..=3).for_each(|nr| fleet.nodes[nr].evil = Some(Evil::Full));
        let begun = fleet.now;
        deploy_within(&mut fleet, "v2", 10);
        fleet.run_until("it is late", halted);
        let after = Duration::from_nanos(fleet.now - begun).as_secs_f64();
        assert!((after - f64::from(waits) - 10.0).abs() < 1.0, "{after}");
    }
}

#[test]
fn who_waits_for_a_patch_is_let_go_when_the_next_release_is_begun() {
    let mut fleet = Fleet::patching(2, 3);
    settle(&mut fleet, "v1", 1, BEST);
    fleet.nodes[ORIGIN].diff_takes = 20_000_000_000;
    let (_, signed) = deploy(&mut fleet, "v2", 2, BEST);
    fleet.run_for(Duration::from_secs(5));
    let next = release("v3", 50_000);
    let publisher = fleet.deploy_with(&next, &order(3, &sign_release(&next), None), BEST);
    fleet.run_for(Duration::from_millis(100));
    fleet.stop(publisher);
    fleet.run_for(Duration::from_secs(5));
    assert!(fleet.all_confirmed(id_of(&signed)), "nobody would say any more how that ends");
}

#[test]
fn patience_with_the_release_before_ends_nobodys_waiting_for_the_next() {
    let mut fleet = Fleet::patching(2, 3);
    settle(&mut fleet, "v1", 1, BEST);
    fleet.nodes[ORIGIN].diff_takes = 100_000_000_000;
    deploy(&mut fleet, "v2", 2, BEST);
    fleet.run_for(Duration::from_millis(29_900));
    let late = |event: &Event| matches!(event, Event::Road { why, .. } if why.contains("too long"));
    let next = release("v3", 50_000);
    fleet.deploy_with(&next, &order(3, &sign_release(&next), None), BEST);
    fleet.run_for(Duration::from_millis(500));
    assert!(came(&fleet, ORIGIN, next.content) < 50_000, "it is still being brought");
    assert_eq!(events(&fleet, ORIGIN, late), 0);
}

#[test]
fn an_origin_that_starts_anew_still_has_its_offers() {
    let mut fleet = Fleet::patching(2, 3);
    settle(&mut fleet, "v1", 1, BEST);
    fleet.stop(2);
    let (new, signed) = settle(&mut fleet, "v2", 2, BEST);
    fleet.stop(ORIGIN);
    fleet.start(ORIGIN);
    fleet.run_for(Duration::from_secs(2));
    fleet.start(2);
    fleet.run_until("the other confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
    assert_eq!(came(&fleet, 2, new.content), 0);
    // Two releases later nobody can be ordered to it, and the patch goes with it.
    let patch = offers(&fleet)[0].patch.id();
    assert!(fleet.nodes[ORIGIN].disk.contents.contains_key(&patch), "it stays while its offer stands");
    for (epoch, name) in [(3, "v3"), (4, "v4"), (5, "v5"), (6, "v6"), (7, "v7")] {
        settle(&mut fleet, name, epoch, Wish::Whole);
    }
    assert!(!fleet.nodes[ORIGIN].disk.contents.contains_key(&patch), "nothing keeps it");
}

#[test]
fn whoever_waits_for_a_patch_when_its_origin_goes_waits_no_more() {
    let mut fleet = Fleet::patching(2, 3);
    settle(&mut fleet, "v1", 1, BEST);
    fleet.nodes[ORIGIN].diff_takes = 20_000_000_000;
    let (new, signed) = deploy(&mut fleet, "v2", 2, BEST);
    fleet.run_for(Duration::from_secs(5));
    assert!(fleet.agents().into_iter().all(|nr| came(&fleet, nr, new.content) == 0), "they wait");
    fleet.stop(ORIGIN);
    fleet.start(ORIGIN);
    fleet.run_until("all confirm", |fleet| fleet.all_confirmed(id_of(&signed)));
}

/// A fleet of three, of which one has missed a release and comes when the next is live; and all three releases.
fn missed(seed: u64) -> (Fleet, [Release; 3], Signed) {
    let mut fleet = Fleet::patching(3, seed);
    let (first, _) = settle(&mut fleet, "v1", 1, BEST);
    fleet.stop(3);
    let (second, _) = settle(&mut fleet, "v2", 2, BEST);
    let (third, signed) = settle(&mut fleet, "v3", 3, BEST);
    let made: Vec<_> = fleet.nodes[ORIGIN].diffs.iter().map(|(base, target, _)| (*base, *target)).collect();
    let [one, two, three] = [&first, &second, &third].map(|release| release.content.id());
    assert_eq!(made, [(one, two), (two, three)], "none is made for whoever gets two in a row");
    (fleet, [first, second, third], signed)
}

#[test]
fn whoever_has_missed_a_release_gets_two_patches_in_a_row() {
    for seed in 0..4 {
        let (mut fleet, [first, second, third], signed) = missed(seed);
        fleet.start(3);
        fleet.run_until("it confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
        let [one, two, three] = [&first, &second, &third].map(|release| release.content.id());
        assert_eq!(fleet.nodes[3].patches, [(one, two), (two, three)], "seed {seed}");
        for (content, pieces) in [
            (second.content, 0),
            (third.content, 0),
            (patch_between(one, two), patch_between(one, two).total()),
            (patch_between(two, three), patch_between(two, three).total()),
        ] {
            assert_eq!(came(&fleet, 3, content), pieces, "seed {seed}");
        }
        let of = |of: &Event| matches!(of, Event::Patched { target, .. } if [two, three].contains(target));
        assert_eq!(events(&fleet, 3, of), 2);
        let saves =
            |of: &Event| matches!(of, Event::Patched { target, saved, .. } if (*target == three) == (*saved > 0));
        assert_eq!(events(&fleet, 3, saves), 2, "what nobody wanted saves nothing");
        // What lay between is kept by nothing any more.
        let (_, signed) = settle(&mut fleet, "v4", 4, Wish::Whole);
        assert!(fleet.all_confirmed(id_of(&signed)));
        assert!(!fleet.nodes[3].disk.contents.contains_key(&two), "seed {seed}");
    }
}

#[test]
fn when_either_of_two_patches_in_a_row_does_not_do_pieces_come_of_what_is_wanted_and_of_nothing_else() {
    for (good, seed) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
        let (mut fleet, [_, second, third], signed) = missed(seed);
        fleet.start(3);
        fleet.run_until("so many do", |fleet| fleet.nodes[3].patches.len() == good);
        fleet.nodes[3].evil = Some(Evil::Unpatched);
        fleet.run_until("it confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
        assert_eq!(came(&fleet, 3, third.content), third.content.total(), "{good} of seed {seed}");
        assert_eq!(came(&fleet, 3, second.content), 0, "{good} of seed {seed}");
        assert_eq!(fleet.nodes[3].patches.len(), good + 1, "none is tried again");
        let (_, signed) = settle(&mut fleet, "v4", 4, Wish::Whole);
        assert!(fleet.all_confirmed(id_of(&signed)));
        assert!(!fleet.nodes[3].disk.contents.contains_key(&second.content.id()));
    }
}

#[test]
fn a_crash_between_two_patches_in_a_row_costs_no_piece() {
    for seed in 0..4 {
        let (mut fleet, [_, second, third], signed) = missed(seed);
        fleet.start(3);
        fleet.run_until("one is applied", |fleet| fleet.nodes[3].patches.len() == 1);
        fleet.run_for(Duration::from_micros(100 * seed));
        fleet.stop(3);
        fleet.start(3);
        fleet.run_until("it confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
        assert_eq!(came(&fleet, 3, third.content) + came(&fleet, 3, second.content), 0, "seed {seed}");
    }
}

#[test]
fn what_is_under_way_by_two_patches_is_left_when_something_else_is_ordered() {
    for patches in [0, 1] {
        let (mut fleet, [_, second, third], _) = missed(7);
        fleet.start(3);
        fleet.run_until("it is under way", |fleet| {
            let node = &fleet.nodes[3];
            node.patches.len() == patches && node.disk.contents.contains_key(&second.content.id())
        });
        let (_, signed) = settle(&mut fleet, "v4", 4, Wish::Whole);
        assert!(fleet.all_confirmed(id_of(&signed)));
        let (_, signed) = settle(&mut fleet, "v5", 5, Wish::Whole);
        assert!(fleet.all_confirmed(id_of(&signed)));
        assert!(!fleet.nodes[3].disk.contents.contains_key(&second.content.id()));
        assert_eq!(came(&fleet, 3, second.content) + came(&fleet, 3, third.content), 0);
    }
}

#[test]
fn software_that_knows_no_steps_gets_pieces_where_two_patches_would_do() {
    let (mut fleet, [_, _, third], signed) = missed(3);
    // The fleet asserts that nobody is sent what it cannot read.
    fleet.nodes[3].speaks = (1, STEPS - 1);
    fleet.start(3);
    fleet.run_until("it confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
    assert_eq!(came(&fleet, 3, third.content), third.content.total());
    assert_eq!(fleet.nodes[3].patches, []);
}

/// An origin in evil hands could have nodes make and keep anything, would they believe it.
#[test]
fn what_no_operator_signed_is_not_made_on_the_way_to_what_one_did() {
    let mut fleet = Fleet::patching(1, 3);
    let (old, _) = settle(&mut fleet, "v1", 1, Wish::Whole);
    let (new, signed) = (release("v2", PIECES), sign_release(&release("v2", PIECES)));
    let middle = release("middle", PIECES);
    let stranger = content::SigningKey::from_secret(&[99; 32]);
    let forged = stranger.sign(content::PayloadKind::Release, sign_release(&middle).payload);
    let offer = |base: &Release, target: &Release| {
        let (base, target) = (base.content.id(), target.content.id());
        Offer { base, target, patch: patch_between(base, target), format: 1 }
    };
    let target = new.content.id();
    let step = Step { release: forged, patch: offer(&old, &middle) };
    let from = fleet.nodes[ORIGIN].id;
    fleet.input(1, Input::Message { from, message: Message::Steps { target, steps: vec![step] } });
    let offers = vec![offer(&middle, &new)];
    fleet.input(1, Input::Message { from, message: Message::Offers { target, offers, is_awaited: false } });
    fleet.deploy_with(&new, &order(2, &signed, None), Wish::Whole);
    fleet.run_until("it confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
    assert_eq!(came(&fleet, 1, new.content), new.content.total());
    assert!(!fleet.nodes[1].disk.contents.contains_key(&middle.content.id()));
}

#[test]
fn software_of_before_gets_pieces_and_is_told_nothing_of_patches() {
    let mut fleet = Fleet::patching(2, 3);
    settle(&mut fleet, "v1", 1, BEST);
    // The fleet asserts that nobody is sent what it cannot read.
    fleet.stop(2);
    fleet.nodes[2].speaks = (1, PATCHES - 1);
    fleet.start(2);
    fleet.run_for(Duration::from_secs(2));
    let (new, _) = settle(&mut fleet, "v2", 2, BEST);
    assert_eq!(came(&fleet, 1, new.content), 0);
    assert_eq!(came(&fleet, 2, new.content), new.content.total());
    // Another format is none.
    fleet.stop(1);
    fleet.nodes[1].reads = vec![7];
    fleet.start(1);
    fleet.run_for(Duration::from_secs(2));
    let (new, _) = settle(&mut fleet, "v3", 3, BEST);
    assert_eq!(came(&fleet, 1, new.content), new.content.total());
}

#[test]
fn only_an_origin_offers_patches_only_agents_say_what_they_read_and_only_publishers_wish() {
    let offers = Message::Offers { target: release("v2", 4).content.id(), offers: Vec::new(), is_awaited: true };
    let steps = Message::Steps { target: release("v2", 4).content.id(), steps: Vec::new() };
    let reads = Message::Reads { formats: BTreeSet::from([1]) };
    let wishes = Message::Wishes { order: content::OrderId(Digest::of(b"order")), wish: BEST };
    let cases = [
        (1, Role::Agent, &offers, true),
        (1, Role::Origin, &offers, false),
        (ORIGIN, Role::Agent, &offers, true),
        (1, Role::Agent, &steps, true),
        (1, Role::Origin, &steps, false),
        (ORIGIN, Role::Agent, &steps, true),
        (ORIGIN, Role::Agent, &reads, false),
        (ORIGIN, Role::Operator, &reads, true),
        (1, Role::Origin, &wishes, true),
        (ORIGIN, Role::Agent, &wishes, true),
        (ORIGIN, Role::Operator, &wishes, false),
    ];
    for (nr, (at, role, message, is_convicted)) in cases.into_iter().enumerate() {
        let mut fleet = Fleet::patching(1, 3);
        let peer = NodeId(Digest::of(&[nr as u8]));
        let engine = fleet.nodes[at].engine.as_mut().expect("it runs");
        let now = Time(fleet.now);
        engine.handle(now, Input::PeerUp { peer, role, seen: IpAddr::from([10, 9, 9, 9]), dialled: None });
        let hello = Hello {
            versions: (1, STEPS),
            fleet: fleet::fleet(),
            software: "another".to_owned(),
            name: "another".to_owned(),
            labels: content::Labels::new(),
            listen: None,
            floors: Vec::new(),
        };
        engine.handle(now, Input::Message { from: peer, message: Message::Hello(Box::new(hello)) });
        engine.handle(now, Input::Message { from: peer, message: message.clone() });
        let said: Vec<Output> = std::iter::from_fn(|| engine.poll()).collect();
        let is_meant =
            |output: &Output| matches!(output, Output::Event(Event::Convicted { of: Misbehaviour::NotItsRole, .. }));
        assert_eq!(said.iter().any(is_meant), is_convicted, "{message:?} of {role:?} to {at}");
    }
}

#[test]
fn an_offer_of_a_patch_that_nobody_has_holds_up_for_a_while_and_no_longer() {
    let mut fleet = Fleet::patching(1, 3);
    let (old, _) = settle(&mut fleet, "v1", 1, Wish::Whole);
    let (new, signed) = (release("v2", PIECES), sign_release(&release("v2", PIECES)));
    let patch = ContentSpec { blob: BlobRef { root: Digest::of(b"never"), len: 900 }, pieces: 0, bytes: 0 };
    let offer = Offer { base: old.content.id(), target: new.content.id(), patch, format: 1 };
    let message = Message::Offers { target: new.content.id(), offers: vec![offer], is_awaited: false };
    let from = fleet.nodes[ORIGIN].id;
    fleet.input(1, Input::Message { from, message });
    fleet.deploy_with(&new, &order(2, &signed, None), Wish::Whole);
    fleet.run_until("it confirms", |fleet| fleet.all_confirmed(id_of(&signed)));
    assert_eq!(came(&fleet, 1, new.content), new.content.total());
    let said = |event: &Event| matches!(event, Event::PatchFailed { why, .. } if why == "the patch does not come");
    assert_eq!(events(&fleet, 1, said), 1);
}

/// Deploys by a publisher that has a patch of `base`, and waits until all run it.
fn bring(fleet: &mut Fleet, name: &str, epoch: u64, wish: Wish, base: &Release) -> (Release, ContentSpec, usize) {
    let release = release(name, PIECES);
    let signed = sign_release(&release);
    let publisher = fleet.bring(&release, &order(epoch, &signed, None), wish, base.content.id());
    fleet.run_until(name, |fleet| up_confirm(fleet, &signed));
    fleet.run_for(Duration::from_secs(1));
    let patch = patch_between(base.content.id(), release.content.id());
    (release, patch, publisher)
}

#[test]
fn a_release_that_is_brought_as_a_patch_is_made_at_the_origin_and_goes_on_as_pieces() {
    for seed in 0..4 {
        let mut fleet = Fleet::patching(6, seed);
        let (old, _) = settle(&mut fleet, "v1", 1, Wish::Whole);
        let (new, patch, _) = bring(&mut fleet, "v2", 2, Wish::Whole, &old);
        assert_eq!((came(&fleet, ORIGIN, new.content), came(&fleet, ORIGIN, patch)), (0, patch.total()), "seed {seed}");
        assert_eq!(fleet.nodes[ORIGIN].patches, [(old.content.id(), new.content.id())]);
        for nr in fleet.agents() {
            assert_eq!((came(&fleet, nr, new.content), came(&fleet, nr, patch)), (new.content.total(), 0), "node {nr}");
        }
        assert!(fleet.nodes[ORIGIN].diffs.is_empty() && offers(&fleet).is_empty(), "nobody has use for it");
        // What nobody needs any more is not kept.
        settle(&mut fleet, "v3", 3, Wish::Whole);
        assert!(!fleet.nodes[ORIGIN].disk.contents.contains_key(&patch.id()));
    }
}

#[test]
fn nodes_that_run_the_base_of_a_patch_that_was_brought_get_that_one() {
    for seed in 0..4 {
        let mut fleet = Fleet::patching(6, seed);
        let (old, _) = settle(&mut fleet, "v1", 1, BEST);
        let (new, patch, _) = bring(&mut fleet, "v2", 2, BEST, &old);
        assert!(fleet.nodes[ORIGIN].diffs.is_empty(), "it is there, and none is made");
        assert_eq!((came(&fleet, ORIGIN, new.content), offers(&fleet).len()), (0, 1));
        for nr in fleet.agents() {
            assert_eq!((came(&fleet, nr, new.content), came(&fleet, nr, patch)), (0, patch.total()), "node {nr}");
        }
        let roads = roads(&mut fleet);
        assert_eq!((roads[0].base.as_deref(), roads[0].patch), (Some("v1"), Some(patch.blob.len)));
    }
}

#[test]
fn a_patch_that_is_brought_and_is_of_no_use_costs_nothing_but_itself() {
    // Its base was never here; it makes something else; the origin is older than that; its publisher goes away in between.
    let mut fleet = Fleet::patching(3, 1);
    let (new, patch, _) = bring(&mut fleet, "v1", 1, BEST, &release("never", PIECES));
    assert_eq!((came(&fleet, ORIGIN, new.content), came(&fleet, ORIGIN, patch)), (new.content.total(), 0));

    let mut fleet = Fleet::patching(3, 2);
    let (old, _) = settle(&mut fleet, "v1", 1, Wish::Whole);
    fleet.nodes[ORIGIN].evil = Some(Evil::Unpatched);
    let (new, _, _) = bring(&mut fleet, "v2", 2, Wish::Whole, &old);
    assert_eq!((fleet.nodes[ORIGIN].patches.len(), came(&fleet, ORIGIN, new.content)), (1, new.content.total()));
    assert_eq!(events(&fleet, ORIGIN, |event| matches!(event, Event::PatchFailed { .. })), 1);

    let mut fleet = Fleet::patching(3, 3);
    let (old, _) = settle(&mut fleet, "v1", 1, Wish::Whole);
    fleet.stop(ORIGIN);
    fleet.nodes[ORIGIN].speaks = (1, BRINGS - 1);
    fleet.start(ORIGIN);
    let (new, patch, _) = bring(&mut fleet, "v2", 2, Wish::Whole, &old);
    assert_eq!((came(&fleet, ORIGIN, new.content), came(&fleet, ORIGIN, patch)), (new.content.total(), 0));
    assert_eq!(events(&fleet, ORIGIN, |event| matches!(event, Event::Convicted { .. })), 0);

    for after in [0, 500_000, 1_000_000, 2_000_000, 5_000_000] {
        let mut fleet = Fleet::patching(3, 4);
        let (old, _) = settle(&mut fleet, "v1", 1, Wish::Whole);
        let (new, order) = (release("v2", PIECES), order(2, &sign_release(&release("v2", PIECES)), None));
        let publisher = fleet.bring(&new, &order, Wish::Whole, old.content.id());
        fleet.run_for(Duration::from_nanos(after));
        fleet.stop(publisher);
        fleet.run_for(Duration::from_secs(60));
        fleet.start(publisher);
        let request = Request::Deploy { release: sign_release(&new), order: sign_order(&order), wish: Wish::Whole };
        fleet.request(publisher, 2, request);
        fleet.run_until("v2", |fleet| up_confirm(fleet, &sign_release(&new)));
    }
}

#[test]
fn what_one_publisher_brings_no_other_one_has_patches_of() {
    let mut fleet = Fleet::patching(3, 5);
    let (old, _) = settle(&mut fleet, "v1", 1, Wish::Whole);
    let stranger = fleet.publisher(&release("other", PIECES));
    fleet.run_for(Duration::from_secs(1));
    let (new, signed) = deploy(&mut fleet, "v2", 2, Wish::Whole);
    let is_begun = |fleet: &Fleet| fleet.nodes[ORIGIN].disk.contents.contains_key(&new.content.id());
    fleet.run_until("it is begun", is_begun);
    let (base, target) = (old.content.id(), new.content.id());
    let offer = Offer { base, target, patch: patch_between(base, target), format: 1 };
    let message = Message::Offers { target, offers: vec![offer], is_awaited: false };
    let from = fleet.nodes[stranger].id;
    fleet.input(ORIGIN, Input::Message { from, message });
    let began = fleet.now;
    fleet.run_until("v2", |fleet| up_confirm(fleet, &signed));
    assert!(fleet.now - began < 10_000_000_000, "nobody waits for a patch that a stranger speaks of");
    assert_eq!(events(&fleet, ORIGIN, |event| matches!(event, Event::PatchFailed { .. })), 0);
}
