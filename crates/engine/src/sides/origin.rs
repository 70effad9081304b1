//! An origin: takes submissions, spreads them, orders them, conducts their rollouts, knows who is here.

use super::contents_of;
use super::pace::Paces;
use crate::catalog::{Catalog, Enrolment, Newest, Next, Proposal, Published, Settled, cut, is_of_fleet};
use crate::door::{
    Ahead, Allotment, Answer, AppStatus, ClientId, CloseReason, Config, Event, FleetStatus, Gate, Hello, Job, Message,
    NodeStatus, Output, Phase, Recovered, Refusal, Request, RolloutState, RolloutStatus, Submitted, Time, VerifyReport,
    Wish,
};
use crate::limits::{cap, lowest};
use crate::patches::Patches;
use crate::roads::Roads;
use crate::rollout::{Presence, Rollout, Step};
use crate::swarm::{Blame, Place};
use crate::tracker::{Changes, Charge, Domain, Proof, Tracker};
use crate::trust::{Believed, Instruction, Standing, Trust};
use crate::{Alarm, Engine, Errand, FEW, Reading, Side, reachable, swarm};
use content::fact::{JournalName, Position};
use content::{
    AppName, ContentId, ContentSpec, Directive, Fact, Labels, NodeId, OrderId, Rate, ReleaseId, Role, Selector, Signed,
    UnixTime,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// After a node was away for so long, a rollout waits for it no more.
const AWAY: Duration = Duration::from_secs(30);
/// How long changes are collected before a rollout is looked at again.
const CONDUCT: Duration = Duration::from_millis(5);
/// How soon it is looked at again when some nodes are to hear of their order later.
const CONDUCT_LATER: Duration = Duration::from_secs(1);
/// How often a rollout is looked at when nothing changes.
const CONDUCT_AGAIN: Duration = Duration::from_secs(5);
/// How long nodes may take to read what is live again.
const AUDIT: Duration = Duration::from_secs(600);

/// What an origin has that others have not.
pub(crate) struct OriginSide {
    pub(crate) catalog: Catalog,
    pub(super) tracker: Tracker,
    pub(super) paces: Paces,
    pub(super) rollouts: BTreeMap<AppName, Rollout>,
    /// What is being brought and not ordered yet.
    pub(super) spreads: BTreeMap<AppName, Spread>,
    pub(super) nodes: BTreeMap<NodeId, Known>,
    audits: BTreeMap<u64, Audit>,
    next_audit: u64,
    /// What each node was told last about the newest order of each application.
    told: BTreeMap<NodeId, BTreeMap<AppName, (OrderId, Gate)>>,
    /// The latest wall clock that anyone has shown.
    clock: UnixTime,
    /// Releases with which a rollout was finished.
    proven: BTreeSet<ReleaseId>,
    /// The newest version of the trust roots that an agent has handed over and that are still to be written.
    pub(super) handed: u64,
    /// Applications whose newest order is believed no more, because of a root that came back to this origin later than that order.
    pub(super) left_behind: BTreeSet<AppName>,
    /// Patches, and who waits for them.
    pub(super) patches: Patches,
    /// By which roads releases come here.
    pub(super) roads: Roads,
    /// Whether contents are to be collected when no patch is made any more.
    pub(super) collects_later: bool,
    /// What each publisher that is here said last of whether its order is worth patches.
    pub(super) wishes: BTreeMap<NodeId, (OrderId, Wish)>,
}

/// A submission on its way to being ordered.
pub(super) struct Spread {
    pub(super) release: Believed,
    pub(super) order: Instruction,
    /// Who brings it, while it is here.
    pub(super) publisher: Option<NodeId>,
    client: Option<ClientId>,
    is_proposed: bool,
}

/// A node, as this origin knows it in this life.
pub(super) struct Known {
    pub(super) role: Role,
    name: String,
    pub(super) labels: Labels,
    pub(super) software: String,
    pub(super) is_up: bool,
    since: Time,
    /// Whether it has pieces to send, as it says.
    pub(super) is_sending: bool,
    /// The limit that its machine has of its own.
    pub(super) own_limit: Option<Rate>,
    /// What it was told last of how fast it may move pieces.
    pub(super) allotted: Option<Allotment>,
    /// How long it was told to collect its news.
    pub(super) pace: Duration,
    apps: BTreeMap<AppName, AppStatus>,
    /// Epochs that it had accepted when it came and that this origin did not know.
    ahead: BTreeMap<AppName, u64>,
}

/// A `Verify` or `Repair` request that waits for its nodes.
struct Audit {
    app: AppName,
    reading: Reading,
    /// Who asked; whoever asks while nodes still read gets the same answer.
    clients: Vec<ClientId>,
    waiting: BTreeSet<NodeId>,
    found: BTreeMap<NodeId, Result<VerifyReport, String>>,
}

impl OriginSide {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            catalog: Catalog::new(config.datacenter.clone()),
            tracker: Tracker::new(config.neighbours, config.given_order),
            paces: Paces::default(),
            rollouts: BTreeMap::new(),
            spreads: BTreeMap::new(),
            nodes: BTreeMap::new(),
            audits: BTreeMap::new(),
            next_audit: 0,
            told: BTreeMap::new(),
            clock: UnixTime(0),
            proven: BTreeSet::new(),
            handed: 0,
            left_behind: BTreeSet::new(),
            patches: Patches::default(),
            roads: Roads::new(&config.reads),
            collects_later: false,
            wishes: BTreeMap::new(),
        }
    }

    /// Of which applications agents that are here have accepted newer orders than are known.
    fn ahead(&self) -> Vec<Ahead> {
        let mut all: BTreeMap<AppName, (u64, u32)> = BTreeMap::new();
        for known in self.nodes.values().filter(|known| known.is_up) {
            for (app, epoch) in self.catalog.unknown_epochs(&known.ahead) {
                let (highest, agents) = all.entry(app).or_default();
                (*highest, *agents) = (epoch.max(*highest), *agents + 1);
            }
        }
        all.into_iter().map(|(app, (epoch, agents))| Ahead { app, epoch, agents }).collect()
    }

    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Ordered { order: signed } => {
                let id = OrderId(signed.payload_digest());
                // The same order with more signatures is the same order, and its rollout goes on.
                let is_known = |order: &content::Order| self.rollouts.get(&order.app).is_some_and(|of| of.id() == id);
                if let Ok(order) = content::Order::decode(&signed.payload)
                    && !is_known(&order)
                {
                    self.clock = self.clock.max(order.created);
                    self.rollouts.insert(order.app.clone(), Rollout::new(id, order));
                }
            }
            Fact::WaveOpened { app, .. }
            | Fact::Awaited { app, .. }
            | Fact::Halted { app, .. }
            | Fact::FellBack { app, .. }
            | Fact::Directed { app, .. }
            | Fact::Finished { app, .. } => {
                if let Some(rollout) = self.rollouts.get_mut(app) {
                    rollout.learn(fact);
                    self.proven.extend(rollout.proven());
                }
            }
            Fact::Enrolled { node, name, role, labels, .. } => {
                let known = self.nodes.entry(*node).or_insert_with(|| Known::new(*role, Time(0)));
                (known.name, known.labels) = (name.clone(), labels.clone());
            }
            Fact::Revoked { node } => drop(self.nodes.remove(node)),
            Fact::Offered(offer) => self.patches.learn(*offer),
            _ => {}
        }
    }

    /// The rollout that a fact is about.
    fn rollout_of(&mut self, fact: &Fact) -> Option<&mut Rollout> {
        let (Fact::WaveOpened { app, .. }
        | Fact::Awaited { app, .. }
        | Fact::Halted { app, .. }
        | Fact::FellBack { app, .. }
        | Fact::Directed { app, .. }
        | Fact::Finished { app, .. }) = fact
        else {
            return None;
        };
        self.rollouts.get_mut(app)
    }

    /// Takes up the rollouts where the process before this one left them. A node that this one told to switch has begun at once, or when
    /// its command before the switch has ended; and who says nothing of it until then is away.
    fn revive_rollouts(&mut self, clock: UnixTime, now: Time) {
        for newest in self.catalog.orders() {
            let published = self.catalog.release(newest.order.release);
            let before = published.and_then(|published| published.release.instructions.hooks.before.as_ref());
            let settling = AWAY + Duration::from_millis(before.map_or(0, |hook| hook.timeout_ms.into()));
            if let Some(rollout) = self.rollouts.get_mut(&newest.order.app) {
                rollout.revive(clock, now, settling);
            }
        }
    }

    /// The agents that an order selects, and whether they can be waited for.
    fn selected(&self, now: Time, selector: &Selector) -> Vec<(NodeId, Presence)> {
        let agents =
            self.nodes.iter().filter(|(node, known)| known.role == Role::Agent && !self.catalog.is_revoked(**node));
        agents
            .filter(|(_, known)| selector.matches(&known.labels))
            .map(|(node, known)| {
                let is_away = !known.is_up && now.since(known.since) > AWAY;
                (*node, if is_away { Presence::Away } else { Presence::Expected })
            })
            .collect()
    }

    /// What must be here: of what is being brought, and of every application its newest order's release and fallback, and the last
    /// releases, and of those the last that did well, as many of each as nodes keep besides the live one.
    fn kept(&self) -> Vec<ContentSpec> {
        let mut kept: Vec<ContentSpec> =
            self.spreads.values().flat_map(|spread| contents_of(&spread.release.release)).collect();
        for newest in self.catalog.orders() {
            let ordered = [Some(newest.order.release), newest.order.fallback];
            let named = ordered.into_iter().flatten().filter_map(|id| self.catalog.release(id));
            let all: Vec<(ReleaseId, &Published)> = self.catalog.releases_of(&newest.order.app).collect();
            let keep = all.last().map_or(0, |(_, last)| usize::from(last.release.instructions.keep)) + 1;
            // What failed takes no place from what did well.
            let proven = all.iter().rev().filter(|(id, _)| self.proven.contains(id)).take(keep);
            let last = all.iter().rev().take(keep).chain(proven).map(|(_, one)| *one);
            kept.extend(named.chain(last).flat_map(|one| contents_of(&one.release)));
        }
        kept
    }

    /// What a node may do under the newest order. One that has halted and names nothing to go back to is left all the same where its release
    /// took a directory's place: that is what was there before.
    fn gate(&self, newest: &Newest, rollout: &Rollout, node: NodeId) -> Gate {
        let adopts = || self.catalog.release(newest.order.release).is_some_and(|of| of.release.instructions.adopts);
        match rollout.is_halted() && newest.order.fallback.is_none() && adopts() {
            true => Gate::FallBack,
            false => rollout.gate(node),
        }
    }

    pub(super) fn labels(&self, node: NodeId) -> &Labels {
        static NONE: Labels = Labels::new();
        self.nodes.get(&node).map_or(&NONE, |known| &known.labels)
    }

    /// The documents of what is being brought of an application, or was ordered last.
    pub(super) fn papers(&self, app: &AppName) -> Option<(Signed, Signed)> {
        if let Some(spread) = self.spreads.get(app) {
            return Some((spread.release.signed.clone(), spread.order.signed.clone()));
        }
        let newest = self.catalog.newest(app)?;
        Some((self.catalog.release(newest.order.release)?.signed.clone(), newest.signed.clone()))
    }

    /// Whether a node is to get what is being brought of an application, or was ordered last.
    pub(super) fn is_for(&self, app: &AppName, node: NodeId) -> bool {
        let ordered = || self.catalog.newest(app).map(|newest| &newest.order);
        let order = self.spreads.get(app).map(|spread| &spread.order.order).or_else(ordered);
        order.is_some_and(|order| order.selector.matches(self.labels(node)))
    }

    /// Whether a node has said that it knows a release, or was told of the order that names it.
    pub(super) fn has_heard(&self, app: &AppName, release: ReleaseId, node: NodeId) -> bool {
        let status = self.nodes.get(&node).and_then(|known| known.apps.get(app));
        let told = self.told.get(&node).and_then(|told| told.get(app)).map(|(id, _)| *id);
        let newest = self.catalog.newest(app).filter(|newest| newest.order.release == release);
        status.is_some_and(|status| status.release == release) || newest.is_some_and(|newest| told == Some(newest.id))
    }

    /// What people call a node.
    pub(super) fn name(&self, node: NodeId) -> String {
        self.nodes.get(&node).map_or_else(String::new, |known| known.name.clone())
    }

    pub(super) fn agents_up(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, known)| known.is_up && known.role == Role::Agent).map(|(node, _)| *node).collect()
    }
}

