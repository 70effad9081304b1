//! Makes manifests in their one form from what an importer finds, entry by entry in path order.
//!
//! A small file's pack gets its digest only when it is full, long after the file's entry was made. So the builder gives
//! every piece a slot of its own, and only [`Builder::finish`] sees which slots hold the same piece, numbers the pieces by
//! their first use and joins extents.

use super::table::WHAT;
use super::{Entry, Extent, Kind, Manifest};
use crate::Piece;
use crate::encoding::Malformed;
use std::collections::BTreeMap;

/// A manifest in the making. Whatever is fed to it, [`Builder::finish`] returns only manifests that decode.
#[derive(Debug, Default)]
pub struct Builder {
    /// Entries whose extents count slots, not pieces.
    entries: Vec<Entry>,
    slots: Vec<Option<Piece>>,
}

/// A piece to come, which several small files are parts of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pack(u32);

impl Builder {
    /// A builder without entries; the first one must be the root, whose path is empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; returns its index.
    pub fn directory(&mut self, path: &[u8], mode: u16) -> u32 {
        self.add(path, Kind::Directory { mode })
    }

    /// Adds a symbolic link; returns its index.
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> u32 {
        self.add(path, Kind::Symlink { target: target.to_vec() })
    }

    /// Adds another name of the regular file with the index `to`; returns its index.
    pub fn hard_link(&mut self, path: &[u8], to: u32) -> u32 {
        self.add(path, Kind::HardLink { to })
    }

    /// Adds an empty regular file, whose bytes the next calls append; returns its index.
    pub fn file(&mut self, path: &[u8], mode: u16) -> u32 {
        self.add(path, Kind::File { mode, len: 0, extents: Vec::new() })
    }

    /// Appends a whole piece to the file added last.
    ///
    /// # Panics
    ///
    /// When the entry added last is not a regular file; so do [`Builder::part`] and [`Builder::hole`].
    pub fn piece(&mut self, piece: Piece) {
        self.slots.push(Some(piece));
        self.append(Extent::Pieces { first: self.slots.len() as u32 - 1, count: 1 }, piece.len.into());
    }

    /// Appends zeros that need no piece to the file added last.
    pub fn hole(&mut self, len: u64) {
        if len > 0 {
            self.append(Extent::Hole { len }, len);
        }
    }

    /// Begins a pack, which [`Builder::close`] must end.
    pub fn open(&mut self) -> Pack {
        self.slots.push(None);
        Pack(self.slots.len() as u32 - 1)
    }

    /// Appends `len` bytes of a pack, from `offset` on, to the file added last.
    pub fn part(&mut self, pack: Pack, offset: u32, len: u32) {
        self.append(Extent::Part { piece: pack.0, offset, len }, len.into());
    }

    /// Says what a pack has become.
    pub fn close(&mut self, pack: Pack, piece: Piece) {
        self.slots[pack.0 as usize] = Some(piece);
    }

    /// The manifest, if what was fed is a tree; else what is wrong with it. A pack that no file has a part of is left out.
    pub fn finish(self) -> Result<Manifest, Malformed> {
        let mut numbering = Numbering { slots: self.slots, numbers: BTreeMap::new(), pieces: Vec::new() };
        let mut entries = self.entries;
        for entry in &mut entries {
            if let Kind::File { extents, .. } = &mut entry.kind {
                *extents = numbering.renumber(extents)?;
            }
        }
        let manifest = Manifest { entries, pieces: numbering.pieces };
        manifest.check()?;
        Ok(manifest)
    }

    fn add(&mut self, path: &[u8], kind: Kind) -> u32 {
        self.entries.push(Entry { path: path.to_vec(), kind });
        self.entries.len() as u32 - 1
    }

    fn append(&mut self, extent: Extent, more: u64) {
        match self.entries.last_mut().map(|entry| &mut entry.kind) {
            Some(Kind::File { len, extents, .. }) => {
                *len = len.saturating_add(more);
                push(extents, extent);
            }
            _ => panic!("bytes are appended to the file that was added last, and that entry is none"),
        }
    }
}

/// Turns slots into piece numbers, in the order of first use.
struct Numbering {
    slots: Vec<Option<Piece>>,
    numbers: BTreeMap<Piece, u32>,
    pieces: Vec<Piece>,
}

impl Numbering {
    fn renumber(&mut self, slots: &[Extent]) -> Result<Vec<Extent>, Malformed> {
        let mut extents = Vec::with_capacity(slots.len());
        for extent in slots {
            match *extent {
                Extent::Hole { .. } => push(&mut extents, *extent),
                Extent::Pieces { first, count } => {
                    for slot in first..first + count {
                        push(&mut extents, Extent::Pieces { first: self.number(slot)?.0, count: 1 });
                    }
                }
                Extent::Part { piece: slot, offset, len } => {
                    let (piece, whole) = self.number(slot)?;
                    push(&mut extents, Extent::Part { piece, offset, len });
                    make_whole(&mut extents, whole);
                }
            }
        }
        Ok(extents)
    }

