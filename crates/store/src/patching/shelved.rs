//! The files of a content: ranges of its pieces, verified whenever they are read.

use super::{LONGEST_MANIFEST, refused};
use crate::ReadError;
use crate::disk::Disk;
use crate::keep::unread;
use crate::shelves::{Held, Shelves, locked};
use crate::trees::{Side, file_len, files};
use content::Manifest;
use content::manifest::{Extent, Kind};
use delta::tree::Files;
use engine::door::JobError;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// How many pieces that hold several files are kept, as those files are read one after another.
const PACKS: usize = 8;

/// A complete content, its manifest read.
pub(super) struct Shelved<'a, D: Disk> {
    shelves: &'a Shelves<D>,
    holding: Arc<Held<D>>,
    manifest: Manifest,
    pub(super) encoded: Vec<u8>,
    /// The entries that are files.
    files: Vec<usize>,
    /// The longest file that is read, in bytes.
    longest: u64,
    /// Those read last, the latest last.
    packs: Mutex<VecDeque<(u32, Arc<Vec<u8>>)>>,
    failed: Mutex<Option<JobError>>,
}

impl<'a, D: Disk> Shelved<'a, D> {
    pub(super) fn open(shelves: &'a Shelves<D>, holding: Arc<Held<D>>, longest: u64) -> Result<Self, JobError> {
        if holding.spec.blob.len > LONGEST_MANIFEST {
            return Err(refused(format!("the manifest of {} is too long for patches", holding.id())));
        }
        let encoded = shelves.read_blob(&holding).map_err(|why| unread(&holding, why))?;
        let manifest = Manifest::decode(&encoded).map_err(|why| refused(why.to_string()))?;
        let files = files(&manifest).collect();
        let (packs, failed) = (Mutex::default(), Mutex::default());
        Ok(Self { shelves, holding, manifest, encoded, files, longest, packs, failed })
    }

    pub(super) fn side(&self) -> Side<'_> {
        Side { content: self.holding.id(), manifest: &self.manifest, encoded: &self.encoded, files: self }
    }

    /// Why a file could not be read, the first time that one could not.
    pub(super) fn failed(&self) -> Option<JobError> {
        locked(&self.failed).clone()
    }

    /// All bytes of a file.
    fn bytes(&self, file: u32) -> Result<Vec<u8>, JobError> {
        let mut bytes = vec![0; self.checked_len(file)? as usize];
        self.bytes_into(file, &mut bytes)?;
        Ok(bytes)
    }

    /// The length of a file that is not too long to be read.
    pub(super) fn checked_len(&self, file: u32) -> Result<u64, JobError> {
        match self.len(file) {
            len if len > self.longest => Err(refused(format!("a file of {len} bytes is too long for patches"))),
            len => Ok(len),
        }
    }

    /// The same, into a buffer of its length.
    pub(super) fn bytes_into(&self, file: u32, mut rest: &mut [u8]) -> Result<(), JobError> {
        self.checked_len(file)?;
        let Kind::File { extents, .. } = &self.manifest.entries[self.files[file as usize]].kind else {
            return Ok(());
        };
        let beyond = || refused("a file is beyond its piece");
        let mut next = |len: usize| rest.split_off_mut(..len).ok_or_else(beyond);
        for extent in extents {
            match *extent {
                Extent::Pieces { first, count } => {
                    (first..first + count).try_for_each(|index| {
                        let piece = self.piece(index)?;
                        next(piece.len())?.copy_from_slice(&piece);
                        Ok(())
                    })?;
                }
                Extent::Part { piece, offset, len } => {
                    let pack = self.pack(piece)?;
                    let part = pack.get(offset as usize..).and_then(|rest| rest.get(..len as usize));
                    next(len as usize)?.copy_from_slice(part.ok_or_else(beyond)?);
                }
                Extent::Hole { len } => next(len as usize)?.fill(0),
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(beyond()) }
    }

    fn pack(&self, index: u32) -> Result<Arc<Vec<u8>>, JobError> {
        let known = locked(&self.packs).iter().find(|(known, _)| *known == index).map(|(_, bytes)| bytes.clone());
        if let Some(bytes) = known {
            return Ok(bytes);
        }
        let bytes = Arc::new(self.piece(index)?);
        let mut packs = locked(&self.packs);
        packs.push_back((index, bytes.clone()));
        if packs.len() > PACKS {
            packs.pop_front();
        }
        Ok(bytes)
    }

    fn piece(&self, index: u32) -> Result<Vec<u8>, JobError> {
        self.shelves.read_piece(&self.holding, index).map_err(|why| match why {
            ReadError::Disk(why) => JobError::Disk { why },
            ReadError::Missing | ReadError::Damaged => {
                let pieces = vec![Manifest::piece_no(self.holding.pages(), index)];
                JobError::Missing { content: self.holding.id(), pieces }
            }
        })
    }
}

impl<D: Disk> Files for Shelved<'_, D> {
    fn count(&self) -> u32 {
        self.files.len() as u32
    }

    fn len(&self, file: u32) -> u64 {
        file_len(&self.manifest, self.files[file as usize])
    }

    fn read(&self, file: u32) -> Option<Vec<u8>> {
        let bytes = self.bytes(file);
        bytes.map_err(|error| locked(&self.failed).get_or_insert(error).clone()).ok()
    }

    fn read_into(&self, file: u32, buffer: &mut [u8]) -> bool {
        let read = self.bytes_into(file, buffer);
        read.map_err(|error| locked(&self.failed).get_or_insert(error).clone()).is_ok()
    }

    fn name(&self, file: u32) -> Option<&[u8]> {
        Some(&self.manifest.entries[self.files[file as usize]].path)
    }
}
