//! A directory that was read: its manifest, and its files by number, in the order of the manifest.

use super::{Place, Side, Summary, TreesError};
use crate::disk::Disk;
use crate::hands::Hands;
use crate::import::{Patterns, Terms, import_by};
use crate::tree::Tree;
use crate::{PieceSource, words};
use content::manifest::{Extent, Kind};
use content::{ContentId, Digest, Manifest, PieceNo};
use delta::tree::Files;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// A directory, as it was when it was read.
pub(super) struct Known<D: Disk> {
    disk: Arc<D>,
    /// With the directories open of the file that was opened last: neighbours are opened one after another.
    tree: Mutex<Tree<D>>,
    pub(super) content: ContentId,
    pub(super) manifest: Manifest,
    pub(super) encoded: Vec<u8>,
    /// The entries that are files.
    files: Vec<usize>,
    /// The first file that could not be read.
    unread: Mutex<Option<String>>,
}

impl<D: Disk> Known<D> {
    /// A directory, with all that is in it.
    pub(super) fn read(hands: &dyn Hands, disk: &Arc<D>, place: &Place<D>) -> Result<Self, TreesError> {
        let known = Self::read_by(hands, &Terms { patterns: Patterns::Overlooked, ..Terms::default() }, disk, place)?;
        match known.manifest.entries[0].kind {
            Kind::Directory { .. } => Ok(known),
            _ => Err(TreesError::OneFile),
        }
    }

    /// A directory or a file, as it is published.
    pub(super) fn read_by(
        hands: &dyn Hands,
        terms: &Terms<'_>,
        disk: &Arc<D>,
        place: &Place<D>,
    ) -> Result<Self, TreesError> {
        let (found, source) = import_by(hands, terms, disk.clone(), place.parent.clone(), &place.name, &mut |_| {})?;
        let content = found.content.id();
        let page = |page| source.read(content, PieceNo(page)).expect("what was just made is in memory");
        let encoded = found.content.blob.shape().leaves().flat_map(page).collect::<Vec<u8>>();
        let manifest = Manifest::decode(&encoded).expect("an import makes a manifest");
        let files = files(&manifest).collect();
        let tree = Mutex::new(Tree::new(disk.clone(), place.parent.clone(), place.name.clone()));
        Ok(Self { disk: disk.clone(), tree, content, manifest, encoded, files, unread: Mutex::new(None) })
    }

    pub(super) fn files(&self) -> Numbered<'_, D> {
        Numbered(self)
    }

    pub(super) fn side<'a>(&'a self, files: &'a dyn Files) -> Side<'a> {
        Side { content: self.content, manifest: &self.manifest, encoded: &self.encoded, files }
    }

    /// A file that could not be read, if there was one.
    pub(super) fn unread(&self) -> Option<String> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn path(&self, file: u32) -> &[u8] {
        &self.manifest.entries[self.files[file as usize]].path
    }

    fn open_file(&self, file: u32) -> io::Result<D::File> {
        let (dir, name) = self.tree.lock().unwrap_or_else(PoisonError::into_inner).place(self.path(file))?;
        self.disk.open(&dir, &name)
    }

    pub(super) fn open(&self, file: u32) -> Result<D::File, TreesError> {
        self.open_file(file).map_err(|source| TreesError::Disk { path: words::name(self.path(file)), source })
    }
}

/// The files of a directory.
pub(super) struct Numbered<'a, D: Disk>(&'a Known<D>);

impl<D: Disk> Files for Numbered<'_, D> {
    fn count(&self) -> u32 {
        self.0.files.len() as u32
    }

    fn len(&self, file: u32) -> u64 {
        file_len(&self.0.manifest, self.0.files[file as usize])
    }

    fn read(&self, file: u32) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.len(file) as usize];
        self.read_into(file, &mut bytes).then_some(bytes)
    }

    fn read_into(&self, file: u32, buffer: &mut [u8]) -> bool {
        let read = self.0.open_file(file).and_then(|opened| self.0.disk.read_at(&opened, buffer, 0));
        let is_whole = read.is_ok_and(|read| read == buffer.len());
        if !is_whole {
            let mut unread = self.0.unread.lock().unwrap_or_else(PoisonError::into_inner);
            unread.get_or_insert_with(|| words::name(self.0.path(file)));
        }
        is_whole
    }

    fn name(&self, file: u32) -> Option<&[u8]> {
        Some(self.0.path(file))
    }
}

