//! A pretend file system with the crash semantics that [`store::disk`] writes down, and with bad days.
//!
//! A [`SimDisk`] is one *incarnation*: the file system as one start of one process sees it. When the power goes
//! ([`Platter::power_off`], or by itself at a drawn call), every later call of that incarnation fails; [`Platter::boot`]
//! gives the next one, on which only what was synced is certain. Advisory locks die with their incarnation.
//!
//! A [`Platter`] is the world's side: it survives crashes, draws what they destroy, runs full, rots, fails syncs, counts
//! what calls cost, and lets checkers look without being counted.

mod image;
mod pages;

use crate::dice::Dice;
use image::{Attr, ELOOP, Image, Ino, Node, ROOT, fail};
use std::collections::BTreeMap;
use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::disk::{Disk, FileKind, Meta, Name, Space};

/// The world's side of a pretend disk.
#[derive(Debug, Clone)]
pub struct Platter(Arc<Mutex<State>>);

/// One incarnation's side: the [`Disk`] that a store is given.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    incarnation: u64,
}

/// An open directory.
#[derive(Debug, Clone, Copy)]
pub struct SimDir {
    ino: Ino,
    incarnation: u64,
}

/// An open file.
#[derive(Debug)]
pub struct SimFile {
    ino: Ino,
    incarnation: u64,
    handle: u64,
    state: Arc<Mutex<State>>,
}

/// What calls cost since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Calls of any sort.
    pub calls: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Syncs of files, directories and file systems.
    pub syncs: u64,
}

/// How often a bad day really came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Struck {
    /// Crashes in the middle of a call.
    pub crashes_in_calls: u64,
    /// Files of which a crash kept some unsynced sectors and lost others.
    pub torn_files: u64,
    /// Changes of names that crashes forgot.
    pub forgotten_names: u64,
    /// Calls that found the disk full.
    pub full: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Bits that were flipped at rest.
    pub rotten: u64,
}

#[derive(Debug)]
struct State {
    image: Image,
    dice: Dice,
    incarnation: u64,
    on: bool,
    calls: u64,
    crash_at: Option<u64>,
    syncs_to_fail: u32,
    reflinks: bool,
    locks: BTreeMap<Ino, u64>,
    handles: u64,
    cost: Cost,
    struck: Struck,
}

/// What stands at a path, as a checker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A directory and its permission bits.
    Directory(u16),
    /// A file: permission bits, bytes, which inode.
    File(u16, Vec<u8>, u64),
    /// A symlink's target.
    Symlink(Vec<u8>),
}

