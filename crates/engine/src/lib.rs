//! Decides everything a node decides, through its doors, without I/O.
//!
//! The engine is one state machine. Something comes in through a door ([`door::Input`]), something goes out
//! ([`door::Output`]), nothing else happens. After every [`Engine::handle`] the driver drains [`Engine::poll`], and calls
//! again at the latest at [`Engine::deadline`].
//!
//! Inside are small machines that do not know each other: `swarm` (what to fetch from whom), `tracker` (who should meet whom),
//! `catalog` (what the journals say), `rollout` (who may have it when), `follow` (what an agent does with it), `trust` (what is
//! signed by whom), `verdicts` (who is not dealt with any more), `limits` (how fast pieces may move), `patches` (which patches an origin makes),
//! `roads` (by which road a content comes to an agent). Only this file and `sides`, its parts by role, know them
//! all and route between them.

mod alarm;
mod catalog;
mod chance;
pub mod door;
mod follow;
mod limits;
mod patches;
mod roads;
mod rollout;
mod sides;
mod swarm;
mod tracker;
mod trust;
mod verdicts;
pub mod wire;

use alarm::Alarms;
use chance::Chance;
use content::{AppName, ContentId, NodeId, OrderId, PieceNo, ReleaseId, Role, Signed};
use door::{
    Answer, AppendId, ClientId, CloseReason, Config, DownReason, Event, Hello, Input, Job, JobDone, JobError, JobId,
    Message, Misbehaviour, Moment, Output, Recovered, Refusal, Request, Time,
};
use limits::Ration;
use sides::{AgentSide, OriginSide, PublisherSide};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use swarm::Swarm;
use trust::Trust;
use verdicts::Verdicts;

/// How long a peer may be silent until it is asked whether it is there, and until it is left.
const PING: Duration = Duration::from_secs(10);
const SILENT: Duration = Duration::from_secs(25);
/// How often it is asked before it is left.
const ASKED: u32 = 3;

/// Control messages that a peer may send in a second, beside so many for each piece that it was sent. An honest one is far below.
const FLOOD: u32 = 10_000;
const BY_PIECE: u32 = 4;

/// The version of the root that every node has: the one that its join line pinned.
const FIRST_ROOT: u64 = 1;

/// As many agents an origin tells everything one by one. Of more it would be a wall of messages, in front of the bytes.
const FEW: usize = 256;

/// Everything a node decides.
pub struct Engine {
    me: NodeId,
    config: Config,
    chance: Chance,
    peers: BTreeMap<NodeId, Peer>,
    verdicts: Verdicts,
    trust: Trust,
    swarm: Swarm,
    side: Side,
    jobs: BTreeMap<JobId, Errand>,
    next_job: u64,
    next_append: u64,
    alarms: Alarms<Alarm>,
    ration: Ration,
    out: VecDeque<Output>,
}

/// What is different between the roles.
enum Side {
    Agent(Box<AgentSide>),
    Origin(Box<OriginSide>),
    Publisher(PublisherSide),
}

/// A peer that is connected.
struct Peer {
    role: Role,
    seen: IpAddr,
    /// Whether it has said who it is.
    is_known: bool,
    /// When something came from it last.
    heard: Time,
    /// Messages in the second that began then.
    second: Time,
    messages: u32,
    /// The newest version of the protocol that it speaks.
    speaks: u16,
    /// What it said of itself, until it says which trust root it follows.
    greeting: Option<Box<Hello>>,
    /// Whether it said that it follows an older trust root than this node.
    is_behind: bool,
    /// Pieces that were given to the driver for it and have not left.
    leaving: u32,
    /// The formats of patches that it applies.
    reads: BTreeSet<u8>,
    /// How often it was asked in vain whether it is there.
    asked: u32,
}

impl Peer {
    fn new(role: Role, seen: IpAddr, now: Time) -> Self {
        Self {
            role,
            seen,
            is_known: false,
            heard: now,
            second: now,
            messages: 0,
            speaks: 0,
            greeting: None,
            is_behind: false,
            leaving: 0,
            reads: BTreeSet::new(),
            asked: 0,
        }
    }

    fn knows_paces(&self) -> bool {
        self.is_known && self.speaks >= wire::PACES
    }

    fn knows_repairs(&self) -> bool {
        self.is_known && self.speaks >= wire::REPAIRS
    }

    fn knows_facts(&self) -> bool {
        self.is_known && self.speaks >= wire::FACTS
    }

