//! Where the references of a file begin, in little memory.
//!
//! A reference is four or eight bytes in a file that is held anyway, and most of what is known of it stands in those bytes. What does not are
//! its kind and the base that it counts from, of which there are few pairs: so a bit for each byte of the file, and a byte for
//! each reference, are enough. Rows of jump tables, which all count from the table that they are in, share one such byte, and where
//! their tables begin is listed.
//!
//! Invariant: marks ascend, do not overlap, and are within the file.

use crate::kind::Kind;
use crate::room::{Lent, Room};

/// The bytes of a file that have one count of what begins before them.
const STRETCH: usize = 512;

/// The form of a reference whose base is listed; others are the number of their pair and one.
const LISTED: u8 = u8::MAX;

/// Where references begin, and of what form they are.
#[derive(Debug)]
pub(crate) struct Marks {
    begins: Begins,
    /// The form of each.
    forms: Lent,
    pairs: Pairs,
    /// From which place on those that are [`LISTED`] count from which base, ascending by place.
    listed: Vec<(u32, u32)>,
}

/// The places where something begins.
#[derive(Debug)]
struct Begins {
    /// A bit for each byte of the file, in words of eight bytes.
    bits: Lent,
    /// How many begin before each stretch.
    before: Vec<u32>,
}

impl Begins {
    /// None, in a file of this length.
    fn new(room: &dyn Room, len: usize) -> Option<Self> {
        Some(Self { bits: room.take(len.div_ceil(64) * 8)?, before: Vec::new() })
    }

    /// The words from one on.
    fn words(&self, from: usize) -> impl Iterator<Item = u64> + '_ {
        let (words, _) = self.bits.get(from * 8..).unwrap_or_default().as_chunks();
        words.iter().map(|word| u64::from_le_bytes(*word))
    }

    /// Whether nothing began there before.
    fn insert(&mut self, at: u32) -> bool {
        let byte = &mut self.bits[at as usize / 8];
        let bit = 1 << (at % 8);
        let is_new = *byte & bit == 0;
        *byte |= bit;
        is_new
    }

    fn remove(&mut self, at: u32) {
        self.bits[at as usize / 8] &= !(1 << (at % 8));
    }

    /// Counts what begins before each stretch, which [`Self::rank`] wants to know.
    fn count(&mut self) {
        let mut before = std::mem::take(&mut self.before);
        before.clear();
        before.reserve_exact(self.bits.len().div_ceil(STRETCH / 8));
        let counts = self.bits.chunks(STRETCH / 8).map(|bits| {
            let (words, _) = bits.as_chunks();
            words.iter().map(|word| u64::from_le_bytes(*word).count_ones()).sum()
        });
        before.extend(counts.scan(0, |before, count: u32| Some(std::mem::replace(before, *before + count))));
        self.before = before;
    }

    /// How many begin before a place that is in the file.
    fn rank(&self, place: u32) -> Option<usize> {
        let (word, bit) = (place as usize / 64, place % 64);
        let first = place as usize / STRETCH * (STRETCH / 64);
        let before = *self.before.get(place as usize / STRETCH)?;
        let mut words = self.words(first);
        let passed: u32 = words.by_ref().take(word - first).map(u64::count_ones).sum();
        let here = words.next().unwrap_or(0) & ((1 << bit) - 1);
        Some((before + passed + here.count_ones()) as usize)
    }

    /// The places at or behind this one.
    fn from(&self, place: u32) -> impl Iterator<Item = u32> + '_ {
        let (first, bit) = (place as usize / 64, place % 64);
        let mut words = self.words(first);
        let here = words.next().unwrap_or(0) >> bit << bit;
        let words = std::iter::once(here).chain(words);
        (first as u32 * 64..).step_by(64).zip(words).flat_map(|(at, word)| bits(word).map(move |bit| at + bit))
    }
}

/// A place, what kind of reference begins there, and from where it counts.
pub(crate) type Mark = (u32, Kind, u32);

