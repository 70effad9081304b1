//! Names for addresses that mean the same in two files, so that code that names them is recognised though it moved.
//!
//! Only whoever makes a patch needs them. Matching compares bytes; before it does, the bytes of each reference are replaced by
//! a name of its target. Which targets of old and new have one name is voted by the runs that the matching found last, so
//! matching and voting take turns.
//!
//! Invariant: a name belongs to at most one address in each file.

use crate::matching::Equivalence;
use crate::predict::{Runs, distinct};
use crate::references::References;
use std::cmp::Reverse;

/// The names of one file's addresses.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Ascending by address: address and name.
    names: Vec<(u32, u32)>,
}

impl Names {
    /// Puts the bytes of the file there, with each reference replaced by the name of its target, or by nothing where that has none.
    pub(crate) fn put(&self, references: References<'_>, bytes: &mut [u8]) {
        bytes.copy_from_slice(references.bytes);
        for reference in references.all() {
            let place = reference.at as usize..(reference.at + reference.kind.len()) as usize;
            let named = self.names.binary_search_by_key(&reference.target, |name| name.0);
            let name = named.map_or(0, |number| scattered(self.names[number].1));
            let mask = reference.kind.mask();
            let word = read(&bytes[place.clone()]) & !mask | name & mask;
            let len = place.len();
            bytes[place].copy_from_slice(&word.to_le_bytes()[..len]);
        }
    }
}

/// Other names are other bytes, and all of their bits are.
fn scattered(name: u32) -> u64 {
    (u64::from(name) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24
}

/// The number in up to eight bytes, the lowest first.
pub(crate) fn read(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// A target in old and one in new, and how much speaks for them being the same.
type Vote = (u32, u32, u32);

/// The names that the runs vote for.
pub(crate) fn voted(old: References<'_>, new: References<'_>, runs: &[Equivalence]) -> (Names, Names) {
    let mut votes = Votes(Vec::with_capacity(Votes::FEW));
    by_references(old, new, runs, &mut votes);
    by_targets(old, new, runs, &mut votes);
    let mut votes = votes.summed();
    votes.sort_unstable_by_key(|vote| (Reverse(vote.2), vote.0, vote.1));
    let (mut olds, mut news) = (Taken::of(old), Taken::of(new));
    let (mut first, mut second) = (Names::default(), Names::default());
    for (name, (old, new, _)) in (0..).zip(votes) {
        if olds.is_free(old) && news.is_free(new) {
            olds.take(old);
            news.take(new);
            first.names.push((old, name));
            second.names.push((new, name));
        }
    }
    first.names.sort_unstable();
    second.names.sort_unstable();
    (first, second)
}

/// Two references of one kind that a run puts upon each other vote for their targets.
fn by_references(old: References<'_>, new: References<'_>, runs: &[Equivalence], votes: &mut Votes) {
    for run in runs {
        let weight = if run.len > 64 { 2 } else { 1 };
        let mut theirs = new.from(run.new).peekable();
        for ours in old.from(run.old).take_while(|ours| ours.at < run.old + run.len) {
            let at = ours.at - run.old + run.new;
            while theirs.next_if(|theirs| theirs.at < at).is_some() {}
            if let Some(theirs) = theirs.next_if(|theirs| theirs.at == at && theirs.kind == ours.kind) {
                votes.add((ours.target, theirs.target, weight));
            }
        }
    }
}

/// A target votes for where the run that it is in moves it.
fn by_targets(old: References<'_>, new: References<'_>, runs: &[Equivalence], votes: &mut Votes) {
    const WEIGHT: u32 = 3;
    let runs = Runs::new(runs);
    let moved = |target: u32| new.map.address(runs.place(old.map.place(target)?)?);
    targets(old)
        .into_iter()
        .filter_map(|target| Some((target, moved(target)?, WEIGHT)))
        .for_each(|vote| votes.add(vote));
}

fn targets(references: References<'_>) -> Vec<u32> {
    distinct(references.all().map(|reference| reference.target), usize::MAX).unwrap_or_default()
}

/// Votes, with little more memory than the different ones take.
struct Votes(Vec<Vote>);

impl Votes {
    const FEW: usize = 1 << 16;

    fn add(&mut self, vote: Vote) {
        if self.0.len() == self.0.capacity() {
            self.sum();
            if self.0.len() > self.0.capacity() / 2 {
                self.0.reserve_exact(self.0.len());
            }
        }
        self.0.push(vote);
    }

    fn sum(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by(|next, kept| {
            let same = (next.0, next.1) == (kept.0, kept.1);
            kept.2 += if same { next.2 } else { 0 };
            same
        });
    }

    fn summed(mut self) -> Vec<Vote> {
        self.sum();
        self.0
    }
}

/// Which targets of a file have a name already.
struct Taken {
    targets: Vec<u32>,
    taken: Vec<bool>,
}

impl Taken {
    fn of(references: References<'_>) -> Self {
        let targets = targets(references);
        Self { taken: vec![false; targets.len()], targets }
    }

    /// Whether it is a target and has no name.
    fn is_free(&self, target: u32) -> bool {
        self.targets.binary_search(&target).is_ok_and(|number| !self.taken[number])
    }

    fn take(&mut self, target: u32) {
        if let Ok(number) = self.targets.binary_search(&target) {
            self.taken[number] = true;
        }
    }
}
