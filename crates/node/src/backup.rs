//! Taking a backup of an origin, and being that origin again from it.
//!
//! It holds the origin's identity, the fleet's CA and the journals: everything that nobody else has. Pieces are with the fleet, and operators
//! keep their own keys. Restoring makes a home beside the place where it is to be and renames it there: after a crash it is whole, or
//! not there.

use crate::audit::Journals;
use crate::daemon;
use crate::founding;
use crate::home::{self, FileError};
use crate::identity::wall_clock;
use content::Backup;
use content::encoding::Malformed;
use content::fact::JournalName;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directories of an origin's home that a backup holds; everything in them is a small file.
const KEPT: [&str; 2] = ["identity", "ca"];

/// Why there is no backup, or no origin from it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The home is no origin's.
    #[error("{0} is no origin's home: there is no `ca` in it; say where it is with --home")]
    NoOrigin(PathBuf),
    /// The origin that answers is not the one in this home.
    #[error("the origin that answers is not the one in {0}: this operator's keys are for another fleet")]
    OtherFleet(PathBuf),
    /// It is a backup, and not of this origin.
    #[error("{0} is a backup of another origin")]
    OfAnother(PathBuf),
    /// Something is there already.
    #[error("{0} is there already and not empty; restore into another directory with --home, or move it away")]
    NotEmpty(PathBuf),
    /// The file is no backup, or not a whole one.
    #[error("{path}: {source}; it is no backup that `tiding backup` made, or not all of it")]
    NoBackup {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Malformed,
    },
    /// The journals do not follow from each other.
    #[error("the journals are not what was written into them: {0}; look at `tiding audit verify`")]
    Journals(String),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Disk {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be made.
    #[error("the store: {0}")]
    Store(String),
}

/// What was written, or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// How many facts it holds.
    pub facts: usize,
    /// How long it is, in bytes.
    pub bytes: usize,
}

/// Writes a backup of the origin in a home, with the journals as it gave them, into a file that nobody else can read. A file that is
/// there is replaced, whole or not at all.
pub fn take(home: &Path, journals: Journals, into: &Path) -> Result<Extent, BackupError> {
    if !home::authority(home).is_dir() {
        return Err(BackupError::NoOrigin(home.to_owned()));
    }
    let (root, fleet, _) = founding::read_root(&home::identity(home))?;
    let report = journals.check(fleet, &[]);
    if let Some(finding) = report.findings.first() {
        return Err(match journals.is_of(fleet) {
            true => BackupError::Journals(format!("{} fact {}: {}", finding.journal, finding.index, finding.what)),
            false => BackupError::OtherFleet(home.to_owned()),
        });
    }
    let Journals { fleet: of_fleet, datacenter } = journals;
    let journals = [(JournalName::Fleet, of_fleet)].into_iter().chain(datacenter).collect();
    let backup = Backup { made: wall_clock(), files: read_files(home)?, root, journals };
    let bytes = backup.encode();
    // What cannot be read again takes the place of nothing.
    Backup::decode(&bytes).map_err(|source| BackupError::NoBackup { path: into.to_owned(), source })?;
    let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        home::at(parent, fs::metadata(parent))?;
    }
    home::replace(into, &bytes)?;
    Ok(Extent { made: backup.made.0, facts: report.facts, bytes: bytes.len() })
}

/// Makes an origin's home from a backup.
pub fn restore(from: &Path, home: &Path) -> Result<Extent, BackupError> {
    let bytes = home::at(from, fs::read(from))?;
    let backup = Backup::decode(&bytes).map_err(|source| BackupError::NoBackup { path: from.to_owned(), source })?;
    let is_free = match fs::read_dir(home) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(source) => return Err(BackupError::Disk { path: home.to_owned(), source }),
    };
    if !is_free {
        return Err(BackupError::NotEmpty(home.to_owned()));
    }
    let mut name = home.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    let staging = home.with_file_name(name);
    make(&backup, &staging)?;
    home::at(home, fs::rename(&staging, home))?;
    let parent = home.parent().unwrap_or(Path::new("/"));
    home::at(parent, fs::File::open(parent).and_then(|parent| parent.sync_all()))?;
    let facts = backup.journals.iter().map(|(_, entries)| entries.len()).sum();
    Ok(Extent { made: backup.made.0, facts, bytes: bytes.len() })
}

/// Makes the home under another name; what an interrupted restore left there is made anew.
fn make(backup: &Backup, staging: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => home::at(staging, Err(error))?,
        _ => home::at(staging, home::private_dirs(staging))?,
    }
    for directory in KEPT {
        let of_it = |(path, bytes): &(String, Vec<u8>)| {
            let name = path.strip_prefix(directory)?.strip_prefix('/')?;
            Some((name.to_owned(), bytes.clone()))
        };
        let files: Vec<(String, Vec<u8>)> = backup.files.iter().filter_map(of_it).collect();
        let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        home::write_set(&staging.join(directory), &files)?;
    }
    let failed = |error: String| BackupError::Store(error);
    let mut store = daemon::new_store(staging).map_err(|error| failed(error.to_string()))?;
    store.set_root(&backup.root).map_err(|error| failed(format!("{error:?}")))?;
    for (journal, entries) in &backup.journals {
        store.restore_journal(journal, entries).map_err(|error| failed(format!("{error:?}")))?;
    }
    Ok(())
}

fn read_files(home: &Path) -> Result<Vec<(String, Vec<u8>)>, BackupError> {
    let mut files = Vec::new();
    for directory in KEPT {
        let path = home.join(directory);
        for entry in home::at(&path, fs::read_dir(&path))? {
            let entry = home::at(&path, entry)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What an editor or a file system left there.
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            files.push((format!("{directory}/{name}"), home::at(&entry.path(), fs::read(entry.path()))?));
        }
    }
    files.sort();
    Ok(files)
}

impl From<FileError> for BackupError {
    fn from(error: FileError) -> Self {
        Self::Disk { path: error.path, source: error.source }
    }
}
