//! Whom to ask for what: windows, reservations, deadlines, and the plain road when peers are of no help.

use super::partner::{Partner, STRIKES, UNASKED};
use super::transfer::{Parked, Stage};
use super::{Action, Alarm, Swarm};
use crate::door::{BufferId, Event, Message, Misbehaviour, Time};
use content::{ContentId, NodeId, PieceNo, Role};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Pieces that may be asked of a neighbour, and of a publisher, before one comes.
const AHEAD: usize = 4;
const AHEAD_OF_PUBLISHER: usize = 64;
/// And in all, and of one neighbour, while there is a given order.
const MENDING: usize = 8;
const MENDING_OF_ONE: usize = 2;
/// No deadline is shorter than this: less than what a busy machine may sleep makes false alarms.
const SHORTEST: Duration = Duration::from_millis(50);
/// And none than so many times the longest anyone took lately.
const GAPS: u32 = 2;
/// Whoever let a deadline pass is not asked for so many times as long, and twice that for every further one in a row.
const BLOCKS: u32 = 2;
/// As long as nobody has answered: such a part of the patience.
const UNKNOWN: u32 = 4;
/// When no more pieces than this are missing, whoever takes so many times as long as usual, and so long, is not waited for.
const LAST: usize = 8;
/// Nothing may come for so many times as long as a piece usually takes.
const PATIENT: u32 = 8;
/// The patience is doubled so often at the most: what a cut network took to bring a few pieces says nothing of how long others take.
const DOUBLED: u32 = 5;
/// What has less than this part of what pieces have on average says little of how long they take.
const SHORT: u64 = 4;
const HURRY: u32 = 4;
const SOON: Duration = Duration::from_millis(20);
const SLACK: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(30);

/// What we have asked of one peer, and how well it answers.
#[derive(Debug)]
pub(super) struct Asking {
    asked: VecDeque<(ContentId, PieceNo)>,
    most: usize,
    allowed: usize,
    /// How long it took for a piece on average lately.
    pace: Option<Duration>,
    patience: Duration,
    /// Deadlines missed in a row.
    lates: u32,
    /// How often something was asked of another since it delivered, because it took long.
    passed_over: u32,
    /// When it last delivered, or was first asked.
    since: Time,
    is_blocked: bool,
}

impl Asking {
    pub(super) fn new(role: Role, patience: Duration) -> Self {
        let most = if role == Role::Operator { AHEAD_OF_PUBLISHER } else { AHEAD };
        Self {
            asked: VecDeque::new(),
            most,
            allowed: most,
            pace: None,
            patience,
            lates: 0,
            passed_over: 0,
            since: Time(0),
            is_blocked: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn take_all(&mut self) -> VecDeque<(ContentId, PieceNo)> {
        std::mem::take(&mut self.asked)
    }

    /// Forgets what was asked of a content; how much that was.
    pub(super) fn forget(&mut self, content: ContentId) -> usize {
        let before = self.asked.len();
        self.asked.retain(|(of, _)| *of != content);
        before - self.asked.len()
    }

    fn remove(&mut self, content: ContentId, piece: PieceNo) -> bool {
        let at = self.asked.iter().position(|asked| *asked == (content, piece));
        at.map(|at| self.asked.remove(at)).is_some()
    }

    /// Whether it is worth while to ask it.
    pub(super) fn answers(&self) -> bool {
        !self.is_blocked
    }

    fn has_room(&self) -> bool {
        !self.is_blocked && self.asked.len() < self.allowed
    }

    /// A piece came that had been asked for. How long it took; what is short says little of others.
    fn delivered(&mut self, now: Time, is_short: bool) -> Duration {
        let took = now.since(self.since);
        if !is_short {
            self.pace = Some(self.pace.map_or(took, |pace| (pace * 7 + took) / 8));
        }
        self.since = now;
        (self.lates, self.passed_over) = (0, 0);
        self.allowed = (self.allowed + 1).min(self.most);
        took
    }

    /// The less, the sooner the last pieces are asked of it: whoever has delivered what was asked of it comes first, and whoever was
    /// waited for in vain last. Each costs twice the wait of the one before.
    fn doubt(&self) -> (u32, bool) {
        (self.passed_over, self.pace.is_none())
    }

    /// How long something may take, by what it and the others took so far.
    fn usual(&self, answers: &Answers) -> Duration {
        let ahead = self.asked.len().max(1) as u32;
        let by = |pace: Duration| (pace * 3 * ahead + SLACK).max(SHORTEST).max(answers.longest * GAPS);
        self.pace.or(answers.known()).map_or(self.patience / UNKNOWN * (1 << answers.lates.min(7)), by)
    }

    /// Until when something must come.
    fn due(&self, now: Time, answers: &Answers) -> Option<Time> {
        let allowed = self.usual(answers) * (1 << self.lates.min(5));
        (!self.asked.is_empty()).then(|| now.after(allowed.min(LONGEST)))
    }
}

/// How everyone answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// How long a piece took on average lately, whoever sent it.
    pace: Option<Duration>,
    /// And the longest; it is forgotten slowly.
    longest: Duration,
    /// What it should be, by something shorter that came.
    guess: Option<Duration>,
    /// Deadlines that were missed before anyone delivered anything: links may be slow.
    lates: u32,
}

impl Answers {
    fn known(&self) -> Option<Duration> {
        self.pace.or(self.guess)
    }

