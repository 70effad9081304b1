//! Where the references of a file begin, in little memory.
//!
//! A reference is four or eight bytes in a file that is held anyway, and most of what is known of it stands in those bytes. What does not are
//! its kind and the base that it counts from, of which there are few pairs: so a bit for each byte of the file, and a byte for
//! each reference, are enough. Rows of jump tables, which all count from the table that they are in, share one such byte, and where
//! their tables begin is listed.
//!
//! Invariant: marks ascend, do not overlap, and are within the file.

use crate::kind::Kind;

/// The bytes of a file that have one count of what begins before them.
const STRETCH: usize = 512;

/// The form of a reference whose base is listed; others are the number of their pair and one.
const LISTED: u8 = u8::MAX;

/// Where references begin, and of what form they are.
#[derive(Debug)]
pub(crate) struct Marks {
    /// A bit for each byte of the file.
    begins: Vec<u64>,
    /// How many begin before each stretch.
    before: Vec<u32>,
    /// The form of each.
    forms: Vec<u8>,
    pairs: Pairs,
    /// From which place on those that are [`LISTED`] count from which base, ascending by place.
    listed: Vec<(u32, u32)>,
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
        let (word, bit) = (place as usize / 64, place % 64);
        let first = place as usize / STRETCH * (STRETCH / 64);
        let passed = self.begins.get(first..word.min(self.begins.len())).unwrap_or_default();
        let passed = passed.iter().map(|word| word.count_ones()).sum::<u32>();
        let here = self.begins.get(word).copied().unwrap_or(0);
        let before = self.before.get(place as usize / STRETCH).map_or(self.forms.len(), |before| *before as usize);
        let number = before + (passed + (here & ((1 << bit) - 1)).count_ones()) as usize;
        let rest = self.begins.get(word + 1..).unwrap_or_default();
        let words = std::iter::once(here >> bit << bit).chain(rest.iter().copied());
        let places =
            (word as u32 * 64..).step_by(64).zip(words).flat_map(|(at, word)| bits(word).map(move |bit| at + bit));
        places.zip(self.forms.get(number..).unwrap_or_default()).map(|(at, form)| self.mark(at, *form))
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
pub(crate) struct Draft {
    /// The length of the file.
    len: usize,
    /// How many are taken at most, and what was taken: the place, and the form of what begins there.
    limit: usize,
    found: Vec<(u32, u8)>,
    pairs: Pairs,
    /// The places that are [`LISTED`], and their bases.
    listed: Vec<(u32, u32)>,
}

impl Draft {
    /// Of at most so many, in a file of this length.
    pub(crate) fn new(len: usize, limit: usize) -> Self {
        Self { len, limit, found: Vec::new(), pairs: Pairs::default(), listed: Vec::new() }
    }

    /// Marks a place, unless it was marked before.
    pub(crate) fn mark(&mut self, at: u32, kind: Kind, base: u32) {
        if let Some(form) = self.pairs.form(kind, base) {
            self.push(at, form);
        }
    }

    /// Marks a place that counts from a table of which there are many, unless it was marked before.
    pub(crate) fn mark_row(&mut self, at: u32, table: u32) {
        if self.push(at, LISTED) {
            self.listed.push((at, table));
        }
    }

    fn push(&mut self, at: u32, form: u8) -> bool {
        let is_taken = self.found.len() < self.limit;
        if is_taken {
            if self.found.len() == self.found.capacity() {
                self.found.reserve_exact((self.limit - self.found.len()).min(self.found.len().max(1024)));
            }
            self.found.push((at, form));
        }
        is_taken
    }

    /// Of those that overlap, the ones that begin first; of those in one place, the one that was found first.
    pub(crate) fn finish(mut self) -> Marks {
        self.found.sort_by_key(|found| found.0);
        self.listed.sort_by_key(|listed| listed.0);
        let mut marks = Marks {
            begins: vec![0; self.len.div_ceil(64)],
            before: Vec::with_capacity(self.len.div_ceil(STRETCH)),
            forms: Vec::with_capacity(self.found.len()),
            pairs: self.pairs,
            listed: Vec::new(),
        };
        let (mut end, mut rows) = (0, self.listed.into_iter());
        for (at, form) in self.found {
            let row = if form == LISTED { rows.next() } else { None };
            let len = row.map_or_else(|| marks.pairs.0[usize::from(form) - 1].0, |_| Kind::Offset).len() as usize;
            let at = at as usize;
            if at >= end && at + len <= self.len {
                end = at + len;
                marks.begins[at / 64] |= 1 << (at % 64);
                marks.forms.push(form);
                marks.listed.extend(row);
            }
        }
        marks.forms.shrink_to_fit();
        marks.listed.dedup_by_key(|(_, base)| *base);
        let counts = marks.begins.chunks(STRETCH / 64).map(|words| words.iter().map(|word| word.count_ones()).sum());
        marks.before.extend(counts.scan(0, |before, count: u32| Some(std::mem::replace(before, *before + count))));
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_there_in_its_order() {
        let mut draft = Draft::new(2000, 200);
        let rows = [(1030, 7), (1034, 7), (1038, 7), (1990, 9)];
        rows.iter().rev().for_each(|(at, table)| draft.mark_row(*at, *table));
        for at in (0..1000).step_by(8).rev() {
            draft.mark(at, if at % 16 == 0 { Kind::Pointer } else { Kind::Distance }, at % 3);
        }
        let marks = draft.finish();
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
        let mut draft = Draft::new(30, 20);
        draft.mark(10, Kind::Back, 0);
        draft.mark_row(8, 5);
        draft.mark_row(10, 6);
        draft.mark(12, Kind::Distance, 4);
        draft.mark(12, Kind::Pointer, 0);
        draft.mark(27, Kind::Back, 0);
        draft.mark(40, Kind::Back, 0);
        let kept = [(8, Kind::Offset, 5), (12, Kind::Distance, 4)];
        assert!(draft.finish().from(0).eq(kept));
    }

    #[test]
    fn no_more_are_taken_than_there_may_be() {
        let mut draft = Draft::new(100, 3);
        (0..5).for_each(|number| draft.mark_row(number * 8, number));
        (5..9).for_each(|number| draft.mark(number * 8, Kind::Offset, number));
        let marks = draft.finish();
        assert!(marks.from(0).eq((0..3).map(|number| (number * 8, Kind::Offset, number))));
    }

    #[test]
    fn more_bases_than_there_can_be_are_left_out() {
        let mut draft = Draft::new(5000, 500);
        (0..500).for_each(|number| draft.mark(number * 8, Kind::Offset, number));
        let marks = draft.finish();
        assert_eq!(marks.len(), 254);
        assert!(marks.from(0).all(|(at, _, base)| at == base * 8));
    }
}
