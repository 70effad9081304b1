//! Where files are cut into pieces; constants of encoding version 1, for ever.
//!
//! How fine a content is cut depends on the length of all its files together ([`Grain`]). Files that are not small are cut by
//! content (FastCDC, normalised) and no piece crosses them. Small files are packed together in path order; a pack ends after a
//! file whose *path* says so, or when the next file would make it too long, so that after a change the packs are the old ones
//! again from the next such path on. Empty files are in no pack. A piece, or a small file, that is all zeros is a hole and
//! needs no piece ([`is_zero`]).
//!
//! These rules are part of the format: the same content must have the same digest wherever it is published. The test of
//! golden cuts fails when a new version of the cutting library would break that.

use fastcdc::v2020::MASKS;

/// The largest piece there is, in bytes.
pub const MAX_PIECE: usize = Grain::COARSE.max;
/// Contents of at most this many bytes are cut finely.
pub const FINE_BELOW: u64 = 2 * 1024 * 1024;

/// One path of eight may end a pack: those whose digest begins with a byte below this.
const PACK_ENDS: u8 = 32;

/// How fine a content is cut.
///
/// A broadcast of M pieces takes as long as M and a few more for each step of the way. 1 MiB in pieces of 64 KiB is 16, and the few
/// more are half of all; in pieces of 16 KiB they are an eighth. In a long content they are nothing, and each piece costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grain {
    /// The smallest piece that content decides, in bytes. Shorter files are packed together.
    min: usize,
    /// Where the mask that cuts rarely gives way to the one that cuts often, in bytes.
    centre: usize,
    /// The largest piece, in bytes.
    max: usize,
    /// The longest pack, and about the mean that cuts come to on bytes without pattern, in bytes.
    aim: usize,
    /// A pack shorter than this does not end by its last path.
    min_pack: usize,
    /// Bits that must be zero before and after the centre. One piece in nine ends before it, and after it the mean is a third
    /// of it more: hardly a piece has the greatest length.
    masks: [u64; 2],
}

impl Grain {
    /// Pieces of 32, 60 and 128 KiB (least, mean, most).
    pub const COARSE: Self = Self {
        min: 32 * 1024,
        centre: 48 * 1024,
        max: 128 * 1024,
        aim: 64 * 1024,
        min_pack: 16 * 1024,
        masks: [MASKS[17], MASKS[14]],
    };
    /// Pieces of 8, 15 and 32 KiB (least, mean, most).
    pub const FINE: Self = Self {
        min: 8 * 1024,
        centre: 12 * 1024,
        max: 32 * 1024,
        aim: 16 * 1024,
        min_pack: 4 * 1024,
        masks: [MASKS[15], MASKS[12]],
    };

    /// That of a content whose files have so many bytes together, each counted once.
    pub fn of(bytes: u64) -> Self {
        if bytes <= FINE_BELOW { Self::FINE } else { Self::COARSE }
    }

    /// The largest piece, in bytes: also that of any zeros.
    pub fn max(self) -> usize {
        self.max
    }

    /// Whether a file of so many bytes is packed with others.
    pub fn packs(self, bytes: u64) -> bool {
        bytes < self.min as u64
    }

    /// The length of the next piece of a file that is not packed. `window` begins where the last piece ended and holds at least
    /// [`Grain::max`] bytes, or all that is left of the file.
    pub fn next_cut(self, window: &[u8]) -> usize {
        let [small, large] = self.masks;
        fastcdc::v2020::cut(window, self.min, self.centre, self.max, small, large, small << 1, large << 1).1
    }
}

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Without a branch per byte, the inner loop becomes a few vector instructions.
    bytes.chunks(256).all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}

/// Decides, small file by small file in path order, where packs end.
#[derive(Debug)]
pub struct Packer {
    grain: Grain,
    len: usize,
}

impl Packer {
    /// A packer with an empty pack open.
    pub fn new(grain: Grain) -> Self {
        Self { grain, len: 0 }
    }

    /// Whether the open pack must end before a file of `len` bytes is added to it.
    pub fn must_end_before(&self, len: usize) -> bool {
        self.len > 0 && self.len + len > self.grain.aim
    }

