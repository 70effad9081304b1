//! What to fetch from whom, and what to send to whom: the fast path of a broadcast and its repair.
//!
//! * A **source** (an origin) *pushes*: it sends each piece once, to one neighbour, before it repeats any; only when every
//!   piece has been out does it say what it holds and serve like everyone else.
//! * Everyone else *pulls*: a piece is asked for from one holder at a time (the reservation), the next before this one ends,
//!   at random among the rarer of what the holder has. When a deadline from measured rates passes it is asked for elsewhere.
//! * Pages come first, a page when its parent is here; data pieces when the host has read the manifest.
//!
//! It knows nothing of releases and orders. Invariants: a piece is reserved by at most one sender; a piece is handed to the
//! host at most once at a time; what a peer says is a hint until the host verified the payload.

mod aside;
mod asking;
mod kept;
mod needy;
mod news;
mod partner;
mod push;
mod relay;
mod serving;
mod slow;
#[cfg(test)]
mod tests;
mod transfer;

use crate::alarm::Alarms;
use crate::chance::Chance;
use crate::door::{BufferId, Event, JobError, Message, Misbehaviour, STRIPES, Stripe, Time};
use asking::{Answers, Asking};
use content::{Bitmap, ContentId, ContentSpec, NodeId, PieceNo, Role};
use partner::Partner;
pub(crate) use relay::{Blame, Place};
use serving::Serving;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use transfer::{Stage, Transfer};

/// How a swarm behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// What this node is: an origin pushes, an operator only serves.
    pub(crate) role: Role,
    /// Payload bytes that may be under way to this node.
    pub(crate) window_bytes: u64,
    /// How long a piece may take while no rate is known.
    pub(crate) patience: Duration,
}

/// What the swarm wants done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Send(NodeId, Message),
    SendPiece(NodeId, ContentId, PieceNo),
    Drop(BufferId),
    Open(ContentSpec),
    Write(ContentId, PieceNo, BufferId),
    Index(ContentId),
    Complete(ContentId),
    /// The first payload of a content came.
    FirstByte(ContentId),
    /// The last payload is verified.
    LastByte(ContentId),
    /// The content is durable.
    Completed(ContentId),
    /// The content is not whole any more.
    Incomplete(ContentId),
    /// What is in the way of a content, or that nothing is any more.
    Trouble(ContentId, Option<String>),
    /// The content can never be had here.
    Refused(ContentId, String),
    Convict(NodeId, Misbehaviour),
    Event(Event),
}

/// How far a content is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    pub(crate) have: u32,
    pub(crate) total: u32,
    pub(crate) bytes: u64,
    pub(crate) from_origin: u64,
    pub(crate) from_peers: u64,
    pub(crate) had: u64,
    pub(crate) sent: u64,
}

/// What has its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// A peer must have delivered something.
    Due(NodeId),
    /// A peer may be asked again.
    Unblock(NodeId),
    /// A peer's sending may be stuck.
    Stuck(NodeId),
    /// Tell neighbours what came.
    TellNear(ContentId),
    /// Tell sources what came.
    TellSource(ContentId),
    /// A source looks after what it pushed.
    LookAfter(ContentId),
    /// A source says what it holds, all of which has been out.
    TellAll(ContentId),
    /// A stripe may have fallen silent.
    Behind(ContentId),
    /// Something should have come.
    Stalled(ContentId),
    /// Neighbours that were announced should have come.
    Expected,
    /// Try to open it again.
    Retry(ContentId),
}

/// A peer that is up.
#[derive(Debug)]
struct Peer {
    role: Role,
    asking: Asking,
    serving: Serving,
}

/// The swarm of one node: all its contents and all its peers.
#[derive(Debug)]
pub(crate) struct Swarm {
    settings: Settings,
    chance: Chance,
    peers: BTreeMap<NodeId, Box<Peer>>,
    /// Those of them that only serve.
    publishers: BTreeSet<NodeId>,
    contents: BTreeMap<ContentId, Box<Transfer>>,
    alarms: Alarms<Alarm>,
    /// The given order, as it was told last.
    stripes: Option<[Stripe; STRIPES]>,
    /// How long news for a source are collected when it has said so.
    pace: Duration,
    /// How long everyone takes to answer.
    answers: Answers,
    /// Whether neighbours are on their way that may be of more help than a source.
    expects: bool,
    /// Pieces that are asked for and have not come, from all peers, and the bytes they may have.
    window: u64,
    /// Peers that wait to be sent something.
    ring: VecDeque<NodeId>,
    /// Counts what was sent, to mix what is passed on with what was asked for.
    turn: u32,
    /// Pieces that are given to the driver for sending to peers that are not stuck.
    sending: usize,
    out: VecDeque<Action>,
}

