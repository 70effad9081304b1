//! A flock that somebody watches and steers: its time goes on as far as it is told, and its operator does what is asked.
//!
//! The first release is everywhere when it begins. Nothing here is measured, and nothing is drawn that a measured flock draws, so its
//! figures are what they were.

use super::papers::Terms;
use super::pipes::nanos;
use super::plan::Plan;
use super::run::{Flock, ORIGIN, OUTSIDE};
use content::directive::Verb;
use content::order::{Restraint, Wave};
use content::{Directive, OrderId, ReleaseId, Signed, UnixTime};
use engine::door::{Answer, ClientId, FleetStatus, Input, Refusal, Request, RolloutState, RolloutStatus};
use std::time::Duration;

/// How much later it is after each round of waiting for an answer.
const ROUND: Duration = Duration::from_millis(1);
/// An origin that has not answered by then does not.
const PATIENCE: Duration = Duration::from_secs(10);
/// Contents have numbers of eight bits, and each release has two.
const MOST_RELEASES: usize = 120;

/// A flock's day in somebody's hands.
pub struct Steered<'a> {
    flock: Flock<'a>,
    asked: u64,
    /// The wall clock when the day began, in seconds since 1970: what came before a watcher lies in the past.
    began: u64,
    epoch: u64,
}

/// What an operator says with what is to be done.
#[derive(Debug, Clone)]
pub struct Said {
    /// The order that was looked at.
    pub order: OrderId,
    /// The wave that was open, from 0.
    pub wave: Option<u8>,
    /// Why.
    pub message: String,
}

impl<'a> Steered<'a> {
    /// A flock in which everyone runs the first release. `wall` is the clock then, in seconds since 1970; so many agents, drawn evenly, switch to no
    /// later release.
    pub fn new(plan: &'a Plan, seed: u64, wall: u64, ailing: u32) -> Self {
        let mut flock = Flock::new(plan, seed);
        let apart = plan.agents / ailing.max(1);
        flock.ailing = (0..ailing.min(plan.agents)).map(|nr| 1 + nr * apart.max(1)).collect();
        let mut steered = Self { flock, asked: OUTSIDE, began: 0, epoch: 1 };
        while steered.flock.now < steered.flock.published + nanos(plan.limit) && !steered.is_finished() {
            steered.advance(Duration::from_millis(250));
        }
        steered.began = wall.saturating_sub(steered.now().0);
        steered
    }

    /// Lets so much time pass.
    pub fn advance(&mut self, by: Duration) {
        let then = self.flock.now + nanos(by);
        self.flock.until(then);
    }

    /// Where everything stands, as the origin says.
    pub fn status(&mut self) -> FleetStatus {
        match self.ask(Request::Status) {
            Ok(Answer::Status(status)) => *status,
            _ => FleetStatus::default(),
        }
    }

    /// Publishes the next release, of so many bytes, and orders it in these waves. Nothing when there were as many as there can be.
    pub fn deploy(&mut self, (version, bytes): (&str, u64), waves: Vec<Wave>, budget: u32, message: &str) -> bool {
        if self.flock.papers.contents.len() >= 2 * MOST_RELEASES {
            return false;
        }
        let (piece, created, fallback) = (self.flock.plan.piece_bytes, self.now(), self.live());
        self.flock.papers.renew(version, bytes, piece, created);
        let release = self.flock.papers.newest_release();
        let order = self.order(release, fallback, waves, budget, message);
        self.flock.papers.order = order;
        let publisher = self.flock.publisher();
        self.flock.dies(publisher, false);
        self.flock.boot(publisher);
        self.advance(Duration::from_secs(1));
        self.flock.publish(publisher);
        true
    }

    /// Says what is to be done with a rollout.
    pub fn direct(&mut self, verb: Verb, said: &Said) -> Result<(), Refusal> {
        let signed = self.flock.papers.directive(said.order, verb, said.wave, self.now(), &said.message);
        if let Err(bad) = Directive::decode(&signed.payload).and_then(|directive| directive.check().map(|()| directive))
        {
            return Err(Refusal::Invalid(bad.to_string()));
        }
        self.ask(Request::Direct { directive: signed }).map(drop)
    }

    /// Orders everyone back to a release, at once, if that order is still the newest.
    pub fn back_to(&mut self, release: ReleaseId, said: &Said) -> Result<(), Refusal> {
        let newest = self.status().apps.first().and_then(|rollout| rollout.order);
        if newest != Some(said.order) {
            return Err(Refusal::Failed("another order was given since".to_owned()));
        }
        let order = self.order(release, None, vec![Wave::PerMille(1000)], u32::MAX, &said.message);
        self.ask(Request::Order { order }).map(drop)
    }

    /// Whether the newest order is confirmed everywhere.
    pub fn is_finished(&mut self) -> bool {
        let status = self.status();
        let is_done = |rollout: &RolloutStatus| rollout.order.is_some() && rollout.state == RolloutState::Finished;
        status.apps.first().is_some_and(is_done)
    }

