//! What a source has not had out yet: each piece goes to one neighbour before any piece goes to a second.
//!
//! A piece has been *out* when the neighbour that it went to says that it has it. Until then it is unsent, or under way to
//! one; when that one goes away first, the piece counts as unsent again. What neighbours say of pieces that never went to
//! them may be true (they had it in another release, or this source was restarted) or a lie: it counts when every second one
//! says so. And as long as only those hold a piece to whom it was sent, and those who claimed it before, nobody may ever pass it
//! on: it is watched, and goes out again.

use super::kept::Kept;
use super::needy::Needy;
use super::partner::Partner;
use super::relay::stripe_of;
use super::transfer::{Stage, Transfer};
use super::{Action, Alarm, Swarm};
use crate::door::{Message, STRIPES, Time};
use content::cut::FINE_BELOW;
use content::{Bitmap, ContentId, ContentSpec, NodeId, PieceNo, Role};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How many pushes may be under way to one neighbour: the one that is being sent, and the next.
pub(super) const AHEAD: u32 = 1;
/// Pages go to everyone at once if they are this few, and all these copies cost at most this part of the data.
const CHEAP_PAGES: u32 = 4;
const CHEAP: u64 = 16;
/// To how many near each root a source gives the pages: without them nobody can verify anything, so one who keeps them holds up all.
const FIRST: usize = 2;
/// So many pieces more than of the other stripe wait when a root cannot keep up.
const SPILL: usize = 8;
/// A stripe that is so many pieces before the other gives way to it, for so long: the one that comes last is when all is there.
const LEAD: usize = 1;
pub(super) const GIVES_WAY: Duration = Duration::from_millis(60);
/// In a long content stripes give way for one part in so many of the time at most: a stripe needs half of a link, and has two thirds of it
/// when the root of the other is so slow that it is always waited for.
const GIVING: u32 = 3;
/// What is under way for so many times as long as usual, and for so long, goes to another.
const OVERDUE_TIMES: u32 = 4;
pub(super) const OVERDUE: Duration = Duration::from_millis(150);
/// How often a source looks after what it pushed.
const LOOK: Duration = Duration::from_millis(50);
/// So many sends in a row that fail on this side mean that the host cannot read now; pushing on would be a busy loop.
const FAILURES: u32 = 8;
/// Claims are judged again when more have spoken: one for so many.
const JUDGED: u32 = 8;
/// A source that gave nothing out for so long holds up nothing that is to be said to all.
const GIVES: Duration = Duration::from_secs(1);

/// What a source has not had out yet.
#[derive(Debug)]
pub(super) struct Push {
    pages: u32,
    total: u32,
    /// Pieces that came and went to nobody, pages first.
    unsent_pages: VecDeque<PieceNo>,
    unsent: [VecDeque<PieceNo>; STRIPES],
    /// Which stripe has its turn.
    turn: usize,
    /// When something of a stripe was last given out.
    given: [Time; STRIPES],
    /// When the first piece was given out, how long stripes have given way to each other since, and which does and since when.
    first: Option<Time>,
    gave_way: Duration,
    gives_way: Option<(usize, Time)>,
    /// Pieces that went to a neighbour that has not said that it has them.
    under_way: BTreeMap<PieceNo, (NodeId, Time)>,
    /// How long that takes, on average lately.
    landing: Option<Duration>,
    /// When the newest went out of those that landed.
    newest: Time,
    /// What took far longer and went out again, and where it went first.
    overdue: BTreeMap<PieceNo, NodeId>,
    /// Pieces that some neighbour said it had.
    out: Bitmap,
    /// Pieces that went to nobody, and that half of those who have said anything say they hold: how many these were when that was
    /// judged. The first to speak may be liars.
    claimed: Bitmap,
    judged: u32,
    /// It was waited for long enough for everyone to speak.
    has_waited: bool,
    /// Sends in a row that failed on this side.
    failures: u32,
    /// Whether something landed since it was last asked.
    has_landed: bool,
    /// Pieces that went out again because someone kept them: where they turn up does not say who passed them on.
    again: BTreeSet<PieceNo>,
    /// How many may hold each piece without anyone having passed it on: those to whom it was sent, asked for or not, and those
    /// who said that they had it before.
    unshown: Vec<u16>,
    /// What landed at one neighbour and nobody else has shown yet.
    pub(super) kept: Kept,
}

