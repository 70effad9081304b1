//! Walking a tree that is to be published, in path order, through handles, and once more to see that it stayed.

use super::ImportError;
use super::cutting::{Cutting, Reading};
use super::judge::{self, shown};
use super::source::Read;
use crate::disk::{Disk, FileKind, Meta, Name};
use crate::tree::Tree;
use content::attributes::{Attribute, Attributes};
use content::manifest::MAX_DEPTH;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// One entry as it was found, in path order.
struct Seen {
    path: Vec<u8>,
    meta: Meta,
    /// How many names a directory has.
    names: u32,
}

/// A tree being read.
pub(super) struct Walk<'a, D: Disk> {
    disk: Arc<D>,
    tree: Tree<D>,
    name: Name,
    progress: &'a mut dyn FnMut(u64),
    read: u64,
    seen: Vec<Seen>,
    refused: Vec<String>,
    noted: judge::Attributes,
    cutting: Cutting,
    /// The first entry of each file that has more than one name.
    linked: BTreeMap<(u64, u64), u32>,
}

impl<'a, D: Disk> Walk<'a, D> {
    pub(super) fn new(disk: Arc<D>, parent: D::Dir, name: Name, progress: &'a mut dyn FnMut(u64)) -> Self {
        let tree = Tree::new(disk.clone(), parent, name.clone());
        Self {
            disk,
            tree,
            name,
            progress,
            read: 0,
            seen: Vec::new(),
            refused: Vec::new(),
            noted: judge::Attributes::default(),
            cutting: Cutting::new(),
            linked: BTreeMap::new(),
        }
    }

    /// Reads everything. What may not be published is collected, and nothing is read any more once there is such a thing.
    pub(super) fn read_tree(&mut self) -> Result<(), ImportError> {
        let mut left: Vec<Vec<u8>> = vec![Vec::new()];
        while let Some(path) = left.pop() {
            let children = self.enter(path)?;
            left.extend(children.into_iter().rev());
        }
        self.cutting.end_pack();
        match self.refused.is_empty() {
            true => Ok(()),
            false => Err(ImportError::Refused(std::mem::take(&mut self.refused))),
        }
    }

    /// Takes in one entry; returns the paths in it if it is a directory.
    fn enter(&mut self, path: Vec<u8>) -> Result<Vec<Vec<u8>>, ImportError> {
        let (dir, name) = self.tree.place(&path).map_err(failed(&path))?;
        let meta = self.disk.metadata(&dir, &name).map_err(vanished(&path))?;
        if !self.judge(&dir, &name, &path, &meta)? {
            return Ok(Vec::new());
        }
        let mut children = Vec::new();
        match meta.kind {
            FileKind::Directory => {
                self.cutting.builder.directory(&path, meta.mode);
                children = self.children(&path)?;
            }
            FileKind::Symlink => self.symlink(&dir, &name, &path)?,
            FileKind::File => self.file(&dir, &name, &path, &meta)?,
            FileKind::Other(_) => {}
        }
        self.seen.push(Seen { names: children.len() as u32, path, meta });
        Ok(children)
    }

    /// Whether an entry may be published.
    fn judge(&mut self, dir: &D::Dir, name: &Name, path: &[u8], meta: &Meta) -> Result<bool, ImportError> {
        if path.is_empty() && meta.kind == FileKind::Symlink {
            let target = self.disk.read_link(dir, name).map_err(failed(path))?;
            let (name, target) = (shown(self.name.as_bytes()), shown(&target));
            self.refused
                .push(format!("{name}: is a symbolic link to {target}; publish what it points to by its own name"));
            return Ok(false);
        }
        if let Some(why) = judge::refuse(path, meta) {
            self.refuse(path, &why);
            return Ok(false);
        }
        // A file's are asked for when it is open, which costs no second walk to it.
        if meta.kind != FileKind::File {
            let attributes = self.disk.attribute_names(dir, name).map_err(failed(path))?;
            self.judge_attributes(path, attributes);
        }
        Ok(true)
    }

    fn judge_attributes(&mut self, path: &[u8], attributes: Vec<Vec<u8>>) {
        for attribute in attributes {
            match judge::refuse_attribute(&attribute) {
                Some(why) => self.refuse(path, &why),
                None => self.noted.note(attribute, path),
            }
        }
    }

    fn refuse(&mut self, path: &[u8], why: &str) {
        self.refused.push(format!("{}: {why}", shown(path)));
    }