    fn number(&mut self, slot: u32) -> Result<(u32, u32), Malformed> {
        let piece = self.slots[slot as usize].ok_or_else(|| Malformed::new(WHAT, "a pack was not closed"))?;
        let number = *self.numbers.entry(piece).or_insert_with(|| {
            self.pieces.push(piece);
            self.pieces.len() as u32 - 1
        });
        Ok((number, piece.len))
    }
}

/// A part that is all of its piece, of `whole` bytes, becomes a run of one piece.
fn make_whole(extents: &mut Vec<Extent>, whole: u32) {
    if let Some(&Extent::Part { piece, offset: 0, len }) = extents.last()
        && len == whole
    {
        extents.pop();
        push(extents, Extent::Pieces { first: piece, count: 1 });
    }
}

fn push(extents: &mut Vec<Extent>, next: Extent) {
    match extents.last_mut().and_then(|last| Some((merged(*last, next)?, last))) {
        Some((one, last)) => *last = one,
        None => extents.push(next),
    }
}

/// The one extent that two neighbours are, if they can be one.
pub(super) fn merged(a: Extent, b: Extent) -> Option<Extent> {
    match (a, b) {
        (Extent::Hole { len }, Extent::Hole { len: more }) => Some(Extent::Hole { len: len.saturating_add(more) }),
        (Extent::Pieces { first, count }, Extent::Pieces { first: next, count: more })
            if first.checked_add(count) == Some(next) =>
        {
            Some(Extent::Pieces { first, count: count.checked_add(more)? })
        }
        (Extent::Part { piece, offset, len }, Extent::Part { piece: other, offset: next, len: more })
            if piece == other && offset.checked_add(len) == Some(next) =>
        {
            Some(Extent::Part { piece, offset, len: len.checked_add(more)? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn piece(n: u8, len: u32) -> Piece {
        Piece { digest: Digest::of(&[n]), len }
    }

    fn extents(manifest: &Manifest, index: u32) -> &[Extent] {
        match &manifest.entries[index as usize].kind {
            Kind::File { extents, .. } => extents,
            other => panic!("{other:?} is no file"),
        }
    }

    #[test]
    fn packs_get_their_digest_after_their_files() {
        let mut builder = Builder::new();
        builder.directory(b"", 0o755);
        let pack = builder.open();
        let small = builder.file(b"a", 0o644);
        builder.part(pack, 0, 5);
        let large = builder.file(b"b", 0o644);
        builder.piece(piece(1, 100));
        builder.piece(piece(2, 200));
        builder.hole(0);
        builder.hole(7);
        builder.hole(8);
        builder.piece(piece(1, 100));
        let rest = builder.file(b"c", 0o644);
        builder.part(pack, 5, 4);
        let empty = builder.file(b"d", 0o644);
        builder.hard_link(b"e", small);
        builder.symlink(b"f", b"a");
        builder.close(pack, piece(9, 9));
        let manifest = builder.finish().expect("a tree");
        assert_eq!(manifest.pieces, [piece(9, 9), piece(1, 100), piece(2, 200)]);
        assert_eq!(extents(&manifest, small), [Extent::Part { piece: 0, offset: 0, len: 5 }]);
        assert_eq!(extents(&manifest, rest), [Extent::Part { piece: 0, offset: 5, len: 4 }]);
        assert_eq!(extents(&manifest, empty), []);
        let [run, hole, again] = extents(&manifest, large) else { panic!("{manifest:?}") };
        assert_eq!((*run, *hole), (Extent::Pieces { first: 1, count: 2 }, Extent::Hole { len: 15 }));
        assert_eq!(*again, Extent::Pieces { first: 1, count: 1 });
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        let totals = manifest.totals();
        assert_eq!((totals.entries, totals.size, totals.pieces, totals.bytes), (7, 5 + 415 + 4, 3, 309));
    }

    #[test]
    fn equal_packs_are_one_piece_and_a_part_that_is_all_of_it_is_a_run() {
        let mut builder = Builder::new();
        builder.directory(b"", 0o755);
        for name in [b"a", b"b"] {
            let pack = builder.open();
            builder.file(name, 0o644);
            builder.part(pack, 0, 3);
            builder.part(pack, 3, 2);
            builder.close(pack, piece(5, 5));
        }
        let manifest = builder.finish().expect("a tree");
        assert_eq!(manifest.pieces, [piece(5, 5)]);
        for index in [1, 2] {
            assert_eq!(extents(&manifest, index), [Extent::Pieces { first: 0, count: 1 }]);
        }
    }

    #[test]
    fn only_trees_are_finished() {
        let mut out_of_order = Builder::new();
        out_of_order.directory(b"", 0o755);
        out_of_order.file(b"b", 0o644);
        out_of_order.file(b"a", 0o644);
        assert!(out_of_order.finish().is_err());
        let mut left_open = Builder::new();
        let pack = left_open.open();
        left_open.file(b"", 0o644);
        left_open.part(pack, 0, 3);
        let error = left_open.finish().expect_err("the pack has no digest").to_string();
        assert!(error.contains("a pack was not closed"), "{error}");
        assert!(Builder::new().finish().is_err());
    }
}
