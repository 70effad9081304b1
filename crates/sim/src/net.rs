//! The pretend network: serial links, delay, jitter, loss, cuts in either direction, and connections that break.
//!
//! Every node has one link up and one down, each of which carries one thing at a time at full rate (store and forward).
//! Loss is what TCP makes of it: a retransmission later, in order. Control overtakes bulk and waits only for control; each
//! of both keeps its order within a connection. What is sent into a cut is held back and arrives when the cut heals, if
//! the connection lives until then.
//!
//! It moves opaque parcels between node numbers: what they are, and what is done on arrival, is the world's affair.

use crate::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The number of a node in its world.
pub(crate) type Nr = usize;

/// Which of a pair's two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Control,
    Bulk,
}

/// One node's access to the network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// Bytes per second towards the network.
    pub(crate) up: u64,
    /// Bytes per second from it.
    pub(crate) down: u64,
    /// One way from it to the middle of the network.
    pub(crate) delay: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Free {
    up: [u64; 2],
    down: [u64; 2],
}

/// A connection between two nodes, named by a number that is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnId(pub(crate) u64);

#[derive(Debug)]
struct Conn<P> {
    id: ConnId,
    /// When the last parcel of each (direction, lane) arrives, so that none overtakes another.
    last: BTreeMap<(Nr, Lane), u64>,
    /// Parcels that wait for a cut to heal, by sender, in order.
    held: BTreeMap<Nr, Vec<(Lane, u64, P)>>,
}

/// When something arrives.
#[derive(Debug)]
pub(crate) enum Fate<P> {
    /// At this time, over this connection.
    Arrives(u64, ConnId, P),
    /// It waits for a cut to heal.
    Held,
    /// There is no connection.
    Lost,
}

/// How long TCP waits before it sends again what was lost.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// How often it may be lost again.
const MAX_RETRANSMITS: u64 = 4;

/// The network of one world.
#[derive(Debug)]
pub(crate) struct Net<P> {
    links: Vec<Link>,
    /// Bytes of bulk per second that a node lets itself send.
    limits: BTreeMap<Nr, u64>,
    free: Vec<Free>,
    conns: BTreeMap<(Nr, Nr), Conn<P>>,
    next: u64,
    cuts: BTreeMap<(Nr, Nr), u32>,
    loss_per_mille: u64,
    jitter: Duration,
    dice: Dice,
    /// How many parcels were lost and sent again.
    pub(crate) retransmits: u64,
    /// How many parcels waited for a cut to heal.
    pub(crate) stalled: u64,
}

