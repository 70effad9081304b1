//! Who was convicted is left: no engine convicts the same agent twice in one life, because it never deals with it again; nor
//! in a later life, once its store has said that it remembers.

use crate::net::Nr;
use content::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Who was convicted by whom.
#[derive(Debug, Default)]
pub(crate) struct Convictions {
    /// In which life of the judge.
    lives: BTreeSet<(Nr, u64, NodeId)>,
    /// What stores have said that they remember.
    remembered: BTreeMap<Nr, BTreeSet<NodeId>>,
}

impl Convictions {
    /// A machine, in the life with this number, convicted an agent.
    pub(crate) fn convicted(&mut self, nr: Nr, start: u64, agent: NodeId) -> Option<String> {
        let remembers = self.remembered.get(&nr).is_some_and(|of| of.contains(&agent));
        let again = !self.lives.insert((nr, start, agent)) || remembers;
        again.then(|| format!("node {nr} convicted {agent:?} once more: it had not left it"))
    }

    /// Whether a machine convicted an agent in the life with this number.
    pub(crate) fn is_of_life(&self, nr: Nr, start: u64, agent: NodeId) -> bool {
        self.lives.contains(&(nr, start, agent))
    }

    /// A machine's store said that it remembers these.
    pub(crate) fn remembers(&mut self, nr: Nr, agents: &[NodeId]) {
        self.remembered.insert(nr, agents.iter().copied().collect());
    }

    /// A machine starts, and its store remembers these.
    pub(crate) fn started(&self, nr: Nr, agents: &[NodeId]) -> Option<String> {
        let forgotten = self.remembered.get(&nr)?.iter().find(|agent| !agents.contains(agent))?;
        Some(format!("node {nr} has forgotten that it convicted {forgotten:?}"))
    }

    /// All that a machine had is deleted.
    pub(crate) fn wiped(&mut self, nr: Nr) {
        self.remembered.remove(&nr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;

    #[test]
    fn once_in_a_life_is_enough() {
        let (agent, mut convictions) = (NodeId(Digest::of(b"a")), Convictions::default());
        assert_eq!(convictions.convicted(1, 1, agent), None);
        assert_eq!(convictions.convicted(1, 2, agent), None);
        assert!(convictions.convicted(1, 1, agent).is_some());
    }

    #[test]
    fn what_a_store_remembers_outlives_the_life() {
        let (agent, mut convictions) = (NodeId(Digest::of(b"a")), Convictions::default());
        assert_eq!(convictions.started(1, &[]), None);
        convictions.remembers(1, &[agent]);
        assert_eq!(convictions.started(1, &[agent]), None);
        assert!(convictions.started(1, &[]).is_some());
        assert!(convictions.convicted(1, 2, agent).is_some());
        convictions.wiped(1);
        assert_eq!((convictions.started(1, &[]), convictions.convicted(1, 3, agent)), (None, None));
    }
}
