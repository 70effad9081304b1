//! Many worlds: one thread each, some at once; what they came to, in numbers.

use crate::check::{Broken, Promise};
use crate::plan::Plan;
use crate::strikes::Strikes;
use crate::world::{Outcome, World};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Runs the world of one seed.
///
/// ```
/// # use tiding_sim as sim;
/// let plan = sim::Plan::default();
/// assert_eq!(sim::run_seed(1, &plan).map(|outcome| outcome.hash), sim::run_seed(1, &plan).map(|outcome| outcome.hash));
/// ```
pub fn run_seed(seed: u64, plan: &Plan) -> Result<Outcome, Broken> {
    run_world(seed, plan, None)
}

/// Runs the world of one seed and tells every input and output, a line each.
pub fn replay(seed: u64, plan: &Plan, say: fn(&str)) -> Result<Outcome, Broken> {
    run_world(seed, plan, Some(say))
}

fn run_world(seed: u64, plan: &Plan, say: Option<fn(&str)>) -> Result<Outcome, Broken> {
    let run = || World::new(seed, plan, say).run();
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| Broken {
        promise: Promise::NoPanic,
        at: Duration::ZERO,
        words: panic_words(payload.as_ref()),
    })
}

fn panic_words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

/// What a sweep came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many worlds ran.
    pub worlds: u64,
    /// How many of them had three kinds of fault or more.
    pub rough: u64,
    /// The machines of all worlds, times how long each ran, in virtual time.
    pub node_time: Duration,
    /// Events in all worlds.
    pub events: u64,
    /// What really struck.
    pub strikes: Strikes,
    /// What was broken, by seed.
    pub failures: BTreeMap<u64, Vec<Broken>>,
}

impl Report {
    fn add(&mut self, seed: u64, outcome: Result<Outcome, Broken>) {
        self.worlds += 1;
        let broken = match outcome {
            Ok(outcome) => {
                self.rough += u64::from(outcome.kinds >= 3);
                self.node_time += outcome.virtual_time * outcome.nodes as u32;
                self.events += outcome.events;
                self.strikes.merge(&outcome.strikes);
                outcome.broken
            }
            Err(panic) => vec![panic],
        };
        if !broken.is_empty() {
            self.failures.insert(seed, broken);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.node_time.as_secs_f64() / 3600.0;
        writeln!(
            f,
            "{} worlds ({} with three kinds of fault or more), {hours:.1} simulated node-hours, {} events; what really struck:",
            self.worlds, self.rough, self.events
        )?;
        write!(f, "{}", self.strikes)?;
        for (seed, broken) in &self.failures {
            writeln!(f, "seed {seed} failed; replay it with `cargo xtask sim --seed {seed}`:")?;
            broken.iter().take(5).try_for_each(|broken| writeln!(f, "  {broken}"))?;
        }
        writeln!(f, "{} of {} worlds failed", self.failures.len(), self.worlds)
    }
}

/// Runs the worlds of these seeds on so many threads. Ends early after `stop_after` failures.
pub fn sweep(seeds: Range<u64>, threads: usize, plan: &Plan, stop_after: usize) -> Report {
    let next = AtomicU64::new(seeds.start);
    let report = Mutex::new(Report::default());
    let failures = |report: &Mutex<Report>| report.lock().map_or(usize::MAX, |report| report.failures.len());
    let work = || {
        while failures(&report) < stop_after.max(1) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = run_seed(seed, plan);
            if let Ok(mut report) = report.lock() {
                report.add(seed, outcome);
            }
        }
    };
    std::thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(work))));
    report.into_inner().unwrap_or_default()
}
