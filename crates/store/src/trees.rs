//! Patches between two directories, as files: made of both, and applied to one to make the other beside it. Contents of a store are
//! patched with the same bytes (`body`, and `patching` beside this).
//!
//! ```text
//! +------+---+-------------+-------------+-------------+----------------------------+-----------------+
//! | tdgd | 1 | old content | new content | len of the  | patch from the old encoded | tree patch,     |
//! | (4)  |   | id (32)     | id (32)     | next (8)    | manifest to the new one    | to the end      |
//! +------+---+-------------+-------------+-------------+----------------------------+-----------------+
//! ```
//!
//! What both sides can tell from the two manifests is not said: which wanted file is an old one by its pieces, and all lengths. The tree
//! patch brings the others, numbered as the files of each manifest are.
//!
//! Invariant: what stands under the new name in the end was read again, and is the tree that the patch was made of, by its content
//! id; until then all of it stands under another name, and is removed if it is not.

mod body;
mod known;
mod unfold;

use crate::disk::{Disk, Name};
use crate::hands::Hands;
use crate::import::{ImportError, Terms};
use crate::lending::Lending;
use body::VERSION;
use content::manifest::Kind;
use content::{ContentId, Manifest};
use delta::tree::Made;
use delta::{ApplyError, Budget, Malformed};
use known::Known;
use std::io;
use std::sync::Arc;
use unfold::Unfolding;

pub(crate) use body::{Head, Making, Side, Unmade, write};
pub use body::{READS, is_tree_patch};
pub use delta::Effort;
pub(crate) use known::{file_len, files};

/// A name in an open directory.
pub struct Place<D: Disk> {
    /// The directory.
    pub parent: D::Dir,
    /// The name.
    pub name: Name,
}

impl<D: Disk> Clone for Place<D> {
    fn clone(&self) -> Self {
        Self { parent: self.parent.clone(), name: self.name.clone() }
    }
}

/// How many files of a tree are what of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// All bytes of the new tree's files.
    pub size: u64,
    /// The same under the same name.
    pub unchanged: u32,
    /// The same as one of another name.
    pub renamed: u32,
    /// Something else under the same name.
    pub changed: u32,
    /// The others.
    pub added: u32,
}

/// Why there is no patch, or no new tree.
#[derive(Debug, thiserror::Error)]
pub enum TreesError {
    /// A tree cannot be read, or has what no manifest can have.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A tree is no directory.
    #[error("it is one file, and no directory")]
    OneFile,
    /// A file is no longer what it was when its tree was read.
    #[error("{0} changed while it was read, or cannot be read any more")]
    Unread(String),
    /// The patch cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// It is in another version of the format.
    #[error("the patch of a directory is in format version {0}, and this program applies version {VERSION}")]
    Version(u8),
    /// It is for another tree.
    #[error("the patch is for the tree {wanted}, and this one is {found}")]
    WrongBase {
        /// The content it was made for.
        wanted: ContentId,
        /// The content of the old tree.
        found: ContentId,
    },
    /// The manifest in it is none.
    #[error("the patch is malformed: it makes no manifest of a directory ({0})")]
    Manifest(String),
    /// What was made is something else.
    #[error("what the patch makes is the tree {found}, and not {wanted} as it says")]
    Differs {
        /// What it says.
        wanted: ContentId,
        /// What was made.
        found: ContentId,
    },
    /// Something has the new name.
    #[error("it is there already")]
    Exists,
    /// The disk failed.
    #[error("{path}: {source}")]
    Disk {
        /// At what, escaped.
        path: String,
        /// How.
        source: io::Error,
    },
}

impl From<Malformed> for TreesError {
    fn from(malformed: Malformed) -> Self {
        Self::Apply(malformed.into())
    }
}

/// A patch that makes the directory `new` of the directory `old`, with so much memory for each side's files that are compared.
pub fn diff<D: Disk>(
    hands: &dyn Hands,
    disk: &Arc<D>,
    old: &Place<D>,
    new: &Place<D>,
    effort: Effort,
    memory: u64,
) -> Result<(Vec<u8>, Summary), TreesError> {
    let (old, new) = (Known::read(hands, disk, old)?, Known::read(hands, disk, new)?);
    let written = write(hands, (old.side(&old.files()), new.side(&new.files())), effort, memory)?;
    let (patch, sameness) =
        written.ok_or_else(|| TreesError::Unread(new.unread().or(old.unread()).unwrap_or_default()))?;
    Ok((patch, sameness.summary(&old.manifest, &new.manifest)))
}

/// What makes one content of another.
pub struct Between {
    /// The bytes.
    pub patch: Vec<u8>,
    /// What it is made from.
    pub old: ContentId,
    /// What it makes.
    pub new: ContentId,
}

