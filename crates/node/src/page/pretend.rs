//! A fleet of a few nodes for the tests of the page's parts, and someone who does nothing.

use super::board::Board;
use super::door::Door;
use super::past::Past;
use super::session::Sessions;
use super::{Acting, Deed, Operator, Recalling};
use crate::api::{
    AppStatus, FleetStatus, NodeStatus, Phase, ReleaseStatus, Restraint, Role, RolloutState, RolloutStatus, Timeline,
    WaveStatus,
};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// One whose buttons do nothing.
pub(crate) struct Nobody;

impl Operator for Nobody {
    fn act(&self, _: Deed) -> Acting {
        Box::pin(async { Ok(String::new()) })
    }

    fn history(&self) -> Recalling {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// A door before an empty board.
pub(crate) fn door() -> Arc<Door> {
    let (changed, _) = watch::channel(0);
    let (board, sessions) = (Mutex::new(Board::default()), Mutex::new(Sessions::default()));
    Arc::new(Door { port: 1, board, changed, sessions, operator: Arc::new(Nobody), past: Past::default() })
}

/// An agent and how far it is with release `new` under order `now`.
pub(crate) fn node(name: &str, phase: Option<Phase>) -> NodeStatus {
    let runs = matches!(phase, Some(Phase::Live | Phase::Confirmed));
    let on = |phase| AppStatus {
        app: "web".into(),
        release: "new".into(),
        order: Some("now".into()),
        phase,
        have: 3,
        total: 10,
        from_origin: 0,
        from_peers: 0,
        had: 0,
        timeline: Timeline::default(),
        live: runs.then(|| "new".to_owned()),
        confirmed: None,
        trouble: None,
    };
    NodeStatus {
        node: name.into(),
        name: name.into(),
        role: Role::Agent,
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        up: true,
        since_us: 60_000_000,
        software: "1".into(),
        limit: None,
        obeys_limits: true,
        speaks: 6,
        apps: phase.map(on).into_iter().collect(),
    }
}

/// Release `new` of `web`, ordered in waves of one, two and two.
pub(crate) fn rollout(state: RolloutState) -> RolloutStatus {
    let release = |release: &str, proven| ReleaseStatus {
        release: release.into(),
        version: format!("v-{release}"),
        created: 0,
        runs: true,
        proven,
    };
    let wave = |nodes, confirmed| WaveStatus { nodes, confirmed, ..WaveStatus::default() };
    RolloutStatus {
        app: "web".into(),
        order: Some("now".into()),
        epoch: 7,
        release: "new".into(),
        version: "v-new".into(),
        by: "alice".into(),
        message: String::new(),
        state,
        origin_have: 4,
        origin_total: 10,
        content_bytes: 100,
        origin_sent: 0,
        selector: String::new(),
        releases: vec![release("old", true), release("tried", false), release("new", false)],
        created: 5,
        fallback: Some("old".into()),
        budget: 1,
        waves: vec![wave(1, 1), wave(2, 1), wave(2, 0)],
        restraint: Restraint::default(),
        since_us: None,
        roads: Vec::new(),
    }
}

pub(crate) fn fleet(nodes: Vec<NodeStatus>) -> FleetStatus {
    FleetStatus { nodes, apps: vec![rollout(RolloutState::Rolling { wave: 1 })], ..FleetStatus::default() }
}
