//! Keeping contents: making room, reading manifests, making progress durable, and the word "complete".
//!
//! Invariant: data, then name, then word. A file is synced before it is renamed into `blobs/`, both directories are synced
//! before the state says "complete", and what a failed sync touched is thrown away and comes again through a new file.

use crate::disk::Disk;
use crate::ground::{Need, if_there};
use crate::holding::{Holding, Part};
use crate::record::{Change, ContentRecord};
use crate::shelves::{Held, NoManifest, file_name};
use crate::{ReadError, Store};
use content::{Bitmap, ContentId, ContentSpec, PieceNo, Release, Signed};
use engine::door::{JobDone, JobError};
use std::io;
use std::sync::Arc;

/// About what a commit of the state writes, in bytes: for the words of a full disk.
const COMMIT: u64 = 64 * 1024;

impl<D: Disk> Store<D> {
    /// Makes room for a content, and says what of it is here.
    pub(crate) fn open_content(&mut self, spec: &ContentSpec) -> Result<JobDone, JobError> {
        if let Some(holding) = self.shelves.find(spec.id()) {
            if holding.spec == *spec {
                return Ok(opened(&holding));
            }
            self.redeclare(&holding)?;
        }
        if !spec.is_plausible() {
            return Err(refused("its declared pieces and bytes contradict each other"));
        }
        let holding = Holding::new(*spec, Bitmap::empty(spec.total()), spec.pieces == 0, false);
        let need = Need { bytes: holding.pages_len() + spec.bytes, inodes: 2 };
        self.shelves.home.room(need, self.shelves.options.reserve)?;
        self.shelves.make_room(&holding, Part::Pages, holding.pages_len())?;
        // Nothing of it is here, so there is nothing to remember: the first checkpoint, or its completion, does. Whoever waits
        // for the first byte would wait for this sync.
        Ok(opened(&self.shelves.add(holding)))
    }

    /// Two documents declare one content differently: the later one is believed as long as nothing proves the earlier.
    fn redeclare(&mut self, holding: &Held<D>) -> Result<(), JobError> {
        if holding.is_complete() || (holding.lock().indexed && holding.spec.pieces > 0) {
            return Err(refused("the content is here, and its pieces or bytes are not what is declared now"));
        }
        if self.shelves.pins.hold(holding.id()) {
            return Err(JobError::Disk {
                why: "the content is being made by a patch, as it was declared before".to_owned(),
            });
        }
        self.drop_contents(&[holding.id()]).map(|_| ())
    }

    /// Reads the pages as a manifest, holds it against the declaration, and takes over what other contents have of it.
    pub(crate) fn index_content(&mut self, content: ContentId) -> Result<JobDone, JobError> {
        let holding = self.held(content)?;
        self.shelves.index(&holding)?;
        // A manifest of its own is made durable with the first pieces, which wait for this.
        self.checkpoint_if_due(&holding)?;
        let have = holding.lock().have.clone();
        Ok(JobDone::Indexed { have })
    }

    /// Makes what has come of a content durable if it is much.
    pub(crate) fn checkpoint_if_due(&mut self, holding: &Arc<Held<D>>) -> Result<(), JobError> {
        match self.shelves.checkpoint_due() {
            true => self.checkpoint_these(std::slice::from_ref(holding))?.ok_or_missing(holding.id()),
            false => Ok(()),
        }
    }

    /// Makes a content durable, and then says that it is.
    pub(crate) fn complete_content(&mut self, content: ContentId) -> Result<JobDone, JobError> {
        let holding = self.held(content)?;
        if holding.is_complete() {
            return Ok(JobDone::Completed);
        }
        let lacking = holding.lacking();
        if !lacking.is_empty() {
            return Err(JobError::Missing { content, pieces: lacking });
        }
        self.sync_files(&holding)?.ok_or_missing(content)?;
        self.name_blobs(&holding).map_err(self.shelves.home.failed("naming a complete content", COMMIT))?;
        self.commit(&[Change::content(&record(&holding, None))])?;
        let mut inner = holding.lock();
        // A piece may have been found damaged since; then it is not complete after all.
        inner.complete = inner.have.is_full();
        let bytes = inner.unsynced;
        drop(inner);
        self.shelves.covered(&holding, bytes);
        Ok(JobDone::Completed)
    }

    /// Moves a content's synced files into `blobs/`, durably. When the directory cannot be synced they go back: only a new
    /// rename makes a later sync of it mean something.
    fn name_blobs(&self, holding: &Held<D>) -> io::Result<()> {
        let (disk, staging, blobs) = (&self.shelves.disk, &self.shelves.staging, &self.shelves.blobs);
        for part in parts(holding).into_iter().rev() {
            let name = file_name(holding.id(), part);
            if if_there(disk.rename(staging, &name, blobs, &name))?.is_none() {
                disk.metadata(blobs, &name)?;
            }
        }
        disk.sync_dir(blobs).and_then(|()| disk.sync_dir(staging)).inspect_err(|_| self.unname_blobs(holding))
    }

