//! A manifest without the digests of its pieces: what a node keeps in memory of a content of any length.
//!
//! A content of 100 GB has 1.6 million pieces, and their digests are nine tenths of its manifest. They stand in a table at its end,
//! where each can be read when it is asked for ([`Outline::piece_offset`]).

use super::codec::take_entries;
use super::table::{Header, PIECE_LEN, WHAT, piece_at};
use super::{Entry, Lengths, Totals, rules, totals};
use crate::encoding::Malformed;
use crate::{BlobRef, ContentSpec, Digest};
use std::sync::Arc;

/// What a manifest says, but for the digests of its pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The entries, rising by path; the first is the root.
    pub entries: Vec<Entry>,
    /// The lengths of the pieces, in the order of their first use.
    pub lengths: Arc<Lengths>,
    header: Header,
}

impl Outline {
    /// The sums over all entries and pieces.
    pub fn totals(&self) -> Totals {
        totals(&self.entries, &self.lengths)
    }

    /// What a swarm moves when it moves this manifest, whose encoded bytes are `blob`, and its pieces.
    pub fn spec(&self, blob: BlobRef) -> ContentSpec {
        ContentSpec { blob, pieces: self.lengths.count(), bytes: self.lengths.before(u32::MAX) }
    }

    /// Where in the encoded manifest the [`PIECE_LEN`] bytes of a piece begin.
    pub fn piece_offset(&self, index: u32) -> u64 {
        self.header.piece_offset(index)
    }
}

/// Reads an encoded manifest as its bytes come, in order, and refuses what [`Manifest::decode`](super::Manifest::decode) refuses.
///
/// It takes memory for the entries, and twenty bytes for each piece until it has ended. Whether a piece stands there twice is
/// judged by half of its digest: who finds two that have it in common could as well forge pieces.
#[derive(Debug, Default)]
pub struct OutlineReader {
    header: Option<Header>,
    /// What cannot be decoded before more has come.
    held: Vec<u8>,
    entries: Option<Vec<Entry>>,
    lengths: Lengths,
    halves: Vec<[u8; Digest::LEN / 2]>,
}

impl OutlineReader {
    /// Nothing is read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the bytes that follow those it was fed before.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.held.extend_from_slice(bytes);
        let header = match self.header {
            Some(header) => header,
            None if self.held.len() < Header::LEN => return Ok(()),
            None => {
                let header = Header::decode(&self.held)?;
                self.held.drain(..Header::LEN);
                *self.header.insert(header)
            }
        };
        let entries_len = header.entries_len as usize;
        if self.entries.is_none() {
            if self.held.len() < entries_len {
                return Ok(());
            }
            self.entries = Some(take_entries(&self.held[..entries_len], header.entries)?);
            // A new allocation: the old one was as long as all entries.
            self.held = self.held[entries_len..].to_vec();
        }
        self.take_pieces(header)
    }

    fn take_pieces(&mut self, header: Header) -> Result<(), Malformed> {
        let whole = self.held.len() / PIECE_LEN * PIECE_LEN;
        for bytes in self.held[..whole].chunks(PIECE_LEN) {
            let piece = piece_at(bytes)?;
            if self.lengths.count() == header.pieces {
                return Err(Malformed::new(WHAT, "more follows than it declares"));
            }
            self.lengths.push(piece.len);
            let (half, _) = piece.digest.as_bytes().split_first_chunk().expect("a digest has two halves");
            self.halves.push(*half);
        }
        self.held.drain(..whole);
        Ok(())
    }

    /// All has been fed.
    pub fn finish(self) -> Result<Outline, Malformed> {
        let Self { header, held, entries, lengths, mut halves } = self;
        let (Some(header), Some(entries), true) = (header, entries, held.is_empty()) else {
            return Err(Malformed::new(WHAT, "it ends within its header, its entries or a piece"));
        };
        if lengths.count() != header.pieces {
            let found = lengths.count();
            return Err(Malformed::new(WHAT, format!("it has {found} pieces, and declares {}", header.pieces)));
        }
        halves.sort_unstable();
        if halves.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Malformed::new(WHAT, "a piece stands there twice"));
        }
        drop(halves);
        rules::check_all(&entries, &lengths)?;
        Ok(Outline { entries, lengths: Arc::new(lengths), header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Builder, Manifest};
    use crate::{Piece, blob};

    fn sample(files: u32) -> Manifest {
        let mut builder = Builder::new();
        builder.directory(b"", 0o755);
        for nr in 0..files {
            builder.file(format!("f{nr:06}").as_bytes(), 0o644);
            builder.piece(Piece { digest: Digest::of(&nr.to_le_bytes()), len: 1000 + nr });
            builder.piece(Piece { digest: Digest::of(&[&b"shared"[..], &(nr / 2).to_le_bytes()].concat()), len: 70 });
        }
        builder.finish().expect("a tree")
    }

    fn read(bytes: &[u8], step: usize) -> Result<Outline, Malformed> {
        let mut reader = OutlineReader::new();
        bytes.chunks(step).try_for_each(|part| reader.feed(part))?;
        reader.finish()
    }

    #[test]
    fn an_outline_says_what_the_manifest_says_however_its_bytes_come() {
        let manifest = sample(500);
        let bytes = manifest.encode();
        let spec = manifest.spec(BlobRef { root: Digest::of(b"root"), len: bytes.len() as u64 });
        for step in [1, 7, PIECE_LEN, 1000, blob::PAGE, bytes.len()] {
            let outline = read(&bytes, step).expect("it is one");
            assert_eq!((&outline.entries, outline.totals()), (&manifest.entries, manifest.totals()));
            assert_eq!(outline.spec(spec.blob), spec);
            for (index, piece) in (0u32..).zip(&manifest.pieces) {
                let at = outline.piece_offset(index) as usize;
                assert_eq!(piece_at(&bytes[at..at + PIECE_LEN]).expect("a piece"), *piece);
                assert_eq!(outline.lengths.get(index), Some(piece.len));
            }
        }
    }

    #[test]
    fn it_refuses_what_is_refused_when_all_is_decoded_at_once() {
        let good = sample(3);
        let bytes = good.encode();
        for end in 0..bytes.len() {
            read(&bytes[..end], 10).expect_err("it is cut off");
        }
        read(&[&bytes[..], &[0; 7]].concat(), 10).expect_err("more follows");
        read(&[&bytes[..], &bytes[bytes.len() - PIECE_LEN..]].concat(), 10).expect_err("one piece more follows");
        let mut twice = good.clone();
        let (first, last) = (twice.pieces[1], twice.pieces.last_mut().expect("there are some"));
        assert_eq!((last.len, last.digest == first.digest), (first.len, false), "nothing but the digest is wrong");
        *last = first;
        let why = read(&twice.encode(), 100).expect_err("a piece stands there twice").to_string();
        assert!(why.contains("twice"), "{why}");
        let unsorted = Manifest { entries: good.entries.iter().rev().cloned().collect(), ..good.clone() };
        read(&unsorted.encode(), 100).expect_err("its paths fall");
        let unused =
            Manifest { pieces: [&good.pieces[..], &[Piece { digest: Digest::of(b"x"), len: 9 }]].concat(), ..good };
        read(&unused.encode(), 100).expect_err("a piece is in no file");
    }
}
