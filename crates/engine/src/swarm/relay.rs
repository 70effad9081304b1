//! The given order: pieces that are passed on as they come, unasked, so that a broadcast costs no question and no answer for
//! each piece; and when to stop relying on it.
//!
//! The pieces of a content are dealt out to stripes. For each stripe a node is told from whom it comes and to whom to pass it
//! on. What comes that way is not asked for, until the stripe falls behind: then whatever neighbours hold of it is pulled
//! from them, while the order goes on as well as it can. Who is late, slow or dead so costs itself, and those after it a
//! moment.

use super::partner::Partner;
use super::transfer::Transfer;
use super::{Action, Alarm, Swarm};
use crate::door::{Event, Message, STRIPES, Stripe, Time};
use content::{ContentId, NodeId, PieceNo, Role};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// More than so many pieces of a stripe that some neighbour has and we lack mean that it has fallen behind, if it also comes more
/// slowly than the other; when that was so before; and to be back.
const BEHIND: u32 = 24;
const BEHIND_AGAIN: u32 = 4;
const BACK: u32 = 2;
/// A stripe of which nothing came for so many times its pace, and so many times its longest gap lately, and at least so long, is
/// silent.
const PACES: u32 = 8;
const GAPS: u32 = 2;
const SILENCE: Duration = Duration::from_millis(200);

/// The end of a stripe is missed after such a time at the soonest: the other one is here and shows nothing any more.
const TAIL: Duration = Duration::from_millis(20);
/// How often, and how many, neighbours are asked what they hold.
const SEEK: Duration = Duration::from_millis(10);
const SOUGHT: usize = 4;
/// How slowly a long gap is forgotten: by that part with every piece.
const FORGETS: u32 = 32;
/// Someone as many pieces ahead is no nearer to the root: the first of a stripe should have come as well.
const DEEP: u32 = 12;
/// After so many pieces the pace of a stripe is known at all, and well enough to compare it with another.
const KNOWN: u32 = 4;
const SETTLED: u32 = 6;
/// What is missing so many piece numbers before the last that was passed on has been left out: it is asked for.
const LEFT_OUT: u32 = 32;
/// And so many more before the last of another stripe, beyond what it was behind that one when it came as it should: it is asked
/// for as well, piece by piece, however long the stripe may be.
const OVERDUE: u32 = 24;
/// By one number with every so many pieces that is forgotten.
const DRIFT: u32 = 8;
/// A stripe comes too slowly for certain, and not because someone was held up for a moment, when so many of it came and it was
/// still overdue; or when it has been for so long.
const CERTAIN: u32 = 2;
const CERTAIN_AFTER: Duration = Duration::from_millis(100);
/// Whoever is before us and gone has so long to be replaced before the origin is told.
const DOWN: Duration = Duration::from_millis(30);
/// Whoever lacks less than this part of a content when it comes asks for what it lacks.
const LATE: u32 = 8;
/// How often the origin is told that a stripe does not come as it should.
const TELL: Duration = Duration::from_millis(100);
/// By how many pieces a node must be behind the one before it to blame one of them.
const BLAME: u32 = 24;
/// What a node said so long ago is compared with what others have now: it should have said more.
const STALE: Duration = Duration::from_millis(250);
/// How many pieces a child may decline before they are here; more would only be memory.
const DECLINED: usize = 1024;
/// How many pieces may wait for one child before the order skips some; it pulls them when it needs them.
const AHEAD: usize = 64;

/// More than so many pieces of a stripe that some neighbour has and we lack, for so long, mean that it has fallen behind however
/// fast the other comes: that one may come from someone slow as well.
const FAR: u32 = 64;
const FAR_AFTER: Duration = Duration::from_millis(100);
/// When so many neighbours have all, what does not come by itself will not.
const OVER: usize = 2;
/// The one before us is to blame if it has so many pieces more; else it gets so long to catch up.
const AHEAD_OF_US: u32 = 12;
const WAIT: Duration = Duration::from_secs(1);

/// The stripe of a piece.
pub(super) fn stripe_of(piece: PieceNo) -> usize {
    piece.0 as usize % STRIPES
}

/// A stripe of one content, as it comes here.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    stripe: Stripe,
    /// Whether it is asked for, because it does not come by itself or fell behind.
    is_pulled: bool,
    /// When something of it came, how long that takes on average, and the longest lately.
    last: Time,
    pace: Option<Duration>,
    gap: Duration,
    /// How long a piece took from whom it came before.
    expected: Option<Duration>,
    /// Since when others have some of it and we none.
    lags: Option<Time>,
    /// When the first came, and how many have.
    first: Time,
    came: u32,
    /// Pieces before this one are asked for: later ones have been passed on.
    left_out: u32,
    /// Since when it is behind and slower than the other.
    behind: Option<Time>,
    /// By how many pieces it was behind at least since it comes from whom it does, as far as that is not forgotten.
    base: Option<u32>,
    /// Whether it fell behind before.
    was_behind: bool,
    /// When the origin was last told that it does not come as it should.
    told: Option<Time>,
    /// Since when there is nobody from whom it should come.
    down: Option<Time>,
    /// The number after the highest piece that was passed on, and how far it was behind the other stripe at least.
    top: u32,
    skew: Option<u32>,
    /// When it began to be overdue, and how many had come then.
    overdue: Option<(Time, u32)>,
    /// Since when it is far behind what neighbours have.
    far: Option<Time>,
    /// How often it was silent before its pace was known: its way may be long, and slow.
    silences: u32,
}

