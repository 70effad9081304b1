//! What time it is for certificates: a wrong clock cuts nobody off.
//!
//! A machine's clock may be reset, jump, or never have been right. So there are three: the wall clock; the wall clock of the start of this
//! process, or what an origin last said that it is, with what a steady clock has counted since; and a moment before which it cannot be,
//! since this node's own certificate was made then, if that is not in the future of its start. A certificate has ended when it has by the
//! first two, and never before the third. When to renew one's own is judged by the origin's word alone, once there is one. None of it
//! says anything about what may run: signatures do not know a clock.

use content::UnixTime;
use rustls::pki_types;
use rustls::time_provider::TimeProvider;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// By how much clocks may be apart before it is said, in seconds.
pub(crate) const MAX_SKEW: u64 = 5 * 60;

/// The time by which certificates are judged.
#[derive(Debug)]
pub(crate) struct Clock(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// A moment of the steady clock, and what time it was then.
    anchor: (Instant, UnixTime),
    /// Whether an origin said so.
    is_heard: bool,
    /// It cannot be earlier.
    floor: UnixTime,
}

impl Clock {
    /// A clock that trusts the wall clock of now until somebody knows better.
    pub(crate) fn new(now: UnixTime) -> Self {
        Self(Mutex::new(Known { anchor: (Instant::now(), now), is_heard: false, floor: UnixTime(0) }))
    }

    /// It cannot be earlier than this; what is in the future itself proves nothing, as an origin's clock may have been wrong.
    pub(crate) fn not_before(&self, floor: UnixTime) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if floor <= known.anchor.1 {
            known.floor = known.floor.max(floor);
        }
    }

    /// An origin says what time it is.
    pub(crate) fn hear(&self, now: UnixTime) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (known.anchor, known.is_heard) = ((Instant::now(), now), true);
    }

    /// What time it is for others' certificates, given what the wall clock says.
    pub(crate) fn judged(&self, wall: UnixTime) -> UnixTime {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        judge(wall, known.steady(), known.floor)
    }

    /// What time it is, as an origin says; by the wall clock until one has said so.
    pub(crate) fn believed(&self, wall: UnixTime) -> UnixTime {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_heard { known.steady() } else { wall }
    }
}

impl Known {
    fn steady(&self) -> UnixTime {
        let (at, then) = self.anchor;
        UnixTime(then.0.saturating_add(at.elapsed().as_secs()))
    }
}

/// The earlier of two clocks, and not before the floor.
fn judge(wall: UnixTime, steady: UnixTime, floor: UnixTime) -> UnixTime {
    wall.min(steady).max(floor)
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<pki_types::UnixTime> {
        let now = self.judged(crate::identity::wall_clock());
        Some(pki_types::UnixTime::since_unix_epoch(Duration::from_secs(now.0)))
    }
}

/// By how much this machine's clock is off, in words, if that is worth a word: `23 h ahead of the origin's`.
pub(crate) fn skew(here: UnixTime, there: UnixTime) -> Option<String> {
    let skew = here.0.abs_diff(there.0);
    if skew <= MAX_SKEW {
        return None;
    }
    let amount = match skew {
        ..7200 => format!("{} min", skew / 60),
        7200..172_800 => format!("{} h", skew / 3600),
        _ => format!("{} days", skew / 86_400),
    };
    let side = if here > there { "ahead of" } else { "behind" };
    Some(format!("{amount} {side} the origin's"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    #[test]
    fn d23_a_clock_that_jumps_ends_no_certificate_and_one_that_goes_back_revives_none() {
        let (start, made) = (UnixTime(1000 * DAY), UnixTime(990 * DAY));
        let steady = UnixTime(start.0 + 3600);
        assert_eq!(judge(steady, steady, made), steady);
        assert_eq!(judge(UnixTime(start.0 + 700 * DAY), steady, made), steady, "set forward while it runs");
        assert_eq!(judge(UnixTime(5), steady, made), made, "set back, or without a battery");
        let clock = Clock::new(UnixTime(start.0 + 700 * DAY));
        clock.not_before(made);
        assert!(clock.judged(UnixTime(start.0 + 700 * DAY)).0 >= start.0 + 700 * DAY, "wrong from its start");
        clock.hear(start);
        let now = clock.judged(UnixTime(start.0 + 700 * DAY));
        assert!((start.0..start.0 + DAY).contains(&now.0), "until an origin says what time it is");
        assert!(clock.believed(UnixTime(0)).0.abs_diff(start.0) < DAY, "and by that it renews");
        clock.not_before(UnixTime(start.0 + 365 * DAY));
        assert!(clock.judged(start).0 <= start.0 + DAY, "a certificate from the future proves nothing");
        clock.not_before(UnixTime(5));
        assert_eq!(clock.judged(UnixTime(0)), made, "the floor never sinks");
    }

    #[test]
    fn d23_a_difference_is_told_with_its_side() {
        assert_eq!(skew(UnixTime(1_000_000), UnixTime(1_000_299)), None);
        let told = |here, there| skew(UnixTime(here), UnixTime(there)).expect("far apart");
        assert_eq!(told(1_000_000 + 23 * 3600, 1_000_000), "23 h ahead of the origin's");
        assert_eq!(told(1_000_000, 1_000_600), "10 min behind the origin's");
        assert_eq!(told(1_000_000, 1_000_000 + 3 * DAY), "3 days behind the origin's");
    }
}
