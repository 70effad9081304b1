//! A flock's day: everything that happens, in its order.

use super::agenda::{Agenda, Entry, How, What};
use super::cores::Cores;
use super::diary::Diary;
use super::member::{Manner, Member, NEVER, Parcel, address, listener, number};
use super::model::Shared;
use super::outcome::Outcome;
use super::papers::Papers;
use super::pipes::{Pipes, nanos};
use super::plan::{Mishap, Plan};
use crate::dice::Dice;
use content::fact::{JournalName, Position};
use content::{Bitmap, Digest, Fact, Label, Labels, PieceNo, ReleaseId, Role, TokenId, UnixTime};
use engine::Engine;
use engine::door::{
    Answer, AppendId, BufferId, ClientId, Config, DownReason, Event, Held, Input, Job, JobDone, JobError, JobId,
    Message, Output, Recovered, Request, Time,
};
use engine::wire;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) const ORIGIN: u32 = 0;
/// In so many parts a unicast is told.
const STRETCHES: u32 = 20;
/// How long the mesh may settle before anything is published.
const SETTLING: Duration = Duration::from_secs(3);
/// How long after a release the next one is published.
const REST: Duration = Duration::from_secs(60);
/// So many racks are a zone.
const RACKS: u32 = 10;
/// What goes between two processes of one machine, in bytes a second.
const LOCAL: u64 = 4_000_000_000;
const TOKEN: TokenId = TokenId(Digest::from_bytes([7; 32]));
const SECRET: Digest = Digest::from_bytes([8; 32]);
/// A payload that is not what it should be.
const DAMAGED: BufferId = BufferId(1);
const WHOLE: BufferId = BufferId(0);

/// Runs a plan: the same seed gives the same outcome.
pub fn run(plan: &Plan, seed: u64) -> Outcome {
    let mut flock = Flock::new(plan, seed);
    flock.live(|_| {});
    flock.outcome()
}

/// The same, which says now and then how far it is and keeps a diary.
pub fn run_telling(plan: &Plan, seed: u64, tell: impl FnMut(Progress)) -> Outcome {
    let mut flock = Flock::new(plan, seed);
    flock.diary = Some(flock.new_diary());
    flock.live(tell);
    flock.outcome()
}

/// How far a day is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What happened so far.
    pub events: u64,
    /// How late it is; nothing was published before [`Progress::published`].
    pub now: Duration,
    /// When it is, or was, published.
    pub published: Duration,
    /// Payloads that were sent.
    pub deliveries: u64,
    /// Agents that are measured and have not all yet.
    pub waiting: u32,
}

/// After so many events it is said how far a day is.
const TOLD_EVERY: u64 = 1 << 24;

/// All machines and everything between them.
pub(super) struct Flock<'a> {
    pub(super) plan: &'a Plan,
    pub(super) papers: Papers,
    pub(super) members: Vec<Member>,
    pipes: Pipes,
    agenda: Agenda,
    /// The processors, where all machines share them, and what they had done when all began.
    cores: Option<Cores>,
    spent_before: Duration,
    pub(super) now: u64,
    dice: Dice,
    /// Messages that are under way, and which places are free.
    messages: Vec<Option<Message>>,
    places: Vec<u32>,
    pub(super) published: u64,
    /// Measured agents that have not all yet.
    waiting: u32,
    /// The number of the tree that is measured.
    measured: u8,
    is_measured: Vec<bool>,
    /// What has not come to any agent of each content, as long as the origin is to die when all has, and whether it loses its power.
    inside: Option<([Bitmap; 2], bool)>,
    origin_died: Option<(u64, u32)>,
    counts: Counts,
    diary: Option<Diary>,
    /// Agents that cannot switch to any release but the first.
    pub(super) ailing: BTreeSet<u32>,
    /// What those were answered who ask from outside.
    pub(super) answers: BTreeMap<ClientId, Answer>,
}

/// Clients from here on ask from outside of the day's plan.
pub(super) const OUTSIDE: u64 = 1 << 40;

#[derive(Default)]
struct Counts {
    deliveries: u64,
    messages: u64,
    late: u64,
    plain: u64,
    convicted: u64,
    dials: u64,
}

impl<'a> Flock<'a> {
    pub(super) fn new(plan: &'a Plan, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let pipes = Pipes::new(plan.model, dice.fork(1));
        let mut flock = Self {
            papers: Papers::of(plan.bytes, plan.piece_bytes),
            members: Vec::new(),
            pipes,
            agenda: Agenda::default(),
            cores: plan.model.shared.map(|shared| Cores::new(shared.cores)),
            spent_before: Duration::ZERO,
            now: 0,
            dice,
            messages: Vec::new(),
            places: Vec::new(),
            published: nanos(plan.joining + SETTLING),
            waiting: plan.agents,
            measured: 0,
            is_measured: vec![true; plan.agents as usize + 2],
            inside: None,
            origin_died: None,
            counts: Counts::default(),
            diary: None,
            ailing: BTreeSet::new(),
            answers: BTreeMap::new(),
            plan,
        };
        flock.furnish();
        flock
    }

    pub(super) fn publisher(&self) -> u32 {
        self.plan.agents + 1
    }

    // What there is.

