//! The contents of a store on its disk: staging, blobs, quarantine, and the bytes in them, for many threads at once.
//!
//! This is the half that reads, hashes and writes; what changes names or state is in [`crate::keep`] and its likes, on one
//! thread. Bytes that are read are verified against a digest that was verified before, always: rot is found before a peer
//! or a release uses it.
//!
//! Invariant: what stands in `blobs/` was verified and durable when it got its name there.

use crate::disk::{Disk, Name};
use crate::ground::{Ground, if_there, ours};
use crate::holding::{Holding, Part};
use crate::pins::Pins;
use crate::places::Places;
use crate::{Options, ReadError};
use content::blob;
use content::blob::PAGE;
use content::encoding::Malformed;
use content::manifest::{MAX_ENCODED, Outline, OutlineReader};
use content::{ContentId, Digest, Digested, Manifest, PieceNo};
use engine::door::JobError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many contents keep their files open and their tables in memory.
const IN_USE: usize = 16;

/// A holding whose files are this disk's.
pub(crate) type Held<D> = Holding<<D as Disk>::File>;

/// The contents of a store, shared by its threads.
pub(crate) struct Shelves<D: Disk> {
    pub(crate) disk: Arc<D>,
    pub(crate) options: Options,
    pub(crate) home: Ground<D>,
    pub(crate) staging: D::Dir,
    pub(crate) blobs: D::Dir,
    /// Held open for as long as anyone uses the store: the lock ends with it.
    pub(crate) _lock: D::File,
    /// The contents that somebody uses.
    pub(crate) pins: Pins,
    /// Held by who makes a content's file of pieces.
    pub(crate) indexing: Mutex<()>,
    holdings: Mutex<BTreeMap<ContentId, Arc<Held<D>>>>,
    /// The contents in use, the latest last.
    in_use: Mutex<VecDeque<ContentId>>,
    /// Contents of which something was found damaged, and which the single thread has not dealt with.
    damaged: Mutex<BTreeSet<ContentId>>,
    unsynced: AtomicU64,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of one of a content's two files, in staging and in blobs.
pub(crate) fn file_name(content: ContentId, part: Part) -> Name {
    ours(&format!("{content}.{}", part.extension()))
}

/// Why the pages of a content are no manifest that could be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoManifest {
    #[error("a page cannot be read: {0}")]
    Unread(#[from] ReadError),
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl<D: Disk> Shelves<D> {
    pub(crate) fn new(
        disk: Arc<D>,
        options: Options,
        home: Ground<D>,
        (staging, blobs): (D::Dir, D::Dir),
        lock: D::File,
    ) -> Self {
        Self {
            disk,
            options,
            home,
            staging,
            blobs,
            _lock: lock,
            pins: Pins::default(),
            indexing: Mutex::default(),
            holdings: Mutex::default(),
            in_use: Mutex::default(),
            damaged: Mutex::default(),
            unsynced: AtomicU64::new(0),
        }
    }

    pub(crate) fn find(&self, content: ContentId) -> Option<Arc<Held<D>>> {
        locked(&self.holdings).get(&content).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Held<D>>> {
        locked(&self.holdings).values().cloned().collect()
    }

    pub(crate) fn add(&self, holding: Held<D>) -> Arc<Held<D>> {
        let holding = Arc::new(holding);
        locked(&self.holdings).insert(holding.id(), holding.clone());
        holding
    }

    pub(crate) fn forget(&self, content: ContentId) {
        if let Some(holding) = locked(&self.holdings).remove(&content) {
            let mut inner = holding.lock();
            inner.is_forgotten = true;
            self.unsynced.fetch_sub(inner.unsynced, Ordering::Relaxed);
        }
        locked(&self.in_use).retain(|other| *other != content);
        locked(&self.damaged).remove(&content);
    }

    /// The contents of which something was found damaged since the last time.
    pub(crate) fn take_damaged(&self) -> BTreeSet<ContentId> {
        std::mem::take(&mut *locked(&self.damaged))
    }

    pub(crate) fn checkpoint_due(&self) -> bool {
        self.unsynced.load(Ordering::Relaxed) >= self.options.checkpoint
    }

    pub(crate) fn checkpoint_overdue(&self) -> bool {
        self.unsynced.load(Ordering::Relaxed) >= self.options.checkpoint.saturating_add(self.options.checkpoint / 4)
    }

    /// So many payload bytes of a content are durable now, or thrown away: they do not count for the next checkpoint.
    pub(crate) fn covered(&self, holding: &Held<D>, bytes: u64) {
        let mut inner = holding.lock();
        inner.unsynced = inner.unsynced.saturating_sub(bytes);
        drop(inner);
        self.unsynced.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Something of this content was found damaged: the single thread deals with it.
    pub(crate) fn note_damage(&self, content: ContentId) {
        locked(&self.damaged).insert(content);
    }

    /// The file of a content, for reading and writing; wherever its name is now.
    pub(crate) fn file(&self, holding: &Held<D>, part: Part) -> io::Result<Arc<D::File>> {
        if let Some(file) = holding.lock().file(part).clone() {
            return Ok(file);
        }
        let name = file_name(holding.id(), part);
        let epoch = match &*holding.lock() {
            inner if inner.spoilt == Some(part) => return Err(thrown_away()),
            inner => inner.epoch,
        };
        let staged = if_there(self.disk.open_write(&self.staging, &name))?;
        let file = Arc::new(match staged {
            Some(file) => file,
            None => self.disk.open_write(&self.blobs, &name)?,
        });
        self.note_use(holding.id());
        let mut inner = holding.lock();
        if inner.epoch != epoch {
            return Err(thrown_away());
        }
        Ok(inner.file(part).get_or_insert(file).clone())
    }

    /// Makes one of a content's files anew in staging, empty, with its length.
    pub(crate) fn make_file(&self, holding: &Held<D>, part: Part, len: u64) -> io::Result<()> {
        let name = file_name(holding.id(), part);
        if_there(self.disk.remove_file(&self.staging, &name))?;
        let file = self.disk.create(&self.staging, &name, 0o600)?;
        self.disk.set_len(&file, len)
    }

    /// The same, with what the engine can do when there is no room.
    pub(crate) fn make_room(&self, holding: &Held<D>, part: Part, len: u64) -> Result<(), JobError> {
        self.make_file(holding, part, len).map_err(self.home.failed("making room for a content", len))
    }

    /// Remembers that a content is in use, and lets the one rest that was used longest ago.
    fn note_use(&self, content: ContentId) {
        let oldest = {
            let mut in_use = locked(&self.in_use);
            in_use.retain(|other| *other != content);
            in_use.push_back(content);
            if in_use.len() > IN_USE { in_use.pop_front() } else { None }
        };
        if let Some(holding) = oldest.and_then(|oldest| self.find(oldest)) {
            holding.rest();
        }
    }

    /// The digest of a page, from its parent page, which is verified too.
    fn page_digest(&self, holding: &Held<D>, page: u32) -> Result<Digest, ReadError> {
        let Some(parent) = holding.shape.parent(page) else { return Ok(holding.id().0) };
        let known = holding.lock().parents.get(&parent.page).cloned();
        let bytes = match known {
            Some(bytes) => bytes,
            None => {
                let bytes = Arc::new(self.read_page(holding, parent.page)?);
                holding.lock().parents.insert(parent.page, bytes.clone());
                bytes
            }
        };
        blob::digest_at(&bytes, parent.slot).ok_or(ReadError::Missing)
    }

    /// A page that is here, verified.
    pub(crate) fn read_page(&self, holding: &Held<D>, page: u32) -> Result<Vec<u8>, ReadError> {
        if !holding.has(PieceNo(page)) {
            return Err(ReadError::Missing);
        }
        let digest = self.page_digest(holding, page)?;
        let (offset, len) = (holding.shape.offset(page), holding.shape.page_len(page));
        self.read_verified(holding, PieceNo(page), offset, len, digest)
    }

    /// A piece that the manifest names and that is here, verified.
    pub(crate) fn read_piece(&self, holding: &Held<D>, index: u32) -> Result<Vec<u8>, ReadError> {
        let piece = Manifest::piece_no(holding.pages(), index);
        if !holding.has(piece) {
            return Err(ReadError::Missing);
        }
        let places = self.places(holding).map_err(|_| ReadError::Missing)?;
        let place = places.get(index).ok_or(ReadError::Missing)?;
        let digest = self.piece_digest(holding, &places, index)?;
        self.read_verified(holding, piece, place.offset, place.len as usize, digest)
    }

    /// The digest of a piece, from the manifest's table of pieces, verified.
    pub(crate) fn piece_digest(&self, holding: &Held<D>, places: &Places, index: u32) -> Result<Digest, ReadError> {
        let at = places.in_table(index);
        let (page, from) = (holding.shape.leaves().start + (at / PAGE as u64) as u32, (at % PAGE as u64) as usize);
        let first = self.table(holding, page)?;
        let here = first.get(from..).unwrap_or_default();
        let mut digest = [0; Digest::LEN];
        match here.get(..Digest::LEN) {
            Some(whole) => digest.copy_from_slice(whole),
            None => {
                let next = self.table(holding, page + 1)?;
                let rest = next.get(..Digest::LEN - here.len()).ok_or(ReadError::Missing)?;
                digest[..here.len()].copy_from_slice(here);
                digest[here.len()..].copy_from_slice(rest);
            }
        }
        Ok(Digest::from_bytes(digest))
    }

    /// A page of the lowest level, which is kept for a while.
    fn table(&self, holding: &Held<D>, page: u32) -> Result<Arc<Vec<u8>>, ReadError> {
        if let Some(bytes) = holding.table(page) {
            return Ok(bytes);
        }
        let bytes = Arc::new(self.read_page(holding, page)?);
        holding.keep_table(page, bytes.clone());
        Ok(bytes)
    }

    fn read_verified(
        &self,
        holding: &Held<D>,
        piece: PieceNo,
        offset: u64,
        len: usize,
        digest: Digest,
    ) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; len];
        let read =
            self.file(holding, holding.part(piece)).and_then(|file| self.disk.read_at(&file, &mut bytes, offset));
        match read {
            Ok(read) if read == len && Digest::of(&bytes) == digest => Ok(bytes),
            Ok(_) => Err(self.damage(holding, piece)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.damage(holding, piece)),
            Err(error) => Err(ReadError::Disk(format!("reading from {}: {error}", self.home.name()))),
        }
    }

    fn damage(&self, holding: &Held<D>, piece: PieceNo) -> ReadError {
        holding.lose(piece);
        self.note_damage(holding.id());
        ReadError::Damaged
    }

    /// All bytes of a content's blob, verified.
    pub(crate) fn read_blob(&self, holding: &Held<D>) -> Result<Vec<u8>, ReadError> {
        self.refuse_long(holding)?;
        let mut bytes = Vec::with_capacity(holding.spec.blob.len as usize);
        for page in holding.shape.leaves() {
            bytes.extend_from_slice(&self.read_page(holding, page)?);
        }
        Ok(bytes)
    }

    /// What the manifest of a content says, but for the digests: those are read when they are asked for.
    pub(crate) fn outline(&self, holding: &Held<D>) -> Result<Outline, NoManifest> {
        self.refuse_long(holding)?;
        let mut reader = OutlineReader::new();
        for page in holding.shape.leaves() {
            reader.feed(&self.read_page(holding, page)?)?;
        }
        Ok(reader.finish()?)
    }

    fn refuse_long(&self, holding: &Held<D>) -> Result<(), ReadError> {
        match holding.spec.blob.len > MAX_ENCODED {
            true => Err(ReadError::Disk(format!("{} is too long to be a manifest", holding.id()))),
            false => Ok(()),
        }
    }

    /// Where the pieces of a content stand; read from its manifest when they were not in use lately.
    pub(crate) fn places(&self, holding: &Held<D>) -> Result<Arc<Places>, NoManifest> {
        let known = holding.lock().places.clone();
        if let Some(places) = known {
            return Ok(places);
        }
        let places = Arc::new(Places::of(&self.outline(holding)?));
        self.note_use(holding.id());
        Ok(holding.lock().places.get_or_insert(places).clone())
    }

    /// The length and digest that a piece must have, and where it belongs.
    fn expected(&self, holding: &Held<D>, piece: PieceNo) -> Result<(usize, Digest, u64), ReadError> {
        match holding.part(piece) {
            Part::Pages => {
                let digest = self.page_digest(holding, piece.0)?;
                Ok((holding.shape.page_len(piece.0), digest, holding.shape.offset(piece.0)))
            }
            Part::Pieces => {
                let places = self.places(holding).map_err(|_| ReadError::Missing)?;
                let index = piece.0 - holding.pages();
                let place = places.get(index).ok_or(ReadError::Missing)?;
                Ok((place.len as usize, self.piece_digest(holding, &places, index)?, place.offset))
            }
        }
    }

    /// Verifies a payload and writes it where it belongs.
    pub(crate) fn write(&self, content: ContentId, piece: PieceNo, payload: &Digested) -> Result<(), JobError> {
        let missing = |piece| JobError::Missing { content, pieces: vec![piece] };
        let holding = self.find(content).ok_or(missing(piece))?;
        if piece.0 >= holding.spec.total() {
            return Err(JobError::Corrupt);
        }
        let (len, digest, offset) = match self.expected(&holding, piece) {
            Ok(expected) => expected,
            Err(ReadError::Disk(why)) => return Err(JobError::Disk { why }),
            // What says how this piece must be is not here: for a page its parent, for a piece the manifest's pages.
            Err(ReadError::Missing | ReadError::Damaged) => return Err(self.lacking_for(&holding, piece)),
        };
        verify(payload, len, digest)?;
        if holding.has(piece) {
            return Ok(());
        }
        let epoch = holding.lock().epoch;
        let part = holding.part(piece);
        let need = payload.bytes().len() as u64;
        let written = self.file(&holding, part).and_then(|file| self.disk.write_at(&file, payload.bytes(), offset));
        written.map_err(self.home.failed("writing a piece", need))?;
        match holding.arrived(piece, need, epoch) {
            true => self.unsynced.fetch_add(need, Ordering::Relaxed),
            false => return Err(missing(piece)),
        };
        Ok(())
    }

    /// The pages that must come (again) before `piece` can be judged.
    fn lacking_for(&self, holding: &Held<D>, piece: PieceNo) -> JobError {
        let inner = holding.lock();
        let above = (0..holding.pages().min(piece.0)).map(PieceNo).filter(|page| !inner.have.contains(*page));
        let mut pieces: Vec<PieceNo> = above.collect();
        pieces.push(piece);
        JobError::Missing { content: holding.id(), pieces }
    }
}

fn thrown_away() -> io::Error {
    io::Error::other("the file is thrown away because it could not be synced")
}

fn verify(payload: &Digested, len: usize, digest: Digest) -> Result<(), JobError> {
    if payload.bytes().len() == len && payload.digest() == digest { Ok(()) } else { Err(JobError::Corrupt) }
}
