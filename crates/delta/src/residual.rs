//! The models of what a patch says: which runs are taken from old, how they are mended, and the literals between them.
//!
//! Each model codes in both directions. Buffers are written by the reader and rewritten with what they hold by the writer, so
//! both see the same bytes before a place, and look at none behind it but to decide what to say, which a reader does not.
//! Like [`crate::model`], all of it belongs to the format.

use crate::anatomy::{Anatomy, SLOTS, Spot};
use crate::coder::Coder;
use crate::matching::Equivalence;
use crate::model::{Bit, Mixed, Number, Signed, context};

/// Where runs lie, each said by how it differs from those before.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// The diagonals of the last runs, the last one first.
    recent: [i64; 4],
    /// Where the last run ended in new.
    end: u64,
    /// Which of the recent diagonals it is, or another; after the kinds of the last two runs.
    kinds: Vec<[Bit; 4]>,
    history: usize,
    gaps: [Number; 2],
    /// Whether a jump is counted from a recent diagonal, or a later one.
    from: [Bit; 4],
    /// By the diagonal that they are counted from.
    jumps: [Signed; 4],
    lens: [Number; 3],
}

/// A run that is said not to lie where it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfRange;

impl Runs {
    /// How many literals come before the next run; `left` are left to be said at all.
    pub(crate) fn gap(&mut self, coder: &mut impl Coder, gap: u32, left: u64) -> Result<u32, OutOfRange> {
        let gap = self.gaps[usize::from(self.history & 3 == 0)].code(coder, gap);
        if u64::from(gap) <= left { Ok(gap) } else { Err(OutOfRange) }
    }

    /// The run that begins at `new`, which has `left` bytes until its end, in old of this length.
    pub(crate) fn run(
        &mut self,
        coder: &mut impl Coder,
        run: Equivalence,
        old_len: u64,
        left: u64,
    ) -> Result<Equivalence, OutOfRange> {
        let new = run.new;
        let diagonal = self.diagonal(coder, i64::from(run.old) - i64::from(new));
        let len = self.lens[(self.history & 3).min(2)].code(coder, run.len);
        let old = i64::from(new) + diagonal;
        let inside = old >= 0 && old as u64 + u64::from(len) <= old_len;
        if len == 0 || u64::from(len) > left || !inside {
            return Err(OutOfRange);
        }
        self.end = u64::from(new) + u64::from(len);
        Ok(Equivalence { old: old as u32, new, len })
    }

    fn diagonal(&mut self, coder: &mut impl Coder, diagonal: i64) -> i64 {
        self.kinds.resize(16, [Bit::default(); 4]);
        let kinds = &mut self.kinds[self.history & 15];
        let known = self.recent.iter().position(|held| *held == diagonal).unwrap_or(4);
        let mut kind = 0;
        while kind < 4 && kinds[kind].code(coder, known > kind) {
            kind += 1;
        }
        let found = match self.recent.get(kind) {
            Some(diagonal) => *diagonal,
            None => self.jump(coder, diagonal),
        };
        self.recent[..=kind.min(3)].rotate_right(1);
        self.recent[0] = found;
        self.history = self.history << 2 | [0, 1, 1, 1, 2][kind];
        found
    }
}

impl Runs {
    /// A diagonal, counted from the recent one that it is nearest to.
    fn jump(&mut self, coder: &mut impl Coder, diagonal: i64) -> i64 {
        let nearest = (0..self.recent.len()).min_by_key(|number| diagonal.abs_diff(self.recent[*number])).unwrap_or(0);
        let mut from = 0;
        while from < 3 && self.from[from].code(coder, nearest > from) {
            from += 1;
        }
        self.recent[from] + self.jumps[from].code(coder, diagonal - self.recent[from])
    }
}

/// What a run is expected to be.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// All of old.
    pub(crate) old: &'a [u8],
    /// Where in it the run lies.
    pub(crate) from: usize,
    /// The bytes that are expected.
    pub(crate) bytes: &'a [u8],
}

