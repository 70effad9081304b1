//! The quick engine of version 2: instructions as [`crate::packed`] has them, but of the differences only those that are not zero.
//!
//! Most copied bytes are equal, so a copy here is a copy of memory, and then few bytes are added to. Seven streams, each of
//! one kind of number or byte, so that zstd finds in each what repeats.
//!
//! Reading the parts takes no memory: it only finds where the streams are and what they declare.

use crate::bounds::ApplyError;
use crate::format::{Malformed, Numbers, put_number};
use crate::packed::{Draft, Instruction, Stream, compress, decompress, next, slice};
use crate::room::{Lent, Room};

const STREAMS: usize = 7;

/// The number of the last stream.
const LITERALS: usize = STREAMS - 1;

/// The parts of a sparse body: seeks, copies, appends, gaps, stretches, values, literals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a>([Stream<'a>; STREAMS]);

impl<'a> Parts<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut numbers = Numbers(body);
        let mut lens = [(0, 0); STREAMS];
        for len in &mut lens {
            *len = (numbers.next()?, numbers.next()?);
        }
        let mut rest = numbers.0;
        let mut streams = [Stream { len: 0, compressed: &[] }; STREAMS];
        for (stream, (len, compressed_len)) in streams.iter_mut().zip(lens) {
            *stream = Stream { len, compressed: next(&mut rest, compressed_len).map_err(|_| Malformed::Length)? };
        }
        if rest.is_empty() { Ok(Self(streams)) } else { Err(Malformed::Length) }
    }

    /// How much memory the streams take.
    pub(crate) fn memory(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, stream| sum.saturating_add(stream.len))
    }

    /// Makes new of old, in a buffer of its length.
    pub(crate) fn apply(&self, room: &dyn Room, old: &[u8], mut new: &mut [u8]) -> Result<(), ApplyError> {
        let mut streams: [Lent; STREAMS] = std::array::from_fn(|_| Vec::new().into());
        for (bytes, stream) in streams.iter_mut().zip(self.0) {
            *bytes = decompress(room, stream)?;
        }
        let [seeks, copies, appends, gaps, stretches, values, literals] = streams.each_ref().map(|stream| &stream[..]);
        let mut seeks = Numbers(seeks);
        let (mut copies, mut appends) = (Numbers(copies), Numbers(appends));
        let mut mender = Mender { gaps: Numbers(gaps), stretches: Numbers(stretches), values, gap: 0, stretch: 0 };
        mender.next()?;
        let mut sources = Sources { old, at: 0, literals };
        while !seeks.is_empty() {
            let seek = unzigzag(seeks.next()?);
            let instruction = Instruction { seek, copy: copies.next()?, append: appends.next()? };
            new = sources.follow(instruction, new, &mut mender)?;
        }
        let all_read = copies.is_empty() && appends.is_empty() && sources.literals.is_empty() && mender.is_done();
        if new.is_empty() && all_read { Ok(()) } else { Err(Malformed::Sums.into()) }
    }
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// What is added to copied bytes: after so many that are equal, a stretch that is not.
struct Mender<'a> {
    gaps: Numbers<'a>,
    stretches: Numbers<'a>,
    values: &'a [u8],
    gap: u64,
    stretch: u64,
}

impl Mender<'_> {
    /// Reads the next gap and stretch; behind the last stretch all bytes are equal.
    fn next(&mut self) -> Result<(), Malformed> {
        (self.gap, self.stretch) = (0, 0);
        if !self.gaps.is_empty() {
            (self.gap, self.stretch) = (self.gaps.next()?, self.stretches.next()?);
            if self.stretch == 0 {
                return Err(Malformed::Idle);
            }
        }
        Ok(())
    }

    /// Whether everything was read and added.
    fn is_done(&self) -> bool {
        self.stretch == 0 && self.stretches.is_empty() && self.values.is_empty()
    }

    /// Adds to bytes that were just copied.
    fn mend(&mut self, copied: &mut [u8]) -> Result<(), Malformed> {
        let mut left = copied;
        while self.stretch > 0 && self.gap < left.len() as u64 {
            let differing = &mut left[self.gap as usize..];
            let len = self.stretch.min(differing.len() as u64);
            let (mended, behind) = differing.split_at_mut(len as usize);
            mended.iter_mut().zip(next(&mut self.values, len)?).for_each(|(byte, add)| *byte = byte.wrapping_add(*add));
            (left, self.gap, self.stretch) = (behind, 0, self.stretch - len);
            if self.stretch == 0 {
                self.next()?;
            }
        }
        self.gap -= if self.stretch > 0 { left.len() as u64 } else { 0 };
        Ok(())
    }
}

/// Where the bytes of the result come from.
struct Sources<'a> {
    old: &'a [u8],
    /// Where in the old bytes the last copy ended.
    at: u64,
    literals: &'a [u8],
}

impl Sources<'_> {
    /// Makes the first bytes of `new`; returns the others.
    fn follow<'n>(
        &mut self,
        instruction: Instruction,
        new: &'n mut [u8],
        mender: &mut Mender<'_>,
    ) -> Result<&'n mut [u8], Malformed> {
        let Instruction { seek, copy, append } = instruction;
        if copy == 0 && append == 0 {
            return Err(Malformed::Idle);
        }
        let start = self.at.checked_add_signed(seek).ok_or(Malformed::OutOfRange)?;
        let copied = slice(self.old, start, copy).ok_or(Malformed::OutOfRange)?;
        let (made, rest) = new.split_at_mut_checked(copied.len()).ok_or(Malformed::Sums)?;
        made.copy_from_slice(copied);
        mender.mend(made)?;
        let literals = next(&mut self.literals, append)?;
        let (made, rest) = rest.split_at_mut_checked(literals.len()).ok_or(Malformed::Sums)?;
        made.copy_from_slice(literals);
        self.at = start + copy;
        Ok(rest)
    }
}

