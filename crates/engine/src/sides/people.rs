//! Operators come and go: trust roots are followed, told on and asked for, and what members may ask is judged by the newest one.
//!
//! A root is signed by the fleet's root keys, so an origin cannot make one; it keeps them all, in its journal, and tells its agents
//! every one after the first before anything that is signed under it. What stands must be believed under the next root as well, or a
//! node that comes later could follow nothing: so an origin refuses a root that would leave a standing order without a signature
//! that counts, until that order is countersigned.

use crate::catalog::{Next, Proposal, Published};
use crate::door::{Answer, AppStatus, ClientId, Event, Job, MAX_ROOTS, Message, Misbehaviour, Refusal, Request, Time};
use crate::trust::{Distrust, Followed, Judge};
use crate::{Engine, Errand, FIRST_ROOT, Side};
use content::{Act, AppName, Directive, Fact, NodeId, PayloadKind, Role, Root, Signed};

/// Bytes of trust roots in one message, far below what a frame may have.
const MAX_BYTES: usize = 1 << 20;
/// What signatures and a header add to a root at most.
const AROUND: usize = 2048;
/// What is said of an application whose newest order is believed no more.
const LEFT_BEHIND: &str = "what is ordered was signed by somebody who may no more under the newest trust root, which came back to this \
    origin later, so nobody is told of it; deploy it anew, or have somebody who may co-sign it with `tiding operator`";

/// What one must be allowed for a request.
enum Needs {
    /// Nothing: it only reads.
    Nothing,
    /// To be an operator; what is signed says the rest.
    Name,
    Power(Act, &'static str),
    /// To be allowed to deploy this, where it was ordered.
    Of(AppName),
}

fn needs(request: &Request) -> Needs {
    let fleet = |what| Needs::Power(Act::Fleet, what);
    match request {
        Request::Status | Request::Journal { .. } | Request::Release { .. } | Request::Vouch { .. } => Needs::Nothing,
        Request::Deploy { .. } | Request::Order { .. } | Request::Direct { .. } | Request::Verify { .. } => Needs::Name,
        Request::Repair { app } => Needs::Of(app.clone()),
        Request::IssueToken { .. } | Request::Enrol { .. } => fleet("make join lines"),
        Request::RevokeToken { .. } => fleet("take join lines back"),
        Request::Forget { .. } => fleet("forget nodes"),
        Request::Limit { .. } => fleet("set limits"),
        Request::Countersign { .. } => fleet("countersign"),
        Request::Root { .. } | Request::EnrolOperator { .. } | Request::Dismiss { .. } => fleet("change operators"),
    }
}

/// Roots in messages that hold so many, and so many bytes, at most.
pub(super) fn in_messages(roots: &[Signed]) -> Vec<Message> {
    let (mut messages, mut next, mut bytes) = (Vec::new(), Vec::new(), 0);
    for root in roots {
        let len = root.payload.len() + AROUND;
        if next.len() >= MAX_ROOTS || (bytes + len > MAX_BYTES && !next.is_empty()) {
            messages.push(Message::Roots { roots: std::mem::take(&mut next) });
            bytes = 0;
        }
        bytes += len;
        next.push(root.clone());
    }
    messages.extend((!next.is_empty()).then_some(Message::Roots { roots: next }));
    messages
}

impl Engine {
    // At an agent.

    /// Its origin says which roots there are. One that does not follow is the origin's doing, and nobody else's.
    pub(super) fn rooted(&mut self, now: Time, from: NodeId, roots: &[Signed]) {
        let before = self.trust.version();
        for root in roots {
            match self.trust.follow(root) {
                // Each is kept, in its turn: a root half follows them one after the other, and a chain with a gap proves nothing.
                Ok(Followed::Anew) => self.keep_root(root.clone()),
                Ok(Followed::Known) => {}
                Err(why) => {
                    self.distrust(from, why.to_string());
                    if !why.is_ignorance() {
                        self.convict(now, from, Misbehaviour::BadSignature);
                    }
                    break;
                }
            }
        }
        if self.trust.version() > before {
            self.judge_what_was_heard();
        }
    }

