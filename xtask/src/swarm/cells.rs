//! The cells of the laboratory: how many hosts, on what links, with what file, what goes wrong, and what is promised there.

use anyhow::{Context, Result};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A bound that must be kept, and one that is aimed at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) must: f64,
    pub(crate) aim: f64,
}

const fn bounds(must: f64, aim: f64) -> Option<Bounds> {
    Some(Bounds { must, aim })
}

/// What the source may send, in copies of the file.
const SOURCE: Option<Bounds> = bounds(1.2, 1.05);
/// What all hosts may send for each receiver.
const EACH: Option<Bounds> = bounds(1.05, 1.02);
/// Processor seconds for each GiB delivered.
const CPU: Option<Bounds> = bounds(2.2, 1.8);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mishap {
    Nothing,
    /// One host has a link of so many Mbit/s.
    Slow(u32),
    /// One host dies so many seconds after the start.
    Killed(f64),
}

/// The host that it happens to.
const STRUCK: u32 = 3;

/// A broadcast as it is measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Hosts, the source among them.
    pub(crate) hosts: u32,
    /// Mbit/s of each link, each way.
    pub(crate) mbit: Option<u32>,
    /// The file.
    pub(crate) bytes: u64,
    mishap: Mishap,
    /// The scenario of the simulator with the same parameters.
    pub(crate) scenario: Option<&'static str>,
    /// When the last receiver may have it: in unicasts, or in milliseconds where links have no limit.
    pub(crate) last: Option<Bounds>,
    pub(crate) source: Option<Bounds>,
    pub(crate) each: Option<Bounds>,
    pub(crate) cpu: Option<Bounds>,
}

/// The cells that are measured when none is named.
pub(crate) fn usual() -> Vec<Cell> {
    all().into_iter().filter(|cell| cell.name != TINY).collect()
}

/// The cell of that name.
pub(crate) fn named(name: &str) -> Result<Cell> {
    let cell = all().into_iter().find(|cell| cell.name == name);
    cell.with_context(|| format!("there is no cell {name}; these are there:\n{}", list()))
}

/// Names and descriptions, a line each.
pub(crate) fn list() -> String {
    all().iter().map(|cell| format!("{:10} {}\n", cell.name, cell.about())).collect()
}

const TINY: &str = "tiny";

fn all() -> Vec<Cell> {
    let shaped = |name, hosts, mbit, bytes, last| Cell {
        name,
        hosts,
        mbit: Some(mbit),
        bytes,
        mishap: Mishap::Nothing,
        scenario: None,
        last,
        source: SOURCE,
        each: EACH,
        cpu: None,
    };
    let foretold = |scenario, cell| Cell { scenario: Some(scenario), ..cell };
    let with = |mishap, cell| Cell { mishap, ..cell };
    let unlimited =
        |name, bytes, last, cpu| Cell { mbit: None, source: None, each: None, cpu, ..shaped(name, 16, 0, bytes, last) };
    vec![
        foretold("lab-16-50", shaped("16-50", 16, 50, 32 * MIB, bounds(1.15, 1.07))),
        foretold("lab-32-25", shaped("32-25", 32, 25, 32 * MIB, bounds(1.15, 1.08))),
        foretold("lab-64-10", shaped("64-10", 64, 10, 16 * MIB, bounds(1.20, 1.10))),
        foretold("lab-1MiB", shaped("1MiB", 16, 50, MIB, bounds(1.5, 1.25))),
        foretold("lab-100MiB", shaped("100MiB", 16, 50, 100 * MIB, bounds(1.10, 1.06))),
        foretold("lab-slow", with(Mishap::Slow(10), shaped("slow", 16, 50, 32 * MIB, bounds(1.30, 1.10)))),
        foretold("lab-killed", with(Mishap::Killed(2.0), shaped("killed", 16, 50, 32 * MIB, bounds(1.30, 1.10)))),
        foretold("lab-unlimited", unlimited("unlimited", MIB, bounds(60.0, 20.0), None)),
        foretold("lab-cpu", unlimited("cpu", 128 * MIB, None, CPU)),
        Cell { source: None, each: None, ..shaped(TINY, 4, 20, 4 * MIB, None) },
    ]
}

impl Cell {
    /// In words.
    pub(crate) fn about(&self) -> String {
        let links = self.mbit.map_or("no limit".to_owned(), |mbit| format!("{mbit} Mbit/s"));
        let mishap = match self.mishap {
            Mishap::Nothing => String::new(),
            Mishap::Slow(mbit) => format!(", one host at {mbit} Mbit/s, last of the others"),
            Mishap::Killed(after) => format!(", one host killed at {after} s, last survivor"),
        };
        format!("{} hosts, {links}, {}{mishap}", self.hosts, length(self.bytes))
    }

    /// Hosts that receive, whatever happens to them.
    pub(crate) fn receivers(&self) -> f64 {
        f64::from(self.hosts - 1)
    }

    /// One unicast of the file at full rate, in seconds: B = F / R.
    pub(crate) fn unicast(&self) -> Option<f64> {
        self.mbit.map(|mbit| self.bytes as f64 * 8.0 / (f64::from(mbit) * 1e6))
    }

    /// What the laboratory is told.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut words = vec![
            format!("--n={}", self.hosts),
            format!("--rate={}", self.mbit.unwrap_or(0)),
            format!("--size={}", self.bytes),
            format!("--limit={:.0}", self.limit()),
        ];
        match self.mishap {
            Mishap::Nothing => {}
            Mishap::Slow(mbit) => words.push(format!("--slow={STRUCK}:{mbit}")),
            Mishap::Killed(after) => words.push(format!("--kill={STRUCK}:{after}")),
        }
        words
    }

    /// Seconds after which a run is said never to end: more than any tool takes here that ends at all.
    fn limit(&self) -> f64 {
        10.0 + self.unicast().map_or(10.0, |unicast| unicast * 12.0)
    }
}

fn length(bytes: u64) -> String {
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{} KiB", bytes / KIB) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unicast_is_the_file_by_the_rate() {
        let cell = named("16-50").expect("it is there");
        assert!((cell.unicast().expect("it has a rate") - 5.369).abs() < 0.001);
        assert_eq!(named("unlimited").expect("it is there").unicast(), None);
    }

    #[test]
    fn the_laboratory_is_told_what_goes_wrong() {
        let words = |name| named(name).expect("it is there").arguments().join(" ");
        assert_eq!(words("slow"), "--n=16 --rate=50 --size=33554432 --limit=74 --slow=3:10");
        assert_eq!(words("killed"), "--n=16 --rate=50 --size=33554432 --limit=74 --kill=3:2");
        assert_eq!(words("unlimited"), "--n=16 --rate=0 --size=1048576 --limit=20");
    }

    #[test]
    fn the_cell_for_trying_things_out_is_measured_only_when_named() {
        assert!(usual().iter().all(|cell| cell.name != TINY));
        assert!(named(TINY).is_ok());
    }
}
