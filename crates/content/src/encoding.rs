//! At-rest bytes: a canonical, bounded binary encoding, the only one there is.
//!
//! Every value has exactly one encoding, so equal values have equal digests, and a decoder refuses every other byte string:
//! numbers are LEB128 in their shortest form, byte strings carry their length, maps rise by key, options are one byte that
//! is 0 or 1, and nothing may follow the last field. A count is compared with the bytes that are left before memory is
//! taken for it, so decoding never takes more than a small multiple of the input's length.
//!
//! Documents that stand alone begin with `tdg`, a letter for their [`Document`] and a version byte. What a value consists of
//! is written where its type is ([`Encode`]); this module knows only how the parts become bytes, not what they mean.

use std::ops::RangeInclusive;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: {why}")]
pub struct Malformed {
    /// What was being read.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
    /// Whether nothing may be: it is in a version that only a newer program reads.
    pub is_newer: bool,
}

impl Malformed {
    /// Says what is wrong with what.
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into(), is_newer: false }
    }
}

/// Fails with `why` unless `fine`.
pub(crate) fn require(fine: bool, what: &'static str, why: &str) -> Result<(), Malformed> {
    if fine { Ok(()) } else { Err(Malformed::new(what, why)) }
}

/// A value that has canonical bytes.
///
/// `decode(encode(v)) == v` for every valid `v`, and `encode(decode(b)) == b` for every `b` that decodes.
pub trait Encode: Sized {
    /// What errors call it.
    const WHAT: &'static str;

    /// Appends the canonical bytes.
    fn put(&self, to: &mut Encoder);

    /// Reads a value from the front of what is left, refusing all but canonical bytes.
    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed>;

    /// The canonical bytes.
    fn encode(&self) -> Vec<u8> {
        let mut to = Encoder::new();
        self.put(&mut to);
        to.finish()
    }

    /// Reads canonical bytes, refusing anything else, also bytes that follow.
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(Self::WHAT, bytes);
        let value = Self::take(&mut from)?;
        from.finish()?;
        Ok(value)
    }
}

/// The kind of a document that stands alone; its letter is the fourth byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// Times and owners of a tree's entries.
    Attributes = b'A' as isize,
    /// What an origin needs to be itself again.
    Backup = b'B' as isize,
    /// What is to be done with a rollout.
    Directive = b'D' as isize,
    /// A fact of a journal.
    Fact = b'F' as isize,
    /// What a journal notes beside a fact.
    Stamp = b'J' as isize,
    /// The entries and pieces of a tree.
    Manifest = b'M' as isize,
    /// Which release shall run where.
    Order = b'O' as isize,
    /// What an application is in one version.
    Release = b'R' as isize,
    /// A payload and its signatures.
    Signed = b'S' as isize,
    /// The keys of a fleet.
    Root = b'T' as isize,
}

impl Document {
    /// Bytes in a document's header.
    pub const HEADER_LEN: usize = MAGIC.len() + 2;
}

const MAGIC: &[u8; 3] = b"tdg";

/// The version of every kind of document; a kind that can say more in a newer one says so where its type is.
pub const VERSION: u8 = 1;

/// Appends canonical bytes.
#[derive(Debug, Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// An encoder that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes so far.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// How many bytes there are so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header of a document that stands alone.
    pub fn header(&mut self, kind: Document) -> &mut Self {
        self.header_in(kind, VERSION)
    }

    /// The header of a document that says what only this version can.
    pub fn header_in(&mut self, kind: Document, version: u8) -> &mut Self {
        self.raw(MAGIC).byte(kind as u8).byte(version)
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    /// Bytes whose number the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A number in LEB128, shortest form.
    pub fn number(&mut self, number: impl Into<u64>) -> &mut Self {
        let mut left = number.into();
        while left >= 0x80 {
            self.byte(left as u8 | 0x80);
            left >>= 7;
        }
        self.byte(left as u8)
    }

    /// A number that may be negative, zigzag.
    pub fn signed(&mut self, number: i64) -> &mut Self {
        self.number((number << 1 ^ number >> 63) as u64)
    }

    /// The number of the items that follow.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.number(count as u64)
    }

    /// A byte string with its length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len()).raw(bytes)
    }

    /// Text with its length.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Another value.
    pub fn value(&mut self, value: &impl Encode) -> &mut Self {
        value.put(self);
        self
    }

    /// A value that may be absent.
    pub fn option(&mut self, value: Option<&impl Encode>) -> &mut Self {
        match value {
            None => self.byte(0),
            Some(value) => self.byte(1).value(value),
        }
    }

    /// Values with their number.
    pub fn list<'a, T: Encode + 'a>(&mut self, values: impl ExactSizeIterator<Item = &'a T>) -> &mut Self {
        self.count(values.len());
        values.fold(self, |to, value| to.value(value))
    }
}