    fn note(&mut self, took: Duration) {
        self.pace = Some(self.pace.map_or(took, |pace| (pace * 15 + took) / 16));
        self.longest = took.max(self.longest - self.longest / 32);
    }
}

impl Swarm {
    /// Asks every peer for what it may be asked.
    pub(super) fn ask_all(&mut self, now: Time) {
        if !self.may_ask_anyone() {
            return;
        }
        let mut peers = self.askable();
        self.chance.shuffle(&mut peers);
        peers.into_iter().for_each(|peer| self.ask(now, peer));
    }

    /// Whom there may be something to ask of. A source asks its publisher while there is one.
    fn askable(&self) -> Vec<NodeId> {
        let mut wanting = self.contents.values().filter(|transfer| transfer.wants());
        match self.settings.role == Role::Origin && wanting.all(|transfer| transfer.has_publisher()) {
            true => self.publishers.iter().copied().collect(),
            false => self.peers.iter().filter(|(_, peer)| peer.asking.has_room()).map(|(id, _)| *id).collect(),
        }
    }

    /// Whether anyone holds something that may be asked for: nobody nearly always, as long as pieces come in the given order.
    fn may_ask_anyone(&self) -> bool {
        self.contents.values().any(|transfer| transfer.useful > 0 && transfer.wants())
    }

    /// Asks a peer for as much as it may be asked.
    pub(super) fn ask(&mut self, now: Time, peer: NodeId) {
        if !self.may_ask_anyone() {
            return;
        }
        let contents: Vec<ContentId> =
            self.contents.iter().filter(|(_, transfer)| transfer.wants()).map(|(id, _)| *id).collect();
        for content in contents {
            self.ask_of(now, peer, content);
        }
    }

    fn ask_of(&mut self, now: Time, peer: NodeId, content: ContentId) {
        let mut pieces = Vec::new();
        while let Some(piece) = self.next_ask(peer, content) {
            self.reserve(now, peer, content, piece);
            self.decline(content, piece, peer);
            pieces.push(piece);
        }
        if !pieces.is_empty() {
            self.out.push_back(Action::Send(peer, Message::Want { content, pieces }));
        }
    }

    fn next_ask(&mut self, peer: NodeId, content: ContentId) -> Option<PieceNo> {
        let transfer = self.contents.get(&content)?;
        let asked = self.peers.get(&peer).filter(|peer| peer.asking.has_room())?;
        // Beside a given order pulling only mends: more of it would hold up what is passed on, and so make more to mend.
        // As long as nothing has shown how long a piece takes, all may have to mend at once, of few that have anything yet.
        let is_known = self.answers.known().is_some() || transfer.order.usual().is_some();
        let most = if is_known { MENDING } else { 1 };
        if transfer.order.is_known() && (transfer.reserved.len() >= most || asked.asking.len() >= MENDING_OF_ONE) {
            return None;
        }
        let taken = self.window + self.unwritten();
        if taken > 0 && taken + transfer.piece_bytes > self.settings.window_bytes {
            return None;
        }
        match self.may_ask_now(transfer, asked.role) {
            true => self.contents.get_mut(&content)?.choose(peer, &mut self.chance),
            false if asked.role == Role::Origin && asked.asking.len() == 0 => self.next_abandoned(content),
            false => None,
        }
    }

