//! What the journals tell: who did what, when and why; and whether all of it follows from what stands before.
//!
//! Pure: entries come in, words and findings come out. An origin writes the journals, so what it says of itself proves little; what it
//! cannot forge are the operators' signatures, and what it cannot change without being seen is what an operator has looked at once
//! and remembers the chain of ([`Head`]).

use crate::api::labels_to_text;
use content::directive::Verb;
use content::fact::{Chain, Entry, JournalName, Position};
use content::root::BadRoot;
use content::{
    AppName, Directive, Fact, FleetId, KeyId, NodeId, Order, OrderId, Release, ReleaseId, Role, Root, Scope, Signed,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A fleet's journals, as an origin gave them.
#[derive(Debug, Clone, Default)]
pub struct Journals {
    /// Roots, releases, orders, limits.
    pub fleet: Vec<Entry>,
    /// Who joined, and how rollouts went, in one datacenter; its journal's name.
    pub datacenter: Option<(JournalName, Vec<Entry>)>,
}

/// Something that stands in a journal, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When it was written, in seconds since 1970, by its origin's clock; absent where software of before noted nothing.
    pub time: Option<u64>,
    /// Who: operators by whom it is signed, or whose certificate asked; absent for what an origin found by itself.
    pub who: Option<String>,
    /// The application that it is about.
    pub app: Option<String>,
    /// What it is: `ordered`, `halted` and so on.
    pub kind: String,
    /// What happened, in words.
    pub what: String,
    /// Why, in theirs.
    pub why: Option<String>,
    /// Which journal.
    pub journal: String,
    /// Where it stands there.
    pub generation: u64,
    /// Where it stands there.
    pub index: u64,
}

/// How far an operator has seen a journal, and what its chain was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Which journal.
    pub journal: String,
    /// The generation of its writer.
    pub generation: u64,
    /// How many facts stood there.
    pub index: u64,
    /// The chain after them.
    pub chain: String,
}

/// Something that does not follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which journal.
    pub journal: String,
    /// Where.
    pub index: u64,
    /// What.
    pub what: String,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many facts were read.
    pub facts: usize,
    /// How many of them have nothing noted beside them: software of before wrote them.
    pub unstamped: usize,
    /// What does not follow.
    pub findings: Vec<Finding>,
    /// How far the journals are now; to be remembered if nothing was found.
    pub heads: Vec<Head>,
}

/// A journal's name for people.
pub fn journal_words(journal: &JournalName) -> String {
    match journal {
        JournalName::Fleet => "fleet".to_owned(),
        JournalName::Datacenter(name) => format!("datacenter {}", name.as_str()),
    }
}

impl Journals {
    fn all(&self) -> impl Iterator<Item = (&JournalName, &[Entry])> {
        let here = self.datacenter.iter().map(|(name, entries)| (name, entries.as_slice()));
        std::iter::once((&JournalName::Fleet, self.fleet.as_slice())).chain(here)
    }

    /// Whether they are of this fleet at all.
    pub fn is_of(&self, fleet: FleetId) -> bool {
        let first = self.fleet.first().map(|entry| &entry.fact);
        matches!(first, Some(Fact::Rooted { root }) if FleetId(root.payload_digest()) == fleet)
    }

    /// Everything in the order in which it was written.
    pub fn tell(&self) -> Vec<Told> {
        let names = Names::of(self);
        let mut told: Vec<(u64, Told)> = Vec::new();
        let mut said: BTreeSet<content::Digest> = BTreeSet::new();
        for (journal, entries) in self.all() {
            let mut latest = 0;
            for entry in entries {
                // A clock that was set back changes no order within a journal.
                latest = latest.max(entry.noted().written.0);
                let mut line = names.tell(journal, entry);
                if let Fact::Published { release: signed } | Fact::Ordered { order: signed } = &entry.fact
                    && !said.insert(signed.payload_digest())
                {
                    line.kind = "countersigned".to_owned();
                    line.what = format!("countersigned: {}", line.what);
                }
                told.push((latest, line));
            }
        }
        told.sort_by_key(|(time, _)| *time);
        told.into_iter().map(|(_, told)| told).collect()
    }

    /// The trust roots in their order, each verified from the one before, and the first from the fleet's id: the last is in force.
    pub fn roots(&self, fleet: FleetId) -> Result<Vec<Root>, BadRoot> {
        let mut roots: Vec<Root> = Vec::new();
        for signed in self.signed_roots() {
            let next = match roots.last() {
                Some(before) => before.verify_next(signed)?,
                None => match Root::verify_first(signed)? {
                    (found, _) if found != fleet => return Err(BadRoot::OtherFleet),
                    (_, first) => first,
                },
            };
            roots.push(next);
        }
        Ok(roots)
    }

