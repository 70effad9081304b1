//! Whether a release that a path was swung to is well: its command, and rounds of probes over its window.

use crate::door::{Moment, Time};
use content::ReleaseId;
use content::care::Health;
use std::collections::VecDeque;
use std::time::Duration;

/// What is found out after a switch.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) release: ReleaseId,
    /// The command that is still to run, and of which release.
    due: Option<(ReleaseId, Moment)>,
    /// How long it must be well, and until when that is.
    window: Duration,
    until: Time,
    health: Health,
    /// How the last rounds went.
    rounds: VecDeque<bool>,
    next: Time,
    was_well: bool,
    /// What did not go well last.
    why: Option<String>,
}

/// What a trial wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Run(ReleaseId, Moment),
    Probe,
    Wait(Time),
    Confirm,
    GiveUp(String),
}

impl Trial {
    /// A trial of a release, from now on.
    pub(super) fn new(now: Time, release: ReleaseId, health: &Health, window: Duration) -> Self {
        let (due, rounds) = (None, VecDeque::new());
        let (until, health) = (now.after(window), health.clone());
        Self { release, due, window, until, health, rounds, next: now, was_well: false, why: None }
    }

    /// No trial at all: a release to which a node went back, and nowhere further.
    pub(super) fn none(now: Time, release: ReleaseId) -> Self {
        Self::new(now, release, &Health::default(), Duration::ZERO)
    }

    /// First this command is run.
    pub(super) fn after(mut self, of: ReleaseId, moment: Moment) -> Self {
        self.due = Some((of, moment));
        self
    }

    pub(super) fn next(&self, now: Time) -> Next {
        if let Some((of, moment)) = self.due {
            return Next::Run(of, moment);
        }
        let is_over = now >= self.until;
        if self.health.probes.is_empty() {
            return if is_over { Next::Confirm } else { Next::Wait(self.until) };
        }
        let all = self.rounds.len() >= usize::from(self.health.of);
        match self.is_well() {
            true if is_over => Next::Confirm,
            false if self.was_well || is_over && all => Next::GiveUp(self.said()),
            _ if now >= self.next => Next::Probe,
            is_well => Next::Wait(if is_well { self.next.min(self.until) } else { self.next }),
        }
    }

    fn said(&self) -> String {
        let good = self.rounds.iter().filter(|fine| **fine).count();
        let why = self.why.as_deref().unwrap_or("its probes did not go well");
        format!("not healthy, {good} of the last {} rounds of probes went well: {why}", self.rounds.len())
    }

    fn is_well(&self) -> bool {
        self.rounds.iter().filter(|fine| **fine).count() >= usize::from(self.health.need)
    }

    /// The command has run, however it went: the window begins.
    pub(super) fn ran(&mut self, now: Time) {
        (self.due, self.next, self.until) = (None, now, now.after(self.window));
    }

    /// A round of probes has ended.
    pub(super) fn probed(&mut self, now: Time, outcome: Result<(), String>) {
        self.rounds.push_back(outcome.is_ok());
        while self.rounds.len() > usize::from(self.health.of) {
            self.rounds.pop_front();
        }
        self.why = outcome.err().or(self.why.take());
        self.was_well |= self.is_well();
        self.next = now.after(Duration::from_millis(self.health.every_ms.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::Digest;
    use content::care::Probe;

    const NOW: Time = Time(1_000_000_000);

    fn at(ms: u64) -> Time {
        NOW.after(Duration::from_millis(ms))
    }

    fn trial(window_ms: u64) -> Trial {
        let probes = vec![Probe::Unit("web.service".to_owned())];
        let health = Health { probes, every_ms: 100, need: 2, of: 3 };
        Trial::new(NOW, ReleaseId(Digest::of(b"one")), &health, Duration::from_millis(window_ms))
    }

    /// Runs a trial whose rounds go like this, one by one; when it ended, and how.
    fn runs(window_ms: u64, fine: impl Fn(u64) -> bool) -> (u64, Next) {
        let (mut trial, mut now) = (trial(window_ms), NOW);
        loop {
            match trial.next(now) {
                Next::Probe => {
                    let ms = now.since(NOW).as_millis() as u64;
                    trial.probed(now, if fine(ms) { Ok(()) } else { Err(format!("bad at {ms}")) });
                }
                Next::Wait(until) => now = until,
                end => return (now.since(NOW).as_millis() as u64, end),
            }
        }
    }

    #[test]
    fn what_is_well_to_the_end_is_confirmed_then() {
        assert_eq!(runs(1000, |_| true), (1000, Next::Confirm));
        assert_eq!(runs(0, |_| true), (100, Next::Confirm), "without a window it takes as many rounds as are needed");
    }

    #[test]
    fn what_takes_a_while_to_start_is_waited_for_as_long_as_the_window() {
        assert_eq!(runs(1000, |ms| ms > 700), (1000, Next::Confirm));
        let (when, end) = runs(1000, |_| false);
        assert!(matches!(end, Next::GiveUp(why) if why.contains("0 of the last 3") && why.contains("bad at")));
        assert_eq!(when, 1000);
    }

    #[test]
    fn d13_what_was_well_and_is_not_any_more_is_given_up_at_once_and_one_bad_round_is_borne() {
        let (when, end) = runs(10_000, |ms| ms < 500);
        assert!(matches!(end, Next::GiveUp(_)) && when == 600, "{when}");
        assert_eq!(runs(1000, |ms| ms != 500), (1000, Next::Confirm));
    }

    #[test]
    fn d13_flapping_ends_one_way_and_once() {
        let (when, end) = runs(10_000, |ms| ms / 100 % 2 == 0);
        assert!(matches!(end, Next::GiveUp(_)), "{when} {end:?}");
    }

    #[test]
    fn a_command_comes_first_and_probes_begin_when_it_has_ended() {
        let of = ReleaseId(Digest::of(b"one"));
        let mut trial = trial(1000).after(of, Moment::After);
        assert_eq!(trial.next(NOW), Next::Run(of, Moment::After));
        trial.ran(at(300));
        assert_eq!(trial.next(at(300)), Next::Probe);
        trial.probed(at(1100), Ok(()));
        trial.probed(at(1200), Ok(()));
        assert_eq!(trial.next(at(1250)), Next::Wait(at(1300)), "the window begins when the command has ended");
        assert_eq!(trial.next(at(1300)), Next::Confirm);
    }
}
