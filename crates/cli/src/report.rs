//! How far a rollout is, in lines: one for each phase while it lasts, a table at the end.

use crate::rollout::{Standing, Verdict};
use crate::screen::Screen;
use crate::table::Table;
use crate::words;
use node::api::Phase;
use node::escape::escape;
use std::collections::BTreeMap;
use std::time::Instant;

/// The phases that get a line, in order, with what is said while they last and after.
const PHASES: [(Phase, &str, &str); 4] = [
    (Phase::Complete, "spreading", "complete"),
    (Phase::Staged, "staging", "staged"),
    (Phase::Live, "switching", "live"),
    (Phase::Confirmed, "confirming", "confirmed"),
];

/// Tells the story of a rollout, phase by phase.
pub(crate) struct Story {
    bytes: u64,
    began: Instant,
    phase: usize,
}

impl Story {
    /// The story of so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { bytes, began: Instant::now(), phase: 0 }
    }

    /// Says what is new.
    pub(crate) fn tell(&mut self, standings: &[Standing], screen: &mut Screen) {
        let there: Vec<&Standing> =
            standings.iter().filter(|standing| !matches!(standing.verdict, Verdict::Absent(_))).collect();
        while let Some((phase, doing, done)) = PHASES.get(self.phase) {
            let reached = there.iter().filter(|standing| has_reached(standing, *phase)).count();
            let waiting = there.iter().filter(|standing| standing.verdict == Verdict::Going).count();
            if there.is_empty() || reached < there.len() && waiting > 0 {
                return screen.update(self.now(doing, &there, reached));
            }
            if reached > 0 {
                screen.keep(self.after(done, reached, there.len()));
            }
            self.phase += 1;
        }
    }

    fn now(&self, doing: &str, standings: &[&Standing], reached: usize) -> String {
        let nodes = format!("{doing:<10} {reached} of {}", words::count(standings.len(), "node"));
        if self.phase > 0 {
            return nodes;
        }
        let parts: Vec<(f64, &str)> =
            standings.iter().map(|standing| (part(standing), standing.name.as_str())).collect();
        let mean = parts.iter().map(|(part, _)| part).sum::<f64>() / parts.len().max(1) as f64;
        let slowest = parts.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        let slowest = slowest.map(|(part, name)| format!(", slowest {} {:.0} %", escape(name), part * 100.0));
        let took = self.began.elapsed();
        let carried = (self.bytes as f64 * parts.iter().map(|(part, _)| part).sum::<f64>()) as u64;
        let rate = words::rate(carried, took);
        let left = if mean > 0.01 { took.mul_f64((1.0 - mean) / mean) } else { return nodes };
        let left = words::duration(left);
        format!("{nodes}, {:.0} %, {rate} in all{}, {left} left", mean * 100.0, slowest.unwrap_or_default())
    }

    fn after(&self, done: &str, reached: usize, all: usize) -> String {
        let took = self.began.elapsed();
        let line = format!("{done:<10} {reached} of {} after {}", words::count(all, "node"), words::duration(took));
        match self.phase {
            0 if self.bytes > 0 => format!("{line}, {} in all", words::rate(self.bytes * reached as u64, took)),
            _ => line,
        }
    }
}

fn has_reached(standing: &Standing, phase: Phase) -> bool {
    let Some(app) = &standing.app else { return false };
    match phase {
        Phase::Confirmed => standing.verdict == Verdict::Confirmed,
        _ => app.phase >= phase && app.phase <= Phase::Confirmed,
    }
}

fn part(standing: &Standing) -> f64 {
    standing.app.as_ref().map_or(0.0, |app| f64::from(app.have) / f64::from(app.total.max(1)))
}

/// The table at the end.
pub(crate) fn table(standings: &[Standing]) -> Vec<String> {
    let mut table = Table::new(&[
        "node",
        "state",
        ">first byte",
        ">complete",
        ">live",
        ">confirmed ms",
        ">from origin",
        ">from peers",
        ">had",
    ]);
    for standing in standings {
        let Some(app) = &standing.app else {
            let nothing = std::iter::repeat_n("-".to_owned(), 7);
            let cells = [escape(&standing.name), state(standing).to_owned()].into_iter().chain(nothing);
            table.row(cells.collect());
            continue;
        };
        let times =
            [app.timeline.first_byte_us, app.timeline.complete_us, app.timeline.live_us, app.timeline.confirmed_us];
        let bytes = [app.from_origin, app.from_peers, app.had];
        let cells = [escape(&standing.name), state(standing).to_owned()].into_iter();
        table.row(cells.chain(times.map(words::millis)).chain(bytes.map(words::size)).collect());
    }
    table.lines()
}

/// In one word.
fn state(standing: &Standing) -> &'static str {
    match (&standing.verdict, standing.app.as_ref().map(|app| app.phase)) {
        (Verdict::Confirmed, _) => "confirmed",
        (Verdict::Absent(_), _) => "unreachable",
        (_, Some(Phase::FellBack)) => "fell back",
        (Verdict::GivenUp(_), _) => "failed",
        (Verdict::Going, Some(phase)) => phase_word(phase),
        (Verdict::Going, None) => "waiting",
    }
}

/// A phase in one word.
pub(crate) fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Told => "told",
        Phase::Fetching => "fetching",
        Phase::Complete => "complete",
        Phase::Staged => "staged",
        Phase::Live => "live",
        Phase::Confirmed => "confirmed",
        Phase::Failed => "failed",
        Phase::FellBack => "fell back",
    }
}

/// Who is not confirmed and why, a line for each reason.
pub(crate) fn reasons(standings: &[Standing]) -> Vec<String> {
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for standing in standings {
        if let Verdict::GivenUp(why) | Verdict::Absent(why) = &standing.verdict {
            by_reason.entry(escape(why)).or_default().push(escape(&standing.name));
        }
    }
    by_reason.into_iter().map(|(why, names)| format!("{}: {why}", some(&names))).collect()
}

/// The first few names, and how many more there are.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len() {
        0..=SHOWN => names.join(", "),
        all => format!("{} and {} more", names[..SHOWN].join(", "), all - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_many_nodes_have_is_said_once() {
        let standing = |number: usize, why: &str| Standing {
            name: format!("node-{number}"),
            verdict: Verdict::GivenUp(why.to_owned()),
            app: None,
        };
        let mut standings: Vec<Standing> = (1..=7).map(|number| standing(number, "disk full")).collect();
        standings.push(standing(8, "fell\x1b over"));
        assert_eq!(
            reasons(&standings),
            ["node-1, node-2, node-3, node-4, node-5 and 2 more: disk full", "node-8: fell\\u{1b} over"]
        );
    }
}
