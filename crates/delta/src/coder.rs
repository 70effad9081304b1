//! Writes decisions into bytes, each at the cost of how improbable it was, and reads them back: a binary arithmetic coder.
//!
//! It knows no models; each decision comes with its probability. A [`Coder`] is either side: writers pass what they decide
//! and get it back, readers pass anything and get what was written. So a model is written once and cannot differ between
//! the two. Only integers are used, and nothing depends on the width of `usize`: what is written here is read everywhere.
//!
//! Reading never fails while it goes on; behind its end a stream has zeros. [`Reader::is_exhausted`] tells at the end whether
//! the stream had exactly the bytes that were needed.

/// One side of coding.
pub(crate) trait Coder {
    /// Writes a decision, or reads one and disregards the argument. `one` is the probability of true in 1/65536, not 0.
    fn bit(&mut self, bit: bool, one: u16) -> bool;

    /// `count` bits that have no model, at most 32.
    fn plain(&mut self, bits: u32, count: u32) -> u32 {
        (0..count).rev().fold(0, |read, at| read << 1 | u32::from(self.bit(bits >> at & 1 == 1, 1 << 15)))
    }
}

/// The interval that is left; both ends belong to it.
#[derive(Debug, Clone, Copy)]
struct Interval {
    low: u32,
    high: u32,
}

impl Interval {
    const ALL: Self = Self { low: 0, high: u32::MAX };

    /// The last number of the part that means true.
    fn middle(self, one: u16) -> u32 {
        self.low + ((u64::from(self.high - self.low) * u64::from(one)) >> 16) as u32
    }

    fn narrow(&mut self, bit: bool, middle: u32) {
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
    }

    /// Whether the first byte of whatever comes is known.
    fn settled(self) -> bool {
        (self.low ^ self.high) >> 24 == 0
    }

    fn shift(&mut self) {
        (self.low, self.high) = (self.low << 8, self.high << 8 | 0xff);
    }
}

/// Writes decisions.
#[derive(Debug)]
pub(crate) struct Writer {
    interval: Interval,
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { interval: Interval::ALL, bytes: Vec::new() }
    }

    /// The bytes of all decisions.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        // The ends differ in their first byte, so this byte with zeros behind it lies between them.
        self.bytes.push((self.interval.high >> 24) as u8);
        self.bytes
    }
}

impl Coder for Writer {
    fn bit(&mut self, bit: bool, one: u16) -> bool {
        self.interval.narrow(bit, self.interval.middle(one));
        while self.interval.settled() {
            self.bytes.push((self.interval.high >> 24) as u8);
            self.interval.shift();
        }
        bit
    }
}

/// Reads decisions.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    interval: Interval,
    word: u32,
    rest: &'a [u8],
    /// How many bytes were wanted behind the end.
    beyond: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self { interval: Interval::ALL, word: 0, rest: bytes, beyond: 0 };
        (0..4).for_each(|_| reader.take());
        reader
    }

    fn take(&mut self) {
        let byte = match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                *byte
            }
            None => {
                self.beyond += 1;
                0
            }
        };
        self.word = self.word << 8 | u32::from(byte);
    }

    /// Whether exactly the bytes were there that a writer of the same decisions makes.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.rest.is_empty() && self.beyond == 3
    }

    /// Whether more bytes were wanted than any writer leaves out: what is read is rubbish from here on.
    pub(crate) fn is_beyond(&self) -> bool {
        self.beyond > 3
    }
}

impl Coder for Reader<'_> {
    fn bit(&mut self, _: bool, one: u16) -> bool {
        let middle = self.interval.middle(one);
        let bit = self.word <= middle;
        self.interval.narrow(bit, middle);
        while self.interval.settled() {
            self.interval.shift();
            self.take();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions() -> Vec<(bool, u16)> {
        let mut state = 1u64;
        let next = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 40 & 7) == 0, [1, 200, 1 << 13, 40_000, u16::MAX][(state >> 50) as usize % 5])
        });
        next.take(5000).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let mut writer = Writer::new();
        decisions().into_iter().for_each(|(bit, one)| assert_eq!(writer.bit(bit, one), bit));
        writer.plain(0xdead_beef, 32);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        decisions().into_iter().for_each(|(bit, one)| assert_eq!(reader.bit(false, one), bit));
        assert!(!Reader::new(&bytes).is_exhausted());
        assert_eq!(reader.plain(0, 32), 0xdead_beef);
        assert!(reader.is_exhausted());
    }

    #[test]
    fn a_stream_that_goes_on_or_is_empty_is_noticed() {
        let mut writer = Writer::new();
        decisions().into_iter().for_each(|(bit, one)| assert_eq!(writer.bit(bit, one), bit));
        let bytes = writer.finish();
        for (other, beyond) in [(&[&bytes[..], b"x"].concat()[..], false), (b"", true)] {
            let mut reader = Reader::new(other);
            for (_, one) in decisions() {
                reader.bit(false, one);
            }
            assert!(!reader.is_exhausted());
            assert_eq!(reader.is_beyond(), beyond);
        }
    }

    #[test]
    fn what_is_probable_costs_little() {
        let mut writer = Writer::new();
        (0..80_000).for_each(|_| assert!(writer.bit(true, u16::MAX)));
        assert!(writer.finish().len() < 4);
        assert_eq!(Writer::new().finish(), [0xff]);
    }
}
