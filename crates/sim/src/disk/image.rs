//! Inodes and names of one pretend file system, as programs see them and as the platter holds them.
//!
//! Every change of names is remembered until a sync of its directory covers it. A crash keeps or forgets each such change
//! on its own, a rename as a whole; a change is never kept when an earlier one of the same name was forgotten.

use super::pages::{FileBytes, PAGE, Tear};
use crate::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use store::disk::Name;

pub(crate) type Ino = u64;

/// The root directory's inode.
pub(crate) const ROOT: Ino = 1;

/// What is said of an inode besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attr {
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    File(FileBytes),
    Dir { seen: BTreeMap<Name, Ino>, kept: BTreeMap<Name, Ino> },
    Symlink(Vec<u8>),
}

#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub(crate) node: Node,
    pub(crate) attr: Attr,
    kept_attr: Attr,
    /// How many names it has, as programs see it.
    pub(crate) links: u64,
    /// When it was last changed: the number of the change.
    pub(crate) changed: u64,
}

/// One change of names that no sync has covered: `(directory, name, what stands there afterwards)`.
#[derive(Debug, Clone)]
struct Change {
    entries: Vec<(Ino, Name, Option<Ino>)>,
    /// The directory whose sync covers it.
    covered_by: Ino,
}

impl Change {
    fn touches(&self, other: &Self) -> bool {
        self.entries.iter().any(|(dir, name, _)| other.entries.iter().any(|(d, n, _)| d == dir && n == name))
    }
}

/// What a crash did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Files of which some unsynced sectors survived and some did not.
    pub(crate) torn: u32,
    /// Changes of names that were forgotten.
    pub(crate) forgotten: u32,
}

/// A whole pretend file system.
#[derive(Debug)]
pub(crate) struct Image {
    inodes: BTreeMap<Ino, Inode>,
    next: Ino,
    pending: Vec<Change>,
    dirty: BTreeSet<Ino>,
    changes: u64,
    /// Bytes of data pages of all files that have a name.
    pub(crate) used: u64,
    pub(crate) capacity: u64,
}

pub(crate) type Result<T> = io::Result<T>;

pub(crate) fn fail<T>(kind: io::ErrorKind) -> Result<T> {
    Err(kind.into())
}

