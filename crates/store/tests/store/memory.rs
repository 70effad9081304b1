//! A disk in memory that keeps the crash semantics of [`store::disk`] to the letter, counts its calls, and can be cut off,
//! fill up or fail at any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use store::disk::{Disk, FileKind, Lent, Meta, Name, Space};

/// How the unsynced is treated when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// All of it is forgotten.
    Forget,
    /// All of it is kept: what SIGKILL does.
    Keep,
    /// Each block of each file, and each change of a name, is kept or forgotten by a draw.
    Tear(u64),
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// This call, and all that follow, fail: the power is gone.
    Cut,
    /// This call, and all that write, fail until there is room again.
    Full,
    /// This sync fails, and what it should have made durable never will be.
    Sync,
    /// This call, and all that change something, fail: the disk is read-only.
    ReadOnly,
    /// This call fails with this number of the operating system, and no other does.
    Error(i32),
}

#[derive(Debug, Clone)]
enum Node {
    File { bytes: Vec<u8>, synced: Vec<u8>, sync_failed: bool },
    Directory { names: BTreeMap<Name, u64>, synced: BTreeMap<Name, u64> },
    Symlink(Vec<u8>),
    Other(&'static str),
}

#[derive(Debug, Clone)]
struct Inode {
    node: Node,
    mode: u16,
    owner: (u32, u32),
    mtime: (i64, u32),
    ctime: i64,
    links: u64,
    attributes: Vec<Vec<u8>>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    device: u64,
}

/// A change of names that no sync has covered: in each directory, what a name means afterwards.
#[derive(Debug, Clone)]
struct Change {
    parts: Vec<(u64, Name, Option<u64>)>,
}

#[derive(Debug, Clone)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    changes: Vec<Change>,
    next: u64,
    clock: i64,
    space: Space,
    locked: Option<u64>,
    calls: u64,
    syncs: u64,
    bad: Option<(u64, Bad)>,
    struck: bool,
    shares: bool,
    holes: bool,
    /// Whether upper and lower case are the same in names.
    folds: bool,
    /// Directories of another file system.
    apart: BTreeSet<u64>,
    interrupt: Interrupt,
    log: Vec<String>,
}

/// What somebody else does before a call.
#[derive(Default)]
struct Interrupt(Option<(u64, Box<dyn FnOnce() + Send>)>);

impl Clone for Interrupt {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Interrupt").field(&self.0.as_ref().map(|(at, _)| at)).finish()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Clone)]
pub(crate) struct Dir(u64);

#[derive(Debug)]
pub(crate) struct File {
    inode: u64,
    handle: u64,
    state: Arc<Mutex<State>>,
}

impl Drop for File {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.locked == Some(self.handle) {
            state.locked = None;
        }
    }
}

pub(crate) fn name(text: impl AsRef<[u8]>) -> Name {
    Name::new(text).expect("a test's name")
}

/// What a read-only disk says, and the calls to which it says so besides those that write.
const EROFS: i32 = 30;
const CHANGES: [&str; 2] = ["remove_", "set_"];

fn fail<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

