//! Gates, deadlines and limits of how many at once, on whole fleets, over restarts and crashes.

mod fleet;

use content::care::{Health, Probe};
use content::directive::Verb;
use content::order::{AtOnce, Restraint, Wave};
use content::*;
use fleet::*;
use std::time::Duration;
use tiding_engine::door::*;

const SECOND: u64 = 1_000_000_000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn racks(nr: usize) -> Labels {
    let label = |text: &str| Label::new(text).expect("a plain label");
    match nr % 4 {
        0 => Labels::new(),
        1 => Labels::from([(label("rack"), label("a"))]),
        _ => Labels::from([(label("rack"), label("b"))]),
    }
}

fn one_of_each_rack() -> Restraint {
    let by = Some(Label::new("rack").expect("a plain label"));
    Restraint { at_once: vec![AtOnce { by, most: Wave::Count(1) }], ..Restraint::default() }
}

/// A release whose window is so long.
fn new(window_ms: u32) -> Release {
    let mut release = release("v2", 30);
    release.instructions.health_window_ms = window_ms;
    release
}

fn order_of(next: &Release, first: ReleaseId, restraint: Restraint) -> Order {
    let waves = vec![Wave::Count(1), Wave::PerMille(500), Wave::PerMille(1000)];
    Order { waves, restraint, budget: 3, ..order(2, &sign_release(next), Some(first)) }
}

/// A fleet in which `v1` runs everywhere, and `v2` was ordered so.
struct Scene {
    fleet: Fleet,
    first: ReleaseId,
    second: ReleaseId,
    order: OrderId,
    said: u64,
}

impl Scene {
    fn new(agents: usize, seed: u64, next: &Release, restraint: Restraint) -> Self {
        let mut fleet = Fleet::enrolled(agents, seed, racks);
        let v1 = release("v1", 30);
        let signed = sign_release(&v1);
        fleet.deploy(&v1, &order(1, &signed, None));
        let first = id_of(&signed);
        fleet.run_until("v1", |fleet| fleet.all_confirmed(first));
        fleet.run_for(seconds(1));
        let order = order_of(next, first, restraint);
        fleet.deploy(next, &order);
        let (second, order) = (order.release, OrderId(sign_order(&order).payload_digest()));
        Self { fleet, first, second, order, said: 100 }
    }

    fn runs(&self, release: ReleaseId) -> usize {
        running(&self.fleet, release)
    }

    fn until_live(&mut self, nodes: usize) {
        let second = self.second;
        self.fleet.run_until("so many live", |fleet| running(fleet, second) == nodes);
    }

    fn until_everyone_is_back(&mut self) {
        let (first, all) = (self.first, self.fleet.agents().len());
        self.fleet.run_until("the way back", |fleet| running(fleet, first) == all);
    }

