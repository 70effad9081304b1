//! Finds the new bytes among the old ones, quickly and with little memory, and writes down how.
//!
//! The method is bsdiff's (Colin Percival, "Naive differences of executable code", 2003) with a hash table in place of the
//! suffix array: walk through the new bytes, keep to one *alignment* (the distance between where a byte stands in new
//! and in old) as long as it is good enough, and change it when an exact match elsewhere explains clearly more bytes. What
//! lies between two alignments goes to whichever fits it, also where only most of the bytes are equal: there the
//! differences are written, which are mostly zero, and small and repetitive where code only moved.

use crate::index::{Grain, Index, Rolling, common_prefix, top_of};
use crate::packed::{Draft, Instruction};

const GRAIN: Grain = Grain { window: 32, step: 32, tries: 4 };

/// A match must explain this many bytes more than the alignment so far, to be worth an instruction.
const GAIN: usize = 8;

/// What a packed patch that makes `new` of `old` is made of.
pub(crate) fn draft(old: &[u8], new: &[u8]) -> Draft {
    let index = Index::new(old, GRAIN);
    let mut writer = Writer { old, new, draft: Draft::default(), cursor: 0 };
    let mut pair = Pair { old, new, from: Alignment { old: 0, new: 0 } };
    let mut scan = Scan::new(new, index.window());
    while let Some(found) = pair.next_alignment(&index, &mut scan) {
        pair.from = writer.close(pair.from, found);
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

/// The place in the new bytes that is looked at, and the hash of the window there.
struct Scan<'a> {
    new: &'a [u8],
    window: usize,
    top: u64,
    at: usize,
    hash: Rolling,
}

impl<'a> Scan<'a> {
    fn new(new: &'a [u8], window: usize) -> Self {
        let mut scan = Self { new, window, top: top_of(window), at: 0, hash: Rolling::over(&[]) };
        scan.jump(0);
        scan
    }

    fn has_window(&self) -> bool {
        self.new.len() - self.at >= self.window
    }

    fn step(&mut self) {
        if let Some(&into) = self.new.get(self.at + self.window) {
            self.hash = self.hash.moved(self.new[self.at], into, self.top);
        }
        self.at += 1;
    }

    fn jump(&mut self, to: usize) {
        self.at = to;
        if self.has_window() {
            self.hash = Rolling::over(&self.new[to..to + self.window]);
        }
    }
}

/// The two strings and the alignment that is kept to.
struct Pair<'a> {
    old: &'a [u8],
    new: &'a [u8],
    from: Alignment,
}

impl Pair<'_> {
    /// The beginning of the next exact match that is worth leaving the alignment for.
    fn next_alignment(&self, index: &Index<'_>, scan: &mut Scan<'_>) -> Option<Alignment> {
        while scan.has_window() {
            let here = self.from.old_at(scan.at);
            let kept = self.old.get(here..).map_or(0, |old| common_prefix(old, &self.new[scan.at..]));
            if kept >= index.window() {
                scan.jump(scan.at + kept);
                continue;
            }
            let Some(found) = index.longest(&self.new[scan.at..], scan.hash, here) else {
                scan.step();
                continue;
            };
            let start = scan.at;
            scan.jump(start + found.len);
            if self.explained(start, found.len) + GAIN < found.len {
                return Some(Alignment { old: found.old, new: start });
            }
        }
        None
    }

    /// How many of `len` new bytes from `start` on the alignment that is kept to explains.
    fn explained(&self, start: usize, len: usize) -> usize {
        let old = self.old.get(self.from.old_at(start)..).unwrap_or_default();
        old.iter().zip(&self.new[start..start + len]).filter(|(old, new)| old == new).count()
    }
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