impl Memory {
    pub(crate) fn new() -> Self {
        let root = Node::Directory { names: BTreeMap::new(), synced: BTreeMap::new() };
        let state = State {
            inodes: BTreeMap::new(),
            changes: Vec::new(),
            next: 1,
            clock: 1,
            space: Space { bytes: 1 << 40, inodes: 1 << 30 },
            locked: None,
            calls: 0,
            syncs: 0,
            bad: None,
            struck: false,
            shares: true,
            holes: true,
            folds: false,
            apart: BTreeSet::new(),
            interrupt: Interrupt::default(),
            log: Vec::new(),
        };
        let memory = Self(Arc::new(Mutex::new(state)));
        memory.state().add(root, 0o755);
        memory
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn root(&self) -> Dir {
        Dir(1)
    }

    /// The directory at a path, made if it is not there, durably; no call of the disk is counted for it.
    pub(crate) fn dir(&self, path: &str) -> Dir {
        let mut state = self.state();
        let names = path.split('/').filter(|part| !part.is_empty()).map(name);
        Dir(names.fold(1, |at, part| match state.look(at, &part) {
            Ok(inode) => inode,
            Err(_) => {
                let inode = state.add(Node::Directory { names: BTreeMap::new(), synced: BTreeMap::new() }, 0o755);
                state.point(at, part.clone(), Some(inode));
                state.settle_one(at, part, Some(inode));
                inode
            }
        }))
    }

    /// Lets something happen at the n-th call from now on, counted from 0; of [`Bad::Sync`], at the n-th sync.
    pub(crate) fn plan(&self, nth: u64, bad: Bad) {
        let mut state = self.state();
        let from = if bad == Bad::Sync { state.syncs } else { state.calls };
        state.bad = Some((from + nth, bad));
        state.struck = false;
    }

    /// Nothing bad happens any more; whether it did.
    pub(crate) fn relieve(&self) -> bool {
        let mut state = self.state();
        state.bad = None;
        state.struck
    }

    pub(crate) fn set_space(&self, space: Space) {
        self.state().space = space;
    }

    /// Puts a directory onto another file system.
    pub(crate) fn set_apart(&self, dir: &Dir) {
        self.state().apart.insert(dir.0);
    }

    /// Has somebody else do something before the n-th call from now on, counted from 0.
    pub(crate) fn interrupt(&self, nth: u64, act: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        state.interrupt = Interrupt(Some((state.calls + nth, Box::new(act))));
    }

    /// Nobody does anything any more; whether somebody still would have.
    pub(crate) fn cancel_interrupt(&self) -> bool {
        self.state().interrupt.0.take().is_some()
    }

    pub(crate) fn set_shares(&self, shares: bool) {
        self.state().shares = shares;
    }

    /// From now on upper and lower case are the same in names.
    pub(crate) fn set_folds(&self) {
        self.state().folds = true;
    }

    /// Whether the file system can tell where holes are.
    pub(crate) fn set_holes(&self, holes: bool) {
        self.state().holes = holes;
    }

    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    /// The disk after a crash, as the next process finds it.
    pub(crate) fn crash(&self, crash: Crash) -> Self {
        let mut state = self.state().clone();
        let mut dice = if let Crash::Tear(seed) = crash { seed | 1 } else { 1 };
        let mut keep = || match crash {
            Crash::Forget => false,
            Crash::Keep => true,
            Crash::Tear(_) => {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice >> 33 & 1 == 0
            }
        };
        for inode in state.inodes.values_mut() {
            match &mut inode.node {
                Node::File { bytes, synced, sync_failed } => {
                    *synced = torn(bytes, synced, &mut keep);
                    (*bytes, *sync_failed) = (synced.clone(), false);
                }
                Node::Directory { names, synced } if crash != Crash::Keep => *names = synced.clone(),
                _ => {}
            }
        }
        if crash != Crash::Keep {
            for change in std::mem::take(&mut state.changes) {
                if keep() {
                    change.parts.into_iter().for_each(|(dir, name, inode)| state.point(dir, name, inode));
                }
            }
        }
        state.settle_all();
        (state.locked, state.bad, state.log) = (None, None, Vec::new());
        Self(Arc::new(Mutex::new(state)))
    }

    /// An independent copy.
    pub(crate) fn copy(&self) -> Self {
        let mut state = self.state().clone();
        (state.locked, state.log) = (None, Vec::new());
        Self(Arc::new(Mutex::new(state)))
    }

    /// Changes a file's bytes behind everyone's back, also on the platter.
    pub(crate) fn rot(&self, at: &Dir, file: &Name, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.look(at.0, file).expect("a test's file");
        if let Node::File { bytes, synced, .. } = &mut state.inodes.get_mut(&inode).expect("it was found").node {
            change(bytes);
            *synced = bytes.clone();
        }
    }

    pub(crate) fn write_file(&self, at: &Dir, file: &Name, mode: u16, bytes: &[u8]) {
        let handle = self.create(at, file, 0o600).expect("a test's file");
        self.write_at(&handle, bytes, 0).expect("a test's disk");
        self.set_mode(at, file, mode).expect("a test's disk");
    }

    pub(crate) fn read_file(&self, at: &Dir, file: &Name) -> Vec<u8> {
        let handle = self.open(at, file).expect("a test's file");
        let mut bytes = vec![0; self.file_metadata(&handle).expect("a test's disk").len as usize];
        self.read_at(&handle, &mut bytes, 0).expect("a test's disk");
        bytes
    }

    pub(crate) fn write_other(&self, at: &Dir, file: &Name, what: &'static str) {
        let mut state = self.state();
        let inode = state.add(Node::Other(what), 0o644);
        state.change(vec![(at.0, file.clone(), Some(inode))]);
    }

    /// Lets something stand on another file system.
    pub(crate) fn mount(&self, at: &Dir, dir: &Name) {
        let mut state = self.state();
        let inode = state.look(at.0, dir).expect("a test's directory");
        state.inodes.get_mut(&inode).expect("it was found").device = 2;
    }

    pub(crate) fn name_attribute(&self, at: &Dir, file: &Name, attribute: &[u8]) {
        let mut state = self.state();
        let inode = state.look(at.0, file).expect("a test's file");
        state.inodes.get_mut(&inode).expect("it was found").attributes.push(attribute.to_vec());
    }

    fn step(&self, what: &str, writes: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.interrupt.0.as_ref().is_some_and(|(at, _)| state.calls >= *at) {
            let (_, act) = state.interrupt.0.take().expect("it was just there");
            drop(state);
            act();
            state = self.state();
        }
        let nth = state.calls;
        state.calls += 1;
        state.log.push(what.to_owned());
        match state.bad {
            Some((at, Bad::Cut)) if nth >= at => {
                state.struck = true;
                Err(io::Error::other("the power is gone"))
            }
            Some((at, Bad::Error(number))) if nth == at => {
                state.struck = true;
                Err(io::Error::from_raw_os_error(number))
            }
            Some((at, Bad::ReadOnly)) if nth >= at && (writes || CHANGES.iter().any(|call| what.starts_with(call))) => {
                state.struck = true;
                Err(io::Error::from_raw_os_error(EROFS))
            }
            Some((at, Bad::Full)) if nth >= at && writes => {
                state.struck = true;
                fail(io::ErrorKind::StorageFull)
            }
            _ => Ok(state),
        }
    }

    /// A sync that is about to happen; false when it is to fail.
    fn sync_step(&self, what: &str) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.step(what, false)?;
        let nth = state.syncs;
        state.syncs += 1;
        let fails = matches!(state.bad, Some((at, Bad::Sync)) if nth == at);
        state.struck |= fails;
        Ok((state, !fails))
    }
}

