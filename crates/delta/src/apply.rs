//! Rebuilds the new bytes from the old ones and a patch that anyone may have written.
//!
//! Everything declared is compared with the budget, and with each other, before memory is taken; every copy is checked
//! against the old bytes, and whatever is said makes at least one byte, so time is bounded by the length of the result.

use crate::bounds::{Allowed, ApplyError, Budget, take, within};
use crate::format::{Declared, Engine, Malformed, Patch, Window};
use crate::packed::Parts;
use crate::room::{Heap, Lent, Room};
use crate::{executable, plain, prefixed, sparse};

/// The new bytes. They are what the patch's maker meant only if their digest says so, which is for the caller to compare.
pub fn apply(old: &[u8], patch: &[u8], budget: Budget) -> Result<Vec<u8>, ApplyError> {
    let read = checked(old.len(), patch, budget)?;
    let mut new = zeros(read.declared.new_len)?;
    let allowed = beside_result(&read, budget, &Heap)?;
    make(read, Base::Borrowed(old), &mut new, &allowed)?;
    Ok(new)
}

/// As [`apply`], of old bytes that are not wanted any more: programs are taken apart where they are, which saves the memory of a copy.
pub fn apply_to(old: Vec<u8>, patch: &[u8], budget: Budget) -> Result<Vec<u8>, ApplyError> {
    let read = checked(old.len(), patch, budget)?;
    let mut new = zeros(read.declared.new_len)?;
    let allowed = beside_result(&read, budget, &Heap)?;
    make(read, Base::Owned(old.into()), &mut new, &allowed)?;
    Ok(new)
}

/// As [`apply_to`], with little memory: the result, and all that grows with the lengths of the files and is bytes, comes
/// from this room, and the budget's memory bounds the rest. That is tables of models, some 45 MiB at most, and lists of what moved in an
/// executable and of what it names.
pub fn apply_in(room: &dyn Room, old: Lent, patch: &[u8], budget: Budget) -> Result<Lent, ApplyError> {
    let read = checked(old.len(), patch, budget)?;
    let mut new = take(room, read.declared.new_len)?;
    let allowed = beside_result(&read, budget, room)?;
    make(read, Base::Owned(old), &mut new, &allowed)?;
    Ok(new)
}

/// As [`apply_in`], with the result in the first bytes of what somebody has already, such as a file that is mapped; how long it is,
/// [`Declared::of`] says.
pub fn apply_onto(new: &mut [u8], room: &dyn Room, old: Lent, patch: &[u8], budget: Budget) -> Result<(), ApplyError> {
    let read = checked(old.len(), patch, budget)?;
    within("output", read.declared.new_len, new.len() as u64)?;
    let new = &mut new[..read.declared.new_len as usize];
    make(read, Base::Owned(old), new, &Allowed { memory: budget.memory, room })
}

/// What may be taken besides the result, which counts where it is memory.
fn beside_result<'a>(read: &Patch<'_>, budget: Budget, room: &'a dyn Room) -> Result<Allowed<'a>, ApplyError> {
    let result = if room.is_memory() { read.declared.new_len } else { 0 };
    within("memory", result, budget.memory)?;
    Ok(Allowed { memory: budget.memory - result, room })
}

/// The old bytes.
enum Base<'a> {
    Borrowed(&'a [u8]),
    /// They may be changed.
    Owned(Lent),
}

impl Base<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Bytes that may be changed.
    fn owned(self, room: &dyn Room) -> Result<Lent, ApplyError> {
        match self {
            Self::Borrowed(bytes) => {
                let mut owned = take(room, bytes.len() as u64)?;
                owned.copy_from_slice(bytes);
                Ok(owned)
            }
            Self::Owned(bytes) => Ok(bytes),
        }
    }
}

/// The patch, if it is for old bytes of this length, and its result is within the budget.
fn checked(old_len: usize, patch: &[u8], budget: Budget) -> Result<Patch<'_>, ApplyError> {
    let patch = Patch::read(patch)?;
    let Declared { old_len: wanted, new_len } = patch.declared;
    let found = old_len as u64;
    if wanted != found {
        return Err(ApplyError::WrongBase { wanted, found });
    }
    within("output", new_len, budget.output)?;
    Ok(patch)
}

/// Makes all windows.
fn make(mut patch: Patch<'_>, mut old: Base<'_>, new: &mut [u8], allowed: &Allowed<'_>) -> Result<(), ApplyError> {
    let Declared { old_len, .. } = patch.declared;
    let mut left = new;
    while patch.has_window(left.len() as u64) {
        let window = patch.window(left.len() as u64)?;
        let (part, rest) = left.split_at_mut_checked(window.new_len as usize).ok_or(Malformed::Sums)?;
        let from = if rest.is_empty() && window.old_start == 0 && window.old_len == old_len {
            std::mem::replace(&mut old, Base::Borrowed(&[]))
        } else {
            Base::Borrowed(slice(old.bytes(), window.old_start, window.old_len).ok_or(Malformed::OutOfRange)?)
        };
        make_window(&window, from, part, allowed)?;
        left = rest;
    }
    if patch.is_read() { Ok(()) } else { Err(Malformed::Length.into()) }
}

/// Zeros on the heap, as those of [`Heap`].
fn zeros(len: u64) -> Result<Vec<u8>, ApplyError> {
    drop(take(&Heap, len)?);
    Ok(vec![0; len as usize])
}

/// Makes what a window makes.
fn make_window(window: &Window<'_>, old: Base<'_>, new: &mut [u8], allowed: &Allowed<'_>) -> Result<(), ApplyError> {
    // These two count in 32 bits.
    let is_counted = matches!(window.engine, Engine::Plain | Engine::Executable);
    if is_counted && window.old_len.max(window.new_len) > i32::MAX as u64 {
        return Err(Malformed::OutOfRange.into());
    }
    match window.engine {
        Engine::Packed => {
            let parts = Parts::read(window.body)?;
            allowed.bear(0, parts.memory(window.new_len)?)?;
            parts.apply(allowed.room, old.bytes(), new)?;
        }
        Engine::Sparse => {
            let parts = sparse::Parts::read(window.body)?;
            allowed.bear(0, parts.memory())?;
            parts.apply(allowed.room, old.bytes(), new)?;
        }
        Engine::Plain => {
            allowed.bear(plain::memory(window.body)?, 0)?;
            plain::read(window.body, old.bytes(), new)?;
        }
        Engine::Prefixed => {
            allowed.bear(prefixed::MEMORY, 0)?;
            prefixed::read(window.body, old.bytes(), new)?;
        }
        Engine::Executable => {
            // Before the old file is read, which takes memory of its own.
            allowed.bear(0, 2 * window.old_len)?;
            let patch = executable::Patch::open(allowed.room, window.body, old.owned(allowed.room)?)?;
            patch.read(allowed, new)?;
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
