//! Who is here, and who should meet whom.
//!
//! A mesh is kept before there is anything to spread, so that no handshake stands between publish and the first byte. At the
//! origin [`Tracker`] chooses neighbours; at an agent [`Mesh`] dials them and [`Origins`] keeps one connection to an origin.
//! Neighbourhood is symmetric, and of two agents the one with the lower id dials.

use crate::alarm::Alarms;
use crate::chance::Chance;
use crate::door::{Introduction, Time};
use content::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// How long a redial waits at most.
const LONGEST: Duration = Duration::from_secs(5);
/// How long an answer to a dial may take before it counts as unreachable.
const DIAL: Duration = Duration::from_secs(15);
/// How often a neighbour is redialled before it is forgotten.
const REDIALS: u32 = 8;

/// The members of a datacenter and their neighbourhoods.
#[derive(Debug)]
pub(crate) struct Tracker {
    neighbours: usize,
    members: BTreeMap<NodeId, Member>,
    /// The members in some order, for drawing.
    order: Vec<NodeId>,
}

#[derive(Debug)]
struct Member {
    address: SocketAddr,
    neighbours: BTreeSet<NodeId>,
    place: usize,
}

impl Tracker {
    pub(crate) fn new(neighbours: usize) -> Self {
        Self { neighbours, members: BTreeMap::new(), order: Vec::new() }
    }

    /// A member is here: who is to be introduced to whom.
    pub(crate) fn join(
        &mut self,
        node: NodeId,
        address: SocketAddr,
        chance: &mut Chance,
    ) -> Vec<(NodeId, Introduction)> {
        self.remove(node);
        self.members.insert(node, Member { address, neighbours: BTreeSet::new(), place: self.order.len() });
        self.order.push(node);
        self.befriend(node, chance)
    }

    /// A member is gone: who is to be introduced to whom in its stead.
    pub(crate) fn leave(&mut self, node: NodeId, chance: &mut Chance) -> Vec<(NodeId, Introduction)> {
        let lonely: Vec<NodeId> = self.remove(node).into_iter().filter(|other| self.is_lonely(*other)).collect();
        lonely.into_iter().flat_map(|other| self.befriend(other, chance)).collect()
    }

    fn remove(&mut self, node: NodeId) -> BTreeSet<NodeId> {
        let Some(gone) = self.members.remove(&node) else { return BTreeSet::new() };
        self.order.swap_remove(gone.place);
        if let Some(moved) = self.order.get(gone.place) {
            self.members.get_mut(moved).expect("the order names members").place = gone.place;
        }
        for other in &gone.neighbours {
            self.members.get_mut(other).expect("neighbours are members").neighbours.remove(&node);
        }
        gone.neighbours
    }

    fn is_lonely(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.neighbours.len() < self.neighbours / 2)
    }

    /// Finds new neighbours for a member: everyone in a small fleet, else half as many as it should have, because others
    /// will find it in turn.
    fn befriend(&mut self, node: NodeId, chance: &mut Chance) -> Vec<(NodeId, Introduction)> {
        let chosen = match self.order.len() <= self.neighbours + 1 {
            true => self.order.clone(),
            false => (0..self.neighbours * 2).map(|_| self.order[chance.below(self.order.len())]).collect(),
        };
        let is_small = self.order.len() <= self.neighbours + 1;
        let mut made = Vec::new();
        for other in chosen {
            let enough = self.members[&node].neighbours.len() >= self.neighbours.div_ceil(2);
            if other != node && (is_small || !enough) {
                made.extend(self.introduce(node, other));
            }
        }
        made
    }

    fn introduce(&mut self, a: NodeId, b: NodeId) -> Vec<(NodeId, Introduction)> {
        let address = |node: NodeId| self.members[&node].address;
        let (to_a, to_b) =
            (Introduction { node: b, address: address(b) }, Introduction { node: a, address: address(a) });
        if !self.members.get_mut(&a).is_some_and(|member| member.neighbours.insert(b)) {
            return Vec::new();
        }
        self.members.get_mut(&b).expect("b is a member").neighbours.insert(a);
        vec![(a, to_a), (b, to_b)]
    }
}

/// Somewhere to dial, and who must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dial {
    pub(crate) address: SocketAddr,
    pub(crate) expect: Option<NodeId>,
}

/// The neighbours of an agent.
#[derive(Debug)]
pub(crate) struct Mesh {
    me: NodeId,
    redial: Duration,
    known: BTreeMap<NodeId, Neighbour>,
    alarms: Alarms<NodeId>,
}

#[derive(Debug)]
struct Neighbour {
    address: SocketAddr,
    tries: u32,
    is_up: bool,
}

