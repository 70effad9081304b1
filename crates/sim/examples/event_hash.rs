//! Prints the event hash of each seed in a range, a line each: two builds, two processes, two machines must agree.
//!
//! `cargo run -p tiding-sim --example event_hash -- [START] [COUNT]`

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::process::ExitCode;
use tiding_sim::{Plan, run_seed};

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map_while(|word| word.parse::<u64>().ok());
    let (start, count) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(8));
    for seed in start..start + count {
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
