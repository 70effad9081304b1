//! Where the pieces of a manifest stand in their file: one after another, a pure function of the manifest.
//!
//! A piece that begins a run of pieces of a file at a whole [`BLOCK`] of that file is moved up to a whole block too, so that
//! a file system that can share ranges between files can lay such a run out without copying it.

use content::manifest::{Extent, Kind, Manifest};
use content::{Digest, Piece};

/// What ranges must be a multiple of to be shared, in bytes.
pub(crate) const BLOCK: u64 = 4096;

/// One piece, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) digest: Digest,
    pub(crate) len: u32,
    pub(crate) offset: u64,
}

/// All pieces of a manifest, by index.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    places: Vec<Place>,
    len: u64,
}

impl Places {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let aligned = aligned(manifest);
        let mut end = 0u64;
        let places = manifest.pieces.iter().enumerate().map(|(index, &Piece { digest, len })| {
            let wanted = aligned.binary_search(&(index as u32)).is_ok();
            let offset = if wanted { end.next_multiple_of(BLOCK) } else { end };
            end = offset + u64::from(len);
            Place { digest, len, offset }
        });
        let places = places.collect();
        Self { places, len: end }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Place> {
        self.places.get(index as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.places.iter()
    }

    /// The length of the file of pieces, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

/// The pieces that stand at whole blocks, rising: each begins a run, fresh in the manifest, at a whole block of its file.
fn aligned(manifest: &Manifest) -> Vec<u32> {
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
            at += extent_len(manifest, extent);
        }
    }
    aligned
}

/// The length of an extent, in bytes.
pub(crate) fn extent_len(manifest: &Manifest, extent: &Extent) -> u64 {
    match *extent {
        Extent::Pieces { first, count } => {
            manifest.pieces[first as usize..(first + count) as usize].iter().map(|piece| u64::from(piece.len)).sum()
        }
        Extent::Part { len, .. } => len.into(),
        Extent::Hole { len } => len,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::manifest::Builder;

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
        let places = Places::of(&builder.finish().expect("a tree"));
        let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
        assert_eq!(offsets, [0, 40_000, 90_112]);
        assert_eq!(places.len(), 90_112 + 33_333);
    }
}
