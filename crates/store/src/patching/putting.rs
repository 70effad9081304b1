//! Files that come whole, in any order, written as the pieces that a manifest cuts them into.
//!
//! A piece that holds several files waits in memory until all of them have come. Nothing is written that does not have its digest.

use super::refused;
use super::shelved::Shelved;
use crate::disk::Disk;
use crate::hands::{Hands, each};
use crate::shelves::{Held, Shelves};
use crate::words;
use content::manifest::{Extent, Kind};
use content::{Digested, Manifest};
use delta::Room;
use delta::tree::Made;
use engine::door::JobError;
use std::collections::{BTreeMap, BTreeSet};

/// Files on their way into a content.
pub(super) struct Putting<'a, D: Disk> {
    shelves: &'a Shelves<D>,
    to: &'a Held<D>,
    manifest: &'a Manifest,
    hands: &'a dyn Hands,
    packs: BTreeMap<u32, Pack>,
}

/// A piece that holds several files, of which some have come.
struct Pack {
    bytes: Vec<u8>,
    /// The offsets and lengths of those.
    here: BTreeSet<(u32, u32)>,
}

impl<'a, D: Disk> Putting<'a, D> {
    pub(super) fn new(shelves: &'a Shelves<D>, to: &'a Held<D>, manifest: &'a Manifest, hands: &'a dyn Hands) -> Self {
        Self { shelves, to, manifest, hands, packs: BTreeMap::new() }
    }

    /// Takes a file: its entry, and what it is.
    pub(super) fn take(&mut self, old: &Shelved<'_, D>, entry: usize, made: Made<'_>) -> Result<(), JobError> {
        if self.is_here(entry) {
            return Ok(());
        }
        match made {
            Made::Bytes(bytes) => self.put(entry, bytes),
            Made::Old(file) => {
                let len = old.checked_len(file)? as usize;
                let mut bytes =
                    self.shelves.lending(self.to).take(len).ok_or_else(|| refused("there is no room for a file"))?;
                old.bytes_into(file, &mut bytes)?;
                self.put(entry, &bytes)
            }
        }
    }

    /// Whether a file has no piece that lacks.
    fn is_here(&self, entry: usize) -> bool {
        self.extents(entry).iter().all(|extent| match *extent {
            Extent::Pieces { first, count } => (first..first + count).all(|index| self.has(index)),
            Extent::Part { piece, .. } => self.has(piece),
            Extent::Hole { .. } => true,
        })
    }

    fn put(&mut self, entry: usize, bytes: &[u8]) -> Result<(), JobError> {
        let mut rest = bytes;
        for extent in self.extents(entry) {
            match *extent {
                Extent::Pieces { first, count } => rest = self.put_run(entry, first, count, rest)?,
                Extent::Part { piece, offset, len } => {
                    let part = rest.split_off(..len as usize).ok_or_else(|| self.differs(entry))?;
                    self.put_part(entry, piece, offset, part)?;
                }
                Extent::Hole { len } => {
                    rest =
                        usize::try_from(len).ok().and_then(|len| rest.get(len..)).ok_or_else(|| self.differs(entry))?;
                }
            }
        }
        Ok(())
    }

    /// Pieces of one file, by all hands; what is left of it.
    fn put_run<'b>(&self, entry: usize, first: u32, count: u32, mut rest: &'b [u8]) -> Result<&'b [u8], JobError> {
        let mut wanted = Vec::new();
        for index in first..first + count {
            let len = self.manifest.pieces[index as usize].len as usize;
            wanted.push((index, rest.split_off(..len).ok_or_else(|| self.differs(entry))?));
        }
        wanted.retain(|(index, _)| !self.has(*index));
        each(self.hands, wanted.len(), |nth| self.write(entry, wanted[nth].0, wanted[nth].1.to_vec()))
            .into_iter()
            .collect::<Result<(), _>>()?;
        Ok(rest)
    }

    fn put_part(&mut self, entry: usize, index: u32, offset: u32, part: &[u8]) -> Result<(), JobError> {
        if self.has(index) {
            return Ok(());
        }
        let len = self.manifest.pieces[index as usize].len;
        let empty = || Pack { bytes: vec![0; len as usize], here: BTreeSet::new() };
        let pack = self.packs.entry(index).or_insert_with(empty);
        let place = pack.bytes.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..part.len()));
        place.ok_or_else(|| refused("a file is beyond its piece"))?.copy_from_slice(part);
        pack.here.insert((offset, part.len() as u32));
        if pack.here.iter().map(|(_, len)| u64::from(*len)).sum::<u64>() < len.into() {
            return Ok(());
        }
        let bytes = self.packs.remove(&index).map_or(Vec::new(), |pack| pack.bytes);
        self.write(entry, index, bytes)
    }

    fn write(&self, entry: usize, index: u32, bytes: Vec<u8>) -> Result<(), JobError> {
        let piece = Manifest::piece_no(self.to.pages(), index);
        self.shelves.write(self.to.id(), piece, &Digested::new(bytes)).map_err(|error| match error {
            // Nobody sent this piece.
            JobError::Corrupt => self.differs(entry),
            error => error,
        })
    }

    fn has(&self, index: u32) -> bool {
        self.to.has(Manifest::piece_no(self.to.pages(), index))
    }

    fn extents(&self, entry: usize) -> &'a [Extent] {
        if let Kind::File { extents, .. } = &self.manifest.entries[entry].kind { extents } else { &[] }
    }

    fn differs(&self, entry: usize) -> JobError {
        let path = &self.manifest.entries[entry].path;
        let what = if path.is_empty() { "its file".to_owned() } else { words::name(path) };
        refused(format!("what the patch makes of {what} is not what stands in {}", self.to.id()))
    }
}