/// How runs are mended: where bytes differ from those of old, and what they are.
#[derive(Debug)]
pub(crate) struct Mending {
    /// Whether a byte differs among the next [`BLOCK`], by how it was in the last blocks and places.
    blocks: Vec<Bit>,
    places: Mixed<PLACE_CONTEXTS>,
    values: Mixed<VALUE_CONTEXTS>,
    anatomy: Anatomy,
    /// One bit for each of the last bytes, which is 1 where it differed.
    history: u64,
    /// How many bytes were equal since the last one that differed.
    since: u32,
    /// The last differences, one byte each.
    last: u32,
    /// The difference before each of those of the last row.
    row: u32,
    quiet: u32,
    /// For each slot, where in old and new the last two fields are that differed, the last one first.
    fields: [[(usize, usize); 2]; SLOTS],
}

/// How many bytes are said at once to be all equal.
const BLOCK: usize = 32;

const PLACE_CONTEXTS: usize = 6;
const VALUE_CONTEXTS: usize = 8;

impl Mending {
    /// Models with tables of `1 << bits` places each, for an old file of this anatomy.
    pub(crate) fn new(bits: u32, anatomy: Anatomy) -> Self {
        Self {
            blocks: vec![Bit::default(); 4 * 8 * 4],
            places: Mixed::new(bits, 41 * SLOTS),
            values: Mixed::new(bits, SLOTS * 256),
            anatomy,
            history: 0,
            since: 0,
            last: 0,
            row: 0,
            quiet: 0,
            fields: [[(0, 0); 2]; SLOTS],
        }
    }

    /// The memory that models with such tables take.
    pub(crate) fn memory(bits: u32) -> u64 {
        Mixed::<PLACE_CONTEXTS>::memory(bits, 41 * SLOTS) + Mixed::<VALUE_CONTEXTS>::memory(bits, SLOTS * 256)
    }