impl Marks {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.forms.len()
    }

    /// Those that begin at a place or behind it.
    pub(crate) fn from(&self, place: u32) -> impl Iterator<Item = Mark> + '_ {
        let number = self.begins.rank(place).unwrap_or(self.forms.len());
        let forms = self.forms.get(number..).unwrap_or_default();
        self.begins.from(place).zip(forms).map(|(at, form)| self.mark(at, *form))
    }

    fn mark(&self, at: u32, form: u8) -> Mark {
        if form != LISTED {
            let (kind, base) = self.pairs.0[usize::from(form) - 1];
            return (at, kind, base);
        }
        let next = self.listed.partition_point(|listed| listed.0 <= at);
        (at, Kind::Offset, self.listed[next - 1].1)
    }
}

/// The bits of a word that are set, the lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
}

/// All pairs of kind and base but those that are [`LISTED`].
#[derive(Debug, Default)]
struct Pairs(Vec<(Kind, u32)>);

impl Pairs {
    /// The form of a pair, unless there are far more than files have.
    fn form(&mut self, kind: Kind, base: u32) -> Option<u8> {
        let known = self.0.iter().position(|pair| *pair == (kind, base));
        let number = known.or_else(|| {
            let is_free = self.0.len() < usize::from(LISTED) - 1;
            is_free.then(|| self.0.push((kind, base))).map(|()| self.0.len() - 1)
        });
        number.map(|number| number as u8 + 1)
    }
}

/// Marks that are still being made, in the order in which they were found.
pub(crate) struct Draft<'a> {
    room: &'a dyn Room,
    /// The length of the file.
    len: usize,
    /// How many may be taken yet.
    left: usize,
    /// Where something was found.
    begins: Begins,
    /// What was found there first: of each the place and the form, in [`Found`].
    found: Vec<Lent>,
    /// How many were found.
    count: usize,
    pairs: Pairs,
    /// The places that are [`LISTED`], and their bases.
    listed: Vec<(u32, u32)>,
    /// There was no room for one.
    is_short: bool,
}

/// A place, and the form of what begins there.
type Found = [u8; 5];

/// How many of them are together.
const TOGETHER: usize = 1 << 18;

impl<'a> Draft<'a> {
    /// Of at most so many, in a file of this length.
    pub(crate) fn new(room: &'a dyn Room, len: usize, limit: usize) -> Option<Self> {
        let begins = Begins::new(room, len)?;
        let (pairs, listed) = (Pairs::default(), Vec::new());
        Some(Self { room, len, left: limit, begins, found: Vec::new(), count: 0, pairs, listed, is_short: false })
    }

    /// Marks a place, unless it was marked before.
    pub(crate) fn mark(&mut self, at: u32, kind: Kind, base: u32) {
        if let Some(form) = self.pairs.form(kind, base) {
            self.push(at, kind.len(), form);
        }
    }

    /// Marks a place that counts from a table of which there are many, unless it was marked before.
    pub(crate) fn mark_row(&mut self, at: u32, table: u32) {
        if self.push(at, Kind::Offset.len(), LISTED) {
            self.listed.push((at, table));
        }
    }

