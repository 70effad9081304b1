//! Taking a node off its machine: what of it lies in its home, and removing that.
//!
//! Nothing outside of the home is looked at, and nothing in it that a node did not make: what is live stays live. Who the node is goes
//! last, so that what was interrupted can be done again.

use crate::backup::BackupError;
use crate::home::{self, FileError};
use content::Backup;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The service's directory for versions of this program.
const SOFTWARE: &str = "software";
/// What a node leaves in its home, in the order in which it is removed. The identity is how a home is known.
const PARTS: [&str; 9] =
    [SOFTWARE, "store", home::STORE_MADE, home::BOOT, home::CONTACT, home::WEBHOOKS, home::JOINING, "ca", "identity"];

/// What a root half leaves in its home: who the node is goes last.
const PARTS_OF_HANDS: [&str; 4] = ["store", home::STORE_MADE, home::BOOT, home::PINNED];

/// Something could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct LeaveError {
    /// What.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// What a node has in its home, in the order in which it would be removed.
pub fn parts(home: &Path) -> Vec<PathBuf> {
    there(home, &PARTS)
}

/// What a node's root half has in its own home, in that order.
pub fn parts_of_hands(home: &Path) -> Vec<PathBuf> {
    there(home, &PARTS_OF_HANDS)
}

fn there(home: &Path, parts: &[&str]) -> Vec<PathBuf> {
    parts.iter().map(|part| home.join(part)).filter(|path| path.symlink_metadata().is_ok()).collect()
}

/// Whether a home holds a fleet's CA and journals, which nobody else has.
pub fn is_origin(home: &Path) -> bool {
    home::authority(home).is_dir()
}

/// Makes sure that a file is a backup of the origin in a home, and says when it was made, in seconds since 1970.
pub fn is_backup_of(file: &Path, home: &Path) -> Result<u64, BackupError> {
    let bytes = home::at(file, fs::read(file))?;
    let backup = Backup::decode(&bytes).map_err(|source| BackupError::NoBackup { path: file.to_owned(), source })?;
    let key = home::identity(home).join(home::KEY);
    let ours = home::at(&key, fs::read(&key))?;
    let name = format!("identity/{}", home::KEY);
    let is_there = backup.files.iter().any(|(path, bytes)| *path == name && *bytes == ours);
    // The key is this origin's alone.
    if is_there { Ok(backup.made.0) } else { Err(BackupError::OfAnother(file.to_owned())) }
}

/// Removes what a node, or its root half, has in its home, and the home if nothing else is in it. Says whether the home is gone.
pub fn remove(home: &Path, parts: &[PathBuf]) -> Result<bool, LeaveError> {
    for path in parts {
        let is_directory = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        home::at(path, removed)?;
    }
    match fs::remove_dir(home) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(source) => Err(LeaveError { path: home.to_owned(), source }),
    }
}

impl From<FileError> for LeaveError {
    fn from(error: FileError) -> Self {
        Self { path: error.path, source: error.source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_somebody_elses_stays() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = dir.path().join("home");
        for part in ["store/blobs", "identity", "notes"] {
            fs::create_dir_all(home.join(part)).expect("a directory");
        }
        fs::write(home.join("identity/node.json"), "{}").expect("a file");
        // A link is removed, not what it leads to.
        std::os::unix::fs::symlink(home.join("notes"), home.join("software")).expect("a link");
        fs::write(home.join("notes/mine"), "mine").expect("a file");
        assert_eq!(parts(&home), ["software", "store", "identity"].map(|part| home.join(part)));
        assert!(!remove(&home, &parts(&home)).expect("it can be removed"), "the home stays");
        assert!(parts(&home).is_empty() && home.join("notes/mine").exists());
        fs::remove_dir_all(home.join("notes")).expect("removed");
        assert!(remove(&home, &[]).expect("it can be removed") && !home.exists());
    }
}
