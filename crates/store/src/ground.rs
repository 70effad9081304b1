//! A directory with a name for people, the room on its file system, and what its errors are called.
//!
//! Every error of a disk becomes a [`JobError`] here, so "the disk is full" is told from "the disk failed" in one place.

use crate::disk::{Disk, Name};
use crate::words;
use engine::door::JobError;
use std::fmt::Display;
use std::io;
use std::sync::Arc;

/// A directory whose errors can be put into words.
pub(crate) struct Ground<D: Disk> {
    disk: Arc<D>,
    dir: D::Dir,
    name: String,
}

/// What is about to be written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Need {
    /// In bytes.
    pub(crate) bytes: u64,
    /// New files and directories.
    pub(crate) inodes: u64,
}

impl<D: Disk> Ground<D> {
    /// The directory `dir`, which people call `name`.
    pub(crate) fn new(disk: Arc<D>, dir: D::Dir, name: impl Into<String>) -> Self {
        Self { disk, dir, name: name.into() }
    }

    pub(crate) fn dir(&self) -> &D::Dir {
        &self.dir
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Refuses what would leave less than `reserve` bytes free.
    pub(crate) fn room(&self, need: Need, reserve: u64) -> Result<(), JobError> {
        let space = self.disk.space(&self.dir).map_err(self.failed("looking for room", 0))?;
        let bytes = need.bytes.saturating_add(reserve);
        if space.bytes < bytes {
            return Err(self.full(bytes, space.bytes));
        }
        if space.inodes < need.inodes { Err(self.without_inodes(need.inodes, space.inodes)) } else { Ok(()) }
    }

    /// Turns an error into what the engine can do about it; `need` bytes were about to be written.
    pub(crate) fn failed<'a>(&'a self, doing: impl Display + 'a, need: u64) -> impl FnOnce(io::Error) -> JobError + 'a {
        move |error| match error.kind() {
            io::ErrorKind::StorageFull => match self.disk.space(&self.dir) {
                // The same error says that there is no room for bytes and that there is none for names.
                Ok(space) if space.inodes == 0 => self.without_inodes(1, 0),
                space => self.full(need, space.map_or(0, |space| space.bytes)),
            },
            io::ErrorKind::QuotaExceeded => self.over_quota(need),
            _ => match remedy(&error) {
                Some(remedy) => JobError::Stuck { why: format!("{doing} in {}: {error}; {remedy}", self.name) },
                None => JobError::Disk { why: format!("{doing} in {}: {error}", self.name) },
            },
        }
    }

    fn without_inodes(&self, need: u64, have: u64) -> JobError {
        JobError::NoSpace { why: format!("disk full: need {need} new files (inodes), have {have}, on {}", self.name) }
    }

    fn over_quota(&self, need: u64) -> JobError {
        let need = words::size(need.max(1));
        JobError::NoSpace {
            why: format!(
                "quota used up: need {need}, or a new file, on {}; whatever the disk has free, its owner may take no more",
                self.name
            ),
        }
    }

    fn full(&self, need: u64, have: u64) -> JobError {
        let (need, have) = (words::size(need.max(1)), words::size(have));
        JobError::NoSpace { why: format!("disk full: need {need}, have {have}, on {}", self.name) }
    }
}

/// What the operating system says when a process, or the machine, has too many files open (EMFILE, ENFILE).
const TOO_MANY_OPEN: [i32; 2] = [24, 23];

/// What somebody has to do about an error before anything can go on here; `None` where trying again may help by itself.
fn remedy(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the kernel says why in its log; it goes on by itself when the disk is mounted for writing again")
        }
        _ if error.raw_os_error().is_some_and(|number| TOO_MANY_OPEN.contains(&number)) => {
            Some("it goes on by itself when there are fewer; LimitNOFILE in the service's unit allows more")
        }
        _ => None,
    }
}

/// A name that this program chose itself.
pub(crate) fn ours(name: &str) -> Name {
    Name::new(name).expect("names that the store makes have no slash and are short")
}

/// `Ok(None)` for what is not there.
pub(crate) fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Nothing happens when what was to be made is there already.
pub(crate) fn unless_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Opens a directory, or makes it; durable names are the caller's business.
pub(crate) fn make_dir<D: Disk>(disk: &D, at: &D::Dir, name: &Name, mode: u16) -> io::Result<D::Dir> {
    match if_there(disk.open_dir(at, name))? {
        Some(dir) => Ok(dir),
        None => {
            unless_there(disk.create_dir(at, name, mode))?;
            disk.open_dir(at, name)
        }
    }
}

/// Reads a whole file that is known to be short; longer ones are refused.
pub(crate) fn read_short<D: Disk>(disk: &D, at: &D::Dir, name: &Name) -> io::Result<Vec<u8>> {
    const LONGEST: u64 = 64 * 1024;
    let file = disk.open(at, name)?;
    let len = disk.file_metadata(&file)?.len;
    if len > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is much longer than it can be"));
    }
    let mut bytes = vec![0; len as usize];
    let read = disk.read_at(&file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a short file durably under its name, whole or not at all: a temporary file, sync, rename, sync of the directory.
pub(crate) fn write_short<D: Disk>(disk: &D, at: &D::Dir, name: &Name, bytes: &[u8]) -> io::Result<()> {
    let draft = ours(&format!("{}.new", String::from_utf8_lossy(name.as_bytes())));
    if_there(disk.remove_file(at, &draft))?;
    let file = disk.create(at, &draft, 0o644)?;
    disk.write_at(&file, bytes, 0)?;
    disk.sync(&file)?;
    disk.rename(at, &draft, at, name)?;
    disk.sync_dir(at)
}