    /// Whether it is the first that was found there. Those that are not count as well.
    fn push(&mut self, at: u32, len: u32, form: u8) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        let is_new = u64::from(at) + u64::from(len) <= self.len as u64 && self.begins.insert(at);
        if is_new {
            let [a, b, c, d] = at.to_le_bytes();
            self.put([a, b, c, d, form]);
        }
        is_new
    }

    fn put(&mut self, found: Found) {
        let within = self.count % TOGETHER;
        if within == 0 {
            // No more than those that may come.
            match self.room.take((self.left + 1).min(TOGETHER) * size_of::<Found>()) {
                Some(more) => self.found.push(more),
                None => self.is_short = true,
            }
        }
        if self.is_short {
            return;
        }
        if let Some(last) = self.found.last_mut() {
            last.as_chunks_mut().0[within] = found;
            self.count += 1;
        }
    }

    /// Of those that overlap, the ones that begin first; of those in one place, the one that was found first. Nothing when there
    /// was no room.
    pub(crate) fn finish(mut self) -> Option<Marks> {
        if self.is_short {
            return None;
        }
        self.begins.count();
        let mut forms = self.room.take(self.count)?;
        let found = self.found.iter().flat_map(|part| part.as_chunks::<5>().0).take(self.count);
        for &[a, b, c, d, form] in found {
            if let Some(number) = self.begins.rank(u32::from_le_bytes([a, b, c, d])) {
                forms[number] = form;
            }
        }
        drop(self.found);
        self.listed.sort_unstable();
        let (mut end, mut kept, mut rows, mut listed) = (0, 0, self.listed.into_iter(), Vec::new());
        let words = self.begins.bits.len() / 8;
        let mut number = 0;
        for word in 0..words {
            // What is taken away is in this word.
            let here = self.begins.words(word).next().unwrap_or(0);
            for at in bits(here).map(|bit| word as u32 * 64 + bit) {
                let form = forms[number];
                number += 1;
                let row = if form == LISTED { rows.next() } else { None };
                if at < end {
                    self.begins.remove(at);
                    continue;
                }
                let kind = if form == LISTED { Kind::Offset } else { self.pairs.0[usize::from(form) - 1].0 };
                end = at + kind.len();
                forms[kept] = form;
                kept += 1;
                listed.extend(row);
            }
        }
        forms.truncate(kept);
        listed.dedup_by_key(|(_, base)| *base);
        self.begins.count();
        Some(Marks { begins: self.begins, forms, pairs: self.pairs, listed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Heap;

    #[test]
    fn what_was_marked_is_there_in_its_order() {
        let mut draft = Draft::new(&Heap, 2000, 200).expect("room");
        let rows = [(1030, 7), (1034, 7), (1038, 7), (1990, 9)];
        rows.iter().rev().for_each(|(at, table)| draft.mark_row(*at, *table));
        for at in (0..1000).step_by(8).rev() {
            draft.mark(at, if at % 16 == 0 { Kind::Pointer } else { Kind::Distance }, at % 3);
        }
        let marks = draft.finish().expect("room");
        let wanted = (0..1000).step_by(8).map(|at| (at, [Kind::Pointer, Kind::Distance][at as usize / 8 % 2], at % 3));
        let wanted: Vec<Mark> = wanted.chain(rows.map(|(at, table)| (at, Kind::Offset, table))).collect();
        assert_eq!(marks.len(), wanted.len());
        for from in 0..2100 {
            let behind = &wanted[wanted.partition_point(|mark| mark.0 < from)..];
            assert!(marks.from(from).eq(behind.iter().copied()), "from {from}");
        }
    }

    #[test]
    fn of_those_that_overlap_the_first_is_kept() {
        let mut draft = Draft::new(&Heap, 30, 20).expect("room");
        draft.mark(10, Kind::Back, 0);
        draft.mark_row(8, 5);
        draft.mark_row(10, 6);
        draft.mark(12, Kind::Distance, 4);
        draft.mark(12, Kind::Pointer, 0);
        draft.mark(27, Kind::Back, 0);
        draft.mark(40, Kind::Back, 0);
        let kept = [(8, Kind::Offset, 5), (12, Kind::Distance, 4)];
        assert!(draft.finish().expect("room").from(0).eq(kept));
    }

    #[test]
    fn no_more_are_taken_than_there_may_be() {
        let mut draft = Draft::new(&Heap, 100, 3).expect("room");
        (0..5).for_each(|number| draft.mark_row(number * 8, number));
        (5..9).for_each(|number| draft.mark(number * 8, Kind::Offset, number));
        let marks = draft.finish().expect("room");
        assert!(marks.from(0).eq((0..3).map(|number| (number * 8, Kind::Offset, number))));
    }

    #[test]
    fn more_bases_than_there_can_be_are_left_out() {
        let mut draft = Draft::new(&Heap, 5000, 500).expect("room");
        (0..500).for_each(|number| draft.mark(number * 8, Kind::Offset, number));
        let marks = draft.finish().expect("room");
        assert_eq!(marks.len(), 254);
        assert!(marks.from(0).all(|(at, _, base)| at == base * 8));
    }
}