    /// A piece that only such neighbours hold as do not answer: a source is asked for it at once, for one at a time and for a
    /// drawn one, since many may be in this plight and each can help the others to what it got.
    fn next_abandoned(&mut self, content: ContentId) -> Option<PieceNo> {
        let transfer = self.contents.get_mut(&content)?;
        let is_silent = |peer: &NodeId| self.peers.get(peer).is_some_and(|peer| peer.asking.is_blocked);
        let silent: Vec<NodeId> = transfer.partners.keys().filter(|peer| is_silent(peer)).copied().collect();
        let answering = |partners: &BTreeMap<NodeId, Box<Partner>>, piece| {
            let mut holders = partners.iter().filter(|(_, p)| p.role == Role::Agent && p.have.contains(piece));
            holders.any(|(peer, _)| !is_silent(peer))
        };
        for peer in silent {
            while let Some(piece) = transfer.draw(peer, &mut self.chance) {
                if transfer.may_ask(piece) && !answering(&transfer.partners, piece) {
                    return Some(piece);
                }
            }
        }
        None
    }

    /// Whether a peer of that role is to be asked at all at this moment: a source only when no neighbour is of help.
    fn may_ask_now(&self, transfer: &super::Transfer, other: Role) -> bool {
        match (self.settings.role, other) {
            (Role::Agent, Role::Origin) => transfer.is_plain || !(self.expects || self.has_helpers(transfer)),
            (Role::Origin, Role::Agent) => !transfer.has_publisher(),
            _ => true,
        }
    }

    /// Whether a neighbour that answers holds something that we lack, or will.
    fn has_helpers(&self, transfer: &super::Transfer) -> bool {
        let helps = |partner: &Partner| partner.role == Role::Agent && (partner.wants || !partner.useful.is_empty());
        let answers = |peer: &NodeId| self.peers.get(peer).is_some_and(|peer| !peer.asking.is_blocked);
        transfer.partners.iter().any(|(peer, partner)| helps(partner) && answers(peer))
    }

    /// Bytes that have come and are not written: a disk that is slower than the links must slow down the asking, and fill no
    /// memory.
    fn unwritten(&self) -> u64 {
        let of = |transfer: &super::Transfer| (transfer.writing.len() + transfer.parked.len()) as u64;
        self.contents.values().map(|transfer| of(transfer) * transfer.piece_bytes).sum()
    }

    fn reserve(&mut self, now: Time, peer: NodeId, content: ContentId, piece: PieceNo) {
        let (Some(transfer), Some(asked)) = (self.contents.get_mut(&content), self.peers.get_mut(&peer)) else {
            return;
        };
        transfer.reserved.insert(piece, peer);
        self.window += transfer.piece_bytes;
        if asked.asking.asked.is_empty() {
            asked.asking.since = now;
        }
        asked.asking.asked.push_back((content, piece));
        if let Some(due) = asked.asking.due(now, &self.answers) {
            self.alarms.ensure(Alarm::Due(peer), due);
        }
    }

    /// A piece is no longer expected; it may be asked for elsewhere.
    pub(super) fn release(&mut self, content: ContentId, piece: PieceNo) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        self.window = self.window.saturating_sub(transfer.piece_bytes);
        transfer.reserved.remove(&piece);
        transfer.offer(piece);
    }

    /// Expects nothing more of a content from a peer.
    pub(super) fn release_all(&mut self, content: ContentId, peer: NodeId) {
        let Some(asked) = self.peers.get_mut(&peer) else { return };
        let (of, rest): (VecDeque<_>, VecDeque<_>) = asked.asking.take_all().into_iter().partition(|a| a.0 == content);
        asked.asking.asked = rest;
        of.into_iter().for_each(|(content, piece)| self.release(content, piece));
        self.rearm(Time(0), peer);
    }

    /// Sets the next deadline of a peer, or none.
    fn rearm(&mut self, now: Time, peer: NodeId) {
        let Some(asked) = self.peers.get(&peer) else { return };
        match asked.asking.due(now.max(asked.asking.since), &self.answers) {
            Some(due) => self.alarms.set(Alarm::Due(peer), due),
            None => self.alarms.clear(&Alarm::Due(peer)),
        }
    }