    fn order(
        &mut self,
        release: ReleaseId,
        fallback: Option<ReleaseId>,
        waves: Vec<Wave>,
        budget: u32,
        message: &str,
    ) -> Signed {
        self.epoch += 1;
        let (epoch, created, message) = (self.epoch, self.now(), message.to_owned());
        let terms = Terms { epoch, fallback, waves, restraint: Restraint::default(), budget, created, message };
        self.flock.papers.order_for(release, terms)
    }

    /// What the newest order is for.
    fn live(&mut self) -> Option<ReleaseId> {
        self.status().apps.first().map(|rollout| rollout.release)
    }

    fn now(&self) -> UnixTime {
        UnixTime(self.began + Duration::from_nanos(self.flock.now).as_secs())
    }

    /// Asks the origin, and lets time pass until it answers.
    fn ask(&mut self, request: Request) -> Result<Answer, Refusal> {
        self.asked += 1;
        let client = ClientId(self.asked);
        self.flock.input(ORIGIN, 0, Input::Request { client, by: None, request });
        let rounds = PATIENCE.as_millis() / ROUND.as_millis();
        for _ in 0..rounds {
            match self.flock.answers.remove(&client) {
                Some(Answer::Refused(refusal)) => return Err(refusal),
                Some(answer) => return Ok(answer),
                None => self.advance(ROUND),
            }
        }
        Err(Refusal::Failed("the origin does not answer".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::door::Phase;

    fn plan() -> Plan {
        Plan { places: Some(5), ..Plan::new(20, 20_000_000, 1 << 20) }
    }

    fn confirmed(fleet: &mut Steered<'_>, release: ReleaseId) -> usize {
        let is_there = |on: &engine::door::AppStatus| on.release == release && on.phase == Phase::Confirmed;
        fleet.status().nodes.iter().filter(|node| node.apps.iter().any(is_there)).count()
    }

    /// Lets it go on until something is so; what was looked at last.
    fn until(fleet: &mut Steered<'_>, is_so: impl Fn(&RolloutState) -> bool) -> Said {
        for _ in 0..600 {
            let status = fleet.status();
            if is_so(&status.apps[0].state) {
                let wave = if let RolloutState::Rolling { wave } = status.apps[0].state { Some(wave) } else { None };
                let order = status.apps[0].order.expect("it is ordered");
                return Said { order, wave, message: "for a test".to_owned() };
            }
            fleet.advance(Duration::from_millis(100));
        }
        panic!("it does not come to that: {:?}", fleet.status().apps[0].state);
    }

    #[test]
    fn a_flock_rolls_and_can_be_paused_resumed_and_brought_back() {
        let plan = plan();
        let mut fleet = Steered::new(&plan, 7, 1_000_000, 0);
        let first = fleet.live().expect("everyone runs it");
        assert_eq!(confirmed(&mut fleet, first), 20);
        assert_eq!(fleet.now(), UnixTime(1_000_000), "all of that lies in the past");
        assert!(fleet.status().nodes.iter().any(|node| node.labels.len() == 2), "they stand in racks");
        assert!(fleet.deploy(("v2", 2 << 20), vec![Wave::Count(1), Wave::PerMille(1000)], 0, "the second"));
        let said = until(&mut fleet, |state| matches!(state, RolloutState::Rolling { wave: 0 }));
        fleet.direct(Verb::Pause, &said).expect("it is paused");
        fleet.advance(Duration::from_secs(60));
        let second = fleet.live().expect("it was ordered");
        assert!(confirmed(&mut fleet, second) <= 1, "nobody switches while it is paused");
        let said = until(&mut fleet, |state| matches!(state, RolloutState::Paused { .. }));
        fleet.direct(Verb::Resume, &said).expect("it goes on");
        let said = until(&mut fleet, |state| *state == RolloutState::Finished);
        assert_eq!(confirmed(&mut fleet, second), 20);
        fleet.back_to(first, &said).expect("it is ordered back");
        until(&mut fleet, |state| *state == RolloutState::Finished);
        assert_eq!(confirmed(&mut fleet, first), 20);
        assert!(fleet.back_to(second, &said).is_err(), "another order was given since");
    }

    #[test]
    fn what_some_cannot_run_halts_and_everyone_goes_back() {
        let plan = plan();
        let mut fleet = Steered::new(&plan, 8, 1_000_000, 4);
        let first = fleet.live().expect("everyone runs it");
        assert!(fleet.deploy(("v2", 2 << 20), vec![Wave::PerMille(1000)], 1, "the second"));
        until(&mut fleet, |state| matches!(state, RolloutState::Halted { .. }));
        fleet.advance(Duration::from_secs(30));
        let lives = fleet.status().nodes.iter().flat_map(|node| &node.apps).filter(|on| on.live == Some(first)).count();
        assert_eq!(lives, 20, "the fallback is live everywhere");
    }
}