    /// Mends what stands in `new` from `start` on as what is expected there.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, expected: Expected<'_>, new: &mut [u8], start: usize) {
        let mut at = 0;
        while at < expected.bytes.len() {
            let end = (at + BLOCK).min(expected.bytes.len());
            let (old, place) = (&expected.bytes[at..end], start + at);
            let differs = self.block(coder, *old != new[place..start + end]);
            if !differs {
                new[place..start + end].copy_from_slice(old);
                self.pass((end - at) as u32);
                at = end;
                continue;
            }
            at = self.mend(coder, expected, new, (start, at, end));
        }
    }

    fn block(&mut self, coder: &mut impl Coder, differs: bool) -> bool {
        let near = (self.history & 0xff).count_ones().min(3) as usize;
        let seen = self.since.checked_ilog2().map_or(0, |log| log + 1).min(7) as usize;
        let place = (near * 8 + seen) * 4 + self.quiet as usize;
        let differs = self.blocks[place].code(coder, differs);
        self.quiet = (self.quiet << 1 | u32::from(!differs)) & 3;
        differs
    }

    /// `count` bytes were equal.
    fn pass(&mut self, count: u32) {
        self.since = self.since.saturating_add(count);
        self.history = self.history.checked_shl(count).unwrap_or(0);
    }

    /// Finds the first byte that differs in `at..end`, and mends it. Returns the place behind it.
    fn mend(
        &mut self,
        coder: &mut impl Coder,
        expected: Expected<'_>,
        new: &mut [u8],
        (start, at, end): (usize, usize, usize),
    ) -> usize {
        let old = expected.bytes;
        for (place, at) in (start + at..).zip(at..end) {
            let around = self.around(expected, new, at, place);
            // The last byte of a block differs if none did before.
            let differs = at + 1 == end || self.place(coder, &around, new[place] != old[at]);
            if differs {
                let value = self.value(coder, &around, new[place].wrapping_sub(old[at]));
                new[place] = old[at].wrapping_add(value);
                self.remember(expected, &around, at, place);
                return at + 1;
            }
            new[place] = old[at];
            self.pass(1);
        }
        end
    }

    fn around(&mut self, expected: Expected<'_>, new: &[u8], at: usize, place: usize) -> Around {
        let Expected { old, from, bytes } = expected;
        let spot = self.anatomy.spot(old, from + at);
        let back = if at >= 4 { behind(bytes, at) } else { behind(old, from + at) };
        let ahead = u32::from(bytes.get(at + 1).copied().unwrap_or(0));
        let here = bytes[at];
        let within = spot.within as usize;
        let field = word(old, from + at - within.min(from + at), spot.size);
        let moved = self.moved(&spot, old, new, place);
        let guess = (field.wrapping_add(moved) >> (8 * spot.within.min(3))) as u8;
        Around {
            here: here.into(),
            back,
            ahead,
            made: behind(new, place),
            spot,
            field,
            moved,
            guess: guess.wrapping_sub(here).into(),
        }
    }

    /// By how much the last field of this kind differed, this one apart.
    fn moved(&self, spot: &Spot, old: &[u8], new: &[u8], place: usize) -> u32 {
        if spot.size == 0 {
            return 0;
        }
        let within = spot.within as usize;
        let [last, before] = self.fields[(spot.slot - spot.within.min(3)) as usize];
        let (was, is) = if last.1 + within == place { before } else { last };
        // A field that was taken for another kind may reach beyond what is known.
        word(&new[..place], is, spot.size).wrapping_sub(word(old, was, spot.size))
    }

    /// A byte of a field differed.
    fn remember(&mut self, expected: Expected<'_>, around: &Around, at: usize, place: usize) {
        let within = around.spot.within as usize;
        if around.spot.size > 0 && place >= within {
            let held = &mut self.fields[(around.spot.slot - around.spot.within.min(3)) as usize];
            let found = ((expected.from + at).saturating_sub(within), place - within);
            if held[0].1 != found.1 {
                *held = [found, held[0]];
            }
        }
    }

    fn place(&mut self, coder: &mut impl Coder, around: &Around, differs: bool) -> bool {
        let since = self.since.min(40);
        let history = (self.history & 0xfff) as u32;
        let Around { here, back, ahead, made, spot, field, guess, .. } = *around;
        let same = u32::from(back & 0xff == made & 0xff) | u32::from(back & 0xffff == made & 0xffff) << 1;
        let contexts = [
            context(0, &[here, back & 0xff, ahead, same]),
            context(1, &[since, history, spot.slot]),
            context(3, &[history & 0xf, made & 0xffff, here]),
            context(4, &[(self.history & 0xff_ffff) as u32, (self.history >> 24) as u32 & 0xff]),
            context(5, &[spot.slot, spot.owner, here, since.min(3)]),
            context(6, &[spot.slot, field, guess, history & ((1 << spot.within.min(4)) - 1)]),
        ];
        self.places.bit(coder, &contexts, spot.slot as usize * 41 + since as usize, differs)
    }

    fn value(&mut self, coder: &mut impl Coder, around: &Around, value: u8) -> u8 {
        let Around { here, back, ahead, made, spot, field, guess, moved } = *around;
        // The place in a row of bytes that differ.
        let row = (!self.history).trailing_zeros().min(3);
        let slot = spot.slot << 2 | row;
        let contexts = [
            context(0, &[slot, (self.history & 0xf) as u32]),
            context(1, &[slot, here, spot.owner]),
            context(2, &[slot, self.last & 0xff]),
            context(4, &[row, self.row, self.last & if row == 0 { 0 } else { 0xff }]),
            context(5, &[row, here, back & 0xff, ahead]),
            context(6, &[slot, field, self.last & if row == 0 { 0 } else { 0xff }]),
            context(7, &[slot, guess, moved]),
            context(8, &[here, made & 0xffff]),
        ];
        let value = self.values.byte(coder, &contexts, spot.slot as usize, value);
        if row == 0 {
            self.row = self.last & 0xffff;
        }
        self.last = self.last << 8 | u32::from(value);
        self.history = self.history << 1 | 1;
        self.since = 0;
        value
    }
}

/// What is known where a byte is to be mended.
struct Around {
    /// The byte that is expected, the four before it (the last one lowest), and the one behind it.
    here: u32,
    back: u32,
    ahead: u32,
    /// The four bytes before it in new.
    made: u32,
    spot: Spot,
    /// The old value of the field that it belongs to.
    field: u32,
    /// By how much the last field of this kind differed.
    moved: u32,
    /// By how much the byte differs if this one differs by as much.
    guess: u32,
}

/// The four bytes before a place, the last one lowest; fewer at the beginning.
fn behind(bytes: &[u8], at: usize) -> u32 {
    match at.checked_sub(4).and_then(|first| bytes[first..].first_chunk()) {
        Some(four) => u32::from_be_bytes(*four),
        None => bytes[..at].iter().fold(0, |back, byte| back << 8 | u32::from(*byte)),
    }
}