/// Reads canonical bytes from front to back; it never panics and never takes memory that the input does not justify.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    what: &'static str,
    left: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// A decoder of `bytes`, which errors will call `what`.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, left: bytes }
    }

    /// An error about what is being read.
    pub fn wrong(&self, why: impl Into<String>) -> Malformed {
        Malformed::new(self.what, why)
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.left.len()
    }

    /// Ends; bytes that are left over are refused.
    pub fn finish(self) -> Result<(), Malformed> {
        match self.left.len() {
            0 => Ok(()),
            stray => Err(self.wrong(format!("{stray} bytes follow its end"))),
        }
    }

    /// The header of a document of `kind`.
    pub fn header(&mut self, kind: Document) -> Result<(), Malformed> {
        self.header_up_to(kind, VERSION).map(drop)
    }

    /// The header of a document of `kind` in any version up to this one; which it is.
    pub fn header_up_to(&mut self, kind: Document, newest: u8) -> Result<u8, Malformed> {
        let header: [u8; Document::HEADER_LEN] = self.array()?;
        let (magic, tail) = header.split_at(MAGIC.len());
        if magic != MAGIC || tail[0] != kind as u8 {
            return Err(
                self.wrong(format!("it begins with {:?}, not as a {kind:?}", header.escape_ascii().to_string()))
            );
        }
        match tail[1] {
            version if (VERSION..=newest).contains(&version) => Ok(version),
            other => {
                let why = format!(
                    "it is in encoding version {other}, and this program reads version {newest}; a newer program may read it"
                );
                Err(Malformed { is_newer: other > newest, ..self.wrong(why) })
            }
        }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    /// `len` bytes.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, left) = self.left.split_at_checked(len).ok_or_else(|| self.wrong("it ends too early"))?;
        self.left = left;
        Ok(taken)
    }

    /// As many bytes as the array has.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, left) = self.left.split_first_chunk().ok_or_else(|| self.wrong("it ends too early"))?;
        self.left = left;
        Ok(*taken)
    }

    /// A number in LEB128; only the shortest form is read.
    pub fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            match byte {
                0 if shift > 0 => return Err(self.wrong("a number is not in its shortest form")),
                0..0x80 => return Ok(number),
                _ => {}
            }
        }
        Err(self.wrong("a number has more than 64 bits"))
    }

    /// A number that may be negative, zigzag.
    pub fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A number within a range; `name` is what errors call it.
    pub fn within(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<u64, Malformed> {
        let number = self.number()?;
        if range.contains(&number) {
            return Ok(number);
        }
        Err(self.wrong(format!("{name} is {number}, and must be {} to {}", range.start(), range.end())))
    }

    /// A number below 2^32.
    pub fn number32(&mut self, name: &str) -> Result<u32, Malformed> {
        self.within(name, 0..=u32::MAX.into()).map(|number| number as u32)
    }

    /// The number of the items that follow: at most `max`, and no more than fit into what is left at `least` bytes each.
    pub fn count(&mut self, name: &str, max: usize, least: usize) -> Result<usize, Malformed> {
        let count = self.within(name, 0..=max as u64)? as usize;
        match self.remaining() / least.max(1) < count {
            true => Err(self.wrong(format!("{name} is {count}, and too few bytes follow for so many"))),
            false => Ok(count),
        }
    }

    /// A byte string of at most `max` bytes.
    pub fn bytes(&mut self, name: &str, max: usize) -> Result<&'a [u8], Malformed> {
        match self.number()? {
            len if len <= max as u64 => self.raw(len as usize),
            len => Err(self.wrong(format!("{name} has {len} bytes, and at most {max} are allowed"))),
        }
    }

    /// Text of at most `max` bytes: UTF-8 without control characters.
    pub fn text(&mut self, name: &str, max: usize) -> Result<String, Malformed> {
        let text = str::from_utf8(self.bytes(name, max)?).map_err(|_| self.wrong(format!("{name} is not UTF-8")))?;
        check_text(self.what, name, text, max)?;
        Ok(text.to_owned())
    }

    /// Another value.
    pub fn value<T: Encode>(&mut self) -> Result<T, Malformed> {
        T::take(self)
    }

    /// A value that may be absent.
    pub fn option<T: Encode>(&mut self) -> Result<Option<T>, Malformed> {
        match self.byte()? {
            0 => Ok(None),
            1 => T::take(self).map(Some),
            other => Err(self.wrong(format!("an option is marked {other}"))),
        }
    }

    /// At most `max` values of at least `least` bytes each.
    pub fn list<T: Encode>(&mut self, name: &str, max: usize, least: usize) -> Result<Vec<T>, Malformed> {
        let count = self.count(name, max, least)?;
        (0..count).map(|_| T::take(self)).collect()
    }
}

