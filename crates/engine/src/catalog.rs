//! What the journals say, folded into answers: releases, orders, tokens, enrolments; and the queue of what is to be added.
//!
//! One append is under way at a time; every proposal is checked when it comes to the front, so two that contradict each
//! other cannot both pass. Nothing is true here before its fact is durable.

use crate::door::{AppendError, ClientId, MAX_REVOKED, Refusal};
use content::fact::{JournalName, Position};
use content::{
    AppName, ContentId, Digest, Fact, Label, Labels, NodeId, Order, OrderId, Rate, Release, ReleaseId, Role, Root,
    Scope, Signed, TokenId, UnixTime,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The name under which software of before let the first operator in, whatever the root called them.
const OF_OLD: &str = "operator";

/// How many scopes may have a limit: each is looked at for each node.
const MAX_LIMITS: usize = 256;

/// By how many epochs an agent is believed to be ahead: as many as nobody orders between two backups, and few enough that whoever lies about it at every
/// deploy uses none up that anyone needs.
const MOST_AHEAD: u64 = 1024;
/// Of how many applications it is noted that a node has accepted orders which are not known here.
const MAX_UNKNOWN: usize = 64;

/// A journal that has no facts.
const BEGINNING: Position = Position { generation: 1, index: 0 };

/// Something that shall become true.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Proposal {
    /// A release (unless it was published before) and an order for it.
    Order {
        release: Option<Signed>,
        order: Signed,
        id: OrderId,
        app: AppName,
        epoch: u64,
        client: Option<ClientId>,
    },
    IssueToken {
        client: ClientId,
        fact: Fact,
    },
    RevokeToken {
        client: ClientId,
        token: TokenId,
    },
    Forget {
        client: ClientId,
        node: NodeId,
    },
    Limit {
        client: ClientId,
        scope: Scope,
        rate: Option<Rate>,
    },
    Enrol {
        client: ClientId,
        enrolment: Enrolment,
    },
    /// The next trust root.
    Root {
        client: ClientId,
        root: Signed,
    },
    /// Trust roots that an agent knows and this origin did not, each following the one before.
    Handed {
        from: NodeId,
        roots: Vec<Signed>,
    },
    /// Documents that are known, with more signatures.
    Countersign {
        client: ClientId,
        facts: Vec<Fact>,
    },
    /// A node that shall be let in as an operator. Whether the newest root names one so says `is_named`.
    EnrolOperator {
        client: ClientId,
        node: NodeId,
        name: String,
        is_named: bool,
    },
    /// The nodes of an operator that is one no more.
    Dismiss {
        client: ClientId,
        name: String,
    },
    /// What an operator has said about a rollout.
    Direct {
        client: ClientId,
        fact: Fact,
    },
    /// A step of a rollout.
    Progress {
        fact: Fact,
    },
}

impl Proposal {
    /// Who asked for it.
    fn client(&self) -> Option<ClientId> {
        match self {
            Self::Order { client, .. } => *client,
            Self::IssueToken { client, .. }
            | Self::RevokeToken { client, .. }
            | Self::Forget { client, .. }
            | Self::Limit { client, .. }
            | Self::Enrol { client, .. }
            | Self::Root { client, .. }
            | Self::Countersign { client, .. }
            | Self::EnrolOperator { client, .. }
            | Self::Dismiss { client, .. }
            | Self::Direct { client, .. } => Some(*client),
            Self::Progress { .. } | Self::Handed { .. } => None,
        }
    }
}

/// A node that would like to join.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Enrolment {
    pub(crate) token: TokenId,
    pub(crate) secret: Digest,
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) now: UnixTime,
}

/// What comes of a proposal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    pub(crate) proposal: Proposal,
    /// What was appended: nothing when it was true before.
    pub(crate) outcome: Result<Vec<Fact>, Refusal>,
}

/// What is to be done for the proposal in front.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// These facts, if the journal still stands there; and whose request that follows.
    Append {
        journal: JournalName,
        expect: Position,
        facts: Vec<Fact>,
        client: Option<ClientId>,
    },
    Settled(Box<Settled>),
}

/// A node that is enrolled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Enrolled {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) labels: Labels,
    token: Option<TokenId>,
}

