//! Laying a manifest out as a tree: verified pieces become files, in a private directory, through handles.
//!
//! The order is the safety: directories first, private (0700), so that nobody else comes to what is in them; files, which are
//! finished while they are open; symlinks only when nothing is written any more; then, innermost first, owners, modes and times
//! of directories, so that a directory's times are set after all that is in it. Hard links are made to entries of this manifest
//! by their index. Nothing is shared with the store but what the file system itself copies on write, so a program that writes
//! into its live tree cannot damage the store.

use crate::alike::Earlier;
use crate::disk::Disk;
use crate::ground::Ground;
use crate::keep::unread;
use crate::places::{BLOCK, Place, extent_len};
use crate::plan::{Pack, Plan};
use crate::shelves::Shelves;
use crate::tree::Tree;
use crate::{disk::Name, words};
use content::attributes::Attribute;
use content::manifest::{Entry, Extent, Kind};
use engine::door::JobError;
use std::io;

/// A plan being laid out at `root` in a directory of ours.
pub(crate) struct Layout<'a, D: Disk> {
    shelves: &'a Shelves<D>,
    plan: &'a Plan<D>,
    ground: &'a Ground<D>,
    tree: Tree<D>,
    /// Where hard links point; a tree of its own, so that the two do not close each other's directories.
    linked: Tree<D>,
    /// What is live, from which unchanged files are linked.
    earlier: Option<Earlier<'a, D>>,
    /// Whether the file system may be able to share ranges: until it says no.
    may_share: bool,
    pack: Pack,
}

impl<'a, D: Disk> Layout<'a, D> {
    pub(crate) fn new(
        shelves: &'a Shelves<D>,
        plan: &'a Plan<D>,
        ground: &'a Ground<D>,
        root: Name,
        earlier: Option<Earlier<'a, D>>,
    ) -> Self {
        let tree = || Tree::new(shelves.disk.clone(), ground.dir().clone(), root.clone());
        Self { shelves, plan, ground, tree: tree(), linked: tree(), earlier, may_share: true, pack: Pack::default() }
    }

    /// Lays everything out; nothing of it is durable yet.
    pub(crate) fn run(mut self) -> Result<(), JobError> {
        let entries = &self.plan.manifest.entries;
        entries.iter().enumerate().try_for_each(|(index, entry)| self.make(index, entry))?;
        entries.iter().try_for_each(|entry| self.make_symlink(entry))?;
        (0..entries.len()).rev().try_for_each(|index| self.finish(index))
    }

    fn make(&mut self, index: usize, entry: &Entry) -> Result<(), JobError> {
        let made = match &entry.kind {
            Kind::Directory { .. } => self.make_directory(entry),
            Kind::HardLink { to } => self.make_link(entry, *to),
            Kind::File { .. } => return self.make_file(index, entry),
            Kind::Symlink { .. } => Ok(()),
        };
        made.map_err(|error| self.failed(entry, 4096, error))
    }

    fn make_directory(&mut self, entry: &Entry) -> io::Result<()> {
        let (dir, name) = self.tree.place(&entry.path)?;
        self.shelves.disk.create_dir(&dir, &name, 0o700)
    }

    fn make_link(&mut self, entry: &Entry, to: u32) -> io::Result<()> {
        let (from, first) = self.linked.place(&self.plan.manifest.entries[to as usize].path)?;
        let (dir, name) = self.tree.place(&entry.path)?;
        self.shelves.disk.link(&from, &first, &dir, &name)
    }

    /// A file with everything that belongs to it: it is looked up once, and never again.
    fn make_file(&mut self, index: usize, entry: &Entry) -> Result<(), JobError> {
        let Kind::File { mode, len, extents } = &entry.kind else { return Ok(()) };
        let (dir, name) = self.tree.place(&entry.path).map_err(|error| self.failed(entry, 0, error))?;
        let attribute = self.attribute(index);
        if let Some(earlier) = &mut self.earlier
            && earlier.link(entry, attribute, (&dir, &name))?
        {
            return Ok(());
        }
        let created = self.shelves.disk.create(&dir, &name, *mode);
        let file = created.map_err(|error| self.failed(entry, *len, error))?;
        self.fill(entry, &file, *len, extents)?;
        self.finish_file(&file, attribute).map_err(|error| self.failed(entry, 0, error))
    }

    fn fill(&mut self, entry: &Entry, file: &D::File, len: u64, extents: &[Extent]) -> Result<(), JobError> {
        let mut at = 0;
        for extent in extents {
            match *extent {
                Extent::Pieces { first, count } => self.write_run(entry, file, at, first..first + count)?,
                Extent::Part { piece, offset, len } => self.write_part(entry, file, at, (piece, offset, len))?,
                Extent::Hole { .. } => {}
            }
            at += extent_len(&self.plan.manifest, extent);
        }
        match extents.last() {
            Some(Extent::Hole { .. }) => {
                self.shelves.disk.set_len(file, len).map_err(|error| self.failed(entry, 0, error))
            }
            _ => Ok(()),
        }
    }

