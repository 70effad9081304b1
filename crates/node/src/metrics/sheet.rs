//! Facts in, text out: the values of every metric of a node at one moment.

use super::families::*;
use super::machine::{Disk, Machine};
use super::text::Text;
use crate::api::{FleetStatus, NodeStatus, Phase, Position, Role, RolloutState, RolloutStatus};
use crate::driver::{Acted, Moved, Tally};
use crate::histogram::Histogram;
use crate::standing::Standing;
use content::{Role as Member, Selector, UnixTime};
use engine::door::{Misbehaviour, Moment, Phase as Reached, Time};
use std::collections::BTreeMap;

/// Applications of which there are figures; labels have a bound.
const MOST_APPS: usize = 200;

/// All that is said of, as it was at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) role: Member,
    pub(crate) status: FleetStatus,
    pub(crate) tally: Tally,
    /// Now, by the engine's clock and by the wall's.
    pub(crate) now: Time,
    pub(crate) wall: UnixTime,
    pub(crate) started: UnixTime,
    pub(crate) machine: Machine,
    pub(crate) journals: Vec<(&'static str, Position)>,
    /// Connections that came, and those of them that were not let in.
    pub(crate) came: (u64, u64),
}

impl Facts {
    /// The text.
    pub(crate) fn sheet(&self) -> String {
        let mut text = Text::default();
        self.process(&mut text);
        self.disk(&mut text);
        self.traffic(&mut text);
        self.misfortunes(&mut text);
        match self.role {
            Member::Origin => self.origin(&mut text),
            Member::Agent | Member::Operator => self.agent(&mut text),
        }
        text.end()
    }

    /// A moment on the engine's clock, by the wall's.
    fn moment(&self, at: Time) -> u64 {
        self.wall.0.saturating_sub(self.now.since(at).as_secs())
    }

    fn process(&self, text: &mut Text) {
        let machine = &self.machine;
        text.each(&BUILD, [([env!("CARGO_PKG_VERSION"), member(self.role)], 1)]);
        text.one(&PROCESS_START, self.started.0);
        text.one(&PROCESS_CPU, machine.cpu_seconds);
        text.maybe(&PROCESS_MEMORY, machine.memory);
        text.maybe(&PROCESS_FDS, machine.descriptors);
        text.maybe(&PROCESS_MAX_FDS, machine.most_descriptors);
        text.each(&CERTIFICATE, ["node", "ca"].into_iter().zip(&machine.ends).map(|(of, end)| ([of], end)));
    }

    fn disk(&self, text: &mut Text) {
        let of = |figure: fn(Disk) -> u64| self.machine.disk.map(figure);
        text.maybe(&DISK_FREE, of(|disk| disk.free));
        text.maybe(&DISK_SIZE, of(|disk| disk.size));
        text.maybe(&INODES_FREE, of(|disk| disk.free_inodes));
        text.maybe(&INODES, of(|disk| disk.inodes));
        text.maybe(&STORE, self.machine.store);
    }

    fn traffic(&self, text: &mut Text) {
        let tally = &self.tally;
        text.one(&CONNECTIONS, self.came.0);
        text.one(&STRANGERS, self.came.1);
        text.each(&PEERS, Tally::ROLES.map(|role| ([member(role)], tally.peers(role))));
        let by_role = |moved: &BTreeMap<Member, Moved>, figure: fn(&Moved) -> u64| {
            moved.iter().map(|(role, moved)| ([member(*role)], figure(moved))).collect::<Vec<_>>()
        };
        text.each(&RECEIVED_BYTES, by_role(&tally.received, |moved| moved.bytes));
        text.each(&RECEIVED_PIECES, by_role(&tally.received, |moved| moved.pieces));
        text.each(&SENT_BYTES, by_role(&tally.sent, |moved| moved.bytes));
        text.each(&SENT_PIECES, by_role(&tally.sent, |moved| moved.pieces));
    }

    fn misfortunes(&self, text: &mut Text) {
        let tally = &self.tally;
        text.one(&CORRUPT, tally.corrupt);
        text.each(&CONVICTIONS, tally.convictions.iter().map(|(of, count)| ([misbehaviour(*of)], count)));
        text.one(&LATE, tally.late);
        text.one(&QUARANTINED, tally.quarantined);
        text.one(&PLAIN_ROADS, tally.plain_roads);
        text.one(&PATCHES_MADE, tally.patches_made);
        text.one(&PATCHES_APPLIED, tally.patches_applied);
        text.one(&PATCHES_FAILED, tally.patches_failed);
        text.one(&PATCHES_SAVED, tally.patches_saved);
        text.one(&DISTRUSTED, tally.distrusted);
        text.one(&FAILED_JOBS, tally.failed_jobs);
    }

