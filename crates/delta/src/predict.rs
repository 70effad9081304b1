//! What a reference of the old file is expected to say in the new one.
//!
//! The target of a reference moves as the run of bytes moves that it is in; a target in no run moves as the nearest known
//! one before it. Where that was wrong, the patch says so, and the same target is expected right from then on.
//!
//! Invariant: a prediction is a function of the old file, the runs, the layout of the new file and the corrections so far,
//! in integers; so whoever makes a patch and whoever applies it predict the same.

use crate::elf::Map;
use crate::kind::Kind;
use crate::matching::Equivalence;
use crate::references::{Reference, References};
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
    runs: &'a Runs,
    /// Where what references name or count from is in the new file by the runs, ascending: what references name is mostly among it.
    pool: Vec<u32>,
    /// Old addresses whose new ones were said: the beginnings of sections, and corrections.
    said: BTreeMap<u32, Said>,
    /// The new addresses of tables, by their old ones, that runs brought.
    tables: BTreeMap<u32, u32>,
    /// Where tables begin that are not to be guessed.
    bases: &'a [(u32, u32)],
}

/// A new address that was said.
struct Said {
    new: u32,
    /// It was said of what references name, and not of a section.
    is_correction: bool,
}

impl<'a> Predictor<'a> {
    /// Nothing when references name or count from more addresses than there may be at most.
    pub(crate) fn new(
        old: References<'a>,
        runs: &'a Runs,
        new: &'a Map,
        sections: BTreeMap<u32, u32>,
        bases: &'a [(u32, u32)],
        most: usize,
    ) -> Option<Self> {
        let unsaid = |new| Said { new, is_correction: false };
        let said = sections.into_iter().map(|(old, new)| (old, unsaid(new))).collect();
        let mut predictor = Self { old: old.map, new, runs, pool: Vec::new(), said, tables: BTreeMap::new(), bases };
        let counted = |reference: &Reference| counts(reference.kind).then_some(reference.base);
        let named = old.all().flat_map(|reference| [Some(reference.target), counted(&reference)]).flatten();
        let mut pool = distinct(named, most)?;
        pool.iter_mut().for_each(|address| *address = predictor.moved(*address).unwrap_or(UNKNOWN));
        pool.sort_unstable();
        pool.dedup();
        predictor.pool = pool;
        Some(predictor)
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
        self.said.insert(old, Said { new, is_correction: new != UNKNOWN });
    }

    /// Where an address is by the runs.
    fn moved(&self, address: u32) -> Option<u32> {
        self.new.address(self.runs.place(self.old.place(address)?)?)
    }

    fn target(&self, address: u32) -> (u32, Trust) {
        if let Some(said) = self.said.get(&address).filter(|said| said.is_correction) {
            return (said.new, Trust::Corrected);
        }
        match self.moved(address) {
            Some(new) => (new, Trust::Moved),
            None => (self.nearest(address), Trust::Nearest),
        }
    }

    /// A table in the run moves with it, and is remembered for its rows in other runs.
    fn base(&mut self, address: u32, run: &Equivalence) -> u32 {
        if let Some(base) = self.bases.iter().find(|base| base.0 == address) {
            return base.1;
        }
        let place = self.old.place(address).filter(|place| (run.old..run.old + run.len).contains(place));
        if let Some(new) = place.and_then(|place| self.new.address(place - run.old + run.new)) {
            self.tables.insert(address, new);
            return new;
        }
        let said = || self.said.get(&address).map(|said| said.new);
        let known = self.tables.get(&address).copied().or_else(said).or_else(|| self.moved(address));
        known.unwrap_or_else(|| self.nearest(address))
    }

    fn nearest(&self, address: u32) -> u32 {
        match self.said.range(..=address).next_back() {
            Some((old, said)) => (address - old).wrapping_add(said.new),
            None => address,
        }
    }
}

/// Different addresses, ascending, with little more memory than they take themselves; nothing when so many or more than `most` are held
/// at one time.
pub(crate) fn distinct(addresses: impl Iterator<Item = u32>, most: usize) -> Option<Vec<u32>> {
    const FEW: usize = 1 << 16;
    let mut found = Vec::with_capacity(FEW);
    let sorted = |found: &mut Vec<u32>| {
        found.sort_unstable();
        found.dedup();
    };
    for address in addresses {
        if found.len() == found.capacity() {
            sorted(&mut found);
            if found.len() > found.capacity() / 2 {
                if found.capacity() + found.len() > most {
                    return None;
                }
                found.reserve_exact(found.len());
            }
        }
        found.push(address);
    }
    sorted(&mut found);
    found.shrink_to_fit();
    Some(found)
}

/// Runs by where they are in the old file.
pub(crate) struct Runs {
    runs: Vec<Equivalence>,
    /// How many begin before each stretch of [`STRETCH`] bytes.
    before: Vec<u32>,
}

/// Few runs begin in so many bytes.
const STRETCH: u32 = 1 << 10;

impl Runs {
    pub(crate) fn new(runs: &[Equivalence]) -> Self {
        let mut runs = runs.to_vec();
        runs.sort_unstable_by_key(|run| (run.old, Reverse(run.len), run.new));
        let stretches = runs.last().map_or(0, |run| run.old / STRETCH + 2);
        let mut before = Vec::with_capacity(stretches as usize);
        let mut count = 0;
        for stretch in 0..stretches {
            while runs.get(count).is_some_and(|run| run.old / STRETCH < stretch) {
                count += 1;
            }
            before.push(count as u32);
        }
        Self { runs, before }
    }

    /// Of the runs that cover a place and begin nearest, the one with the least distance.
    pub(crate) fn nearest(&self, old: u32, distance: impl Fn(&Equivalence) -> u32) -> Option<&Equivalence> {
        self.covering(old).min_by_key(|run| distance(run))
    }

    /// Where in the new file a place of the old one is: in the longest run that covers it, of those that begin nearest.
    pub(crate) fn place(&self, old: u32) -> Option<u32> {
        let longest = self.covering(old).fold(None, |best: Option<&Equivalence>, run| match best {
            Some(best) if best.len >= run.len => Some(best),
            _ => Some(run),
        });
        longest.map(|run| old - run.old + run.new)
    }

    /// The runs that cover a place, of those that begin nearest, the nearest first.
    fn covering(&self, old: u32) -> impl Iterator<Item = &Equivalence> {
        let stretch = (old / STRETCH) as usize;
        let count = |stretch: usize| self.before.get(stretch).map_or(self.runs.len(), |count| *count as usize);
        let (first, last) = (count(stretch), count(stretch + 1));
        let next = first + self.runs[first..last].partition_point(|run| run.old <= old);
        let near = &self.runs[next.saturating_sub(COVERING)..next];
        near.iter().rev().filter(move |run| old - run.old < run.len)
    }
}