    fn write_part(&mut self, entry: &Entry, file: &D::File, at: u64, part: (u32, u32, u32)) -> Result<(), JobError> {
        let bytes = self.pack.part(self.shelves, &self.plan.holding, part)?;
        let written = self.shelves.disk.write_at(file, bytes, at);
        written.map_err(|error| self.failed(entry, part.2.into(), error))
    }

    /// Writes whole pieces. All are read and verified, also those that the file system then shares.
    fn write_run(&mut self, entry: &Entry, file: &D::File, at: u64, run: std::ops::Range<u32>) -> Result<(), JobError> {
        let holding = &self.plan.holding;
        let shared = self.share(file, at, run.clone());
        let mut done = 0;
        for index in run {
            let bytes = self.shelves.read_piece(holding, index).map_err(|why| unread(holding, why))?;
            let end = done + bytes.len() as u64;
            if end > shared {
                let skip = shared.saturating_sub(done);
                let written = self.shelves.disk.write_at(file, &bytes[skip as usize..], at + done + skip);
                written.map_err(|error| self.failed(entry, end - done, error))?;
            }
            done = end;
        }
        Ok(())
    }

    /// Lets the file system share as much of a run's beginning as it can; returns how many bytes that is.
    fn share(&mut self, file: &D::File, at: u64, run: std::ops::Range<u32>) -> u64 {
        let Some((from, len)) = self.shareable(at, run) else { return 0 };
        let pieces = self.shelves.file(&self.plan.holding, crate::holding::Part::Pieces);
        match pieces.and_then(|pieces| self.shelves.disk.share_range(&pieces, from, file, at, len)) {
            Ok(()) => len,
            Err(_) => {
                self.may_share = false;
                0
            }
        }
    }

    /// The offset and length of what of a run could be shared: whole blocks that stand together in the store as well.
    fn shareable(&self, at: u64, run: std::ops::Range<u32>) -> Option<(u64, u64)> {
        let first: &Place = self.plan.places.get(run.start)?;
        let last: &Place = self.plan.places.get(run.end.checked_sub(1)?)?;
        let together: u64 = run.filter_map(|index| self.plan.places.get(index)).map(|place| u64::from(place.len)).sum();
        let len = together / BLOCK * BLOCK;
        let fits = last.offset + u64::from(last.len) == first.offset + together;
        let whole = first.offset.is_multiple_of(BLOCK) && at.is_multiple_of(BLOCK);
        (self.may_share && fits && whole && len > 0).then_some((first.offset, len))
    }

    fn make_symlink(&mut self, entry: &Entry) -> Result<(), JobError> {
        let Kind::Symlink { target } = &entry.kind else { return Ok(()) };
        let disk = &self.shelves.disk;
        let made = self.tree.place(&entry.path).and_then(|(dir, name)| disk.symlink(&dir, &name, target));
        made.map_err(|error| self.failed(entry, 4096, error))
    }

    fn attribute(&self, index: usize) -> Option<Attribute> {
        self.plan.attributes.as_ref().and_then(|all| all.0.get(index)).copied()
    }

    /// Owner and time of a file in which nothing is written any more; it was made with its mode.
    fn finish_file(&self, file: &D::File, attribute: Option<Attribute>) -> io::Result<()> {
        let Some(Attribute { seconds, nanos, uid, gid }) = attribute else { return Ok(()) };
        if self.shelves.options.apply_owners {
            self.shelves.disk.set_owner_of(file, uid, gid)?;
        }
        self.shelves.disk.set_mtime_of(file, seconds, nanos)
    }

    /// Owner, mode and time of a directory or symlink whose contents are all finished.
    fn finish(&mut self, index: usize) -> Result<(), JobError> {
        let entry = &self.plan.manifest.entries[index];
        if matches!(entry.kind, Kind::HardLink { .. } | Kind::File { .. }) {
            return Ok(());
        }
        self.finish_entry(entry, self.attribute(index)).map_err(|error| self.failed(entry, 0, error))
    }

    fn finish_entry(&mut self, entry: &Entry, attribute: Option<Attribute>) -> io::Result<()> {
        let (dir, name) = self.tree.place(&entry.path)?;
        let disk = &self.shelves.disk;
        if let Some(owner) = attribute.filter(|_| self.shelves.options.apply_owners) {
            disk.set_owner(&dir, &name, owner.uid, owner.gid)?;
        }
        if let Some(mode) = entry.kind.mode() {
            disk.set_mode(&dir, &name, mode)?;
        }
        match attribute {
            Some(time) => disk.set_mtime(&dir, &name, time.seconds, time.nanos),
            None => Ok(()),
        }
    }

    fn failed(&self, entry: &Entry, need: u64, error: io::Error) -> JobError {
        self.ground.failed(format_args!("laying out \"{}\"", words::name(&entry.path)), need)(error)
    }
}