    fn furnish(&mut self) {
        let plan = self.plan;
        for nr in 0..=plan.agents + 1 {
            let role = match nr {
                ORIGIN => Role::Origin,
                _ if nr <= plan.agents => Role::Agent,
                _ => Role::Operator,
            };
            self.members.push(Member::new(nr, role, self.dice.next_u64()));
        }
        let mut rates = vec![[plan.rate_up, plan.rate]; plan.agents as usize + 1];
        let mut starts: Vec<u64> =
            (0..=plan.agents).map(|_| 50_000_000 + self.dice.below(nanos(plan.joining))).collect();
        let mut pool: Vec<u32> = (1..=plan.agents).collect();
        self.dice.shuffle(&mut pool);
        for mishap in &plan.mishaps {
            self.mishap(mishap, &mut pool, &mut rates, &mut starts);
        }
        rates.iter().for_each(|[up, down]| self.pipes.plug(*up, *down));
        self.pipes.plug(LOCAL, LOCAL);
        if let Some((machines, rate)) = plan.racks {
            self.pipes.share(machines, rate, plan.agents + 1);
        }
        self.agenda.push(0, ORIGIN, What::Boot);
        self.agenda.push(1_000_000, self.publisher(), What::Boot);
        (1..=plan.agents).for_each(|nr| self.agenda.push(starts[nr as usize], nr, What::Boot));
        let begin = if plan.model.shared.is_some() { What::Start } else { What::Publish };
        self.agenda.push(self.published, self.publisher(), begin);
        self.is_measured[0] = false;
        self.is_measured[plan.agents as usize + 1] = false;
        self.waiting = self.is_measured.iter().filter(|is| **is).count() as u32;
    }

    fn mishap(&mut self, mishap: &Mishap, pool: &mut Vec<u32>, rates: &mut [[u64; 2]], starts: &mut [u64]) {
        let (Mishap::Slow { agents, .. }
        | Mishap::Bad { agents, .. }
        | Mishap::Die { agents, .. }
        | Mishap::Late { agents, .. }) = *mishap
        else {
            match *mishap {
                Mishap::OriginDies { power } => {
                    self.inside =
                        Some((std::array::from_fn(|nr| Bitmap::full(self.papers.contents[nr].total())), power));
                }
                Mishap::Hiccups { every, lasts } => self.hiccups(nanos(every), nanos(lasts)),
                _ => {}
            }
            return;
        };
        let chosen = pool.split_off(pool.len().saturating_sub(agents as usize));
        for nr in chosen {
            let at = nr as usize;
            self.is_measured[at] = matches!(mishap, Mishap::Late { .. });
            match *mishap {
                Mishap::Slow { times, .. } => rates[at] = rates[at].map(|rate| rate / times),
                Mishap::Bad { manner, .. } => self.members[at].manner = manner,
                Mishap::Die { after, power, .. } => {
                    self.agenda.push(self.published + nanos(after), nr, What::Dies { power });
                }
                Mishap::Late { within, .. } => starts[at] = self.published + self.dice.below(nanos(within)),
                Mishap::OriginDies { .. } | Mishap::Hiccups { .. } => {}
            }
        }
    }

    /// Draws when each agent does something else, for as long as the broadcast may take.
    fn hiccups(&mut self, every: u64, lasts: u64) {
        let until = self.published + 20 * nanos(self.plan.unicast());
        for nr in 1..=self.plan.agents {
            let mut at = self.published + self.dice.below(2 * every);
            while at < until {
                self.agenda.push(at, nr, What::Pauses { micros: (lasts / 1000) as u32 });
                at += lasts + self.dice.below(2 * every);
            }
        }
    }

    // What happens.

    fn new_diary(&self) -> Diary {
        let pieces = self.papers.contents[0].total();
        Diary::new(self.plan.unicast() / STRETCHES, self.plan.agents as usize + 2, pieces)
    }

    fn live(&mut self, mut tell: impl FnMut(Progress)) {
        self.spread(&mut tell);
        for _ in 0..self.plan.before {
            self.another();
            self.spread(&mut tell);
        }
    }

    /// A minute later another release is published, and measured.
    fn another(&mut self) {
        self.until(self.now + nanos(REST));
        self.measured += 2;
        let number = u64::from(self.measured);
        self.papers.renew(&format!("v{number}"), self.plan.bytes, self.plan.piece_bytes, UnixTime(2 + number));
        self.papers.order_newest(1 + number, UnixTime(2 + number));
        let publisher = self.publisher();
        self.dies(publisher, false);
        self.boot(publisher);
        self.until(self.now + nanos(SETTLING));
        for member in &mut self.members {
            (member.complete, member.received, member.sent) = (NEVER, 0, 0);
        }
        self.counts = Counts::default();
        self.waiting = self.is_measured.iter().filter(|is| **is).count() as u32;
        self.diary = self.diary.is_some().then(|| self.new_diary());
        self.published = self.now;
        self.publish(publisher);
    }

    fn spread(&mut self, tell: &mut impl FnMut(Progress)) {
        let limit = self.published + nanos(self.plan.limit);
        let mut events = 0;
        while self.waiting > 0 {
            let Some(entry) = self.agenda.pop() else { return };
            if entry.at > limit {
                return;
            }
            self.now = entry.at;
            self.happens(entry);
            events += 1;
            if events % TOLD_EVERY == 0 {
                tell(self.progress(events));
            }
        }
    }