impl Lane {
    fn new(stripe: Stripe, is_pulled: bool, now: Time) -> Self {
        Self {
            stripe,
            is_pulled,
            last: now,
            pace: None,
            gap: Duration::ZERO,
            expected: None,
            lags: None,
            first: now,
            came: 0,
            left_out: 0,
            behind: None,
            base: None,
            was_behind: false,
            told: None,
            down: None,
            top: 0,
            skew: None,
            overdue: None,
            far: None,
            silences: 0,
        }
    }

    /// How long nothing may come of it. As long as hardly anything has come its pace is not known, and the way may be long and
    /// slow; unless someone has much of it already.
    fn silence(&self, patience: Duration, lag: u32, takes_part: bool, usual: Option<Duration>) -> Duration {
        match self.came < KNOWN {
            true if lag < DEEP && takes_part && self.expected.or(usual).is_none() => {
                patience * (1 << self.silences.saturating_sub(self.is_pulled.into()).min(4))
            }
            true => (self.expected.or(usual).unwrap_or_default() * PACES).max(SILENCE),
            false => (self.usual() * PACES).max(self.gap * GAPS).max(SILENCE),
        }
    }

    /// Whether it is certain that it comes too slowly: others of it came since it was overdue, or nothing for long.
    fn is_hopeless(&self, now: Time) -> bool {
        self.overdue.is_some_and(|(since, came)| self.came >= came + CERTAIN || now.since(since) >= CERTAIN_AFTER)
    }

    /// Whether the origin may be told again.
    fn may_tell(&self, now: Time) -> bool {
        self.told.is_none_or(|told| now.since(told) >= TELL)
    }

    /// Since when something of it could have come.
    fn since(&self) -> Time {
        self.last.max(self.lags.unwrap_or(Time(0)))
    }

    /// How long a piece of it takes: lately or on the whole, whichever is longer, since some come in bursts.
    fn usual(&self) -> Duration {
        let whole = self.last.since(self.first) / self.came.max(1);
        self.pace.unwrap_or_default().max(whole)
    }

    /// Whether it comes so much more slowly than another that it is no mere jitter.
    fn is_slower_than(&self, other: Option<Duration>) -> bool {
        self.came >= SETTLED && self.pace.zip(other).is_some_and(|(pace, other)| pace * 2 > other * 5)
    }

    fn came(&mut self, now: Time) {
        let took = now.since(self.last);
        match self.came {
            0 => self.first = now,
            _ => {
                self.pace = Some(self.pace.map_or(took, |pace| (pace * 15 + took) / 16));
                self.gap = took.max(self.gap - self.gap / FORGETS);
            }
        }
        self.came += 1;
        self.last = now;
    }
}

/// What a content knows of the given order, nothing as long as none was told; and from whom a stripe came before, since they may
/// not have heard of another order yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Order(Option<[Lane; STRIPES]>, BTreeSet<NodeId>);

impl Order {
    pub(super) fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a piece is to be asked for rather than waited for.
    pub(super) fn is_pulled(&self, piece: PieceNo) -> bool {
        let lane = self.0.as_ref().map(|lanes| &lanes[stripe_of(piece)]);
        lane.is_none_or(|lane| lane.is_pulled || piece.0 < lane.left_out)
    }

    /// Whether a peer is one from whom a piece may come unasked: the one before, or (see [`Swarm::pass_on`]) one after us.
    pub(super) fn is_next_to(&self, peer: NodeId, piece: PieceNo) -> bool {
        let Some(stripe) = self.0.as_ref().map(|lanes| &lanes[stripe_of(piece)].stripe) else { return false };
        stripe.from == Some(peer) || stripe.to.contains(&peer)
    }

    /// Whether a peer may believe that it is to pass pieces on to us.
    pub(super) fn was_next_to(&self, peer: NodeId) -> bool {
        self.1.contains(&peer)
    }

    /// How long a piece of the slowest stripe takes that is known.
    pub(super) fn usual(&self) -> Option<Duration> {
        self.0.iter().flatten().filter(|lane| lane.came >= KNOWN).map(Lane::usual).max()
    }

    /// To whom a piece is passed on that goes down every tree.
    fn everyone_below(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().flatten().flat_map(|lane| lane.stripe.to.iter().copied())
    }

    /// From which node a piece comes unasked, if it is not an origin.
    pub(super) fn parent(&self, piece: PieceNo) -> Option<NodeId> {
        self.0.as_ref().and_then(|lanes| lanes[stripe_of(piece)].stripe.from)
    }

