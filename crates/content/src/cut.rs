//! Where files are cut into pieces; constants of encoding version 1, for ever.
//!
//! Files of at least [`SMALL`] bytes are cut by content (FastCDC, normalised, 32 / 64 / 128 KiB) and no piece crosses
//! them. Smaller files are packed together in path order, and a pack's end depends on paths alone, so that changing one
//! file's bytes moves no other file into another pack.

/// The smallest piece that content decides, in bytes.
pub const MIN_PIECE: usize = 32 * 1024;
/// The length that cuts aim at, in bytes.
pub const AIM_PIECE: usize = 64 * 1024;
/// The largest piece there is, in bytes.
pub const MAX_PIECE: usize = 128 * 1024;
/// Files shorter than this are packed together.
pub const SMALL: usize = MIN_PIECE;

/// The length of the next piece of a large file. `window` begins where the last piece ended and holds at least
/// [`MAX_PIECE`] bytes, or all that is left of the file.
pub fn next_cut(_window: &[u8]) -> usize {
    todo!()
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
    pub fn must_end_before(&self, _len: usize) -> bool {
        todo!()
    }

    /// Adds a file to the open pack; true when the pack ends after it.
    pub fn add(&mut self, _path: &[u8], _len: usize) -> bool {
        todo!()
    }

    /// Begins a new pack.
    pub fn begin(&mut self) {
        self.len = 0;
    }
}
