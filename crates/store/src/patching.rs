//! Patches between contents: made of two that are here, and applied to one to make what another one lacks.
//!
//! The bytes are those of [`crate::trees`]; here files are ranges of pieces, and each piece is verified whenever it is read, and before
//! it is written. So whatever a patch says, what it leaves are right pages and right pieces, or none, and what it does not make comes in
//! another way.
//!
//! **Memory.** Making a patch takes [`MAKING`] for what is compared, and holds both manifests, of [`LONGEST_MANIFEST`] at most, and no file
//! longer than [`MAKING`]. Applying one holds the same manifests, the patch, which is hardly longer than what it makes, the pieces under way that
//! hold several files, which are part of what it makes, and for one part of the patch at a time what it says that it needs, never more than
//! 80 MiB, four times the target's pieces and once the base's. Of that, what is large is in files without a name where the disk can ([`Lending`]).
//!
//! Invariant: nothing is named here but by the jobs that name contents anyway, so whatever call of the disk fails, the same job can be run
//! again.

mod putting;
mod shelved;

use crate::disk::Disk;
use crate::hands::Hands;
use crate::keep::{refused, unread};
use crate::lending::Lending;
use crate::pins::Pinned;
use crate::shelves::{Held, Shelves};
use crate::trees::{self, Head, Making, TreesError, Unmade};
use crate::{Pieces, Store};
use content::{ContentId, ContentSpec, Digested, PieceNo, blob};
use delta::Budget;
use engine::door::{Effort, JobDone, JobError};
use putting::Putting;
use shelved::Shelved;
use std::sync::Arc;

/// How much is compared at once takes so much memory, in bytes; what needs more is compared with less effort.
const MAKING: u64 = 1 << 30;

/// The longest manifest that is patched, in bytes: of about a million files.
const LONGEST_MANIFEST: u64 = 64 << 20;

/// By how much a patch may be longer than all that it makes, in bytes: of a few bytes none is shorter.
const HEADS: u64 = 4096;

impl<D: Disk> Pieces<D> {
    /// Keeps contents from being collected, here or not yet. Who gives [`Self::patch`] to another thread pins what it needs first, so that
    /// no job in between takes it away.
    pub fn pin(&self, contents: &[ContentId]) -> Pinned {
        self.shelves.pins.pin(contents)
    }

    /// A patch that makes a content of another one, both complete, if it is shorter than `below` bytes: for [`Store::keep_patch`]. It may
    /// take minutes.
    pub fn diff(
        &self,
        base: ContentId,
        target: ContentId,
        effort: Effort,
        below: u64,
        hands: &dyn Hands,
    ) -> Result<Option<Vec<u8>>, JobError> {
        let _pinned = self.pin(&[base, target]);
        let open = |content| Shelved::open(&self.shelves, self.shelves.whole(content)?, MAKING);
        let (old, new) = (open(base)?, open(target)?);
        let effort = match effort {
            Effort::Fast => delta::Effort::Fast,
            Effort::Best => delta::Effort::Best,
        };
        let written = trees::write(hands, (old.side(), new.side()), effort, MAKING);
        let written = written.map_err(|error| refused(error.to_string()))?;
        let (patch, _) = written.ok_or_else(|| old.failed().or(new.failed()).unwrap_or_else(no_order))?;
        Ok((patch.len() as u64 <= below.saturating_sub(1)).then_some(patch))
    }

    /// Makes what a content lacks of a complete one and a complete patch: [`JobDone::Patched`]. The content was opened; it is indexed on
    /// the way. It may take minutes, and what it writes counts for the next checkpoint, like any piece that comes.
    pub fn patch(
        &self,
        base: ContentId,
        target: ContentId,
        patch: ContentId,
        hands: &dyn Hands,
    ) -> Result<JobDone, JobError> {
        let _pinned = self.pin(&[base, target, patch]);
        let none = JobError::Missing { content: target, pieces: Vec::new() };
        let to = self.shelves.find(target).ok_or(none)?;
        if !to.is_complete() {
            self.shelves.make(base, &to, patch, hands)?;
        }
        let have = to.lock().have.clone();
        Ok(JobDone::Patched { have })
    }
}

impl<D: Disk> Store<D> {
    /// Keeps a patch that [`Pieces::diff`] made: it is a complete and durable content when this returns [`JobDone::Diffed`].
    pub fn keep_patch(&mut self, patch: &[u8]) -> Result<JobDone, JobError> {
        self.settle();
        let (blob, pages) = blob::build(patch);
        let spec = ContentSpec { blob, pieces: 0, bytes: 0 };
        self.open_content(&spec)?;
        let holding = self.held(spec.id())?;
        let kept = self.shelves.put_pages(&holding, pages).and_then(|()| self.complete_content(spec.id()));
        kept.map_err(|error| match error {
            // Nobody has it to fetch it from.
            JobError::Missing { .. } => {
                JobError::Disk { why: "a patch that was just written could not be kept".to_owned() }
            }
            error => error,
        })?;
        Ok(JobDone::Diffed { patch: Some(spec) })
    }

