//! Who is here, and who should meet whom.
//!
//! A mesh is kept before there is anything to spread, so that no handshake stands between publish and the first byte. At the
//! origin [`Tracker`] chooses neighbours; at an agent [`Mesh`] dials them and [`Origins`] keeps one connection to an origin.
//! Neighbourhood is symmetric, and of two agents the one with the lower id dials.

mod course;
mod trees;

use crate::alarm::Alarms;
use crate::chance::Chance;
use crate::door::{Introduction, STRIPES, Stripe, Time};
use content::{Labels, NodeId};
use course::Course;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long a redial waits at most; a connection that did not last as long starts no new count of tries.
const LONGEST: Duration = Duration::from_secs(5);
/// How long an answer to a dial may take before it counts as unreachable.
const DIAL: Duration = Duration::from_secs(15);
/// Whoever is blamed twice within such a time is benched.
const AGAIN: Duration = Duration::from_millis(500);
/// Whoever got another part has so long to fulfil it before it is blamed.
const FRESH: Duration = Duration::from_millis(100);
/// How long those after a member must go on saying that they have to ask others.
const HOLDS: Duration = Duration::from_millis(50);
/// At most this part of the members may have no part in the given order at the word of one other each; and if it is shown better.
const BENCH: usize = 8;
const BENCH_PROVEN: usize = 2;
/// How long they have none: a slow machine is likely to be slow in the next deploy as well.
const PARDON: Duration = Duration::from_secs(600);
/// To how many an origin may give a stripe: it goes down from each of them, and up.
const ENTRIES: usize = 7;
/// So many members at the top of each tree show an origin what becomes of what it gives: the entries, and those below them.
const NEAR: usize = 15;
/// How often a neighbour is redialled soon; then seldom, since a path that was cut for minutes heals and no origin hears of it;
/// after so many times, about a day, it is forgotten.
const REDIALS: u32 = 8;
const SELDOM: Duration = Duration::from_secs(60);
const FORGOTTEN: u32 = REDIALS + 24 * 60;

/// The members of a datacenter and their neighbourhoods.
#[derive(Debug)]
pub(crate) struct Tracker {
    neighbours: usize,
    /// Whether there is a given order.
    gives_order: bool,
    members: BTreeMap<NodeId, Member>,
    /// The members that have a part in the given order, by their places.
    order: Vec<NodeId>,
    /// Those that have none for now, since when, and what for.
    benched: BTreeMap<NodeId, (Time, Charge)>,
    /// Those that had one again before their time, and when.
    acquitted: BTreeMap<NodeId, Time>,
    /// How soon members had all of what was published last.
    course: Option<Course>,
    /// Who was blamed last when, and by whom.
    blamed: BTreeMap<NodeId, (Time, BTreeSet<NodeId>)>,
    /// Who was accused by whom since when, and when last.
    accused: BTreeMap<(NodeId, NodeId), (Time, Time)>,
    /// Those that may fail together, and the numbers of their domains.
    domains: Vec<BTreeSet<NodeId>>,
    numbers: BTreeMap<Domain, usize>,
}

/// What may fail as one, or be in one hand: a rack of a zone where nodes are labelled so, else a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Domain {
    Place { zone: String, rack: String },
    Network(IpAddr),
}

impl Domain {
    /// The domain of a node by its labels, or by where it is.
    pub(crate) fn of(labels: &Labels, address: IpAddr) -> Self {
        let label = |key: &str| {
            labels.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value.as_str().to_owned())
        };
        match (label("zone"), label("rack")) {
            (None, None) => Self::Network(network(address)),
            (zone, rack) => Self::Place { zone: zone.unwrap_or_default(), rack: rack.unwrap_or_default() },
        }
    }
}

/// The network an address is in, as machines that stand together usually share one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(of) => Ipv4Addr::from(of.to_bits() & !0xff).into(),
        IpAddr::V6(of) => Ipv6Addr::from(of.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// How well it is shown that a member passes on too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// By its own word, or by two others that do not depend on each other: who they are is not theirs to choose.
    Strong,
    /// By one other.
    Weak,
}

/// What a member has no part in the given order for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charge {
    /// It takes less than it is given, by what it says itself.
    TakesLittle,
    /// It passes on less than it has.
    PassesOnLittle,
}

#[derive(Debug)]
struct Member {
    address: SocketAddr,
    neighbours: BTreeSet<NodeId>,
    domain: usize,
    /// Where it stands, unless it is benched.
    place: Option<usize>,
    /// Its part in the given order, as it was told; nothing yet.
    stripes: Option<[Stripe; STRIPES]>,
    /// When it was told so last.
    since: Option<Time>,
}

/// What is to be said after someone came or went.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Who is to be introduced to whom.
    pub(crate) introductions: Vec<(NodeId, Introduction)>,
    /// Whose part in the given order is another now.
    pub(crate) stripes: Vec<(NodeId, [Stripe; STRIPES])>,
}

