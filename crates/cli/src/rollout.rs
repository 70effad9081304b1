//! When is a rollout over? Each node is confirmed, has failed, or has been given up on; this says which, and why.
//!
//! Pure: a status and a moment come in, a standing for each node comes out. A node counts as given up on when something is in
//! its way, or it cannot be reached, and it has not moved for as long as the operator's patience lasts.

use content::Selector;
use node::api::{AppStatus, FleetStatus, NodeStatus, Phase, Role, RolloutState, RolloutStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What is waited for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Goal {
    /// The application.
    pub(crate) app: String,
    /// The release; empty until it is known.
    pub(crate) release: String,
    /// The order and its epoch, once it was given.
    pub(crate) order: Option<(String, u64)>,
    /// Which agents.
    pub(crate) selector: Selector,
    /// Whether the rollout waits for those that are away.
    pub(crate) waits: bool,
}

/// What became of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is on its way.
    Going,
    /// It runs the release and is healthy.
    Confirmed,
    /// It does not, and why.
    GivenUp(String),
    /// It could not be reached from the beginning; it will converge when it comes back.
    Absent(String),
}

/// Where a node stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Its name.
    pub(crate) name: String,
    /// What became of it.
    pub(crate) verdict: Verdict,
    /// How far it is with the release.
    pub(crate) app: Option<AppStatus>,
}

/// Judges, and remembers when each node moved last.
#[derive(Debug)]
pub(crate) struct Judge {
    /// What is waited for.
    pub(crate) goal: Goal,
    patience: Duration,
    moved: BTreeMap<String, (Option<(Phase, u32)>, Instant)>,
    /// Nodes that have been connected while this judge looked.
    seen: BTreeSet<String>,
    /// When each node went that is away: a status says it once, and time passes without a new one.
    gone: BTreeMap<String, Instant>,
    /// Whether the rollout waits for somebody's word: nobody moves then, and that is no sign of anything.
    waits: bool,
    /// When any node moved last: who is laid out waits for its wave, or for others of its rack, as long as others move.
    stirred: Option<Instant>,
}

/// How long a node that was not connected from the beginning is waited for: an origin that was just started has to be found
/// again by its agents, which takes as long as their longest pause between two tries.
const RETURN: Duration = Duration::from_secs(10);
/// How often patience must run out on a node that says nothing is in its way.
const SILENT: u32 = 10;

impl Judge {
    /// A judge who waits so long for what does not move.
    pub(crate) fn new(goal: Goal, patience: Duration) -> Self {
        Self {
            goal,
            patience,
            moved: BTreeMap::new(),
            seen: BTreeSet::new(),
            gone: BTreeMap::new(),
            waits: false,
            stirred: None,
        }
    }

    /// Where every selected agent stands.
    pub(crate) fn judge(&mut self, status: &FleetStatus, now: Instant) -> Vec<Standing> {
        let nodes: Vec<&NodeStatus> = status.nodes.iter().filter(|node| self.selects(node)).collect();
        for node in &nodes {
            self.note_presence(node, now);
            self.note_progress(node, now);
        }
        let halted = self.rollout(status).and_then(|rollout| match &rollout.state {
            RolloutState::Halted { why } => Some(why.clone()),
            _ => None,
        });
        self.waits = self.rollout(status).is_some_and(waits_for_a_word);
        let standings = nodes.into_iter().map(|node| self.standing(node, halted.as_deref(), now));
        let mut standings: Vec<Standing> = standings.collect();
        standings.sort_by_key(|standing| crate::words::by_number(&standing.name));
        standings
    }

