//! The bytes of a patch, as `docs/patch-format.md` draws them: header, instructions, and three compressed streams.
//!
//! Reading takes no memory: it only finds where the streams are and what they declare. Nothing declared is believed here;
//! [`crate::apply`] compares it with its budget.

/// The version of the format that this crate writes, and the only one that it applies.
pub const FORMAT_VERSION: u8 = 1;

const MAGIC: &[u8; 4] = b"tdgp";

/// Bytes that are not a patch, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It does not begin like a patch.
    #[error("it does not begin like a patch")]
    Magic,
    /// It is in another version of the format.
    #[error("it is in format version {0}, and this program applies version {FORMAT_VERSION}")]
    Version(u8),
    /// It ends too early, or goes on after its end.
    #[error("it ends too early, or goes on after its end")]
    Length,
    /// A number has more than 64 bits, or is not in its shortest form.
    #[error("a number has more than 64 bits, or is not in its shortest form")]
    Number,
    /// A stream is not what it declares.
    #[error("a compressed stream does not have its declared length")]
    Stream,
    /// The lengths of its streams contradict the length of its result.
    #[error("its lengths contradict each other")]
    Sums,
    /// An instruction copies from outside the old bytes.
    #[error("it copies from outside the old bytes")]
    OutOfRange,
    /// An instruction makes no bytes.
    #[error("an instruction makes no bytes")]
    Idle,
}

/// What a patch says of itself before it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// The length of the old bytes.
    pub old_len: u64,
    /// The length of the new bytes.
    pub new_len: u64,
}

impl Declared {
    /// Reads the beginning of a patch.
    pub fn of(patch: &[u8]) -> Result<Self, Malformed> {
        Ok(Parts::read(patch)?.declared)
    }
}

/// A compressed stream and its length when decompressed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream<'a> {
    pub(crate) len: u64,
    pub(crate) compressed: &'a [u8],
}

/// The parts of a patch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) declared: Declared,
    pub(crate) instructions: Stream<'a>,
    pub(crate) differences: Stream<'a>,
    pub(crate) literals: Stream<'a>,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(patch: &'a [u8]) -> Result<Self, Malformed> {
        let rest = patch.strip_prefix(MAGIC).ok_or(Malformed::Magic)?;
        let (&version, rest) = rest.split_first().ok_or(Malformed::Length)?;
        if version != FORMAT_VERSION {
            return Err(Malformed::Version(version));
        }
        let mut numbers = Numbers(rest);
        let declared = Declared { old_len: numbers.next()?, new_len: numbers.next()? };
        let lens = [
            (numbers.next()?, numbers.next()?),
            (numbers.next()?, numbers.next()?),
            (numbers.next()?, numbers.next()?),
        ];
        let mut rest = numbers.0;
        let mut stream = |(len, compressed_len): (u64, u64)| {
            let compressed_len = usize::try_from(compressed_len).map_err(|_| Malformed::Length)?;
            let (compressed, after) = rest.split_at_checked(compressed_len).ok_or(Malformed::Length)?;
            rest = after;
            Ok(Stream { len, compressed })
        };
        let [instructions, differences, literals] = [stream(lens[0])?, stream(lens[1])?, stream(lens[2])?];
        if !rest.is_empty() {
            return Err(Malformed::Length);
        }
        Ok(Self { declared, instructions, differences, literals })
    }
}

/// One instruction: first copy, then append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// How far to move in the old bytes, from where the last copy ended.
    pub(crate) seek: i64,
    /// How many old bytes to copy, adding to each the next byte of the differences.
    pub(crate) copy: u64,
    /// How many literal bytes to append then.
    pub(crate) append: u64,
}

impl Instruction {
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        put_number(to, (self.seek << 1 ^ self.seek >> 63) as u64);
        put_number(to, self.copy);
        put_number(to, self.append);
    }

    pub(crate) fn read(from: &mut Numbers<'_>) -> Result<Self, Malformed> {
        let seek = from.next()?;
        let seek = (seek >> 1) as i64 ^ -((seek & 1) as i64);
        Ok(Self { seek, copy: from.next()?, append: from.next()? })
    }
}

/// What a patch is made of, before compression.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) instructions: Vec<u8>,
    pub(crate) differences: Vec<u8>,
    pub(crate) literals: Vec<u8>,
}

impl Draft {
    /// The bytes of the patch.
    pub(crate) fn write(&self, declared: Declared, level: i32) -> Vec<u8> {
        let streams = [&self.instructions, &self.differences, &self.literals];
        let compressed = streams.map(|stream| compress(stream, level));
        let mut patch = [MAGIC.as_slice(), &[FORMAT_VERSION]].concat();
        put_number(&mut patch, declared.old_len);
        put_number(&mut patch, declared.new_len);
        for (stream, compressed) in streams.iter().zip(&compressed) {
            put_number(&mut patch, stream.len() as u64);
            put_number(&mut patch, compressed.len() as u64);
        }
        compressed.iter().for_each(|stream| patch.extend_from_slice(stream));
        patch
    }
}

/// An empty stream has no bytes, not even those of an empty zstd frame.
fn compress(bytes: &[u8], level: i32) -> Vec<u8> {
    match bytes {
        [] => Vec::new(),
        _ => zstd::bulk::compress(bytes, level)
            .expect("the buffer has the size that zstd asks for, and the level exists"),
    }
}

/// Reads LEB128 numbers in their shortest form.
#[derive(Debug)]
pub(crate) struct Numbers<'a>(pub(crate) &'a [u8]);

impl Numbers<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn next(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed::Length)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || byte == 0 && shift > 0 {
                return Err(Malformed::Number);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed::Number)
    }
}

fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_reads_as_it_was_written() {
        let draft = Draft { instructions: vec![1; 50], differences: Vec::new(), literals: b"abc".to_vec() };
        let declared = Declared { old_len: 300, new_len: 3 };
        let patch = draft.write(declared, 3);
        let parts = Parts::read(&patch).expect("just written");
        assert_eq!((parts.declared, Declared::of(&patch)), (declared, Ok(declared)));
        assert_eq!((parts.instructions.len, parts.differences.len, parts.literals.len), (50, 0, 3));
        assert!(parts.differences.compressed.is_empty());
        for cut in 0..patch.len() {
            assert!(Parts::read(&patch[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Parts::read(&[&patch[..], b"x"].concat()).err(), Some(Malformed::Length));
    }

    #[test]
    fn c4_another_version_is_refused_by_name() {
        let mut patch = Draft::default().write(Declared { old_len: 0, new_len: 0 }, 3);
        patch[4] = 2;
        let error = Declared::of(&patch).expect_err("version 2");
        assert_eq!(error, Malformed::Version(2));
        assert_eq!(error.to_string(), "it is in format version 2, and this program applies version 1");
        patch[0] = b'x';
        assert_eq!(Declared::of(&patch), Err(Malformed::Magic));
    }

    #[test]
    fn numbers_have_one_form() {
        for number in [0, 127, 128, 1 << 35, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            assert_eq!(Numbers(&bytes).next(), Ok(number));
        }
        assert_eq!(Numbers(&[0x80, 0]).next(), Err(Malformed::Number));
        assert_eq!(Numbers(&[0xff; 10]).next(), Err(Malformed::Number));
        for seek in [0, -1, i64::MIN, i64::MAX] {
            let (mut bytes, instruction) = (Vec::new(), Instruction { seek, copy: 1, append: 2 });
            instruction.write(&mut bytes);
            assert_eq!(Instruction::read(&mut Numbers(&bytes)), Ok(instruction));
        }
    }
}
