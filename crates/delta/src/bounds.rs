//! How much a patch may take, and the refusal of what would take more.

use crate::format::Malformed;
use crate::room::{Lent, Room};

/// How much a patch may make `apply` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The longest result, in bytes.
    pub output: u64,
    /// The most memory taken for the result and for decompressed streams together, in bytes. What a [`Room`] lends that is no memory does not
    /// count.
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

/// What may be taken beside the result.
pub(crate) struct Allowed<'a> {
    /// In bytes.
    pub(crate) memory: u64,
    pub(crate) room: &'a dyn Room,
}

impl Allowed<'_> {
    /// Refuses what takes more: so much memory, and so much of what is lent, which may be memory too. Returns how much is left.
    pub(crate) fn bear(&self, memory: u64, lent: u64) -> Result<u64, ApplyError> {
        let needed = if self.room.is_memory() { memory.saturating_add(lent) } else { memory };
        within("memory", needed, self.memory)?;
        Ok(self.memory - needed)
    }
}

pub(crate) fn within(of: &'static str, needed: u64, allowed: u64) -> Result<(), ApplyError> {
    if needed <= allowed { Ok(()) } else { Err(ApplyError::OverBudget { of, needed, allowed }) }
}

/// So many zeros.
pub(crate) fn take(room: &dyn Room, len: u64) -> Result<Lent, ApplyError> {
    usize::try_from(len).ok().and_then(|len| room.take(len)).ok_or_else(|| short(room, len))
}

/// There is no room for so many bytes.
pub(crate) fn short(room: &dyn Room, needed: u64) -> ApplyError {
    ApplyError::OverBudget { of: if room.is_memory() { "memory" } else { "room" }, needed, allowed: 0 }
}