    /// The rollout that is waited for, as long as nothing newer took its place.
    pub(crate) fn rollout<'a>(&self, status: &'a FleetStatus) -> Option<&'a RolloutStatus> {
        status.apps.iter().find(|rollout| rollout.app == self.goal.app && rollout.release == self.goal.release)
    }

    /// Whether a newer order took the place of ours, and whose.
    pub(crate) fn superseded(&self, status: &FleetStatus) -> Option<String> {
        let (order, epoch) = self.goal.order.as_ref()?;
        let newer = status.apps.iter().find(|rollout| {
            rollout.app == self.goal.app && rollout.epoch > *epoch && rollout.order.as_ref() != Some(order)
        })?;
        Some(format!("epoch {} is now by {}: {} {}", newer.epoch, newer.by, newer.version, newer.message))
    }

    fn selects(&self, node: &NodeStatus) -> bool {
        node.role == Role::Agent && node.is_selected(&self.goal.selector)
    }

    fn note_presence(&mut self, node: &NodeStatus, now: Instant) {
        if node.up {
            self.seen.insert(node.node.clone());
            self.gone.remove(&node.node);
        } else if let Some(then) = now.checked_sub(Duration::from_micros(node.since_us)) {
            let gone = self.gone.entry(node.node.clone()).or_insert(then);
            *gone = then.min(*gone);
        }
    }

    fn note_progress(&mut self, node: &NodeStatus, now: Instant) {
        let ours = |app: &&AppStatus| app.app == self.goal.app && app.release == self.goal.release;
        let mark = node.apps.iter().find(ours).map(|app| (app.phase, app.have));
        if self.moved.get(&node.node).is_none_or(|(before, _)| *before != mark) {
            self.moved.insert(node.node.clone(), (mark, now));
            self.stirred = Some(now);
        }
    }

    fn standing(&self, node: &NodeStatus, halted: Option<&str>, now: Instant) -> Standing {
        let ours = |app: &&AppStatus| app.app == self.goal.app && app.release == self.goal.release;
        let app = node.apps.iter().find(ours).cloned();
        let moved = self.moved.get(&node.node).map_or(now, |(_, moved)| *moved);
        let is_next = app.as_ref().is_some_and(|app| app.phase == Phase::Staged);
        let since = self.stirred.filter(|_| is_next).map_or(moved, |stirred| stirred.max(moved));
        let still = now.saturating_duration_since(since);
        let away = self.gone.get(&node.node).map(|gone| now.saturating_duration_since(*gone));
        let verdict = self.verdict(node, app.as_ref(), halted, (still, away.unwrap_or_default()));
        Standing { name: node.name.clone(), verdict, app }
    }

    /// Judges a node that has been still, and away, for so long.
    fn verdict(
        &self,
        node: &NodeStatus,
        app: Option<&AppStatus>,
        halted: Option<&str>,
        (still, away): (Duration, Duration),
    ) -> Verdict {
        let phase = app.map(|app| app.phase);
        let trouble = app.and_then(|app| app.trouble.clone());
        match (phase, halted) {
            (Some(Phase::Confirmed), _) if self.is_of_our_order(app) => Verdict::Confirmed,
            (Some(Phase::Failed), _) => Verdict::GivenUp(trouble.unwrap_or_else(|| "it failed".to_owned())),
            // Who has nothing to say for itself never ran it, or went back because others could not.
            (Some(Phase::FellBack), _) => Verdict::GivenUp(match trouble {
                Some(trouble) => format!("it fell back: {trouble}"),
                None => "it runs what it ran before, as the rollout halted".to_owned(),
            }),
            _ if !node.up => self.unreachable(node, away),
            (None | Some(Phase::Told | Phase::Fetching | Phase::Complete | Phase::Staged), Some(why)) => {
                Verdict::GivenUp(format!("the rollout halted: {}", trouble.as_deref().unwrap_or(why)))
            }
            _ if self.waits && trouble.is_none() => Verdict::Going,
            _ => self.waiting(trouble, still),
        }
    }

    /// A confirmation of the same release under an earlier order does not count.
    fn is_of_our_order(&self, app: Option<&AppStatus>) -> bool {
        match (&self.goal.order, app) {
            (Some((order, _)), Some(app)) => app.order.as_ref() == Some(order),
            _ => false,
        }
    }

    fn unreachable(&self, node: &NodeStatus, away: Duration) -> Verdict {
        let why = format!("unreachable for {}", crate::words::duration(away));
        match self.seen.contains(&node.node) {
            true if away > self.patience => Verdict::GivenUp(why),
            false if away > RETURN && self.goal.waits => Verdict::GivenUp(format!(
                "{why}; the rollout waits for it, and goes on when it is back, or with `tiding promote`"
            )),
            false if away > RETURN => Verdict::Absent(why),
            _ => Verdict::Going,
        }
    }

    fn waiting(&self, trouble: Option<String>, still: Duration) -> Verdict {
        match trouble {
            Some(trouble) if still > self.patience => Verdict::GivenUp(trouble),
            None if still > self.patience * SILENT => {
                Verdict::GivenUp(format!("no progress for {}", crate::words::duration(still)))
            }
            _ => Verdict::Going,
        }
    }
}