    /// Asks others for the last pieces when those who were asked for them take longer than others do: whoever waits for them
    /// waits for nothing else.
    pub(super) fn hurry(&mut self, now: Time, content: ContentId) {
        let Some(transfer) =
            self.contents.get(&content).filter(|transfer| transfer.wants() && transfer.order.is_known())
        else {
            return;
        };
        let here = transfer.have.count() as usize + transfer.writing.len();
        if transfer.reserved.is_empty() || transfer.total as usize > here + LAST {
            return;
        }
        // Each time more slowly: where everyone takes long, whoever goes from one to the next never has its turn.
        let wait = self.answers.pace.map_or(SLACK, |pace| (pace * HURRY).max(SOON)) * (1 << transfer.hurried.min(6));
        let is_quiet = |peer: &NodeId| self.peers.get(peer).is_some_and(|peer| now.since(peer.asking.since) >= wait);
        let is_fit = |peer: &NodeId, piece: PieceNo| {
            let partner = transfer.partners.get(peer).filter(|partner| partner.role == Role::Agent);
            let room = self.peers.get(peer).is_some_and(|peer| peer.asking.answers() && peer.asking.len() == 0);
            room && partner.is_some_and(|partner| partner.have.contains(piece))
        };
        let mut moves: Vec<(PieceNo, NodeId, NodeId)> = Vec::new();
        for (piece, at) in transfer.reserved.iter().filter(|(_, at)| is_quiet(at)) {
            let is_taken = |peer: &NodeId| moves.iter().any(|(_, _, to)| to == peer);
            let fit = transfer.partners.keys().filter(|peer| *peer != at && !is_taken(peer) && is_fit(peer, *piece));
            if let Some(to) = fit.min_by_key(|peer| self.peers.get(peer).map(|peer| peer.asking.doubt())) {
                moves.push((*piece, *at, *to));
            }
        }
        if let Some(transfer) = self.contents.get_mut(&content) {
            transfer.hurried += u32::from(!moves.is_empty());
        }
        for (piece, from, to) in moves {
            if let Some(transfer) = self.contents.get_mut(&content) {
                transfer.reserved.remove(&piece);
                transfer.spare(from);
                self.window = self.window.saturating_sub(transfer.piece_bytes);
            }
            if let Some(asked) = self.peers.get_mut(&from) {
                asked.asking.remove(content, piece);
                asked.asking.passed_over += 1;
            }
            self.out.push_back(Action::Send(from, Message::Cancel { content, piece }));
            self.rearm(now, from);
            self.reserve(now, to, content, piece);
            self.out.push_back(Action::Send(to, Message::Want { content, pieces: vec![piece] }));
        }
        self.alarms.sooner(Alarm::Behind(content), now.after(wait));
    }

    /// A payload came.
    pub(crate) fn piece(
        &mut self,
        now: Time,
        from: NodeId,
        content: ContentId,
        piece: PieceNo,
        buffer: BufferId,
        len: u32,
    ) {
        let asked = self.settle(now, from, content, piece, len);
        let Some(verdict) = self.judge(from, content, piece, len, asked) else {
            self.out.push_back(Action::Drop(buffer));
            return self.ask_elsewhere(now, content, piece);
        };
        // What was asked of the one from whom it should come anyway came from it as it should.
        let is_agent = self.peers.get(&from).is_some_and(|peer| peer.role == Role::Agent);
        let transfer = self.contents.get_mut(&content);
        // A page that came down the other tree says nothing of how its own does.
        let is_its = |t: &super::Transfer| !(is_agent && t.goes_everywhere(piece)) || t.order.is_next_to(from, piece);
        let shows = |t: &super::Transfer| (!asked && is_its(t)) || t.order.parent(piece) == Some(from);
        if let Some(transfer) = transfer.filter(|t| shows(t)) {
            match transfer.passed(now, piece) {
                true => self.watch(now, content, false),
                false => self.seek(now, content),
            }
        }
        match verdict {
            Taken::Now => self.take(now, from, content, piece, buffer, len),
            Taken::Soon => {
                if let Some(transfer) = self.contents.get_mut(&content) {
                    transfer.parked.push(Parked { piece, buffer, from, len });
                    transfer.misses_pages(now, from);
                }
            }
            Taken::Never => {
                self.out.push_back(Action::Drop(buffer));
                self.refuse_push(content, piece, from);
            }
        }
        self.ask(now, from);
    }