    /// Lets happen what happens until then.
    pub(super) fn until(&mut self, then: u64) {
        while let Some(entry) = self.agenda.pop_until(then) {
            self.now = entry.at;
            self.happens(entry);
        }
        self.now = then;
    }

    fn progress(&self, events: u64) -> Progress {
        Progress {
            events,
            now: Duration::from_nanos(self.now),
            published: Duration::from_nanos(self.published),
            deliveries: self.counts.deliveries,
            waiting: self.waiting,
        }
    }

    fn happens(&mut self, entry: Entry) {
        let node = entry.node;
        let paused_until = self.members[node as usize].paused_until;
        if self.now < paused_until && entry.what.takes_the_processor() {
            if matches!(entry.what, What::Tick) {
                let member = &mut self.members[node as usize];
                if member.tick_at != entry.at {
                    return;
                }
                member.tick_at = paused_until;
            }
            return self.agenda.push(paused_until, node, entry.what);
        }
        match entry.what {
            What::Pauses { micros } => {
                self.members[node as usize].paused_until = self.now + u64::from(micros) * 1000;
            }
            What::Boot => self.boot_or_join(node),
            What::Enrol { joiner } => self.enrol(joiner),
            What::Dies { power } => self.dies(node, power),
            What::Start => self.start(node),
            What::Publish => self.publish(node),
            What::Tick => self.tick(entry),
            What::Message { lane, slot, joins, paid } => self.message_came(node, (lane, slot), joins, paid),
            What::Piece { lane, piece, content, corrupt, paid } => {
                self.piece_came(node, lane, (content, piece), corrupt, paid);
            }
            What::Ready { lane, piece, content } => self.ready(node, lane, content, piece),
            What::Sent { lane, piece, content } => self.sent(node, lane, content, piece),
            What::Free => self.link_free(entry),
            What::Job { job, how } => self.job_done(node, job, how),
            What::Appended { append, index } => {
                let outcome = Ok(Position { generation: 1, index: index.into() });
                self.input(node, 0, Input::Appended { append: AppendId(append.into()), outcome });
            }
            What::Dialled { to } => self.dialled(node, to),
            What::Down { peer, broken } => {
                let why = if broken { DownReason::Broken("reset by peer".to_owned()) } else { DownReason::Closed };
                let peer = self.members[peer as usize].id;
                self.input(node, 0, Input::PeerDown { peer, why });
            }
        }
    }

    /// Lets an engine take an input that costs its processor so much, and does what it wants.
    pub(super) fn input(&mut self, node: u32, cost: u64, input: Input) {
        let Some(engine) = &mut self.members[node as usize].engine else { return };
        engine.handle(Time(self.now), input);
        self.drain(node, self.now + cost);
    }

    /// Whether the processor of a node takes an input now; otherwise when it will.
    fn turn(&mut self, node: u32, cost: u64) -> Result<(), u64> {
        let free = self.cores.as_mut().map_or(self.now, |cores| cores.take(self.now, cost));
        let member = &mut self.members[node as usize];
        let begins = member.cpu_free.max(free);
        member.cpu_free = begins + cost;
        if begins > self.now { Err(begins) } else { Ok(()) }
    }

    /// Gives a turn back.
    fn leave_turn(&mut self, node: u32, cost: u64) {
        self.members[node as usize].cpu_free -= cost;
        if let Some(cores) = &mut self.cores {
            cores.leave(cost);
        }
    }

    /// Has a machine's share of the common processors do something that can begin then; when it is done. Only where there are such.
    fn spend(&mut self, node: u32, from: u64, cost: u64) -> u64 {
        let free = self.cores.as_mut().map_or(from, |cores| cores.take(self.now, cost));
        let member = &mut self.members[node as usize];
        member.cpu_free = member.cpu_free.max(free).max(from) + cost;
        member.cpu_free
    }

    /// What so many bytes cost each of two machines in packets, where they share processors.
    fn packets(&self, bytes: u64) -> u64 {
        self.plan.model.shared.as_ref().map_or(0, |shared| segments(shared, bytes) * nanos(shared.cpu_packet))
    }

    fn tick(&mut self, entry: Entry) {
        let member = &mut self.members[entry.node as usize];
        if member.tick_at != entry.at {
            return;
        }
        member.tick_at = NEVER;
        if self.cores.is_some()
            && !std::mem::replace(&mut member.is_tick_due, true)
            && let Err(later) = self.turn(entry.node, nanos(self.plan.model.cpu_input))
        {
            self.members[entry.node as usize].tick_at = later;
            return self.agenda.push(later, entry.node, What::Tick);
        }
        let member = &mut self.members[entry.node as usize];
        member.is_tick_due = false;
        let Some(due) = member.engine.as_ref().and_then(|engine| engine.deadline()) else { return };
        match due.0 <= self.now {
            true => self.input(entry.node, 0, Input::Tick),
            false => self.wake(entry.node, due.0),
        }
    }

    /// Makes sure that a deadline is kept.
    fn wake(&mut self, node: u32, due: u64) {
        let member = &mut self.members[node as usize];
        if due < member.tick_at && !member.is_tick_due {
            member.tick_at = due.max(self.now);
            self.agenda.push(member.tick_at, node, What::Tick);
        }
    }

    // Machines start and stop.

    fn boot_or_join(&mut self, node: u32) {
        let member = &self.members[node as usize];
        match self.plan.enrols && member.role == Role::Agent && !member.is_enrolled {
            true => self.ask_to_join(node),
            false => self.boot(node),
        }
    }