impl Platter {
    /// An empty disk of this many bytes. `reflinks` says whether files can share bytes.
    pub fn new(seed: u64, capacity: u64, reflinks: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            image: Image::new(capacity),
            dice: Dice::new(seed),
            incarnation: 0,
            on: false,
            calls: 0,
            crash_at: None,
            syncs_to_fail: 0,
            reflinks,
            locks: BTreeMap::new(),
            handles: 0,
            cost: Cost::default(),
            struck: Struck::default(),
        })))
    }

    /// Starts the next incarnation; the one before, if it is still on, loses power first.
    pub fn boot(&self) -> (SimDisk, SimDir) {
        self.power_off();
        let mut state = self.state();
        state.incarnation += 1;
        (state.on, state.crash_at, state.syncs_to_fail) = (true, None, 0);
        let incarnation = state.incarnation;
        (SimDisk { state: self.0.clone(), incarnation }, SimDir { ino: ROOT, incarnation })
    }

    /// The power goes: what was not synced is kept or lost as drawn.
    pub fn power_off(&self) {
        self.state().lose_power();
    }

    /// Whether an incarnation is running.
    pub fn is_on(&self) -> bool {
        self.state().on
    }

    /// The power will go in the n-th call from now (1: in the next one).
    pub fn crash_after(&self, calls: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.calls + calls.max(1));
    }

    /// The next `syncs` syncs of files fail.
    pub fn fail_syncs(&self, syncs: u32) {
        self.state().syncs_to_fail = syncs;
    }

    /// How many bytes may still be written.
    pub fn free(&self) -> u64 {
        let state = self.state();
        state.image.capacity.saturating_sub(state.image.used)
    }

    /// Makes the disk so large that this many bytes may still be written.
    pub fn set_free(&self, bytes: u64) {
        let mut state = self.state();
        state.image.capacity = state.image.used + bytes;
    }

    /// Flips one bit at rest in one of the files whose path (from the root) `choose` accepts; which path it was.
    pub fn rot(&self, choose: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let mut state = self.state();
        let mut files: Vec<(Vec<u8>, Ino)> = Vec::new();
        let (ControlFlow::Continue(()) | ControlFlow::Break(())) =
            state.image.walk(ROOT, &mut Vec::new(), &mut |path, ino, inode| {
                if matches!(inode.node, Node::File(_)) && choose(path) {
                    files.push((path.to_vec(), ino));
                }
                ControlFlow::Continue(())
            });
        if files.is_empty() {
            return None;
        }
        let State { image, dice, struck, .. } = &mut *state;
        let (path, ino) = dice.pick(&files).clone();
        image.rot(ino, dice).then(|| {
            struck.rotten += 1;
            path
        })
    }

    /// What the calls cost since this was last asked.
    pub fn take_cost(&self) -> Cost {
        std::mem::take(&mut self.state().cost)
    }

    /// How often bad days came so far.
    pub fn struck(&self) -> Struck {
        self.state().struck
    }

    /// What stands at an absolute path; symlinks are not followed.
    pub fn look(&self, path: &[u8]) -> Option<Seen> {
        let state = self.state();
        let ino = state.image.resolve(path)?;
        state.image.seen(ino)
    }

    /// Everything below the directory at an absolute path, by relative path, names rising.
    pub fn tree(&self, path: &[u8]) -> Option<Vec<(Vec<u8>, Seen)>> {
        let state = self.state();
        let root = state.image.resolve(path)?;
        let mut found = Vec::new();
        let (ControlFlow::Continue(()) | ControlFlow::Break(())) =
            state.image.walk(root, &mut Vec::new(), &mut |path, ino, _| {
                found.extend(state.image.seen(ino).map(|seen| (path.to_vec(), seen)));
                ControlFlow::Continue(())
            });
        Some(found)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0)
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Image {
    fn resolve(&self, path: &[u8]) -> Option<Ino> {
        path.split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .try_fold(ROOT, |dir, name| self.lookup(dir, &Name::new(name).ok()?).ok())
    }

    fn seen(&self, ino: Ino) -> Option<Seen> {
        let inode = self.inode(ino).ok()?;
        Some(match &inode.node {
            Node::Dir { .. } => Seen::Directory(inode.attr.mode),
            Node::File(bytes) => Seen::File(inode.attr.mode, bytes.to_vec(), ino),
            Node::Symlink(target) => Seen::Symlink(target.clone()),
        })
    }

    fn meta(&self, ino: Ino) -> io::Result<Meta> {
        let inode = self.inode(ino)?;
        let (kind, len) = match &inode.node {
            Node::File(bytes) => (FileKind::File, bytes.len()),
            Node::Dir { .. } => (FileKind::Directory, 4096),
            Node::Symlink(target) => (FileKind::Symlink, target.len() as u64),
        };
        let Attr { mode, uid, gid, mtime } = inode.attr;
        let ctime = (1_700_000_000 + (inode.changed / 1_000_000) as i64, (inode.changed % 1_000_000) as u32 * 1000);
        let (mtime, mtime_nanos) = mtime;
        Ok(Meta { kind, mode, len, uid, gid, mtime, mtime_nanos, ctime, inode: (1, ino), links: inode.links })
    }
}

/// The error of every call of an incarnation that lost power.
fn no_power() -> io::Error {
    io::Error::other("the simulated power is off")
}

impl State {
    fn lose_power(&mut self) {
        if !self.on {
            return;
        }
        self.on = false;
        self.crash_at = None;
        self.syncs_to_fail = 0;
        self.locks.clear();
        let loss = self.image.crash(&mut self.dice);
        self.struck.torn_files += u64::from(loss.torn);
        self.struck.forgotten_names += u64::from(loss.forgotten);
    }

    /// Counts a call, and lets the power go in it when its time has come: before or after it took effect.
    fn call<T>(&mut self, incarnation: u64, call: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        if !self.on || incarnation != self.incarnation {
            return Err(no_power());
        }
        self.calls += 1;
        self.cost.calls += 1;
        if self.crash_at == Some(self.calls) {
            if self.dice.chance(1, 2) {
                drop(call(self));
            }
            self.struck.crashes_in_calls += 1;
            self.lose_power();
            return Err(no_power());
        }
        let result = call(self);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) {
            self.struck.full += 1;
        }
        result
    }

    fn sync_file(&mut self, ino: Ino) -> io::Result<()> {
        self.cost.syncs += 1;
        if self.syncs_to_fail > 0 {
            self.syncs_to_fail -= 1;
            self.struck.failed_syncs += 1;
            self.image.fail_sync(ino, &mut self.dice);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.image.sync(ino)
    }

    fn write(&mut self, ino: Ino, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.cost.bytes += bytes.len() as u64;
        if self.dice.chance(1, 8) {
            self.image.write_back(ino, offset, &mut self.dice);
        }
        self.image.write(ino, bytes, offset)
    }

    fn lock(&mut self, ino: Ino, handle: u64) -> io::Result<()> {
        match self.locks.get(&ino) {
            Some(holder) if *holder != handle => fail(io::ErrorKind::WouldBlock),
            _ => {
                self.locks.insert(ino, handle);
                Ok(())
            }
        }
    }
}