    /// To whom a piece is passed on.
    pub(super) fn children(&self, piece: PieceNo) -> &[NodeId] {
        self.0.as_ref().map_or(&[], |lanes| &lanes[stripe_of(piece)].stripe.to)
    }

    /// Whom a source gives a piece, the root of its stripe first; nobody when no order is known.
    pub(super) fn roots(&self, stripe: usize) -> &[NodeId] {
        self.0.as_ref().map_or(&[], |lanes| &lanes[stripe].stripe.to)
    }

    /// Whether any piece may come unasked from a peer, or go to it.
    pub(super) fn is_near(&self, peer: NodeId) -> bool {
        let mut lanes = self.0.iter().flatten();
        lanes.any(|lane| lane.stripe.from == Some(peer) || lane.stripe.to.contains(&peer))
    }

    /// A piece was passed on to us; which ones of each stripe seem to have been left out since.
    fn came(&mut self, now: Time, piece: PieceNo) -> [Range<u32>; STRIPES] {
        let Some(lanes) = self.0.as_mut() else { return std::array::from_fn(|_| 0..0) };
        let its = stripe_of(piece);
        lanes[its].came(now);
        lanes[its].top = lanes[its].top.max(piece.0 + 1);
        let ahead = lanes.iter().map(|lane| lane.top).max().unwrap_or(0);
        let behind = ahead - lanes[its].top;
        // In a long content stripes and neighbours drift apart a little, and nothing is wrong.
        let drift = u32::from(lanes[its].came.is_multiple_of(DRIFT));
        lanes[its].base = lanes[its].base.map(|base| base + drift);
        lanes[its].skew = Some(lanes[its].skew.map_or(behind, |skew| behind.min(skew + drift)));
        std::array::from_fn(|stripe| {
            let lane = &mut lanes[stripe];
            let before = lane.left_out;
            let expected = ahead.saturating_sub(lane.skew.unwrap_or(0) + OVERDUE);
            let is_overdue = expected.saturating_sub(lane.top) > LEFT_OUT;
            lane.overdue = is_overdue.then(|| lane.overdue.unwrap_or((now, lane.came)));
            lane.left_out = before.max(expected.max(lane.top).saturating_sub(LEFT_OUT));
            before..lane.left_out
        })
    }

    /// Nothing comes by itself any more.
    pub(super) fn pull_all(&mut self) {
        self.0.iter_mut().flatten().for_each(|lane| lane.is_pulled = true);
    }

    /// A new order: what came of a stripe from the same node as before goes on as it was.
    fn replace(&mut self, stripes: &[Stripe; STRIPES], waits: bool, now: Time) {
        let old = self.0.take();
        self.1.extend(old.iter().flatten().filter_map(|lane| lane.stripe.from));
        self.0 = Some(std::array::from_fn(|index| {
            let stripe = stripes[index].clone();
            match old.as_ref().map(|lanes| &lanes[index]).filter(|lane| lane.stripe.from == stripe.from) {
                Some(lane) => Lane { stripe, ..lane.clone() },
                // Whoever gives it from now on, its pace should be much the same.
                None => {
                    let before = old.as_ref().map(|lanes| &lanes[index]).filter(|lane| lane.came >= KNOWN);
                    let expected = before.map(|lane| lane.usual().max(lane.gap * GAPS / PACES));
                    Lane { expected, ..Lane::new(stripe, !waits, now) }
                }
            }
        }));
    }
}

/// What was decided on the stripes of a content.
#[derive(Debug, Default)]
struct Lanes {
    /// Which are pulled now and were not, or the other way round; and how many pieces of it some neighbour has more.
    changed: Vec<(usize, bool, u32)>,
    /// Which do not come from whom they should, as the origin should know now.
    lagging: Vec<usize>,
    /// When to decide again if nothing comes.
    again: Option<Time>,
    /// Whether something may be asked for that was not before.
    seeks: bool,
}

impl Transfer {
    /// Whether a piece is to be asked for that no neighbour is known to hold.
    fn seeks(&self) -> bool {
        let lanes = self.order.0.iter().flatten().enumerate();
        lanes.filter(|(stripe, _)| self.lacks(*stripe)).any(|(stripe, lane)| {
            let to = if lane.is_pulled { self.total } else { lane.left_out };
            let mut pieces = (0..to).map(PieceNo).filter(|piece| stripe_of(*piece) == stripe);
            pieces.any(|piece| self.holders(piece) == 0 && self.may_ask(piece))
        })
    }

    /// Whether a piece of a stripe is missing.
    fn lacks(&self, stripe: usize) -> bool {
        let all = (self.total as usize + STRIPES - 1 - stripe) / STRIPES;
        (self.counts[stripe] as usize) < all
    }