    fn unname_blobs(&self, holding: &Held<D>) {
        if let Err(error) = self.move_to_staging(holding) {
            // They stay where they are; complete or not is what the state says, and the next sync of both decides.
            drop(error);
        }
    }

    fn move_to_staging(&self, holding: &Held<D>) -> io::Result<()> {
        let (disk, staging, blobs) = (&self.shelves.disk, &self.shelves.staging, &self.shelves.blobs);
        for part in parts(holding) {
            let name = file_name(holding.id(), part);
            if_there(disk.rename(blobs, &name, staging, &name))?;
        }
        Ok(())
    }

    /// Deals with what was found damaged, and with files that could not be thrown away, since the last job. What cannot be
    /// dealt with now is tried again before the next job; until then none of it is believed, so other jobs go on.
    pub(crate) fn settle(&mut self) {
        for holding in self.shelves.all() {
            let spoilt = holding.lock().spoilt;
            if let Some(part) = spoilt {
                self.throw_away(&holding, part).unwrap_or_default();
            }
        }
        for content in self.shelves.take_damaged() {
            if let Some(holding) = self.shelves.find(content) {
                self.demote(&holding).unwrap_or_else(|_| self.shelves.note_damage(content));
            }
        }
    }

    /// A content of which a piece is damaged loses its name in `blobs/` and is under way again; what is whole stays.
    fn demote(&mut self, holding: &Held<D>) -> Result<(), JobError> {
        let failed = |error| self.shelves.home.failed("taking a damaged content out of use", COMMIT)(error);
        self.move_to_staging(holding).map_err(failed)?;
        let disk = &self.shelves.disk;
        disk.sync_dir(&self.shelves.staging).and_then(|()| disk.sync_dir(&self.shelves.blobs)).map_err(failed)?;
        let have = holding.lock().have.clone();
        self.notes.push(format!(
            "content {}: {} pieces are damaged or missing on disk; they are fetched again",
            holding.id(),
            have.len() - have.count()
        ));
        self.commit(&[Change::content(&record(holding, Some(have)))])
    }

    /// Makes the progress of all contents under way durable.
    pub(crate) fn checkpoint_all(&mut self) -> Result<Vec<(ContentId, PieceNo)>, JobError> {
        self.settle();
        let under_way: Vec<_> = self.shelves.all().into_iter().filter(|holding| holding.lock().unsynced > 0).collect();
        Ok(self.checkpoint_these(&under_way)?.0)
    }

    fn checkpoint_these(&mut self, holdings: &[Arc<Held<D>>]) -> Result<Lost, JobError> {
        let mut lost = Lost::default();
        let mut covered = Vec::new();
        for holding in holdings {
            // What arrives while the files are being synced is not covered by it.
            let (have, bytes) = {
                let inner = holding.lock();
                (inner.have.clone(), inner.unsynced)
            };
            let gone = self.sync_files(holding)?;
            match gone.0.is_empty() && !holding.is_complete() {
                true => covered.push((holding, have, bytes)),
                false => lost.0.extend(gone.0),
            }
        }
        let change =
            |(holding, have, _): &(&Arc<Held<D>>, Bitmap, u64)| Change::content(&record(holding, Some(have.clone())));
        let changes: Vec<Change> = covered.iter().map(change).collect();
        if !changes.is_empty() {
            let names = self.shelves.disk.sync_dir(&self.shelves.staging);
            names.map_err(self.shelves.home.failed("making progress durable", COMMIT))?;
            self.commit(&changes)?;
        }
        covered.into_iter().for_each(|(holding, _, bytes)| self.shelves.covered(holding, bytes));
        Ok(lost)
    }

    /// Syncs a content's files; the pieces of those that cannot be synced are lost.
    fn sync_files(&mut self, holding: &Held<D>) -> Result<Lost, JobError> {
        let mut lost = Lost::default();
        for part in parts(holding) {
            let synced = self.shelves.file(holding, part).and_then(|file| self.shelves.disk.sync(&file));
            if synced.is_err() {
                lost.0.extend(self.lose_file(holding, part)?);
            }
        }
        Ok(lost)
    }

    /// A file could not be synced: nothing in it is believed any more.
    fn lose_file(&mut self, holding: &Held<D>, part: Part) -> Result<Vec<(ContentId, PieceNo)>, JobError> {
        let mut inner = holding.lock();
        let bytes = inner.unsynced;
        let lost: Vec<PieceNo> = holding.numbers(part).map(PieceNo).filter(|piece| inner.have.remove(*piece)).collect();
        (inner.complete, inner.spoilt) = (false, Some(part));
        *inner.file(part) = None;
        inner.epoch += 1;
        drop(inner);
        self.shelves.covered(holding, bytes);
        self.throw_away(holding, part)?;
        Ok(lost.into_iter().map(|piece| (holding.id(), piece)).collect())
    }

