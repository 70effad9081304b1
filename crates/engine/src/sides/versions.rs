//! Members of different versions: an agent says which trust root it follows, an origin that lost roots gets them back from it, and no order
//! is taken that selected agents could not read.
//!
//! A chain of roots proves itself: each is signed by the keys of the one before. So an origin takes newer ones from whoever brings them,
//! and gains nothing by refusing: agents that follow them believe nobody whom they removed. What the origin would have them do under an
//! older root they would take for forged.

use super::origin::Known;
use super::people::in_messages;
use crate::catalog::Proposal;
use crate::door::{Event, Message, Misbehaviour, Refusal, Time};
use crate::trust::{Distrust, Judge};
use crate::{Engine, FIRST_ROOT, Side, wire};
use content::{AppName, NodeId, Order, Release, Role, Root, Signed, SoftwareVersion};

/// How many names a refusal says.
const NAMED: usize = 8;

impl Engine {
    /// Whether an agent is told nothing before it has said which trust root it follows.
    pub(crate) fn waits_for_its_root(&self, node: NodeId) -> bool {
        let says = |peer: &crate::Peer| peer.role == Role::Agent && peer.says_what_it_follows();
        matches!(self.side, Side::Origin(_)) && self.peers.get(&node).is_some_and(says)
    }

    // At an agent.

    /// Its origin follows an older root: it is handed those after it, as many as go into one message. Once it has taken them it says what
    /// it follows then.
    pub(super) fn hand_roots(&mut self, origin: NodeId, theirs: u64) {
        let ours = self.trust.version();
        self.peers.entry(origin).and_modify(|peer| peer.is_behind = theirs < ours);
        if theirs >= ours {
            return;
        }
        let newer = self.trust.roots_after(theirs);
        self.event(Event::RootBehind { peer: origin, theirs, ours, is_handed: newer.is_some() });
        let first = in_messages(&newer.unwrap_or_default()).into_iter().next();
        first.into_iter().for_each(|message| self.send(origin, message));
    }

    /// Whether what is wrong with a document may be that its origin, as it has said itself, follows an older root: somebody signed it who may
    /// no more.
    pub(super) fn is_of_an_older_root(&self, from: NodeId, signed: &Signed, why: &Distrust) -> bool {
        self.peers.get(&from).is_some_and(|peer| peer.is_behind) && self.trust.may_be_of_another_root(signed, why)
    }

    // At an origin.

    /// An agent that follows a newer root is told what is followed here, for which it hands over what came after.
    pub(super) fn ask_for_roots(&mut self, agent: NodeId, follows: u64) {
        let root = self.trust.version();
        if follows > root {
            self.send(agent, Message::Follows { root });
        }
    }

    /// An agent brings roots. What is known, or is being written, costs no more than a look; what does not follow is the agent's doing.
    pub(super) fn handed_roots(&mut self, now: Time, from: NodeId, roots: Vec<Signed>) {
        let newest =
            roots.last().and_then(|last| Root::decode(&last.payload).ok()).map_or(u64::MAX, |root| root.version);
        let Side::Origin(origin) = &self.side else { return };
        if newest <= self.trust.version().max(origin.handed) {
            return;
        }
        match self.trust.newer(&roots) {
            Ok(roots) if roots.is_empty() => {}
            Ok(roots) => self.propose_handed(from, newest, roots),
            Err(why) => {
                self.distrust(from, why.to_string());
                if !why.is_ignorance() {
                    self.convict(now, from, Misbehaviour::BadSignature);
                }
            }
        }
    }

    fn propose_handed(&mut self, from: NodeId, newest: u64, roots: Vec<Signed>) {
        if let Some(origin) = self.origin() {
            origin.handed = newest;
        }
        self.propose(Proposal::Handed { from, roots });
    }

    /// What an agent handed over stands in the journal, or could not be written.
    pub(super) fn take_roots(&mut self, now: Time, from: NodeId, roots: &[Signed], is_written: bool) {
        if let Some(origin) = self.origin() {
            origin.handed = 0;
        }
        if !is_written {
            return;
        }
        roots.iter().for_each(|root| self.follow_root(now, root));
        let version = self.trust.version();
        self.event(Event::RootsHanded { from, version });
        self.send(from, Message::Follows { root: version });
    }

