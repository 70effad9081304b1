//! Patches between two directories of this machine: paths become places, and all processors work.

use crate::disk::RealDisk;
use crate::hands::Threads;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use store::disk::Name;
use store::trees::Place;

pub use store::trees::{Effort, Summary, TreesError, is_tree_patch};

/// What is compared at once takes at most so much memory, in bytes; what needs more is compared with less effort.
pub(crate) const MEMORY: u64 = 4 << 30;

/// A patch that makes the directory `new` of the directory `old`.
pub fn diff(old: &Path, new: &Path, effort: Effort) -> Result<(Vec<u8>, Summary), TreesError> {
    let disk = disk();
    let (old, new) = (standing(&disk, old)?, standing(&disk, new)?);
    store::trees::diff(&Threads::all(), &disk, &old, &new, effort, MEMORY)
}

/// Makes the directory `new`, which is not there, of the directory `old` and a patch.
pub fn patch(old: &Path, patch: &[u8], new: &Path, at_most: u64) -> Result<Summary, TreesError> {
    let disk = disk();
    let old = standing(&disk, old)?;
    let new = place(&disk, new)?;
    store::trees::patch(&Threads::all(), &disk, &old, patch, &new, at_most)
}

fn disk() -> Arc<RealDisk> {
    Arc::new(RealDisk::new())
}

/// Where a directory is, whatever links lead there.
fn standing(disk: &RealDisk, path: &Path) -> Result<Place<RealDisk>, TreesError> {
    place(disk, &std::fs::canonicalize(path).map_err(|source| failed(path, source))?)
}

fn place(disk: &RealDisk, path: &Path) -> Result<Place<RealDisk>, TreesError> {
    let nameless = || failed(path, io::Error::new(io::ErrorKind::InvalidInput, "it has no name of its own"));
    let name = Name::new(path.file_name().ok_or_else(nameless)?.as_bytes()).map_err(|_| nameless())?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = disk.open_path(parent).map_err(|source| failed(parent, source))?;
    Ok(Place { parent, name })
}

fn failed(path: &Path, source: io::Error) -> TreesError {
    TreesError::Disk { path: crate::escape::escape(&path.to_string_lossy()), source }
}