impl Known {
    fn new(role: Role, now: Time) -> Self {
        Self {
            role,
            name: String::new(),
            labels: Labels::new(),
            software: String::new(),
            is_up: false,
            since: now,
            is_sending: false,
            own_limit: None,
            allotted: None,
            pace: Duration::ZERO,
            apps: BTreeMap::new(),
            ahead: BTreeMap::new(),
        }
    }

    /// Which release of an application came to it last, in how many bytes, and how long that took from the first to the last.
    pub(super) fn came(&self, app: &AppName) -> Option<(ReleaseId, u64, Duration)> {
        let status = self.apps.get(app)?;
        let (first, last) = (status.timeline.first_byte?, status.timeline.last_byte?);
        Some((status.release, status.from_origin + status.from_peers, last.saturating_sub(first)))
    }

    /// The release of an application that it said last it runs.
    pub(super) fn live(&self, app: &AppName) -> Option<ReleaseId> {
        self.apps.get(app).and_then(|status| status.live)
    }
}

/// What is told of a node's news.
fn reached(node: NodeId, status: &AppStatus) -> Event {
    let after = match status.phase {
        Phase::Complete => status.timeline.complete,
        Phase::Staged => status.timeline.staged,
        Phase::Live => status.timeline.live,
        Phase::Confirmed => status.timeline.confirmed,
        Phase::Told | Phase::Fetching | Phase::Failed | Phase::FellBack => None,
    };
    Event::Reached { node, app: status.app.clone(), phase: status.phase, after }
}

/// The application whose rollout a fact moves.
fn app_of(fact: &Fact) -> Option<&AppName> {
    match fact {
        Fact::WaveOpened { app, .. }
        | Fact::Halted { app, .. }
        | Fact::FellBack { app, .. }
        | Fact::Directed { app, .. }
        | Fact::Finished { app, .. } => Some(app),
        _ => None,
    }
}

/// Whether a node in this phase does not do what this gate lets it do.
fn waits_for(phase: Phase, gate: Gate) -> bool {
    match gate {
        Gate::Hold => false,
        Gate::Open => phase == Phase::Staged,
        Gate::FallBack => matches!(phase, Phase::Staged | Phase::Live | Phase::Confirmed),
    }
}

