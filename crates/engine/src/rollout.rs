//! Who may have it when: the conductor of the rollouts of one datacenter.
//!
//! It works inside a signed order and can only open its next wave, halt it, fall back, or call it finished. What it decided
//! is a fact before anyone is told. A node that has been away for long holds nothing up; it converges when it returns.
//!
//! An order may restrain it further: gates that wait for a word, a deadline, and how many may be switching at once.

mod slots;
mod timer;

use crate::door::{Gate, Phase, RolloutState, Time, WaveStatus};
use content::directive::Verb;
use content::order::Unreachable;
use content::{AppName, Digest, Directive, Fact, Label, NodeId, Order, OrderId, ReleaseId, Signed, UnixTime};
use slots::Slots;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use timer::Timer;

/// A conductor looks every few seconds. What is longer between two looks was sleep, or a clock that jumped, and counts for no more.
const LONGEST_LOOK: Duration = Duration::from_secs(10);
/// What a deadline leaves at least after a restart, or all of it: so that all can come back and say that they are well.
const RETURN: Duration = Duration::from_secs(60);
/// How many nodes are named that hold a wave up.
const NAMED: usize = 3;

/// What a conductor may decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Open(u8),
    /// A wave is confirmed, and its gate waits for a word.
    Await(u8),
    Halt(String),
    /// The time of a wave is over.
    Late(u8),
    /// As an operator has directed: who, by the signed words, and why.
    Abort(Signed, String),
    FallBack,
    Finish,
}

/// Whether a node can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is here, or was a moment ago.
    Expected,
    /// It has been away for long.
    Away,
}

/// The rollout of one order.
#[derive(Debug)]
pub(crate) struct Rollout {
    id: OrderId,
    order: Order,
    open: Option<u8>,
    halted: Option<String>,
    has_fallen_back: bool,
    is_finished: bool,
    /// What operators have directed: that nobody switches, up to which wave it is open whatever happens, and that it is over.
    paused: Option<Signed>,
    promoted: Option<u8>,
    aborted: Option<(Signed, String)>,
    /// Those directives, each of which is followed once.
    directives: BTreeSet<Digest>,
    /// How far the nodes are with this order.
    phases: BTreeMap<NodeId, Phase>,
    /// The place of every selected node among the waves, and the nodes in the order of their places.
    places: BTreeMap<NodeId, usize>,
    ranked: Vec<NodeId>,
    away: Vec<NodeId>,
    /// The wave that is confirmed and waits for a word.
    awaits: Option<u8>,
    /// Whom the origin lets wait for something that it makes.
    delayed: BTreeSet<NodeId>,
    timer: Timer,
    slots: Slots,
    /// When the last fact about it came, in this life.
    moved: Option<Time>,
}

impl Rollout {
    pub(crate) fn new(id: OrderId, order: Order) -> Self {
        Self {
            id,
            slots: Slots::new(&order.restraint.at_once),
            order,
            open: None,
            halted: None,
            has_fallen_back: false,
            is_finished: false,
            paused: None,
            promoted: None,
            aborted: None,
            directives: BTreeSet::new(),
            phases: BTreeMap::new(),
            places: BTreeMap::new(),
            ranked: Vec::new(),
            away: Vec::new(),
            awaits: None,
            delayed: BTreeSet::new(),
            timer: Timer::default(),
            moved: None,
        }
    }

    pub(crate) fn id(&self) -> OrderId {
        self.id
    }

