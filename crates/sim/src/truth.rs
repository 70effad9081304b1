//! What the operators of a world really published and ordered: the measure that checkers hold nodes against.

use crate::plan::Illness;
use crate::tree::Tree;
use content::directive::Verb;
use content::fact::JournalName;
use content::order::{Restraint, Wave};
use content::release::Instructions;
use content::root::Operator;
use content::{
    AppName, ContentId, ContentSpec, Digest, Directive, Fact, FleetId, Label, NodeId, Order, OrderId, PayloadKind,
    PieceNo, Release, ReleaseId, Role, Root, Selector, Signed, SigningKey, TokenId, UnixTime,
};
use std::collections::BTreeMap;
use std::rc::Rc;
use store::PieceSource;
use store::import::Found;

/// The path that every release of a world is put at.
pub(crate) const TARGET: &[u8] = b"/srv/app";

/// What stands there where something that is not ours stands there.
pub(crate) const THEIRS: &[u8] = b"not yours";

/// Keys, releases and orders of one world.
#[derive(Debug)]
pub(crate) struct Truth {
    key: SigningKey,
    /// A key that no root names.
    stranger: SigningKey,
    /// The trust root.
    pub(crate) root: Signed,
    /// The fleet.
    pub(crate) fleet: FleetId,
    /// The one application.
    pub(crate) app: AppName,
    /// The one datacenter.
    pub(crate) datacenter: Label,
    /// The public half of the token with which nodes join again.
    pub(crate) token: TokenId,
    /// The keyed hash of its secret.
    pub(crate) secret: Digest,
    /// Every release that was signed.
    pub(crate) releases: BTreeMap<ReleaseId, Published>,
    /// Every order that was signed by the operator.
    pub(crate) orders: BTreeMap<OrderId, Order>,
    /// The digest of every piece of every published content.
    pub(crate) pieces: BTreeMap<ContentId, Vec<Digest>>,
}

/// A release, and the tree that it was made from.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// The signed release.
    pub(crate) signed: Signed,
    /// What it says.
    pub(crate) release: Release,
    /// What it was made from.
    pub(crate) tree: Rc<Tree>,
    /// How it does.
    pub(crate) illness: Illness,
}

/// What an order says besides what every order of a world says.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// The epoch.
    pub(crate) epoch: u64,
    /// The release to run.
    pub(crate) release: ReleaseId,
    /// The release to fall back to.
    pub(crate) fallback: Option<ReleaseId>,
    /// Which nodes.
    pub(crate) selector: Selector,
    /// How many at a time.
    pub(crate) waves: Vec<Wave>,
    /// How many nodes may fail.
    pub(crate) budget: u32,
    /// What else holds its waves back.
    pub(crate) restraint: Restraint,
    /// Why.
    pub(crate) message: String,
}