    /// A piece was passed on to us: what was left out before it may be asked for now. Whether the origin should hear of it.
    pub(super) fn passed(&mut self, now: Time, piece: PieceNo) -> bool {
        for (stripe, range) in self.order.came(now, piece).into_iter().enumerate() {
            range.map(PieceNo).filter(|other| stripe_of(*other) == stripe).for_each(|piece| self.offer(piece));
        }
        let mut lanes = self.order.0.iter().flatten().enumerate();
        lanes.any(|(stripe, lane)| lane.is_hopeless(now) && lane.may_tell(now) && self.lacks(stripe))
    }

    /// How many pieces of a stripe some neighbour has more than we.
    fn lag(&self, stripe: usize) -> u32 {
        self.most[stripe].saturating_sub(self.counts[stripe])
    }

    /// Whether some neighbours have all: what did not come from whom it should by then will not.
    fn is_over(&self) -> bool {
        let has_all =
            |partner: &Partner| partner.role == Role::Agent && partner.counts.iter().sum::<u32>() == self.total;
        let may_be = self.most.iter().sum::<u32>() == self.total;
        may_be && self.partners.values().filter(|partner| has_all(partner)).take(OVER).count() == OVER
    }

    /// Whether the one from whom a stripe comes has much of it that we lack; an origin has.
    fn is_ahead(&self, stripe: usize) -> bool {
        let from = self.order.0.as_ref().and_then(|lanes| lanes[stripe].stripe.from);
        let theirs = from.and_then(|from| self.partners.get(&from)).map(|partner| partner.counts[stripe]);
        theirs.is_none_or(|theirs| theirs >= self.counts[stripe] + AHEAD_OF_US)
    }

    /// What is the same for all stripes.
    fn view(&self, now: Time, patience: Duration) -> View {
        let lacks: [bool; STRIPES] = std::array::from_fn(|stripe| self.lacks(stripe));
        let known = || self.order.0.iter().flatten().filter(|lane| lane.came >= KNOWN);
        let is_one_left = lacks.into_iter().filter(|lacks| *lacks).count() == 1;
        let others = || self.order.0.iter().flatten().zip(lacks).filter(|(_, lacks)| !lacks);
        // Whoever gives it now may be new and have shown no pace: then what a silent stripe may take is enough.
        let pace = others().filter_map(|(lane, _)| lane.pace.or(lane.expected)).min();
        View {
            now,
            patience,
            quickest: known().filter_map(|lane| lane.pace).min(),
            usual: known().map(Lane::usual).max(),
            ended: others().map(|(lane, _)| lane.last).max().filter(|_| is_one_left),
            tail: pace.map_or(SILENCE, |pace| pace * PACES).clamp(TAIL, patience.max(TAIL)),
            is_over: self.is_over(),
            total: self.total,
        }
    }

    /// Decides which stripes are pulled; which changed (to what, with what lag), and when to decide again if nothing comes.
    fn decide_lanes(&mut self, now: Time, patience: Duration, is_up: impl Fn(Option<NodeId>) -> bool) -> Lanes {
        let view = self.view(now, patience);
        let looks: [Look; STRIPES] = std::array::from_fn(|stripe| Look {
            lag: self.lag(stripe),
            is_ahead: self.is_ahead(stripe),
            lacks: self.lacks(stripe),
            ..Look::default()
        });
        let mut lanes = Lanes::default();
        for (stripe, (lane, look)) in self.order.0.iter_mut().flatten().zip(looks).enumerate() {
            // Whoever is not to get this content passes nothing of it on.
            let takes_part = lane.stripe.from.is_none_or(|from| self.partners.contains_key(&from));
            let look = Look { takes_part, is_up: is_up(lane.stripe.from), ..look };
            let found = lane.look(&view, &look);
            let (is_missed, missed) = lane.misses_the_end(&view, &look, found.base);
            lanes.seeks |= is_missed;
            let (tells, again) = match look.is_up {
                true => lane.complains(now, &look, &found),
                false => lane.is_down(now, look.lacks),
            };
            lanes.lagging.extend(tells.then_some(stripe));
            if found.is_pulled != lane.is_pulled {
                lane.is_pulled = found.is_pulled;
                lanes.changed.push((stripe, found.is_pulled, look.lag));
            }
            let due = found.due.into_iter().chain(missed).chain(again);
            lanes.again = lanes.again.into_iter().chain(due).min();
        }
        lanes
    }
}

/// What is the same for all stripes of a content when it is decided which are pulled.
struct View {
    now: Time,
    /// How long nothing may come of the content.
    patience: Duration,
    /// The pace of the quickest, and how long a piece of the slowest takes, of those that are known.
    quickest: Option<Duration>,
    usual: Option<Duration>,
    /// When all but one were here, and how long the rest of that one may take then, whatever its own pace is.
    ended: Option<Time>,
    tail: Duration,
    /// Some neighbours have all.
    is_over: bool,
    total: u32,
}

/// What else is known of one stripe.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    /// How many pieces of it some neighbour has more than we.
    lag: u32,
    /// Whether the one from whom it comes has much of it that we lack.
    is_ahead: bool,
    /// Whether something of it is missing.
    lacks: bool,
    /// Whether the one from whom it comes is to get the content, and is there.
    takes_part: bool,
    is_up: bool,
}