impl Engine {
    pub(super) fn origin(&mut self) -> Option<&mut OriginSide> {
        if let Side::Origin(origin) = &mut self.side { Some(origin) } else { None }
    }

    pub(crate) fn recover_origin(&mut self, now: Time, recovered: Recovered) {
        let Recovered { facts, written, clock, .. } = recovered;
        for (journal, at, fact) in facts {
            let Side::Origin(origin) = &mut self.side else { return };
            let after = Position { index: at.index + 1, ..at };
            origin.catalog.replay(&journal, after, &fact);
            let then = written.get(&(journal, at));
            if let Some((then, rollout)) = then.zip(origin.rollout_of(&fact)) {
                rollout.recall(*then);
            }
            origin.learn(&fact);
            match &fact {
                Fact::Ordered { order } => Trust::remembered(order).iter().for_each(|order| self.trust.raise(order)),
                Fact::Rooted { root } => self.recall_root(root),
                _ => {}
            }
        }
        self.judge_what_stands();
        let Some(origin) = self.origin() else { return };
        origin.nodes.values_mut().for_each(|known| known.since = now);
        origin.revive_rollouts(clock, now);
        let apps: Vec<AppName> = origin.rollouts.keys().cloned().collect();
        let kept = origin.kept();
        apps.into_iter().for_each(|app| self.conduct_soon(now, app));
        self.kept_patches(&kept).into_iter().for_each(|patch| self.swarm.set_aside(patch));
        // Whoever begins anew with its journals alone gets back from the fleet what new machines, and a way back, need.
        kept.into_iter().for_each(|content| self.swarm.want(now, content));
    }

    // Who is here.

    pub(crate) fn node_ready(&mut self, now: Time, peer: NodeId, role: Role, (hello, follows): (&Hello, u64)) {
        let seen = self.peers.get(&peer).map(|peer| peer.seen);
        let Side::Origin(origin) = &mut self.side else { return };
        if role != Role::Agent {
            return;
        }
        let enrolled = origin.catalog.node(peer).cloned();
        let known = origin.nodes.entry(peer).or_insert_with(|| Known::new(role, now));
        (known.role, known.is_up, known.since, known.software) = (role, true, now, hello.software.clone());
        (known.is_sending, known.allotted, known.pace) = (false, None, Duration::ZERO);
        // Whoever has one says so.
        known.own_limit = None;
        known.ahead = origin.catalog.unknown_epochs(hello.floors.iter().map(|(app, epoch)| (app, epoch)));
        known.name = enrolled.as_ref().map_or_else(|| hello.name.clone(), |enrolled| enrolled.name.clone());
        known.labels = enrolled.map_or_else(|| hello.labels.clone(), |enrolled| enrolled.labels);
        let changes = match (hello.listen, seen) {
            (Some(listen), Some(seen)) => {
                let address = reachable(listen, seen);
                origin.tracker.join(peer, address, Domain::of(&known.labels, address.ip()), &mut self.chance)
            }
            _ => Changes::default(),
        };
        self.tell_roots(peer, follows);
        self.tell_revoked(peer);
        self.allot_anew(now, peer);
        self.arrange(now, changes);
        self.set_paces(Some(peer));
        self.bring_up_to_date(now, peer);
    }

    /// Tells whom it concerns who is to meet and who passes on to whom: introductions first, all of one node in one message.
    fn arrange(&mut self, now: Time, changes: Changes) {
        let mut by_node: BTreeMap<NodeId, Vec<crate::door::Introduction>> = BTreeMap::new();
        changes.introductions.into_iter().for_each(|(node, to)| by_node.entry(node).or_default().push(to));
        by_node.into_iter().for_each(|(node, peers)| self.send(node, Message::Introduce { peers }));
        if let Side::Origin(origin) = &mut self.side {
            origin.tracker.told(now, changes.stripes.iter().map(|(node, _)| *node));
        }
        changes.stripes.into_iter().for_each(|(node, stripes)| self.send(node, Message::Relay { stripes }));
        if let Some(roots) = self.origin().and_then(|origin| origin.tracker.roots()) {
            self.swarm.relay(now, roots);
        }
        self.set_paces(None);
    }

    /// Tells a node all that it needs to converge without an operator.
    fn bring_up_to_date(&mut self, now: Time, node: NodeId) {
        let Some(origin) = self.origin() else { return };
        let head = Message::Head { position: origin.catalog.position(&JournalName::Fleet), time: origin.clock };
        origin.told.remove(&node);
        let labels = origin.labels(node).clone();
        let apps: Vec<AppName> = origin.catalog.orders().map(|newest| newest.order.app.clone()).collect();
        let spreads = origin.spreads.values().filter(|spread| spread.order.order.selector.matches(&labels));
        let papers = |spread: &Spread| (spread.release.signed.clone(), spread.order.signed.clone());
        let spreading: Vec<(Signed, Signed)> = spreads.map(papers).collect();
        self.send(node, head);
        for app in apps {
            self.enlist(now, &app);
            // Whoever hears of its order later should fetch now.
            if !self.command(now, node, &app)
                && let Some(origin) = self.origin().filter(|origin| origin.is_for(&app, node))
                && let Some((release, order)) = origin.papers(&app)
            {
                self.announce(node, &release, &order);
            }
            self.conduct_soon(now, app);
        }
        spreading.iter().for_each(|(release, order)| self.announce(node, release, order));
    }

    pub(crate) fn node_gone(&mut self, now: Time, peer: NodeId) {
        let Side::Origin(origin) = &mut self.side else { return };
        if let Some(known) = origin.nodes.get_mut(&peer) {
            (known.is_up, known.since, known.is_sending) = (false, now, false);
        }
        let changes = origin.tracker.leave(peer, &mut self.chance);
        origin.told.remove(&peer);
        origin.wishes.remove(&peer);
        for spread in origin.spreads.values_mut().filter(|spread| spread.publisher == Some(peer)) {
            spread.publisher = None;
        }
        let apps: Vec<AppName> = origin.rollouts.keys().cloned().collect();
        let waiting: Vec<u64> = origin
            .audits
            .iter()
            .filter(|(_, audit)| audit.waiting.contains(&peer))
            .map(|(request, _)| *request)
            .collect();
        self.arrange(now, changes);
        self.allot_soon(now);
        apps.into_iter().for_each(|app| self.conduct_soon(now, app));
        waiting.into_iter().for_each(|request| self.audited(request, peer, Err("it went away".to_owned())));
    }

    pub(crate) fn message_to_origin(&mut self, now: Time, from: NodeId, message: Message) {
        match message {
            Message::Status(status) => self.reported(now, from, *status),
            Message::Reads { formats } => self.says_what_it_reads(from, formats),
            Message::Wishes { order, wish } => self.wishes(from, order, wish),
            Message::Offers { target, offers, .. } => self.brought(now, from, target, offers),
            Message::Submit { release, order } => self.submitted(now, from, &release, &order),
            Message::Verified { request, outcome } => self.audited(request, from, outcome),
            Message::Lags { content, stripe } => self.lags(now, from, content, usize::from(stripe)),
            Message::Sends { is_active, own } => self.sends(now, from, is_active, own),
            Message::Follows { root } => self.ask_for_roots(from, root),
            Message::Roots { roots } => self.handed_roots(now, from, roots),
            _ => {}
        }
    }

