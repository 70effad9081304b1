//! How probable decisions are, learned from those before: single bits, numbers, and bytes seen from several contexts.
//!
//! All of it belongs to the format: a reader must guess exactly what the writer guessed. So there are only integers of
//! fixed widths here, tables are made by integer arithmetic, and a change of any constant is another version of the format.

use crate::coder::Coder;

/// A bit that is guessed from how it was before, by a quick and a slow memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bit {
    quick: u16,
    slow: u16,
}

impl Default for Bit {
    fn default() -> Self {
        Self { quick: 1 << 15, slow: 1 << 15 }
    }
}

impl Bit {
    pub(crate) fn code(&mut self, coder: &mut impl Coder, bit: bool) -> bool {
        let one = (u32::from(self.quick) + u32::from(self.slow)) >> 1;
        let bit = coder.bit(bit, one.clamp(8, 65_528) as u16);
        let toward = |held: u16, rate: u32| match bit {
            true => held + ((65_535 - held) >> rate),
            false => held - (held >> rate),
        };
        (self.quick, self.slow) = (toward(self.quick, 4), toward(self.slow, 7));
        bit
    }
}

/// A number below `1 << BITS`, bit by bit from the highest, each seen after those before.
#[derive(Debug, Clone)]
pub(crate) struct Tree<const BITS: u32> {
    nodes: Vec<Bit>,
}

impl<const BITS: u32> Default for Tree<BITS> {
    fn default() -> Self {
        Self { nodes: vec![Bit::default(); 1 << BITS] }
    }
}

impl<const BITS: u32> Tree<BITS> {
    pub(crate) fn code(&mut self, coder: &mut impl Coder, value: u32) -> u32 {
        let mut node = 1;
        for at in (0..BITS).rev() {
            let bit = self.nodes[node].code(coder, value >> at & 1 == 1);
            node = node << 1 | usize::from(bit);
        }
        node as u32 - (1 << BITS)
    }
}

/// A number of up to 32 bits: how many bits it has, then the highest of them by model, the rest as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Number {
    width: Tree<6>,
    /// The three bits below the highest one, for each width.
    top: Vec<Tree<3>>,
}

impl Number {
    pub(crate) fn code(&mut self, coder: &mut impl Coder, value: u32) -> u32 {
        self.top.resize_with(33, Tree::default);
        let width = self.width.code(coder, 32 - value.leading_zeros()).min(32);
        if width < 2 {
            return width;
        }
        let below = width - 1;
        let modelled = below.min(3);
        let plain = below - modelled;
        // A number with fewer than three bits below its highest uses the first branches of the tree only.
        let top = (value >> plain & ((1 << modelled) - 1)) << (3 - modelled);
        let top = self.top[width as usize].code(coder, top) >> (3 - modelled);
        1 << below | top << plain | coder.plain(value & ((1 << plain) - 1), plain)
    }
}

/// A number with a sign.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signed {
    negative: Bit,
    distance: Number,
}

impl Signed {
    /// Between -u32::MAX and u32::MAX, zero apart.
    pub(crate) fn code(&mut self, coder: &mut impl Coder, value: i64) -> i64 {
        let negative = self.negative.code(coder, value < 0);
        let distance = i64::from(self.distance.code(coder, value.unsigned_abs().min(u64::from(u32::MAX)) as u32));
        if negative { -distance } else { distance }
    }
}

/// Decisions that are guessed in `N` contexts at once; the guesses are mixed by weights that learn which contexts know.
///
/// The mixing is that of Mahoney's PAQ: guesses become logits, their weighted sum is squashed back into a probability.
#[derive(Debug, Clone)]
pub(crate) struct Mixed<const N: usize> {
    /// For each context: guesses, 12 bits of probability and 4 bits of how often it was corrected. Of each 16 that belong together, the first
    /// says which context they are for.
    tables: [Vec<u16>; N],
    /// A set of weights for each situation.
    weights: Vec<[i32; N]>,
    /// The bits of a place in a table.
    bits: u32,
}

/// Where in the tables a decision is seen from.
type Places<const N: usize> = [usize; N];

const EVEN: u16 = 1 << 15;

impl<const N: usize> Mixed<N> {
    /// Tables of `1 << bits` places each (at least 16), and this many sets of weights.
    pub(crate) fn new(bits: u32, sets: usize) -> Self {
        let table = vec![EVEN; 1 << bits];
        let weight = (1 << 16) / N as i32 + (1 << 12);
        Self { tables: [(); N].map(|()| table.clone()), weights: vec![[weight; N]; sets], bits }
    }

