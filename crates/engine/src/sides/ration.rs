//! Routing of limits: an agent asks its origin for a share while it sends, the origin tells each what it may, each tells its driver.

use crate::door::{Allotment, LimitStatus, Message, Output, Share, Time};
use crate::limits::{Members, cap, lowest, resting, share};
use crate::{Alarm, Engine, Peer, Side};
use content::{Labels, NodeId, Rate, Role, Scope};
use std::collections::BTreeMap;
use std::time::Duration;

/// After so long without a piece to send a share is given back.
const REST: Duration = Duration::from_secs(2);
/// How long changes are collected before shares are divided again.
const ALLOT: Duration = Duration::from_millis(20);
/// A node with a limit has no more pieces under way to it than come in this time; TCP would hold the others up, and whoever sent them
/// would count as late.
const AHEAD: Duration = Duration::from_millis(500);
/// But at least so many bytes: a few pieces.
const LEAST_AHEAD: u64 = 256 << 10;

impl Engine {
    // Every node.

    pub(crate) fn piece_leaves(&mut self, now: Time, to: NodeId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.leaving += 1;
            if self.ration.leaves() {
                self.changes_activity(now);
            }
        }
    }

    pub(crate) fn piece_left(&mut self, now: Time, to: NodeId) {
        let left = self.peers.get_mut(&to).filter(|peer| peer.leaving > 0).map(|peer| peer.leaving -= 1);
        self.pieces_lost(now, u32::from(left.is_some()));
    }

    /// So many pieces will not leave any more.
    pub(crate) fn pieces_lost(&mut self, now: Time, pieces: u32) {
        if pieces > 0 && self.ration.left(pieces) {
            self.alarms.set(Alarm::Idle, now.after(REST));
        }
    }

    pub(crate) fn rests(&mut self, now: Time) {
        if self.ration.rests() {
            self.changes_activity(now);
        }
    }

    fn changes_activity(&mut self, now: Time) {
        match &self.side {
            Side::Origin(_) => self.allot_soon(now),
            Side::Agent(_) if self.ration.is_shared() => self.say_whether_it_sends(),
            Side::Agent(_) | Side::Publisher(_) => {}
        }
        self.apply();
    }

    /// At the beginning of an engine's life.
    pub(crate) fn obey(&mut self, now: Time) {
        self.allot(now);
        self.apply();
    }

    fn apply(&mut self) {
        let Some(allowed) = self.ration.news() else { return };
        let ahead = |rate: Rate| (rate.0 / 1000 * AHEAD.as_millis() as u64).max(LEAST_AHEAD);
        let window = allowed.receiving.map_or(u64::MAX, ahead).min(self.config.window_bytes);
        self.swarm.set_window(window);
        self.out.push_back(Output::Limit(allowed));
    }

    // An agent.

    pub(crate) fn meets_origin(&mut self, _now: Time) {
        self.ration.set_alone(false);
        if self.ration.own().is_some() || (self.ration.is_shared() && self.ration.is_active()) {
            self.say_whether_it_sends();
        }
        self.apply();
    }

    pub(crate) fn loses_origin(&mut self, now: Time) {
        self.ration.set_alone(true);
        self.apply();
        self.wait_for_no_patch(now);
    }

    pub(crate) fn allotted(&mut self, _now: Time, allotment: Allotment) {
        let was_shared = self.ration.is_shared();
        self.ration.allotted(allotment);
        if !was_shared && self.ration.is_shared() && self.ration.is_active() {
            self.say_whether_it_sends();
        }
        self.apply();
    }

    fn say_whether_it_sends(&mut self) {
        let Side::Agent(agent) = &self.side else { return };
        let knows = |origin: &NodeId| self.peers.get(origin).is_some_and(Peer::knows_limits);
        let origins: Vec<NodeId> = agent.origins.connected().filter(knows).collect();
        let message = Message::Sends { is_active: self.ration.is_active(), own: self.ration.own() };
        origins.into_iter().for_each(|origin| self.send(origin, message.clone()));
    }

    // An origin.

    pub(crate) fn sends(&mut self, now: Time, from: NodeId, is_active: bool, own: Option<Rate>) {
        let Side::Origin(origin) = &mut self.side else { return };
        let Some(known) = origin.nodes.get_mut(&from) else { return };
        (known.is_sending, known.own_limit) = (is_active, own);
        // It may have given its share back in the meantime: it is told again, also when that is what it was told last.
        known.allotted = known.allotted.filter(|_| !is_active);
        self.allot_soon(now);
    }

    pub(crate) fn allot_soon(&mut self, now: Time) {
        if let Side::Origin(origin) = &self.side
            && origin.catalog.limits().contains_key(&Scope::Total)
        {
            self.alarms.ensure(Alarm::Allot, now.after(ALLOT));
        }
    }

    /// A node has come: it is told its limits before anything that makes it send.
    pub(crate) fn allot_anew(&mut self, now: Time, node: NodeId) {
        // A share that others have not given up yet is not given away: nothing is said of its sending here.
        let share = self.share();
        if let Some(allotment) = self.allotment_of(node, share) {
            self.tell(node, allotment);
        }
        self.allot_soon(now);
    }

    /// Tells every node what it may do, where that is something new.
    pub(crate) fn allot(&mut self, _now: Time) {
        self.alarms.clear(&Alarm::Allot);
        let Side::Origin(origin) = &self.side else { return };
        let up = origin.nodes.iter().filter(|(_, known)| known.is_up && known.role == Role::Agent);
        let nodes: Vec<NodeId> = up.map(|(node, _)| *node).collect();
        let share = self.share();
        for node in nodes {
            if let Some(allotment) = self.allotment_of(node, share) {
                self.tell(node, allotment);
            }
        }
        let cap = cap(self.limits(), self.me, &Labels::new());
        let share = share.map(|share| if self.ration.is_active() { share } else { resting(share) });
        self.ration.allotted(Allotment { cap, share });
        self.apply();
    }

    fn tell(&mut self, node: NodeId, allotment: Allotment) {
        let Side::Origin(origin) = &mut self.side else { return };
        let Some(known) = origin.nodes.get_mut(&node) else { return };
        if known.allotted.replace(allotment).unwrap_or_default() != allotment {
            self.send(node, Message::Limit(allotment));
        }
    }

    fn limits(&self) -> &BTreeMap<Scope, Rate> {
        static NONE: BTreeMap<Scope, Rate> = BTreeMap::new();
        if let Side::Origin(origin) = &self.side { origin.catalog.limits() } else { &NONE }
    }

    /// What an agent may do that can be told so, when this is the share of a sender.
    fn allotment_of(&self, node: NodeId, share: Option<Share>) -> Option<Allotment> {
        let Side::Origin(origin) = &self.side else { return None };
        let known = origin.nodes.get(&node).filter(|_| self.peers.get(&node).is_some_and(Peer::knows_limits))?;
        let share = share.map(|share| if known.is_sending { share } else { resting(share) });
        Some(Allotment { cap: cap(self.limits(), node, &known.labels), share })
    }

    fn share(&self) -> Option<Share> {
        self.limits().get(&Scope::Total).map(|total| share(*total, self.members()))
    }

    fn members(&self) -> Members {
        let Side::Origin(origin) = &self.side else { return Members { all: 1, away: 0, senders: 1 } };
        let mut members = Members { all: 1, away: 0, senders: u64::from(self.ration.is_active()) };
        for (node, known) in origin.nodes.iter().filter(|(_, known)| known.role == Role::Agent) {
            let is_told = known.is_up && self.peers.get(node).is_some_and(Peer::knows_limits);
            members.all += 1;
            members.away += u64::from(!is_told);
            members.senders += u64::from(is_told && known.is_sending);
        }
        members
    }

    pub(crate) fn limit_status(&self) -> LimitStatus {
        LimitStatus {
            set: self.limits().iter().map(|(scope, rate)| (scope.clone(), *rate)).collect(),
            origin: lowest(self.ration.own(), cap(self.limits(), self.me, &Labels::new())),
            share: self.share().map(|share| share.now),
            senders: self.members().senders as u32,
        }
    }
}