    /// Finds out which newest orders are believed no more. That cannot be with roots that an operator brings, which wait until what stands
    /// is signed by somebody who stays; it can with those that come back later than what they were brought after.
    pub(super) fn judge_what_stands(&mut self) {
        let left = self.unbelieved();
        if let Some(origin) = self.origin() {
            origin.left_behind = left.into_iter().collect();
        }
    }

    fn unbelieved(&self) -> Vec<AppName> {
        let (Side::Origin(origin), Some(root)) = (&self.side, self.trust.root()) else { return Vec::new() };
        if root.version <= FIRST_ROOT {
            return Vec::new();
        }
        let judge = Judge { fleet: self.config.fleet, root };
        let release = |id| origin.catalog.release(id).is_none_or(|known| judge.release(&known.signed));
        let orders = origin.catalog.orders();
        let left = orders.filter(|newest| !judge.order(&newest.signed) || !release(newest.order.release));
        left.map(|newest| newest.order.app.clone()).collect()
    }

    pub(super) fn left_behind(&self, app: &AppName) -> bool {
        matches!(&self.side, Side::Origin(origin) if origin.left_behind.contains(app))
    }

    /// Refuses an order, or the release that comes with it, that agents which it selects and which are here could not read or are too old
    /// for, with their names.
    pub(super) fn require_readers(&self, order: &Order, release: Option<&Release>) -> Result<(), Refusal> {
        let speaks = |node: &NodeId| self.peers.get(node).filter(|peer| peer.is_known).map(|peer| peer.speaks);
        if !order.restraint.is_none() {
            let old =
                self.selected_names(order, |node, _| speaks(&node).is_some_and(|speaks| speaks < wire::RESTRAINTS));
            refuse_for(&old, &format!("{RESTRAINED}, and {{}} would not read it; {UPGRADE}, or order without these"))?;
        }
        let Some(Release { instructions, version, .. }) = release else { return Ok(()) };
        if instructions.version() >= ENCODED {
            let old =
                self.selected_names(order, |node, _| speaks(&node).is_some_and(|speaks| speaks < wire::ADOPTIONS));
            refuse_for(
                &old,
                &format!("what {version} says is read by {SPEAKERS}, and {{}} would not read it; {UPGRADE}"),
            )?;
        }
        let Some(least) = instructions.min_agent else { return Ok(()) };
        let old = self.selected_names(order, |_, known| is_older(&known.software, least));
        refuse_for(&old, &format!("{version} wants {least} of tiding or newer, and {{}} runs an older one; {UPGRADE}"))
    }

    /// The names of the agents that an order selects, that are here, and of which something holds.
    fn selected_names(&self, order: &Order, holds: impl Fn(NodeId, &Known) -> bool) -> Vec<String> {
        let Side::Origin(origin) = &self.side else { return Vec::new() };
        let agents = origin.nodes.iter().filter(|(_, known)| known.is_up && known.role == Role::Agent);
        let chosen = agents.filter(|(node, known)| order.selector.matches(&known.labels) && holds(**node, known));
        let mut names: Vec<String> = chosen.map(|(node, _)| origin.name(*node)).collect();
        names.sort_unstable();
        names
    }
}

/// The first version of a release's encoding that only agents of [`wire::ADOPTIONS`] read.
const ENCODED: u8 = 4;
const SPEAKERS: &str = "software that speaks protocol 6 or newer";
const RESTRAINED: &str =
    "an order with gates, a deadline or limits of how many at once is read by software that speaks protocol 6 or newer";
const UPGRADE: &str = "upgrade them first with `tiding upgrade`, or choose others with --on";

/// Whether software is of an older version than that, or of none that is known.
pub(super) fn is_older(software: &str, least: SoftwareVersion) -> bool {
    software.parse::<SoftwareVersion>().map_or(true, |software| software < least)
}

/// Refuses in these words, with the names in them, if there are any.
fn refuse_for(old: &[String], words: &str) -> Result<(), Refusal> {
    let named = old.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let named = match old.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    };
    if old.is_empty() { Ok(()) } else { Err(Refusal::Invalid(words.replacen("{}", &named, 1))) }
}
