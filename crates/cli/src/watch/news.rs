//! What has changed, a line each: for pipes and files, where nothing can be painted over.

use super::glance::{bad_nodes, standings};
use super::picture::{View, state};
use crate::words;
use node::api::{FleetStatus, RolloutStatus};
use node::escape::escape;
use node::page::number;
use node::standing::Standing;
use std::collections::BTreeMap;

/// Nodes that are named in one go at most.
const NAMED: usize = 10;

/// What was said already.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Of each application, all that makes another line of it.
    apps: BTreeMap<String, (String, usize, usize)>,
    /// Who is in trouble, by id: the name, and what was said.
    nodes: BTreeMap<String, (String, String)>,
    is_lost: bool,
}

impl News {
    /// What is to be said of a view that was not said before.
    pub(crate) fn of(&mut self, view: &View<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        if view.lost.is_some() != self.is_lost {
            self.is_lost = view.lost.is_some();
            lines.push(match view.lost {
                Some((_, why)) => format!("no origin answers: {}; it is tried again", escape(why)),
                None => "an origin answers again".to_owned(),
            });
        }
        if let Some(status) = view.status.filter(|_| view.lost.is_none()) {
            lines.extend(status.apps.iter().filter_map(|app| self.of_app(status, app)));
            lines.extend(self.of_nodes(status));
        }
        lines
    }

    /// An application whose state has changed, whose failures have, or that is a tenth further.
    fn of_app(&mut self, status: &FleetStatus, app: &RolloutStatus) -> Option<String> {
        let counts = standings(status, app);
        let count = |of: &[Standing]| of.iter().filter_map(|of| counts.get(of)).sum::<usize>();
        let all: usize = counts.values().sum();
        let confirmed = count(&[Standing::Confirmed]);
        let failed = count(&[Standing::Failed, Standing::FellBack]);
        let (_, state) = state(app);
        let key = (format!("{} {} {state}", app.epoch, app.release), confirmed * 10 / all.max(1), failed);
        if self.apps.get(&app.app) == Some(&key) {
            return None;
        }
        self.apps.insert(app.app.clone(), key);
        let failed = if failed == 0 { String::new() } else { format!(", {} failed", number(failed)) };
        let (name, version) = (escape(&app.app), escape(&app.version));
        Some(format!(
            "{name} {version}  {state}; {} of {} confirmed{failed}",
            number(confirmed),
            words::count(all, "node")
        ))
    }

    fn of_nodes(&mut self, status: &FleetStatus) -> Vec<String> {
        let bad = bad_nodes(status);
        let now: BTreeMap<String, (String, String)> = bad
            .iter()
            .map(|bad| {
                let why = bad.app.map(|_| bad.why(std::time::Duration::ZERO)).unwrap_or_default();
                let what = format!("{}  {}  {why}", escape(&bad.node.name), bad.trouble.word()).trim_end().to_owned();
                // How far a slow one is changes all the time.
                let what = if bad.trouble == super::glance::Trouble::Slow {
                    what.split("  ").take(2).collect::<Vec<_>>().join("  ")
                } else {
                    what
                };
                (bad.node.node.clone(), (escape(&bad.node.name), what))
            })
            .collect();
        let worse =
            now.iter().filter(|(node, said)| self.nodes.get(*node) != Some(said)).map(|(_, (_, what))| what.clone());
        let better = self.nodes.iter().filter(|(node, _)| !now.contains_key(*node));
        let better = better.map(|(_, (name, _))| format!("{name}  is not in trouble any more"));
        let lines = [some(worse.collect()), some(better.collect())].concat();
        self.nodes = now;
        lines
    }
}

/// The first few lines, and how many more there are.
fn some(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(NAMED);
    lines.truncate(NAMED);
    lines.extend((more > 0).then(|| format!("and {} more", number(more))));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::pretend::{away, fleet, in_trouble, node, rollout, view, wave};
    use super::*;
    use node::api::{NodeStatus, Phase, RolloutState};
    use std::time::Duration;

    fn nodes(confirmed: usize) -> Vec<NodeStatus> {
        let phase = |at| if at < confirmed { Phase::Confirmed } else { Phase::Staged };
        (0..40).map(|at| node(&format!("web-{at}"), Some(phase(at)), 100)).collect()
    }

    fn rolling(nodes: Vec<NodeStatus>) -> FleetStatus {
        fleet(nodes, rollout(RolloutState::Rolling { wave: 0 }, vec![wave(40, 0)]))
    }

    #[test]
    fn a_change_is_said_once_and_small_steps_are_not() {
        let (mut news, paces) = (News::default(), BTreeMap::new());
        let mut said = |status: &FleetStatus| news.of(&view(status, &paces));
        assert_eq!(said(&rolling(nodes(0))), ["web 2.41.0  wave 1 of 1 is open; 0 of 40 nodes confirmed"]);
        assert!(said(&rolling(nodes(1))).is_empty() && said(&rolling(nodes(3))).is_empty());
        assert_eq!(said(&rolling(nodes(9))), ["web 2.41.0  wave 1 of 1 is open; 9 of 40 nodes confirmed"]);
        let mut worse = nodes(9);
        worse[20] = in_trouble("web-20", Phase::Failed, "exit\u{7}");
        worse[21] = away("web-21", 5);
        let lines = said(&rolling(worse.clone()));
        assert_eq!(
            lines,
            [
                "web 2.41.0  wave 1 of 1 is open; 9 of 40 nodes confirmed, 1 failed",
                "web-20  failed  web: exit\\u{7}",
                "web-21  away"
            ]
        );
        worse[21].since_us += 10_000_000;
        assert!(said(&rolling(worse.clone())).is_empty(), "time that passes is no news");
        worse[21] = node("web-21", Some(Phase::Staged), 100);
        assert_eq!(said(&rolling(worse)), ["web-21  is not in trouble any more"]);
        let finished = fleet(nodes(40), rollout(RolloutState::Finished, vec![wave(40, 40)]));
        assert_eq!(said(&finished)[0], "web 2.41.0  finished; 40 of 40 nodes confirmed");
    }

    #[test]
    fn w7_an_origin_that_goes_and_comes_is_said_once_each() {
        let (mut news, paces, status) = (News::default(), BTreeMap::new(), rolling(nodes(0)));
        let mut said = |lost: bool| {
            let lost = lost.then_some((Duration::from_secs(1), "refused"));
            news.of(&View { lost, ..view(&status, &paces) })
        };
        assert_eq!(said(false).len(), 1);
        assert_eq!(said(true), ["no origin answers: refused; it is tried again"]);
        assert!(said(true).is_empty());
        assert_eq!(said(false), ["an origin answers again"]);
    }

    #[test]
    fn of_many_nodes_the_first_are_named() {
        let (mut news, paces) = (News::default(), BTreeMap::new());
        let status = rolling((0..40).map(|at| away(&format!("web-{at}"), 5)).collect());
        let lines = news.of(&view(&status, &paces));
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (1 + NAMED + 1, Some("and 30 more")));
    }
}
