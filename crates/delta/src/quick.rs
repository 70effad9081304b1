//! Finds the new bytes among the old ones, quickly and with little memory, and writes down how.
//!
//! The method is bsdiff's (Colin Percival, "Naive differences of executable code", 2003) with a hash table in place of the
//! suffix array: walk through the new bytes, keep to one *alignment* (the distance between where a byte stands in new
//! and in old) as long as it is good enough, and change it when an exact match elsewhere explains clearly more bytes. What
//! lies between two alignments goes to whichever fits it, also where only most of the bytes are equal: there the
//! differences are written, which are mostly zero, and small and repetitive where code only moved.

use crate::index::{Index, SEED, common_prefix};
use crate::packed::{Draft, Instruction};

/// An alignment must explain this many bytes more than the one so far, to be worth an instruction.
const GAIN: i64 = 12;

/// How many bytes are looked at to see whether two strings are nearly equal there, and how many must be equal.
const GLANCE: usize = 32;
const NEARLY: usize = 24;

/// How far an alignment is followed to see how much it explains.
const REACH: usize = 128;

/// How many alignments are remembered: code that was left is often returned to.
const RECENT: usize = 6;

/// What a patch that makes `new` of `old` is made of.
pub(crate) fn draft(old: &[u8], new: &[u8]) -> Draft {
    let index = Index::new(old);
    let mut writer = Writer { old, new, draft: Draft::default(), cursor: 0 };
    let mut pair = Pair { old, new, from: Alignment { old: 0, new: 0 }, at: 0, found: 0, recent: [0; RECENT] };
    while let Some(found) = pair.next_alignment(&index) {
        let closed = writer.close(pair.from, found);
        pair.follow(closed);
    }
    writer.end(pair.from);
    writer.draft
}

/// A position in new that stands at a position in old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Alignment {
    old: usize,
    new: usize,
}

impl Alignment {
    /// Where in old a later position of new would stand.
    fn old_at(&self, new: usize) -> usize {
        self.old + (new - self.new)
    }
}

/// The two strings, the alignment that is kept to, and how far new was looked through.
struct Pair<'a> {
    old: &'a [u8],
    new: &'a [u8],
    from: Alignment,
    at: usize,
    /// Where what was found last ends.
    found: usize,
    /// The alignments before, as distances from new to old, the latest first.
    recent: [i64; RECENT],
}

impl Pair<'_> {
    /// The beginning of the next stretch that is worth leaving the alignment for.
    fn next_alignment(&mut self, index: &Index<'_>) -> Option<Alignment> {
        while self.new.len() >= self.at + SEED {
            let here = self.from.old_at(self.at);
            let kept = self.old.get(here..).map_or(0, |old| common_prefix(old, &self.new[self.at..]));
            if kept >= SEED || self.is_nearly(here) {
                self.at += kept.max(SEED / 2);
                self.found = self.at;
                continue;
            }
            let Some((old, weight)) = self.best(index) else {
                self.at += self.stride();
                continue;
            };
            if weight.explained - self.equal(here, weight.len) > GAIN {
                let found = Alignment { old, new: self.at };
                self.at += weight.len;
                self.found = self.at;
                return Some(found);
            }
            self.at += (kept + 1).max(SEED / 2).min(weight.len);
        }
        None
    }

    /// How far to go on where nothing is found: where nothing was for long, by a number that has no factor in common with the index's
    /// step, so that what is a little longer than a window is found whatever its distance.
    fn stride(&self) -> usize {
        if self.at - self.found < 512 { 1 } else { 3 }
    }

    /// Keeps to another alignment from now on.
    fn follow(&mut self, to: Alignment) {
        let left = self.from.old as i64 - self.from.new as i64;
        let place = self.recent.iter().position(|recent| *recent == left).unwrap_or(RECENT - 1);
        self.recent[..=place].rotate_right(1);
        self.recent[0] = left;
        self.from = to;
    }

    /// Where in old that begins which explains most of what comes next, if anything does.
    fn best(&self, index: &Index<'_>) -> Option<(usize, Weight)> {
        let recent = self.recent.iter().filter_map(|distance| self.at.checked_add_signed(*distance as isize));
        let recent = recent.filter(|old| self.begins(*old) && self.is_nearly(*old));
        let places = recent.chain(index.places(&self.new[self.at..]));
        let weighed = places.map(|old| (old, self.weigh(old)));
        weighed.min_by_key(|(old, weight)| (-weight.explained, old.abs_diff(self.from.old_at(self.at))))
    }

    /// Whether the next four bytes of new stand at a place in old, which is looked at first because it is quick.
    fn begins(&self, old: usize) -> bool {
        self.old.get(old..old + 4) == self.new.get(self.at..self.at + 4)
    }

    /// Whether the next bytes of new nearly stand at a place in old.
    fn is_nearly(&self, old: usize) -> bool {
        let (Some(old), Some(new)) = (self.old.get(old..old + GLANCE), self.new.get(self.at..self.at + GLANCE)) else {
            return false;
        };
        old.iter().zip(new).filter(|(old, new)| old == new).count() >= NEARLY
    }

    /// How far the next bytes of new stand at a place in old, with some that differ.
    fn weigh(&self, old: usize) -> Weight {
        let (mut best, mut explained, mut misses) = (Weight { len: 1, explained: 0 }, 0, 0);
        let pairs = self.old[old..].iter().zip(&self.new[self.at..]).take(REACH);
        for (n, (old, new)) in pairs.enumerate() {
            let equal = i64::from(old == new);
            (explained, misses) = (explained + equal, misses + 1 - equal);
            let score = explained - 2 * misses;
            if score > best.explained - 2 * (best.len as i64 - best.explained) {
                best = Weight { len: n + 1, explained };
            } else if score + 24 < best.explained - 2 * (best.len as i64 - best.explained) {
                break;
            }
        }
        best
    }

    /// How many of the next `len` new bytes stand at a place in old.
    fn equal(&self, old: usize, len: usize) -> i64 {
        let old = self.old.get(old..).unwrap_or_default();
        old.iter().zip(&self.new[self.at..self.at + len]).filter(|(old, new)| old == new).count() as i64
    }
}

