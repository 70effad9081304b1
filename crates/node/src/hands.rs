//! Threads for what the store gives away: rounds of the same work, many times over.
//!
//! They live for one round, which is milliseconds of work, so that nobody keeps threads who has nothing to do. A thread that cannot
//! be started is not missed: whoever gives the round works as well.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};
use store::hands::Hands;

/// More threads than this do not read one disk any faster.
const MOST: usize = 8;
/// A node is a guest on its machine.
const FEW: usize = 4;

/// As many threads as there are processors.
#[derive(Debug, Clone, Copy)]
pub struct Threads(usize);

impl Threads {
    /// As many as this process may run at once.
    pub fn all() -> Self {
        Self::of(thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// As many as a node that serves something else should take.
    pub fn few() -> Self {
        Self::of(Self::all().0.min(FEW))
    }

    /// This many, the one that calls among them.
    pub fn of(count: usize) -> Self {
        Self(count.clamp(1, MOST))
    }
}

impl Hands for Threads {
    fn count(&self) -> usize {
        self.0
    }

    fn share(&self, jobs: usize, work: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work_off = || {
            while let Some(job) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|job| *job < jobs) {
                work(job);
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.0.min(jobs) {
                if Builder::new().name("tiding-hand".to_owned()).spawn_scoped(scope, work_off).is_err() {
                    break;
                }
            }
            work_off();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_by_however_many() {
        for threads in [1, 2, 5, 100] {
            for jobs in [0, 1, 3, 1000] {
                let done: Vec<AtomicUsize> = (0..jobs).map(|_| AtomicUsize::new(0)).collect();
                Threads::of(threads).share(jobs, &|job| {
                    done[job].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|times| times.load(Ordering::Relaxed) == 1), "{threads} threads, {jobs} jobs");
            }
        }
    }
}