/// The bytes of a file after a crash: of each block the old or the new.
fn torn(bytes: &[u8], synced: &[u8], keep: &mut impl FnMut() -> bool) -> Vec<u8> {
    if bytes == synced {
        return synced.to_vec();
    }
    let mut found = synced.to_vec();
    if keep() {
        found.resize(bytes.len(), 0);
    }
    for (nth, block) in found.chunks_mut(512).enumerate() {
        let fresh = bytes.get(nth * 512..).unwrap_or_default();
        if keep() {
            let len = fresh.len().min(block.len());
            block[..len].copy_from_slice(&fresh[..len]);
        }
    }
    found
}

impl State {
    fn add(&mut self, node: Node, mode: u16) -> u64 {
        let inode = self.next;
        self.next += 1;
        self.clock += 1;
        let mtime = (self.clock, 0);
        let made = Inode {
            node,
            mode,
            owner: (7, 7),
            mtime,
            ctime: self.clock,
            links: 0,
            attributes: Vec::new(),
            values: BTreeMap::new(),
            device: 1,
        };
        self.inodes.insert(inode, made);
        inode
    }

    /// What is made in a directory has its label, as the kernel does it.
    fn inherit(&mut self, dir: u64, made: u64) {
        let values = self.inodes.get(&dir).map(|dir| dir.values.clone()).unwrap_or_default();
        if let Some(made) = self.inodes.get_mut(&made) {
            made.values = values;
        }
    }

    fn names(&mut self, dir: u64) -> io::Result<&mut BTreeMap<Name, u64>> {
        match self.inodes.get_mut(&dir).map(|inode| &mut inode.node) {
            Some(Node::Directory { names, .. }) => Ok(names),
            _ => fail(io::ErrorKind::NotADirectory),
        }
    }

