//! Where the engine's message bytes meet the sockets: a stream of frames, and the header before each payload.
//!
//! The bytes themselves belong to [`engine::wire`]; only errors are turned into those of a stream here.

use content::cut::MAX_PIECE;
use content::{ContentId, Digest, PieceNo};
use engine::door::Message;
use std::io;

/// Bytes of the header before a payload.
pub(crate) const HEADER: usize = 41;
const PAYLOAD: u8 = 1;

pub(crate) struct Messages {}

impl Messages {
    pub(crate) fn new() -> Self {
        Self {}
    }

    pub(crate) fn push(&mut self, _bytes: &[u8]) {
        todo!()
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Message>> {
        todo!()
    }
}

/// A message's bytes.
pub(crate) fn message(_message: &Message) -> Vec<u8> {
    todo!()
}

pub(crate) fn header(content: ContentId, piece: PieceNo, len: u32) -> [u8; HEADER] {
    let mut header = [PAYLOAD; HEADER];
    header[1..33].copy_from_slice(content.0.as_bytes());
    header[33..37].copy_from_slice(&piece.0.to_le_bytes());
    header[37..].copy_from_slice(&len.to_le_bytes());
    header
}

pub(crate) fn read_header(header: &[u8; HEADER]) -> io::Result<(ContentId, PieceNo, u32)> {
    let mut digest = [0; 32];
    digest.copy_from_slice(&header[1..33]);
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (piece, len) = (number(33), number(37));
    if header[0] != PAYLOAD || len as usize > MAX_PIECE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the header of a payload makes no sense"));
    }
    Ok((ContentId(Digest::from_bytes(digest)), PieceNo(piece), len))
}