impl Push {
    pub(super) fn new(spec: ContentSpec) -> Self {
        let total = spec.total();
        Self {
            pages: spec.pages(),
            total,
            unsent_pages: VecDeque::new(),
            unsent: Default::default(),
            turn: 0,
            given: Default::default(),
            first: None,
            gave_way: Duration::ZERO,
            gives_way: None,
            under_way: BTreeMap::new(),
            landing: None,
            newest: Time(0),
            overdue: BTreeMap::new(),
            out: Bitmap::empty(total),
            claimed: Bitmap::empty(total),
            judged: 0,
            has_waited: false,
            failures: 0,
            has_landed: false,
            again: BTreeSet::new(),
            unshown: vec![0; total as usize],
            kept: Kept::default(),
        }
    }

    /// A piece is here.
    pub(super) fn came(&mut self, piece: PieceNo) {
        if !self.out.contains(piece) {
            self.queue(piece).push_back(piece);
        }
    }

    fn queue(&mut self, piece: PieceNo) -> &mut VecDeque<PieceNo> {
        match piece.0 < self.pages {
            true => &mut self.unsent_pages,
            false => &mut self.unsent[stripe_of(piece)],
        }
    }

    /// Whether a piece that could go out waits because its stripe is ahead of the other.
    fn gives_way(&mut self, now: Time, piece: PieceNo, is_long: bool) -> bool {
        let stripe = stripe_of(piece);
        let other = (stripe + 1) % STRIPES;
        let is_ahead = self.unsent[stripe].len() + LEAD < self.unsent[other].len();
        if !is_ahead || piece.0 < self.pages || now.since(self.given[other]) >= GIVES_WAY {
            return false;
        }
        let (_, since) = *self.gives_way.get_or_insert((stripe, now));
        let all = self.first.map_or(Duration::ZERO, |first| now.since(first));
        !is_long || (self.gave_way + now.since(since)) * GIVING <= all + GIVES_WAY
    }

    /// A piece is given out.
    fn gives(&mut self, now: Time, (piece, to): (PieceNo, NodeId)) {
        let stripe = stripe_of(piece);
        self.first.get_or_insert(now);
        if let Some((_, since)) = self.gives_way.take_if(|(waiting, _)| *waiting == stripe) {
            self.gave_way += now.since(since);
        }
        self.turn = (stripe + 1) % STRIPES;
        self.given[stripe] = now;
        self.under_way.entry(piece).or_insert((to, now));
    }

    /// A neighbour says that it has a piece; whether it is one that went to it.
    pub(super) fn landed(&mut self, now: Time, piece: PieceNo, at: NodeId) -> bool {
        let Some((_, since)) = self.under_way.get(&piece).copied().filter(|(to, _)| *to == at) else { return false };
        let took = now.since(since);
        self.newest = self.newest.max(since);
        if piece.0 >= self.pages {
            self.landing = Some(self.landing.map_or(took, |usual| (usual * 7 + took) / 8));
        }
        self.under_way.remove(&piece);
        self.out.insert(piece);
        self.claimed.remove(piece);
        self.has_landed = true;
        true
    }

    /// A neighbour that was given up has something after all, which took long; whether that is so.
    fn landed_late(&mut self, piece: PieceNo, at: NodeId) -> bool {
        let is_its = self.overdue.get(&piece) == Some(&at);
        is_its && self.overdue.remove(&piece).is_some()
    }

    /// Those to whom something is under way for far longer than usual, while later pieces landed elsewhere: it goes out again,
    /// first of all. Nothing says so when a host has lost its power: what was written to it lies in the kernel, and everyone
    /// below it waits. Whoever has shown nothing yet may still be opening its store.
    fn take_overdue(&mut self, now: Time, has_shown: impl Fn(&NodeId) -> bool) -> BTreeSet<NodeId> {
        let Some(usual) = self.landing.filter(|_| self.unsent_pages.is_empty()) else { return BTreeSet::new() };
        let wait = (usual * OVERDUE_TIMES).max(OVERDUE);
        let is_overdue = |(_, (to, since)): &(&PieceNo, &(NodeId, Time))| {
            *since < self.newest && now.since(*since) >= wait && has_shown(to)
        };
        let overdue: Vec<(PieceNo, NodeId)> =
            self.under_way.iter().filter(is_overdue).map(|(piece, (to, _))| (*piece, *to)).collect();
        for &(piece, to) in &overdue {
            self.came_back(piece);
            self.again.insert(piece);
            self.overdue.insert(piece, to);
        }
        overdue.into_iter().map(|(_, to)| to).collect()
    }

