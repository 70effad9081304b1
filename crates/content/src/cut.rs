//! Where files are cut into pieces; constants of encoding version 1, for ever.
//!
//! Files of at least [`SMALL`] bytes are cut by content (FastCDC, normalised, 32 / 48 / 128 KiB) and no piece crosses
//! them. Smaller files are packed together in path order; a pack ends after a file whose *path* says so, or when the next
//! file would make it too long, so that after a change the packs are the old ones again from the next such path on. Empty
//! files are in no pack. A piece, or a small file, that is all zeros is a hole and needs no piece ([`is_zero`]).
//!
//! These rules are part of the format: the same content must have the same digest wherever it is published. The test of
//! golden cuts fails when a new version of the cutting library would break that.

use fastcdc::v2020::MASKS;

/// The smallest piece that content decides, in bytes.
pub const MIN_PIECE: usize = 32 * 1024;
/// Where the mask that cuts rarely gives way to the one that cuts often, in bytes.
const CENTRE: usize = 48 * 1024;
/// The mean length that cuts come to on bytes without pattern, and the longest pack, in bytes.
pub const AIM_PIECE: usize = 64 * 1024;
/// The largest piece there is, in bytes.
pub const MAX_PIECE: usize = 128 * 1024;
/// Files shorter than this are packed together.
pub const SMALL: usize = MIN_PIECE;

/// A pack shorter than this does not end by its last path.
const MIN_PACK: usize = 16 * 1024;
/// One path of eight may end a pack: those whose digest begins with a byte below this.
const PACK_ENDS: u8 = 32;

/// Bits that must be zero before and after the centre: 17 and 14 of them. One piece in nine ends before the centre, and after
/// it the mean is 16 KiB more, which makes 60 KiB in all and hardly a piece of the greatest length.
const MASK_SMALL: u64 = MASKS[17];
const MASK_LARGE: u64 = MASKS[14];

/// The length of the next piece of a large file. `window` begins where the last piece ended and holds at least
/// [`MAX_PIECE`] bytes, or all that is left of the file.
pub fn next_cut(window: &[u8]) -> usize {
    let (small, large) = (MASK_SMALL, MASK_LARGE);
    fastcdc::v2020::cut(window, MIN_PIECE, CENTRE, MAX_PIECE, small, large, small << 1, large << 1).1
}

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Without a branch per byte, the inner loop becomes a few vector instructions.
    bytes.chunks(256).all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Decides, small file by small file in path order, where packs end.
#[derive(Debug, Default)]
pub struct Packer {
    len: usize,
}

impl Packer {
    /// A packer with an empty pack open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the open pack must end before a file of `len` bytes is added to it.
    pub fn must_end_before(&self, len: usize) -> bool {
        self.len > 0 && self.len + len > AIM_PIECE
    }

    /// Adds a file, by its path in the manifest; true when the pack ends after it.
    pub fn add(&mut self, path: &[u8], len: usize) -> bool {
        self.len += len;
        self.len >= MIN_PACK && crate::Digest::of(path).as_bytes()[0] < PACK_ENDS
    }