    /// A node has said what it got. Who is slow has no part in the given order for a while: it would hold up those after it.
    pub(crate) fn look_for_slow(&mut self, now: Time, node: NodeId, content: ContentId) {
        let Some(parents) = self.origin().and_then(|origin| origin.tracker.before(node)) else { return };
        if self.swarm.is_slow(now, content, node, parents) {
            let Side::Origin(origin) = &mut self.side else { return };
            let changes = origin.tracker.bench(now, node, Proof::Strong, Charge::TakesLittle);
            self.benched(now, node, changes);
        }
    }

    fn benched(&mut self, now: Time, node: NodeId, changes: Changes) {
        if !changes.stripes.is_empty() {
            self.event(Event::Benched { node });
        }
        self.arrange(now, changes);
    }

    /// A stripe does not come to a node from whom it should: whoever is to blame has no part in the given order for a while.
    fn lags(&mut self, now: Time, node: NodeId, content: ContentId, stripe: usize) {
        let Some(origin) = self.origin() else { return };
        let line = origin.tracker.line(stripe, node);
        let place = |node: &NodeId| Place {
            node: *node,
            before: origin.tracker.parents(*node),
            after: origin.tracker.children(*node, stripe),
        };
        let places: Vec<Place> = line.iter().map(place).collect();
        let Some(lame) = self.swarm.find_lame(now, content, stripe, &places) else { return };
        let Side::Origin(origin) = &mut self.side else { return };
        let (changes, lame) = match lame {
            Blame::Shown { lame, by } => (origin.tracker.blame(now, lame, by), lame),
            Blame::Said(lame) => (origin.tracker.accuse(now, lame, node, stripe), lame),
        };
        self.benched(now, lame, changes);
    }

    fn reported(&mut self, now: Time, from: NodeId, status: AppStatus) {
        let Some(origin) = self.origin() else { return };
        let app = status.app.clone();
        if origin.catalog.newest(&app).is_none() && !origin.spreads.contains_key(&app) {
            // Nothing of the kind was ever ordered here: a name that is kept for every word a peer says has no bound.
            return;
        }
        let mut is_news = false;
        if let Some(rollout) = origin.rollouts.get_mut(&app)
            && status.order == Some(rollout.id())
            && origin.catalog.newest(&app).is_some_and(|newest| newest.order.release == status.release)
        {
            is_news = rollout.report(from, status.phase);
            let told = origin.told.get_mut(&from).and_then(|told| told.get_mut(&app));
            if let Some((_, gate)) = told.filter(|(_, gate)| is_news && waits_for(status.phase, *gate)) {
                // It may have heard something older since (or lost what it heard): it is told once more.
                *gate = Gate::Hold;
            }
        }
        if matches!(status.phase, Phase::Complete | Phase::Staged | Phase::Live | Phase::Confirmed) {
            origin.tracker.has_all(now, from);
        }
        let (is_staged, reached) = (status.phase == Phase::Staged, reached(from, &status));
        if let Some(known) = origin.nodes.get_mut(&from) {
            known.apps.insert(app.clone(), status);
        }
        if is_staged {
            self.command(now, from, &app);
        }
        if is_news {
            self.event(reached);
            self.conduct_soon(now, app);
        }
    }

    // Submissions.

    fn submitted(&mut self, now: Time, from: NodeId, release: &Signed, order: &Signed) {
        let outcome = self.take_submission(now, from, release, order);
        self.send(from, Message::Verdict { order: OrderId(order.payload_digest()), outcome });
    }

    fn take_submission(
        &mut self,
        now: Time,
        publisher: NodeId,
        release: &Signed,
        order: &Signed,
    ) -> Result<Submitted, Refusal> {
        let believe = |why: crate::trust::Distrust| Refusal::NotBelieved(why.to_string());
        if let Some(why) = self.objects_to_publisher(publisher) {
            return Err(why);
        }
        let release = self.trust.release(release).map_err(believe)?;
        let order = self.trust.order(order).map_err(believe)?;
        if order.order.release != release.id || order.order.app != release.release.app {
            return Err(Refusal::Invalid("the order names another release than the one that came with it".to_owned()));
        }
        if self.check_order(&order, Some(&release.release))? {
            return Ok(Submitted::Ordered);
        }
        self.spread(now, release, order, publisher);
        Ok(Submitted::Spreading)
    }

    /// Whether an order stands already; or why it cannot be taken.
    fn check_order(&mut self, order: &Instruction, release: Option<&content::Release>) -> Result<bool, Refusal> {
        let Side::Origin(origin) = &self.side else { return Ok(false) };
        let app = &order.order.app;
        match self.trust.standing(order) {
            Standing::Same => return Ok(true),
            Standing::Next => self.require_readers(&order.order, release)?,
            Standing::Stale { floor } => {
                let newest = origin.catalog.newest(app);
                let by = newest.map_or_else(String::new, |newest| self.trust.signer(&newest.signed));
                let release = newest.and_then(|newest| origin.catalog.release(newest.order.release));
                let version = release.map_or("another release", |release| &release.release.version);
                let what = format!("epoch {floor} of {app} is now {version}, ordered by {by}");
                return Err(Refusal::Conflict { epoch: floor, by, what });
            }
            Standing::TooFar { most } => {
                let epoch = order.order.epoch;
                return Err(Refusal::Invalid(format!(
                    "epoch {epoch} is too high: {most} is the most that may come next"
                )));
            }
        }
        if let Some(other) = origin.spreads.get(app).filter(|s| s.order.id != order.id && s.is_alive()) {
            return Err(self.conflict_with(other));
        }
        if let Some(fallback) = order.order.fallback {
            let never = || Refusal::Unknown(format!("the fallback {fallback} was never published here"));
            self.require_believed(origin.catalog.release(fallback).ok_or_else(never)?)?;
        }
        Ok(false)
    }

    fn conflict_with(&self, other: &Spread) -> Refusal {
        let by = self.trust.signer(&other.order.signed);
        let progress = self.swarm.progress(other.release.release.content.id()).unwrap_or_default();
        let what = format!(
            "a deploy of {} {} by {by} is under way: {} of {} pieces are here",
            other.release.release.app, other.release.release.version, progress.have, progress.total
        );
        Refusal::Conflict { epoch: other.order.order.epoch, by, what }
    }

    /// Begins to fetch and to spread, or goes on with what was begun.
    fn spread(&mut self, now: Time, release: Believed, order: Instruction, publisher: NodeId) {
        let Some(origin) = self.origin() else { return };
        let app = release.release.app.clone();
        let contents: Vec<ContentSpec> = contents_of(&release.release).collect();
        origin.clock = origin.clock.max(order.order.created);
        if let Some(known) = origin.spreads.get_mut(&app).filter(|spread| spread.order.id == order.id) {
            known.publisher = Some(publisher);
        } else {
            let spread = Spread { release, order, publisher: Some(publisher), client: None, is_proposed: false };
            origin.spreads.insert(app.clone(), spread);
        }
        if let Side::Origin(origin) = &mut self.side {
            let changes = origin.tracker.begins(now);
            self.arrange(now, changes);
        }
        self.plan_patches(now, &app, publisher);
        contents.into_iter().for_each(|content| self.take_road(now, content));
        self.announce_to_all(now, &app);
        self.propose_if_whole(&app);
    }