/// The same between two directories or files as they are published on these terms.
pub fn between<D: Disk>(
    hands: &dyn Hands,
    terms: &Terms<'_>,
    disk: &Arc<D>,
    (old, new): (&Place<D>, &Place<D>),
    effort: Effort,
    memory: u64,
) -> Result<Between, TreesError> {
    let read = |place| Known::read_by(hands, terms, disk, place);
    let (old, new) = (read(old)?, read(new)?);
    let written = write(hands, (old.side(&old.files()), new.side(&new.files())), effort, memory)?;
    let (patch, _) = written.ok_or_else(|| TreesError::Unread(new.unread().or(old.unread()).unwrap_or_default()))?;
    Ok(Between { patch, old: old.content, new: new.content })
}

/// Makes the directory `new` of the directory `old` and a patch, if it has at most so many bytes.
pub fn patch<D: Disk>(
    hands: &dyn Hands,
    disk: &Arc<D>,
    old: &Place<D>,
    patch: &[u8],
    new: &Place<D>,
    at_most: u64,
) -> Result<Summary, TreesError> {
    let head = Head::read(patch)?;
    let at = |source| TreesError::Disk { path: crate::words::name(new.name.as_bytes()), source };
    if crate::ground::if_there(disk.metadata(&new.parent, &new.name)).map_err(at)?.is_some() {
        return Err(TreesError::Exists);
    }
    let old = Known::read(hands, disk, old)?;
    head.check_base(old.content)?;
    let (manifest, _) = head.manifest(&old.encoded, at_most)?;
    check_directory(&manifest, at_most)?;
    let staging = Place { name: staging(&new.name).map_err(at)?, parent: new.parent.clone() };
    let clear = || crate::tree::remove(&**disk, &staging.parent, &staging.name);
    clear().map_err(at)?;
    let made = make(disk, &old, &manifest, head.tree, &staging, at_most).and_then(|summary| {
        let found = Known::read(hands, disk, &staging)?.content;
        match found == head.new {
            true => Ok(summary),
            false => Err(TreesError::Differs { wanted: head.new, found }),
        }
    });
    let named = made.and_then(|summary| {
        let sync = disk.sync_all(&new.parent);
        let named = sync.and_then(|()| disk.rename(&staging.parent, &staging.name, &new.parent, &new.name));
        named.and_then(|()| disk.sync_dir(&new.parent)).map_err(at).map(|()| summary)
    });
    if named.is_err() {
        // What cannot be removed now is removed before the next attempt.
        clear().unwrap_or_default();
    }
    named
}

/// Refuses what is no directory of at most so many bytes.
fn check_directory(manifest: &Manifest, at_most: u64) -> Result<(), TreesError> {
    let needed = manifest.totals().size;
    match manifest.entries[0].kind {
        _ if needed > at_most => Err(ApplyError::OverBudget { of: "output", needed, allowed: at_most }.into()),
        Kind::Directory { .. } => Ok(()),
        _ => Err(TreesError::OneFile),
    }
}

/// So many bytes of a disk stay free when it lends for a patch.
const FREE: u64 = 64 << 20;

/// Makes the new tree under another name.
fn make<D: Disk>(
    disk: &Arc<D>,
    old: &Known<D>,
    manifest: &Manifest,
    tree: &[u8],
    staging: &Place<D>,
    at_most: u64,
) -> Result<Summary, TreesError> {
    let files = old.files();
    let most = Budget { memory: Budget::for_output(at_most).memory.saturating_add(at_most), output: at_most };
    let making = Making::begin(old.side(&files), manifest, tree, most)?;
    let mut unfolding = Unfolding::begin(disk, staging, manifest)?;
    for (file, from) in making.sameness.known() {
        unfolding.copy(making.sameness.entry(file), &old.open(from)?)?;
    }
    let room = Lending { disk: &**disk, at: &staging.parent, free: FREE.saturating_add(manifest.totals().size) };
    let made = making.run(&room, &mut |entry, made| match made {
        Made::Bytes(bytes) => unfolding.write(entry, bytes),
        Made::Old(from) => old.open(from).and_then(|from| unfolding.copy(entry, &from)),
    });
    made.map_err(|unmade| match unmade {
        Unmade::Patch(error) | Unmade::Taking(error) => error,
        Unmade::Unread => TreesError::Unread(old.unread().unwrap_or_default()),
    })?;
    unfolding.finish()?;
    Ok(making.into_sameness()?.summary(&old.manifest, manifest))
}

/// Beside the new name, and hidden.
fn staging(name: &Name) -> io::Result<Name> {
    let name = &name.as_bytes()[..name.as_bytes().len().min(200)];
    Name::new([b".", name, b".tiding-patching"].concat()).map_err(io::Error::other)
}
