//! What nodes do when a release does not do well: hooks, probes, going back by themselves, and what that stops.

mod fleet;

use content::care::{Health, Hook, Hooks, Probe};
use content::directive::Verb;
use content::order::Wave;
use content::*;
use fleet::*;
use std::time::Duration;
use tiding_engine::door::*;

const SECOND: u64 = 1_000_000_000;

fn hook(line: &str) -> Option<Hook> {
    Some(Hook { line: line.to_owned(), user: None, timeout_ms: 1000 })
}

/// A release with all commands and a probe every 50 ms for 300.
fn careful(name: &str) -> Release {
    let mut release = release(name, 40);
    release.instructions.hooks = Hooks { before: hook("before"), after: hook("after"), ..Hooks::default() };
    let probes = vec![Probe::Unit("web".to_owned())];
    release.instructions.health = Health { probes, every_ms: 50, need: 2, of: 3 };
    release.instructions.health_window_ms = 300;
    release
}

fn in_waves(epoch: u64, release: &Signed, fallback: Option<ReleaseId>) -> Order {
    let waves = vec![Wave::Count(1), Wave::PerMille(500), Wave::PerMille(1000)];
    Order { waves, ..order(epoch, release, fallback) }
}

fn order_in_waves(fleet: &mut Fleet, release: &Release, epoch: u64, fallback: Option<ReleaseId>) -> ReleaseId {
    let signed = sign_release(release);
    fleet.deploy(release, &in_waves(epoch, &signed, fallback));
    id_of(&signed)
}

fn halted(fleet: &Fleet) -> Option<String> {
    fleet.facts().into_iter().find_map(|fact| if let Fact::Halted { why, .. } = fact { Some(why) } else { None })
}

fn ran(fleet: &Fleet, nr: usize, release: ReleaseId) -> bool {
    fleet.nodes[nr].switches.contains(&release)
}

fn ails(fleet: &mut Fleet, nr: usize, release: ReleaseId, how: Ailing) {
    fleet.nodes[nr].ailing.insert(release, how);
}

/// A fleet in which `v1` runs everywhere.
fn settled(agents: usize, seed: u64) -> (Fleet, ReleaseId) {
    let mut fleet = Fleet::new(agents, seed);
    let first = order_in_waves(&mut fleet, &careful("v1"), 1, None);
    fleet.run_until("v1", |fleet| fleet.all_confirmed(first));
    fleet.run_for(Duration::from_secs(1));
    (fleet, first)
}

#[test]
fn commands_run_around_a_switch_and_probes_until_it_is_confirmed() {
    let (fleet, first) = settled(4, 1);
    for nr in fleet.agents() {
        assert_eq!(fleet.nodes[nr].hooks, [(first, Moment::Before), (first, Moment::After)], "node {nr}");
        assert!((5..=8).contains(&fleet.nodes[nr].probes), "{} rounds within 300 ms", fleet.nodes[nr].probes);
    }
}

#[test]
fn d16_a_release_that_is_not_well_reaches_its_first_wave_and_is_gone_a_second_after_the_window() {
    for seed in 0..20 {
        let (mut fleet, first) = settled(8, seed);
        let bad = id_of(&sign_release(&careful("v2")));
        (1..=8).for_each(|nr| ails(&mut fleet, nr, bad, Ailing::Sick));
        order_in_waves(&mut fleet, &careful("v2"), 2, Some(first));
        fleet.run_until("a switch", |fleet| fleet.agents().into_iter().any(|nr| ran(fleet, nr, bad)));
        let began = fleet.now;
        let runs = |fleet: &Fleet, nr: usize| fleet.nodes[nr].disk.apps.get(&app()).and_then(|app| app.live);
        fleet.run_until("a way back", |fleet| fleet.agents().into_iter().all(|nr| runs(fleet, nr) == Some(first)));
        assert!(fleet.now - began <= SECOND + 300_000_000, "{} ms", (fleet.now - began) / 1_000_000);
        fleet.run_for(Duration::from_secs(60));
        let reached = fleet.agents().into_iter().filter(|nr| ran(&fleet, *nr, bad)).count();
        assert_eq!(reached, 1, "seed {seed}: the first wave is one node");
        let switches: Vec<usize> = fleet.agents().into_iter().map(|nr| fleet.nodes[nr].switches.len()).collect();
        assert!(switches.iter().all(|times| *times <= 3), "seed {seed}: no ping-pong: {switches:?}");
        assert!(halted(&fleet).is_some_and(|why| why.contains("1 node failed")), "{:?}", halted(&fleet));
    }
}

