//! Walking a tree that is to be published, in path order, through handles, and once more to see that it stayed.

use super::cutting::Cutting;
use super::ignoring::Ignoring;
use super::judge::{self, shown};
use super::keeping::{Keeping, Place};
use super::reading::{Bytes, Looked, Reader};
use super::source::Read;
use super::{IGNORE_FILE, ImportError, Mapping, Terms};
use crate::disk::{Disk, FileKind, Meta, Name};
use crate::ground::{if_there, ours};
use crate::hands::{Hands, each};
use crate::tree::Tree;
use content::attributes::{Attribute, Attributes};
use content::cut::Grain;
use content::manifest::{MAX_DEPTH, compare_paths};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// How many neighbours one hand looks at again before it asks for more.
const NEIGHBOURS: usize = 256;

/// One entry as it was found, in path order.
pub(super) struct Seen {
    pub(super) path: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) sort: Sort,
}

/// What an entry is to a manifest.
pub(super) enum Sort {
    /// A directory, and how many names it has.
    Directory(u32),
    Symlink(Vec<u8>),
    File,
    /// Another name of the file with this index.
    HardLink(u32),
    /// A directory that is not in the tree, and leads to what outlives the release.
    Made,
    /// A link to what outlives the release, and its target.
    Kept(Vec<u8>),
}

impl Seen {
    /// Whether it stands in the tree that is read.
    fn is_in_tree(&self) -> bool {
        !matches!(self.sort, Sort::Made | Sort::Kept(_))
    }

    /// How many bytes there are to read.
    pub(super) fn len(&self) -> u64 {
        if matches!(self.sort, Sort::File) { self.meta.len } else { 0 }
    }
}

/// A tree being read.
pub(super) struct Walk<'a, D: Disk> {
    disk: Arc<D>,
    parent: D::Dir,
    tree: Tree<D>,
    name: Name,
    hands: &'a dyn Hands,
    seen: Vec<Seen>,
    /// What may not be published, by path.
    refused: Vec<(Vec<u8>, String)>,
    noted: judge::Attributes,
    ignoring: Ignoring,
    keeping: Keeping<'a>,
    mapping: Option<&'a Mapping>,
    cutting: Cutting,
    /// The first entry of each file that has more than one name.
    linked: BTreeMap<(u64, u64), u32>,
}

impl<'a, D: Disk> Walk<'a, D> {
    pub(super) fn new(disk: Arc<D>, parent: D::Dir, name: Name, hands: &'a dyn Hands, terms: &Terms<'a>) -> Self {
        let tree = Tree::new(disk.clone(), parent.clone(), name.clone());
        Self {
            disk,
            parent,
            tree,
            name,
            hands,
            seen: Vec::new(),
            refused: Vec::new(),
            noted: judge::Attributes::default(),
            ignoring: Ignoring::new(terms.patterns),
            keeping: Keeping::new(terms.kept),
            mapping: terms.mapping,
            cutting: Cutting::new(Grain::of(0)),
            linked: BTreeMap::new(),
        }
    }

    /// Reads everything. What may not be published is collected, and nothing is read any more once there is such a thing.
    pub(super) fn read_tree(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), ImportError> {
        let mut left: Vec<Vec<u8>> = vec![Vec::new()];
        while let Some(path) = left.pop() {
            let children = self.enter(path)?;
            left.extend(children.into_iter().rev());
        }
        self.read_files(progress)?;
        match self.refused.is_empty() {
            true => self.refuse_empty(),
            false => {
                let mut refused = std::mem::take(&mut self.refused);
                refused.sort_by(|(a, _), (b, _)| compare_paths(a, b));
                Err(ImportError::Refused(refused.into_iter().map(|(_, why)| why).collect()))
            }
        }
    }

    /// A tree that its own patterns leave nothing of is a mistake in them.
    fn refuse_empty(&self) -> Result<(), ImportError> {
        let left_out = self.ignoring.left_out();
        let real = self.seen.iter().filter(|seen| seen.is_in_tree()).count();
        match real == 1 && !left_out.is_empty() {
            true => Err(ImportError::Empty(left_out.into_iter().map(|one| one.by).collect())),
            false => Ok(()),
        }
    }

