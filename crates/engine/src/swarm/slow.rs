//! Who takes less than it is given: how a source finds the slow ones among those that pass pieces on.
//!
//! A member whose link is slow falls behind whoever is before it in every stripe, however fast those are; one that has a slow
//! one before it falls behind in that one's stripe only, and one that came late catches up rather than fall behind. What is
//! compared is what each said it got within the same time.

use super::Swarm;
use super::transfer::Transfer;
use crate::door::{STRIPES, Time};
use content::{ContentId, NodeId};
use std::time::Duration;

/// How long it is watched at least, and how many pieces of each stripe those before it must have got meanwhile: news are
/// collected for a while, so less says nothing.
const WATCHED: Duration = Duration::from_millis(300);
const LEAST: u32 = 20;
/// After so long without enough of them it is watched anew.
const LONGEST: Duration = Duration::from_secs(5);
/// So many times as much must those before it have got, in fifths, and so many pieces more they must have.
const TIMES: u32 = 2;
const OF: u32 = 5;
const BEHIND: u32 = 16;

/// What a member had when it began to be watched, and what those before it had.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    since: Time,
    own: [u32; STRIPES],
    before: [Option<(NodeId, u32)>; STRIPES],
}

impl Watch {
    /// Whether it takes much less than it could; nothing as long as that cannot be said.
    fn judge(&self, now: &Watch) -> Option<bool> {
        let same =
            |stripe: usize| self.before[stripe].map(|(node, _)| node) == now.before[stripe].map(|(node, _)| node);
        let lasted = now.since.since(self.since);
        if !(0..STRIPES).all(same) || lasted > LONGEST {
            return Some(false);
        }
        let given: [Option<u32>; STRIPES] = std::array::from_fn(|stripe| {
            let (then, now) = self.before[stripe].zip(now.before[stripe])?;
            Some(now.1.saturating_sub(then.1))
        });
        let most = given.into_iter().flatten().max()?;
        if lasted < WATCHED || given.into_iter().flatten().any(|given| given < LEAST) {
            return None;
        }
        Some((0..STRIPES).all(|stripe| {
            let taken = now.own[stripe].saturating_sub(self.own[stripe]);
            // A root gets its stripe from a source, which gives it as much as it takes: the other one tells what that could be.
            let is_less = taken * OF < given[stripe].unwrap_or(most) * TIMES;
            is_less && now.before[stripe].is_none_or(|(_, count)| count >= now.own[stripe] + BEHIND)
        }))
    }
}

impl Transfer {
    fn takes_too_little(&mut self, now: Time, node: NodeId, parents: [Option<NodeId>; STRIPES]) -> bool {
        let before = std::array::from_fn(|stripe: usize| {
            let parent = parents[stripe]?;
            Some((parent, self.partners.get(&parent)?.counts[stripe]))
        });
        let Some(partner) = self.partners.get_mut(&node) else { return false };
        let new = Watch { since: now, own: partner.counts, before };
        match partner.watch.as_ref().map(|watch| watch.judge(&new)) {
            Some(None) => false,
            judged => {
                partner.watch = Some(Box::new(new));
                judged == Some(Some(true))
            }
        }
    }
}

impl Swarm {
    /// Whether a member that has just said what it got takes less than those before it could give it.
    pub(crate) fn is_slow(
        &mut self,
        now: Time,
        content: ContentId,
        node: NodeId,
        parents: [Option<NodeId>; STRIPES],
    ) -> bool {
        // Once all has been out nobody tells a source any more what it holds.
        let transfer = self.contents.get_mut(&content).filter(|transfer| transfer.push.is_some());
        transfer.is_some_and(|transfer| transfer.takes_too_little(now, node, parents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;

    fn peer(nr: u8) -> NodeId {
        NodeId(Digest::of(&[nr]))
    }

    fn watch(millis: u64, own: [u32; STRIPES], before: [Option<(u8, u32)>; STRIPES]) -> Watch {
        Watch {
            since: Time(millis * 1_000_000),
            own,
            before: before.map(|known| known.map(|(nr, count)| (peer(nr), count))),
        }
    }

    const START: [Option<(u8, u32)>; STRIPES] = [Some((1, 10)), Some((2, 10))];

    #[test]
    fn whoever_falls_behind_in_every_stripe_is_slow() {
        let start = watch(0, [8, 8], START);
        let later = |own| start.judge(&watch(400, own, [Some((1, 40)), Some((2, 40))]));
        assert_eq!(later([15, 15]), Some(true));
        assert_eq!(later([15, 35]), Some(false), "the one before it in the first stripe is");
        assert_eq!(later([24, 24]), Some(false), "half as much may be jitter");
    }

    #[test]
    fn little_says_nothing_and_long_ago_says_nothing() {
        let start = watch(0, [0, 0], START);
        assert_eq!(start.judge(&watch(400, [0, 0], [Some((1, 40)), Some((2, 29))])), None);
        assert_eq!(start.judge(&watch(299, [0, 0], [Some((1, 40)), Some((2, 40))])), None);
        assert_eq!(start.judge(&watch(5001, [0, 0], [Some((1, 40)), Some((2, 40))])), Some(false));
    }

    #[test]
    fn whoever_came_late_catches_up_and_is_not_slow() {
        let start = watch(0, [0, 0], [Some((1, 500)), Some((2, 500))]);
        assert_eq!(start.judge(&watch(400, [25, 25], [Some((1, 530)), Some((2, 530))])), Some(false));
    }

    #[test]
    fn another_before_it_begins_anew() {
        let start = watch(0, [0, 0], START);
        assert_eq!(start.judge(&watch(400, [0, 0], [Some((3, 40)), Some((2, 40))])), Some(false));
    }

    #[test]
    fn a_root_is_slow_when_it_takes_little_of_both() {
        let start = watch(0, [0, 0], [None, Some((2, 0))]);
        let later = |own| start.judge(&watch(400, own, [None, Some((2, 30))]));
        assert_eq!(later([5, 5]), Some(true));
        assert_eq!(later([25, 5]), Some(false), "it is the one before it in the other stripe");
    }
}
