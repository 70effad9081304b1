//! A peer, as far as one content is concerned: what it says it holds, and what of that is of use.

use super::news::Told;
use super::relay::stripe_of;
use super::slow::Watch;
use crate::door::{STRIPES, Time};
use content::{Bitmap, PieceNo, Role};
use std::collections::BTreeSet;

/// How often a peer may claim what it has not before it is convicted.
pub(super) const STRIKES: u32 = 16;
/// And how many pieces it may send that nobody asked for: whoever was told of another order than we, or earlier (we may just have
/// started), may pass on as much as waits for one neighbour.
pub(super) const UNASKED: u32 = 256;

/// A peer of a content.
#[derive(Debug)]
pub(super) struct Partner {
    pub(super) role: Role,
    /// What it says it holds: a hint until a payload was verified.
    pub(super) have: Bitmap,
    /// Whether it says that it wants what it lacks.
    pub(super) wants: bool,
    /// All that it holds, we lack and may ask for now, of the pieces before `looked`; and some for which that is no longer so.
    pub(super) useful: Vec<PieceNo>,
    /// Up to which piece was looked: what is of use beyond is found when the list has come to its end.
    pub(super) looked: u32,
    /// How far it was told what we hold.
    pub(super) told: Told,
    /// Pushes that are under way to it, and how many there have been.
    pub(super) pushing: u32,
    pub(super) pushed: u32,
    /// It cannot take pushes now.
    pub(super) full: bool,
    /// It keeps to itself what it is pushed.
    pub(super) is_mute: bool,
    /// How many pieces of each stripe it holds.
    pub(super) counts: [u32; STRIPES],
    /// When it said last what it holds and how much that was, and the time before.
    pub(super) said: [(Time, [u32; STRIPES]); 2],
    /// What it had a while ago, and those before it; only a source keeps that.
    pub(super) watch: Option<Box<Watch>>,
    /// Up to which piece it was passed what it lacked when it came.
    pub(super) caught_up: u32,
    /// What it said that we need not pass on to it when we get it.
    pub(super) declined: BTreeSet<PieceNo>,
    /// How many pages it holds.
    pub(super) pages: u32,
    /// The first few pages, a bit each, that were pushed to it.
    pub(super) pages_pushed: u8,
    /// Breaks ties between equally needy partners.
    pub(super) tie: u64,
    /// Payloads that may still come although they were given up.
    pub(super) spared: u32,
    pub(super) unasked: u32,
    /// Pieces that it claimed, could not send when asked, and has not taken back since.
    pub(super) false_haves: Vec<PieceNo>,
}

/// How many pieces of each stripe are among these.
pub(super) fn count(have: &Bitmap) -> [u32; STRIPES] {
    let mut counts = [0; STRIPES];
    have.iter().for_each(|piece| counts[stripe_of(piece)] += 1);
    counts
}

impl Partner {
    pub(super) fn new(role: Role, have: Bitmap, wants: bool, tie: u64) -> Self {
        Self {
            role,
            wants: wants && !have.is_full(),
            is_mute: false,
            counts: count(&have),
            said: [(Time(0), [0; STRIPES]); 2],
            watch: None,
            caught_up: 0,
            declined: BTreeSet::new(),
            have,
            useful: Vec::new(),
            looked: 0,
            told: Told::default(),
            pushing: 0,
            pushed: 0,
            full: false,
            pages: 0,
            pages_pushed: 0,
            tie,
            spared: 0,
            unasked: 0,
            false_haves: Vec::new(),
        }
    }

    /// How many pieces of each stripe it holds if it is an agent, none otherwise.
    pub(super) fn agents_counts(&self) -> [u32; STRIPES] {
        if self.role == Role::Agent { self.counts } else { [0; STRIPES] }
    }

    /// It has said what came.
    pub(super) fn has_said(&mut self, now: Time) {
        self.said = [self.said[1], (now, self.counts)];
    }

    /// How many pieces of a stripe it had at a time, as far as that can be said.
    pub(super) fn count_at(&self, time: Time, stripe: usize) -> u32 {
        let [(before, then), (last, now)] = self.said;
        if time >= last || last <= before {
            return self.counts[stripe];
        }
        let (part, whole) = (time.since(before).as_micros(), last.since(before).as_micros().max(1));
        then[stripe] + (u128::from(now[stripe].saturating_sub(then[stripe])) * part / whole) as u32
    }

    /// How needy it is: the least is served first.
    pub(super) fn need(&self) -> (u32, u32, u64) {
        (self.pushing, self.pushed, self.tie)
    }

    /// Whether it would like to be pushed something.
    pub(super) fn takes_pushes(&self) -> bool {
        self.role == Role::Agent && self.wants && !self.full && !self.is_mute && self.pushing < super::push::AHEAD
    }
}
