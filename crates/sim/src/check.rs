//! One checker per promise. They watch what stores and engines say and do, look at disks from outside, and judge.
//!
//! A checker never changes the world, and knows nothing that the operators, the disks and the doors do not show.

pub(crate) mod bounds;
pub(crate) mod bytes;
pub(crate) mod convictions;
pub(crate) mod durability;
pub(crate) mod liveness;
pub(crate) mod orders;
pub(crate) mod rollouts;
pub(crate) mod sent_once;

use std::fmt;
use std::time::Duration;

/// The promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// What stands at a path is what was published.
    Bytes,
    /// What was called complete, published, ordered or confirmed survives any crash.
    Durability,
    /// Nobody runs what no order names, and epochs never fall.
    Orders,
    /// An ill release stays in its first wave, and is tried once on each node.
    Rollouts,
    /// When faults stop, all arrive.
    Liveness,
    /// Memory and queues are bounded, and back at their baseline.
    Bounds,
    /// The origin sends each piece about once.
    SentOnce,
    /// Who was convicted is left.
    Convictions,
    /// Nothing panics.
    NoPanic,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// When, in virtual time.
    pub at: Duration,
    /// What was seen, in words.
    pub words: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broken at {:.3} s: {}", self.promise, self.at.as_secs_f64(), self.words)
    }
}