    /// What came is of no use: whoever else holds the piece may be asked for it.
    fn ask_elsewhere(&mut self, now: Time, content: ContentId, piece: PieceNo) {
        if let Some(transfer) = self.contents.get_mut(&content).filter(|transfer| piece.0 < transfer.total) {
            transfer.offer(piece);
        }
        self.ask_all(now);
    }

    /// Takes a piece off what was asked of a peer; whether it was on it.
    fn settle(&mut self, now: Time, from: NodeId, content: ContentId, piece: PieceNo, len: u32) -> bool {
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        if !peer.asking.remove(content, piece) {
            return false;
        }
        let usual = self.contents.get(&content).map_or(0, |transfer| transfer.piece_bytes);
        let is_short = u64::from(len) * SHORT < usual;
        let took = peer.asking.delivered(now, is_short);
        match is_short {
            true => {
                self.answers.guess = Some((took * (usual / u64::from(len.max(1))) as u32).min(self.settings.patience))
            }
            false => self.answers.note(took),
        }
        if let Some(transfer) = self.contents.get_mut(&content) {
            transfer.reserved.remove(&piece);
            self.window = self.window.saturating_sub(transfer.piece_bytes);
        }
        self.rearm(now, from);
        true
    }

    /// What to do with a payload; nothing with one that is a copy or a fault.
    fn judge(&mut self, from: NodeId, content: ContentId, piece: PieceNo, len: u32, asked: bool) -> Option<Taken> {
        let role = self.peers.get(&from).map(|peer| peer.role)?;
        let is_full = self.unwritten() >= self.settings.window_bytes;
        let transfer = self.contents.get_mut(&content)?;
        let fault = if piece.0 >= transfer.total {
            Some(Misbehaviour::NoSuchPiece)
        } else if !transfer.fits(piece, len) {
            Some(Misbehaviour::WrongLength)
        } else if !asked && role != Role::Origin && !transfer.may_come_from(from, piece) {
            transfer.unasked(from).then_some(Misbehaviour::UnaskedPieces)
        } else {
            None
        };
        if let Some(fault) = fault {
            self.convict(from, fault);
            return None;
        }
        if transfer.have.contains(piece) || transfer.writing.contains_key(&piece) {
            return None;
        }
        if !asked && is_full {
            return Some(Taken::Never);
        }
        let room = (transfer.parked.len() as u64) * transfer.piece_bytes < self.settings.window_bytes;
        // What is passed on may come before the pages that say how it must be.
        let is_early = matches!(transfer.stage, Stage::Pages | Stage::Indexing);
        let parkable = is_early && !transfer.parked.iter().any(|parked| parked.piece == piece);
        Some(match (transfer.can_take(piece), parkable && room) {
            (true, _) => Taken::Now,
            (false, true) => Taken::Soon,
            (false, false) => Taken::Never,
        })
    }

