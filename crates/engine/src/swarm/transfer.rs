//! One content: what of it is here, who holds what, which piece is expected from whom.

use super::Progress;
use super::needy::{Needy, Place};
use super::news::News;
use super::partner::{Partner, count};
use super::push::Push;
use super::relay::{Order, stripe_of};
use crate::chance::Chance;
use crate::door::{BufferId, STRIPES, Time};
use content::blob::Shape;
use content::{Bitmap, ContentSpec, NodeId, PieceNo, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How far a content is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The host says what is here.
    Opening,
    /// Pages are fetched.
    Pages,
    /// The host reads the manifest.
    Indexing,
    /// Data pieces are fetched.
    Pieces,
    /// The host makes it durable.
    Completing,
    /// It is durable.
    Complete,
    /// Something is in the way; it is tried again.
    Paused,
    /// It cannot be had here.
    Failed,
}

/// A payload that came a moment too early.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) piece: PieceNo,
    pub(super) buffer: BufferId,
    pub(super) from: NodeId,
    pub(super) len: u32,
}

/// One content.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) spec: ContentSpec,
    shape: Shape,
    pub(super) pages: u32,
    pub(super) total: u32,
    /// What a piece has on average, in bytes.
    pub(super) piece_bytes: u64,
    pub(super) have: Bitmap,
    is_indexed: bool,
    pub(super) stage: Stage,
    /// It comes by another road: nothing of it is asked for.
    pub(super) is_held_back: bool,
    /// Only some want it, so it goes down no tree.
    pub(super) is_aside: bool,
    pub(super) partners: BTreeMap<NodeId, Box<Partner>>,
    /// How many agents say that they hold a piece.
    pub(super) holders: Vec<u32>,
    /// How many partners are agents.
    pub(super) agents: u32,
    /// How many pieces of each stripe the agent has that has most of it.
    pub(super) most: [u32; STRIPES],
    /// How many are publishers.
    publishers: u32,
    /// Who asked a source for something while it pushes.
    pub(super) askers: BTreeSet<NodeId>,
    /// Who takes pushes; kept while there is something to push.
    pub(super) needy: Needy,
    /// From whom a piece is expected.
    pub(super) reserved: BTreeMap<PieceNo, NodeId>,
    /// Pieces that the host verifies and writes, and who sent them.
    pub(super) writing: BTreeMap<PieceNo, NodeId>,
    pub(super) parked: Vec<Parked>,
    /// What came lately, for those who should hear of it.
    pub(super) news: News,
    /// Which partners are origins.
    pub(super) sources: Vec<NodeId>,
    /// Whether its turn to tell sources was drawn.
    pub(super) has_turn: bool,
    /// How many entries all lists of what is of use have.
    pub(super) useful: usize,
    /// What a source has not had out yet; `None` when it has, and for everyone else.
    pub(super) push: Option<Push>,
    /// When a source gave something out last.
    pub(super) gave: Option<Time>,
    pub(super) last_arrival: Time,
    /// When neighbours were last told what is here, and how many pieces they were not told of.
    pub(super) told: Time,
    pub(super) untold: u32,
    /// Who is to hear with the next news what is here at all.
    pub(super) unmet: BTreeSet<NodeId>,
    /// Until when a source may be asked for anything, because nothing came.
    pub(super) is_plain: bool,
    /// When neighbours were last asked what they hold.
    pub(super) sought: Time,
    /// How often nothing came for so long that a source was asked; when something did come, no more than once.
    pub(super) stalls: u32,
    /// Since when it is open, and how long it took until some neighbour had a data piece: the first steps of the way to here.
    pub(super) began: Time,
    pub(super) shown: Option<Duration>,
    /// How often the last pieces were asked of others because it took long.
    pub(super) hurried: u32,
    /// Pages are missing although what they are needed for has come.
    misses_pages: bool,
    /// From whom pieces come unasked, and to whom they are passed on.
    pub(super) order: Order,
    /// How many pieces of each stripe are here.
    pub(super) counts: [u32; STRIPES],
    /// Failures of the host in a row.
    pub(super) tries: u32,
    /// Pieces in a row that could not be read when they should have been sent.
    pub(super) unread: u32,
    pub(super) progress: Progress,
}

