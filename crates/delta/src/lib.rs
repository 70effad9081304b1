//! A small patch between two byte strings, and back again.
//!
//! [`diff`] finds where the new bytes stand, exactly or nearly, in the old ones, and writes a patch; [`apply`] rebuilds the
//! new bytes from the old ones and the patch. The format is drawn in `docs/patch-format.md`.
//!
//! This crate knows bytes: no files, no names, no digests, and nothing of what the bytes mean. A patch made for other old
//! bytes of the same length applies without an error and yields rubbish, so whoever applies one compares the digest of the
//! old bytes before, and of the result after.
//!
//! Invariants: `apply(old, &diff(old, new, effort), budget) == new` for every `old`, `new` and `effort`, if the budget
//! allows it; equal arguments give equal patches; and whatever the patch, `apply` returns, after time linear in what the
//! budget allows, having taken no more memory than that.
//!
//! What it does not do yet: executables and compressed containers are bytes like any others here.

mod apply;
mod diff;
mod format;
mod index;

pub use apply::{ApplyError, Budget, apply};
pub use diff::{Effort, diff};
pub use format::{Declared, FORMAT_VERSION, Malformed};