    fn agent(&self, text: &mut Text) {
        let apps = self.status.nodes.first().map(|node| node.apps.as_slice()).unwrap_or_default();
        text.maybe(&ORIGIN_CONTACT, self.tally.heard_origin.map(|at| self.moment(at)));
        text.one(&APPS, apps.len());
        let apps = &apps[..apps.len().min(MOST_APPS)];
        let phases = apps.iter().flat_map(|on| PHASES.map(|(is, word)| ([&*on.app, word], u8::from(on.phase == is))));
        text.each(&APP_PHASE, phases);
        text.each(&APP_PIECES, apps.iter().map(|on| ([&*on.app], on.have)));
        text.each(&APP_WANTED, apps.iter().map(|on| ([&*on.app], on.total)));
        let confirmed = self.tally.confirmed.iter().take(MOST_APPS);
        text.each(&APP_CONFIRMED, confirmed.map(|(app, at)| ([app.as_str()], self.moment(*at))));
        text.each(&APP_TROUBLE, apps.iter().map(|on| ([&*on.app], u8::from(on.trouble.is_some()))));
        self.acted(text);
    }

    fn acted(&self, text: &mut Text) {
        let Tally { switches, hooks, probes, given_up, .. } = &self.tally;
        text.one(&SWITCH_FAILURES, switches.failures);
        text.timed(&SWITCHES, [([], &switches.took)]);
        let by_moment = || hooks.iter().map(|(moment, acted): (&Moment, &Acted)| ([self::moment(*moment)], acted));
        text.each(&HOOK_FAILURES, by_moment().map(|(moment, acted)| (moment, acted.failures)));
        text.timed(&HOOKS, by_moment().map(|(moment, acted)| (moment, &acted.took)));
        text.one(&PROBE_FAILURES, probes.failures);
        text.timed(&PROBES, [([], &probes.took)]);
        text.one(&GIVEN_UP, given_up);
    }

    fn origin(&self, text: &mut Text) {
        let agents = || self.status.nodes.iter().filter(|node| node.role == Role::Agent);
        let up = agents().filter(|node| node.up).count();
        text.each(&NODES, [(["up"], up), (["away"], agents().count() - up)]);
        let in_state = |word| self.status.apps.iter().filter(|app| state(&app.state) == word).count();
        text.each(&ROLLOUTS, STATES.map(|word| ([word], in_state(word))));
        self.rollouts(text);
        text.each(&AHEAD, self.status.ahead.iter().take(MOST_APPS).map(|ahead| ([&*ahead.app], ahead.agents)));
        text.each(&JOURNAL_FACTS, self.journals.iter().map(|(journal, at)| ([*journal], at.index)));
        text.each(&JOURNAL_GENERATION, self.journals.iter().map(|(journal, at)| ([*journal], at.generation)));
        self.counted(text);
    }

    fn rollouts(&self, text: &mut Text) {
        let apps = &self.status.apps[..self.status.apps.len().min(MOST_APPS)];
        let states =
            apps.iter().flat_map(|app| STATES.map(|word| ([&*app.app, word], u8::from(state(&app.state) == word))));
        text.each(&ROLLOUT_STATE, states);
        let known = apps.iter().filter_map(|app| app.since_us.map(|micros| ([&*app.app], micros / 1_000_000)));
        text.each(&ROLLOUT_SINCE, known);
        text.each(&ROLLOUT_EPOCH, apps.iter().map(|app| ([&*app.app], app.epoch)));
        text.each(&ROLLOUT_WAVE, apps.iter().map(|app| ([&*app.app], open_wave(app))));
        text.each(&ROLLOUT_WAVES, apps.iter().map(|app| ([&*app.app], app.waves.len())));
        let standings: Vec<_> = apps.iter().map(|app| (app, standings(app, &self.status.nodes))).collect();
        let nodes = standings.iter().flat_map(|(app, counts)| {
            Standing::CHOSEN.map(|of| ([&*app.app, of.word()], counts.get(&of).copied().unwrap_or(0)))
        });
        text.each(&ROLLOUT_NODES, nodes);
        text.each(&ROLLOUT_BUDGET, apps.iter().map(|app| ([&*app.app], app.budget)));
    }

