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

/// A day has no more stretches.
const MOST: usize = 80;

impl Stretch {
    /// Both together.
    fn and(self, other: &Self) -> Self {
        Self {
            came: self.came + other.came,
            to_others: self.to_others + other.to_others,
            twice: self.twice + other.twice,
            asked: self.asked + other.asked,
            innocent: self.innocent + other.innocent,
            guilty: self.guilty + other.guilty,
        }
    }
}

/// A day, stretch by stretch from the publication on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diary {
    /// How long a stretch is.
    pub each: Duration,
    /// All of them.
    pub stretches: Vec<Stretch>,
    /// When each piece came.
    pub pieces: Vec<Arrivals>,
    /// What each agent has of what is measured.
    have: Vec<Bitmap>,
}

/// When a piece came to agents that are measured, the first time to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrivals {
    /// To the first of them.
    pub first: Duration,
    /// To all of them together.
    pub sum: Duration,
    /// To the last of them.
    pub last: Duration,
    /// To how many.
    pub agents: u32,
}

impl Arrivals {
    /// On average.
    pub fn mean(&self) -> Duration {
        self.sum / self.agents.max(1)
    }
}

impl Diary {
    /// One of so many machines and so many pieces.
    pub(super) fn new(each: Duration, machines: usize, pieces: u32) -> Self {
        let have = vec![Bitmap::empty(pieces); machines];
        Self { each, stretches: Vec::new(), pieces: vec![Arrivals::default(); pieces as usize], have }
    }

    /// The stretch at a time after the publication. A day that gets long is told in longer stretches.
    pub(super) fn at(&mut self, since: u64) -> &mut Stretch {
        let nth = |each: Duration| (since / (each.as_nanos() as u64).max(1)) as usize;
        while nth(self.each) >= MOST {
            self.each = (self.each * 2).max(Duration::from_micros(1));
            let pairs = self.stretches.chunks(2).map(|pair| pair.iter().fold(Stretch::default(), Stretch::and));
            self.stretches = pairs.collect();
        }
        let nth = nth(self.each);
        if nth >= self.stretches.len() {
            self.stretches.resize(nth + 1, Stretch::default());
        }
        &mut self.stretches[nth]
    }

    /// A payload came.
    pub(super) fn came(&mut self, since: u64, node: u32, piece: u32, is_measured: bool) {
        let is_new = self.have[node as usize].insert(PieceNo(piece));
        if is_measured && is_new {
            let (arrivals, after) = (&mut self.pieces[piece as usize], Duration::from_nanos(since));
            arrivals.first = if arrivals.agents == 0 { after } else { arrivals.first };
            (arrivals.sum, arrivals.last) = (arrivals.sum + after, after);
            arrivals.agents += 1;
        }
        let now = self.at(since);
        match (is_measured, is_new) {
            (false, _) => now.to_others += 1,
            (true, true) => now.came += 1,
            (true, false) => now.twice += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_day_is_told_in_as_many_stretches_and_loses_nothing() {
        let mut diary = Diary::new(Duration::from_millis(1), 1, 0);
        for milli in 0..100_000 {
            diary.at(milli * 1_000_000).asked += 1;
        }
        assert!(diary.stretches.len() <= MOST, "{}", diary.stretches.len());
        assert_eq!(diary.stretches.iter().map(|stretch| stretch.asked).sum::<u64>(), 100_000);
    }
}
