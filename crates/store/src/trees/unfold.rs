//! Laying a manifest out under a new name, when its files come in any order, whole.
//!
//! Directories come first, private; then files; when nothing is written any more, hard links and symlinks; modes last, innermost first.
//! Everything goes through handles, so nothing can leave the new directory. What was written is not compared with the manifest here.

use super::{Place, TreesError};
use crate::disk::Disk;
use crate::tree::Tree;
use crate::words;
use content::Manifest;
use content::manifest::{Entry, Kind};
use std::io;
use std::sync::Arc;

/// How much is copied at once, in bytes.
const BLOCK: usize = 1 << 20;

/// A tree under way.
pub(super) struct Unfolding<'a, D: Disk> {
    disk: Arc<D>,
    manifest: &'a Manifest,
    tree: Tree<D>,
    /// Where hard links point is a tree of its own, so that the two do not close each other's directories.
    linked: Tree<D>,
}

impl<'a, D: Disk> Unfolding<'a, D> {
    /// Makes all directories under a name that nothing has.
    pub(super) fn begin(disk: &Arc<D>, place: &Place<D>, manifest: &'a Manifest) -> Result<Self, TreesError> {
        let tree = || Tree::new(disk.clone(), place.parent.clone(), place.name.clone());
        let mut unfolding = Self { disk: disk.clone(), manifest, tree: tree(), linked: tree() };
        unfolding.each(|all, entry| match entry.kind {
            Kind::Directory { .. } => {
                let (dir, name) = all.tree.place(&entry.path)?;
                all.disk.create_dir(&dir, &name, 0o700)
            }
            _ => Ok(()),
        })?;
        Ok(unfolding)
    }

    /// Makes a file of these bytes.
    pub(super) fn write(&mut self, entry: usize, bytes: &[u8]) -> Result<(), TreesError> {
        let entry = &self.manifest.entries[entry];
        let file = self.create(entry)?;
        self.disk.write_at(&file, bytes, 0).map_err(|error| failed(entry, error))
    }

    /// Makes a file of all that is in another one.
    pub(super) fn copy(&mut self, entry: usize, from: &D::File) -> Result<(), TreesError> {
        let entry = &self.manifest.entries[entry];
        let to = self.create(entry)?;
        self.copy_bytes(from, &to).map_err(|error| failed(entry, error))
    }

    fn copy_bytes(&self, from: &D::File, to: &D::File) -> io::Result<()> {
        let (mut at, mut buffer) = (0, vec![0; BLOCK]);
        loop {
            let read = self.disk.read_at(from, &mut buffer, at)?;
            self.disk.write_at(to, &buffer[..read], at)?;
            at += read as u64;
            if read < BLOCK {
                return Ok(());
            }
        }
    }

    fn create(&mut self, entry: &Entry) -> Result<D::File, TreesError> {
        let created = self.tree.place(&entry.path).and_then(|(dir, name)| self.disk.create(&dir, &name, 0o600));
        created.map_err(|error| failed(entry, error))
    }

    /// Links, and then modes.
    pub(super) fn finish(mut self) -> Result<(), TreesError> {
        let manifest = self.manifest;
        self.each(|all, entry| {
            let (dir, name) = match entry.kind {
                Kind::HardLink { .. } | Kind::Symlink { .. } => all.tree.place(&entry.path)?,
                _ => return Ok(()),
            };
            match &entry.kind {
                Kind::HardLink { to } => {
                    let (from, first) = all.linked.place(&manifest.entries[*to as usize].path)?;
                    all.disk.link(&from, &first, &dir, &name)
                }
                Kind::Symlink { target } => all.disk.symlink(&dir, &name, target),
                _ => Ok(()),
            }
        })?;
        for entry in manifest.entries.iter().rev() {
            let Some(mode) = entry.kind.mode() else { continue };
            let set = self.tree.place(&entry.path).and_then(|(dir, name)| self.disk.set_mode(&dir, &name, mode));
            set.map_err(|error| failed(entry, error))?;
        }
        Ok(())
    }

    fn each(&mut self, mut make: impl FnMut(&mut Self, &Entry) -> io::Result<()>) -> Result<(), TreesError> {
        let manifest = self.manifest;
        manifest.entries.iter().try_for_each(|entry| make(self, entry).map_err(|error| failed(entry, error)))
    }
}

fn failed(entry: &Entry, source: io::Error) -> TreesError {
    let path = if entry.path.is_empty() { "the new directory".to_owned() } else { words::name(&entry.path) };
    TreesError::Disk { path, source }
}