    /// What is under way to a neighbour will not arrive.
    fn give_back(&mut self, peer: NodeId) {
        let back: Vec<PieceNo> =
            self.under_way.iter().filter(|(_, (to, _))| *to == peer).map(|(piece, _)| *piece).collect();
        back.into_iter().for_each(|piece| self.came_back(piece));
    }

    /// A push did not arrive.
    pub(super) fn came_back(&mut self, piece: PieceNo) {
        if self.under_way.remove(&piece).is_some() {
            self.queue(piece).push_front(piece);
        }
    }

    /// A neighbour is gone, and with it the only copies of these pieces.
    pub(super) fn gone(&mut self, peer: NodeId, orphaned: impl Iterator<Item = PieceNo>) {
        for piece in orphaned {
            if self.out.remove(piece) || self.claimed.remove(piece) {
                self.queue(piece).push_back(piece);
            }
        }
        self.kept.retain(|_, at| at != peer);
        self.give_back(peer);
    }

    /// A neighbour is sent a piece that so many say they have; it may have asked for it itself.
    fn went(&mut self, now: Time, piece: PieceNo, to: NodeId, holders: u32) {
        let unshown = &mut self.unshown[piece.0 as usize];
        let before = if *unshown == 0 { u16::try_from(holders).unwrap_or(u16::MAX) } else { *unshown };
        *unshown = before.saturating_add(1);
        if !self.out.contains(piece) {
            self.under_way.entry(piece).or_insert((to, now));
        }
    }

    pub(super) fn is_under_way(&self, piece: PieceNo, to: NodeId) -> bool {
        self.under_way.get(&piece).is_some_and(|(at, _)| *at == to)
    }

    /// Forgets unsent pieces that are out or under way by now, those that `is_known` says are held by many, and those that
    /// were lost since: they are queued again when they come again.
    fn skip(&mut self, is_here: impl Fn(PieceNo) -> bool, is_known: impl Fn(PieceNo) -> bool) {
        for queue in std::iter::once(&mut self.unsent_pages).chain(&mut self.unsent) {
            while let Some(&piece) = queue.front() {
                let is_open = !self.out.contains(piece) && !self.under_way.contains_key(&piece);
                let is_claimed = is_open && is_known(piece);
                if is_claimed {
                    self.claimed.insert(piece);
                }
                if is_here(piece) && is_open && !is_claimed {
                    break;
                }
                queue.pop_front();
            }
        }
    }

    /// So many have spoken by now: what fewer than every second one holds goes out after all.
    fn judge_claims(&mut self, agents: u32, is_known: impl Fn(PieceNo) -> bool) {
        if self.claimed.count() == 0 || agents < self.judged + self.judged / JUDGED + 1 {
            return;
        }
        self.judged = agents;
        let unknown: Vec<PieceNo> = self.claimed.iter().filter(|piece| !is_known(*piece)).collect();
        for piece in unknown {
            self.claimed.remove(piece);
            self.queue(piece).push_back(piece);
        }
    }

    /// What may go out next: a page, else a piece of each stripe, that first whose turn it is.
    fn heads(&self) -> [Option<PieceNo>; 1 + STRIPES] {
        std::array::from_fn(|nth| match nth.checked_sub(1) {
            None => self.unsent_pages.front().copied(),
            Some(nth) => self.unsent[(self.turn + nth) % STRIPES].front().copied(),
        })
    }

    /// Whether everything has been out, and was not kept by those who got it.
    fn is_done(&self) -> bool {
        self.out.count() + self.claimed.count() == self.total && self.kept.is_empty()
    }
}

