//! The driver: the one task that owns an engine, and carries what goes in and out of its doors.
//!
//! It never waits for a socket, a disk or a client: whatever takes time runs elsewhere and comes back through the inbox. So
//! an input is handled within microseconds, and the engine's clock is never behind.

mod brake;
mod host;
mod inbox;
mod link;
mod patching;
mod shelf;
mod tally;
mod throttle;
mod writers;

pub use host::Broken;
pub(crate) use host::{Append, Deeds, Host, StoreHost};
pub(crate) use inbox::{Connected, INBOX, Inbox, Incoming};
pub(crate) use link::Pairing;
pub(crate) use shelf::Shelf;
pub(crate) use tally::{Acted, Moved, Tally};

use crate::freshness::Contact;
use crate::identity::wall_clock;
use crate::tls::Tls;
use content::fact::Noted;
use content::{ContentId, Digested, NodeId, PieceNo, Role};
use engine::Engine;
use engine::door::{
    Answer, BufferId, ClientId, Config, DownReason, Event, Input, Job, Output, Recovered, Request, Time,
};
use inbox::{FromLink, LinkId, NewLink, Payload};
use link::{Link, Means};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::ReadError;
use throttle::Throttles;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use writers::Write;

/// Two pairs that were dialled within this time of each other were dialled at once: the lower node's is kept.
const AT_ONCE: Duration = Duration::from_secs(10);
/// How many inputs are handled before those who watch are told.
const BATCH: usize = 64;

/// The node stops, or has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub(crate) struct Gone;

/// How everyone else reaches a driver.
#[derive(Clone)]
pub(crate) struct Handle {
    /// The way in.
    pub(crate) inbox: Inbox,
    /// Rises when something may have changed.
    pub(crate) changed: watch::Receiver<u64>,
    /// What happens.
    pub(crate) events: broadcast::Sender<Event>,
    /// Payload bytes that were sent to anyone.
    pub(crate) sent: Arc<AtomicU64>,
    /// For whom it asks; `None` for the node itself.
    pub(crate) by: Option<NodeId>,
}

impl Handle {
    /// Asks the engine.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, Gone> {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(Incoming::Ask { request, by: self.by, answer }).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }

    /// Comes back when the driver has taken what was before this: as long as it turns.
    pub(crate) async fn turn(&self) -> Result<Connected, Gone> {
        let (turned, waiting) = oneshot::channel();
        self.inbox.send(Incoming::Turn { turned }).await.map_err(|_| Gone)?;
        waiting.await.map_err(|_| Gone)
    }

    /// What was counted until now, and what time it is on the engine's clock.
    pub(crate) async fn tally(&self) -> Result<(Tally, Time), Gone> {
        let (to, told) = oneshot::channel();
        self.inbox.send(Incoming::Tally(to)).await.map_err(|_| Gone)?;
        told.await.map_err(|_| Gone)
    }

    /// Reads a page or a piece, verified, past the engine: payload bytes are none of its business.
    pub(crate) async fn read(&self, content: ContentId, piece: PieceNo) -> Result<Result<Payload, ReadError>, Gone> {
        let (bytes, read) = oneshot::channel();
        self.inbox.send(Incoming::Read { content, piece, bytes }).await.map_err(|_| Gone)?;
        read.await.map_err(|_| Gone)
    }
}

/// What a driver is made of.
pub(crate) struct Parts {
    /// Who.
    pub(crate) me: NodeId,
    /// How the engine behaves.
    pub(crate) config: Config,
    /// What it remembers.
    pub(crate) recovered: Recovered,
    /// Its side of TLS.
    pub(crate) tls: Arc<Tls>,
    /// Where payloads come from.
    pub(crate) shelf: Shelf,
    /// Who does jobs.
    pub(crate) host: Host,
    /// Its inbox, both ends.
    pub(crate) inbox: (Inbox, mpsc::Receiver<Incoming>),
    /// Who wants to know whether an origin is there.
    pub(crate) contact: Arc<Contact>,
    /// The CAs that the trust root in force names, for whoever lets members in.
    pub(crate) rooted: watch::Sender<Vec<Vec<u8>>>,
}

/// A client that waits for its answer.
struct Waiting {
    by: Option<NodeId>,
    answer: oneshot::Sender<Answer>,
}

