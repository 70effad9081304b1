//! The models of what a patch says: which runs are taken from old, how they are mended, and the literals between them.
//!
//! Each model codes in both directions. Buffers are written by the reader and rewritten with what they hold by the writer, so
//! both see the same bytes before a place, and look at none behind it but to decide what to say, which a reader does not.
//! Like [`crate::model`], all of it belongs to the format.

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
    jumps: Signed,
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
            None => self.recent[0] + self.jumps.code(coder, diagonal - self.recent[0]),
        };
        self.recent[..=kind.min(3)].rotate_right(1);
        self.recent[0] = found;
        self.history = self.history << 2 | [0, 1, 1, 1, 2][kind];
        found
    }
}

/// How runs are mended: where bytes differ from those of old, and what they are.
#[derive(Debug)]
pub(crate) struct Mending {
    /// Whether a byte differs among the next [`BLOCK`], by how it was in the last blocks and places.
    blocks: Vec<Bit>,
    places: Mixed<5>,
    values: Mixed<6>,
    /// One bit for each of the last bytes, which is 1 where it differed.
    history: u64,
    /// How many bytes were equal since the last one that differed.
    since: u32,
    /// The last differences, one byte each.
    last: u32,
    /// The difference before each of those of the last row.
    row: u32,
    quiet: u32,
}

/// How many bytes are said at once to be all equal.
const BLOCK: usize = 32;

impl Mending {
    /// Models with tables of `1 << bits` places each.
    pub(crate) fn new(bits: u32) -> Self {
        Self {
            blocks: vec![Bit::default(); 4 * 8 * 4],
            places: Mixed::new(bits, 64),
            values: Mixed::new(bits, 4 * 256),
            history: 0,
            since: 0,
            last: 0,
            row: 0,
            quiet: 0,
        }
    }

    /// Mends `new`, which stands where `old` is expected. `before` is the byte of old before it.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, before: &[u8], old: &[u8], new: &mut [u8]) {
        let mut at = 0;
        while at < old.len() {
            let end = (at + BLOCK).min(old.len());
            let differs = self.block(coder, old[at..end] != new[at..end]);
            if !differs {
                new[at..end].copy_from_slice(&old[at..end]);
                self.pass((end - at) as u32);
                at = end;
                continue;
            }
            at = self.mend(coder, (before, old), new, at, end);
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
        (before, old): (&[u8], &[u8]),
        new: &mut [u8],
        at: usize,
        end: usize,
    ) -> usize {
        let mut place = at;
        loop {
            let around = Around::of(before, old, place);
            // The last byte of a block differs if none did before.
            let differs = place + 1 == end || self.place(coder, &around, new[place] != old[place]);
            if differs {
                let value = self.value(coder, &around, new[place].wrapping_sub(old[place]));
                new[place] = old[place].wrapping_add(value);
                return place + 1;
            }
            new[place] = old[place];
            self.pass(1);
            place += 1;
        }
    }

    fn place(&mut self, coder: &mut impl Coder, around: &Around, differs: bool) -> bool {
        let since = self.since.min(40);
        let history = (self.history & 0xfff) as u32;
        let Around { here, back } = *around;
        let contexts = [
            context(0, &[here, back & 0xff, since.min(3)]),
            context(1, &[since, history]),
            context(2, &[back & 0xff_ffff, since.min(4)]),
            context(3, &[history & 0xf, back & 0xffff, here]),
            context(4, &[(self.history & 0xff_ffff) as u32, (self.history >> 24) as u32 & 0xff]),
        ];
        self.places.bit(coder, &contexts, since as usize, differs)
    }

    fn value(&mut self, coder: &mut impl Coder, around: &Around, value: u8) -> u8 {
        let Around { here, back } = *around;
        // The place in a row of bytes that differ.
        let row = (!self.history).trailing_zeros().min(3);
        let contexts = [
            context(0, &[row, (self.history & 0xf) as u32]),
            context(1, &[row, here]),
            context(2, &[row, self.last & 0xff]),
            context(3, &[row, self.last & 0xffff, here]),
            context(4, &[row, self.row, self.last & if row == 0 { 0 } else { 0xff }]),
            context(5, &[row, here, back & 0xff]),
        ];
        let value = self.values.byte(coder, &contexts, row as usize, value);
        if row == 0 {
            self.row = self.last & 0xffff;
        }
        self.last = self.last << 8 | u32::from(value);
        self.history = self.history << 1 | 1;
        self.since = 0;
        value
    }
}

/// The byte of old at a place, and the four before it, the last one lowest.
struct Around {
    here: u32,
    back: u32,
}

impl Around {
    fn of(before: &[u8], old: &[u8], at: usize) -> Self {
        let back = (1..=4).rev().fold(0u32, |back, distance| {
            let byte = match at.checked_sub(distance) {
                Some(at) => old.get(at),
                None => (before.len() + at).checked_sub(distance).and_then(|at| before.get(at)),
            };
            back << 8 | u32::from(byte.copied().unwrap_or(0))
        });
        Self { here: u32::from(old[at]), back }
    }
}

/// Bytes that are not taken from old.
#[derive(Debug)]
pub(crate) struct Literals {
    model: Mixed<6>,
    /// Where in new each hash of bytes was last seen.
    seen: Vec<u32>,
    /// Where in new the bytes before the place were seen before, and for how long they have been the same.
    matched: (usize, u32),
}

/// How many bytes are hashed to find where they were before.
const SEEN: usize = 5;

impl Literals {
    /// Models with tables of `1 << bits` places each.
    pub(crate) fn new(bits: u32) -> Self {
        Self { model: Mixed::new(bits, 4 * 256), seen: vec![0; 1 << bits.min(18)], matched: (0, 0) }
    }

    /// The bytes `at..end` of new, of which those before `at` are there.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, new: &mut [u8], at: usize, end: usize) {
        self.matched = (0, 0);
        for place in at..end {
            let back = back(new, place);
            let guess = self.guess(new, place);
            let low = back as u32;
            let contexts = [
                context(0, &[]),
                context(1, &[low & 0xff]),
                context(2, &[low & 0xffff]),
                context(3, &[low & 0xff_ffff]),
                context(4, &[low, (back >> 32) as u32 & 0xff]),
                context(5, &[guess, self.matched.1.min(15)]),
            ];
            let set = self.matched.1.min(12) as usize / 4;
            let byte = self.model.byte(coder, &contexts, set, new[place]);
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
