//! What to send to whom: one piece at a time and the next in line, in turn to those that asked.

use super::{Action, Alarm, Swarm};
use crate::door::{Message, Time};
use content::{ContentId, NodeId, PieceNo, Role};
use std::collections::VecDeque;
use std::time::Duration;

/// Pieces that the driver may have for sending at once, and for one peer: the one that is being sent, and the next. More would
/// split the link between many. Beside a given order few flows are best; without one a slow peer must not take all places.
const SENDS: [usize; 2] = [2, 1];
const SENDS_IN_MESH: [usize; 2] = [4, 2];
/// Pieces that one peer may have asked for at once.
pub(super) const QUEUED: usize = 256;

/// So few pieces that wait for a child are topped up with older ones that it lacks.
const REFILL: usize = 16;

/// Whoever takes longer than this part of the patience for a piece holds up nobody else beside a given order.
const STUCK: u32 = 8;
/// Every so many-th piece goes to someone who asked for it, even if others are to be passed on.
const ASKED_FOR: u32 = 6;

/// What a peer may ask for while it is connected, beyond the whole of a content: such a part of it, and so many pieces.
const AGAIN: u32 = 4;
const LEAST_AGAIN: u32 = 64;

/// Pieces in a row that a publisher may fail to read.
const UNREAD: u32 = 32;

/// What is being sent to one peer, and what it waits for.
#[derive(Debug, Default)]
pub(super) struct Serving {
    queue: VecDeque<Due>,
    sending: VecDeque<(ContentId, PieceNo)>,
    /// Its link is stuck; what is on it holds up nobody else.
    is_stuck: bool,
    /// How many pieces it asked for, of each content, and since when its share grows.
    asked: Vec<(ContentId, u32, Option<Time>)>,
    /// When it was last given more than its share.
    beyond: Option<Time>,
    pub(super) is_lined_up: bool,
}

/// A piece that a peer is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    content: ContentId,
    piece: PieceNo,
    /// It did not ask: it need not be sent if it has it by then.
    is_passed_on: bool,
    /// Nothing can be verified without it, nor passed on.
    is_page: bool,
}

impl Due {
    /// Whether others wait for it to come through whoever gets it.
    fn goes_first(&self) -> bool {
        self.is_passed_on || self.is_page
    }
}

impl Serving {
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.sending.len()
    }

    /// Whether so many pieces wait that are passed on; what was asked for does not count.
    pub(super) fn is_behind(&self, most: usize) -> bool {
        self.queue.len() >= most && self.queue.iter().filter(|due| due.is_passed_on).count() >= most
    }

    /// Takes a request; false when it asked for too much already.
    pub(super) fn queue(&mut self, content: ContentId, piece: PieceNo, is_page: bool) -> bool {
        // What is passed on anyway keeps its turn.
        if self.queue.iter().any(|due| (due.content, due.piece) == (content, piece)) {
            return true;
        }
        if self.sending.contains(&(content, piece)) {
            return true;
        }
        let room = self.queue.len() < QUEUED;
        if room {
            self.asked_of(content).1 += 1;
        }
        let due = Due { content, piece, is_passed_on: false, is_page };
        match (room, is_page) {
            (true, true) => self.queue.push_front(due),
            (true, false) => self.queue.push_back(due),
            (false, _) => {}
        }
        room
    }

    /// Adds what is passed on unasked.
    pub(super) fn push(&mut self, content: ContentId, piece: PieceNo) {
        let is_known = self.queue.iter().any(|due| (due.content, due.piece) == (content, piece));
        if !is_known && !self.sending.contains(&(content, piece)) {
            self.queue.push_back(Due { content, piece, is_passed_on: true, is_page: false });
        }
    }

    /// Takes a piece out; whether it was to be passed on, if it was there.
    pub(super) fn cancel(&mut self, content: ContentId, piece: PieceNo) -> Option<bool> {
        let at = self.queue.iter().position(|due| (due.content, due.piece) == (content, piece));
        let gone = at.and_then(|at| self.queue.remove(at)).map(|due| due.is_passed_on);
        if gone == Some(false) {
            let asked = self.asked_of(content);
            asked.1 = asked.1.saturating_sub(1);
        }
        gone
    }

    pub(super) fn forget(&mut self, content: ContentId) {
        self.queue.retain(|due| due.content != content);
    }

    fn asked_of(&mut self, content: ContentId) -> &mut (ContentId, u32, Option<Time>) {
        let at = self.asked.iter().position(|(of, ..)| *of == content).unwrap_or_else(|| {
            self.asked.push((content, 0, None));
            self.asked.len() - 1
        });
        &mut self.asked[at]
    }

    /// Whether a peer may have a piece of a content of so many for the asking: one that it holds by its own word it gets once in
    /// such a while only. Its share is what there is and some more, and another piece for each such while: who asks again and again
    /// because what is sent to it is lost on the way must come to an end as well.
    pub(super) fn may_have(
        &mut self,
        now: Time,
        content: ContentId,
        (total, has_it): (u32, bool),
        every: Duration,
    ) -> bool {
        if !has_it {
            let (_, asked, since) = self.asked_of(content);
            let grown = now.since(*since.get_or_insert(now)).as_millis() / every.as_millis().max(1);
            return u128::from(*asked) < u128::from(total + total / AGAIN + LEAST_AGAIN) + grown;
        }
        let is_due = self.beyond.is_none_or(|last| now.since(last) >= every);
        if is_due {
            self.beyond = Some(now);
        }
        is_due
    }

    /// What counts against the link.
    pub(super) fn counted(&self) -> usize {
        if self.is_stuck { 0 } else { self.sending.len() }
    }

    fn has_room(&self, most: usize) -> bool {
        !self.is_stuck && self.sending.len() < most
    }
}