    /// Takes in one entry; returns the paths in it if it is a directory.
    fn enter(&mut self, path: Vec<u8>) -> Result<Vec<Vec<u8>>, ImportError> {
        let place = self.keeping.place(&path);
        if place != Place::Elsewhere
            && let Some(children) = self.keep(&path, place.clone())?
        {
            return Ok(children);
        }
        let (dir, name) = self.tree.place(&path).map_err(failed(&path))?;
        let meta = self.disk.metadata(&dir, &name).map_err(vanished(&path))?;
        // What leads to what is kept was asked for already.
        let is_left_out = place == Place::Elsewhere && self.leaves_out(&path, &meta);
        if is_left_out || !self.judge(&dir, &name, &path, &meta)? {
            return Ok(Vec::new());
        }
        let mut children = Vec::new();
        let sort = match meta.kind {
            FileKind::Directory => {
                let names;
                (children, names) = self.children(&path)?;
                Sort::Directory(names)
            }
            FileKind::Symlink => Sort::Symlink(self.disk.read_link(&dir, &name).map_err(vanished(&path))?),
            _ => self.file(&meta),
        };
        self.seen.push(Seen { path, meta, sort });
        Ok(children)
    }

    fn leaves_out(&mut self, path: &[u8], meta: &Meta) -> bool {
        !path.is_empty() && self.ignoring.leaves_out(path, meta.kind == FileKind::Directory)
    }

    /// Takes in what outlives the release, and directories that are made to lead there; returns the paths in it. `None` for a directory
    /// of the tree, which is read like any other.
    fn keep(&mut self, path: &[u8], place: Place) -> Result<Option<Vec<Vec<u8>>>, ImportError> {
        let sort = match (place, self.standing(path)?) {
            (Place::Above, Some(FileKind::Directory)) => return Ok(None),
            (Place::Above, None) => Sort::Made,
            (Place::Kept(link), None) => Sort::Kept(link),
            (Place::Kept(_), Some(_)) => {
                self.refuse(path, "is to outlive releases, and the tree has something there: name it in .tidingignore");
                return Ok(Some(Vec::new()));
            }
            (_, Some(_)) => {
                self.refuse(path, "is no directory, and something below it is to outlive releases");
                return Ok(Some(Vec::new()));
            }
            (Place::Elsewhere, None) => return Ok(Some(Vec::new())),
        };
        let is_directory = matches!(sort, Sort::Made);
        let root = self.seen.first().map(|root| root.meta);
        let meta = root.ok_or_else(|| ImportError::Changed(shown(path)))?;
        self.seen.push(Seen { path: path.to_vec(), meta, sort });
        Ok(Some(if is_directory { self.keeping.made(path) } else { Vec::new() }))
    }

    /// What the tree has at a path, unless that is left out.
    fn standing(&mut self, path: &[u8]) -> Result<Option<FileKind>, ImportError> {
        if self.keeping.is_below_made(path) {
            return Ok(None);
        }
        let (dir, name) = self.tree.place(path).map_err(failed(path))?;
        let meta = if_there(self.disk.metadata(&dir, &name)).map_err(failed(path))?;
        Ok(meta.filter(|meta| !self.leaves_out(path, meta)).map(|meta| meta.kind))
    }

    fn file(&mut self, meta: &Meta) -> Sort {
        if meta.links < 2 {
            return Sort::File;
        }
        let next = self.seen.len() as u32;
        match *self.linked.entry(meta.inode).or_insert(next) {
            first if first == next => Sort::File,
            first => Sort::HardLink(first),
        }
    }

