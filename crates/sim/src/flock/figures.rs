//! Scenarios on many seeds: the median and the worst of every measure, beside what was promised and what is expected.
//!
//! What is expected is kept in a file, so that nobody makes a broadcast slower without knowing: a median that is worse than
//! expected by more than [`SLACK`] fails until the file is rewritten on purpose.

use super::model::Model;
use super::outcome::Outcome;
use super::run::run;
use super::scenario::{Scenario, named};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much worse than expected a median may be.
pub const SLACK: f64 = 0.02;

/// A measure on all seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Of which scenario.
    pub scenario: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// The median over the seeds.
    pub median: f64,
    /// The worst.
    pub worst: f64,
    /// It must not be above this.
    pub must: f64,
    /// It aims at this.
    pub aim: f64,
}

/// What some scenarios came to.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    seeds: u64,
    models: BTreeMap<&'static str, Model>,
    /// In the order of the scenarios.
    pub figures: Vec<Figure>,
}

/// Runs scenarios on so many seeds, on so many threads.
pub fn measure(scenarios: &[Scenario], seeds: u64, threads: usize) -> Figures {
    let outcomes = outcomes(scenarios, seeds, threads);
    let figures = scenarios.iter().flat_map(|scenario| figures_of(scenario, seeds, &outcomes)).collect();
    Figures { seeds, models: scenarios.iter().map(|scenario| (scenario.name, scenario.plan.model)).collect(), figures }
}

type Outcomes = BTreeMap<(&'static str, u64), Outcome>;

/// Every scenario, and every good day that one is compared with, once on each seed.
fn outcomes(scenarios: &[Scenario], seeds: u64, threads: usize) -> Outcomes {
    let beside = scenarios.iter().filter_map(|scenario| scenario.beside).filter_map(named);
    let all: BTreeMap<&'static str, Scenario> =
        beside.chain(scenarios.iter().cloned()).map(|scenario| (scenario.name, scenario)).collect();
    let jobs: Vec<(&Scenario, u64)> =
        all.values().flat_map(|scenario| (0..seeds).map(move |seed| (scenario, seed))).collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Outcomes::new()));
    let work = || {
        while let Some((scenario, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = run(&scenario.plan, *seed);
            if let Ok(mut done) = done.lock() {
                done.insert((scenario.name, *seed), outcome);
            }
        }
    };
    std::thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(work))));
    done.into_inner().unwrap_or_default()
}

fn figures_of(scenario: &Scenario, seeds: u64, outcomes: &Outcomes) -> Vec<Figure> {
    let figure = |promise: &super::scenario::Promise| {
        let on = |seed| {
            let good = scenario.beside.and_then(|name| outcomes.get(&(name, seed)));
            Some((promise.measure)(outcomes.get(&(scenario.name, seed))?, good))
        };
        let mut rising: Vec<f64> = (0..seeds).filter_map(on).collect();
        rising.sort_unstable_by(f64::total_cmp);
        Figure {
            scenario: scenario.name,
            what: promise.what,
            median: rising.get(rising.len() / 2).copied().unwrap_or(f64::NAN),
            worst: rising.last().copied().unwrap_or(f64::NAN),
            must: promise.must,
            aim: promise.aim,
        }
    };
    scenario.promises.iter().map(figure).collect()
}

impl Figures {
    /// The file of expected medians.
    pub fn to_expect(&self) -> String {
        let head =
            "# Medians of the small scenarios on five seeds; `cargo xtask sim --expect` rewrites them.\n".to_owned();
        let models = self.model_lines().map(|line| format!("# {line}\n")).collect::<String>();
        let line = |figure: &Figure| format!("{}\t{}\t{:.4}\n", figure.scenario, figure.what, figure.median);
        self.figures.iter().map(line).fold(head + &models, |file, line| file + &line)
    }

    /// What was modelled, and for which scenarios.
    fn model_lines(&self) -> impl Iterator<Item = String> {
        let mut models: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, model) in &self.models {
            models.entry(model.to_string()).or_default().push(name);
        }
        models.into_iter().map(|(model, names)| format!("{}: {model}", names.join(", ")))
    }

    /// What is not as well as it must be, and not known to be so; and what is known to be and is as well by now, in words.
    pub fn not_known(&self, missed: &[(&str, &str)]) -> Vec<String> {
        let judge = |figure: &Figure| {
            let Figure { scenario, what, median, must, .. } = figure;
            match (median > must, missed.contains(&(scenario, what))) {
                (true, false) => Some(format!("{scenario}: {what} is {median:.4} and must be {must}")),
                (false, true) => {
                    Some(format!("{scenario}: {what} is {median:.4}, as it must be: it is missed no more"))
                }
                _ => None,
            }
        };
        self.figures.iter().filter_map(judge).collect()
    }

    /// What is worse than the file says, or not in it, in words.
    pub fn worse_than(&self, file: &str) -> Vec<String> {
        let expected: BTreeMap<(&str, &str), f64> = file.lines().filter_map(read).collect();
        let judge = |figure: &Figure| match expected.get(&(figure.scenario, figure.what)) {
            None => Some(format!("{}: nothing is expected of {}", figure.scenario, figure.what)),
            Some(expected) if figure.median <= expected * (1.0 + SLACK) => None,
            Some(expected) => {
                let Figure { scenario, what, median, .. } = figure;
                Some(format!("{scenario}: {what} is {median:.4}, and {expected:.4} was expected"))
            }
        };
        self.figures.iter().filter_map(judge).collect()
    }
}

fn read(line: &str) -> Option<((&str, &str), f64)> {
    let mut fields = line.split('\t');
    let (scenario, what, figure) = (fields.next()?, fields.next()?, fields.next()?);
    Some(((scenario, what), figure.parse().ok()?))
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.model_lines() {
            writeln!(f, "{line}")?;
        }
        let head = format!("of {} seeds", self.seeds);
        writeln!(f, "{:20} {:28} {:>9} {:>9} {:>7} {:>7}  {head}", "", "", "median", "worst", "must", "aim")?;
        for Figure { scenario, what, median, worst, must, aim } in &self.figures {
            let met = if median > must { "MISSED" } else { "" };
            writeln!(f, "{scenario:20} {what:28} {median:>9.4} {worst:>9.4} {must:>7} {aim:>7}  {met}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(median: f64) -> Figures {
        let figure = Figure { scenario: "a", what: "last / B", median, worst: 9.0, must: 1.2, aim: 1.1 };
        Figures { seeds: 5, models: BTreeMap::new(), figures: vec![figure] }
    }

    #[test]
    fn a_figure_may_be_better_than_expected_or_a_little_worse() {
        let file = figures(1.0).to_expect();
        for (median, worse) in [(0.5, 0), (1.0, 0), (1.019, 0), (1.03, 1), (f64::INFINITY, 1), (f64::NAN, 1)] {
            assert_eq!(figures(median).worse_than(&file).len(), worse, "{median}");
        }
        assert_eq!(figures(1.0).worse_than("").len(), 1);
    }
}