#[derive(Debug)]
struct Token {
    secret: Digest,
    uses: u32,
    expires: UnixTime,
    role: Role,
    labels: Labels,
    is_revoked: bool,
    used_by: BTreeSet<NodeId>,
}

/// A release that is durable here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    pub(crate) signed: Signed,
    pub(crate) release: Release,
}

/// The newest order of an application.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Newest {
    pub(crate) id: OrderId,
    pub(crate) signed: Signed,
    pub(crate) order: Order,
}

/// What is known, and what is to be added.
#[derive(Debug)]
pub(crate) struct Catalog {
    datacenter: Label,
    positions: BTreeMap<JournalName, Position>,
    releases: BTreeMap<ReleaseId, Published>,
    /// By application, in the order of their publication.
    by_app: BTreeMap<AppName, Vec<ReleaseId>>,
    orders: BTreeMap<AppName, Newest>,
    tokens: BTreeMap<TokenId, Token>,
    nodes: BTreeMap<NodeId, Enrolled>,
    revoked: BTreeSet<NodeId>,
    /// Those of them that were revoked last, the oldest first.
    revoked_last: VecDeque<NodeId>,
    limits: BTreeMap<Scope, Rate>,
    /// Every trust root that was ever in force, and who was the first operator by the first of them.
    roots: BTreeSet<Digest>,
    first_operator: Option<String>,
    queue: VecDeque<Proposal>,
    under_way: Option<(Proposal, JournalName, Vec<Fact>)>,
}

impl Catalog {
    pub(crate) fn new(datacenter: Label) -> Self {
        Self {
            datacenter,
            positions: BTreeMap::new(),
            releases: BTreeMap::new(),
            by_app: BTreeMap::new(),
            orders: BTreeMap::new(),
            tokens: BTreeMap::new(),
            nodes: BTreeMap::new(),
            revoked: BTreeSet::new(),
            revoked_last: VecDeque::new(),
            limits: BTreeMap::new(),
            roots: BTreeSet::new(),
            first_operator: None,
            queue: VecDeque::new(),
            under_way: None,
        }
    }