    /// The roots as they were signed, in their order.
    pub(crate) fn signed_roots(&self) -> impl Iterator<Item = &Signed> {
        self.fleet.iter().filter_map(|entry| match &entry.fact {
            Fact::Rooted { root } => Some(root),
            _ => None,
        })
    }

    /// The newest order of each application, as it was signed last.
    pub fn newest_orders(&self) -> Vec<(Signed, Order)> {
        let mut newest = BTreeMap::new();
        for entry in &self.fleet {
            if let Fact::Ordered { order: signed } = &entry.fact
                && let Ok(order) = Order::decode(&signed.payload)
            {
                newest.insert(order.app.clone(), (signed.clone(), order));
            }
        }
        newest.into_values().collect()
    }

    /// The releases that were published, as each was signed last.
    pub fn releases(&self) -> BTreeMap<ReleaseId, Signed> {
        let published = self.fleet.iter().filter_map(|entry| match &entry.fact {
            Fact::Published { release } => Some((ReleaseId(release.payload_digest()), release.clone())),
            _ => None,
        });
        published.collect()
    }

    /// Whether all of it follows, for an operator of this fleet who has seen it before as far as `heads` say.
    pub fn check(&self, fleet: FleetId, heads: &[Head]) -> Report {
        let mut check = Check::new(fleet);
        let mut now = Vec::new();
        for (journal, entries) in self.all() {
            let seen = heads.iter().find(|head| head.journal == journal_words(journal));
            now.push(check.chain(journal, entries, seen));
        }
        self.fleet.iter().for_each(|entry| check.of_fleet(entry));
        if let Some((journal, entries)) = &self.datacenter {
            entries.iter().for_each(|entry| check.of_datacenter(journal, entry));
        }
        let all = || self.all().flat_map(|(_, entries)| entries);
        let unstamped = all().filter(|entry| entry.stamp.is_none()).count();
        Report { facts: all().count(), unstamped, findings: check.findings, heads: now }
    }
}

/// Who is who, and what is which.
#[derive(Default)]
struct Names {
    keys: BTreeMap<KeyId, String>,
    nodes: BTreeMap<NodeId, String>,
    versions: BTreeMap<ReleaseId, String>,
    epochs: BTreeMap<OrderId, (u64, ReleaseId)>,
}

impl Names {
    fn of(journals: &Journals) -> Self {
        let mut names = Self::default();
        for entry in journals.all().flat_map(|(_, entries)| entries) {
            match &entry.fact {
                Fact::Rooted { root } => names.learn_root(root),
                Fact::Enrolled { node, name, .. } => drop(names.nodes.insert(*node, name.clone())),
                Fact::Published { release } => {
                    let version = Release::decode(&release.payload).map(|release| release.version);
                    let version = version.unwrap_or_else(|_| "a release of a newer form".to_owned());
                    names.versions.insert(ReleaseId(release.payload_digest()), version);
                }
                Fact::Ordered { order: signed } => {
                    if let Ok(order) = Order::decode(&signed.payload) {
                        names.epochs.insert(OrderId(signed.payload_digest()), (order.epoch, order.release));
                    }
                }
                _ => {}
            }
        }
        names
    }

    fn learn_root(&mut self, signed: &Signed) {
        let operators = Root::decode(&signed.payload).map(|root| root.operators).unwrap_or_default();
        self.keys.extend(operators.into_iter().map(|operator| (operator.key.id(), operator.name)));
    }

    fn signers(&self, signed: &Signed) -> Option<String> {
        let name = |key: &KeyId| self.keys.get(key).cloned().unwrap_or_else(|| "somebody unknown".to_owned());
        let names: BTreeSet<String> = signed.signatures.iter().map(|signature| name(&signature.key)).collect();
        (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(" and "))
    }

    fn version(&self, release: ReleaseId) -> String {
        self.versions.get(&release).cloned().unwrap_or_else(|| short(&release))
    }

    fn node(&self, node: NodeId) -> String {
        self.nodes.get(&node).cloned().unwrap_or_else(|| short(&node))
    }

    /// An order by its epoch, and what it orders.
    fn order(&self, order: OrderId) -> String {
        match self.epochs.get(&order) {
            Some((epoch, release)) => format!("{} (epoch {epoch})", self.version(*release)),
            None => format!("order {}", short(&order)),
        }
    }

