//! What a swarm moves: a content, its numbered pieces, and the set of pieces that someone holds.

use crate::cut::MAX_PIECE;
use crate::encoding::{Decoder, Encode, Encoder, Malformed};
use crate::{BlobRef, ContentId, Digest};

/// A part of content with its own digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its length in bytes: 1 to [`crate::cut::MAX_PIECE`].
    pub len: u32,
}

/// The number of a piece within one content.
///
/// The pages of the content's blob come first, in the order of [`crate::blob`] (root page 0); the pieces that a manifest
/// names follow in the manifest's order. So every number below [`ContentSpec::total`] means the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceNo(pub u32);

/// A content as a signed document declares it: everything needed to bound it before a byte has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentSpec {
    /// The blob: a manifest, or plain bytes.
    pub blob: BlobRef,
    /// How many pieces the blob names; 0 for plain bytes.
    pub pieces: u32,
    /// The sum of the lengths of those pieces, in bytes.
    pub bytes: u64,
}

impl ContentSpec {
    /// How many pieces a manifest may name, so that every piece number of a content is below 2^32.
    pub const MAX_PIECES: u32 = 1 << 30;

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }

    /// Whether the numbers can belong together: every piece has 1 to [`MAX_PIECE`] bytes.
    pub fn is_plausible(&self) -> bool {
        let pieces = u64::from(self.pieces);
        self.blob.len <= BlobRef::MAX_LEN
            && self.pieces <= Self::MAX_PIECES
            && (pieces..=pieces * MAX_PIECE as u64).contains(&self.bytes)
    }

    /// The name of this content.
    pub fn id(&self) -> ContentId {
        ContentId(self.blob.root)
    }

    /// How many pages its blob has; they are the pieces 0 .. pages.
    pub fn pages(&self) -> u32 {
        self.blob.shape().pages()
    }

    /// How many pieces there are in all, pages included.
    pub fn total(&self) -> u32 {
        self.pages() + self.pieces
    }
}

impl Encode for Piece {
    const WHAT: &'static str = "piece";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.digest).number(self.len);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { digest: from.value()?, len: from.within("the length of a piece", 1..=MAX_PIECE as u64)? as u32 })
    }
}

impl Encode for ContentSpec {
    const WHAT: &'static str = "content";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.blob).number(self.pieces).number(self.bytes);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let (blob, pieces) = (from.value()?, from.number32("the number of pieces")?);
        let spec = Self { blob, pieces, bytes: from.number()? };
        if spec.is_plausible() {
            Ok(spec)
        } else {
            Err(from.wrong("a content's pieces and bytes contradict each other"))
        }
    }
}

/// A set of piece numbers below a fixed bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    len: u32,
    ones: u32,
    words: Vec<u64>,
}

impl Bitmap {
    /// The empty set of numbers below `len`.
    pub fn empty(len: u32) -> Self {
        Self { len, ones: 0, words: vec![0; len.div_ceil(64) as usize] }
    }

    /// The set of all numbers below `len`.
    pub fn full(len: u32) -> Self {
        let mut all = Self::empty(len);
        (0..len).for_each(|n| {
            all.insert(PieceNo(n));
        });
        all
    }

    /// The bound: every member is below it.
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing is in the set.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ones == 0
    }

    /// How many numbers are in the set.
    #[inline]
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Whether every number below the bound is in the set.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether `piece` is in the set; a number at or above the bound never is.
    #[inline]
    pub fn contains(&self, piece: PieceNo) -> bool {
        piece.0 < self.len && self.words[piece.0 as usize / 64] >> (piece.0 % 64) & 1 == 1
    }

    /// Adds `piece`; false if it was there already, or is not below the bound.
    #[inline]
    pub fn insert(&mut self, piece: PieceNo) -> bool {
        let fresh = piece.0 < self.len && !self.contains(piece);
        if fresh {
            self.words[piece.0 as usize / 64] |= 1 << (piece.0 % 64);
            self.ones += 1;
        }
        fresh
    }

    /// Takes `piece` out; false if it was not there.
    #[inline]
    pub fn remove(&mut self, piece: PieceNo) -> bool {
        let there = self.contains(piece);
        if there {
            self.words[piece.0 as usize / 64] &= !(1 << (piece.0 % 64));
            self.ones -= 1;
        }
        there
    }

    /// The members, rising.
    pub fn iter(&self) -> impl Iterator<Item = PieceNo> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            std::iter::successors((word != 0).then_some(word), |w| Some(w & (w - 1)).filter(|w| *w != 0))
                .map(move |w| PieceNo(index as u32 * 64 + w.trailing_zeros()))
        })
    }

    /// The canonical bytes: the bound, then [`Bitmap::to_bytes`].
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }

    /// The set as bytes: number n is bit n % 8 of byte n / 8; ceil(len / 8) bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8) as usize);
        bytes
    }

    /// A set from its bytes; `None` when they are not the canonical bytes of a set of numbers below `len`.
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        let mut padded = bytes.to_vec();
        padded.resize(len.div_ceil(64) as usize * 8, 0);
        let words: Vec<u64> = padded
            .chunks_exact(8)
            .map(|chunk| chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)))
            .collect();
        let stray = !len.is_multiple_of(64) && words.last().is_some_and(|last| last >> (len % 64) != 0);
        let ones = words.iter().map(|word| word.count_ones()).sum();
        (!stray).then_some(Self { len, ones, words })
    }
}

impl Encode for Bitmap {
    const WHAT: &'static str = "set of pieces";

    fn put(&self, to: &mut Encoder) {
        to.number(self.len).raw(&self.to_bytes());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let len = from.number32("the bound")?;
        let bytes = from.raw(len.div_ceil(8) as usize)?;
        Self::from_bytes(len, bytes).ok_or_else(|| from.wrong("a member is not below the bound"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_counts_iterates_and_round_trips() {
        let mut set = Bitmap::empty(130);
        for n in [0, 63, 64, 129] {
            assert!(set.insert(PieceNo(n)));
            assert!(!set.insert(PieceNo(n)));
        }
        assert!(!set.insert(PieceNo(130)));
        assert_eq!(set.iter().map(|p| p.0).collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(Bitmap::from_bytes(130, &set.to_bytes()).as_ref(), Some(&set));
        assert!(set.remove(PieceNo(63)) && !set.remove(PieceNo(63)));
        assert_eq!(set.count(), 3);
        assert!(Bitmap::full(130).is_full() && Bitmap::full(0).is_full());
    }

    #[test]
    fn bits_at_or_above_the_bound_are_refused() {
        assert_eq!(Bitmap::from_bytes(3, &[0b1000]), None);
        assert_eq!(Bitmap::from_bytes(3, &[]), None);
        assert!(Bitmap::from_bytes(3, &[0b111]).is_some_and(|set| set.is_full()));
    }
}