impl Transfer {
    /// A neighbour is sent a piece that it asked for. What it still waits for may go to others before: whoever asks a source is
    /// in trouble and often slow, and nobody should have to wait for it.
    pub(super) fn push_went_to(&mut self, now: Time, piece: PieceNo, to: NodeId) {
        if let Some(push) = &mut self.push {
            self.gave = Some(now);
            push.went(now, piece, to, self.holders[piece.0 as usize]);
        }
    }

    /// Forgets unsent pieces that need not go out; whether everything has been out.
    fn has_been_out(&mut self) -> bool {
        let (have, holders, agents) = (&self.have, &self.holders, self.agents);
        let Some(push) = &mut self.push else { return false };
        let is_known = |piece: PieceNo| agents > 0 && holders[piece.0 as usize] * 2 >= agents;
        push.judge_claims(agents, is_known);
        push.skip(|piece| have.contains(piece), is_known);
        let (is_done, believes) = (push.is_done(), push.claimed.count() == 0 || push.has_waited);
        let has_spoken = |peer: &NodeId| self.partners.contains_key(peer);
        is_done && (believes || (0..STRIPES).all(|stripe| self.order.roots(stripe).iter().all(has_spoken)))
    }

    /// A neighbour has a piece: whether that shows that another is generous, or is the only copy beside ours.
    pub(super) fn push_landed(&mut self, now: Time, piece: PieceNo, at: NodeId) {
        let holders = self.holders[piece.0 as usize];
        let is_watched = self.order.is_known() && self.agents > 1;
        let Some(push) = &mut self.push else { return };
        let is_its = push.landed(now, piece, at);
        let is_late = push.landed_late(piece, at);
        if is_its && is_watched {
            push.kept.landed(now, piece, at);
        }
        // Of those that were sent it themselves none may have passed it on: then liars may be all who hold it. Not when most do.
        let is_spread = holders > u32::from(push.unshown[piece.0 as usize]) || holders * 2 > self.agents;
        let generous = match (is_spread, push.again.contains(&piece)) {
            (false, _) => None,
            (true, false) => push.kept.seen(now, piece),
            (true, true) => {
                push.kept.forget(piece);
                None
            }
        };
        for well in generous.into_iter().chain(is_late.then_some(at)) {
            self.change(well, |partner| partner.is_mute = false);
        }
    }

    /// Looks for those that keep to themselves all that they were given: it goes out again, and they get no more.
    fn find_mute(&mut self, now: Time, patience: Duration) {
        let is_watched = self.order.is_known() && self.agents > 1;
        let Some(push) = &mut self.push else { return };
        let has_shown = |peer: &NodeId| self.partners.get(peer).is_some_and(|partner| partner.counts != [0; STRIPES]);
        let overdue = if is_watched { push.take_overdue(now, has_shown) } else { BTreeSet::new() };
        let (pieces, mute) = push.kept.take_mute(now, patience);
        for piece in pieces {
            if push.out.remove(piece) {
                push.again.insert(piece);
                push.queue(piece).push_front(piece);
            }
        }
        for peer in mute.union(&overdue).copied() {
            self.change(peer, |partner| partner.is_mute = true);
        }
    }

    /// Whether all who want anything keep what they get: they may not reach each other.
    fn is_in_vain(&self) -> bool {
        let mut wanting = self.partners.values().filter(|partner| partner.role == Role::Agent && partner.wants);
        let first = wanting.next().map(|partner| partner.is_mute);
        first == Some(true) && wanting.all(|partner| partner.is_mute)
    }

    /// Whether a source has something to give out that is not under way.
    pub(super) fn gives(&self) -> bool {
        self.push.as_ref().is_some_and(|push| push.heads().into_iter().any(|head| head.is_some()))
    }

    /// Whether a source has given something out lately.
    pub(super) fn gave_lately(&self, now: Time) -> bool {
        self.gave.is_some_and(|gave| now.since(gave) < GIVES)
    }

    fn end_push(&mut self) {
        (self.push, self.needy) = (None, Needy::default());
    }