    /// Orders what was brought once all of it is durable here.
    fn propose_if_whole(&mut self, app: &AppName) {
        let Side::Origin(origin) = &mut self.side else { return };
        let Some(spread) = origin.spreads.get_mut(app).filter(|spread| !spread.is_proposed) else { return };
        if !contents_of(&spread.release.release).all(|content| self.swarm.is_complete(content.id())) {
            return;
        }
        spread.is_proposed = true;
        let proposal = Proposal::Order {
            release: Some(spread.release.signed.clone()),
            order: spread.order.signed.clone(),
            id: spread.order.id,
            app: app.clone(),
            epoch: spread.order.order.epoch,
            client: None,
        };
        origin.catalog.propose(proposal);
    }

    pub(crate) fn content_news_of_origin(&mut self, now: Time, news: &swarm::Action) {
        match news {
            swarm::Action::Completed(content) => self.has_come(now, *content),
            swarm::Action::Refused(content, why) => self.patch_refused(now, *content, why),
            _ => {}
        }
        let Some(origin) = self.origin() else { return };
        let concerned = |content| {
            let needs = move |spread: &Spread| contents_of(&spread.release.release).any(|spec| spec.id() == content);
            move |(_, spread): &(&AppName, &Spread)| needs(spread)
        };
        match news {
            swarm::Action::Completed(content) => {
                let apps: Vec<AppName> =
                    origin.spreads.iter().filter(concerned(*content)).map(|(app, _)| app.clone()).collect();
                apps.iter().for_each(|app| self.propose_if_whole(app));
                self.make_patches_of(now, *content);
            }
            swarm::Action::Refused(content, why) => {
                let apps: Vec<AppName> =
                    origin.spreads.iter().filter(concerned(*content)).map(|(app, _)| app.clone()).collect();
                apps.iter().for_each(|app| self.end_spread(now, app, Err(Refusal::Failed(why.clone()))));
            }
            _ => {}
        }
    }

    /// A submission has its outcome: whoever waits is told.
    pub(super) fn end_spread(&mut self, now: Time, app: &AppName, outcome: Result<Submitted, Refusal>) {
        let Some(ended) = self.origin().and_then(|origin| origin.spreads.remove(app)) else { return };
        if outcome.is_err() {
            self.end_patches(now, app);
        }
        if let Some(publisher) = ended.publisher {
            self.send(publisher, Message::Verdict { order: ended.order.id, outcome });
        }
    }

    // The journal.

    pub(crate) fn catalog_next(&mut self, now: Time, next: Next) {
        match next {
            Next::Append { journal, expect, facts, client } => {
                let id = self.append_id();
                self.out.push_back(Output::Append { id, journal, expect, facts, client });
            }
            Next::Settled(settled) => self.settled(now, *settled),
        }
    }

    /// A proposal is true now, or refused.
    pub(crate) fn settled(&mut self, now: Time, settled: Settled) {
        if let Ok(facts) = &settled.outcome {
            self.learn_facts(now, facts);
        }
        let outcome = settled.outcome;
        match settled.proposal {
            Proposal::Order { order, id, app, epoch, client, .. } => {
                self.ordered(now, (order, id, app, epoch), client, outcome.map(drop))
            }
            Proposal::Forget { client, node } => {
                if outcome.is_ok() {
                    self.close(now, node, CloseReason::Revoked);
                }
                self.answer(client, outcome.map_or_else(Answer::Refused, |_| Answer::Noted));
            }
            Proposal::Limit { client, .. } => {
                self.allot(now);
                self.answer(client, outcome.map_or_else(Answer::Refused, |_| Answer::Noted));
            }
            Proposal::Root { client, root } => {
                if outcome.is_ok() {
                    self.follow_root(now, &root);
                }
                self.answer(client, outcome.map_or_else(Answer::Refused, |_| Answer::Noted));
            }
            Proposal::Handed { from, roots } => self.take_roots(now, from, &roots, outcome.is_ok()),
            Proposal::Countersign { client, .. } => {
                self.judge_what_stands();
                self.answer(client, outcome.map_or_else(Answer::Refused, |_| Answer::Noted));
            }
            Proposal::EnrolOperator { client, node, .. } => {
                let answer = outcome.map(drop).and_then(|()| self.enrolled(node));
                self.answer(client, answer.unwrap_or_else(Answer::Refused));
            }
            Proposal::Dismiss { client, .. } => {
                let gone = outcome.iter().flatten();
                let gone: Vec<NodeId> = gone
                    .filter_map(|fact| if let Fact::Revoked { node } = fact { Some(*node) } else { None })
                    .collect();
                gone.into_iter().for_each(|node| self.close(now, node, CloseReason::Revoked));
                self.answer(client, outcome.map_or_else(Answer::Refused, |_| Answer::Noted));
            }
            Proposal::Direct { client, fact } => {
                let Fact::Directed { app, directive } = &fact else { return };
                let rollout = self.origin().and_then(|origin| origin.rollouts.get(app));
                let is_heard = rollout.is_some_and(|rollout| rollout.has_heard(directive));
                let late = || Refusal::Invalid(format!("{app}: its rollout ended, or another began, meanwhile"));
                let outcome = outcome.and_then(|_| if is_heard { Ok(()) } else { Err(late()) });
                self.answer(client, outcome.map_or_else(Answer::Refused, |()| Answer::Noted));
                self.conduct(now, app);
            }
            Proposal::IssueToken { client, .. } | Proposal::RevokeToken { client, .. } => {
                self.answer(client, outcome.map_or_else(Answer::Refused, |_| Answer::Noted));
            }
            Proposal::Enrol { client, enrolment } => {
                let answer = outcome.map(drop).and_then(|()| self.enrolled(enrolment.node));
                self.answer(client, answer.unwrap_or_else(Answer::Refused));
            }
            Proposal::Progress { fact: Fact::Offered(offer) } => self.patch_offered(now, offer, outcome.is_ok()),
            Proposal::Progress { fact } => self.progressed(now, &fact, outcome.is_ok()),
        }
    }

    fn learn_facts(&mut self, now: Time, facts: &[Fact]) {
        for fact in facts {
            let Some(origin) = self.origin() else { return };
            if let Some(rollout) = origin.rollout_of(fact) {
                rollout.tick(now);
            }
            origin.learn(fact);
            if let Some(rollout) = app_of(fact).and_then(|app| origin.rollouts.get_mut(app)) {
                rollout.moves(now);
            }
        }
        if facts.is_empty() {
            return;
        }
        self.tell_of_revoked(facts);
        let journal = self.journal(is_of_fleet(&facts[0]));
        let Some(origin) = self.origin() else { return };
        let position = origin.catalog.position(&journal);
        self.event(Event::Appended { journal, position });
    }

    fn journal(&self, is_fleet: bool) -> JournalName {
        if is_fleet { JournalName::Fleet } else { JournalName::Datacenter(self.config.datacenter.clone()) }
    }

    fn enrolled(&mut self, node: NodeId) -> Result<Answer, Refusal> {
        let missing = || Refusal::Failed("the node is not enrolled".to_owned());
        let node = self.origin().and_then(|origin| origin.catalog.node(node)).ok_or_else(missing)?;
        Ok(Answer::Enrolled { role: node.role, name: node.name.clone(), labels: node.labels.clone() })
    }

