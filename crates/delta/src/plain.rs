//! The engine of plain bytes: runs of old, mended, and literals between them, all in one coded stream.
//!
//! ```text
//! two bytes: how large the tables of the models are; then coded,
//! repeated until new is full:
//!     gap literals | if new is not full: where the run lies in old, its length | how it is mended
//! ```

use crate::anatomy::Anatomy;
use crate::coder::{Coder, Reader, Writer};
use crate::format::Malformed;
use crate::matching::Equivalence;
use crate::residual::{Between, Expected, Literals, Mending, OutOfRange, Runs};

/// How large the tables of the models are: what little is said of learns in small ones.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// The bits of a place in the tables of what mends.
    mending: u32,
    /// The same for literals.
    literals: u32,
}

/// The least and the most bits of a place.
const BITS: std::ops::RangeInclusive<u32> = 10..=20;

impl Sizes {
    /// Sizes for so many bytes that differ inside runs, and so many literals.
    fn of(differing: usize, literals: usize) -> Self {
        let bits = |count: usize| (count as u64 | 1).ilog2().clamp(*BITS.start(), *BITS.end());
        Self { mending: bits(differing), literals: bits(4 * literals) }
    }

    fn read(body: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (&[mending, literals], stream) = body.split_first_chunk().ok_or(Malformed::Length)?;
        let sizes = Self { mending: mending.into(), literals: literals.into() };
        match BITS.contains(&sizes.mending) && BITS.contains(&sizes.literals) {
            true => Ok((sizes, stream)),
            false => Err(Malformed::Number),
        }
    }
}

/// The memory that reading this body takes.
pub(crate) fn memory(body: &[u8]) -> Result<u64, Malformed> {
    let (sizes, _) = Sizes::read(body)?;
    Ok(Mending::memory(sizes.mending) + Literals::memory(sizes.literals))
}

/// The body that makes `new` of `old` by these runs. Both are shorter than 2 GiB.
pub(crate) fn write(old: &[u8], new: &[u8], runs: &[Equivalence]) -> Vec<u8> {
    let sizes =
        Sizes::of(differing(old, new, runs), new.len() - runs.iter().map(|run| run.len as usize).sum::<usize>());
    let mut writer = Writer::new();
    let mut scratch = new.to_vec();
    let said = walk(&mut writer, sizes, old, &mut scratch, runs, |_| false);
    debug_assert!(said.is_ok() && scratch == new, "a writer's runs are in range, and it writes what it reads");
    [vec![sizes.mending as u8, sizes.literals as u8], writer.finish()].concat()
}

fn differing(old: &[u8], new: &[u8], runs: &[Equivalence]) -> usize {
    let pairs = |run: &Equivalence| {
        let (old, new) = (&old[run.old as usize..], &new[run.new as usize..(run.new + run.len) as usize]);
        new.iter().zip(old).filter(|(new, old)| new != old).count()
    };
    runs.iter().map(pairs).sum()
}

/// Makes new of old, in a buffer of its length.
pub(crate) fn read(body: &[u8], old: &[u8], new: &mut [u8]) -> Result<(), Malformed> {
    let (sizes, stream) = Sizes::read(body)?;
    let mut reader = Reader::new(stream);
    walk(&mut reader, sizes, old, new, &[], Reader::is_beyond).map_err(|OutOfRange| Malformed::OutOfRange)?;
    if reader.is_exhausted() { Ok(()) } else { Err(Malformed::Stream) }
}

fn walk<C: Coder>(
    coder: &mut C,
    sizes: Sizes,
    old: &[u8],
    new: &mut [u8],
    runs: &[Equivalence],
    is_lost: impl Fn(&C) -> bool,
) -> Result<(), OutOfRange> {
    let mut lie = Runs::default();
    let (mut mending, mut literals) = (
        Mending::new(sizes.mending, Anatomy::new(Vec::new())),
        Literals::new(sizes.literals, Anatomy::new(Vec::new())),
    );
    let (mut runs, mut at, mut ends, end) = (runs.iter(), 0, 0, new.len());
    while at < end && !is_lost(coder) {
        let next = runs.next().copied();
        let next = next.unwrap_or(Equivalence { old: 0, new: end as u32, len: 0 });
        let gap = lie.gap(coder, next.new.saturating_sub(at as u32), (end - at) as u64)? as usize;
        literals.code(coder, old, Between { ends, begins: None }, new, at, at + gap);
        at += gap;
        if at < end {
            let run = Equivalence { new: at as u32, ..next };
            let run = lie.run(coder, run, old.len() as u64, (end - at) as u64)?;
            let (from, to) = (run.old as usize, (run.old + run.len) as usize);
            mending.code(coder, Expected { old, from, bytes: &old[from..to] }, new, at);
            at += to - from;
            ends = to;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::{Prices, equivalences_bytes};

    fn through(old: &[u8], new: &[u8]) -> usize {
        let runs = equivalences_bytes(old, new, &Prices::of_bytes(new));
        let stream = write(old, new, &runs);
        let mut made = vec![0; new.len()];
        assert_eq!(read(&stream, old, &mut made), Ok(()));
        assert_eq!(made, new);
        for cut in 0..stream.len() {
            let _any = read(&stream[..cut], old, &mut made);
        }
        stream.len()
    }

    #[test]
    fn what_was_written_is_read() {
        let old: Vec<u8> = (0..3000u32).map(|n| ((n * n) >> 7) as u8).collect();
        let mut new = [&old[2000..], b"something else", &old[..2500]].concat();
        new.iter_mut().skip(40).step_by(97).for_each(|byte| *byte ^= 0x21);
        assert!(through(&old, &new) < 200);
        through(&old, &old);
        through(&[], &new);
        through(&old, &[]);
        through(&old, &[7]);
    }

    #[test]
    fn rubbish_ends_in_an_error_or_a_result() {
        let old = [5; 300];
        for seed in 0..500u32 {
            let rubbish: Vec<u8> =
                (0..40).map(|n: u32| ((n + 50 * seed).wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
            let _any = read(&rubbish, &old, &mut [0; 1000]);
        }
    }
}