/// How many of the next bytes of new an alignment is followed for, and how many of them are equal.
#[derive(Debug, Clone, Copy)]
struct Weight {
    len: usize,
    explained: i64,
}

/// Writes instructions, each for the stretch from one alignment to the next.
struct Writer<'a> {
    old: &'a [u8],
    new: &'a [u8],
    draft: Draft,
    /// Where in old the last copy ended.
    cursor: usize,
}

impl Writer<'_> {
    /// Writes what lies between two alignments, and returns where the second one really begins: before its exact match,
    /// as far as it fits there better than the first.
    fn close(&mut self, from: Alignment, to: Alignment) -> Alignment {
        let between = &self.new[from.new..to.new];
        let mut ahead = fit(between.iter().zip(self.old.get(from.old..).unwrap_or_default()));
        let mut back = fit(between.iter().rev().zip(self.old[..to.old].iter().rev()));
        if let Some(overlap) = (ahead + back).checked_sub(between.len()) {
            let first = to.new - back;
            let kept = self.best_split(from.old_at(first), to.old - back, first, overlap);
            (ahead, back) = (ahead - (overlap - kept), back - kept);
        }
        self.write(from, ahead, to.new - back);
        Alignment { old: to.old - back, new: to.new - back }
    }

    /// Writes what is left after the last alignment.
    fn end(&mut self, from: Alignment) {
        let ahead = fit(self.new[from.new..].iter().zip(self.old.get(from.old..).unwrap_or_default()));
        self.write(from, ahead, self.new.len());
    }

    /// Of `overlap` new bytes from `new` on, which two alignments both want: how many the first one gets.
    fn best_split(&self, first: usize, second: usize, new: usize, overlap: usize) -> usize {
        let (mut score, mut best, mut split) = (0i64, 0, 0);
        for n in 0..overlap {
            score += i64::from(self.new[new + n] == self.old[first + n])
                - i64::from(self.new[new + n] == self.old[second + n]);
            if score > best {
                (best, split) = (score, n + 1);
            }
        }
        split
    }

    /// One instruction: copy `len` bytes at the alignment, then append up to position `end` of new.
    fn write(&mut self, from: Alignment, len: usize, end: usize) {
        let middle = from.new + len;
        if from.new == end {
            return;
        }
        let start = if len == 0 { self.cursor } else { from.old };
        let copied = &self.old[start..start + len];
        let seek = start as i64 - self.cursor as i64;
        Instruction { seek, copy: len as u64, append: (end - middle) as u64 }.write(&mut self.draft.instructions);
        let differences = self.new[from.new..middle].iter().zip(copied).map(|(new, old)| new.wrapping_sub(*old));
        self.draft.differences.extend(differences);
        self.draft.literals.extend_from_slice(&self.new[middle..end]);
        self.cursor = start + len;
    }
}

/// How far two strings are so much alike that copying with differences pays: where equal bytes most outnumber others.
fn fit<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    let (mut score, mut best, mut len) = (0i64, 0, 0);
    for (n, (a, b)) in pairs.enumerate() {
        score += if a == b { 1 } else { -1 };
        if score > best {
            (best, len) = (score, n + 1);
        }
    }
    len
}
