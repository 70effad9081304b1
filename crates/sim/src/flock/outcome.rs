//! What came of a flock's day.

use super::diary::Diary;
use std::time::Duration;

/// What was measured, in virtual time.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// When the content was durable at each agent that is measured, from the publication on, rising.
    pub complete: Vec<Duration>,
    /// How many agents are measured: those that are as they should be.
    pub measured: u32,
    /// How long it took each agent to join, rising.
    pub joined: Vec<Duration>,
    /// When the origin died, from the publication on, and which part of the measured agents had all then.
    pub origin_died: Option<(Duration, f64)>,
    /// Copies that the origin sent.
    pub origin_copies: f64,
    /// Copies that came to a measured agent, on average.
    pub received_copies: f64,
    /// What was published.
    pub bytes: u64,
    /// One unicast, and the bound.
    pub unicast: Duration,
    /// The bound for equal links.
    pub bound: Duration,
    /// Processor time of all from the publication on, where they share processors.
    pub spent: Duration,
    /// Payloads that came to anyone.
    pub deliveries: u64,
    /// Messages that came to anyone.
    pub messages: u64,
    /// What happened in all.
    pub events: u64,
    /// Deadlines that were missed.
    pub late: u64,
    /// How often the origin was asked directly because no neighbour was of help.
    pub plain: u64,
    /// Convictions.
    pub convicted: u64,
    /// Dials that were made.
    pub dials: u64,
    /// What the time was spent on, if that was asked for.
    pub diary: Option<Diary>,
}

impl Outcome {
    /// The part of the measured agents that have all.
    pub fn share_complete(&self) -> f64 {
        self.complete.len() as f64 / f64::from(self.measured.max(1))
    }

    /// When the last had all; for ever when one has not.
    pub fn last(&self) -> f64 {
        if self.complete.len() < self.measured as usize { f64::INFINITY } else { at(&self.complete, 1.0) }
    }

    /// When so many of those that have all had it, in seconds.
    pub fn quantile(&self, part: f64) -> f64 {
        at(&self.complete, part)
    }

    /// When so many had joined.
    pub fn joined(&self, part: f64) -> f64 {
        at(&self.joined, part)
    }

    /// Processor seconds for each GiB that came to a measured agent, where all share processors.
    pub fn spent_by_gib(&self) -> f64 {
        self.spent.as_secs_f64() / (self.bytes as f64 * self.complete.len() as f64 / f64::from(1 << 30))
    }

    /// The last, as a multiple of a unicast.
    pub fn last_by_unicast(&self) -> f64 {
        self.last() / self.unicast.as_secs_f64()
    }

    /// The last, as a multiple of the bound.
    pub fn last_by_bound(&self) -> f64 {
        self.last() / self.bound.as_secs_f64()
    }
}

fn at(rising: &[Duration], part: f64) -> f64 {
    let index = ((rising.len() as f64 * part).ceil() as usize).clamp(1, rising.len().max(1)) - 1;
    rising.get(index).map_or(f64::INFINITY, Duration::as_secs_f64)
}
