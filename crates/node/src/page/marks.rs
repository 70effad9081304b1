//! How a node stands with an application, in one word, as a mark of the flock shows it.

use crate::api::{AppStatus, NodeStatus, RolloutStatus};
use crate::escape::escape;
use crate::standing::{Standing, of_app, with_release};
use serde::Serialize;

/// A node's mark for one application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mark {
    /// The application's slot.
    pub(crate) app: u32,
    pub(crate) is: Standing,
    /// How many thousandths of the pieces are here.
    pub(crate) part: u16,
    /// What is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

impl Mark {
    /// The mark of a node; `chosen` says whether the order selects it.
    pub(crate) fn of(slot: u32, node: &NodeStatus, rollout: &RolloutStatus, chosen: bool) -> Self {
        let status = with_release(node, rollout);
        let part = status.map_or(0, |status| u64::from(status.have) * 1000 / u64::from(status.total.max(1)));
        let standing = Standing::of(node, rollout, chosen);
        let why = of_app(node, &rollout.app).and_then(|status| status.trouble.as_deref()).map(escape);
        Self { app: slot, is: standing, part: part.min(1000) as u16, why }
    }
}

/// Of those whom an order selects, how many are how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Reach {
    pub(crate) selected: usize,
    pub(crate) live: usize,
    pub(crate) confirmed: usize,
    pub(crate) failed: usize,
    pub(crate) away: usize,
}

impl Reach {
    /// Counts a node that is selected.
    pub(crate) fn count(&mut self, node: &NodeStatus, rollout: &RolloutStatus, mark: &Mark) {
        let runs = |status: &AppStatus| status.live.as_ref() == Some(&rollout.release);
        self.selected += 1;
        self.live += usize::from(of_app(node, &rollout.app).is_some_and(runs));
        self.confirmed += usize::from(mark.is == Standing::Confirmed);
        self.failed += usize::from(matches!(mark.is, Standing::Failed | Standing::FellBack));
        self.away += usize::from(!node.up);
    }

    /// `live on 497 of 500 nodes; 3 not connected`.
    pub(crate) fn words(&self) -> String {
        let away = if self.away == 0 { String::new() } else { format!("; {} not connected", number(self.away)) };
        format!("live on {} of {}{away}", number(self.live), nodes(self.selected))
    }
}

/// `1 node`, `2,000 nodes`.
pub(crate) fn nodes(count: usize) -> String {
    format!("{} {}", number(count), if count == 1 { "node" } else { "nodes" })
}

/// A number whose thousands are set apart.
pub fn number(count: usize) -> String {
    let digits = count.to_string();
    let apart = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    digits.char_indices().flat_map(|(at, digit)| apart(at).then_some(',').into_iter().chain([digit])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pretend::{node, rollout};
    use super::*;
    use crate::api::{Phase, RolloutState};

    fn standing(node: &NodeStatus) -> Standing {
        Mark::of(0, node, &rollout(RolloutState::Finished), true).is
    }

    #[test]
    fn a_mark_is_about_this_order_and_this_release() {
        assert_eq!(standing(&node("a", Some(Phase::Confirmed))), Standing::Confirmed);
        assert_eq!(standing(&node("a", None)), Standing::Waiting);
        let mut before = node("a", Some(Phase::Confirmed));
        before.apps[0].order = Some("before".into());
        assert_eq!(standing(&before), Standing::Waiting, "it has not heard of the newest order");
        before.apps[0].release = "old".into();
        assert_eq!(standing(&before), Standing::Waiting);
        let away = NodeStatus { up: false, ..node("a", Some(Phase::Failed)) };
        assert_eq!(standing(&away), Standing::Away);
        let apart = Mark::of(0, &away, &rollout(RolloutState::Finished), false);
        assert_eq!(apart.is, Standing::Apart);
    }

    #[test]
    fn it_is_counted_how_many_are_how_far() {
        let rollout = rollout(RolloutState::Finished);
        let nodes = [Some(Phase::Live), Some(Phase::Confirmed), Some(Phase::FellBack), None].map(|of| node("a", of));
        let mut reach = Reach::default();
        nodes.iter().for_each(|node| reach.count(node, &rollout, &Mark::of(0, node, &rollout, true)));
        assert_eq!(reach, Reach { selected: 4, live: 2, confirmed: 1, failed: 1, away: 0 });
        assert_eq!(Reach { selected: 1200, away: 1, ..reach }.words(), "live on 2 of 1,200 nodes; 1 not connected");
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