/// Refuses text that is too long or has control characters in it.
pub(crate) fn check_text(what: &'static str, name: &str, text: &str, max: usize) -> Result<(), Malformed> {
    if text.len() > max {
        return Err(Malformed::new(what, format!("{name} has {} bytes, and at most {max} are allowed", text.len())));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(Malformed::new(what, format!("{name} contains the control character U+{:04X}", c as u32))),
        None => Ok(()),
    }
}

/// The first eight of these bytes as a number that is ordered as they are.
#[inline]
pub(crate) fn leading(bytes: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *bytes;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(bytes: &[u8]) -> Decoder<'_> {
        Decoder::new("test", bytes)
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(why: &str, result: Result<T, Malformed>) {
        let error = result.expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn numbers_are_leb128() {
        let cases: [(u64, &[u8]); 6] = [
            (0, &[0]),
            (127, &[127]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX >> 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (number, bytes) in cases {
            assert_eq!(Encoder::new().number(number).0, bytes);
            assert_eq!(decoder(bytes).number(), Ok(number));
        }
        for number in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(decoder(&Encoder::new().signed(number).0).signed(), Ok(number));
        }
    }

    #[test]
    fn only_the_shortest_form_of_a_number_is_read() {
        refused("shortest", decoder(&[0x80, 0]).number());
        refused("shortest", decoder(&[0xff, 0x80, 0]).number());
        refused("64 bits", decoder(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number());
        refused("64 bits", decoder(&[0xff; 11]).number());
        refused("too early", decoder(&[0x80]).number());
        refused("count is 5, and must be 0 to 4", decoder(&[5]).within("count", 0..=4));
    }

    #[test]
    fn c3_a_length_beyond_the_input_is_refused_before_memory_is_taken() {
        let huge = Encoder::new().number(1u64 << 62).byte(7).0.clone();
        refused("at most 1000 are allowed", decoder(&huge).bytes("name", 1000));
        refused("too early", decoder(&huge).bytes("name", usize::MAX));
        refused("too few bytes", decoder(&[9, 0, 0, 0]).count("entries", 100, 1));
        refused("too few bytes", decoder(&[2, 0, 0, 0]).count("entries", 100, 2));
        assert_eq!(decoder(&[2, 0, 0, 0, 0]).count("entries", 100, 2), Ok(2));
        refused("too early", decoder(&[1, 2]).raw(3));
        refused("too early", decoder(&[1, 2]).array::<3>());
    }

    #[test]
    fn c4_an_unknown_version_is_refused_by_name() {
        let header = |bytes: &[u8]| decoder(bytes).header(Document::Fact);
        assert_eq!(header(b"tdgF\x01"), Ok(()));
        refused("encoding version 2, and this program reads version 1", header(b"tdgF\x02"));
        refused("encoding version 0, and this program reads version 1", header(b"tdgF\x00"));
        refused("not as a Fact", header(b"tdgR\x01"));
        refused("not as a Fact", header(b"\x7fELF\x01"));
        refused("too early", header(b"tdgF"));
    }

    #[test]
    fn nothing_may_follow_and_options_are_zero_or_one() {
        refused("1 bytes follow", crate::UnixTime::decode(&[5, 0]));
        refused("marked 2", decoder(&[2, 5]).option::<crate::UnixTime>());
        assert_eq!(decoder(&[1, 5]).option(), Ok(Some(crate::UnixTime(5))));
        assert_eq!(decoder(&[0]).option::<crate::UnixTime>(), Ok(None));
    }

    #[test]
    fn text_is_utf8_without_control_characters() {
        let text = |bytes: &[u8]| decoder(&Encoder::new().bytes(bytes).0).text("name", 8);
        assert_eq!(
            text("naïve ✓".as_bytes()).as_deref(),
            Err(&Malformed::new("test", "name has 10 bytes, and at most 8 are allowed"))
        );
        assert_eq!(text("naïve".as_bytes()).as_deref(), Ok("naïve"));
        refused("UTF-8", text(b"\xff"));
        for control in ["\0", "\n", "\x1b[m", "\x7f", "\u{9b}"] {
            refused("control character", text(control.as_bytes()));
        }
    }
}