impl Swarm {
    /// A peer has asked for something.
    pub(super) fn line_up(&mut self, peer: NodeId) {
        let Some(serving) = self.peers.get_mut(&peer).map(|peer| &mut peer.serving) else { return };
        if !serving.is_lined_up && !serving.queue.is_empty() {
            serving.is_lined_up = true;
            self.ring.push_back(peer);
        }
    }

    /// Gives the driver as much to send as the link should have: mostly what is pushed or passed on, since others wait for it to
    /// come through us; now and then what was asked for, which may be had elsewhere.
    pub(super) fn send_more(&mut self, now: Time) {
        while self.sending < self.sends()[0] {
            self.turn = self.turn.wrapping_add(1);
            let next = match self.turn % ASKED_FOR {
                _ if self.stripes.is_none() => self.next_request().or_else(|| self.next_push(now)),
                0 => self.next_request().or_else(|| self.next_push(now)),
                _ => self.next_passed_on().or_else(|| self.next_push(now)).or_else(|| self.next_if_idle()),
            };
            let Some((content, piece, to)) = next else { return };
            self.send_piece(now, content, piece, to);
        }
    }

    /// What was asked for, when there is nothing else to send. While a source gives something out, whoever asked would share the
    /// link with that, and everyone waits for it: then it has its turn, and no more.
    fn next_if_idle(&mut self) -> Option<(ContentId, PieceNo, NodeId)> {
        let gives = self.sending > 0 && self.contents.values().any(|transfer| transfer.gives());
        if gives { None } else { self.next_request() }
    }

    /// How long something may be on its way out before others need not wait for it: with few places at once, not long.
    fn stuck_after(&self) -> Duration {
        if self.stripes.is_some() { self.settings.patience / STUCK } else { self.settings.patience }
    }

    fn sends(&self) -> [usize; 2] {
        if self.stripes.is_some() { SENDS } else { SENDS_IN_MESH }
    }

    /// The next piece that is passed on, in turn to those that get some.
    fn next_passed_on(&mut self) -> Option<(ContentId, PieceNo, NodeId)> {
        if self.settings.role != Role::Agent {
            return None;
        }
        let most = self.sends()[1];
        let is_due = |peer: &NodeId| {
            let serving = self.peers.get(peer).map(|peer| &peer.serving).filter(|serving| serving.has_room(most));
            serving.is_some_and(|serving| serving.queue.iter().any(Due::goes_first))
        };
        let at = self.ring.iter().position(is_due)?;
        let peer = self.ring.remove(at)?;
        let due = self.next_due(peer, Due::goes_first);
        self.line_up_again(peer);
        due.map(|due| (due.content, due.piece, peer)).or_else(|| self.next_passed_on())
    }

    fn line_up_again(&mut self, peer: NodeId) {
        let Some(serving) = self.peers.get_mut(&peer).map(|peer| &mut peer.serving) else { return };
        serving.is_lined_up = !serving.queue.is_empty();
        if serving.is_lined_up {
            self.ring.push_back(peer);
        }
    }