    pub(super) fn boot(&mut self, node: u32) {
        let member = &self.members[node as usize];
        let config = Config {
            fleet: self.papers.fleet,
            role: member.role,
            name: format!("node-{node}"),
            labels: self.place(node),
            datacenter: label("dc1"),
            listen: (member.role != Role::Operator).then(|| address(node)),
            software: "sim".to_owned(),
            origins: if node == ORIGIN { Vec::new() } else { vec![address(ORIGIN)] },
            neighbours: self.plan.neighbours,
            window_bytes: self.plan.window_bytes,
            patience: Duration::from_secs(1),
            redial: Duration::from_millis(50),
            given_order: true,
            speaks: engine::wire::PROTOCOL,
            reads: Vec::new(),
            limit: None,
        };
        let recovered = Recovered {
            root: Some(self.papers.root.clone()),
            held: if member.role == Role::Operator { self.published_contents() } else { Vec::new() },
            facts: if node == ORIGIN { first_facts() } else { Vec::new() },
            ..Recovered::default()
        };
        let (id, seed) = (member.id, self.dice.next_u64());
        let engine = Engine::new(id, config, recovered, seed, Time(self.now));
        let member = &mut self.members[node as usize];
        member.engine = Some(Box::new(engine));
        if !self.plan.enrols {
            member.asked_to_join = self.now;
        }
        self.drain(node, self.now);
    }

    /// In which zone and rack a machine stands, if the plan says how many stand together.
    fn place(&self, node: u32) -> Labels {
        let (Some(rack), true) = (self.plan.places, node != ORIGIN) else { return Labels::new() };
        let (rack, zone) = ((node - 1) / rack.max(1), (node - 1) / rack.max(1) / RACKS);
        let said = [("zone", format!("z{}", zone + 1)), ("rack", format!("r{:02}", rack % RACKS + 1))];
        said.into_iter().map(|(key, value)| (label(key), label(&value))).collect()
    }

    fn published_contents(&self) -> Vec<Held> {
        let held =
            |content: content::ContentSpec| Held { content, have: Bitmap::full(content.total()), complete: true };
        self.papers.newest_contents().iter().copied().map(held).collect()
    }

    fn ask_to_join(&mut self, node: u32) {
        self.members[node as usize].asked_to_join = self.now;
        let arrives = self.now + 5 * self.pipes.delay() + nanos(self.plan.model.cpu_handshake);
        self.agenda.push(arrives, ORIGIN, What::Enrol { joiner: node });
    }

    fn enrol(&mut self, joiner: u32) {
        let cost = nanos(self.plan.model.cpu_handshake);
        if let Err(later) = self.turn(ORIGIN, cost) {
            // The handshake has its turn then, and the request right after it.
            self.leave_turn(ORIGIN, cost);
            return self.agenda.push(later, ORIGIN, What::Enrol { joiner });
        }
        let (node, name) = (self.members[joiner as usize].id, format!("node-{joiner}"));
        let request = Request::Enrol { token: TOKEN, secret: SECRET, node, name, now: UnixTime(10) };
        self.input(ORIGIN, cost, Input::Request { client: ClientId(joiner.into()), by: None, request });
    }

    pub(super) fn dies(&mut self, node: u32, power: bool) {
        let member = &mut self.members[node as usize];
        member.engine = None;
        member.outbox.clear();
        for first in self.lanes_of(node) {
            match power {
                true => self.pipes.lanes[(first ^ 1) as usize].held_until = NEVER,
                false => self.cut(first, true),
            }
        }
    }

    /// The lanes that go out from a node.
    fn lanes_of(&self, node: u32) -> Vec<u32> {
        if node != ORIGIN {
            return self.members[node as usize].lanes.iter().map(|(_, lane)| *lane).collect();
        }
        let lanes = self.pipes.lanes.iter().enumerate();
        lanes.filter(|(_, lane)| lane.from == node && lane.is_up).map(|(number, _)| number as u32).collect()
    }

    /// A publisher reads its keys and its tree; what hosts share its processors with it wait.
    fn start(&mut self, node: u32) {
        let (Some(shared), Some(cores)) = (&self.plan.model.shared, &self.cores) else { return };
        self.spent_before = cores.spent();
        let cost = nanos(shared.cpu_start) + self.plan.bytes * shared.cpu_byte_read_ps / 1000;
        let started = self.spend(node, self.now, cost);
        self.agenda.push(started, node, What::Publish);
    }

    pub(super) fn publish(&mut self, node: u32) {
        let (release, order) = (self.papers.release.clone(), self.papers.order.clone());
        self.input(
            node,
            0,
            Input::Request {
                client: ClientId(0),
                by: None,
                request: Request::Deploy { release, order, wish: engine::door::Wish::default() },
            },
        );
    }

    // Connections.

    fn lane(&self, from: u32, to: u32) -> Option<u32> {
        let (at, other, flip) = if from == ORIGIN { (to, from, 1) } else { (from, to, 0) };
        let lanes = &self.members.get(at as usize)?.lanes;
        lanes.iter().find(|(peer, _)| *peer == other).map(|(_, lane)| lane ^ flip)
    }

