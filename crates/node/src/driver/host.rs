//! Doing the engine's jobs: one thread takes the steps that change names and state, in order; payloads are verified and
//! written by as many as the machine has cores.
//!
//! A store that panics ends its thread; the reason is passed on and the node stops, because nothing is known of its state.

use super::brake::Brake;
use super::inbox::{Inbox, Incoming};
use super::patching::{self, Made};
use super::shelf::Shelf;
use super::writers::{Write, Writers};
use crate::disk::RealDisk;
use crate::halves::far::RootHalf;
use crate::halves::words::is_for_root;
use crate::runner::Runner;
use content::fact::{JournalName, Noted, Position};
use content::{ContentId, Fact, PieceNo};
use engine::door::{AppendError, AppendId, Input, Job, JobDone, JobError, JobId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::look::Ailing;
use store::{PieceSource, Pieces, Store};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Something for the store's thread.
enum Work {
    Job(JobId, Job),
    Append(Append),
    /// A patch that was made, as which job asked.
    Keep(JobId, Vec<u8>),
    /// Make progress durable, so that a kill loses little.
    Checkpoint,
}

/// Facts on their way into a journal.
pub(crate) struct Append {
    pub(crate) id: AppendId,
    pub(crate) journal: JournalName,
    /// Where it must still stand.
    pub(crate) expect: Position,
    pub(crate) facts: Vec<Fact>,
    /// What stands beside them.
    pub(crate) noted: Noted,
}

/// Who does what changes the machine: lays out, switches, runs commands.
pub(crate) enum Deeds {
    /// This process, with its store.
    Here(Runner),
    /// The other half of this node.
    There(RootHalf),
}

/// The doer of jobs.
pub(crate) enum Host {
    /// A node's store.
    Store(Box<StoreHost>),
    /// A publisher's: it has its content already and is asked for nothing.
    Publisher(Inbox),
}

/// Why a node cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// Something broke off, and nothing is known of its state: start the process again. In words.
    Off(String),
    /// The store was removed while it was open. Begun anew, it has lost what it remembered, and works; in words.
    StoreGone(String),
}

/// How often a store is looked at, whether or not it has something to do.
const LOOK: Duration = Duration::from_secs(10);

/// A store and its threads.
pub(crate) struct StoreHost {
    work: Arc<mpsc::Sender<Work>>,
    pieces: Pieces<RealDisk>,
    shelf: Shelf,
    writers: Writers,
    brake: Arc<Brake>,
    thread: JoinHandle<()>,
    deeds: Deeds,
    /// Commands and probes that run.
    acting: Mutex<JoinSet<()>>,
    inbox: Inbox,
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
    pub(crate) fn write(&self, write: Write) {
        match self {
            Self::Store(host) => host.write(write),
            Self::Publisher(_) => self.run(write.job, Job::Index { content: write.content }),
        }
    }

    /// Begins an append; `Appended` follows.
    pub(crate) fn append(&self, append: Append) {
        match self {
            Self::Store(host) => {
                // At an origin this is the end of the rush (a release was ordered): see `run`.
                host.shelf.forget();
                host.give(Work::Append(append));
            }
            Self::Publisher(inbox) => {
                let outcome = Err(AppendError::Unavailable("a publisher has no journal".to_owned()));
                answer(inbox.clone(), Input::Appended { append: append.id, outcome });
            }
        }
    }

