//! By which road a content comes to an agent, or to an origin from whoever brings it: it has it, or shares pieces of it, which the host finds; a patch of something that is here;
//! two patches in a row; or piece by piece.
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

/// A release that two patches in a row lead through, and the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Middle {
    pub(crate) content: ContentSpec,
    pub(crate) patch: Offer,
}

/// A way on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By this patch.
    Patch(Offer),
    /// By a patch that makes something else, and one from that.
    InARow { first: Middle, then: Offer },
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
    /// What lies between is under way; from there it goes on by this patch.
    InARow { middle: ContentId, then: Offer },
}

/// What is known of the ways to a content.
#[derive(Debug, Default)]
struct Known {
    offers: Vec<Offer>,
    middles: Vec<Middle>,
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
        self.forget_oldest();
    }

    /// An origin says what lies on the way to a content.
    pub(crate) fn told_middles(&mut self, target: ContentId, middles: Vec<Middle>) {
        self.turn += 1;
        let known = self.known.entry(target).or_default();
        known.middles = middles.into_iter().filter(|middle| middle.patch.target == middle.content.id()).collect();
        known.turn = self.turn;
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
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

    /// The best way to a content, when `is_whole` says what is complete here, and `is_known` what is, or is under way.
    pub(crate) fn choose(
        &self,
        target: &ContentSpec,
        is_whole: impl Fn(ContentId) -> bool,
        is_known: impl Fn(ContentId) -> bool,
    ) -> Choice {
        let Some(known) = self.known.get(&target.id()) else { return Choice::Whole };
        let can_be_used = |offer: &&Offer| {
            self.reads.contains(&offer.format)
                && offer.patch.pieces == 0
                && offer.patch.blob.len < target.bytes
                && !known.failed.contains(&offer.patch.id())
        };
        let usable = || known.offers.iter().filter(can_be_used);
        let direct = usable().filter(|offer| is_whole(offer.base));
        if let Some(offer) = direct.min_by_key(|offer| (offer.patch.blob.len, offer.patch.id())) {
            return Choice::Patch(*offer);
        }
        if known.is_awaited {
            return Choice::Wait;
        }
        let firsts = || {
            let can_be_made = |middle: &&Middle| can_be_used(&&middle.patch) && is_whole(middle.patch.base);
            // What is under way already comes by its own road.
            known.middles.iter().filter(can_be_made).filter(|middle| !is_known(middle.content.id()))
        };
        let both = usable().flat_map(|then| {
            let leads_there = move |first: &&Middle| first.content.id() == then.base;
            firsts()
                .filter(leads_there)
                .map(move |first| (first.patch.patch.blob.len + then.patch.blob.len, first, then))
        });
        let shortest = both.filter(|(bytes, ..)| *bytes < target.bytes);
        match shortest.min_by_key(|(bytes, first, then)| (*bytes, first.patch.patch.id(), then.patch.id())) {
            Some((_, first, then)) => Choice::InARow { first: *first, then: *then },
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

    /// The contents that are made of this one, which is under way for nothing else.
    pub(crate) fn after(&self, middle: ContentId) -> Vec<(ContentSpec, Offer)> {
        let leads = |road: &(ContentSpec, Road)| match road {
            (spec, Road::InARow { middle: through, then }) if *through == middle => Some((*spec, *then)),
            _ => None,
        };
        self.known.values().filter_map(|known| known.road.as_ref().and_then(leads)).collect()
    }

    /// What somebody wants, of whose ways this is a part: a patch, or what is made by one.
    pub(crate) fn end_of(&self, part: ContentId) -> ContentId {
        let made = self.target_of(part).unwrap_or(part);
        self.after(made).first().map_or(made, |(spec, _)| spec.id())
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
            Some((_, Road::Fetches { offer, .. } | Road::Applies { offer } | Road::InARow { then: offer, .. })) => {
                Some(offer)
            }
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
        let choose = |offers: Vec<Offer>| roads(offers, false).choose(&target(), has_old, |_| false);
        assert_eq!(choose(vec![unread, absent, long, short, useless]), Choice::Patch(short));
        for not_of_use in [unread, absent, useless] {
            assert_eq!(choose(vec![not_of_use]), Choice::Whole, "{not_of_use:?}");
        }
        let mut roads = roads(vec![long, short], false);
        roads.failed(target().id(), short.patch.id());
        assert_eq!(roads.choose(&target(), has_old, |_| false), Choice::Patch(long));
        roads.failed(target().id(), long.patch.id());
        assert_eq!(roads.choose(&target(), has_old, |_| false), Choice::Whole);
    }

    #[test]
    fn two_patches_in_a_row_are_taken_when_nothing_is_nearer_and_both_can_be_used() {
        let middle = |name: &str| {
            let blob = BlobRef { root: Digest::of(name.as_bytes()), len: 500 };
            ContentSpec { blob, pieces: 20, bytes: 900_000 }
        };
        let first = |name: &str, base: &str, len: u64| {
            let content = middle(name);
            Middle { content, patch: Offer { target: content.id(), ..offer(base, len, 1) } }
        };
        let then = |name: &str, len: u64| Offer { base: middle(name).id(), ..offer(name, len, 1) };
        let has_old = |base| base == content("old");
        let told = |offers: &[Offer], middles: &[Middle]| {
            let mut roads = roads(offers.to_vec(), false);
            roads.told_middles(target().id(), middles.to_vec());
            roads
        };
        let choose = |roads: &Roads| roads.choose(&target(), has_old, |_| false);
        let (near, far) = (first("near", "old", 100), first("far", "old", 150));
        let (from_near, from_far) = (then("near", 1000), then("far", 900));
        let mut roads = told(&[from_near, from_far], &[near, far]);
        assert_eq!(choose(&roads), Choice::InARow { first: far, then: from_far }, "1,050 bytes are less than 1,100");
        roads.failed(target().id(), far.patch.patch.id());
        assert_eq!(choose(&roads), Choice::InARow { first: near, then: from_near }, "what failed once is left");
        let under_way = |content| content == near.content.id();
        assert_eq!(roads.choose(&target(), has_old, under_way), Choice::Whole, "it comes by its own road");
        let direct = offer("old", 5000, 1);
        assert_eq!(choose(&told(&[from_near, direct], &[near])), Choice::Patch(direct), "one is tried before two");
        let lies = Middle { patch: Offer { target: content("else"), ..near.patch }, ..near };
        let unread = Middle { patch: Offer { format: 9, ..near.patch }, ..near };
        let absent = first("near", "other", 100);
        for not_of_use in [lies, unread, absent, far] {
            assert_eq!(choose(&told(&[from_near], &[not_of_use])), Choice::Whole, "{not_of_use:?}");
        }
        let long = [first("near", "old", 600_000), first("near", "old", 999_999)];
        assert_eq!(choose(&told(&[then("near", 600_000)], &long)), Choice::Whole, "both are more than it");
        roads.told(target().id(), vec![from_near], true);
        assert_eq!(choose(&roads), Choice::Wait, "one that is made for it is shorter");
    }

    #[test]
    fn what_two_patches_lead_through_stays_while_it_is_needed() {
        let middle =
            ContentSpec { blob: BlobRef { root: Digest::of(b"middle"), len: 500 }, pieces: 20, bytes: 900_000 };
        let first = Offer { target: middle.id(), ..offer("old", 100, 1) };
        let then = Offer { base: middle.id(), ..offer("middle", 200, 1) };
        let mut roads = roads(vec![then], false);
        roads.take(target(), Road::InARow { middle: middle.id(), then });
        roads.take(middle, Road::Fetches { offer: first, had: 0 });
        let kept = BTreeSet::from([content("old"), first.patch.id(), middle.id(), then.patch.id()]);
        assert_eq!(roads.roots().collect::<BTreeSet<_>>(), kept);
        assert_eq!(roads.after(middle.id()), [(target(), then)]);
        for part in [first.patch.id(), middle.id(), target().id()] {
            assert_eq!(roads.end_of(part), target().id());
        }
        roads.end(target().id());
        assert_eq!((roads.after(middle.id()), roads.end_of(middle.id())), (Vec::new(), middle.id()));
    }

    #[test]
    fn what_is_made_is_waited_for_until_nobody_can_say_how_it_ends() {
        let mut roads = roads(Vec::new(), true);
        assert_eq!(roads.choose(&target(), |_| true, |_| true), Choice::Wait);
        roads.take(target(), Road::Waits);
        assert_eq!(roads.awaits_nothing(), [target()]);
        assert_eq!(roads.choose(&target(), |_| true, |_| true), Choice::Whole);
    }

    #[test]
    fn an_offer_for_something_else_is_none_and_not_everything_is_remembered() {
        let mut roads = roads(vec![Offer { target: content("else"), ..offer("old", 10, 1) }], false);
        assert_eq!(roads.choose(&target(), |_| true, |_| true), Choice::Whole);
        roads.told(target().id(), vec![offer("old", 10, 1)], false);
        let Choice::Patch(offer) = roads.choose(&target(), |_| true, |_| true) else { panic!("it is of use") };
        roads.take(target(), Road::Fetches { offer, had: 0 });
        for nr in 0..1000 {
            roads.told(content(&format!("target {nr}")), Vec::new(), false);
        }
        assert!(roads.known.len() <= TARGETS + 1);
        assert_eq!(roads.road(target().id()), Some((target(), Road::Fetches { offer, had: 0 })), "it is under way");
        assert_eq!(roads.roots().collect::<Vec<_>>(), [content("old"), offer.patch.id()]);
    }
}
