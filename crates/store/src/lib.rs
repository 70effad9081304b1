//! Keeps pieces, trees and state on a [`Disk`]; does the engine's jobs; survives crashes.
//!
//! [`Store`] takes the steps that change names and state, one at a time, on whatever single thread owns it. [`Pieces`] is
//! its shared half: reading, hashing and writing into private staging, from as many threads as the driver likes.

//!
//! ```text
//! home/
//!     format                     "tiding store 1"
//!     lock                       who has the store
//!     state.redb                 applications, orders, releases, journals, progress of contents
//!     state.lost                 that an earlier one was damaged or missing, in words, until someone has dealt with it
//!     staging/<content>.pages    a content under way: the pages of its blob, one after another
//!     staging/<content>.pieces   and the pieces that its manifest names
//!     blobs/<content>.pages      the same once it is complete: the name implies that it is durable and was verified
//!     blobs/<content>.pieces
//! ```
//!
//! A trip through the files: `recover` opens; `keep` makes room, reads manifests and completes; `shelves` reads and
//! writes pieces; `assemble`, `layout` and `alike` make trees, also of what another store has (`lent`); `switch` swings paths, `adopt` takes the place of what stood there before; `verify` reads trees
//! again and `repair` mends them; `patching` makes contents of others and patches (`trees` has the format), which `pins` keep meanwhile; `collect` forgets; `look` says whether the store is still where it was, and can be written.
//!
//! The driver's part of the bargain: it runs [`Store::run`] on one thread, calls [`Store::checkpoint`] whenever
//! [`Pieces::checkpoint_due`] says so, and tells the engine `Input::Lost` for every piece that a checkpoint returns and
//! every [`PieceSource::read`] that is [`ReadError::Damaged`].

mod adopt;
mod alike;
mod assemble;
mod backend;
mod bringing;
mod collect;
pub mod disk;
mod ground;
pub mod hands;
mod holding;
pub mod import;
mod journal;
mod keep;
mod kept;
mod label;
mod layout;
mod lending;
mod lent;
pub mod look;
pub mod owners;
mod patching;
mod pins;
mod places;
mod plan;
mod record;
mod recover;
mod render;
mod repair;
mod shelves;
mod state;
mod switch;
mod take_over;
mod target;
mod tree;
pub mod trees;
mod verify;
pub mod words;

pub use bringing::{Bringing, Patch};
pub use disk::Disk;
pub use pins::Pinned;
pub use target::laid_out_at;

use content::fact::{Chain, Entry, JournalName, Noted, Position};
use content::{AppName, ContentId, Digested, Fact, Labels, NodeId, PieceNo, ReleaseId, Root, Signed};
use engine::door::{AppRecord, AppendError, Job, JobDone, JobError, Recovered, SHUNNED};
use hands::{Hands, OneHand};
use owners::{Accounts, Nobody};
use record::{AppState, Change};
use shelves::Shelves;
use state::State;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The store refuses to take a content that would leave less than this free, in bytes.
    pub reserve: u64,
    /// How many payload bytes may be lost to a kill: progress is made durable this often (64 MiB at most).
    pub checkpoint: u64,
    /// Whether owners are given to what is laid out: only a process that runs as root can.
    pub apply_owners: bool,
    /// What people call the store's directory, for messages.
    pub home: String,
    /// Who lays releases out besides the thread that runs the store.
    pub hands: Arc<dyn Hands>,
    /// What the node is called, and what is said of it: what files with values are given.
    pub node: String,
    /// Its labels.
    pub labels: Labels,
    /// Who is who on it: to whom files can belong.
    pub accounts: Arc<dyn Accounts>,
}

impl Default for Options {
    fn default() -> Self {
        let home = "the store's directory".to_owned();
        let (node, labels, accounts) = (String::new(), Labels::new(), Arc::new(Nobody));
        let (reserve, checkpoint, hands) = (64 << 20, 48 << 20, Arc::new(OneHand));
        Self { reserve, checkpoint, apply_owners: false, home, hands, node, labels, accounts }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the store is locked by process {pid}")]
    Locked {
        /// That process, as far as it said.
        pid: String,
    },
    /// It was written by a version of tiding that this one cannot read.
    #[error("the store has format {found}, this version reads {readable}")]
    Format {
        /// The format found.
        found: String,
        /// The formats that can be read.
        readable: &'static str,
    },
    /// A part of it is on another file system.
    #[error(
        "its {name} is on another file system than the rest, and files cannot be renamed from one to the other; move the whole \
         store there, or mount that file system over all of it"
    )]
    Apart {
        /// Which part.
        name: &'static str,
    },
    /// The disk failed.
    #[error("{doing}: {source}")]
    Disk {
        /// What was being done.
        doing: String,
        /// How it failed.
        source: std::io::Error,
    },
}