    fn knows_roots(&self) -> bool {
        self.is_known && self.speaks >= wire::ROOTS
    }

    fn says_what_it_follows(&self) -> bool {
        self.is_known && self.speaks >= wire::FOLLOWS
    }

    fn knows_patches(&self) -> bool {
        self.is_known && self.speaks >= wire::PATCHES
    }

    fn knows_steps(&self) -> bool {
        self.is_known && self.speaks >= wire::STEPS
    }

    /// Whether it takes patches from whoever brings a release.
    fn takes_patches(&self) -> bool {
        self.is_known && self.speaks >= wire::BRINGS
    }

    fn knows_limits(&self) -> bool {
        self.is_known && self.speaks >= wire::LIMITS
    }
}

/// What a look at what is live is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// To tell what differs.
    Verify,
    /// To lay it out anew, too.
    Repair,
}

/// Why a job was given.
enum Errand {
    Open(ContentId),
    Write(ContentId, PieceNo),
    Index(ContentId),
    Diff {
        base: ContentId,
        target: ContentId,
    },
    /// To make that content.
    Patch(ContentId),
    Complete(ContentId),
    Accept(AppName),
    Assemble(AppName, ReleaseId),
    Switch(AppName, ReleaseId),
    Restore(AppName, ReleaseId),
    Confirm(AppName, ReleaseId),
    Hook(AppName, ReleaseId, Moment),
    Probe(AppName, ReleaseId),
    GiveUp(AppName, OrderId),
    /// Or to repair it.
    Verify {
        request: u64,
        from: NodeId,
        release: ReleaseId,
    },
    Collect,
    Shun,
    Root,
    Journal(ClientId),
}

/// What has its time, besides what the machines know of themselves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// An agent's status is due at its origin.
    Status(AppName),
    /// A rollout should be looked at again.
    Conduct(AppName),
    /// A peer may have been silent for long.
    Silence(NodeId),
    /// A `Verify` request is answered without those that have not reported.
    Audit(u64),
    /// Neighbours may not have heard what is being brought of an application.
    Unheard(AppName),
    /// This node may have had nothing to send for long.
    Idle,
    /// Shares of what all may send are to be divided again.
    Allot,
    /// A patch should have come for this content.
    Road(ContentId),
    /// Patches for the newest release of an application should have been made.
    Patches(AppName),
}

/// How much an engine holds, for those who check that it stays bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Peers that are connected.
    pub connections: usize,
    /// Pieces that are asked for, and jobs and appends that are under way.
    pub in_flight: usize,
    /// Pieces that peers wait for, and outputs that were not polled.
    pub queued: usize,
    /// Contents that are known.
    pub contents: usize,
}

impl Engine {
    /// An engine that remembers what was recovered. `seed` breaks ties; the same inputs and seed give the same outputs.
    pub fn new(me: NodeId, config: Config, recovered: Recovered, seed: u64, now: Time) -> Self {
        let mut chance = Chance::new(seed);
        let settings =
            swarm::Settings { role: config.role, window_bytes: config.window_bytes, patience: config.patience };
        let swarm = Swarm::new(settings, chance.fork());
        let mut trust = Trust::new(config.fleet, recovered.root.as_ref());
        recovered.roots.iter().for_each(|root| trust.recall(root));
        let verdicts = Verdicts::new(config.role, &recovered.shunned);
        let side = match config.role {
            Role::Agent => Side::Agent(Box::new(AgentSide::new(me, &config, now))),
            Role::Origin => Side::Origin(Box::new(OriginSide::new(&config))),
            Role::Operator => Side::Publisher(PublisherSide::new(&config, now)),
        };
        let ration = Ration::new(config.limit);
        let mut engine = Self {
            me,
            config,
            chance,
            peers: BTreeMap::new(),
            verdicts,
            trust,
            swarm,
            side,
            jobs: BTreeMap::new(),
            next_job: 0,
            next_append: 0,
            alarms: Alarms::default(),
            ration,
            out: VecDeque::new(),
        };
        engine.recover(now, recovered);
        engine.obey(now);
        engine
    }