    fn counted(&self, text: &mut Text) {
        let Tally { joins, refused_joins, submissions, node_failures, reached, .. } = &self.tally;
        text.one(&JOINS, joins);
        text.one(&REFUSED_JOINS, refused_joins);
        text.one(&SUBMISSION_FAILURES, submissions.failures);
        text.timed(&SUBMISSIONS, [([], &submissions.took)]);
        text.one(&NODE_FAILURES, node_failures);
        let of = |phase| reached.get(&phase).map(|histogram: &Histogram| ([], histogram));
        text.timed(&TIME_TO_LIVE, of(Reached::Live));
        text.timed(&TIME_TO_CONFIRMED, of(Reached::Confirmed));
    }
}

/// How many nodes stand how with a rollout.
fn standings(rollout: &RolloutStatus, nodes: &[NodeStatus]) -> BTreeMap<Standing, usize> {
    let selector: Selector = rollout.selector.parse().unwrap_or_default();
    let mut counts = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.role == Role::Agent && node.is_selected(&selector)) {
        *counts.entry(Standing::of(node, rollout, true)).or_default() += 1;
    }
    counts
}

/// Which wave is open, from 1.
fn open_wave(rollout: &RolloutStatus) -> u32 {
    match rollout.state {
        RolloutState::Rolling { wave } | RolloutState::Paused { wave: Some(wave), .. } => u32::from(wave) + 1,
        _ => 0,
    }
}

fn member(role: Member) -> &'static str {
    match role {
        Member::Origin => "origin",
        Member::Agent => "agent",
        Member::Operator => "operator",
    }
}

const STATES: [&str; 5] = ["spreading", "rolling", "paused", "halted", "finished"];

fn state(state: &RolloutState) -> &'static str {
    match state {
        RolloutState::Spreading => "spreading",
        RolloutState::Rolling { .. } => "rolling",
        RolloutState::Paused { .. } => "paused",
        RolloutState::Halted { .. } => "halted",
        RolloutState::Finished => "finished",
    }
}

const PHASES: [(Phase, &str); 8] = [
    (Phase::Told, "told"),
    (Phase::Fetching, "fetching"),
    (Phase::Complete, "complete"),
    (Phase::Staged, "staged"),
    (Phase::Live, "live"),
    (Phase::Confirmed, "confirmed"),
    (Phase::Failed, "failed"),
    (Phase::FellBack, "fell_back"),
];

fn moment(moment: Moment) -> &'static str {
    match moment {
        Moment::Before => "before",
        Moment::After => "after",
        Moment::Back => "back",
    }
}

