//! The fixed parts of an encoded manifest: its header, and the table of pieces at its end, which a store can read with
//! ranged reads and without the entries.

use super::{MAX_ENCODED, MAX_ENTRIES};
use crate::cut::MAX_PIECE;
use crate::encoding::{Decoder, Document, Encoder, Malformed};
use crate::{ContentSpec, Digest, Piece};

pub(super) const WHAT: &str = "manifest";

/// Bytes of a piece in the table: its digest, and its length in little-endian.
pub const PIECE_LEN: usize = Digest::LEN + 4;

/// The first [`Header::LEN`] bytes of an encoded manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How many entries there are.
    pub entries: u32,
    /// How many pieces there are.
    pub pieces: u32,
    /// The length of the encoded entries, in bytes.
    pub entries_len: u64,
}

impl Header {
    /// Bytes in a header.
    pub const LEN: usize = Document::HEADER_LEN + 4 + 4 + 8;

    /// Reads the header from the first bytes of a manifest; more may follow.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(WHAT, bytes);
        from.header(Document::Manifest)?;
        let (entries, pieces) = (u32::from_le_bytes(from.array()?), u32::from_le_bytes(from.array()?));
        let header = Self { entries, pieces, entries_len: u64::from_le_bytes(from.array()?) };
        let bounded = entries <= MAX_ENTRIES && pieces <= ContentSpec::MAX_PIECES && header.entries_len <= MAX_ENCODED;
        if bounded { Ok(header) } else { Err(from.wrong("its header declares more than a manifest may hold")) }
    }

    pub(super) fn put(&self, to: &mut Encoder) {
        to.header(Document::Manifest).raw(&self.entries.to_le_bytes()).raw(&self.pieces.to_le_bytes());
        to.raw(&self.entries_len.to_le_bytes());
    }

    /// The length of the whole encoded manifest, in bytes.
    pub fn encoded_len(&self) -> u64 {
        self.piece_offset(self.pieces)
    }

    /// Where in the encoded manifest the [`PIECE_LEN`] bytes of a piece begin.
    pub fn piece_offset(&self, index: u32) -> u64 {
        Self::LEN as u64 + self.entries_len + u64::from(index) * PIECE_LEN as u64
    }
}

/// Reads one piece from its [`PIECE_LEN`] bytes in the table.
pub fn piece_at(bytes: &[u8]) -> Result<Piece, Malformed> {
    let mut from = Decoder::new(WHAT, bytes);
    let piece = take_piece(&mut from)?;
    from.finish()?;
    Ok(piece)
}

pub(super) fn take_piece(from: &mut Decoder<'_>) -> Result<Piece, Malformed> {
    let piece = Piece { digest: from.value()?, len: u32::from_le_bytes(from.array()?) };
    match (1..=MAX_PIECE as u32).contains(&piece.len) {
        true => Ok(piece),
        false => Err(from.wrong(format!("a piece is {} bytes long, and 1 to {MAX_PIECE} are allowed", piece.len))),
    }
}

pub(super) fn put_piece(to: &mut Encoder, piece: &Piece) {
    to.value(&piece.digest).raw(&piece.len.to_le_bytes());
}