impl Image {
    pub(crate) fn new(capacity: u64) -> Self {
        let attr = Attr { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0) };
        let node = Node::Dir { seen: BTreeMap::new(), kept: BTreeMap::new() };
        let root = Inode { node, attr, kept_attr: attr, links: 1, changed: 0 };
        let inodes = BTreeMap::from([(ROOT, root)]);
        Self { inodes, next: ROOT + 1, pending: Vec::new(), dirty: BTreeSet::new(), changes: 0, used: 0, capacity }
    }

    pub(crate) fn inode(&self, ino: Ino) -> Result<&Inode> {
        self.inodes.get(&ino).ok_or(io::ErrorKind::NotFound.into())
    }

    fn inode_mut(&mut self, ino: Ino) -> Result<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(io::ErrorKind::NotFound.into())
    }

    pub(crate) fn entries(&self, dir: Ino) -> Result<&BTreeMap<Name, Ino>> {
        match &self.inode(dir)?.node {
            Node::Dir { seen, .. } => Ok(seen),
            _ => fail(io::ErrorKind::NotADirectory),
        }
    }

    pub(crate) fn lookup(&self, dir: Ino, name: &Name) -> Result<Ino> {
        self.entries(dir)?.get(name).copied().ok_or(io::ErrorKind::NotFound.into())
    }

    pub(crate) fn file(&self, ino: Ino) -> Result<&FileBytes> {
        match &self.inode(ino)?.node {
            Node::File(bytes) => Ok(bytes),
            Node::Dir { .. } => fail(io::ErrorKind::IsADirectory),
            Node::Symlink(_) => Err(io::Error::from_raw_os_error(ELOOP)),
        }
    }

    fn file_mut(&mut self, ino: Ino) -> Result<&mut FileBytes> {
        match &mut self.inode_mut(ino)?.node {
            Node::File(bytes) => Ok(bytes),
            Node::Dir { .. } => fail(io::ErrorKind::IsADirectory),
            Node::Symlink(_) => Err(io::Error::from_raw_os_error(ELOOP)),
        }
    }

    /// Changes a file's bytes and accounts for it.
    fn change_file(&mut self, ino: Ino, change: impl FnOnce(&mut FileBytes)) -> Result<()> {
        let file = self.file_mut(ino)?;
        let before = file.pages();
        change(file);
        let after = file.pages();
        self.account(ino, before, after);
        self.dirty.insert(ino);
        self.touch(ino);
        Ok(())
    }

    fn account(&mut self, ino: Ino, before: u64, after: u64) {
        if self.inodes.get(&ino).is_some_and(|inode| inode.links > 0) {
            self.used = (self.used + after * PAGE).saturating_sub(before * PAGE);
        }
    }

    fn touch(&mut self, ino: Ino) {
        self.changes += 1;
        let changes = self.changes;
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.changed = changes;
        }
    }

    pub(crate) fn write(&mut self, ino: Ino, bytes: &[u8], offset: u64) -> Result<()> {
        let more = self.file(ino)?.new_pages(offset, bytes.len() as u64) * PAGE;
        if more > 0 && self.used + more > self.capacity {
            return fail(io::ErrorKind::StorageFull);
        }
        self.change_file(ino, |file| file.write(bytes, offset))
    }

    pub(crate) fn set_len(&mut self, ino: Ino, len: u64) -> Result<()> {
        self.change_file(ino, |file| file.set_len(len))
    }

    pub(crate) fn write_back(&mut self, ino: Ino, offset: u64, dice: &mut Dice) {
        if let Ok(file) = self.file_mut(ino) {
            file.write_back(offset / PAGE, dice);
        }
    }

    /// Shares whole pages, or a file's end.
    pub(crate) fn share(&mut self, from: Ino, from_offset: u64, to: Ino, to_offset: u64, len: u64) -> Result<()> {
        let source = self.file(from)?.clone();
        let whole = len.is_multiple_of(PAGE) || from_offset + len == source.len();
        if !(from_offset.is_multiple_of(PAGE) && to_offset.is_multiple_of(PAGE) && whole)
            || from_offset + len > source.len()
        {
            return fail(io::ErrorKind::InvalidInput);
        }
        if self.used + len.next_multiple_of(PAGE) > self.capacity {
            return fail(io::ErrorKind::StorageFull);
        }
        self.change_file(to, |file| file.share(&source, from_offset, to_offset, len))
    }

    pub(crate) fn sync(&mut self, ino: Ino) -> Result<()> {
        self.dirty.remove(&ino);
        let inode = self.inode_mut(ino)?;
        inode.kept_attr = inode.attr;
        if let Node::File(bytes) = &mut inode.node {
            bytes.sync();
        }
        Ok(())
    }

    pub(crate) fn fail_sync(&mut self, ino: Ino, dice: &mut Dice) {
        if let Ok(file) = self.file_mut(ino) {
            file.fail_sync(dice);
        }
    }

    pub(crate) fn sync_dir(&mut self, dir: Ino) -> Result<()> {
        self.sync(dir)?;
        let mut durable = vec![false; self.pending.len()];
        for at in (0..self.pending.len()).rev() {
            let covered = self.pending[at].covered_by == dir;
            let needed = (at + 1..self.pending.len())
                .any(|later| durable[later] && self.pending[later].touches(&self.pending[at]));
            durable[at] = covered || needed;
        }
        let pending = std::mem::take(&mut self.pending);
        for (change, durable) in pending.into_iter().zip(durable) {
            if durable { self.keep(change) } else { self.pending.push(change) }
        }
        Ok(())
    }

    pub(crate) fn sync_all(&mut self) -> Result<()> {
        for ino in std::mem::take(&mut self.dirty) {
            self.sync(ino)?;
        }
        std::mem::take(&mut self.pending).into_iter().for_each(|change| self.keep(change));
        Ok(())
    }

    fn keep(&mut self, change: Change) {
        for (dir, name, ino) in change.entries {
            if let Some(Inode { node: Node::Dir { kept, .. }, .. }) = self.inodes.get_mut(&dir) {
                match ino {
                    Some(ino) => kept.insert(name, ino),
                    None => kept.remove(&name),
                };
            }
        }
    }

    /// Makes a new inode under a name that is free.
    pub(crate) fn make(&mut self, dir: Ino, name: &Name, mode: u16, node: Node) -> Result<Ino> {
        if self.entries(dir)?.contains_key(name) {
            return fail(io::ErrorKind::AlreadyExists);
        }
        if self.used >= self.capacity {
            return fail(io::ErrorKind::StorageFull);
        }
        let ino = self.next;
        self.next += 1;
        let attr = Attr { mode, uid: 0, gid: 0, mtime: (1_700_000_000, 0) };
        self.inodes.insert(ino, Inode { node, attr, kept_attr: attr, links: 0, changed: 0 });
        self.touch(ino);
        self.apply(Change { entries: vec![(dir, name.clone(), Some(ino))], covered_by: dir })?;
        Ok(ino)
    }

    pub(crate) fn link(&mut self, from: Ino, name: &Name, to: Ino, new: &Name) -> Result<()> {
        let ino = self.lookup(from, name)?;
        self.file(ino)?;
        if self.entries(to)?.contains_key(new) {
            return fail(io::ErrorKind::AlreadyExists);
        }
        self.apply(Change { entries: vec![(to, new.clone(), Some(ino))], covered_by: to })
    }

    pub(crate) fn rename(&mut self, from: Ino, name: &Name, to: Ino, new: &Name) -> Result<()> {
        let ino = self.lookup(from, name)?;
        let standing = self.entries(to)?.get(new).copied();
        if standing == Some(ino) {
            return Ok(());
        }
        if let Some(standing) = standing {
            self.may_replace(ino, standing)?;
        }
        let entries = vec![(from, name.clone(), None), (to, new.clone(), Some(ino))];
        self.apply(Change { entries, covered_by: to })
    }

    pub(crate) fn exchange(&mut self, from: Ino, name: &Name, to: Ino, new: &Name) -> Result<()> {
        let (one, other) = (self.lookup(from, name)?, self.lookup(to, new)?);
        let entries = vec![(from, name.clone(), Some(other)), (to, new.clone(), Some(one))];
        self.apply(Change { entries, covered_by: to })
    }

    fn may_replace(&self, moved: Ino, standing: Ino) -> Result<()> {
        let is_dir = |ino| Ok::<_, io::Error>(matches!(self.inode(ino)?.node, Node::Dir { .. }));
        match (is_dir(moved)?, is_dir(standing)?) {
            (false, false) => Ok(()),
            (false, true) => fail(io::ErrorKind::IsADirectory),
            (true, false) => fail(io::ErrorKind::NotADirectory),
            (true, true) if self.entries(standing)?.is_empty() => Ok(()),
            (true, true) => fail(io::ErrorKind::DirectoryNotEmpty),
        }
    }

    pub(crate) fn remove(&mut self, dir: Ino, name: &Name, directory: bool) -> Result<()> {
        let ino = self.lookup(dir, name)?;
        match (&self.inode(ino)?.node, directory) {
            (Node::Dir { seen, .. }, true) if !seen.is_empty() => return fail(io::ErrorKind::DirectoryNotEmpty),
            (Node::Dir { .. }, false) => return fail(io::ErrorKind::IsADirectory),
            (Node::Dir { .. }, true) | (_, false) => (),
            (_, true) => return fail(io::ErrorKind::NotADirectory),
        }
        self.apply(Change { entries: vec![(dir, name.clone(), None)], covered_by: dir })
    }

    /// Makes a change seen, and remembers it until it is covered.
    fn apply(&mut self, change: Change) -> Result<()> {
        for (dir, name, ino) in &change.entries {
            if let Some(ino) = ino {
                self.relink(*ino, true);
            }
            let Node::Dir { seen, .. } = &mut self.inode_mut(*dir)?.node else {
                return fail(io::ErrorKind::NotADirectory);
            };
            let before = match ino {
                Some(ino) => seen.insert(name.clone(), *ino),
                None => seen.remove(name),
            };
            if let Some(before) = before {
                self.relink(before, false);
            }
            self.touch(*dir);
        }
        self.pending.push(change);
        Ok(())
    }

    /// Counts a name more or less, and what the file takes when it is the first or last.
    fn relink(&mut self, ino: Ino, more: bool) {
        self.touch(ino);
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        let taken = if let Node::File(bytes) = &inode.node { bytes.pages() * PAGE } else { 0 };
        inode.links = if more { inode.links + 1 } else { inode.links - 1 };
        match (more, inode.links) {
            (true, 1) => self.used += taken,
            (false, 0) => self.used = self.used.saturating_sub(taken),
            _ => (),
        }
    }

    pub(crate) fn set_attr(&mut self, dir: Ino, name: &Name, change: impl FnOnce(&mut Attr)) -> Result<()> {
        let ino = self.lookup(dir, name)?;
        self.set_attr_of(ino, change)
    }

    pub(crate) fn set_attr_of(&mut self, ino: Ino, change: impl FnOnce(&mut Attr)) -> Result<()> {
        change(&mut self.inode_mut(ino)?.attr);
        self.dirty.insert(ino);
        self.touch(ino);
        Ok(())
    }

    /// The power went. Afterwards, what is seen is what the platter holds.
    pub(crate) fn crash(&mut self, dice: &mut Dice) -> Loss {
        let keep = dice.below(3);
        let mut loss = Loss { torn: 0, forgotten: self.crash_names(dice, keep) };
        for inode in self.inodes.values_mut() {
            if let Node::File(bytes) = &mut inode.node
                && bytes.is_dirty()
            {
                loss.torn += u32::from(bytes.crash(dice, keep) == Tear::Torn);
            }
            inode.attr = inode.kept_attr;
        }
        self.dirty.clear();
        self.forget_unreachable();
        loss
    }

    fn crash_names(&mut self, dice: &mut Dice, keep: u64) -> u32 {
        let mut forgotten: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            let follows_a_forgotten_one = forgotten.iter().any(|earlier| earlier.touches(&change));
            match follows_a_forgotten_one || dice.below(2) >= keep {
                true => forgotten.push(change),
                false => self.keep(change),
            }
        }
        for inode in self.inodes.values_mut() {
            if let Node::Dir { seen, kept } = &mut inode.node {
                seen.clone_from(kept);
            }
        }
        forgotten.len() as u32
    }

    /// Counts names and bytes anew from the root, and drops what has no name.
    fn forget_unreachable(&mut self) {
        let mut names: BTreeMap<Ino, u64> = BTreeMap::from([(ROOT, 1)]);
        let mut left = vec![ROOT];
        while let Some(dir) = left.pop() {
            for ino in self.entries(dir).into_iter().flat_map(BTreeMap::values) {
                let count = names.entry(*ino).or_default();
                *count += 1;
                if *count == 1 {
                    left.push(*ino);
                }
            }
        }
        self.inodes.retain(|ino, inode| {
            inode.links = names.get(ino).copied().unwrap_or(0);
            inode.links > 0
        });
        self.used =
            self.inodes.values().map(|inode| if let Node::File(f) = &inode.node { f.pages() * PAGE } else { 0 }).sum();
    }

    /// Visits everything below a directory, names rising, with paths relative to it. `visit` may end it.
    pub(crate) fn walk<B>(
        &self,
        dir: Ino,
        path: &mut Vec<u8>,
        visit: &mut impl FnMut(&[u8], Ino, &Inode) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Ok(entries) = self.entries(dir) else { return ControlFlow::Continue(()) };
        for (name, ino) in entries {
            let len = path.len();
            if len > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let inode = &self.inodes[ino];
            visit(path, *ino, inode)?;
            if let Node::Dir { .. } = inode.node {
                self.walk(*ino, path, visit)?;
            }
            path.truncate(len);
        }
        ControlFlow::Continue(())
    }

    /// Flips a bit at rest in a file; false when there is nothing to flip.
    pub(crate) fn rot(&mut self, ino: Ino, dice: &mut Dice) -> bool {
        self.file_mut(ino).is_ok_and(|file| file.rot(dice))
    }
}

/// What Linux says when a symlink stands where none is followed.
pub(crate) const ELOOP: i32 = 40;