    fn tell(&self, journal: &JournalName, entry: &Entry) -> Told {
        let noted = entry.noted();
        let Words { who, app, kind, what, why } = self.words(&entry.fact);
        Told {
            time: entry.stamp.map(|stamp| stamp.noted.written.0),
            who: who.or_else(|| noted.by.map(|by| self.node(by))),
            app: app.map(|app| app.to_string()),
            kind: kind.to_owned(),
            what,
            why: why.filter(|why| !why.is_empty()),
            journal: journal_words(journal),
            generation: entry.at.generation,
            index: entry.at.index,
        }
    }

    fn words(&self, fact: &Fact) -> Words {
        match fact {
            Fact::Rooted { root } => Words { who: self.signers(root), ..Words::new("rooted", self.rooted(root)) },
            Fact::Published { release } => self.published(release),
            Fact::Ordered { order } => self.ordered(order),
            Fact::Directed { app, directive } => self.directed(app, directive),
            Fact::WaveOpened { app, order, wave } => {
                let what = format!("wave {} of {} opens", u32::from(*wave) + 1, self.order(*order));
                Words::new("wave-opened", what).about(app)
            }
            Fact::Awaited { app, order, wave } => {
                let what = format!(
                    "wave {} of {} is confirmed; its gate waits for `tiding promote`",
                    u32::from(*wave) + 1,
                    self.order(*order)
                );
                Words::new("awaited", what).about(app)
            }
            Fact::Halted { app, order, why } => {
                let what = format!("{} halts", self.order(*order));
                Words { why: Some(why.clone()), ..Words::new("halted", what).about(app) }
            }
            Fact::FellBack { app, order, to } => {
                let what = format!("{} falls back to {}", self.order(*order), self.version(*to));
                Words::new("fell-back", what).about(app)
            }
            Fact::Finished { app, order } => {
                Words::new("finished", format!("{} is confirmed", self.order(*order))).about(app)
            }
            fact => self.membership(fact),
        }
    }

    fn membership(&self, fact: &Fact) -> Words {
        match fact {
            Fact::TokenIssued { token, uses, role, labels, .. } => {
                let labels: Vec<String> =
                    labels_to_text(labels).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
                let with = if labels.is_empty() { String::new() } else { format!(" with {}", labels.join(",")) };
                let what = format!("join line {} for {uses} {}{with}", short(token), role_words(*role));
                Words::new("token-issued", what)
            }
            Fact::TokenRevoked { token } => {
                Words::new("token-revoked", format!("join line {} taken back", short(token)))
            }
            Fact::Enrolled { name, role, token, .. } => {
                let by = token.map_or(String::new(), |token| format!(" by join line {}", short(&token)));
                Words::new("enrolled", format!("{name} joined as {}{by}", role_words(*role)))
            }
            Fact::Revoked { node } => Words::new("revoked", format!("{} is let in no more", self.node(*node))),
            Fact::Offered(offer) => {
                let bytes = offer.patch.blob.len;
                Words::new("offered", format!("a patch of {bytes} bytes makes {} of {}", offer.target, offer.base))
            }
            Fact::Limited { scope, rate } => {
                let whom = self.scope(scope);
                let what = match rate {
                    Some(rate) => format!("{whom} at most {} bytes a second", rate.0),
                    None => format!("{whom} without limit"),
                };
                Words::new("limited", what)
            }
            _ => Words::new("other", "something of another sort".to_owned()),
        }
    }

    fn scope(&self, scope: &Scope) -> String {
        match scope {
            Scope::Node(node) => self.node(*node),
            Scope::Selected(labels) if labels.is_empty() => "every node".to_owned(),
            Scope::Selected(labels) => {
                let text = labels_to_text(labels).into_iter().map(|(key, value)| format!("{key}={value}"));
                format!("each of {}", text.collect::<Vec<_>>().join(","))
            }
            Scope::Total => "all together".to_owned(),
        }
    }

    fn rooted(&self, signed: &Signed) -> String {
        match Root::decode(&signed.payload) {
            Ok(root) => {
                let operators: Vec<&str> = root.operators.iter().map(|operator| operator.name.as_str()).collect();
                format!("trust root {}: {} may order", root.version, operators.join(", "))
            }
            Err(_) => "a trust root of a newer form".to_owned(),
        }
    }

    fn published(&self, signed: &Signed) -> Words {
        let what = format!("{} published", self.version(ReleaseId(signed.payload_digest())));
        let app = Release::decode(&signed.payload).ok().map(|release| release.app);
        Words { who: self.signers(signed), app, ..Words::new("published", what) }
    }