/// Whether nothing happens until somebody says so.
fn waits_for_a_word(rollout: &RolloutStatus) -> bool {
    rollout.restraint.awaits.is_some() || matches!(rollout.state, RolloutState::Paused { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn app(phase: Phase, trouble: Option<&str>) -> AppStatus {
        AppStatus {
            app: "app".into(),
            release: "r1".into(),
            order: Some("o1".into()),
            phase,
            have: 3,
            total: 9,
            from_origin: 0,
            from_peers: 0,
            had: 0,
            timeline: node::api::Timeline::default(),
            live: None,
            confirmed: None,
            trouble: trouble.map(str::to_owned),
        }
    }

    fn node(name: &str, up: bool, since: Duration, apps: Vec<AppStatus>) -> NodeStatus {
        NodeStatus {
            node: name.into(),
            name: name.into(),
            role: Role::Agent,
            labels: BTreeMap::new(),
            up,
            since_us: since.as_micros() as u64,
            software: String::new(),
            limit: None,
            obeys_limits: true,
            speaks: 6,
            apps,
        }
    }

    fn judge() -> Judge {
        let order = Some(("o1".to_owned(), 4));
        Judge::new(
            Goal { app: "app".into(), release: "r1".into(), order, selector: Selector::default(), waits: false },
            PATIENCE,
        )
    }

    /// As `verdicts`, of a rollout that waits as much as the judge believes already.
    fn verdicts_of(judge: &mut Judge, nodes: Vec<NodeStatus>, now: Instant) -> Vec<Verdict> {
        nodes.iter().for_each(|node| judge.note_presence(node, now));
        nodes.iter().for_each(|node| judge.note_progress(node, now));
        nodes.iter().map(|node| judge.standing(node, None, now).verdict).collect()
    }

    fn verdicts(judge: &mut Judge, nodes: Vec<NodeStatus>, now: Instant) -> Vec<Verdict> {
        let status = FleetStatus { nodes, ..FleetStatus::default() };
        judge.judge(&status, now).into_iter().map(|standing| standing.verdict).collect()
    }

    #[test]
    fn trouble_is_waited_for_as_long_as_patience_lasts() {
        let (mut judge, start) = (judge(), Instant::now());
        let nodes = || vec![node("a", true, Duration::ZERO, vec![app(Phase::Fetching, Some("disk full"))])];
        assert_eq!(verdicts(&mut judge, nodes(), start), [Verdict::Going]);
        assert_eq!(verdicts(&mut judge, nodes(), start + PATIENCE), [Verdict::Going]);
        let later = start + PATIENCE + Duration::from_secs(1);
        assert_eq!(verdicts(&mut judge, nodes(), later), [Verdict::GivenUp("disk full".into())]);
    }

    #[test]
    fn a_node_that_was_away_from_the_beginning_is_no_failure_and_one_that_leaves_is() {
        let (mut judge, start) = (judge(), Instant::now());
        let long = PATIENCE * 2;
        let first = vec![node("away", false, long, vec![]), node("leaves", true, long, vec![])];
        assert!(matches!(verdicts(&mut judge, first, start)[..], [Verdict::Absent(_), Verdict::Going]));
        let then = |since| vec![node("away", false, long, vec![]), node("leaves", false, since, vec![])];
        let short = Duration::from_secs(1);
        assert!(matches!(verdicts(&mut judge, then(short), start)[..], [Verdict::Absent(_), Verdict::Going]));
        assert!(matches!(verdicts(&mut judge, then(long), start)[..], [Verdict::Absent(_), Verdict::GivenUp(_)]));
    }

    #[test]
    fn who_waits_for_a_word_or_for_its_turn_is_not_given_up() {
        let (mut judge, start) = (judge(), Instant::now());
        judge.waits = true;
        let staged = |name: &str| node(name, true, Duration::ZERO, vec![app(Phase::Staged, None)]);
        assert_eq!(verdicts_of(&mut judge, vec![staged("a")], start), [Verdict::Going]);
        let long = PATIENCE * (SILENT + 1);
        assert_eq!(verdicts_of(&mut judge, vec![staged("a")], start + long), [Verdict::Going]);
        judge.waits = false;
        let live = |phase| node("b", true, Duration::ZERO, vec![app(phase, None)]);
        let both = |phase| vec![staged("a"), live(phase)];
        assert_eq!(verdicts_of(&mut judge, both(Phase::Live), start + long)[0], Verdict::Going, "another one moves");
        assert_eq!(verdicts_of(&mut judge, both(Phase::Confirmed), start + long * 2)[0], Verdict::Going);
        let silent = verdicts_of(&mut judge, both(Phase::Confirmed), start + long * 3);
        assert!(matches!(&silent[0], Verdict::GivenUp(why) if why.contains("no progress")), "{silent:?}");
    }

    #[test]
    fn who_is_waited_for_and_away_is_no_success() {
        let (mut judge, start) = (judge(), Instant::now());
        judge.goal.waits = true;
        let away = vec![node("away", false, PATIENCE, vec![])];
        let verdicts = verdicts(&mut judge, away, start);
        assert!(matches!(&verdicts[..], [Verdict::GivenUp(why)] if why.contains("tiding promote")), "{verdicts:?}");
    }

    #[test]
    fn agents_of_an_origin_that_was_just_started_have_time_to_come_back() {
        let (mut judge, start) = (judge(), Instant::now());
        let away = |secs| vec![node("a", false, Duration::from_secs(secs), vec![])];
        assert_eq!(verdicts(&mut judge, away(2), start), [Verdict::Going]);
        let back = vec![node("a", true, Duration::ZERO, vec![app(Phase::Confirmed, None)])];
        assert_eq!(verdicts(&mut judge, back, start), [Verdict::Confirmed]);
        let mut other = super::tests::judge();
        assert_eq!(verdicts(&mut other, away(2), start), [Verdict::Going]);
        let later = start + RETURN;
        assert!(matches!(verdicts(&mut other, away(2), later)[..], [Verdict::Absent(_)]), "the same news, but later");
    }

    #[test]
    fn a_confirmation_under_an_earlier_order_does_not_count() {
        let (mut judge, start) = (judge(), Instant::now());
        let confirmed = || vec![node("a", true, Duration::ZERO, vec![app(Phase::Confirmed, None)])];
        assert_eq!(verdicts(&mut judge, confirmed(), start), [Verdict::Confirmed]);
        judge.goal.order = Some(("o2".to_owned(), 5));
        assert_eq!(verdicts(&mut judge, confirmed(), start), [Verdict::Going]);
    }

    #[test]
    fn only_selected_agents_are_waited_for() {
        let (mut judge, start) = (judge(), Instant::now());
        judge.goal.selector = "zone=a".parse().expect("a selector");
        let mut inside = node("a", true, Duration::ZERO, vec![]);
        inside.labels.insert("zone".to_owned(), "a".to_owned());
        let origin = NodeStatus { role: Role::Origin, ..inside.clone() };
        assert_eq!(verdicts(&mut judge, vec![inside, origin, node("b", true, PATIENCE, vec![])], start).len(), 1);
    }
}