    fn look(&mut self, dir: u64, name: &Name) -> io::Result<u64> {
        let folds = self.folds;
        let is_it = |other: &Name| folds && other.as_bytes().eq_ignore_ascii_case(name.as_bytes());
        let names = self.names(dir)?;
        let found = names.get(name).or_else(|| names.iter().find(|(other, _)| is_it(other)).map(|(_, inode)| inode));
        found.copied().ok_or(io::ErrorKind::NotFound.into())
    }

    fn point(&mut self, dir: u64, name: Name, inode: Option<u64>) {
        let before = match (self.names(dir), inode) {
            (Ok(names), Some(inode)) => names.insert(name, inode),
            (Ok(names), None) => names.remove(&name),
            (Err(_), _) => return,
        };
        for (inode, by) in [(before, -1), (inode, 1)] {
            if let Some(inode) = inode.and_then(|inode| self.inodes.get_mut(&inode)) {
                inode.links = inode.links.saturating_add_signed(by);
            }
        }
        self.touch(dir);
    }

    fn touch(&mut self, inode: u64) {
        self.clock += 1;
        let clock = self.clock;
        if let Some(inode) = self.inodes.get_mut(&inode) {
            (inode.mtime, inode.ctime) = ((clock, 0), clock);
        }
    }

    fn change(&mut self, parts: Vec<(u64, Name, Option<u64>)>) {
        for (dir, name, inode) in parts.clone() {
            self.point(dir, name, inode);
        }
        self.changes.push(Change { parts });
    }

    /// Makes a directory's names durable; a rename into or out of it as a whole.
    fn settle(&mut self, dir: u64) {
        let mut left: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.changes) {
            if !change.parts.iter().any(|(at, ..)| *at == dir) {
                left.push(change);
                continue;
            }
            for (at, name, inode) in change.parts {
                // What an earlier change said of this name does not matter any more.
                left.iter_mut().for_each(|earlier| earlier.parts.retain(|part| (part.0, &part.1) != (at, &name)));
                self.settle_one(at, name, inode);
            }
        }
        self.changes = left;
    }

    fn settle_one(&mut self, dir: u64, name: Name, inode: Option<u64>) {
        if let Some(Node::Directory { synced, .. }) = self.inodes.get_mut(&dir).map(|inode| &mut inode.node) {
            match inode {
                Some(inode) => synced.insert(name, inode),
                None => synced.remove(&name),
            };
        }
    }

    fn settle_all(&mut self) {
        self.changes.clear();
        for inode in self.inodes.values_mut() {
            match &mut inode.node {
                Node::Directory { names, synced } => *synced = names.clone(),
                Node::File { bytes, synced, sync_failed: false } => *synced = bytes.clone(),
                _ => {}
            }
        }
    }

    fn meta(&self, inode: u64) -> io::Result<Meta> {
        let number = inode;
        let inode = self.inodes.get(&inode).ok_or(io::ErrorKind::NotFound)?;
        let (kind, len) = match &inode.node {
            Node::File { bytes, .. } => (FileKind::File, bytes.len()),
            Node::Directory { .. } => (FileKind::Directory, 0),
            Node::Symlink(target) => (FileKind::Symlink, target.len()),
            Node::Other(what) => (FileKind::Other(what), 0),
        };
        Ok(Meta {
            kind,
            mode: inode.mode,
            len: len as u64,
            uid: inode.owner.0,
            gid: inode.owner.1,
            mtime: inode.mtime.0,
            mtime_nanos: inode.mtime.1,
            ctime: (inode.ctime, 0),
            inode: (if self.apart.contains(&number) { 2 } else { inode.device }, number),
            links: inode.links,
        })
    }

    fn bytes(&mut self, inode: u64) -> io::Result<&mut Vec<u8>> {
        match self.inodes.get_mut(&inode).map(|inode| &mut inode.node) {
            Some(Node::File { bytes, .. }) => Ok(bytes),
            _ => fail(io::ErrorKind::InvalidInput),
        }
    }
}

impl Memory {
    fn open_file(&self, state: &mut State, at: &Dir, name: &Name) -> io::Result<File> {
        let inode = state.look(at.0, name)?;
        match state.inodes[&inode].node {
            Node::File { .. } => {
                state.clock += 1;
                Ok(File { inode, handle: state.clock as u64, state: self.0.clone() })
            }
            Node::Symlink(_) => Err(io::Error::from_raw_os_error(40)),
            _ => fail(io::ErrorKind::InvalidInput),
        }
    }
}