    /// Adds a file, by its path in the manifest; true when the pack ends after it.
    pub fn add(&mut self, path: &[u8], len: usize) -> bool {
        self.len += len;
        self.len >= self.grain.min_pack && crate::Digest::of(path).as_bytes()[0] < PACK_ENDS
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

    const BOTH: [Grain; 2] = [Grain::COARSE, Grain::FINE];

    fn cuts(grain: Grain, mut bytes: &[u8]) -> Vec<usize> {
        let mut cuts = Vec::new();
        while !bytes.is_empty() {
            let len = grain.next_cut(&bytes[..bytes.len().min(grain.max)]);
            assert!(len == bytes.len() || (grain.min..=grain.max).contains(&len));
            cuts.push(len);
            bytes = &bytes[len..];
        }
        cuts
    }

    #[test]
    fn golden_cuts_never_change() {
        let first = [44_750, 97_027, 33_907, 70_353, 78_316, 40_484, 59_529, 53_022, 35_745, 54_782];
        let told = |cuts: &[usize]| {
            let all: Vec<u8> = cuts.iter().flat_map(|&len| (len as u32).to_le_bytes()).collect();
            (cuts.len(), crate::Digest::of(&all).short())
        };
        let coarse = cuts(Grain::COARSE, &generated(8 << 20));
        assert_eq!(coarse[..first.len()], first);
        assert_eq!(told(&coarse), (138, "0f453d2ac029".to_owned()));
        let fine = cuts(Grain::FINE, &generated(2 << 20));
        assert_eq!(told(&fine), (135, "fa7d98dba2bc".to_owned()));
    }

    #[test]
    fn short_contents_are_cut_finely() {
        assert_eq!([0, FINE_BELOW].map(Grain::of), [Grain::FINE; 2]);
        assert_eq!([FINE_BELOW + 1, u64::MAX].map(Grain::of), [Grain::COARSE; 2]);
        assert!(Grain::FINE.packs(8_191) && !Grain::FINE.packs(8_192));
    }

    #[test]
    fn a_longer_window_cuts_at_the_same_place() {
        let bytes = generated(1 << 18);
        for grain in BOTH {
            assert_eq!(grain.next_cut(&bytes), grain.next_cut(&bytes[..grain.max]));
        }
    }

    #[test]
    fn cuts_follow_the_content_after_an_insertion() {
        let old = generated(1 << 20);
        let new = [&old[..100_000], b"inserted", &old[100_000..]].concat();
        let ends = |grain, bytes: &[u8]| {
            let from_end = cuts(grain, bytes).into_iter().rev().scan(0, |sum, len| {
                *sum += len;
                Some(*sum)
            });
            from_end.collect::<std::collections::BTreeSet<_>>()
        };
        for grain in BOTH {
            let (old, new) = (ends(grain, &old), ends(grain, &new));
            // Those before the insertion are further from the end now.
            assert!(old.intersection(&new).count() + 100_000 / grain.min >= old.len(), "{old:?} {new:?}");
        }
    }

    #[test]
    fn f22_pieces_are_neither_tiny_nor_giant() {
        let period: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        for (grain, bytes) in BOTH
            .into_iter()
            .flat_map(|grain| [vec![0; 1 << 20], vec![0xff; 1 << 20], period.clone()].map(|bytes| (grain, bytes)))
        {
            let Grain { min, max, .. } = grain;
            assert!(cuts(grain, &bytes).iter().rev().skip(1).all(|len| (min..=max).contains(len)));
            assert_eq!(cuts(grain, &vec![0; 3 * max + 1]), [max, max, max, 1], "zeros are the longest pieces");
            assert_eq!(grain.next_cut(&[]), 0);
            assert_eq!(grain.next_cut(&vec![1; min]), min);
        }
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
    fn packs(grain: Grain, lens: &[usize]) -> Vec<Vec<usize>> {
        let (mut packer, mut packs) = (Packer::new(grain), vec![Vec::new()]);
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
        let grain = Grain::COARSE;
        let lens: Vec<usize> = (0..300).map(|n| n * 997 % grain.min).collect();
        let old = packs(grain, &lens);
        for pack in &old {
            let len: usize = pack.iter().map(|&n| lens[n]).sum();
            assert!(len <= grain.aim, "{len}");
        }
        assert_eq!(old.concat(), (0..300).collect::<Vec<_>>(), "every file is in one pack");
        let longer: Vec<usize> = lens.iter().enumerate().map(|(n, len)| len + usize::from(n == 100) * 5000).collect();
        let new = packs(grain, &longer);
        let moved = old.iter().filter(|pack| !new.contains(pack)).count();
        assert!(moved * 10 < old.len(), "{moved} of {} packs changed because one file grew", old.len());
        let by_path = old.iter().filter(|pack| {
            let last = format!("f{}", pack.last().expect("no pack is empty"));
            crate::Digest::of(last.as_bytes()).as_bytes()[0] < PACK_ENDS
        });
        assert!(by_path.count() > 10, "paths end packs");
    }
}