    /// A fact that stands in a journal, and the position after it.
    pub(crate) fn replay(&mut self, journal: &JournalName, after: Position, fact: &Fact) {
        self.positions.insert(journal.clone(), after);
        self.learn(fact);
    }

    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Published { release: signed } => self.learn_release(signed),
            Fact::Ordered { order: signed } => {
                if let Ok(order) = Order::decode(&signed.payload) {
                    let newest = Newest { id: OrderId(signed.payload_digest()), signed: signed.clone(), order };
                    self.orders.insert(newest.order.app.clone(), newest);
                }
            }
            Fact::TokenIssued { token, secret, uses, expires, role, labels } => {
                let (secret, uses, expires, role, labels) = (*secret, *uses, *expires, *role, labels.clone());
                let used_by = BTreeSet::new();
                let issued = Token { secret, uses, expires, role, labels, is_revoked: false, used_by };
                self.tokens.insert(*token, issued);
            }
            Fact::TokenRevoked { token } => {
                if let Some(token) = self.tokens.get_mut(token) {
                    token.is_revoked = true;
                }
            }
            Fact::Enrolled { node, name, role, labels, token } => {
                if let Some(issued) = token.and_then(|token| self.tokens.get_mut(&token)) {
                    issued.used_by.insert(*node);
                }
                let (name, labels) = (name.clone(), labels.clone());
                self.nodes.insert(*node, Enrolled { name, role: *role, labels, token: *token });
            }
            Fact::Revoked { node } => {
                self.learn_revoked(*node);
                self.limits.remove(&Scope::Node(*node));
            }
            Fact::Limited { scope, rate: Some(rate) } => {
                self.limits.insert(scope.clone(), *rate);
            }
            Fact::Limited { scope, rate: None } => {
                self.limits.remove(scope);
            }
            Fact::Rooted { root } => self.learn_root(root),
            Fact::WaveOpened { .. }
            | Fact::Awaited { .. }
            | Fact::Halted { .. }
            | Fact::FellBack { .. }
            | Fact::Directed { .. }
            | Fact::Finished { .. }
            | Fact::Offered(_) => {}
        }
    }

    fn learn_revoked(&mut self, node: NodeId) {
        if self.revoked.insert(node) {
            self.revoked_last.push_back(node);
            let too_many = self.revoked_last.len().saturating_sub(MAX_REVOKED);
            self.revoked_last.drain(..too_many);
        }
    }

    fn learn_root(&mut self, signed: &Signed) {
        self.roots.insert(signed.payload_digest());
        if let Ok(root) = Root::decode(&signed.payload)
            && root.version == 1
        {
            self.first_operator = root.operators.into_iter().next().map(|first| first.name);
        }
    }

    fn learn_release(&mut self, signed: &Signed) {
        let Ok(release) = Release::decode(&signed.payload) else { return };
        let id = ReleaseId(signed.payload_digest());
        let of_app = self.by_app.entry(release.app.clone()).or_default();
        if !of_app.contains(&id) {
            of_app.push(id);
        }
        self.releases.insert(id, Published { signed: signed.clone(), release });
    }

    // What is known.

    pub(crate) fn position(&self, journal: &JournalName) -> Position {
        self.positions.get(journal).copied().unwrap_or(BEGINNING)
    }

    pub(crate) fn release(&self, id: ReleaseId) -> Option<&Published> {
        self.releases.get(&id)
    }

    /// A release that has this content.
    pub(crate) fn release_with(&self, content: ContentId) -> Option<&Published> {
        self.releases.values().find(|published| published.release.content.id() == content)
    }

    /// The releases of an application, in the order of their publication.
    pub(crate) fn releases_of(&self, app: &AppName) -> impl Iterator<Item = (ReleaseId, &Published)> {
        let ids = self.by_app.get(app).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.releases.get(id)?)))
    }

    pub(crate) fn newest(&self, app: &AppName) -> Option<&Newest> {
        self.orders.get(app)
    }

    /// Those of these epochs, of some applications, that are above the newest known and may come next; of a few, as each is a word of a peer.
    pub(crate) fn unknown_epochs<'a>(
        &self,
        epochs: impl IntoIterator<Item = (&'a AppName, &'a u64)>,
    ) -> BTreeMap<AppName, u64> {
        let newest = |app: &AppName| self.orders.get(app).map_or(0, |newest| newest.order.epoch);
        let is_next = |(app, epoch): &(&AppName, &u64)| {
            **epoch > newest(app) && **epoch <= newest(app).saturating_add(MOST_AHEAD)
        };
        let unknown = epochs.into_iter().filter(is_next).take(MAX_UNKNOWN);
        unknown.map(|(app, epoch)| (app.clone(), *epoch)).collect()
    }

    pub(crate) fn orders(&self) -> impl Iterator<Item = &Newest> {
        self.orders.values()
    }

    pub(crate) fn node(&self, node: NodeId) -> Option<&Enrolled> {
        self.nodes.get(&node)
    }

    pub(crate) fn is_revoked(&self, node: NodeId) -> bool {
        self.revoked.contains(&node)
    }

    /// Who was revoked last, the oldest first; no more than one message holds.
    pub(crate) fn revoked_last(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.revoked_last.iter().copied()
    }

    /// What operators said of how fast pieces may move.
    pub(crate) fn limits(&self) -> &BTreeMap<Scope, Rate> {
        &self.limits
    }

    // What is to be added.

    pub(crate) fn propose(&mut self, proposal: Proposal) {
        self.queue.push_back(proposal);
    }

    /// Whether a step of a rollout waits to be appended.
    pub(crate) fn is_proposed(&self, step: &Fact) -> bool {
        let under_way = self.under_way.as_ref().map(|(proposal, _, _)| proposal);
        self.queue.iter().chain(under_way).any(|known| matches!(known, Proposal::Progress { fact } if fact == step))
    }

    pub(crate) fn proposals(&self) -> usize {
        self.queue.len() + usize::from(self.under_way.is_some())
    }

    /// The proposal that is next, unless one is under way.
    pub(crate) fn front(&self) -> Option<&Proposal> {
        self.queue.front().filter(|_| self.under_way.is_none())
    }

    /// Refuses the proposal that is next.
    pub(crate) fn refuse_front(&mut self, why: Refusal) -> Option<Next> {
        let proposal = self.queue.pop_front()?;
        Some(Next::Settled(Box::new(Settled { proposal, outcome: Err(why) })))
    }

    /// Takes the next proposal from the queue, unless one is under way.
    pub(crate) fn next(&mut self) -> Option<Next> {
        if self.under_way.is_some() {
            return None;
        }
        let proposal = self.queue.pop_front()?;
        Some(match self.prepare(&proposal) {
            Ok(facts) if !facts.is_empty() => {
                let journal = self.journal_of(&facts[0]);
                let (expect, client) = (self.position(&journal), proposal.client());
                self.under_way = Some((proposal, journal.clone(), facts.clone()));
                Next::Append { journal, expect, facts, client }
            }
            outcome => Next::Settled(Box::new(Settled { proposal, outcome })),
        })
    }

    /// How the append went.
    pub(crate) fn appended(&mut self, outcome: Result<Position, AppendError>) -> Option<Settled> {
        let (proposal, journal, facts) = self.under_way.take()?;
        match outcome {
            Ok(position) => {
                self.positions.insert(journal, position);
                facts.iter().for_each(|fact| self.learn(fact));
                Some(Settled { proposal, outcome: Ok(facts) })
            }
            Err(AppendError::Conflict(position)) => {
                self.positions.insert(journal, position);
                self.queue.push_front(proposal);
                None
            }
            Err(AppendError::Unavailable(why)) => {
                let why = format!("the journal cannot be written: {why}");
                Some(Settled { proposal, outcome: Err(Refusal::Failed(why)) })
            }
        }
    }

    fn journal_of(&self, fact: &Fact) -> JournalName {
        match fact {
            fact if is_of_fleet(fact) => JournalName::Fleet,
            _ => JournalName::Datacenter(self.datacenter.clone()),
        }
    }

    /// The facts that make a proposal true; none if it is.
    fn prepare(&self, proposal: &Proposal) -> Result<Vec<Fact>, Refusal> {
        match proposal {
            Proposal::Order { release, order, id, app, epoch, .. } => {
                self.prepare_order(release.as_ref(), order, (*id, app, *epoch))
            }
            Proposal::IssueToken { fact, .. } | Proposal::Direct { fact, .. } | Proposal::Progress { fact } => {
                Ok(vec![fact.clone()])
            }
            Proposal::RevokeToken { token, .. } => match self.tokens.get(token) {
                None => Err(Refusal::Unknown("no join token with this public half was ever issued".to_owned())),
                Some(known) if known.is_revoked => Ok(Vec::new()),
                Some(_) => Ok(vec![Fact::TokenRevoked { token: *token }]),
            },
            Proposal::Forget { node, .. } => match self.nodes.get(node) {
                _ if self.revoked.contains(node) => Ok(Vec::new()),
                None => Err(Refusal::Unknown("no such node ever joined".to_owned())),
                Some(known) if known.role != Role::Agent => Err(Refusal::NotAllowed(
                    "only agents are forgotten; this one is an origin or an operator".to_owned(),
                )),
                Some(_) => Ok(vec![Fact::Revoked { node: *node }]),
            },
            Proposal::Limit { scope, rate, .. } => self.prepare_limit(scope, *rate),
            Proposal::Root { root, .. } if self.knows_root(root) => Ok(Vec::new()),
            Proposal::Root { root, .. } => Ok(vec![Fact::Rooted { root: root.clone() }]),
            Proposal::Handed { roots, .. } => {
                let unknown = roots.iter().filter(|root| !self.knows_root(root));
                Ok(unknown.map(|root| Fact::Rooted { root: root.clone() }).collect())
            }
            Proposal::Countersign { facts, .. } => {
                Ok(facts.iter().filter(|fact| self.is_countersigned(fact)).cloned().collect())
            }
            Proposal::EnrolOperator { node, name, is_named, .. } => self.prepare_operator(*node, name, *is_named),
            Proposal::Dismiss { name, .. } => Ok(self.operators_called(name).map(revoked).collect()),
            Proposal::Enrol { enrolment, .. } => self.prepare_enrolment(enrolment),
        }
    }

    /// Whether a document with other signatures is of a release that is here, or of an order that is the newest still.
    fn is_countersigned(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Published { release } => {
                let known = self.releases.get(&ReleaseId(release.payload_digest()));
                known.is_some_and(|known| known.signed != *release)
            }
            Fact::Ordered { order } => {
                let id = OrderId(order.payload_digest());
                self.orders.values().any(|newest| newest.id == id && newest.signed != *order)
            }
            _ => false,
        }
    }

    /// Whether a trust root is, or was, in force.
    pub(crate) fn knows_root(&self, signed: &Signed) -> bool {
        self.roots.contains(&signed.payload_digest())
    }

    /// Which operator has the certificate of this node.
    pub(crate) fn operator_name(&self, node: NodeId) -> Option<&str> {
        let known = self.nodes.get(&node).filter(|known| known.role == Role::Operator)?;
        match (known.name.as_str(), &self.first_operator) {
            (OF_OLD, Some(first)) => Some(first),
            (name, _) => Some(name),
        }
    }

    /// The nodes that are let in as this operator.
    pub(crate) fn operators_called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = NodeId> + 'a {
        let is_one = move |node: &&NodeId| self.operator_name(**node) == Some(name) && !self.revoked.contains(*node);
        self.nodes.keys().filter(is_one).copied()
    }

    /// An operator has one node. One that was let in under a name that no root ever took up makes room for the next.
    fn prepare_operator(&self, node: NodeId, name: &str, is_named: bool) -> Result<Vec<Fact>, Refusal> {
        if self.revoked.contains(&node) {
            return Err(Refusal::NotAllowed("this key was revoked; make another in an empty directory".to_owned()));
        }
        if name == OF_OLD && self.first_operator.as_deref() != Some(OF_OLD) {
            return Err(Refusal::Invalid(format!(
                "{name} is what a fleet's first operator is called; take another name"
            )));
        }
        if self.nodes.contains_key(&node) && self.operator_name(node) != Some(name) {
            return Err(Refusal::NotAllowed("this key is in the fleet already, as another member".to_owned()));
        }
        let others: Vec<NodeId> = self.operators_called(name).filter(|other| *other != node).collect();
        if is_named && !others.is_empty() {
            let why = format!("operator {name} has a certificate; remove that operator first, or take another name");
            return Err(Refusal::NotAllowed(why));
        }
        let mut facts: Vec<Fact> = others.into_iter().map(revoked).collect();
        if !self.nodes.contains_key(&node) {
            let (name, labels) = (name.to_owned(), Labels::new());
            facts.push(Fact::Enrolled { node, name, role: Role::Operator, labels, token: None });
        }
        Ok(facts)
    }

    fn prepare_limit(&self, scope: &Scope, rate: Option<Rate>) -> Result<Vec<Fact>, Refusal> {
        if rate == self.limits.get(scope).copied() {
            return Ok(Vec::new());
        }
        if rate.is_some_and(|rate| rate < Rate::LEAST) {
            return Err(Refusal::Invalid("less than 8 kbit/s moves nothing in time; give a higher limit".to_owned()));
        }
        if let Scope::Node(node) = scope
            && (self.revoked.contains(node) || self.nodes.get(node).is_none_or(|known| known.role == Role::Operator))
        {
            return Err(Refusal::Unknown("no such node is in the fleet".to_owned()));
        }
        if rate.is_some() && !self.limits.contains_key(scope) && self.limits.len() >= MAX_LIMITS {
            let why = format!("{MAX_LIMITS} limits are set, which is the most; label nodes and limit the label");
            return Err(Refusal::NotAllowed(why));
        }
        Ok(vec![Fact::Limited { scope: scope.clone(), rate }])
    }

    fn prepare_order(
        &self,
        release: Option<&Signed>,
        order: &Signed,
        (id, app, epoch): (OrderId, &AppName, u64),
    ) -> Result<Vec<Fact>, Refusal> {
        if let Some(newest) = self.orders.get(app) {
            if newest.id == id {
                return Ok(Vec::new());
            }
            if newest.order.epoch >= epoch {
                let what = format!("order {} with epoch {} came first", newest.id, newest.order.epoch);
                return Err(Refusal::Conflict { epoch: newest.order.epoch, by: String::new(), what });
            }
        }
        let unknown = |signed: &&Signed| !self.releases.contains_key(&ReleaseId(signed.payload_digest()));
        let mut facts: Vec<Fact> =
            release.filter(unknown).map(|release| Fact::Published { release: release.clone() }).into_iter().collect();
        facts.push(Fact::Ordered { order: order.clone() });
        Ok(facts)
    }

    fn prepare_enrolment(&self, joiner: &Enrolment) -> Result<Vec<Fact>, Refusal> {
        let refuse = |why: &str| Err(Refusal::NotAllowed(why.to_owned()));
        let known = self.tokens.get(&joiner.token);
        let right = known.is_some_and(|token| is_same(&token.secret, &joiner.secret));
        let Some(token) = known.filter(|_| right) else {
            return refuse("the join line is wrong: no such token was issued here; copy the whole line again");
        };
        if self.revoked.contains(&joiner.node) {
            return refuse("this node's key was revoked; delete its identity and join again");
        }
        if token.is_revoked {
            return refuse("the join line was taken back; ask for a new one with `tiding token`");
        }
        if joiner.now >= token.expires {
            return refuse("the join line has expired; ask for a new one with `tiding token`");
        }
        if self.nodes.get(&joiner.node).is_some_and(|node| node.token == Some(joiner.token)) {
            return Ok(Vec::new());
        }
        if token.used_by.len() as u64 >= u64::from(token.uses) {
            return refuse("the join line is used up; ask for a new one with `tiding token`");
        }
        Ok(vec![Fact::Enrolled {
            node: joiner.node,
            name: self.free_name(joiner.node, &joiner.name),
            role: token.role,
            labels: token.labels.clone(),
            token: Some(joiner.token),
        }])
    }

    /// The name that was asked for if nobody else has it, else with the first free number behind it. Who was forgotten has none: whatever
    /// stands in its place is called as it was.
    fn free_name(&self, node: NodeId, wish: &str) -> String {
        let plain: String = wish.chars().filter(|c| !c.is_control()).collect();
        let wish = cut(&plain, Fact::MAX_NAME - 8);
        let wish = if wish.is_empty() { "node" } else { wish };
        let taken: BTreeSet<&str> = self
            .nodes
            .iter()
            .filter(|(other, _)| **other != node && !self.revoked.contains(other))
            .map(|(_, enrolled)| enrolled.name.as_str())
            .collect();
        let numbered = (2_u64..).map(|number| format!("{wish}-{number}"));
        std::iter::once(wish.to_owned()).chain(numbered).find(|name| !taken.contains(name.as_str())).unwrap_or_default()
    }
}