    /// Reads all files, and makes the entries of the manifest.
    fn read_files(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), ImportError> {
        let seen = std::mem::take(&mut self.seen);
        let (disk, parent, name) = (self.disk.clone(), self.parent.clone(), self.name.clone());
        let hands = self.hands;
        let grain = Grain::of(seen.iter().map(Seen::len).sum());
        self.cutting = Cutting::new(grain);
        let mut reader = Reader { disk: &disk, parent: &parent, name: &name, hands, grain, progress, read: 0 };
        let mut begin = 0;
        while begin < seen.len() {
            let batch = reader.batch(&seen, begin);
            begin = batch.end;
            // With something refused already, the rest is only looked at, so that all of it can be named.
            let bytes = self.refused.is_empty();
            let looked = reader.look(&seen[batch.clone()], bytes)?;
            for (seen, looked) in seen[batch].iter().zip(looked) {
                let entry = self.add(seen, looked);
                if self.refused.is_empty() {
                    reader.long(seen, entry, &mut self.cutting)?;
                }
            }
            self.cutting.hash_packs(hands);
        }
        self.cutting.end_pack();
        self.cutting.hash_packs(hands);
        self.seen = seen;
        Ok(())
    }

    /// Makes the entry of the manifest, with what was read of it; returns its index.
    fn add(&mut self, seen: &Seen, looked: Looked) -> u32 {
        let (path, builder) = (&seen.path, &mut self.cutting.builder);
        let mode = |mode, is_directory| self.mapping.map_or(mode, |mapping| mapping.mode(mode, is_directory));
        let entry = match &seen.sort {
            Sort::Directory(_) => builder.directory(path, mode(seen.meta.mode, true)),
            Sort::Made => builder.directory(path, mode(0o755, true)),
            Sort::Symlink(target) | Sort::Kept(target) => builder.symlink(path, target),
            Sort::HardLink(first) => builder.hard_link(path, *first),
            Sort::File => builder.file(path, mode(seen.meta.mode, false)),
        };
        self.judge_attributes(path, looked.attributes);
        match looked.bytes {
            Bytes::None => {}
            Bytes::Small(bytes) => self.cutting.small(path, entry, &bytes),
            Bytes::Cut(chunks) => self.cutting.chunks(entry, &chunks),
            Bytes::Denied => self.refuse(path, "cannot be read: permission denied"),
        }
        entry
    }