    fn dialled(&mut self, node: u32, to: u32) {
        let is_there = self.members.get(to as usize).is_some_and(|member| member.engine.is_some());
        if self.members[node as usize].engine.is_none() {
            return;
        }
        if !is_there {
            let why = "connection refused".to_owned();
            return self.input(node, 0, Input::Unreachable { address: address(to), why });
        }
        let cost = nanos(self.plan.model.cpu_handshake);
        if let Err(later) = self.turn(to, cost) {
            self.leave_turn(to, cost);
            return self.agenda.push(later, node, What::Dialled { to });
        }
        if let Some(old) = self.lane(node, to) {
            self.unlink(old);
        }
        self.link(node, to);
        for (at, peer, dialled) in [(to, node, None), (node, to, Some(address(to)))] {
            let Member { id, role, .. } = self.members[peer as usize];
            self.input(at, cost, Input::PeerUp { peer: id, role, seen: address(peer).ip(), dialled });
        }
    }

    fn link(&mut self, a: u32, b: u32) {
        let is_local = a == self.publisher() || b == self.publisher();
        let first = self.pipes.connect(a, b, is_local);
        for (at, peer, lane) in [(a, b, first), (b, a, first ^ 1)] {
            if at != ORIGIN {
                self.members[at as usize].lanes.push((peer, lane));
            }
        }
    }

    /// A connection is no more.
    fn unlink(&mut self, lane: u32) {
        let (a, b) = (self.pipes.lanes[lane as usize].from, self.pipes.lanes[lane as usize].to);
        for (at, lane) in [(a, lane), (b, lane ^ 1)] {
            self.pipes.lanes[lane as usize].is_up = false;
            let member = &mut self.members[at as usize];
            member.lanes.retain(|(_, other)| *other != lane);
            member.outbox.retain(|parcel| parcel.lane != lane);
        }
    }

    /// A connection is no more, and the other side is told.
    fn cut(&mut self, lane: u32, broken: bool) {
        let (a, b) = (self.pipes.lanes[lane as usize].from, self.pipes.lanes[lane as usize].to);
        self.unlink(lane);
        self.agenda.push(self.now + self.pipes.delay(), b, What::Down { peer: a, broken });
    }

    fn message_came(&mut self, node: u32, (lane, slot): (u32, u32), joins: bool, paid: bool) {
        let cost = nanos(self.plan.model.cpu_input) + if joins { 0 } else { self.packets(0) };
        let is_up = self.pipes.lanes[lane as usize].is_up && self.members[node as usize].engine.is_some();
        if is_up
            && !paid
            && let Err(later) = self.turn(node, cost)
        {
            return self.agenda.push(later, node, What::Message { lane, slot, joins, paid: true });
        }
        let message = self.messages[slot as usize].take();
        self.places.push(slot);
        let Some(message) = message.filter(|_| is_up) else { return };
        self.counts.messages += 1;
        let from = self.pipes.lanes[lane as usize].from;
        if from == ORIGIN && matches!(message, Message::Head { .. }) {
            let member = &mut self.members[node as usize];
            member.joined = member.joined.min(self.now);
        }
        let from = self.members[from as usize].id;
        self.input(node, cost, Input::Message { from, message });
    }

    fn piece_came(&mut self, node: u32, lane: u32, (content, piece): (u8, u32), corrupt: bool, paid: bool) {
        if !self.pipes.lanes[lane as usize].is_up || self.members[node as usize].engine.is_none() {
            return;
        }
        let len = self.papers.len(content, piece);
        let model = &self.plan.model;
        let cost = nanos(model.cpu_input)
            + u64::from(len) * model.cpu_byte_in_ps / 1000 / model.cores
            + self.packets(len.into());
        if !paid && let Err(later) = self.turn(node, cost) {
            return self.agenda.push(later, node, What::Piece { lane, piece, content, corrupt, paid: true });
        }
        self.counts.deliveries += 1;
        self.members[node as usize].received += u64::from(len);
        let from = self.members[self.pipes.lanes[lane as usize].from as usize].id;
        if self.inside.is_some() && node != ORIGIN {
            self.got_out(content, piece);
        }
        if let Some(diary) = self.diary.as_mut().filter(|_| content == self.measured && !corrupt) {
            diary.came(self.now.saturating_sub(self.published), node, piece, self.is_measured[node as usize]);
        }
        let buffer = if corrupt { DAMAGED } else { WHOLE };
        let content = self.papers.contents[usize::from(content)].id();
        self.input(node, cost, Input::Piece { from, content, piece: PieceNo(piece), buffer, len });
    }

    /// A piece has come to an agent: the origin may not be needed any more.
    fn got_out(&mut self, content: u8, piece: u32) {
        let Some((inside, power)) = &mut self.inside else { return };
        inside[usize::from(content)].remove(PieceNo(piece));
        if inside.iter().all(Bitmap::is_empty) {
            self.agenda.push(self.now, ORIGIN, What::Dies { power: *power });
            self.origin_died = Some((self.now, self.waiting));
            self.inside = None;
        }
    }

    // The link up.

    /// Takes a payload into the driver's queue.
    fn give(&mut self, node: u32, lane: u32, content: u8, piece: u32) {
        let len = u64::from(self.papers.len(content, piece));
        let model = &self.plan.model;
        let cost = len * model.cpu_byte_out_ps / 1000 / model.cores;
        if self.cores.is_some() {
            let ready = self.spend(node, self.now, cost + self.packets(len));
            return self.agenda.push(ready, node, What::Ready { lane, piece, content });
        }
        let member = &mut self.members[node as usize];
        member.cpu_free = member.cpu_free.max(self.now) + cost;
        self.ready(node, lane, content, piece);
    }

