//! Where large buffers come from: the heap, or whoever lends something else, such as a file that is mapped.
//!
//! What a patch is applied with is mostly bytes that are written once and read here and there: the old file, the new one, and where
//! the references of the old one are. Those need not be in memory at one time.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Whoever lends buffers.
pub trait Room {
    /// So many zeros, or nothing when there is no room for them.
    fn take(&self, len: usize) -> Option<Lent>;

    /// Whether what it lends is memory, which [`crate::Budget::memory`] bounds. A room that is none bounds itself.
    fn is_memory(&self) -> bool {
        false
    }
}

/// The heap.
#[derive(Debug, Clone, Copy)]
pub struct Heap;

impl Room for Heap {
    /// Zeros that take no memory until something is written there. Whether so many can be had is asked first, and politely: the allocator
    /// would abort.
    fn take(&self, len: usize) -> Option<Lent> {
        let mut asked = Vec::<u8>::new();
        asked.try_reserve_exact(len).ok()?;
        drop(asked);
        Some(vec![0; len].into())
    }

    fn is_memory(&self) -> bool {
        true
    }
}

/// A buffer that was lent.
pub struct Lent {
    held: Box<dyn DerefMut<Target = [u8]> + Send + Sync>,
    /// How much of it is used.
    len: usize,
}

impl Lent {
    /// Lends a buffer.
    pub fn new(held: impl DerefMut<Target = [u8]> + Send + Sync + 'static) -> Self {
        Self { len: held.len(), held: Box::new(held) }
    }

    /// Leaves out what is behind so many bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl From<Vec<u8>> for Lent {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.held[..self.len]
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.held[..self.len]
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}
