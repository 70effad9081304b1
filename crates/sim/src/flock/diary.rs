//! What a flock's day was spent on: how much came to whom in each stretch of time, how much of it twice, and who was benched.

use content::{Bitmap, PieceNo};
use std::time::Duration;

/// What came in a stretch of time, in payloads, and what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stretch {
    /// To agents that are measured.
    pub came: u64,
    /// To others.
    pub to_others: u64,
    /// To agents that are measured, which had it already.
    pub twice: u64,
    /// Pieces that were asked for.
    pub asked: u64,
    /// Agents that are measured and were benched.
    pub innocent: u32,
    /// And others.
    pub guilty: u32,
}

/// A day, stretch by stretch from the publication on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diary {
    /// How long a stretch is.
    pub each: Duration,
    /// All of them.
    pub stretches: Vec<Stretch>,
    /// What each agent has of what is measured.
    have: Vec<Bitmap>,
}

impl Diary {
    /// One of so many machines and so many pieces.
    pub(super) fn new(each: Duration, machines: usize, pieces: u32) -> Self {
        Self { each, stretches: Vec::new(), have: vec![Bitmap::empty(pieces); machines] }
    }

    /// The stretch at a time after the publication.
    pub(super) fn at(&mut self, since: u64) -> &mut Stretch {
        let nth = (since / (self.each.as_nanos() as u64).max(1)) as usize;
        if nth >= self.stretches.len() {
            self.stretches.resize(nth + 1, Stretch::default());
        }
        &mut self.stretches[nth]
    }

    /// A payload came.
    pub(super) fn came(&mut self, since: u64, node: u32, piece: u32, is_measured: bool) {
        let is_new = self.have[node as usize].insert(PieceNo(piece));
        let now = self.at(since);
        match (is_measured, is_new) {
            (false, _) => now.to_others += 1,
            (true, true) => now.came += 1,
            (true, false) => now.twice += 1,
        }
    }
}
