//! Made-up fleets for the tests of what is shown of them.

use super::picture::{Line, View, lines};
use node::api::{
    AppStatus, FleetStatus, NodeStatus, Phase, ReleaseStatus, Role, RolloutState, RolloutStatus, Timeline, WaveStatus,
};
use node::pace::Pace;
use std::collections::BTreeMap;
use std::time::Duration;

/// An agent, and how far it is with release `new` of `web`: its phase, and so many hundredths of the pieces.
pub(crate) fn node(name: &str, phase: Option<Phase>, part: u32) -> NodeStatus {
    let on = |phase| AppStatus {
        app: "web".into(),
        release: "new".into(),
        order: Some("now".into()),
        phase,
        have: part,
        total: 100,
        from_origin: u64::from(part) * 1_000,
        from_peers: u64::from(part) * 60_000,
        had: 0,
        timeline: Timeline::default(),
        live: None,
        confirmed: None,
        trouble: None,
    };
    NodeStatus {
        node: name.into(),
        name: name.into(),
        role: Role::Agent,
        labels: BTreeMap::new(),
        up: true,
        since_us: 3_600_000_000,
        software: "1".into(),
        limit: None,
        obeys_limits: true,
        speaks: 6,
        apps: phase.map(on).into_iter().collect(),
    }
}

/// One that is not connected for so many seconds.
pub(crate) fn away(name: &str, seconds: u64) -> NodeStatus {
    NodeStatus { up: false, since_us: seconds * 1_000_000, ..node(name, Some(Phase::Staged), 100) }
}

/// One with trouble.
pub(crate) fn in_trouble(name: &str, phase: Phase, why: &str) -> NodeStatus {
    let mut node = node(name, Some(phase), 100);
    node.apps[0].trouble = Some(why.to_owned());
    node
}

/// Release `new` of `web` under order `now`.
pub(crate) fn rollout(state: RolloutState, waves: Vec<WaveStatus>) -> RolloutStatus {
    let release = |release: &str| ReleaseStatus {
        release: release.into(),
        version: format!("v-{release}"),
        created: 0,
        runs: true,
        proven: true,
    };
    RolloutStatus {
        app: "web".into(),
        order: Some("now".into()),
        epoch: 41,
        release: "new".into(),
        version: "2.41.0".into(),
        by: "alice".into(),
        message: "the login page answers in half the time".into(),
        state,
        origin_have: 100,
        origin_total: 100,
        content_bytes: 6_100_000,
        origin_sent: 0,
        selector: String::new(),
        releases: vec![release("old"), release("new")],
        created: 5,
        fallback: Some("old".into()),
        budget: 50,
        waves,
        since_us: Some(185_000_000),
        roads: Vec::new(),
        restraint: node::api::Restraint::default(),
    }
}

/// A wave of so many nodes, of which so many are confirmed.
pub(crate) fn wave(nodes: u32, confirmed: u32) -> WaveStatus {
    WaveStatus { nodes, confirmed, ..WaveStatus::default() }
}

/// A fleet with one application.
pub(crate) fn fleet(nodes: Vec<NodeStatus>, app: RolloutStatus) -> FleetStatus {
    FleetStatus {
        fleet: "a1b2c3d4e5f6".into(),
        origin_name: "origin-1".into(),
        datacenter: "fra".into(),
        nodes,
        apps: vec![app],
        ..FleetStatus::default()
    }
}

/// Five thousand nodes in the third of four waves, of which some are in every trouble there is.
pub(crate) fn large() -> FleetStatus {
    let one = |at: u32| {
        let name = format!("web-{at}");
        match at {
            _ if at % 431 == 97 => away(&name, u64::from(at) + 90),
            _ if at % 700 == 5 => in_trouble(&name, Phase::Failed, "restart: exit status 3: cannot bind 0.0.0.0:8080"),
            _ if at % 1100 == 7 => {
                in_trouble(&name, Phase::FellBack, "http://127.0.0.1:8080/health: 500, 3 of 3 rounds")
            }
            _ if at % 2000 == 11 => in_trouble(&name, Phase::Fetching, "the disk is full: 4.0 MB are needed"),
            0..1000 => node(&name, Some(Phase::Confirmed), 100),
            1000..1500 => node(&name, Some(Phase::Live), 100),
            1500..4000 => node(&name, Some(Phase::Staged), 100),
            4990.. => node(&name, Some(Phase::Fetching), 12),
            _ => node(&name, Some(Phase::Fetching), 70),
        }
    };
    let third = WaveStatus { nodes: 2000, confirmed: 497, failed: 7, away: 4, live: 500, staged: 992, fetching: 0 };
    let fourth = WaveStatus { nodes: 2500, away: 7, staged: 1500, fetching: 985, ..WaveStatus::default() };
    let waves = vec![wave(5, 5), WaveStatus { failed: 4, ..wave(495, 491) }, third, fourth];
    fleet((0..5000).map(one).collect(), rollout(RolloutState::Rolling { wave: 2 }, waves))
}

/// What is seen of a status, just now.
pub(crate) fn view<'a>(status: &'a FleetStatus, paces: &'a BTreeMap<String, Pace>) -> View<'a> {
    View { status: Some(status), paces, age: Duration::ZERO, lost: None, wall: 1_795_374_184 }
}

/// A picture without its colours.
pub(crate) fn plain(view: &View<'_>, width: usize, height: usize) -> String {
    let text = |line: Line| line.parts().iter().map(|(_, text)| text.as_str()).collect::<String>();
    let rows: Vec<String> = lines(view, width, height).into_iter().map(text).collect();
    rows.iter().map(|row| format!("{}\n", row.trim_end())).collect()
}