/// The entries that are files: the place of each among them is its number.
pub(crate) fn files(manifest: &Manifest) -> impl Iterator<Item = usize> {
    let is_file = |index: &usize| matches!(manifest.entries[*index].kind, Kind::File { .. });
    (0..manifest.entries.len()).filter(is_file)
}

pub(crate) fn file_len(manifest: &Manifest, entry: usize) -> u64 {
    if let Kind::File { len, .. } = manifest.entries[entry].kind { len } else { 0 }
}

/// Which new files are old ones, as far as is known, by their numbers.
#[derive(Debug)]
pub(crate) struct Sameness {
    /// Of each new file.
    old: Vec<Option<u32>>,
    /// The entry and length of each new file.
    entries: Vec<(usize, u64)>,
    /// The others: a tree patch brings them.
    pub(crate) wanted: Vec<u32>,
}

/// What a file is made of: digests, where in what they stand for, and how long.
type Making = Vec<(Option<Digest>, u64, u64)>;

impl Sameness {
    /// As both manifests tell it.
    pub(crate) fn of(old: &Manifest, new: &Manifest) -> Self {
        let mut by_making: BTreeMap<Making, u32> = BTreeMap::new();
        for (file, entry) in (0..).zip(files(old)) {
            by_making.entry(making(old, entry)).or_insert(file);
        }
        let entries: Vec<_> = files(new).map(|entry| (entry, file_len(new, entry))).collect();
        let known = |(entry, _): &(usize, u64)| by_making.get(&making(new, *entry)).copied();
        let old: Vec<_> = entries.iter().map(known).collect();
        let wanted = (0..).zip(&old).filter(|(_, old)| old.is_none()).map(|(file, _)| file).collect();
        Self { old, entries, wanted }
    }

    /// With what a tree patch says of those that are wanted.
    pub(crate) fn with(mut self, copies: Vec<(u32, u32)>) -> Self {
        for (at, from) in copies {
            self.old[self.wanted[at as usize] as usize] = Some(from);
        }
        self
    }

    /// The lengths of those that are wanted.
    pub(crate) fn lens(&self) -> Vec<u64> {
        self.wanted.iter().map(|file| self.entries[*file as usize].1).collect()
    }

    pub(crate) fn entry(&self, file: u32) -> usize {
        self.entries[file as usize].0
    }

    /// New files and the old ones that they are.
    pub(crate) fn known(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..).zip(&self.old).filter_map(|(file, old)| Some((file, (*old)?)))
    }

    pub(crate) fn summary(&self, old: &Manifest, new: &Manifest) -> Summary {
        let olds: Vec<usize> = files(old).collect();
        let paths: BTreeMap<&[u8], usize> = olds.iter().map(|entry| (&old.entries[*entry].path[..], *entry)).collect();
        let mut summary = Summary { size: new.totals().size, ..Summary::default() };
        for ((entry, len), from) in self.entries.iter().zip(&self.old) {
            let namesake = paths.get(&new.entries[*entry].path[..]).copied();
            let same = |from: u32| {
                let there = olds[from as usize];
                // Of equal old files the patch names one.
                namesake.is_some_and(|entry| entry == there || making(old, entry) == making(old, there))
            };
            let both_empty = *len == 0 && namesake.is_some_and(|entry| file_len(old, entry) == 0);
            let count = match (from, namesake) {
                _ if both_empty => &mut summary.unchanged,
                (Some(from), _) if same(*from) => &mut summary.unchanged,
                (Some(_), _) => &mut summary.renamed,
                (None, Some(_)) => &mut summary.changed,
                (None, None) => &mut summary.added,
            };
            *count += 1;
        }
        summary
    }
}

fn making(manifest: &Manifest, entry: usize) -> Making {
    let Kind::File { extents, .. } = &manifest.entries[entry].kind else { return Vec::new() };
    let piece = |index: u32| &manifest.pieces[index as usize];
    let mut making = Vec::new();
    for extent in extents {
        match *extent {
            Extent::Pieces { first, count } => {
                making.extend(
                    (first..first + count).map(|index| (Some(piece(index).digest), 0, piece(index).len.into())),
                );
            }
            Extent::Part { piece: index, offset, len } => {
                making.push((Some(piece(index).digest), offset.into(), len.into()));
            }
            Extent::Hole { len } => making.push((None, 0, len)),
        }
    }
    making
}
