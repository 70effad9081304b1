//! Sweeps worlds: `cargo run --release -p tiding-sim --example sweep -- [--seeds N] [--start S] [--threads T] [--stop F]`
//! (with `--all-strike` it is an error, too, when a kind of fault never struck),
//! or replays one: `... -- --seed N [-v]`, or prints the event hash of each seed (`--hashes`), which two builds and two
//! processes must agree on. Ends with an error when a promise was broken.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::process::ExitCode;
use std::time::Instant;
use tiding_sim::{Plan, replay, run_seed, sweep};

/// The number after a flag.
fn number(flag: &str, otherwise: u64) -> u64 {
    let after = std::env::args().skip_while(|word| word != flag).nth(1);
    after.and_then(|word| word.parse().ok()).unwrap_or(otherwise)
}

fn is_given(flag: &str) -> bool {
    std::env::args().any(|word| word == flag)
}

fn main() -> ExitCode {
    match (is_given("--seed"), is_given("--hashes")) {
        (true, _) => one(number("--seed", 0)),
        (_, true) => hashes(),
        _ => many(),
    }
}

fn hashes() -> ExitCode {
    let start = number("--start", 0);
    for seed in start..start + number("--seeds", 8) {
        match run_seed(seed, &Plan::default()) {
            Ok(outcome) => println!("{seed} {}", outcome.hash),
            Err(broken) => {
                println!("{seed} {broken}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn one(seed: u64) -> ExitCode {
    let plan = Plan::default();
    let ended = if is_given("-v") { replay(seed, &plan, |line| println!("{line}")) } else { run_seed(seed, &plan) };
    let broken = match ended {
        Ok(outcome) => {
            println!(
                "seed {seed}: {:.3} s, {} events, hash {}",
                outcome.virtual_time.as_secs_f64(),
                outcome.events,
                outcome.hash
            );
            println!("{}", outcome.strikes);
            outcome.broken
        }
        Err(panic) => vec![panic],
    };
    broken.iter().for_each(|broken| println!("{broken}"));
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many() -> ExitCode {
    let begun = Instant::now();
    let start = number("--start", 0);
    let threads = number("--threads", std::thread::available_parallelism().map_or(1, |n| n.get() as u64));
    let stop_after = number("--stop", 10) as usize;
    let report = sweep(start..start + number("--seeds", 2000), threads as usize, &Plan::default(), stop_after);
    println!("{report}in {:.1} s", begun.elapsed().as_secs_f64());
    let missing = if is_given("--all-strike") { report.strikes.missing() } else { Vec::new() };
    missing.iter().for_each(|strike| println!("never struck: {strike:?}"));
    if report.failures.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
