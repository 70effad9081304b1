//! Finds where bytes of the new string stand in the old one: a table of the old string's windows by their hash.
//!
//! Every window of [`SEED`] bytes that begins at a multiple of [`STEP`] is in it, so whatever old and new have in common
//! over at least `SEED + STEP - 1` bytes can be found. Hashes only propose; every answer was compared byte for byte. It
//! costs four bytes per `STEP` old bytes, and again four to eight for the heads of the chains.

/// The bytes that are hashed at once.
pub(crate) const SEED: usize = 16;

/// The distance of indexed positions, in bytes.
const STEP: usize = 4;

/// How many positions of the same hash are compared.
const TRIES: usize = 4;

pub(crate) struct Index<'a> {
    old: &'a [u8],
    /// The number of the first position of each hash, or [`NONE`].
    heads: Vec<u32>,
    /// The number of the next position with the same hash, or [`NONE`].
    next: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl<'a> Index<'a> {
    pub(crate) fn new(old: &'a [u8]) -> Self {
        let positions = (old.len() + 1).saturating_sub(SEED).div_ceil(STEP).min(NONE as usize);
        let heads = vec![NONE; positions.next_power_of_two()];
        let mut index = Self { old, heads, next: vec![NONE; positions] };
        // From the end, so that chains run forward and the earliest positions are tried first.
        for number in (0..positions).rev() {
            let at = number * STEP;
            // Of a stretch of one byte, as padding is, the last window is enough: extending finds the others.
            if index.is_padding(at) {
                continue;
            }
            let slot = index.slot(&old[at..]);
            index.next[number] = std::mem::replace(&mut index.heads[slot], number as u32);
        }
        index
    }

    /// Whether this window and the next one are one byte over and over.
    fn is_padding(&self, at: usize) -> bool {
        let bytes = &self.old[at..self.old.len().min(at + SEED + STEP)];
        bytes.len() == SEED + STEP && bytes[1..] == bytes[..bytes.len() - 1]
    }

    fn slot(&self, bytes: &[u8]) -> usize {
        // The high bits of a product depend on all bits of its factor. A table of one slot has no bits to take.
        let bits = self.heads.len().trailing_zeros();
        (hash(bytes) >> 1 >> (63 - bits)) as usize
    }

    /// Where in old the first [`SEED`] bytes of `new` stand, as far as is tried.
    pub(crate) fn places(&self, new: &[u8]) -> impl Iterator<Item = usize> {
        let window = &new[..SEED];
        let mut number = self.heads[self.slot(window)];
        let chain = std::iter::from_fn(move || {
            let old = (number != NONE).then_some(number as usize)?;
            number = self.next[old];
            Some(old * STEP)
        });
        chain.take(TRIES).filter(move |old| self.old[*old..].starts_with(window))
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let word = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
    let mixed = word(0).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ word(8);
    mixed.wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// How many bytes `a` and `b` have in common at their beginnings.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const WORD: usize = 32;
    let words = a.chunks_exact(WORD).zip(b.chunks_exact(WORD)).take_while(|(a, b)| a == b).count() * WORD;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_old_is_found() {
        let old: Vec<u8> = (0..400u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        let index = Index::new(&old);
        for at in (0..=400 - SEED).step_by(STEP) {
            assert!(index.places(&old[at..]).any(|place| place == at), "{at}");
        }
        assert_eq!(index.places(&[7; SEED]).next(), None);
    }

    #[test]
    fn of_padding_one_window_is_enough() {
        let old = [&[0; 1 << 12][..], b"something else"].concat();
        assert_eq!(Index::new(&old).places(&[0; SEED]).collect::<Vec<_>>(), [(1 << 12) - SEED]);
    }

    #[test]
    fn old_bytes_shorter_than_a_window_have_no_matches() {
        for old in [&b""[..], &[7; SEED - 1]] {
            assert_eq!(Index::new(old).places(&[7; SEED]).next(), None);
        }
        assert_eq!(Index::new(&[7; SEED]).places(&[7; SEED]).next(), Some(0));
    }

    #[test]
    fn common_prefixes() {
        let long = [7; 100];
        for len in [0, 1, 31, 32, 33, 99, 100] {
            assert_eq!(common_prefix(&long, &long[..len]), len);
            let mut other = long;
            if let Some(byte) = other.get_mut(len) {
                *byte = 0;
            }
            assert_eq!(common_prefix(&long, &other), len);
        }
    }
}
