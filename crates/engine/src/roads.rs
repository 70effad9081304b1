//! By which road a content comes to an agent: it has it, or shares pieces of it, which the host finds; a patch of something that is here;
//! or piece by piece.
//!
//! It knows what its origin offers, what was tried and what failed, and chooses. It moves nothing. Invariants: an offer is chosen only when
//! its base is whole here and its format is one that this node reads; a patch that failed is not tried again.

use crate::door::Time;
use content::fact::Offer;
use content::{ContentId, ContentSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A patch of which nothing comes for so long does not come.
pub(crate) const STALL: Duration = Duration::from_secs(20);

/// Of how many contents it is remembered what an origin offers.
const TARGETS: usize = 64;

/// A way on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By this patch.
    Patch(Offer),
    /// One is being made that may be of use: nothing is asked for until it is clear.
    Wait,
    /// Piece by piece.
    Whole,
}

/// What is under way to a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Road {
    /// A patch is being made.
    Waits,
    /// A patch comes; so many of its pieces had when it was last looked at.
    Fetches { offer: Offer, had: u32 },
    /// The host makes the content.
    Applies { offer: Offer },
}

/// What is known of the ways to a content.
#[derive(Debug, Default)]
struct Known {
    offers: Vec<Offer>,
    is_awaited: bool,
    /// Patches that did not come, or did not do.
    failed: BTreeSet<ContentId>,
    /// Bytes of patches that came, from origins and from peers.
    moved: (u64, u64),
    road: Option<(ContentSpec, Road)>,
    /// When something was last said of it: the oldest is forgotten first.
    turn: u64,
}

/// The ways to everything that comes here.
#[derive(Debug, Default)]
pub(crate) struct Roads {
    reads: BTreeSet<u8>,
    known: BTreeMap<ContentId, Known>,
    turn: u64,
}

impl Roads {
    pub(crate) fn new(reads: &[u8]) -> Self {
        Self { reads: reads.iter().copied().collect(), ..Self::default() }
    }

    /// The formats that this node reads.
    pub(crate) fn reads(&self) -> &BTreeSet<u8> {
        &self.reads
    }

    /// An origin says what makes a content.
    pub(crate) fn told(&mut self, target: ContentId, offers: Vec<Offer>, is_awaited: bool) {
        self.turn += 1;
        let known = self.known.entry(target).or_default();
        known.offers = offers.into_iter().filter(|offer| offer.target == target).collect();
        (known.is_awaited, known.turn) = (is_awaited, self.turn);
        let idle = self.known.iter().filter(|(_, known)| known.road.is_none());
        let oldest = idle.min_by_key(|(_, known)| known.turn).map(|(content, _)| *content);
        if let Some(oldest) = oldest.filter(|_| self.known.len() > TARGETS) {
            self.known.remove(&oldest);
        }
    }

    /// Nobody can say any more how what is being made ends; which contents waited for that.
    pub(crate) fn awaits_nothing(&mut self) -> Vec<ContentSpec> {
        self.known.values_mut().for_each(|known| known.is_awaited = false);
        let roads = self.known.values().filter_map(|known| known.road);
        roads.filter(|(_, road)| *road == Road::Waits).map(|(spec, _)| spec).collect()
    }

    /// The best way to a content, when `is_whole` says what is complete here.
    pub(crate) fn choose(&self, target: &ContentSpec, is_whole: impl Fn(ContentId) -> bool) -> Choice {
        let Some(known) = self.known.get(&target.id()) else { return Choice::Whole };
        let usable = known.offers.iter().filter(|offer| {
            self.reads.contains(&offer.format)
                && offer.patch.pieces == 0
                && offer.patch.blob.len < target.bytes
                && !known.failed.contains(&offer.patch.id())
                && is_whole(offer.base)
        });
        match usable.min_by_key(|offer| (offer.patch.blob.len, offer.patch.id())) {
            Some(offer) => Choice::Patch(*offer),
            None if known.is_awaited => Choice::Wait,
            None => Choice::Whole,
        }
    }

    /// This is the way that is taken.
    pub(crate) fn take(&mut self, target: ContentSpec, road: Road) {
        self.known.entry(target.id()).or_default().road = Some((target, road));
    }

    /// What is under way to a content.
    pub(crate) fn road(&self, target: ContentId) -> Option<(ContentSpec, Road)> {
        self.known.get(&target)?.road
    }

    /// The content that a patch is coming for.
    pub(crate) fn target_of(&self, patch: ContentId) -> Option<ContentId> {
        let comes = |road: &Option<(ContentSpec, Road)>| matches!(road, Some((_, Road::Fetches { offer, .. })) if offer.patch.id() == patch);
        self.known.iter().find(|(_, known)| comes(&known.road)).map(|(target, _)| *target)
    }

    /// Notes how much of its patch is here; whether any came since the last time.
    pub(crate) fn goes_on(&mut self, target: ContentId, have: u32) -> bool {
        match self.known.get_mut(&target).and_then(|known| known.road.as_mut()) {
            Some((_, Road::Fetches { had, .. })) => std::mem::replace(had, have) < have,
            _ => true,
        }
    }

