//! A small patch between two byte strings, and back again.
//!
//! [`diff`] finds where the new bytes stand, exactly or nearly, in the old ones, and writes a patch; [`apply`] rebuilds the
//! new bytes from the old ones and the patch. The format is drawn in `docs/patch-format.md`.
//!
//! [`tree`] does the same for numbered byte strings, the files of two trees, in one patch.
//!
//! This crate knows bytes: no files, no names but as hints, and no digests. A patch made for other old bytes of the same length may apply
//! without an error and yield rubbish, so whoever applies one compares the digest of the old bytes before, and of the
//! result after.
//!
//! Invariants: `apply(old, &diff(old, new, effort), budget) == new` for every `old`, `new` and `effort`, if the budget
//! allows it; equal arguments give equal patches; and whatever the patch, `apply` returns, after time linear in what the
//! budget allows, having taken no more memory than that; for executables, no more than a multiple of it (ADR 30).
//!
//! Programs and shared libraries (ELF, x86-64 and aarch64) are taken apart first, so that a patch says once what moved and
//! not again in each place that names it; everything else is bytes. What it does not do yet: compressed containers are
//! bytes like any others here.

mod anatomy;
mod apply;
mod arm64;
mod bounds;
mod coder;
mod diff;
mod elf;
mod exceptions;
mod executable;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod index;
mod kind;
mod labels;
mod marks;
#[allow(dead_code, reason = "tokens wider than a byte are matched by tests only, as yet")]
mod matching;
mod model;
mod normal;
mod packed;
mod plain;
mod predict;
mod prefixed;
mod quick;
mod references;
mod residual;
mod room;
#[cfg(any(test, feature = "fuzzing"))]
mod sample;
mod sparse;
mod suffix;
pub mod tree;
mod unwind;
mod x86;

pub use apply::{apply, apply_in, apply_onto, apply_to};
pub use bounds::{ApplyError, Budget};
pub use diff::{Effort, diff};
pub use format::{Declared, FORMAT_VERSION, Malformed, TREE_FORMAT_VERSION};
pub use room::{Heap, Lent, Room};
