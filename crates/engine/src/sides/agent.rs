//! An agent: follows its origin, keeps its place in the mesh, reports where it stands.

use super::hearsay::Heard;
use super::revoked::Revoked;
use crate::door::{
    AppStatus, Config, Event, FleetStatus, Gate, Introduction, Job, JobDone, JobError, Message, Misbehaviour,
    NodeStatus, Phase, Recovered, Time, VerifyReport,
};
use crate::follow::{self, Follower, Ordered};
use crate::roads::Roads;
use crate::swarm;
use crate::tracker::{Dial, Mesh, Origins};
use crate::trust::{Distrust, Instruction, Standing, Trust};
use crate::{Alarm, Engine, Errand, Reading, Side, release_of};
use content::{AppName, ContentId, NodeId, PieceNo, ReleaseId, Signed};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long changes of a status are collected before the origin is told.
const STATUS: Duration = Duration::from_millis(100);

/// And for how many times as long as other news, when those have a pace: they are for people.
const STATUS_PACES: u32 = 4;

/// What an agent has that others have not.
pub(crate) struct AgentSide {
    pub(crate) follower: Follower,
    pub(crate) mesh: Mesh,
    pub(crate) origins: Origins,
    pub(crate) roads: Roads,
    /// How long news for an origin are collected, beyond the usual.
    pub(super) pace: Duration,
    /// What was heard last of each application, for those who have not.
    pub(super) heard: BTreeMap<AppName, Heard>,
    /// Whom it does not deal with any more.
    pub(super) revoked: Revoked,
}