    /// A directory or file that we may not read is one more that is refused.
    fn readable<T>(&mut self, path: &[u8], result: io::Result<T>) -> Result<Option<T>, ImportError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.refuse(path, "cannot be read: permission denied");
                Ok(None)
            }
            Err(error) => Err(vanished(path)(error)),
        }
    }

    fn children(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, ImportError> {
        if path.split(|&byte| byte == b'/').count() > MAX_DEPTH {
            return Ok(Vec::new());
        }
        let listed = self.tree.directory(path).and_then(|dir| self.disk.list(&dir));
        let names = self.readable(path, listed)?.unwrap_or_default();
        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
        Ok(names.iter().map(|name| [path, slash, name.as_bytes()].concat()).collect())
    }

    fn symlink(&mut self, dir: &D::Dir, name: &Name, path: &[u8]) -> Result<(), ImportError> {
        let target = self.disk.read_link(dir, name).map_err(vanished(path))?;
        self.cutting.builder.symlink(path, &target);
        Ok(())
    }

    fn file(&mut self, dir: &D::Dir, name: &Name, path: &[u8], meta: &Meta) -> Result<(), ImportError> {
        if let Some(&first) = self.linked.get(&meta.inode).filter(|_| meta.links > 1) {
            self.cutting.builder.hard_link(path, first);
            return Ok(());
        }
        let opened = self.disk.open(dir, name);
        let Some(file) = self.readable(path, opened)? else { return Ok(()) };
        let attributes = self.disk.attribute_names_of(&file).map_err(failed(path))?;
        self.judge_attributes(path, attributes);
        let entry = self.cutting.builder.file(path, meta.mode);
        if meta.links > 1 {
            self.linked.insert(meta.inode, entry);
        }
        // With something refused already, the rest is only looked at, so that all of it can be named.
        if self.refused.is_empty() {
            self.bytes(&file, path, meta, entry)?;
        }
        Ok(())
    }

    fn bytes(&mut self, file: &D::File, path: &[u8], meta: &Meta, entry: u32) -> Result<(), ImportError> {
        let same = |found: io::Result<Meta>| match found {
            Ok(found) if unchanged(meta, &found) => Ok(()),
            Ok(_) => Err(ImportError::Changed(shown(path))),
            Err(error) => Err(failed(path)(error)),
        };
        let (read, told) = (&mut self.read, &mut *self.progress);
        let mut progress = |bytes| {
            *read += bytes;
            told(*read);
        };
        let reading = Reading { disk: &*self.disk, file, entry, len: meta.len, progress: &mut progress };
        self.cutting.file(path, reading).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ImportError::Changed(shown(path)),
            _ => failed(path)(error),
        })?;
        same(self.disk.file_metadata(file))
    }

    /// Looks at every entry once more: the tree must be what it was when its first byte was read.
    pub(super) fn look_again(&mut self) -> Result<(), ImportError> {
        for seen in &self.seen {
            let (dir, name) = self.tree.place(&seen.path).map_err(vanished(&seen.path))?;
            let meta = self.disk.metadata(&dir, &name).map_err(vanished(&seen.path))?;
            if !unchanged(&seen.meta, &meta) {
                return Err(ImportError::Changed(shown(&seen.path)));
            }
            if meta.kind == FileKind::Directory {
                let listed = self.tree.directory(&seen.path).and_then(|dir| self.disk.list(&dir));
                if listed.map_err(vanished(&seen.path))?.len() != seen.names as usize {
                    return Err(ImportError::Changed(shown(&seen.path)));
                }
            }
        }
        Ok(())
    }

    /// What was read, for serving it.
    pub(super) fn finish(self) -> Result<Read, ImportError> {
        let manifest = self.cutting.builder.finish();
        let manifest = manifest.map_err(|why| ImportError::Refused(vec![why.to_string()]))?;
        let attribute =
            |seen: &Seen| Attribute::nearest(seen.meta.mtime, seen.meta.mtime_nanos, seen.meta.uid, seen.meta.gid);
        let attributes = Attributes(self.seen.iter().map(attribute).collect());
        let paths = self.seen.into_iter().map(|seen| seen.path.into_boxed_slice()).collect();
        Ok(Read { manifest, attributes, spots: self.cutting.spots, paths, notes: self.noted.notes() })
    }
}

/// Whether two looks at a name saw the same, unchanged thing. Of a directory the names are compared besides.
fn unchanged(before: &Meta, now: &Meta) -> bool {
    let stamp = |meta: &Meta| (meta.kind, meta.inode, meta.mode, meta.ctime, (meta.mtime, meta.mtime_nanos));
    stamp(before) == stamp(now) && (before.kind == FileKind::Directory || before.len == now.len)
}

fn failed(path: &[u8]) -> impl FnOnce(io::Error) -> ImportError {
    let path = shown(path);
    move |source| ImportError::Disk { path, source }
}

/// What was there a moment ago and is not now has changed.
fn vanished(path: &[u8]) -> impl FnOnce(io::Error) -> ImportError {
    let path = shown(path);
    move |source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ImportError::Changed(path),
        _ => ImportError::Disk { path, source },
    }
}
