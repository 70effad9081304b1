//! A machine of a flock: its engine, and what its pretend host and driver remember.

use content::{Digest, NodeId, Role};
use engine::Engine;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

/// In which way a machine is not honest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It is.
    Honest,
    /// Every payload it sends is damaged.
    Corrupts,
    /// It takes requests and never sends.
    Stalls,
    /// It says that it holds everything from the first moment on, and cannot send what it has not.
    Boasts,
}

/// A payload that was given to the driver for sending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parcel {
    pub(super) lane: u32,
    pub(super) piece: u32,
    pub(super) content: u8,
    /// Whether the engine knows that the kernel has it.
    pub(super) is_told: bool,
}

/// A machine.
pub(super) struct Member {
    pub(super) id: NodeId,
    pub(super) role: Role,
    pub(super) manner: Manner,
    pub(super) engine: Option<Box<Engine>>,
    /// Its connections: to whom, and the lane there. An origin has none here: they are found at the other end.
    pub(super) lanes: Vec<(u32, u32)>,
    /// Payloads that have not left, in the order in which they were given.
    pub(super) outbox: VecDeque<Parcel>,
    /// The payload that is leaving.
    pub(super) current: Option<Parcel>,
    /// When its link up was said to be free next; `u64::MAX` when nobody waits for that.
    pub(super) next_free: u64,
    pub(super) cpu_free: u64,
    /// Until when its processor does something else.
    pub(super) paused_until: u64,
    pub(super) disk_free: u64,
    /// When the store's thread is free, which takes the steps that change names or state.
    pub(super) store_free: u64,
    pub(super) tick_at: u64,
    /// Its deadline has come, and waits for a shared processor.
    pub(super) is_tick_due: bool,
    pub(super) is_enrolled: bool,
    pub(super) asked_to_join: u64,
    pub(super) joined: u64,
    /// When the tree was durable here.
    pub(super) complete: u64,
    /// Contents that are durable here, by their numbers.
    pub(super) whole: BTreeSet<u8>,
    /// Payload bytes that came, and that left.
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// Not yet.
pub(super) const NEVER: u64 = u64::MAX;

impl Member {
    pub(super) fn new(nr: u32, role: Role, draw: u64) -> Self {
        Self {
            id: identity(nr, draw),
            role,
            manner: Manner::Honest,
            engine: None,
            lanes: Vec::new(),
            outbox: VecDeque::new(),
            current: None,
            is_enrolled: false,
            next_free: NEVER,
            cpu_free: 0,
            paused_until: 0,
            disk_free: 0,
            store_free: 0,
            tick_at: NEVER,
            is_tick_due: false,
            asked_to_join: 0,
            joined: NEVER,
            complete: NEVER,
            whole: BTreeSet::new(),
            received: 0,
            sent: 0,
        }
    }
}

/// An identity that is drawn, and says which machine's it is.
fn identity(nr: u32, draw: u64) -> NodeId {
    let mut bytes = [0; Digest::LEN];
    bytes[..8].copy_from_slice(&draw.to_be_bytes());
    bytes[28..].copy_from_slice(&nr.to_be_bytes());
    NodeId(Digest::from_bytes(bytes))
}

/// Whose identity it is.
pub(super) fn number(id: NodeId) -> u32 {
    let bytes = id.0.as_bytes();
    u32::from_be_bytes([bytes[28], bytes[29], bytes[30], bytes[31]])
}

/// Where a machine listens.
pub(super) fn address(nr: u32) -> SocketAddr {
    let [_, b, c, d] = nr.to_be_bytes();
    SocketAddr::from(([10, b, c, d], 7443))
}

/// Who listens there.
pub(super) fn listener(address: SocketAddr) -> u32 {
    match address.ip() {
        std::net::IpAddr::V4(ip) => u32::from_be_bytes(ip.octets()) & 0x00ff_ffff,
        std::net::IpAddr::V6(_) => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_an_address_say_whose_they_are() {
        for nr in [0, 1, 300, 100_001] {
            assert_eq!((number(identity(nr, 77)), listener(address(nr))), (nr, nr));
        }
    }
}