    /// The next piece that should go out, and to whom.
    fn next_push(&mut self, now: Time) -> Option<(PieceNo, NodeId)> {
        self.has_been_out();
        let heads = self.push.as_mut()?.heads();
        let (piece, to) = match self.cheap_page() {
            Some(copy) => copy,
            None => heads.into_iter().flatten().find_map(|piece| self.goes_now(now, piece))?,
        };
        self.push.as_mut()?.gives(now, (piece, to));
        self.change(to, |partner| (partner.pushing, partner.pushed) = (partner.pushing + 1, partner.pushed + 1))?;
        Some((piece, to))
    }

    /// A piece and who gets it, unless it has to wait.
    fn goes_now(&mut self, now: Time, piece: PieceNo) -> Option<(PieceNo, NodeId)> {
        let to = self.receiver(piece)?;
        let is_long = self.spec.bytes > FINE_BELOW;
        let waits = self.push.as_mut()?.gives_way(now, piece, is_long);
        (!waits).then_some((piece, to))
    }

    /// A page that someone lacks, when so few and small ones may go to everyone.
    fn cheap_page(&mut self) -> Option<(PieceNo, NodeId)> {
        let first: BTreeSet<NodeId> =
            (0..STRIPES).flat_map(|stripe| self.order.roots(stripe).iter().take(FIRST)).copied().collect();
        let all = if self.order.is_known() { first.len() as u64 } else { u64::from(self.agents) };
        if self.pages > CHEAP_PAGES || self.spec.blob.len * all * CHEAP > self.spec.bytes {
            return None;
        }
        self.needy.behind().next()?;
        let lacks = |partner: &Partner, page: u32| {
            let takes = partner.takes_pushes() && partner.pages < self.pages;
            takes && partner.pages_pushed >> page & 1 == 0 && self.could_verify(partner, PieceNo(page))
        };
        // Of a hundred thousand partners a few are meant.
        let lacking = |page: u32| match self.order.is_known() {
            true => first.iter().find(|peer| self.partners.get(peer).is_some_and(|partner| lacks(partner, page))),
            false => self.partners.iter().find(|(_, partner)| lacks(partner, page)).map(|(peer, _)| peer),
        };
        let mut copies = (0..self.pages).filter(|page| self.have.contains(PieceNo(*page)));
        let (page, to) = copies.find_map(|page| lacking(page).map(|peer| (page, *peer)))?;
        self.partners.get_mut(&to)?.pages_pushed |= 1 << page;
        Some((PieceNo(page), to))
    }

    /// Who gets a piece: of those near the root of its stripe the first that is known to pass on, as soon as it has room; as long
    /// as none is known, each a little. When none is there, or the stripe is far behind the other, anyone else.
    fn receiver(&self, piece: PieceNo) -> Option<NodeId> {
        let (stripe, push) = (stripe_of(piece), self.push.as_ref()?);
        let partner = |peer: &NodeId| Some((*peer, &**self.partners.get(peer)?));
        let well = |(_, partner): &(NodeId, &Partner)| {
            partner.wants && !partner.full && !partner.is_mute && !partner.have.contains(piece)
        };
        let near: Vec<(NodeId, &Partner)> = self.order.roots(stripe).iter().filter_map(partner).filter(well).collect();
        let takes = |(_, partner): &&(NodeId, &Partner)| partner.takes_pushes();
        let is_fit = |(peer, partner): &&(NodeId, &Partner)| {
            push.kept.is_generous(*peer) || push.kept.may_be_tried(*peer, partner.pushing)
        };
        let least = || near.iter().filter(takes).min_by_key(|(peer, _)| push.kept.unseen_at(*peer));
        let chosen = near.iter().find(is_fit).map_or_else(least, |fit| Some(fit).filter(takes));
        let backlog = |stripe: usize| push.unsent[stripe].len();
        let is_late = backlog(stripe) > backlog((stripe + 1) % STRIPES) + SPILL;
        match chosen {
            Some((peer, _)) => Some(*peer),
            None if !near.is_empty() && !is_late => None,
            None => near.iter().find(takes).map(|(peer, _)| *peer).or_else(|| self.neediest(piece)),
        }
    }

    /// Who needs a piece most, of those that could verify it.
    fn neediest(&self, piece: PieceNo) -> Option<NodeId> {
        match piece.0 < self.pages {
            true => self.needy.behind().find(|peer| self.could_verify(&self.partners[peer], piece)),
            false => self.needy.ready(),
        }
    }