    fn take(&mut self, now: Time, from: NodeId, content: ContentId, piece: PieceNo, buffer: BufferId, len: u32) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        let other = transfer.reserved.remove(&piece);
        transfer.writing.insert(piece, from);
        transfer.last_arrival = now;
        // What was in vain while a network was cut says nothing of one that brings pieces again.
        transfer.stalls = transfer.stalls.min(1);
        let progress = &mut transfer.progress;
        if progress.from_origin + progress.from_peers == 0 {
            self.out.push_back(Action::FirstByte(content));
        }
        match self.peers.get(&from).is_some_and(|peer| peer.role == Role::Agent) {
            true => {
                progress.from_peers += u64::from(len);
                transfer.is_plain = false;
                transfer.partner_has(now, from, piece);
            }
            false => progress.from_origin += u64::from(len),
        }
        self.out.push_back(Action::Write(content, piece, buffer));
        self.alarms.set(Alarm::Stalled(content), now.after(self.bears(content)));
        if let Some(other) = other {
            self.call_off(now, other, content, piece);
        }
    }

    /// A piece came from elsewhere: it need not be sent by whom we asked.
    pub(super) fn call_off(&mut self, now: Time, peer: NodeId, content: ContentId, piece: PieceNo) {
        if let Some(transfer) = self.contents.get_mut(&content) {
            self.window = self.window.saturating_sub(transfer.piece_bytes);
            transfer.spare(peer);
        }
        if let Some(asked) = self.peers.get_mut(&peer) {
            asked.asking.remove(content, piece);
        }
        self.out.push_back(Action::Send(peer, Message::Cancel { content, piece }));
        self.rearm(now, peer);
        self.ask(now, peer);
    }

    /// Payloads that came too early may be verified now; others are of no use any more.
    pub(super) fn unpark(&mut self, now: Time, content: ContentId) {
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        for parked in std::mem::take(&mut transfer.parked) {
            let Parked { piece, buffer, from, len } = parked;
            let Some(transfer) = self.contents.get_mut(&content) else { return };
            match (transfer.have.contains(piece) || transfer.writing.contains_key(&piece), transfer.can_take(piece)) {
                (true, _) => self.out.push_back(Action::Drop(buffer)),
                (false, true) => self.take(now, from, content, piece, buffer, len),
                (false, false) => transfer.parked.push(parked),
            }
        }
    }

    // When it does not come.

    /// A peer cannot send what we asked for, or could not keep what we pushed.
    pub(super) fn cannot(&mut self, now: Time, from: NodeId, content: ContentId, piece: PieceNo) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if piece.0 >= transfer.total {
            return self.convict(from, Misbehaviour::NoSuchPiece);
        }
        if !peer.asking.remove(content, piece) {
            transfer.is_full(from);
            return self.push_failed(content, piece, from);
        }
        peer.asking.since = now;
        transfer.is_plain &= peer.role != Role::Origin;
        let liar = peer.role == Role::Agent && transfer.claimed_falsely(from, piece);
        transfer.partner_lacks(from, piece);
        self.release(content, piece);
        self.rearm(now, from);
        match liar {
            true => self.convict(from, Misbehaviour::FalseHaves),
            false => self.ask_all(now),
        }
    }

    /// A peer delivered nothing in time: all that was asked of it is asked for elsewhere, and it is asked for less.
    pub(super) fn late(&mut self, now: Time, peer: NodeId) {
        let Some(asked) = self.peers.get_mut(&peer) else { return };
        let given_up = asked.asking.take_all();
        asked.asking.lates += 1;
        self.answers.lates += 1;
        asked.asking.allowed = 1;
        asked.asking.is_blocked = true;
        let wait = (asked.asking.usual(&self.answers) * BLOCKS * (1 << asked.asking.lates.min(7))).min(LONGEST);
        self.alarms.set(Alarm::Unblock(peer), now.after(wait));
        for (content, piece) in given_up {
            if let Some(transfer) = self.contents.get_mut(&content) {
                transfer.spare(peer);
            }
            self.out.push_back(Action::Event(Event::Late { from: peer, content, piece }));
            self.out.push_back(Action::Send(peer, Message::Cancel { content, piece }));
            self.release(content, piece);
        }
        self.reconsider();
        self.ask_all(now);
    }

    /// Who answers has changed: finds out again what of everyone's is of use.
    fn reconsider(&mut self) {
        self.contents.values_mut().filter(|transfer| transfer.wants()).for_each(|transfer| transfer.reconsider());
    }

    pub(super) fn unblock(&mut self, now: Time, peer: NodeId) {
        if let Some(asked) = self.peers.get_mut(&peer) {
            asked.asking.is_blocked = false;
        }
        self.reconsider();
        self.ask(now, peer);
    }

    /// Nothing came for a while although pieces are missing: the source is asked directly.
    pub(super) fn stalled(&mut self, now: Time, content: ContentId) {
        let patience = self.bears(content);
        let Some(transfer) = self.contents.get_mut(&content) else { return };
        if transfer.push.is_some() && transfer.stage == Stage::Complete {
            return self.give_up_pushing(content);
        }
        if !transfer.wants() {
            return;
        }
        self.alarms.set(Alarm::Stalled(content), now.after(patience));
        if now.since(transfer.last_arrival) < patience || self.settings.role != Role::Agent {
            return self.ask_all(now);
        }
        // What came too early does not wait for ever for what it needs: only until a source was asked for that as well.
        let hopeless = if transfer.is_plain { std::mem::take(&mut transfer.parked) } else { Vec::new() };
        for parked in hopeless {
            self.out.push_back(Action::Drop(parked.buffer));
        }
        transfer.stalls += 1;
        self.take_plain_road(now, content, "nothing came from any neighbour in time");
        self.ask_all(now);
    }

    /// How long nothing may come of a content before a source is asked: longer where pieces take long, and each time in vain.
    pub(super) fn bears(&self, content: ContentId) -> Duration {
        let Some(transfer) = self.contents.get(&content) else { return self.settings.patience };
        let known = transfer.order.usual().into_iter().chain(self.answers.pace).max();
        let usual = known.or(transfer.shown).unwrap_or_default();
        let [least, most] = [transfer.stalls.min(DOUBLED), DOUBLED].map(|times| self.settings.patience * (1 << times));
        (usual * PATIENT).clamp(least, most)
    }

    /// Asks a source directly for what is missing; it says then what else it could be asked for.
    pub(super) fn take_plain_road(&mut self, now: Time, content: ContentId, why: &str) {
        let Some(transfer) = self.contents.get_mut(&content).filter(|transfer| transfer.wants()) else { return };
        transfer.is_plain = true;
        transfer.order.pull_all();
        transfer.reconsider();
        let missing = transfer.missing(AHEAD);
        self.ask_sources(now, content, &missing, why);
    }

    /// Asks a source for a few pieces, whether it says that it has them or not.
    fn ask_sources(&mut self, now: Time, content: ContentId, pieces: &[PieceNo], why: &str) {
        let mut sources = self.peers.iter().filter(|(_, p)| p.role == Role::Origin && p.asking.has_room());
        let Some(source) = sources.next().map(|(peer, _)| *peer) else { return };
        // As long as nobody has shown how long a piece takes: where links are slow everyone comes to this point at once, and one
        // piece for each of them is as much as the link of a source should bear. Each that comes makes room for one more.
        let most = if self.answers.known().is_some() { AHEAD } else { 1 };
        if let Some(asked) = self.peers.get_mut(&source) {
            asked.asking.allowed = asked.asking.allowed.min(most);
        }
        let pieces: Vec<PieceNo> = pieces.iter().take(most).copied().collect();
        if pieces.is_empty() {
            return;
        }
        pieces.iter().for_each(|piece| self.reserve(now, source, content, *piece));
        self.out.push_back(Action::Send(source, Message::Want { content, pieces }));
        self.out.push_back(Action::Event(Event::PlainRoad { content, why: why.to_owned() }));
    }
}

