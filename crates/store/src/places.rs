//! Where the pieces of a manifest stand in their file: one after another, a pure function of the manifest.
//!
//! A piece that begins a run of pieces of a file at a whole [`BLOCK`] of that file is moved up to a whole block too, so that
//! a file system that can share ranges between files can lay such a run out without copying it.

use content::manifest::{Extent, Kind, Lengths, Outline, PIECE_LEN};
use std::sync::Arc;

/// What ranges must be a multiple of to be shared, in bytes.
pub(crate) const BLOCK: u64 = 4096;

/// Where one piece stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) len: u32,
    pub(crate) offset: u64,
}

/// All pieces of a manifest, by index, in about five bytes each; their digests stay in the manifest.
#[derive(Debug)]
pub(crate) struct Places {
    lengths: Arc<Lengths>,
    /// The pieces that were moved up, rising, and by how much they and those before them were together.
    moved: Vec<(u32, u64)>,
    /// Where in the manifest their digests stand.
    table: u64,
}

impl Places {
    pub(crate) fn of(outline: &Outline) -> Self {
        let lengths = outline.lengths.clone();
        let mut by = 0;
        let mut moved = Vec::new();
        for index in aligned(outline) {
            let end = lengths.before(index) + by;
            by += end.next_multiple_of(BLOCK) - end;
            moved.push((index, by));
        }
        // Most move nothing: a file that is alone, or one that follows whole blocks.
        moved.dedup_by_key(|(_, by)| *by);
        moved.retain(|(_, by)| *by > 0);
        moved.shrink_to_fit();
        Self { lengths, moved, table: outline.piece_offset(0) }
    }

    pub(crate) fn get(&self, index: u32) -> Option<Place> {
        let len = self.lengths.get(index)?;
        Some(Place { len, offset: self.lengths.before(index) + self.moved_by(index) })
    }

    fn moved_by(&self, index: u32) -> u64 {
        let after = self.moved.partition_point(|(first, _)| *first <= index);
        after.checked_sub(1).map_or(0, |last| self.moved[last].1)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.lengths.count()
    }

    /// The length of the file of pieces, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.lengths.before(u32::MAX) + self.moved_by(u32::MAX)
    }

    /// Where in the encoded manifest the digest of a piece begins, and its length follows.
    pub(crate) fn in_table(&self, index: u32) -> u64 {
        self.table + u64::from(index) * PIECE_LEN as u64
    }
}

/// The pieces that stand at whole blocks, rising: each begins a run, fresh in the manifest, at a whole block of its file.
fn aligned(manifest: &Outline) -> Vec<u32> {
    let (mut aligned, mut used) = (Vec::new(), 0);
    for entry in &manifest.entries {
        let Kind::File { extents, .. } = &entry.kind else { continue };
        let mut at = 0u64;
        for extent in extents {
            let end = match *extent {
                Extent::Pieces { first, count } => {
                    if first == used && at.is_multiple_of(BLOCK) {
                        aligned.push(first);
                    }
                    first + count
                }
                Extent::Part { piece, .. } => piece + 1,
                Extent::Hole { .. } => used,
            };
            used = used.max(end);
            at += extent_len(&manifest.lengths, extent);
        }
    }
    aligned
}

/// The length of an extent, in bytes.
pub(crate) fn extent_len(lengths: &Lengths, extent: &Extent) -> u64 {
    match *extent {
        Extent::Pieces { first, count } => lengths.before(first + count) - lengths.before(first),
        Extent::Part { len, .. } => len.into(),
        Extent::Hole { len } => len,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::manifest::{Builder, OutlineReader};
    use content::{Digest, Piece};

    fn piece(seed: u8, len: u32) -> Piece {
        Piece { digest: Digest::of(&[seed]), len }
    }

    #[test]
    fn runs_that_begin_a_file_stand_at_whole_blocks_and_nothing_overlaps() {
        let mut builder = Builder::new();
        builder.directory(b"", 0o755);
        builder.file(b"a", 0o644);
        builder.piece(piece(1, 40_000));
        builder.piece(piece(2, 50_001));
        builder.file(b"b", 0o644);
        builder.piece(piece(3, 33_333));
        builder.file(b"c", 0o644);
        builder.piece(piece(2, 50_001));
        let mut reader = OutlineReader::new();
        reader.feed(&builder.finish().expect("a tree").encode()).expect("a manifest");
        let places = Places::of(&reader.finish().expect("a manifest"));
        let offsets: Vec<u64> =
            (0..places.count()).filter_map(|index| places.get(index)).map(|place| place.offset).collect();
        assert_eq!(offsets, [0, 40_000, 90_112]);
        assert_eq!(places.len(), 90_112 + 33_333);
    }
}
