//! How a fleet hears of what is being brought to it.
//!
//! An announcement that an origin makes to each of ten thousand takes its link as long as a good part of the bytes, and stands before
//! them. So an origin of many tells those at the top of the trees; agents pass it on to those after them, ahead of the pieces, and
//! after a while to neighbours that show nothing of it. Last the origin tells those that have shown nothing to it.
//!
//! What is passed on are the operators' own documents: a release, and the order that will name it. Everyone checks both, and drops
//! what is not newer than what it knows: a neighbour can keep them to itself, but make up, change or bring back nothing. They only
//! have a release fetched; whether it may be switched to says an origin alone.

use crate::door::{Message, Misbehaviour, Time};
use crate::trust::Standing;
use crate::{Alarm, Engine, FEW, Side};
use content::{AppName, ContentId, NodeId, OrderId, Role, Signed, UnixTime};
use std::collections::BTreeSet;
use std::time::Duration;

/// After so long neighbours that know a release have shown that: those that are not next to each other say so after 100 ms.
const NEIGHBOURS: Duration = Duration::from_millis(150);
/// After so long, and the time in which each has its turn to tell its origin what it holds, an origin tells those that have not.
const ORIGIN: Duration = Duration::from_millis(250);

/// What an agent heard last of an application, until its order is accepted.
pub(crate) struct Heard {
    id: OrderId,
    /// Later ones are newer: of orders with the same epoch only one is ever taken, most likely the last that was signed.
    rank: (u64, UnixTime),
    release: Signed,
    order: Signed,
    contents: Vec<ContentId>,
    /// Who is known to have heard it.
    by: BTreeSet<NodeId>,
}

impl Engine {
    // At an agent.

    /// An origin or a neighbour says what is being brought.
    pub(super) fn hears(&mut self, now: Time, from: NodeId, release: &Signed, order: &Signed) {
        let is_origin = self.peers.get(&from).is_some_and(|peer| peer.role == Role::Origin);
        let id = OrderId(order.payload_digest());
        let Side::Agent(agent) = &mut self.side else { return };
        if let Some(heard) = agent.heard.values_mut().find(|heard| heard.id == id).filter(|_| !is_origin) {
            heard.by.insert(from);
            return;
        }
        let (believed, instruction) = match (self.trust.release(release), self.trust.order(order)) {
            (Ok(believed), Ok(instruction)) => (believed, instruction),
            (Err(why), _) if is_origin || !self.trust.may_be_of_another_root(release, &why) => {
                return self.not_believed(now, from, release, &why);
            }
            (_, Err(why)) if is_origin || !self.trust.may_be_of_another_root(order, &why) => {
                return self.not_believed(now, from, order, &why);
            }
            // While roots differ for a moment neither side is a liar; the origin says it again to those that show nothing of it.
            (Err(why), _) | (_, Err(why)) => return self.distrust(from, why.to_string()),
        };
        let named = &instruction.order;
        if named.release != believed.id || named.app != believed.release.app {
            self.distrust(from, "an order came with a release that it does not name".to_owned());
            return self.convict(now, from, Misbehaviour::BadSignature);
        }
        let (app, rank) = (named.app.clone(), (named.epoch, named.created));
        let Side::Agent(agent) = &mut self.side else { return };
        let is_newer = agent.heard.get(&app).is_none_or(|heard| heard.rank < rank);
        let is_next = self.trust.standing(&instruction) == Standing::Next;
        // An origin knows what is being brought; a neighbour may have kept what was given up long ago.
        let is_news = is_origin || (is_newer && is_next && named.selector.matches(&self.config.labels));
        if !is_news {
            return;
        }
        if is_next {
            let contents = super::contents_of(&believed.release).map(|spec| spec.id()).collect();
            let known = agent.heard.remove(&app).filter(|heard| heard.id == id);
            let mut by = known.map(|heard| heard.by).unwrap_or_default();
            by.insert(from);
            let (release, order) = (release.clone(), order.clone());
            agent.heard.insert(app.clone(), Heard { id, rank, release, order, contents, by });
            self.alarms.set(Alarm::Unheard(app.clone()), now.after(NEIGHBOURS));
        }
        agent.follower.announced(now, believed.id, believed.signed, believed.release);
        self.pass_down(&app);
    }

    /// Another trust root is in force: what is not believed any more is passed on to nobody.
    pub(super) fn judge_what_was_heard(&mut self) {
        let Side::Agent(agent) = &mut self.side else { return };
        let trust = &self.trust;
        agent.heard.retain(|_, heard| trust.release(&heard.release).is_ok() && trust.order(&heard.order).is_ok());
    }