    fn keep_root(&mut self, root: Signed) {
        let authorities = self.trust.root().map(|root| root.authorities.clone()).unwrap_or_default();
        self.event(Event::Rooted { version: self.trust.version(), authorities });
        self.job(Errand::Root, Job::Root { root });
    }

    // At an origin: roots.

    /// A root that stands in the journal.
    pub(super) fn recall_root(&mut self, root: &Signed) {
        self.trust.recall(root);
        match self.trust.follow(root) {
            // What the store remembers is older than the journal: it was killed between the two.
            Ok(Followed::Anew) => self.keep_root(root.clone()),
            Ok(Followed::Known) => {}
            Err(why) => self.distrust(self.me, format!("a trust root in the journal: {why}")),
        }
    }

    /// A new root stands in the journal: it is in force, and everyone hears of it before anything else.
    pub(super) fn follow_root(&mut self, now: Time, root: &Signed) {
        if self.trust.follow(root) != Ok(Followed::Anew) {
            return;
        }
        self.keep_root(root.clone());
        let Side::Origin(origin) = &self.side else { return };
        for node in origin.agents_up() {
            match self.is_too_old(node) {
                true => self.event(Event::TooOld { peer: node }),
                false => self.send(node, Message::Roots { roots: vec![root.clone()] }),
            }
        }
        self.judge_what_stands();
        self.end_unbelieved(now);
    }

    /// What is being brought and is believed no more ends.
    fn end_unbelieved(&mut self, now: Time) {
        let Side::Origin(origin) = &self.side else { return };
        let judged = origin.spreads.iter().filter_map(|(app, spread)| {
            let (release, order) = (&spread.release.signed, &spread.order.signed);
            let why = self.trust.release(release).err().or_else(|| self.trust.order(order).err())?;
            Some((app.clone(), why))
        });
        let ended: Vec<(AppName, Distrust)> = judged.collect();
        ended.into_iter().for_each(|(app, why)| self.end_spread(now, &app, Err(Refusal::NotBelieved(why.to_string()))));
    }

    /// Tells a node that came the roots after the one that it follows, or asks it for those that it knows and this origin does not.
    pub(super) fn tell_roots(&mut self, node: NodeId, follows: u64) {
        if self.is_too_old(node) {
            return self.event(Event::TooOld { peer: node });
        }
        self.ask_for_roots(node, follows);
        let newer = self.trust.roots_after(follows).or_else(|| self.trust.roots_after(FIRST_ROOT));
        in_messages(&newer.unwrap_or_default()).into_iter().for_each(|message| self.send(node, message));
    }

    /// Whether a node's software cannot follow the root that is in force.
    fn is_too_old(&self, node: NodeId) -> bool {
        let is_deaf = |peer: &crate::Peer| peer.is_known && peer.role == Role::Agent && !peer.knows_roots();
        self.trust.version() > 1 && self.peers.get(&node).is_some_and(is_deaf)
    }

    /// A node's status, with what it cannot know itself.
    pub(super) fn with_trouble(&self, node: NodeId, status: &AppStatus) -> AppStatus {
        let why =
            "its software is too old to follow the fleet's trust root, so it is told nothing new; update it there";
        let left = || self.left_behind(&status.app).then(|| LEFT_BEHIND.to_owned());
        let trouble =
            if self.is_too_old(node) { Some(why.to_owned()) } else { left().or_else(|| status.trouble.clone()) };
        AppStatus { trouble, ..status.clone() }
    }

    // At an origin: what is judged when its turn comes.

    /// The next proposal: what was believed when it came may be believed no more.
    pub(super) fn next_of_catalog(&mut self) -> Option<Next> {
        let Side::Origin(origin) = &self.side else { return None };
        let refused = origin.catalog.front().and_then(|proposal| self.objects(proposal));
        let Side::Origin(origin) = &mut self.side else { return None };
        match refused {
            Some(why) => origin.catalog.refuse_front(why),
            None => origin.catalog.next(),
        }
    }