    fn recover(&mut self, now: Time, recovered: Recovered) {
        for held in &recovered.held {
            match held.complete {
                true => self.swarm.hold(held.content, now),
                false if self.config.role != Role::Operator => self.swarm.want(now, held.content),
                false => {}
            }
        }
        match self.config.role {
            Role::Agent => self.recover_agent(now, &recovered),
            Role::Origin => self.recover_origin(now, recovered),
            Role::Operator => self.recover_publisher(recovered.offers),
        }
        self.settle(now);
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Tick => {}
            Input::PeerUp { peer, role, seen, dialled } => self.peer_up(now, peer, role, seen, dialled),
            Input::PeerDown { peer, why } => self.peer_down(now, peer, &why),
            Input::Unreachable { address, .. } => self.unreachable(now, address),
            Input::Message { from, message } => self.message(now, from, message),
            Input::Piece { from, content, piece, buffer, len } => {
                self.heard(now, from);
                self.swarm.piece(now, from, content, piece, buffer, len);
            }
            Input::Sent { to, content, piece, bytes, .. } => {
                self.piece_left(now, to);
                if let Some(peer) = self.peers.get_mut(&to) {
                    peer.messages = peer.messages.saturating_sub(BY_PIECE);
                }
                self.swarm.sent(now, to, content, piece, bytes);
            }
            Input::Lost { content, piece } => self.swarm.lost(now, content, &[piece]),
            Input::Degraded { why } => self.degraded(now, why),
            Input::Done { job, result } => self.done(now, job, result),
            Input::Request { client, by, request } => self.request(now, client, by, request),
            Input::Appended { outcome, .. } => self.appended(now, outcome),
        }
        self.settle(now);
    }

    /// Gives the next output, if there is one.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to come back with [`Input::Tick`] at the latest, if nothing else comes in.
    pub fn deadline(&self) -> Option<Time> {
        let side = match &self.side {
            Side::Agent(agent) => agent.deadline(),
            Side::Publisher(publisher) => publisher.deadline(),
            Side::Origin(_) => None,
        };
        [self.swarm.deadline(), self.alarms.next(), side].into_iter().flatten().min()
    }

    /// How much is held, which must stay bounded.
    pub fn footprint(&self) -> Footprint {
        let (asked, queued, contents) = self.swarm.footprint();
        let appends = if let Side::Origin(origin) = &self.side { origin.catalog.proposals() } else { 0 };
        Footprint {
            connections: self.peers.len(),
            in_flight: asked + self.jobs.len() + appends,
            queued: queued + self.out.len(),
            contents,
        }
    }

    /// Lets every machine do what is due, and routes what they want until none wants anything.
    fn settle(&mut self, now: Time) {
        self.swarm.tick(now);
        while let Some(alarm) = self.alarms.due(now) {
            self.alarm(now, alarm);
        }
        self.tick_side(now);
        loop {
            if let Some(action) = self.swarm.poll() {
                self.swarm_action(now, action);
            } else if !self.side_action(now) {
                return;
            }
        }
    }

    fn alarm(&mut self, now: Time, alarm: Alarm) {
        match alarm {
            Alarm::Status(app) => self.send_status(now, &app),
            Alarm::Conduct(app) => self.conduct(now, &app),
            Alarm::Silence(peer) => self.silent(now, peer),
            Alarm::Audit(request) => self.finish_audit(request),
            Alarm::Unheard(app) => self.tell_unheard(now, &app),
            Alarm::Idle => self.rests(now),
            Alarm::Allot => self.allot(now),
            Alarm::Road(target) => self.look_at_road(now, target),
            Alarm::Patches(app) => self.patches_are_late(now, &app),
        }
    }

    // Outputs.

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn send(&mut self, to: NodeId, message: Message) {
        // Whoever speaks an older protocol is not told where it is to blame others; it asks them for what it lacks.
        let (has_new_root, brings) = (self.trust.version() > 1, self.config.role == Role::Operator);
        let is_understood = |peer: &Peer| match &message {
            Message::Lags { .. } => peer.knows_limits(),
            Message::Roots { .. } => peer.knows_roots(),
            Message::Revoked { .. } => peer.is_known && peer.speaks >= wire::REVOKED,
            Message::Follows { .. } => peer.says_what_it_follows(),
            Message::Offers { .. } if brings => peer.takes_patches(),
            Message::Reads { .. } | Message::Offers { .. } | Message::Wishes { .. } => peer.knows_patches(),
            Message::Steps { .. } => peer.knows_steps(),
            // What is signed under a root that it cannot follow, it would take for forged.
            Message::Announce { .. } | Message::Command { .. } | Message::Pass { .. } => {
                !has_new_root || peer.knows_roots()
            }
            _ => true,
        };
        if self.peers.get(&to).is_some_and(is_understood) {
            self.out.push_back(Output::Send { to, message });
        }
    }

    fn answer(&mut self, client: ClientId, answer: Answer) {
        self.out.push_back(Output::Answer { client, answer });
    }

    fn refuse(&mut self, client: ClientId, refusal: Refusal) {
        self.answer(client, Answer::Refused(refusal));
    }

    fn job(&mut self, errand: Errand, job: Job) {
        self.next_job += 1;
        let id = JobId(self.next_job);
        self.jobs.insert(id, errand);
        self.out.push_back(Output::Job { id, job });
    }

    fn append_id(&mut self) -> AppendId {
        self.next_append += 1;
        AppendId(self.next_append)
    }

    fn close(&mut self, now: Time, peer: NodeId, why: CloseReason) {
        if self.peers.contains_key(&peer) {
            self.out.push_back(Output::Close { peer, why });
            self.peer_gone(now, peer);
        }
    }

    fn heard(&mut self, now: Time, from: NodeId) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.heard = now;
        }
    }

    /// Asks a peer that has been silent whether it is there, and leaves one that did not answer: a machine that lost its power
    /// or its network says no goodbye, and its connection would stay up for ever.
    fn silent(&mut self, now: Time, peer: NodeId) {
        let Some(heard) = self.peers.get(&peer).map(|peer| peer.heard) else { return };
        let silence = now.since(heard);
        if silence >= SILENT && self.has_been_asked(peer) {
            return self.close(now, peer, CloseReason::Silent);
        }
        if silence >= PING {
            self.send(peer, Message::Ping);
        }
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.asked = if silence >= PING { peer.asked + 1 } else { 0 };
        }
        let next = if silence >= PING { now.after(PING / 2) } else { heard.after(PING) };
        self.alarms.set(Alarm::Silence(peer), next);
    }

    /// Whether a peer was asked before whether it is there, and had time to answer: after this machine was asleep everyone
    /// seems to have been silent.
    fn has_been_asked(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.asked >= ASKED)
    }

    /// Leaves a peer that did what no honest peer does. Origins may come back: without one there is no way on.
    fn convict(&mut self, now: Time, peer: NodeId, of: Misbehaviour) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        self.event(Event::Convicted { peer, of });
        if self.peers.get(&peer).is_some_and(|peer| peer.role == Role::Agent) {
            self.pass_verdict(peer, of);
        }
        self.close(now, peer, CloseReason::Misbehaved(of));
    }

    /// Bans an agent, and has that remembered if it is to last. When it cannot be written now the ban lasts for this life, and the
    /// next one writes both.
    fn pass_verdict(&mut self, peer: NodeId, of: Misbehaviour) {
        if let Some(peers) = self.verdicts.pass(peer, of) {
            self.job(Errand::Shun, Job::Shun { peers });
        }
    }

    fn distrust(&mut self, from: NodeId, why: String) {
        self.event(Event::Distrusted { from, why });
    }

    // Peers.

    fn peer_up(&mut self, now: Time, peer: NodeId, role: Role, seen: IpAddr, _dialled: Option<SocketAddr>) {
        if self.peers.contains_key(&peer) {
            self.peer_gone(now, peer);
        }
        self.peers.insert(peer, Peer::new(role, seen, now));
        self.alarms.set(Alarm::Silence(peer), now.after(PING));
        if let Some(of) = self.verdicts.on(peer) {
            self.event(Event::Shunned { peer });
            return self.close(now, peer, CloseReason::Misbehaved(of));
        }
        if self.is_revoked(peer, role) {
            return self.close(now, peer, CloseReason::Revoked);
        }
        let hello = Message::Hello(Box::new(self.hello()));
        self.send(peer, hello);
        self.side_up(now, peer, role);
    }

    fn hello(&self) -> Hello {
        Hello {
            versions: self.config.speaks,
            fleet: self.config.fleet,
            software: self.config.software.clone(),
            name: self.config.name.clone(),
            labels: self.config.labels.clone(),
            listen: self.config.listen,
            floors: self.trust.floors(),
        }
    }

    fn peer_down(&mut self, now: Time, peer: NodeId, _why: &DownReason) {
        if self.peers.contains_key(&peer) {
            self.peer_gone(now, peer);
        }
    }

    /// A connection is over, whoever ended it.
    fn peer_gone(&mut self, now: Time, peer: NodeId) {
        let Some(gone) = self.peers.remove(&peer) else { return };
        self.alarms.clear(&Alarm::Silence(peer));
        self.pieces_lost(now, gone.leaving);
        if gone.is_known {
            self.event(Event::PeerDown { peer });
        }
        self.swarm.peer_down(now, peer);
        self.side_gone(now, peer, gone.role);
    }

    /// The first message of a peer: whether it is one of ours, and speaks as we do.
    fn greeted(&mut self, now: Time, from: NodeId, hello: &Hello) {
        if hello.fleet != self.config.fleet {
            return self.close(now, from, CloseReason::OtherFleet);
        }
        let (oldest, newest) = self.config.speaks;
        if hello.versions.0 > newest || hello.versions.1 < oldest {
            return self.close(now, from, CloseReason::OtherProtocol { theirs: hello.versions });
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        (peer.is_known, peer.speaks) = (true, hello.versions.1.min(newest));
        self.event(Event::PeerUp { peer: from });
        if !self.waits_for_its_root(from) {
            self.welcome(now, from, hello, FIRST_ROOT);
        } else if let Some(peer) = self.peers.get_mut(&from) {
            peer.greeting = Some(Box::new(hello.clone()));
        }
    }

    /// A peer has said all that is to be known of it before it is told anything; `follows` is the version of its trust root.
    fn welcome(&mut self, now: Time, from: NodeId, hello: &Hello, follows: u64) {
        let Some(role) = self.peers.get(&from).map(|peer| peer.role) else { return };
        self.swarm.peer_up(now, from, role);
        self.side_ready(now, from, role, hello, follows);
    }

    fn message(&mut self, now: Time, from: NodeId, message: Message) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.heard = now;
        if now.since(peer.second) >= Duration::from_secs(1) {
            (peer.second, peer.messages) = (now, 0);
        }
        peer.messages += 1;
        let (role, is_known) = (peer.role, peer.is_known);
        // What it reads it says before what it follows.
        let greeting = peer.greeting.take_if(|_| !matches!(message, Message::Reads { .. }));
        if peer.messages > FLOOD {
            return self.convict(now, from, Misbehaviour::Flood);
        }
        if let Some(hello) = greeting {
            // Whoever says something else instead is told all roots.
            let follows = if let Message::Follows { root } = message { root } else { FIRST_ROOT };
            self.welcome(now, from, &hello, follows);
        }
        match message {
            Message::Hello(hello) if !is_known => self.greeted(now, from, &hello),
            Message::Hello(_) => {}
            _ if !is_known => self.convict(now, from, Misbehaviour::NotItsRole),
            Message::Ping => self.send(from, Message::Pong),
            Message::Pong => {}
            Message::Have { content, .. } => {
                self.swarm.message(now, from, message);
                self.look_for_slow(now, from, content);
            }
            Message::Holding { .. }
            | Message::Want { .. }
            | Message::Cancel { .. }
            | Message::Cannot { .. }
            | Message::Leave { .. } => self.swarm.message(now, from, message),
            _ if self.may_say(role, &message) => self.side_message(now, from, message),
            _ => self.convict(now, from, Misbehaviour::NotItsRole),
        }
    }

    /// Whether a peer of that role may send a node of ours this.
    fn may_say(&self, role: Role, message: &Message) -> bool {
        match message {
            Message::Roots { .. } | Message::Follows { .. } => {
                matches!((role, self.config.role), (Role::Origin, Role::Agent) | (Role::Agent, Role::Origin))
            }
            Message::Introduce { .. }
            | Message::Revoked { .. }
            | Message::Relay { .. }
            | Message::Announce { .. }
            | Message::Command { .. }
            | Message::Head { .. }
            | Message::Limit(_)
            | Message::Pace { .. }
            | Message::Verify { .. }
            | Message::Repair { .. }
            | Message::Steps { .. } => role == Role::Origin && self.config.role == Role::Agent,
            Message::Offers { .. } => {
                matches!((role, self.config.role), (Role::Origin, Role::Agent) | (Role::Operator, Role::Origin))
            }
            Message::Reads { .. }
            | Message::Verified { .. }
            | Message::Status(_)
            | Message::Sends { .. }
            | Message::Lags { .. } => role == Role::Agent && self.config.role == Role::Origin,
            // Whoever says it, its operators' signatures are what counts.
            Message::Pass { .. } => role != Role::Operator && self.config.role == Role::Agent,
            Message::Submit { .. } | Message::Wishes { .. } => {
                role == Role::Operator && self.config.role == Role::Origin
            }
            Message::Verdict { .. } => role == Role::Origin && self.config.role == Role::Operator,
            _ => true,
        }
    }

    // The swarm.

    fn swarm_action(&mut self, now: Time, action: swarm::Action) {
        match action {
            swarm::Action::Send(to, message) => self.send(to, message),
            swarm::Action::SendPiece(to, content, piece) => {
                self.piece_leaves(now, to);
                self.out.push_back(Output::SendPiece { to, content, piece });
            }
            swarm::Action::Drop(buffer) => self.out.push_back(Output::Drop { buffer }),
            swarm::Action::Open(content) => self.job(Errand::Open(content.id()), Job::Open { content }),
            swarm::Action::Write(content, piece, buffer) => {
                self.job(Errand::Write(content, piece), Job::Write { content, piece, buffer });
            }
            swarm::Action::Index(content) => self.job(Errand::Index(content), Job::Index { content }),
            swarm::Action::Complete(content) => self.job(Errand::Complete(content), Job::Complete { content }),
            swarm::Action::Convict(peer, of) => self.convict(now, peer, of),
            swarm::Action::Event(event) => self.event(event),
            news => self.content_news(now, news),
        }
    }

    // Jobs.

    fn done(&mut self, now: Time, job: JobId, result: Result<JobDone, JobError>) {
        let Some(errand) = self.jobs.remove(&job) else { return };
        if let Err(error) = &result
            && let Some(why) = in_words(error)
        {
            self.event(Event::JobFailed { why });
        }
        match errand {
            Errand::Open(content) => {
                let opened = result.map(|done| match done {
                    JobDone::Opened { have, indexed, complete } => (have, indexed, complete),
                    _ => (content::Bitmap::empty(0), false, false),
                });
                self.swarm.opened(now, content, opened);
                self.apply_patch(now, content);
            }
            Errand::Write(content, piece) => self.swarm.written(now, content, piece, result.map(drop)),
            Errand::Index(content) => {
                let indexed = result.map(|done| match done {
                    JobDone::Indexed { have } => have,
                    _ => content::Bitmap::empty(0),
                });
                self.swarm.indexed(now, content, indexed);
            }
            Errand::Diff { base, target } => self.diffed(now, base, target, result),
            Errand::Patch(target) => self.patched(now, target, result),
            Errand::Complete(content) => self.swarm.completed(now, content, result.map(drop)),
            Errand::Verify { request, from, release } => self.verified(now, (request, from, release), result),
            Errand::Journal(client) => self.answer(client, journal_read(result)),
            Errand::Collect | Errand::Shun | Errand::Root => {}
            errand => self.deployed(now, errand, result.map(drop)),
        }
    }

    // Clients.

    fn request(&mut self, now: Time, client: ClientId, by: Option<NodeId>, request: Request) {
        match &self.side {
            Side::Origin(_) => self.request_of_member(now, client, by, request),
            Side::Publisher(_) => self.request_of_publisher(client, request),
            // What this very program asks it is told; members ask origins.
            Side::Agent(_) if by.is_none() && request == Request::Status => {
                let status = self.own_status(now);
                self.answer(client, Answer::Status(Box::new(status)));
            }
            Side::Agent(_) => {
                let why = "this node is an agent; ask the origin of its datacenter".to_owned();
                self.refuse(client, Refusal::NotAllowed(why));
            }
        }
    }
}

/// What a client is answered that asked for a journal.
fn journal_read(result: Result<JobDone, JobError>) -> Answer {
    match result {
        Ok(JobDone::Journal { entries, stands }) => Answer::Journal { entries, stands },
        Ok(_) => Answer::Refused(Refusal::Failed("the journal cannot be read".to_owned())),
        Err(error) => {
            Answer::Refused(Refusal::Failed(error.words().unwrap_or("the journal cannot be read").to_owned()))
        }
    }
}

/// What people are told of a failed job; what repairs itself is told elsewhere.
fn in_words(error: &JobError) -> Option<String> {
    error.words().map(str::to_owned)
}

/// An address as others can use it: an unspecified one is where the node is seen.
fn reachable(listen: SocketAddr, seen: IpAddr) -> SocketAddr {
    if listen.ip().is_unspecified() { SocketAddr::new(seen, listen.port()) } else { listen }
}

/// The release of a signed document that was believed before.
fn release_of(signed: &Signed) -> Option<(ReleaseId, content::Release)> {
    let release = content::Release::decode(&signed.payload).ok()?;
    Some((ReleaseId(signed.payload_digest()), release))
}
