//! Holds payloads back when a node is limited: a bucket for each direction, shared by all connections.
//!
//! Whoever wants to move bytes waits its turn before it moves them, in the order of asking, a small part of a payload at a time; so
//! connections share what there is, and a change of the limit holds from the next part on. Messages never come here.

use content::Rate;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// What may leave at once after a pause: this much time's worth.
const BURST: Duration = Duration::from_millis(20);
/// The bytes of a part: time's worth of a burst between these.
const PARTS: std::ops::RangeInclusive<u64> = 1024..=16 * 1024;
const SECOND: u128 = 1_000_000_000;

/// A bucket that every byte fills and time empties: while it is no fuller than a burst, more may go.
///
/// In any time `t` no more than `rate * (t + BURST)` and one part go through, however often the rate changes.
#[derive(Debug)]
struct Bucket {
    rate: Option<Rate>,
    /// Bytes that went through and would not have at exactly the rate.
    level: u64,
    /// When that was.
    at: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { rate: None, level: 0, at: now }
    }

    fn set(&mut self, now: Instant, rate: Option<Rate>) {
        self.drain(now);
        self.rate = rate;
    }

    /// Lets bytes through; or says how long to wait, if it is known.
    fn take(&mut self, now: Instant, bytes: u64) -> Result<(), Option<Duration>> {
        self.drain(now);
        let Some(Rate(rate)) = self.rate else { return Ok(()) };
        if rate == 0 {
            return Err(None);
        }
        match self.level.saturating_sub(worth(rate, BURST)) {
            0 => {
                self.level += bytes;
                Ok(())
            }
            over => Err(Some(time_of(rate, over))),
        }
    }

    fn drain(&mut self, now: Instant) {
        let Some(Rate(rate)) = self.rate else {
            (self.level, self.at) = (0, now);
            return;
        };
        let drained = worth(rate, now.saturating_duration_since(self.at));
        if drained >= self.level {
            (self.level, self.at) = (0, now);
        } else if drained > 0 {
            self.level -= drained;
            // Not `now`: what is left of a byte's time counts for the next byte.
            self.at += time_of(rate, drained);
        }
    }
}

/// How many bytes a rate lets through in a time.
fn worth(rate: u64, time: Duration) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / SECOND).unwrap_or(u64::MAX)
}

/// How long so many bytes take; rounded up.
fn time_of(rate: u64, bytes: u64) -> Duration {
    let nanos = (u128::from(bytes) * SECOND).div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// One direction of a node.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// The largest part that may ask at once; `u64::MAX` when there is no limit.
    part: AtomicU64,
    bucket: Mutex<Bucket>,
    changed: Notify,
    /// Whoever is in front holds this.
    line: tokio::sync::Mutex<()>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            part: AtomicU64::new(u64::MAX),
            bucket: Mutex::new(Bucket::new(Instant::now())),
            changed: Notify::new(),
            line: tokio::sync::Mutex::default(),
        }
    }
}

impl Throttle {
    /// From now on.
    pub(crate) fn set(&self, rate: Option<Rate>) {
        let part = rate.map_or(u64::MAX, |Rate(rate)| worth(rate, BURST).clamp(*PARTS.start(), *PARTS.end()));
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).set(Instant::now(), rate);
        self.part.store(part, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Waits until some of these bytes may be moved, and says how many; all of them when there is no limit. Some, if there
    /// are any at all.
    pub(crate) async fn pass(&self, bytes: usize) -> usize {
        match self.part.load(Ordering::Relaxed) {
            u64::MAX => bytes,
            part => {
                let part = bytes.min(usize::try_from(part).unwrap_or(usize::MAX));
                self.wait(part as u64).await;
                part
            }
        }
    }

    async fn wait(&self, bytes: u64) {
        let _in_front = self.line.lock().await;
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look, so that no change in between is missed.
            changed.as_mut().enable();
            let taken = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now(), bytes);
            match taken {
                Ok(()) => return,
                Err(None) => changed.await,
                Err(Some(wait)) => tokio::select! {
                    () = changed => {}
                    () = sleep(wait) => {}
                },
            }
        }
    }
}

/// Both directions of a node.
#[derive(Debug, Default)]
pub(crate) struct Throttles {
    /// What it sends.
    pub(crate) sending: Throttle,
    /// What it receives.
    pub(crate) receiving: Throttle,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn no_more_goes_through_than_rate_burst_and_a_part_however_often_it_changes() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let (mut now, mut sent) = (start, 0);
        bucket.set(now, Some(Rate(1_000_000)));
        for step in 0..200_000_u64 {
            now += Duration::from_micros(step % 29);
            if step % 100 == 0 {
                // As shares of a total do, it is set again and again to nearly the same.
                bucket.set(now, Some(Rate(1_000_000 - step % 7)));
            }
            sent += if bucket.take(now, 1024).is_ok() { 1024 } else { 0 };
            let most = worth(1_000_000, now - start + BURST) + 1024;
            assert!(sent <= most, "{sent} of {most} after {:?}", now - start);
        }
        let least = worth(1_000_000, now - start) * 95 / 100;
        assert!(sent >= least, "and nearly all of that is used: {sent} of {least}");
    }

    #[tokio::test(start_paused = true)]
    async fn tiny_rates_add_up_and_zero_lets_nothing_through() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        bucket.set(start, Some(Rate(3)));
        assert_eq!(bucket.take(start, 6), Ok(()));
        let mut waited = Duration::ZERO;
        while bucket.take(start + waited, 1).is_err() {
            waited += Duration::from_millis(1);
        }
        let two = Duration::from_secs(2);
        assert!((two..two + Duration::from_millis(2)).contains(&waited), "fractions of bytes count: {waited:?}");
        bucket.set(start, Some(Rate(0)));
        assert_eq!(bucket.take(start + Duration::from_secs(3600), 1), Err(None));
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_wait_share_what_there_is_in_turn() {
        let throttle = Arc::new(Throttle::default());
        throttle.set(Some(Rate(64_000)));
        let start = Instant::now();
        let moved = |throttle: Arc<Throttle>| async move {
            let (mut bytes, end) = (0, start + Duration::from_secs(10));
            while Instant::now() < end {
                bytes += throttle.pass(16 * 1024).await;
            }
            bytes
        };
        let (a, b) = tokio::join!(moved(throttle.clone()), moved(throttle.clone()));
        assert!(a + b <= 640_000 + 3 * 1280, "{a} and {b}");
        assert!(a.abs_diff(b) <= 4 * 1280, "{a} and {b}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_holds_at_once_for_whoever_waits() {
        let throttle = Arc::new(Throttle::default());
        assert_eq!(throttle.pass(1 << 20).await, 1 << 20, "without a limit nothing waits");
        throttle.set(Some(Rate(0)));
        let waiting = tokio::spawn({
            let throttle = throttle.clone();
            async move { throttle.pass(5000).await }
        });
        sleep(Duration::from_secs(3600)).await;
        assert!(!waiting.is_finished());
        let start = Instant::now();
        throttle.set(None);
        assert!(waiting.await.is_ok() && start.elapsed() < Duration::from_millis(1));
    }
}
