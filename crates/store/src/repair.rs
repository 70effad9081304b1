//! Mending a live tree: what differs from the release is laid out anew in private, and takes the place of what stands there.
//!
//! Name by name, each in one rename: whoever opens a file meanwhile gets the damaged one or the right one, and a power cut leaves
//! one of them. What is no part of the release stays where it is, and so does what stands where a directory should be, or the
//! other way round: somebody put it there. Nothing is restarted: who has a damaged file open keeps it until it opens it again.

use crate::Store;
use crate::disk::{Disk, FileKind};
use crate::ground::{Need, if_there, ours};
use crate::layout::Layout;
use crate::tree::{self, Tree};
use crate::verify::{Differences, LiveTree};
use content::AppName;
use content::manifest::{Entry, Kind};
use engine::door::{JobDone, JobError};
use std::collections::BTreeSet;
use std::io;

/// Where what takes the place of damaged things is laid out; a start removes it if that was interrupted.
const STAGING: &str = "staging-repair";

impl<D: Disk> Store<D> {
    /// Reads what is live of an application again, and mends it.
    pub(crate) fn repair(&mut self, app: &AppName) -> Result<JobDone, JobError> {
        let mut live = self.live_tree(app)?;
        let attributes = live.plan.attributes.take();
        live.plan.attributes = attributes.map(|all| self.owned(all, &live.release)).transpose()?;
        let before = live.check(&self.shelves)?;
        if before.wrong.is_empty() {
            return Ok(before.verified());
        }
        self.mend(&live, &before.wrong)?;
        let after = live.check(&self.shelves)?;
        let named = if after.differing == 0 { before.first } else { after.first };
        self.notes.push(format!("the live release of {app} was repaired: {} entries differed", before.differing));
        Ok(Differences { first: named, ..after }.verified())
    }

    fn mend(&self, live: &LiveTree<D>, wrong: &[usize]) -> Result<(), JobError> {
        let (disk, side, staging) = (&*self.shelves.disk, &live.side, ours(STAGING));
        let entries = &live.plan.manifest.entries;
        let anew = with_all_names(entries, wrong);
        side.room(need(entries, &anew), self.shelves.options.reserve)?;
        let clear = || tree::remove(disk, side.dir(), &staging).map(drop);
        clear().map_err(side.failed("clearing what an interrupted repair left", 0))?;
        let layout = Layout::new(&self.shelves, &live.plan, side, staging.clone(), None).only(anew.clone());
        let mended = layout.run().and_then(|()| {
            let swapped = disk
                .sync_all(side.dir())
                .and_then(|()| self.mend_directories(live, wrong))
                .and_then(|()| self.swap(live, &anew))
                .and_then(|()| disk.sync_all(side.dir()));
            swapped.map_err(side.failed("repairing what is live", 0))
        });
        // What cannot be cleared now is cleared at the next start, or before the next repair.
        clear().unwrap_or_default();
        mended
    }

    /// Makes directories that lack, and gives those that have another mode their own.
    fn mend_directories(&self, live: &LiveTree<D>, wrong: &[usize]) -> io::Result<()> {
        let (disk, mut tree) = (&*self.shelves.disk, self.tree_of(live));
        for index in wrong {
            let entry = &live.plan.manifest.entries[*index];
            let owner = live.plan.attributes.as_ref().and_then(|all| all.0.get(*index));
            let owner = owner.filter(|_| self.shelves.options.apply_owners);
            let (Kind::Directory { mode }, Some((dir, name))) = (&entry.kind, place(&mut tree, entry)?) else {
                continue;
            };
            match if_there(disk.metadata(&dir, &name))? {
                None => {
                    disk.create_dir(&dir, &name, *mode)?;
                    owner.map_or(Ok(()), |owner| disk.set_owner(&dir, &name, owner.uid, owner.gid))?;
                    disk.set_mode(&dir, &name, *mode)?;
                }
                Some(meta) if meta.kind == FileKind::Directory => disk.set_mode(&dir, &name, *mode)?,
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Renames everything that was laid out anew to where it belongs.
    fn swap(&self, live: &LiveTree<D>, anew: &BTreeSet<usize>) -> io::Result<()> {
        let (disk, mut tree) = (&*self.shelves.disk, self.tree_of(live));
        let mut laid_out = Tree::new(self.shelves.disk.clone(), live.side.dir().clone(), ours(STAGING));
        for entry in anew.iter().map(|index| &live.plan.manifest.entries[*index]) {
            let (from, name) = laid_out.place(&entry.path)?;
            let Some((dir, there)) = place(&mut tree, entry)? else { continue };
            let found = if_there(disk.metadata(&dir, &there))?;
            if found.is_none_or(|meta| meta.kind != FileKind::Directory) {
                disk.rename(&from, &name, &dir, &there)?;
            }
        }
        Ok(())
    }

    fn tree_of(&self, live: &LiveTree<D>) -> Tree<D> {
        Tree::new(self.shelves.disk.clone(), live.side.dir().clone(), live.name.clone())
    }
}

/// Where an entry belongs; `None` where something else stands on the way.
fn place<D: Disk>(tree: &mut Tree<D>, entry: &Entry) -> io::Result<Option<(D::Dir, crate::disk::Name)>> {
    match tree.place(&entry.path) {
        Ok(place) => Ok(Some(place)),
        Err(error) if is_something_else(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the operating system says of a symlink that is not followed (ELOOP).
const A_SYMLINK: i32 = 40;

/// Whether an error of opening a directory says that there is none.
fn is_something_else(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory) || error.raw_os_error() == Some(A_SYMLINK)
}

/// What is laid out anew: what differs and is no directory, and all other names of the same files, which must stay the same files.
fn with_all_names(entries: &[Entry], wrong: &[usize]) -> BTreeSet<usize> {
    let first = |index: usize| if let Kind::HardLink { to } = entries[index].kind { to as usize } else { index };
    let firsts: BTreeSet<usize> = wrong.iter().map(|index| first(*index)).collect();
    let is_directory = |index: &usize| matches!(entries[*index].kind, Kind::Directory { .. });
    (0..entries.len()).filter(|index| firsts.contains(&first(*index)) && !is_directory(index)).collect()
}

/// What laying them out takes: they are never many, so holes are counted as if they were none.
fn need(entries: &[Entry], anew: &BTreeSet<usize>) -> Need {
    let directories = entries.iter().filter(|entry| matches!(entry.kind, Kind::Directory { .. })).count();
    let lengths = anew.iter().map(|index| if let Kind::File { len, .. } = &entries[*index].kind { *len } else { 0 });
    Need { bytes: lengths.sum(), inodes: (directories + anew.len()) as u64 }
}
