//! Facts: what the journals hold, and what everything an origin knows can be rebuilt from.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed};
use crate::{
    AppName, ContentId, ContentSpec, Digest, Label, Labels, NodeId, OrderId, Rate, ReleaseId, Role, Scope, Signed,
    TokenId, UnixTime,
};

/// Which journal a fact stands in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JournalName {
    /// Releases, orders, tags, roots: written by the home origin.
    Fleet,
    /// Enrolments and the progress of waves of one datacenter: written by its conductor.
    Datacenter(Label),
}

/// Where a fact stands: a generation that rises when a journal's writer is replaced, and a position that rises by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The writer's generation; the first is 1.
    pub generation: u64,
    /// The number of facts before the next one: the first fact stands at index 0 and moves the position to 1.
    pub index: u64,
}

/// For whom, and when, something is written into a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// The writer's clock.
    pub written: UnixTime,
    /// The member whose certificate asked for it; `None` for what an origin finds by itself.
    pub by: Option<NodeId>,
}

impl Noted {
    /// What is believed of a fact beside which nothing is noted: software of before stamps wrote it.
    pub const NOTHING: Self = Self { written: UnixTime(0), by: None };
}

/// The digest of a fact, of what is noted beside it and of all that stands before it in its journal: who changes, takes out or
/// puts in anything changes every chain from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain(pub Digest);

impl Chain {
    /// The chain of a journal without facts.
    pub fn beginning(journal: &JournalName) -> Self {
        let mut bytes = Encoder::new();
        bytes.raw(b"tiding journal 1").value(journal);
        Self(Digest::of(&bytes.finish()))
    }

    /// The chain after a fact that stands `at`.
    #[must_use]
    pub fn after(self, at: Position, noted: Noted, fact: &Fact) -> Self {
        let mut bytes = Encoder::new();
        bytes.value(&self.0).value(&at).value(&noted.written).option(noted.by.as_ref());
        Self(Digest::of(&[bytes.finish(), fact.encode()].concat()))
    }
}

/// What a journal notes beside a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When, and for whom.
    pub noted: Noted,
    /// The chain after it.
    pub chain: Chain,
}

impl Stamp {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }
}

impl Encode for Stamp {
    const WHAT: &'static str = "stamp of a fact";

    fn put(&self, to: &mut Encoder) {
        to.header(Document::Stamp).value(&self.noted.written).option(self.noted.by.as_ref()).value(&self.chain.0);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.header(Document::Stamp)?;
        let noted = Noted { written: from.value()?, by: from.option()? };
        Ok(Self { noted, chain: Chain(from.value()?) })
    }
}

/// A fact as it stands in its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub at: Position,
    /// What.
    pub fact: Fact,
    /// What is noted beside it; nothing where software of before stamps wrote it.
    pub stamp: Option<Stamp>,
}

impl Entry {
    /// When it was written, and for whom, as far as anyone noted it.
    pub fn noted(&self) -> Noted {
        self.stamp.map_or(Noted::NOTHING, |stamp| stamp.noted)
    }
}

/// One durable statement in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The fleet's trust root, first or rotated.
    Rooted {
        /// The signed [`crate::Root`].
        root: Signed,
    },
    /// A join token was made.
    TokenIssued {
        /// Its public half.
        token: TokenId,
        /// The keyed hash of its secret half.
        secret: Digest,
        /// How many nodes may join with it.
        uses: u32,
        /// Until when.
        expires: UnixTime,
        /// What those nodes become.
        role: Role,
        /// What is said of them.
        labels: Labels,
    },
    /// A join token was taken back.
    TokenRevoked {
        /// Which.
        token: TokenId,
    },
    /// A node joined (again).
    Enrolled {
        /// Who.
        node: NodeId,
        /// A name for people, unique among the enrolled; at most [`Fact::MAX_NAME`] bytes without control characters.
        name: String,
        /// As what.
        role: Role,
        /// What is said of it.
        labels: Labels,
        /// With which token; `None` for the fleet's first nodes.
        token: Option<TokenId>,
    },
    /// A node may not talk any more.
    Revoked {
        /// Who.
        node: NodeId,
    },
    /// A release is durable at the origin.
    Published {
        /// The signed [`crate::Release`].
        release: Signed,
    },
    /// An order was accepted.
    Ordered {
        /// The signed [`crate::Order`].
        order: Signed,
    },
    /// A wave of the app's newest order may switch.
    WaveOpened {
        /// The application.
        app: AppName,
        /// The order.
        order: OrderId,
        /// Which wave, from 0.
        wave: u8,
    },
    /// A wave with a gate is confirmed: the next one opens when an operator says so.
    Awaited {
        /// The application.
        app: AppName,
        /// The order.
        order: OrderId,
        /// Which wave was confirmed, from 0.
        wave: u8,
    },
    /// The rollout of an order stopped, and why.
    Halted {
        /// The application.
        app: AppName,
        /// The order.
        order: OrderId,
        /// Why, in words for the operator; at most [`Fact::MAX_WHY`] bytes without control characters.
        why: String,
    },
    /// The nodes of an order go back to its fallback.
    FellBack {
        /// The application.
        app: AppName,
        /// The order.
        order: OrderId,
        /// To which release.
        to: ReleaseId,
    },
    /// An operator has said what is to be done with a rollout.
    Directed {
        /// The application.
        app: AppName,
        /// The signed [`crate::Directive`].
        directive: Signed,
    },
    /// All waves of an order are confirmed.
    Finished {
        /// The application.
        app: AppName,
        /// The order.
        order: OrderId,
    },
    /// Nodes may send and receive so many bytes of pieces per second, from now on.
    Limited {
        /// Whom it bounds; what was said of exactly this scope before is replaced.
        scope: Scope,
        /// How fast; `None` takes the limit back.
        rate: Option<Rate>,
    },
    /// There is a patch.
    Offered(Offer),
}