    /// All of [`engine::door::Job::Diff`], by the thread that calls and the store's hands.
    pub(crate) fn diff(
        &mut self,
        base: ContentId,
        target: ContentId,
        effort: Effort,
        below: u64,
    ) -> Result<JobDone, JobError> {
        let hands = self.shelves.options.hands.clone();
        match self.pieces().diff(base, target, effort, below, &*hands)? {
            Some(patch) => self.keep_patch(&patch),
            None => Ok(JobDone::Diffed { patch: None }),
        }
    }

    /// All of [`engine::door::Job::Patch`].
    pub(crate) fn patch(&mut self, base: ContentId, target: ContentId, patch: ContentId) -> Result<JobDone, JobError> {
        let hands = self.shelves.options.hands.clone();
        let done = self.pieces().patch(base, target, patch, &*hands)?;
        let holding = self.held(target)?;
        self.checkpoint_if_due(&holding)?;
        Ok(done)
    }
}

impl<D: Disk> Shelves<D> {
    /// A content that is complete, or the news of what it lacks.
    fn whole(&self, content: ContentId) -> Result<Arc<Held<D>>, JobError> {
        let holding = self.find(content).ok_or(JobError::Missing { content, pieces: Vec::new() })?;
        match holding.is_complete() {
            true => Ok(holding),
            false => Err(JobError::Missing { content, pieces: holding.lacking() }),
        }
    }

    /// Writes what lacks of a content.
    fn make(&self, base: ContentId, to: &Held<D>, patch: ContentId, hands: &dyn Hands) -> Result<(), JobError> {
        let patch = self.whole(patch)?;
        let most = to.spec.blob.len.saturating_add(to.spec.bytes).saturating_add(HEADS);
        if patch.spec.pieces > 0 || patch.spec.blob.len > most {
            return Err(refused("what should be a patch is no plain bytes, or longer than all that it should make"));
        }
        let patch = self.read_blob(&patch).map_err(|why| unread(&patch, why))?;
        let head = Head::read(&patch).map_err(unfit)?;
        head.check_base(base).map_err(unfit)?;
        if head.new != to.id() {
            return Err(refused(format!("the patch makes the tree {}, and not {}", head.new, to.id())));
        }
        let from = self.whole(base)?;
        let most = Budget::for_output(to.spec.bytes).memory.saturating_add(from.spec.bytes);
        let old = Shelved::open(self, from, most)?;
        let (manifest, encoded) = head.manifest(&old.encoded, to.spec.blob.len.min(LONGEST_MANIFEST)).map_err(unfit)?;
        self.put_pages(to, blob::build(&encoded).1)?;
        drop(encoded);
        self.index(to)?;
        if to.lacking().is_empty() {
            return Ok(());
        }
        let budget = Budget { memory: most, output: manifest.totals().size };
        let making = Making::begin(old.side(), &manifest, head.tree, budget).map_err(unfit)?;
        let mut putting = Putting::new(self, to, &manifest, hands);
        let room = self.lending(to);
        making.run(&room, &mut |entry, made| putting.take(&old, entry, made)).map_err(|unmade| match unmade {
            Unmade::Patch(error) => unfit(error),
            Unmade::Taking(error) => error,
            Unmade::Unread => old.failed().unwrap_or_else(no_order),
        })
    }

    /// Room for what is needed on the way to a content, which leaves enough for all of it.
    fn lending(&self, to: &Held<D>) -> Lending<'_, D> {
        let free = self.options.reserve.saturating_add(to.spec.bytes);
        Lending { disk: &*self.disk, at: &self.staging, free }
    }

    /// Writes the pages of a blob, those above first.
    fn put_pages(&self, to: &Held<D>, pages: Vec<Vec<u8>>) -> Result<(), JobError> {
        let lacking = (0..).map(PieceNo).zip(pages).filter(|(piece, _)| !to.has(*piece));
        for (piece, page) in lacking.collect::<Vec<_>>() {
            self.write(to.id(), piece, &Digested::new(page))?;
        }
        Ok(())
    }
}

/// What a patch has that makes it of no use.
fn unfit(error: TreesError) -> JobError {
    refused(error.to_string())
}

/// A tree of whose files one was not read, and none says why.
fn no_order() -> JobError {
    refused("the files of a tree are not in their order")
}
