//! The suffixes of the old bytes in their order, to find the longest stretch of them that the new bytes begin with.
//!
//! It costs four bytes for each old byte, and a table of where suffixes with the same first bytes begin, so that a search
//! touches few of them. A search compares at most [`REACH`] bytes, however much is equal: in zeros and periods every
//! suffix is like every other, and whoever asks lengthens a match by himself.

/// The most bytes that a search compares.
pub(crate) const REACH: usize = 1 << 10;

/// The length of the shortest match in bytes, which have the bits of the numbers of buckets.
const LEAST: usize = 3;

/// Neighbours in the order that are looked at for one that lies better.
const NEIGHBOURS: usize = 6;

/// Old bytes with their suffixes in order; at most `i32::MAX` bytes.
pub(crate) struct Suffixes<'a> {
    old: &'a [u8],
    order: Vec<i32>,
    /// Where the suffixes begin in `order` whose first bits are this number, and after the last where the end is.
    starts: Vec<u32>,
    /// How many first bits the number is of: 16 to 24.
    bits: u32,
}

/// An exact match of the beginning of what was searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    /// Where in the old bytes it begins.
    pub(crate) old: usize,
    /// Its length in bytes, at most [`REACH`].
    pub(crate) len: usize,
}

impl<'a> Suffixes<'a> {
    pub(crate) fn new(old: &'a [u8]) -> Self {
        let mut order = vec![0; old.len()];
        divsufsort::sort_in_place(old, &mut order);
        // The table takes a quarter to half a byte for each old one.
        let bits = (old.len() | 1).ilog2().saturating_sub(4).clamp(16, 24);
        Self { old, order, starts: starts(old, bits), bits }
    }

    /// The longest match of the beginning of `new`, of three bytes at least; among the longest that are found, the one nearest to `near`.
    pub(crate) fn longest(&self, new: &[u8], near: usize) -> Option<Match> {
        let new = &new[..new.len().min(REACH)];
        let (low, high) = self.bucket(new)?;
        let at = self.place(new, low, high);
        let candidates = at.saturating_sub(NEIGHBOURS).max(low)..(at + NEIGHBOURS).min(high);
        let split = at.clamp(candidates.start, candidates.end);
        let (below, above) = (candidates.start..split, split..candidates.end);
        let mut best: Option<Match> = None;
        // Going away from the place, matches only become shorter: each side ends where it is shorter than the best.
        for rank in below.rev() {
            if !self.improve(rank, new, near, &mut best) {
                break;
            }
        }
        for rank in above {
            if !self.improve(rank, new, near, &mut best) {
                break;
            }
        }
        best.filter(|found| found.len >= LEAST)
    }

    /// The part of the order whose suffixes share the first bits with `new`, if there are any.
    fn bucket(&self, new: &[u8]) -> Option<(usize, usize)> {
        let number = number(new.get(..LEAST)?, self.bits);
        let (low, high) = (self.starts[number] as usize, self.starts[number + 1] as usize);
        (low < high).then_some((low, high))
    }

    /// Where in `low..high` of the order `new` would stand: behind all smaller suffixes.
    fn place(&self, new: &[u8], mut low: usize, mut high: usize) -> usize {
        // What all suffixes between two places have in common with `new`, at least: what both places have.
        let (mut below, mut above) = (self.bits as usize / 8, self.bits as usize / 8);
        while low < high {
            let middle = low + (high - low) / 2;
            let suffix = &self.old[self.order[middle] as usize..];
            let known = below.min(above).min(suffix.len());
            let common = known + common_prefix(&suffix[known..], &new[known.min(new.len())..]);
            let smaller = common < new.len() && suffix.get(common).is_none_or(|byte| *byte < new[common]);
            if smaller {
                (low, below) = (middle + 1, common);
            } else {
                (high, above) = (middle, common);
            }
        }
        low
    }

    /// Takes the suffix at this rank if it is a longer match than the best, or as long and nearer. False if it is shorter.
    fn improve(&self, rank: usize, new: &[u8], near: usize, best: &mut Option<Match>) -> bool {
        let old = self.order[rank] as usize;
        let found = Match { old, len: common_prefix(&self.old[old..], new) };
        let Some(held) = best else {
            *best = Some(found);
            return true;
        };
        let nearer = found.len == held.len && found.old.abs_diff(near) < held.old.abs_diff(near);
        if found.len > held.len || nearer {
            *held = found;
        }
        found.len >= held.len
    }
}

/// The first bits of bytes, and of zeros behind those.
fn number(first: &[u8], bits: u32) -> usize {
    let byte = |at: usize| usize::from(first.get(at).copied().unwrap_or(0));
    (byte(0) << 16 | byte(1) << 8 | byte(2)) >> (8 * LEAST as u32 - bits)
}

/// Where in the order the suffixes with each first bits begin. A suffix that is shorter stands where it would stand with
/// zeros behind it, which is also its place in the order.
fn starts(old: &[u8], bits: u32) -> Vec<u32> {
    let mut starts = vec![0u32; (1 << bits) + 1];
    for at in 0..old.len() {
        starts[number(&old[at..], bits) + 1] += 1;
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    starts
}

/// How many bytes `a` and `b` have in common at their beginnings.
pub(crate) fn common_prefix<T: Copy + Eq>(a: &[T], b: &[T]) -> usize {
    const WORD: usize = 16;
    let words = a.chunks_exact(WORD).zip(b.chunks_exact(WORD)).take_while(|(a, b)| a == b).count() * WORD;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(len: usize, of: u64) -> Vec<u8> {
        let mut state = 9u64;
        let next = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % of
        });
        next.map(|letter| letter as u8).take(len).collect()
    }

    #[test]
    fn the_longest_match_is_found() {
        for of in [2, 4, 200] {
            let (old, new) = (letters(600, of), letters(900, of)[300..].to_vec());
            let suffixes = Suffixes::new(&old);
            for at in 0..new.len() {
                let longest = (0..old.len()).map(|from| common_prefix(&old[from..], &new[at..])).max().unwrap_or(0);
                let found = suffixes.longest(&new[at..], 0).map_or(0, |found| found.len);
                assert!(found == longest || longest < LEAST, "{of} {at}: {found} {longest}");
            }
        }
    }

    #[test]
    fn among_equals_the_nearest_is_taken() {
        let old = b"..abcdX.....abcdY......abcdZ";
        let suffixes = Suffixes::new(old);
        for (near, at) in [(0, 2), (13, 12), (100, 23)] {
            assert_eq!(suffixes.longest(b"abcd", near), Some(Match { old: at, len: 4 }));
        }
        assert_eq!(suffixes.longest(b"abcdY", 0), Some(Match { old: 12, len: 5 }));
    }

    #[test]
    fn short_and_uniform_bytes_are_no_special_case() {
        for old in [&b""[..], b"a", b"ab", b"abc", b"\0", b"\0\0\0"] {
            let suffixes = Suffixes::new(old);
            assert_eq!(suffixes.longest(b"abc", 0).is_some(), old == b"abc", "{old:?}");
            assert_eq!(suffixes.longest(b"", 0), None);
        }
        let zeros = vec![0; 100_000];
        assert_eq!(Suffixes::new(&zeros).longest(&zeros, 0).map(|found| found.len), Some(REACH));
    }

    #[test]
    fn common_prefixes() {
        let long = [7u8; 100];
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
