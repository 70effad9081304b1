//! Doing the engine's jobs: one thread takes the steps that change names and state, in order; payloads are verified and
//! written by as many as the machine has cores.
//!
//! A store that panics ends its thread; the reason is passed on and the node stops, because nothing is known of its state.

use super::inbox::{Inbox, Incoming, Payload};
use super::shelf::Shelf;
use crate::disk::RealDisk;
use content::fact::{JournalName, Position};
use content::{ContentId, Fact, PieceNo};
use engine::door::{AppendError, AppendId, Input, Job, JobDone, JobError, JobId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use store::{Pieces, Store};
use tokio::sync::{Semaphore, watch};

/// Something for the store's thread.
enum Work {
    Job(JobId, Job),
    Append(AppendId, JournalName, Position, Vec<Fact>),
    /// Make progress durable, so that a kill loses little.
    Checkpoint,
}

/// The doer of jobs.
pub(crate) enum Host {
    /// A node's store.
    Store(StoreHost),
    /// A publisher's: it has its content already and is asked for nothing.
    Publisher(Inbox),
}

/// A store and its threads.
pub(crate) struct StoreHost {
    work: Arc<mpsc::Sender<Work>>,
    pieces: Pieces<RealDisk>,
    shelf: Shelf,
    inbox: Inbox,
    writers: Arc<Semaphore>,
    /// Whether a checkpoint was asked for and has not begun.
    checkpointing: Arc<AtomicBool>,
    /// How many checkpoints have ended.
    checkpoints: watch::Receiver<u64>,
    thread: JoinHandle<()>,
}

impl Host {
    /// Begins a job; `Done` follows.
    pub(crate) fn run(&self, id: JobId, job: Job) {
        match self {
            Self::Store(host) => host.run(id, job),
            Self::Publisher(inbox) => {
                let why = "a publisher keeps nothing".to_owned();
                answer(inbox.clone(), Input::Done { job: id, result: Err(JobError::Refused { why }) });
            }
        }
    }

    /// Begins to verify and write a payload; `Done` follows.
    pub(crate) fn write(&self, id: JobId, content: ContentId, piece: PieceNo, payload: Payload) {
        match self {
            Self::Store(host) => host.write(id, content, piece, payload),
            Self::Publisher(_) => self.run(id, Job::Index { content }),
        }
    }

    /// Begins an append; `Appended` follows.
    pub(crate) fn append(&self, id: AppendId, journal: JournalName, expect: Position, facts: Vec<Fact>) {
        match self {
            Self::Store(host) => {
                // At an origin this is the end of the rush (a release was ordered): see `run`.
                host.shelf.forget();
                host.give(Work::Append(id, journal, expect, facts));
            }
            Self::Publisher(inbox) => {
                let outcome = Err(AppendError::Unavailable("a publisher has no journal".to_owned()));
                answer(inbox.clone(), Input::Appended { append: id, outcome });
            }
        }
    }

    /// Ends after everything that was given is done.
    pub(crate) async fn close(self) {
        if let Self::Store(host) = self {
            let StoreHost { work, thread, pieces, writers, .. } = host;
            // Writes that run hold the shared half of the store; they end first.
            drop(writers.acquire_many_owned(writers_at_once()).await);
            drop((work, pieces));
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the store's thread did not end in order");
            }
        }
    }
}

/// Tells without waiting: the engine itself may be the one who asks.
fn answer(inbox: Inbox, input: Input) {
    tokio::spawn(async move { inbox.send(Incoming::input(input)).await });
}

fn writers_at_once() -> u32 {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 16) as u32)
}

impl StoreHost {
    /// Starts the store's thread. `failed` hears of it when the store breaks.
    pub(crate) fn start(
        store: Store<RealDisk>,
        shelf: Shelf,
        inbox: Inbox,
        failed: watch::Sender<Option<String>>,
    ) -> std::io::Result<Self> {
        let (work, queue) = mpsc::channel();
        let pieces = store.pieces();
        let (to, checkpointing) = (inbox.clone(), Arc::new(AtomicBool::new(false)));
        let begun = checkpointing.clone();
        let (ended, checkpoints) = watch::channel(0);
        let thread = std::thread::Builder::new().name("tiding-store".to_owned()).spawn(move || {
            let mut store = store;
            if catch_unwind(AssertUnwindSafe(|| work_off(&mut store, &queue, &to, (&begun, &ended)))).is_err() {
                failed.send_replace(Some("the store broke off in the middle of a job; restart the node".to_owned()));
            }
        })?;
        let writers = Arc::new(Semaphore::new(writers_at_once() as usize));
        let work = Arc::new(work);
        Ok(Self { work, pieces, shelf, inbox, writers, checkpointing, checkpoints, thread })
    }

