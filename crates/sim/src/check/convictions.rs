//! Who was convicted is left: no engine convicts the same agent twice in one life, because it never deals with it again.

use crate::net::Nr;
use content::NodeId;
use std::collections::BTreeSet;

/// Who was convicted by whom, in which life of the judge.
#[derive(Debug, Default)]
pub(crate) struct Convictions(BTreeSet<(Nr, u64, NodeId)>);

impl Convictions {
    /// A machine, in the life with this number, convicted an agent.
    pub(crate) fn convicted(&mut self, nr: Nr, start: u64, agent: NodeId) -> Option<String> {
        let again = !self.0.insert((nr, start, agent));
        again.then(|| format!("node {nr} convicted {agent:?} once more: it had not left it"))
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
}
