//! Files that a release has in common with the one that is live: they are linked, not laid out again.
//!
//! Two releases then share an inode, so a write into one would be seen in the other. Only files into which nobody writes are
//! shared, therefore: their mode lets nobody, not even their owner, and their owner is who we are, so that whoever could give
//! them another mode could damage the store itself. What is linked is not believed to be what it was when it was laid out: it is
//! read again, and compared byte by byte with what the new release says, and the name that was linked is looked at once more,
//! so a write or a swap before the link is noticed and costs a private copy. All else, and whatever the file system will not link, is laid
//! out.
//!
//! Invariant: a laid-out tree is never written into, so there is no mending in place that another release would see.

use crate::Store;
use crate::disk::{Disk, Meta, Name};
use crate::ground::{Ground, if_there, ours};
use crate::import;
use crate::plan::Plan;
use crate::shelves::Shelves;
use crate::tree::Tree;
use crate::verify::Check;
use content::ReleaseId;
use content::attributes::Attribute;
use content::manifest::{Entry, Kind};
use engine::door::JobError;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Permission bits that let someone write.
const WRITE: u16 = 0o222;

/// The tree that is live, from which files are linked.
pub(crate) struct Live<'a, D: Disk> {
    shelves: &'a Shelves<D>,
    plan: &'a Plan<D>,
    side: D::Dir,
    root: Name,
    /// Who we are.
    uid: u32,
    /// What was linked: two files of a release are not made one.
    linked: Mutex<BTreeSet<(u64, u64)>>,
}

/// One who links files from it; they may be several.
pub(crate) struct Earlier<'a, D: Disk> {
    live: &'a Live<'a, D>,
    tree: Tree<D>,
    check: Check<'a, D>,
}

impl<D: Disk> Store<D> {
    /// The release that stands beside `side` and is live, if its files may be shared with what `plan` lays out.
    pub(crate) fn live<'a>(
        &'a self,
        live: Option<ReleaseId>,
        side: &Ground<D>,
        plan: &'a Plan<D>,
    ) -> Option<Live<'a, D>> {
        let live = live.filter(|live| self.releases.contains_key(live))?;
        let (side, root) = (side.dir().clone(), ours(&live.to_string()));
        Some(Live { shelves: &self.shelves, plan, side, root, uid: self.uid, linked: Mutex::default() })
    }
}

impl<D: Disk> Live<'_, D> {
    /// Someone who links from it.
    pub(crate) fn hand(&self) -> Earlier<'_, D> {
        let tree = Tree::new(self.shelves.disk.clone(), self.side.clone(), self.root.clone());
        let check = Check::new(self.shelves, self.plan, self.side.clone(), self.root.clone());
        Earlier { live: self, tree, check }
    }

    fn linked(&self) -> MutexGuard<'_, BTreeSet<(u64, u64)>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Disk> Earlier<'_, D> {
    /// Links the file that an entry describes to `name` in `dir`, if the earlier tree has it; whether it did.
    pub(crate) fn link(
        &mut self,
        entry: &Entry,
        attribute: Option<Attribute>,
        (dir, name): (&D::Dir, &Name),
    ) -> Result<bool, JobError> {
        let Kind::File { mode, len, extents } = &entry.kind else { return Ok(false) };
        let Some(attribute) = attribute.filter(|_| mode & WRITE == 0) else { return Ok(false) };
        // What cannot be looked at there is laid out instead, and says why if that fails too.
        let Ok((from, first)) = self.tree.place(&entry.path) else { return Ok(false) };
        let Ok((file, before)) = self.live.shelves.disk.open_and_look(&from, &first) else { return Ok(false) };
        let is_as_said = (before.mode, before.len) == (*mode, *len) && self.may_share(&before, &attribute);
        if !is_as_said || self.may_do_more(&file) || !self.check.has_bytes(&file, extents)? {
            return Ok(false);
        }
        match self.live.shelves.disk.link(&from, &first, dir, name) {
            Ok(()) => self.keep(&before, dir, name).or_else(|_| self.take_back(dir, name)),
            Err(_) => Ok(false),
        }
    }

    /// Whether nobody but us could write into a file, and it has the time and owner that it should have.
    fn may_share(&self, meta: &Meta, attribute: &Attribute) -> bool {
        let Attribute { seconds, nanos, uid, gid } = *attribute;
        let owner = if self.live.shelves.options.apply_owners { (uid, gid) } else { (self.live.uid, meta.gid) };
        meta.uid == self.live.uid
            && (meta.uid, meta.gid) == owner
            && (meta.mtime, meta.mtime_nanos) == (seconds, nanos)
            && !self.live.linked().contains(&meta.inode)
    }

    /// Whether a file was given an attribute that no release gives, or may have been.
    fn may_do_more(&self, file: &D::File) -> bool {
        let attributes = self.live.shelves.disk.attribute_names_of(file);
        attributes.map_or(true, |names| names.iter().any(|name| import::is_refused(name)))
    }

    /// Whether what was linked is what was read; else the name is taken back.
    fn keep(&self, before: &Meta, dir: &D::Dir, name: &Name) -> io::Result<bool> {
        let stamp = |meta: &Meta| (meta.inode, meta.len, meta.mode, meta.uid, (meta.mtime, meta.mtime_nanos));
        let now = self.live.shelves.disk.metadata(dir, name)?;
        // Another hand may have linked the same file meanwhile.
        match stamp(&now) == stamp(before) && self.live.linked().insert(now.inode) {
            true => Ok(true),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn take_back(&self, dir: &D::Dir, name: &Name) -> Result<bool, JobError> {
        let removed = if_there(self.live.shelves.disk.remove_file(dir, name));
        removed.map(|_| false).map_err(|error| JobError::Disk { why: format!("taking a link back: {error}") })
    }
}