impl Tracker {
    pub(crate) fn new(neighbours: usize, gives_order: bool) -> Self {
        Self {
            neighbours,
            gives_order,
            members: BTreeMap::new(),
            order: Vec::new(),
            benched: BTreeMap::new(),
            acquitted: BTreeMap::new(),
            course: None,
            blamed: BTreeMap::new(),
            accused: BTreeMap::new(),
            domains: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// A member is here.
    pub(crate) fn join(&mut self, node: NodeId, address: SocketAddr, of: Domain, chance: &mut Chance) -> Changes {
        let mut touched = self.remove(node).1;
        let next = self.domains.len();
        let domain = *self.numbers.entry(of).or_insert(next);
        self.domains.resize_with(next.max(domain + 1), BTreeSet::new);
        self.domains[domain].insert(node);
        let neighbours = BTreeSet::new();
        self.members.insert(node, Member { address, neighbours, domain, place: None, stripes: None, since: None });
        touched.extend(self.plant(node));
        let introductions = self.befriend(node, chance);
        self.replant(touched, introductions)
    }

    /// A member is gone.
    pub(crate) fn leave(&mut self, node: NodeId, chance: &mut Chance) -> Changes {
        let (parted, touched) = self.remove(node);
        let (lonely, rest): (Vec<NodeId>, Vec<NodeId>) = parted.into_iter().partition(|other| self.is_lonely(*other));
        let mut introductions: Vec<_> = lonely.into_iter().flat_map(|other| self.befriend(other, chance)).collect();
        introductions.extend(rest.into_iter().filter_map(|other| self.open_up(other, chance)).flatten());
        self.replant(touched, introductions)
    }

    /// How many members there are.
    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// Those at the top of the trees.
    pub(crate) fn near_roots(&self) -> BTreeSet<NodeId> {
        let places = (0..STRIPES).flat_map(|stripe| trees::top(stripe, self.order.len(), NEAR));
        places.filter_map(|place| self.order.get(place).copied()).collect()
    }

    /// To whom an origin may give each stripe: the root first, then those below it.
    pub(crate) fn roots(&self) -> Option<[Stripe; STRIPES]> {
        let members = self.order.len();
        self.gives_order.then(|| {
            std::array::from_fn(|stripe| {
                let places = trees::top(stripe, members, ENTRIES);
                Stripe { from: None, to: places.iter().filter_map(|place| self.order.get(*place).copied()).collect() }
            })
        })
    }

    /// Finds out the parts in the given order of the members at these places anew; those that pass on to each other meet.
    fn replant(&mut self, mut places: Vec<usize>, introductions: Vec<(NodeId, Introduction)>) -> Changes {
        places.sort_unstable();
        places.dedup();
        let mut changes = Changes { introductions, stripes: Vec::new() };
        places.retain(|place| self.gives_order && *place < self.order.len());
        for place in places {
            let (node, stripes) = (self.order[place], self.stripes(place));
            // Whoever came again is a stranger to those who pass on to it, although their part is what it was.
            for child in stripes.iter().flat_map(|stripe| &stripe.to) {
                changes.introductions.extend(self.introduce(node, *child).into_iter().flatten());
            }
            let member = self.members.get_mut(&node).expect("the order names members");
            if member.stripes.as_ref() == Some(&stripes) {
                continue;
            }
            member.stripes = Some(stripes.clone());
            changes.stripes.push((node, stripes));
        }
        changes
    }

    fn stripes(&self, place: usize) -> [Stripe; STRIPES] {
        let members = self.order.len();
        std::array::from_fn(|stripe| Stripe {
            from: trees::parent(stripe, place, members).map(|parent| self.order[parent]),
            to: trees::children(stripe, place, members).into_iter().map(|child| self.order[child]).collect(),
        })
    }

    /// Takes a member out: who were its neighbours, and the places that are touched by it.
    fn remove(&mut self, node: NodeId) -> (BTreeSet<NodeId>, Vec<usize>) {
        let touched = self.uproot(node);
        self.benched.remove(&node);
        self.acquitted.remove(&node);
        let Some(gone) = self.members.remove(&node) else { return (BTreeSet::new(), touched) };
        self.domains[gone.domain].remove(&node);
        for other in &gone.neighbours {
            self.members.get_mut(other).expect("neighbours are members").neighbours.remove(&node);
        }
        (gone.neighbours, touched)
    }

    /// Gives a member the next place; the places that are touched by it.
    fn plant(&mut self, node: NodeId) -> Vec<usize> {
        let mut touched = trees::touched(self.order.len());
        self.members.get_mut(&node).expect("only members are planted").place = Some(self.order.len());
        self.order.push(node);
        touched.extend(trees::touched(self.order.len()));
        touched
    }

    /// Takes a member from its place, which the last one gets; the places that are touched by it.
    fn uproot(&mut self, node: NodeId) -> Vec<usize> {
        let Some(place) = self.members.get_mut(&node).and_then(|member| member.place.take()) else { return Vec::new() };
        let mut touched = trees::touched(self.order.len());
        self.order.swap_remove(place);
        let members = self.order.len();
        touched.extend(trees::touched(members));
        touched.push(place);
        // Whoever took the place of the one that is gone has its edges.
        for stripe in (0..STRIPES).filter(|_| place < members) {
            touched.extend(trees::parent(stripe, place, members));
            touched.extend(trees::children(stripe, place, members));
        }
        if let Some(moved) = self.order.get(place) {
            self.members.get_mut(moved).expect("the order names members").place = Some(place);
        }
        touched
    }

    /// The way of a stripe to a member: itself, from whom it gets it, and so on up to the root.
    pub(crate) fn line(&self, stripe: usize, node: NodeId) -> Vec<NodeId> {
        let place = self.members.get(&node).and_then(|member| member.place);
        let up = |place: &usize| trees::parent(stripe, *place, self.order.len());
        std::iter::successors(place, up).map(|place| self.order[place]).collect()
    }

    /// To whom a member passes a stripe on.
    pub(crate) fn children(&self, node: NodeId, stripe: usize) -> Vec<NodeId> {
        let stripes = self.members.get(&node).and_then(|member| member.stripes.as_ref());
        stripes.map(|stripes| stripes[stripe].to.clone()).unwrap_or_default()
    }

    /// One after a member says that it has to ask others for a stripe. A member may not deal with one of those after it; when all
    /// of them say so, and go on saying so, it is benched.
    pub(crate) fn accuse(&mut self, now: Time, node: NodeId, by: NodeId, stripe: usize) -> Changes {
        let children = self.children(node, stripe);
        if !children.contains(&by) {
            return Changes::default();
        }
        self.accused.retain(|_, (_, last)| now.since(*last) < AGAIN);
        self.accused.entry((node, by)).or_insert((now, now)).1 = now;
        let holds = |(first, last): &(Time, Time)| last.since(*first) >= HOLDS;
        match children.iter().all(|child| self.accused.get(&(node, *child)).is_some_and(holds)) {
            true => {
                let proof = if children.len() > 1 { Proof::Strong } else { Proof::Weak };
                self.bench(now, node, proof, Charge::PassesOnLittle)
            }
            false => Changes::default(),
        }
    }

    /// From whom a member gets each stripe; nobody is an origin.
    pub(crate) fn parents(&self, node: NodeId) -> [Option<NodeId>; STRIPES] {
        let stripes = self.members.get(&node).and_then(|member| member.stripes.as_ref());
        std::array::from_fn(|stripe| stripes.and_then(|stripes| stripes[stripe].from))
    }

    /// From whom a member gets each stripe, an origin being nobody; nothing when it passes nothing on.
    pub(crate) fn before(&self, node: NodeId) -> Option<[Option<NodeId>; STRIPES]> {
        let stripes = self.members.get(&node)?.stripes.as_ref().filter(|_| !self.benched.contains_key(&node))?;
        let passes_on = stripes.iter().any(|stripe| !stripe.to.is_empty());
        passes_on.then(|| std::array::from_fn(|stripe| stripes[stripe].from))
    }

    /// A member passes on too little, says one of those after it. When that is said again soon it is benched.
    pub(crate) fn blame(&mut self, now: Time, node: NodeId, by: NodeId) -> Changes {
        self.blamed.retain(|_, (at, _)| now.since(*at) < AGAIN);
        // What was missing before it had its place says nothing of it.
        if self.members.get(&node).is_none_or(|member| member.since.is_some_and(|since| now.since(since) < FRESH)) {
            return Changes::default();
        }
        let is_again = self.blamed.contains_key(&node);
        let (at, witnesses) = self.blamed.entry(node).or_insert((now, BTreeSet::new()));
        *at = now;
        witnesses.insert(by);
        let proof = match by == node || witnesses.len() > 1 {
            true => Proof::Strong,
            false => Proof::Weak,
        };
        let charge = if by == node { Charge::TakesLittle } else { Charge::PassesOnLittle };
        match is_again {
            true => self.bench(now, node, proof, charge),
            false => Changes::default(),
        }
    }

    /// Takes a member out of the given order for a while, unless that was done to many already.
    pub(crate) fn bench(&mut self, now: Time, node: NodeId, proof: Proof, charge: Charge) -> Changes {
        let part = match proof {
            Proof::Strong => BENCH_PROVEN,
            Proof::Weak => BENCH,
        };
        if self.benched.len() >= (self.members.len() / part).max(1) {
            return Changes::default();
        }
        let touched = self.uproot(node);
        if touched.is_empty() {
            return Changes::default();
        }
        self.benched.insert(node, (now, charge));
        let nobody = Stripe { from: Some(node), to: Vec::new() };
        let mut changes = self.replant(touched, Vec::new());
        let stripes: [Stripe; STRIPES] = std::array::from_fn(|_| nobody.clone());
        if let Some(member) = self.members.get_mut(&node) {
            member.stripes = Some(stripes.clone());
        }
        changes.stripes.push((node, stripes));
        changes
    }

    /// A release begins to spread. Gives those a place again that have had none for long, and those of whom the release before has shown
    /// that they are not to blame.
    pub(crate) fn begins(&mut self, now: Time) -> Changes {
        let is_long_ago = |since: &Time| now.since(*since) >= PARDON;
        self.acquitted.retain(|_, at| !is_long_ago(at));
        let mut innocent = BTreeSet::new();
        if self.course.as_ref().is_none_or(|course| course.is_over(now))
            && let Some(course) = self.course.replace(Course::new(now, self.members.len()))
        {
            innocent = self.innocent(&course);
        }
        self.acquitted.extend(innocent.iter().map(|node| (*node, now)));
        let is_free = |node: &NodeId, (since, _): &(Time, Charge)| is_long_ago(since) || innocent.contains(node);
        let free: Vec<NodeId> =
            self.benched.iter().filter(|(node, bench)| is_free(node, bench)).map(|(node, _)| *node).collect();
        let mut touched = Vec::new();
        for node in free {
            self.benched.remove(&node);
            touched.extend(self.plant(node));
        }
        self.replant(touched, Vec::new())
    }

    /// Who is benched and not to blame: if as many were slow as seemed to keep things to themselves, whoever had all in time only fed them,
    /// or was starved by them. Otherwise there are liars, and nobody can tell. Nobody is let off twice in a while.
    fn innocent(&self, course: &Course) -> BTreeSet<NodeId> {
        let charged = |wanted: Charge| self.benched.iter().filter(move |(_, (_, charge))| *charge == wanted);
        let slow = charged(Charge::TakesLittle).filter(|(node, _)| !course.was_in_time(**node)).count();
        if slow < charged(Charge::PassesOnLittle).count() {
            return BTreeSet::new();
        }
        let is_innocent = |node: &&NodeId| course.was_in_time(**node) && !self.acquitted.contains_key(*node);
        self.benched.keys().filter(is_innocent).copied().collect()
    }

    /// A member has all of a release.
    pub(crate) fn has_all(&mut self, now: Time, node: NodeId) {
        if let Some(course) = &mut self.course {
            course.has_all(now, node);
        }
    }

    /// Members were told of another part in the given order.
    pub(crate) fn told(&mut self, now: Time, nodes: impl Iterator<Item = NodeId>) {
        for node in nodes {
            if let Some(member) = self.members.get_mut(&node) {
                member.since = Some(now);
            }
        }
    }

    fn is_lonely(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.neighbours.len() < self.neighbours / 2)
    }

    /// Finds new neighbours for a member: everyone in a small fleet, else half as many as it should have, because others
    /// will find it in turn.
    fn befriend(&mut self, node: NodeId, chance: &mut Chance) -> Vec<(NodeId, Introduction)> {
        let is_small = self.members.len() <= self.neighbours + 1;
        let chosen: Vec<NodeId> = match is_small {
            true => self.members.keys().copied().collect(),
            false => (0..self.neighbours * 2).map(|_| self.draw_needy(chance)).collect(),
        };
        let mut made = Vec::new();
        for other in chosen {
            let enough = self.members[&node].neighbours.len() >= self.neighbours.div_ceil(2);
            if other != node && (is_small || !enough) {
                made.extend(self.introduce(node, other).into_iter().flatten());
            }
        }
        made.extend(self.open_up(node, chance).into_iter().flatten());
        made
    }

    /// Of two that are drawn the one with fewer neighbours: else those who came first would be found by everyone.
    fn draw_needy(&self, chance: &mut Chance) -> NodeId {
        let mut drawn = || self.order[chance.below(self.order.len())];
        let (one, other) = (drawn(), drawn());
        let degree = |node: &NodeId| self.members[node].neighbours.len();
        if degree(&other) < degree(&one) { other } else { one }
    }

    /// Whoever has neighbours of one domain only is introduced to someone of another, when there is one: what fails as a whole, or is
    /// in one hand, must not be all that a node has besides its origin.
    fn open_up(&mut self, node: NodeId, chance: &mut Chance) -> Option<[(NodeId, Introduction); 2]> {
        let of = |node: &NodeId| self.members.get(node).map(|member| member.domain);
        let mut domains = self.members.get(&node)?.neighbours.iter().map(of);
        let only = domains.next()??;
        if domains.any(|domain| domain != Some(only)) {
            return None;
        }
        let is_mine = |of: &&BTreeSet<NodeId>| of.len() == 1 && of.contains(&node);
        let domains = self.domains.iter().enumerate().filter(|(nr, of)| *nr != only && !of.is_empty());
        let others: Vec<&BTreeSet<NodeId>> = domains.map(|(_, of)| of).filter(|of| !is_mine(of)).collect();
        let among = others.get(chance.below(others.len().max(1)))?;
        let candidates: Vec<NodeId> = among.iter().filter(|other| **other != node).copied().collect();
        self.introduce(node, candidates[chance.below(candidates.len())])
    }

    fn introduce(&mut self, a: NodeId, b: NodeId) -> Option<[(NodeId, Introduction); 2]> {
        let address = |node: NodeId| self.members[&node].address;
        let (to_a, to_b) =
            (Introduction { node: b, address: address(b) }, Introduction { node: a, address: address(a) });
        if !self.members.get_mut(&a).is_some_and(|member| member.neighbours.insert(b)) {
            return None;
        }
        self.members.get_mut(&b).expect("b is a member").neighbours.insert(a);
        Some([(a, to_a), (b, to_b)])
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
    /// Since when it is connected.
    up: Option<Time>,
}

impl Mesh {
    pub(crate) fn new(me: NodeId, redial: Duration) -> Self {
        Self { me, redial, known: BTreeMap::new(), alarms: Alarms::default() }
    }

    /// Someone to meet. Of two, the one with the lower id dials.
    pub(crate) fn introduced(&mut self, now: Time, to: Introduction) {
        let neighbour = self.known.entry(to.node).or_insert(Neighbour { address: to.address, tries: 0, up: None });
        (neighbour.address, neighbour.tries) = (to.address, 0);
        if self.me < to.node && neighbour.up.is_none() {
            self.alarms.set(to.node, now);
        }
    }

    pub(crate) fn up(&mut self, now: Time, node: NodeId) {
        self.alarms.clear(&node);
        if let Some(neighbour) = self.known.get_mut(&node) {
            neighbour.up = Some(now);
        }
    }

    pub(crate) fn down(&mut self, now: Time, node: NodeId, chance: &mut Chance) {
        if let Some(neighbour) = self.known.get_mut(&node) {
            if neighbour.up.take().is_some_and(|since| now.since(since) >= LONGEST) {
                neighbour.tries = 0;
            }
            self.again(now, node, chance);
        }
    }

    /// A neighbour that is not to be met again.
    pub(crate) fn shun(&mut self, node: NodeId) {
        self.known.remove(&node);
        self.alarms.clear(&node);
    }

    pub(crate) fn unreachable(&mut self, now: Time, address: SocketAddr, chance: &mut Chance) {
        let there = self.known.iter().filter(|(_, neighbour)| neighbour.address == address && neighbour.up.is_none());
        let nodes: Vec<NodeId> = there.map(|(node, _)| *node).collect();
        nodes.into_iter().for_each(|node| self.again(now, node, chance));
    }

    fn again(&mut self, now: Time, node: NodeId, chance: &mut Chance) {
        let Some(neighbour) = self.known.get_mut(&node) else { return };
        neighbour.tries += 1;
        if neighbour.tries > FORGOTTEN {
            return self.shun(node);
        }
        if self.me < node {
            let soon = (self.redial * (1 << neighbour.tries.min(8))).min(LONGEST);
            let wait = if neighbour.tries > REDIALS { SELDOM } else { soon };
            self.alarms.set(node, now.after(chance.jitter(wait)));
        }
    }

    /// Whether anyone is on its way: dialled for the first time, or about to dial.
    pub(crate) fn expects(&self) -> bool {
        self.known.values().any(|neighbour| neighbour.up.is_none() && neighbour.tries == 0)
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
    up: BTreeMap<NodeId, Time>,
    next: Option<Time>,
    is_dialling: bool,
}

impl Origins {
    pub(crate) fn new(addresses: Vec<SocketAddr>, redial: Duration, now: Time) -> Self {
        let next = (!addresses.is_empty()).then_some(now);
        Self { addresses, redial, at: 0, tries: 0, up: BTreeMap::new(), next, is_dialling: false }
    }

    pub(crate) fn up(&mut self, now: Time, node: NodeId) {
        self.up.insert(node, now);
        (self.next, self.is_dialling) = (None, false);
    }

    /// The origins that are connected.
    pub(crate) fn connected(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.up.keys().copied()
    }

    /// An origin is gone; whether it was the last one.
    pub(crate) fn down(&mut self, now: Time, node: NodeId, chance: &mut Chance) -> bool {
        let since = self.up.remove(&node);
        let last = since.is_some() && self.up.is_empty();
        if since.is_some_and(|since| now.since(since) >= LONGEST) {
            self.tries = 0;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use content::{Digest, Label};

    fn node(nr: u16) -> NodeId {
        NodeId(Digest::of(format!("{nr}").as_bytes()))
    }

    fn address(nr: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], nr))
    }

    fn domain(nr: u8) -> Domain {
        Domain::Network(IpAddr::from([10, 0, nr, 0]))
    }

    fn joined(members: u16) -> (Tracker, Chance) {
        let (mut tracker, mut chance) = (Tracker::new(16, true), Chance::new(1));
        (0..members).for_each(|nr| drop(tracker.join(node(nr), address(nr), domain(0), &mut chance)));
        (tracker, chance)
    }

    #[test]
    fn whoever_is_benched_passes_on_to_nobody_for_a_while() {
        let (mut tracker, _) = joined(40);
        let lame = tracker.line(0, node(7))[1];
        let changes = tracker.bench(Time(0), lame, Proof::Weak, Charge::PassesOnLittle);
        let (_, part) = changes.stripes.iter().find(|(to, _)| *to == lame).expect("it is told");
        assert!(part.iter().all(|stripe| stripe.from == Some(lame) && stripe.to.is_empty()));
        assert_ne!(tracker.line(0, node(7))[1], lame);
        assert!(
            tracker.line(0, lame).is_empty()
                && tracker.bench(Time(0), lame, Proof::Weak, Charge::PassesOnLittle).stripes.is_empty()
        );
        for place in 0..39 {
            let stripes = tracker.stripes(place);
            assert!(stripes.iter().all(|stripe| stripe.from != Some(lame) && !stripe.to.contains(&lame)));
        }
        assert!(tracker.begins(Time(0)).stripes.is_empty());
        assert!(tracker.begins(Time(0).after(PARDON)).stripes.iter().any(|(to, _)| *to == lame));
        assert!(!tracker.line(0, lame).is_empty());
    }

    /// Forty members, of whom these are benched; a release came to all but these in time, and then the next one begins.
    fn afterwards(benched: &[(u16, Charge)], late: &[u16]) -> Vec<u16> {
        let (mut tracker, _) = joined(40);
        tracker.begins(Time(0));
        benched.iter().for_each(|(nr, charge)| drop(tracker.bench(Time(0), node(*nr), Proof::Strong, *charge)));
        (0..40).filter(|nr| !late.contains(nr)).for_each(|nr| tracker.has_all(Time(1000), node(nr)));
        late.iter().for_each(|nr| tracker.has_all(Time(9000), node(*nr)));
        tracker.begins(Time(10_000));
        (0..40).filter(|nr| tracker.benched.contains_key(&node(*nr))).collect()
    }

    #[test]
    fn whoever_was_taken_for_slow_and_had_all_in_time_passes_on_again() {
        let benched = [(1, Charge::TakesLittle), (2, Charge::TakesLittle)];
        assert_eq!(afterwards(&benched, &[1]), [1]);
    }

    #[test]
    fn nobody_keeps_things_to_itself_where_the_slow_explain_what_was_missing() {
        let keeps = |nr| (nr, Charge::PassesOnLittle);
        assert_eq!(
            afterwards(&[keeps(1), keeps(2), (3, Charge::TakesLittle), (4, Charge::TakesLittle)], &[3, 4]),
            [3, 4]
        );
        assert_eq!(afterwards(&[keeps(1), keeps(2), (3, Charge::TakesLittle)], &[3]), [1, 2, 3], "one is not enough");
        assert_eq!(afterwards(&[keeps(1)], &[]), [1], "nobody was slow");
        assert_eq!(afterwards(&[keeps(1), (2, Charge::TakesLittle)], &[1, 2]), [1, 2], "it was late itself");
    }

    #[test]
    fn nobody_is_let_off_twice_in_a_while_and_nothing_is_judged_before_its_time() {
        let (mut tracker, _) = joined(40);
        let mut next = |at: u64| {
            tracker.begins(Time(at));
            let was_benched = tracker.benched.contains_key(&node(1));
            tracker.bench(Time(at), node(1), Proof::Strong, Charge::TakesLittle);
            (0..40).for_each(|nr| tracker.has_all(Time(at + 1000), node(nr)));
            was_benched
        };
        assert!(!next(0));
        assert!(next(2000), "who is slow may still come");
        assert!(!next(10_000));
        assert!(next(20_000), "the second time in a while");
        assert!(!next(20_000 + PARDON.as_nanos() as u64));
    }

    #[test]
    fn those_near_the_roots_are_few_however_many_there_are() {
        let near = |members| joined(members).0.near_roots().len();
        assert_eq!([near(0), near(1), near(5), near(400)], [0, 1, 5, 2 * NEAR]);
        let (tracker, _) = joined(400);
        let near = tracker.near_roots();
        let roots = tracker.roots().expect("it gives an order");
        assert!(roots.iter().flat_map(|stripe| &stripe.to).all(|entry| near.contains(entry)));
    }

    #[test]
    fn one_word_against_a_member_is_not_enough() {
        let (mut tracker, _) = joined(9);
        let by = node(4);
        assert!(tracker.blame(Time(0), node(3), by).stripes.is_empty());
        let late = Time(0).after(AGAIN);
        assert!(tracker.blame(late, node(3), by).stripes.is_empty());
        assert!(!tracker.blame(late, node(3), by).stripes.is_empty());
    }

    #[test]
    fn whoever_got_another_part_is_not_blamed_for_what_was_missing_before() {
        let (mut tracker, _) = joined(9);
        let by = node(4);
        tracker.told(Time(5), std::iter::once(node(3)));
        assert!((6..9).all(|at| tracker.blame(Time(at), node(3), by).stripes.is_empty()));
        let later = Time(5).after(FRESH);
        assert!(tracker.blame(later, node(3), by).stripes.is_empty());
        assert!(!tracker.blame(later, node(3), by).stripes.is_empty());
    }

    #[test]
    fn the_word_of_one_benches_few_and_that_of_two_or_its_own_as_many_as_it_concerns() {
        let benched = |by: fn(u16) -> [u16; 2]| {
            let (mut tracker, _) = joined(40);
            let mut blame = |nr: u16, by: u16| tracker.blame(Time(0), node(nr), node(by)).stripes.is_empty();
            (0..40).filter(|nr| by(*nr).map(|by| blame(*nr, by)).contains(&false)).count()
        };
        assert_eq!(benched(|_| [90, 90]), 40 / BENCH);
        assert_eq!(benched(|_| [90, 91]), 40 / BENCH_PROVEN);
        assert_eq!(benched(|nr| [nr, nr]), 40 / BENCH_PROVEN);
    }

    #[test]
    fn whom_all_those_after_it_leave_is_benched_and_nobody_at_the_word_of_one_or_of_others() {
        let (mut tracker, _) = joined(40);
        let accused = tracker.line(0, node(7))[1];
        let after = tracker.children(accused, 0);
        let stranger = tracker.order.iter().copied().find(|other| !after.contains(other) && *other != accused);
        assert!(after.len() == 2 && stranger.is_some());
        for at in [Time(0), Time(0).after(HOLDS)] {
            for by in [Some(after[0]), stranger].into_iter().flatten() {
                assert!(tracker.accuse(at, accused, by, 0).stripes.is_empty());
            }
        }
        let last = Time(0).after(HOLDS);
        assert!(tracker.accuse(last, accused, after[1], 0).stripes.is_empty(), "it may be for a moment only");
        let last = last.after(HOLDS);
        assert!(!tracker.accuse(last, accused, after[1], 0).stripes.is_empty());
    }

    #[test]
    fn most_of_a_fleet_is_never_benched() {
        let (mut tracker, _) = joined(30);
        let mut benched = |proof| {
            (0..30)
                .filter(|nr| !tracker.bench(Time(0), node(*nr), proof, Charge::PassesOnLittle).stripes.is_empty())
                .count()
        };
        assert_eq!([benched(Proof::Weak), benched(Proof::Strong)], [3, 12]);
    }

    #[test]
    fn c9_nobody_has_neighbours_of_one_domain_only_while_there_is_another() {
        let (mut tracker, mut chance) = joined(0);
        // Three honest ones among hundreds that stand in one rack.
        let of = |nr: u16| domain(if nr % 100 == 50 { 1 } else { 2 });
        let is_open = |tracker: &Tracker, nr: u16| {
            let around = tracker.members[&node(nr)].neighbours.iter().map(|other| tracker.members[other].domain);
            around.collect::<BTreeSet<_>>().len() > 1
        };
        for nr in 0..300 {
            tracker.join(node(nr), address(nr), of(nr), &mut chance);
        }
        assert!((51..300).all(|nr| is_open(&tracker, nr)), "since the first of the other domain is here");
        tracker.leave(node(50), &mut chance);
        tracker.leave(node(150), &mut chance);
        let left = (0..300).filter(|nr| ![50, 150].contains(nr));
        let shut =
            left.filter(|nr| tracker.members[&node(*nr)].neighbours.len() > 8 && !is_open(&tracker, *nr)).count();
        assert!(shut < 51, "those that were here before any of the other may not have met one: {shut}");
        assert!(is_symmetric(&tracker));
    }

    #[test]
    fn a_domain_is_a_rack_in_a_zone_or_a_network() {
        let labels = |of: &[(&str, &str)]| -> Labels {
            of.iter()
                .map(|(key, value)| (Label::new(key).expect("a label"), Label::new(value).expect("a label")))
                .collect()
        };
        let [a, b, c] = [[10, 0, 0, 1], [10, 0, 0, 200], [10, 0, 1, 1]].map(IpAddr::from);
        assert_eq!(Domain::of(&labels(&[]), a), Domain::of(&labels(&[("role", "web")]), b));
        assert_ne!(Domain::of(&labels(&[]), a), Domain::of(&labels(&[]), c));
        assert_eq!(Domain::of(&labels(&[("rack", "7")]), a), Domain::of(&labels(&[("rack", "7")]), c));
        assert_ne!(Domain::of(&labels(&[("rack", "7"), ("zone", "a")]), a), Domain::of(&labels(&[("rack", "7")]), a));
        let [d, e] = ["2001:db8::1", "2001:db8::ffff:1"].map(|ip| ip.parse().expect("an address"));
        assert_eq!(Domain::of(&labels(&[]), d), Domain::of(&labels(&[]), e));
    }

    fn is_symmetric(tracker: &Tracker) -> bool {
        let mut edges = tracker.members.iter().flat_map(|(a, member)| member.neighbours.iter().map(move |b| (a, b)));
        edges.all(|(a, b)| a != b && tracker.members[b].neighbours.contains(a))
    }

    #[test]
    fn small_fleets_are_a_full_mesh() {
        let (tracker, _) = joined(17);
        assert!(tracker.members.values().all(|member| member.neighbours.len() == 16) && is_symmetric(&tracker));
    }

    #[test]
    fn large_fleets_have_some_neighbours_each_and_holes_are_mended() {
        let (mut tracker, mut chance) = joined(400);
        let mean = tracker.members.values().map(|m| m.neighbours.len()).sum::<usize>() / 400;
        // Sixteen, and those of the given order.
        assert!((14..=22).contains(&mean) && is_symmetric(&tracker), "{mean}");
        let most = tracker.members.values().map(|m| m.neighbours.len()).max();
        assert!(most <= Some(40), "nobody has many more than the others: {most:?}");
        (0..200).for_each(|nr| drop(tracker.leave(node(nr), &mut chance)));
        assert!(tracker.members.values().all(|m| m.neighbours.len() >= 8) && is_symmetric(&tracker));
    }

    #[test]
    fn everyone_knows_its_part_in_the_given_order_whoever_comes_and_goes() {
        let (mut tracker, mut chance) = joined(0);
        let mut told: BTreeMap<NodeId, [Stripe; STRIPES]> = BTreeMap::new();
        for step in 0..2000_u32 {
            let nr = chance.below(40) as u16;
            let changes = match step % 3 {
                0 => tracker.leave(node(nr), &mut chance),
                _ => tracker.join(node(nr), address(nr), domain(0), &mut chance),
            };
            told.extend(changes.stripes);
            for (place, member) in tracker.order.iter().enumerate() {
                let stripes = tracker.stripes(place);
                assert_eq!(told.get(member), Some(&stripes), "step {step}, place {place} of {}", tracker.order.len());
                let children = stripes.iter().flat_map(|stripe| &stripe.to);
                children.for_each(|child| {
                    assert!(tracker.members[member].neighbours.contains(child), "they know each other")
                });
            }
        }
    }

    #[test]
    fn an_introduction_goes_to_both_and_the_lower_one_dials() {
        let (mut tracker, mut chance) = joined(1);
        let made = tracker.join(node(1), address(1), domain(0), &mut chance).introductions;
        assert_eq!(made.len(), 2);
        let dials = made.into_iter().filter(|(to, introduction)| {
            let mut mesh = Mesh::new(*to, Duration::from_millis(50));
            mesh.introduced(Time(0), *introduction);
            mesh.due(Time(0)).is_some()
        });
        assert_eq!(dials.count(), 1);
    }

    #[test]
    fn a_lost_neighbour_is_dialled_soon_then_seldom_and_forgotten_after_a_day() {
        let mut ids = [node(1), node(2)];
        ids.sort_unstable();
        let (mut mesh, mut chance) = (Mesh::new(ids[0], Duration::from_millis(50)), Chance::new(1));
        mesh.introduced(Time(0), Introduction { node: ids[1], address: address(2) });
        let (mut dials, minute) = (Vec::new(), Duration::from_secs(60));
        while let Some(now) = mesh.deadline() {
            dials.extend(mesh.due(now).map(|_| now.since(Time(0))));
            mesh.unreachable(now, address(2), &mut chance);
        }
        assert!(dials.iter().take_while(|at| **at < minute).count() > REDIALS as usize);
        let hour = dials.iter().filter(|at| **at >= minute && **at < 61 * minute).count();
        assert!((55..=130).contains(&hour), "{hour} dials in an hour");
        assert_eq!(dials.len(), 1 + FORGOTTEN as usize);
        assert!(dials.last().is_some_and(|last| *last > 12 * 60 * minute), "{dials:?}");
    }

    #[test]
    fn a_neighbour_that_answers_again_after_an_hour_is_a_neighbour_again() {
        let mut ids = [node(1), node(2)];
        ids.sort_unstable();
        let (mut mesh, mut chance) = (Mesh::new(ids[0], Duration::from_millis(50)), Chance::new(1));
        mesh.introduced(Time(0), Introduction { node: ids[1], address: address(2) });
        let hour = Time(3_600_000_000_000);
        let answered = loop {
            let now = mesh.deadline().expect("it is not given up");
            if mesh.due(now).is_some() && now > hour {
                break now;
            }
            mesh.unreachable(now, address(2), &mut chance);
        };
        assert!(answered.since(hour) <= 2 * SELDOM, "{answered:?}");
        mesh.up(answered, ids[1]);
        assert_eq!(mesh.deadline(), None);
        mesh.down(answered.after(LONGEST), ids[1], &mut chance);
        assert!(mesh.deadline().is_some_and(|next| next.since(answered) < 2 * LONGEST), "as one that was never lost");
    }

    #[test]
    fn origins_are_tried_in_turn_and_waits_grow_to_five_seconds() {
        let mut chance = Chance::new(1);
        let mut origins = Origins::new(vec![address(1), address(2)], Duration::from_millis(50), Time(0));
        let (mut now, mut tried, mut longest) = (Time(0), Vec::new(), Duration::ZERO);
        for _ in 0..20 {
            let next = origins.deadline().expect("it goes on");
            longest = longest.max(next.since(now));
            now = next;
            let dial = origins.due(now).expect("it is due");
            tried.push(dial.address);
            origins.unreachable(now, dial.address, &mut chance);
        }
        assert_eq!(tried[..3], [address(1), address(2), address(1)]);
        assert!(longest > Duration::from_secs(2) && longest <= LONGEST);
        origins.up(now, node(1));
        assert_eq!(origins.deadline(), None);
        now = now.after(LONGEST);
        assert!(origins.down(now, node(1), &mut chance));
        assert!(origins.deadline().is_some_and(|next| next.since(now) <= Duration::from_millis(50)));
    }

    #[test]
    fn a_connection_that_is_closed_at_once_is_redialled_ever_more_slowly() {
        let mut ids = [node(1), node(2)];
        ids.sort_unstable();
        let (mut mesh, mut chance) = (Mesh::new(ids[0], Duration::from_millis(50)), Chance::new(1));
        mesh.introduced(Time(0), Introduction { node: ids[1], address: address(2) });
        let mut origins = Origins::new(vec![address(1)], Duration::from_millis(50), Time(0));
        let (mut now, mut dials) = (Time(0), 0);
        while let Some(next) = mesh.deadline().filter(|next| *next < Time(3_600_000_000_000)) {
            now = next;
            dials += usize::from(mesh.due(now).is_some());
            mesh.up(now, ids[1]);
            mesh.down(now, ids[1], &mut chance);
        }
        assert!(dials < 140, "whoever does not want us is left alone: {dials} dials in an hour");
        (0..20).for_each(|_| {
            origins.up(now, node(1));
            origins.down(now, node(1), &mut chance);
        });
        assert!(origins.deadline().is_some_and(|next| next.since(now) > Duration::from_secs(2)));
    }
}