/// How a stripe comes.
struct Found {
    /// By how many pieces it may be behind.
    base: u32,
    /// Whether it is to be pulled.
    is_pulled: bool,
    /// Whether it does not come as it should, and whoever it comes from may be to blame.
    is_lame: bool,
    is_bad: bool,
    /// When to look again.
    due: Option<Time>,
}

impl Lane {
    /// Looks whether it comes as it should.
    fn look(&mut self, view: &View, look: &Look) -> Found {
        let (now, lag) = (view.now, look.lag);
        let could_come = lag > 0 || (look.lacks && self.came > 0);
        self.lags = could_come.then(|| self.lags.unwrap_or(now));
        let silence = self.silence(view.patience, lag, look.takes_part, view.usual);
        let is_silent = now.since(self.since()) >= silence;
        self.silences += u32::from(could_come && is_silent && !self.is_pulled && self.came < KNOWN);
        let least = match (self.is_pulled, self.was_behind) {
            (true, _) => BACK,
            (false, true) => BEHIND_AGAIN,
            (false, false) => BEHIND,
        };
        let base = self.base.map_or(lag, |base| base.min(lag));
        self.base = Some(base);
        self.far = (lag > base + FAR).then(|| self.far.unwrap_or(now));
        let far_from = self.far.map(|since| since.after(FAR_AFTER));
        let is_far = far_from.is_some_and(|from| now >= from);
        let is_behind = is_far || (lag > base + least && self.is_slower_than(view.quickest));
        self.behind = is_behind.then(|| self.behind.unwrap_or(now));
        // Whoever is before us and lacks as much gets it somehow and passes it on: if all behind it asked for it as well,
        // that would cost the links of those that are not.
        let may_wait = self.behind.map(|since| since.after(WAIT)).filter(|due| !is_far && !look.is_ahead && now < *due);
        let may_wait = may_wait.into_iter().chain(far_from.filter(|from| now < *from)).min();
        let is_late = is_behind && may_wait.is_none();
        self.was_behind |= !self.is_pulled && is_late;
        let is_bad = is_late || (could_come && is_silent);
        let due = (could_come && !is_silent).then(|| self.since().after(silence));
        Found {
            base,
            is_pulled: !look.is_up || is_bad,
            // Whatever is asked of others comes the more slowly from whom it should: that says nothing then.
            is_lame: is_silent || (is_behind && !self.is_pulled),
            is_bad: is_bad || is_behind,
            due: due.into_iter().chain(may_wait).min(),
        }
    }

    /// Whether all that is missing of it may be asked for now, or when it may: nothing more will come that shows what was left out.
    fn misses_the_end(&mut self, view: &View, look: &Look, base: u32) -> (bool, Option<Time>) {
        if !look.lacks || self.left_out >= view.total {
            return (false, None);
        }
        // The others are here.
        let end = view.ended.map(|ended| ended.after(view.tail));
        // Neighbours have all, so what has not come and does not come now will not.
        let idle = view.is_over.then(|| match look.lag > base + BEHIND {
            true => view.now,
            false => self.since().after((self.usual() * PACES).max(TAIL)),
        });
        let due = end.into_iter().chain(idle).min();
        let is_missed = due.is_some_and(|due| view.now >= due);
        if is_missed {
            self.left_out = view.total;
        }
        (is_missed, due.filter(|_| !is_missed))
    }

    /// Whether the origin is to be told now that it does not come as it should, or when.
    fn complains(&mut self, now: Time, look: &Look, found: &Found) -> (bool, Option<Time>) {
        self.down = None;
        // Where links are slow everyone waits for the first pieces.
        let is_known = self.came >= KNOWN || look.lag >= DEEP || self.silences >= CERTAIN;
        let is_shown = (look.lacks && self.is_hopeless(now)) || (found.is_bad && found.is_lame && is_known);
        if !is_shown || !look.takes_part || self.stripe.from.is_none() {
            return (false, None);
        }
        let tells = self.may_tell(now);
        if tells {
            self.told = Some(now);
        }
        (tells, self.told.map(|told| told.after(TELL)))
    }

    /// The same when nobody is there from whom it should come. An origin knows sooner of whoever has left all.
    fn is_down(&mut self, now: Time, lacks: bool) -> (bool, Option<Time>) {
        self.down = lacks.then(|| self.down.unwrap_or(now));
        let Some(down) = self.down.filter(|_| self.stripe.from.is_some()) else { return (false, None) };
        let from = down.after(DOWN);
        let next = self.told.map_or(from, |told| told.after(TELL)).max(from);
        match now >= next {
            true => {
                self.told = Some(now);
                (true, Some(now.after(TELL)))
            }
            false => (false, Some(next)),
        }
    }
}

