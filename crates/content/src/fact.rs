//! Facts: what the journals hold, and what everything an origin knows can be rebuilt from.

use crate::encoding::Malformed;
use crate::{AppName, Digest, Label, Labels, NodeId, OrderId, ReleaseId, Role, Signed, TokenId, UnixTime};

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
        /// A name for people, unique among the enrolled.
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
    /// The rollout of an order stopped, and why.
    Halted {
        /// The application.
        app: AppName,
        /// The order.
        order: OrderId,
        /// Why, in words for the operator.
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
    /// All waves of an order are confirmed.
    Finished {
        /// The application.
        app: AppName,
        /// The order.
        order: OrderId,
    },
}

impl Fact {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(_bytes: &[u8]) -> Result<Self, Malformed> {
        todo!()
    }
}