    /// Passes on what was heard of an application to those that get pieces from here.
    fn pass_down(&mut self, app: &AppName) {
        let after: Vec<NodeId> = self.swarm.after().collect();
        after.into_iter().for_each(|node| self.pass_to(node, app));
    }

    /// There is another given order, or another connection: those that come after this node now may not have heard.
    pub(super) fn pass_all_down(&mut self) {
        let Side::Agent(agent) = &self.side else { return };
        let apps: Vec<AppName> = agent.heard.keys().cloned().collect();
        apps.iter().for_each(|app| self.pass_down(app));
    }

    /// A peer is gone: if it comes again it may have forgotten.
    pub(super) fn has_not_heard(&mut self, peer: NodeId) {
        if let Side::Agent(agent) = &mut self.side {
            for heard in agent.heard.values_mut() {
                heard.by.remove(&peer);
            }
        }
    }

    fn pass_to(&mut self, node: NodeId, app: &AppName) {
        let is_understood = self.peers.get(&node).is_some_and(crate::Peer::knows_facts);
        let Side::Agent(agent) = &mut self.side else { return };
        let Some(heard) = agent.heard.get_mut(app).filter(|_| is_understood) else { return };
        if heard.by.insert(node) {
            let message = Message::Pass { release: heard.release.clone(), order: heard.order.clone() };
            self.send(node, message);
        }
    }

    // At both.

    /// Whoever could have shown by now that it has heard of what is being brought, and has not, is told.
    pub(crate) fn tell_unheard(&mut self, now: Time, app: &AppName) {
        match &self.side {
            Side::Agent(agent) => {
                let Some(heard) = agent.heard.get(app) else { return };
                let shows = |peer: NodeId| heard.contents.iter().any(|content| self.swarm.has_met(*content, peer));
                let agents = self.peers.iter().filter(|(_, peer)| peer.role == Role::Agent).map(|(node, _)| *node);
                let unheard: Vec<NodeId> = agents.filter(|node| !shows(*node)).collect();
                unheard.into_iter().for_each(|node| self.pass_to(node, app));
            }
            Side::Origin(_) => self.tell_those_that_show_nothing(now, app),
            Side::Publisher(_) => {}
        }
    }

    // At an origin.

    /// Tells one agent what is being brought.
    pub(super) fn announce(&mut self, node: NodeId, release: &Signed, order: &Signed) {
        self.tell_standing_offers(node, release);
        let release = release.clone();
        let message = match self.peers.get(&node).is_some_and(crate::Peer::knows_facts) {
            true => Message::Pass { release, order: order.clone() },
            false => Message::Announce { release },
        };
        self.send(node, message);
    }

    /// Tells the agents that are to get it what is being brought; those at the top of the trees, when they are many.
    pub(super) fn announce_to_all(&mut self, now: Time, app: &AppName) {
        let Some((release, order, chosen)) = self.announced_to(app) else { return };
        let Side::Origin(origin) = &self.side else { return };
        // Whoever is not to get it does not pass it on.
        let is_for_all = chosen.len() == origin.tracker.members();
        let near = (chosen.len() > FEW && is_for_all).then(|| origin.tracker.near_roots());
        for node in chosen {
            let hears_it_so = self.peers.get(&node).is_some_and(crate::Peer::knows_facts)
                && near.as_ref().is_some_and(|near| !near.contains(&node));
            if !hears_it_so {
                self.announce(node, &release, &order);
            }
        }
        if near.is_some() {
            let Side::Origin(origin) = &self.side else { return };
            self.alarms.set(Alarm::Unheard(app.clone()), now.after(ORIGIN + origin.paces.turn()));
        }
    }

    /// The documents of what is being brought, and the agents that are to get it.
    fn announced_to(&self, app: &AppName) -> Option<(Signed, Signed, Vec<NodeId>)> {
        let Side::Origin(origin) = &self.side else { return None };
        let (release, order) = origin.papers(app)?;
        let chosen = origin.agents_up().into_iter().filter(|node| origin.is_for(app, *node)).collect();
        Some((release, order, chosen))
    }

    fn tell_those_that_show_nothing(&mut self, _now: Time, app: &AppName) {
        let Some((release, order, chosen)) = self.announced_to(app) else { return };
        let Some((id, known)) = crate::release_of(&release) else { return };
        let contents: Vec<ContentId> = super::contents_of(&known).map(|spec| spec.id()).collect();
        let Side::Origin(origin) = &self.side else { return };
        let shows = |node: NodeId| {
            contents.iter().any(|content| self.swarm.has_met(*content, node)) || origin.has_heard(app, id, node)
        };
        let unheard: Vec<NodeId> = chosen.into_iter().filter(|node| !shows(*node)).collect();
        unheard.into_iter().for_each(|node| self.announce(node, &release, &order));
    }
}
