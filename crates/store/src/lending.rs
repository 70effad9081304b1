//! Buffers for patches: large ones from the disk, so that they need not be in memory.

use crate::disk::Disk;
use delta::{Heap, Lent, Room};

/// Lends what the disk has beside what is in a directory.
pub(crate) struct Lending<'a, D: Disk> {
    pub(crate) disk: &'a D,
    pub(crate) at: &'a D::Dir,
    /// So many bytes of it stay free.
    pub(crate) free: u64,
}

/// Buffers that are smaller are not worth the calls.
const SMALL: usize = 1 << 20;

impl<D: Disk> Lending<'_, D> {
    fn lent(&self, len: usize) -> Option<Lent> {
        if len < SMALL {
            return None;
        }
        let left = self.disk.space(self.at).ok()?.bytes.checked_sub(len as u64)?;
        if left < self.free { None } else { self.disk.lend(self.at, len) }
    }
}

impl<D: Disk> Room for Lending<'_, D> {
    fn take(&self, len: usize) -> Option<Lent> {
        // Where the disk lends nothing, or is nearly full, all is as it would be without it.
        self.lent(len).or_else(|| Heap.take(len))
    }
}
