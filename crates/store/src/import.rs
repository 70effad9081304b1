//! Publishing: a tree on a disk becomes a manifest, attributes and pieces, which are read from the tree itself.
//!
//! Nothing is copied: what is kept is a table of where each piece stands, so a tree is published with memory for its names
//! and pieces, not for its bytes. The tree is looked at twice, so that one that changed meanwhile is never published as a
//! mixture; and every piece is verified again when it is served, so that one that changes later harms nobody.

mod cutter;
mod cutting;
mod folding;
mod ignoring;
mod judge;
mod keeping;
mod mapping;
mod reading;
mod source;
mod walk;

pub use ignoring::{IGNORE_FILE, LeftOut, Patterns};
pub use mapping::{Kinds, Mapping, ModeChange};
pub use source::Source;

use crate::disk::{Disk, Name};
use crate::hands::{Hands, OneHand};
use content::ContentSpec;
use content::kept::KeptPath;
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
    /// Things that people may want to know, escaped (an extended attribute that is not carried, names that some disks do not tell apart).
    pub notes: Vec<String>,
    /// What the tree's own patterns left out.
    pub left_out: Vec<LeftOut>,
}

/// What is published of a tree, and what besides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms<'a> {
    /// Whether its own patterns are honoured.
    pub patterns: Patterns,
    /// What outlives the release: each becomes a link in the tree. Checked, and rising by path.
    pub kept: &'a [KeptPath],
    /// What its owners and modes become, if not what they are here.
    pub mapping: Option<&'a Mapping>,
}

/// Why a tree is not published. Every entry that is refused is named, not only the first.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// These entries may not be published; nothing was.
    #[error("{} cannot be published:\n{}", counted(.0.len()), .0.join("\n"))]
    Refused(Vec<String>),
    /// There is something, and all of it is left out by these files of patterns.
    #[error("all that is in it is left out, by {}", .0.join(", "))]
    Empty(Vec<String>),
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

/// Whether an extended attribute changes what a file may do, and is not carried.
pub(crate) fn is_refused(attribute: &[u8]) -> bool {
    judge::refuse_attribute(attribute).is_some()
}

fn counted(entries: usize) -> String {
    format!("{entries} {}", if entries == 1 { "entry" } else { "entries" })
}

/// Reads the file or directory `name` in `parent`: cuts, hashes, and keeps only where each piece stands. `progress` is
/// called with the bytes read so far. The tree's own patterns are honoured.
pub fn import<D: Disk>(
    disk: Arc<D>,
    parent: D::Dir,
    name: &Name,
    progress: &mut dyn FnMut(u64),
) -> Result<(Found, Source<D>), ImportError> {
    import_by(&OneHand, &Terms::default(), disk, parent, name, progress)
}

/// The same by several hands: what is found does not depend on how many they are.
pub fn import_by<D: Disk>(
    hands: &dyn Hands,
    terms: &Terms<'_>,
    disk: Arc<D>,
    parent: D::Dir,
    name: &Name,
    progress: &mut dyn FnMut(u64),
) -> Result<(Found, Source<D>), ImportError> {
    let mut walk = walk::Walk::new(disk.clone(), parent.clone(), name.clone(), hands, terms);
    walk.read_tree(progress)?;
    walk.look_again()?;
    let read = walk.finish()?;
    Ok(source::make(disk, parent, name.clone(), read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_is_told_as_one() {
        let told = |all: &[&str]| ImportError::Refused(all.iter().map(|&name| name.to_owned()).collect()).to_string();
        assert_eq!(told(&["a: is a socket"]), "1 entry cannot be published:\na: is a socket");
        assert_eq!(told(&["a", "b"]), "2 entries cannot be published:\na\nb");
    }
}
