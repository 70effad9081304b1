//! How fast pieces may move: the lowest limit that applies to a node, the division of a total, and what a node does with both.
//!
//! Nothing here knows who is connected or sends messages. Invariant: while words are delivered at once, the shares of those that
//! send and what the others may send alone come to no more than the total.

use crate::door::{Allotment, Allowed, Share};
use content::{Labels, NodeId, Rate, Scope};
use std::collections::BTreeMap;

/// The lower of two limits, of which either may not be.
pub(crate) fn lowest(a: Option<Rate>, b: Option<Rate>) -> Option<Rate> {
    a.into_iter().chain(b).min()
}

/// The lowest of the limits that apply to a node by itself.
pub(crate) fn cap(limits: &BTreeMap<Scope, Rate>, node: NodeId, labels: &Labels) -> Option<Rate> {
    let applies = |scope: &Scope| match scope {
        Scope::Selected(wanted) => wanted.iter().all(|(key, value)| labels.get(key) == Some(value)),
        Scope::Node(other) => *other == node,
        Scope::Total => false,
    };
    limits.iter().filter(|(scope, _)| applies(scope)).map(|(_, rate)| *rate).min()
}

/// Who is in a fleet whose total is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Members {
    /// All of them.
    pub(crate) all: u64,
    /// Those that cannot be told anything, and may be sending at what they may send alone.
    pub(crate) away: u64,
    /// Those that have pieces to send.
    pub(crate) senders: u64,
}

/// Divides a total: equal parts for all that send, of what those that are away do not keep.
pub(crate) fn share(total: Rate, members: Members) -> Share {
    let alone = total.0 / members.all.max(1);
    let rest = total.0.saturating_sub(alone * members.away);
    // A rate of zero is for those that wait; nobody is told to wait for ever.
    let part = |of: u64| Rate(of.max(1));
    Share { now: part(rest / members.senders.max(1)), alone: part(alone) }
}

/// The share of a node that has nothing to send.
pub(crate) fn resting(share: Share) -> Share {
    Share { now: Rate(0), ..share }
}

/// What one node may do: its machine's own limit, what its origin allots, and whether it has something to send.
#[derive(Debug)]
pub(crate) struct Ration {
    own: Option<Rate>,
    allotment: Allotment,
    /// No origin can be asked.
    is_alone: bool,
    /// Pieces that were given to the driver and have not left.
    leaving: u32,
    /// Whether it has had something to send lately.
    is_active: bool,
    told: Allowed,
}

impl Ration {
    pub(crate) fn new(own: Option<Rate>) -> Self {
        let (allotment, told) = (Allotment::default(), Allowed::default());
        Self { own, allotment, is_alone: false, leaving: 0, is_active: false, told }
    }

    pub(crate) fn own(&self) -> Option<Rate> {
        self.own
    }

    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }

    /// Whether whoever has something to send must ask for a share.
    pub(crate) fn is_shared(&self) -> bool {
        self.allotment.share.is_some()
    }

    pub(crate) fn allotted(&mut self, allotment: Allotment) {
        self.allotment = allotment;
    }

    pub(crate) fn set_alone(&mut self, is_alone: bool) {
        self.is_alone = is_alone;
    }

    /// A piece is given to the driver; true when that is the first for a while.
    pub(crate) fn leaves(&mut self) -> bool {
        self.leaving += 1;
        !std::mem::replace(&mut self.is_active, true)
    }

    /// Pieces have left, or never will; true when none is left to send.
    pub(crate) fn left(&mut self, pieces: u32) -> bool {
        self.leaving = self.leaving.saturating_sub(pieces);
        self.leaving == 0
    }

    /// Nothing was to send for a while: the share is given back, and holds no more even when it is wanted again before the
    /// origin has heard of that.
    pub(crate) fn rests(&mut self) -> bool {
        let rests = self.leaving == 0 && std::mem::replace(&mut self.is_active, false);
        if rests {
            self.allotment.share = self.allotment.share.map(resting);
        }
        rests
    }

    /// What is to be told the driver, if that is something new.
    pub(crate) fn news(&mut self) -> Option<Allowed> {
        let now = self.allowed();
        (std::mem::replace(&mut self.told, now) != now).then_some(now)
    }

    fn allowed(&self) -> Allowed {
        let cap = lowest(self.own, self.allotment.cap);
        let share = self.allotment.share.map(|share| if self.is_alone { share.alone } else { share.now });
        Allowed { sending: lowest(cap, share), receiving: cap }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::{Digest, Label};

    fn labels(zone: &str) -> Labels {
        let label = |text| Label::new(text).expect("a plain label");
        Labels::from([(label("zone"), label(zone))])
    }

    #[test]
    fn the_lowest_of_all_limits_that_apply_counts() {
        let node = |name: &str| NodeId(Digest::of(name.as_bytes()));
        let limits = BTreeMap::from([
            (Scope::Selected(Labels::new()), Rate(900)),
            (Scope::Selected(labels("a")), Rate(700)),
            (Scope::Node(node("one")), Rate(800)),
            (Scope::Total, Rate(1)),
        ]);
        let of = |name, zone| cap(&limits, node(name), &labels(zone));
        assert_eq!([of("one", "a"), of("one", "b"), of("two", "b")], [700, 800, 900].map(|rate| Some(Rate(rate))));
        assert_eq!(cap(&BTreeMap::from([(Scope::Total, Rate(1))]), node("one"), &Labels::new()), None);
    }

    #[test]
    fn shares_never_come_to_more_than_the_total() {
        for (all, away, senders) in [(1, 0, 1), (10, 0, 3), (10, 9, 1), (1000, 17, 983), (7, 0, 0), (3, 2, 0)] {
            let share = share(Rate(1_000_003), Members { all, away, senders });
            assert!(share.now.0 * senders + share.alone.0 * away <= 1_000_003, "{all} {away} {senders}: {share:?}");
            assert!(share.now >= share.alone, "who can be told has no less than who cannot: {share:?}");
        }
    }

    #[test]
    fn a_share_is_given_back_after_a_rest_and_held_again_only_when_allotted() {
        let mut ration = Ration::new(Some(Rate(50)));
        assert_eq!(ration.news(), Some(Allowed { sending: Some(Rate(50)), receiving: Some(Rate(50)) }));
        let share = Some(Share { now: Rate(20), alone: Rate(5) });
        ration.allotted(Allotment { cap: Some(Rate(80)), share });
        assert!(ration.leaves() && !ration.leaves(), "active once");
        assert_eq!(ration.news(), Some(Allowed { sending: Some(Rate(20)), receiving: Some(Rate(50)) }));
        assert!(!ration.left(1) && !ration.rests());
        assert!(ration.left(1) && ration.rests() && !ration.rests());
        assert_eq!(ration.news().and_then(|told| told.sending), Some(Rate(0)));
        assert!(ration.leaves() && ration.news().is_none(), "it holds what it has until it is allotted something");
        ration.set_alone(true);
        assert_eq!(ration.news().and_then(|told| told.sending), Some(Rate(5)));
    }
}
