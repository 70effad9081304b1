//! The first engine: instructions, differences and literals, each a stream that zstd compressed. It is all that version 1 of the
//! format has, and is read for ever; what is written instead is [`crate::sparse`].
//!
//! Reading the parts takes no memory: it only finds where the streams are and what they declare.

use crate::bounds::{ApplyError, take};
use crate::format::{Malformed, Numbers, put_number};
use crate::prefixed::one_frame;
use crate::room::{Lent, Room};

/// A compressed stream and its length when decompressed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream<'a> {
    pub(crate) len: u64,
    pub(crate) compressed: &'a [u8],
}

/// The parts of a packed body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    instructions: Stream<'a>,
    differences: Stream<'a>,
    literals: Stream<'a>,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut numbers = Numbers(body);
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
        if rest.is_empty() { Ok(Self { instructions, differences, literals }) } else { Err(Malformed::Length) }
    }

    /// How much memory the streams take, if they add up to a result of this length.
    pub(crate) fn memory(&self, new_len: u64) -> Result<u64, Malformed> {
        match self.differences.len.checked_add(self.literals.len) == Some(new_len) {
            true => Ok(new_len.saturating_add(self.instructions.len)),
            false => Err(Malformed::Sums),
        }
    }

    /// Makes new of old, in a buffer of its length.
    pub(crate) fn apply(&self, room: &dyn Room, old: &[u8], mut new: &mut [u8]) -> Result<(), ApplyError> {
        let instructions = decompress(room, self.instructions)?;
        let (differences, literals) = (decompress(room, self.differences)?, decompress(room, self.literals)?);
        let mut sources = Sources { old, at: 0, differences: &differences, literals: &literals };
        let mut numbers = Numbers(&instructions);
        while !numbers.is_empty() {
            new = sources.follow(Instruction::read(&mut numbers)?, new)?;
        }
        // The streams add up to the result, so the result is complete exactly when both are used up.
        match sources.differences.is_empty() && sources.literals.is_empty() {
            true => Ok(()),
            false => Err(Malformed::Sums.into()),
        }
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

/// What a packed body is made of, before compression.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) instructions: Vec<u8>,
    pub(crate) differences: Vec<u8>,
    pub(crate) literals: Vec<u8>,
}

#[cfg(test)]
impl Draft {
    /// The bytes of the body.
    pub(crate) fn write(&self, level: i32) -> Vec<u8> {
        let streams = [&self.instructions, &self.differences, &self.literals];
        let compressed = streams.map(|stream| compress(stream, level));
        let mut body = Vec::new();
        for (stream, compressed) in streams.iter().zip(&compressed) {
            put_number(&mut body, stream.len() as u64);
            put_number(&mut body, compressed.len() as u64);
        }
        compressed.iter().for_each(|stream| body.extend_from_slice(stream));
        body
    }
}

/// An empty stream has no bytes, not even those of an empty zstd frame.
pub(crate) fn compress(bytes: &[u8], level: i32) -> Vec<u8> {
    match bytes {
        [] => Vec::new(),
        _ => zstd::bulk::compress(bytes, level)
            .expect("the buffer has the size that zstd asks for, and the level exists"),
    }
}

/// Where the bytes of the result come from.
struct Sources<'a> {
    old: &'a [u8],
    /// Where in the old bytes the last copy ended.
    at: u64,
    differences: &'a [u8],
    literals: &'a [u8],
}

impl Sources<'_> {
    /// Makes the first bytes of `new`; returns the others.
    fn follow<'n>(&mut self, instruction: Instruction, new: &'n mut [u8]) -> Result<&'n mut [u8], Malformed> {
        let Instruction { seek, copy, append } = instruction;
        if copy == 0 && append == 0 {
            return Err(Malformed::Idle);
        }
        let start = self.at.checked_add_signed(seek).ok_or(Malformed::OutOfRange)?;
        let copied = slice(self.old, start, copy).ok_or(Malformed::OutOfRange)?;
        let differences = next(&mut self.differences, copy)?;
        let (made, rest) = new.split_at_mut_checked(copied.len()).ok_or(Malformed::Sums)?;
        for ((made, old), difference) in made.iter_mut().zip(copied).zip(differences) {
            *made = old.wrapping_add(*difference);
        }
        let literals = next(&mut self.literals, append)?;
        let (made, rest) = rest.split_at_mut_checked(literals.len()).ok_or(Malformed::Sums)?;
        made.copy_from_slice(literals);
        self.at = start + copy;
        Ok(rest)
    }
}

pub(crate) fn slice(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let end = start.checked_add(len)?;
    bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

pub(crate) fn next<'a>(stream: &mut &'a [u8], len: u64) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(len).map_err(|_| Malformed::Sums)?;
    let (taken, left) = stream.split_at_checked(len).ok_or(Malformed::Sums)?;
    *stream = left;
    Ok(taken)
}

/// Decompresses into a buffer of the declared length, whatever the stream itself says: one byte more is an error.
pub(crate) fn decompress(room: &dyn Room, stream: Stream<'_>) -> Result<Lent, ApplyError> {
    if stream.len == 0 && stream.compressed.is_empty() {
        return Ok(Vec::new().into());
    }
    one_frame(stream.compressed)?;
    let mut buffer = take(room, stream.len)?;
    match zstd::bulk::Decompressor::new()
        .and_then(|mut zstd| zstd.decompress_to_buffer(stream.compressed, &mut buffer[..]))
    {
        Ok(len) if len as u64 == stream.len => Ok(buffer),
        _ => Err(Malformed::Stream.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Heap;

    #[test]
    fn instructions_read_as_they_were_written() {
        for seek in [0, -1, i64::MIN, i64::MAX] {
            let (mut bytes, instruction) = (Vec::new(), Instruction { seek, copy: 1, append: 2 });
            instruction.write(&mut bytes);
            assert_eq!(Instruction::read(&mut Numbers(&bytes)), Ok(instruction));
        }
    }

    #[test]
    fn a_body_that_is_cut_or_goes_on_is_refused() {
        let body = Draft { instructions: vec![1; 50], differences: Vec::new(), literals: b"abc".to_vec() }.write(3);
        let parts = Parts::read(&body).expect("just written");
        assert_eq!((parts.instructions.len, parts.differences.len, parts.literals.len), (50, 0, 3));
        assert!(parts.differences.compressed.is_empty());
        (0..body.len()).for_each(|cut| assert!(Parts::read(&body[..cut]).is_err(), "{cut}"));
        assert_eq!(Parts::read(&[&body[..], b"x"].concat()).err(), Some(Malformed::Length));
    }

    #[test]
    fn c12_a_bomb_stops_at_its_declared_length() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 24], 3).expect("zeros compress");
        for declared in [0, 1, (1 << 24) - 1, (1 << 24) + 1] {
            let stream = Stream { len: declared, compressed: &bomb };
            assert_eq!(decompress(&Heap, stream).err(), Some(Malformed::Stream.into()), "{declared}");
        }
        assert_eq!(decompress(&Heap, Stream { len: 1 << 24, compressed: &bomb }).map(|bytes| bytes.len()), Ok(1 << 24));
        assert!(decompress(&Heap, Stream { len: u64::MAX, compressed: &bomb }).is_err());
    }
}
