//! Threads that verify and write payloads, and the queue before them.
//!
//! A thread takes a few payloads at a time and reports them together, so that a fast link costs a wake-up for some pieces and
//! not for each. The queue is bounded by the engine, which asks for no more than its window.

use super::inbox::{Inbox, Incoming};
use content::{ContentId, Digested, PieceNo};
use engine::door::{Input, JobDone, JobError, JobId};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// How many payloads a thread takes at once, so that others find some too.
const AT_ONCE: usize = 8;
/// More threads than this do not help one disk.
const THREADS: usize = 4;

/// A payload to be written, and for which job.
pub(crate) struct Write {
    pub(crate) job: JobId,
    pub(crate) content: ContentId,
    pub(crate) piece: PieceNo,
    pub(crate) payload: Digested,
}

/// What a thread does with a payload.
type Act = dyn Fn(Write) -> Result<JobDone, JobError> + Send + Sync;

/// The threads. They end when this is closed or dropped, after everything that was given is done.
pub(crate) struct Writers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Write>,
    idle: usize,
    is_closed: bool,
}

impl Writers {
    /// Starts the threads; what `act` says of each payload goes to the inbox.
    pub(crate) fn start(inbox: &Inbox, act: Arc<Act>) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let start = |_| {
            let (queue, inbox, act) = (queue.clone(), inbox.clone(), act.clone());
            let work = move || work_off(&queue, &inbox, &*act);
            std::thread::Builder::new().name("tiding-write".to_owned()).spawn(work)
        };
        let threads = (0..cores.clamp(2, THREADS)).map(start).collect::<std::io::Result<_>>()?;
        Ok(Self { queue, threads })
    }

    /// Gives a payload to whoever is idle.
    pub(crate) fn give(&self, write: Write) {
        let mut state = self.queue.locked();
        state.waiting.push_back(write);
        let is_someone_idle = state.idle > 0;
        drop(state);
        if is_someone_idle {
            self.queue.more.notify_one();
        }
    }

    /// Waits until everything that was given is done and the threads have ended. Blocks.
    pub(crate) fn close(mut self) {
        self.queue.close();
        for thread in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                tracing::error!("a thread that writes pieces did not end in order");
            }
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Queue {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.locked().is_closed = true;
        self.more.notify_all();
    }

    /// The next few payloads; none when it is closed and empty.
    fn take(&self) -> Vec<Write> {
        let mut state = self.locked();
        state.idle += 1;
        let empty = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
        state = self.more.wait_while(state, empty).unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        let taken = state.waiting.len().min(AT_ONCE);
        state.waiting.drain(..taken).collect()
    }
}

fn work_off(queue: &Queue, inbox: &Inbox, act: &Act) {
    loop {
        let writes = queue.take();
        if writes.is_empty() {
            return;
        }
        let done = writes.into_iter().map(|write| Input::Done { job: write.job, result: attempt(act, write) });
        // An inbox that is gone belongs to a node that stops; what was given is still written.
        inbox.blocking_send(Incoming::Inputs(done.collect())).ok();
    }
}

/// A bug in one write must not end the thread: the engine would wait for all that it had taken.
fn attempt(act: &Act, write: Write) -> Result<JobDone, JobError> {
    let why = "writing a piece broke off; restart the node";
    catch_unwind(AssertUnwindSafe(|| act(write))).unwrap_or_else(|_| Err(JobError::Disk { why: why.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::mpsc;

    fn write(job: u64) -> Write {
        let content = ContentId(Digest::of(b"x"));
        Write { job: JobId(job), content, piece: PieceNo(0), payload: Digested::new(vec![job as u8]) }
    }

    #[test]
    fn everything_given_is_done_and_reported_once_even_when_a_write_panics() {
        let (inbox, mut reports) = mpsc::channel(1024);
        let acted = Arc::new(AtomicUsize::new(0));
        let count = acted.clone();
        let act = move |write: Write| {
            count.fetch_add(1, Ordering::Relaxed);
            assert_ne!(write.job, JobId(7), "this one panics");
            Ok(JobDone::Written)
        };
        let writers = Writers::start(&inbox, Arc::new(act)).expect("threads");
        (0..100).for_each(|job| writers.give(write(job)));
        writers.close();
        drop(inbox);
        let (mut jobs, mut failed) = (Vec::new(), 0);
        while let Some(Incoming::Inputs(inputs)) = reports.blocking_recv() {
            for input in inputs {
                let Input::Done { job, result } = input else { panic!("something else came") };
                failed += usize::from(result.is_err());
                jobs.push(job.0);
            }
        }
        jobs.sort_unstable();
        assert_eq!((jobs, failed, acted.load(Ordering::Relaxed)), ((0..100).collect(), 1, 100));
    }
}
