//! Modification times and owners of a tree's entries, kept apart from its content.

use crate::encoding::Malformed;

/// What is kept of each entry of a manifest, in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(pub Vec<Attribute>);

/// Time and owner of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Modification time: seconds since 1970, may be negative.
    pub seconds: i64,
    /// And nanoseconds, below 10^9.
    pub nanos: u32,
    /// Numeric owner; 2^32 - 1 is refused.
    pub uid: u32,
    /// Numeric group; 2^32 - 1 is refused.
    pub gid: u32,
}

impl Attributes {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(_bytes: &[u8]) -> Result<Self, Malformed> {
        todo!()
    }
}