    fn ordered(
        &mut self,
        now: Time,
        (signed, id, app, epoch): (Signed, OrderId, AppName, u64),
        client: Option<ClientId>,
        outcome: Result<(), Refusal>,
    ) {
        let outcome = outcome.map_err(|refusal| self.name_the_winner(&app, refusal));
        if outcome.is_ok()
            && let Some(instruction) = Trust::remembered(&signed)
        {
            self.trust.raise(&instruction);
            self.judge_what_stands();
        }
        let is_spread = self.origin().and_then(|o| o.spreads.get(&app)).is_some_and(|spread| spread.order.id == id);
        if is_spread {
            self.end_spread(now, &app, outcome.clone().map(|()| Submitted::Ordered));
        }
        if let Some(client) = client {
            let answer = outcome.map_or_else(Answer::Refused, |()| Answer::Ordered { order: id, epoch });
            self.answer(client, answer);
        }
        self.conduct(now, &app);
    }

    fn name_the_winner(&mut self, app: &AppName, refusal: Refusal) -> Refusal {
        let Side::Origin(origin) = &self.side else { return refusal };
        match (refusal, origin.catalog.newest(app)) {
            (Refusal::Conflict { epoch, what, .. }, Some(newest)) => {
                Refusal::Conflict { epoch, by: self.trust.signer(&newest.signed), what }
            }
            (refusal, _) => refusal,
        }
    }

    // Rollouts.

    fn conduct_soon(&mut self, now: Time, app: AppName) {
        self.alarms.sooner(Alarm::Conduct(app), now.after(CONDUCT));
    }

    /// Tells a rollout which nodes there are.
    fn enlist(&mut self, now: Time, app: &AppName) {
        let Some(origin) = self.origin() else { return };
        let Some(newest) = origin.catalog.newest(app) else { return };
        let selected = origin.selected(now, &newest.order.selector);
        if let Some(rollout) = origin.rollouts.get_mut(app) {
            rollout.enlist(&selected);
        }
    }

    /// Lets time go by for a rollout, and nodes switch for whom there is room.
    fn let_switch(&mut self, now: Time, app: &AppName) {
        let Some(OriginSide { rollouts, nodes, .. }) = self.origin() else { return };
        let Some(rollout) = rollouts.get_mut(app) else { return };
        rollout.tick(now);
        rollout.admit(now, |node, key| nodes.get(&node)?.labels.get(key));
    }

    /// Looks at a rollout: proposes its next step, and tells every node what it may do.
    pub(crate) fn conduct(&mut self, now: Time, app: &AppName) {
        self.enlist(now, app);
        self.time_waves(now, app);
        self.let_switch(now, app);
        let step = self.next_step(app);
        let Side::Origin(origin) = &mut self.side else { return };
        let Some(rollout) = origin.rollouts.get(app) else { return };
        let fact = step.and_then(|step| rollout.fact(app.clone(), step));
        let again =
            rollout.left(now).filter(|left| !left.is_zero()).map_or(CONDUCT_AGAIN, |left| left.min(CONDUCT_AGAIN));
        let is_over =
            matches!(rollout.state(), RolloutState::Finished) && !rollout.is_unsure(now) && !rollout.has_a_queue();
        let agents = origin.agents_up();
        if let Some(fact) = fact
            && !origin.catalog.is_proposed(&fact)
        {
            origin.catalog.propose(Proposal::Progress { fact });
        }
        let waiting = agents.into_iter().filter(|node| !self.command(now, *node, app)).count();
        if waiting > 0 {
            self.alarms.sooner(Alarm::Conduct(app.clone()), now.after(CONDUCT_LATER));
        }
        if !is_over {
            self.alarms.ensure(Alarm::Conduct(app.clone()), now.after(again));
        }
    }

    /// What a rollout does next, in words that people understand.
    fn next_step(&self, app: &AppName) -> Option<Step> {
        let Side::Origin(origin) = &self.side else { return None };
        let rollout = origin.rollouts.get(app)?;
        let halt = |why: &str| Step::Halt(cut(why, Fact::MAX_WHY).to_owned());
        Some(match rollout.judge()? {
            Step::Abort(signed, why) => {
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                halt(&format!("aborted by {}{why}", self.trust.signer(&signed)))
            }
            Step::Late(wave) => halt(&rollout.why_late(wave, |node| origin.name(node))),
            step => step,
        })
    }

    /// Tells a node of the newest order and what it may do, unless it was told just that; false when it is to hear of it later.
    fn command(&mut self, now: Time, node: NodeId, app: &AppName) -> bool {
        if self.is_early(now, node, app) {
            return false;
        }
        let Some(origin) = self.origin().filter(|origin| !origin.left_behind.contains(app)) else { return true };
        let (Some(newest), Some(rollout)) = (origin.catalog.newest(app), origin.rollouts.get(app)) else { return true };
        if !newest.order.selector.matches(origin.labels(node)) {
            return true;
        }
        let (told, order) = ((newest.id, origin.gate(newest, rollout, node)), newest.signed.clone());
        let fallback = newest.order.fallback.filter(|_| told.1 == Gate::FallBack);
        let signed = |id: ReleaseId| origin.catalog.release(id).map(|release| release.signed.clone());
        let (release, fallback) = (signed(newest.order.release), fallback.and_then(signed));
        let before = origin.told.entry(node).or_default().insert(app.clone(), told);
        let is_new = before.is_none_or(|(id, _)| id != told.0);
        release.iter().filter(|_| is_new).for_each(|release| self.tell_standing_offers(node, release));
        for release in release.filter(|_| is_new).into_iter().chain(fallback.filter(|_| before != Some(told))) {
            self.send(node, Message::Announce { release });
        }
        if before != Some(told) {
            self.send(node, Message::Command { order, gate: told.1 });
        }
        true
    }

    /// Whether a node can do nothing yet about an order, as one of many to whom its release is being given out: what is said to all of
    /// them would only stand before the pieces, and what they make durable before what they are still to complete.
    fn is_early(&self, now: Time, node: NodeId, app: &AppName) -> bool {
        let Side::Origin(origin) = &self.side else { return false };
        if origin.tracker.members() <= FEW {
            return false;
        }
        let (Some(newest), Some(rollout)) = (origin.catalog.newest(app), origin.rollouts.get(app)) else {
            return false;
        };
        let Some(published) = origin.catalog.release(newest.order.release) else { return false };
        let is_given = contents_of(&published.release).any(|spec| self.swarm.gave_lately(now, spec.id()));
        let status = origin.nodes.get(&node).and_then(|known| known.apps.get(app));
        let is_staged =
            status.is_some_and(|status| status.release == newest.order.release && status.phase == Phase::Staged);
        is_given && !is_staged && origin.gate(newest, rollout, node) != Gate::FallBack
    }

    /// A step of a rollout stands in the journal, or could not be written.
    fn progressed(&mut self, now: Time, fact: &Fact, is_done: bool) {
        let (Fact::WaveOpened { app, .. }
        | Fact::Awaited { app, .. }
        | Fact::Halted { app, .. }
        | Fact::FellBack { app, .. }
        | Fact::Finished { app, .. }) = fact
        else {
            return;
        };
        match is_done {
            true => self.conduct(now, app),
            false => self.alarms.set(Alarm::Conduct(app.clone()), now.after(Duration::from_secs(1))),
        }
        if is_done && matches!(fact, Fact::Finished { .. }) {
            self.collect_at_origin(now);
            self.patch_for_stragglers(now, app);
        }
    }

