//! Laying a manifest out as a tree: verified pieces become files, in a private directory, through handles.
//!
//! The order is the safety: directories first, private (0700), so that nobody else comes to what is in them; files, which are
//! finished while they are open, by as many hands as there are; hard links and symlinks only when nothing is written any more; then,
//! innermost first, owners, modes and times of directories, so that a directory's times are set after all that is in it. Hard links
//! are made to entries of this manifest by their index. Nothing is shared with the store but what the file system itself copies on
//! write, so a program that writes into its live tree cannot damage the store.

use crate::alike::{Earlier, Live};
use crate::disk::Disk;
use crate::ground::Ground;
use crate::hands::each;
use crate::keep::{refused, unread};
use crate::places::{BLOCK, extent_len};
use crate::plan::{Pack, Plan};
use crate::shelves::Shelves;
use crate::tree::Tree;
use crate::{disk::Name, words};
use content::attributes::Attribute;
use content::manifest::{Entry, Extent, Kind};
use engine::door::JobError;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// About how many files one hand lays out before it asks for more; those of one pack stay together.
const NEIGHBOURS: usize = 64;
/// A file with more bytes than this is written by all hands at once.
const LARGE: u64 = 16 << 20;
/// How many pieces of it one hand writes before it asks for more.
const PIECES: u32 = 32;

/// A plan being laid out at `root` in a directory of ours.
pub(crate) struct Layout<'a, D: Disk> {
    shelves: &'a Shelves<D>,
    plan: &'a Plan<D>,
    ground: &'a Ground<D>,
    root: Name,
    /// What is live, from which unchanged files are linked.
    live: Option<Live<'a, D>>,
    /// Whether the file system may be able to share ranges: until it says no.
    may_share: AtomicBool,
    /// Whose a file is that was just made, as far as one was looked at.
    fresh: OnceLock<(u32, u32)>,
    /// Something could not be laid out, so the rest need not be.
    has_failed: AtomicBool,
    /// The entries that are laid out, besides all directories; `None` for all of them.
    only: Option<BTreeSet<usize>>,
}

/// What one hand needs to lay files out.
struct Hand<'a, D: Disk> {
    layout: &'a Layout<'a, D>,
    tree: Tree<D>,
    earlier: Option<Earlier<'a, D>>,
    pack: Pack,
}

impl<'a, D: Disk> Layout<'a, D> {
    pub(crate) fn new(
        shelves: &'a Shelves<D>,
        plan: &'a Plan<D>,
        ground: &'a Ground<D>,
        root: Name,
        live: Option<Live<'a, D>>,
    ) -> Self {
        // What somebody else can change is written as it was hashed, and not shared.
        let (may_share, has_failed) = (AtomicBool::new(!plan.holding.is_lent()), AtomicBool::new(false));
        Self { shelves, plan, ground, root, live, may_share, fresh: OnceLock::new(), has_failed, only: None }
    }

    /// Lays out these entries, and the directories as they are made: private, so that everything can be taken out of them.
    pub(crate) fn only(self, entries: BTreeSet<usize>) -> Self {
        Self { only: Some(entries), ..self }
    }