const EIO: i32 = 5;

impl SimDisk {
    fn at<T>(&self, at: &SimDir, call: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        locked(&self.state).call(at.incarnation.min(self.incarnation), call)
    }

    fn on<T>(&self, file: &SimFile, call: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        locked(&self.state).call(file.incarnation.min(self.incarnation), call)
    }

    fn handle(&self, ino: Ino) -> SimFile {
        let mut state = locked(&self.state);
        state.handles += 1;
        SimFile { ino, incarnation: self.incarnation, handle: state.handles, state: self.state.clone() }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        locked(&self.state).locks.retain(|_, holder| *holder != self.handle);
    }
}

impl Disk for SimDisk {
    type Dir = SimDir;
    type File = SimFile;

    fn open_dir(&self, at: &SimDir, name: &Name) -> io::Result<SimDir> {
        let ino = self.at(at, |state| {
            let ino = state.image.lookup(at.ino, name)?;
            match state.image.inode(ino)?.node {
                Node::Dir { .. } => Ok(ino),
                Node::File(_) => fail(io::ErrorKind::NotADirectory),
                Node::Symlink(_) => Err(io::Error::from_raw_os_error(ELOOP)),
            }
        })?;
        Ok(SimDir { ino, incarnation: self.incarnation })
    }

    fn create_dir(&self, at: &SimDir, name: &Name, mode: u16) -> io::Result<()> {
        let node = Node::Dir { seen: BTreeMap::new(), kept: BTreeMap::new() };
        self.at(at, |state| state.image.make(at.ino, name, mode, node).map(drop))
    }

    fn list(&self, dir: &SimDir) -> io::Result<Vec<Name>> {
        self.at(dir, |state| Ok(state.image.entries(dir.ino)?.keys().cloned().collect()))
    }

    fn metadata(&self, at: &SimDir, name: &Name) -> io::Result<Meta> {
        self.at(at, |state| state.image.meta(state.image.lookup(at.ino, name)?))
    }

    fn dir_metadata(&self, dir: &SimDir) -> io::Result<Meta> {
        self.at(dir, |state| state.image.meta(dir.ino))
    }

    fn file_metadata(&self, file: &SimFile) -> io::Result<Meta> {
        self.on(file, |state| state.image.meta(file.ino))
    }

    fn sync_dir(&self, dir: &SimDir) -> io::Result<()> {
        self.at(dir, |state| {
            state.cost.syncs += 1;
            state.image.sync_dir(dir.ino)
        })
    }

    fn sync_all(&self, dir: &SimDir) -> io::Result<()> {
        self.at(dir, |state| {
            state.cost.syncs += 1;
            state.image.sync_all()
        })
    }

    fn space(&self, dir: &SimDir) -> io::Result<Space> {
        let bytes = |state: &mut State| state.image.capacity.saturating_sub(state.image.used);
        self.at(dir, |state| Ok(Space { bytes: bytes(state), inodes: 1 << 20 }))
    }

    fn open(&self, at: &SimDir, name: &Name) -> io::Result<SimFile> {
        let ino = self.at(at, |state| {
            let ino = state.image.lookup(at.ino, name)?;
            state.image.file(ino).map(|_| ino)
        })?;
        Ok(self.handle(ino))
    }

    fn open_write(&self, at: &SimDir, name: &Name) -> io::Result<SimFile> {
        self.open(at, name)
    }

    fn create(&self, at: &SimDir, name: &Name, mode: u16) -> io::Result<SimFile> {
        let ino = self.at(at, |state| state.image.make(at.ino, name, mode, Node::File(Default::default())))?;
        Ok(self.handle(ino))
    }

    fn read_at(&self, file: &SimFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.on(file, |state| {
            let read = state.image.file(file.ino)?.read(buffer, offset);
            state.cost.bytes += read as u64;
            Ok(read)
        })
    }

    fn write_at(&self, file: &SimFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.on(file, |state| state.write(file.ino, bytes, offset))
    }