    /// Forgets the contents that no order may name any more.
    pub(super) fn collect_at_origin(&mut self, now: Time) {
        let is_read = self.jobs.values().any(|errand| matches!(errand, Errand::Diff { .. } | Errand::Patch(_)));
        let Some(origin) = self.origin() else { return };
        // What a patch is made from stays, and so does the patch that nobody knows of yet.
        origin.collects_later = is_read;
        if is_read {
            return;
        }
        let kept = origin.kept();
        let patches = self.kept_patches(&kept);
        let under_way: Vec<ContentId> = self.origin().map(|origin| origin.roads.roots().collect()).unwrap_or_default();
        let contents: BTreeSet<ContentId> = kept.iter().map(ContentSpec::id).chain(patches).chain(under_way).collect();
        let contents: Vec<ContentId> = contents.into_iter().collect();
        let gone: Vec<ContentId> = self.swarm.contents().filter(|content| !contents.contains(content)).collect();
        gone.into_iter().for_each(|content| self.swarm.forget(now, content));
        self.job(Errand::Collect, Job::Collect { contents, releases: Vec::new() });
    }

    // Clients.

    fn release_asked(&mut self, client: ClientId, release: ReleaseId) {
        let known = self.origin().and_then(|origin| origin.catalog.release(release)).map(|known| known.signed.clone());
        match known {
            Some(signed) => self.answer(client, Answer::Release(signed)),
            None => self.refuse(client, Refusal::Unknown(format!("release {release} was never published here"))),
        }
    }

    pub(crate) fn request_of_origin(&mut self, now: Time, client: ClientId, request: Request) {
        match request {
            Request::Deploy { .. } => {
                let why = "an origin publishes nothing; a publisher brings it".to_owned();
                self.refuse(client, Refusal::NotAllowed(why));
            }
            Request::Order { order } => self.order_again(client, &order),
            Request::Direct { directive } => self.direct(client, directive),
            Request::Status => {
                let status = self.status(now);
                self.answer(client, Answer::Status(Box::new(status)));
            }
            Request::Release { release } => self.release_asked(client, release),
            Request::Verify { app } => self.audit(now, client, &app, Reading::Verify),
            Request::Repair { app } => self.audit(now, client, &app, Reading::Repair),
            Request::Journal { journal, from, most } => {
                self.job(Errand::Journal(client), Job::Journal { journal, from, most });
            }
            Request::IssueToken { token, secret, uses, expires, role, labels } => {
                let fact = Fact::TokenIssued { token, secret, uses, expires, role, labels };
                self.propose(Proposal::IssueToken { client, fact });
            }
            Request::RevokeToken { token } => self.propose(Proposal::RevokeToken { client, token }),
            Request::Root { root } => self.propose(Proposal::Root { client, root }),
            Request::Countersign { documents } => self.countersign(client, documents),
            Request::EnrolOperator { node, name } => self.enrol_operator(client, node, name),
            Request::Dismiss { name } => self.dismiss(client, name),
            Request::Vouch { node, role } => self.vouch(client, node, role),
            Request::Forget { node } => self.propose(Proposal::Forget { client, node }),
            Request::Limit { scope, rate } => self.propose(Proposal::Limit { client, scope, rate }),
            Request::Enrol { token, secret, node, name, now: clock } => {
                if let Some(origin) = self.origin() {
                    origin.clock = origin.clock.max(clock);
                }
                let enrolment = Enrolment { token, secret, node, name, now: clock };
                self.propose(Proposal::Enrol { client, enrolment });
            }
        }
    }

    pub(super) fn propose(&mut self, proposal: Proposal) {
        if let Some(origin) = self.origin() {
            origin.catalog.propose(proposal);
        }
    }

    /// What an operator says about a rollout.
    fn direct(&mut self, client: ClientId, signed: Signed) {
        match self.check_directive(&signed) {
            Ok(app) => self.propose(Proposal::Direct { client, fact: Fact::Directed { app, directive: signed } }),
            Err(refusal) => self.refuse(client, refusal),
        }
    }

    fn check_directive(&self, signed: &Signed) -> Result<AppName, Refusal> {
        let directive = self.judge_directive(signed).map_err(|why| Refusal::NotBelieved(why.to_string()))?;
        let Side::Origin(origin) = &self.side else { return Ok(directive.app) };
        let app = directive.app;
        let unknown = || Refusal::Unknown(format!("nothing of {app} was ever ordered here"));
        let rollout = origin.rollouts.get(&app).ok_or_else(unknown)?;
        if rollout.id() != directive.order {
            let newest = origin.catalog.newest(&app).ok_or_else(unknown)?;
            let (epoch, by) = (newest.order.epoch, self.trust.signer(&newest.signed));
            let what = format!("epoch {epoch} of {app} is the newest order now, and this is about another");
            return Err(Refusal::Conflict { epoch, by, what });
        }
        match rollout.objects(signed, &Directive { app: app.clone(), ..directive }) {
            None => Ok(app),
            Some(why) => Err(Refusal::Invalid(format!("{app}: {why}"))),
        }
    }

    /// An order for a release that was published before.
    fn order_again(&mut self, client: ClientId, signed: &Signed) {
        match self.check_order_again(signed) {
            Ok(order) => self.propose(Proposal::Order {
                release: None,
                order: order.signed,
                id: order.id,
                app: order.order.app,
                epoch: order.order.epoch,
                client: Some(client),
            }),
            Err(refusal) => self.refuse(client, refusal),
        }
    }

    fn check_order_again(&mut self, signed: &Signed) -> Result<Instruction, Refusal> {
        let order = self.trust.order(signed).map_err(|why| Refusal::NotBelieved(why.to_string()))?;
        // Who goes back must not be kept from it by one that is too old; such an agent refuses by itself.
        self.check_order(&order, None)?;
        let Side::Origin(origin) = &self.side else { return Ok(order) };
        let app = &order.order.app;
        let known = origin.catalog.release(order.order.release).filter(|release| release.release.app == *app);
        if let Some(known) = known.filter(|known| self.is_whole(known)) {
            return self.require_believed(known).map(|()| order);
        }
        let whole = origin.catalog.releases_of(app).filter(|(_, one)| self.is_whole(one));
        let there: Vec<String> = whole.map(|(_, one)| one.release.version.clone()).collect();
        let why = format!("that release of {app} is not here (any more); here are: {}", there.join(", "));
        Err(Refusal::Unknown(cut(&why, 1000).to_owned()))
    }

    /// Whether all of a release is here, durably, so that nodes can be brought to it.
    fn is_whole(&self, published: &Published) -> bool {
        contents_of(&published.release).all(|content| self.swarm.is_complete(content.id()))
    }

    fn status(&self, now: Time) -> FleetStatus {
        let Side::Origin(origin) = &self.side else { return FleetStatus::default() };
        let ordered = origin.catalog.orders().map(|newest| newest.order.app.clone());
        let names: BTreeSet<AppName> = ordered.chain(origin.spreads.keys().cloned()).collect();
        FleetStatus {
            apps: names.iter().filter_map(|app| self.app_status(now, origin, app)).collect(),
            nodes: origin.nodes.iter().map(|(node, known)| self.node_status(now, origin, *node, known)).collect(),
            position: Some(origin.catalog.position(&JournalName::Fleet)),
            limits: self.limit_status(),
            ahead: origin.ahead(),
        }
    }

