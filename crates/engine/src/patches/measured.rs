//! How fast this origin made its last patches, and how fast the last releases came to nodes.
//!
//! What was measured stands in for a guess, for a day: a machine that was busy once is asked again. Invariant: only what took long
//! enough to be the thing that is measured is believed.

use crate::door::{Effort, Time};
use content::{NodeId, Rate};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Of less than so many bytes nothing is learned: all that is done but once would count.
const LEAST: u64 = 1_000_000;
/// What comes in less time than this says more about its beginning than about a link.
const LONG: Duration = Duration::from_secs(5);
/// It was the link of a node if it took so many times what it took until the origin had all.
const OWN: u32 = 2;
/// How long a measurement counts.
const COUNTS: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes in a second, and when they were measured.
#[derive(Debug, Clone, Copy)]
struct Sample {
    rate: u64,
    at: Time,
}

impl Sample {
    fn counts(&self, now: Time) -> bool {
        now.since(self.at) < COUNTS
    }
}

/// How a content came to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Came {
    /// The bytes that came.
    pub(crate) bytes: u64,
    /// All of its bytes.
    pub(crate) of: u64,
    /// From the first of them to the last.
    pub(crate) took: Duration,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    fast: Option<Sample>,
    best: Option<Sample>,
    links: BTreeMap<NodeId, Sample>,
}

fn per_second(bytes: u64, took: Duration) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / took.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX).max(1)
}

impl Measured {
    /// A patch of so many bytes was made, or found to be of no use, which is the same work. The newest counts as much as all before it.
    pub(crate) fn made(&mut self, now: Time, effort: Effort, bytes: u64, took: Duration) {
        if bytes < LEAST {
            return;
        }
        let newest = per_second(bytes, took);
        let before = self.making(now, effort);
        let rate = before.map_or(newest, |before| before / 2 + newest / 2).max(1);
        *self.of(effort) = Some(Sample { rate, at: now });
    }

    fn of(&mut self, effort: Effort) -> &mut Option<Sample> {
        match effort {
            Effort::Fast => &mut self.fast,
            Effort::Best => &mut self.best,
        }
    }

    /// How many bytes of a target go through in a second when a patch of it is made, if any was lately.
    pub(crate) fn making(&self, now: Time, effort: Effort) -> Option<u64> {
        let sample = if effort == Effort::Fast { self.fast } else { self.best };
        sample.filter(|sample| sample.counts(now)).map(|sample| sample.rate)
    }

    /// A content came to a node piece by piece, when it took so long until the origin had all of it.
    pub(crate) fn came(&mut self, now: Time, node: NodeId, came: Came, origin: Duration) {
        let is_most = came.bytes >= LEAST && came.bytes >= came.of / 2;
        if is_most && came.took >= LONG && came.took >= origin * OWN {
            self.links.insert(node, Sample { rate: per_second(came.bytes, came.took), at: now });
        }
    }

    /// What links bring to most of these nodes, if half of them or more are known to be slower than usual.
    pub(crate) fn link(&mut self, now: Time, nodes: &BTreeSet<NodeId>) -> Option<Rate> {
        self.links.retain(|_, sample| sample.counts(now));
        let known = nodes.iter().filter_map(|node| self.links.get(node));
        let mut rates: Vec<u64> = known.map(|sample| sample.rate).collect();
        rates.sort_unstable();
        rates.get(nodes.len().saturating_sub(1) / 2).map(|rate| Rate(*rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;

    const MB: u64 = 1_000_000;
    const SECOND: Duration = Duration::from_secs(1);

    fn node(nr: u8) -> NodeId {
        NodeId(Digest::of(&[nr]))
    }

    #[test]
    fn the_last_patches_count_for_a_day_and_small_ones_do_not() {
        let mut measured = Measured::default();
        measured.made(Time(0), Effort::Best, MB - 1, SECOND);
        assert_eq!(measured.making(Time(0), Effort::Best), None);
        measured.made(Time(0), Effort::Best, 8 * MB, SECOND);
        measured.made(Time(0), Effort::Best, 8 * MB, SECOND * 2);
        assert_eq!(measured.making(Time(1), Effort::Best), Some(6 * MB));
        assert_eq!(measured.making(Time(1), Effort::Fast), None, "each has its own");
        let later = Time(0).after(COUNTS);
        assert_eq!(measured.making(later, Effort::Best), None);
        measured.made(later, Effort::Best, MB, SECOND);
        assert_eq!(measured.making(later, Effort::Best), Some(MB), "what is old does not count in it");
    }

    #[test]
    fn links_are_slow_when_half_of_the_nodes_say_so_and_nobody_else_was() {
        let nodes: BTreeSet<NodeId> = (0..4).map(node).collect();
        let slow = Came { bytes: 10 * MB, of: 12 * MB, took: SECOND * 10 };
        let link = |of: &[(u8, Came)], origin| {
            let mut measured = Measured::default();
            of.iter().for_each(|(nr, came)| measured.came(Time(0), node(*nr), *came, origin));
            (measured.link(Time(0), &nodes), measured.link(Time(0).after(COUNTS), &nodes))
        };
        assert_eq!(link(&[(1, slow), (2, Came { took: SECOND * 5, ..slow })], SECOND), (Some(Rate(2 * MB)), None));
        assert_eq!(link(&[(1, slow)], SECOND), (None, None), "one of four is no reason");
        let others = [
            Came { bytes: 5 * MB, ..slow },
            Came { bytes: MB - 1, of: MB, ..slow },
            Came { took: LONG - SECOND / 10, ..slow },
        ];
        for no_measure in others {
            assert_eq!(link(&[(1, slow), (2, no_measure)], SECOND).0, None, "{no_measure:?}");
        }
        assert_eq!(link(&[(1, slow), (2, slow)], SECOND * 6).0, None, "it was the publisher that was slow");
    }
}