/// The body that says what a draft says.
pub(crate) fn write(draft: &Draft) -> Vec<u8> {
    packed(&streams(draft))
}

fn packed(streams: &[Vec<u8>; STREAMS]) -> Vec<u8> {
    let compress = |(number, stream): (usize, &Vec<u8>)| compress(stream, level(number, stream.len()));
    let compressed: Vec<_> = streams.iter().enumerate().map(compress).collect();
    let mut body = Vec::new();
    for (stream, compressed) in streams.iter().zip(&compressed) {
        put_number(&mut body, stream.len() as u64);
        put_number(&mut body, compressed.len() as u64);
    }
    compressed.iter().for_each(|stream| body.extend_from_slice(stream));
    body
}

/// How hard zstd tries: what is short takes little time however hard, and of long literals trying hard saves next to nothing.
fn level(number: usize, len: usize) -> i32 {
    match len {
        0..=0x10_0000 => 19,
        0x10_0001..=0x20_0000 if number != LITERALS => 19,
        0x20_0001..=0x100_0000 if number != LITERALS => 17,
        _ => 9,
    }
}

fn streams(draft: &Draft) -> [Vec<u8>; STREAMS] {
    let (mut seeks, mut copies, mut appends) = (Vec::new(), Vec::new(), Vec::new());
    let mut numbers = Numbers(&draft.instructions);
    while let Ok(Instruction { seek, copy, append }) = Instruction::read(&mut numbers) {
        put_number(&mut seeks, (seek << 1 ^ seek >> 63) as u64);
        put_number(&mut copies, copy);
        put_number(&mut appends, append);
    }
    let (mut gaps, mut stretches, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = &draft.differences[..];
    while let Some(gap) = rest.iter().position(|byte| *byte != 0) {
        let differing = &rest[gap..];
        let len = differing.iter().position(|byte| *byte == 0).unwrap_or(differing.len());
        put_number(&mut gaps, gap as u64);
        put_number(&mut stretches, len as u64);
        values.extend_from_slice(&differing[..len]);
        rest = &differing[len..];
    }
    [seeks, copies, appends, gaps, stretches, values, draft.literals.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"0123456789";

    /// Copies eight bytes with a stretch of two that differ, then appends three.
    fn draft() -> Draft {
        let mut draft =
            Draft { differences: vec![0, 0, 1, 2, 0, 0, 0, 5], literals: b"xyz".to_vec(), ..Draft::default() };
        Instruction { seek: 1, copy: 8, append: 1 }.write(&mut draft.instructions);
        Instruction { seek: -3, copy: 0, append: 2 }.write(&mut draft.instructions);
        draft
    }

    fn made(body: &[u8], len: usize) -> Result<Vec<u8>, ApplyError> {
        let mut new = vec![0; len];
        Parts::read(body)?.apply(&crate::room::Heap, OLD, &mut new).map(|()| new)
    }

    #[test]
    fn a_draft_is_followed() {
        assert_eq!(made(&write(&draft()), 11), Ok(b"1246567=xyz".to_vec()));
    }

    #[test]
    fn a_body_that_is_cut_or_goes_on_is_refused() {
        let body = write(&draft());
        (0..body.len()).for_each(|cut| assert!(made(&body[..cut], 11).is_err(), "{cut}"));
        assert_eq!(made(&[&body[..], b"x"].concat(), 11), Err(Malformed::Length.into()));
        assert!(made(&body, 10).is_err() && made(&body, 12).is_err());
    }

    #[test]
    fn c12_streams_that_contradict_each_other_are_refused() {
        // Seeks, copies, appends, gaps, stretches, values, literals.
        let streams = streams(&draft());
        for (number, more) in (0..STREAMS).flat_map(|number| [(number, 0), (number, 1), (number, 9)]) {
            let mut longer = streams.clone();
            longer[number].push(more);
            assert!(made(&packed(&longer), 11).is_err(), "{number} {more}");
            let mut shorter = streams.clone();
            shorter[number].pop();
            assert!(made(&packed(&shorter), 11).is_err(), "{number}");
        }
        let with = |number: usize, bytes: &[u8]| {
            let mut streams = streams.clone();
            streams[number] = bytes.to_vec();
            made(&packed(&streams), 11)
        };
        assert_eq!(with(0, &[6, 0]), Err(Malformed::OutOfRange.into()), "behind the end of old");
        assert_eq!(with(0, &[1, 0]), Err(Malformed::OutOfRange.into()), "before its beginning");
        assert_eq!(with(4, &[0, 1]), Err(Malformed::Idle.into()));
        assert_eq!(with(2, &[3, 0]), Err(Malformed::Idle.into()));
        let endless = [&[0xff; 9][..], &[1]].concat();
        assert!(with(3, &endless).is_err() && with(4, &endless).is_err() && with(1, &endless).is_err());
    }

    #[test]
    fn c12_what_is_declared_is_reckoned_before_it_is_taken() {
        let mut body = Vec::new();
        for _ in 0..STREAMS {
            put_number(&mut body, u64::MAX);
            put_number(&mut body, 0);
        }
        assert_eq!(Parts::read(&body).map(|parts| parts.memory()).ok(), Some(u64::MAX));
    }
}