/// What an origin says of a node.
fn standing(fleet: &mut Fleet, nr: usize, release: ReleaseId) -> Option<(Phase, Option<String>)> {
    let client = 5000 + fleet.now;
    fleet.request(ORIGIN, client, Request::Status);
    let Some(Answer::Status(status)) = fleet.answer(ORIGIN, client) else { panic!("no status") };
    let node = status.nodes.iter().find(|node| node.node == fleet.nodes[nr].id)?;
    node.apps.iter().find(|app| app.release == release).map(|app| (app.phase, app.trouble.clone()))
}

#[test]
fn who_failed_says_so_and_why_until_it_runs_what_it_ran_before() {
    for seed in 0..5 {
        let (mut fleet, first) = settled(4, seed);
        let bad = id_of(&sign_release(&careful("v2")));
        (1..=4).for_each(|nr| ails(&mut fleet, nr, bad, Ailing::Hook(Moment::After)));
        order_in_waves(&mut fleet, &careful("v2"), 2, Some(first));
        let reached = |fleet: &Fleet| fleet.agents().into_iter().find(|nr| ran(fleet, *nr, bad));
        fleet.run_until("a switch", |fleet| reached(fleet).is_some());
        let nr = reached(&fleet).expect("the first wave");
        let mut said = Vec::new();
        while said.last() != Some(&Phase::FellBack) {
            fleet.run_for(Duration::from_micros(20));
            let (phase, why) = standing(&mut fleet, nr, bad).expect("it has an order");
            if said.last() != Some(&phase) {
                said.push(phase);
            }
            let is_told = !said.contains(&Phase::Failed) || why.is_some_and(|why| why.contains("command"));
            assert!(is_told, "seed {seed}: {phase:?} without a reason");
        }
        let failed = said.iter().position(|phase| *phase == Phase::Failed).expect("it failed");
        assert_eq!(said[failed..], [Phase::Failed, Phase::FellBack], "seed {seed}: {said:?}");
    }
}

#[test]
fn a_command_before_the_switch_that_fails_changes_nothing_and_one_after_it_brings_back_what_was() {
    for (moment, switches) in [(Moment::Before, 0), (Moment::After, 2)] {
        let (mut fleet, first) = settled(3, 5);
        let bad = id_of(&sign_release(&careful("v2")));
        (1..=3).for_each(|nr| ails(&mut fleet, nr, bad, Ailing::Hook(moment)));
        order_in_waves(&mut fleet, &careful("v2"), 2, Some(first));
        fleet.run_until("a halt", |fleet| halted(fleet).is_some());
        fleet.run_for(Duration::from_secs(5));
        let made: usize = fleet.agents().into_iter().map(|nr| fleet.nodes[nr].switches.len() - 1).sum();
        assert_eq!(made, switches, "{moment:?}");
        assert!(fleet.all_confirmed(first));
    }
}

