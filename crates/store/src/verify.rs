//! Holding a laid-out tree against its manifest: every name, kind, mode, link and byte, read again from the disk.

use crate::Store;
use crate::disk::{Disk, FileKind, Meta, Name};
use crate::ground::{Ground, ours};
use crate::keep::{decode_release, refused, unread};
use crate::places::extent_len;
use crate::plan::{Pack, Plan};
use crate::shelves::Shelves;
use crate::target::{Standing, Target, Way};
use crate::tree::Tree;
use crate::words;
use content::cut::is_zero;
use content::manifest::{Entry, Extent, Kind, Outline};
use content::{AppName, Digest, Release};
use engine::door::{JobDone, JobError};
use std::collections::BTreeSet;
use std::io;

/// How many differences are named.
const NAMED: usize = 20;
/// How much of a hole is read at once, in bytes.
const ZEROS: u64 = 64 * 1024;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) entries: u32,
    pub(crate) bytes: u64,
    pub(crate) differing: u32,
    pub(crate) first: Vec<String>,
    /// The entries of the manifest that differ, by their index.
    pub(crate) wrong: Vec<usize>,
}

impl Differences {
    /// What the engine is told.
    pub(crate) fn verified(self) -> JobDone {
        let Self { entries, bytes, differing, first, wrong: _ } = self;
        JobDone::Verified { entries, bytes, differing, first }
    }
}

/// What is live of an application, and what it should be.
pub(crate) struct LiveTree<D: Disk> {
    pub(crate) plan: Plan<D>,
    /// What was published.
    pub(crate) release: Release,
    /// The directory that it stands in.
    pub(crate) side: Ground<D>,
    /// Its name there.
    pub(crate) name: Name,
}

/// A tree that is being held against its plan.
pub(crate) struct Check<'a, D: Disk> {
    shelves: &'a Shelves<D>,
    plan: &'a Plan<D>,
    tree: Tree<D>,
    /// Where hard links point.
    linked: Tree<D>,
    pack: Pack,
    found: Differences,
}

/// Why an entry differs: in words, or because what it is held against cannot be read.
enum Differs {
    So(String),
    Unknown(JobError),
}

impl From<io::Error> for Differs {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{NotADirectory, NotFound};
        match error.kind() {
            NotFound | NotADirectory => Self::So("is missing".to_owned()),
            _ => Self::So(format!("cannot be read: {error}")),
        }
    }
}

fn differs(why: impl Into<String>) -> Result<(), Differs> {
    Err(Differs::So(why.into()))
}

impl<D: Disk> Store<D> {
    /// Reads what is live of an application again.
    pub(crate) fn verify(&mut self, app: &AppName) -> Result<JobDone, JobError> {
        let live = self.live_tree(app)?;
        live.check(&self.shelves).map(Differences::verified)
    }

    /// What is live of an application, which must be laid out here.
    pub(crate) fn live_tree(&mut self, app: &AppName) -> Result<LiveTree<D>, JobError> {
        let live = self.apps.get(app).and_then(|state| state.live);
        let live = live.ok_or_else(|| self.nothing_live(app))?;
        let signed = self.releases.get(&live).ok_or_else(|| refused(format!("release {live} is not laid out here")))?;
        let release = decode_release(signed)?;
        let plan = self.plan(live, &release)?;
        let target = Target::find(&self.shelves.disk, &self.targets, &release.instructions.path, Way::Find)?;
        let target = target.ok_or_else(|| refused(format!("{} is gone", words::name(&release.instructions.path))))?;
        let side = target.beside()?;
        Ok(LiveTree { plan, release, side, name: ours(&live.to_string()) })
    }
}

impl<D: Disk> LiveTree<D> {
    /// Compares everything.
    pub(crate) fn check(&self, shelves: &Shelves<D>) -> Result<Differences, JobError> {
        Check::new(shelves, &self.plan, self.side.dir().clone(), self.name.clone()).run()
    }
}

