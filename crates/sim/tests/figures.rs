//! The figures of the small scenarios: none gets worse unnoticed.

use tiding_sim::flock::figures::measure;
use tiding_sim::flock::run;
use tiding_sim::flock::scenario::{self, Scenario};

/// What small scenarios must keep to and do not: `docs/performance.md` says why.
const MISSED: [(&str, &str); 12] = [
    ("lab-64-10", "last / B"),
    ("lab-1MiB", "last / B"),
    ("lab-unlimited", "publish to last, ms"),
    ("lab-cpu", "CPU s / GiB"),
    ("hundred", "last / T*"),
    ("dying-hundred", "last / last on a good day"),
    ("liars-10-hundred", "last / last on a good day"),
    ("liars-30-hundred", "last / last on a good day"),
    ("slow-tenth-hundred", "last / last on a good day"),
    ("slow-tenth-again-hundred", "last / last on a good day"),
    ("boasters-hundred", "last / last on a good day"),
    ("lossy-far", "last / B"),
];

/// How many seeds the expected figures are had from.
const SEEDS: u64 = 5;

#[test]
fn no_small_scenario_is_slower_than_expected() {
    let small: Vec<Scenario> = scenario::all().into_iter().filter(|scenario| scenario.is_small).collect();
    let figures = measure(&small, SEEDS, 2);
    let unknown = figures.not_known(&MISSED);
    assert!(unknown.is_empty(), "{figures}\n{}", unknown.join("\n"));
    let worse = figures.worse_than(include_str!("../expected.txt"));
    assert!(
        worse.is_empty(),
        "{figures}\n{}\nIf this is on purpose, `cargo xtask sim --expect` rewrites crates/sim/expected.txt.",
        worse.join("\n")
    );
}

#[test]
fn a_seed_gives_the_same_day_twice() {
    let scenario = scenario::named("liars-10-hundred").expect("it exists");
    assert_eq!(run(&scenario.plan, 7), run(&scenario.plan, 7));
}
