//! Holds writes up while too much is not durable: links may be faster than the disk syncs, and what was written meanwhile
//! would be lost in a kill. It knows when checkpoints were asked for and have ended; who makes them is for others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a write waits that may still not go on after a checkpoint.
const AGAIN: Duration = Duration::from_millis(20);

/// Between those who write and the one who makes what they wrote durable.
#[derive(Default)]
pub(crate) struct Brake {
    /// Whether a checkpoint was asked for and has not begun.
    asked: AtomicBool,
    ended: Mutex<Ended>,
    changed: Condvar,
}

#[derive(Default)]
struct Ended {
    checkpoints: u64,
    /// No more will come.
    is_over: bool,
}

impl Brake {
    /// Whether a checkpoint is to be asked for now: none was that has not begun.
    pub(crate) fn should_ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    /// The checkpoint that was asked for begins.
    pub(crate) fn begun(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// A checkpoint has ended, well or not.
    pub(crate) fn ended(&self) {
        self.locked().checkpoints += 1;
        self.changed.notify_all();
    }

    /// Nobody makes checkpoints any more.
    pub(crate) fn over(&self) {
        self.locked().is_over = true;
        self.changed.notify_all();
    }

    /// Waits until there is room for more, or nobody makes room any more. `ask` asks for a checkpoint.
    pub(crate) fn wait(&self, is_overdue: impl Fn() -> bool, ask: impl Fn()) {
        while is_overdue() {
            let before = self.locked().checkpoints;
            ask();
            let waiting = |ended: &mut Ended| ended.checkpoints == before && !ended.is_over;
            let ended = self.changed.wait_while(self.locked(), waiting).unwrap_or_else(PoisonError::into_inner);
            if ended.is_over {
                return;
            }
            drop(ended);
            if is_overdue() {
                // It failed, or others were quicker.
                drop(self.changed.wait_timeout(self.locked(), AGAIN));
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn a_write_waits_for_an_overdue_checkpoint_and_asks_for_it_once() {
        let (brake, unsynced, asked) = (Arc::new(Brake::default()), Arc::new(AtomicU64::new(2)), AtomicU64::new(0));
        brake.wait(
            || unsynced.load(Ordering::Relaxed) > 0,
            || {
                assert!(brake.should_ask() || asked.load(Ordering::Relaxed) == 0, "one at a time");
                asked.fetch_add(1, Ordering::Relaxed);
                brake.begun();
                let (brake, unsynced) = (brake.clone(), unsynced.clone());
                std::thread::spawn(move || {
                    unsynced.fetch_sub(1, Ordering::Relaxed);
                    brake.ended();
                });
            },
        );
        assert_eq!((unsynced.load(Ordering::Relaxed), asked.load(Ordering::Relaxed)), (0, 2), "one was not enough");
    }

    #[test]
    fn nobody_waits_for_a_store_that_has_ended() {
        let brake = Brake::default();
        brake.over();
        brake.wait(|| true, || ());
    }
}