    fn is_meant(&self, index: usize) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&index))
    }

    /// The entries that are to be laid out, with their indices.
    fn meant(&self) -> impl Iterator<Item = &'a Entry> {
        let entries: &'a [Entry] = &self.plan.manifest.entries;
        entries.iter().enumerate().filter(|(index, _)| self.is_meant(*index)).map(|(_, entry)| entry)
    }

    /// Lays everything out; nothing of it is durable yet.
    pub(crate) fn run(self) -> Result<(), JobError> {
        let entries = &self.plan.manifest.entries;
        let mut tree = self.tree();
        entries.iter().try_for_each(|entry| self.make_directory(&mut tree, entry))?;
        self.make_files()?;
        // Where hard links point is a tree of its own, so that the two do not close each other's directories.
        let mut linked = self.tree();
        self.meant().try_for_each(|entry| self.make_link(&mut tree, &mut linked, entry))?;
        self.meant().try_for_each(|entry| self.make_symlink(&mut tree, entry))?;
        (0..entries.len())
            .rev()
            .filter(|index| self.is_meant(*index))
            .try_for_each(|index| self.finish(&mut tree, index))
    }

    fn tree(&self) -> Tree<D> {
        Tree::new(self.shelves.disk.clone(), self.ground.dir().clone(), self.root.clone())
    }

    fn make_directory(&self, tree: &mut Tree<D>, entry: &Entry) -> Result<(), JobError> {
        let Kind::Directory { .. } = &entry.kind else { return Ok(()) };
        let made = tree.place(&entry.path).and_then(|(dir, name)| self.shelves.disk.create_dir(&dir, &name, 0o700));
        made.map_err(|error| self.failed(entry, 4096, error))
    }

    fn make_link(&self, tree: &mut Tree<D>, linked: &mut Tree<D>, entry: &Entry) -> Result<(), JobError> {
        let Kind::HardLink { to } = entry.kind else { return Ok(()) };
        let made = linked.place(&self.plan.manifest.entries[to as usize].path).and_then(|(from, first)| {
            let (dir, name) = tree.place(&entry.path)?;
            self.shelves.disk.link(&from, &first, &dir, &name)
        });
        made.map_err(|error| self.failed(entry, 4096, error))
    }

    fn make_symlink(&self, tree: &mut Tree<D>, entry: &Entry) -> Result<(), JobError> {
        let Kind::Symlink { target } = &entry.kind else { return Ok(()) };
        let made = tree.place(&entry.path).and_then(|(dir, name)| self.shelves.disk.symlink(&dir, &name, target));
        made.map_err(|error| self.failed(entry, 4096, error))
    }

    /// All files: many at once, and then the large ones one after another, each by all hands.
    fn make_files(&self) -> Result<(), JobError> {
        let (groups, large) = groups(&self.plan.manifest.entries, |index| self.is_meant(index));
        let hands = &*self.shelves.options.hands;
        let made = each(hands, groups.len(), |group| {
            let mut hand = self.hand();
            groups[group].iter().try_for_each(|&index| self.unless_failed(|| hand.make(index)))
        });
        made.into_iter().collect::<Result<(), _>>()?;
        large.into_iter().try_for_each(|index| self.hand().make(index))
    }

    fn hand(&self) -> Hand<'_, D> {
        let earlier = self.live.as_ref().map(Live::hand);
        Hand { layout: self, tree: self.tree(), earlier, pack: Pack::default() }
    }

    /// Does something unless another hand has failed: what is made then is thrown away.
    fn unless_failed(&self, make: impl FnOnce() -> Result<(), JobError>) -> Result<(), JobError> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        make().inspect_err(|_| self.has_failed.store(true, Ordering::Relaxed))
    }

    fn attribute(&self, index: usize) -> Option<Attribute> {
        self.plan.attributes.as_ref().and_then(|all| all.0.get(index)).copied()
    }

    /// Owner and time of a file in which nothing is written any more; it was made with its mode.
    fn finish_file(&self, file: &D::File, attribute: Option<Attribute>) -> io::Result<()> {
        let Some(Attribute { seconds, nanos, uid, gid }) = attribute else { return Ok(()) };
        if self.shelves.options.apply_owners && self.fresh_owner(file)? != (uid, gid) {
            self.shelves.disk.set_owner_of(file, uid, gid)?;
        }
        self.shelves.disk.set_mtime_of(file, seconds, nanos)
    }

    /// Whose a file is that we have just made: everybody's like the first one's, because all stand in directories that we have just
    /// made inside each other, and whose owners and modes are given last.
    fn fresh_owner(&self, file: &D::File) -> io::Result<(u32, u32)> {
        if let Some(owner) = self.fresh.get() {
            return Ok(*owner);
        }
        let meta = self.shelves.disk.file_metadata(file)?;
        Ok(*self.fresh.get_or_init(|| (meta.uid, meta.gid)))
    }

    /// Owner, mode and time of a directory or symlink whose contents are all finished.
    fn finish(&self, tree: &mut Tree<D>, index: usize) -> Result<(), JobError> {
        let entry = &self.plan.manifest.entries[index];
        if matches!(entry.kind, Kind::HardLink { .. } | Kind::File { .. }) {
            return Ok(());
        }
        self.finish_entry(tree, entry, self.attribute(index)).map_err(|error| self.failed(entry, 0, error))
    }

    fn finish_entry(&self, tree: &mut Tree<D>, entry: &Entry, attribute: Option<Attribute>) -> io::Result<()> {
        let (dir, name) = tree.place(&entry.path)?;
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
        if error.kind() == io::ErrorKind::AlreadyExists {
            // It is a directory that nobody else has, and a manifest has each name once.
            return refused(format!(
                "\"{}\" is also another name of this release on this file system, which does not tell upper and lower case, or forms of a \
                 letter, apart; rename one of the two, or deploy to a path on a file system that does",
                words::name(&entry.path)
            ));
        }
        self.ground.failed(format_args!("laying out \"{}\"", words::name(&entry.path)), need)(error)
    }
}