    /// A patch came to its end, with so many bytes from origins and from peers.
    pub(crate) fn came(&mut self, target: ContentId, (from_origin, from_peers): (u64, u64)) {
        if let Some(known) = self.known.get_mut(&target) {
            known.moved = (known.moved.0 + from_origin, known.moved.1 + from_peers);
        }
    }

    /// Bytes of patches that came for a content.
    pub(crate) fn moved(&self, target: ContentId) -> (u64, u64) {
        self.known.get(&target).map_or((0, 0), |known| known.moved)
    }

    /// A patch did not come, or did not do.
    pub(crate) fn failed(&mut self, target: ContentId, patch: ContentId) {
        if let Some(known) = self.known.get_mut(&target) {
            known.failed.insert(patch);
            known.road = None;
        }
    }

    /// A content is here, or comes piece by piece, or nobody wants it any more.
    pub(crate) fn end(&mut self, target: ContentId) {
        if let Some(known) = self.known.get_mut(&target) {
            known.road = None;
        }
    }

    /// What must stay here for what is under way: bases and patches.
    pub(crate) fn roots(&self) -> impl Iterator<Item = ContentId> + '_ {
        let offers = self.known.values().filter_map(|known| match known.road {
            Some((_, Road::Fetches { offer, .. } | Road::Applies { offer })) => Some(offer),
            _ => None,
        });
        offers.flat_map(|offer| [offer.base, offer.patch.id()])
    }
}

/// When to look again whether a patch comes.
pub(crate) fn again(now: Time) -> Time {
    now.after(STALL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::{BlobRef, Digest};

    fn content(name: &str) -> ContentId {
        ContentId(Digest::of(name.as_bytes()))
    }

    fn target() -> ContentSpec {
        ContentSpec { blob: BlobRef { root: Digest::of(b"new"), len: 600 }, pieces: 20, bytes: 1_000_000 }
    }

    fn offer(base: &str, len: u64, format: u8) -> Offer {
        let root = Digest::of(format!("{base} {len}").as_bytes());
        let patch = ContentSpec { blob: BlobRef { root, len }, pieces: 0, bytes: 0 };
        Offer { base: content(base), target: target().id(), patch, format }
    }

    fn roads(offers: Vec<Offer>, is_awaited: bool) -> Roads {
        let mut roads = Roads::new(&[1, 2]);
        roads.told(target().id(), offers, is_awaited);
        roads
    }

    #[test]
    fn the_shortest_patch_is_taken_of_those_that_can_be_used() {
        let [unread, absent, long, short, useless] = [
            offer("old", 10, 9),
            offer("other", 20, 1),
            offer("old", 50_000, 2),
            offer("old", 40_000, 1),
            offer("old", 1_000_000, 1),
        ];
        let has_old = |base| base == content("old");
        let choose = |offers: Vec<Offer>| roads(offers, false).choose(&target(), has_old);
        assert_eq!(choose(vec![unread, absent, long, short, useless]), Choice::Patch(short));
        for not_of_use in [unread, absent, useless] {
            assert_eq!(choose(vec![not_of_use]), Choice::Whole, "{not_of_use:?}");
        }
        let mut roads = roads(vec![long, short], false);
        roads.failed(target().id(), short.patch.id());
        assert_eq!(roads.choose(&target(), has_old), Choice::Patch(long));
        roads.failed(target().id(), long.patch.id());
        assert_eq!(roads.choose(&target(), has_old), Choice::Whole);
    }

    #[test]
    fn what_is_made_is_waited_for_until_nobody_can_say_how_it_ends() {
        let mut roads = roads(Vec::new(), true);
        assert_eq!(roads.choose(&target(), |_| true), Choice::Wait);
        roads.take(target(), Road::Waits);
        assert_eq!(roads.awaits_nothing(), [target()]);
        assert_eq!(roads.choose(&target(), |_| true), Choice::Whole);
    }

    #[test]
    fn an_offer_for_something_else_is_none_and_not_everything_is_remembered() {
        let mut roads = roads(vec![Offer { target: content("else"), ..offer("old", 10, 1) }], false);
        assert_eq!(roads.choose(&target(), |_| true), Choice::Whole);
        roads.told(target().id(), vec![offer("old", 10, 1)], false);
        let Choice::Patch(offer) = roads.choose(&target(), |_| true) else { panic!("it is of use") };
        roads.take(target(), Road::Fetches { offer, had: 0 });
        for nr in 0..1000 {
            roads.told(content(&format!("target {nr}")), Vec::new(), false);
        }
        assert!(roads.known.len() <= TARGETS + 1);
        assert_eq!(roads.road(target().id()), Some((target(), Road::Fetches { offer, had: 0 })), "it is under way");
        assert_eq!(roads.roots().collect::<Vec<_>>(), [content("old"), offer.patch.id()]);
    }
}
