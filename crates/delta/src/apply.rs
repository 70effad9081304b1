//! Rebuilds the new bytes from the old ones and a patch that anyone may have written.
//!
//! Everything declared is compared with the budget, and with each other, before memory is taken; every copy is checked
//! against the old bytes, and whatever is said makes at least one byte, so time is bounded by the length of the result.

use crate::format::{Declared, Engine, Malformed, Patch, Window};
use crate::packed::{Parts, reserved};
use crate::{executable, plain, prefixed, sparse};
use std::borrow::Cow;

/// How much a patch may make `apply` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The longest result, in bytes.
    pub output: u64,
    /// The most memory taken for the result and for decompressed streams together, in bytes.
    pub memory: u64,
}

/// What models take at most, whatever the length.
const MODELS: u64 = 80 << 20;

impl Budget {
    /// Enough for any patch of [`crate::diff`] whose result has `len` bytes: that long a result, four times the memory, and what
    /// models take.
    pub fn for_output(len: u64) -> Self {
        Self { output: len, memory: len.saturating_mul(4).saturating_add(MODELS) }
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
    made(Cow::Borrowed(old), patch, budget)
}

/// As [`apply`], of old bytes that are not wanted any more: programs are taken apart where they are, which saves the memory of a copy.
pub fn apply_to(old: Vec<u8>, patch: &[u8], budget: Budget) -> Result<Vec<u8>, ApplyError> {
    made(Cow::Owned(old), patch, budget)
}

fn made(mut old: Cow<'_, [u8]>, patch: &[u8], budget: Budget) -> Result<Vec<u8>, ApplyError> {
    let mut patch = Patch::read(patch)?;
    let Declared { old_len, new_len } = patch.declared;
    if old_len != old.len() as u64 {
        return Err(ApplyError::WrongBase { wanted: old_len, found: old.len() as u64 });
    }
    within("output", new_len, budget.output)?;
    within("memory", new_len, budget.memory)?;
    let mut new = zeros(new_len)?;
    let mut left = &mut new[..];
    while patch.has_window(left.len() as u64) {
        let window = patch.window(left.len() as u64)?;
        let (part, rest) = left.split_at_mut_checked(window.new_len as usize).ok_or(Malformed::Sums)?;
        let from = if rest.is_empty() && window.old_start == 0 && window.old_len == old_len {
            std::mem::take(&mut old)
        } else {
            Cow::Borrowed(slice(&old, window.old_start, window.old_len).ok_or(Malformed::OutOfRange)?)
        };
        make(&window, from, part, budget.memory - new_len)?;
        left = rest;
    }
    if patch.is_read() { Ok(new) } else { Err(Malformed::Length.into()) }
}

pub(crate) fn within(of: &'static str, needed: u64, allowed: u64) -> Result<(), ApplyError> {
    if needed <= allowed { Ok(()) } else { Err(ApplyError::OverBudget { of, needed, allowed }) }
}

/// Zeros that take no memory until something is written there. Whether so many can be had is asked first, and politely.
fn zeros(len: u64) -> Result<Vec<u8>, ApplyError> {
    drop(reserved(len).ok_or(ApplyError::OverBudget { of: "memory", needed: len, allowed: 0 })?);
    Ok(vec![0; len as usize])
}

/// Makes what a window makes, with no more memory than this.
fn make(window: &Window<'_>, old: Cow<'_, [u8]>, new: &mut [u8], memory: u64) -> Result<(), ApplyError> {
    // These two count in 32 bits.
    let is_counted = matches!(window.engine, Engine::Plain | Engine::Executable);
    if is_counted && window.old_len.max(window.new_len) > i32::MAX as u64 {
        return Err(Malformed::OutOfRange.into());
    }
    match window.engine {
        Engine::Packed => {
            let parts = Parts::read(window.body)?;
            within("memory", parts.memory(window.new_len)?, memory)?;
            parts.apply(&old, new)?;
        }
        Engine::Sparse => {
            let parts = sparse::Parts::read(window.body)?;
            within("memory", parts.memory(), memory)?;
            parts.apply(&old, new)?;
        }
        Engine::Plain => {
            within("memory", plain::memory(window.body)?, memory)?;
            plain::read(window.body, &old, new)?;
        }
        Engine::Prefixed => {
            within("memory", prefixed::MEMORY, memory)?;
            prefixed::read(window.body, &old, new)?;
        }
        Engine::Executable => {
            // Before the old file is read, which takes memory of its own.
            within("memory", 2 * window.old_len, memory)?;
            let patch = executable::Patch::open(window.body, old.into_owned())?;
            within("memory", patch.memory(), memory)?;
            patch.read(new)?;
        }
    }
    Ok(())
}

fn slice(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let end = start.checked_add(len)?;
    bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Machine;
    use crate::packed::{Draft, Instruction};
    use crate::sample::Sample;
    use crate::{Effort, diff};

    const OLD: &[u8] = b"0123456789";
    const AMPLE: Budget = Budget { output: 1 << 20, memory: 1 << 22 };

    fn instruction(seek: i64, copy: u64, append: u64) -> Instruction {
        Instruction { seek, copy, append }
    }

    /// A patch of these instructions with as many differences (all zero) and literals (all `x`) as given.
    fn patch(instructions: &[Instruction], differences: usize, literals: usize) -> Vec<u8> {
        let mut draft = Draft { differences: vec![0; differences], literals: vec![b'x'; literals], ..Draft::default() };
        instructions.iter().for_each(|instruction| instruction.write(&mut draft.instructions));
        packed(&draft, (differences + literals) as u64)
    }

    /// A patch of one packed window, which makes this many bytes.
    fn packed(draft: &Draft, new_len: u64) -> Vec<u8> {
        let old_len = OLD.len() as u64;
        let mut patch = Patch::begin(Declared { old_len, new_len });
        let body = draft.write(3);
        Window { new_len, old_start: 0, old_len, engine: Engine::Packed, body: &body }.write(&mut patch);
        patch
    }

    fn refused(why: Malformed, patch: &[u8]) {
        assert_eq!(apply(OLD, patch, AMPLE), Err(ApplyError::Malformed(why)));
    }

    #[test]
    fn c12_a_patch_of_an_executable_keeps_to_its_budget() {
        let (old, new) = (Sample::of(Machine::X86_64, 300).file(), Sample::of(Machine::X86_64, 310).file());
        let patch = diff(&old, &new, Effort::Best);
        let window =
            Patch::read(&patch).and_then(|mut patch| patch.window(new.len() as u64)).map(|window| window.engine);
        assert_eq!(window, Ok(Engine::Executable));
        let budget = Budget::for_output(new.len() as u64);
        assert_eq!(apply(&old, &patch, budget).as_ref(), Ok(&new));
        let short = Budget { output: new.len() as u64 - 1, ..budget };
        assert!(matches!(apply(&old, &patch, short), Err(ApplyError::OverBudget { of: "output", .. })));
        for memory in [2, 4] {
            let scant = Budget { memory: memory * new.len() as u64, ..budget };
            assert!(matches!(apply(&old, &patch, scant), Err(ApplyError::OverBudget { of: "memory", .. })));
        }
        assert!(matches!(apply(&old[1..], &patch, budget), Err(ApplyError::WrongBase { .. })));
        let text = vec![b'x'; old.len()];
        assert_eq!(apply(&text, &patch, budget), Err(Malformed::NoExecutable.into()));
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
            let patch = packed(&small, len);
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
        let declaring = |new_len| packed(&draft, new_len);
        assert_eq!(apply(OLD, &declaring(5), AMPLE).as_deref(), Ok(&b"xxxxx"[..]));
        refused(Malformed::Sums, &declaring(6));
        refused(Malformed::Sums, &declaring(4));
    }

    #[test]
    fn a_torn_instruction_is_refused() {
        let torn = Draft { instructions: vec![0, 0], literals: vec![b'x'; 5], ..Draft::default() };
        refused(Malformed::Length, &packed(&torn, 5));
    }
}
