//! What must be done at which time: one moment per thing, set again or cleared at will.

use crate::door::Time;
use std::collections::{BTreeMap, BTreeSet};

/// Moments by what they are for.
#[derive(Debug, Clone)]
pub(crate) struct Alarms<K> {
    by_key: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
}

impl<K> Default for Alarms<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Alarms<K> {
    /// Sets the moment of a thing, in place of the one it had.
    pub(crate) fn set(&mut self, key: K, at: Time) {
        self.clear(&key);
        self.by_time.insert((at, key.clone()));
        self.by_key.insert(key, at);
    }

    /// Sets the moment of a thing unless it has one.
    pub(crate) fn ensure(&mut self, key: K, at: Time) {
        if !self.by_key.contains_key(&key) {
            self.set(key, at);
        }
    }

    /// Sets the moment of a thing unless it has an earlier one.
    pub(crate) fn sooner(&mut self, key: K, at: Time) {
        if self.by_key.get(&key).is_none_or(|known| *known > at) {
            self.set(key, at);
        }
    }

    pub(crate) fn clear(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// The first moment.
    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the first thing whose moment has come.
    pub(crate) fn due(&mut self, now: Time) -> Option<K> {
        let (at, key) = self.by_time.first()?.clone();
        if at > now {
            return None;
        }
        self.clear(&key);
        Some(key)
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
}
