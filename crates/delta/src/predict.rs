//! What a reference of the old file is expected to say in the new one.
//!
//! The target of a reference moves as the run of bytes moves that it is in; a target in no run moves as the nearest known
//! one before it. Where that was wrong, the patch says so, and the same target is expected right from then on.
//!
//! Invariant: a prediction is a function of the old file, the runs, the layout of the new file and the corrections so far,
//! in integers; so whoever makes a patch and whoever applies it predict the same.

use crate::elf::Map;
use crate::matching::Equivalence;
use crate::references::{Kind, Reference};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// No address is this one: everything ends before it.
const UNKNOWN: u32 = u32::MAX;

/// How many runs before a place are asked whether they cover it.
const COVERING: usize = 12;

/// What a reference is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expectation {
    /// The bytes.
    pub(crate) word: u64,
    /// The address that they name.
    pub(crate) target: u32,
    /// The base from which they are counted.
    pub(crate) base: u32,
    pub(crate) trust: Trust,
}

/// By what a target is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// A correction.
    Corrected,
    /// A run that it is in.
    Moved,
    /// The nearest address before it of which something is known.
    Nearest,
}

/// Whether such a reference counts from an address of its own.
fn counts(kind: Kind) -> bool {
    matches!(kind, Kind::Offset | Kind::Words)
}

/// Predicts references, run by run.
pub(crate) struct Predictor<'a> {
    old: &'a Map,
    new: &'a Map,
    /// The addresses of the old file that references name or count from, ascending.
    addresses: Vec<u32>,
    /// Where each is in the new file by the runs, or [`UNKNOWN`].
    moved: Vec<u32>,
    /// All of these in their order: what references name is mostly among them.
    pool: Vec<u32>,
    /// What a correction said of each, or [`UNKNOWN`].
    corrected: Vec<u32>,
    /// What was said of each as the beginning of a table, or [`UNKNOWN`].
    tables: Vec<u32>,
    /// Old addresses whose new ones were said: the beginnings of sections, and corrections.
    said: BTreeMap<u32, u32>,
    /// Where tables begin that are not to be guessed.
    bases: &'a [(u32, u32)],
}

impl<'a> Predictor<'a> {
    pub(crate) fn new(
        references: &[Reference],
        runs: &[Equivalence],
        old: &'a Map,
        new: &'a Map,
        said: BTreeMap<u32, u32>,
        bases: &'a [(u32, u32)],
    ) -> Self {
        let counted = references.iter().filter(|reference| counts(reference.kind)).map(|reference| reference.base);
        let mut addresses: Vec<u32> = references.iter().map(|reference| reference.target).chain(counted).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.shrink_to_fit();
        let runs = Runs::new(runs);
        let moved = |address: &u32| old.place(*address).and_then(|place| new.address(runs.place(place)?));
        let moved: Vec<u32> = addresses.iter().map(|address| moved(address).unwrap_or(UNKNOWN)).collect();
        let mut pool = moved.clone();
        pool.sort_unstable();
        pool.dedup();
        let unknown = vec![UNKNOWN; addresses.len()];
        Self { old, new, moved, pool, corrected: unknown.clone(), tables: unknown, addresses, said, bases }
    }

    /// What a reference inside `run` will be; `here` is the address where it stands in the new file, `word` its old bytes.
    pub(crate) fn expect(&mut self, reference: &Reference, run: &Equivalence, here: u32, word: u64) -> Expectation {
        let (target, trust) = self.target(reference.target);
        let base = match reference.kind {
            kind if counts(kind) => self.base(reference.base, run),
            _ => reference.base,
        };
        Expectation { word: reference.kind.body(word, here, base, target), target, base, trust }
    }

    /// The number of a target among those that are known, or of the first one behind it.
    pub(crate) fn rank(&self, target: u32) -> Result<usize, usize> {
        self.pool.binary_search(&target)
    }

    /// The target of a number.
    pub(crate) fn ranked(&self, number: i64) -> Option<u32> {
        self.pool.get(usize::try_from(number).ok()?).copied()
    }

    /// From now on, references to the old address name the new one.
    pub(crate) fn correct(&mut self, old: u32, new: u32) {
        if let Some(number) = self.number(old) {
            self.corrected[number] = new;
        }
        self.said.insert(old, new);
    }

    fn number(&self, address: u32) -> Option<usize> {
        self.addresses.binary_search(&address).ok()
    }

    fn target(&self, address: u32) -> (u32, Trust) {
        let number = self.number(address);
        let known = |from: &[u32]| number.map(|number| from[number]).filter(|new| *new != UNKNOWN);
        if let Some(new) = known(&self.corrected) {
            return (new, Trust::Corrected);
        }
        match known(&self.moved) {
            Some(new) => (new, Trust::Moved),
            None => (self.nearest(address), Trust::Nearest),
        }
    }

    /// A table in the run moves with it, and is remembered for its rows in other runs.
    fn base(&mut self, address: u32, run: &Equivalence) -> u32 {
        if let Some(base) = self.bases.iter().find(|base| base.0 == address) {
            return base.1;
        }
        let number = self.number(address);
        let place = self.old.place(address).filter(|place| (run.old..run.old + run.len).contains(place));
        if let Some(new) = place.and_then(|place| self.new.address(place - run.old + run.new)) {
            if let Some(number) = number {
                self.tables[number] = new;
            }
            return new;
        }
        let known = |from: &[u32]| number.map(|number| from[number]).filter(|new| *new != UNKNOWN);
        known(&self.tables)
            .or_else(|| self.said.get(&address).copied())
            .or_else(|| known(&self.moved))
            .unwrap_or_else(|| self.nearest(address))
    }

    fn nearest(&self, address: u32) -> u32 {
        match self.said.range(..=address).next_back() {
            Some((old, new)) => (address - old).wrapping_add(*new),
            None => address,
        }
    }
}

/// Runs by where they are in the old file.
pub(crate) struct Runs(Vec<Equivalence>);

impl Runs {
    pub(crate) fn new(runs: &[Equivalence]) -> Self {
        let mut runs = runs.to_vec();
        runs.sort_by_key(|run| (run.old, Reverse(run.len), run.new));
        Self(runs)
    }

    /// Of the runs that cover a place and begin nearest, the one with the least distance.
    pub(crate) fn nearest(&self, old: u32, distance: impl Fn(&Equivalence) -> u32) -> Option<&Equivalence> {
        let next = self.0.partition_point(|run| run.old <= old);
        let near = &self.0[next.saturating_sub(COVERING)..next];
        near.iter().rev().filter(|run| old - run.old < run.len).min_by_key(|run| distance(run))
    }

    /// Where in the new file a place of the old one is: in the longest run that covers it, of those that begin nearest.
    pub(crate) fn place(&self, old: u32) -> Option<u32> {
        let next = self.0.partition_point(|run| run.old <= old);
        let near = &self.0[next.saturating_sub(COVERING)..next];
        let covering = near.iter().rev().filter(|run| old - run.old < run.len);
        let longest = covering.fold(None, |best: Option<&Equivalence>, run| match best {
            Some(best) if best.len >= run.len => Some(best),
            _ => Some(run),
        });
        longest.map(|run| old - run.old + run.new)
    }
}
