//! Publishing: a tree on a disk becomes a manifest, attributes and pieces, which are read from the tree itself.

use crate::disk::{Disk, Name};
use crate::{PieceSource, ReadError};
use content::{ContentId, ContentSpec, PieceNo};
use std::sync::Arc;

/// What was found when a tree was read: everything a release says of its content.
#[derive(Debug, Clone)]
pub struct Found {
    /// The manifest and its pieces.
    pub content: ContentSpec,
    /// Times and owners.
    pub attributes: ContentSpec,
    /// Entries of the manifest.
    pub entries: u32,
    /// The sum of the lengths of all regular files, in bytes.
    pub size: u64,
    /// Things that are not carried and that people may want to know, escaped (an extended attribute, say).
    pub notes: Vec<String>,
}

/// Why a tree is not published. Every entry that is refused is named, not only the first.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// These entries may not be published; nothing was.
    #[error("{} entries cannot be published:\n{}", .0.len(), .0.join("\n"))]
    Refused(Vec<String>),
    /// The tree changed while it was read.
    #[error("{0} changed while it was read")]
    Changed(String),
    /// The disk failed.
    #[error("{path}: {source}")]
    Disk {
        /// Where, escaped.
        path: String,
        /// How.
        source: std::io::Error,
    },
}

/// A tree that was read, and from which its pieces are served.
pub struct Source<D: Disk> {
    disk: Arc<D>,
}

/// Reads the file or directory `name` in `parent`: cuts, hashes, and keeps only where each piece stands. `progress` is
/// called with the bytes read so far.
pub fn import<D: Disk>(
    _disk: Arc<D>,
    _parent: D::Dir,
    _name: &Name,
    _progress: &mut dyn FnMut(u64),
) -> Result<(Found, Source<D>), ImportError> {
    todo!()
}

impl<D: Disk> PieceSource for Source<D> {
    /// Reads a page or a piece. A piece whose bytes are no longer what was published is [`ReadError::Damaged`].
    fn read(&self, _content: ContentId, _piece: PieceNo) -> Result<Vec<u8>, ReadError> {
        let _ = &self.disk;
        todo!()
    }
}
