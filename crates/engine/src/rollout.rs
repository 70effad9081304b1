//! Who may have it when: the conductor of the rollouts of one datacenter.
//!
//! It works inside a signed order and can only open its next wave, halt it, fall back, or call it finished. What it decided
//! is a fact before anyone is told. A node that has been away for long holds nothing up; it converges when it returns.

use crate::door::{Gate, Phase, RolloutState, WaveStatus};
use content::directive::Verb;
use content::order::Unreachable;
use content::{AppName, Digest, Directive, Fact, NodeId, Order, OrderId, ReleaseId, Signed};
use std::collections::{BTreeMap, BTreeSet};

/// What a conductor may decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Open(u8),
    Halt(String),
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
    /// The place of every selected node among the waves.
    places: BTreeMap<NodeId, usize>,
    away: Vec<NodeId>,
}

impl Rollout {
    pub(crate) fn new(id: OrderId, order: Order) -> Self {
        Self {
            id,
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
            away: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> OrderId {
        self.id
    }

    /// A fact that stands in the journal.
    pub(crate) fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::WaveOpened { order, wave, .. } if *order == self.id => self.open = self.open.max(Some(*wave)),
            // What is finished stays finished: a machine that comes late and fails takes nothing from those that run well.
            _ if self.is_finished => {}
            Fact::Halted { order, why, .. } if *order == self.id => self.halted = Some(why.clone()),
            Fact::FellBack { order, .. } if *order == self.id => self.has_fallen_back = true,
            Fact::Finished { order, .. } if *order == self.id => self.is_finished = true,
            Fact::Directed { directive, .. } => self.directed(directive),
            _ => {}
        }
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

    /// Who has paused it, by the signed words, and which wave is open.
    pub(crate) fn paused(&self) -> Option<(&Signed, Option<u8>)> {
        let paused = self.paused.as_ref().filter(|_| !self.is_finished && self.halted.is_none())?;
        Some((paused, self.open))
    }

    /// The selected nodes that are known. Who is in which wave depends on them and the order alone.
    pub(crate) fn enlist(&mut self, nodes: &[(NodeId, Presence)]) {
        let mut ranked: Vec<(Digest, NodeId)> = nodes.iter().map(|(node, _)| (self.rank(*node), *node)).collect();
        ranked.sort_unstable();
        self.places = ranked.into_iter().enumerate().map(|(place, (_, node))| (node, place)).collect();
        self.away = nodes.iter().filter(|(_, presence)| *presence == Presence::Away).map(|(node, _)| *node).collect();
        self.away.sort_unstable();
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
            (None, true) if self.paused.is_none() || self.has_switched(node) => Gate::Open,
            (Some(_), _) if self.has_fallen_back => Gate::FallBack,
            _ => Gate::Hold,
        }
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
        let is_promoted = self.promoted.is_some_and(|promoted| promoted > open);
        if !is_promoted && self.is_lost(self.size(open)) {
            return Some(Step::Halt(format!("nobody of wave {} did well", u32::from(open) + 1)));
        }
        if !is_promoted && !self.is_confirmed(self.size(open)) {
            return None;
        }
        match usize::from(open) + 1 < self.order.waves.len() {
            true => Some(Step::Open(open + 1)),
            false => Some(Step::Finish),
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
        let settled = |node: &NodeId| is_confirmed(node) || self.has_failed(node) || self.is_skipped(node);
        let mut these = self.places.iter().filter(|(_, place)| **place < size).map(|(node, _)| node);
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
            waves[wave].confirmed += u32::from(self.phases.get(node) == Some(&Phase::Confirmed));
            waves[wave].failed += u32::from(self.has_failed(node));
        }
        waves
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
}