impl<D: Disk> Hand<'_, D> {
    /// A file with everything that belongs to it: it is looked up once, and never again.
    fn make(&mut self, index: usize) -> Result<(), JobError> {
        let layout = self.layout;
        let entry = &layout.plan.manifest.entries[index];
        let Kind::File { mode, len, extents } = &entry.kind else { return Ok(()) };
        let (dir, name) = self.tree.place(&entry.path).map_err(|error| layout.failed(entry, 0, error))?;
        let attribute = layout.attribute(index);
        let own = layout.plan.rendered.get(&entry.path);
        if own.is_none()
            && let Some(earlier) = &mut self.earlier
            && earlier.link(entry, attribute, (&dir, &name))?
        {
            return Ok(());
        }
        let created = layout.shelves.disk.create(&dir, &name, *mode);
        let file = created.map_err(|error| layout.failed(entry, *len, error))?;
        match own {
            None => self.fill(entry, &file, *len, extents)?,
            Some(own) => {
                let written = layout.shelves.disk.write_at(&file, own, 0);
                written.map_err(|error| layout.failed(entry, own.len() as u64, error))?;
            }
        }
        layout.finish_file(&file, attribute).map_err(|error| layout.failed(entry, 0, error))
    }

    fn fill(&mut self, entry: &Entry, file: &D::File, len: u64, extents: &[Extent]) -> Result<(), JobError> {
        let layout = self.layout;
        let mut at = 0;
        for extent in extents {
            match *extent {
                Extent::Pieces { first, count } => layout.write_run(entry, file, at, first..first + count)?,
                Extent::Part { piece, offset, len } => self.write_part(entry, file, at, (piece, offset, len))?,
                Extent::Hole { .. } => {}
            }
            at += extent_len(&layout.plan.manifest.lengths, extent);
        }
        match extents.last() {
            Some(Extent::Hole { .. }) => {
                layout.shelves.disk.set_len(file, len).map_err(|error| layout.failed(entry, 0, error))
            }
            _ => Ok(()),
        }
    }

    fn write_part(&mut self, entry: &Entry, file: &D::File, at: u64, part: (u32, u32, u32)) -> Result<(), JobError> {
        let layout = self.layout;
        let bytes = self.pack.part(layout.shelves, &layout.plan.holding, part)?;
        let written = layout.shelves.disk.write_at(file, bytes, at);
        written.map_err(|error| layout.failed(entry, part.2.into(), error))
    }
}

