//! Processors that several machines share: a laboratory in which every host is a process of one computer.
//!
//! Work is taken in the order in which it comes, each piece of it by the processor that is free first. A processor that is free
//! while a host is busy with something earlier takes other work: none is ever idle while there is any.

use std::time::Duration;

/// The processors of one computer.
#[derive(Debug)]
pub(super) struct Cores {
    /// Until when each has work.
    busy: Vec<u64>,
    spent: u64,
}

impl Cores {
    pub(super) fn new(number: u32) -> Self {
        Self { busy: vec![0; number.max(1) as usize], spent: 0 }
    }

    /// Takes work that comes now; when it begins.
    pub(super) fn take(&mut self, now: u64, cost: u64) -> u64 {
        let first = self.busy.iter_mut().min().expect("there is one at least");
        let begins = now.max(*first);
        *first = begins + cost;
        self.spent += cost;
        begins
    }

    /// The work that came last was not done after all.
    pub(super) fn leave(&mut self, cost: u64) {
        self.spent -= cost;
        if let Some(last) = self.busy.iter_mut().max() {
            *last -= cost.min(*last);
        }
    }

    /// All work until now.
    pub(super) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the last of so many works that come at once is done.
    fn last(cores: u32, works: u64) -> u64 {
        let mut cores = Cores::new(cores);
        (0..works).map(|_| cores.take(1_000, 100) + 100).max().expect("there is work") - 1_000
    }

    #[test]
    fn twice_the_work_takes_one_core_twice_as_long_and_two_as_long_as_before() {
        assert_eq!((last(1, 1), last(1, 2), last(2, 2), last(2, 3)), (100, 200, 100, 200));
    }

    #[test]
    fn work_begins_in_the_order_in_which_it_comes() {
        let mut cores = Cores::new(2);
        assert_eq!([500, 100, 100, 100].map(|cost| cores.take(0, cost)), [0, 0, 100, 200]);
        assert_eq!(cores.take(900, 10), 900);
        assert_eq!(cores.spent(), Duration::from_nanos(810));
    }

    #[test]
    fn work_that_was_left_is_neither_waited_for_nor_counted() {
        let mut cores = Cores::new(1);
        cores.take(0, 100);
        cores.take(0, 50);
        cores.leave(50);
        assert_eq!((cores.take(0, 1), cores.spent()), (100, Duration::from_nanos(101)));
    }
}