/// Up to four bytes at a place, the lowest first.
fn word(bytes: &[u8], at: usize, size: u32) -> u32 {
    if size == 0 {
        return 0;
    }
    let end = (at + size.min(4) as usize).min(bytes.len());
    bytes[at.min(end)..end].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// Bytes that are not taken from old.
#[derive(Debug)]
pub(crate) struct Literals {
    model: Mixed<LITERAL_CONTEXTS>,
    anatomy: Anatomy,
    /// Where in new each hash of bytes was last seen.
    seen: Vec<u32>,
    /// Where in new the bytes before the place were seen before, and for how long they have been the same.
    matched: (usize, u32),
}

/// How many bytes are hashed to find where they were before.
const SEEN: usize = 5;

const LITERAL_CONTEXTS: usize = 8;

/// Where in old a run ends, and where the next one begins, if that is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Between {
    pub(crate) ends: usize,
    pub(crate) begins: Option<usize>,
}

impl Literals {
    /// Models with tables of `1 << bits` places each, for a new file of this anatomy.
    pub(crate) fn new(bits: u32, anatomy: Anatomy) -> Self {
        Self { model: Mixed::new(bits, SLOTS * 256), anatomy, seen: vec![0; 1 << bits.min(18)], matched: (0, 0) }
    }

    /// The memory that models with such tables take.
    pub(crate) fn memory(bits: u32) -> u64 {
        Mixed::<LITERAL_CONTEXTS>::memory(bits, SLOTS * 256) + (4 << bits.min(18))
    }

    /// The bytes `at..end` of new, of which those before `at` are there, between two runs of old.
    pub(crate) fn code(
        &mut self,
        coder: &mut impl Coder,
        old: &[u8],
        between: Between,
        new: &mut [u8],
        at: usize,
        end: usize,
    ) {
        self.matched = (0, 0);
        let byte = |place: Option<usize>| place.and_then(|place| old.get(place)).map_or(256, |byte| u32::from(*byte));
        for place in at..end {
            let (done, left) = (place - at, end - place);
            let goes_on = byte(between.ends.checked_add(done));
            let leads_in = byte(between.begins.and_then(|begins| begins.checked_sub(left)));
            let back = back(new, place);
            let guess = self.guess(new, place);
            let slot = self.anatomy.spot(&new[..place], place).slot;
            let low = back as u32;
            let contexts = [
                context(0, &[slot]),
                context(1, &[low & 0xff, slot]),
                context(2, &[low & 0xffff]),
                context(3, &[low & 0xff_ffff]),
                context(5, &[guess, self.matched.1.min(15)]),
                context(6, &[goes_on, slot, done.min(3) as u32]),
                context(7, &[leads_in, slot, left.min(4) as u32]),
                context(8, &[goes_on, leads_in, low & 0xff]),
            ];
            let byte = self.model.byte(coder, &contexts, slot as usize, new[place]);
            new[place] = byte;
            self.learn(new, place, guess);
        }
    }

    /// The byte that followed when the bytes before were here the last time, or 256.
    fn guess(&mut self, new: &[u8], place: usize) -> u32 {
        if self.matched.1 == 0 && place >= SEEN {
            let before = self.seen[self.slot(new, place)] as usize;
            let equal = (1..=16).take_while(|n| before >= *n && new[before - n] == new[place - n]).count() as u32;
            self.matched = (before, if equal >= SEEN as u32 && before < place { equal } else { 0 });
        }
        if self.matched.1 > 0 { u32::from(new[self.matched.0]) } else { 256 }
    }

    fn learn(&mut self, new: &[u8], place: usize, guess: u32) {
        let hit = guess == u32::from(new[place]);
        self.matched = if hit { (self.matched.0 + 1, self.matched.1 + 1) } else { (0, 0) };
        if place + 1 >= SEEN {
            let slot = self.slot(new, place + 1);
            self.seen[slot] = (place + 1) as u32;
        }
    }

    fn slot(&self, new: &[u8], place: usize) -> usize {
        let last = back(new, place) & ((1 << (8 * SEEN)) - 1);
        let hash = context(6, &[last as u32, (last >> 32) as u32]);
        (hash.wrapping_mul(0x9e37_79b1) >> (32 - self.seen.len().trailing_zeros())) as usize
    }
}

/// The eight bytes before a place, the last one lowest.
fn back(new: &[u8], place: usize) -> u64 {
    let first = place.saturating_sub(8);
    new[first..place].iter().fold(0, |back, byte| back << 8 | u64::from(*byte))
}