/// Why a piece cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not here.
    #[error("the piece is not here")]
    Missing,
    /// It was here and is damaged; it is quarantined now and must be fetched again.
    #[error("the piece was damaged on disk")]
    Damaged,
    /// The disk failed; in words.
    #[error("{0}")]
    Disk(String),
}

/// Where pieces are read from when they are to be sent: a node's store, or the tree that a publisher publishes.
pub trait PieceSource: Send + Sync + 'static {
    /// The verified bytes of a piece.
    fn read(&self, content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ReadError>;
}

/// The half of a store that changes names and state.
pub struct Store<D: Disk> {
    shelves: Arc<Shelves<D>>,
    state: State<D>,
    /// Where paths of releases begin.
    targets: D::Dir,
    /// Who we are, as the owner of the store's directory.
    uid: u32,
    apps: BTreeMap<AppName, AppState>,
    /// The releases that are laid out.
    releases: BTreeMap<ReleaseId, Signed>,
    positions: BTreeMap<JournalName, Position>,
    chains: BTreeMap<JournalName, Chain>,
    notes: Vec<String>,
    /// That a state was lost, until someone has dealt with it.
    lost: Option<String>,
    /// Where contents are read that another store keeps.
    lender: Option<D::Dir>,
}

/// The half of a store that many threads share.
pub struct Pieces<D: Disk> {
    shelves: Arc<Shelves<D>>,
}

impl<D: Disk> Clone for Pieces<D> {
    fn clone(&self) -> Self {
        Self { shelves: self.shelves.clone() }
    }
}

impl<D: Disk> Store<D> {
    /// Opens (or makes) the store in the directory `home`. Paths of releases are resolved inside `targets`. `process` is
    /// written into the lock for the next who tries. The lock ends when the store and all its [`Pieces`] are dropped.
    pub fn open(
        disk: Arc<D>,
        home: D::Dir,
        targets: D::Dir,
        process: &str,
        options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::recover(disk, home, targets, process, options)
    }

    /// The shared half.
    pub fn pieces(&self) -> Pieces<D> {
        Pieces { shelves: self.shelves.clone() }
    }

    /// Does one job; every job but [`Job::Write`], which is [`Pieces::write`]. A job that failed left nothing half done
    /// that the same job, run again, would not finish.
    pub fn run(&mut self, job: &Job) -> Result<JobDone, JobError> {
        self.settle();
        let done = self.do_job(job);
        self.give_back();
        done
    }

    fn do_job(&mut self, job: &Job) -> Result<JobDone, JobError> {
        match job {
            Job::Open { content } => self.open_content(content),
            Job::Write { .. } => Err(keep::refused("a payload is written through the shared half of the store")),
            Job::Index { content } => self.index_content(*content),
            Job::Diff { base, target, effort, below } => self.diff(*base, *target, *effort, *below),
            Job::Patch { base, target, patch } => self.patch(*base, *target, *patch),
            Job::Complete { content } => self.complete_content(*content),
            Job::Assemble { release } => self.assemble(release),
            Job::Accept { order } => self.accept(order),
            Job::Switch { app, release } => self.switch(app, *release),
            Job::Restore { app, release } => self.restore(app, *release),
            Job::Confirm { app, release } => self.confirm(app, *release),
            Job::GiveUp { app, order, why } => self.give_up(app, *order, why),
            Job::Hook { .. } | Job::Probe { .. } => Err(keep::refused("a store runs no commands and asks no services")),
            Job::Verify { app } => self.verify(app),
            Job::Repair { app } => self.repair(app),
            Job::Collect { contents, releases } => self.collect(contents, releases),
            Job::Shun { peers } => self.shun(peers),
            Job::Root { root } => self.set_root(root).map(|()| JobDone::Rooted),
            Job::Journal { journal, from, most } => self.read_journal(journal, *from, *most),
        }
    }