    fn run(&self, id: JobId, job: Job) {
        if matches!(job, Job::Assemble { .. }) {
            // The rush is over, and whoever still asks is served from the page cache: an agent at rest is small.
            self.shelf.forget();
        }
        self.give(Work::Job(id, job));
    }

    fn brake(&self) -> Brake {
        let (work, checkpointing) = (Arc::downgrade(&self.work), self.checkpointing.clone());
        let mut checkpoints = self.checkpoints.clone();
        checkpoints.mark_unchanged();
        Brake { work, checkpointing, checkpoints }
    }

    fn give(&self, work: Work) {
        if self.work.send(work).is_err() {
            tracing::error!("the store has stopped; what was asked of it is not done");
        }
    }

    fn write(&self, id: JobId, content: ContentId, piece: PieceNo, payload: Payload) {
        let mut brake = self.brake();
        if self.pieces.checkpoint_due() {
            brake.ask();
        }
        let (pieces, shelf, inbox, writers) =
            (self.pieces.clone(), self.shelf.clone(), self.inbox.clone(), self.writers.clone());
        tokio::spawn(async move {
            brake.wait(&pieces).await;
            let Ok(turn) = writers.acquire_owned().await else { return };
            let write = move || {
                let result = pieces.write(content, piece, &payload);
                if result.is_ok() {
                    shelf.keep(content, piece, payload);
                }
                drop((pieces, turn));
                result
            };
            let result = tokio::task::spawn_blocking(write).await;
            let result = result.unwrap_or_else(|broken| Err(JobError::Disk { why: broken.to_string() }));
            // An inbox that is gone belongs to a node that stops.
            inbox.send(Incoming::input(Input::Done { job: id, result })).await.ok();
        });
    }
}

/// Holds writes up while too much is not durable: links may be faster than the disk syncs, and what was written meanwhile
/// would be lost in a kill.
struct Brake {
    /// Weak, so that a write that waits does not keep the store's thread from ending.
    work: Weak<mpsc::Sender<Work>>,
    checkpointing: Arc<AtomicBool>,
    checkpoints: watch::Receiver<u64>,
}

impl Brake {
    /// Asks for a checkpoint, unless one was asked for that has not begun.
    fn ask(&self) {
        if let Some(work) = self.work.upgrade()
            && !self.checkpointing.swap(true, Ordering::Relaxed)
        {
            // A store that has stopped says so itself.
            work.send(Work::Checkpoint).ok();
        }
    }