impl<D: Disk> Store<D> {
    /// Why there is nothing to verify of an application.
    fn nothing_live(&self, app: &AppName) -> JobError {
        let adopts = |release: &Release| release.app == *app && release.instructions.adopts;
        let mut known = self.releases.values().filter_map(|signed| decode_release(signed).ok());
        let path = known.find(adopts).map(|release| release.instructions.path);
        let find = |path: Vec<u8>| Target::find(&self.shelves.disk, &self.targets, &path, Way::Find).ok().flatten();
        let target = path.and_then(find).filter(|target| matches!(target.standing(), Ok(Standing::Directory)));
        refused(match target {
            Some(target) => {
                format!(
                    "{} is the directory that stood there before, and nobody ever said what is to be in it",
                    target.path
                )
            }
            None => format!("nothing of {app} is live here"),
        })
    }
}

impl<'a, D: Disk> Check<'a, D> {
    pub(crate) fn new(shelves: &'a Shelves<D>, plan: &'a Plan<D>, base: D::Dir, root: Name) -> Self {
        let tree = || Tree::new(shelves.disk.clone(), base.clone(), root.clone());
        let found = Differences::default();
        Self { shelves, plan, tree: tree(), linked: tree(), pack: Pack::default(), found }
    }

    /// Compares everything. An error means that the manifest's own pieces could not be read, not that the tree differs.
    pub(crate) fn run(mut self) -> Result<Differences, JobError> {
        let children = children(&self.plan.manifest);
        for (index, (entry, expected)) in self.plan.manifest.entries.iter().zip(&children).enumerate() {
            self.found.entries += 1;
            match self.compare(entry) {
                Ok(()) => self.note_strays(entry, expected),
                Err(Differs::So(why)) => {
                    self.found.wrong.push(index);
                    self.note(&entry.path, &why);
                }
                Err(Differs::Unknown(error)) => return Err(error),
            }
        }
        Ok(self.found)
    }

    /// Whether an open file has the bytes that the manifest says; one that cannot be read has not.
    pub(crate) fn has_bytes(&mut self, file: &D::File, extents: &[Extent]) -> Result<bool, JobError> {
        match self.compare_bytes(file, extents) {
            Ok(()) => Ok(true),
            Err(Differs::So(_)) => Ok(false),
            Err(Differs::Unknown(error)) => Err(error),
        }
    }

    fn note(&mut self, path: &[u8], why: &str) {
        self.found.differing += 1;
        if self.found.first.len() < NAMED {
            let shown = if path.is_empty() { ".".to_owned() } else { words::name(path) };
            self.found.first.push(format!("{shown} {why}"));
        }
    }

    /// Names what stands in a directory and should not.
    fn note_strays(&mut self, entry: &Entry, expected: &BTreeSet<&[u8]>) {
        if !matches!(entry.kind, Kind::Directory { .. }) {
            return;
        }
        match self.tree.directory(&entry.path).and_then(|dir| self.shelves.disk.list(&dir)) {
            Ok(names) => {
                for name in names.iter().filter(|name| !expected.contains(name.as_bytes())) {
                    let slash: &[u8] = if entry.path.is_empty() { b"" } else { b"/" };
                    self.note(&[&entry.path, slash, name.as_bytes()].concat(), "is not part of the release");
                }
            }
            Err(error) => self.note(&entry.path, &format!("cannot be listed: {error}")),
        }
    }

    fn compare(&mut self, entry: &Entry) -> Result<(), Differs> {
        let (dir, name) = self.tree.place(&entry.path)?;
        let meta = self.shelves.disk.metadata(&dir, &name)?;
        match &entry.kind {
            Kind::Directory { mode } => {
                compare_kind(&meta, FileKind::Directory).and_then(|()| compare_mode(&meta, *mode))
            }
            Kind::Symlink { target } => {
                compare_kind(&meta, FileKind::Symlink)?;
                let found = self.shelves.disk.read_link(&dir, &name)?;
                if found == *target { Ok(()) } else { differs(format!("points to {}", words::name(&found))) }
            }
            Kind::HardLink { to } => self.compare_link(&meta, *to),
            Kind::File { mode, len, extents } => {
                compare_kind(&meta, FileKind::File).and_then(|()| compare_mode(&meta, *mode))?;
                let own = self.plan.rendered.get(&entry.path);
                let len = own.map_or(*len, |own| own.len() as u64);
                if meta.len != len {
                    return differs(format!("has {} bytes, and should have {len}", meta.len));
                }
                let file = self.shelves.disk.open(&dir, &name)?;
                match own {
                    None => self.compare_bytes(&file, extents),
                    Some(own) if self.read(&file, 0, len)? == *own => Ok(()),
                    Some(_) => differs("has other bytes than this node's values give"),
                }
            }
        }
    }