    fn next_request(&mut self) -> Option<(ContentId, PieceNo, NodeId)> {
        for _ in 0..self.ring.len() {
            let peer = self.ring.pop_front()?;
            let next = self.next_due(peer, |_| true);
            self.line_up_again(peer);
            if let Some(due) = next {
                return Some((due.content, due.piece, peer));
            }
        }
        None
    }

    /// The next piece of some kind for a peer that it still needs.
    fn next_due(&mut self, peer: NodeId, suits: fn(&Due) -> bool) -> Option<Due> {
        let most = self.sends()[1];
        loop {
            let serving =
                self.peers.get_mut(&peer).map(|peer| &mut peer.serving).filter(|serving| serving.has_room(most))?;
            let at = serving.queue.iter().position(suits)?;
            let due = serving.queue.remove(at)?;
            if due.is_passed_on && serving.queue.len() < REFILL {
                self.catch_up(due.content, peer);
            }
            let has_it = |transfer: &super::Transfer| {
                transfer.partners.get(&peer).is_none_or(|partner| partner.have.contains(due.piece))
            };
            if !due.is_passed_on || !self.contents.get(&due.content).is_none_or(|transfer| has_it(transfer)) {
                return Some(due);
            }
        }
    }

    fn send_piece(&mut self, now: Time, content: ContentId, piece: PieceNo, to: NodeId) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if let Some(transfer) = self.contents.get_mut(&content) {
            transfer.push_went_to(now, piece, to);
        }
        // What is pushed to it may be what it asked for as well.
        peer.serving.cancel(content, piece);
        peer.serving.sending.push_back((content, piece));
        self.sending += peer.serving.counted().min(1);
        self.alarms.ensure(Alarm::Stuck(to), now.after(self.stuck_after()));
        self.out.push_back(Action::SendPiece(to, content, piece));
    }

    /// A piece has left, or could not be sent (then `bytes` is zero).
    pub(crate) fn sent(&mut self, now: Time, to: NodeId, content: ContentId, piece: PieceNo, bytes: u32) {
        if let Some(transfer) = self.contents.get_mut(&content) {
            transfer.progress.sent += u64::from(bytes);
            transfer.push_left(to);
            transfer.unread = if bytes > 0 { 0 } else { transfer.unread };
        }
        if bytes == 0 {
            self.push_failed(content, piece, to);
        }
        self.note_send(content, bytes > 0);
        let Some(peer) = self.peers.get_mut(&to) else { return self.send_more(now) };
        let was = peer.serving.counted();
        let Some(at) = peer.serving.sending.iter().position(|sending| *sending == (content, piece)) else { return };
        peer.serving.sending.remove(at);
        peer.serving.is_stuck = false;
        self.sending = self.sending + peer.serving.counted() - was;
        match peer.serving.sending.is_empty() {
            true => self.alarms.clear(&Alarm::Stuck(to)),
            false => self.alarms.set(Alarm::Stuck(to), now.after(self.stuck_after())),
        }
        if bytes == 0 {
            self.out.push_back(Action::Send(to, Message::Cannot { content, piece }));
            self.cannot_read(content, to);
        }
        self.send_more(now);
    }

    /// A publisher is the only one who has what it publishes: it says so again, and gives up when it cannot read for long.
    fn cannot_read(&mut self, content: ContentId, to: NodeId) {
        let Some(transfer) = self.contents.get_mut(&content).filter(|_| self.settings.role == Role::Operator) else {
            return;
        };
        transfer.unread += 1;
        match transfer.unread > UNREAD {
            true => self.out.push_back(Action::Incomplete(content)),
            false => self.tell_holding(content, to),
        }
    }

    /// Nothing left towards a peer for long: others need not wait for it.
    pub(super) fn stuck(&mut self, now: Time, peer: NodeId) {
        if let Some(serving) = self.peers.get_mut(&peer).map(|peer| &mut peer.serving) {
            self.sending -= serving.counted();
            serving.is_stuck = true;
        }
        self.send_more(now);
    }
}

impl super::Transfer {
    /// Something left towards a neighbour: it can take the next push.
    fn push_left(&mut self, to: NodeId) {
        self.change(to, |partner| partner.pushing = partner.pushing.saturating_sub(1));
    }
}
