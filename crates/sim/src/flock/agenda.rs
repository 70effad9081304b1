//! What happens when: events in the order of time, and of their making when they are at the same time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Something that happens to one node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) at: u64,
    made: u64,
    pub(super) node: u32,
    pub(super) what: What,
}

/// What happens. Numbers only, so that a million of them are small: messages lie elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// The engine's deadline may have come.
    Tick,
    /// The machine starts.
    Boot,
    /// It is silent from now on.
    Dies { power: bool },
    /// Its machine does something else for so many microseconds.
    Pauses { micros: u32 },
    /// A message has come over a lane. `joins`: in a packet with another. `paid`: the processor has its turn now.
    Message { lane: u32, slot: u32, joins: bool, paid: bool },
    /// A payload has come over a lane.
    Piece { lane: u32, piece: u32, content: u8, corrupt: bool, paid: bool },
    /// A payload is ready to be sent: a shared processor has had time for it.
    Ready { lane: u32, piece: u32, content: u8 },
    /// A payload was taken by the kernel.
    Sent { lane: u32, piece: u32, content: u8 },
    /// The link up is free for the next payload.
    Free,
    /// A job is done.
    Job { job: u32, how: How },
    /// Something was appended, and the journal stands there now.
    Appended { append: u32, index: u32 },
    /// A dialled connection stands, or cannot.
    Dialled { to: u32 },
    /// A connection is over; the other side is that one.
    Down { peer: u32, broken: bool },
    /// A publisher is started, on shared processors.
    Start,
    /// A publisher hands its release in.
    Publish,
    /// A machine asks to be enrolled; its name reaches the origin.
    Enrol { joiner: u32 },
}

impl What {
    /// Whether it waits until the machine's processor has time for it.
    pub(super) fn takes_the_processor(&self) -> bool {
        matches!(
            self,
            Self::Tick
                | Self::Message { .. }
                | Self::Piece { .. }
                | Self::Sent { .. }
                | Self::Job { .. }
                | Self::Down { .. }
        )
    }
}

/// How a job went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Opened(u8),
    Written,
    Corrupt,
    Indexed(u8),
    Completed(u8),
    Assembled,
    Accepted,
    Switched,
    Confirmed,
    Collected,
    Shunned,
    GivenUp,
    Refused,
}

impl Ord for Entry {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.made).cmp(&(self.at, self.made))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// The width of a slot: 4,096 ns.
const WIDTH: u32 = 12;
/// How many slots there are before what is far away: 67 ms. A power of two.
const SLOTS: u64 = 1 << 14;

/// All that is to happen.
///
/// A calendar (Brown, CACM 1988): what is near lies unsorted in the slot of its time, and is sorted when its slot has come.
/// So a million events under way cost as little as a few.
#[derive(Debug)]
pub(super) struct Agenda {
    /// The slot that has come: what is in it and before it.
    now: BinaryHeap<Entry>,
    slot: u64,
    slots: Vec<Vec<Entry>>,
    /// Room that slots have done with: they would keep as much as they ever needed, each.
    spare: Vec<Vec<Entry>>,
    /// How many entries lie in slots.
    near: usize,
    far: BinaryHeap<Entry>,
    made: u64,
}

impl Default for Agenda {
    fn default() -> Self {
        let slots = vec![Vec::new(); SLOTS as usize];
        Self { now: BinaryHeap::new(), slot: 0, slots, spare: Vec::new(), near: 0, far: BinaryHeap::new(), made: 0 }
    }
}

impl Agenda {
    pub(super) fn push(&mut self, at: u64, node: u32, what: What) {
        self.made += 1;
        self.put(Entry { at, made: self.made, node, what });
    }

    fn put(&mut self, entry: Entry) {
        let slot = entry.at >> WIDTH;
        if slot <= self.slot {
            self.now.push(entry);
        } else if slot < self.slot + SLOTS {
            let entries = &mut self.slots[(slot % SLOTS) as usize];
            if entries.capacity() == 0 {
                *entries = self.spare.pop().unwrap_or_default();
            }
            entries.push(entry);
            self.near += 1;
        } else {
            self.far.push(entry);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        while self.now.is_empty() {
            match self.near {
                0 => self.slot = self.far.peek()?.at >> WIDTH,
                _ => self.slot += 1,
            }
            self.turn_page();
        }
        self.now.pop()
    }

    /// The next entry, if it is not later than that.
    pub(super) fn pop_until(&mut self, then: u64) -> Option<Entry> {
        let entry = self.pop()?;
        if entry.at <= then {
            return Some(entry);
        }
        self.put(entry);
        None
    }

    /// A slot has come, and another one is near now.
    fn turn_page(&mut self) {
        while self.far.peek().is_some_and(|entry| entry.at >> WIDTH < self.slot + SLOTS) {
            let Some(entry) = self.far.pop() else { return };
            self.put(entry);
        }
        let mut entries = std::mem::take(&mut self.slots[(self.slot % SLOTS) as usize]);
        self.near -= entries.len();
        self.now.extend(entries.drain(..));
        if entries.capacity() > 0 {
            self.spare.push(entries);
        }
    }

    /// How many events there have been.
    pub(super) fn made(&self) -> u64 {
        self.made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_is_first_and_equal_times_keep_their_order() {
        let mut agenda = Agenda::default();
        for (at, node) in [(5, 1), (3, 2), (5, 3), (3, 4)] {
            agenda.push(at, node, What::Tick);
        }
        let order: Vec<u32> = std::iter::from_fn(|| agenda.pop()).map(|entry| entry.node).collect();
        assert_eq!(order, [2, 4, 1, 3]);
        assert!(size_of::<Entry>() <= 40);
    }

    #[test]
    fn a_calendar_is_as_a_list_that_is_sorted() {
        let (mut agenda, mut list, mut dice) = (Agenda::default(), Vec::new(), crate::dice::Dice::new(5));
        let mut now = 0;
        for nr in 0..3_000 {
            let reach = [10, 10_000, 1_000_000, 10_000_000_000][dice.below(4) as usize];
            let at = now + dice.below(reach);
            agenda.push(at, nr, What::Tick);
            list.push((at, nr));
            if dice.chance(2, 5) {
                now = agenda.pop().map_or(now, |entry| take(&mut list, entry));
            }
        }
        while let Some(entry) = agenda.pop() {
            take(&mut list, entry);
        }
        assert!(list.is_empty());
    }

    /// Takes the first out of the list, which must be that one.
    fn take(list: &mut Vec<(u64, u32)>, entry: Entry) -> u64 {
        let first = (0..list.len()).min_by_key(|at| list[*at]).expect("there is one");
        assert_eq!(list.swap_remove(first), (entry.at, entry.node));
        entry.at
    }
}