#[test]
fn d17_whoever_loses_its_origin_after_the_switch_goes_back_by_itself() {
    let (mut fleet, first) = settled(3, 7);
    let bad = id_of(&sign_release(&careful("v2")));
    (1..=3).for_each(|nr| ails(&mut fleet, nr, bad, Ailing::Sick));
    order_in_waves(&mut fleet, &careful("v2"), 2, Some(first));
    fleet.run_until("a switch", |fleet| fleet.agents().into_iter().any(|nr| ran(fleet, nr, bad)));
    (0..=3).for_each(|nr| {
        if nr == ORIGIN {
            fleet.stop(nr)
        }
    });
    let canary = fleet.agents().into_iter().find(|nr| ran(&fleet, *nr, bad)).expect("one has switched");
    fleet.run_until("a way back", |fleet| {
        fleet.confirmed(canary) == Some(first) && fleet.nodes[canary].switches.last() == Some(&first)
    });
    // A restart tries nothing again, with the order still standing.
    fleet.stop(canary);
    fleet.start(canary);
    let switches = fleet.nodes[canary].switches.len();
    fleet.run_for(Duration::from_secs(10));
    assert_eq!(fleet.nodes[canary].switches.len(), switches, "it was given up, durably");
}

#[test]
fn d16_a_release_that_takes_its_machine_down_again_and_again_is_left_without_asking_anyone() {
    let (mut fleet, first) = settled(2, 9);
    let mut heavy = careful("v2");
    heavy.instructions.health_window_ms = 5000;
    let bad = order_in_waves(&mut fleet, &heavy, 2, Some(first));
    fleet.run_until("a switch", |fleet| fleet.agents().into_iter().any(|nr| ran(fleet, nr, bad)));
    let canary = fleet.agents().into_iter().find(|nr| ran(&fleet, *nr, bad)).expect("one has switched");
    fleet.stop(ORIGIN);
    for _ in 0..6 {
        fleet.run_for(Duration::from_millis(500));
        fleet.stop(canary);
        fleet.start(canary);
    }
    fleet.run_for(Duration::from_secs(1));
    let node = &fleet.nodes[canary];
    assert_eq!(node.disk.apps[&app()].live, Some(first), "{:?}", node.switches.len());
    assert!(node.disk.apps[&app()].given_up.as_ref().is_some_and(|(_, why)| why.contains("stopped 4 times")));
}

// What operators say meanwhile.

