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
    /// A message has come over a lane. `paid`: the processor has its turn now.
    Message { lane: u32, slot: u32, paid: bool },
    /// A payload has come over a lane.
    Piece { lane: u32, piece: u32, content: u8, corrupt: bool, paid: bool },
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
    /// A publisher hands its release in.
    Publish,
    /// A machine asks to be enrolled; its name reaches the origin.
    Enrol { joiner: u32 },
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

/// All that is to happen.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Entry>,
    made: u64,
}

impl Agenda {
    pub(super) fn push(&mut self, at: u64, node: u32, what: What) {
        self.made += 1;
        self.heap.push(Entry { at, made: self.made, node, what });
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.heap.pop()
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
}
