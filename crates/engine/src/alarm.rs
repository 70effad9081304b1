//! What must be done at which time: one moment per thing, set again or cleared at will.
//!
//! Most moments are deadlines that move on before they come. So the queue is not touched when a moment moves to later: it holds
//! each thing once, at that moment or an earlier one, and looks again when that one is the first. The first is always exact.

use crate::door::Time;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Moments by what they are for.
#[derive(Debug, Clone)]
pub(crate) struct Alarms<K> {
    moments: BTreeMap<K, Moment>,
    queue: BinaryHeap<Reverse<(Time, K)>>,
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    /// When it is; `None` when it was cleared and the queue has not noticed.
    at: Option<Time>,
    /// Where it stands in the queue: not after `at`.
    queued: Time,
}

impl<K: Ord> Default for Alarms<K> {
    fn default() -> Self {
        Self { moments: BTreeMap::new(), queue: BinaryHeap::new() }
    }
}

impl<K: Ord + Clone> Alarms<K> {
    /// Sets the moment of a thing, in place of the one it had.
    pub(crate) fn set(&mut self, key: K, at: Time) {
        match self.moments.get_mut(&key) {
            Some(moment) if moment.queued <= at => moment.at = Some(at),
            _ => {
                self.queue.push(Reverse((at, key.clone())));
                self.moments.insert(key, Moment { at: Some(at), queued: at });
            }
        }
        self.look_again();
    }

    /// Sets the moment of a thing unless it has one.
    pub(crate) fn ensure(&mut self, key: K, at: Time) {
        if self.at(&key).is_none() {
            self.set(key, at);
        }
    }

    /// Sets the moment of a thing unless it has an earlier one.
    pub(crate) fn sooner(&mut self, key: K, at: Time) {
        if self.at(&key).is_none_or(|known| known > at) {
            self.set(key, at);
        }
    }

    pub(crate) fn clear(&mut self, key: &K) {
        if let Some(moment) = self.moments.get_mut(key) {
            moment.at = None;
            self.look_again();
        }
    }

    /// Whether the moment of a thing has come.
    pub(crate) fn is_due(&self, key: &K, now: Time) -> bool {
        self.at(key).is_some_and(|at| at <= now)
    }

    fn at(&self, key: &K) -> Option<Time> {
        self.moments.get(key).and_then(|moment| moment.at)
    }

    /// The first moment.
    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the first thing whose moment has come.
    pub(crate) fn due(&mut self, now: Time) -> Option<K> {
        self.next().filter(|at| *at <= now)?;
        let Reverse((_, key)) = self.queue.pop()?;
        self.moments.remove(&key);
        self.look_again();
        Some(key)
    }

    /// Makes the first of the queue exact.
    fn look_again(&mut self) {
        while let Some(Reverse((queued, key))) = self.queue.peek() {
            let moment = self.moments.get_mut(key).filter(|moment| moment.queued == *queued);
            match moment.map(|moment| (moment.at, moment)) {
                Some((Some(at), _)) if at == *queued => return,
                Some((Some(at), moment)) => {
                    moment.queued = at;
                    let Some(Reverse((_, key))) = self.queue.pop() else { return };
                    self.queue.push(Reverse((at, key)));
                }
                Some((None, _)) => {
                    let Some(Reverse((_, key))) = self.queue.pop() else { return };
                    self.moments.remove(&key);
                }
                None => drop(self.queue.pop()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_due_in_order_once() {
        let mut alarms = Alarms::default();
        alarms.set("b", Time(4));
        alarms.set("a", Time(5));
        alarms.set("a", Time(1));
        alarms.ensure("a", Time(9));
        alarms.sooner("a", Time(8));
        alarms.sooner("b", Time(2));
        alarms.set("c", Time(3));
        alarms.clear(&"c");
        assert_eq!(alarms.next(), Some(Time(1)));
        assert_eq!(alarms.due(Time(0)), None);
        assert_eq!([alarms.due(Time(9)), alarms.due(Time(9)), alarms.due(Time(9))], [Some("a"), Some("b"), None]);
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn a_moment_that_moves_often_stands_in_the_queue_once() {
        let mut alarms = Alarms::default();
        alarms.set("other", Time(1));
        (2..100).for_each(|at| alarms.set("moving", Time(at)));
        alarms.clear(&"moving");
        alarms.ensure("moving", Time(50));
        assert_eq!(alarms.queue.len(), 2);
        assert_eq!([alarms.due(Time(49)), alarms.due(Time(49))], [Some("other"), None]);
        assert_eq!(
            (alarms.next(), alarms.due(Time(50)), alarms.due(Time(100))),
            (Some(Time(50)), Some("moving"), None)
        );
        assert!(alarms.moments.is_empty() && alarms.queue.is_empty());
    }

    #[test]
    fn drawn_moments_come_as_a_simple_list_says() {
        let (mut alarms, mut simple, mut chance) = (Alarms::default(), BTreeMap::new(), crate::chance::Chance::new(1));
        for now in 0..2000 {
            let (key, at) = (chance.below(20), Time(now + chance.below(40) as u64));
            match chance.below(4) {
                0 => {
                    alarms.clear(&key);
                    simple.remove(&key);
                }
                1 => {
                    alarms.ensure(key, at);
                    simple.entry(key).or_insert(at);
                }
                _ => {
                    alarms.set(key, at);
                    simple.insert(key, at);
                }
            }
            let first = || simple.iter().map(|(key, at)| (*at, *key)).min();
            assert_eq!(alarms.next(), first().map(|(at, _)| at));
            let due = first().filter(|(at, _)| *at <= Time(now)).map(|(_, key)| key);
            assert_eq!(alarms.due(Time(now)), due);
            due.map(|key| simple.remove(&key));
        }
    }
}