    /// The driver has a payload as it goes over the network.
    fn ready(&mut self, node: u32, lane: u32, content: u8, piece: u32) {
        if !self.pipes.lanes[lane as usize].is_up || self.members[node as usize].engine.is_none() {
            return;
        }
        let member = &mut self.members[node as usize];
        member.outbox.push_back(Parcel { lane, piece, content, is_told: false });
        self.tell_sent(node, lane);
        let member = &mut self.members[node as usize];
        if member.current.is_none() {
            member.next_free = NEVER;
            self.start_next(node);
        }
    }

    /// Tells the engine of the payloads of a lane that the kernel takes now.
    fn tell_sent(&mut self, node: u32, lane: u32) {
        let papers = &self.papers;
        let number = lane;
        let lane = &mut self.pipes.lanes[lane as usize];
        let mut next = self.members[node as usize].outbox.iter_mut().filter(|p| p.lane == number && !p.is_told);
        if let Some(parcel) = next.next() {
            let len = u64::from(papers.len(parcel.content, parcel.piece));
            if u64::from(lane.in_kernel) * len < self.plan.model.kernel_bytes {
                parcel.is_told = true;
                lane.in_kernel += 1;
                let Parcel { piece, content, .. } = *parcel;
                self.agenda.push(self.now, node, What::Sent { lane: number, piece, content });
            }
        }
    }

    fn link_free(&mut self, entry: Entry) {
        let member = &mut self.members[entry.node as usize];
        if member.next_free != entry.at {
            return;
        }
        member.next_free = NEVER;
        if let Some(left) = member.current.take() {
            self.left(entry.node, left);
        }
        self.start_next(entry.node);
    }

    /// The last byte of a payload has left.
    fn left(&mut self, node: u32, parcel: Parcel) {
        let lane = &mut self.pipes.lanes[parcel.lane as usize];
        match parcel.is_told {
            true => lane.in_kernel -= 1,
            false => {
                let Parcel { lane, piece, content, .. } = parcel;
                self.agenda.push(self.now, node, What::Sent { lane, piece, content });
            }
        }
        self.tell_sent(node, parcel.lane);
    }

    /// Begins to send the first payload whose way is free.
    fn start_next(&mut self, node: u32) {
        let (lanes, member) = (&self.pipes.lanes, &mut self.members[node as usize]);
        let held = |parcel: &Parcel| lanes[parcel.lane as usize].held_until;
        let Some(at) = member.outbox.iter().position(|parcel| held(parcel) <= self.now) else {
            let next = member.outbox.iter().map(held).min().unwrap_or(NEVER);
            if next != NEVER {
                member.next_free = next;
                self.agenda.push(next, node, What::Free);
            }
            return;
        };
        let parcel = member.outbox.remove(at).expect("it was found there");
        let corrupt = member.manner == Manner::Corrupts;
        let Parcel { lane, piece, content, .. } = parcel;
        let len = u64::from(self.papers.len(content, piece));
        member.sent += len;
        member.current = Some(parcel);
        let arrives = self.pipes.payload(self.now, lane, len);
        let free = self.pipes.up_free(node).max(self.now);
        self.members[node as usize].next_free = free;
        self.agenda.push(free, node, What::Free);
        let to = self.pipes.lanes[lane as usize].to;
        self.agenda.push(arrives, to, What::Piece { lane, piece, content, corrupt, paid: false });
    }

    fn sent(&mut self, node: u32, lane: u32, content: u8, piece: u32) {
        let to = self.members[self.pipes.lanes[lane as usize].to as usize].id;
        let bytes = self.papers.len(content, piece);
        let content = self.papers.contents[usize::from(content)].id();
        self.input(node, 0, Input::Sent { to, content, piece: PieceNo(piece), bytes, took: Duration::ZERO });
    }

    // What engines want.

    fn drain(&mut self, node: u32, done: u64) {
        while let Some(output) = self.members[node as usize].engine.as_mut().and_then(|engine| engine.poll()) {
            self.output(node, done, output);
        }
        let due = self.members[node as usize].engine.as_ref().and_then(|engine| engine.deadline());
        if let Some(due) = due {
            self.wake(node, due.0);
        }
    }