    fn objects(&self, proposal: &Proposal) -> Option<Refusal> {
        let unbelieved = |why: Distrust| Refusal::NotBelieved(why.to_string());
        match proposal {
            Proposal::Order { release, order, .. } => {
                let release = release.as_ref().and_then(|release| self.trust.release(release).err());
                release.or_else(|| self.trust.order(order).err()).map(unbelieved)
            }
            Proposal::Direct { fact: Fact::Directed { directive, .. }, .. } => {
                self.judge_directive(directive).err().map(unbelieved)
            }
            Proposal::Root { root, .. } => self.objects_to_root(root),
            Proposal::Handed { roots, .. } => {
                self.trust.newer(roots).err().map(|why| Refusal::NotBelieved(why.to_string()))
            }
            Proposal::Countersign { facts, .. } => facts.iter().find_map(|fact| match fact {
                Fact::Published { release } => self.trust.release(release).err().map(unbelieved),
                Fact::Ordered { order } => self.trust.order(order).err().map(unbelieved),
                _ => None,
            }),
            _ => None,
        }
    }

    pub(super) fn judge_directive(&self, signed: &Signed) -> Result<Directive, Distrust> {
        self.trust.directive(signed, |directive| {
            let Side::Origin(origin) = &self.side else { return None };
            let newest = origin.catalog.newest(&directive.app).filter(|newest| newest.id == directive.order)?;
            Some(newest.order.selector.clone())
        })
    }

    fn objects_to_root(&self, signed: &Signed) -> Option<Refusal> {
        let Side::Origin(origin) = &self.side else { return None };
        if origin.catalog.knows_root(signed) {
            return None;
        }
        match self.trust.next_root(signed) {
            Err(why) => Some(Refusal::NotBelieved(why.to_string())),
            Ok(None) => {
                let version = self.trust.version();
                Some(Refusal::Invalid(format!("trust root {version} came first; say the same command again")))
            }
            Ok(Some(next)) => self.leaves_behind(&next).map(Refusal::Invalid),
        }
    }

    /// What stands and would be believed no more under a root.
    fn leaves_behind(&self, root: &Root) -> Option<String> {
        let Side::Origin(origin) = &self.side else { return None };
        let judge = Judge { fleet: self.config.fleet, root };
        let next = "have an operator who stays countersign it first, as `tiding operator remove` does";
        for newest in origin.catalog.orders() {
            let (app, epoch) = (&newest.order.app, newest.order.epoch);
            if !judge.order(&newest.signed) {
                let by = self.trust.signer(&newest.signed);
                return Some(format!("epoch {epoch} of {app}, ordered by {by}, would be believed no more; {next}"));
            }
            let named = [Some(newest.order.release), newest.order.fallback].into_iter().flatten();
            let lost = named.filter_map(|id| origin.catalog.release(id)).find(|one| !judge.release(&one.signed));
            if let Some(lost) = lost {
                let version = &lost.release.version;
                return Some(format!(
                    "{version}, which epoch {epoch} of {app} names, would be believed no more; {next}"
                ));
            }
        }
        None
    }

    /// Refuses a release that was published once and is signed by nobody who may sign now: agents would not believe it.
    pub(super) fn require_believed(&self, published: &Published) -> Result<(), Refusal> {
        let version = &published.release.version;
        let gone = |why: Distrust| Refusal::NotBelieved(format!("{version} was signed by one who may no more: {why}"));
        self.trust.release(&published.signed).map(drop).map_err(gone)
    }

    // At an origin: what members ask.

    /// A request, if whoever's certificate asks may ask it.
    pub(crate) fn request_of_member(&mut self, now: Time, client: ClientId, by: Option<NodeId>, request: Request) {
        match by.and_then(|node| self.objects_to_member(node, &request)) {
            Some(why) => self.refuse(client, Refusal::NotAllowed(why)),
            None => self.request_of_origin(now, client, request),
        }
    }

