//! Finds where bytes of the new string stand in the old one: a table of the old string's windows by their hash.
//!
//! Every window of `window` bytes that begins at a multiple of `step` is in it, so whatever old and new have in common
//! over at least `window + step - 1` bytes can be found. Hashes only propose; every answer was compared byte for byte. It
//! costs four bytes per `step` old bytes, and again four to eight for the heads of the chains.

/// What is indexed, and how hard it is searched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grain {
    /// The bytes that are hashed at once.
    pub(crate) window: usize,
    /// The distance of indexed positions, in bytes.
    pub(crate) step: usize,
    /// How many positions of the same hash are compared.
    pub(crate) tries: usize,
}

/// An exact match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    /// Where in the old bytes it begins.
    pub(crate) old: usize,
    /// Its length in bytes.
    pub(crate) len: usize,
}

pub(crate) struct Index<'a> {
    old: &'a [u8],
    grain: Grain,
    /// The number of the first position of each hash, or [`NONE`].
    heads: Vec<u32>,
    /// The number of the next position with the same hash, or [`NONE`].
    next: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl<'a> Index<'a> {
    pub(crate) fn new(old: &'a [u8], grain: Grain) -> Self {
        let positions = (old.len() + 1).saturating_sub(grain.window).div_ceil(grain.step).min(NONE as usize);
        let heads = vec![NONE; (positions * 2).next_power_of_two()];
        let mut index = Self { old, grain, heads, next: vec![NONE; positions] };
        // From the end, so that chains run forward and the earliest positions are tried first.
        for number in (0..positions).rev() {
            let at = number * grain.step;
            let slot = index.slot(Rolling::over(&old[at..at + grain.window]));
            index.next[number] = std::mem::replace(&mut index.heads[slot], number as u32);
        }
        index
    }

    pub(crate) fn window(&self) -> usize {
        self.grain.window
    }

    fn slot(&self, hash: Rolling) -> usize {
        // The high bits of the product depend on all bits of the hash. A table of one slot has no bits to take.
        let bits = self.heads.len().trailing_zeros();
        (hash.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1 >> (63 - bits)) as usize
    }

    /// The longest match of the beginning of `new`, whose first window has this hash; among equals the one that begins
    /// nearest to `near`.
    pub(crate) fn longest(&self, new: &[u8], hash: Rolling, near: usize) -> Option<Match> {
        let window = &new[..self.grain.window];
        let mut number = self.heads[self.slot(hash)];
        let mut best: Option<Match> = None;
        for _ in 0..self.grain.tries {
            if number == NONE {
                break;
            }
            let old = number as usize * self.grain.step;
            number = self.next[number as usize];
            if self.old[old..].starts_with(window) {
                let found = Match { old, len: common_prefix(&self.old[old..], new) };
                if best.is_none_or(|best| rank(found, near) > rank(best, near)) {
                    best = Some(found);
                }
            }
        }
        best
    }
}

fn rank(found: Match, near: usize) -> (usize, std::cmp::Reverse<usize>) {
    (found.len, std::cmp::Reverse(found.old.abs_diff(near)))
}

/// How many bytes `a` and `b` have in common at their beginnings.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const WORD: usize = 32;
    let words = a.chunks_exact(WORD).zip(b.chunks_exact(WORD)).take_while(|(a, b)| a == b).count() * WORD;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

/// A polynomial hash of a window, modulo 2^64, that can be moved on by a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rolling(u64);

const BASE: u64 = 0x0000_0100_0000_01b3;

impl Rolling {
    pub(crate) fn over(window: &[u8]) -> Self {
        Self(window.iter().fold(0, |hash: u64, &byte| hash.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1)))
    }

    /// The hash after `out` left at the front and `into` came in at the back; `top` is [`top_of`] the window's length.
    pub(crate) fn moved(self, out: u8, into: u8, top: u64) -> Self {
        let without = self.0.wrapping_sub((u64::from(out) + 1).wrapping_mul(top));
        Self(without.wrapping_mul(BASE).wrapping_add(u64::from(into) + 1))
    }
}

/// The weight of the first byte of a window.
pub(crate) fn top_of(window: usize) -> u64 {
    (1..window).fold(1, |top: u64, _| top.wrapping_mul(BASE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAIN: Grain = Grain { window: 4, step: 2, tries: 4 };

    #[test]
    fn a_moved_hash_is_that_of_the_next_window() {
        let bytes = b"tidings of magpies";
        let mut hash = Rolling::over(&bytes[..4]);
        for at in 1..=bytes.len() - 4 {
            hash = hash.moved(bytes[at - 1], bytes[at + 3], top_of(4));
            assert_eq!(hash, Rolling::over(&bytes[at..at + 4]));
        }
    }

    #[test]
    fn the_longest_and_nearest_match_is_found() {
        let index = Index::new(b"abcdeX..abcdef..abcdef", GRAIN);
        let longest = |new: &[u8], near| index.longest(new, Rolling::over(&new[..4]), near);
        assert_eq!(longest(b"abcdefgh", 0), Some(Match { old: 8, len: 6 }));
        assert_eq!(longest(b"abcdefgh", 21), Some(Match { old: 16, len: 6 }));
        assert_eq!(longest(b"abcdeX", 21), Some(Match { old: 0, len: 6 }));
        assert_eq!(longest(b"zzzz", 0), None);
    }

    #[test]
    fn old_bytes_shorter_than_a_window_have_no_matches() {
        for old in [&b""[..], b"abc"] {
            assert_eq!(Index::new(old, GRAIN).longest(b"abcd", Rolling::over(b"abcd"), 0), None);
        }
        assert!(Index::new(b"abcd", GRAIN).longest(b"abcd", Rolling::over(b"abcd"), 0).is_some());
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
