//! Who is not dealt with any more, and which of these verdicts outlive this process.
//!
//! Whoever convicts an agent leaves it and does not meet it again; nobody takes another node's word for it. A corrupt piece is
//! proof: an honest store verifies whatever it reads, so the sender lies or is broken, and an agent remembers that for good.
//! It hurts nobody for long: the convict still gets everything from others and from the origin, and a machine that was repaired
//! joins anew, under another identity. All other verdicts end with this process: a flood or a claim may be another version's
//! mistake. So do an origin's: whom it does not talk to gets no orders, and who is out for good is an operator's word.
//!
//! Invariant: at most [`SHUNNED`] peers are remembered, those that were convicted last.

use crate::door::{Misbehaviour, SHUNNED};
use content::{NodeId, Role};
use std::collections::{BTreeMap, VecDeque};

/// The verdicts of one node.
#[derive(Debug)]
pub(crate) struct Verdicts {
    role: Role,
    against: BTreeMap<NodeId, Misbehaviour>,
    /// Those that are remembered, the oldest first.
    lasting: VecDeque<NodeId>,
}

impl Verdicts {
    /// The verdicts of an earlier life, the oldest first.
    pub(crate) fn new(role: Role, remembered: &[NodeId]) -> Self {
        let lasting: VecDeque<NodeId> = remembered.iter().copied().collect();
        let against = remembered.iter().map(|peer| (*peer, Misbehaviour::CorruptPiece)).collect();
        Self { role, against, lasting }
    }

    /// What a peer was convicted of, if it was.
    pub(crate) fn on(&self, peer: NodeId) -> Option<Misbehaviour> {
        self.against.get(&peer).copied()
    }

    /// Convicts a peer; all that is to be remembered from now on, if that is something else than before.
    pub(crate) fn pass(&mut self, peer: NodeId, of: Misbehaviour) -> Option<Vec<NodeId>> {
        self.against.insert(peer, of);
        if self.role != Role::Agent || of != Misbehaviour::CorruptPiece || self.lasting.contains(&peer) {
            return None;
        }
        self.lasting.push_back(peer);
        if self.lasting.len() > SHUNNED {
            self.lasting.pop_front();
        }
        Some(self.lasting.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;

    fn node(nr: usize) -> NodeId {
        NodeId(Digest::of(&nr.to_le_bytes()))
    }

    #[test]
    fn c1_an_agent_remembers_who_sent_a_corrupt_piece_and_nothing_else_of_anyone() {
        let mut verdicts = Verdicts::new(Role::Agent, &[node(1)]);
        assert_eq!(verdicts.on(node(1)), Some(Misbehaviour::CorruptPiece));
        assert_eq!(verdicts.pass(node(2), Misbehaviour::Flood), None);
        assert_eq!(verdicts.on(node(2)), Some(Misbehaviour::Flood));
        assert_eq!(verdicts.pass(node(3), Misbehaviour::CorruptPiece), Some(vec![node(1), node(3)]));
        assert_eq!(verdicts.pass(node(3), Misbehaviour::CorruptPiece), None, "it is remembered already");
        assert_eq!(verdicts.on(node(4)), None);
        let mut of_origin = Verdicts::new(Role::Origin, &[]);
        assert_eq!(of_origin.pass(node(5), Misbehaviour::CorruptPiece), None);
        assert_eq!(of_origin.on(node(5)), Some(Misbehaviour::CorruptPiece), "in this life it is left all the same");
    }

    #[test]
    fn c1_of_many_convicts_those_that_were_convicted_last_are_remembered() {
        let mut verdicts = Verdicts::new(Role::Agent, &[]);
        let lists = (0..2 * SHUNNED).map(|nr| verdicts.pass(node(nr), Misbehaviour::CorruptPiece));
        let last = lists.last().flatten().expect("it is new");
        assert_eq!(last, (SHUNNED..2 * SHUNNED).map(node).collect::<Vec<_>>());
        assert!(verdicts.on(node(0)).is_some(), "in this life nobody is forgotten");
    }
}