    /// Appends facts to a journal if it still stands at `expect`, durably, all or nothing. What could not be appended is
    /// taken back at once, or, while the disk does not even take that, before anything else is written; only a process
    /// that dies in between may find it there.
    /// Beside each stands when it was written, and for whom.
    pub fn append(
        &mut self,
        journal: &JournalName,
        expect: Position,
        facts: &[Fact],
        noted: Noted,
    ) -> Result<Position, AppendError> {
        self.append_facts(journal, expect, facts, noted)
    }

    /// Takes over a journal that stands nowhere here, with what is noted beside its facts, from a backup: durably, all or
    /// nothing. From then on another generation writes it.
    pub fn restore_journal(&mut self, journal: &JournalName, entries: &[Entry]) -> Result<(), AppendError> {
        self.take_over_facts(journal, entries)
    }

    /// Makes the progress of every content that is under way durable. The driver calls this whenever
    /// [`Pieces::checkpoint_due`] says so. Returns the pieces that were believed to be here and had to be thrown away
    /// because their file could not be synced: each is `Input::Lost` for the engine.
    pub fn checkpoint(&mut self) -> Result<Vec<(ContentId, PieceNo)>, JobError> {
        self.checkpoint_all()
    }

    /// What is remembered of each application, as [`Self::open`] gave it, now.
    pub fn records(&self) -> Vec<AppRecord> {
        self.app_records()
    }

    /// What people should know of the state of this store, each a sentence: what was found damaged or changed when it was
    /// opened, and since.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// That the state file was once found damaged or missing, and orders and journals with it, in words; said again at
    /// every start until [`Self::forget_loss`]. An origin whose journals are empty for this reason must not begin them
    /// anew as if nothing had ever been in them.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// What [`Self::lost`] says has been dealt with: the next start does not say it any more, and neither do we.
    pub fn forget_loss(&mut self) -> Result<(), JobError> {
        recover::forget_loss(&self.shelves)
            .map_err(self.shelves.home.failed("forgetting that the state was lost", 0))?;
        self.lost = None;
        Ok(())
    }

    /// Remembers the newest trust root, durably, and those before it for whoever has lost them.
    pub fn set_root(&mut self, root: &Signed) -> Result<(), JobError> {
        let version = Root::decode(&root.payload).map_or(1, |root| root.version);
        let kept = (version > 1).then(|| Change::rooted(version, root));
        let changes: Vec<Change> = [Change::root(root)].into_iter().chain(kept).collect();
        self.commit(&changes)
    }

    fn shun(&mut self, peers: &[NodeId]) -> Result<JobDone, JobError> {
        if peers.len() > SHUNNED {
            return Err(keep::refused(format!("{SHUNNED} shunned peers are remembered at most")));
        }
        self.commit(&[Change::shunned(peers)]).map(|()| JobDone::Shunned)
    }
}

impl<D: Disk> Pieces<D> {
    /// Whether so much was written since the last checkpoint that [`Store::checkpoint`] should be called now.
    pub fn checkpoint_due(&self) -> bool {
        self.shelves.checkpoint_due()
    }

    /// Whether so much was written since the last checkpoint that nothing more should be before the next one has ended: it
    /// would be fetched again after a kill.
    pub fn checkpoint_overdue(&self) -> bool {
        self.shelves.checkpoint_overdue()
    }

    /// Verifies a payload and writes it into staging: [`JobDone::Written`], or [`JobError::Corrupt`].
    pub fn write(&self, content: ContentId, piece: PieceNo, payload: &Digested) -> Result<JobDone, JobError> {
        self.shelves.write(content, piece, payload).map(|()| JobDone::Written)
    }
}

impl<D: Disk> PieceSource for Pieces<D> {
    /// A piece that is here, verified again. One that is damaged is not here any more when this returns; the next job
    /// takes its content out of use.
    fn read(&self, content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ReadError> {
        let holding = self.shelves.find(content).ok_or(ReadError::Missing)?;
        match piece.0.checked_sub(holding.pages()) {
            None => self.shelves.read_page(&holding, piece.0),
            Some(index) => self.shelves.read_piece(&holding, index),
        }
    }
}
