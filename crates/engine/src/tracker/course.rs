//! How soon each member had all of a release: what tells afterwards who was slow, and who only stood below somebody slow.
//!
//! While a release spreads, whoever is starved looks like whoever is slow, and whoever feeds a slow one like whoever keeps things to
//! itself. When it is over they differ: the slow have all long after the others.

use crate::door::Time;
use content::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

/// Whoever has all after more than so many times what half of the members needed is slow.
const SLOW: u32 = 3;

/// How a release comes to the members.
#[derive(Debug)]
pub(super) struct Course {
    began: Time,
    members: usize,
    /// Those that had all in time, and how long half of the members took.
    done: BTreeSet<NodeId>,
    half: Option<Duration>,
}

impl Course {
    pub(super) fn new(began: Time, members: usize) -> Self {
        Self { began, members, done: BTreeSet::new(), half: None }
    }

    /// A member has all.
    pub(super) fn has_all(&mut self, now: Time, node: NodeId) {
        let took = now.since(self.began);
        if self.half.is_none_or(|half| took <= half * SLOW) {
            self.done.insert(node);
        }
        if self.half.is_none() && self.done.len() * 2 >= self.members {
            self.half = Some(took);
        }
    }

    /// Whether it is over, so that something can be said.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.half.is_some_and(|half| now.since(self.began) > half * SLOW)
    }

    /// Whether a member had all in time.
    pub(super) fn was_in_time(&self, node: NodeId) -> bool {
        self.done.contains(&node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;

    #[test]
    fn whoever_needs_much_longer_than_half_of_all_is_slow() {
        let node = |nr: u8| NodeId(Digest::of(&[nr]));
        let millis = |at: u64| Time(at * 1_000_000);
        let mut course = Course::new(millis(100), 4);
        assert!(!course.is_over(millis(100_000)), "half of them have not all");
        for (nr, at) in [(1, 190), (2, 200), (3, 400), (4, 401)] {
            course.has_all(millis(at), node(nr));
        }
        assert_eq!([1, 2, 3, 4].map(|nr| course.was_in_time(node(nr))), [true, true, true, false]);
        assert!(!course.is_over(millis(400)) && course.is_over(millis(401)));
    }
}