    /// The bytes in the open pack.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in the open pack.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins a new pack.
    pub fn begin(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are the same for ever (xorshift64).
    fn generated(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.flatten().take(len).collect()
    }

    fn cuts(mut bytes: &[u8]) -> Vec<usize> {
        let mut cuts = Vec::new();
        while !bytes.is_empty() {
            let len = next_cut(&bytes[..bytes.len().min(MAX_PIECE)]);
            assert!(len == bytes.len() || (MIN_PIECE..=MAX_PIECE).contains(&len));
            cuts.push(len);
            bytes = &bytes[len..];
        }
        cuts
    }

    #[test]
    fn golden_cuts_never_change() {
        let first = [44_750, 97_027, 33_907, 70_353, 78_316, 40_484, 59_529, 53_022, 35_745, 54_782];
        let cuts = cuts(&generated(8 << 20));
        assert_eq!(cuts[..first.len()], first);
        let all: Vec<u8> = cuts.iter().flat_map(|&len| (len as u32).to_le_bytes()).collect();
        assert_eq!((cuts.len(), crate::Digest::of(&all).short().as_str()), (138, "0f453d2ac029"));
    }

    #[test]
    fn a_longer_window_cuts_at_the_same_place() {
        let bytes = generated(1 << 18);
        assert_eq!(next_cut(&bytes), next_cut(&bytes[..MAX_PIECE]));
    }

    #[test]
    fn cuts_follow_the_content_after_an_insertion() {
        let old = generated(1 << 20);
        let new = [&old[..100_000], b"inserted", &old[100_000..]].concat();
        let ends = |bytes: &[u8]| {
            let from_end = cuts(bytes).into_iter().rev().scan(0, |sum, len| {
                *sum += len;
                Some(*sum)
            });
            from_end.collect::<std::collections::BTreeSet<_>>()
        };
        let (old, new) = (ends(&old), ends(&new));
        assert!(old.intersection(&new).count() + 3 >= old.len(), "{old:?} {new:?}");
    }

    #[test]
    fn f22_pieces_are_neither_tiny_nor_giant() {
        let period: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        for bytes in [vec![0; 1 << 20], vec![0xff; 1 << 20], period] {
            assert!(cuts(&bytes).iter().rev().skip(1).all(|len| (MIN_PIECE..=MAX_PIECE).contains(len)));
        }
        assert_eq!(cuts(&[0; 3 * MAX_PIECE + 1]), [MAX_PIECE, MAX_PIECE, MAX_PIECE, 1], "zeros are the longest pieces");
        assert_eq!(next_cut(&[]), 0);
        assert_eq!(next_cut(&[1; MIN_PIECE]), MIN_PIECE);
    }

    #[test]
    fn zeros_are_seen_wherever_they_end() {
        for len in [0, 1, 255, 256, 257, 1000] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in [0, len / 2, len.saturating_sub(1)] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 1;
                    assert!(!is_zero(&bytes), "{at} of {len}");
                    bytes[at] = 0;
                }
            }
        }
    }

    /// The packs of files `f0`, `f1` ... of these lengths.
    fn packs(lens: &[usize]) -> Vec<Vec<usize>> {
        let (mut packer, mut packs) = (Packer::new(), vec![Vec::new()]);
        let end = |packer: &mut Packer, packs: &mut Vec<Vec<usize>>| {
            packer.begin();
            packs.push(Vec::new());
        };
        for (n, &len) in lens.iter().enumerate() {
            if packer.must_end_before(len) {
                end(&mut packer, &mut packs);
            }
            packs.last_mut().expect("a pack is open").push(n);
            if packer.add(format!("f{n}").as_bytes(), len) {
                end(&mut packer, &mut packs);
            }
        }
        packs.retain(|pack| !pack.is_empty());
        packs
    }

    #[test]
    fn packs_are_bounded_and_end_at_paths() {
        let lens: Vec<usize> = (0..300).map(|n| n * 997 % SMALL).collect();
        let old = packs(&lens);
        for pack in &old {
            let len: usize = pack.iter().map(|&n| lens[n]).sum();
            assert!(len <= AIM_PIECE, "{len}");
        }
        assert_eq!(old.concat(), (0..300).collect::<Vec<_>>(), "every file is in one pack");
        let longer: Vec<usize> = lens.iter().enumerate().map(|(n, len)| len + usize::from(n == 100) * 5000).collect();
        let new = packs(&longer);
        let moved = old.iter().filter(|pack| !new.contains(pack)).count();
        assert!(moved * 10 < old.len(), "{moved} of {} packs changed because one file grew", old.len());
        let by_path = old.iter().filter(|pack| {
            let last = format!("f{}", pack.last().expect("no pack is empty"));
            crate::Digest::of(last.as_bytes()).as_bytes()[0] < PACK_ENDS
        });
        assert!(by_path.count() > 10, "paths end packs");
    }
}