    fn node_status(&self, now: Time, origin: &OriginSide, node: NodeId, known: &Known) -> NodeStatus {
        NodeStatus {
            limit: lowest(cap(origin.catalog.limits(), node, &known.labels), known.own_limit),
            obeys_limits: self.peers.get(&node).is_none_or(crate::Peer::knows_limits),
            speaks: self.peers.get(&node).map_or(0, |peer| peer.speaks),
            apps: known.apps.values().map(|status| self.with_trouble(node, status)).collect(),
            ..known.status(now, node)
        }
    }

    fn state_of(&self, rollout: &Rollout) -> RolloutState {
        match rollout.paused() {
            Some((signed, wave)) => {
                let why =
                    Directive::decode(&signed.payload).map_or_else(|_| String::new(), |directive| directive.message);
                RolloutState::Paused { wave, by: self.trust.signer(signed), why }
            }
            None => rollout.state(),
        }
    }

    fn app_status(&self, now: Time, origin: &OriginSide, app: &AppName) -> Option<RolloutStatus> {
        let newest = origin.catalog.newest(app);
        let published = newest.and_then(|newest| origin.catalog.release(newest.order.release));
        let spread = origin.spreads.get(app);
        let (id, order, signed, release) = match (spread, newest) {
            (Some(spread), _) => (None, &spread.order.order, &spread.order.signed, Some(&spread.release.release)),
            (None, Some(newest)) => (Some(newest.id), &newest.order, &newest.signed, published.map(|p| &p.release)),
            (None, None) => return None,
        };
        let progress = release.and_then(|release| self.swarm.progress(release.content.id())).unwrap_or_default();
        let rollout = origin.rollouts.get(app).filter(|_| spread.is_none());
        let state = match spread {
            Some(_) => RolloutState::Spreading,
            None => origin.rollouts.get(app).map_or(RolloutState::Spreading, |rollout| self.state_of(rollout)),
        };
        Some(RolloutStatus {
            app: app.clone(),
            order: id.or(newest.map(|newest| newest.id)),
            epoch: newest.map_or(0, |newest| newest.order.epoch),
            release: order.release,
            version: release.map_or_else(String::new, |release| release.version.clone()),
            by: self.trust.signer(signed),
            message: order.message.clone(),
            state,
            origin_have: (progress.have, progress.total),
            content_bytes: release.map_or(0, |release| release.content.bytes + release.content.blob.len),
            origin_sent: progress.sent,
            selector: newest.map(|newest| newest.order.selector.clone()).unwrap_or_default(),
            proven: origin.proven.iter().copied().collect(),
            releases: origin.catalog.releases_of(app).filter(|(_, one)| self.is_whole(one)).map(offer).collect(),
            created: order.created,
            fallback: order.fallback,
            budget: order.budget,
            waves: rollout.map(Rollout::waves).unwrap_or_default(),
            restraint: order.restraint.clone(),
            awaits: rollout.and_then(|rollout| rollout.awaits(now)),
            left: rollout.and_then(|rollout| rollout.left(now)),
            since: rollout.and_then(Rollout::moved).map(|moved| now.since(moved)),
            roads: release.map_or_else(Vec::new, |release| origin.patches.roads(app, release.content.id())),
        })
    }

    // Reading what is live again.

    fn audit(&mut self, now: Time, client: ClientId, app: &AppName, reading: Reading) {
        let too_old = self.too_old_to_repair(reading);
        let Some(origin) = self.origin() else { return };
        let is_same = |audit: &&mut Audit| audit.app == *app && audit.reading == reading;
        if let Some(under_way) = origin.audits.values_mut().find(is_same) {
            return under_way.clients.push(client);
        }
        let selector = origin.catalog.newest(app).map(|newest| newest.order.selector.clone()).unwrap_or_default();
        let chosen = |known: &Known| known.role == Role::Agent && selector.matches(&known.labels);
        let (mut waiting, mut found) = (BTreeSet::new(), BTreeMap::new());
        for (node, known) in origin.nodes.iter().filter(|(_, known)| chosen(known)) {
            // Who fell back, and to no release, can say what stands there.
            let is_there = |status: &AppStatus| status.live.is_some() || status.phase == Phase::FellBack;
            let runs = known.apps.get(app).is_some_and(is_there);
            match (known.is_up, runs) {
                (true, true) if too_old.contains(node) => {
                    drop(found.insert(*node, Err("its software is too old to repair anything; update it".to_owned())));
                }
                (true, true) => drop(waiting.insert(*node)),
                (true, false) => drop(found.insert(*node, Err("nothing of it is live there".to_owned()))),
                (false, _) => drop(found.insert(*node, Err("it is not connected".to_owned()))),
            }
        }
        origin.next_audit += 1;
        let request = origin.next_audit;
        let audit = Audit { app: app.clone(), reading, clients: vec![client], waiting: waiting.clone(), found };
        origin.audits.insert(request, audit);
        self.alarms.set(Alarm::Audit(request), now.after(AUDIT));
        if waiting.is_empty() {
            return self.finish_audit(request);
        }
        for node in waiting {
            let app = app.clone();
            self.send(
                node,
                match reading {
                    Reading::Verify => Message::Verify { request, app },
                    Reading::Repair => Message::Repair { request, app },
                },
            );
        }
    }

    /// Those who are connected and could not read what they would be asked.
    fn too_old_to_repair(&self, reading: Reading) -> BTreeSet<NodeId> {
        let is_too_old = |(_, peer): &(&NodeId, &crate::Peer)| reading == Reading::Repair && !peer.knows_repairs();
        self.peers.iter().filter(is_too_old).map(|(node, _)| *node).collect()
    }

    fn audited(&mut self, request: u64, from: NodeId, outcome: Result<VerifyReport, String>) {
        let Some(audit) = self.origin().and_then(|origin| origin.audits.get_mut(&request)) else { return };
        if audit.waiting.remove(&from) {
            audit.found.insert(from, outcome);
        }
        if audit.waiting.is_empty() {
            self.finish_audit(request);
        }
    }

    pub(crate) fn finish_audit(&mut self, request: u64) {
        self.alarms.clear(&Alarm::Audit(request));
        let Some(origin) = self.origin() else { return };
        let Some(mut audit) = origin.audits.remove(&request) else { return };
        for node in audit.waiting {
            audit.found.insert(node, Err("it did not answer in time".to_owned()));
        }
        let name = |node: NodeId| origin.nodes.get(&node).map_or_else(String::new, |known| known.name.clone());
        let nodes: Vec<_> = audit.found.into_iter().map(|(node, found)| (node, name(node), found)).collect();
        audit.clients.into_iter().for_each(|client| self.answer(client, Answer::Verified { nodes: nodes.clone() }));
    }
}

/// A release that an order may name.
fn offer((id, published): (ReleaseId, &Published)) -> (ReleaseId, String, UnixTime) {
    (id, published.release.version.clone(), published.release.created)
}

impl Spread {
    /// Whether someone still brings it, or it is about to be ordered.
    fn is_alive(&self) -> bool {
        self.publisher.is_some() || self.client.is_some() || self.is_proposed
    }
}

impl Known {
    fn status(&self, now: Time, node: NodeId) -> NodeStatus {
        NodeStatus {
            node,
            name: self.name.clone(),
            role: self.role,
            labels: self.labels.clone(),
            up: self.is_up,
            since: now.since(self.since),
            software: self.software.clone(),
            limit: None,
            obeys_limits: true,
            speaks: 0,
            apps: Vec::new(),
        }
    }
}
