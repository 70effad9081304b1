//! What the root half was told once, and believes: the first trust root of the fleet, and who this node is.
//!
//! It copies them when it first finds them in the network half's home, which is right after the machine joined, and never again; what
//! stands there later may have been written by anyone who owns that half. Who wants to compare finds them in the log of that start.

use super::HandsError;
use crate::disk::{Dir, RealDisk};
use crate::home::{self, NodeFile};
use content::{FleetId, Labels, Root, Signed};
use std::io;
use std::path::Path;
use store::disk::{Disk, Name};

/// The directory of it in the root half's home.
/// Longer files are not what they should be.
const LONGEST: u64 = 1 << 20;

/// The first root, and who the node is.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    pub(super) root: Signed,
    pub(super) fleet: FleetId,
    pub(super) node: String,
    pub(super) labels: Labels,
}

impl Pinned {
    /// What was pinned before; else what the network half's home says now, if it has joined.
    pub(super) fn load(home: &Path, other: &Path) -> Result<Option<Self>, HandsError> {
        let at = home.join(home::PINNED);
        if let Some(known) = read(&at, None)? {
            return Ok(Some(known));
        }
        let Some(found) = read(other, Some("identity"))? else { return Ok(None) };
        let (root, node) = (found.root.encode(), files_of(other)?);
        home::write_set(&at, &[(home::ROOT, root), (home::NODE, node)]).map_err(HandsError::home)?;
        let labels: Vec<String> =
            found.labels.iter().map(|(key, value)| format!("{}={}", key.as_str(), value.as_str())).collect();
        tracing::warn!(
            fleet = %found.fleet, node = found.node, labels = labels.join(","),
            "the root half has copied the trust root and the node's name and labels, and will believe no others; remove {} to \
             have it copy them again", at.display()
        );
        Ok(Some(found))
    }
}

/// The file of the node as it is there.
fn files_of(other: &Path) -> Result<Vec<u8>, HandsError> {
    let dir = open(other, Some("identity"))?.ok_or_else(|| HandsError::home("it has gone"))?;
    file(&dir, home::NODE)?.ok_or_else(|| HandsError::home("it has gone"))
}

fn read(at: &Path, below: Option<&str>) -> Result<Option<Pinned>, HandsError> {
    let Some(dir) = open(at, below)? else { return Ok(None) };
    let (Some(root), Some(node)) = (file(&dir, home::ROOT)?, file(&dir, home::NODE)?) else { return Ok(None) };
    let root = Signed::decode(&root).map_err(HandsError::home)?;
    let (fleet, _) = Root::verify_first(&root).map_err(HandsError::home)?;
    let node: NodeFile = serde_json::from_slice(&node).map_err(HandsError::home)?;
    let labels = crate::api::labels_from_text(&node.labels).map_err(HandsError::home)?;
    Ok(Some(Pinned { root, fleet, node: node.name, labels }))
}

/// A directory, if it is there; nothing below `at` is reached through a link.
fn open(at: &Path, below: Option<&str>) -> Result<Option<Dir>, HandsError> {
    let disk = RealDisk::new();
    let opened = disk.open_path(at).and_then(|dir| match below {
        Some(below) => disk.open_dir(&dir, &name(below)),
        None => Ok(dir),
    });
    match opened {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HandsError::home(format!("{}: {error}", at.display()))),
    }
}

fn file(dir: &Dir, of: &str) -> Result<Option<Vec<u8>>, HandsError> {
    let disk = RealDisk::new();
    let (file, meta) = match disk.open_and_look(dir, &name(of)) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(HandsError::home(format!("{of}: {error}"))),
    };
    if meta.len > LONGEST {
        return Err(HandsError::home(format!("{of} is much longer than it can be")));
    }
    let mut bytes = vec![0; meta.len as usize];
    let read = disk.read_at(&file, &mut bytes, 0).map_err(HandsError::home)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

fn name(text: &str) -> Name {
    Name::new(text).expect("these names are short and have no slash")
}
