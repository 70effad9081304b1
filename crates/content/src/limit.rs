//! Limits: how fast nodes may send and receive pieces, as operators say it. What is done about it is for others.

use crate::encoding::{Decoder, Encode, Encoder, Malformed};
use crate::{Labels, NodeId};

/// Bytes of pieces per second, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

impl Rate {
    /// The lowest limit that may be set: at less than a kilobyte per second a piece takes a minute and counts as lost.
    pub const LEAST: Self = Self(1000);
}

/// Whom a limit bounds. Every limit that applies to a node holds, so the lowest one counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Each node with all of these labels; without labels every node, origins too.
    Selected(Labels),
    /// One node.
    Node(NodeId),
    /// What all nodes of the fleet send together.
    Total,
}

impl Encode for Rate {
    const WHAT: &'static str = "rate";

    fn put(&self, to: &mut Encoder) {
        to.number(self.0);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.number().map(Self)
    }
}

impl Encode for Scope {
    const WHAT: &'static str = "scope of a limit";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Selected(labels) => to.byte(1).value(labels),
            Self::Node(node) => to.byte(2).value(node),
            Self::Total => to.byte(3),
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            1 => from.value().map(Self::Selected),
            2 => from.value().map(Self::Node),
            3 => Ok(Self::Total),
            other => Err(from.wrong(format!("there is no scope {other}"))),
        }
    }
}
