//! Scenarios by name, and what each promises.
//!
//! A promise is a measure of an [`Outcome`] with two bounds: what it must keep to, and what it aims at. Some measures compare
//! with the same flock on a day on which nothing goes wrong ([`Scenario::beside`]).

use super::member::Manner;
use super::model::Model;
use super::outcome::Outcome;
use super::plan::{Mishap, Plan};
use std::time::Duration;

/// A named flock, and what it promises.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name, for people and for the file of expected figures.
    pub name: &'static str,
    /// Whether it is small enough for every test run.
    pub is_small: bool,
    /// What happens.
    pub plan: Plan,
    /// The scenario that it is compared with, on the same seed.
    pub beside: Option<&'static str>,
    /// What it promises; the first is the figure that may not get worse.
    pub promises: Vec<Promise>,
}

/// A measure and its bounds.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// What is measured.
    pub what: &'static str,
    /// How.
    pub measure: fn(&Outcome, Option<&Outcome>) -> f64,
    /// It must not be above this.
    pub must: f64,
    /// It aims at this.
    pub aim: f64,
}

/// The scenario of that name.
pub fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    [laboratory(), mesh(), hard_days(), special()].concat()
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const MBIT: u64 = 1_000_000;
const GBIT: u64 = 1_000_000_000;

fn promise(what: &'static str, measure: fn(&Outcome, Option<&Outcome>) -> f64, must: f64, aim: f64) -> Promise {
    Promise { what, measure, must, aim }
}

fn by_unicast(must: f64, aim: f64) -> Promise {
    promise("last / B", |outcome, _| outcome.last_by_unicast(), must, aim)
}

fn by_bound(must: f64, aim: f64) -> Promise {
    promise("last / T*", |outcome, _| outcome.last_by_bound(), must, aim)
}

/// How much later the last is than on a good day.
fn by_good_day(must: f64, aim: f64) -> Promise {
    let ratio = |outcome: &Outcome, good: Option<&Outcome>| outcome.last() / good.map_or(f64::NAN, Outcome::last);
    promise("last / last on a good day", ratio, must, aim)
}

fn millis(what: &'static str, must: f64, aim: f64) -> Promise {
    promise(what, |outcome, _| outcome.last() * 1000.0, must, aim)
}

fn origin_copies(must: f64, aim: f64) -> Promise {
    promise("sent by the origin / F", |outcome, _| outcome.origin_copies, must, aim)
}

fn received_copies() -> Promise {
    promise("received by each / F", |outcome, _| outcome.received_copies, 1.05, 1.02)
}