fn pair(a: Nr, b: Nr) -> (Nr, Nr) {
    (a.min(b), a.max(b))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn takes(bytes: u64, rate: u64) -> u64 {
    bytes.saturating_mul(1_000_000_000) / rate.max(1)
}

impl<P> Net<P> {
    pub(crate) fn new(links: Vec<Link>, loss_per_mille: u64, jitter: Duration, dice: Dice) -> Self {
        Self {
            free: vec![Free::default(); links.len()],
            links,
            limits: BTreeMap::new(),
            conns: BTreeMap::new(),
            next: 0,
            cuts: BTreeMap::new(),
            loss_per_mille,
            jitter,
            dice,
            retransmits: 0,
            stalled: 0,
        }
    }

    /// How long a parcel travels from one node to the other, without links.
    pub(crate) fn delay(&self, a: Nr, b: Nr) -> u64 {
        nanos(self.links[a].delay + self.links[b].delay)
    }

    /// Makes a link slower or faster.
    pub(crate) fn set_link(&mut self, node: Nr, link: Link) {
        self.links[node] = link;
    }

    /// From now on a node sends at most so many bytes of bulk per second; control is not held up.
    pub(crate) fn limit_up(&mut self, node: Nr, rate: Option<u64>) {
        match rate {
            Some(rate) => self.limits.insert(node, rate),
            None => self.limits.remove(&node),
        };
    }

    /// Whether a node lets itself send anything now.
    pub(crate) fn may_send(&self, node: Nr) -> bool {
        self.limits.get(&node) != Some(&0)
    }

    /// Connects two nodes; a connection that they had is replaced, with all that was under way on it.
    pub(crate) fn connect(&mut self, a: Nr, b: Nr) -> ConnId {
        self.next += 1;
        let id = ConnId(self.next);
        self.conns.insert(pair(a, b), Conn { id, last: BTreeMap::new(), held: BTreeMap::new() });
        id
    }

    pub(crate) fn connection(&self, a: Nr, b: Nr) -> Option<ConnId> {
        self.conns.get(&pair(a, b)).map(|conn| conn.id)
    }

    /// Ends the connection of two nodes; whether there was one.
    pub(crate) fn disconnect(&mut self, a: Nr, b: Nr) -> bool {
        self.conns.remove(&pair(a, b)).is_some()
    }

    /// Whom a node is connected with.
    pub(crate) fn peers(&self, node: Nr) -> Vec<Nr> {
        let other = |&(a, b): &(Nr, Nr)| if a == node { Some(b) } else { (b == node).then_some(a) };
        self.conns.keys().filter_map(other).collect()
    }

    /// All pairs that are connected.
    pub(crate) fn pairs(&self) -> Vec<(Nr, Nr)> {
        self.conns.keys().copied().collect()
    }

    /// Stops what goes from one node to another.
    pub(crate) fn cut(&mut self, from: Nr, to: Nr) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    /// Takes one cut back.
    pub(crate) fn heal(&mut self, from: Nr, to: Nr) {
        let left = self.cuts.get(&(from, to)).map_or(0, |cuts| cuts - 1);
        match left {
            0 => self.cuts.remove(&(from, to)),
            _ => self.cuts.insert((from, to), left),
        };
    }

    pub(crate) fn is_cut(&self, from: Nr, to: Nr) -> bool {
        self.cuts.contains_key(&(from, to))
    }

    /// The nodes that something goes to or comes from only in part.
    pub(crate) fn cut_off(&self) -> BTreeSet<Nr> {
        self.cuts.keys().flat_map(|&(a, b)| [a, b]).collect()
    }

    /// Takes the parcels that a healed cut held back, in their order.
    pub(crate) fn take_held(&mut self, from: Nr, to: Nr) -> Vec<(Lane, u64, P)> {
        self.conns.get_mut(&pair(from, to)).and_then(|conn| conn.held.remove(&from)).unwrap_or_default()
    }

    /// When a sender's bulk link has carried this many bytes, beginning at `at`.
    pub(crate) fn carry_up(&mut self, from: Nr, lane: Lane, bytes: u64, at: u64) -> u64 {
        let limit = self.limits.get(&from).filter(|_| lane == Lane::Bulk);
        let rate = limit.map_or(self.links[from].up, |limit| self.links[from].up.min(*limit));
        let free = &mut self.free[from].up[lane as usize];
        *free = at.max(*free) + takes(bytes, rate);
        *free
    }

    /// Sends a parcel that leaves its sender's link at `left`.
    pub(crate) fn send(&mut self, (from, to): (Nr, Nr), lane: Lane, bytes: u64, left: u64, parcel: P) -> Fate<P> {
        let cut = self.is_cut(from, to);
        let travel = self.delay(from, to) + self.dice.below(nanos(self.jitter) + 1) + self.retransmissions();
        let Some(conn) = self.conns.get_mut(&pair(from, to)) else { return Fate::Lost };
        if cut {
            conn.held.entry(from).or_default().push((lane, bytes, parcel));
            self.stalled += 1;
            return Fate::Held;
        }
        let free = &mut self.free[to].down[lane as usize];
        let last = conn.last.entry((from, lane)).or_default();
        *last = (left + travel).max(*free).max(*last + 1) + takes(bytes, self.links[to].down);
        *free = (*free).max(left + travel) + takes(bytes, self.links[to].down);
        Fate::Arrives(*last, conn.id, parcel)
    }

    fn retransmissions(&mut self) -> u64 {
        let mut waits = 0;
        while waits < MAX_RETRANSMITS && self.dice.chance(self.loss_per_mille, 1000) {
            waits += 1;
        }
        self.retransmits += waits;
        nanos(RETRANSMIT) * ((1 << waits) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net() -> Net<u8> {
        let link = Link { up: 1_000_000, down: 1_000_000, delay: Duration::from_millis(1) };
        Net::new(vec![link; 3], 0, Duration::ZERO, Dice::new(1))
    }

    fn arrival(fate: Fate<u8>) -> u64 {
        match fate {
            Fate::Arrives(at, _, _) => at,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_link_carries_one_thing_at_a_time_and_control_overtakes_bulk() {
        let mut net = net();
        net.connect(0, 1);
        let left = net.carry_up(0, Lane::Bulk, 1000, 0);
        assert_eq!((left, net.carry_up(0, Lane::Bulk, 1000, 0)), (1_000_000, 2_000_000));
        assert_eq!(arrival(net.send((0, 1), Lane::Bulk, 1000, left, 7)), 4_000_000);
        let control = net.carry_up(0, Lane::Control, 10, 0);
        assert!(arrival(net.send((0, 1), Lane::Control, 10, control, 7)) < 3_000_000);
    }

    #[test]
    fn a_limit_slows_bulk_down_and_not_control() {
        let mut net = net();
        net.limit_up(0, Some(1000));
        assert_eq!(net.carry_up(0, Lane::Bulk, 1000, 0), 1_000_000_000);
        assert_eq!(net.carry_up(0, Lane::Control, 1000, 0), 1_000_000);
        net.limit_up(0, None);
        assert_eq!(net.carry_up(0, Lane::Bulk, 1000, 2_000_000_000), 2_001_000_000);
    }

    #[test]
    fn what_is_sent_into_a_cut_waits_and_the_other_way_is_open() {
        let mut net = net();
        net.connect(0, 1);
        net.cut(0, 1);
        assert!(matches!(net.send((0, 1), Lane::Control, 10, 0, 7), Fate::Held));
        assert!(matches!(net.send((1, 0), Lane::Control, 10, 0, 7), Fate::Arrives(..)));
        net.heal(0, 1);
        assert_eq!(net.take_held(0, 1).len(), 1);
        assert!(!net.is_cut(0, 1));
    }

    #[test]
    fn nothing_overtakes_on_a_lane_and_a_new_connection_forgets_the_old() {
        let mut net = Net::new(net().links, 300, Duration::from_millis(5), Dice::new(3));
        let first = net.connect(0, 1);
        let times: Vec<u64> = (0..50).map(|n| arrival(net.send((0, 1), Lane::Control, 10, n, 0))).collect();
        assert!(times.is_sorted() && net.retransmits > 0);
        assert_ne!(net.connect(1, 0), first);
        assert_eq!((net.peers(0), net.disconnect(0, 1)), (vec![1], true));
        assert!(matches!(net.send((0, 1), Lane::Bulk, 1, 0, 0), Fate::Lost));
    }
}
