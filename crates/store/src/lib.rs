//! Keeps pieces, trees and state on a [`Disk`]; does the engine's jobs; survives crashes.
//!
//! [`Store`] takes the steps that change names and state, one at a time, on whatever single thread owns it. [`Pieces`] is
//! its shared half: reading, hashing and writing into private staging, from as many threads as the driver likes.

pub mod disk;
pub mod import;

pub use disk::Disk;

use content::fact::{JournalName, Position};
use content::{ContentId, Fact, PieceNo, Signed};
use engine::door::{AppendError, Job, JobDone, JobError, Recovered};
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
}

impl Default for Options {
    fn default() -> Self {
        Self { reserve: 64 << 20, checkpoint: 48 << 20, apply_owners: false, home: "the store's directory".to_owned() }
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
    disk: Arc<D>,
}

/// The half of a store that many threads share.
pub struct Pieces<D: Disk> {
    disk: Arc<D>,
}

impl<D: Disk> Clone for Pieces<D> {
    fn clone(&self) -> Self {
        Self { disk: self.disk.clone() }
    }
}

impl<D: Disk> Store<D> {
    /// Opens (or makes) the store in the directory `home`. Paths of releases are resolved inside `targets`. `process` is
    /// written into the lock for the next who tries.
    pub fn open(
        _disk: Arc<D>,
        _home: D::Dir,
        _targets: D::Dir,
        _process: &str,
        _options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        todo!()
    }

    /// The shared half.
    pub fn pieces(&self) -> Pieces<D> {
        Pieces { disk: self.disk.clone() }
    }

    /// Does one job; every job but [`Job::Write`], which is [`Pieces::write`].
    pub fn run(&mut self, _job: &Job) -> Result<JobDone, JobError> {
        todo!()
    }

    /// Appends facts to a journal if it still stands at `expect`, durably, all or nothing.
    pub fn append(
        &mut self,
        _journal: &JournalName,
        _expect: Position,
        _facts: &[Fact],
    ) -> Result<Position, AppendError> {
        todo!()
    }

    /// Makes the progress of every content that is under way durable. The driver calls this whenever
    /// [`Pieces::checkpoint_due`] says so. Returns the pieces that were believed to be here and had to be thrown away
    /// because their file could not be synced: each is `Input::Lost` for the engine.
    pub fn checkpoint(&mut self) -> Result<Vec<(ContentId, PieceNo)>, JobError> {
        todo!()
    }

    /// What people should know of how the store was found when it was opened, each a sentence; loud.
    pub fn notes(&self) -> &[String] {
        todo!()
    }

    /// Remembers the newest trust root, durably.
    pub fn set_root(&mut self, _root: &Signed) -> Result<(), JobError> {
        todo!()
    }
}

impl<D: Disk> Pieces<D> {
    /// Whether so much was written since the last checkpoint that [`Store::checkpoint`] should be called now.
    pub fn checkpoint_due(&self) -> bool {
        todo!()
    }

    /// Verifies a payload and writes it into staging: [`JobDone::Written`], or [`JobError::Corrupt`].
    pub fn write(&self, _content: ContentId, _piece: PieceNo, _payload: &[u8]) -> Result<JobDone, JobError> {
        todo!()
    }
}

impl<D: Disk> PieceSource for Pieces<D> {
    fn read(&self, _content: ContentId, _piece: PieceNo) -> Result<Vec<u8>, ReadError> {
        todo!()
    }
}