impl Transfer {
    pub(super) fn new(spec: ContentSpec, role: Role, now: Time) -> Self {
        let shape = spec.blob.shape();
        let (pages, total) = (spec.pages(), spec.total());
        let bytes = spec.blob.len + spec.bytes;
        Self {
            shape,
            pages,
            total,
            piece_bytes: (bytes / u64::from(total)).max(1),
            have: Bitmap::empty(total),
            is_indexed: false,
            stage: Stage::Opening,
            is_held_back: false,
            is_aside: false,
            partners: BTreeMap::new(),
            holders: vec![0; total as usize],
            agents: 0,
            most: [0; STRIPES],
            publishers: 0,
            askers: BTreeSet::new(),
            needy: Needy::default(),
            reserved: BTreeMap::new(),
            writing: BTreeMap::new(),
            parked: Vec::new(),
            news: News::default(),
            sources: Vec::new(),
            has_turn: false,
            useful: 0,
            push: (role == Role::Origin).then(|| Push::new(spec)),
            gave: None,
            last_arrival: now,
            told: now,
            untold: 0,
            unmet: BTreeSet::new(),
            is_plain: false,
            sought: Time(0),
            stalls: 0,
            began: now,
            shown: None,
            hurried: 0,
            misses_pages: false,
            order: Order::default(),
            counts: [0; STRIPES],
            tries: 0,
            unread: 0,
            progress: Progress { total, bytes, ..Progress::default() },
            spec,
        }
    }