/// The task that owns an engine.
pub(crate) struct Driver {
    me: NodeId,
    engine: Engine,
    start: Instant,
    inbox: mpsc::Receiver<Incoming>,
    to_self: Inbox,
    /// Inputs that handling an output made; they go in before anything from outside.
    follow_ups: VecDeque<Input>,
    tls: Arc<Tls>,
    shelf: Shelf,
    host: Host,
    links: BTreeMap<NodeId, Link>,
    throttles: Arc<Throttles>,
    next_link: u64,
    buffers: HashMap<BufferId, Digested>,
    next_buffer: u64,
    clients: HashMap<ClientId, Waiting>,
    next_client: u64,
    changed: watch::Sender<u64>,
    events: broadcast::Sender<Event>,
    sent: Arc<AtomicU64>,
    contact: Arc<Contact>,
    rooted: watch::Sender<Vec<Vec<u8>>>,
    tally: Tally,
}

impl Driver {
    /// A driver, and the handle by which it is reached once it runs.
    pub(crate) fn new(parts: Parts) -> (Self, Handle) {
        let (changed, watched) = watch::channel(0);
        let (events, _) = broadcast::channel(1024);
        let sent = Arc::new(AtomicU64::new(0));
        let seed = u64::from_le_bytes(crate::identity::random());
        let (to_self, inbox) = parts.inbox;
        let handle =
            Handle { inbox: to_self.clone(), changed: watched, events: events.clone(), sent: sent.clone(), by: None };
        let engine = Engine::new(parts.me, parts.config, parts.recovered, seed, Time(0));
        let driver = Self {
            me: parts.me,
            engine,
            start: Instant::now(),
            inbox,
            to_self,
            follow_ups: VecDeque::new(),
            tls: parts.tls,
            shelf: parts.shelf,
            host: parts.host,
            links: BTreeMap::new(),
            throttles: Arc::default(),
            next_link: 0,
            buffers: HashMap::new(),
            next_buffer: 0,
            clients: HashMap::new(),
            next_client: 0,
            changed,
            events,
            sent,
            contact: parts.contact,
            rooted: parts.rooted,
            tally: Tally::default(),
        };
        (driver, handle)
    }

    /// Runs until it is told to stop, then closes connections, jobs and the store in that order.
    pub(crate) async fn run(mut self) {
        self.handle(Input::Tick);
        while self.turn().await {
            self.changed.send_modify(|version| *version += 1);
        }
        self.stop().await;
    }

    /// Waits for something, takes it and a few more that came meanwhile. False when it is time to stop.
    async fn turn(&mut self) -> bool {
        let first = match self.engine.deadline() {
            Some(deadline) => {
                let at = self.start + Duration::from_nanos(deadline.0);
                tokio::select! {
                    biased;
                    incoming = self.inbox.recv() => incoming,
                    () = tokio::time::sleep_until(at.into()) => Some(Incoming::input(Input::Tick)),
                }
            }
            None => self.inbox.recv().await,
        };
        let mut next = first;
        for _ in 0..BATCH {
            match next.take() {
                None | Some(Incoming::Stop) => return false,
                Some(incoming) => self.take(incoming),
            }
            next = match self.inbox.try_recv() {
                Ok(more) => Some(more),
                Err(_) => return true,
            };
        }
        match next {
            Some(Incoming::Stop) => false,
            Some(last) => {
                self.take(last);
                true
            }
            None => true,
        }
    }