impl AgentSide {
    pub(crate) fn new(me: NodeId, config: &Config, now: Time) -> Self {
        Self {
            follower: Follower::default(),
            mesh: Mesh::new(me, config.redial),
            origins: Origins::new(config.origins.clone(), config.redial, now),
            roads: Roads::new(&config.reads),
            pace: Duration::ZERO,
            heard: BTreeMap::new(),
            revoked: Revoked::default(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        [self.follower.deadline(), self.mesh.deadline(), self.origins.deadline()].into_iter().flatten().min()
    }

    pub(super) fn due(&mut self, now: Time) -> Option<Dial> {
        self.follower.tick(now);
        self.origins.due(now).or_else(|| self.mesh.due(now))
    }
}

impl Engine {
    pub(super) fn follower(&mut self) -> Option<&mut Follower> {
        if let Side::Agent(agent) = &mut self.side { Some(&mut agent.follower) } else { None }
    }

    pub(crate) fn recover_agent(&mut self, now: Time, recovered: &Recovered) {
        for held in recovered.held.iter().filter(|held| held.complete) {
            if let Some(follower) = self.follower() {
                follower.whole(now, held.content.id());
            }
        }
        for record in &recovered.apps {
            // It was believed when it was accepted; who may order by now does not undo it, nor sink the floor.
            let order = record.order.as_ref().and_then(Trust::remembered);
            if let Some(order) = &order {
                self.trust.raise(order);
            }
            let laid_out = record.laid_out.iter().filter_map(release_of).collect();
            if let Some(follower) = self.follower() {
                follower.recover(now, record, order.map(ordered), laid_out);
            }
        }
    }

    // What the origin says.

    pub(crate) fn origin_ready(&mut self, now: Time, origin: NodeId) {
        let Side::Agent(agent) = &self.side else { return };
        let formats = agent.roads.reads().clone();
        if !formats.is_empty() {
            self.send(origin, Message::Reads { formats });
        }
        self.send(origin, Message::Follows { root: self.trust.version() });
        let Side::Agent(agent) = &self.side else { return };
        let apps: Vec<AppName> = agent.follower.apps().cloned().collect();
        apps.iter().for_each(|app| self.send_status(now, app));
        self.meets_origin(now);
    }

    pub(crate) fn message_to_agent(&mut self, now: Time, from: NodeId, message: Message) {
        match message {
            Message::Introduce { peers } => {
                let me = self.me;
                peers.into_iter().filter(|to| to.node != me).for_each(|to| self.introduced(now, to));
            }
            Message::Relay { stripes } => {
                self.swarm.relay(now, stripes);
                self.pass_all_down();
            }
            Message::Roots { roots } => self.rooted(now, from, &roots),
            Message::Revoked { nodes } => self.hears_of_revoked(now, nodes),
            Message::Follows { root } => self.hand_roots(from, root),
            Message::Pass { release, order } => self.hears(now, from, &release, &order),
            Message::Steps { target, steps } => self.told_steps(target, steps),
            Message::Offers { target, offers, is_awaited } => self.offered(now, target, offers, is_awaited),
            Message::Announce { release } => self.announced(now, from, &release),
            Message::Command { order, gate } => self.commanded(now, from, &order, gate),
            Message::Verify { request, app } => self.read_live(request, from, app, Reading::Verify),
            Message::Repair { request, app } => self.read_live(request, from, app, Reading::Repair),
            Message::Pace { news } => self.paced(now, news),
            Message::Limit(allotment) => self.allotted(now, allotment),
            _ => {}
        }
    }

    fn introduced(&mut self, now: Time, to: Introduction) {
        if self.verdicts.on(to.node).is_some() {
            return self.event(Event::Shunned { peer: to.node });
        }
        let Side::Agent(agent) = &mut self.side else { return };
        if agent.revoked.contains(to.node) {
            return;
        }
        agent.mesh.introduced(now, to);
        match self.peers.contains_key(&to.node) {
            true => agent.mesh.up(now, to.node),
            false => self.swarm.expect(now),
        }
    }

    fn announced(&mut self, now: Time, from: NodeId, signed: &Signed) {
        match self.trust.release(signed) {
            Ok(believed) => {
                if let Some(follower) = self.follower() {
                    follower.announced(now, believed.id, believed.signed, believed.release);
                }
            }
            Err(why) => self.not_believed(now, from, signed, &why),
        }
    }

    fn commanded(&mut self, now: Time, from: NodeId, signed: &Signed, gate: Gate) {
        let instruction = match self.trust.order(signed) {
            Ok(instruction) => instruction,
            Err(why) => return self.not_believed(now, from, signed, &why),
        };
        // An origin cannot widen what its operator may order: who is not meant follows it nowhere.
        if !instruction.order.selector.matches(&self.config.labels) {
            let why = format!(
                "epoch {} of {} is for {}, which this node is not",
                instruction.order.epoch, instruction.order.app, instruction.order.selector
            );
            return self.distrust(from, why);
        }
        let standing = match self.trust.standing(&instruction) {
            // Who has followed nothing of it yet has nothing to hold against an epoch.
            Standing::TooFar { .. } if !self.trust.has_floor(&instruction.order.app) => Standing::Next,
            standing => standing,
        };
        match standing {
            Standing::Next | Standing::Same => {
                if let Some(follower) = self.follower() {
                    follower.commanded(now, ordered(instruction), gate);
                }
            }
            Standing::Stale { floor } => {
                let by = signed.signatures.first().map(|signature| signature.key);
                let (app, epoch) = (instruction.order.app, instruction.order.epoch);
                self.event(Event::StaleOrder { app, epoch, floor, by });
            }
            Standing::TooFar { most } => {
                let epoch = instruction.order.epoch;
                self.distrust(
                    from,
                    format!("an order has epoch {epoch}, and {most} is the highest that may come next"),
                );
            }
        }
    }

    /// A document is not believed: whoever passes such a thing on is left, but not for what this program is too old to read, nor an origin
    /// for what it could not know better.
    pub(super) fn not_believed(&mut self, now: Time, from: NodeId, signed: &Signed, why: &Distrust) {
        self.distrust(from, why.to_string());
        if !why.is_ignorance() && !self.is_of_an_older_root(from, signed, why) {
            self.convict(now, from, Misbehaviour::BadSignature);
        }
    }

    // What the follower wants.

    pub(crate) fn follower_action(&mut self, now: Time, action: follow::Action) {
        match action {
            follow::Action::Want(content) => self.take_road(now, content),
            follow::Action::Accept(app, order) => self.job(Errand::Accept(app), Job::Accept { order }),
            follow::Action::Assemble(app, id, release) => self.assemble(now, app, id, release),
            follow::Action::Switch(app, release) => {
                self.job(Errand::Switch(app.clone(), release), Job::Switch { app, release });
            }
            follow::Action::Restore(app, release) => {
                self.job(Errand::Restore(app.clone(), release), Job::Restore { app, release });
            }
            follow::Action::Confirm(app, release) => {
                self.job(Errand::Confirm(app.clone(), release), Job::Confirm { app, release });
            }
            follow::Action::Hook(app, id, moment, release, other) => {
                self.job(Errand::Hook(app, id, moment), Job::Hook { release, moment, other });
            }
            follow::Action::Probe(app, id, release) => self.job(Errand::Probe(app, id), Job::Probe { release }),
            follow::Action::GiveUp(app, order, why) => {
                self.job(Errand::GiveUp(app.clone(), order), Job::GiveUp { app, order, why });
            }
            follow::Action::Missing(content, pieces) => self.swarm.lost(now, content, &pieces),
            follow::Action::Failed(_) => self.status_soon_for_all(now),
            follow::Action::Phase(app, release, phase) => {
                self.event(Event::Phase { app: app.clone(), release, phase });
                self.show_status(now, &app, phase);
            }
            follow::Action::Collect => self.collect(now),
        }
    }

    /// Lays a release out, unless it says that this program is too old for it.
    fn assemble(&mut self, now: Time, app: AppName, id: ReleaseId, release: Signed) {
        match too_old_for(&release, &self.config.software) {
            None => self.job(Errand::Assemble(app, id), Job::Assemble { release }),
            Some(why) => {
                self.event(Event::JobFailed { why: why.clone() });
                if let Some(follower) = self.follower() {
                    follower.assembled(now, &app, id, Err(JobError::Refused { why }));
                }
            }
        }
    }

    fn collect(&mut self, now: Time) {
        let Some(follower) = self.follower() else { return };
        let (mut contents, releases) = follower.roots();
        let Side::Agent(agent) = &mut self.side else { return };
        let gone: Vec<_> = self.swarm.contents().filter(|content| !contents.contains(content)).collect();
        // What lies on the way to something that is gone as well goes with it.
        for _ in 0..2 {
            let idle = gone.iter().filter(|content| agent.roads.after(**content).is_empty());
            let idle: Vec<ContentId> = idle.copied().collect();
            idle.into_iter().for_each(|content| agent.roads.end(content));
        }
        let under_way: Vec<ContentId> = agent.roads.roots().filter(|content| !contents.contains(content)).collect();
        contents.extend(under_way);
        let gone = gone.into_iter().filter(|content| !contents.contains(content));
        gone.for_each(|content| self.swarm.forget(now, content));
        self.job(Errand::Collect, Job::Collect { contents, releases });
    }

    pub(crate) fn deployed(&mut self, now: Time, errand: Errand, result: Result<(), JobError>) {
        let Side::Agent(agent) = &mut self.side else { return };
        match errand {
            Errand::Accept(app) => {
                if let Some(accepted) = agent.follower.accepted(now, &app, result) {
                    // From now on what is left of it is between each node and its origin.
                    agent.heard.remove(&app);
                    self.trust.raise(&Instruction { id: accepted.id, signed: accepted.signed, order: accepted.order });
                }
            }
            Errand::Assemble(app, release) => agent.follower.assembled(now, &app, release, result),
            Errand::Switch(app, release) => agent.follower.switched(now, &app, release, result),
            Errand::Restore(app, release) => agent.follower.restored(now, &app, release, result),
            Errand::Confirm(app, release) => agent.follower.confirmed(now, &app, release, result),
            Errand::Hook(app, release, moment) => agent.follower.hooked(now, &app, (release, moment), result),
            Errand::Probe(app, release) => agent.follower.probed(now, &app, release, result),
            Errand::GiveUp(app, order) => agent.follower.gave_up(now, &app, order, result),
            _ => {}
        }
    }

    pub(crate) fn content_news_of_agent(&mut self, now: Time, news: swarm::Action) {
        match &news {
            swarm::Action::Completed(content) => self.has_come(now, *content),
            swarm::Action::Refused(content, why) => self.patch_refused(now, *content, why),
            _ => {}
        }
        let Side::Agent(agent) = &mut self.side else { return };
        // What comes of a patch comes of what it makes.
        let news = match news {
            swarm::Action::FirstByte(content) => swarm::Action::FirstByte(agent.roads.end_of(content)),
            // Nor does anyone follow what only lies on the way to it.
            swarm::Action::Trouble(content, why) if !agent.roads.after(content).is_empty() => {
                swarm::Action::Trouble(agent.roads.end_of(content), why)
            }
            news => news,
        };
        let Some(follower) = self.follower() else { return };
        match news {
            swarm::Action::FirstByte(content) => follower.first_byte(now, content),
            swarm::Action::LastByte(content) => follower.last_byte(now, content),
            swarm::Action::Completed(content) => follower.whole(now, content),
            swarm::Action::Incomplete(content) => follower.broken(content),
            swarm::Action::Refused(content, why) => follower.refused(now, content, &why),
            swarm::Action::Trouble(content, why) => {
                let apps = follower.trouble(content, why.as_ref());
                apps.into_iter().for_each(|app| self.status_soon(now, app));
            }
            _ => {}
        }
    }

    // Reports.

    fn status_soon(&mut self, now: Time, app: AppName) {
        let wait = STATUS.max(self.pace() * STATUS_PACES);
        self.alarms.ensure(Alarm::Status(app), now.after(wait));
    }

    fn pace(&self) -> Duration {
        if let Side::Agent(agent) = &self.side { agent.pace } else { Duration::ZERO }
    }

    /// A phase has begun. Of many agents that all begin to fetch at once an origin hears one after the other.
    fn show_status(&mut self, now: Time, app: &AppName, phase: Phase) {
        let most = (self.pace() * STATUS_PACES).as_nanos() as usize;
        match matches!(phase, Phase::Told | Phase::Fetching) && most > 0 {
            true => {
                let wait = Duration::from_nanos(self.chance.below(most) as u64);
                self.alarms.ensure(Alarm::Status(app.clone()), now.after(wait));
            }
            false => self.send_status(now, app),
        }
    }

    fn status_soon_for_all(&mut self, now: Time) {
        let Side::Agent(agent) = &self.side else { return };
        let apps: Vec<AppName> = agent.follower.apps().cloned().collect();
        apps.into_iter().for_each(|app| self.status_soon(now, app));
    }

    /// Everyone who looks at this node's status is told what is in its way; what waits for it is not tried sooner.
    pub(crate) fn degraded(&mut self, now: Time, why: Option<String>) {
        if self.follower().is_some_and(|follower| follower.degraded(why)) {
            self.status_soon_for_all(now);
        }
    }

    /// Tells the origin where an application stands; again soon while pieces are coming.
    pub(crate) fn send_status(&mut self, now: Time, app: &AppName) {
        self.alarms.clear(&Alarm::Status(app.clone()));
        let Side::Agent(agent) = &self.side else { return };
        let Some(status) = self.status_of(&agent.follower, app) else { return };
        let origins: Vec<NodeId> = agent.origins.connected().collect();
        if matches!(status.phase, Phase::Told | Phase::Fetching) && !origins.is_empty() {
            self.status_soon(now, app.clone());
        }
        origins.into_iter().for_each(|origin| self.send(origin, Message::Status(Box::new(status.clone()))));
    }

    fn status_of(&self, follower: &Follower, app: &AppName) -> Option<AppStatus> {
        let standing = follower.standing(app)?;
        let progress = standing.content.and_then(|content| self.swarm.progress(content)).unwrap_or_default();
        let (from_origin, from_peers) = standing.content.map(|content| self.moved_for(content)).unwrap_or_default();
        Some(AppStatus {
            app: app.clone(),
            release: standing.release,
            order: standing.order,
            phase: standing.phase,
            have: progress.have,
            total: progress.total,
            from_origin: progress.from_origin + from_origin,
            from_peers: progress.from_peers + from_peers,
            had: progress.had,
            timeline: standing.timeline,
            live: standing.live,
            confirmed: standing.confirmed,
            trouble: standing.trouble,
        })
    }

    /// Where this agent stands, for its own program.
    pub(crate) fn own_status(&self, now: Time) -> FleetStatus {
        let Side::Agent(agent) = &self.side else { return FleetStatus::default() };
        let apps = agent.follower.apps().filter_map(|app| self.status_of(&agent.follower, app)).collect();
        let me = NodeStatus {
            node: self.me,
            name: self.config.name.clone(),
            role: self.config.role,
            labels: self.config.labels.clone(),
            up: true,
            since: now.since(Time(0)),
            software: self.config.software.clone(),
            limit: self.config.limit,
            obeys_limits: true,
            speaks: crate::wire::PROTOCOL.1,
            apps,
        };
        FleetStatus { nodes: vec![me], ..FleetStatus::default() }
    }

    // Reading what is live again.

    fn read_live(&mut self, request: u64, from: NodeId, app: AppName, reading: Reading) {
        // Where nothing is live the host knows what stands there instead.
        let follower = self.follower();
        let live = follower.and_then(|of| of.live(&app).or_else(|| of.standing(&app).map(|standing| standing.release)));
        match live {
            Some(release) => {
                let job = if reading == Reading::Repair { Job::Repair { app } } else { Job::Verify { app } };
                self.job(Errand::Verify { request, from, release }, job);
            }
            None => {
                let outcome = Err(format!("nothing of {app} is live here"));
                self.send(from, Message::Verified { request, outcome });
            }
        }
    }

    /// A job has found that pieces are not here after all.
    pub(super) fn missing(&mut self, now: Time, content: ContentId, pieces: &[PieceNo]) {
        if let Some(follower) = self.follower() {
            follower.broken(content);
        }
        self.swarm.lost(now, content, pieces);
    }

    pub(crate) fn verified(
        &mut self,
        now: Time,
        (request, from, release): (u64, NodeId, ReleaseId),
        result: Result<JobDone, JobError>,
    ) {
        if let Err(JobError::Missing { content, pieces }) = &result {
            // Without them nobody can tell what should be live, and nothing can be repaired.
            self.missing(now, *content, pieces);
        }
        let outcome = match result {
            Ok(JobDone::Verified { entries, bytes, differing, first }) => {
                Ok(VerifyReport { release, entries, bytes, differing, first })
            }
            Ok(_) => Err("the host did something else".to_owned()),
            Err(JobError::Missing { pieces, .. }) => Err(format!(
                "{} pieces that say what should be live are damaged in its own store, and are fetched again; ask once more then",
                pieces.len()
            )),
            Err(error) => Err(crate::in_words(&error).unwrap_or_else(|| "what is live cannot be read".to_owned())),
        };
        self.send(from, Message::Verified { request, outcome });
    }
}

/// Why a release may not be laid out by this version of this program, if it may not.
fn too_old_for(release: &Signed, software: &str) -> Option<String> {
    let (_, release) = release_of(release)?;
    let least = release.instructions.min_agent.filter(|least| super::versions::is_older(software, *least))?;
    Some(format!(
        "{} wants {least} of tiding or newer, and this node runs {software}; bring a newer one with `tiding upgrade`",
        release.version
    ))
}

fn ordered(instruction: Instruction) -> Ordered {
    Ordered { id: instruction.id, signed: instruction.signed, order: instruction.order }
}
