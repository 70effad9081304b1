//! Where files are cut into pieces; constants of encoding version 1, for ever.
//!
//! Files of at least [`SMALL`] bytes are cut by content (FastCDC, normalised, 32 / 64 / 128 KiB) and no piece crosses
//! them. Smaller files are packed together in path order; a pack ends after a file whose *path* says so, or when the next
//! file would make it too long, so that after a change the packs are the old ones again from the next such path on. Empty
//! files are in no pack. A piece, or a small file, that is all zeros is a hole and needs no piece ([`is_zero`]).
//!
//! These rules are part of the format: the same content must have the same digest wherever it is published. The test of
//! golden cuts fails when a new version of the cutting library would break that.

use fastcdc::v2020::MASKS;

/// The smallest piece that content decides, in bytes.
pub const MIN_PIECE: usize = 32 * 1024;
/// The length that cuts aim at, in bytes.
pub const AIM_PIECE: usize = 64 * 1024;
/// The largest piece there is, in bytes.
pub const MAX_PIECE: usize = 128 * 1024;
/// Files shorter than this are packed together.
pub const SMALL: usize = MIN_PIECE;

/// A pack shorter than this does not end by its last path.
const MIN_PACK: usize = 16 * 1024;
/// One path of eight may end a pack: those whose digest begins with a byte below this.
const PACK_ENDS: u8 = 32;

/// Bits that must be zero before and after the aim: 17 and 15 of them, that is FastCDC's normalisation level 1.
const MASK_SMALL: u64 = MASKS[17];
const MASK_LARGE: u64 = MASKS[15];

/// The length of the next piece of a large file. `window` begins where the last piece ended and holds at least
/// [`MAX_PIECE`] bytes, or all that is left of the file.
pub fn next_cut(window: &[u8]) -> usize {
    let (small, large) = (MASK_SMALL, MASK_LARGE);
    fastcdc::v2020::cut(window, MIN_PIECE, AIM_PIECE, MAX_PIECE, small, large, small << 1, large << 1).1
}

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Without a branch per byte, the inner loop becomes a few vector instructions.
    bytes.chunks(256).all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Decides, small file by small file in path order, where packs end.
#[derive(Debug, Default)]
pub struct Packer {
    len: usize,
}

impl Packer {
    /// A packer with an empty pack open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the open pack must end before a file of `len` bytes is added to it.
    pub fn must_end_before(&self, len: usize) -> bool {
        self.len > 0 && self.len + len > AIM_PIECE
    }

    /// Adds a file, by its path in the manifest; true when the pack ends after it.
    pub fn add(&mut self, path: &[u8], len: usize) -> bool {
        self.len += len;
        self.len >= MIN_PACK && crate::Digest::of(path).as_bytes()[0] < PACK_ENDS
    }

    /// The bytes in the open pack.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in the open pack.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins a new pack.
    pub fn begin(&mut self) {
        self.len = 0;
    }
}