    async fn stop(mut self) {
        // First of all, so that no task waits for room in it.
        self.inbox.close();
        let closing: JoinSet<()> = std::mem::take(&mut self.links).into_values().map(Link::close).collect();
        closing.join_all().await;
        self.host.close().await;
        self.shelf.release().await;
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Input(input) => self.handle(*input),
            Incoming::Inputs(inputs) => inputs.into_iter().for_each(|input| self.handle(input)),
            Incoming::Linked(new) => self.linked(*new),
            Incoming::From { link, peer, what } => self.link_says(link, peer, what),
            Incoming::Ask { request, by, answer } => {
                let client = ClientId(self.next_client);
                self.next_client += 1;
                self.clients.insert(client, Waiting { by, answer });
                self.handle(Input::Request { client, by, request });
            }
            Incoming::Read { content, piece, bytes } => {
                let shelf = self.shelf.clone();
                // Whoever asked may have gone.
                tokio::spawn(async move { drop(bytes.send(shelf.get(content, piece).await)) });
            }
            // Whoever asked may have gone.
            Incoming::Turn { turned } => drop(turned.send(self.connected())),
            Incoming::Tally(to) => drop(to.send((self.tally.clone(), self.now()))),
            Incoming::Stop => {}
        }
    }

    fn connected(&self) -> Connected {
        let origins = self.links.values().filter(|link| link.role == Role::Origin).count();
        Connected { origins, others: self.links.len() - origins }
    }

    /// Gives the engine an input and does what it wants, and so on until it is content.
    fn handle(&mut self, input: Input) {
        self.follow_ups.push_back(input);
        while let Some(input) = self.follow_ups.pop_front() {
            let now = self.now();
            self.tally.came(now, &input);
            self.engine.handle(now, input);
            while let Some(output) = self.engine.poll() {
                self.tally.went(now, &output);
                self.carry_out(output);
            }
        }
    }

    fn linked(&mut self, new: NewLink) {
        let peer = new.peer;
        if peer.node == self.me {
            return self.undialled(&new, "that is this very node");
        }
        if self.links.get(&peer.node).is_some_and(|old| !self.is_better(old, &new)) {
            return self.undialled(&new, "it has dialled us at the same time");
        }
        let (role, seen, dialled) = (peer.role, new.seen, new.dialled);
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let means = Means { shelf: self.shelf.clone(), throttles: self.throttles.clone(), tls: self.tls.clone() };
        let link = Link::start(id, new, means, self.to_self.clone());
        self.links.insert(peer.node, link);
        self.handle(Input::PeerUp { peer: peer.node, role, seen, dialled });
    }

    /// Whether a new pair replaces the present one. When both sides dialled at once, both must keep the same pair.
    fn is_better(&self, old: &Link, new: &NewLink) -> bool {
        let dialled_by = |ours: bool| if ours { self.me } else { new.peer.node };
        let (old_by, new_by) = (dialled_by(old.dialled), dialled_by(new.dialled.is_some()));
        old.since.elapsed() > AT_ONCE || new_by <= old_by
    }

    fn undialled(&mut self, new: &NewLink, why: &str) {
        if let Some(address) = new.dialled {
            self.handle(Input::Unreachable { address, why: why.to_owned() });
        }
    }

    fn link_says(&mut self, link: LinkId, peer: NodeId, what: FromLink) {
        if self.links.get(&peer).is_none_or(|present| present.id != link) {
            return;
        }
        match what {
            FromLink::Message(message) => self.handle(Input::Message { from: peer, message: *message }),
            FromLink::Payload { content, piece, bytes } => {
                let (buffer, len) = (BufferId(self.next_buffer), bytes.bytes().len() as u32);
                self.next_buffer += 1;
                self.buffers.insert(buffer, bytes);
                self.handle(Input::Piece { from: peer, content, piece, buffer, len });
            }
            FromLink::Sent { content, piece, bytes, took } => {
                self.sent.fetch_add(u64::from(bytes), Ordering::Relaxed);
                self.handle(Input::Sent { to: peer, content, piece, bytes, took });
            }
            FromLink::Down(why) => self.down(peer, why),
        }
    }

    fn down(&mut self, peer: NodeId, why: DownReason) {
        if let Some(link) = self.links.remove(&peer) {
            let (received, sent) = (&link.traffic.received, &link.traffic.sent);
            let (received, sent) = (received.load(Ordering::Relaxed), sent.load(Ordering::Relaxed));
            match &why {
                DownReason::Broken(why) => {
                    tracing::info!(peer = %peer.0.short(), received, sent, why, "a connection broke")
                }
                _ => tracing::debug!(peer = %peer.0.short(), received, sent, ?why, "a peer is gone"),
            }
            self.handle(Input::PeerDown { peer, why });
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Connect { address, expect } => self.dial(address, expect),
            Output::Close { peer, why } => {
                tracing::debug!(peer = %peer.0.short(), ?why, "closing");
                if self.links.remove(&peer).is_some() {
                    self.follow_ups.push_back(Input::PeerDown { peer, why: DownReason::Asked });
                }
            }
            Output::Send { to, message } => self.send(to, message),
            Output::SendPiece { to, content, piece } => {
                if !self.links.get(&to).is_some_and(|link| link.send_piece(content, piece)) {
                    self.follow_ups.push_back(Input::Sent { to, content, piece, bytes: 0, took: Duration::ZERO });
                }
            }
            Output::Drop { buffer } => drop(self.buffers.remove(&buffer)),
            Output::Job { id, job: Job::Write { content, piece, buffer } } => {
                let payload = self.buffers.remove(&buffer).expect("a buffer is named once, by Write or by Drop");
                self.host.write(Write { job: id, content, piece, payload });
            }
            Output::Job { id, job } => self.host.run(id, job),
            Output::Answer { client, answer } => {
                if let Some(waiting) = self.clients.remove(&client) {
                    // A client that has gone away needs no answer.
                    waiting.answer.send(answer).ok();
                }
            }
            Output::Append { id, journal, expect, facts, client } => {
                let by = client.and_then(|client| self.clients.get(&client)).and_then(|waiting| waiting.by);
                let append = Append { id, journal, expect, facts, noted: Noted { written: wall_clock(), by } };
                self.host.append(append);
            }
            Output::Limit(allowed) => {
                tracing::debug!(?allowed, "limits");
                self.throttles.sending.set(allowed.sending);
                self.throttles.receiving.set(allowed.receiving);
            }
            Output::Event(event) => {
                if let Event::PeerUp { peer } = &event {
                    self.in_contact(*peer);
                }
                self.event(event);
            }
        }
    }

    /// A peer has greeted: while it is an origin's, its connection is a contact.
    fn in_contact(&mut self, peer: NodeId) {
        if let Some(link) = self.links.get_mut(&peer).filter(|link| link.role == Role::Origin) {
            link.contact = Some(self.contact.hold());
        }
    }

    fn send(&mut self, to: NodeId, message: engine::door::Message) {
        let Some(link) = self.links.get(&to) else { return };
        if !link.send(message) {
            self.links.remove(&to);
            let why = DownReason::Broken("it does not read what it is sent".to_owned());
            self.follow_ups.push_back(Input::PeerDown { peer: to, why });
        }
    }

    fn dial(&self, address: std::net::SocketAddr, expect: Option<NodeId>) {
        let (tls, inbox) = (self.tls.clone(), self.to_self.clone());
        tokio::spawn(async move {
            let incoming = match link::dial(&tls, address, expect).await {
                Ok(new) => Incoming::Linked(Box::new(new)),
                Err(error) => {
                    tracing::debug!(%address, %error, "no peer answers there");
                    Incoming::input(Input::Unreachable { address, why: error.to_string() })
                }
            };
            // A driver that is gone dials nobody.
            inbox.send(incoming).await.ok();
        });
    }

    fn event(&self, event: Event) {
        match &event {
            Event::Convicted { .. } | Event::Distrusted { .. } | Event::Quarantined { .. } => {
                tracing::warn!(?event, "trust");
            }
            Event::JobFailed { .. }
            | Event::OriginSilent
            | Event::PlainRoad { .. }
            | Event::PatchFailed { .. }
            | Event::StaleOrder { .. }
            | Event::RootBehind { .. }
            | Event::RootsHanded { .. }
            | Event::TooOld { .. } => {
                tracing::warn!(?event, "trouble");
            }
            // It may come as often as it likes.
            Event::Shunned { .. } => tracing::debug!(?event, "trust"),
            Event::Road { .. } | Event::PatchMade { .. } | Event::Patched { .. } => tracing::info!(?event, "patches"),
            Event::Phase { .. } => tracing::info!(?event, "phase"),
            Event::Rooted { version, authorities } => {
                tracing::info!(version, "a trust root is in force");
                self.rooted.send_if_modified(|named| std::mem::replace(named, authorities.clone()) != *authorities);
            }
            Event::Mending { .. }
            | Event::Benched { .. }
            | Event::PeerUp { .. }
            | Event::PeerDown { .. }
            | Event::Late { .. }
            | Event::Reached { .. }
            | Event::Appended { .. } => {
                tracing::debug!(?event, "event");
            }
        }
        // Nobody may be listening.
        self.events.send(event).ok();
    }
}