    /// Whether an entry may be published.
    fn judge(&mut self, dir: &D::Dir, name: &Name, path: &[u8], meta: &Meta) -> Result<bool, ImportError> {
        if path.is_empty() && meta.kind == FileKind::Symlink {
            let target = self.disk.read_link(dir, name).map_err(failed(path))?;
            let (name, target) = (shown(self.name.as_bytes()), shown(&target));
            let why = format!("{name}: is a symbolic link to {target}; publish what it points to by its own name");
            self.refused.push((path.to_vec(), why));
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
        self.refused.push((path.to_vec(), format!("{}: {why}", shown(path))));
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

    /// The paths in a directory that may be published, and how many names it has.
    fn children(&mut self, path: &[u8]) -> Result<(Vec<Vec<u8>>, u32), ImportError> {
        if path.split(|&byte| byte == b'/').count() > MAX_DEPTH {
            return Ok((Vec::new(), 0));
        }
        let listed = self.tree.directory(path).and_then(|dir| self.disk.list(&dir));
        let mut names = self.readable(path, listed)?.unwrap_or_default();
        let count = names.len() as u32;
        if let Some(patterns) = names.iter().position(|name| self.ignoring.is_patterns(name.as_bytes())) {
            names.remove(patterns);
            self.read_patterns(path)?;
        }
        let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
        let paths = names.iter().map(|name| [path, slash, name.as_bytes()].concat());
        Ok((self.keeping.among(path, paths.collect()), count))
    }

    fn read_patterns(&mut self, path: &[u8]) -> Result<(), ImportError> {
        if let Err(wrong) = self.ignoring.enter(&*self.disk, &mut self.tree, path).map_err(vanished(path))? {
            self.refused.extend(wrong.into_iter().map(|why| (path.to_vec(), why)));
        }
        Ok(())
    }

    /// Looks at every entry once more: the tree must be what it was when its first byte was read.
    pub(super) fn look_again(&self) -> Result<(), ImportError> {
        let parts: Vec<&[Seen]> = self.seen.chunks(NEIGHBOURS).collect();
        let looked = each(self.hands, parts.len(), |part| {
            let mut tree = Tree::new(self.disk.clone(), self.parent.clone(), self.name.clone());
            parts[part].iter().try_for_each(|seen| look_again(&*self.disk, &mut tree, seen))
        });
        looked.into_iter().collect::<Result<(), _>>()?;
        self.look_at_patterns_again()
    }

    /// What the patterns left out was left out by what they still say.
    fn look_at_patterns_again(&self) -> Result<(), ImportError> {
        let mut tree = Tree::new(self.disk.clone(), self.parent.clone(), self.name.clone());
        for (directory, meta) in self.ignoring.read() {
            let dir = tree.directory(directory).map_err(vanished(directory))?;
            let now = self.disk.metadata(&dir, &ours(IGNORE_FILE)).map_err(vanished(directory))?;
            if !unchanged(meta, &now) {
                return Err(ImportError::Changed(shown(directory)));
            }
        }
        Ok(())
    }

    /// What was read, for serving it.
    pub(super) fn finish(self) -> Result<Read, ImportError> {
        let manifest = self.cutting.builder.finish();
        let manifest = manifest.map_err(|why| ImportError::Refused(vec![why.to_string()]))?;
        let attribute = |seen: &Seen| {
            let Meta { uid, gid, mtime, mtime_nanos, .. } = seen.meta;
            let (uid, gid) = self.mapping.map_or((uid, gid), |mapping| mapping.owner(uid, gid));
            Attribute::nearest(mtime, mtime_nanos, uid, gid)
        };
        let attributes = Attributes(self.seen.iter().map(attribute).collect());
        let mut notes = self.noted.notes();
        notes.extend(super::folding::note(self.seen.iter().map(|seen| seen.path.as_slice())));
        let paths = self.seen.into_iter().map(|seen| seen.path.into_boxed_slice()).collect();
        Ok(Read { manifest, attributes, spots: self.cutting.spots, paths, notes, left_out: self.ignoring.left_out() })
    }
}

fn look_again<D: Disk>(disk: &D, tree: &mut Tree<D>, seen: &Seen) -> Result<(), ImportError> {
    if !seen.is_in_tree() {
        return Ok(());
    }
    let changed = || Err(ImportError::Changed(shown(&seen.path)));
    let (dir, name) = tree.place(&seen.path).map_err(vanished(&seen.path))?;
    let meta = disk.metadata(&dir, &name).map_err(vanished(&seen.path))?;
    if !unchanged(&seen.meta, &meta) {
        return changed();
    }
    let Sort::Directory(names) = seen.sort else { return Ok(()) };
    let listed = tree.directory(&seen.path).and_then(|dir| disk.list(&dir));
    if listed.map_err(vanished(&seen.path))?.len() == names as usize { Ok(()) } else { changed() }
}

/// Whether two looks at a name saw the same, unchanged thing. Of a directory the names are compared besides.
pub(super) fn unchanged(before: &Meta, now: &Meta) -> bool {
    let stamp = |meta: &Meta| (meta.kind, meta.inode, meta.mode, meta.ctime, (meta.mtime, meta.mtime_nanos));
    stamp(before) == stamp(now) && (before.kind == FileKind::Directory || before.len == now.len)
}

pub(super) fn failed(path: &[u8]) -> impl FnOnce(io::Error) -> ImportError {
    let path = shown(path);
    move |source| ImportError::Disk { path, source }
}

/// What was there a moment ago and is not now has changed.
pub(super) fn vanished(path: &[u8]) -> impl FnOnce(io::Error) -> ImportError {
    let path = shown(path);
    move |source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ImportError::Changed(path),
        _ => ImportError::Disk { path, source },
    }
}