    fn output(&mut self, node: u32, done: u64, output: Output) {
        match output {
            Output::Connect { address, .. } => {
                self.counts.dials += 1;
                let cost = nanos(self.plan.model.cpu_handshake);
                let to = listener(address);
                self.agenda.push(done + 6 * self.pipes.delay() + cost, node, What::Dialled { to });
            }
            Output::Close { peer, .. } => {
                if let Some(lane) = self.lane(node, number(peer)) {
                    self.cut(lane, false);
                }
            }
            Output::Send { to, message } => self.send(node, done, number(to), message),
            Output::SendPiece { to, content, piece } => {
                if self.members[node as usize].manner == Manner::Stalls {
                    return;
                }
                if let Some(lane) = self.lane(node, number(to)) {
                    let content = self.papers.number(content);
                    self.give(node, lane, content, piece.0);
                }
            }
            Output::Drop { .. } => {}
            Output::Job { id, job } => self.job(node, done, id, &job),
            Output::Answer { client, answer } => self.answered(node, client, &answer),
            Output::Append { id, expect, facts, .. } => {
                let index = expect.index as u32 + facts.len() as u32;
                let at = self.store(node, done, self.plan.model.sync);
                self.agenda.push(at, node, What::Appended { append: id.0 as u32, index });
            }
            // No scenario sets one.
            Output::Limit(_) => {}
            Output::Event(event) => self.note(&event),
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Late { .. } => self.counts.late += 1,
            Event::PlainRoad { .. } => self.counts.plain += 1,
            Event::Convicted { .. } => self.counts.convicted += 1,
            Event::Benched { node } => {
                let since = self.now.saturating_sub(self.published);
                let is_innocent = self.is_measured[number(*node) as usize];
                if let Some(now) = self.diary.as_mut().map(|diary| diary.at(since)) {
                    now.innocent += u32::from(is_innocent);
                    now.guilty += u32::from(!is_innocent);
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, node: u32, done: u64, to: u32, mut message: Message) {
        let Some(lane) = self.lane(node, to) else { return };
        if let (Message::Holding { have, .. }, Manner::Boasts) = (&mut message, self.members[node as usize].manner) {
            *have = None;
        }
        if let (Message::Want { pieces, .. }, Some(diary)) = (&message, &mut self.diary) {
            diary.at(self.now.saturating_sub(self.published)).asked += pieces.len() as u64;
        }
        let bytes = self.plan.model.message_bytes + wire::encode(&message).len() as u64;
        let (done, joins) = self.pack(node, done, lane);
        let arrives = self.pipes.message(done, lane, bytes);
        let slot = match self.places.pop() {
            Some(slot) => {
                self.messages[slot as usize] = Some(message);
                slot
            }
            None => {
                self.messages.push(Some(message));
                self.messages.len() as u32 - 1
            }
        };
        self.agenda.push(arrives, to, What::Message { lane, slot, joins, paid: false });
    }

    /// When a message leaves that is said then, and whether it joins those that wait for a shared processor: all go in one packet.
    fn pack(&mut self, node: u32, done: u64, lane: u32) -> (u64, bool) {
        let waits_until = self.pipes.lanes[lane as usize].packed_until;
        if self.cores.is_none() || self.now < waits_until {
            return (done.max(waits_until), self.cores.is_some());
        }
        let leaves = self.spend(node, done, self.packets(0));
        self.pipes.lanes[lane as usize].packed_until = leaves;
        (leaves, false)
    }

    fn answered(&mut self, _node: u32, client: ClientId, answer: &Answer) {
        if client.0 >= OUTSIDE {
            self.answers.insert(client, answer.clone());
        }
        if let Answer::Enrolled { .. } = answer {
            let back = self.now + self.pipes.delay();
            let joiner = client.0 as u32;
            self.agenda.push(back, joiner, What::Boot);
            self.members[joiner as usize].is_enrolled = true;
        }
    }

    // The host.

    /// When a write is through that is given to the disk then.
    fn disk(&mut self, node: u32, from: u64, cost: Duration) -> u64 {
        let member = &mut self.members[node as usize];
        member.disk_free = member.disk_free.max(from) + nanos(cost);
        member.disk_free
    }

    /// When the store's thread is through with a step that is given to it then.
    fn store(&mut self, node: u32, from: u64, cost: Duration) -> u64 {
        let member = &mut self.members[node as usize];
        member.store_free = member.store_free.max(from) + nanos(cost);
        member.store_free
    }

    fn job(&mut self, node: u32, done: u64, id: JobId, job: &Job) {
        let model = &self.plan.model;
        let bytes = |bytes: u64| Duration::from_nanos(bytes * model.disk_byte_ps / 1000);
        let (work, syncs, how) = match job {
            Job::Open { content } => (model.job, 0, How::Opened(self.papers.number(content.id()))),
            Job::Write { content, piece, buffer } => {
                let len = self.papers.len(self.papers.number(*content), piece.0);
                (model.job + bytes(len.into()), 0, if *buffer == DAMAGED { How::Corrupt } else { How::Written })
            }
            Job::Index { content } => {
                let content = self.papers.number(*content);
                let pages = self.papers.contents[usize::from(content)].blob.len;
                (model.job + bytes(pages), 0, How::Indexed(content))
            }
            Job::Complete { content } => (model.job, 1, How::Completed(self.papers.number(*content))),
            Job::Assemble { .. } => (model.job + bytes(self.plan.bytes), 1, How::Assembled),
            Job::Accept { .. } => (model.job, 1, How::Accepted),
            Job::Switch { release, .. } if self.is_ailing(node, *release) => (model.job, 1, How::Refused),
            Job::Switch { .. } => (model.job, 2, How::Switched),
            Job::Confirm { .. } => (model.job, 1, How::Confirmed),
            Job::Collect { .. } => (model.job, 0, How::Collected),
            Job::Shun { .. } => (model.job, 1, How::Shunned),
            Job::GiveUp { .. } => (model.job, 1, How::GivenUp),
            // The releases of a flock have no commands and no probes, and its operators stay.
            Job::Verify { .. }
            | Job::Repair { .. }
            | Job::Hook { .. }
            | Job::Probe { .. }
            | Job::Restore { .. }
            | Job::Diff { .. }
            | Job::Patch { .. }
            | Job::Journal { .. }
            | Job::Root { .. } => (model.job, 0, How::Refused),
        };
        let is_step = !matches!(job, Job::Write { .. });
        let step = model.shared.filter(|_| is_step).map_or(Duration::ZERO, |shared| shared.cpu_step);
        let done = self.cores.as_mut().map_or(done, |cores| cores.take(self.now, nanos(work + step)).max(done));
        let cost = work + step + model.sync * syncs;
        let at = if is_step { self.store(node, done, cost) } else { self.disk(node, done, cost) };
        self.agenda.push(at, node, What::Job { job: id.0 as u32, how });
    }

    /// Whether a machine does not bear a release; the first one, everyone does.
    fn is_ailing(&self, node: u32, release: ReleaseId) -> bool {
        release != self.papers.first && self.ailing.contains(&node)
    }

    fn job_done(&mut self, node: u32, job: u32, how: How) {
        if let How::Completed(content) = how {
            self.completed(node, content);
        }
        let result = self.result(node, how);
        self.input(node, 0, Input::Done { job: JobId(job.into()), result });
    }

    fn completed(&mut self, node: u32, content: u8) {
        let member = &mut self.members[node as usize];
        member.whole.insert(content);
        if content == self.measured && member.complete == NEVER {
            member.complete = self.now;
            self.waiting -= u32::from(self.is_measured[node as usize]);
        }
    }

    fn result(&self, node: u32, how: How) -> Result<JobDone, JobError> {
        let spec = |content: u8| self.papers.contents[usize::from(content)];
        Ok(match how {
            How::Opened(content) if self.members[node as usize].whole.contains(&content) => {
                JobDone::Opened { have: Bitmap::full(spec(content).total()), indexed: true, complete: true }
            }
            How::Opened(content) => {
                let have = Bitmap::empty(spec(content).total());
                JobDone::Opened { have, indexed: spec(content).pieces == 0, complete: false }
            }
            How::Indexed(content) => {
                let mut have = Bitmap::empty(spec(content).total());
                (0..spec(content).pages()).for_each(|page| {
                    have.insert(PieceNo(page));
                });
                JobDone::Indexed { have }
            }
            How::Written => JobDone::Written,
            How::Completed(_) => JobDone::Completed,
            How::Assembled => JobDone::Assembled,
            How::Accepted => JobDone::Accepted,
            How::Switched => JobDone::Switched { previous: None },
            How::Confirmed => JobDone::Confirmed,
            How::Collected => JobDone::Collected { freed: 0 },
            How::Shunned => JobDone::Shunned,
            How::GivenUp => JobDone::GivenUp,
            How::Corrupt => return Err(JobError::Corrupt),
            How::Refused => return Err(JobError::Refused { why: "not here".to_owned() }),
        })
    }

    // What came of it.

    fn outcome(&self) -> Outcome {
        let agents = &self.members[1..=self.plan.agents as usize];
        let measured = || agents.iter().zip(&self.is_measured[1..]).filter(|(_, is)| **is).map(|(member, _)| member);
        let since = |then: u64, start: u64| Duration::from_nanos(then.saturating_sub(start));
        let digest = self.plan.model.shared.map_or(0, |shared| self.plan.bytes * shared.digest_byte_ps / 1000);
        let mut complete: Vec<Duration> =
            measured().filter(|m| m.complete != NEVER).map(|m| since(m.complete + digest, self.published)).collect();
        complete.sort_unstable();
        let mut joined: Vec<Duration> =
            agents.iter().filter(|m| m.joined != NEVER).map(|m| since(m.joined, m.asked_to_join)).collect();
        joined.sort_unstable();
        let size = self.papers.contents[0].bytes + self.papers.contents[0].blob.len;
        let received: u64 = measured().map(|member| member.received).sum();
        let count = measured().count() as u32;
        Outcome {
            complete,
            measured: count,
            joined,
            origin_died: self
                .origin_died
                .map(|(at, waiting)| (since(at, self.published), 1.0 - f64::from(waiting) / f64::from(count.max(1)))),
            origin_copies: self.members[0].sent as f64 / size as f64,
            received_copies: received as f64 / size as f64 / f64::from(count.max(1)),
            bytes: self.plan.bytes,
            unicast: self.plan.unicast(),
            bound: self.plan.bound(),
            spent: self.cores.as_ref().map_or(Duration::ZERO, |cores| cores.spent() - self.spent_before),
            deliveries: self.counts.deliveries,
            messages: self.counts.messages,
            events: self.agenda.made(),
            late: self.counts.late,
            plain: self.counts.plain,
            convicted: self.counts.convicted,
            dials: self.counts.dials,
            diary: self.diary.clone(),
        }
    }
}

/// In how many segments a payload goes; nothing but a message goes in one.
fn segments(shared: &Shared, bytes: u64) -> u64 {
    bytes.div_ceil(shared.segment_bytes.max(1)).max(1)
}

fn label(text: &str) -> Label {
    Label::new(text).expect("a plain label")
}

/// What the origin's journal says when the day begins: a token that lets everyone in.
fn first_facts() -> Vec<(JournalName, Position, Fact)> {
    let token = Fact::TokenIssued {
        token: TOKEN,
        secret: SECRET,
        uses: u32::MAX,
        expires: UnixTime(u64::MAX),
        role: Role::Agent,
        labels: Labels::new(),
    };
    vec![(JournalName::Datacenter(label("dc1")), Position { generation: 1, index: 0 }, token)]
}