/// Who is to blame that a stripe does not come.
pub(crate) enum Blame {
    /// The one at whom it stops, by what everyone says to hold.
    Shown {
        /// Who.
        lame: NodeId,
        /// Who lacks what it should have passed on, or itself.
        by: NodeId,
    },
    /// The one from whom it should come, by the word of one alone who gets it from others.
    Said(NodeId),
}

/// A node on the way of a stripe: from whom it gets each, and to whom it passes this one on.
pub(crate) struct Place {
    pub(crate) node: NodeId,
    pub(crate) before: [Option<NodeId>; STRIPES],
    pub(crate) after: Vec<NodeId>,
}

impl Swarm {
    /// The given order has changed.
    pub(crate) fn relay(&mut self, now: Time, stripes: [Stripe; STRIPES]) {
        let waits = self.settings.role == Role::Agent;
        let in_order = self.contents.values_mut().filter(|transfer| !transfer.is_aside);
        in_order.for_each(|transfer| transfer.order.replace(&stripes, waits, now));
        self.stripes = Some(stripes);
        let open: Vec<ContentId> = self.contents.iter().filter(|(_, t)| t.is_open()).map(|(id, _)| *id).collect();
        for content in open {
            if waits {
                let transfer = &self.contents[&content];
                let near = transfer.unmet.iter().filter(|peer| transfer.order.is_near(**peer)).copied();
                let met: Vec<NodeId> = near.collect();
                let partners: Vec<NodeId> = transfer.partners.keys().copied().collect();
                met.into_iter().for_each(|peer| self.tell_holding(content, peer));
                partners.into_iter().for_each(|peer| self.catch_up(content, peer));
                self.watch(now, content, true);
            }
        }
        self.send_more(now);
    }

    /// Who is to blame that a stripe does not come to the first of these, who said so; each gets it from the next one. It is one
    /// of the two between which most is missing: the one that gets it, if it lacks as much of everything, or if another gets it
    /// from the same; else the one before. If nothing is missing, the first has to ask others for it all the same.
    pub(crate) fn find_lame(&self, now: Time, content: ContentId, stripe: usize, places: &[Place]) -> Option<Blame> {
        // Once all has been out nobody tells a source any more what it holds.
        let transfer = self.contents.get(&content).filter(|transfer| transfer.push.is_some())?;
        let line: Vec<(NodeId, &Partner)> =
            places.iter().map_while(|place| Some((place.node, &**transfer.partners.get(&place.node)?))).collect();
        // What two said at different times is compared as of the earlier one, unless that is long ago.
        let lacks = |below: &Partner, above: &Partner, stripe: usize| {
            let said = below.said[1].0;
            let is_stale = now.since(said) >= STALE;
            let theirs = if is_stale { above.counts[stripe] } else { above.count_at(said, stripe) };
            theirs.saturating_sub(below.counts[stripe])
        };
        let drop = |at: usize| lacks(line[at].1, line[at + 1].1, stripe);
        let worst = (0..line.len().saturating_sub(1)).max_by_key(|at| drop(*at))?;
        let most = line.iter().map(|(_, partner)| partner.counts[stripe]).max().unwrap_or(0);
        let lag = most.saturating_sub(line[0].1.counts[stripe]);
        if lag < BLAME {
            return line.get(1).map(|(node, _)| Blame::Said(*node));
        }
        if drop(worst) < BLAME.max(lag / 2) {
            return None;
        }
        // What it gets too little of from everyone it does not take. If those before it in another stripe have not more of that
        // either, the others that get this one from the same tell.
        let (below, before) = (line[worst].1, places[worst].before);
        let mut others = (0..STRIPES).filter(|other| *other != stripe);
        let lacks_all = others.try_fold(true, |all, other| {
            let above = before[other].and_then(|node| transfer.partners.get(&node));
            let lacks = above.map_or(most.saturating_sub(below.counts[other]), |above| lacks(below, above, other));
            let is_starved = most.saturating_sub(below.counts[other]) * 2 >= drop(worst);
            match (lacks * 2 >= drop(worst), is_starved) {
                (true, _) => Some(all),
                (false, false) => Some(false),
                (false, true) => None,
            }
        });
        let above = line[worst + 1].1;
        let siblings = places[worst + 1].after.iter().filter(|node| **node != line[worst].0);
        let mut siblings = siblings.filter_map(|node| transfer.partners.get(node));
        let is_slow =
            lacks_all.or_else(|| siblings.next().map(|other| lacks(other, above, stripe) * 2 < drop(worst)))?;
        let (by, lame) = (line[worst].0, line[if is_slow { worst } else { worst + 1 }].0);
        Some(Blame::Shown { lame, by })
    }

    /// What a new content knows of the given order.
    pub(super) fn given_order(&self, now: Time) -> Order {
        let mut order = Order::default();
        if let Some(stripes) = &self.stripes {
            order.replace(stripes, self.settings.role == Role::Agent, now);
        }
        order
    }

