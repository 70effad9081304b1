//! redb on our [`Disk`]: the only bridge between the two.
//!
//! The backend remembers how the disk failed last, because redb only reports that it did, and whether a sync was it:
//! after a failed sync the file must not be believed through the page cache.

use crate::disk::Disk;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// How the disk failed under a database.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// The first error since the database was opened: its kind, and its words.
    pub(crate) error: Option<(io::ErrorKind, String)>,
    /// Whether a sync was among what failed.
    pub(crate) sync: bool,
}

/// A file of redb's on a disk.
pub(crate) struct Backend<D: Disk> {
    pub(crate) disk: Arc<D>,
    pub(crate) file: D::File,
    pub(crate) fault: Arc<Mutex<Fault>>,
}

impl<D: Disk> Backend<D> {
    fn noting<T>(&self, result: io::Result<T>, sync: bool) -> io::Result<T> {
        if let Err(error) = &result {
            let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.error.get_or_insert_with(|| (error.kind(), error.to_string()));
            fault.sync |= sync;
        }
        result
    }
}

impl<D: Disk> fmt::Debug for Backend<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({:?})", self.file)
    }
}

impl<D: Disk> redb::StorageBackend for Backend<D> {
    fn len(&self) -> io::Result<u64> {
        self.noting(self.disk.file_metadata(&self.file), false).map(|meta| meta.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.noting(self.disk.read_at(&self.file, out, offset), false)?;
        if read == out.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.noting(self.disk.set_len(&self.file, len), false)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.noting(self.disk.sync(&self.file), true)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.noting(self.disk.write_at(&self.file, bytes, offset), false)
    }
}