/// What becomes of a payload.
enum Taken {
    Now,
    Soon,
    Never,
}

impl super::Transfer {
    /// What was given up may still come once.
    fn spare(&mut self, peer: NodeId) {
        if let Some(partner) = self.partners.get_mut(&peer) {
            partner.spared += 1;
        }
    }

    /// Notes a payload that nobody asked for; whether that is too often.
    fn unasked(&mut self, peer: NodeId) -> bool {
        let Some(partner) = self.partners.get_mut(&peer) else { return false };
        match partner.spared {
            0 => partner.unasked += 1,
            _ => partner.spared -= 1,
        }
        partner.unasked > UNASKED
    }

    /// Notes a piece that a peer claimed and has not; whether that is too often.
    fn claimed_falsely(&mut self, peer: NodeId, piece: PieceNo) -> bool {
        let Some(partner) = self.partners.get_mut(&peer).filter(|p| p.have.contains(piece)) else { return false };
        partner.false_haves.push(piece);
        partner.false_haves.len() > STRIKES as usize
    }

    /// A neighbour cannot take pushes for now.
    fn is_full(&mut self, peer: NodeId) {
        self.change(peer, |partner| partner.full = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_whoever_delivers_is_in_less_doubt_than_a_stranger_and_who_was_waited_for_in_vain() {
        let new = || Asking::new(Role::Agent, Duration::from_secs(1));
        let (stranger, mut generous, mut waited_for) = (new(), new(), new());
        generous.delivered(Time(5), false);
        waited_for.delivered(Time(5), false);
        waited_for.passed_over += 1;
        assert!(generous.doubt() < stranger.doubt() && stranger.doubt() < waited_for.doubt());
        waited_for.delivered(Time(9), false);
        assert_eq!(waited_for.doubt(), generous.doubt(), "it has made good");
    }
}