    /// Passes a piece on to those that get it from us; who they are. Others must be told of it.
    pub(super) fn pass_on(&mut self, content: ContentId, piece: PieceNo, from: NodeId) -> Vec<NodeId> {
        let mut given = Vec::new();
        let Some(transfer) = self.contents.get(&content).filter(|_| self.settings.role == Role::Agent) else {
            return given;
        };
        let lacks = |peer: &&NodeId| {
            let partner = transfer.partners.get(peer);
            partner.is_some_and(|p| p.wants && !p.have.contains(piece) && !p.declined.contains(&piece))
        };
        // What a source gave to another than the root of the stripe reaches the root and the rest by going up as well.
        let is_from_source = self.peers.get(&from).is_some_and(|peer| peer.role == Role::Origin);
        let goes_up = is_from_source || transfer.order.children(piece).contains(&from);
        let up = transfer.order.parent(piece).filter(|_| goes_up);
        // Without the pages nobody verifies anything: whoever is inside one tree must not wait for them as a leaf of the other.
        let mut to: Vec<NodeId> = transfer.order.children(piece).iter().copied().chain(up).collect();
        if transfer.goes_everywhere(piece) {
            let others: Vec<NodeId> = transfer.order.everyone_below().filter(|below| !to.contains(below)).collect();
            to.extend(others);
        }
        for peer in to.iter().filter(lacks) {
            if let Some(serving) = self.peers.get_mut(peer).map(|peer| &mut peer.serving)
                && !serving.is_behind(AHEAD)
            {
                serving.push(content, piece);
                given.push(*peer);
                if !serving.is_lined_up {
                    serving.is_lined_up = true;
                    self.ring.push_back(*peer);
                }
            }
        }
        given
    }

    /// A peer asks another for a piece, or has it by now. If it was to be passed on to it, it must hear that we hold it.
    pub(super) fn cancelled(&mut self, now: Time, from: NodeId, content: ContentId, piece: PieceNo) {
        let cancelled = self.peers.get_mut(&from).and_then(|peer| peer.serving.cancel(content, piece));
        if cancelled == Some(false) {
            self.push_failed(content, piece, from);
        }
        let Some(transfer) = self.contents.get_mut(&content).filter(|transfer| piece.0 < transfer.total) else {
            return;
        };
        let is_child = transfer.order.children(piece).contains(&from);
        let Some(partner) = transfer.partners.get_mut(&from).filter(|p| !p.have.contains(piece)) else { return };
        if cancelled == Some(true) {
            partner.told.add(piece);
            self.alarms.ensure(Alarm::TellNear(content), now.after(super::transfer::TELL_RELAYED));
        } else if is_child && !transfer.have.contains(piece) && partner.declined.len() < DECLINED {
            partner.declined.insert(piece);
        }
    }

    /// Passes on to a child what it lacks of what we have, as far as there is room; the rest when there is room again. And to a
    /// parent that has just come, since it may have been given to us by the source.
    pub(super) fn catch_up(&mut self, content: ContentId, peer: NodeId) {
        let Some(transfer) = self.contents.get_mut(&content).filter(|_| self.settings.role == Role::Agent) else {
            return;
        };
        if !transfer.order.is_near(peer) {
            return;
        }
        let everywhere = if transfer.goes_everywhere(PieceNo(0)) { transfer.pages } else { 0 };
        let is_below = transfer.order.everyone_below().any(|below| below == peer);
        let (Some(partner), Some(to)) = (transfer.partners.get_mut(&peer), self.peers.get_mut(&peer)) else {
            return;
        };
        if partner.caught_up == 0 && partner.have.count() > transfer.total / LATE {
            partner.caught_up = transfer.total;
        }
        while partner.wants && partner.caught_up < transfer.total && !to.serving.is_behind(AHEAD) {
            let piece = PieceNo(partner.caught_up);
            partner.caught_up += 1;
            let is_its = transfer.order.is_next_to(peer, piece) || is_below && piece.0 < everywhere;
            if is_its && transfer.have.contains(piece) && !partner.have.contains(piece) {
                to.serving.push(content, piece);
            }
        }
        self.line_up(peer);
    }

    /// Decides anew which stripes are pulled.
    pub(super) fn watch(&mut self, now: Time, content: ContentId, anyway: bool) {
        let patience = self.bears(content);
        let (peers, is_agent) = (&self.peers, self.settings.role == Role::Agent);
        let Some(transfer) = self.contents.get_mut(&content).filter(|t| is_agent && t.order.is_known() && t.wants())
        else {
            return;
        };
        let is_up = |from: Option<NodeId>| match from {
            Some(peer) => peers.contains_key(&peer),
            None => peers.values().any(|peer| peer.role == Role::Origin),
        };
        let Lanes { changed, lagging, again, seeks } = transfer.decide_lanes(now, patience, is_up);
        match again {
            Some(due) => self.alarms.set(Alarm::Behind(content), due),
            None => self.alarms.clear(&Alarm::Behind(content)),
        }
        if !lagging.is_empty() {
            self.tell_sources(now, content);
        }
        for stripe in lagging {
            let origins = self.peers.iter().filter(|(_, peer)| peer.role == Role::Origin).map(|(origin, _)| *origin);
            let message = Message::Lags { content, stripe: stripe as u8 };
            self.out.extend(origins.map(|origin| Action::Send(origin, message.clone())));
        }
        for &(stripe, is_pulled, lag) in &changed {
            self.out.push_back(Action::Event(Event::Mending { content, stripe, is_pulled, lag }));
        }
        if !changed.is_empty() || anyway || seeks {
            self.contents.entry(content).and_modify(|transfer| transfer.reconsider());
            self.ask_all(now);
        }
        self.seek(now, content);
        self.hurry(now, content);
    }