/// A patch that an origin has: who is what it was made from and gets it need not get the rest. Nobody signs it; what it makes is judged by
/// the target's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// What it was made from.
    pub base: ContentId,
    /// What it makes of that.
    pub target: ContentId,
    /// The patch, a content of plain bytes, which says its size as well.
    pub patch: ContentSpec,
    /// The format of the patch: whoever does not know it has no use for it.
    pub format: u8,
}

impl Encode for Offer {
    const WHAT: &'static str = "offer of a patch";

    fn put(&self, to: &mut Encoder) {
        to.value(&self.base).value(&self.target).value(&self.patch).byte(self.format);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { base: from.value()?, target: from.value()?, patch: from.value()?, format: from.byte()? })
    }
}

impl Fact {
    /// The longest name of a node, in bytes.
    pub const MAX_NAME: usize = 64;
    /// The longest reason, in bytes.
    pub const MAX_WHY: usize = 1024;

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }
}

impl Encode for JournalName {
    const WHAT: &'static str = "journal name";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Fleet => to.byte(1),
            Self::Datacenter(name) => to.byte(2).value(name),
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            1 => Ok(Self::Fleet),
            2 => from.value().map(Self::Datacenter),
            other => Err(from.wrong(format!("there is no sort of journal {other}"))),
        }
    }
}

impl Encode for Position {
    const WHAT: &'static str = "position";

    fn put(&self, to: &mut Encoder) {
        to.number(self.generation).number(self.index);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { generation: from.number()?, index: from.number()? })
    }
}

impl Encode for Fact {
    const WHAT: &'static str = "fact";

    fn put(&self, to: &mut Encoder) {
        to.header(Document::Fact);
        match self {
            Self::Rooted { root } => to.byte(1).value(root),
            Self::TokenIssued { token, secret, uses, expires, role, labels } => {
                to.byte(2).value(token).value(secret).number(*uses).value(expires).value(role).value(labels)
            }
            Self::TokenRevoked { token } => to.byte(3).value(token),
            Self::Enrolled { node, name, role, labels, token } => {
                to.byte(4).value(node).text(name).value(role).value(labels).option(token.as_ref())
            }
            Self::Revoked { node } => to.byte(5).value(node),
            Self::Published { release } => to.byte(6).value(release),
            Self::Ordered { order } => to.byte(7).value(order),
            Self::WaveOpened { app, order, wave } => to.byte(8).value(app).value(order).byte(*wave),
            Self::Halted { app, order, why } => to.byte(9).value(app).value(order).text(why),
            Self::FellBack { app, order, to: release } => to.byte(10).value(app).value(order).value(release),
            Self::Finished { app, order } => to.byte(11).value(app).value(order),
            Self::Limited { scope, rate } => to.byte(12).value(scope).option(rate.as_ref()),
            Self::Directed { app, directive } => to.byte(13).value(app).value(directive),
            Self::Awaited { app, order, wave } => to.byte(14).value(app).value(order).byte(*wave),
            Self::Offered(offer) => to.byte(15).value(offer),
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.header(Document::Fact)?;
        Ok(match from.byte()? {
            1 => Self::Rooted { root: from.value()? },
            2 => Self::TokenIssued {
                token: from.value()?,
                secret: from.value()?,
                uses: from.number32("the number of uses")?,
                expires: from.value()?,
                role: from.value()?,
                labels: from.value()?,
            },
            3 => Self::TokenRevoked { token: from.value()? },
            4 => Self::Enrolled {
                node: from.value()?,
                name: from.text("a node's name", Self::MAX_NAME)?,
                role: from.value()?,
                labels: from.value()?,
                token: from.option()?,
            },
            5 => Self::Revoked { node: from.value()? },
            6 => Self::Published { release: from.value()? },
            7 => Self::Ordered { order: from.value()? },
            8 => Self::WaveOpened { app: from.value()?, order: from.value()?, wave: from.byte()? },
            9 => {
                Self::Halted { app: from.value()?, order: from.value()?, why: from.text("the reason", Self::MAX_WHY)? }
            }
            10 => Self::FellBack { app: from.value()?, order: from.value()?, to: from.value()? },
            11 => Self::Finished { app: from.value()?, order: from.value()? },
            12 => Self::Limited { scope: from.value()?, rate: from.option()? },
            13 => Self::Directed { app: from.value()?, directive: from.value()? },
            14 => Self::Awaited { app: from.value()?, order: from.value()?, wave: from.byte()? },
            15 => Self::Offered(from.value()?),
            other => return Err(from.wrong(format!("there is no sort of fact {other}"))),
        })
    }
}