    fn objects_to_member(&self, node: NodeId, request: &Request) -> Option<String> {
        let Side::Origin(origin) = &self.side else { return None };
        if origin.catalog.is_revoked(node) {
            return Some("this certificate was revoked: whoever has it is let in no more".to_owned());
        }
        let needed = needs(request);
        if matches!(needed, Needs::Nothing) {
            return None;
        }
        let name = origin.catalog.operator_name(node).unwrap_or("whoever has this certificate");
        let Some(operator) = self.trust.operator(name) else {
            return Some(format!("{name} is no operator by the newest trust root, and may do nothing but read"));
        };
        match needed {
            Needs::Of(app) => {
                let on = origin.catalog.newest(&app).map(|newest| &newest.order.selector);
                let may = operator.powers.cover(Act::Deploy, &app, on);
                (!may).then(|| format!("{name} may not repair {app} there: {name} may {}", operator.powers))
            }
            Needs::Power(act, what) if !operator.powers.allow(act) => {
                Some(format!("{name} may not {what}: the power {act} is missing ({name} may {})", operator.powers))
            }
            _ => None,
        }
    }

    /// Whoever is in the fleet as an operator that the newest root does not name brings nothing.
    pub(super) fn objects_to_publisher(&self, publisher: NodeId) -> Option<Refusal> {
        let Side::Origin(origin) = &self.side else { return None };
        let name = origin.catalog.operator_name(publisher)?;
        let why = || format!("{name} is no operator by the newest trust root, and may do nothing but read");
        self.trust.operator(name).is_none().then(|| Refusal::NotAllowed(why()))
    }

    pub(super) fn countersign(&mut self, client: ClientId, documents: Vec<Signed>) {
        match self.countersigned(documents) {
            Ok(facts) => self.propose(Proposal::Countersign { client, facts }),
            Err(refusal) => self.refuse(client, refusal),
        }
    }

    /// The facts that say known documents again.
    fn countersigned(&self, documents: Vec<Signed>) -> Result<Vec<Fact>, Refusal> {
        let Side::Origin(origin) = &self.side else { return Ok(Vec::new()) };
        let known = |document: Signed| match document.kind {
            PayloadKind::Release => {
                let id = content::ReleaseId(document.payload_digest());
                origin.catalog.release(id).map(|_| Fact::Published { release: document })
            }
            PayloadKind::Order => {
                let id = content::OrderId(document.payload_digest());
                let is_newest = origin.catalog.orders().any(|newest| newest.id == id);
                is_newest.then_some(Fact::Ordered { order: document })
            }
            PayloadKind::Root | PayloadKind::Directive => None,
        };
        let unknown = || Refusal::Unknown("it is no release, and no newest order, that stands here".to_owned());
        documents.into_iter().map(|document| known(document).ok_or_else(unknown)).collect()
    }

    /// Says whether somebody was let in as what its certificate says: who has a CA's key makes certificates that say anything.
    pub(super) fn vouch(&mut self, client: ClientId, node: NodeId, role: Role) {
        let Side::Origin(origin) = &self.side else { return };
        let is_known = origin.catalog.node(node).is_some_and(|known| known.role == role);
        match is_known && !origin.catalog.is_revoked(node) {
            true => self.answer(client, Answer::Noted),
            false => {
                let why = "nobody was let into this fleet with this key as what the certificate says";
                self.refuse(client, Refusal::NotAllowed(why.to_owned()));
            }
        }
    }

    pub(super) fn enrol_operator(&mut self, client: ClientId, node: NodeId, name: String) {
        let is_fine = !name.is_empty() && name.len() <= Fact::MAX_NAME && !name.chars().any(char::is_control);
        if !is_fine {
            let why = "an operator's name has 1 to 64 bytes without control characters; take another".to_owned();
            return self.refuse(client, Refusal::Invalid(why));
        }
        let is_named = self.trust.operator(&name).is_some();
        self.propose(Proposal::EnrolOperator { client, node, name, is_named });
    }

    pub(super) fn dismiss(&mut self, client: ClientId, name: String) {
        match self.trust.operator(&name).is_some() {
            true => {
                let why = format!("{name} is an operator by the newest trust root; bring a root without them first");
                self.refuse(client, Refusal::NotAllowed(why));
            }
            false => self.propose(Proposal::Dismiss { client, name }),
        }
    }
}
