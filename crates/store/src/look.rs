//! Looking whether a store still is where it was, and whether its disk takes anything: what no job tells while there is none.
//!
//! It syncs nothing, and leaves nothing behind.

use crate::Store;
use crate::disk::Disk;
use crate::ground::{if_there, ours};
use engine::door::JobError;
use std::io;

/// What stands in a store's directory from its first moment on.
const ALWAYS: [&str; 5] = ["format", "lock", "state.redb", "staging", "blobs"];

/// Why a store cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ailing {
    /// Its directory, or what makes it one, was removed while it was open: nothing that is written will ever be found again.
    #[error("{0} is gone: somebody removed it, or the store around it")]
    Gone(String),
    /// Nothing can be written; in words.
    #[error("{0}")]
    Unwritable(String),
}

impl<D: Disk> Store<D> {
    /// Looks whether the store still is where it was, and writes a byte.
    pub fn look(&self) -> Result<(), Ailing> {
        let home = &self.shelves.home;
        for name in ALWAYS {
            if let Ok(None) = if_there(self.shelves.disk.metadata(home.dir(), &ours(name))) {
                return Err(Ailing::Gone(format!("{}/{name}", home.name())));
            }
        }
        let failed = home.failed("looking whether it can be written", 1);
        match self.try_to_write().map_err(failed) {
            // A full disk is in nobody's way until something is to be written, and is said then, with what that needs.
            Ok(()) | Err(JobError::NoSpace { .. }) => Ok(()),
            Err(error) => Err(Ailing::Unwritable(error.words().unwrap_or_default().to_owned())),
        }
    }

    fn try_to_write(&self) -> io::Result<()> {
        let (disk, home, name) = (&*self.shelves.disk, self.shelves.home.dir(), ours("look"));
        if_there(disk.remove_file(home, &name))?;
        let file = disk.create(home, &name, 0o600)?;
        let written = disk.write_at(&file, b"?", 0);
        disk.remove_file(home, &name).and(written)
    }
}
