//! What a source gave away and nobody else has shown yet: how it finds those that keep to themselves what they get.
//!
//! A neighbour is *generous* when a piece that only it was given turns up at another. How long that takes is measured; whoever
//! has shown nothing for several times as long, while something of its is still unseen, is *mute*: it may be a liar, or its
//! links may be broken one way. What it kept goes out again.

use crate::door::Time;
use content::{NodeId, PieceNo};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many times as long as it usually takes.
const TIMES: u32 = 4;
/// As long as nobody is known to be generous: such a part of the patience.
const UNKNOWN: u32 = 4;
/// Never less: news of pieces are collected for 50 ms at each of two nodes, which may be busy.
const SOONEST: Duration = Duration::from_millis(300);
/// How many pieces a neighbour may have been given before anything of it was seen elsewhere.
const UNPROVEN: u32 = 2;

/// What is known of those that were given pieces.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Pieces that one neighbour has, as far as we know: who, and since when.
    unseen: BTreeMap<PieceNo, (NodeId, Time)>,
    /// How many of them each has.
    counts: BTreeMap<NodeId, u32>,
    /// When something of a neighbour's was last seen elsewhere.
    generous: BTreeMap<NodeId, Time>,
    /// How long that takes, on average lately.
    usual: Option<Duration>,
}

impl Kept {
    /// A neighbour has a piece that was given to it alone.
    pub(super) fn landed(&mut self, now: Time, piece: PieceNo, at: NodeId) {
        if let Some((before, _)) = self.unseen.insert(piece, (at, now)) {
            self.lower(before);
        }
        *self.counts.entry(at).or_default() += 1;
    }

    /// Another has the piece as well: who has been generous.
    pub(super) fn seen(&mut self, now: Time, piece: PieceNo) -> Option<NodeId> {
        let (at, since) = self.unseen.remove(&piece)?;
        self.lower(at);
        let took = now.since(since);
        self.usual = Some(self.usual.map_or(took, |usual| (usual * 7 + took) / 8));
        self.generous.insert(at, now);
        Some(at)
    }

    /// Another has the piece as well, and nobody can tell from whom.
    pub(super) fn forget(&mut self, piece: PieceNo) {
        if let Some((at, _)) = self.unseen.remove(&piece) {
            self.lower(at);
        }
    }

    /// Forgets pieces: those of a neighbour that is gone, or those that are out of date.
    pub(super) fn retain(&mut self, keep: impl Fn(PieceNo, NodeId) -> bool) {
        let gone: Vec<PieceNo> =
            self.unseen.iter().filter(|(piece, (at, _))| !keep(**piece, *at)).map(|(piece, _)| *piece).collect();
        for piece in gone {
            if let Some((at, _)) = self.unseen.remove(&piece) {
                self.lower(at);
            }
        }
    }

    fn lower(&mut self, at: NodeId) {
        if let Some(count) = self.counts.get_mut(&at) {
            *count -= 1;
        }
    }

    /// Takes out what mute neighbours have, and who they are; `patience` counts as long as nobody was seen to be generous. What
    /// has long been at a generous one need not be watched any more.
    pub(super) fn take_mute(&mut self, now: Time, patience: Duration) -> (Vec<PieceNo>, BTreeSet<NodeId>) {
        let wait = self.usual.map_or(patience / UNKNOWN, |usual| usual * TIMES).max(SOONEST);
        let keeps = |(at, since): &(NodeId, Time)| {
            now.since(*since) >= wait && self.generous.get(at).is_none_or(|shown| shown < since)
        };
        let mute: BTreeSet<NodeId> = self.unseen.values().filter(|kept| keeps(kept)).map(|(at, _)| *at).collect();
        let of_mute = |(_, (at, _)): &(&PieceNo, &(NodeId, Time))| mute.contains(at);
        let pieces: Vec<PieceNo> = self.unseen.iter().filter(of_mute).map(|(piece, _)| *piece).collect();
        let old: BTreeSet<PieceNo> =
            self.unseen.iter().filter(|(_, (_, since))| now.since(*since) >= wait).map(|(piece, _)| *piece).collect();
        self.retain(|piece, at| !mute.contains(&at) && !old.contains(&piece));
        (pieces, mute)
    }

    /// Whether a neighbour was seen to be generous.
    pub(super) fn is_generous(&self, peer: NodeId) -> bool {
        self.generous.contains_key(&peer)
    }

    /// Whether a neighbour may be given another piece, having so many under way, before anything of it was seen elsewhere.
    pub(super) fn may_be_tried(&self, peer: NodeId, under_way: u32) -> bool {
        self.counts.get(&peer).copied().unwrap_or(0) + under_way < UNPROVEN
    }

    /// How many pieces of a neighbour's were not seen elsewhere.
    pub(super) fn unseen_at(&self, peer: NodeId) -> u32 {
        self.counts.get(&peer).copied().unwrap_or(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unseen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn peer(nr: u8) -> NodeId {
        NodeId(Digest::of(&[nr]))
    }

    fn at(millis: u64) -> Time {
        Time(millis * 1_000_000)
    }

    #[test]
    fn whoever_shows_nothing_for_long_is_mute_and_its_pieces_come_back() {
        let mut kept = Kept::default();
        kept.landed(at(0), PieceNo(0), peer(1));
        kept.landed(at(0), PieceNo(1), peer(2));
        kept.landed(at(1), PieceNo(2), peer(2));
        assert_eq!(kept.seen(at(20), PieceNo(0)), Some(peer(1)));
        assert_eq!(kept.take_mute(at(299), PATIENCE), (vec![], BTreeSet::new()));
        assert_eq!(kept.take_mute(at(300), PATIENCE), (vec![PieceNo(1), PieceNo(2)], BTreeSet::from([peer(2)])));
        assert!(kept.is_empty() && kept.is_generous(peer(1)) && !kept.is_generous(peer(2)));
    }

    #[test]
    fn as_long_as_nobody_was_generous_it_may_just_be_far() {
        let mut kept = Kept::default();
        kept.landed(at(0), PieceNo(0), peer(1));
        assert!(kept.take_mute(at(299), PATIENCE).1.is_empty());
        assert_eq!(kept.take_mute(at(300), PATIENCE).1, BTreeSet::from([peer(1)]));
    }

    #[test]
    fn whoever_shows_something_now_and_then_is_only_slow() {
        let mut kept = Kept::default();
        for nr in 0..3 {
            kept.landed(at(0), PieceNo(nr), peer(1));
        }
        kept.seen(at(10), PieceNo(0));
        assert!(kept.take_mute(at(500), PATIENCE).1.is_empty(), "something that landed with it was seen since");
        kept.landed(at(600), PieceNo(3), peer(1));
        assert_eq!(kept.take_mute(at(900), PATIENCE).1, BTreeSet::from([peer(1)]));
    }

    #[test]
    fn an_unproven_one_gets_two_pieces() {
        let mut kept = Kept::default();
        assert!(kept.may_be_tried(peer(1), 1) && !kept.may_be_tried(peer(1), 2));
        kept.landed(at(0), PieceNo(0), peer(1));
        assert!(kept.may_be_tried(peer(1), 0) && !kept.may_be_tried(peer(1), 1));
        kept.retain(|_, at| at != peer(1));
        assert!(kept.may_be_tried(peer(1), 1));
    }
}
