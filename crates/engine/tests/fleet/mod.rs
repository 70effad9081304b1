//! A fleet in memory: real engines, virtual time, serial links, hosts that answer at once and remember.
//!
//! No disk and no bytes: a payload is its number and whether it is whole. Everything happens in the order of one queue, so
//! the same seed gives the same run.

#![allow(dead_code, reason = "each test file uses its part of it")]

use content::fact::{JournalName, Offer, Position};
use content::order::Wave;
use content::release::Instructions;
use content::root::Operator;
use content::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use tiding_engine::Engine;
use tiding_engine::door::*;
use tiding_engine::wire::{PROTOCOL, since};

pub(crate) const ORIGIN: usize = 0;
const LATENCY: u64 = 200_000;
const JOB: u64 = 50_000;
/// Nanoseconds for a byte: 100 MB/s.
const BYTE: u64 = 10;

pub(crate) fn app() -> AppName {
    AppName::new("web").expect("a plain name")
}

pub(crate) fn alice() -> SigningKey {
    SigningKey::from_secret(&[1; 32])
}

pub(crate) fn bob() -> SigningKey {
    SigningKey::from_secret(&[2; 32])
}

pub(crate) fn root_key() -> SigningKey {
    SigningKey::from_secret(&[9; 32])
}

pub(crate) fn root() -> Signed {
    let operator =
        |name: &str, key: SigningKey| Operator { name: name.to_owned(), key: key.public(), powers: Powers::default() };
    let root = Root {
        version: 1,
        nonce: [3; 16],
        created: UnixTime(1),
        root_keys: vec![root_key().public()],
        root_threshold: 1,
        operators: vec![operator("alice", alice()), operator("bob", bob())],
        operator_threshold: 1,
        authorities: Vec::new(),
    };
    root_key().sign(PayloadKind::Root, root.encode())
}

pub(crate) fn fleet() -> FleetId {
    FleetId(root().payload_digest())
}

pub(crate) fn spec(name: &str, pieces: u32) -> ContentSpec {
    let blob = BlobRef { root: Digest::of(name.as_bytes()), len: 1000 + u64::from(pieces) * 40 };
    ContentSpec { blob, pieces, bytes: u64::from(pieces) * 65_536 }
}

/// The patch that any host makes between two contents.
pub(crate) fn patch_between(base: ContentId, target: ContentId) -> ContentSpec {
    let root = Digest::of([base.0.as_bytes().as_slice(), target.0.as_bytes()].concat().as_slice());
    ContentSpec { blob: BlobRef { root, len: 200_000 }, pieces: 0, bytes: 0 }
}

pub(crate) fn release(name: &str, pieces: u32) -> Release {
    Release {
        fleet: fleet(),
        app: app(),
        version: name.to_owned(),
        created: UnixTime(2),
        content: spec(name, pieces),
        attributes: Some(ContentSpec {
            blob: BlobRef { root: Digest::of(format!("{name} times").as_bytes()), len: 900 },
            pieces: 0,
            bytes: 0,
        }),
        entries: 3,
        size: u64::from(pieces) * 65_536,
        instructions: Instructions::plain(b"/srv/web", 20, 2),
    }
}

pub(crate) fn sign_release(release: &Release) -> Signed {
    alice().sign(PayloadKind::Release, release.encode())
}

pub(crate) fn id_of(release: &Signed) -> ReleaseId {
    ReleaseId(release.payload_digest())
}

pub(crate) fn order(epoch: u64, release: &Signed, fallback: Option<ReleaseId>) -> Order {
    Order {
        fleet: fleet(),
        app: app(),
        epoch,
        release: id_of(release),
        fallback,
        selector: content::Selector::default(),
        unreachable: content::order::Unreachable::Skip,
        waves: vec![Wave::PerMille(1000)],
        budget: 0,
        restraint: content::order::Restraint::default(),
        created: UnixTime(3),
        message: "because".to_owned(),
    }
}

pub(crate) fn sign_order(order: &Order) -> Signed {
    alice().sign(PayloadKind::Order, order.encode())
}

/// In which way a node is not honest, or not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evil {
    Corrupts,
    Lies,
    /// Takes requests and never sends.
    Stalls,
    /// Throws away what it has already: it asks for that only to keep others busy.
    Greedy,
    /// Its disk is full.
    Full,
    /// Laying out is refused.
    Refuses,
    /// Patches do not do here.
    Unpatched,
}

/// In which way a release does not do well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ailing {
    /// Its probes fail.
    Sick,
    /// That command of it fails.
    Hook(Moment),
}

