//! Who may switch where an order bounds how many do at the same time: nobody gets a slot while its group has none left.
//!
//! It counts, and knows nothing of waves and phases. A slot that was given stays given: who has it may have switched already.

use crate::door::Time;
use content::order::AtOnce;
use content::{Label, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// The slots of a rollout.
#[derive(Debug)]
pub(super) struct Slots {
    limits: Vec<Limit>,
    given: BTreeSet<NodeId>,
    /// Until when it is not known who was given a slot before this process began.
    unsure: Option<Time>,
}

/// A limit, and the groups that it bounds.
#[derive(Debug)]
struct Limit {
    of: AtOnce,
    groups: BTreeMap<NodeId, usize>,
    sizes: Vec<usize>,
}

impl Limit {
    /// Who has the same value of the label is in one group, and who has none as well.
    fn regroup<'a>(&mut self, nodes: &[NodeId], label: &impl Fn(NodeId, &Label) -> Option<&'a Label>) {
        let mut values: BTreeMap<Option<&Label>, usize> = BTreeMap::new();
        self.groups.clear();
        self.sizes.clear();
        for node in nodes {
            let fresh = values.len();
            let value = self.of.by.as_ref().and_then(|key| label(*node, key));
            let group = *values.entry(value).or_insert(fresh);
            if group == fresh {
                self.sizes.push(0);
            }
            self.sizes[group] += 1;
            self.groups.insert(*node, group);
        }
    }

    /// How many slots each group has.
    fn rooms(&self) -> Vec<usize> {
        self.sizes.iter().map(|size| self.of.most.of(*size).max(1)).collect()
    }
}

impl Slots {
    pub(super) fn new(limits: &[AtOnce]) -> Self {
        let limit = |of: &AtOnce| Limit { of: of.clone(), groups: BTreeMap::new(), sizes: Vec::new() };
        Self { limits: limits.iter().map(limit).collect(), given: BTreeSet::new(), unsure: None }
    }

    pub(super) fn is_unlimited(&self) -> bool {
        self.limits.is_empty()
    }

    /// Whether a node was given a slot.
    pub(super) fn has(&self, node: &NodeId) -> bool {
        self.given.contains(node)
    }

    /// These are all, with the label of each by its key.
    pub(super) fn regroup<'a>(&mut self, nodes: &[NodeId], label: impl Fn(NodeId, &Label) -> Option<&'a Label>) {
        self.limits.iter_mut().for_each(|limit| limit.regroup(nodes, &label));
    }

    /// Who was given a slot by a process before this one says so, or is away, until then.
    pub(super) fn doubt(&mut self, until: Time) {
        self.unsure = Some(until);
    }

    pub(super) fn is_unsure(&self, now: Time) -> bool {
        self.unsure.is_some_and(|until| now < until)
    }

    /// Gives slots to those who are ready, in their order, as far as each of their groups has one left beside who is under way.
    pub(super) fn give(&mut self, under_way: &[NodeId], ready: &[NodeId]) {
        let Self { limits, given, .. } = self;
        let mut rooms: Vec<Vec<usize>> = limits.iter().map(Limit::rooms).collect();
        let groups =
            |node: &NodeId| limits.iter().map(|limit| limit.groups.get(node).copied()).collect::<Option<Vec<_>>>();
        let take = |rooms: &mut [Vec<usize>], groups: &[usize]| {
            rooms.iter_mut().zip(groups).for_each(|(rooms, group)| rooms[*group] = rooms[*group].saturating_sub(1));
        };
        for groups in under_way.iter().filter_map(groups) {
            take(&mut rooms, &groups);
        }
        for (node, groups) in ready.iter().filter_map(|node| Some((node, groups(node)?))) {
            if rooms.iter().zip(&groups).all(|(rooms, group)| rooms[*group] > 0) {
                take(&mut rooms, &groups);
                given.insert(*node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;
    use content::order::Wave;
    use std::time::Duration;

    fn nodes() -> Vec<NodeId> {
        (0..9).map(|nr| NodeId(Digest::of(&[nr]))).collect()
    }

    fn slots(limits: &[AtOnce]) -> Slots {
        // Four in rack a, three in rack b, two in none.
        let racks = [Label::new("a"), Label::new("b")].map(|rack| rack.expect("a plain label"));
        let nodes = nodes();
        let mut slots = Slots::new(limits);
        slots.regroup(&nodes, |node, _| match nodes.iter().position(|of| *of == node)? {
            0..4 => Some(&racks[0]),
            4..7 => Some(&racks[1]),
            _ => None,
        });
        slots
    }

    fn by(key: Option<&str>, most: Wave) -> AtOnce {
        AtOnce { by: key.map(|key| Label::new(key).expect("a plain label")), most }
    }

    fn given(slots: &Slots) -> Vec<usize> {
        nodes().iter().enumerate().filter(|(_, node)| slots.has(node)).map(|(nr, _)| nr).collect()
    }

    #[test]
    fn each_group_has_its_slots_and_who_lacks_the_label_is_a_group() {
        let (nodes, mut slots) = (nodes(), slots(&[by(Some("rack"), Wave::Count(1))]));
        slots.give(&[], &nodes);
        assert_eq!(given(&slots), [0, 4, 7]);
        slots.give(&[nodes[0], nodes[4], nodes[7]], &nodes);
        assert_eq!(given(&slots), [0, 4, 7], "they are under way");
        slots.give(&[nodes[0], nodes[7]], &nodes[5..]);
        assert_eq!(given(&slots), [0, 4, 5, 7], "one of rack b is through");
    }

    #[test]
    fn a_share_is_of_the_group_and_lets_one_through_at_least_and_every_limit_holds() {
        let mut shares = slots(&[by(Some("rack"), Wave::PerMille(500))]);
        shares.give(&[], &nodes());
        assert_eq!(given(&shares), [0, 1, 4, 5, 7]);
        let mut small = slots(&[by(Some("rack"), Wave::PerMille(1))]);
        small.give(&[], &nodes());
        assert_eq!(given(&small), [0, 4, 7]);
        let mut both = slots(&[by(None, Wave::Count(4)), by(Some("rack"), Wave::Count(3))]);
        both.give(&[], &nodes());
        assert_eq!(given(&both), [0, 1, 2, 4]);
    }

    #[test]
    fn doubt_has_its_time() {
        let mut slots = slots(&[by(None, Wave::Count(1))]);
        assert!(!slots.is_unsure(Time(0)));
        let until = Time(0).after(Duration::from_secs(30));
        slots.doubt(until);
        assert!(slots.is_unsure(Time(29_999_999_999)) && !slots.is_unsure(until));
    }
}
