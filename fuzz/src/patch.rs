//! The promise of the patch reader: it returns, within its budget. And of the writer: its patch gives the new bytes back.

use tiding_delta::{Budget, Effort, apply, diff};

const BUDGET: Budget = Budget { output: 1 << 20, memory: 1 << 22 };

/// One length byte, so many old bytes, and a patch; the two parts also serve as old and new.
pub fn patch(bytes: &[u8]) {
    let Some((&len, rest)) = bytes.split_first() else { return };
    let (old, patch) = rest.split_at(rest.len().min(len.into()));
    if let Ok(new) = apply(old, patch, BUDGET) {
        assert!(new.len() as u64 <= BUDGET.output, "the result is longer than the budget");
    }
    for effort in [Effort::Fast, Effort::Best] {
        let made = diff(old, patch, effort);
        assert_eq!(apply(old, &made, Budget::for_output(patch.len() as u64)).as_deref(), Ok(patch));
    }
}
