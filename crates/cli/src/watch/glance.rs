//! What stands out in a status: how many nodes of a rollout are how far, and which of them somebody should look at.

use content::Selector;
use node::api::{FleetStatus, NodeStatus, Role, RolloutStatus};
use node::escape::escape;
use node::standing::{Standing, of_app, with_release};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::words::{self, by_number};

/// Who brings less than half of what the middle one of those has that still fetch, is slow.
const SLOW: u64 = 2;

/// The agents that a rollout is for.
pub(crate) fn agents_of<'a>(
    status: &'a FleetStatus,
    rollout: &RolloutStatus,
) -> impl Iterator<Item = &'a NodeStatus> + use<'a> {
    let selector: Selector = rollout.selector.parse().unwrap_or_default();
    let everyone = selector.is_everyone();
    status.nodes.iter().filter(move |node| node.role == Role::Agent && (everyone || node.is_selected(&selector)))
}

/// How a node is in trouble; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    Failed,
    FellBack,
    Stuck,
    Away,
    Slow,
}

impl Trouble {
    /// In a word or two.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::FellBack => "fell back",
            Self::Stuck => "stuck",
            Self::Away => "away",
            Self::Slow => "slow",
        }
    }
}

/// A node that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad<'a> {
    pub(crate) node: &'a NodeStatus,
    pub(crate) trouble: Trouble,
    /// The application it is in trouble with, unless it is with all of them.
    pub(crate) app: Option<&'a str>,
    /// How far it has come, in thousandths.
    part: u64,
    why: Option<&'a str>,
}

impl Bad<'_> {
    /// Why, in words; `age` has passed since this was so.
    pub(crate) fn why(&self, age: Duration) -> String {
        let said = self.why.map(escape).unwrap_or_default();
        let app = self.app.map(|app| format!("{}: ", escape(app))).unwrap_or_default();
        match self.trouble {
            Trouble::Away => format!("for {}", words::duration(Duration::from_micros(self.node.since_us) + age)),
            Trouble::Slow => format!("{app}has {} % of the pieces", self.part / 10),
            _ if said.is_empty() => format!("{app}it does not say why"),
            _ => format!("{app}{said}"),
        }
    }
}

/// The nodes that somebody should look at, the worst first, each once.
pub(crate) fn bad_nodes(status: &FleetStatus) -> Vec<Bad<'_>> {
    let mut worst: BTreeMap<&str, Bad<'_>> = BTreeMap::new();
    for rollout in &status.apps {
        let slow_below = median(status, rollout) / SLOW;
        for bad in agents_of(status, rollout).filter_map(|node| judge(node, rollout, slow_below)) {
            let known = worst.entry(&bad.node.node).or_insert_with(|| bad.clone());
            if bad.trouble < known.trouble {
                *known = bad;
            }
        }
    }
    let mut all: Vec<Bad<'_>> = worst.into_values().collect();
    // Of those that are away the one that has just gone is what is new; of the slow the slowest is worst.
    all.sort_by_cached_key(|bad| {
        let since = if bad.trouble == Trouble::Away { bad.node.since_us } else { 0 };
        (bad.trouble, since / 1_000_000, bad.part, by_number(&bad.node.name))
    });
    all
}

fn judge<'a>(node: &'a NodeStatus, rollout: &'a RolloutStatus, slow_below: u64) -> Option<Bad<'a>> {
    let on = of_app(node, &rollout.app);
    let part = part(node, rollout);
    let trouble = match Standing::of(node, rollout, true) {
        Standing::Failed => Trouble::Failed,
        Standing::FellBack => Trouble::FellBack,
        Standing::Away => Trouble::Away,
        Standing::Confirmed | Standing::Apart => return None,
        _ if on.is_some_and(|on| on.trouble.is_some()) => Trouble::Stuck,
        Standing::Fetching if part < slow_below => Trouble::Slow,
        _ => return None,
    };
    let app = (trouble != Trouble::Away).then_some(rollout.app.as_str());
    Some(Bad { node, trouble, app, part, why: on.and_then(|on| on.trouble.as_deref()) })
}

/// How far a node is with a release, in thousandths of its pieces.
fn part(node: &NodeStatus, rollout: &RolloutStatus) -> u64 {
    with_release(node, rollout).map_or(0, |on| u64::from(on.have) * 1000 / u64::from(on.total.max(1)))
}

/// How far the middle one is of those that are connected and have begun.
fn median(status: &FleetStatus, rollout: &RolloutStatus) -> u64 {
    let begun = agents_of(status, rollout).filter(|node| node.up && with_release(node, rollout).is_some());
    let mut parts: Vec<u64> = begun.map(|node| part(node, rollout)).collect();
    let middle = parts.len() / 2;
    if parts.is_empty() { 0 } else { *parts.select_nth_unstable(middle).1 }
}

/// How many nodes of a rollout stand how.
pub(crate) fn standings(status: &FleetStatus, rollout: &RolloutStatus) -> BTreeMap<Standing, usize> {
    let mut counts = BTreeMap::new();
    for node in agents_of(status, rollout) {
        *counts.entry(Standing::of(node, rollout, true)).or_default() += 1;
    }
    counts
}
