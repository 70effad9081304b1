//! Making and applying patches: seconds or minutes of work, so on a thread of its own, which nobody waits for when the node stops.

use crate::disk::RealDisk;
use crate::hands::Threads;
use engine::door::{Job, JobDone, JobError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use store::Pieces;

/// By how much making a patch gives way to everything else on this machine: it is a guest there.
const NICE: i32 = 10;

/// What such work ends with.
pub(crate) enum Made {
    /// A patch, which the store is to keep.
    Patch(Vec<u8>),
    Done(Result<JobDone, JobError>),
}

/// Begins a `Diff` or a `Patch`; `done` is told on that thread how it ended. What it needs stays here from now on.
pub(crate) fn begin(
    pieces: Pieces<RealDisk>,
    job: Job,
    done: impl FnOnce(Made) + Send + 'static,
) -> Result<(), JobError> {
    let pinned = match job {
        Job::Diff { base, target, .. } => pieces.pin(&[base, target]),
        Job::Patch { base, target, patch } => pieces.pin(&[base, target, patch]),
        _ => pieces.pin(&[]),
    };
    let work = move || {
        let made = attempt(&pieces, &job);
        drop((pinned, pieces));
        done(made);
    };
    let begun = std::thread::Builder::new().name("tiding-patch".to_owned()).spawn(work);
    begun.map(drop).map_err(|error| JobError::Stuck { why: format!("no thread can be started: {error}") })
}

/// A bug in it must not leave the engine without an answer.
fn attempt(pieces: &Pieces<RealDisk>, job: &Job) -> Made {
    let why = "making or applying a patch broke off".to_owned();
    catch_unwind(AssertUnwindSafe(|| work(pieces, job))).unwrap_or(Made::Done(Err(JobError::Refused { why })))
}

fn work(pieces: &Pieces<RealDisk>, job: &Job) -> Made {
    let hands = Threads::few();
    Made::Done(match *job {
        Job::Diff { base, target, effort, below } => {
            // The kernel takes "this process" for this thread, and those that it starts are as it is. Without, it is only less polite.
            rustix::process::setpriority_process(None, NICE).ok();
            match pieces.diff(base, target, effort, below, &hands) {
                Ok(Some(patch)) => return Made::Patch(patch),
                Ok(None) => Ok(JobDone::Diffed { patch: None }),
                Err(error) => Err(error),
            }
        }
        Job::Patch { base, target, patch } => pieces.patch(base, target, patch, &hands),
        _ => Err(JobError::Refused { why: "this is no work with patches".to_owned() }),
    })
}
