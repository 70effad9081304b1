//! Saying in the log what was refused, without being made to fill the disk with it.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// So many refusals are said in [`SPAN`]; of more only how many they were.
const MOST: u32 = 20;
const SPAN: Duration = Duration::from_secs(60);

/// Whether something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// It is.
    Aloud,
    /// It was said often enough for now.
    Silent,
}

/// What was refused lately.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    span: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Alarm {
    /// Says what was refused, and why.
    pub(super) fn refused(&mut self, what: impl Display, why: impl Display) {
        if self.may_say(Instant::now()) {
            tracing::warn!(%what, %why, "the root half refused");
        }
    }

    /// Whether to say what happens as often as somebody else likes.
    pub(super) fn voice(&mut self) -> Voice {
        if self.may_say(Instant::now()) { Voice::Aloud } else { Voice::Silent }
    }

    fn may_say(&mut self, now: Instant) -> bool {
        if self.span.is_none_or(|since| now.saturating_duration_since(since) >= SPAN) {
            if self.unsaid > 0 {
                tracing::warn!(unsaid = self.unsaid, "more of that happened at the root half than was said");
            }
            *self = Self { span: Some(now), said: 0, unsaid: 0 };
        }
        let may = self.said < MOST;
        self.said += u32::from(may);
        self.unsaid += u64::from(!may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h14_refusals_without_end_do_not_fill_the_log() {
        let (mut alarm, now) = (Alarm::default(), Instant::now());
        assert_eq!((0..1000).filter(|_| alarm.may_say(now)).count(), MOST as usize);
        assert_eq!(alarm.unsaid, 1000 - u64::from(MOST));
        assert!(alarm.may_say(now + SPAN));
        assert_eq!(alarm.unsaid, 0);
    }
}