/// The cells of the laboratory of shaped network namespaces, as it is (`lab-*`), and on machines with processors of their own
/// (`links-*`), which is what the order of the pieces costs by itself.
fn laboratory() -> Vec<Scenario> {
    let one_dies = Mishap::Die { agents: 1, after: Duration::from_secs(2), power: false };
    let slow = Mishap::Slow { agents: 1, times: 5 };
    let cells = [
        (["lab-16-50", "links-16-50"], Plan::new(15, 50 * MBIT, 32 * MIB), None, (1.15, 1.07)),
        (["lab-32-25", "links-32-25"], Plan::new(31, 25 * MBIT, 32 * MIB), None, (1.15, 1.08)),
        (["lab-64-10", "links-64-10"], Plan::new(63, 10 * MBIT, 16 * MIB), None, (1.20, 1.10)),
        (["lab-slow", "links-slow"], Plan::new(15, 50 * MBIT, 32 * MIB), Some(slow), (1.30, 1.10)),
        (["lab-killed", "links-killed"], Plan::new(15, 50 * MBIT, 32 * MIB), Some(one_dies), (1.30, 1.10)),
        (["lab-100MiB", "links-100MiB"], Plan::new(15, 50 * MBIT, 100 * MIB), None, (1.10, 1.06)),
        (["lab-1MiB", "links-1MiB"], Plan::new(15, 50 * MBIT, MIB), None, (1.5, 1.25)),
    ];
    let spent = |must, aim| promise("CPU s / GiB", |outcome, _| outcome.spent_by_gib(), must, aim);
    // Nothing is promised of it but where links have no limit.
    let also_spent = || spent(f64::INFINITY, f64::INFINITY);
    let one = |name, plan, promises| Scenario { name, is_small: true, plan, beside: None, promises };
    let mut all = Vec::new();
    for ([lab, links], plan, mishap, (must, aim)) in cells {
        let promises = vec![by_unicast(must, aim), origin_copies(1.2, 1.05), received_copies()];
        let plan = Plan { model: Model::LABORATORY, mishaps: mishap.into_iter().collect(), ..plan };
        all.push(one(links, plan.clone(), promises.clone()));
        all.push(one(lab, on_one_computer(plan, Model::ONE_COMPUTER), [promises, vec![also_spent()]].concat()));
    }
    // A pair of virtual interfaces on the laboratory's machine carries 16 Gbit/s.
    let unlimited = |bytes| Plan { model: Model::LABORATORY, ..Plan::new(15, 16 * GBIT, bytes) };
    let shared = |bytes| on_one_computer(unlimited(bytes), Model::ONE_COMPUTER_UNLIMITED);
    let last = millis("publish to last, ms", 60.0, 20.0);
    let edge = Plan { model: Model::LABORATORY, ..Plan::new(15, 2 * MBIT, 16 * MIB) };
    all.extend([
        one("links-unlimited", unlimited(MIB), vec![last]),
        one("lab-unlimited", shared(MIB), vec![last, also_spent()]),
        one("lab-cpu", shared(128 * MIB), vec![spent(2.2, 1.8)]),
        // A branch office, or a tight limit: a piece takes a quarter of a second.
        one("edge-16-2", edge, vec![by_unicast(1.5, 1.2), origin_copies(1.2, 1.05), received_copies()]),
    ]);
    all
}

/// The same on processors that everyone shares, which takes everyone longer to join.
fn on_one_computer(plan: Plan, model: Model) -> Plan {
    Plan { model, joining: Duration::from_secs(5), ..plan }
}

/// Good days of large flocks.
fn mesh() -> Vec<Scenario> {
    let spread = promise("p99.9 / p50", |outcome, _| outcome.quantile(0.999) / outcome.quantile(0.5), 1.10, 1.03);
    let hundred_thousand = Plan {
        // Pieces of 256 KiB at half scale: no piece of ours may have more than 128 KiB, so all bytes and rates are halved.
        piece_bytes: 128 * KIB,
        window_bytes: 4 * MIB,
        joining: Duration::from_secs(100),
        ..Plan::new(100_000, GBIT / 2, 50 * MIB)
    };
    let good = |name, is_small, plan, promises: &[Promise]| Scenario {
        name,
        is_small,
        plan,
        beside: None,
        promises: promises.to_vec(),
    };
    vec![
        good("hundred", true, Plan::new(100, GBIT, 8 * MIB), &[by_bound(1.15, 1.05), origin_copies(1.2, 1.05)]),
        good("two-hundred", false, Plan::new(200, GBIT, 64 * MIB), &[by_bound(1.10, 1.05), origin_copies(1.2, 1.05)]),
        good(
            "thousand-100MiB",
            false,
            Plan::new(1000, GBIT, 100 * MIB),
            &[by_bound(1.10, 1.05), spread, origin_copies(1.2, 1.05), received_copies()],
        ),
        good(
            "thousand-2MiB",
            true,
            Plan::new(1000, GBIT, 2 * MIB),
            &[by_bound(1.5, 1.2), origin_copies(1.2, 1.05), received_copies()],
        ),
        good(
            "thousand",
            false,
            Plan::new(1000, GBIT, 1024 * MIB),
            &[by_bound(1.06, 1.02), origin_copies(1.2, 1.05), received_copies()],
        ),
        good(
            "ten-thousand",
            false,
            Plan::new(10_000, GBIT, 100 * MIB),
            &[by_bound(1.10, 1.05), spread, origin_copies(1.2, 1.05), received_copies()],
        ),
        good("hundred-thousand", false, hundred_thousand, &[by_bound(1.2, 1.1), spread, origin_copies(1.2, 1.05)]),
    ]
}

