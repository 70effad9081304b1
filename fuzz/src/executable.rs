//! The promise of the engine for executables: whatever headers, tables and code say, it returns, and its patch gives the new bytes back.

use tiding_delta::{Budget, Effort, apply, diff};

const BUDGET: Budget = Budget { output: 1 << 20, memory: 1 << 26 };

/// Two length bytes, so many old bytes, and new ones; the new ones also serve as a patch of the old.
pub fn executable(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk() else { return };
    let (old, new) = rest.split_at(rest.len().min(u16::from_le_bytes(*len).into()));
    if let Ok(made) = apply(old, new, BUDGET) {
        assert!(made.len() as u64 <= BUDGET.output, "the result is longer than the budget");
    }
    let patch = diff(old, new, Effort::Best);
    assert_eq!(apply(old, &patch, Budget::for_output(new.len() as u64)).as_deref(), Ok(new));
}