    fn ordered(&self, signed: &Signed) -> Words {
        let plain = Words { who: self.signers(signed), ..Words::new("ordered", "an order of a newer form".to_owned()) };
        let Ok(order) = Order::decode(&signed.payload) else { return plain };
        let on = match order.selector.to_string() {
            all if all.is_empty() => String::new(),
            some => format!(" on {some}"),
        };
        let is_all_at_once = order.budget == u32::MAX && order.waves == [content::order::Wave::PerMille(1000)];
        let how = if is_all_at_once { ", all at once, however many fail" } else { "" };
        let what = format!("{} ordered{on}{how} (epoch {})", self.version(order.release), order.epoch);
        Words { what, app: Some(order.app), why: Some(order.message), ..plain }
    }

    fn directed(&self, app: &AppName, signed: &Signed) -> Words {
        let directive = Directive::decode(&signed.payload).ok();
        let what = match &directive {
            Some(directive) => format!("{} {}", self.order(directive.order), verb_words(directive.verb)),
            None => "a directive of a newer form".to_owned(),
        };
        let why = directive.map(|directive| directive.message);
        Words { who: self.signers(signed), why, ..Words::new("directed", what).about(app) }
    }
}

/// A fact in words, without where it stands.
struct Words {
    who: Option<String>,
    app: Option<AppName>,
    kind: &'static str,
    what: String,
    why: Option<String>,
}

impl Words {
    fn new(kind: &'static str, what: String) -> Self {
        Self { who: None, app: None, kind, what, why: None }
    }

    fn about(self, app: &AppName) -> Self {
        Self { app: Some(app.clone()), ..self }
    }
}

fn verb_words(verb: Verb) -> &'static str {
    match verb {
        Verb::Pause => "paused",
        Verb::Resume => "resumed",
        Verb::Promote => "promoted",
        Verb::Abort => "aborted",
    }
}

fn role_words(role: Role) -> &'static str {
    match role {
        Role::Agent => "agent",
        Role::Origin => "origin",
        Role::Operator => "operator",
    }
}

/// Enough of an id to know it by.
fn short(id: &impl std::fmt::Display) -> String {
    id.to_string().chars().take(10).collect()
}

/// What is known while the journals are read from their beginning.
struct Check {
    fleet: FleetId,
    /// Every root in its order; the last is in force.
    roots: Vec<Root>,
    releases: BTreeSet<ReleaseId>,
    orders: BTreeMap<OrderId, Order>,
    epochs: BTreeMap<AppName, u64>,
    newest: BTreeMap<AppName, OrderId>,
    open: BTreeMap<OrderId, u8>,
    halted: BTreeSet<OrderId>,
    findings: Vec<Finding>,
}

