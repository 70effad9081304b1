//! What stands in a node's home and in an operator's home, and how it is written: privately, durably, whole or not at all.
//!
//! A set of files appears under its name in one rename, after every file in it was synced; a key is never readable by anyone
//! else, not even for a moment. What the files mean is for [`crate::identity`] and [`crate::founding`] to say.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The private key of a node that has not joined yet, PEM.
pub(crate) const JOINING: &str = "joining.pem";
/// That a node's store was made: it stands beside the store, which may be removed.
pub(crate) const STORE_MADE: &str = "store.made";
/// The private key of a certificate, PEM.
pub(crate) const KEY: &str = "key.pem";
/// The certificate and the CA's, PEM.
pub(crate) const CERTIFICATE: &str = "cert.pem";
/// The certificates of the CAs that the newest trust root names, PEM; the last one's makes certificates.
pub(crate) const AUTHORITIES: &str = "authorities.pem";
/// A CA, in an origin's directory of them, that no trust root names yet, PEM: its certificate and its key.
pub(crate) const NEXT_CA: &str = "next.pem";
/// The signed trust root, encoded.
pub(crate) const ROOT: &str = "root.signed";
/// What a node knows of itself, JSON.
pub(crate) const NODE: &str = "node.json";
/// The start of the machine in which releases were last started here; text.
pub(crate) const BOOT: &str = "boot";
/// In a root half's home: who the node is, as it was told once.
pub(crate) const PINNED: &str = "pinned";
/// What an operator knows of the fleet, JSON.
pub(crate) const FLEET: &str = "fleet.json";
/// When an agent was in contact with an origin last, JSON.
pub(crate) const CONTACT: &str = "contact.json";
/// How far each webhook was told, a JSON file for each.
pub(crate) const WEBHOOKS: &str = "webhooks";
/// How far an operator has seen the journals, JSON.
pub(crate) const AUDIT: &str = "audit.json";
/// The trust roots that an operator has seen, JSON.
pub(crate) const ROOTS: &str = "roots.json";
/// The operator's signing key: 64 hexadecimal digits.
pub(crate) const OPERATOR_KEY: &str = "operator.key";
/// The fleet's root key: 64 hexadecimal digits.
pub(crate) const ROOT_KEY: &str = "root.key";
/// Where an operator's keys were moved to, JSON.
pub(crate) const MOVED: &str = "moved.json";
/// Where the root key was moved to, JSON.
pub(crate) const ROOT_MOVED: &str = "root-moved.json";

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub(crate) struct FileError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Names the path that an operation failed at.
pub(crate) fn at<T>(path: &Path, outcome: io::Result<T>) -> Result<T, FileError> {
    outcome.map_err(|source| FileError { path: path.to_owned(), source })
}

/// Where a node's identity is.
pub(crate) fn identity(home: &Path) -> PathBuf {
    home.join("identity")
}

/// Where an origin's CA is.
pub(crate) fn authority(home: &Path) -> PathBuf {
    home.join("ca")
}

/// Where a node's store is.
pub(crate) fn store(home: &Path) -> PathBuf {
    home.join("store")
}

/// What a node knows of itself besides its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeFile {
    /// Its name for people.
    pub(crate) name: String,
    /// Its datacenter.
    pub(crate) datacenter: String,
    /// What is said of it.
    pub(crate) labels: BTreeMap<String, String>,
    /// The origins it dials.
    pub(crate) origins: Vec<SocketAddr>,
    /// Where others reach it, as it was told; empty means what is found out at each start.
    pub(crate) advertise: Vec<SocketAddr>,
    /// The first operator's node id, on the origin that founded the fleet.
    pub(crate) operator: Option<String>,
}

/// What an operator knows of the fleet besides its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FleetFile {
    /// The operator's name.
    pub(crate) operator: String,
    /// The datacenter of the origin that founded the fleet.
    pub(crate) datacenter: String,
    /// Where origins answer.
    pub(crate) origins: Vec<SocketAddr>,
}

/// What stays behind when an operator's keys were moved: where they went, and the digests of what went there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MovedFile {
    pub(crate) to: PathBuf,
    pub(crate) files: BTreeMap<String, String>,
}

/// Where the keys of an operator's home were moved to, if they were.
pub(crate) fn moved_to(operator_home: &Path) -> Option<PathBuf> {
    read_json::<MovedFile>(&operator_home.join(MOVED)).ok().map(|moved| moved.to)
}

/// Reads a JSON file of a home.
pub(crate) fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, FileError> {
    let bytes = at(path, fs::read(path))?;
    at(path, serde_json::from_slice(&bytes).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad)))
}

/// A value as JSON for people to read.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("these types have only text keys and no failing serialisers")
}

/// Writes a set of private files as the directory `into`, which must be empty or not there yet. After a crash it is there
/// whole or not at all.
pub(crate) fn write_set(into: &Path, files: &[(&str, Vec<u8>)]) -> Result<(), FileError> {
    let parent = into.parent().unwrap_or(Path::new("."));
    at(parent, private_dirs(parent))?;
    let mut name = into.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let staging = parent.join(name);
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return at(&staging, Err(error)),
        _ => at(&staging, fs::DirBuilder::new().mode(0o700).create(&staging))?,
    }
    for (name, bytes) in files {
        let path = staging.join(name);
        at(&path, write_private(&path, bytes))?;
    }
    at(&staging, sync_dir(&staging))?;
    at(into, fs::rename(&staging, into))?;
    at(parent, sync_dir(parent))
}

/// Replaces one private file, whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let staging = path.with_extension("new");
    match fs::remove_file(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return at(&staging, Err(error)),
        _ => at(&staging, write_private(&staging, bytes))?,
    }
    at(path, fs::rename(&staging, path))?;
    at(path, sync_dir(path.parent().unwrap_or(Path::new("."))))
}

/// Creates a directory and its parents for us alone; what exists stays as it is.
pub(crate) fn private_dirs(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(path)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn h8_a_set_is_private_and_appears_once() -> Result<(), FileError> {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let into = temp.path().join("deep/identity");
        write_set(&into, &[(KEY, b"secret".to_vec())])?;
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&into), mode(&into.join(KEY))), (0o700, 0o600));
        assert!(write_set(&into, &[(KEY, b"other".to_vec())]).is_err(), "a set is never replaced");
        assert_eq!(fs::read(into.join(KEY)).expect("it is there"), b"secret");
        Ok(())
    }

    #[test]
    fn a_replaced_file_is_private() -> Result<(), FileError> {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let path = temp.path().join(FLEET);
        replace(&path, b"1")?;
        replace(&path, b"2")?;
        assert_eq!(fs::read(&path).expect("it is there"), b"2");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        Ok(())
    }
}