    /// Ends after everything that was given is done.
    pub(crate) async fn close(self) {
        if let Self::Store(host) = self {
            let StoreHost { work, thread, pieces, writers, acting, .. } = *host;
            if let Ok(mut acting) = acting.into_inner() {
                acting.shutdown().await;
            }
            let end = move || {
                // Writes that run hold the shared half of the store; they end first.
                writers.close();
                drop((work, pieces));
                thread.join()
            };
            let joined = tokio::task::spawn_blocking(end).await;
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

impl StoreHost {
    /// Starts the store's thread. `failed` hears of it when the store breaks.
    pub(crate) fn start(
        store: Store<RealDisk>,
        shelf: Shelf,
        inbox: Inbox,
        deeds: Deeds,
        failed: watch::Sender<Option<Broken>>,
    ) -> std::io::Result<Self> {
        let (work, queue) = mpsc::channel();
        let pieces = store.pieces();
        let (to, brake, work) = (inbox.clone(), Arc::new(Brake::default()), Arc::new(work));
        let held = brake.clone();
        let thread = std::thread::Builder::new().name("tiding-store".to_owned()).spawn(move || {
            let mut store = store;
            if catch_unwind(AssertUnwindSafe(|| work_off(&mut store, &queue, &to, &held, &failed))).is_err() {
                let why = "the store broke off in the middle of a job; restart the node".to_owned();
                failed.send_replace(Some(Broken::Off(why)));
            }
            held.over();
        })?;
        let act = writing(pieces.clone(), shelf.clone(), brake.clone(), Arc::downgrade(&work));
        let writers = Writers::start(&inbox, Arc::new(act))?;
        let acting = Mutex::default();
        Ok(Self { work, pieces, shelf, writers, brake, thread, deeds, acting, inbox })
    }

    fn run(&self, id: JobId, job: Job) {
        if matches!(job, Job::Assemble { .. }) {
            // The rush is over, and whoever still asks is served from the page cache: an agent at rest is small.
            self.shelf.forget();
        }
        match (&self.deeds, job) {
            (Deeds::Here(runner), Job::Hook { release, moment, other }) => {
                self.act(id, runner.clone().hook(release, moment, other));
            }
            (Deeds::Here(runner), Job::Probe { release }) => self.act(id, runner.clone().probe(release)),
            (Deeds::There(half), job) if is_for_root(&job) => self.act_there(id, half, job),
            (_, job @ (Job::Diff { .. } | Job::Patch { .. })) => self.patch(id, job),
            (_, job) => self.give(Work::Job(id, job)),
        }
    }

    fn patch(&self, id: JobId, job: Job) {
        let (work, brake, inbox) = (Arc::downgrade(&self.work), self.brake.clone(), self.inbox.clone());
        let begun = patching::begin(self.pieces.clone(), job, move |made| match made {
            // A store that has stopped needs no patch.
            Made::Patch(patch) => drop(work.upgrade().map(|work| work.send(Work::Keep(id, patch)))),
            Made::Done(result) => {
                ask(&brake, &work);
                // An inbox that is gone belongs to a node that stops; it begins anew when it starts.
                inbox.blocking_send(Incoming::input(Input::Done { job: id, result })).ok();
            }
        });
        if let Err(error) = begun {
            answer(self.inbox.clone(), Input::Done { job: id, result: Err(error) });
        }
    }

    /// What the root half does. What it finds damaged is looked at here, where it is kept; what both halves do, this one does too.
    fn act_there(&self, id: JobId, half: &RootHalf, job: Job) {
        let asked = half.ask(job.clone());
        match job {
            Job::Collect { .. } => {
                // Each half removes its own, in its own order; how it went there is said there.
                self.spawn(async move { drop(asked.await) });
                self.give(Work::Job(id, job));
            }
            Job::Root { .. } => {
                let (work, inbox) = (Arc::downgrade(&self.work), self.inbox.clone());
                self.spawn(async move {
                    match (asked.await, work.upgrade()) {
                        (Ok(_), Some(work)) => drop(work.send(Work::Job(id, job))),
                        (result, _) => drop(inbox.send(Incoming::input(Input::Done { job: id, result })).await),
                    }
                });
            }
            _ => {
                let pieces = self.pieces.clone();
                self.act(id, async move { look_again(pieces, asked.await).await });
            }
        }
    }

    /// What is not for the store, and may take long.
    fn act(&self, job: JobId, acting: impl Future<Output = Result<JobDone, JobError>> + Send + 'static) {
        let inbox = self.inbox.clone();
        self.spawn(async move {
            let result = acting.await;
            // A node that stops does not hear of it any more; it begins that step anew when it starts.
            inbox.send(Incoming::input(Input::Done { job, result })).await.ok();
        });
    }

    fn spawn(&self, acting: impl Future<Output = ()> + Send + 'static) {
        let Ok(mut all) = self.acting.lock() else { return };
        while all.try_join_next().is_some() {}
        all.spawn(acting);
    }

    fn give(&self, work: Work) {
        if self.work.send(work).is_err() {
            tracing::error!("the store has stopped; what was asked of it is not done");
        }
    }

    fn write(&self, write: Write) {
        if self.pieces.checkpoint_due() {
            ask(&self.brake, &Arc::downgrade(&self.work));
        }
        self.writers.give(write);
    }
}

/// Reads here what the root half found missing: a store notices by reading that something of it is damaged.
async fn look_again(pieces: Pieces<RealDisk>, result: Result<JobDone, JobError>) -> Result<JobDone, JobError> {
    if let Err(JobError::Missing { content, pieces: missing }) = &result {
        let (content, missing) = (*content, missing.clone());
        let read = move || missing.into_iter().for_each(|piece| drop(pieces.read(content, piece)));
        // One that breaks off has found nothing.
        tokio::task::spawn_blocking(read).await.ok();
    }
    result
}

/// What a thread does with a payload: it waits until there is room, and keeps in memory what it has written.
fn writing(
    pieces: Pieces<RealDisk>,
    shelf: Shelf,
    brake: Arc<Brake>,
    work: Weak<mpsc::Sender<Work>>,
) -> impl Fn(Write) -> Result<JobDone, JobError> {
    move |Write { content, piece, payload, .. }| {
        brake.wait(|| pieces.checkpoint_overdue(), || ask(&brake, &work));
        let result = pieces.write(content, piece, &payload);
        if result.is_ok() {
            shelf.keep(content, piece, payload.bytes().clone());
        }
        result
    }
}

/// Asks for a checkpoint, unless one was asked for that has not begun. A store that has stopped says so itself; it is held
/// weakly, so that a write that waits does not keep its thread from ending.
fn ask(brake: &Brake, work: &Weak<mpsc::Sender<Work>>) {
    if let Some(work) = work.upgrade()
        && brake.should_ask()
    {
        work.send(Work::Checkpoint).ok();
    }
}

/// Does what is asked, in order, until nobody can ask any more.
fn work_off(
    store: &mut Store<RealDisk>,
    queue: &mpsc::Receiver<Work>,
    inbox: &Inbox,
    brake: &Brake,
    failed: &watch::Sender<Option<Broken>>,
) {
    // An inbox that is gone belongs to a node that stops; what was asked for is still done, in order.
    let tell = |input| drop(inbox.blocking_send(Incoming::input(input)));
    let (mut notes, mut looks) = (0, Looks::default());
    loop {
        let work = queue.recv_timeout(looks.due());
        if looks.due().is_zero() {
            looks.look(store, failed, tell);
        }
        match work {
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => continue,
            Ok(work) => do_work(store, work, brake, tell),
        }
        notes = log_notes(store, notes);
    }
    // A node that stops in order, as one that is upgraded does, need not fetch anything again. What is lost is found at its start.
    checkpoint(store);
}

fn do_work(store: &mut Store<RealDisk>, work: Work, brake: &Brake, tell: impl Fn(Input)) {
    match work {
        Work::Job(id, job) => tell(Input::Done { job: id, result: run(store, &job) }),
        Work::Append(Append { id, journal, expect, facts, noted }) => {
            tell(Input::Appended { append: id, outcome: store.append(&journal, expect, &facts, noted) });
        }
        Work::Keep(id, patch) => {
            let result = store.keep_patch(&patch);
            tell(Input::Done { job: id, result });
        }
        Work::Checkpoint => {
            brake.begun();
            for (content, piece) in checkpoint(store) {
                tell(Input::Lost { content, piece });
            }
            brake.ended();
        }
    }
}

/// What was found when the store was looked at last.
struct Looks {
    last: Instant,
    ails: Option<String>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { last: Instant::now(), ails: None }
    }
}

impl Looks {
    /// How long until the next look.
    fn due(&self) -> Duration {
        LOOK.saturating_sub(self.last.elapsed())
    }

    /// Looks, and tells what is new.
    fn look(&mut self, store: &Store<RealDisk>, failed: &watch::Sender<Option<Broken>>, tell: impl Fn(Input)) {
        self.last = Instant::now();
        let why = match store.look() {
            Ok(()) => None,
            Err(gone @ Ailing::Gone(_)) => return drop(failed.send_replace(Some(Broken::StoreGone(gone.to_string())))),
            Err(Ailing::Unwritable(why)) => Some(why),
        };
        if why != self.ails {
            match &why {
                Some(why) => tracing::warn!(why, "this node is DEGRADED: it serves what it has, and takes nothing new"),
                None => tracing::info!("the store can be written again"),
            }
            self.ails.clone_from(&why);
            tell(Input::Degraded { why });
        }
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
    use content::{BlobRef, ContentSpec, Digested, PieceNo};
    use store::{Options, ReadError};

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
            pieces
                .write(content.id(), PieceNo(written as u32), &Digested::new(pages[written].clone()))
                .expect("there is room");
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
        let (work, brake, shelf) = (Arc::new(work), Arc::new(Brake::default()), Shelf::new(Arc::new(pieces.clone())));
        let act = writing(pieces.clone(), shelf.clone(), brake.clone(), Arc::downgrade(&work));
        let writers = Writers::start(&inbox, Arc::new(act)).expect("threads");
        let thread = std::thread::spawn(|| ());
        let (labels, warden) = (content::Labels::new(), Arc::default());
        let runner = Runner { node: String::new(), labels, targets: "/".into(), warden, hooks_user: None };
        let (pieces_of, brake_of) = (pieces.clone(), brake.clone());
        let host = StoreHost {
            work,
            pieces: pieces_of,
            shelf,
            writers,
            brake: brake_of,
            thread,
            deeds: Deeds::Here(runner),
            acting: Mutex::default(),
            inbox,
        };
        let payload = Digested::new(pages[next].clone());
        host.write(Write { job: JobId(1), content: content.id(), piece, payload });
        assert!(matches!(queue.recv(), Ok(Work::Checkpoint)), "it asks for one");
        // That one fails: whoever still waits asks for another.
        brake.begun();
        brake.ended();
        let again = tokio::task::spawn_blocking(move || queue.recv());
        tokio::select! {
            _ = told.recv() => panic!("it was written although nothing was made durable"),
            again = again => assert!(matches!(again, Ok(Ok(Work::Checkpoint)))),
        }
        assert_eq!(pieces.read(content.id(), piece), Err(ReadError::Missing));
        assert_eq!(store.checkpoint(), Ok(Vec::new()));
        brake.ended();
        let Some(Incoming::Inputs(done)) = told.recv().await else { panic!("nothing is told") };
        assert!(matches!(done[..], [Input::Done { job: JobId(1), result: Ok(JobDone::Written) }]), "{done:?}");
        assert_eq!(pieces.read(content.id(), piece).as_ref(), Ok(&pages[next]));
    }
}