    fn set_len(&self, file: &SimFile, len: u64) -> io::Result<()> {
        self.on(file, |state| state.image.set_len(file.ino, len))
    }

    fn sync(&self, file: &SimFile) -> io::Result<()> {
        self.on(file, |state| state.sync_file(file.ino))
    }

    fn next_data(&self, file: &SimFile, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.on(file, |state| Ok(state.image.file(file.ino)?.next_data(offset)))
    }

    fn share_range(&self, from: &SimFile, from_offset: u64, to: &SimFile, to_offset: u64, len: u64) -> io::Result<()> {
        self.on(from, |state| match state.reflinks {
            true => state.image.share(from.ino, from_offset, to.ino, to_offset, len),
            false => fail(io::ErrorKind::Unsupported),
        })
    }

    fn set_owner_of(&self, file: &SimFile, uid: u32, gid: u32) -> io::Result<()> {
        self.on(file, |state| state.image.set_attr_of(file.ino, |attr| (attr.uid, attr.gid) = (uid, gid)))
    }

    fn set_mtime_of(&self, file: &SimFile, seconds: i64, nanos: u32) -> io::Result<()> {
        self.on(file, |state| state.image.set_attr_of(file.ino, |attr| attr.mtime = (seconds, nanos)))
    }

    fn attribute_names_of(&self, file: &SimFile) -> io::Result<Vec<Vec<u8>>> {
        self.on(file, |_| Ok(Vec::new()))
    }

    fn lock(&self, file: &SimFile) -> io::Result<()> {
        self.on(file, |state| state.lock(file.ino, file.handle))
    }

    fn rename(&self, from: &SimDir, name: &Name, to: &SimDir, new: &Name) -> io::Result<()> {
        self.at(from, |state| state.image.rename(from.ino, name, to.ino, new))
    }

    fn exchange(&self, from: &SimDir, name: &Name, to: &SimDir, new: &Name) -> io::Result<()> {
        self.at(from, |state| state.image.exchange(from.ino, name, to.ino, new))
    }

    fn link(&self, from: &SimDir, name: &Name, to: &SimDir, new: &Name) -> io::Result<()> {
        self.at(from, |state| state.image.link(from.ino, name, to.ino, new))
    }

    fn symlink(&self, at: &SimDir, name: &Name, target: &[u8]) -> io::Result<()> {
        self.at(at, |state| state.image.make(at.ino, name, 0o777, Node::Symlink(target.to_vec())).map(drop))
    }

    fn read_link(&self, at: &SimDir, name: &Name) -> io::Result<Vec<u8>> {
        self.at(at, |state| match &state.image.inode(state.image.lookup(at.ino, name)?)?.node {
            Node::Symlink(target) => Ok(target.clone()),
            _ => fail(io::ErrorKind::InvalidInput),
        })
    }

    fn remove_file(&self, at: &SimDir, name: &Name) -> io::Result<()> {
        self.at(at, |state| state.image.remove(at.ino, name, false))
    }

    fn remove_dir(&self, at: &SimDir, name: &Name) -> io::Result<()> {
        self.at(at, |state| state.image.remove(at.ino, name, true))
    }

    fn set_mode(&self, at: &SimDir, name: &Name, mode: u16) -> io::Result<()> {
        self.at(at, |state| state.image.set_attr(at.ino, name, |attr| attr.mode = mode))
    }

    fn set_owner(&self, at: &SimDir, name: &Name, uid: u32, gid: u32) -> io::Result<()> {
        self.at(at, |state| state.image.set_attr(at.ino, name, |attr| (attr.uid, attr.gid) = (uid, gid)))
    }

    fn set_mtime(&self, at: &SimDir, name: &Name, seconds: i64, nanos: u32) -> io::Result<()> {
        self.at(at, |state| state.image.set_attr(at.ino, name, |attr| attr.mtime = (seconds, nanos)))
    }

    fn attribute_names(&self, at: &SimDir, name: &Name) -> io::Result<Vec<Vec<u8>>> {
        self.at(at, |state| state.image.lookup(at.ino, name).map(|_| Vec::new()))
    }

    fn attribute(&self, at: &SimDir, name: &Name, _: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.at(at, |state| state.image.lookup(at.ino, name).map(|_| None))
    }

    fn set_attribute(&self, at: &SimDir, _: &Name, _: &[u8], _: &[u8]) -> io::Result<()> {
        self.at(at, |_| fail(io::ErrorKind::Unsupported))
    }
}

#[cfg(test)]
mod tests;