impl Swarm {
    pub(crate) fn new(settings: Settings, chance: Chance) -> Self {
        Self {
            settings,
            chance,
            peers: BTreeMap::new(),
            publishers: BTreeSet::new(),
            contents: BTreeMap::new(),
            alarms: Alarms::default(),
            stripes: None,
            pace: Duration::ZERO,
            answers: Answers::default(),
            expects: false,
            window: 0,
            ring: VecDeque::new(),
            turn: 0,
            sending: 0,
            out: VecDeque::new(),
        }
    }

    /// From now on so many payload bytes may be under way to this node.
    pub(crate) fn set_window(&mut self, bytes: u64) {
        self.settings.window_bytes = bytes;
    }

    /// From now on news for a source are collected for so long.
    pub(crate) fn set_pace(&mut self, now: Time, pace: Duration) {
        if std::mem::replace(&mut self.pace, pace) > pace {
            self.contents.keys().for_each(|content| self.alarms.sooner(Alarm::TellSource(*content), now));
        }
    }

    /// The next thing to do.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    /// When to call [`Self::tick`] at the latest.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.alarms.next()
    }

    /// Takes over a content that is durable here.
    pub(crate) fn hold(&mut self, spec: ContentSpec, now: Time) {
        let mut transfer = Box::new(Transfer::new(spec, self.settings.role, now));
        transfer.order = self.given_order(now);
        transfer.take_over(Bitmap::full(spec.total()), Stage::Complete);
        self.contents.insert(spec.id(), transfer);
    }

    /// Wants a content; answered by [`Action::Completed`] when it is durable.
    pub(crate) fn want(&mut self, now: Time, spec: ContentSpec) {
        let id = spec.id();
        match self.contents.get_mut(&id) {
            Some(transfer) if transfer.stage == Stage::Complete => self.out.push_back(Action::Completed(id)),
            Some(transfer) if transfer.stage == Stage::Failed => {
                transfer.stage = Stage::Opening;
                self.out.push_back(Action::Open(transfer.spec));
            }
            Some(_) => {}
            None => {
                let mut transfer = Box::new(Transfer::new(spec, self.settings.role, now));
                transfer.order = self.given_order(now);
                self.contents.insert(id, transfer);
                self.out.push_back(Action::Open(spec));
            }
        }
    }

    /// Leaves a content that nobody needs here any more.
    pub(crate) fn forget(&mut self, now: Time, content: ContentId) {
        let Some(transfer) = self.contents.remove(&content) else { return };
        for peer in transfer.partners.keys() {
            self.out.push_back(Action::Send(*peer, Message::Leave { content }));
        }
        transfer.parked.iter().for_each(|parked| self.out.push_back(Action::Drop(parked.buffer)));
        for peer in self.peers.values_mut() {
            let gone = peer.asking.forget(content);
            self.window -= gone as u64 * transfer.piece_bytes;
            peer.serving.forget(content);
        }
        for alarm in [
            Alarm::TellNear(content),
            Alarm::TellSource(content),
            Alarm::LookAfter(content),
            Alarm::TellAll(content),
            Alarm::Behind(content),
            Alarm::Stalled(content),
            Alarm::Retry(content),
        ] {
            self.alarms.clear(&alarm);
        }
        self.ask_all(now);
    }

    /// The contents that are known here.
    pub(crate) fn contents(&self) -> impl Iterator<Item = ContentId> + '_ {
        self.contents.keys().copied()
    }

    /// Whether a content is durable here.
    pub(crate) fn is_complete(&self, content: ContentId) -> bool {
        self.contents.get(&content).is_some_and(|transfer| transfer.stage == Stage::Complete)
    }

    pub(crate) fn progress(&self, content: ContentId) -> Option<Progress> {
        self.contents.get(&content).map(|transfer| transfer.progress())
    }

    /// Pieces that are asked for, pieces that wait to be sent, and contents: what must stay bounded.
    pub(crate) fn footprint(&self) -> (usize, usize, usize) {
        let asked = self.peers.values().map(|peer| peer.asking.len()).sum();
        let queued = self.peers.values().map(|peer| peer.serving.len()).sum();
        (asked, queued, self.contents.len())
    }

    // Peers.

    /// A peer is here and wants to know what we hold.
    pub(crate) fn peer_up(&mut self, now: Time, peer: NodeId, role: Role) {
        self.peer_down(now, peer);
        let asking = Asking::new(role, self.settings.patience);
        self.peers.insert(peer, Box::new(Peer { role, asking, serving: Serving::default() }));
        if role == Role::Operator {
            self.publishers.insert(peer);
        }
        if role == Role::Agent && self.expects {
            self.alarms.sooner(Alarm::Expected, now.after(GREETING));
        }
        let open: Vec<ContentId> = self.contents.iter().filter(|(_, t)| t.is_open()).map(|(id, _)| *id).collect();
        for content in open {
            if role == Role::Origin {
                self.meet_sources(now, content);
            }
            self.tell_holding(content, peer);
        }
    }

    /// Neighbours are on their way to one that has none: until the first is here and has said what it holds, a source is not asked
    /// for what it may have. A crowd that comes at once would all begin there.
    pub(crate) fn expect(&mut self, now: Time) {
        if self.is_alone() {
            self.expects = true;
            self.alarms.ensure(Alarm::Expected, now.after(self.settings.patience));
        }
    }

    /// No neighbour is on its way any more.
    pub(crate) fn expect_no_more(&mut self, now: Time) {
        if self.expects && self.is_alone() {
            self.alarms.sooner(Alarm::Expected, now);
        }
    }

    /// Whoever was on its way has come, or does not.
    fn expected(&mut self, now: Time) {
        self.expects = false;
        if self.is_alone() {
            let contents: Vec<ContentId> = self.contents().collect();
            contents.into_iter().for_each(|content| self.take_plain_road(now, content, ALONE));
        }
        self.ask_all(now);
    }

    /// Whether this is an agent that reaches no other.
    fn is_alone(&self) -> bool {
        self.settings.role == Role::Agent && !self.peers.values().any(|peer| peer.role == Role::Agent)
    }

    /// Whether this node is a source of so many that it tells only those near the roots what it holds while it gives it out: nothing,
    /// as the others conclude.
    fn is_quiet(&self) -> bool {
        self.settings.role == Role::Origin && self.stripes.is_some() && self.peers.len() > crate::FEW
    }

    /// An origin gives out what it has, and says what that is when all has been out: until then it counts as one that holds nothing.
    /// One that tells its agents to collect their news has so many that it says even that only to those near the roots.
    fn meet_sources(&mut self, now: Time, content: ContentId) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if self.settings.role != Role::Agent || self.pace.is_zero() || !transfer.order.is_known() {
            return;
        }
        let sources = self.peers.iter().filter(|(_, peer)| peer.role == Role::Origin).map(|(node, _)| *node);
        let unmet: Vec<NodeId> = sources.filter(|node| !transfer.partners.contains_key(node)).collect();
        for source in unmet {
            let nothing = Bitmap::empty(transfer.total);
            transfer.put_partner(now, source, Partner::new(Role::Origin, nothing, false, 0));
        }
    }

    /// Whether a source has given something of a content to someone by itself lately.
    pub(crate) fn gave_lately(&self, now: Time, content: ContentId) -> bool {
        self.contents.get(&content).is_some_and(|transfer| transfer.gave_lately(now))
    }

    /// Whether a peer has said that a content is of interest to it.
    pub(crate) fn has_met(&self, content: ContentId, peer: NodeId) -> bool {
        self.contents.get(&content).is_some_and(|transfer| transfer.partners.contains_key(&peer))
    }

    /// Those to whom pieces are passed on.
    pub(crate) fn after(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.stripes.iter().flatten().flat_map(|stripe| stripe.to.iter().copied())
    }

    /// A peer is gone, and all that was under way with it.
    pub(crate) fn peer_down(&mut self, now: Time, peer: NodeId) {
        let Some(mut gone) = self.peers.remove(&peer) else { return };
        self.publishers.remove(&peer);
        self.sending -= gone.serving.counted();
        self.ring.retain(|other| *other != peer);
        for alarm in [Alarm::Due(peer), Alarm::Unblock(peer), Alarm::Stuck(peer)] {
            self.alarms.clear(&alarm);
        }
        for (content, piece) in gone.asking.take_all() {
            self.release(content, piece);
        }
        let ids: Vec<ContentId> = self.contents.keys().copied().collect();
        ids.into_iter().for_each(|content| self.part(content, peer));
        self.watch_all(now);
        self.ask_all(now);
        self.send_more(now);
    }

    /// Takes a partner out of a content.
    fn part(&mut self, content: ContentId, peer: NodeId) {
        if let Some(transfer) = self.contents.get_mut(&content) {
            transfer.remove_partner(peer);
        }
    }

    /// Says to one peer what we hold of a content.
    fn tell_holding(&mut self, content: ContentId, peer: NodeId) {
        let Some(role) = self.peers.get(&peer).map(|peer| peer.role) else { return };
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if !self.settings.may_meet(role) {
            return;
        }
        let (have, wants) = transfer.say(role);
        transfer.unmet.remove(&peer);
        transfer.told_all(peer);
        self.out.push_back(Action::Send(peer, Message::Holding { content, have, wants }));
    }

    fn tell_all(&mut self, content: ContentId) {
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.tell_holding(content, peer));
    }

    fn tell_publishers(&mut self, content: ContentId) {
        let publishers: Vec<NodeId> = self.publishers.iter().copied().collect();
        publishers.into_iter().for_each(|peer| self.tell_holding(content, peer));
    }

    /// Says to all what we hold of a content: at once to those who need it to pass it on, and to the others with the next news.
    /// A dozen neighbours each who say so at the same moment would cost a small content more than its bytes.
    fn tell_all_soon(&mut self, now: Time, content: ContentId) {
        if self.is_quiet() && self.contents.get(&content).is_some_and(|transfer| transfer.push.is_some()) {
            return self.tell_publishers(content);
        }
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        let has_pace = !self.pace.is_zero();
        let can_wait = |peer: &NodeId, known: &Peer| match known.role {
            Role::Agent => !transfer.order.is_near(*peer),
            Role::Origin => has_pace,
            Role::Operator => false,
        };
        let is_agent = self.settings.role == Role::Agent && transfer.order.is_known();
        let unmet: BTreeSet<NodeId> = self
            .peers
            .iter()
            .filter(|(peer, known)| is_agent && can_wait(peer, known))
            .map(|(peer, _)| *peer)
            .collect();
        if !unmet.is_empty() {
            self.alarms.sooner(Alarm::TellNear(content), now.after(INTRODUCED));
        }
        let at_once: Vec<NodeId> = self.peers.keys().filter(|peer| !unmet.contains(*peer)).copied().collect();
        transfer.unmet.extend(unmet);
        at_once.into_iter().for_each(|peer| self.tell_holding(content, peer));
        if has_pace {
            self.tell_sources_in_turn(now, content);
        }
    }

    // What peers say.

    /// A message of a swarm; others are not for it.
    pub(crate) fn message(&mut self, now: Time, from: NodeId, message: Message) {
        if !self.peers.get(&from).is_some_and(|peer| self.settings.may_meet(peer.role)) {
            return;
        }
        match message {
            Message::Holding { content, have, wants } => self.holding(now, from, content, have, wants),
            Message::Have { content, pieces } => self.have(now, from, content, &pieces),
            Message::Want { content, pieces } => self.wanted(now, from, content, &pieces),
            Message::Cancel { content, piece } => {
                self.cancelled(now, from, content, piece);
            }
            Message::Cannot { content, piece } => self.cannot(now, from, content, piece),
            Message::Leave { content } => {
                self.release_all(content, from);
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.serving.forget(content);
                }
                self.part(content, from);
                self.ask_all(now);
            }
            _ => {}
        }
    }

    fn holding(&mut self, now: Time, from: NodeId, content: ContentId, have: Option<Bitmap>, wants: bool) {
        let Some(role) = self.peers.get(&from).map(|peer| peer.role) else { return };
        let is_quiet = self.is_quiet() && role == Role::Agent;
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        let have = have.unwrap_or_else(|| Bitmap::full(transfer.total));
        if have.len() != transfer.total {
            return self.convict(from, Misbehaviour::NoSuchPiece);
        }
        let known = transfer.partners.contains_key(&from) || !transfer.is_open();
        let lost = transfer.put_partner(now, from, Partner::new(role, have, wants, self.chance.next()));
        // Whoever lost something has not heard of it from those that knew it there.
        let is_told_soon = transfer.unmet.contains(&from);
        let goes_without_saying = is_quiet && transfer.push.is_some() && !transfer.order.is_near(from);
        if (!known && !is_told_soon && !goes_without_saying) || lost {
            self.tell_holding(content, from);
        }
        self.catch_up(content, from);
        self.watch(now, content, false);
        self.refresh_push(now, content);
        self.ask(now, from);
        self.send_more(now);
    }

    fn have(&mut self, now: Time, from: NodeId, content: ContentId, pieces: &[PieceNo]) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if pieces.iter().any(|piece| piece.0 >= transfer.total) {
            return self.convict(from, Misbehaviour::NoSuchPiece);
        }
        pieces.iter().for_each(|piece| transfer.partner_has(now, from, *piece));
        if let Some(partner) = transfer.partners.get_mut(&from) {
            partner.has_said(now);
        }
        if transfer.wants() {
            self.alarms.ensure(Alarm::Stalled(content), now.after(self.settings.patience));
        }
        self.watch(now, content, false);
        self.refresh_push(now, content);
        self.ask(now, from);
        self.send_more(now);
    }

    fn wanted(&mut self, now: Time, from: NodeId, content: ContentId, pieces: &[PieceNo]) {
        if pieces.len() > serving::QUEUED {
            return self.convict(from, Misbehaviour::Flood);
        }
        let total = self.contents.get(&content).map(|transfer| transfer.total);
        let pages = self.contents.get(&content).map_or(0, |transfer| transfer.pages);
        if total.is_some_and(|total| pieces.iter().any(|piece| piece.0 >= total)) {
            return self.convict(from, Misbehaviour::NoSuchPiece);
        }
        for &piece in pieces {
            let transfer = self.contents.get(&content);
            let is_here = transfer.is_some_and(|transfer| transfer.have.contains(piece));
            let has_it = transfer.and_then(|of| of.partners.get(&from)).is_some_and(|other| other.have.contains(piece));
            let Some(serving) = self.peers.get_mut(&from).map(|peer| &mut peer.serving) else { return };
            // Whoever has had its share gets no answer: it is late then, and asks less often.
            if is_here && !serving.may_have(now, content, (total.unwrap_or(0), has_it), self.settings.patience) {
                continue;
            }
            let queued = is_here && serving.queue(content, piece, piece.0 < pages);
            if !queued {
                self.out.push_back(Action::Send(from, Message::Cannot { content, piece }));
            }
        }
        self.line_up(from);
        self.send_more(now);
        self.own_up(content, from);
        // Whoever has to ask should know what else it could ask for.
        let pieces = self.contents.get_mut(&content).map(|transfer| transfer.take_news(from)).unwrap_or_default();
        if !pieces.is_empty() {
            self.out.push_back(Action::Send(from, Message::Have { content, pieces }));
        }
    }

    /// Whoever asks a source while it still pushes gets nothing from others: it is told what is here, and what comes.
    fn own_up(&mut self, content: ContentId, to: NodeId) {
        let Some(transfer) = self.contents.get_mut(&content).filter(|transfer| transfer.push.is_some()) else { return };
        let is_all = transfer.have.is_full();
        let is_agent = transfer.partners.get(&to).is_some_and(|partner| partner.role == Role::Agent);
        if !is_agent || !transfer.askers.insert(to) {
            return;
        }
        let (have, wants) = (Some(transfer.have.clone()).filter(|_| !is_all), transfer.say(Role::Agent).1);
        self.out.push_back(Action::Send(to, Message::Holding { content, have, wants }));
    }

    fn convict(&mut self, peer: NodeId, of: Misbehaviour) {
        self.out.push_back(Action::Convict(peer, of));
    }

    // What the host says.

    /// What of a content was here already.
    pub(crate) fn opened(&mut self, now: Time, content: ContentId, result: Result<(Bitmap, bool, bool), JobError>) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if transfer.stage != Stage::Opening {
            return;
        }
        match result {
            Ok((have, indexed, complete)) => {
                transfer.opened(have, indexed, complete);
                self.out.push_back(Action::Trouble(content, None));
                self.alarms.set(Alarm::Stalled(content), now.after(self.settings.patience));
                self.unpark(now, content);
                self.go_on(now, content);
                self.meet_sources(now, content);
                self.tell_all_soon(now, content);
                self.refresh_push(now, content);
                self.watch(now, content, true);
                self.ask_all(now);
                if !self.expects && self.is_alone() {
                    self.take_plain_road(now, content, ALONE);
                }
                self.send_more(now);
            }
            Err(error) => self.hold_up(now, content, error),
        }
    }

    /// How a write went.
    pub(crate) fn written(&mut self, now: Time, content: ContentId, piece: PieceNo, result: Result<(), JobError>) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        let Some(from) = transfer.writing.remove(&piece) else { return };
        match result {
            Ok(()) => {
                transfer.tries = 0;
                transfer.add(piece);
                let is_page = piece.0 < transfer.pages;
                let given = self.pass_on(content, piece, from);
                self.spread(now, content, piece, &given);
                self.go_on(now, content);
                if is_page {
                    self.unpark(now, content);
                }
                self.refresh_push(now, content);
                self.send_more(now);
            }
            Err(JobError::Corrupt) => {
                transfer.offer(piece);
                self.convict(from, Misbehaviour::CorruptPiece);
                self.refuse_push(content, piece, from);
            }
            Err(error) => {
                transfer.offer(piece);
                self.refuse_push(content, piece, from);
                self.hold_up(now, content, error);
            }
        }
        self.ask_all(now);
    }

    /// How reading the manifest went.
    pub(crate) fn indexed(&mut self, now: Time, content: ContentId, result: Result<Bitmap, JobError>) {
        let Some(transfer) = self.contents.get_mut(&content).filter(|t| t.stage == Stage::Indexing) else { return };
        match result {
            Ok(have) => {
                transfer.indexed(have);
                // A source that pushes says to agents that it holds nothing, as before.
                let is_news = transfer.push.is_none();
                self.alarms.ensure(Alarm::Stalled(content), now.after(self.settings.patience));
                match is_news {
                    true => self.tell_all_soon(now, content),
                    false => self.tell_publishers(content),
                }
                self.unpark(now, content);
                self.go_on(now, content);
                self.refresh_push(now, content);
                self.ask_all(now);
                self.send_more(now);
            }
            Err(JobError::Corrupt) => {
                let why = "the manifest is not what was declared".to_owned();
                self.hold_up(now, content, JobError::Refused { why });
            }
            Err(error) => self.hold_up(now, content, error),
        }
    }

    /// How making it durable went.
    pub(crate) fn completed(&mut self, now: Time, content: ContentId, result: Result<(), JobError>) {
        let Some(transfer) = self.contents.get_mut(&content).filter(|t| t.stage == Stage::Completing) else { return };
        match result {
            Ok(()) => {
                transfer.stage = Stage::Complete;
                transfer.tries = 0;
                self.unpark(now, content);
                self.alarms.clear(&Alarm::Stalled(content));
                self.out.push_back(Action::Completed(content));
                self.refresh_push(now, content);
            }
            Err(error) => self.hold_up(now, content, error),
        }
    }

    /// A piece that we believed to have is not here or damaged.
    pub(crate) fn lost(&mut self, now: Time, content: ContentId, pieces: &[PieceNo]) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        let whole = transfer.stage == Stage::Complete;
        for &piece in pieces {
            if transfer.lose(piece) {
                self.out.push_back(Action::Event(Event::Quarantined { content, piece }));
            }
        }
        if whole {
            self.out.push_back(Action::Incomplete(content));
        }
        if self.settings.role != Role::Operator && transfer.is_open() {
            self.reopen(content);
        }
        self.ask_all(now);
    }

    fn reopen(&mut self, content: ContentId) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        transfer.stage = Stage::Opening;
        self.out.push_back(Action::Open(transfer.spec));
    }

    /// Does the host's next step of a content, if all for it is here.
    fn go_on(&mut self, now: Time, content: ContentId) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        match transfer.next_stage() {
            Some(Stage::Indexing) => self.out.push_back(Action::Index(content)),
            Some(Stage::Completing) => {
                self.out.push_back(Action::LastByte(content));
                self.out.push_back(Action::Complete(content));
                let is_in_order = transfer.order.is_known();
                match self.pace.is_zero() {
                    true => self.tell_sources(now, content),
                    false => self.tell_sources_in_turn(now, content),
                }
                match is_in_order {
                    true => self.alarms.sooner(Alarm::TellNear(content), now.after(transfer::TELL_RELAYED_APART)),
                    false => self.tell_near(now, content),
                }
            }
            Some(Stage::Complete) => self.out.push_back(Action::Completed(content)),
            _ => {}
        }
    }

    /// A job failed: tries again when that can help, and says so.
    fn hold_up(&mut self, now: Time, content: ContentId, error: JobError) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if transfer.stage == Stage::Failed {
            return;
        }
        // Writes that were under way together fail together: that is one failure, and one wait.
        transfer.tries += u32::from(transfer.stage != Stage::Paused);
        let again = match error {
            JobError::Missing { content: of, pieces } if of == content => {
                for piece in pieces {
                    transfer.lose(piece);
                }
                self.out.push_back(Action::Event(Event::JobFailed { why: "pieces are missing".to_owned() }));
                Some(Duration::from_millis(50))
            }
            JobError::Corrupt | JobError::Missing { .. } => Some(Duration::from_secs(1)),
            JobError::NoSpace { why } | JobError::Stuck { why } => {
                self.out.push_back(Action::Trouble(content, Some(why)));
                Some(Duration::from_secs(3 * u64::from(transfer.tries)).min(Duration::from_secs(30)))
            }
            JobError::Disk { why } if transfer.tries <= TRIES => {
                self.out.push_back(Action::Trouble(content, Some(why)));
                Some(Duration::from_millis(200 << transfer.tries.min(6)))
            }
            JobError::Disk { why } | JobError::Refused { why } => {
                self.out.push_back(Action::Refused(content, why));
                None
            }
        };
        transfer.stage = if again.is_some() { Stage::Paused } else { Stage::Failed };
        // What came too early may have to wait for long now: whoever sent it has it still.
        for parked in std::mem::take(&mut transfer.parked) {
            self.out.push_back(Action::Drop(parked.buffer));
        }
        match again {
            Some(wait) => self.alarms.set(Alarm::Retry(content), now.after(wait)),
            None => self.alarms.clear(&Alarm::Stalled(content)),
        }
    }

    // The clock.

    /// Does what has its time.
    pub(crate) fn tick(&mut self, now: Time) {
        while let Some(alarm) = self.alarms.due(now) {
            match alarm {
                Alarm::Due(peer) => self.late(now, peer),
                Alarm::Unblock(peer) => self.unblock(now, peer),
                Alarm::Stuck(peer) => self.stuck(now, peer),
                Alarm::TellNear(content) => self.tell_near(now, content),
                Alarm::TellSource(content) => self.tell_sources(now, content),
                Alarm::LookAfter(content) => self.look_after(now, content),
                Alarm::TellAll(content) => self.tell_all_late(now, content),
                Alarm::Behind(content) => self.watch(now, content, false),
                Alarm::Stalled(content) => self.stalled(now, content),
                Alarm::Expected => self.expected(now),
                Alarm::Retry(content) => {
                    let paused = self.contents.get(&content).is_some_and(|t| t.stage == Stage::Paused);
                    if paused {
                        self.reopen(content);
                    }
                }
            }
        }
    }

    // News of pieces.

    /// A piece is here: whoever lacks it and is not given it shall know soon.
    fn spread(&mut self, now: Time, content: ContentId, piece: PieceNo, given: &[NodeId]) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        let is_page = piece.0 < transfer.pages;
        let (near, source) = transfer.note_news(piece, given);
        if near {
            let due = transfer.news_due(now, is_page);
            self.alarms.sooner(Alarm::TellNear(content), due);
        }
        match source {
            0 => {}
            _ if !self.pace.is_zero() => self.tell_sources_in_turn(now, content),
            n if is_page || n >= TELL_SOURCE_PIECES => self.tell_sources(now, content),
            _ => {
                let settled = transfer.order.is_known() && transfer.have.count() >= transfer::SETTLED;
                let soon = if settled { TELL_SOURCE_SETTLED } else { TELL_SOURCE };
                self.alarms.ensure(Alarm::TellSource(content), now.after(soon));
            }
        }
        if self.alarms.is_due(&Alarm::TellNear(content), now) {
            self.tell_near(now, content);
        }
    }

    fn tell_near(&mut self, now: Time, content: ContentId) {
        self.alarms.clear(&Alarm::TellNear(content));
        if let Some(transfer) = self.contents.get_mut(&content) {
            (transfer.told, transfer.untold) = (now, 0);
        }
        self.meet(content, |role| role == Role::Agent);
        self.tell_news(content, |role| role == Role::Agent);
    }

    /// Those of some roles hear what is here at all.
    fn meet(&mut self, content: ContentId, whom: fn(Role) -> bool) {
        let Some(transfer) = self.contents.get(&content).filter(|transfer| !transfer.unmet.is_empty()) else { return };
        let is_meant = |peer: &&NodeId| self.peers.get(peer).is_some_and(|known| whom(known.role));
        let met: Vec<NodeId> = transfer.unmet.iter().filter(is_meant).copied().collect();
        met.into_iter().for_each(|peer| self.tell_holding(content, peer));
    }

    /// Tells sources at our turn: all that have a pace began at the same moment, so the first turn is drawn.
    fn tell_sources_in_turn(&mut self, now: Time, content: ContentId) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        let wait = match std::mem::replace(&mut transfer.has_turn, true) {
            true => self.pace,
            false => Duration::from_nanos(self.chance.below(self.pace.as_nanos().max(1) as usize) as u64),
        };
        self.alarms.ensure(Alarm::TellSource(content), now.after(wait));
    }

    fn tell_sources(&mut self, _now: Time, content: ContentId) {
        self.alarms.clear(&Alarm::TellSource(content));
        self.meet(content, |role| role != Role::Agent);
        self.tell_news(content, |role| role != Role::Agent);
    }

    fn tell_news(&mut self, content: ContentId, to: fn(Role) -> bool) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        let news = match transfer.push.is_some() {
            // A source that pushes has nothing to say to the others.
            true => {
                let askers: Vec<NodeId> = transfer.askers.iter().copied().collect();
                askers.into_iter().map(|peer| (peer, transfer.take_news(peer))).collect()
            }
            false => transfer.take_all_news(to),
        };
        let told = news.into_iter().filter(|(_, pieces)| !pieces.is_empty());
        self.out.extend(told.map(|(peer, pieces)| Action::Send(peer, Message::Have { content, pieces })));
    }
}

const ALONE: &str = "no neighbour can be reached";

/// How long neighbours that have just come may take to say what they hold.
const GREETING: Duration = Duration::from_millis(50);

/// How soon neighbours that pass on nothing to us, nor we to them, are told what is here at all.
const INTRODUCED: Duration = Duration::from_millis(100);
/// How often a disk may fail before a content is given up.
const TRIES: u32 = 5;
/// How long news for a source are collected, and how many at most; and when so many pieces are here that have come in order.
const TELL_SOURCE: Duration = Duration::from_millis(50);
const TELL_SOURCE_PIECES: usize = 64;
const TELL_SOURCE_SETTLED: Duration = Duration::from_millis(150);

impl Settings {
    /// Whether pieces go between this node and one of that role.
    fn may_meet(self, other: Role) -> bool {
        matches!(
            (self.role, other),
            (Role::Agent, Role::Agent | Role::Origin)
                | (Role::Origin, Role::Agent | Role::Operator)
                | (Role::Operator, Role::Origin)
        )
    }
}
