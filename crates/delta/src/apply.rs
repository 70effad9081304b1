//! Rebuilds the new bytes from the old ones and a patch that anyone may have written.
//!
//! Everything declared is compared with the budget, and with each other, before memory is taken; every copy is checked
//! against the old bytes; every instruction makes at least one byte, so there are no more of them than the result has.

use crate::format::{Declared, Instruction, Malformed, Numbers, Parts, Stream};

/// How much a patch may make `apply` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The longest result, in bytes.
    pub output: u64,
    /// The most memory taken for the result and for decompressed streams together, in bytes.
    pub memory: u64,
}

impl Budget {
    /// Enough for any patch of [`crate::diff`] whose result has `len` bytes: that long a result, and four times the memory.
    pub fn for_output(len: u64) -> Self {
        Self { output: len, memory: len.saturating_mul(4).saturating_add(1 << 16) }
    }
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It is no patch, or not one that makes sense: fetch the content in another way.
    #[error("the patch is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// It was made from old bytes of another length.
    #[error("the patch is for {wanted} old bytes, and these are {found}")]
    WrongBase {
        /// The length it was made for.
        wanted: u64,
        /// The length of the old bytes given.
        found: u64,
    },
    /// It asks for more than was allowed.
    #[error("the patch needs {needed} bytes of {of}, and {allowed} are allowed")]
    OverBudget {
        /// Of what.
        of: &'static str,
        /// How much it declares.
        needed: u64,
        /// How much is allowed (or can be had).
        allowed: u64,
    },
}

/// The new bytes. They are what the patch's maker meant only if their digest says so, which is for the caller to compare.
pub fn apply(old: &[u8], patch: &[u8], budget: Budget) -> Result<Vec<u8>, ApplyError> {
    let parts = Parts::read(patch)?;
    let Declared { old_len, new_len } = parts.declared;
    if old_len != old.len() as u64 {
        return Err(ApplyError::WrongBase { wanted: old_len, found: old.len() as u64 });
    }
    check_lengths(&parts, budget)?;
    let mut new = reserved(new_len)?;
    let instructions = decompress(parts.instructions)?;
    let (differences, literals) = (decompress(parts.differences)?, decompress(parts.literals)?);
    let mut sources = Sources { old, at: 0, differences: &differences, literals: &literals };
    let mut numbers = Numbers(&instructions);
    while !numbers.is_empty() {
        sources.follow(Instruction::read(&mut numbers)?, &mut new)?;
    }
    // The streams add up to the result, so the result is complete exactly when both are used up.
    match sources.differences.is_empty() && sources.literals.is_empty() {
        true => Ok(new),
        false => Err(Malformed::Sums.into()),
    }
}

fn check_lengths(parts: &Parts<'_>, budget: Budget) -> Result<(), ApplyError> {
    let new_len = parts.declared.new_len;
    let within = |of, needed, allowed| match needed <= allowed {
        true => Ok(()),
        false => Err(ApplyError::OverBudget { of, needed, allowed }),
    };
    within("output", new_len, budget.output)?;
    if parts.differences.len.checked_add(parts.literals.len) != Some(new_len) {
        return Err(Malformed::Sums.into());
    }
    let memory = new_len.saturating_mul(2).saturating_add(parts.instructions.len);
    within("memory", memory, budget.memory)
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
    fn follow(&mut self, instruction: Instruction, new: &mut Vec<u8>) -> Result<(), Malformed> {
        let Instruction { seek, copy, append } = instruction;
        if copy == 0 && append == 0 {
            return Err(Malformed::Idle);
        }
        let start = self.at.checked_add_signed(seek).ok_or(Malformed::OutOfRange)?;
        let copied = slice(self.old, start, copy).ok_or(Malformed::OutOfRange)?;
        let differences = take(&mut self.differences, copy)?;
        new.extend(copied.iter().zip(differences).map(|(old, difference)| old.wrapping_add(*difference)));
        new.extend_from_slice(take(&mut self.literals, append)?);
        self.at = start + copy;
        Ok(())
    }
}

fn slice(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let end = start.checked_add(len)?;
    bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn take<'a>(stream: &mut &'a [u8], len: u64) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(len).map_err(|_| Malformed::Sums)?;
    let (taken, left) = stream.split_at_checked(len).ok_or(Malformed::Sums)?;
    *stream = left;
    Ok(taken)
}

/// A buffer for exactly `len` bytes, or an error where the allocator would abort.
fn reserved(len: u64) -> Result<Vec<u8>, ApplyError> {
    let mut buffer = Vec::new();
    let reserved = usize::try_from(len).is_ok_and(|len| buffer.try_reserve_exact(len).is_ok());
    if reserved { Ok(buffer) } else { Err(ApplyError::OverBudget { of: "memory", needed: len, allowed: 0 }) }
}

