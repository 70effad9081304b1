//! Members that are let in no more: an origin knows them from its journal, closes their connections, and tells its agents, who do so too.
//!
//! A certificate alone cannot say that it was taken back. So an agent is told whenever somebody is revoked, and of the last ones whenever
//! it connects; it takes the origin's word, which can keep nodes apart in many ways and choose for none of them what runs. What it was told
//! is forgotten at a restart, and said again by the next origin that it reaches.

use crate::door::{CloseReason, MAX_REVOKED, Message, Time};
use crate::{Engine, Side};
use content::{Fact, NodeId, Role};
use std::collections::{BTreeSet, VecDeque};

/// How many an agent remembers at most, those that it was told of last.
const REMEMBERED: usize = 4 * MAX_REVOKED;

/// Whom an agent does not deal with, as its origin says.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    all: BTreeSet<NodeId>,
    /// The same, the oldest first.
    told: VecDeque<NodeId>,
}

impl Revoked {
    pub(crate) fn contains(&self, node: NodeId) -> bool {
        self.all.contains(&node)
    }

    fn insert(&mut self, node: NodeId) {
        if !self.all.insert(node) {
            return;
        }
        self.told.push_back(node);
        if self.told.len() > REMEMBERED
            && let Some(oldest) = self.told.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

impl Engine {
    /// Whether somebody is let in no more, as far as this node knows. Of origins nobody says so.
    pub(crate) fn is_revoked(&self, node: NodeId, role: Role) -> bool {
        match &self.side {
            Side::Origin(origin) => origin.catalog.is_revoked(node),
            Side::Agent(agent) => role != Role::Origin && agent.revoked.contains(node),
            Side::Publisher(_) => false,
        }
    }

    // At an agent.

    /// Its origin names members that were revoked.
    pub(super) fn hears_of_revoked(&mut self, now: Time, nodes: Vec<NodeId>) {
        for node in nodes {
            let Side::Agent(agent) = &mut self.side else { return };
            agent.revoked.insert(node);
            if let Some(role) = self.peers.get(&node).map(|peer| peer.role)
                && self.is_revoked(node, role)
            {
                self.close(now, node, CloseReason::Revoked);
            }
            if let Side::Agent(agent) = &mut self.side {
                agent.mesh.shun(node);
            }
        }
    }

    // At an origin.

    /// Tells a node that came who was revoked last.
    pub(super) fn tell_revoked(&mut self, to: NodeId) {
        let Side::Origin(origin) = &self.side else { return };
        let nodes: Vec<NodeId> = origin.catalog.revoked_last().collect();
        if !nodes.is_empty() {
            self.send(to, Message::Revoked { nodes });
        }
    }

    /// Tells everyone who is here of those that were revoked just now.
    pub(super) fn tell_of_revoked(&mut self, facts: &[Fact]) {
        let of = |fact: &Fact| if let Fact::Revoked { node } = fact { Some(*node) } else { None };
        let nodes: Vec<NodeId> = facts.iter().filter_map(of).take(MAX_REVOKED).collect();
        let Side::Origin(origin) = &self.side else { return };
        if nodes.is_empty() {
            return;
        }
        let agents: Vec<NodeId> = origin.agents_up().into_iter().filter(|agent| !nodes.contains(agent)).collect();
        agents.into_iter().for_each(|agent| self.send(agent, Message::Revoked { nodes: nodes.clone() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;

    #[test]
    fn g13_what_is_remembered_of_revoked_members_is_bounded_and_the_last_ones_stay() {
        let node = |nr: usize| NodeId(Digest::of(&nr.to_le_bytes()));
        let mut revoked = Revoked::default();
        (0..2 * REMEMBERED).for_each(|nr| revoked.insert(node(nr)));
        (0..2 * REMEMBERED).for_each(|_| revoked.insert(node(2 * REMEMBERED - 1)));
        assert_eq!((revoked.all.len(), revoked.told.len()), (REMEMBERED, REMEMBERED));
        assert!(revoked.contains(node(REMEMBERED)) && !revoked.contains(node(REMEMBERED - 1)));
    }
}