    fn compare_link(&mut self, meta: &Meta, to: u32) -> Result<(), Differs> {
        let (dir, name) = self.linked.place(&self.plan.manifest.entries[to as usize].path)?;
        match self.shelves.disk.metadata(&dir, &name)?.inode == meta.inode {
            true => Ok(()),
            false => differs("is not the same file as its other name"),
        }
    }

    fn compare_bytes(&mut self, file: &D::File, extents: &[Extent]) -> Result<(), Differs> {
        let mut at = 0;
        for extent in extents {
            let same = match *extent {
                Extent::Pieces { first, count } => self.same_run(file, at, first..first + count)?,
                Extent::Part { piece, offset, len } => {
                    let found = self.read(file, at, len.into())?;
                    let part = self.pack.part(self.shelves, &self.plan.holding, (piece, offset, len));
                    part.map_err(Differs::Unknown)? == found
                }
                Extent::Hole { len } => self.is_hole(file, at, len)?,
            };
            let len = extent_len(&self.plan.manifest.lengths, extent);
            if !same {
                return differs(format!("has other bytes (between {at} and {})", at + len));
            }
            at += len;
        }
        Ok(())
    }

    fn same_run(&mut self, file: &D::File, mut at: u64, run: std::ops::Range<u32>) -> Result<bool, Differs> {
        let Plan { holding, places, .. } = self.plan;
        for index in run {
            let Some(place) = places.get(index) else { return Ok(false) };
            let digest = self.shelves.piece_digest(holding, places, index);
            let digest = digest.map_err(|why| Differs::Unknown(unread(holding, why)))?;
            if Digest::of(&self.read(file, at, place.len.into())?) != digest {
                return Ok(false);
            }
            at += u64::from(place.len);
        }
        Ok(true)
    }

    fn is_hole(&mut self, file: &D::File, mut at: u64, len: u64) -> io::Result<bool> {
        let end = at + len;
        while at < end {
            match self.shelves.disk.next_data(file, at)? {
                Some(found) if found.start < end => at = at.max(found.start),
                _ => return Ok(true),
            }
            let len = ZEROS.min(end - at);
            if !is_zero(&self.read(file, at, len)?) {
                return Ok(false);
            }
            at += len;
        }
        Ok(true)
    }

    fn read(&mut self, file: &D::File, at: u64, len: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        let read = self.shelves.disk.read_at(file, &mut bytes, at)?;
        bytes.truncate(read);
        self.found.bytes += read as u64;
        Ok(bytes)
    }
}

fn compare_kind(meta: &Meta, kind: FileKind) -> Result<(), Differs> {
    let word = |kind| match kind {
        FileKind::File => "a file",
        FileKind::Directory => "a directory",
        FileKind::Symlink => "a symbolic link",
        FileKind::Other(what) => what,
    };
    match meta.kind == kind {
        true => Ok(()),
        false => differs(format!("is {}, and should be {}", word(meta.kind), word(kind))),
    }
}

fn compare_mode(meta: &Meta, mode: u16) -> Result<(), Differs> {
    if meta.mode == mode { Ok(()) } else { differs(format!("has mode {:o}, and should have {mode:o}", meta.mode)) }
}

/// The names in each directory of a manifest, by the directory's index.
fn children(manifest: &Outline) -> Vec<BTreeSet<&[u8]>> {
    let mut children = vec![BTreeSet::new(); manifest.entries.len()];
    let mut open: Vec<usize> = Vec::new();
    for (index, entry) in manifest.entries.iter().enumerate() {
        let path = entry.path.as_slice();
        let slash = path.iter().rposition(|&byte| byte == b'/');
        let parent = &path[..slash.unwrap_or(0)];
        while open.last().is_some_and(|&above| !path.is_empty() && manifest.entries[above].path != parent) {
            open.pop();
        }
        if let (Some(&above), false) = (open.last(), path.is_empty()) {
            children[above].insert(&path[slash.map_or(0, |slash| slash + 1)..]);
        }
        if matches!(entry.kind, Kind::Directory { .. }) {
            open.push(index);
        }
    }
    children
}