/// What a node remembers when its engine is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) contents: BTreeMap<ContentId, Held>,
    indexed: BTreeSet<ContentId>,
    pub(crate) apps: BTreeMap<AppName, AppRecord>,
    pub(crate) facts: Vec<(JournalName, Position, Fact)>,
    /// When each of them was written, by the clock on the wall.
    pub(crate) written: BTreeMap<(JournalName, Position), UnixTime>,
    positions: BTreeMap<JournalName, Position>,
    pub(crate) shunned: Vec<NodeId>,
    /// The newest trust root, if it is not the first.
    pub(crate) root: Option<Signed>,
    /// All after the first.
    pub(crate) roots: Vec<Signed>,
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) role: Role,
    /// The versions of the protocol that its software speaks.
    pub(crate) speaks: (u16, u16),
    /// The formats of patches that its store applies.
    pub(crate) reads: Vec<u8>,
    pub(crate) software: String,
    address: SocketAddr,
    pub(crate) engine: Option<Engine>,
    life: u64,
    pub(crate) disk: Disk,
    pub(crate) evil: Option<Evil>,
    /// Until when its machine sleeps.
    asleep: u64,
    link_free: u64,
    /// Bytes per second that it may send, as its engine said last.
    pub(crate) allowed: Allowed,
    /// What its machine may send of its own.
    pub(crate) limit: Option<Rate>,
    /// When each payload left, and its bytes.
    pub(crate) leavings: Vec<(u64, u64)>,
    bulk: VecDeque<(NodeId, ContentId, PieceNo)>,
    is_sending: bool,
    buffers: BTreeMap<BufferId, (ContentId, PieceNo, bool)>,
    pub(crate) events: Vec<Event>,
    pub(crate) switches: Vec<ReleaseId>,
    /// Commands that ran, of which release, and rounds of probes.
    pub(crate) hooks: Vec<(ReleaseId, Moment)>,
    pub(crate) probes: u32,
    /// Releases that do not do well here.
    pub(crate) ailing: BTreeMap<ReleaseId, Ailing>,
    /// How often what is live was read again.
    pub(crate) verifies: u32,
    /// How long making a patch takes.
    pub(crate) diff_takes: u64,
    /// What patches were made of, and applied to.
    pub(crate) diffs: Vec<(ContentId, ContentId, Effort)>,
    pub(crate) patches: Vec<(ContentId, ContentId)>,
    /// What a publisher has of what it brings.
    pub(crate) brings: Vec<Offer>,
    pub(crate) answers: Vec<(ClientId, Answer)>,
    /// Payload bytes that left, by content, to agents.
    pub(crate) sent: BTreeMap<ContentId, u64>,
    pub(crate) sent_pieces: BTreeMap<(ContentId, PieceNo), u32>,
    pub(crate) got_pieces: BTreeMap<(ContentId, PieceNo), u32>,
}

#[derive(Debug, Clone)]
enum What {
    Input(Input),
    Tick,
    Arrives { from: usize, conn: u64, input: Input },
    Piece { from: usize, conn: u64, content: ContentId, piece: PieceNo, whole: bool, len: u32 },
    Dialled { address: SocketAddr, expect: Option<NodeId> },
    Left { to: NodeId, content: ContentId, piece: PieceNo, took: u64 },
}