fn misbehaviour(of: Misbehaviour) -> &'static str {
    match of {
        Misbehaviour::CorruptPiece => "corrupt_piece",
        Misbehaviour::WrongLength => "wrong_length",
        Misbehaviour::UnaskedPieces => "unasked_pieces",
        Misbehaviour::NoSuchPiece => "no_such_piece",
        Misbehaviour::FalseHaves => "false_haves",
        Misbehaviour::NotItsRole => "not_its_role",
        Misbehaviour::BadSignature => "bad_signature",
        Misbehaviour::Flood => "flood",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Ahead, AppStatus, Timeline, WaveStatus};
    use std::time::Duration;

    fn facts(role: Member, status: FleetStatus) -> Facts {
        Facts {
            role,
            status,
            tally: Tally::default(),
            now: Time(0).after(Duration::from_secs(100)),
            wall: UnixTime(10_000),
            started: UnixTime(9_900),
            machine: Machine { memory: Some(7), ends: vec![11, 12], ..Machine::default() },
            journals: vec![("fleet", Position { generation: 2, index: 40 })],
            came: (9, 4),
        }
    }

    fn node(name: &str, up: bool, phase: Phase) -> NodeStatus {
        let on = AppStatus {
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
            live: None,
            confirmed: None,
            trouble: None,
        };
        NodeStatus {
            node: name.into(),
            name: name.into(),
            role: Role::Agent,
            labels: BTreeMap::new(),
            up,
            since_us: 0,
            software: String::new(),
            limit: None,
            obeys_limits: true,
            speaks: 6,
            apps: vec![on],
        }
    }

    fn rollout(app: &str, state: RolloutState) -> RolloutStatus {
        RolloutStatus {
            app: app.into(),
            order: Some("now".into()),
            epoch: 7,
            release: "new".into(),
            version: "v".into(),
            by: "alice".into(),
            message: "a secret reason".into(),
            state,
            origin_have: 1,
            origin_total: 1,
            content_bytes: 1,
            origin_sent: 1,
            selector: String::new(),
            releases: Vec::new(),
            created: 0,
            fallback: None,
            budget: 3,
            waves: vec![WaveStatus::default(); 2],
            since_us: Some(5_600_000),
            roads: Vec::new(),
            restraint: crate::api::Restraint::default(),
        }
    }

    fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|said| said == *line), "{line}\n{text}");
        }
    }

    /// The names under which something is said.
    fn served(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
    }

    #[test]
    fn each_role_serves_what_the_list_says_in_its_order() {
        for (role, who) in [(Member::Agent, Who::Agent), (Member::Origin, Who::Origin)] {
            let text = facts(role, FleetStatus::default()).sheet();
            let listed = FAMILIES.iter().filter(|family| [Who::Node, who].contains(&family.who));
            assert_eq!(served(&text), listed.map(|family| family.name).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_agent_says_how_its_applications_are() {
        let mut facts =
            facts(Member::Agent, FleetStatus { nodes: vec![node("a", true, Phase::Staged)], ..Default::default() });
        facts.tally.heard_origin = Some(Time(0).after(Duration::from_secs(70)));
        let text = facts.sheet();
        has(
            &text,
            &[
                "tiding_app_phase{app=\"web\",phase=\"staged\"} 1",
                "tiding_app_phase{app=\"web\",phase=\"live\"} 0",
                "tiding_app_pieces{app=\"web\"} 3",
                "tiding_origin_contact_timestamp_seconds 9970",
                "tiding_certificate_expiry_timestamp_seconds{of=\"node\"} 11",
                "tiding_certificate_expiry_timestamp_seconds{of=\"ca\"} 12",
                "tiding_connections_refused_total 4",
                "process_start_time_seconds 9900",
                "tiding_hook_duration_seconds_count{moment=\"after\"} 0",
            ],
        );
    }

    #[test]
    fn an_origin_counts_its_nodes_and_names_none() {
        let paused = RolloutState::Paused { wave: Some(1), by: "bob".into(), why: "a private word".into() };
        let status = FleetStatus {
            nodes: vec![
                node("web-1", true, Phase::Confirmed),
                node("web-2", true, Phase::Failed),
                node("web-3", false, Phase::Live),
            ],
            apps: vec![rollout("web", paused), rollout("db", RolloutState::Halted { why: "a private word".into() })],
            ahead: vec![Ahead { app: "web".into(), epoch: 9, agents: 2 }],
            ..FleetStatus::default()
        };
        let text = facts(Member::Origin, status).sheet();
        has(
            &text,
            &[
                "tiding_origin_nodes{state=\"up\"} 2",
                "tiding_origin_nodes{state=\"away\"} 1",
                "tiding_origin_rollouts{state=\"halted\"} 1",
                "tiding_origin_rollout_state{app=\"web\",state=\"paused\"} 1",
                "tiding_origin_rollout_state_age_seconds{app=\"web\"} 5",
                "tiding_origin_rollout_wave{app=\"web\"} 2",
                "tiding_origin_rollout_wave{app=\"db\"} 0",
                "tiding_origin_rollout_nodes{app=\"web\",standing=\"failed\"} 1",
                "tiding_origin_rollout_nodes{app=\"web\",standing=\"away\"} 1",
                "tiding_origin_rollout_nodes{app=\"web\",standing=\"live\"} 0",
                "tiding_origin_ahead_agents{app=\"web\"} 2",
                "tiding_journal_facts{journal=\"fleet\"} 40",
            ],
        );
        for private in ["web-1", "alice", "bob", "secret", "private"] {
            assert!(!text.contains(private), "{private}");
        }
    }

    #[test]
    fn w6_lines_do_not_grow_with_the_fleet_and_applications_have_a_bound() {
        let lines = |nodes: usize, apps: usize| {
            let nodes = (0..nodes).map(|n| node(&n.to_string(), true, Phase::Live)).collect();
            let apps = (0..apps).map(|n| rollout(&format!("app-{n:04}"), RolloutState::Finished)).collect();
            facts(Member::Origin, FleetStatus { nodes, apps, ..FleetStatus::default() }).sheet().lines().count()
        };
        assert_eq!(lines(1, 3), lines(300, 3));
        assert_eq!(lines(1, MOST_APPS), lines(1, MOST_APPS + 300));
    }
}
