//! The figures of the small scenarios: none gets worse unnoticed.

use tiding_sim::flock::figures::measure;
use tiding_sim::flock::run;
use tiding_sim::flock::scenario::{self, Scenario};

/// How many seeds the expected figures are had from.
const SEEDS: u64 = 5;

#[test]
fn no_small_scenario_is_slower_than_expected() {
    let small: Vec<Scenario> = scenario::all().into_iter().filter(|scenario| scenario.is_small).collect();
    let figures = measure(&small, SEEDS, 2);
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
