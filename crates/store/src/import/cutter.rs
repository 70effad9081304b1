//! Cutting one large file: a window slides over it, and only that much of it is in memory.
//!
//! Holes are not read: the piece that begins at least [`Grain::max`] zeros is as long as that of any other such window, so they
//! are cut as if they had been read.

use crate::disk::Disk;
use content::cut::{Grain, is_zero};
use std::io;
use std::ops::Range;

/// A file that is being read, and its length.
pub(super) struct Reading<'a, D: Disk> {
    pub(super) disk: &'a D,
    pub(super) file: &'a D::File,
    pub(super) len: u64,
}

impl<D: Disk> Reading<'_, D> {
    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        match self.disk.read_at(self.file, buffer, at)? == buffer.len() {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter")),
        }
    }

    /// How many zeros that need not be read begin at `at`.
    fn hole(&self, at: u64) -> io::Result<u64> {
        let data = self.disk.next_data(self.file, at)?;
        Ok(data.map_or(self.len, |data| data.start.min(self.len)).saturating_sub(at))
    }
}

/// What a file was cut into, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cut {
    /// So many zeros, which need no piece.
    Hole(u64),
    /// A piece: where it stands in the file, and where in the bytes of its [`Block`].
    Piece(u64, Range<usize>),
}

/// The next pieces of a file, with their bytes.
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) cuts: Vec<Cut>,
    /// How many bytes were read for it.
    pub(super) read: u64,
    /// Whether the file ends with it.
    pub(super) is_last: bool,
}

/// How far a file is cut.
pub(super) struct Cutter {
    grain: Grain,
    /// How much is read at once, in bytes.
    window: usize,
    /// Where the next piece begins.
    at: u64,
    /// The bytes from there on that were read already: fewer than the largest piece has.
    rest: Vec<u8>,
}

impl Cutter {
    /// At the beginning of a file.
    pub(super) fn new(grain: Grain, window: usize) -> Self {
        Self { grain, window: window.max(2 * grain.max()), at: 0, rest: Vec::new() }
    }

    /// The next block; `bytes` is room that was used before.
    pub(super) fn next<D: Disk>(&mut self, reading: &Reading<'_, D>, mut bytes: Vec<u8>) -> io::Result<Block> {
        let mut cuts = Vec::new();
        let skipped = self.skip_hole(reading)?;
        if skipped > 0 {
            cuts.push(Cut::Hole(skipped));
            self.at += skipped;
            self.rest.clear();
        }
        let held = self.rest.len();
        let left = reading.len - (self.at + held as u64).min(reading.len);
        let more = left.min((self.window - held) as u64) as usize;
        // Never made shorter: room that is cleared must be zeroed again.
        bytes.resize(bytes.len().max(held + more), 0);
        bytes[..held].copy_from_slice(&self.rest);
        reading.read(&mut bytes[held..held + more], self.at + held as u64)?;
        let is_last = more as u64 == left;
        let used = self.cut(&bytes[..held + more], is_last, &mut cuts);
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[used..held + more]);
        Ok(Block { bytes, cuts, read: more as u64, is_last })
    }

    /// Cuts as far as it can be told where; returns how many bytes that is.
    fn cut(&mut self, bytes: &[u8], is_last: bool, cuts: &mut Vec<Cut>) -> usize {
        let (mut begin, max) = (0, self.grain.max());
        while begin < bytes.len() && (is_last || bytes.len() - begin >= max) {
            let window = &bytes[begin..];
            let len = self.grain.next_cut(&window[..window.len().min(max)]);
            cuts.push(match is_zero(&window[..len]) {
                true => Cut::Hole(len as u64),
                false => Cut::Piece(self.at, begin..begin + len),
            });
            (begin, self.at) = (begin + len, self.at + len as u64);
        }
        begin
    }

    /// How many bytes are pieces of zeros that need not be read, if what was read already is zeros, too.
    fn skip_hole<D: Disk>(&self, reading: &Reading<'_, D>) -> io::Result<u64> {
        let held = self.rest.len() as u64;
        if !is_zero(&self.rest) {
            return Ok(0);
        }
        let hole = held + reading.hole(self.at + held)?;
        // A piece of nothing but zeros is the longest piece, which a test of `content::cut` holds.
        let max = self.grain.max() as u64;
        if hole < max {
            return Ok(0);
        }
        // The last piece must still see so many zeros before it.
        let pieces = (hole - max) / max + 1;
        Ok(pieces * max)
    }
}
