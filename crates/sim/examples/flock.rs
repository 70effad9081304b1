//! Runs scenarios of flocks: `cargo run --release -p tiding-sim --example flock -- [NAME ...] [--seeds N] [--threads T] [-v]`.
//! Without names all are run, with `--small` the small ones. Every figure is printed with its bounds and the model it was
//! had from.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::Instant;
use tiding_sim::flock::{Outcome, run, scenario};

/// The number after a flag.
fn number(flag: &str, otherwise: u64) -> u64 {
    let after = std::env::args().skip_while(|word| word != flag).nth(1);
    after.and_then(|word| word.parse().ok()).unwrap_or(otherwise)
}

fn main() {
    let names: Vec<String> =
        std::env::args().skip(1).filter(|w| w.parse::<u64>().is_err() && !w.starts_with('-')).collect();
    for name in names {
        let Some(mut scenario) = scenario::named(&name) else {
            println!("there is no scenario {name}");
            continue;
        };
        scenario.plan.bytes = number("--mib", scenario.plan.bytes >> 20).max(1) << 20;
        println!("{name}: {}", scenario.plan.model);
        for seed in 0..number("--seeds", 1) {
            let begun = Instant::now();
            let outcome = run(&scenario.plan, seed);
            let good = scenario.beside.and_then(scenario::named).map(|good| run(&good.plan, seed));
            let took = begun.elapsed().as_secs_f64();
            for promise in &scenario.promises {
                let figure = (promise.measure)(&outcome, good.as_ref());
                println!("  seed {seed} {} {figure:.4} (must {}, aim {})", promise.what, promise.must, promise.aim);
            }
            println!("    {}", told(&outcome, took));
        }
    }
}

fn told(o: &Outcome, took: f64) -> String {
    format!(
        "first {:.4} p10 {:.4} p50 {:.4} p99 {:.4} last {:.4} s; B {:.4}; {} of {} complete; origin {:.3}, received {:.3}; {} late, {} plain, {} convicted; join p99 {:.3}; dials {}; {} deliveries, {} messages, {} events in {took:.1} s: {:.0} deliveries/s",
        o.quantile(0.0),
        o.quantile(0.1),
        o.quantile(0.5),
        o.quantile(0.99),
        o.last(),
        o.unicast.as_secs_f64(),
        o.complete.len(),
        o.measured,
        o.origin_copies,
        o.received_copies,
        o.late,
        o.plain,
        o.convicted,
        o.joined(0.99),
        o.dials,
        o.deliveries,
        o.messages,
        o.events,
        o.deliveries as f64 / took
    )
}
