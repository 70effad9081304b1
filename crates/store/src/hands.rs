//! Who works for the store besides the thread that calls it: the store has no threads of its own.
//!
//! What is the same work many times over (reading files, hashing, laying files out) is given away in rounds: each round ends before
//! the next begins, and its results come in the order of the work, whoever did it when. So what comes out does not depend on
//! how many hands there are, and a simulator that has one hand rehearses the same.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Whoever can do several things at once.
pub trait Hands: fmt::Debug + Send + Sync {
    /// How many things are done at once, at most.
    fn count(&self) -> usize;
    /// Calls `work` once with each number below `jobs`, low numbers first, and returns when all of them have ended.
    fn share(&self, jobs: usize, work: &(dyn Fn(usize) + Sync));
}

/// The thread that calls, alone.
#[derive(Debug, Clone, Copy)]
pub struct OneHand;

impl Hands for OneHand {
    fn count(&self) -> usize {
        1
    }

    fn share(&self, jobs: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..jobs).for_each(work);
    }
}

/// What `work` makes of each number below `jobs`, in their order.
pub(crate) fn each<T: Send>(hands: &dyn Hands, jobs: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let slots: Vec<Mutex<Option<T>>> = (0..jobs).map(|_| Mutex::new(None)).collect();
    hands.share(jobs, &|job| {
        let done = work(job);
        *slots[job].lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    });
    let taken = |slot: Mutex<Option<T>>| slot.into_inner().unwrap_or_else(PoisonError::into_inner);
    slots.into_iter().map(|slot| taken(slot).expect("a round ends when every job has")).collect()
}