/// Days on which something goes wrong, each in a large flock, in one of a thousand and in a small one.
fn hard_days() -> Vec<Scenario> {
    let large = || Plan::new(10_000, GBIT, 100 * MIB);
    let small = || Plan::new(100, GBIT, 8 * MIB);
    let middle = || Plan::new(1000, GBIT, 100 * MIB);
    let of = |name, (plan, beside): (Plan, &'static str), mishaps: &[Mishap], promises: &[Promise]| Scenario {
        name,
        is_small: beside == "hundred",
        plan: Plan { mishaps: mishaps.to_vec(), ..plan },
        beside: Some(beside),
        promises: promises.to_vec(),
    };
    let die = |agents: u32, after, power| Mishap::Die { agents, after, power };
    let bad = |agents: u32| {
        [
            Mishap::Bad { agents: agents / 2, manner: Manner::Stalls },
            Mishap::Bad { agents: agents / 2, manner: Manner::Corrupts },
        ]
    };
    let slow = |agents| [Mishap::Slow { agents, times: 10 }];
    let gone = [Mishap::OriginDies { power: false }];
    // What a starved machine does to its processes.
    let hiccups = [Mishap::Hiccups { every: Duration::from_secs(1), lasts: Duration::from_millis(100) }];
    let boasters = [Mishap::Bad { agents: 10, manner: Manner::Boasts }];
    // A fifth starts when it has begun, within two good days.
    let late = [Mishap::Late { agents: 20, within: Duration::from_millis(180) }];
    let of_others = |must, aim| {
        let half = |outcome: &Outcome, good: Option<&Outcome>| {
            outcome.quantile(0.5) / good.map_or(f64::NAN, |good| good.quantile(0.5))
        };
        promise("half have all / half on a good day", half, must, aim)
    };
    let all = promise("measured / complete", |outcome, _| 1.0 / outcome.share_complete(), 1.0, 1.0);
    let (ten, hundred) = (|| (large(), "ten-thousand"), || (small(), "hundred"));
    let thousand = || (middle(), "thousand-100MiB");
    let half = |plan: Plan| plan.unicast() / 2;
    let halves = |agents: u32, after| [die(agents / 2, after, false), die(agents / 2, after, true)];
    let again = |(plan, beside): (Plan, &'static str)| (Plan { before: 1, ..plan }, beside);
    vec![
        of("slow-tenth-again-thousand", again(thousand()), &slow(100), &[by_good_day(1.05, 1.01)]),
        of("liars-10-again-thousand", again(thousand()), &bad(100), &[by_good_day(1.2, 1.05)]),
        of("liars-30-again-thousand", again(thousand()), &bad(300), &[by_good_day(2.0, 1.3)]),
        of("dying", ten(), &halves(500, half(large())), &[by_good_day(1.10, 1.03)]),
        of("liars-10", ten(), &bad(1000), &[by_good_day(1.2, 1.05)]),
        of("liars-30", ten(), &bad(3000), &[by_good_day(2.0, 1.3)]),
        of("slow-tenth", ten(), &slow(1000), &[by_good_day(1.05, 1.01)]),
        of("origin-dies", ten(), &gone, &[all, by_good_day(2.0, 1.1)]),
        of("dying-thousand", thousand(), &halves(50, half(middle())), &[by_good_day(1.10, 1.03)]),
        of("liars-10-thousand", thousand(), &bad(100), &[by_good_day(1.2, 1.05)]),
        of("liars-30-thousand", thousand(), &bad(300), &[by_good_day(2.0, 1.3)]),
        of("slow-tenth-thousand", thousand(), &slow(100), &[by_good_day(1.05, 1.01)]),
        of("origin-dies-thousand", thousand(), &gone, &[all, by_good_day(2.0, 1.1)]),
        of("hiccups-thousand", thousand(), &hiccups, &[by_good_day(1.5, 1.2), received_copies()]),
        of("hiccups-hundred", hundred(), &hiccups, &[by_good_day(3.0, 2.0), received_copies()]),
        of("dying-hundred", hundred(), &halves(6, half(small())), &[by_good_day(1.10, 1.03)]),
        of("liars-10-hundred", hundred(), &bad(10), &[by_good_day(1.2, 1.05)]),
        of("liars-30-hundred", hundred(), &bad(30), &[by_good_day(2.0, 1.3)]),
        of("slow-tenth-hundred", hundred(), &slow(10), &[by_good_day(1.05, 1.01)]),
        of("slow-tenth-again-hundred", again(hundred()), &slow(10), &[by_good_day(1.05, 1.01)]),
        of("origin-dies-hundred", hundred(), &gone, &[all, by_good_day(2.0, 1.1)]),
        of("boasters-hundred", hundred(), &boasters, &[by_good_day(1.2, 1.05)]),
        of("late-hundred", hundred(), &late, &[of_others(1.2, 1.05), by_good_day(3.5, 3.0)]),
    ]
}

/// What is none of the others.
fn special() -> Vec<Scenario> {
    let joined = promise("p99 of joining, s", |outcome, _| outcome.joined(0.99), 60.0, 20.0);
    let dials = |outcome: &Outcome, _: Option<&Outcome>| outcome.dials as f64 / f64::from(outcome.measured);
    let storm = |agents| Plan {
        joining: Duration::from_secs(10),
        enrols: true,
        limit: Duration::from_secs(300),
        ..Plan::new(agents, GBIT, MIB)
    };
    let one = |name, is_small, plan, promises: &[Promise]| Scenario {
        name,
        is_small,
        plan,
        beside: None,
        promises: promises.to_vec(),
    };
    let racks = Plan { racks: Some((40, 10 * GBIT / 8)), ..Plan::new(1000, GBIT, 100 * MIB) };
    // Half a millisecond each way within a datacenter; five between two, where a single connection is bound by loss.
    let lossy = |micros| Plan {
        model: Model { loss_ppm: 20_000, delay: Duration::from_micros(micros), ..Model::DATACENTER },
        ..Plan::new(15, 50 * MBIT, 32 * MIB)
    };
    // Lines as offices have them: a quarter as much goes out as comes in.
    let narrow_up = Plan { rate_up: 25 * MBIT / 8, ..Plan::new(30, 100 * MBIT, 16 * MIB) };
    vec![
        one("small", true, Plan::new(1000, GBIT, KIB), &[millis("publish to last, ms", 20.0, 5.0)]),
        one("racks", false, racks, &[by_bound(4.5, 1.5), origin_copies(1.2, 1.05)]),
        one("lossy", true, lossy(500), &[by_unicast(2.0, 1.2)]),
        one("lossy-far", true, lossy(5000), &[by_unicast(2.0, 1.2)]),
        one("narrow-up", true, narrow_up, &[by_bound(1.3, 1.1), origin_copies(1.2, 1.05)]),
        one("join-storm", false, storm(10_000), &[joined, promise("dials / agent", dials, 40.0, 10.0)]),
        one("join-storm-thousand", true, storm(1000), &[joined, promise("dials / agent", dials, 40.0, 10.0)]),
        one("plain-road", true, Plan { neighbours: 0, ..Plan::new(4, GBIT, MIB) }, &[by_unicast(5.0, 4.2)]),
    ]
}