    /// A fact that stands in the journal.
    pub(crate) fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::WaveOpened { order, wave, .. } if *order == self.id && Some(*wave) > self.open => {
                (self.open, self.awaits) = (Some(*wave), None);
                self.timer.begin();
            }
            Fact::Awaited { order, wave, .. } if *order == self.id && Some(*wave) == self.open => {
                self.awaits = Some(*wave);
            }
            // What is finished stays finished: a machine that comes late and fails takes nothing from those that run well.
            _ if self.is_finished => {}
            Fact::Halted { order, why, .. } if *order == self.id => self.halted = Some(why.clone()),
            Fact::FellBack { order, .. } if *order == self.id => self.has_fallen_back = true,
            Fact::Finished { order, .. } if *order == self.id => self.is_finished = true,
            Fact::Directed { directive, .. } => self.directed(directive),
            _ => {}
        }
    }

    /// It is as it is since now.
    pub(crate) fn moves(&mut self, now: Time) {
        self.moved = Some(now);
    }

    /// Since when it is as it is, if that began in this life.
    pub(crate) fn moved(&self) -> Option<Time> {
        self.moved
    }

    fn directed(&mut self, signed: &Signed) {
        // It was believed before it stood in the journal.
        let Ok(directive) = Directive::decode(&signed.payload) else { return };
        if directive.order != self.id || !self.directives.insert(signed.payload_digest()) {
            return;
        }
        match directive.verb {
            Verb::Pause => self.paused = Some(signed.clone()),
            Verb::Resume => self.paused = None,
            // One that was open already when it was said is not what was meant.
            Verb::Promote if directive.wave != self.open => {}
            Verb::Promote => self.promoted = Some(self.open.map_or(0, |open| open.saturating_add(1))),
            Verb::Abort => self.aborted = Some((signed.clone(), directive.message)),
        }
    }

    /// Whether a directive was followed.
    pub(crate) fn has_heard(&self, signed: &Signed) -> bool {
        self.directives.contains(&signed.payload_digest())
    }

    /// Why a directive makes no sense now, if it does not.
    pub(crate) fn objects(&self, signed: &Signed, directive: &Directive) -> Option<&'static str> {
        let verb = directive.verb;
        let is_last = self.open.is_some_and(|open| usize::from(open) + 1 >= self.order.waves.len());
        match verb {
            _ if self.is_finished => Some("its rollout is finished; `tiding rollback` goes back"),
            _ if self.halted.is_some() => Some("its rollout has halted already; deploy again, or roll back"),
            Verb::Pause if self.paused.is_some() => Some("its rollout is paused already"),
            Verb::Resume if self.paused.is_none() => Some("its rollout is not paused"),
            Verb::Promote if self.paused.is_some() => Some("its rollout is paused; resume it first"),
            _ if self.has_heard(signed) => Some("the same was said within this second already; say it again"),
            Verb::Promote if directive.wave != self.open => {
                Some("another wave has opened since; look, and say it again")
            }
            Verb::Promote if is_last => Some("its last wave is open already"),
            _ => None,
        }
    }

    // Time.

    /// Time has gone by. What a wave takes counts while somebody is in sight who could confirm it, nobody has paused it, and the origin
    /// itself lets nobody of it wait.
    pub(crate) fn tick(&mut self, now: Time) {
        let elapsed = self.timer.look(now);
        // While it is not known who may be switching nobody is let, and so no time is taken either.
        let counted = if self.slots.is_unsure(now) { Duration::ZERO } else { elapsed.min(LONGEST_LOOK) };
        self.pass(elapsed, counted);
    }

    /// A fact of it was written then, by a process before this one.
    pub(crate) fn recall(&mut self, then: UnixTime) {
        let elapsed = self.timer.look_back(then);
        self.pass(elapsed, elapsed);
    }

    /// A process begins, at this time by the clock that those before it wrote their facts by. Who may be switching by what they
    /// were told then is known in `settling` at the latest.
    pub(crate) fn revive(&mut self, clock: UnixTime, now: Time, settling: Duration) {
        self.recall(clock);
        self.timer.look(now);
        if let Some(deadline) = self.order.restraint.deadline() {
            self.timer.spent = self.timer.spent.min(deadline.saturating_sub(RETURN));
        }
        if self.open.is_some() && !self.slots.is_unlimited() {
            self.slots.doubt(now.after(settling));
        }
    }

    fn pass(&mut self, elapsed: Duration, counted: Duration) {
        if self.is_over() {
            return;
        }
        if self.awaits.is_some() {
            self.timer.waited += elapsed;
        }
        if self.counts() {
            self.timer.spent += counted;
        }
    }

    /// From now on the origin lets these nodes wait for something that it makes: that is none of their time.
    pub(crate) fn delays(&mut self, now: Time, nodes: BTreeSet<NodeId>) {
        if self.delayed != nodes {
            self.tick(now);
            self.delayed = nodes;
        }
    }

    /// Whether what goes by is taken from the open wave's time.
    fn counts(&self) -> bool {
        self.open.is_some() && self.paused.is_none() && !self.is_blind() && !self.is_over() && !self.is_delayed()
    }

    /// Whether somebody of the open waves waits for what the origin makes.
    fn is_delayed(&self) -> bool {
        let has_not_got_it =
            |node: &NodeId| matches!(self.phases.get(node), None | Some(Phase::Told | Phase::Fetching));
        let size = self.open_size();
        let is_open = |node: &NodeId| self.places.get(node).is_some_and(|place| *place < size);
        self.delayed.iter().any(|node| is_open(node) && has_not_got_it(node) && !self.is_away(node))
    }

    fn is_over(&self) -> bool {
        self.is_finished || self.halted.is_some()
    }

    /// How much time the open wave has left, if it has a deadline.
    pub(crate) fn left(&self, now: Time) -> Option<Duration> {
        let counts = self.counts() && !self.slots.is_unsure(now);
        let elapsed = if counts { self.timer.since(now).min(LONGEST_LOOK) } else { Duration::ZERO };
        self.remaining().map(|left| left.saturating_sub(elapsed))
    }

    /// As far as somebody has looked.
    fn remaining(&self) -> Option<Duration> {
        let deadline = self.order.restraint.deadline().filter(|_| self.open.is_some() && !self.is_over())?;
        Some(deadline.saturating_sub(self.timer.spent))
    }

    /// The wave that is confirmed and waits for a word, and for how long it has waited.
    pub(crate) fn awaits(&self, now: Time) -> Option<(u8, Duration)> {
        let wave = self.awaits.filter(|_| !self.is_over())?;
        Some((wave, self.timer.waited + self.timer.since(now)))
    }

    /// Whether it is not known yet who may be switching by what a process before this one said.
    pub(crate) fn is_unsure(&self, now: Time) -> bool {
        self.slots.is_unsure(now)
    }

    /// Whether somebody waits for others of its group to be through: nobody says so when they are gone instead.
    pub(crate) fn has_a_queue(&self) -> bool {
        let waits = |node: &NodeId| self.phases.get(node) == Some(&Phase::Staged) && !self.slots.has(node);
        !self.slots.is_unlimited() && self.halted.is_none() && self.ranked.iter().any(waits)
    }

    /// Who has paused it, by the signed words, and which wave is open.
    pub(crate) fn paused(&self) -> Option<(&Signed, Option<u8>)> {
        let paused = self.paused.as_ref().filter(|_| !self.is_finished && self.halted.is_none())?;
        Some((paused, self.open))
    }

    /// The selected nodes that are known. Who is in which wave depends on them and the order alone.
    pub(crate) fn enlist(&mut self, nodes: &[(NodeId, Presence)]) {
        let mut ranked: Vec<(Digest, NodeId)> = nodes.iter().map(|(node, _)| (self.rank(*node), *node)).collect();
        ranked.sort_unstable();
        self.ranked = ranked.into_iter().map(|(_, node)| node).collect();
        self.places = self.ranked.iter().enumerate().map(|(place, node)| (*node, place)).collect();
        self.away = nodes.iter().filter(|(_, presence)| *presence == Presence::Away).map(|(node, _)| *node).collect();
        self.away.sort_unstable();
    }

    /// Lets those switch who are ready and for whom there is room, where the order bounds how many do at once; by their labels.
    pub(crate) fn admit<'a>(&mut self, now: Time, label: impl Fn(NodeId, &Label) -> Option<&'a Label>) {
        if self.slots.is_unlimited() {
            return;
        }
        self.slots.regroup(&self.ranked, label);
        if self.halted.is_some() || self.paused.is_some() || self.slots.is_unsure(now) {
            return;
        }
        let under_way: Vec<NodeId> = self.ranked.iter().filter(|node| self.is_under_way(node)).copied().collect();
        let is_ready = |node: &&NodeId| self.phases.get(node) == Some(&Phase::Staged) && !self.slots.has(node);
        let open = self.ranked.iter().take(self.open_size());
        let ready: Vec<NodeId> = open.filter(is_ready).filter(|node| !self.is_away(node)).copied().collect();
        self.slots.give(&under_way, &ready);
    }

    /// Whether it is open of a node whether it does well: it may switch, or has, and has neither confirmed nor failed. Who is away is not
    /// counted: it would hold up all the others of its group.
    fn is_under_way(&self, node: &NodeId) -> bool {
        match self.phases.get(node) {
            Some(Phase::Confirmed | Phase::Failed | Phase::FellBack) => false,
            Some(Phase::Live) => !self.is_away(node),
            _ => self.slots.has(node) && !self.is_away(node),
        }
    }

    /// Whether a node need not wait for others of its group: it was let, or it does not count any more.
    fn has_room(&self, node: &NodeId) -> bool {
        let counts =
            !matches!(self.phases.get(node), Some(Phase::Live | Phase::Confirmed | Phase::Failed | Phase::FellBack));
        !counts || self.slots.is_unlimited() || self.slots.has(node)
    }

    fn rank(&self, node: NodeId) -> Digest {
        Digest::of(&[self.id.0.as_bytes().as_slice(), node.0.as_bytes()].concat())
    }

    /// How far a node is with this order; whether that is news. Who has confirmed it, has failed or has gone back is not on the way to it
    /// any more: what says so is older, however late it comes, and the node would not say again what it has said. Who has failed
    /// and tries again has failed until it confirms.
    pub(crate) fn report(&mut self, node: NodeId, phase: Phase) -> bool {
        let is_settled = |phase: &Phase| matches!(phase, Phase::Confirmed | Phase::FellBack | Phase::Failed);
        let before = self.phases.get(&node).copied();
        if before.is_some_and(|before| is_settled(&before)) && !is_settled(&phase) {
            return false;
        }
        self.phases.insert(node, phase) != Some(phase)
    }

    /// What a selected node may do.
    pub(crate) fn gate(&self, node: NodeId) -> Gate {
        let reached = self.places.get(&node).is_some_and(|place| *place < self.open_size());
        match (&self.halted, reached) {
            (None, true) if (self.paused.is_none() || self.has_switched(node)) && self.has_room(&node) => Gate::Open,
            (Some(_), _) if self.has_fallen_back => Gate::FallBack,
            _ => Gate::Hold,
        }
    }

    /// Whether it has ended badly, or was ended.
    pub(crate) fn is_halted(&self) -> bool {
        self.halted.is_some()
    }

    /// Whether a node runs the release already: a pause leaves it where it is.
    fn has_switched(&self, node: NodeId) -> bool {
        matches!(self.phases.get(&node), Some(Phase::Live | Phase::Confirmed))
    }

    fn open_size(&self) -> usize {
        self.open.map_or(0, |wave| self.size(wave))
    }

    /// How many nodes the waves up to this one have.
    fn size(&self, wave: u8) -> usize {
        let all = self.places.len();
        self.order.waves.get(usize::from(wave)).map_or(all, |wave| wave.of(all))
    }

    /// The release, once every node that is known runs it well.
    pub(crate) fn proven(&self) -> Option<ReleaseId> {
        self.is_finished.then_some(self.order.release)
    }

    /// What to do next, if anything.
    pub(crate) fn judge(&self) -> Option<Step> {
        if self.is_finished || self.is_blind() {
            return None;
        }
        if self.halted.is_some() {
            return (!self.has_fallen_back && self.order.fallback.is_some()).then_some(Step::FallBack);
        }
        if let Some((signed, why)) = &self.aborted {
            return Some(Step::Abort(signed.clone(), why.clone()));
        }
        let failed = self.failed();
        if failed > self.order.budget as usize {
            let budget = self.order.budget;
            let nodes = if failed == 1 { "node" } else { "nodes" };
            return Some(Step::Halt(format!("{failed} {nodes} failed, and the order allows {budget}")));
        }
        if self.paused.is_some() {
            return None;
        }
        let Some(open) = self.open else { return Some(Step::Open(0)) };
        let has_next = usize::from(open) + 1 < self.order.waves.len();
        let next = if has_next { Step::Open(open + 1) } else { Step::Finish };
        if self.promoted.is_some_and(|promoted| promoted > open) {
            return Some(next);
        }
        if self.is_lost(self.size(open)) {
            return Some(Step::Halt(format!("nobody of wave {} did well", u32::from(open) + 1)));
        }
        if self.awaits.is_some() || !self.is_confirmed(self.size(open)) {
            return self.remaining().is_some_and(|left| left.is_zero()).then_some(Step::Late(open));
        }
        Some(if self.order.restraint.has_gate(open) { Step::Await(open) } else { next })
    }

    /// Why a wave is late, and what to do; `name` says what people call a node.
    pub(crate) fn why_late(&self, wave: u8, name: impl Fn(NodeId) -> String) -> String {
        let (nth, of) = (u32::from(wave) + 1, self.order.waves.len());
        let limit = timer::words(self.order.restraint.deadline().unwrap_or_default());
        if self.awaits == Some(wave) {
            return format!(
                "wave {nth} of {of} is confirmed, and nobody said `tiding promote` before its deadline, {limit} after it opened; \
                 deploy again, and promote it in time, or without --wave-deadline"
            );
        }
        let these = || self.ranked.iter().take(self.size(wave));
        let confirmed = these().filter(|node| self.phases.get(node) == Some(&Phase::Confirmed)).count();
        let late: Vec<String> = these()
            .filter(|node| self.phases.get(node) != Some(&Phase::Confirmed))
            .map(|node| format!("{} ({})", name(*node), self.standing(node)))
            .collect();
        let more = if late.len() > NAMED { format!(" and {} more", late.len() - NAMED) } else { String::new() };
        format!(
            "wave {nth} of {of} was not confirmed before its deadline, {limit} after it opened: {confirmed} of {} nodes are, and not {}{more}",
            these().count(),
            late[..late.len().min(NAMED)].join(", "),
        )
    }

    /// How far a node is, in a word.
    fn standing(&self, node: &NodeId) -> &'static str {
        match self.phases.get(node) {
            _ if self.is_away(node) => "not connected",
            Some(Phase::Live) => "live, not confirmed",
            Some(Phase::Staged) => "staged, not switched",
            Some(Phase::Complete) => "complete, not laid out",
            Some(Phase::Fetching) => "fetching",
            Some(Phase::Failed | Phase::FellBack) => "failed",
            _ => "told",
        }
    }

    /// Whether nobody is in sight: then it is the conductor that is cut off, and there is nothing to judge by.
    fn is_blind(&self) -> bool {
        !self.places.is_empty() && self.places.keys().all(|node| self.is_away(node))
    }

    fn is_away(&self, node: &NodeId) -> bool {
        self.away.binary_search(node).is_ok()
    }

    /// Whether it is away, and nobody waits for it.
    fn is_skipped(&self, node: &NodeId) -> bool {
        self.order.unreachable == Unreachable::Skip && self.is_away(node)
    }

    fn failed(&self) -> usize {
        self.places.keys().filter(|node| self.has_failed(node)).count()
    }

    /// Whether a node said so, or vanished when it was about to run the release, or ran it and had not confirmed it: that is
    /// how a release looks that takes its machine down with it.
    fn has_failed(&self, node: &NodeId) -> bool {
        match self.phases.get(node) {
            Some(Phase::Failed | Phase::FellBack) => true,
            Some(Phase::Staged | Phase::Live) => self.gate(*node) == Gate::Open && self.is_away(node),
            _ => false,
        }
    }

    /// Whether every node of the first so many is confirmed, failed within the budget, or away and not waited for; and one at least is
    /// confirmed.
    fn is_confirmed(&self, size: usize) -> bool {
        let is_confirmed = |node: &NodeId| self.phases.get(node) == Some(&Phase::Confirmed);
        let mut these = self.places.iter().filter(|(_, place)| **place < size).map(|(node, _)| node);
        let settled = |node: &NodeId| is_confirmed(node) || self.has_failed(node) || self.is_skipped(node);
        these.clone().all(settled) && (self.places.is_empty() || these.any(is_confirmed))
    }

    /// Whether every node of the first so many has failed or is away and not waited for, and one at least has failed: however many may fail, this
    /// release was shown to do well nowhere.
    fn is_lost(&self, size: usize) -> bool {
        let mut these = self.places.iter().filter(|(_, place)| **place < size).map(|(node, _)| node);
        these.clone().any(|node| self.has_failed(node))
            && these.all(|node| self.has_failed(node) || self.is_skipped(node))
    }

    /// The fact of a step.
    pub(crate) fn fact(&self, app: AppName, step: Step) -> Option<Fact> {
        let order = self.id;
        Some(match step {
            Step::Open(wave) => Fact::WaveOpened { app, order, wave },
            Step::Await(wave) => Fact::Awaited { app, order, wave },
            Step::Late(wave) => Fact::Halted { app, order, why: self.why_late(wave, |node| node.0.short()) },
            Step::Halt(why) | Step::Abort(_, why) => Fact::Halted { app, order, why },
            Step::FallBack => Fact::FellBack { app, order, to: self.order.fallback? },
            Step::Finish => Fact::Finished { app, order },
        })
    }

    /// How each wave does.
    pub(crate) fn waves(&self) -> Vec<WaveStatus> {
        let ends: Vec<usize> = (0..self.order.waves.len()).map(|wave| self.size(wave as u8)).collect();
        let mut waves = vec![WaveStatus::default(); ends.len()];
        for (node, place) in &self.places {
            let Some(wave) = ends.iter().position(|end| place < end) else { continue };
            waves[wave].nodes += 1;
            if let Some(counted) = self.counted(&mut waves[wave], node) {
                *counted += 1;
            }
        }
        waves
    }

    /// The count that a node is in.
    fn counted<'a>(&self, wave: &'a mut WaveStatus, node: &NodeId) -> Option<&'a mut u32> {
        match self.phases.get(node) {
            Some(Phase::Confirmed) => Some(&mut wave.confirmed),
            _ if self.has_failed(node) => Some(&mut wave.failed),
            _ if self.is_away(node) => Some(&mut wave.away),
            Some(Phase::Live) => Some(&mut wave.live),
            Some(Phase::Staged) => Some(&mut wave.staged),
            Some(Phase::Fetching | Phase::Complete) => Some(&mut wave.fetching),
            _ => None,
        }
    }

    pub(crate) fn state(&self) -> RolloutState {
        match (&self.halted, self.is_finished) {
            (Some(why), _) => RolloutState::Halted { why: why.clone() },
            (None, true) => RolloutState::Finished,
            (None, false) => RolloutState::Rolling { wave: self.open.unwrap_or(0) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::order::Wave;
    use content::{FleetId, UnixTime};

    fn digest(nr: u8) -> Digest {
        Digest::of(&[nr])
    }

    fn rollout(waves: Vec<Wave>, budget: u32) -> Rollout {
        let order = Order {
            fleet: FleetId(digest(1)),
            app: AppName::new("web").expect("a plain name"),
            epoch: 1,
            release: ReleaseId(digest(2)),
            fallback: Some(ReleaseId(digest(3))),
            selector: content::Selector::default(),
            unreachable: content::order::Unreachable::Skip,
            waves,
            budget,
            restraint: content::order::Restraint::default(),
            created: UnixTime(0),
            message: String::new(),
        };
        Rollout::new(OrderId(digest(4)), order)
    }

    fn nodes(count: u8, presence: Presence) -> Vec<(NodeId, Presence)> {
        (0..count).map(|nr| (NodeId(digest(nr)), presence)).collect()
    }

    /// Takes a step as the journal would.
    fn step(rollout: &mut Rollout) -> Option<Step> {
        let step = rollout.judge()?;
        let fact = rollout.fact(AppName::new("web").expect("a plain name"), step.clone()).expect("it has a fact");
        rollout.learn(&fact);
        Some(step)
    }

    fn open(rollout: &Rollout, count: u8) -> Vec<NodeId> {
        nodes(count, Presence::Expected).into_iter().map(|n| n.0).filter(|n| rollout.gate(*n) == Gate::Open).collect()
    }

    #[test]
    fn what_is_older_than_a_confirmation_does_not_take_it_back() {
        let mut rollout = rollout(vec![Wave::Count(1), Wave::PerMille(1000)], 0);
        rollout.enlist(&nodes(5, Presence::Expected));
        assert_eq!(step(&mut rollout), Some(Step::Open(0)));
        let first = open(&rollout, 5)[0];
        assert!(rollout.report(first, Phase::Confirmed));
        for older in [Phase::Told, Phase::Fetching, Phase::Complete, Phase::Staged, Phase::Live] {
            assert!(!rollout.report(first, older));
        }
        assert_eq!(rollout.judge(), Some(Step::Open(1)));
        assert!(rollout.report(first, Phase::Failed) && !rollout.report(first, Phase::Live));
        assert!(rollout.report(first, Phase::Confirmed), "who failed may try again");
        assert!(rollout.report(first, Phase::FellBack) && !rollout.report(first, Phase::Fetching));
    }

    #[test]
    fn a_wave_waits_for_who_is_away_when_the_order_says_so() {
        for policy in [Unreachable::Skip, Unreachable::Wait] {
            let mut rollout = rollout(vec![Wave::Count(2), Wave::PerMille(1000)], 0);
            rollout.order.unreachable = policy;
            let mut all = nodes(5, Presence::Expected);
            rollout.enlist(&all);
            assert_eq!(step(&mut rollout), Some(Step::Open(0)));
            let first = open(&rollout, 5);
            rollout.report(first[0], Phase::Confirmed);
            all.iter_mut().filter(|(node, _)| *node == first[1]).for_each(|of| of.1 = Presence::Away);
            rollout.enlist(&all);
            match policy {
                Unreachable::Skip => {
                    assert_eq!(rollout.judge(), Some(Step::Open(1)), "it converges when it comes back")
                }
                Unreachable::Wait => {
                    assert_eq!(rollout.judge(), None);
                    rollout.enlist(&nodes(5, Presence::Expected));
                    assert_eq!(rollout.judge(), None, "it is back, and not yet well");
                    rollout.report(first[1], Phase::Confirmed);
                    assert_eq!(rollout.judge(), Some(Step::Open(1)));
                }
            }
        }
    }

    #[test]
    fn waves_grow_and_wait_for_confirmations() {
        let mut rollout = rollout(vec![Wave::Count(1), Wave::PerMille(500), Wave::PerMille(1000)], 0);
        rollout.enlist(&nodes(4, Presence::Expected));
        assert!(open(&rollout, 4).is_empty());
        for (wave, size) in [(0, 1), (1, 2), (2, 4)] {
            assert_eq!(step(&mut rollout), Some(Step::Open(wave)));
            let now = open(&rollout, 4);
            assert_eq!((now.len(), rollout.judge()), (size, None));
            now.into_iter().for_each(|node| assert!(rollout.report(node, Phase::Confirmed) || wave > 0));
        }
        assert_eq!(step(&mut rollout), Some(Step::Finish));
        assert_eq!((rollout.judge(), rollout.state()), (None, RolloutState::Finished));
    }

    #[test]
    fn each_wave_counts_its_own_nodes() {
        let mut rollout = rollout(vec![Wave::Count(1), Wave::Count(1), Wave::PerMille(500), Wave::PerMille(1000)], 9);
        rollout.enlist(&nodes(6, Presence::Expected));
        let of = |rollout: &Rollout| -> Vec<(u32, u32, u32)> {
            rollout.waves().iter().map(|wave| (wave.nodes, wave.confirmed, wave.failed)).collect()
        };
        assert_eq!(of(&rollout), [(1, 0, 0), (0, 0, 0), (2, 0, 0), (3, 0, 0)]);
        step(&mut rollout);
        let first = open(&rollout, 6)[0];
        rollout.report(first, Phase::Confirmed);
        let other = nodes(6, Presence::Expected).into_iter().map(|of| of.0).find(|node| rollout.places[node] == 5);
        rollout.report(other.expect("six nodes"), Phase::Failed);
        assert_eq!(of(&rollout), [(1, 1, 0), (0, 0, 0), (2, 0, 0), (3, 0, 1)]);
    }

    #[test]
    fn a_node_is_in_one_count_of_its_wave() {
        let mut rollout = rollout(vec![Wave::PerMille(1000)], 9);
        let mut known = nodes(8, Presence::Expected);
        known[6].1 = Presence::Away;
        known[7].1 = Presence::Away;
        rollout.enlist(&known);
        step(&mut rollout);
        let phases = [Phase::Confirmed, Phase::Failed, Phase::Live, Phase::Staged, Phase::Fetching, Phase::Told];
        known.iter().zip(phases).for_each(|((node, _), phase)| assert!(rollout.report(*node, phase)));
        // It was about to run the release when it vanished; the last one has never been here.
        rollout.report(known[6].0, Phase::Staged);
        let wave = WaveStatus { nodes: 8, confirmed: 1, failed: 2, away: 1, live: 1, staged: 1, fetching: 1 };
        assert_eq!(rollout.waves(), [wave]);
    }

    #[test]
    fn failures_beyond_the_budget_halt_and_then_fall_back() {
        let mut rollout = rollout(vec![Wave::PerMille(1000)], 1);
        rollout.enlist(&nodes(3, Presence::Expected));
        step(&mut rollout);
        rollout.report(NodeId(digest(0)), Phase::Failed);
        assert_eq!(rollout.judge(), None);
        rollout.report(NodeId(digest(1)), Phase::Failed);
        assert!(matches!(step(&mut rollout), Some(Step::Halt(_))));
        assert_eq!(rollout.gate(NodeId(digest(2))), Gate::Hold);
        assert_eq!(step(&mut rollout), Some(Step::FallBack));
        assert_eq!((rollout.gate(NodeId(digest(2))), rollout.judge()), (Gate::FallBack, None));
    }

    #[test]
    fn who_is_away_for_long_holds_nothing_up() {
        let mut rollout = rollout(vec![Wave::PerMille(1000)], 0);
        let mut known = nodes(2, Presence::Expected);
        rollout.enlist(&known);
        step(&mut rollout);
        rollout.report(known[0].0, Phase::Confirmed);
        assert_eq!(rollout.judge(), None);
        known[1].1 = Presence::Away;
        rollout.enlist(&known);
        assert_eq!(rollout.judge(), Some(Step::Finish));
    }

    #[test]
    fn whoever_fails_after_the_end_takes_nothing_from_the_others() {
        let mut rollout = rollout(vec![Wave::PerMille(1000)], 0);
        let known = nodes(3, Presence::Expected);
        rollout.enlist(&known[..2]);
        step(&mut rollout);
        known[..2].iter().for_each(|(node, _)| assert!(rollout.report(*node, Phase::Confirmed)));
        assert_eq!(step(&mut rollout), Some(Step::Finish));
        rollout.enlist(&known);
        rollout.report(known[2].0, Phase::Failed);
        assert_eq!((rollout.judge(), rollout.state()), (None, RolloutState::Finished));
        assert!(known.iter().all(|(node, _)| rollout.gate(*node) == Gate::Open));
    }

    #[test]
    fn whoever_vanishes_with_the_release_has_failed_and_opens_no_further_wave() {
        let mut rollout = rollout(vec![Wave::Count(1), Wave::PerMille(1000)], 0);
        let mut known = nodes(3, Presence::Expected);
        rollout.enlist(&known);
        step(&mut rollout);
        let first = open(&rollout, 3)[0];
        rollout.report(first, Phase::Live);
        assert_eq!(rollout.judge(), None);
        known.iter_mut().filter(|(node, _)| *node == first).for_each(|(_, presence)| *presence = Presence::Away);
        rollout.enlist(&known);
        assert!(matches!(rollout.judge(), Some(Step::Halt(_))));
    }

    #[test]
    fn a_conductor_that_sees_nobody_decides_nothing() {
        let mut rollout = rollout(vec![Wave::Count(1), Wave::PerMille(1000)], 0);
        rollout.enlist(&nodes(3, Presence::Expected));
        step(&mut rollout);
        open(&rollout, 3).into_iter().for_each(|node| assert!(rollout.report(node, Phase::Live)));
        rollout.enlist(&nodes(3, Presence::Away));
        assert_eq!(rollout.judge(), None);
    }

    #[test]
    fn a_wave_in_which_nobody_confirmed_opens_no_further_one() {
        let mut rollout = rollout(vec![Wave::Count(1), Wave::PerMille(1000)], 0);
        let mut known = nodes(3, Presence::Expected);
        rollout.enlist(&known);
        step(&mut rollout);
        let first = open(&rollout, 3)[0];
        known.iter_mut().filter(|(node, _)| *node == first).for_each(|(_, presence)| *presence = Presence::Away);
        rollout.enlist(&known);
        assert_eq!(rollout.judge(), None, "it was away all the time, and nobody knows yet how the release does");
    }

    // What restrains it.

    fn restrained(waves: Vec<Wave>, change: impl FnOnce(&mut content::order::Restraint)) -> Rollout {
        let mut order = rollout(waves, 0).order;
        change(&mut order.restraint);
        Rollout::new(OrderId(digest(4)), order)
    }

    fn in_two() -> Vec<Wave> {
        vec![Wave::Count(1), Wave::PerMille(1000)]
    }

    fn promoted(rollout: &mut Rollout, wave: Option<u8>) {
        let directive = Directive {
            fleet: rollout.order.fleet,
            app: rollout.order.app.clone(),
            order: rollout.id,
            verb: Verb::Promote,
            wave,
            created: UnixTime(1),
            message: String::new(),
        };
        let key = content::SigningKey::from_secret(&[1; 32]);
        let directive = key.sign(content::PayloadKind::Directive, directive.encode());
        rollout.learn(&Fact::Directed { app: rollout.order.app.clone(), directive });
    }

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000_000)
    }

    /// Looks every five seconds, as a conductor does.
    fn looks(rollout: &mut Rollout, seconds: std::ops::RangeInclusive<u64>) {
        seconds.step_by(5).for_each(|second| rollout.tick(at(second)));
    }

    #[test]
    fn a_gate_waits_for_its_word_and_an_early_word_is_as_good() {
        let mut rollout = restrained(in_two(), |of| of.gates = vec![0]);
        rollout.enlist(&nodes(4, Presence::Expected));
        assert_eq!(step(&mut rollout), Some(Step::Open(0)));
        let first = open(&rollout, 4)[0];
        assert_eq!((rollout.judge(), rollout.awaits(at(0))), (None, None));
        rollout.report(first, Phase::Confirmed);
        assert_eq!(step(&mut rollout), Some(Step::Await(0)));
        assert_eq!((rollout.judge(), rollout.awaits(at(0))), (None, Some((0, Duration::ZERO))));
        promoted(&mut rollout, Some(0));
        assert_eq!(step(&mut rollout), Some(Step::Open(1)));
        assert_eq!(rollout.awaits(at(0)), None);
        let mut early = restrained(in_two(), |of| of.gates = vec![0]);
        early.enlist(&nodes(4, Presence::Expected));
        step(&mut early);
        promoted(&mut early, Some(0));
        assert_eq!(early.judge(), Some(Step::Open(1)), "before it is confirmed the word opens at once, as ever");
    }

    #[test]
    fn a_gate_is_no_obstacle_to_a_failure() {
        let mut rollout = restrained(in_two(), |of| of.gates = vec![0]);
        rollout.enlist(&nodes(4, Presence::Expected));
        step(&mut rollout);
        let first = open(&rollout, 4)[0];
        rollout.report(first, Phase::Confirmed);
        step(&mut rollout);
        rollout.report(first, Phase::Failed);
        assert!(matches!(rollout.judge(), Some(Step::Halt(_))));
    }

    #[test]
    fn a_wave_that_is_late_halts_and_one_that_is_just_in_time_does_not() {
        for is_in_time in [false, true] {
            let mut rollout = restrained(in_two(), |of| of.deadline_s = Some(60));
            rollout.enlist(&nodes(2, Presence::Expected));
            looks(&mut rollout, 0..=100);
            assert_eq!(step(&mut rollout), Some(Step::Open(0)), "nothing is late before it is open");
            looks(&mut rollout, 100..=155);
            assert_eq!((rollout.judge(), rollout.left(at(155))), (None, Some(Duration::from_secs(5))));
            looks(&mut rollout, 155..=160);
            if is_in_time {
                let first = open(&rollout, 2)[0];
                rollout.report(first, Phase::Confirmed);
                assert_eq!(step(&mut rollout), Some(Step::Open(1)));
                assert_eq!(rollout.left(at(160)), Some(Duration::from_secs(60)), "each wave has its own time");
            } else {
                assert_eq!(rollout.judge(), Some(Step::Late(0)));
                let why = rollout.why_late(0, |_| "web-1".to_owned());
                assert!(
                    why.contains("wave 1 of 2 was not confirmed") && why.contains("1 min after it opened"),
                    "{why}"
                );
                assert!(why.contains("0 of 1 nodes are, and not web-1 (told)"), "{why}");
            }
        }
    }

    #[test]
    fn a_gate_without_a_word_is_late_as_well() {
        let mut rollout = restrained(in_two(), |of| (of.gates, of.deadline_s) = (vec![0], Some(3600)));
        rollout.enlist(&nodes(2, Presence::Expected));
        rollout.tick(at(0));
        step(&mut rollout);
        let first = open(&rollout, 2)[0];
        rollout.report(first, Phase::Confirmed);
        looks(&mut rollout, 0..=1800);
        assert_eq!(step(&mut rollout), Some(Step::Await(0)));
        looks(&mut rollout, 1800..=3595);
        assert_eq!((rollout.judge(), rollout.awaits(at(3595))), (None, Some((0, Duration::from_secs(1795)))));
        looks(&mut rollout, 3600..=3600);
        assert_eq!(rollout.judge(), Some(Step::Late(0)));
        let why = rollout.why_late(0, |_| String::new());
        assert!(why.contains("nobody said `tiding promote`") && why.contains("1 h after"), "{why}");
    }

    #[test]
    fn time_does_not_count_while_it_is_paused_or_nobody_is_in_sight_and_jumps_count_little() {
        let mut rollout = restrained(in_two(), |of| of.deadline_s = Some(60));
        rollout.enlist(&nodes(2, Presence::Expected));
        rollout.tick(at(0));
        step(&mut rollout);
        rollout.tick(at(86_400));
        assert_eq!(rollout.remaining(), Some(Duration::from_secs(50)), "a day that went by at once");
        rollout.tick(at(10));
        rollout.tick(at(12));
        assert_eq!(rollout.remaining(), Some(Duration::from_secs(48)), "a clock that was put back");
        rollout.enlist(&nodes(2, Presence::Away));
        looks(&mut rollout, 12..=1000);
        assert_eq!((rollout.left(at(1005)), rollout.judge()), (Some(Duration::from_secs(48)), None));
        rollout.enlist(&nodes(2, Presence::Expected));
        let key = content::SigningKey::from_secret(&[1; 32]);
        rollout.paused = Some(key.sign(content::PayloadKind::Directive, Vec::new()));
        looks(&mut rollout, 1000..=2000);
        assert_eq!(rollout.left(at(2005)), Some(Duration::from_secs(48)));
    }

    #[test]
    fn time_does_not_count_while_the_origin_lets_somebody_of_the_open_wave_wait() {
        let mut rollout = restrained(in_two(), |of| of.deadline_s = Some(60));
        let mut known = nodes(3, Presence::Expected);
        rollout.enlist(&known);
        rollout.tick(at(0));
        step(&mut rollout);
        let first = open(&rollout, 3)[0];
        let others: BTreeSet<NodeId> = known.iter().map(|(node, _)| *node).filter(|node| *node != first).collect();
        rollout.delays(at(0), others);
        assert_eq!(rollout.left(at(5)), Some(Duration::from_secs(55)), "their wave is not open yet");
        rollout.delays(at(5), BTreeSet::from([first]));
        rollout.report(first, Phase::Fetching);
        looks(&mut rollout, 5..=1000);
        assert_eq!((rollout.left(at(1003)), rollout.judge()), (Some(Duration::from_secs(55)), None));
        rollout.report(first, Phase::Staged);
        assert_eq!(rollout.left(at(1003)), Some(Duration::from_secs(52)), "it came by another road");
        rollout.report(first, Phase::Told);
        rollout.promoted = Some(1);
        step(&mut rollout);
        known.iter_mut().filter(|(node, _)| *node == first).for_each(|(_, presence)| *presence = Presence::Away);
        rollout.enlist(&known);
        assert_eq!(rollout.left(at(1003)), Some(Duration::from_secs(57)), "nobody waits for who is away");
        rollout.tick(at(1003));
        rollout.delays(at(1003), BTreeSet::new());
        looks(&mut rollout, 1005..=1060);
        assert_eq!(rollout.judge(), Some(Step::Late(1)));
    }

    #[test]
    fn what_a_process_before_this_one_counted_still_counts_and_a_minute_is_left_at_least() {
        let opened = |rollout: &mut Rollout, at: u64| {
            rollout.recall(UnixTime(at));
            let fact = rollout.fact(rollout.order.app.clone(), Step::Open(0)).expect("it has one");
            rollout.learn(&fact);
        };
        let left = |clock: u64| {
            let mut rollout = restrained(in_two(), |of| of.deadline_s = Some(600));
            opened(&mut rollout, 1_700_000_000);
            rollout.revive(UnixTime(clock), at(3), Duration::ZERO);
            rollout.enlist(&nodes(2, Presence::Expected));
            rollout.tick(at(8));
            rollout.left(at(8)).expect("it has a deadline").as_secs()
        };
        assert_eq!(left(1_700_000_200), 395);
        assert_eq!(left(1_800_000_000), 55, "the clock was set by years, or it was away for as long");
        assert_eq!(left(0), 595, "nobody knows what time it is");
    }

    fn racks(node: NodeId) -> Option<&'static Label> {
        static RACKS: std::sync::LazyLock<[Label; 2]> =
            std::sync::LazyLock::new(|| ["a", "b"].map(|rack| Label::new(rack).expect("a plain label")));
        (0..100).find(|nr| NodeId(digest(*nr)) == node).map(|nr| &RACKS[usize::from(nr % 2)])
    }

    fn one_of_each_rack(count: u8) -> Rollout {
        let by = Some(Label::new("rack").expect("a plain label"));
        let mut rollout = restrained(vec![Wave::PerMille(1000)], |of| {
            of.at_once = vec![content::order::AtOnce { by, most: Wave::Count(1) }];
        });
        rollout.enlist(&nodes(count, Presence::Expected));
        step(&mut rollout);
        rollout
    }

    fn admitted(rollout: &mut Rollout, count: u8) -> Vec<NodeId> {
        rollout.admit(at(1000), |node, _| racks(node));
        open(rollout, count)
    }

    #[test]
    fn of_a_rack_one_switches_and_the_next_when_that_is_through() {
        let mut rollout = one_of_each_rack(6);
        assert!(admitted(&mut rollout, 6).is_empty(), "nobody is laid out yet");
        nodes(6, Presence::Expected).iter().for_each(|(node, _)| assert!(rollout.report(*node, Phase::Staged)));
        let mut through = BTreeSet::new();
        while through.len() < 6 {
            let now = admitted(&mut rollout, 6);
            let switching: Vec<&NodeId> = now.iter().filter(|node| !through.contains(*node)).collect();
            let of = |rack: &str| {
                switching.iter().filter(|node| racks(***node).is_some_and(|of| of.as_str() == rack)).count()
            };
            assert_eq!((of("a"), of("b")), (1, 1), "{} are through", through.len());
            let switching: Vec<NodeId> = switching.into_iter().copied().collect();
            rollout.report(switching[0], Phase::Live);
            assert_eq!(admitted(&mut rollout, 6), now, "it is not known yet whether it does well");
            rollout.report(switching[0], Phase::Confirmed);
            rollout.report(switching[1], Phase::Confirmed);
            through.extend(switching);
        }
        assert_eq!(rollout.judge(), Some(Step::Finish));
    }

    #[test]
    fn who_is_away_or_has_failed_holds_its_rack_up_no_more() {
        for gone in [true, false] {
            let mut rollout = one_of_each_rack(4);
            rollout.order.budget = 4;
            let mut all = nodes(4, Presence::Expected);
            all.iter().for_each(|(node, _)| assert!(rollout.report(*node, Phase::Staged)));
            let first = admitted(&mut rollout, 4);
            assert_eq!(first.len(), 2);
            if gone {
                all.iter_mut().filter(|(node, _)| *node == first[0]).for_each(|of| of.1 = Presence::Away);
                rollout.enlist(&all);
            } else {
                rollout.report(first[0], Phase::Failed);
            }
            assert_eq!(admitted(&mut rollout, 4).len(), 3, "gone: {gone}");
            assert_eq!(rollout.failed(), 1, "who vanished when it was about to switch has failed");
        }
    }

    #[test]
    fn a_process_that_does_not_know_who_was_let_lets_nobody_for_a_while() {
        let mut rollout = one_of_each_rack(4);
        rollout.revive(UnixTime(0), at(970), Duration::from_secs(31));
        nodes(4, Presence::Expected).iter().for_each(|(node, _)| assert!(rollout.report(*node, Phase::Staged)));
        let live = NodeId(digest(0));
        rollout.report(live, Phase::Live);
        assert_eq!(admitted(&mut rollout, 4), [live], "it was let by the process before");
        rollout.admit(at(1001), |node, _| racks(node));
        let then = open(&rollout, 4);
        assert_eq!(then.len(), 2, "one of the other rack, and the one that is live");
    }

    #[test]
    fn while_it_is_not_known_who_was_let_no_time_is_taken() {
        let mut rollout = one_of_each_rack(4);
        rollout.order.restraint.deadline_s = Some(600);
        rollout.revive(UnixTime(0), at(10), Duration::from_secs(500));
        (20..=510).step_by(5).for_each(|second| rollout.tick(at(second)));
        assert_eq!(
            rollout.left(at(510)),
            Some(Duration::from_secs(595)),
            "the last look at which it was unsure was five seconds ago"
        );
        (515..=540).step_by(5).for_each(|second| rollout.tick(at(second)));
        assert_eq!(rollout.left(at(540)), Some(Duration::from_secs(565)));
    }

    #[test]
    fn who_waits_for_others_of_its_rack_is_looked_after_until_it_is_let() {
        let mut rollout = one_of_each_rack(4);
        assert!(!rollout.has_a_queue(), "nobody is laid out yet");
        nodes(4, Presence::Expected).iter().for_each(|(node, _)| assert!(rollout.report(*node, Phase::Staged)));
        let mut through = admitted(&mut rollout, 4);
        assert!(rollout.has_a_queue());
        through.iter().for_each(|node| assert!(rollout.report(*node, Phase::Confirmed)));
        through = admitted(&mut rollout, 4);
        assert_eq!((through.len(), rollout.has_a_queue()), (4, false));
    }

    #[test]
    fn who_was_let_stays_let_and_a_pause_lets_nobody() {
        let mut rollout = one_of_each_rack(4);
        nodes(4, Presence::Expected).iter().for_each(|(node, _)| assert!(rollout.report(*node, Phase::Staged)));
        let let_in = admitted(&mut rollout, 4);
        let key = content::SigningKey::from_secret(&[1; 32]);
        rollout.paused = Some(key.sign(content::PayloadKind::Directive, Vec::new()));
        rollout.report(let_in[0], Phase::Confirmed);
        assert_eq!(admitted(&mut rollout, 4), [let_in[0]]);
        rollout.paused = None;
        assert_eq!(admitted(&mut rollout, 4).len(), 3);
    }
}
