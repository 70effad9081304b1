//! The trust root: which keys may say what, signed by the fleet's root keys.

use crate::encoding::Malformed;
use crate::{PublicKey, UnixTime};

/// The signed statement that names the fleet's keys. Its first version's payload digest is the [`crate::FleetId`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Rises by exactly one with each rotation; the first is 1.
    pub version: u64,
    /// Sixteen random bytes that make every fleet another one.
    pub nonce: [u8; 16],
    /// When it was made.
    pub created: UnixTime,
    /// The keys that may sign the next root.
    pub root_keys: Vec<PublicKey>,
    /// How many of them must.
    pub root_threshold: u8,
    /// The keys that may sign releases and orders.
    pub operators: Vec<Operator>,
    /// How many of them must sign a release or an order.
    pub operator_threshold: u8,
}

/// An operator: a name for people and a key for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who it is, as `status` prints it; at most 64 bytes of UTF-8 without control characters.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

impl Root {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(_bytes: &[u8]) -> Result<Self, Malformed> {
        todo!()
    }

    /// The operators' keys.
    pub fn operator_keys(&self) -> Vec<PublicKey> {
        self.operators.iter().map(|operator| operator.key).collect()
    }

    /// The operator's name that belongs to a key.
    pub fn operator_name(&self, key: crate::KeyId) -> Option<&str> {
        self.operators.iter().find(|operator| operator.key.id() == key).map(|operator| operator.name.as_str())
    }
}