impl Check {
    fn new(fleet: FleetId) -> Self {
        Self {
            fleet,
            roots: Vec::new(),
            releases: BTreeSet::new(),
            orders: BTreeMap::new(),
            epochs: BTreeMap::new(),
            newest: BTreeMap::new(),
            open: BTreeMap::new(),
            halted: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    fn find(&mut self, journal: &JournalName, at: Position, what: impl std::fmt::Display) {
        let finding = Finding { journal: journal_words(journal), index: at.index, what: what.to_string() };
        self.findings.push(finding);
    }

    /// Computes the chain again, and holds it against what stands beside the facts and what was seen before.
    fn chain(&mut self, journal: &JournalName, entries: &[Entry], seen: Option<&Head>) -> Head {
        let mut chain = Chain::beginning(journal);
        let mut next = Position { generation: 1, index: 0 };
        let mut is_seen = seen.is_none_or(|head| is_at(head, next) && is_same(head, chain));
        for entry in entries {
            let is_next = entry.at == next || (entry.at.generation > next.generation && entry.at.index == next.index);
            if !is_next {
                self.find(journal, entry.at, format!("fact {} should stand here", next.index));
            }
            chain = chain.after(entry.at, entry.noted(), &entry.fact);
            if let Some(stamp) = entry.stamp.filter(|stamp| stamp.chain != chain) {
                self.find(journal, entry.at, "it is not what was written here: its chain is broken");
                // Each break is found once.
                chain = stamp.chain;
            }
            next = Position { index: entry.at.index.saturating_add(1), ..entry.at };
            is_seen |= seen.is_some_and(|head| is_at(head, next) && is_same(head, chain));
        }
        if let Some(head) = seen.filter(|_| !is_seen) {
            let at = Position { generation: head.generation, index: head.index };
            self.find(
                journal,
                at,
                "this is not what you have seen here before: the journal was changed, or is an old copy",
            );
        }
        let Position { generation, index } = next;
        Head { journal: journal_words(journal), generation, index, chain: chain.0.to_string() }
    }

    fn of_fleet(&mut self, entry: &Entry) {
        let wrong = match &entry.fact {
            Fact::Rooted { root } => self.rooted(root),
            Fact::Published { release } => self.published(release),
            Fact::Ordered { order } => self.ordered(order),
            Fact::Limited { .. } => None,
            _ => Some("it does not belong into the fleet's journal".to_owned()),
        };
        if let Some(wrong) = wrong {
            self.find(&JournalName::Fleet, entry.at, wrong);
        }
    }

    fn rooted(&mut self, signed: &Signed) -> Option<String> {
        let root = match self.roots.last() {
            None => match Root::verify_first(signed) {
                Ok((fleet, _)) if fleet != self.fleet => return Some(format!("this is the root of fleet {fleet}")),
                first => first.map(|(_, root)| root),
            },
            Some(before) => before.verify_next(signed),
        };
        root.map(|root| self.roots.push(root)).err().map(|bad| bad.to_string())
    }

    fn published(&mut self, signed: &Signed) -> Option<String> {
        let Some(root) = self.roots.last() else { return Some("no trust root stands before it".to_owned()) };
        let wrong = root.verify_release(self.fleet, signed).err().map(|bad| format!("a release: {bad}"));
        self.releases.insert(ReleaseId(signed.payload_digest()));
        wrong
    }

    fn ordered(&mut self, signed: &Signed) -> Option<String> {
        let Some(root) = self.roots.last() else { return Some("no trust root stands before it".to_owned()) };
        let order = match root.verify_order(self.fleet, signed) {
            Ok(order) => order,
            Err(bad) => return Some(format!("an order: {bad}")),
        };
        let id = OrderId(signed.payload_digest());
        if self.newest.get(&order.app) == Some(&id) {
            // It was countersigned: the same order with another signature, which counts under the roots to come.
            return None;
        }
        self.newest.insert(order.app.clone(), id);
        let before = self.epochs.insert(order.app.clone(), order.epoch).unwrap_or(0);
        let is_known = self.releases.contains(&order.release);
        let (epoch, release) = (order.epoch, order.release);
        self.orders.insert(OrderId(signed.payload_digest()), order);
        match (epoch > before, is_known) {
            (false, _) => Some(format!("epoch {epoch} does not come after {before}")),
            (_, false) => Some(format!("it orders {}, which was not published before", short(&release))),
            _ => None,
        }
    }

    fn of_datacenter(&mut self, journal: &JournalName, entry: &Entry) {
        let wrong = match &entry.fact {
            Fact::WaveOpened { app, order, wave } => self.opened(app, *order, *wave),
            Fact::Awaited { app, order, wave } => self.awaited(app, *order, *wave),
            Fact::Halted { app, order, .. } => {
                self.halted.insert(*order);
                self.named(app, *order)
            }
            Fact::FellBack { app, order, to } => self.fell_back(app, *order, *to),
            Fact::Finished { app, order } if self.halted.contains(order) => {
                Some(format!("the rollout of {app} had halted, and is said to have finished"))
            }
            Fact::Finished { app, order } => self.named(app, *order),
            Fact::Directed { app, directive } => self.directed(app, directive),
            Fact::Rooted { .. } | Fact::Published { .. } | Fact::Ordered { .. } => {
                Some("it does not belong into a datacenter's journal".to_owned())
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.find(journal, entry.at, wrong);
        }
    }

    /// Whether an order stands in the fleet's journal, for this application.
    fn named(&self, app: &AppName, order: OrderId) -> Option<String> {
        match self.orders.get(&order) {
            Some(known) if known.app == *app => None,
            Some(known) => Some(format!("order {} is for {}, not for {app}", short(&order), known.app)),
            None => Some(format!("no order {} was ever given for {app}", short(&order))),
        }
    }

    fn opened(&mut self, app: &AppName, order: OrderId, wave: u8) -> Option<String> {
        let waves = self.orders.get(&order).map_or(0, |order| order.waves.len());
        let next = self.open.insert(order, wave).map_or(0, |before| before.saturating_add(1));
        self.named(app, order).or_else(|| match usize::from(wave) < waves && wave == next {
            true => None,
            false => Some(format!("wave {} opens, and wave {} comes next of {waves}", wave + 1, next + 1)),
        })
    }

    fn awaited(&self, app: &AppName, order: OrderId, wave: u8) -> Option<String> {
        let has_gate = self.orders.get(&order).is_some_and(|order| order.restraint.has_gate(wave));
        let wrong = || format!("wave {} is said to wait at a gate, and is not the open one or has none", wave + 1);
        self.named(app, order).or_else(|| (!has_gate || self.open.get(&order) != Some(&wave)).then(wrong))
    }

    fn fell_back(&self, app: &AppName, order: OrderId, to: ReleaseId) -> Option<String> {
        let fallback = self.orders.get(&order).and_then(|order| order.fallback);
        self.named(app, order)
            .or_else(|| (fallback != Some(to)).then(|| format!("{} is not what the order falls back to", short(&to))))
    }

    fn directed(&self, app: &AppName, signed: &Signed) -> Option<String> {
        // Which root was in force is in another journal: one of them must have let the signers.
        let selects = |directive: &Directive| self.orders.get(&directive.order).map(|order| order.selector.clone());
        let mut judged = self.roots.iter().rev().map(|root| root.verify_directive(self.fleet, signed, selects));
        match judged.find_map(Result::ok) {
            Some(directive) if directive.app == *app => self.named(app, directive.order),
            Some(directive) => Some(format!("a directive for {} stands there for {app}", directive.app)),
            None => Some("a directive that no operator of this fleet has signed".to_owned()),
        }
    }
}

fn is_at(head: &Head, at: Position) -> bool {
    head.generation == at.generation && head.index == at.index
}

fn is_same(head: &Head, chain: Chain) -> bool {
    head.chain == chain.0.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::fact::{Noted, Stamp};
    use content::order::{Unreachable, Wave};
    use content::release::Instructions;
    use content::root::Operator;
    use content::{BlobRef, ContentSpec, Digest, Label, PayloadKind, Powers, Selector, SigningKey, UnixTime};

    fn bob() -> NodeId {
        NodeId(Digest::of(b"bob"))
    }

    fn alice() -> SigningKey {
        SigningKey::from_secret(&[4; 32])
    }

    fn root_key() -> SigningKey {
        SigningKey::from_secret(&[1; 32])
    }

    fn root() -> Root {
        Root {
            version: 1,
            nonce: [7; 16],
            created: UnixTime(1),
            root_keys: vec![root_key().public()],
            root_threshold: 1,
            operators: vec![Operator { name: "alice".to_owned(), key: alice().public(), powers: Powers::default() }],
            operator_threshold: 1,
            authorities: Vec::new(),
        }
    }

    fn signed_root() -> Signed {
        root_key().sign(PayloadKind::Root, root().encode())
    }

    fn fleet() -> FleetId {
        FleetId(signed_root().payload_digest())
    }

    fn app() -> AppName {
        AppName::new("web").expect("a plain name")
    }

    fn release(version: &str) -> Signed {
        let blob = BlobRef { root: Digest::of(version.as_bytes()), len: 600 };
        let release = Release {
            fleet: fleet(),
            app: app(),
            version: version.to_owned(),
            created: UnixTime(2),
            content: ContentSpec { blob, pieces: 3, bytes: 190_000 },
            attributes: None,
            entries: 3,
            size: 190_000,
            instructions: Instructions::plain(b"/srv/web", 20, 2),
        };
        alice().sign(PayloadKind::Release, release.encode())
    }

    fn order(epoch: u64, release: &Signed) -> Signed {
        let order = Order {
            fleet: fleet(),
            app: app(),
            epoch,
            release: ReleaseId(release.payload_digest()),
            fallback: None,
            selector: Selector::default(),
            unreachable: Unreachable::Skip,
            waves: vec![Wave::Count(1), Wave::PerMille(1000)],
            budget: 0,
            restraint: content::order::Restraint::default(),
            created: UnixTime(3),
            message: "because".to_owned(),
        };
        alice().sign(PayloadKind::Order, order.encode())
    }

    fn datacenter() -> JournalName {
        JournalName::Datacenter(Label::new("here").expect("a plain label"))
    }

    /// Facts as a store writes them, one a second from the tenth on.
    fn written(journal: &JournalName, facts: Vec<Fact>) -> Vec<Entry> {
        let mut chain = Chain::beginning(journal);
        let mut write = |(index, fact): (usize, Fact)| {
            let at = Position { generation: 1, index: index as u64 };
            let noted = Noted { written: UnixTime(10 + at.index), by: Some(bob()) };
            chain = chain.after(at, noted, &fact);
            Entry { at, fact, stamp: Some(Stamp { noted, chain }) }
        };
        facts.into_iter().enumerate().map(&mut write).collect()
    }

    fn fleet_facts() -> Vec<Fact> {
        let (one, two) = (release("one"), release("two"));
        let ordered = |epoch, of: &Signed| Fact::Ordered { order: order(epoch, of) };
        vec![
            Fact::Rooted { root: signed_root() },
            Fact::Published { release: one.clone() },
            ordered(1, &one),
            Fact::Published { release: two.clone() },
            ordered(2, &two),
        ]
    }

    fn order_id(epoch: u64, version: &str) -> OrderId {
        OrderId(order(epoch, &release(version)).payload_digest())
    }

    fn datacenter_facts() -> Vec<Fact> {
        let (app, order) = (app(), order_id(1, "one"));
        let enrolled = Fact::Enrolled {
            node: bob(),
            name: "bob".to_owned(),
            role: Role::Operator,
            labels: content::Labels::default(),
            token: None,
        };
        vec![
            enrolled,
            Fact::WaveOpened { app: app.clone(), order, wave: 0 },
            Fact::WaveOpened { app: app.clone(), order, wave: 1 },
            Fact::Finished { app, order },
            Fact::Revoked { node: bob() },
        ]
    }

    fn journals() -> Journals {
        let here = written(&datacenter(), datacenter_facts());
        Journals { fleet: written(&JournalName::Fleet, fleet_facts()), datacenter: Some((datacenter(), here)) }
    }

    fn found(journals: &Journals, heads: &[Head]) -> Vec<String> {
        let findings = journals.check(fleet(), heads).findings;
        findings.into_iter().map(|finding| format!("{} {}: {}", finding.journal, finding.index, finding.what)).collect()
    }

    #[test]
    fn it_tells_who_did_what_when_and_why() {
        let told = journals().tell();
        let of = |kind: &str| told.iter().find(|told| told.kind == kind).unwrap_or_else(|| panic!("{kind}"));
        let ordered = of("ordered");
        assert_eq!((ordered.who.as_deref(), ordered.why.as_deref()), (Some("alice"), Some("because")));
        assert_eq!((ordered.what.as_str(), ordered.time), ("one ordered (epoch 1)", Some(12)));
        assert_eq!(of("revoked").who.as_deref(), Some("bob"), "whose certificate asked");
        assert_eq!(of("finished").what, "one (epoch 1) is confirmed");
        let times: Vec<_> = told.iter().map(|told| told.time).collect();
        assert!(times.is_sorted(), "{times:?}");
    }

    #[test]
    fn what_was_written_follows_and_what_is_remembered_of_it_goes_on() {
        let report = journals().check(fleet(), &[]);
        assert_eq!((report.findings.len(), report.facts, report.unstamped), (0, 10, 0));
        assert_eq!(found(&journals(), &report.heads), [""; 0]);
        let mut longer = fleet_facts();
        longer.push(Fact::Ordered { order: order(3, &release("one")) });
        let longer = Journals { fleet: written(&JournalName::Fleet, longer), ..journals() };
        assert_eq!(found(&longer, &report.heads), [""; 0]);
    }

    #[test]
    fn whatever_is_changed_taken_out_or_put_in_is_found() {
        let heads = journals().check(fleet(), &[]).heads;
        for nth in 0..5 {
            let mut changed = journals();
            changed.fleet[nth].fact = Fact::Limited { scope: Scope::Total, rate: None };
            assert!(found(&changed, &[]).iter().any(|why| why.contains("chain is broken")), "fact {nth} changed");
            let mut shorter = journals();
            shorter.fleet.remove(nth);
            assert!(!found(&shorter, &heads).is_empty(), "fact {nth} taken out");
            let mut backdated = journals();
            let stamp = backdated.fleet[nth].stamp.as_mut().expect("it has one");
            stamp.noted.written = UnixTime(1);
            assert!(found(&backdated, &[]).iter().any(|why| why.contains("chain is broken")), "fact {nth} backdated");
        }
    }

    #[test]
    fn a_journal_written_anew_without_a_fact_is_not_what_was_seen() {
        let heads = journals().check(fleet(), &[]).heads;
        // The newest order is left out, and all chains are right again.
        let mut facts = fleet_facts();
        facts.truncate(3);
        let old = Journals { fleet: written(&JournalName::Fleet, facts.clone()), ..journals() };
        assert_eq!(found(&old, &[]), [""; 0], "nothing tells who has not seen it");
        assert!(found(&old, &heads).iter().any(|why| why.contains("seen here before")), "a copy of before");
        facts.extend([
            Fact::Published { release: release("three") },
            Fact::Ordered { order: order(2, &release("three")) },
        ]);
        let other = Journals { fleet: written(&JournalName::Fleet, facts), ..journals() };
        assert_eq!(found(&other, &[]), [""; 0]);
        assert!(found(&other, &heads).iter().any(|why| why.contains("seen here before")), "another story");
    }

    #[test]
    fn g1_an_origin_cannot_make_up_what_operators_sign() {
        let forged = |what: &dyn Fn(&mut Vec<Fact>, &mut Vec<Fact>)| {
            let (mut of_fleet, mut here) = (fleet_facts(), datacenter_facts());
            what(&mut of_fleet, &mut here);
            let here = written(&datacenter(), here);
            let all =
                Journals { fleet: written(&JournalName::Fleet, of_fleet), datacenter: Some((datacenter(), here)) };
            found(&all, &[]).join("; ")
        };
        let strange = SigningKey::from_secret(&[9; 32]);
        let by_stranger = strange.sign(PayloadKind::Order, order(3, &release("two")).payload);
        let says = |all: String, said: &str| assert!(all.contains(said), "`{said}` in `{all}`");
        says(
            forged(&|of_fleet, _| of_fleet.push(Fact::Ordered { order: by_stranger.clone() })),
            "an order: it is not believed",
        );
        let again = Fact::Ordered { order: order(2, &release("one")) };
        says(forged(&|of_fleet, _| of_fleet.push(again.clone())), "epoch 2 does not come after 2");
        let unknown = Fact::Ordered { order: order(3, &release("unheard-of")) };
        says(forged(&|of_fleet, _| of_fleet.push(unknown.clone())), "was not published before");
        let rotated = strange.sign(PayloadKind::Root, Root { version: 2, ..root() }.encode());
        says(
            forged(&|of_fleet, _| of_fleet.push(Fact::Rooted { root: rotated.clone() })),
            "trust root is not believed",
        );
        says(forged(&|of_fleet, _| drop(of_fleet.remove(0))), "no trust root stands before it");
        let leaps = Fact::WaveOpened { app: app(), order: order_id(2, "two"), wave: 1 };
        says(forged(&|_, here| here.push(leaps.clone())), "wave 2 opens, and wave 1 comes next");
        let nobodys = Fact::Halted { app: app(), order: OrderId(Digest::of(b"none")), why: String::new() };
        says(forged(&|_, here| here.push(nobodys.clone())), "was ever given");
        let elsewhere = Fact::FellBack { app: app(), order: order_id(2, "two"), to: ReleaseId(Digest::of(b"none")) };
        says(forged(&|_, here| here.push(elsewhere.clone())), "not what the order falls back to");
        let twice = [Fact::Halted { app: app(), order: order_id(2, "two"), why: String::new() }];
        let twice = twice.into_iter().chain([Fact::Finished { app: app(), order: order_id(2, "two") }]);
        says(forged(&|_, here| here.extend(twice.clone())), "had halted");
        let directive = Directive {
            fleet: fleet(),
            app: app(),
            order: order_id(2, "two"),
            verb: Verb::Promote,
            wave: None,
            created: UnixTime(4),
            message: String::new(),
        };
        let directed =
            Fact::Directed { app: app(), directive: strange.sign(PayloadKind::Directive, directive.encode()) };
        says(forged(&|_, here| here.push(directed.clone())), "no operator of this fleet has signed");
    }

    #[test]
    fn facts_of_before_stamps_are_chained_all_the_same() {
        let mut old = journals();
        old.fleet.iter_mut().take(3).for_each(|entry| entry.stamp = None);
        // As a store of today goes on from them.
        let mut chain = Chain::beginning(&JournalName::Fleet);
        for entry in &mut old.fleet {
            chain = chain.after(entry.at, entry.noted(), &entry.fact);
            entry.stamp = entry.stamp.map(|stamp| Stamp { chain, ..stamp });
        }
        assert_eq!(found(&old, &[]), [""; 0]);
        assert_eq!(old.check(fleet(), &[]).unstamped, 3);
        let heads = old.check(fleet(), &[]).heads;
        old.fleet[1].fact = Fact::Published { release: release("another") };
        assert!(!found(&old, &heads).is_empty());
    }
}