    /// Asks a few neighbours what they hold, when nobody is known to hold what is missing: news of pieces are rare beside a given
    /// order, and whoever asks for something, be it nothing, is told what it does not know.
    pub(super) fn seek(&mut self, now: Time, content: ContentId) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if now.since(transfer.sought) < SEEK || !transfer.wants() || !transfer.seeks() {
            return;
        }
        let answers = |peer: &NodeId| self.peers.get(peer).is_some_and(|peer| peer.asking.answers());
        let agents = transfer.partners.iter().filter(|(peer, partner)| partner.role == Role::Agent && answers(peer));
        let mut agents: Vec<NodeId> = agents.map(|(peer, _)| *peer).collect();
        if agents.is_empty() {
            return;
        }
        transfer.sought = now;
        self.chance.shuffle(&mut agents);
        agents.truncate(SOUGHT);
        let asks = |peer| Action::Send(peer, Message::Want { content, pieces: Vec::new() });
        self.out.extend(agents.into_iter().map(asks));
    }

    /// Decides for all contents: someone came or went.
    pub(super) fn watch_all(&mut self, now: Time) {
        let contents: Vec<ContentId> = self.contents.keys().copied().collect();
        contents.into_iter().for_each(|content| self.watch(now, content, false));
    }

    /// Tells the one that would pass a piece on to us that it need not: we ask another for it.
    pub(super) fn decline(&mut self, content: ContentId, piece: PieceNo, asked: NodeId) {
        let parent = self.contents.get(&content).and_then(|transfer| transfer.order.parent(piece));
        if let Some(parent) = parent.filter(|parent| *parent != asked && self.peers.contains_key(parent)) {
            self.out.push_back(Action::Send(parent, Message::Cancel { content, piece }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;

    /// How many pieces of a stripe seem left out when it falls behind the other by one piece in so many.
    fn left_out(one_in: u32) -> u32 {
        let node = |nr: u8| NodeId(Digest::of(&[nr]));
        let mut order = Order::default();
        let stripes = std::array::from_fn(|nr| Stripe { from: Some(node(nr as u8)), to: Vec::new() });
        order.replace(&stripes, true, Time(0));
        let of = |stripe: usize| (0..40_000).map(PieceNo).filter(move |piece| stripe_of(*piece) == stripe);
        let (first, second): (Vec<PieceNo>, Vec<PieceNo>) = (of(0).collect(), of(1).collect());
        let mut missing = 0;
        for nth in 0..10_000_u32 {
            let now = Time(u64::from(nth) * 1_000_000);
            let behind = (nth - nth / one_in) as usize;
            for piece in [first[nth as usize], second[behind]] {
                missing += order.came(now, piece)[1].clone().filter(|nr| stripe_of(PieceNo(*nr)) == 1).count() as u32;
            }
        }
        missing.saturating_sub(second.iter().take((10_000 - 10_000 / one_in) as usize).count() as u32)
    }

    #[test]
    fn stripes_may_drift_apart_a_little_and_no_more() {
        assert_eq!(left_out(64), 0, "a hundred and fifty pieces in ten thousand");
        assert!(left_out(4) > 1000, "a quarter of them does not come");
    }

    #[test]
    fn neighbours_may_drift_ahead_a_little_and_no_more() {
        let mut order = Order::default();
        order.replace(&std::array::from_fn(|_| Stripe { from: None, to: Vec::new() }), true, Time(0));
        let base = |order: &Order| order.0.as_ref().map(|lanes| lanes[0].base);
        let come = |order: &mut Order, of: Range<u32>| {
            for piece in of.map(PieceNo).filter(|piece| stripe_of(*piece) == 0) {
                order.came(Time(u64::from(piece.0)), piece);
            }
        };
        come(&mut order, 0..100);
        assert_eq!(base(&order), Some(None), "nobody has been seen to be ahead");
        order.0.iter_mut().for_each(|lanes| lanes[0].base = Some(3));
        let pieces = (100..2000).filter(|piece| stripe_of(PieceNo(*piece)) == 0).count() as u32;
        come(&mut order, 100..2000);
        let most = 3 + pieces / DRIFT + 1;
        assert!((most - 1..=most).contains(&base(&order).flatten().unwrap_or(0)), "{:?}, {most}", base(&order));
    }
}