    /// Throws a file away, after the state says that nothing of it is here, and makes a new one.
    fn throw_away(&mut self, holding: &Held<D>, part: Part) -> Result<(), JobError> {
        // Nothing is recorded as here: what came into the other file since the last checkpoint is not synced either.
        let nothing = Bitmap::empty(holding.spec.total());
        self.commit(&[Change::content(&record(holding, Some(nothing)))])?;
        let failed = |error| self.shelves.home.failed("throwing away a file that could not be synced", 0)(error);
        self.move_to_staging(holding).map_err(failed)?;
        let len = match part {
            Part::Pages => holding.pages_len(),
            Part::Pieces => self.shelves.places(holding).map_err(|why| no_manifest(holding, why))?.len(),
        };
        self.shelves.make_room(holding, part, len)?;
        holding.lock().spoilt = None;
        Ok(())
    }

    /// Forgets contents, and removes their files; returns how many bytes that freed.
    pub(crate) fn drop_contents(&mut self, contents: &[ContentId]) -> Result<u64, JobError> {
        let changes: Vec<Change> = contents.iter().map(|content| Change::no_content(*content)).collect();
        self.commit(&changes)?;
        let mut freed = 0;
        for &content in contents {
            self.shelves.forget(content);
            let failed = self.shelves.home.failed("removing a content", 0);
            freed += self.remove_files(content).map_err(failed)?;
        }
        Ok(freed)
    }

    fn remove_files(&self, content: ContentId) -> io::Result<u64> {
        let (disk, mut freed) = (&self.shelves.disk, 0);
        for part in Part::ALL {
            for dir in [&self.shelves.blobs, &self.shelves.staging] {
                let name = file_name(content, part);
                if let Some(meta) = if_there(disk.metadata(dir, &name))? {
                    disk.remove_file(dir, &name)?;
                    freed += meta.len;
                }
            }
        }
        Ok(freed)
    }

    /// A content that is here, or the news that it is not.
    pub(crate) fn held(&self, content: ContentId) -> Result<Arc<Held<D>>, JobError> {
        self.shelves.find(content).ok_or(JobError::Missing { content, pieces: Vec::new() })
    }

    /// A content that is complete, or the news of what it lacks.
    pub(crate) fn complete(&self, spec: &ContentSpec) -> Result<Arc<Held<D>>, JobError> {
        let none = || JobError::Missing { content: spec.id(), pieces: (0..spec.total()).map(PieceNo).collect() };
        let holding = match (self.shelves.find(spec.id()), &self.lender) {
            (Some(holding), _) => holding,
            (None, Some(blobs)) => self.borrow(blobs, spec)?,
            (None, None) => return Err(none()),
        };
        if holding.spec != *spec {
            return Err(refused("the content is here, and its pieces or bytes are not what the release declares"));
        }
        match holding.is_complete() {
            true => Ok(holding),
            false => Err(JobError::Missing { content: spec.id(), pieces: holding.lacking() }),
        }
    }

    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<(), JobError> {
        let need = COMMIT + changes.iter().map(|change| change.value.as_ref().map_or(0, Vec::len) as u64).sum::<u64>();
        self.state.commit(changes).map_err(self.shelves.home.failed("writing the state", need))
    }
}

/// Pieces that were believed to be here, and are not.
#[derive(Debug, Default)]
struct Lost(Vec<(ContentId, PieceNo)>);

impl Lost {
    fn ok_or_missing(self, content: ContentId) -> Result<(), JobError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(JobError::Missing { content, pieces: self.0.into_iter().map(|(_, piece)| piece).collect() }),
        }
    }
}

/// The files that a content has by now.
pub(crate) fn parts<F>(holding: &Holding<F>) -> Vec<Part> {
    let pieces = holding.spec.pieces > 0 && holding.lock().indexed;
    if pieces { Part::ALL.to_vec() } else { vec![Part::Pages] }
}

pub(crate) fn record<F>(holding: &Holding<F>, have: Option<Bitmap>) -> ContentRecord {
    ContentRecord { spec: holding.spec, indexed: holding.lock().indexed, have }
}

fn opened<F>(holding: &Holding<F>) -> JobDone {
    let inner = holding.lock();
    let pages = holding.numbers(Part::Pages).all(|page| inner.have.contains(PieceNo(page)));
    JobDone::Opened { have: inner.have.clone(), indexed: inner.indexed && pages, complete: inner.complete }
}

/// The release in a signed document. Its signature was judged by the engine.
pub(crate) fn decode_release(signed: &Signed) -> Result<Release, JobError> {
    Release::decode(&signed.payload).map_err(|why| refused(why.to_string()))
}

pub(crate) fn refused(why: impl Into<String>) -> JobError {
    JobError::Refused { why: why.into() }
}

/// What the engine can do about pages that are no usable manifest.
pub(crate) fn no_manifest<F>(holding: &Holding<F>, why: NoManifest) -> JobError {
    match why {
        NoManifest::Malformed(why) => refused(why.to_string()),
        NoManifest::Unread(why) => unread(holding, why),
    }
}

/// What the engine can do about a piece that cannot be read.
pub(crate) fn unread<F>(holding: &Holding<F>, why: ReadError) -> JobError {
    match why {
        ReadError::Disk(why) => JobError::Disk { why },
        ReadError::Missing | ReadError::Damaged => {
            JobError::Missing { content: holding.id(), pieces: holding.lacking() }
        }
    }
}