    /// Waits until there is room for more, or the store has ended.
    async fn wait(&mut self, pieces: &Pieces<RealDisk>) {
        while pieces.checkpoint_overdue() {
            self.ask();
            if self.checkpoints.changed().await.is_err() {
                return;
            }
            if pieces.checkpoint_overdue() {
                // It failed, or others were quicker.
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// How long a write waits that may still not go on after a checkpoint.
const AGAIN: Duration = Duration::from_millis(20);

/// Does what is asked, in order, until nobody can ask any more.
fn work_off(
    store: &mut Store<RealDisk>,
    queue: &mpsc::Receiver<Work>,
    inbox: &Inbox,
    (checkpointing, checkpoints): (&AtomicBool, &watch::Sender<u64>),
) {
    // An inbox that is gone belongs to a node that stops; what was asked for is still done, in order.
    let tell = |input| drop(inbox.blocking_send(Incoming::input(input)));
    let mut notes = 0;
    for work in queue {
        match work {
            Work::Job(id, job) => tell(Input::Done { job: id, result: run(store, &job) }),
            Work::Append(id, journal, expect, facts) => {
                tell(Input::Appended { append: id, outcome: store.append(&journal, expect, &facts) });
            }
            Work::Checkpoint => {
                checkpointing.store(false, Ordering::Relaxed);
                for (content, piece) in checkpoint(store) {
                    tell(Input::Lost { content, piece });
                }
                checkpoints.send_modify(|ended| *ended += 1);
            }
        }
        notes = log_notes(store, notes);
    }
}

/// Makes progress durable; what had to be thrown away is fetched again.
fn checkpoint(store: &mut Store<RealDisk>) -> Vec<(ContentId, PieceNo)> {
    store.checkpoint().unwrap_or_else(|error| {
        tracing::warn!(?error, "progress could not be made durable; it is tried again");
        Vec::new()
    })
}

/// Logs what the store has to say and has not said yet.
fn log_notes(store: &Store<RealDisk>, said: usize) -> usize {
    for note in store.notes().get(said..).unwrap_or_default() {
        tracing::warn!(note, "the store");
    }
    store.notes().len()
}

fn run(store: &mut Store<RealDisk>, job: &Job) -> Result<JobDone, JobError> {
    let result = store.run(job);
    if let Err(error) = &result {
        tracing::debug!(?job, ?error, "a job failed");
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::blob;
    use content::{BlobRef, ContentSpec};
    use store::{Options, PieceSource, ReadError};

    /// A store in which more is not durable than may be, the pages of its content, and how many of them are there.
    fn overdue(home: &std::path::Path) -> (Store<RealDisk>, ContentSpec, Vec<Vec<u8>>, usize) {
        let disk = Arc::new(RealDisk::new());
        let dir = disk.open_path(home).expect("it is there");
        let options = Options { reserve: 0, checkpoint: 100_000, ..Options::default() };
        let (mut store, _) = Store::open(disk, dir.clone(), dir, "a test", options).expect("the store opens");
        let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let (blob, pages): (BlobRef, Vec<Vec<u8>>) = blob::build(&bytes);
        let content = ContentSpec { blob, pieces: 0, bytes: 0 };
        store.run(&Job::Open { content }).expect("there is room");
        let (pieces, mut written) = (store.pieces(), 0);
        while !pieces.checkpoint_overdue() {
            pieces.write(content.id(), PieceNo(written as u32), &pages[written]).expect("there is room");
            written += 1;
        }
        (store, content, pages, written)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a1_a_write_waits_until_an_overdue_checkpoint_has_gone_well() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let (mut store, content, pages, next) = overdue(home.path());
        let (pieces, piece) = (store.pieces(), PieceNo(next as u32));
        let (work, queue) = mpsc::channel();
        let (inbox, mut told) = tokio::sync::mpsc::channel(8);
        let (ended, checkpoints) = watch::channel(0);
        let host = StoreHost {
            work: Arc::new(work),
            pieces: pieces.clone(),
            shelf: Shelf::new(Arc::new(pieces.clone())),
            inbox,
            writers: Arc::new(Semaphore::new(1)),
            checkpointing: Arc::default(),
            checkpoints,
            thread: std::thread::spawn(|| ()),
        };
        host.write(JobId(1), content.id(), piece, Arc::new(pages[next].clone()));
        assert!(matches!(queue.recv(), Ok(Work::Checkpoint)), "it asks for one");
        // That one fails: whoever still waits asks for another.
        host.checkpointing.store(false, Ordering::Relaxed);
        ended.send_modify(|ended| *ended += 1);
        let again = tokio::task::spawn_blocking(move || queue.recv());
        tokio::select! {
            _ = told.recv() => panic!("it was written although nothing was made durable"),
            again = again => assert!(matches!(again, Ok(Ok(Work::Checkpoint)))),
        }
        assert_eq!(pieces.read(content.id(), piece), Err(ReadError::Missing));
        assert_eq!(store.checkpoint(), Ok(Vec::new()));
        ended.send_modify(|ended| *ended += 1);
        let Some(Incoming::Input(done)) = told.recv().await else { panic!("nothing is told") };
        assert!(matches!(*done, Input::Done { job: JobId(1), result: Ok(JobDone::Written) }), "{done:?}");
        assert_eq!(pieces.read(content.id(), piece).as_ref(), Ok(&pages[next]));
    }
}