    /// Whether the host has said what is here, so that it can be talked about.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Opening | Stage::Failed)
    }

    /// Whether pieces are to be asked for now.
    pub(super) fn wants(&self) -> bool {
        matches!(self.stage, Stage::Pages | Stage::Pieces) && !self.is_held_back
    }

    /// Whether much is coming at the moment.
    pub(super) fn is_busy(&self) -> bool {
        self.reserved.len() + self.writing.len() > 1
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { have: self.have.count(), ..self.progress }
    }

    // What is here.

    pub(super) fn take_over(&mut self, have: Bitmap, stage: Stage) {
        self.is_indexed = true;
        if let Some(push) = &mut self.push {
            have.iter().for_each(|piece| push.came(piece));
        }
        self.counts = count(&have);
        self.have = have;
        self.stage = stage;
    }

    pub(super) fn opened(&mut self, have: Bitmap, indexed: bool, complete: bool) {
        self.is_indexed = indexed || complete || self.spec.pieces == 0;
        self.stage = match (complete, self.is_indexed && self.has_all_pages(&have)) {
            (true, _) => Stage::Complete,
            (false, true) => Stage::Pieces,
            (false, false) => Stage::Pages,
        };
        self.take_have(have);
        if complete && self.push.is_none() {
            self.progress.had = self.progress.bytes;
        }
    }

    pub(super) fn indexed(&mut self, have: Bitmap) {
        self.is_indexed = true;
        self.stage = Stage::Pieces;
        let known = self.have.count();
        self.take_have(have);
        self.progress.had += u64::from(self.have.count().saturating_sub(known)) * self.piece_bytes;
        self.tries = 0;
    }

    fn has_all_pages(&self, have: &Bitmap) -> bool {
        (0..self.pages).all(|page| have.contains(PieceNo(page)))
    }

    fn take_have(&mut self, have: Bitmap) {
        if let Some(push) = &mut self.push {
            have.iter().filter(|piece| !self.have.contains(*piece)).for_each(|piece| push.came(piece));
        }
        if have.len() == self.total {
            self.counts = count(&have);
            self.have = have;
        }
        self.reconsider();
    }

    /// The next thing the host must do; the stage is set accordingly.
    pub(super) fn next_stage(&mut self) -> Option<Stage> {
        let next = match self.stage {
            Stage::Complete => return Some(Stage::Complete),
            Stage::Pages if !self.has_page_run() => return None,
            Stage::Pages if !self.is_indexed => Stage::Indexing,
            Stage::Pages | Stage::Pieces if self.have.is_full() => Stage::Completing,
            Stage::Pages => Stage::Pieces,
            _ => return None,
        };
        self.stage = next;
        if next == Stage::Pieces {
            self.reconsider();
        }
        Some(next)
    }

    fn has_page_run(&self) -> bool {
        self.have.count() >= self.pages && self.has_all_pages(&self.have)
    }

    /// A piece was verified and written.
    pub(super) fn add(&mut self, piece: PieceNo) {
        if self.have.insert(piece) {
            self.counts[stripe_of(piece)] += 1;
        }
        if let Some(push) = &mut self.push {
            push.came(piece);
        }
        if piece.0 < self.pages {
            self.shape.children(piece.0).for_each(|child| self.offer(PieceNo(child)));
        }
    }

    /// A piece is not here any more; whether it was.
    pub(super) fn lose(&mut self, piece: PieceNo) -> bool {
        let was = self.have.remove(piece);
        self.counts[stripe_of(piece)] -= u32::from(was);
        if was && piece.0 < self.pages {
            self.is_indexed = self.spec.pieces == 0;
        }
        was
    }

    /// Whether a payload of that length can be this page or piece.
    pub(super) fn fits(&self, piece: PieceNo, len: u32) -> bool {
        match piece.0 < self.pages {
            true => self.shape.page_len(piece.0) == len as usize,
            false => {
                (1..=content::cut::MAX_PIECE as u64).contains(&u64::from(len)) && u64::from(len) <= self.spec.bytes
            }
        }
    }

    /// Whether the host could verify this piece now.
    pub(super) fn can_take(&self, piece: PieceNo) -> bool {
        match self.stage {
            Stage::Pages => self.has_parent_of(&self.have, piece),
            Stage::Pieces => true,
            _ => false,
        }
    }

    /// Whether a piece is passed on along every tree and not only its own.
    pub(super) fn goes_everywhere(&self, piece: PieceNo) -> bool {
        piece.0 < self.pages && self.pages <= FEW_PAGES
    }

    /// Whether a piece may come unasked from a neighbour.
    pub(super) fn may_come_from(&self, peer: NodeId, piece: PieceNo) -> bool {
        let is_passed_on = self.order.is_next_to(peer, piece) || self.order.was_next_to(peer);
        is_passed_on || self.goes_everywhere(piece) && self.order.is_near(peer)
    }

    /// Whether someone who holds this could verify that page (or that data piece: then all pages are needed).
    pub(super) fn has_parent_of(&self, have: &Bitmap, piece: PieceNo) -> bool {
        match piece.0 < self.pages {
            true => self.shape.parent(piece.0).is_none_or(|parent| have.contains(PieceNo(parent.page))),
            false => false,
        }
    }

    // What others have.

    /// A neighbour says what it holds; whether it held something that it lacks now and that is here.
    pub(super) fn put_partner(&mut self, now: Time, peer: NodeId, mut partner: Partner) -> bool {
        let mut lost = false;
        partner.told = self.told_nothing();
        if let Some(old) = self.partners.get_mut(&peer) {
            lost = old.have.iter().any(|piece| !partner.have.contains(piece) && self.have.contains(piece));
            partner.told = std::mem::take(&mut old.told);
            partner.told.skip(|piece| partner.have.contains(piece));
            partner.pushed = old.pushed;
            partner.pushing = old.pushing;
            partner.spared = old.spared;
            partner.unasked = old.unasked;
            // Whoever finds its disk rotten takes back what it said; a liar says it again.
            partner.false_haves = std::mem::take(&mut old.false_haves);
            partner.false_haves.retain(|piece| partner.have.contains(*piece));
            partner.pages_pushed = old.pages_pushed;
            partner.caught_up = old.caught_up;
            partner.declined = std::mem::take(&mut old.declined);
            partner.declined.retain(|piece| !partner.have.contains(*piece));
            partner.is_mute = old.is_mute;
            partner.said = old.said;
        }
        self.discount(peer);
        partner.pages = partner.have.iter().take_while(|piece| piece.0 < self.pages).count() as u32;
        if partner.role == Role::Agent {
            if partner.have.count() > self.pages {
                self.shown.get_or_insert(now.since(self.began));
            }
            self.agents += 1;
            partner.have.iter().for_each(|piece| self.holders[piece.0 as usize] += 1);
        }
        let (pages, place) = (self.pages, partner.place(self.pages));
        let pushed: Vec<PieceNo> = match partner.role == Role::Agent && self.push.is_some() {
            true => partner.have.iter().collect(),
            false => Vec::new(),
        };
        self.publishers += u32::from(partner.role == Role::Operator);
        if partner.role == Role::Origin && !self.sources.contains(&peer) {
            self.sources.push(peer);
        }
        let counts = partner.agents_counts();
        let old = self.partners.insert(peer, Box::new(partner));
        self.most_changed(old.as_ref().map_or([0; STRIPES], |old| old.agents_counts()), counts);
        self.useful -= old.as_ref().map_or(0, |old| old.useful.len());
        let before = old.and_then(|old| old.place(pages));
        self.stands(peer, before, place);
        pushed.into_iter().for_each(|piece| self.push_landed(now, piece, peer));
        self.reconsider_partner(peer);
        lost
    }

    /// Takes a partner out of the counts of holders.
    fn discount(&mut self, peer: NodeId) {
        let Some(old) = self.partners.get(&peer) else { return };
        self.publishers -= u32::from(old.role == Role::Operator);
        if old.role != Role::Agent {
            return;
        }
        self.agents -= 1;
        for piece in old.have.iter() {
            self.holders[piece.0 as usize] -= 1;
        }
    }

    pub(super) fn remove_partner(&mut self, peer: NodeId) {
        self.discount(peer);
        self.askers.remove(&peer);
        self.unmet.remove(&peer);
        self.sources.retain(|source| *source != peer);
        let Some(gone) = self.partners.remove(&peer) else { return };
        self.useful -= gone.useful.len();
        self.most_changed(gone.agents_counts(), [0; STRIPES]);
        self.stands(peer, gone.place(self.pages), None);
        if let Some(push) = &mut self.push {
            let orphaned = |piece: &PieceNo| self.holders[piece.0 as usize] == 0 && self.have.contains(*piece);
            push.gone(peer, gone.have.iter().filter(orphaned));
        }
    }

    pub(super) fn partner_has(&mut self, now: Time, peer: NodeId, piece: PieceNo) {
        let (may_ask, pages) = (self.may_ask(piece), self.pages);
        let mut is_useful = false;
        let changed = self.change(peer, |partner| {
            partner.full = false;
            if !partner.have.insert(piece) {
                return false;
            }
            partner.counts[stripe_of(piece)] += 1;
            partner.declined.remove(&piece);
            partner.pages += u32::from(piece.0 < pages);
            partner.wants &= !partner.have.is_full();
            if may_ask {
                partner.useful.push(piece);
                is_useful = true;
            }
            partner.role == Role::Agent
        });
        self.useful += usize::from(is_useful);
        if changed != Some(true) {
            return;
        }
        self.holders[piece.0 as usize] += 1;
        let (stripe, counts) = (stripe_of(piece), self.partners.get(&peer).map(|partner| partner.counts));
        self.most[stripe] = self.most[stripe].max(counts.map_or(0, |counts| counts[stripe]));
        self.push_landed(now, piece, peer);
    }

    /// One partner has so many of each stripe now, and had so many before. All are looked at only if it may have had the most.
    fn most_changed(&mut self, before: [u32; STRIPES], after: [u32; STRIPES]) {
        let was_most = |stripe: usize| before[stripe] > after[stripe] && before[stripe] >= self.most[stripe];
        self.most = match (0..STRIPES).any(was_most) {
            true => self.find_most(),
            false => std::array::from_fn(|stripe| self.most[stripe].max(after[stripe])),
        };
        debug_assert_eq!(self.most, self.find_most());
    }

    fn find_most(&self) -> [u32; STRIPES] {
        let of = |stripe: usize| self.partners.values().map(move |partner| partner.agents_counts()[stripe]);
        std::array::from_fn(|stripe| of(stripe).max().unwrap_or(0))
    }

    pub(super) fn partner_lacks(&mut self, peer: NodeId, piece: PieceNo) {
        let pages = self.pages;
        let before = self.partners.get(&peer).map_or([0; STRIPES], |partner| partner.agents_counts());
        let changed = self.change(peer, |partner| {
            let had = partner.have.remove(piece);
            partner.counts[stripe_of(piece)] -= u32::from(had);
            partner.pages -= u32::from(had && piece.0 < pages);
            had && partner.role == Role::Agent
        });
        if changed == Some(true) {
            self.holders[piece.0 as usize] -= 1;
            self.most_changed(before, self.partners[&peer].agents_counts());
        }
    }

    /// Changes a partner, and where it stands among the needy.
    pub(super) fn change<R>(&mut self, peer: NodeId, change: impl FnOnce(&mut Partner) -> R) -> Option<R> {
        let partner = self.partners.get_mut(&peer)?;
        if self.push.is_none() {
            return Some(change(partner));
        }
        let before = partner.place(self.pages);
        let changed = change(partner);
        let after = partner.place(self.pages);
        self.needy.moved(peer, before, after);
        Some(changed)
    }

    fn stands(&mut self, peer: NodeId, before: Place, after: Place) {
        if self.push.is_some() {
            self.needy.moved(peer, before, after);
        }
    }

    pub(super) fn has_publisher(&self) -> bool {
        self.publishers > 0
    }

    pub(super) fn holders(&self, piece: PieceNo) -> u32 {
        self.holders[piece.0 as usize]
    }

    // What may be asked for.

    /// Whether a piece is missing, expected from nobody, and could be verified.
    pub(super) fn may_ask(&self, piece: PieceNo) -> bool {
        !self.have.contains(piece)
            && (self.order.is_pulled(piece) || (self.misses_pages && piece.0 < self.pages))
            && self.can_take(piece)
            && !self.reserved.contains_key(&piece)
            && !self.writing.contains_key(&piece)
    }

    /// A piece may be asked for (again): everyone who holds it is of use.
    pub(super) fn offer(&mut self, piece: PieceNo) {
        if self.may_ask(piece) {
            for partner in self.partners.values_mut().filter(|partner| partner.have.contains(piece)) {
                partner.useful.push(piece);
                self.useful += 1;
            }
        }
    }

    /// Something came that cannot be verified as long as pages are missing. An agent that passes it on has them all; when that
    /// happens a few times they were left out, and are asked for.
    pub(super) fn misses_pages(&mut self, now: Time, from: NodeId) {
        let is_agent = self.partners.get(&from).is_some_and(|partner| partner.role == Role::Agent);
        let early = self.parked.iter().filter(|parked| parked.piece.0 >= self.pages).count();
        if self.stage != Stage::Pages || !is_agent || early < EARLY {
            return;
        }
        self.misses_pages = true;
        let missing: Vec<PieceNo> = (0..self.pages).map(PieceNo).filter(|page| !self.have.contains(*page)).collect();
        for page in missing {
            self.partner_has(now, from, page);
            self.offer(page);
        }
    }

    /// Finds out again what of everyone's is of use.
    pub(super) fn reconsider(&mut self) {
        let peers: Vec<NodeId> = self.partners.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.reconsider_partner(peer));
    }

    fn reconsider_partner(&mut self, peer: NodeId) {
        if let Some(partner) = self.partners.get_mut(&peer) {
            self.useful -= partner.useful.len();
            (partner.useful, partner.looked) = (Vec::new(), 0);
            self.look_on(peer);
        }
    }

    /// Finds out what else of a partner's is of use, when its list has come to its end; whether anything is.
    pub(super) fn look_on(&mut self, peer: NodeId) -> bool {
        let Some(partner) = self.partners.get(&peer) else { return false };
        let ahead = partner.have.iter().skip_while(|piece| piece.0 < partner.looked);
        let mut useful: Vec<PieceNo> = ahead.filter(|piece| self.may_ask(*piece)).take(USEFUL).collect();
        let looked = if useful.len() < USEFUL { self.total } else { useful[USEFUL - 1].0 + 1 };
        if partner.role == Role::Operator {
            useful.reverse();
        }
        self.useful += useful.len();
        let is_any = !useful.is_empty();
        if let Some(partner) = self.partners.get_mut(&peer) {
            partner.useful.append(&mut useful);
            partner.looked = looked;
        }
        is_any
    }

    /// Takes a piece that `peer` holds and we may ask for: the rarest of a few drawn ones. From a publisher: the first.
    pub(super) fn choose(&mut self, peer: NodeId, chance: &mut Chance) -> Option<PieceNo> {
        loop {
            let partner = self.partners.get(&peer)?;
            let len = partner.useful.len();
            let at = match partner.role {
                Role::Operator => len.checked_sub(1)?,
                _ if len == 0 => return None,
                _ => (0..SAMPLE).map(|_| chance.below(len)).min_by_key(|at| self.holders(partner.useful[*at]))?,
            };
            let piece = partner.useful[at];
            let (holds, is_last, looked) = (partner.have.contains(piece), len == 1, partner.looked);
            self.partners.get_mut(&peer)?.useful.swap_remove(at);
            self.useful -= 1;
            if is_last && looked < self.total {
                self.look_on(peer);
            }
            if holds && self.may_ask(piece) {
                return Some(piece);
            }
        }
    }

    /// Draws one of what is listed of a peer's.
    pub(super) fn draw(&mut self, peer: NodeId, chance: &mut Chance) -> Option<PieceNo> {
        let partner = self.partners.get_mut(&peer)?;
        if partner.useful.is_empty() {
            let is_any = partner.looked < self.total && self.look_on(peer);
            return if is_any { self.draw(peer, chance) } else { None };
        }
        let piece = partner.useful.swap_remove(chance.below(partner.useful.len()));
        self.useful -= 1;
        Some(piece)
    }

    /// A few missing pieces that are expected from nobody, for when nobody says that they hold any.
    pub(super) fn missing(&self, most: usize) -> Vec<PieceNo> {
        let range = if self.stage == Stage::Pages { 0..self.pages } else { 0..self.total };
        range.map(PieceNo).filter(|piece| self.may_ask(*piece)).take(most).collect()
    }

    // What we say.

    /// What we say to a peer of that role: a source says nothing of what has not been out yet.
    pub(super) fn say(&self, to: Role) -> (Option<Bitmap>, bool) {
        let wants = !self.have.is_full() && self.stage != Stage::Complete && !self.is_held_back;
        let hides = to == Role::Agent && self.push.is_some();
        match (hides, self.have.is_full()) {
            (true, _) => (Some(Bitmap::empty(self.total)), wants),
            (false, true) => (None, wants),
            (false, false) => (Some(self.have.clone()), wants),
        }
    }

    /// When the neighbours are to be told of a piece that has come now.
    pub(super) fn news_due(&mut self, now: Time, is_page: bool) -> Time {
        self.untold += 1;
        match (self.order.is_known(), self.push.is_some()) {
            (true, false) if self.untold >= TELL_RELAYED_PIECES => self.told.after(TELL_RELAYED_APART).max(now),
            (true, false) if self.have.count() < SETTLED => now.after(TELL_RELAYED_APART),
            (true, false) => now.after(TELL_RELAYED),
            (false, _) if is_page || !self.is_busy() => now,
            _ => now.after(TELL_NEAR),
        }
    }
}

