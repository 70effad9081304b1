//! How fast pieces came in the last seconds, and when the last of them will have come at that pace.
//!
//! Measured, never guessed: when nothing moves, or it was not looked at for long enough to tell, there is no answer.

use crate::api::{NodeStatus, RolloutStatus};
use crate::standing::with_release;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over so long it is measured, and for so long at least before anything is said.
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_secs(3);

/// How far those are whose pace is measured, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Pieces that are there.
    pub have: u64,
    /// Pieces that are to be there.
    pub total: u64,
    /// Payload bytes that have come.
    pub bytes: u64,
}

impl Progress {
    /// How far these nodes are with the release of a rollout.
    pub fn of<'a>(nodes: impl Iterator<Item = &'a NodeStatus>, rollout: &RolloutStatus) -> Self {
        nodes.fold(Self::default(), |all, node| {
            let on = with_release(node, rollout);
            Self {
                have: all.have + on.map_or(0, |on| u64::from(on.have)),
                total: all.total + u64::from(on.map_or(rollout.origin_total, |on| on.total)),
                bytes: all.bytes.saturating_add(on.map_or(0, |on| on.from_origin.saturating_add(on.from_peers))),
            }
        })
    }
}

/// The pace of one release.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pace {
    release: String,
    seen: VecDeque<(Instant, Progress)>,
}

impl Pace {
    /// Looks at how far it is; another release begins anew.
    pub fn learn(&mut self, now: Instant, release: &str, progress: Progress) {
        if self.release != release {
            *self = Self { release: release.to_owned(), ..Self::default() };
        }
        self.seen.push_back((now, progress));
        while self.seen.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > LONG) {
            self.seen.pop_front();
        }
    }

    /// How far it is.
    pub fn now(&self) -> Option<Progress> {
        self.seen.back().map(|(_, progress)| *progress)
    }

    /// In so many seconds everything is there. Nothing when nothing is left, nothing moves, or it cannot be told yet.
    pub fn eta(&self) -> Option<u64> {
        let (took, first, last) = self.window()?;
        let (left, came) = (last.total.saturating_sub(last.have), last.have.checked_sub(first.have)?);
        let tells = left > 0 && came > 0;
        tells.then(|| (took.as_secs_f64() * left as f64 / came as f64).ceil() as u64)
    }

    /// Payload bytes in a second, if it can be told.
    pub fn speed(&self) -> Option<u64> {
        let (took, first, last) = self.window()?;
        let came = last.bytes.checked_sub(first.bytes)?;
        Some((came as f64 / took.as_secs_f64()) as u64)
    }

    /// The first and the last look of the last seconds, if they are far enough apart.
    fn window(&self) -> Option<(Duration, Progress, Progress)> {
        let ((from, first), (to, last)) = (self.seen.front()?, self.seen.back()?);
        let took = to.saturating_duration_since(*from);
        (took >= SHORT).then_some((took, *first, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_it_takes_is_said_when_it_can_be_told_and_only_then() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let progress = |have| Progress { have, total: 1000, bytes: have * 50 };
        let mut at = |seconds, have| {
            pace.learn(start + Duration::from_secs(seconds), "r", progress(have));
            (pace.eta(), pace.speed())
        };
        assert_eq!(at(0, 0), (None, None));
        assert_eq!(at(2, 100), (None, None), "too soon to tell");
        assert_eq!(at(4, 200), (Some(16), Some(2500)));
        assert_eq!(at(30, 200), (None, None), "nobody looked for long");
        assert_eq!(at(34, 200), (None, Some(0)), "nothing moves");
        assert_eq!(at(38, 1000), (None, Some(5000)), "nothing is left");
        pace.learn(start + Duration::from_secs(40), "other", progress(500));
        assert_eq!(pace.eta(), None, "that was another release");
    }
}