impl Truth {
    /// The keys and names of a world.
    pub(crate) fn new(seed: u64) -> Self {
        let secret = |purpose: &str| *Digest::of(format!("{purpose} of world {seed}").as_bytes()).as_bytes();
        let (key, stranger) = (SigningKey::from_secret(&secret("key")), SigningKey::from_secret(&secret("stranger")));
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&secret("nonce")[..16]);
        let root = Root {
            version: 1,
            nonce,
            created: UnixTime(1_700_000_000),
            root_keys: vec![key.public()],
            root_threshold: 1,
            operators: vec![Operator { name: OPERATOR.into(), key: key.public(), powers: Default::default() }],
            operator_threshold: 1,
            authorities: Vec::new(),
        };
        let root = key.sign(PayloadKind::Root, root.encode());
        Self {
            fleet: FleetId(root.payload_digest()),
            root,
            key,
            stranger,
            app: AppName::new("app").expect("a plain name"),
            datacenter: label("dc1"),
            token: TokenId(Digest::from_bytes(secret("token"))),
            secret: Digest::from_bytes(secret("token's secret")),
            releases: BTreeMap::new(),
            orders: BTreeMap::new(),
            pieces: BTreeMap::new(),
        }
    }

    /// Signs a release of what was found in a tree, and remembers both.
    pub(crate) fn publish(
        &mut self,
        version: &str,
        found: &Found,
        tree: Rc<Tree>,
        how: (Instructions, Illness),
    ) -> Signed {
        let (instructions, illness) = how;
        let release = Release {
            fleet: self.fleet,
            app: self.app.clone(),
            version: version.to_owned(),
            created: UnixTime(1_700_000_000),
            content: found.content,
            attributes: Some(found.attributes),
            entries: found.entries,
            size: found.size,
            instructions,
        };
        let signed = self.key.sign(PayloadKind::Release, release.encode());
        let published = Published { signed: signed.clone(), release, tree, illness };
        self.releases.insert(ReleaseId(signed.payload_digest()), published);
        signed
    }

    /// Remembers the digests of a content's pieces, as its publisher reads them.
    pub(crate) fn learn_pieces(&mut self, spec: &ContentSpec, source: &impl PieceSource) {
        let read = |piece| source.read(spec.id(), PieceNo(piece)).ok().map(|bytes| Digest::of(&bytes));
        if let Some(pieces) = (0..spec.total()).map(read).collect() {
            self.pieces.entry(spec.id()).or_insert(pieces);
        }
    }

    /// Signs an order as the operator, and remembers it.
    pub(crate) fn order(&mut self, wish: &Wish) -> Signed {
        let order = self.spell(wish);
        let signed = self.key.sign(PayloadKind::Order, order.encode());
        self.orders.insert(OrderId(signed.payload_digest()), order);
        signed
    }

    /// The operator says that the wave after this one may open.
    pub(crate) fn promote(&self, order: OrderId, wave: u8, created: UnixTime) -> Signed {
        let (fleet, app, message) = (self.fleet, self.app.clone(), String::new());
        let directive = Directive { fleet, app, order, verb: Verb::Promote, wave: Some(wave), created, message };
        self.key.sign(PayloadKind::Directive, directive.encode())
    }

    /// The operator's orders with a lower epoch than this, as they were signed.
    pub(crate) fn orders_below(&self, epoch: u64) -> Vec<Signed> {
        let old = self.orders.values().filter(|order| order.epoch < epoch);
        old.map(|order| self.key.sign(PayloadKind::Order, order.encode())).collect()
    }

    /// The signed release that an order of the operator is about.
    pub(crate) fn release_of(&self, order: &Signed) -> Option<Signed> {
        let order = self.orders.get(&OrderId(order.payload_digest()))?;
        Some(self.releases.get(&order.release)?.signed.clone())
    }

    /// Signs an order as nobody whom the root names.
    pub(crate) fn forge(&self, wish: &Wish) -> Signed {
        self.stranger.sign(PayloadKind::Order, self.spell(wish).encode())
    }

    /// A release that no operator signed: a real one's content under another version.
    pub(crate) fn forge_release(&self, like: ReleaseId) -> Option<Signed> {
        let release = Release { version: "forged".into(), ..self.releases.get(&like)?.release.clone() };
        Some(self.stranger.sign(PayloadKind::Release, release.encode()))
    }

    fn spell(&self, wish: &Wish) -> Order {
        Order {
            fleet: self.fleet,
            app: self.app.clone(),
            epoch: wish.epoch,
            release: wish.release,
            fallback: wish.fallback,
            selector: wish.selector.clone(),
            unreachable: content::order::Unreachable::Skip,
            waves: wish.waves.clone(),
            budget: wish.budget,
            restraint: wish.restraint.clone(),
            created: UnixTime(1_700_000_000),
            message: wish.message.clone(),
        }
    }

    /// What the fleet's journal holds before anything happens.
    pub(crate) fn fleet_facts(&self) -> (JournalName, Vec<Fact>) {
        (JournalName::Fleet, vec![Fact::Rooted { root: self.root.clone() }])
    }

    /// What the datacenter's journal holds before anything happens: the token and the nodes.
    pub(crate) fn datacenter_facts(
        &self,
        nodes: &[(NodeId, String, Role, content::Labels)],
    ) -> (JournalName, Vec<Fact>) {
        let token = Fact::TokenIssued {
            token: self.token,
            secret: self.secret,
            uses: 100,
            expires: UnixTime(2_000_000_000),
            role: Role::Agent,
            labels: content::Labels::new(),
        };
        // Whoever publishes is known by the name that the root gives its key.
        let named = |name: String, role| if role == Role::Operator { OPERATOR.to_owned() } else { name };
        let enrolled = nodes.iter().cloned().map(|(node, name, role, labels)| Fact::Enrolled {
            node,
            name: named(name, role),
            role,
            labels,
            token: None,
        });
        (JournalName::Datacenter(self.datacenter.clone()), std::iter::once(token).chain(enrolled).collect())
    }
}

/// The one operator of a world, whoever's machine it sits at.
const OPERATOR: &str = "alice";

/// A label that is known to be one.
pub(crate) fn label(text: &str) -> Label {
    Label::new(text).expect("a plain label")
}
