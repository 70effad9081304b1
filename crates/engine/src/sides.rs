//! The routing that differs by role: an agent's, an origin's, a publisher's. No decision is made here that a machine could make.

mod agent;
mod hearsay;
mod origin;
mod pace;
mod patches;
mod people;
mod publisher;
mod ration;
mod revoked;
mod roads;
mod versions;

pub(crate) use agent::AgentSide;
pub(crate) use origin::OriginSide;
pub(crate) use publisher::PublisherSide;

use crate::door::{AppendError, Event, Hello, Message, Output, Time};
use crate::swarm;
use crate::tracker::Dial;
use crate::{Engine, Side};
use content::fact::Position;
use content::{ContentSpec, NodeId, Release, Role};
use std::net::SocketAddr;

fn contents_of(release: &Release) -> impl Iterator<Item = ContentSpec> + use<> {
    [Some(release.content), release.attributes].into_iter().flatten()
}

impl Engine {
    fn connect(&mut self, dial: Dial) {
        if dial.expect.is_none_or(|node| !self.peers.contains_key(&node)) {
            self.out.push_back(Output::Connect { address: dial.address, expect: dial.expect });
        }
    }

    pub(crate) fn tick_side(&mut self, now: Time) {
        loop {
            let dial = match &mut self.side {
                Side::Agent(agent) => agent.due(now),
                Side::Publisher(publisher) => publisher.origins.due(now),
                Side::Origin(_) => None,
            };
            match dial {
                Some(dial) => self.connect(dial),
                None => return,
            }
        }
    }

    pub(crate) fn unreachable(&mut self, now: Time, address: SocketAddr) {
        match &mut self.side {
            Side::Agent(agent) => {
                agent.origins.unreachable(now, address, &mut self.chance);
                agent.mesh.unreachable(now, address, &mut self.chance);
                self.neighbours_came(now);
            }
            Side::Publisher(publisher) => publisher.origins.unreachable(now, address, &mut self.chance),
            Side::Origin(_) => {}
        }
    }

    /// Some neighbour came or will not: whether there is any left to wait for.
    fn neighbours_came(&mut self, now: Time) {
        if let Side::Agent(agent) = &self.side
            && !agent.mesh.expects()
        {
            self.swarm.expect_no_more(now);
        }
    }

    /// A peer is connected and has said nothing yet.
    pub(crate) fn side_up(&mut self, now: Time, peer: NodeId, role: Role) {
        match (&mut self.side, role) {
            (Side::Agent(agent), Role::Origin) => agent.origins.up(now, peer),
            (Side::Agent(agent), Role::Agent) => agent.mesh.up(now, peer),
            (Side::Publisher(publisher), Role::Origin) => publisher.origins.up(now, peer),
            _ => {}
        }
    }

    /// A peer is known; of an agent that an origin greets, also which trust root it follows.
    pub(crate) fn side_ready(&mut self, now: Time, peer: NodeId, role: Role, hello: &Hello, follows: u64) {
        match (&self.side, role) {
            (Side::Agent(_), Role::Origin) => self.origin_ready(now, peer),
            (Side::Agent(_), Role::Agent) => {
                self.neighbours_came(now);
                self.pass_all_down();
            }
            (Side::Origin(_), role) => self.node_ready(now, peer, role, (hello, follows)),
            (Side::Publisher(_), Role::Origin) => self.submit_all(peer),
            _ => {}
        }
    }

    pub(crate) fn side_gone(&mut self, now: Time, peer: NodeId, role: Role) {
        let is_banned = self.verdicts.on(peer).is_some();
        self.has_not_heard(peer);
        match (&mut self.side, role) {
            (Side::Agent(agent), Role::Origin) => {
                if agent.origins.down(now, peer, &mut self.chance) {
                    self.event(Event::OriginSilent);
                    self.loses_origin(now);
                }
            }
            (Side::Agent(agent), _) if is_banned => agent.mesh.shun(peer),
            (Side::Agent(agent), _) => {
                agent.mesh.down(now, peer, &mut self.chance);
                self.neighbours_came(now);
            }
            (Side::Publisher(publisher), _) => {
                publisher.origins.down(now, peer, &mut self.chance);
            }
            (Side::Origin(_), _) => self.node_gone(now, peer),
        }
    }

    pub(crate) fn side_message(&mut self, now: Time, from: NodeId, message: Message) {
        match &self.side {
            Side::Agent(_) => self.message_to_agent(now, from, message),
            Side::Origin(_) => self.message_to_origin(now, from, message),
            Side::Publisher(_) => self.message_to_publisher(now, message),
        }
    }

    /// Lets a machine of this role say one thing that it wants; false when none wants anything.
    pub(crate) fn side_action(&mut self, now: Time) -> bool {
        match &mut self.side {
            Side::Agent(agent) => match agent.follower.poll() {
                Some(action) => self.follower_action(now, action),
                None => return false,
            },
            Side::Origin(_) => match self.next_of_catalog() {
                Some(next) => self.catalog_next(now, next),
                None => return false,
            },
            Side::Publisher(_) => return false,
        }
        true
    }

    /// What happened to a content as a whole.
    pub(crate) fn content_news(&mut self, now: Time, news: swarm::Action) {
        match &self.side {
            Side::Agent(_) => self.content_news_of_agent(now, news),
            Side::Origin(_) => self.content_news_of_origin(now, &news),
            Side::Publisher(_) => self.content_news_of_publisher(&news),
        }
    }

    pub(crate) fn appended(&mut self, now: Time, outcome: Result<Position, AppendError>) {
        let Side::Origin(origin) = &mut self.side else { return };
        if let Some(settled) = origin.catalog.appended(outcome) {
            self.settled(now, settled);
        }
    }
}