impl Mesh {
    pub(crate) fn new(me: NodeId, redial: Duration) -> Self {
        Self { me, redial, known: BTreeMap::new(), alarms: Alarms::default() }
    }

    /// Someone to meet. Of two, the one with the lower id dials.
    pub(crate) fn introduced(&mut self, now: Time, to: Introduction) {
        let neighbour = self.known.entry(to.node).or_insert(Neighbour { address: to.address, tries: 0, is_up: false });
        (neighbour.address, neighbour.tries) = (to.address, 0);
        if self.me < to.node && !neighbour.is_up {
            self.alarms.set(to.node, now);
        }
    }

    pub(crate) fn up(&mut self, node: NodeId) {
        self.alarms.clear(&node);
        if let Some(neighbour) = self.known.get_mut(&node) {
            (neighbour.is_up, neighbour.tries) = (true, 0);
        }
    }

    pub(crate) fn down(&mut self, now: Time, node: NodeId, chance: &mut Chance) {
        if let Some(neighbour) = self.known.get_mut(&node) {
            neighbour.is_up = false;
            self.again(now, node, chance);
        }
    }

    /// A neighbour that is not to be met again.
    pub(crate) fn shun(&mut self, node: NodeId) {
        self.known.remove(&node);
        self.alarms.clear(&node);
    }

    pub(crate) fn unreachable(&mut self, now: Time, address: SocketAddr, chance: &mut Chance) {
        let there = self.known.iter().filter(|(_, neighbour)| neighbour.address == address && !neighbour.is_up);
        let nodes: Vec<NodeId> = there.map(|(node, _)| *node).collect();
        nodes.into_iter().for_each(|node| self.again(now, node, chance));
    }

    fn again(&mut self, now: Time, node: NodeId, chance: &mut Chance) {
        let Some(neighbour) = self.known.get_mut(&node) else { return };
        neighbour.tries += 1;
        if neighbour.tries > REDIALS {
            return self.shun(node);
        }
        if self.me < node {
            let wait = (self.redial * (1 << neighbour.tries.min(8))).min(LONGEST);
            self.alarms.set(node, now.after(chance.jitter(wait)));
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.alarms.next()
    }

    /// Whom to dial now.
    pub(crate) fn due(&mut self, now: Time) -> Option<Dial> {
        let node = self.alarms.due(now)?;
        let neighbour = self.known.get(&node)?;
        self.alarms.set(node, now.after(DIAL));
        Some(Dial { address: neighbour.address, expect: Some(node) })
    }
}

/// The one connection to an origin that agents and publishers keep.
#[derive(Debug)]
pub(crate) struct Origins {
    addresses: Vec<SocketAddr>,
    redial: Duration,
    /// Which address is tried, and how many tries there were since an origin was up.
    at: usize,
    tries: u32,
    up: BTreeSet<NodeId>,
    next: Option<Time>,
    is_dialling: bool,
}

impl Origins {
    pub(crate) fn new(addresses: Vec<SocketAddr>, redial: Duration, now: Time) -> Self {
        let next = (!addresses.is_empty()).then_some(now);
        Self { addresses, redial, at: 0, tries: 0, up: BTreeSet::new(), next, is_dialling: false }
    }

    pub(crate) fn up(&mut self, node: NodeId) {
        self.up.insert(node);
        (self.tries, self.next, self.is_dialling) = (0, None, false);
    }

    /// The origins that are connected.
    pub(crate) fn connected(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.up.iter().copied()
    }

    /// An origin is gone; whether it was the last one.
    pub(crate) fn down(&mut self, now: Time, node: NodeId, chance: &mut Chance) -> bool {
        let last = self.up.remove(&node) && self.up.is_empty();
        if last {
            self.again(now, chance);
        }
        last
    }

    pub(crate) fn unreachable(&mut self, now: Time, address: SocketAddr, chance: &mut Chance) {
        let current = self.addresses.get(self.at % self.addresses.len().max(1)) == Some(&address);
        if self.is_dialling && current && self.up.is_empty() {
            self.at += 1;
            self.again(now, chance);
        }
    }

    fn again(&mut self, now: Time, chance: &mut Chance) {
        self.is_dialling = false;
        let wait = (self.redial * (1 << self.tries.min(8))).min(LONGEST);
        self.tries += 1;
        self.next = (!self.addresses.is_empty()).then(|| now.after(chance.jitter(wait)));
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// Which origin to dial now.
    pub(crate) fn due(&mut self, now: Time) -> Option<Dial> {
        if self.next? > now || !self.up.is_empty() {
            return None;
        }
        if self.is_dialling {
            self.at += 1;
        }
        (self.next, self.is_dialling) = (Some(now.after(DIAL)), true);
        Some(Dial { address: self.addresses[self.at % self.addresses.len()], expect: None })
    }
}