impl Disk for Memory {
    type Dir = Dir;
    type File = File;

    fn open_dir(&self, at: &Dir, name: &Name) -> io::Result<Dir> {
        let mut state = self.step("open_dir", false)?;
        let inode = state.look(at.0, name)?;
        match state.inodes[&inode].node {
            Node::Directory { .. } => Ok(Dir(inode)),
            Node::Symlink(_) => Err(io::Error::from_raw_os_error(40)),
            _ => fail(io::ErrorKind::NotADirectory),
        }
    }

    fn create_dir(&self, at: &Dir, name: &Name, mode: u16) -> io::Result<()> {
        let mut state = self.step("create_dir", true)?;
        if state.look(at.0, name).is_ok() {
            return fail(io::ErrorKind::AlreadyExists);
        }
        let inode = state.add(Node::Directory { names: BTreeMap::new(), synced: BTreeMap::new() }, mode);
        state.inherit(at.0, inode);
        state.change(vec![(at.0, name.clone(), Some(inode))]);
        Ok(())
    }

    fn list(&self, dir: &Dir) -> io::Result<Vec<Name>> {
        Ok(self.step("list", false)?.names(dir.0)?.keys().cloned().collect())
    }

    fn metadata(&self, at: &Dir, name: &Name) -> io::Result<Meta> {
        let mut state = self.step("metadata", false)?;
        let inode = state.look(at.0, name)?;
        state.meta(inode)
    }

    fn dir_metadata(&self, dir: &Dir) -> io::Result<Meta> {
        self.step("dir_metadata", false)?.meta(dir.0)
    }

    fn file_metadata(&self, file: &File) -> io::Result<Meta> {
        self.step("file_metadata", false)?.meta(file.inode)
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        let (mut state, works) = self.sync_step("sync_dir")?;
        if !works {
            return fail(io::ErrorKind::Other);
        }
        state.settle(dir.0);
        Ok(())
    }

    fn sync_all(&self, _dir: &Dir) -> io::Result<()> {
        let (mut state, works) = self.sync_step("sync_all")?;
        if !works {
            for inode in state.inodes.values_mut() {
                if let Node::File { bytes, synced, sync_failed } = &mut inode.node {
                    *sync_failed |= bytes != synced;
                }
            }
            return fail(io::ErrorKind::Other);
        }
        state.settle_all();
        Ok(())
    }

    fn space(&self, _dir: &Dir) -> io::Result<Space> {
        Ok(self.step("space", false)?.space)
    }

    fn lend(&self, _at: &Dir, len: usize) -> Option<Lent> {
        drop(self.step("lend", false).ok()?);
        Some(vec![0; len].into())
    }

    fn open(&self, at: &Dir, name: &Name) -> io::Result<File> {
        self.open_file(&mut *self.step("open", false)?, at, name)
    }

    fn open_write(&self, at: &Dir, name: &Name) -> io::Result<File> {
        self.open_file(&mut *self.step("open_write", false)?, at, name)
    }