/// Decompresses into a buffer of the declared length, whatever the stream itself says: one byte more is an error.
fn decompress(stream: Stream<'_>) -> Result<Vec<u8>, ApplyError> {
    if stream.len == 0 && stream.compressed.is_empty() {
        return Ok(Vec::new());
    }
    let mut buffer = reserved(stream.len)?;
    match zstd::bulk::Decompressor::new().and_then(|mut zstd| zstd.decompress_to_buffer(stream.compressed, &mut buffer))
    {
        Ok(len) if len as u64 == stream.len => Ok(buffer),
        _ => Err(Malformed::Stream.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Draft;

    const OLD: &[u8] = b"0123456789";
    const AMPLE: Budget = Budget { output: 1 << 20, memory: 1 << 22 };

    fn instruction(seek: i64, copy: u64, append: u64) -> Instruction {
        Instruction { seek, copy, append }
    }

    /// A patch of these instructions with as many differences (all zero) and literals (all `x`) as given.
    fn patch(instructions: &[Instruction], differences: usize, literals: usize) -> Vec<u8> {
        let mut draft = Draft { differences: vec![0; differences], literals: vec![b'x'; literals], ..Draft::default() };
        instructions.iter().for_each(|instruction| instruction.write(&mut draft.instructions));
        let declared = Declared { old_len: OLD.len() as u64, new_len: (differences + literals) as u64 };
        draft.write(declared, 3)
    }

    fn refused(why: Malformed, patch: &[u8]) {
        assert_eq!(apply(OLD, patch, AMPLE), Err(ApplyError::Malformed(why)));
    }

    #[test]
    fn instructions_are_followed_back_and_forth() {
        let patch = patch(&[instruction(7, 3, 2), instruction(-9, 2, 0), instruction(0, 1, 0)], 6, 2);
        assert_eq!(apply(OLD, &patch, AMPLE).as_deref(), Ok(&b"789xx123"[..]));
    }

    #[test]
    fn c11_a_patch_for_other_old_bytes_is_refused_by_their_length() {
        let patch = patch(&[instruction(0, 10, 0)], 10, 0);
        assert!(apply(OLD, &patch, AMPLE).is_ok());
        assert_eq!(apply(&OLD[1..], &patch, AMPLE), Err(ApplyError::WrongBase { wanted: 10, found: 9 }));
        assert_eq!(apply(b"", &patch, AMPLE), Err(ApplyError::WrongBase { wanted: 10, found: 0 }));
    }

    #[test]
    fn c12_copies_from_outside_the_old_bytes_are_refused() {
        assert_eq!(apply(OLD, &patch(&[instruction(9, 1, 0)], 1, 0), AMPLE).as_deref(), Ok(&b"9"[..]));
        for (seek, copy) in
            [(10, 1), (9, 2), (-1, 1), (i64::MAX, 1), (i64::MIN, 1), (0, 11), (0, u64::MAX), (9, u64::MAX)]
        {
            refused(Malformed::OutOfRange, &patch(&[instruction(seek, copy, 0)], 1, 0));
        }
        refused(Malformed::OutOfRange, &patch(&[instruction(i64::MAX, 0, 1)], 0, 1));
    }

    #[test]
    fn c12_a_declared_length_beyond_the_budget_takes_no_memory() {
        // Small patches that declare results no machine could hold: taking the memory would abort this test.
        for len in [1 << 21, 1 << 45, u64::MAX] {
            let small = Draft { literals: vec![b'x'; 5], ..Draft::default() };
            let patch = small.write(Declared { old_len: 10, new_len: len }, 3);
            let over = ApplyError::OverBudget { of: "output", needed: len, allowed: 1 << 20 };
            assert_eq!(apply(OLD, &patch, AMPLE), Err(over));
            assert!(apply(OLD, &patch, Budget { output: u64::MAX, memory: u64::MAX }).is_err());
        }
        let patch = patch(&[instruction(0, 0, 50_000)], 0, 50_000);
        assert!(apply(OLD, &patch, Budget::for_output(50_000)).is_ok());
        assert!(matches!(
            apply(OLD, &patch, Budget::for_output(49_999)),
            Err(ApplyError::OverBudget { of: "output", .. })
        ));
        let scant = Budget { output: 50_000, memory: 100_000 };
        assert!(matches!(apply(OLD, &patch, scant), Err(ApplyError::OverBudget { of: "memory", .. })));
    }

    #[test]
    fn c12_a_bomb_stops_at_its_declared_length() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 24], 3).expect("zeros compress");
        for declared in [0, 1, (1 << 24) - 1, (1 << 24) + 1] {
            let stream = Stream { len: declared, compressed: &bomb };
            assert_eq!(decompress(stream), Err(ApplyError::Malformed(Malformed::Stream)), "{declared}");
        }
        assert_eq!(decompress(Stream { len: 1 << 24, compressed: &bomb }).map(|bytes| bytes.len()), Ok(1 << 24));
        assert!(decompress(Stream { len: u64::MAX, compressed: &bomb }).is_err());
    }

    #[test]
    fn c12_instructions_that_make_nothing_are_refused() {
        refused(Malformed::Idle, &patch(&[instruction(0, 0, 1), instruction(1, 0, 0)], 0, 1));
    }

    #[test]
    fn c12_lengths_that_contradict_each_other_are_refused() {
        refused(Malformed::Sums, &patch(&[instruction(0, 1, 1)], 1, 2));
        refused(Malformed::Sums, &patch(&[instruction(0, 1, 1)], 2, 1));
        refused(Malformed::Sums, &patch(&[instruction(0, 2, 1)], 1, 1));
        refused(Malformed::Sums, &patch(&[instruction(0, 1, 2)], 1, 1));
        refused(Malformed::Sums, &patch(&[], 1, 0));
        refused(Malformed::Sums, &patch(&[instruction(0, 1, u64::MAX)], 1, 1));
        let mut draft = Draft { literals: vec![b'x'; 5], ..Draft::default() };
        instruction(0, 0, 5).write(&mut draft.instructions);
        let declaring = |new_len| draft.write(Declared { old_len: 10, new_len }, 3);
        assert_eq!(apply(OLD, &declaring(5), AMPLE).as_deref(), Ok(&b"xxxxx"[..]));
        refused(Malformed::Sums, &declaring(6));
        refused(Malformed::Sums, &declaring(4));
    }

    #[test]
    fn a_torn_instruction_is_refused() {
        let torn = Draft { instructions: vec![0, 0], literals: vec![b'x'; 5], ..Draft::default() };
        refused(Malformed::Length, &torn.write(Declared { old_len: 10, new_len: 5 }, 3));
    }
}