    /// The memory that these take.
    pub(crate) fn memory(bits: u32, sets: usize) -> u64 {
        N as u64 * ((2 << bits) + 4 * sets as u64)
    }

    /// One decision.
    pub(crate) fn bit(&mut self, coder: &mut impl Coder, contexts: &[u32; N], set: usize, bit: bool) -> bool {
        let places = contexts.map(|context| (context.wrapping_mul(0x9e37_79b1) >> (32 - self.bits)) as usize);
        self.decide(coder, &places, set, bit)
    }

    /// One byte, as eight decisions. There are 256 sets of weights for each `set`.
    pub(crate) fn byte(&mut self, coder: &mut impl Coder, contexts: &[u32; N], set: usize, byte: u8) -> u8 {
        let mut node = 1usize;
        let mut base = [0; N];
        for at in (0..8).rev() {
            if at % 4 == 3 {
                base = self.nibbles(contexts, node as u32);
            }
            // Four decisions share 16 places: 1, then 2 and 3, then 4 to 7, then 8 to 15.
            let first = 1 << (3 - at % 4);
            let within = first | node & (first - 1);
            let places = base.map(|base| base + within);
            let bit = self.decide(coder, &places, set << 8 | node, byte >> at & 1 == 1);
            node = node << 1 | usize::from(bit);
        }
        node as u8
    }

    /// Where the guesses of four decisions begin, which are forgotten if they were another context's.
    fn nibbles(&mut self, contexts: &[u32; N], node: u32) -> Places<N> {
        let mut places = [0; N];
        for ((place, table), context) in places.iter_mut().zip(&mut self.tables).zip(contexts) {
            let mixed = (context ^ node.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0x9e37_79b1);
            let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x2c1b_3c6d);
            *place = (mixed >> (32 - self.bits)) as usize & !15;
            let check = (mixed & 0xffff) as u16;
            if table[*place] != check {
                table[*place..*place + 16].fill(EVEN);
                table[*place] = check;
            }
        }
        places
    }

    fn decide(&mut self, coder: &mut impl Coder, places: &Places<N>, set: usize, bit: bool) -> bool {
        let mut logits = [0i32; N];
        for ((logit, table), place) in logits.iter_mut().zip(&self.tables).zip(places) {
            *logit = i32::from(STRETCHED[usize::from(table[*place] >> 4)]);
        }
        let weights = &mut self.weights[set];
        let sum: i64 = (0..N).map(|n| i64::from(logits[n]) * i64::from(weights[n])).sum();
        let one = SQUASHED[((sum >> 16).clamp(-2047, 2047) + 2047) as usize];
        let bit = coder.bit(bit, one.clamp(16, 65_520));
        let error = ((i32::from(bit) << 16) - i32::from(one)) * LEARNING;
        for (weight, logit) in weights.iter_mut().zip(&logits) {
            let learned = ((i64::from(*logit) * i64::from(error)) >> 20) as i32;
            *weight = (*weight + learned).clamp(-(1 << 20), 1 << 20);
        }
        for (table, place) in self.tables.iter_mut().zip(places) {
            corrected(&mut table[*place], bit);
        }
        bit
    }
}

/// How quickly weights learn.
const LEARNING: i32 = 40;

fn corrected(guess: &mut u16, bit: bool) {
    let (probability, seen) = (i32::from(*guess >> 4), *guess & 15);
    let wanted = if bit { 4095 } else { 0 };
    let step = (wanted - probability) * STEPS[usize::from(seen)];
    // Rounded away from zero, so that what is certain becomes so.
    let step = (step + if bit { 0xffff } else { 0 }) >> 16;
    *guess = ((probability + step) as u16) << 4 | (seen + 1).min(15);
}

/// By how much a guess is corrected after so many corrections before, in 1/65536.
static STEPS: [i32; 16] =
    [43690, 26214, 18724, 14563, 11915, 10082, 8738, 7710, 6898, 6241, 5461, 4681, 3855, 3276, 2621, 2048];

