//! From what was read of each file, in path order, to a manifest, and where each of its pieces stands.
//!
//! Small files are put together into packs here, because where a pack ends depends on the files before it; everything that takes
//! time (reading, cutting large files, hashing) was done before, or is given away.

use super::source::Spot;
use crate::hands::{Hands, each};
use content::cut::{Grain, Packer};
use content::manifest::{Builder, Pack};
use content::{Digest, Piece};
use std::collections::BTreeMap;

/// Everything that is known of the bytes so far.
pub(super) struct Cutting {
    pub(super) builder: Builder,
    /// Where the first of each piece stands.
    pub(super) spots: BTreeMap<Digest, Spot>,
    packer: Packer,
    pack: Option<OpenPack>,
    /// Packs that ended and are to be hashed.
    ended: Vec<OpenPack>,
}

struct OpenPack {
    pack: Pack,
    bytes: Vec<u8>,
    files: Vec<(u32, u32)>,
}

/// What a file is made of, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// So many zeros.
    Hole(u64),
    /// A piece, and where it stands in the file.
    Piece(u64, Piece),
}

impl Cutting {
    /// Nothing yet, of a content that is cut so fine.
    pub(super) fn new(grain: Grain) -> Self {
        let (builder, packer) = (Builder::new(), Packer::new(grain));
        Self { builder, spots: BTreeMap::new(), packer, pack: None, ended: Vec::new() }
    }

    /// Appends the bytes of a small file, which are not all zeros, to it: its entry was added last.
    pub(super) fn small(&mut self, path: &[u8], entry: u32, bytes: &[u8]) {
        if self.packer.must_end_before(bytes.len()) {
            self.end_pack();
        }
        let builder = &mut self.builder;
        let open =
            self.pack.get_or_insert_with(|| OpenPack { pack: builder.open(), bytes: Vec::new(), files: Vec::new() });
        builder.part(open.pack, open.bytes.len() as u32, bytes.len() as u32);
        open.bytes.extend_from_slice(bytes);
        open.files.push((entry, bytes.len() as u32));
        if self.packer.add(path, bytes.len()) {
            self.end_pack();
        }
    }

    /// Appends what a file was cut into to it: its entry was added last.
    pub(super) fn chunks(&mut self, entry: u32, chunks: &[Chunk]) {
        for chunk in chunks {
            match *chunk {
                Chunk::Hole(len) => self.builder.hole(len),
                Chunk::Piece(offset, piece) => {
                    self.builder.piece(piece);
                    self.spots.entry(piece.digest).or_insert(Spot::File { entry, offset });
                }
            }
        }
    }

    /// Ends the open pack, if there is one.
    pub(super) fn end_pack(&mut self) {
        self.packer.begin();
        self.ended.extend(self.pack.take());
    }

    /// Hashes the packs that have ended.
    pub(super) fn hash_packs(&mut self, hands: &dyn Hands) {
        let ended = std::mem::take(&mut self.ended);
        let digests = each(hands, ended.len(), |nth| Digest::of(&ended[nth].bytes));
        for (OpenPack { pack, bytes, files }, digest) in ended.into_iter().zip(digests) {
            self.builder.close(pack, Piece { digest, len: bytes.len() as u32 });
            self.spots.entry(digest).or_insert_with(|| Spot::Pack(files.into()));
        }
    }
}