pub(crate) struct Fleet {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Node>,
    by_id: BTreeMap<NodeId, usize>,
    queue: BinaryHeap<Reverse<(u64, u64, usize, u64)>>,
    whats: BTreeMap<u64, What>,
    next: u64,
    conns: BTreeMap<(usize, usize), u64>,
    next_buffer: u64,
    pub(crate) messages: u64,
    /// Messages of a swarm that an origin received, for what must not be per piece.
    pub(crate) to_origin: u64,
    /// Whether agents cannot reach each other.
    pub(crate) only_origin: bool,
    /// How often one was refused to another because of that.
    pub(crate) refused: u64,
    /// Whether every message of an origin or an agent comes again, a while later.
    pub(crate) repeats: bool,
    /// How many did.
    pub(crate) repeated: u64,
    /// How many payloads greedy nodes threw away.
    pub(crate) thrown_away: u64,
    /// By how many seconds clocks on walls are wrong.
    pub(crate) wall: i64,
    /// How much longer what the origin sends takes to a node.
    pub(crate) far: BTreeMap<usize, u64>,
    seed: u64,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Fleet {
    /// An origin and so many agents, up.
    pub(crate) fn new(agents: usize, seed: u64) -> Self {
        Self::bare(agents, seed).up()
    }

    /// An origin and so many agents that its journal knows, with these labels, up.
    pub(crate) fn enrolled(agents: usize, seed: u64, labels: impl Fn(usize) -> Labels) -> Self {
        let mut fleet = Self::bare(agents, seed);
        for nr in 1..=agents {
            let (node, name) = (fleet.nodes[nr].id, format!("node-{nr}"));
            let fact = Fact::Enrolled { node, name, role: Role::Agent, labels: labels(nr), token: None };
            let journal = JournalName::Datacenter(Label::new("dc1").expect("a plain label"));
            let stands = Position { generation: 1, index: nr as u64 - 1 };
            fleet.append(ORIGIN, journal, stands, vec![fact]).expect("nobody else writes");
        }
        fleet.up()
    }

    /// The same, whose stores make and apply patches.
    pub(crate) fn patching(agents: usize, seed: u64) -> Self {
        let mut fleet = Self::bare(agents, seed);
        fleet.nodes.iter_mut().for_each(|node| node.reads = vec![1]);
        fleet.up()
    }

    fn up(mut self) -> Self {
        (0..self.nodes.len()).for_each(|nr| self.start(nr));
        self.run_for(Duration::from_millis(50));
        self
    }

    fn bare(agents: usize, seed: u64) -> Self {
        let mut fleet = Self {
            now: 0,
            nodes: Vec::new(),
            by_id: BTreeMap::new(),
            queue: BinaryHeap::new(),
            whats: BTreeMap::new(),
            next: 0,
            conns: BTreeMap::new(),
            next_buffer: 0,
            messages: 0,
            to_origin: 0,
            only_origin: false,
            refused: 0,
            repeats: false,
            repeated: 0,
            thrown_away: 0,
            wall: 1_700_000_000,
            far: BTreeMap::new(),
            seed,
        };
        fleet.add(Role::Origin);
        for _ in 0..agents {
            fleet.add(Role::Agent);
        }
        fleet
    }

    pub(crate) fn add(&mut self, role: Role) -> usize {
        let nr = self.nodes.len();
        let id = NodeId(Digest::of(format!("node {nr} {}", self.seed).as_bytes()));
        self.by_id.insert(id, nr);
        self.nodes.push(Node {
            id,
            role,
            speaks: PROTOCOL,
            reads: Vec::new(),
            software: "test".to_owned(),
            address: SocketAddr::from(([10, 0, (nr / 250) as u8, (nr % 250) as u8], 7400)),
            engine: None,
            life: 0,
            disk: Disk::default(),
            evil: None,
            asleep: 0,
            link_free: 0,
            allowed: Allowed::default(),
            limit: None,
            leavings: Vec::new(),
            bulk: VecDeque::new(),
            is_sending: false,
            buffers: BTreeMap::new(),
            events: Vec::new(),
            switches: Vec::new(),
            hooks: Vec::new(),
            probes: 0,
            ailing: BTreeMap::new(),
            verifies: 0,
            diff_takes: 100_000_000,
            diffs: Vec::new(),
            patches: Vec::new(),
            brings: Vec::new(),
            answers: Vec::new(),
            sent: BTreeMap::new(),
            sent_pieces: BTreeMap::new(),
            got_pieces: BTreeMap::new(),
        });
        nr
    }

    /// A publisher that holds the contents of a release, up.
    pub(crate) fn publisher(&mut self, release: &Release) -> usize {
        let nr = self.add(Role::Operator);
        for spec in [Some(release.content), release.attributes].into_iter().flatten() {
            let held = Held { content: spec, have: Bitmap::full(spec.total()), complete: true };
            self.nodes[nr].disk.contents.insert(spec.id(), held);
        }
        self.start(nr);
        nr
    }

    pub(crate) fn start(&mut self, nr: usize) {
        let node = &mut self.nodes[nr];
        node.life += 1;
        node.allowed = Allowed::default();
        let config = Config {
            fleet: fleet(),
            role: node.role,
            name: format!("node-{nr}"),
            labels: Labels::new(),
            datacenter: Label::new("dc1").expect("a plain label"),
            listen: (node.role != Role::Operator).then_some(node.address),
            software: node.software.clone(),
            origins: if nr == ORIGIN { Vec::new() } else { vec![SocketAddr::from(([10, 0, 0, 0], 7400))] },
            neighbours: 16,
            window_bytes: 8 << 20,
            patience: Duration::from_secs(1),
            redial: Duration::from_millis(50),
            given_order: true,
            speaks: node.speaks,
            reads: node.reads.clone(),
            limit: node.limit,
        };
        let recovered = Recovered {
            root: node.disk.root.clone().or_else(|| Some(root())),
            roots: node.disk.roots.clone(),
            apps: node.disk.apps.values().cloned().collect(),
            held: node.disk.contents.values().cloned().collect(),
            facts: node.disk.facts.clone(),
            written: node.disk.written.clone(),
            clock: UnixTime((self.now / 1_000_000_000).saturating_add_signed(self.wall)),
            shunned: node.disk.shunned.clone(),
            offers: node.brings.clone(),
        };
        let seed = self.seed ^ (nr as u64) << 32 ^ node.life;
        node.engine = Some(Engine::new(node.id, config, recovered, seed, Time(self.now)));
        self.drain(nr);
    }

    /// The process is gone; what was durable stays.
    pub(crate) fn stop(&mut self, nr: usize) {
        self.vanish(nr);
        let peers: Vec<usize> =
            self.conns.keys().filter(|(a, b)| *a == nr || *b == nr).map(|(a, b)| a + b - nr).collect();
        peers.into_iter().for_each(|peer| self.disconnect(nr, peer, DownReason::Broken("reset".to_owned())));
    }

    /// The machine loses its power: nobody is told.
    pub(crate) fn vanish(&mut self, nr: usize) {
        let node = &mut self.nodes[nr];
        node.engine = None;
        node.life += 1;
        node.bulk.clear();
        node.is_sending = false;
        node.buffers.clear();
    }

    pub(crate) fn disconnect(&mut self, nr: usize, peer: usize, why: DownReason) {
        if self.conns.remove(&pair(nr, peer)).is_some() {
            for (at, other) in [(nr, peer), (peer, nr)] {
                let down = Input::PeerDown { peer: self.nodes[other].id, why: why.clone() };
                self.at(self.now + LATENCY, at, What::Input(down));
            }
        }
    }

    /// One closes the connection to another as it should be closed; whether there was one.
    pub(crate) fn close(&mut self, nr: usize, peer: usize) -> bool {
        let was = self.is_connected(nr, peer);
        self.disconnect(nr, peer, DownReason::Closed);
        was
    }

    pub(crate) fn is_connected(&self, nr: usize, peer: usize) -> bool {
        self.conns.contains_key(&pair(nr, peer))
    }

    fn at(&mut self, time: u64, nr: usize, what: What) {
        self.next += 1;
        self.whats.insert(self.next, what);
        self.queue.push(Reverse((time, self.next, nr, self.nodes[nr].life)));
    }

    pub(crate) fn request(&mut self, nr: usize, client: u64, request: Request) {
        self.input(nr, Input::Request { client: ClientId(client), by: None, request });
    }

    pub(crate) fn input(&mut self, nr: usize, input: Input) {
        if let Some(engine) = &mut self.nodes[nr].engine {
            engine.handle(Time(self.now), input);
            self.drain(nr);
        }
    }

    /// Runs until something holds; fails when it does not within a minute of virtual time.
    pub(crate) fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let limit = self.now + 120_000_000_000;
        while !done(self) {
            assert!(self.now < limit && self.step(), "{what} did not come to be by {} ms", self.now / 1_000_000);
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time.as_nanos() as u64;
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// All clocks jump; what was on its way arrives in its order, that much later.
    pub(crate) fn jump(&mut self, time: Duration) {
        let by = time.as_nanos() as u64;
        self.now += by;
        let late = std::mem::take(&mut self.queue);
        self.queue =
            late.into_iter().map(|Reverse((at, number, nr, life))| Reverse((at + by, number, nr, life))).collect();
        for nr in 0..self.nodes.len() {
            self.input(nr, Input::Tick);
        }
    }

    /// One machine sleeps: what reaches it meanwhile waits for it, and its own clock stands still for it.
    pub(crate) fn sleep(&mut self, nr: usize, time: Duration) {
        self.nodes[nr].asleep = self.now + time.as_nanos() as u64;
    }

    fn step(&mut self) -> bool {
        let Some(Reverse((at, number, nr, life))) = self.queue.pop() else { return false };
        if self.nodes[nr].asleep > at {
            self.queue.push(Reverse((self.nodes[nr].asleep, number, nr, life)));
            return true;
        }
        let what = self.whats.remove(&number).expect("every moment has its what");
        self.now = self.now.max(at);
        if self.nodes[nr].life != life {
            return true;
        }
        match what {
            What::Input(input) => self.input(nr, input),
            What::Tick => {
                let due = self.nodes[nr].engine.as_ref().and_then(Engine::deadline);
                if due.is_some_and(|due| due.0 <= self.now) {
                    self.input(nr, Input::Tick);
                }
            }
            What::Arrives { from, conn, input } => {
                if self.conns.get(&pair(from, nr)) == Some(&conn) {
                    self.to_origin += u64::from(nr == ORIGIN && self.nodes[from].role == Role::Agent);
                    self.input(nr, input);
                }
            }
            What::Piece { from, conn, content, piece, whole, len } => {
                self.arrived(nr, from, conn, (content, piece, whole), len)
            }
            What::Dialled { address, expect } => self.dialled(nr, address, expect),
            What::Left { to, content, piece, took } => self.left(nr, to, content, piece, took),
        }
        true
    }

    fn arrived(
        &mut self,
        nr: usize,
        from: usize,
        conn: u64,
        (content, piece, whole): (ContentId, PieceNo, bool),
        len: u32,
    ) {
        if self.conns.get(&pair(from, nr)) != Some(&conn) {
            return;
        }
        let has = |held: &Held| held.have.contains(piece);
        if self.nodes[nr].evil == Some(Evil::Greedy) && self.nodes[nr].disk.contents.get(&content).is_some_and(has) {
            self.thrown_away += 1;
            return;
        }
        self.next_buffer += 1;
        let buffer = BufferId(self.next_buffer);
        self.nodes[nr].buffers.insert(buffer, (content, piece, whole));
        *self.nodes[nr].got_pieces.entry((content, piece)).or_default() += 1;
        let from = self.nodes[from].id;
        self.input(nr, Input::Piece { from, content, piece, buffer, len });
    }

    fn dialled(&mut self, nr: usize, address: SocketAddr, expect: Option<NodeId>) {
        let there = self.nodes.iter().position(|node| node.address == address && node.engine.is_some());
        let there = there.filter(|there| expect.is_none_or(|id| id == self.nodes[*there].id));
        let is_cut = self.only_origin && self.nodes[nr].role == Role::Agent && there != Some(ORIGIN);
        self.refused += u64::from(is_cut);
        let Some(there) = there.filter(|_| !is_cut) else {
            return self.input(nr, Input::Unreachable { address, why: "refused".to_owned() });
        };
        self.next += 1;
        self.conns.insert(pair(nr, there), self.next);
        for (at, peer, dialled) in [(there, nr, None), (nr, there, Some(address))] {
            let Node { id, role, address, .. } = self.nodes[peer];
            self.input(at, Input::PeerUp { peer: id, role, seen: address.ip(), dialled });
        }
    }

    fn left(&mut self, nr: usize, to: NodeId, content: ContentId, piece: PieceNo, took: u64) {
        self.nodes[nr].is_sending = false;
        let peer = self.by_id[&to];
        let bytes = self.len_of(content, piece);
        let conn = self.conns.get(&pair(nr, peer)).copied();
        let has = self.nodes[nr].disk.contents.get(&content).is_some_and(|held| held.have.contains(piece));
        let bytes = match conn {
            Some(conn) if has => {
                let whole = self.nodes[nr].evil != Some(Evil::Corrupts);
                let latency = self.latency(nr, peer);
                self.at(self.now + latency, peer, What::Piece { from: nr, conn, content, piece, whole, len: bytes });
                bytes
            }
            _ => 0,
        };
        self.nodes[nr].leavings.push((self.now, bytes.into()));
        if self.nodes[peer].role == Role::Agent {
            *self.nodes[nr].sent.entry(content).or_default() += u64::from(bytes);
            *self.nodes[nr].sent_pieces.entry((content, piece)).or_default() += u32::from(bytes > 0);
        }
        self.input(nr, Input::Sent { to, content, piece, bytes, took: Duration::from_nanos(took) });
        self.pump(nr);
    }

    fn len_of(&self, content: ContentId, piece: PieceNo) -> u32 {
        let held = self.nodes.iter().find_map(|node| node.disk.contents.get(&content)).expect("somebody has it");
        let spec = held.content;
        if piece.0 < spec.pages() {
            spec.blob.shape().page_len(piece.0) as u32
        } else {
            (spec.bytes / u64::from(spec.pieces)) as u32
        }
    }

    fn pump(&mut self, nr: usize) {
        let node = &mut self.nodes[nr];
        if node.is_sending || node.evil == Some(Evil::Stalls) || node.allowed.sending == Some(Rate(0)) {
            return;
        }
        let Some((to, content, piece)) = node.bulk.pop_front() else { return };
        node.is_sending = true;
        let byte = self.nodes[nr].allowed.sending.map_or(BYTE, |rate| (1_000_000_000 / rate.0).max(BYTE));
        let took = u64::from(self.len_of(content, piece)) * byte;
        let start = self.nodes[nr].link_free.max(self.now);
        self.nodes[nr].link_free = start + took;
        self.at(start + took, nr, What::Left { to, content, piece, took });
    }

    fn drain(&mut self, nr: usize) {
        while let Some(output) = self.nodes[nr].engine.as_mut().and_then(Engine::poll) {
            self.output(nr, output);
        }
        if let Some(due) = self.nodes[nr].engine.as_ref().and_then(Engine::deadline) {
            self.at(due.0.max(self.now + 1), nr, What::Tick);
        }
    }

    fn output(&mut self, nr: usize, output: Output) {
        match output {
            Output::Connect { address, expect } => {
                self.at(self.now + 3 * LATENCY, nr, What::Dialled { address, expect })
            }
            Output::Close { peer, .. } => {
                let peer = self.by_id[&peer];
                self.disconnect(nr, peer, DownReason::Closed);
            }
            Output::Send { to, message } => self.send(nr, to, message),
            Output::SendPiece { to, content, piece } => {
                self.nodes[nr].bulk.push_back((to, content, piece));
                self.pump(nr);
            }
            Output::Drop { buffer } => {
                assert!(self.nodes[nr].buffers.remove(&buffer).is_some(), "a payload is dropped twice");
            }
            Output::Job { id, job } => {
                let took = if let Job::Diff { .. } = job { self.nodes[nr].diff_takes } else { JOB };
                let result = self.job(nr, job);
                self.at(self.now + took, nr, What::Input(Input::Done { job: id, result }));
            }
            Output::Answer { client, answer } => self.nodes[nr].answers.push((client, answer)),
            Output::Append { id, journal, expect, facts, .. } => {
                let outcome = self.append(nr, journal, expect, facts);
                self.at(self.now + JOB, nr, What::Input(Input::Appended { append: id, outcome }));
            }
            Output::Limit(allowed) => {
                self.nodes[nr].allowed = allowed;
                self.pump(nr);
            }
            Output::Event(event) => self.nodes[nr].events.push(event),
        }
    }

    fn latency(&self, from: usize, to: usize) -> u64 {
        let more = if from == ORIGIN { self.far.get(&to).copied() } else { None };
        LATENCY + more.unwrap_or(0)
    }

    fn send(&mut self, nr: usize, to: NodeId, message: Message) {
        let peer = self.by_id[&to];
        let message = match (self.nodes[nr].evil, message) {
            (Some(Evil::Lies), Message::Holding { content, wants, .. }) => {
                Message::Holding { content, have: None, wants }
            }
            (_, message) => message,
        };
        self.messages += 1;
        let reads = self.nodes[peer].speaks.1;
        assert!(since(&message) <= reads, "{message:?} is no message of protocol {reads}");
        let message =
            tiding_engine::wire::decode(&tiding_engine::wire::encode(&message)).expect("what is sent can be read");
        let latency = self.latency(nr, peer);
        if let Some(conn) = self.conns.get(&pair(nr, peer)).copied() {
            let input = Input::Message { from: self.nodes[nr].id, message };
            if self.repeats {
                self.repeated += 1;
                // Behind messages that were sent after it.
                let again = What::Arrives { from: nr, conn, input: input.clone() };
                self.at(self.now + latency + (self.next % 17) * LATENCY, peer, again);
            }
            self.at(self.now + latency, peer, What::Arrives { from: nr, conn, input });
        }
    }

    fn append(
        &mut self,
        nr: usize,
        journal: JournalName,
        expect: Position,
        facts: Vec<Fact>,
    ) -> Result<Position, AppendError> {
        let now = UnixTime((self.now / 1_000_000_000).saturating_add_signed(self.wall));
        let disk = &mut self.nodes[nr].disk;
        let stands = disk.positions.get(&journal).copied().unwrap_or(Position { generation: 1, index: 0 });
        if stands != expect {
            return Err(AppendError::Conflict(stands));
        }
        let mut at = stands;
        for fact in facts {
            disk.written.insert((journal.clone(), at), now);
            disk.facts.push((journal.clone(), at, fact));
            at.index += 1;
        }
        disk.positions.insert(journal, at);
        Ok(at)
    }

    fn job(&mut self, nr: usize, job: Job) -> Result<JobDone, JobError> {
        let node = &mut self.nodes[nr];
        let full = || Err(JobError::NoSpace { why: "disk full: need 1 GiB, have 0".to_owned() });
        match job {
            Job::Open { content } => {
                let fresh = Held { content, have: Bitmap::empty(content.total()), complete: false };
                let held = node.disk.contents.entry(content.id()).or_insert(fresh);
                held.complete &= held.have.is_full();
                let indexed = content.pieces == 0 || node.disk.indexed.contains(&content.id()) || held.complete;
                Ok(JobDone::Opened { have: held.have.clone(), indexed, complete: held.complete })
            }
            Job::Write { content, piece, buffer } => {
                let (of, number, whole) = node.buffers.remove(&buffer).expect("a payload is written once");
                assert_eq!((of, number), (content, piece));
                if node.evil == Some(Evil::Full) {
                    return full();
                }
                let held = node.disk.contents.get_mut(&content).expect("it was opened");
                if piece.0 >= held.content.pages() {
                    assert!(node.disk.indexed.contains(&content), "a data piece before the manifest");
                }
                match whole {
                    true => {
                        held.have.insert(piece);
                        Ok(JobDone::Written)
                    }
                    false => Err(JobError::Corrupt),
                }
            }
            Job::Index { content } => {
                node.disk.indexed.insert(content);
                Ok(JobDone::Indexed { have: node.disk.contents[&content].have.clone() })
            }
            Job::Diff { base, target, effort, below } => {
                assert!(node.disk.contents[&base].complete && node.disk.contents[&target].complete);
                node.diffs.push((base, target, effort));
                let spec = patch_between(base, target);
                if spec.blob.len >= below {
                    return Ok(JobDone::Diffed { patch: None });
                }
                let held = Held { content: spec, have: Bitmap::full(spec.total()), complete: true };
                node.disk.contents.insert(spec.id(), held);
                Ok(JobDone::Diffed { patch: Some(spec) })
            }
            Job::Patch { base, target, patch } => {
                assert!(node.disk.contents[&base].complete && node.disk.contents[&patch].complete);
                assert_eq!(patch, patch_between(base, target).id());
                node.patches.push((base, target));
                if node.evil == Some(Evil::Unpatched) {
                    return Err(JobError::Refused { why: "the patch makes something else".to_owned() });
                }
                node.disk.indexed.insert(target);
                let held = node.disk.contents.get_mut(&target).expect("it was opened");
                held.have = Bitmap::full(held.content.total());
                Ok(JobDone::Patched { have: held.have.clone() })
            }
            Job::Complete { content } => {
                let held = node.disk.contents.get_mut(&content).expect("it was opened");
                let pieces: Vec<PieceNo> =
                    (0..held.have.len()).map(PieceNo).filter(|piece| !held.have.contains(*piece)).collect();
                if !pieces.is_empty() {
                    return Err(JobError::Missing { content, pieces });
                }
                held.complete = true;
                Ok(JobDone::Completed)
            }
            Job::Assemble { .. } if node.evil == Some(Evil::Refuses) => {
                Err(JobError::Refused { why: "the target is not ours; adopt it".to_owned() })
            }
            Job::Assemble { release } => {
                let of = Release::decode(&release.payload).expect("a release");
                for spec in [Some(of.content), of.attributes].into_iter().flatten() {
                    assert!(node.disk.contents[&spec.id()].complete, "laid out before it is complete");
                }
                let record = record(&mut node.disk, &of.app);
                record.laid_out.retain(|known| *known != release);
                record.laid_out.push(release);
                Ok(JobDone::Assembled)
            }
            Job::Accept { order } => {
                let of = Order::decode(&order.payload).expect("an order");
                let record = record(&mut node.disk, &of.app);
                let floor =
                    record.order.as_ref().map_or(0, |order| Order::decode(&order.payload).expect("an order").epoch);
                assert!(of.epoch >= floor, "the floor sinks");
                record.order = Some(order);
                Ok(JobDone::Accepted)
            }
            Job::Switch { app, release } => {
                let record = record(&mut node.disk, &app);
                let order =
                    Order::decode(&record.order.as_ref().expect("an order stands first").payload).expect("an order");
                assert!(
                    order.release == release || order.fallback == Some(release) || record.confirmed == Some(release),
                    "what no order names is switched to"
                );
                assert!(record.laid_out.iter().any(|known| id_of(known) == release));
                let previous = record.live.replace(release);
                record.begun = if record.intent == Some(release) { record.begun + 1 } else { 1 };
                record.intent = Some(release);
                node.switches.push(release);
                Ok(JobDone::Switched { previous })
            }
            Job::Restore { .. } => Err(JobError::Refused { why: "nothing stood there".to_owned() }),
            Job::Confirm { app, release } => {
                let record = record(&mut node.disk, &app);
                assert_eq!(record.live, Some(release));
                (record.confirmed, record.intent, record.begun) = (Some(release), None, 0);
                Ok(JobDone::Confirmed)
            }
            Job::Hook { release, moment, .. } => {
                node.hooks.push((id_of(&release), moment));
                match node.ailing.get(&id_of(&release)) {
                    Some(Ailing::Hook(bad)) if *bad == moment => {
                        Err(JobError::Refused { why: "it ended with status 1".to_owned() })
                    }
                    _ => Ok(JobDone::Ran),
                }
            }
            Job::Probe { release } => {
                node.probes += 1;
                match node.ailing.get(&id_of(&release)) {
                    Some(Ailing::Sick) => Err(JobError::Refused { why: "it answered 500".to_owned() }),
                    _ => Ok(JobDone::Ran),
                }
            }
            Job::GiveUp { app, order, why } => {
                let record = record(&mut node.disk, &app);
                (record.given_up, record.intent, record.begun) = (Some((order, why)), None, 0);
                Ok(JobDone::GivenUp)
            }
            Job::Journal { .. } | Job::Verify { .. } | Job::Repair { .. } => {
                node.verifies += 1;
                Ok(JobDone::Verified { entries: 3, bytes: 10, differing: 0, first: Vec::new() })
            }
            Job::Collect { contents, releases } => {
                node.disk.contents.retain(|id, _| contents.contains(id));
                for record in node.disk.apps.values_mut() {
                    record.laid_out.retain(|release| releases.contains(&id_of(release)));
                    assert!(record.live.is_none_or(|live| record.laid_out.iter().any(|known| id_of(known) == live)));
                }
                Ok(JobDone::Collected { freed: 0 })
            }
            Job::Shun { peers } => {
                node.disk.shunned = peers;
                Ok(JobDone::Shunned)
            }
            Job::Root { root } => {
                node.disk.roots.push(root.clone());
                node.disk.root = Some(root);
                Ok(JobDone::Rooted)
            }
        }
    }

    // What tests look at.

    pub(crate) fn agents(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|nr| self.nodes[*nr].role == Role::Agent).collect()
    }

    pub(crate) fn confirmed(&self, nr: usize) -> Option<ReleaseId> {
        self.nodes[nr].disk.apps.get(&app())?.confirmed
    }

    pub(crate) fn all_confirmed(&self, release: ReleaseId) -> bool {
        self.agents().into_iter().all(|nr| self.confirmed(nr) == Some(release))
    }

    /// What a client was answered last.
    pub(crate) fn answer(&self, nr: usize, client: u64) -> Option<&Answer> {
        self.nodes[nr].answers.iter().rev().find(|(known, _)| *known == ClientId(client)).map(|(_, answer)| answer)
    }

    /// Publishes, and gives the publisher's number.
    pub(crate) fn deploy(&mut self, release: &Release, order: &Order) -> usize {
        self.deploy_with(release, order, Wish::default())
    }

    /// The same, with a wish for patches.
    pub(crate) fn deploy_with(&mut self, release: &Release, order: &Order, wish: Wish) -> usize {
        let publisher = self.publisher(release);
        let request = Request::Deploy { release: sign_release(release), order: sign_order(order), wish };
        self.request(publisher, 1, request);
        publisher
    }

    /// The same, by a publisher that has a patch from something else.
    pub(crate) fn bring(&mut self, release: &Release, order: &Order, wish: Wish, base: ContentId) -> usize {
        let nr = self.publisher(release);
        self.stop(nr);
        let patch = patch_between(base, release.content.id());
        let held = Held { content: patch, have: Bitmap::full(patch.total()), complete: true };
        self.nodes[nr].disk.contents.insert(patch.id(), held);
        self.nodes[nr].brings = vec![Offer { base, target: release.content.id(), patch, format: 1 }];
        self.start(nr);
        let request = Request::Deploy { release: sign_release(release), order: sign_order(order), wish };
        self.request(nr, 1, request);
        nr
    }

    /// How many copies of a content left the origin towards agents.
    pub(crate) fn copies(&self, content: ContentSpec) -> f64 {
        let sent = self.nodes[ORIGIN].sent.get(&content.id()).copied().unwrap_or(0);
        sent as f64 / (content.bytes + content.blob.len) as f64
    }

    pub(crate) fn facts(&self) -> Vec<Fact> {
        self.nodes[ORIGIN].disk.facts.iter().map(|(_, _, fact)| fact.clone()).collect()
    }
}

fn record<'a>(disk: &'a mut Disk, app: &AppName) -> &'a mut AppRecord {
    let fresh = AppRecord {
        app: app.clone(),
        order: None,
        laid_out: Vec::new(),
        live: None,
        confirmed: None,
        intent: None,
        begun: 0,
        given_up: None,
    };
    disk.apps.entry(app.clone()).or_insert(fresh)
}