    fn could_verify(&self, partner: &Partner, piece: PieceNo) -> bool {
        match piece.0 < self.pages {
            true => !partner.have.contains(piece) && self.has_parent_of(&partner.have, piece),
            false => partner.pages == self.pages,
        }
    }
}

impl Swarm {
    /// Looks at what became of what landed, as long as there is something to push.
    pub(super) fn look_after(&mut self, now: Time, content: ContentId) {
        let Some(transfer) = self.contents.get_mut(&content).filter(|transfer| transfer.push.is_some()) else { return };
        transfer.find_mute(now, self.settings.patience);
        let has_waited = now.since(transfer.began) >= self.settings.patience;
        transfer.push.iter_mut().for_each(|push| push.has_waited = has_waited);
        if transfer.is_in_vain() {
            self.give_up_pushing(content);
            return self.send_more(now);
        }
        self.alarms.set(Alarm::LookAfter(content), now.after(LOOK));
        self.refresh_push(now, content);
        self.send_more(now);
    }

    /// Ends pushing when all has been out: then a source is a holder like any other.
    pub(super) fn refresh_push(&mut self, now: Time, content: ContentId) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if transfer.has_been_out() {
            transfer.end_push();
            return self.tell_all_late(now, content);
        }
        let Some(push) = &mut transfer.push else { return };
        if transfer.order.is_known() {
            self.alarms.ensure(Alarm::LookAfter(content), now.after(LOOK));
        }
        if transfer.stage != Stage::Complete || push.under_way.is_empty() {
            return;
        }
        let due = now.after(self.settings.patience * 3);
        match std::mem::take(&mut push.has_landed) {
            true => self.alarms.set(Alarm::Stalled(content), due),
            false => self.alarms.ensure(Alarm::Stalled(content), due),
        }
    }

    /// Says to all what is here, all of which has been out; when they are many, not before the rest of what is given out.
    pub(super) fn tell_all_late(&mut self, now: Time, content: ContentId) {
        let goes_on = |transfer: &Transfer| transfer.push.is_some() && transfer.gave_lately(now);
        match self.is_quiet() && self.contents.values().any(|transfer| goes_on(transfer)) {
            true => self.alarms.set(Alarm::TellAll(content), now.after(LOOK)),
            false => self.tell_all(content),
        }
    }

    /// The next piece that a source should send of its own accord.
    pub(super) fn next_push(&mut self, now: Time) -> Option<(ContentId, PieceNo, NodeId)> {
        let pushing = self.contents.iter_mut().filter(|(_, transfer)| transfer.push.is_some());
        pushing.into_iter().find_map(|(id, transfer)| transfer.next_push(now).map(|(piece, to)| (*id, piece, to)))
    }

    /// A neighbour could not take a push, or it never left.
    pub(super) fn push_failed(&mut self, content: ContentId, piece: PieceNo, to: NodeId) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if let Some(push) = transfer.push.as_mut().filter(|push| push.is_under_way(piece, to)) {
            push.came_back(piece);
        }
    }

    /// Something has left, or could not be sent: a source that cannot read for long leaves it to those who ask.
    pub(super) fn note_send(&mut self, content: ContentId, is_sent: bool) {
        let push = self.contents.get_mut(&content).and_then(|transfer| transfer.push.as_mut());
        let Some(push) = push else { return };
        push.failures = if is_sent { 0 } else { push.failures + 1 };
        if push.failures > FAILURES {
            self.give_up_pushing(content);
        }
    }

    /// Tells a source that what it pushed was not kept.
    pub(super) fn refuse_push(&mut self, content: ContentId, piece: PieceNo, from: NodeId) {
        if self.peers.get(&from).is_some_and(|peer| peer.role == Role::Origin) {
            self.out.push_back(Action::Send(from, Message::Cannot { content, piece }));
        }
    }

    /// A push that nobody confirmed for long: whoever has it serves it, and we serve everything.
    pub(super) fn give_up_pushing(&mut self, content: ContentId) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        transfer.end_push();
        self.tell_all(content);
    }
}
