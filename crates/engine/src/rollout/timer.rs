//! How long the open wave has taken, and how long it has waited for a word: two sums of what went by between looks.
//!
//! Sums outlive what moments do not: the clocks of two processes have nothing to do with each other, and a clock may jump.

use crate::door::Time;
use content::UnixTime;
use std::time::Duration;

/// What went by.
#[derive(Debug, Default)]
pub(super) struct Timer {
    seen: Option<Time>,
    /// While the wave was open and counted.
    pub(super) spent: Duration,
    /// Since it was confirmed and has no word.
    pub(super) waited: Duration,
}

impl Timer {
    /// What went by since the last look.
    pub(super) fn look(&mut self, now: Time) -> Duration {
        let elapsed = self.since(now);
        self.seen = Some(now);
        elapsed
    }

    /// What went by since then, without looking.
    pub(super) fn since(&self, now: Time) -> Duration {
        self.seen.map_or(Duration::ZERO, |seen| now.since(seen))
    }

    /// Looks by a wall clock instead, which is the only one that two processes share.
    pub(super) fn look_back(&mut self, then: UnixTime) -> Duration {
        self.look(Time(then.0.saturating_mul(1_000_000_000)))
    }

    /// A wave opens.
    pub(super) fn begin(&mut self) {
        (self.spent, self.waited) = (Duration::ZERO, Duration::ZERO);
    }
}

/// A duration for people: whole hours or minutes where it is that, else seconds.
pub(super) fn words(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds > 0 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds > 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_adds_nothing() {
        let mut timer = Timer::default();
        assert_eq!(timer.look_back(UnixTime(1000)), Duration::ZERO);
        assert_eq!(timer.look_back(UnixTime(1060)), Duration::from_secs(60));
        assert_eq!(timer.look_back(UnixTime(0)), Duration::ZERO);
        assert_eq!(timer.look_back(UnixTime(5)), Duration::from_secs(5));
    }

    #[test]
    fn durations_are_said_as_somebody_gave_them() {
        let said = [1800, 7200, 90, 0].map(|seconds| words(Duration::from_secs(seconds)));
        assert_eq!(said, ["30 min", "2 h", "90 s", "0 s"]);
    }
}