impl<D: Disk> Layout<'_, D> {
    /// Writes whole pieces. All are read and verified, also those that the file system then shares.
    fn write_run(&self, entry: &Entry, file: &D::File, at: u64, run: Range<u32>) -> Result<(), JobError> {
        let shared = at + self.share(file, at, run.clone());
        if self.run_len(run.clone()) <= LARGE {
            return self.write_pieces(entry, file, at, run, shared);
        }
        let mut parts = Vec::new();
        let mut at = at;
        for first in run.clone().step_by(PIECES as usize) {
            let part = first..run.end.min(first + PIECES);
            parts.push((at, part.clone()));
            at += self.run_len(part);
        }
        let written = each(&*self.shelves.options.hands, parts.len(), |nth| {
            let (at, part) = parts[nth].clone();
            self.unless_failed(|| self.write_pieces(entry, file, at, part, shared))
        });
        written.into_iter().collect()
    }

    /// Writes whole pieces from `at` on, except what comes before `shared`: that stands there already, and is only verified.
    fn write_pieces(
        &self,
        entry: &Entry,
        file: &D::File,
        mut at: u64,
        run: Range<u32>,
        shared: u64,
    ) -> Result<(), JobError> {
        let holding = &self.plan.holding;
        for index in run {
            let bytes = self.shelves.read_piece(holding, index).map_err(|why| unread(holding, why))?;
            let len = bytes.len() as u64;
            let skip = shared.saturating_sub(at).min(len);
            if skip < len {
                let written = self.shelves.disk.write_at(file, &bytes[skip as usize..], at + skip);
                written.map_err(|error| self.failed(entry, len, error))?;
            }
            at += len;
        }
        Ok(())
    }

    fn run_len(&self, run: Range<u32>) -> u64 {
        let lengths = &self.plan.manifest.lengths;
        lengths.before(run.end) - lengths.before(run.start)
    }

    /// Lets the file system share as much of a run's beginning as it can; returns how many bytes that is.
    fn share(&self, file: &D::File, at: u64, run: Range<u32>) -> u64 {
        let Some((from, len)) = self.shareable(at, run) else { return 0 };
        let pieces = self.shelves.file(&self.plan.holding, crate::holding::Part::Pieces);
        match pieces.and_then(|pieces| self.shelves.disk.share_range(&pieces, from, file, at, len)) {
            Ok(()) => len,
            Err(_) => {
                self.may_share.store(false, Ordering::Relaxed);
                0
            }
        }
    }

    /// The offset and length of what of a run could be shared: whole blocks that stand together in the store as well.
    fn shareable(&self, at: u64, run: Range<u32>) -> Option<(u64, u64)> {
        let first = self.plan.places.get(run.start)?;
        let last = self.plan.places.get(run.end.checked_sub(1)?)?;
        let together = self.run_len(run);
        let len = together / BLOCK * BLOCK;
        let fits = last.offset + u64::from(last.len) == first.offset + together;
        let whole = first.offset.is_multiple_of(BLOCK) && at.is_multiple_of(BLOCK);
        (self.may_share.load(Ordering::Relaxed) && fits && whole && len > 0).then_some((first.offset, len))
    }
}

/// The files that are laid out many at once, in groups that read few packs twice, and the large ones, all by their index.
fn groups(entries: &[Entry], is_meant: impl Fn(usize) -> bool) -> (Vec<Vec<usize>>, Vec<usize>) {
    let (mut groups, mut large) = (vec![Vec::new()], Vec::new());
    let mut last_pack = None;
    for (index, entry) in entries.iter().enumerate().filter(|(index, _)| is_meant(*index)) {
        let Kind::File { len, extents, .. } = &entry.kind else { continue };
        if *len > LARGE {
            large.push(index);
            continue;
        }
        let pack = match extents.first() {
            Some(Extent::Part { piece, .. }) => Some(*piece),
            _ => None,
        };
        let is_full = groups.last().is_none_or(|group| group.len() >= NEIGHBOURS);
        if is_full && (pack.is_none() || pack != last_pack) {
            groups.push(Vec::new());
        }
        last_pack = pack;
        groups.last_mut().expect("there is one from the beginning").push(index);
    }
    (groups, large)
}
