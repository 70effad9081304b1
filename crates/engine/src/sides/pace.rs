//! How often agents tell an origin what came to them.
//!
//! A dozen times a second is best while they are few: so an origin notices soon who is slow and who keeps what it gets. A hundred
//! thousand that did so would be a wall of messages in front of what the origin has to know. So it tells them to collect their
//! news, for the longer the more they are; all but those near the roots, to whom it gives pieces and who show who passes on.

use crate::door::{Message, Time};
use crate::{Engine, FEW, Side};
use content::{NodeId, Role};
use std::collections::BTreeSet;
use std::time::Duration;

/// A message takes an origin some twenty microseconds: so much of its time for each agent leaves it half a processor.
const EACH: Duration = Duration::from_micros(50);

/// How long most collect their news, and who does not.
#[derive(Debug, Default)]
pub(super) struct Paces {
    usual: Duration,
    near: BTreeSet<NodeId>,
}

/// How long so many agents collect their news. It changes when they are twice as many, or a quarter.
fn usual(agents: usize, before: Duration) -> Duration {
    let of = |agents: usize| if agents > FEW { EACH * agents.next_power_of_two() as u32 } else { Duration::ZERO };
    let (now, at_most) = (of(agents), of(agents.saturating_mul(2)));
    if now > before || at_most < before { now } else { before }
}

impl Paces {
    /// In how long everyone has had its turn to say that a content is new to it.
    pub(super) fn turn(&self) -> Duration {
        self.usual
    }
}

impl Engine {
    /// Someone came or went: tells those whom it concerns how long they are to collect their news.
    pub(super) fn set_paces(&mut self, came: Option<NodeId>) {
        let Side::Origin(origin) = &mut self.side else { return };
        let before = std::mem::take(&mut origin.paces);
        let usual = usual(origin.tracker.members(), before.usual);
        let near = if usual.is_zero() { BTreeSet::new() } else { origin.tracker.near_roots() };
        let concerned: Vec<NodeId> = match usual == before.usual {
            true => near.symmetric_difference(&before.near).copied().chain(came).collect(),
            false => origin.agents_up(),
        };
        for node in concerned {
            let pace = if near.contains(&node) { Duration::ZERO } else { usual };
            self.tell_pace(node, pace);
        }
        let Side::Origin(origin) = &mut self.side else { return };
        origin.paces = Paces { usual, near };
    }

    fn tell_pace(&mut self, node: NodeId, news: Duration) {
        let Side::Origin(origin) = &mut self.side else { return };
        let Some(known) = origin.nodes.get_mut(&node).filter(|known| known.is_up && known.role == Role::Agent) else {
            return;
        };
        let is_understood = self.peers.get(&node).is_some_and(crate::Peer::knows_paces);
        if is_understood && std::mem::replace(&mut known.pace, news) != news {
            self.send(node, Message::Pace { news });
        }
    }

    /// An agent hears how long it is to collect its news.
    pub(super) fn paced(&mut self, now: Time, news: Duration) {
        if let Side::Agent(agent) = &mut self.side {
            agent.pace = news;
            self.swarm.set_pace(now, news);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_not_told_anything_and_many_share_what_an_origin_can_take() {
        let none = Duration::ZERO;
        assert_eq!(usual(256, none), none);
        assert_eq!(usual(1000, none), Duration::from_micros(50 * 1024));
        assert_eq!(usual(10_000, none), Duration::from_micros(50 * 16_384));
        assert_eq!(usual(100_000, none), Duration::from_micros(50 * 131_072));
    }

    #[test]
    fn one_more_or_less_changes_nothing_for_the_others() {
        let many = usual(4097, Duration::ZERO);
        assert_eq!([usual(4096, many), usual(2100, many)], [many, many]);
        assert!(usual(8193, many) > many);
        assert_eq!(usual(128, many), Duration::ZERO);
    }
}