    fn status(&mut self) -> RolloutStatus {
        self.said += 1;
        self.fleet.request(ORIGIN, self.said, Request::Status);
        match self.fleet.answer(ORIGIN, self.said) {
            Some(Answer::Status(status)) => status.apps[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    /// What bob says now, having looked.
    fn say(&mut self, verb: Verb) -> Result<(), String> {
        let wave = if let RolloutState::Rolling { wave } = self.status().state { Some(wave) } else { None };
        let (app, message, created) = (app(), "because".to_owned(), UnixTime(self.fleet.now / SECOND));
        let directive = Directive { fleet: fleet::fleet(), app, order: self.order, verb, wave, created, message };
        self.said += 1;
        let directive = bob().sign(PayloadKind::Directive, directive.encode());
        self.fleet.request(ORIGIN, self.said, Request::Direct { directive });
        self.fleet.run_for(Duration::from_millis(5));
        match self.fleet.answer(ORIGIN, self.said) {
            Some(Answer::Noted) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    fn halted(&self) -> Option<String> {
        self.fleet
            .facts()
            .into_iter()
            .find_map(|fact| if let Fact::Halted { why, .. } = fact { Some(why) } else { None })
    }

    fn restart_origin(&mut self, away: Duration) {
        self.fleet.stop(ORIGIN);
        self.fleet.run_for(away);
        self.fleet.start(ORIGIN);
    }
}

fn running(fleet: &Fleet, release: ReleaseId) -> usize {
    let live = |nr: &usize| fleet.nodes[*nr].disk.apps.get(&app()).and_then(|app| app.live) == Some(release);
    fleet.agents().into_iter().filter(live).count()
}

fn gates(gates: &[u8]) -> Restraint {
    Restraint { gates: gates.to_vec(), ..Restraint::default() }
}

fn deadline(seconds: u32) -> Restraint {
    Restraint { deadline_s: Some(seconds), ..Restraint::default() }
}

const HOUR_MS: u32 = 3_600_000;

#[test]
fn argo_942_a_gate_says_that_it_waits_for_a_word_and_the_word_opens_it() {
    let mut scene = Scene::new(8, 1, &new(20), gates(&[0]));
    scene.until_live(1);
    scene.fleet.run_for(seconds(100));
    assert_eq!(scene.runs(scene.second), 1, "nobody has said anything");
    let status = scene.status();
    let (wave, since) = status.awaits.expect("it waits");
    assert!(wave == 0 && (seconds(98)..=seconds(100)).contains(&since), "{since:?}");
    assert!(status.left.is_none(), "there is no deadline unless somebody gives one");
    scene.say(Verb::Promote).expect("it waits for that");
    let second = scene.second;
    scene.fleet.run_until("all", |fleet| fleet.all_confirmed(second));
    scene.fleet.run_for(seconds(1));
    let awaited = scene.fleet.facts().iter().filter(|fact| matches!(fact, Fact::Awaited { .. })).count();
    assert_eq!((awaited, scene.status().awaits), (1, None), "there was one gate");
}

#[test]
fn a_word_before_a_wave_is_confirmed_opens_the_next_at_once() {
    let mut scene = Scene::new(8, 2, &new(HOUR_MS), gates(&[0, 1]));
    scene.until_live(1);
    scene.say(Verb::Promote).expect("there are more waves");
    scene.until_live(4);
}

#[test]
fn a_gate_is_no_obstacle_to_going_back_and_none_to_a_pause() {
    let mut back = Scene::new(6, 3, &new(20), gates(&[0, 1]));
    back.until_live(1);
    back.fleet.run_for(seconds(5));
    let order = sign_order(&order(3, &sign_release(&release("v1", 30)), None));
    back.fleet.request(ORIGIN, 9, Request::Order { order });
    back.until_everyone_is_back();
    let mut aborted = Scene::new(6, 4, &new(20), gates(&[0, 1]));
    aborted.until_live(1);
    aborted.fleet.run_for(seconds(5));
    aborted.say(Verb::Abort).expect("it is under way");
    aborted.until_everyone_is_back();
    let mut paused = Scene::new(6, 5, &new(20), gates(&[0]));
    paused.until_live(1);
    paused.fleet.run_for(seconds(5));
    paused.say(Verb::Pause).expect("it is under way");
    assert!(paused.say(Verb::Promote).is_err_and(|why| why.contains("resume it first")));
    assert!(paused.status().awaits.is_some(), "it waits for a word all the same");
    paused.say(Verb::Resume).expect("it is paused");
    paused.fleet.run_for(seconds(10));
    assert_eq!(paused.runs(paused.second), 1, "to resume is not to promote");
    paused.say(Verb::Promote).expect("it waits for that");
    paused.until_live(6);
}

#[test]
fn argo_1774_a_canary_is_never_stuck_for_ever() {
    let mut scene = Scene::new(6, 6, &new(HOUR_MS), deadline(60));
    scene.until_live(1);
    scene.fleet.run_for(seconds(50));
    let left = scene.status().left.expect("it has a deadline");
    assert!((seconds(8)..=seconds(10)).contains(&left), "{left:?}");
    assert_eq!(scene.halted(), None);
    scene.until_everyone_is_back();
    let why = scene.halted().expect("it was late");
    assert!(
        why.starts_with("wave 1 of 3 was not confirmed before its deadline, 1 min after it opened: 0 of 1 nodes"),
        "{why}"
    );
    assert!(why.contains("node-") && why.contains("(live, not confirmed)"), "{why}");
    scene.fleet.run_for(seconds(30));
    assert_eq!(scene.runs(scene.first), 6, "and it stays so");
}

#[test]
fn kamal_1041_nothing_has_a_deadline_that_nobody_gave_and_a_gate_without_a_word_has_one() {
    let mut without = Scene::new(4, 7, &new(HOUR_MS), Restraint::default());
    without.until_live(1);
    without.fleet.run_for(seconds(3500));
    assert_eq!((without.halted(), without.runs(without.second)), (None, 1));
    let mut scene = Scene::new(4, 8, &new(20), Restraint { gates: vec![0], ..deadline(600) });
    scene.until_live(1);
    scene.fleet.run_for(seconds(595));
    assert_eq!(scene.halted(), None);
    scene.until_everyone_is_back();
    let why = scene.halted().expect("nobody said anything");
    assert!(
        why.contains("wave 1 of 3 is confirmed, and nobody said `tiding promote`") && why.contains("10 min"),
        "{why}"
    );
}

#[test]
fn time_that_a_rollout_is_paused_does_not_count() {
    let mut scene = Scene::new(4, 9, &new(HOUR_MS), deadline(100));
    scene.until_live(1);
    scene.fleet.run_for(seconds(50));
    scene.say(Verb::Pause).expect("it is under way");
    scene.fleet.run_for(seconds(1000));
    assert_eq!(scene.halted(), None);
    let left = scene.status().left.expect("it has a deadline");
    assert!((seconds(45)..=seconds(50)).contains(&left), "{left:?}");
    scene.say(Verb::Resume).expect("it is paused");
    scene.fleet.run_for(seconds(40));
    assert_eq!(scene.halted(), None);
    scene.until_everyone_is_back();
}

#[test]
fn a_gate_and_its_deadline_outlive_their_origin() {
    let mut scene = Scene::new(6, 10, &new(20), Restraint { gates: vec![0], ..deadline(600) });
    scene.until_live(1);
    scene.fleet.run_for(seconds(100));
    scene.restart_origin(seconds(20));
    scene.fleet.run_for(seconds(80));
    let status = scene.status();
    let (since, left) = (status.awaits.expect("it still waits").1, status.left.expect("it still has a deadline"));
    assert!((seconds(195)..=seconds(202)).contains(&since), "{since:?}");
    assert!((seconds(398)..=seconds(405)).contains(&left), "{left:?}");
    scene.restart_origin(seconds(20));
    scene.fleet.run_for(seconds(360));
    assert_eq!((scene.halted(), scene.runs(scene.second)), (None, 1));
    let mut other = Scene::new(6, 11, &new(20), gates(&[0]));
    other.until_live(1);
    other.fleet.run_for(seconds(100));
    other.restart_origin(seconds(5));
    other.fleet.run_for(seconds(5));
    other.say(Verb::Promote).expect("it still waits for that");
    other.until_live(6);
    scene.until_everyone_is_back();
}

#[test]
fn a_deadline_that_passed_while_the_origin_was_away_leaves_time_to_say_that_all_is_well() {
    let mut scene = Scene::new(6, 12, &new(30_000), deadline(60));
    scene.until_live(1);
    // The one wave does well meanwhile, and has nobody to tell.
    scene.restart_origin(seconds(500));
    let second = scene.second;
    scene.fleet.run_until("all", |fleet| fleet.all_confirmed(second));
    assert_eq!(scene.halted(), None);
    let mut late = Scene::new(6, 13, &new(HOUR_MS), deadline(60));
    late.until_live(1);
    late.restart_origin(seconds(500));
    late.fleet.run_for(seconds(50));
    assert_eq!(late.halted(), None, "a minute");
    late.until_everyone_is_back();
}

#[test]
fn a_clock_that_jumps_halts_no_healthy_rollout_at_once() {
    let mut scene = Scene::new(6, 14, &new(30_000), deadline(120));
    scene.until_live(1);
    scene.fleet.jump(seconds(86_400));
    scene.fleet.run_for(seconds(1));
    assert_eq!(scene.halted(), None, "the clock that only goes forward made a leap");
    // The clock on the wall is set while the origin runs: nobody looks at it. Then it is set while it is away.
    scene.fleet.wall += 365 * 86_400;
    scene.fleet.run_for(seconds(10));
    scene.fleet.wall += 365 * 86_400;
    scene.restart_origin(seconds(1));
    scene.fleet.wall -= 700 * 86_400;
    let second = scene.second;
    scene.fleet.run_until("all", |fleet| fleet.all_confirmed(second));
    assert_eq!(scene.halted(), None);
}

/// How many of each rack are between their switch and what came of it.
fn switching(fleet: &Fleet, release: ReleaseId) -> Vec<usize> {
    let of = |label: Option<&str>| {
        let rack = |nr: &usize| racks(*nr).values().next().map(|rack| rack.as_str().to_owned());
        let these = fleet.agents().into_iter().filter(|nr| rack(nr).as_deref() == label);
        let is_open = |nr: &usize| {
            fleet.nodes[*nr].disk.apps.get(&app()).is_some_and(|app| {
                app.live == Some(release) && app.confirmed != Some(release) && app.given_up.is_none()
            })
        };
        these.filter(is_open).count()
    };
    vec![of(None), of(Some("a")), of(Some("b"))]
}

fn never_two_of_a_rack(scene: &mut Scene, time: Duration) {
    let (second, until) = (scene.second, scene.fleet.now + time.as_nanos() as u64);
    scene.fleet.run_until("some time", |fleet| {
        let now = switching(fleet, second);
        assert!(now.iter().all(|count| *count <= 1), "{now:?} at {} ms", fleet.now / 1_000_000);
        fleet.now >= until
    });
}

#[test]
fn of_a_rack_never_two_switch_at_once_whoever_crashes() {
    for seed in 0..20 {
        let mut scene = Scene::new(11, 100 + seed, &new(500), one_of_each_rack());
        for round in 0..8 {
            let nr = ((seed * 7 + round * 5) % 12) as usize;
            never_two_of_a_rack(&mut scene, Duration::from_millis(137 + 91 * ((seed + round) % 9)));
            scene.fleet.stop(nr);
            never_two_of_a_rack(&mut scene, Duration::from_millis(40 + 211 * (round % 3)));
            scene.fleet.start(nr);
        }
        let second = scene.second;
        for _ in 0..60 {
            never_two_of_a_rack(&mut scene, seconds(5));
            if scene.fleet.all_confirmed(second) {
                break;
            }
        }
        assert!(scene.fleet.all_confirmed(second), "seed {seed}: {:?}", scene.halted());
    }
}

#[test]
fn without_a_limit_more_than_one_of_a_rack_do() {
    let mut scene = Scene::new(11, 200, &new(500), Restraint::default());
    let second = scene.second;
    scene.fleet.run_until("two of a rack", |fleet| switching(fleet, second).iter().any(|count| *count > 1));
}

#[test]
fn who_vanishes_holds_its_rack_up_for_as_long_as_it_is_waited_for() {
    let mut scene = Scene::new(11, 201, &new(2_000), one_of_each_rack());
    scene.until_live(1);
    let second = scene.second;
    let live = |fleet: &Fleet, nr: &usize| fleet.nodes[*nr].disk.apps[&app()].live == Some(second);
    let gone = scene.fleet.agents().into_iter().find(|nr| live(&scene.fleet, nr)).expect("one is live");
    scene.fleet.vanish(gone);
    scene.say(Verb::Promote).expect("there are more waves");
    scene.fleet.run_for(seconds(110));
    scene.fleet.run_until("everyone else", |fleet| running(fleet, second) == 11);
    scene.fleet.start(gone);
    scene.fleet.run_until("it too", |fleet| fleet.all_confirmed(second));
}

#[test]
fn of_all_together_so_many_switch_at_once_and_everyone_falls_back_at_once() {
    let at_once = vec![AtOnce { by: None, most: Wave::Count(2) }];
    let mut scene = Scene::new(10, 202, &new(3_000), Restraint { at_once, ..Restraint::default() });
    let (second, most) = (scene.second, std::cell::Cell::new(0));
    scene.fleet.run_until("seven", |fleet| {
        let now = switching(fleet, second).iter().sum();
        most.set(most.get().max(now));
        running(fleet, second) >= 7
    });
    assert_eq!(most.get(), 2);
    scene.say(Verb::Abort).expect("it is under way");
    let began = scene.fleet.now;
    scene.until_everyone_is_back();
    assert!(scene.fleet.now - began < SECOND, "nobody waits for anybody");
}

#[test]
fn what_failed_and_stayed_takes_nobodys_turn_when_it_is_ordered_again() {
    let mut others = 0;
    for seed in 60..66 {
        let mut fleet = Fleet::new(4, seed);
        let mut v1 = new(300);
        v1.instructions.health = Health { probes: vec![Probe::Unit("web".to_owned())], every_ms: 50, need: 2, of: 3 };
        let signed = sign_release(&v1);
        let id = id_of(&signed);
        let one_by_one = AtOnce { by: None, most: Wave::Count(1) };
        let ordered = |epoch| Order {
            waves: vec![Wave::Count(1), Wave::PerMille(1000)],
            restraint: Restraint { at_once: vec![one_by_one.clone()], ..Restraint::default() },
            message: format!("{epoch} of {seed}"),
            ..order(epoch, &signed, None)
        };
        for nr in fleet.agents() {
            fleet.nodes[nr].ailing.insert(id, Ailing::Sick);
        }
        fleet.deploy(&v1, &ordered(1));
        fleet.run_until("a halt", |fleet| fleet.facts().iter().any(|fact| matches!(fact, Fact::Halted { .. })));
        fleet.run_for(seconds(1));
        // There is nothing to go back to, so it runs on at the one that came first.
        let runs = |fleet: &Fleet, nr: usize| fleet.nodes[nr].switches.contains(&id);
        let stayed = fleet.agents().into_iter().find(|nr| runs(&fleet, *nr)).expect("somebody was first");
        assert_eq!(running(&fleet, id), 1);
        for nr in fleet.agents() {
            fleet.nodes[nr].ailing.clear();
        }
        fleet.deploy(&v1, &ordered(2));
        fleet.run_until("a first", |fleet| fleet.agents().into_iter().any(|nr| fleet.confirmed(nr) == Some(id)));
        others += usize::from(fleet.confirmed(stayed) != Some(id));
        fleet.run_until("all", |fleet| fleet.all_confirmed(id));
    }
    assert!(others > 0, "the same node was first each time");
}
