//! Measures scenarios of flocks: `cargo run --release -p tiding-sim --example flock -- [NAME ...] [--seeds N] [--threads T]`.
//! Without names the small ones are run, with `--large` the large ones; `--list` names them. `--expect` prints the file of
//! expected figures. `--one SEED` tells more of one run: times, counts, speed. `--mib N` publishes another
//! length, `--agents N` has another number of agents, `--kbit N` other links.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::process::ExitCode;
use std::time::Instant;
use tiding_sim::flock::figures::measure;
use tiding_sim::flock::scenario::{self, Scenario};
use tiding_sim::flock::{Arrivals, Outcome, Progress, run_telling};

fn after(flag: &str) -> Option<u64> {
    std::env::args().skip_while(|word| word != flag).nth(1)?.parse().ok()
}

fn is_given(flag: &str) -> bool {
    std::env::args().any(|word| word == flag)
}

/// The scenarios that are asked for; or the first word that names none.
fn chosen() -> Result<Vec<Scenario>, String> {
    let words = std::env::args().skip(1).filter(|word| word.parse::<u64>().is_err() && !word.starts_with('-'));
    let named: Result<Vec<Scenario>, String> = words.map(|name| scenario::named(&name).ok_or(name)).collect();
    let named = named?;
    let large = is_given("--large");
    let rest = scenario::all().into_iter().filter(|scenario| scenario.is_small != large);
    Ok(if named.is_empty() { rest.collect() } else { named })
}

fn main() -> ExitCode {
    let mut scenarios = match chosen() {
        Ok(scenarios) => scenarios,
        Err(name) => {
            println!("there is no scenario {name}; --list names them");
            return ExitCode::FAILURE;
        }
    };
    if is_given("--list") {
        scenario::all().iter().for_each(|scenario| println!("{}", scenario.name));
        return ExitCode::SUCCESS;
    }
    if let Some(mib) = after("--mib") {
        scenarios.iter_mut().for_each(|scenario| scenario.plan.bytes = mib << 20);
    }
    if let Some(agents) = after("--agents") {
        scenarios.iter_mut().for_each(|scenario| scenario.plan.agents = agents as u32);
    }
    if let Some(kbit) = after("--kbit") {
        scenarios
            .iter_mut()
            .for_each(|scenario| (scenario.plan.rate, scenario.plan.rate_up) = (kbit * 125, kbit * 125));
    }
    if let Some(seed) = after("--one") {
        scenarios.iter().for_each(|scenario| one(scenario, seed));
        return ExitCode::SUCCESS;
    }
    let threads =
        after("--threads").unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() as u64));
    let figures = measure(&scenarios, after("--seeds").unwrap_or(5), threads as usize);
    if is_given("--expect") {
        print!("{}", figures.to_expect())
    } else {
        print!("{figures}")
    }
    ExitCode::SUCCESS
}

fn one(scenario: &Scenario, seed: u64) {
    let begun = Instant::now();
    let outcome = run_telling(&scenario.plan, seed, |progress| tell(begun, progress));
    let took = begun.elapsed().as_secs_f64();
    println!("{} on seed {seed}: {}", scenario.name, scenario.plan.model);
    times(&outcome);
    if let Some((at, share)) = outcome.origin_died {
        println!("  the origin died after {:.4} s, when {:.1} % had all", at.as_secs_f64(), share * 100.0);
    }
    stretches(&outcome);
    let Outcome { late, plain, convicted, dials, .. } = outcome;
    println!("  {late} deadlines missed, {plain} times the plain road, {convicted} convictions, {dials} dials");
    let Outcome { deliveries, messages, events, .. } = outcome;
    println!("  {deliveries} deliveries, {messages} messages, {events} events in {took:.1} s");
    if let Some((cpu, memory)) = spent() {
        println!(
            "  {:.0} deliveries a second of a processor ({cpu:.1} s); {memory} MiB at the most",
            deliveries as f64 / cpu
        );
    }
}

/// The processor time of this process so far, in seconds, and the most memory that it had, in MiB.
fn spent() -> Option<(f64, u64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    // A tick is a hundredth of a second, for every program.
    Some((ticks.max(1) as f64 / 100.0, peak.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024))
}

/// Says how far a long run is, beside what it prints at its end.
fn tell(begun: Instant, progress: Progress) {
    let Progress { events, now, published, deliveries, waiting } = progress;
    let (since, took) = (now.as_secs_f64() - published.as_secs_f64(), begun.elapsed().as_secs());
    eprintln!(
        "  after {took} s: {since:.3} s since it was published, {deliveries} deliveries, {events} events, {waiting} have not all"
    );
}

fn times(outcome: &Outcome) {
    let at = |part| outcome.quantile(part);
    println!(
        "  first {:.4} s, p10 {:.4}, p50 {:.4}, p99 {:.4}, p99.9 {:.4}, last {:.4}; {} of {} have all; B {:.4} s, T* {:.4} s",
        at(0.0),
        at(0.1),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        outcome.complete.len(),
        outcome.measured,
        outcome.unicast.as_secs_f64(),
        outcome.bound.as_secs_f64()
    );
    println!(
        "  last / B {:.4}, last / T* {:.4}; the origin sent {:.3} copies, each received {:.3}; joined p99 {:.3} s",
        outcome.last_by_unicast(),
        outcome.last_by_bound(),
        outcome.origin_copies,
        outcome.received_copies,
        outcome.joined(0.99)
    );
}

/// What came in each stretch, as parts of what the links of those that are measured can take.
fn stretches(outcome: &Outcome) {
    let Some(diary) = &outcome.diary else { return };
    let pieces = outcome.bytes as f64 / 65_536.0 * diary.each.as_secs_f64() / outcome.unicast.as_secs_f64();
    let full = pieces * f64::from(outcome.measured);
    println!("    until s    came  twice  to others  asked    benched: guilty, innocent");
    for (nth, stretch) in diary.stretches.iter().enumerate() {
        let part = |count: u64| count as f64 / full;
        println!(
            "    {:7.3}  {:6.3} {:6.3}     {:6.3} {:6.3}    {:4} {:4}",
            diary.each.as_secs_f64() * (nth + 1) as f64,
            part(stretch.came),
            part(stretch.twice),
            part(stretch.to_others),
            part(stretch.asked),
            stretch.guilty,
            stretch.innocent
        );
    }
    let arrival = |piece: &Arrivals| [piece.first, piece.mean(), piece.last].map(|after| after.as_secs_f64() * 1000.0);
    println!("pieces: to the first, on average, to the last, ms");
    for (nth, piece) in diary.pieces.iter().enumerate() {
        let [first, mean, last] = arrival(piece);
        println!("  {nth:>6} {first:>9.1} {mean:>9.1} {last:>9.1}");
    }
}