    fn create(&self, at: &Dir, name: &Name, mode: u16) -> io::Result<File> {
        let mut state = self.step("create", true)?;
        if state.look(at.0, name).is_ok() {
            return fail(io::ErrorKind::AlreadyExists);
        }
        let inode = state.add(Node::File { bytes: Vec::new(), synced: Vec::new(), sync_failed: false }, mode);
        state.inherit(at.0, inode);
        state.change(vec![(at.0, name.clone(), Some(inode))]);
        Ok(File { inode, handle: state.clock as u64, state: self.0.clone() })
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.step("read_at", false)?;
        let bytes = state.bytes(file.inode)?;
        let bytes = bytes.get(offset as usize..).unwrap_or_default();
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn write_at(&self, file: &File, new: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.step(&format!("write_at {} {offset} {}", file.inode, new.len()), true)?;
        let end = offset as usize + new.len();
        let bytes = state.bytes(file.inode)?;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(new);
        state.touch(file.inode);
        Ok(())
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        let mut state = self.step("set_len", true)?;
        state.bytes(file.inode)?.resize(len as usize, 0);
        state.touch(file.inode);
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let (mut state, works) = self.sync_step("sync")?;
        match &mut state.inodes.get_mut(&file.inode).expect("it is open").node {
            Node::File { sync_failed, .. } if !works => {
                *sync_failed = true;
                fail(io::ErrorKind::Other)
            }
            // The pages are marked clean after a failure: a later sync says that all is well, and it is not.
            Node::File { sync_failed: true, .. } => Ok(()),
            Node::File { bytes, synced, .. } => {
                synced.clone_from(bytes);
                Ok(())
            }
            _ => fail(io::ErrorKind::InvalidInput),
        }
    }

    fn next_data(&self, file: &File, offset: u64) -> io::Result<Option<Range<u64>>> {
        const GRAIN: u64 = 4096;
        let mut state = self.step("next_data", false)?;
        if !state.holes {
            let len = state.bytes(file.inode)?.len() as u64;
            return Ok((offset < len).then_some(offset..len));
        }
        let bytes = state.bytes(file.inode)?;
        let is_data = |begin: u64| {
            let end = (begin + GRAIN).min(bytes.len() as u64);
            bytes[begin as usize..end as usize].iter().any(|byte| *byte != 0)
        };
        let blocks = (offset / GRAIN..(bytes.len() as u64).div_ceil(GRAIN)).map(|nth| nth * GRAIN);
        let begin = blocks.clone().find(|begin| is_data(*begin));
        Ok(begin.map(|begin| {
            let end = blocks.clone().find(|next| *next > begin && !is_data(*next)).unwrap_or(bytes.len() as u64);
            begin.max(offset)..end
        }))
    }

    fn share_range(&self, from: &File, from_offset: u64, to: &File, to_offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.step("share_range", true)?;
        if !state.shares {
            return fail(io::ErrorKind::Unsupported);
        }
        if [from_offset, to_offset, len].iter().any(|number| number % 4096 != 0) {
            return fail(io::ErrorKind::InvalidInput);
        }
        let range = from_offset as usize..(from_offset + len) as usize;
        let part = state.bytes(from.inode)?.get(range).ok_or(io::ErrorKind::InvalidInput)?.to_vec();
        let (bytes, end) = (state.bytes(to.inode)?, (to_offset + len) as usize);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[to_offset as usize..end].copy_from_slice(&part);
        Ok(())
    }

    fn set_owner_of(&self, file: &File, uid: u32, gid: u32) -> io::Result<()> {
        self.step("set_owner_of", false)?.inodes.get_mut(&file.inode).ok_or(io::ErrorKind::NotFound)?.owner =
            (uid, gid);
        Ok(())
    }

    fn set_mtime_of(&self, file: &File, seconds: i64, nanos: u32) -> io::Result<()> {
        let mut state = self.step("set_mtime_of", false)?;
        state.inodes.get_mut(&file.inode).ok_or(io::ErrorKind::NotFound)?.mtime = (seconds, nanos);
        Ok(())
    }

    fn attribute_names_of(&self, file: &File) -> io::Result<Vec<Vec<u8>>> {
        let state = self.step("attribute_names_of", false)?;
        Ok(state.inodes.get(&file.inode).map(|inode| inode.attributes.clone()).unwrap_or_default())
    }

    fn lock(&self, file: &File) -> io::Result<()> {
        let mut state = self.step("lock", false)?;
        match state.locked {
            Some(_) => fail(io::ErrorKind::WouldBlock),
            None => {
                state.locked = Some(file.handle);
                Ok(())
            }
        }
    }

    fn rename(&self, from: &Dir, name: &Name, to: &Dir, new: &Name) -> io::Result<()> {
        let mut state = self.step("rename", true)?;
        let inode = state.look(from.0, name)?;
        if state.look(to.0, new).is_ok_and(|old| matches!(state.inodes[&old].node, Node::Directory { .. })) {
            return fail(io::ErrorKind::IsADirectory);
        }
        state.change(vec![(from.0, name.clone(), None), (to.0, new.clone(), Some(inode))]);
        Ok(())
    }

    fn exchange(&self, from: &Dir, name: &Name, to: &Dir, new: &Name) -> io::Result<()> {
        let mut state = self.step("exchange", true)?;
        let (one, other) = (state.look(from.0, name)?, state.look(to.0, new)?);
        state.change(vec![(from.0, name.clone(), Some(other)), (to.0, new.clone(), Some(one))]);
        Ok(())
    }

    fn link(&self, from: &Dir, name: &Name, to: &Dir, new: &Name) -> io::Result<()> {
        let mut state = self.step("link", true)?;
        let inode = state.look(from.0, name)?;
        if !matches!(state.inodes[&inode].node, Node::File { .. }) {
            return fail(io::ErrorKind::InvalidInput);
        }
        if state.look(to.0, new).is_ok() {
            return fail(io::ErrorKind::AlreadyExists);
        }
        state.change(vec![(to.0, new.clone(), Some(inode))]);
        Ok(())
    }

    fn symlink(&self, at: &Dir, name: &Name, target: &[u8]) -> io::Result<()> {
        let mut state = self.step("symlink", true)?;
        if state.look(at.0, name).is_ok() {
            return fail(io::ErrorKind::AlreadyExists);
        }
        let inode = state.add(Node::Symlink(target.to_vec()), 0o777);
        state.change(vec![(at.0, name.clone(), Some(inode))]);
        Ok(())
    }

    fn read_link(&self, at: &Dir, name: &Name) -> io::Result<Vec<u8>> {
        let mut state = self.step("read_link", false)?;
        let inode = state.look(at.0, name)?;
        match &state.inodes[&inode].node {
            Node::Symlink(target) => Ok(target.clone()),
            _ => fail(io::ErrorKind::InvalidInput),
        }
    }

    fn remove_file(&self, at: &Dir, name: &Name) -> io::Result<()> {
        let mut state = self.step("remove_file", false)?;
        let inode = state.look(at.0, name)?;
        if matches!(state.inodes[&inode].node, Node::Directory { .. }) {
            return fail(io::ErrorKind::IsADirectory);
        }
        state.change(vec![(at.0, name.clone(), None)]);
        Ok(())
    }

    fn remove_dir(&self, at: &Dir, name: &Name) -> io::Result<()> {
        let mut state = self.step("remove_dir", false)?;
        let inode = state.look(at.0, name)?;
        if !state.names(inode)?.is_empty() {
            return fail(io::ErrorKind::DirectoryNotEmpty);
        }
        state.change(vec![(at.0, name.clone(), None)]);
        Ok(())
    }

    fn set_mode(&self, at: &Dir, name: &Name, mode: u16) -> io::Result<()> {
        let mut state = self.step("set_mode", false)?;
        let inode = state.look(at.0, name)?;
        state.inodes.get_mut(&inode).expect("it was found").mode = mode;
        Ok(())
    }

    fn set_owner(&self, at: &Dir, name: &Name, uid: u32, gid: u32) -> io::Result<()> {
        let mut state = self.step("set_owner", false)?;
        let inode = state.look(at.0, name)?;
        state.inodes.get_mut(&inode).expect("it was found").owner = (uid, gid);
        Ok(())
    }

    fn set_mtime(&self, at: &Dir, name: &Name, seconds: i64, nanos: u32) -> io::Result<()> {
        let mut state = self.step("set_mtime", false)?;
        let inode = state.look(at.0, name)?;
        state.inodes.get_mut(&inode).expect("it was found").mtime = (seconds, nanos);
        Ok(())
    }

    fn attribute_names(&self, at: &Dir, name: &Name) -> io::Result<Vec<Vec<u8>>> {
        let mut state = self.step("attribute_names", false)?;
        let inode = state.look(at.0, name)?;
        Ok(state.inodes[&inode].attributes.clone())
    }

    fn attribute(&self, at: &Dir, name: &Name, attribute: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.step("attribute", false)?;
        let inode = state.look(at.0, name)?;
        Ok(state.inodes[&inode].values.get(attribute).cloned())
    }

    fn set_attribute(&self, at: &Dir, name: &Name, attribute: &[u8], value: &[u8]) -> io::Result<()> {
        let mut state = self.step("set_attribute", true)?;
        let inode = state.look(at.0, name)?;
        let values = &mut state.inodes.get_mut(&inode).expect("it was found").values;
        values.insert(attribute.to_vec(), value.to_vec());
        Ok(())
    }
}