fn direct(fleet: &mut Fleet, epoch: u64, release: &Release, fallback: ReleaseId, verb: Verb) -> Result<(), String> {
    let order = in_waves(epoch, &sign_release(release), Some(fallback));
    let directive = Directive {
        fleet: fleet::fleet(),
        app: app(),
        order: OrderId(sign_order(&order).payload_digest()),
        verb,
        wave: if let RolloutState::Rolling { wave } = state(fleet) { Some(wave) } else { None },
        created: UnixTime(fleet.now / 1_000_000),
        message: "the error rate rises".to_owned(),
    };
    let directive = bob().sign(PayloadKind::Directive, directive.encode());
    let client = 1000 + fleet.now;
    fleet.request(ORIGIN, client, Request::Direct { directive });
    fleet.run_for(Duration::from_millis(5));
    match fleet.answer(ORIGIN, client) {
        Some(Answer::Noted) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn running(fleet: &Fleet, release: ReleaseId) -> usize {
    fleet.agents().into_iter().filter(|nr| fleet.nodes[*nr].disk.apps[&app()].live == Some(release)).count()
}

fn state(fleet: &mut Fleet) -> RolloutState {
    let client = 5000 + fleet.now;
    fleet.request(ORIGIN, client, Request::Status);
    match fleet.answer(ORIGIN, client) {
        Some(Answer::Status(status)) => status.apps[0].state.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_pauses_stops_the_next_wave_over_restarts_too_and_resuming_goes_on() {
    let (mut fleet, first) = settled(8, 21);
    let next = careful("v2");
    let second = order_in_waves(&mut fleet, &next, 2, Some(first));
    fleet.run_until("the first wave", |fleet| running(fleet, second) == 1);
    direct(&mut fleet, 2, &next, first, Verb::Pause).expect("it is under way");
    fleet.run_for(Duration::from_secs(5));
    fleet.stop(ORIGIN);
    fleet.start(ORIGIN);
    fleet.run_for(Duration::from_secs(20));
    assert_eq!(running(&fleet, second), 1, "the first wave is confirmed, and nobody else has switched");
    let paused = state(&mut fleet);
    assert!(
        matches!(&paused, RolloutState::Paused { wave: Some(0), by, why } if by == "bob" && why.contains("error rate")),
        "{paused:?}"
    );
    assert!(direct(&mut fleet, 2, &next, first, Verb::Pause).is_err(), "it is paused already");
    direct(&mut fleet, 2, &next, first, Verb::Resume).expect("it is paused");
    fleet.run_until("v2", |fleet| fleet.all_confirmed(second));
    fleet.run_until("the end", |fleet| {
        fleet.facts().iter().filter(|fact| matches!(fact, Fact::Finished { .. })).count() == 2
    });
    fleet.run_for(Duration::from_millis(10));
    assert!(direct(&mut fleet, 2, &next, first, Verb::Abort).is_err_and(|why| why.contains("tiding rollback")));
}

#[test]
fn d15_the_next_wave_waits_for_the_window_and_whoever_promotes_does_not() {
    let (mut fleet, first) = settled(8, 22);
    let mut next = careful("v2");
    next.instructions.health_window_ms = 3_600_000;
    let second = order_in_waves(&mut fleet, &next, 2, Some(first));
    fleet.run_until("the first wave", |fleet| running(fleet, second) == 1);
    fleet.run_for(Duration::from_secs(10));
    assert_eq!(running(&fleet, second), 1, "its window is an hour");
    direct(&mut fleet, 2, &next, first, Verb::Promote).expect("there are more waves");
    fleet.run_until("half of them", |fleet| running(fleet, second) == 4);
    fleet.run_for(Duration::from_secs(10));
    assert_eq!(running(&fleet, second), 4, "one wave, not all");
    direct(&mut fleet, 2, &next, first, Verb::Promote).expect("there is one more");
    fleet.run_until("all", |fleet| running(fleet, second) == 8);
    assert!(direct(&mut fleet, 2, &next, first, Verb::Promote).is_err_and(|why| why.contains("last wave")));
}

#[test]
fn whoever_aborts_has_everyone_go_back_and_a_stranger_cannot() {
    let (mut fleet, first) = settled(8, 23);
    let mut next = careful("v2");
    next.instructions.health_window_ms = 3_600_000;
    let second = order_in_waves(&mut fleet, &next, 2, Some(first));
    fleet.run_until("the first wave", |fleet| running(fleet, second) == 1);
    direct(&mut fleet, 2, &next, first, Verb::Promote).expect("there are more waves");
    fleet.run_until("half of them", |fleet| running(fleet, second) == 4);
    let order = OrderId(sign_order(&in_waves(2, &sign_release(&next), Some(first))).payload_digest());
    let (app, created, message) = (app(), UnixTime(1), String::new());
    let (fleet_id, wave) = (fleet::fleet(), Some(1));
    let directive = Directive { fleet: fleet_id, app, order, verb: Verb::Abort, wave, created, message };
    let forged = SigningKey::from_secret(&[77; 32]).sign(PayloadKind::Directive, directive.encode());
    fleet.request(ORIGIN, 7, Request::Direct { directive: forged });
    assert!(matches!(fleet.answer(ORIGIN, 7), Some(Answer::Refused(Refusal::NotBelieved(_)))));
    direct(&mut fleet, 2, &next, first, Verb::Abort).expect("it is under way");
    fleet.run_until("the way back", |fleet| running(fleet, first) == 8);
    assert!(halted(&fleet).is_some_and(|why| why == "aborted by bob: the error rate rises"), "{:?}", halted(&fleet));
    fleet.run_for(Duration::from_secs(30));
    assert_eq!(running(&fleet, first), 8);
}

#[test]
fn d8_a_rollback_during_a_rollout_wins_at_any_moment() {
    for moment in 0..40 {
        let (mut fleet, first) = settled(5, 24);
        let second = order_in_waves(&mut fleet, &careful("v2"), 2, Some(first));
        fleet.run_for(Duration::from_millis(moment * 60));
        let back = sign_order(&order(3, &sign_release(&careful("v1")), None));
        fleet.request(ORIGIN, 9, Request::Order { order: back });
        fleet.run_for(Duration::from_millis(100));
        if matches!(fleet.answer(ORIGIN, 9), Some(Answer::Refused(_))) {
            // Nothing of epoch 2 stands yet: it is still being brought.
            assert!(moment < 5, "moment {moment}: {:?}", fleet.answer(ORIGIN, 9));
            continue;
        }
        fleet.run_for(Duration::from_secs(20));
        assert_eq!((running(&fleet, first), running(&fleet, second)), (5, 0), "moment {moment}");
        assert!(fleet.all_confirmed(first), "moment {moment}");
    }
}

#[test]
fn d20_whoever_is_too_old_to_read_a_release_says_so_and_keeps_its_origin() {
    let (mut fleet, first) = settled(2, 31);
    let mut release = sign_release(&careful("v2"));
    // The fifth byte is the version of the encoding.
    release.payload[4] = u8::MAX;
    let newer = alice().sign(PayloadKind::Release, release.payload);
    let from = fleet.nodes[ORIGIN].id;
    fleet.input(1, Input::Message { from, message: Message::Announce { release: newer } });
    fleet.run_for(Duration::from_secs(1));
    let said =
        |event: &Event| matches!(event, Event::Distrusted { why, .. } if why.contains("a newer program may read it"));
    assert!(fleet.nodes[1].events.iter().any(said));
    assert!(!fleet.nodes[1].events.iter().any(|event| matches!(event, Event::Convicted { .. })));
    let next = order_in_waves(&mut fleet, &careful("v3"), 2, Some(first));
    fleet.run_until("v3", |fleet| fleet.all_confirmed(next));
}

#[test]
fn what_is_live_is_judged_although_a_newer_order_waits() {
    let (mut fleet, first) = settled(4, 41);
    let mut slow = careful("v2");
    slow.instructions.health_window_ms = 4000;
    let all = |epoch, release: &Signed, fallback| order(epoch, release, fallback);
    let second = id_of(&sign_release(&slow));
    fleet.deploy(&slow, &all(2, &sign_release(&slow), Some(first)));
    fleet.run_until("v2 is live", |fleet| running(fleet, second) == 4);
    // The next order opens at one node only, whose window is an hour; on the others v2 falls ill meanwhile.
    let mut next = careful("v3");
    next.instructions.health_window_ms = 3_600_000;
    let third = order_in_waves(&mut fleet, &next, 3, Some(first));
    fleet.run_until("v3 at one", |fleet| running(fleet, third) == 1);
    (1..=4).for_each(|nr| ails(&mut fleet, nr, second, Ailing::Sick));
    fleet.run_for(Duration::from_secs(10));
    assert_eq!((running(&fleet, first), running(&fleet, second), running(&fleet, third)), (3, 0, 1));
    let blamed = fleet.agents().into_iter().filter(|nr| fleet.nodes[*nr].disk.apps[&app()].given_up.is_some()).count();
    assert_eq!(blamed, 0, "the newer order is not blamed for it");
    assert_eq!(halted(&fleet), None);
}

#[test]
fn a_wave_of_which_nobody_does_well_halts_whatever_the_budget() {
    let (mut fleet, first) = settled(6, 42);
    let bad = id_of(&sign_release(&careful("v2")));
    (1..=6).for_each(|nr| ails(&mut fleet, nr, bad, Ailing::Sick));
    let (release, signed) = (careful("v2"), sign_release(&careful("v2")));
    fleet.deploy(&release, &Order { budget: 5, ..in_waves(2, &signed, Some(first)) });
    fleet.run_until("a halt", |fleet| halted(fleet).is_some());
    assert!(halted(&fleet).is_some_and(|why| why == "nobody of wave 1 did well"), "{:?}", halted(&fleet));
    assert_eq!(fleet.agents().into_iter().filter(|nr| ran(&fleet, *nr, bad)).count(), 1);
}

#[test]
fn a_promote_that_comes_after_the_wave_it_meant_opens_no_other() {
    let (mut fleet, first) = settled(8, 43);
    let next = careful("v2");
    let second = order_in_waves(&mut fleet, &next, 2, Some(first));
    let order = OrderId(sign_order(&in_waves(2, &sign_release(&next), Some(first))).payload_digest());
    fleet.run_until("the second wave", |fleet| running(fleet, second) == 4);
    let (fleet_id, app, created, message) = (fleet::fleet(), app(), UnixTime(1), String::new());
    let directive = Directive { fleet: fleet_id, app, order, verb: Verb::Promote, wave: Some(0), created, message };
    let late = bob().sign(PayloadKind::Directive, directive.encode());
    fleet.request(ORIGIN, 7, Request::Direct { directive: late });
    assert!(
        matches!(fleet.answer(ORIGIN, 7), Some(Answer::Refused(Refusal::Invalid(why))) if why.contains("another wave"))
    );
    assert_eq!(running(&fleet, second), 4);
}

#[test]
fn a_restart_in_the_window_runs_no_command_before_the_switch_again() {
    let (mut fleet, first) = settled(2, 44);
    let mut next = careful("v2");
    next.instructions.health_window_ms = 2000;
    let second = order_in_waves(&mut fleet, &next, 2, Some(first));
    fleet.run_until("a switch", |fleet| running(fleet, second) == 1);
    let canary = fleet.agents().into_iter().find(|nr| ran(&fleet, *nr, second)).expect("one has switched");
    ails(&mut fleet, canary, second, Ailing::Hook(Moment::Before));
    fleet.stop(canary);
    fleet.start(canary);
    fleet.run_until("v2", |fleet| fleet.all_confirmed(second));
    let before = fleet.nodes[canary].hooks.iter().filter(|hook| **hook == (second, Moment::Before)).count();
    assert_eq!(before, 1);
}

#[test]
fn d10_a_node_that_dies_in_the_second_of_four_waves_has_failed_and_the_budget_says_what_follows() {
    for budget in [0, 1] {
        let (mut fleet, first) = settled(8, 3);
        let release = careful("v2");
        let signed = sign_release(&release);
        let waves = vec![Wave::Count(1), Wave::PerMille(250), Wave::PerMille(500), Wave::PerMille(1000)];
        fleet.deploy(&release, &Order { waves, budget, ..order(2, &signed, Some(first)) });
        let new = id_of(&signed);
        let in_trial = |fleet: &Fleet, nr: &usize| ran(fleet, *nr, new) && fleet.confirmed(*nr) != Some(new);
        let second = |fleet: &Fleet| {
            let is_open = fleet.agents().into_iter().any(|nr| fleet.confirmed(nr) == Some(new));
            fleet.agents().into_iter().find(|nr| is_open && in_trial(fleet, nr))
        };
        fleet.run_until("the second wave switches", |fleet| second(fleet).is_some());
        let dead = second(&fleet).expect("it was just there");
        fleet.stop(dead);
        let all_then = if budget == 0 { first } else { new };
        let others = |fleet: &Fleet| {
            fleet.agents().into_iter().filter(|nr| *nr != dead).all(|nr| fleet.confirmed(nr) == Some(all_then))
        };
        fleet.run_until("the others arrive", |fleet| others(fleet) && (budget == 1 || halted(fleet).is_some()));
        assert_eq!(halted(&fleet).is_some(), budget == 0, "budget {budget}");
        fleet.start(dead);
        fleet.run_until("it arrives, too", |fleet| fleet.confirmed(dead) == Some(all_then));
    }
}
