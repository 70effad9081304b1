//! What is remembered of a file while what is like it is looked for: a number that equal files have in common, and a sketch that like
//! ones have in part.

use std::collections::BTreeSet;

/// How many numbers a sketch has at most.
pub(super) const SKETCH: usize = 64;

/// Files with less are too short to be told apart by parts of them, in bytes.
const SHINGLE: usize = 32;

/// One file, remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Portrait {
    /// Equal for equal bytes, and hardly ever for others.
    pub(super) print: u64,
    /// The least of the hashes of all its shingles, ascending: of two files as large a share is common as of their shingles.
    pub(super) sketch: Vec<u64>,
    /// Whether it begins like a program or shared library.
    pub(super) is_program: bool,
}

impl Portrait {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { print: print(bytes), sketch: sketch(bytes), is_program: bytes.starts_with(b"\x7fELF") }
    }

    /// How many numbers both sketches have.
    pub(super) fn likeness(&self, other: &Self) -> usize {
        self.sketch.iter().filter(|number| other.sketch.binary_search(number).is_ok()).count()
    }
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

fn print(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut tail = [0; 8];
    tail[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&tail]).map(|word| u64::from_le_bytes(*word));
    words.fold(bytes.len() as u64, |print, word| (print.rotate_left(23) ^ word).wrapping_mul(MIX))
}

fn sketch(bytes: &[u8]) -> Vec<u64> {
    let mut least = BTreeSet::new();
    let mut highest = u64::MAX;
    let mut rolling = 0u64;
    for (at, byte) in bytes.iter().enumerate() {
        // Two bits leave with every byte, so it is a hash of the last 32.
        rolling = (rolling << 2).wrapping_add(GEAR[usize::from(*byte)]);
        let number = (rolling ^ rolling >> 32).wrapping_mul(MIX);
        if at + 1 >= SHINGLE && number < highest && least.insert(number) && least.len() > SKETCH {
            least.pop_last();
            highest = *least.last().expect("more than one is there");
        }
    }
    least.into_iter().collect()
}

/// A number for each byte, with nothing in common.
const GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut number = (at as u64 + 1).wrapping_mul(MIX);
        number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = number ^ number >> 31;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_files_have_like_sketches() {
        let bytes = |seed: u32| (0..50_000u32).map(move |n| ((n ^ seed).wrapping_mul(0x9e37_79b1) >> 15) as u8);
        let one: Vec<u8> = bytes(1).collect();
        let mut other = one.clone();
        (0..10).for_each(|nth| other.insert(nth * 4000, b'x'));
        let (one, other, strange) =
            (Portrait::of(&one), Portrait::of(&other), Portrait::of(&bytes(0x5555_0000).collect::<Vec<_>>()));
        assert!(one.likeness(&other) > SKETCH * 3 / 4, "{}", one.likeness(&other));
        assert!(one.likeness(&strange) < SKETCH / 4, "{}", one.likeness(&strange));
        assert_ne!(one.print, other.print);
    }

    #[test]
    fn zeros_behind_others_make_another_print() {
        assert_ne!(print(b"a"), print(b"a\0"));
        assert_ne!(print(b""), print(&[0; 8]));
    }
}