fn revoked(node: NodeId) -> Fact {
    Fact::Revoked { node }
}

/// Whether a fact is told to the whole fleet; the others are a datacenter's own.
pub(crate) fn is_of_fleet(fact: &Fact) -> bool {
    matches!(fact, Fact::Rooted { .. } | Fact::Published { .. } | Fact::Ordered { .. } | Fact::Limited { .. })
}

/// The longest front of a text that has at most so many bytes.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// Compares without telling by its time where two digests differ.
fn is_same(a: &Digest, b: &Digest) -> bool {
    a.as_bytes().iter().zip(b.as_bytes()).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::new(Label::new("dc1").expect("a plain label"))
    }

    fn token() -> TokenId {
        TokenId(Digest::of(b"token"))
    }

    fn node(nr: u8) -> NodeId {
        NodeId(Digest::of(&[nr]))
    }

    fn issue(uses: u32) -> Proposal {
        let fact = Fact::TokenIssued {
            token: token(),
            secret: Digest::of(b"secret"),
            uses,
            expires: UnixTime(1000),
            role: Role::Agent,
            labels: Labels::new(),
        };
        Proposal::IssueToken { client: ClientId(0), fact }
    }

    fn join(nr: u8, secret: &[u8], now: u64) -> Proposal {
        let (token, secret, name) = (token(), Digest::of(secret), "web".to_owned());
        let enrolment = Enrolment { token, secret, node: node(nr), name, now: UnixTime(now) };
        Proposal::Enrol { client: ClientId(u64::from(nr)), enrolment }
    }

    /// Takes proposals through a journal that works, and gives what came of them.
    fn settle(catalog: &mut Catalog, proposals: Vec<Proposal>) -> Vec<Result<Vec<Fact>, Refusal>> {
        proposals.into_iter().for_each(|proposal| catalog.propose(proposal));
        let mut outcomes = Vec::new();
        while let Some(next) = catalog.next() {
            match next {
                Next::Settled(settled) => outcomes.push(settled.outcome),
                Next::Append { expect, facts, .. } => {
                    assert_eq!(catalog.next(), None, "one append at a time");
                    let after = Position { index: expect.index + facts.len() as u64, ..expect };
                    outcomes.push(catalog.appended(Ok(after)).expect("it was under way").outcome);
                }
            }
        }
        outcomes
    }

    fn why(outcome: &Result<Vec<Fact>, Refusal>) -> &str {
        match outcome {
            Err(Refusal::NotAllowed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_that_want_the_last_use_one_gets_it_and_names_are_unique() {
        let mut catalog = catalog();
        let outcomes =
            settle(&mut catalog, vec![issue(2), join(1, b"secret", 5), join(2, b"secret", 5), join(3, b"secret", 5)]);
        assert!(outcomes[..3].iter().all(Result::is_ok));
        assert!(why(&outcomes[3]).contains("used up"));
        let name = |nr| catalog.node(node(nr)).map(|node| node.name.clone());
        assert_eq!([name(1), name(2), name(3)], [Some("web".to_owned()), Some("web-2".to_owned()), None]);
    }

    #[test]
    fn h2_wrong_secrets_and_unknown_tokens_sound_the_same() {
        let mut known = catalog();
        let wrong = settle(&mut known, vec![issue(1), join(1, b"guess", 5)]);
        let unknown = settle(&mut catalog(), vec![join(1, b"secret", 5)]);
        assert_eq!(why(&wrong[1]), why(&unknown[0]));
        assert!(!is_same(&Digest::of(b"a"), &Digest::of(b"b")) && is_same(&Digest::of(b"a"), &Digest::of(b"a")));
    }

    #[test]
    fn h2_expired_and_revoked_tokens_are_refused_and_a_repeat_costs_no_use() {
        let mut catalog = catalog();
        let revoke = || Proposal::RevokeToken { client: ClientId(9), token: token() };
        let steps =
            vec![issue(2), join(1, b"secret", 1000), join(1, b"secret", 999), join(1, b"secret", 999), revoke()];
        let outcomes = settle(&mut catalog, steps);
        assert!(why(&outcomes[1]).contains("expired"));
        assert_eq!(outcomes[3], Ok(Vec::new()));
        let after = settle(&mut catalog, vec![revoke(), join(2, b"secret", 5)]);
        assert_eq!(after[0], Ok(Vec::new()));
        assert!(why(&after[1]).contains("taken back"));
    }

    #[test]
    fn a_conflict_is_tried_again_at_the_new_position() {
        let mut catalog = catalog();
        catalog.propose(issue(1));
        assert!(matches!(catalog.next(), Some(Next::Append { expect: BEGINNING, .. })));
        let stands = Position { generation: 2, index: 7 };
        assert_eq!(catalog.appended(Err(AppendError::Conflict(stands))), None);
        assert!(matches!(catalog.next(), Some(Next::Append { expect, .. }) if expect == stands));
        let settled =
            catalog.appended(Err(AppendError::Unavailable("disk full".to_owned()))).expect("it was under way");
        assert!(matches!(settled.outcome, Err(Refusal::Failed(why)) if why.contains("disk full")));
        assert_eq!(catalog.proposals(), 0);
    }

    #[test]
    fn d3_words_of_peers_about_epochs_are_few_and_cannot_use_epochs_up() {
        let catalog = Catalog::new(Label::new("here").expect("a plain label"));
        let said = |said: &[(&str, u64)]| {
            let said: Vec<(AppName, u64)> =
                said.iter().map(|(app, epoch)| (AppName::new(app).expect("a plain name"), *epoch)).collect();
            catalog.unknown_epochs(said.iter().map(|(app, epoch)| (app, epoch))).into_values().collect::<Vec<_>>()
        };
        assert_eq!(said(&[("web", 0), ("db", 7)]), [7]);
        assert_eq!(said(&[("web", u64::MAX), ("db", MOST_AHEAD + 1)]), [] as [u64; 0]);
        let many: Vec<(AppName, u64)> =
            (0..1000).map(|nr| (AppName::new(&format!("app-{nr}")).expect("a plain name"), 1)).collect();
        let noted = catalog.unknown_epochs(many.iter().map(|(app, epoch)| (app, epoch)));
        assert_eq!(noted.len(), MAX_UNKNOWN);
    }
}