/// How long news for neighbours are collected while much is coming.
const TELL_NEAR: Duration = Duration::from_millis(1);
/// And while everything is passed on in the given order: then they only serve to notice who falls behind, which is a matter of
/// so many pieces. Each message costs both sides as much as a quarter of a piece, and there are a dozen neighbours.
const TELL_RELAYED_PIECES: u32 = 24;
pub(super) const TELL_RELAYED_APART: Duration = Duration::from_millis(100);
/// So many pieces that came in order make it likely that the rest will.
pub(super) const SETTLED: u32 = 64;
pub(super) const TELL_RELAYED: Duration = Duration::from_secs(1);

/// The pages of a content that has no more than these (400 MiB) go down all trees: everyone gets them twice, which is less than
/// what it takes to fill a second tree that has to wait for the first.
const FEW_PAGES: u32 = 8;

/// So many pieces that came before the pages show that those were left out.
const EARLY: usize = 3;
/// How many pieces of use are listed of one partner: a content of 100 GB has 1.6 million, and there are sixteen neighbours.
const USEFUL: usize = 1 << 16;
/// How many pieces are drawn to take the rarest of.
const SAMPLE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Time;
    use content::{BlobRef, Digest};

    #[test]
    fn all_of_a_long_content_can_be_asked_of_a_peer_whose_list_is_bounded() {
        let blob = BlobRef { root: Digest::of(b"manifest"), len: 60 };
        let pieces = 2 * USEFUL as u32 + 10;
        let spec = ContentSpec { blob, pieces, bytes: u64::from(pieces) * 1000 };
        for role in [Role::Agent, Role::Operator] {
            let mut transfer = Transfer::new(spec, Role::Agent, Time(0));
            let peer = NodeId(Digest::of(b"peer"));
            let partner = Partner::new(role, Bitmap::full(spec.total()), false, 1);
            transfer.put_partner(Time(0), peer, partner);
            transfer.opened(Bitmap::empty(spec.total()), false, false);
            transfer.add(PieceNo(0));
            let mut have = Bitmap::empty(spec.total());
            have.insert(PieceNo(0));
            transfer.indexed(have);
            let mut chance = Chance::new(3);
            let mut asked = Bitmap::empty(spec.total());
            while let Some(piece) = transfer.choose(peer, &mut chance) {
                assert!(asked.insert(piece), "{piece:?} twice");
                assert!(transfer.partners[&peer].useful.len() <= USEFUL);
                transfer.reserved.insert(piece, peer);
            }
            assert_eq!(asked.count(), pieces, "{role:?}");
            assert_eq!(transfer.useful, 0);
        }
    }
}