/// The probability, in 1/65536, of each logit from -2047 to 2047, in 1/256: 1 / (1 + e^-x).
static SQUASHED: [u16; 4095] = {
    let mut squashed = [0; 4095];
    // e^(-x/256) for x from 0 up, as a fraction of 2^62.
    let mut power: u128 = 1 << 62;
    let mut x = 0;
    while x < 2048 {
        let one = ((1u128 << 78) / ((1 << 62) + power)) as u32;
        squashed[2047 + x] = if one > 65_535 { 65_535 } else { one as u16 };
        squashed[2047 - x] = if one > 65_535 { 1 } else { (65_536 - one) as u16 };
        power = (power * E) >> 62;
        x += 1;
    }
    squashed
};

/// e^(-1/256), as a fraction of 2^62.
const E: u128 = 4_593_706_758_521_714_574;

/// The logit of each probability in 1/4096: the last one whose probability is not above it.
static STRETCHED: [i16; 4096] = {
    let mut stretched = [0; 4096];
    let (mut probability, mut logit) = (0, 0);
    while probability < 4096 {
        while logit < 4094 && SQUASHED[logit + 1] as usize <= probability * 16 + 8 {
            logit += 1;
        }
        stretched[probability] = logit as i16 - 2047;
        probability += 1;
    }
    stretched
};

/// A number that stands for several, as a context.
pub(crate) fn context(kind: u32, parts: &[u32]) -> u32 {
    parts.iter().fold(kind.wrapping_mul(0x3c6e_f372) ^ 0x1f83_d9ab, |hash, part| {
        let hash = (hash ^ part).wrapping_mul(0x0100_0193);
        hash ^ hash >> 15
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coder::{Reader, Writer};

    #[test]
    fn numbers_come_back() {
        let values = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 1000, 123_456, 1 << 31, u32::MAX - 1, u32::MAX];
        let mut writer = Writer::new();
        let (mut number, mut signed) = (Number::default(), Signed::default());
        for value in values {
            assert_eq!(number.code(&mut writer, value), value);
            assert_eq!(signed.code(&mut writer, -i64::from(value)), -i64::from(value));
        }
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        let (mut number, mut signed) = (Number::default(), Signed::default());
        for value in values {
            assert_eq!(number.code(&mut reader, 0), value);
            assert_eq!(signed.code(&mut reader, 0), -i64::from(value));
        }
        assert!(reader.is_exhausted());
    }

    fn through(model: &mut Mixed<2>, coder: &mut impl Coder, bytes: &mut [u8]) {
        let mut before = [0u32; 2];
        for byte in bytes {
            *byte = model.byte(coder, &[before[0], before[0] << 8 | before[1]], 0, *byte);
            before = [u32::from(*byte), before[0]];
        }
    }

    #[test]
    fn bytes_come_back_and_are_learned() {
        let text: Vec<u8> = b"a tiding of magpies, ".iter().copied().cycle().take(20_000).collect();
        let mut writer = Writer::new();
        through(&mut Mixed::new(12, 256), &mut writer, &mut text.clone());
        let coded = writer.finish();
        assert!(coded.len() < 250, "{}", coded.len());
        let mut read = vec![0; text.len()];
        through(&mut Mixed::new(12, 256), &mut Reader::new(&coded), &mut read);
        assert_eq!(read, text);
    }

    #[test]
    fn rubbish_is_read_to_its_end() {
        let rubbish: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        let mut reader = Reader::new(&rubbish);
        through(&mut Mixed::new(4, 256), &mut reader, &mut vec![0; 50_000]);
        let (mut number, mut signed, mut bit) = (Number::default(), Signed::default(), Bit::default());
        for _ in 0..50_000 {
            number.code(&mut reader, 0);
            signed.code(&mut reader, 0);
            bit.code(&mut reader, false);
        }
    }

    #[test]
    fn the_tables_are_what_they_were() {
        // A reader elsewhere, or later, must have the same ones.
        let sum = |numbers: &mut dyn Iterator<Item = u32>| {
            numbers.fold(0u32, |sum, number| sum.wrapping_mul(0x0100_0193).wrapping_add(number))
        };
        let squashed = sum(&mut SQUASHED.iter().map(|number| u32::from(*number)));
        let stretched = sum(&mut STRETCHED.iter().map(|number| i32::from(*number) as u32));
        let steps = sum(&mut STEPS.iter().map(|number| *number as u32));
        assert_eq!((squashed, stretched, steps), (3_884_575_128, 2_317_004_787, 3_746_508_929));
        assert_eq!((SQUASHED[2047], STRETCHED[2048], SQUASHED[0] > 0), (32_768, 0, true));
    }
}
