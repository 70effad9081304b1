//! What the page shows: one line for the fleet, for each application and each node, each with the version in which it changed last.
//!
//! A reader says which version it has seen and gets what is newer, however long it was away: nothing waits for anybody, so a
//! slow reader costs no memory and skips what it has missed. Whatever others named is escaped here, once, and nothing is decided.

use super::deeds::{self, Offer};
use super::marks::{Mark, Reach, nodes};
use crate::api::{self, AppStatus, FleetStatus, NodeStatus, Role, RolloutState, RolloutStatus, WaveStatus};
use crate::escape::escape;
use crate::pace::{Pace, Progress};
use crate::publish::Sight;
use crate::watching::Seen;
use content::{Labels, Selector};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Everything that is shown.
#[derive(Default)]
pub(crate) struct Board {
    version: u64,
    /// The version of the first lines: who has seen an older one has lines that are gone, and gets all of them.
    born: u64,
    fleet: (u64, FleetLine),
    apps: Vec<(u64, AppLine)>,
    nodes: Vec<Entry>,
    slots: BTreeMap<String, usize>,
    last: Option<Arc<FleetStatus>>,
    checked: Option<Instant>,
    lost: Option<Lost>,
}

/// The fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct FleetLine {
    id: String,
    origin: String,
    datacenter: String,
    software: String,
    /// That the origin knows less than its agents, if it does.
    behind: Option<String>,
}

/// Since when no origin answers, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Lost {
    since: u64,
    why: String,
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AppLine {
    slot: u32,
    app: String,
    version: String,
    by: String,
    message: String,
    created: u64,
    epoch: u64,
    order: Option<String>,
    wave: Option<u8>,
    /// `spreading`, `rolling`, `paused`, `halted` or `finished`.
    is: &'static str,
    state: String,
    selector: String,
    budget: u32,
    bytes: u64,
    origin_sent: u64,
    waves: Vec<WaveStatus>,
    reach: Reach,
    reached: String,
    /// In so many seconds everyone who is connected has all pieces, at the pace of the last seconds.
    eta: Option<u64>,
    offers: Vec<Offer>,
    #[serde(skip)]
    pace: Pace,
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Who {
    name: String,
    role: Role,
    zone: String,
    rack: String,
    labels: String,
    software: String,
}

/// A node's line, and what it was made from.
struct Entry {
    known: u64,
    changed: u64,
    who: Who,
    labels: Labels,
    up: bool,
    since: u64,
    marks: Vec<Mark>,
    /// Its place in the newest status.
    at: usize,
}

/// What a reader gets.
#[derive(Serialize)]
struct Frame<'a> {
    full: bool,
    now: u64,
    checked: Option<u64>,
    lost: &'a Option<Lost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<&'a FleetLine>,
    apps: Vec<&'a AppLine>,
    nodes: Vec<NodeLine<'a>>,
}

#[derive(Serialize)]
struct NodeLine<'a> {
    slot: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<&'a Who>,
    up: bool,
    since: u64,
    marks: &'a [Mark],
}

impl Board {
    /// Takes what is known now; gives the version in which it stands here.
    pub(crate) fn learn(&mut self, seen: &Seen, now: Instant, wall: u64) -> u64 {
        self.version += 1;
        self.checked = seen.checked;
        self.lost = seen.lost.as_ref().map(|(since, why)| {
            let ago = now.saturating_duration_since(*since).as_secs();
            Lost { since: wall.saturating_sub(ago), why: escape(why) }
        });
        let is_new = |status: &Arc<FleetStatus>| self.last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, status));
        if let Some(status) = seen.status.clone().filter(is_new) {
            self.learn_fleet(&status);
            self.learn_nodes(&status, wall);
            self.learn_apps(&status, now);
            self.last = Some(status);
        }
        self.version
    }

    fn learn_fleet(&mut self, status: &FleetStatus) {
        let line = FleetLine {
            id: escape(&status.fleet).chars().take(10).collect(),
            origin: escape(&status.origin_name),
            datacenter: escape(&status.datacenter),
            software: escape(&status.software),
            behind: status.ahead.first().map(behind),
        };
        if line != self.fleet.1 {
            self.fleet = (self.version, line);
        }
    }

    fn learn_nodes(&mut self, status: &FleetStatus, wall: u64) {
        // Operators' machines come and go with their commands.
        let shown = status.nodes.iter().enumerate().filter(|(_, node)| node.role != Role::Operator);
        let count = shown.clone().count();
        let known = shown.clone().filter(|(_, node)| self.slots.contains_key(&node.node)).count();
        if known < self.nodes.len() || count < self.nodes.len() {
            // One is gone, which is rare: everyone begins anew.
            self.nodes.clear();
            self.slots.clear();
            self.born = self.version;
        }
        for (at, node) in shown {
            match self.slots.get(&node.node) {
                Some(&slot) => self.learn_node(slot, at, node, wall),
                None => {
                    self.slots.insert(node.node.clone(), self.nodes.len());
                    self.nodes.push(Entry::new(self.version, at, node, wall));
                }
            }
        }
    }

    fn learn_node(&mut self, slot: usize, at: usize, node: &NodeStatus, wall: u64) {
        let (entry, last) = (&mut self.nodes[slot], self.last.as_ref());
        let before = last.and_then(|last| last.nodes.get(entry.at));
        entry.at = at;
        if before.is_none_or(|before| !is_same(before, node)) {
            let fresh = Entry::new(self.version, at, node, wall);
            if fresh.who != entry.who {
                (entry.known, entry.who, entry.labels) = (self.version, fresh.who, fresh.labels);
            }
            entry.changed = self.version;
            entry.up = fresh.up;
        }
        // The same moment, said again a while later, is off by what fell to rounding.
        let since = wall.saturating_sub(node.since_us / 1_000_000);
        if since.abs_diff(entry.since) > 2 {
            (entry.since, entry.changed) = (since, self.version);
        }
    }

    fn learn_apps(&mut self, status: &FleetStatus, now: Instant) {
        for rollout in &status.apps {
            let name = escape(&rollout.app);
            let known = self.apps.iter().position(|(_, line)| line.app == name);
            let slot = known.unwrap_or(self.apps.len());
            let reach = self.learn_marks(slot as u32, rollout, status);
            let mut pace = known.map(|at| std::mem::take(&mut self.apps[at].1.pace)).unwrap_or_default();
            pace.learn(now, &rollout.release, self.pieces(slot, rollout, status));
            let line = AppLine { slot: slot as u32, eta: pace.eta(), pace, ..AppLine::of(rollout, reach) };
            match self.apps.get_mut(slot) {
                Some((_, before)) if before.shows(&line) => before.pace = line.pace,
                Some(before) => *before = (self.version, line),
                None => self.apps.push((self.version, line)),
            }
        }
    }

    /// Marks every node for an application, and counts them.
    fn learn_marks(&mut self, slot: u32, rollout: &RolloutStatus, status: &FleetStatus) -> Reach {
        let selector: Selector = rollout.selector.parse().unwrap_or_default();
        let (mut reach, version) = (Reach::default(), self.version);
        for entry in &mut self.nodes {
            let node = &status.nodes[entry.at];
            let chosen = node.role == Role::Agent && selector.matches(&entry.labels);
            let mark = Mark::of(slot, node, rollout, chosen);
            if chosen {
                reach.count(node, rollout, &mark);
            }
            match entry.marks.iter_mut().find(|mark| mark.app == slot) {
                Some(before) if *before == mark => continue,
                Some(before) => *before = mark,
                None => entry.marks.push(mark),
            }
            entry.changed = version;
        }
        reach
    }

    /// How many pieces those that are connected and selected have, and are to have.
    fn pieces(&self, slot: usize, rollout: &RolloutStatus, status: &FleetStatus) -> Progress {
        let selector: Selector = rollout.selector.parse().unwrap_or_default();
        let there = self.nodes.iter().filter(|entry| entry.up && selector.matches(&entry.labels));
        let there = there.filter(|entry| entry.marks.iter().any(|mark| mark.app == slot as u32));
        let agents = there.map(|entry| &status.nodes[entry.at]).filter(|node| node.role == Role::Agent);
        Progress::of(agents, rollout)
    }

    /// What changed after a version, as JSON, and the version it is of now.
    pub(crate) fn since(&self, version: u64, now: Instant, wall: u64) -> (Vec<u8>, u64) {
        let full = version < self.born || version == 0;
        let after = if full { 0 } else { version };
        let changed = self.nodes.iter().enumerate().filter(|(_, entry)| entry.changed > after);
        let frame = Frame {
            full,
            now: wall,
            checked: self.checked.map(|checked| now.saturating_duration_since(checked).as_secs()),
            lost: &self.lost,
            fleet: Some(&self.fleet.1).filter(|_| full || self.fleet.0 > after),
            apps: self.apps.iter().filter(|(changed, _)| *changed > after).map(|(_, line)| line).collect(),
            nodes: changed.map(|(slot, entry)| NodeLine::of(slot, entry, after)).collect(),
        };
        (to_json(&frame), self.version)
    }

    /// All that is known of one node, as JSON.
    pub(crate) fn node(&self, slot: usize) -> Option<Vec<u8>> {
        let entry = self.nodes.get(slot)?;
        let status = self.last.as_ref()?;
        let node = status.nodes.get(entry.at)?;
        let apps = node.apps.iter().map(|on| OnNode::of(on, status)).collect();
        let (id, limit) = (escape(&node.node), node.limit);
        Some(to_json(&NodePage { slot, id, who: &entry.who, up: entry.up, since: entry.since, limit, apps }))
    }

    /// The rollout of an application as it stands, and what may be done with it, if that is still the order that was seen.
    pub(crate) fn offered(&self, sight: &Sight, deed: &str) -> Result<Offer, &'static str> {
        let rollouts = self.last.as_ref().map(|last| last.apps.as_slice()).unwrap_or_default();
        let rollout = rollouts.iter().find(|rollout| rollout.app == sight.app).ok_or("there is no such application")?;
        if rollout.order.as_ref() != Some(&sight.order) {
            return Err("another order came since this was shown");
        }
        let line = self.apps.iter().find(|(_, line)| line.app == escape(&sight.app));
        let mut offers = line.map(|(_, line)| line.offers.clone()).unwrap_or_default().into_iter();
        let offer = offers.find(|offer| offer.deed == deed).ok_or("there is no such thing to do")?;
        offer.not.map_or(Ok(offer), Err)
    }
}

/// That agents have accepted what the origin does not know.
fn behind(ahead: &api::Ahead) -> String {
    let (nodes, app) = (nodes(ahead.agents as usize), escape(&ahead.app));
    format!(
        "{nodes} had accepted epoch {} of {app}, which this origin does not know: its state was lost, or an old copy was put back. They run \
         what they ran, and follow nothing older; deploy {app} again, and all follow that.",
        ahead.epoch,
    )
}

/// Whether a node's status says the same, but for the time that has passed.
fn is_same(before: &NodeStatus, now: &NodeStatus) -> bool {
    before.node == now.node
        && (before.up, before.limit, &before.apps) == (now.up, now.limit, &now.apps)
        && (&before.name, &before.labels, &before.software) == (&now.name, &now.labels, &now.software)
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("the page's types have only text keys and no failing serialisers")
}

impl Entry {
    fn new(version: u64, at: usize, node: &NodeStatus, wall: u64) -> Self {
        let label = |key: &str| node.labels.get(key).map(|value| escape(value)).unwrap_or_default();
        let labels: Vec<String> =
            node.labels.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
        let who = Who {
            name: escape(&node.name),
            role: node.role,
            zone: label("zone"),
            rack: label("rack"),
            labels: labels.join(", "),
            software: escape(&node.software),
        };
        Self {
            known: version,
            changed: version,
            who,
            labels: api::labels_from_text(&node.labels).unwrap_or_default(),
            up: node.up,
            since: wall.saturating_sub(node.since_us / 1_000_000),
            marks: Vec::new(),
            at,
        }
    }
}

impl<'a> NodeLine<'a> {
    fn of(slot: usize, entry: &'a Entry, after: u64) -> Self {
        let who = Some(&entry.who).filter(|_| entry.known > after);
        Self { slot, who, up: entry.up, since: entry.since, marks: &entry.marks }
    }
}

impl AppLine {
    fn of(rollout: &RolloutStatus, reach: Reach) -> Self {
        let sight = Sight::of(rollout);
        Self {
            slot: 0,
            app: escape(&rollout.app),
            version: escape(&rollout.version),
            by: escape(&rollout.by),
            message: escape(&rollout.message),
            created: rollout.created,
            epoch: rollout.epoch,
            wave: sight.as_ref().and_then(|sight| sight.wave),
            order: rollout.order.clone(),
            is: match rollout.state {
                RolloutState::Spreading => "spreading",
                RolloutState::Rolling { .. } => "rolling",
                RolloutState::Paused { .. } => "paused",
                RolloutState::Halted { .. } => "halted",
                RolloutState::Finished => "finished",
            },
            state: deeds::state(rollout),
            selector: escape(&rollout.selector),
            budget: rollout.budget,
            bytes: rollout.content_bytes,
            origin_sent: rollout.origin_sent,
            waves: rollout.waves.clone(),
            reach,
            reached: reach.words(),
            eta: None,
            offers: deeds::offers(rollout, reach),
            pace: Pace::default(),
        }
    }

    fn shows(&self, other: &Self) -> bool {
        Self { pace: Pace::default(), ..self.clone() } == Self { pace: Pace::default(), ..other.clone() }
    }
}

/// A node, wholly.
#[derive(Serialize)]
struct NodePage<'a> {
    slot: usize,
    id: String,
    who: &'a Who,
    up: bool,
    since: u64,
    limit: Option<u64>,
    apps: Vec<OnNode<'a>>,
}

/// An application on a node.
#[derive(Serialize)]
struct OnNode<'a> {
    app: String,
    version: String,
    live: Option<String>,
    confirmed: Option<String>,
    phase: api::Phase,
    have: u32,
    total: u32,
    from_origin: u64,
    from_peers: u64,
    had: u64,
    timeline: &'a api::Timeline,
    trouble: Option<String>,
}

impl<'a> OnNode<'a> {
    fn of(on: &'a AppStatus, status: &FleetStatus) -> Self {
        let rollout = status.apps.iter().find(|rollout| rollout.app == on.app);
        let named = |release: &str| version_of(rollout, release);
        Self {
            app: escape(&on.app),
            version: named(&on.release),
            live: on.live.as_deref().map(named),
            confirmed: on.confirmed.as_deref().map(named),
            phase: on.phase,
            have: on.have,
            total: on.total,
            from_origin: on.from_origin,
            from_peers: on.from_peers,
            had: on.had,
            timeline: &on.timeline,
            trouble: on.trouble.as_deref().map(escape),
        }
    }
}

/// What people call a release, or the beginning of its id.
fn version_of(rollout: Option<&RolloutStatus>, release: &str) -> String {
    let is_newest = rollout.filter(|rollout| rollout.release == release).map(|rollout| &rollout.version);
    let known = || rollout?.releases.iter().find(|known| known.release == release).map(|known| &known.version);
    match is_newest.or_else(known) {
        Some(version) => escape(version),
        None => escape(&release.chars().take(10).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pretend::{fleet, node};
    use super::*;
    use crate::api::Phase;
    use serde_json::Value;

    fn learn(board: &mut Board, nodes: Vec<NodeStatus>, wall: u64) -> u64 {
        board.learn(&Seen::now(fleet(nodes)), Instant::now(), wall)
    }

    fn since(board: &Board, version: u64) -> Value {
        serde_json::from_slice(&board.since(version, Instant::now(), 0).0).expect("JSON")
    }

    #[test]
    fn time_that_passes_is_no_change() {
        let mut board = Board::default();
        let first = learn(&mut board, vec![node("a", Some(Phase::Staged)), node("b", None)], 1000);
        let later = |name, phase| NodeStatus { since_us: 90_400_000, ..node(name, phase) };
        learn(&mut board, vec![later("a", Some(Phase::Staged)), later("b", None)], 1030);
        assert_eq!(
            (since(&board, first)["nodes"].clone(), since(&board, first)["apps"].clone()),
            (Value::from(Vec::<Value>::new()), Value::from(Vec::<Value>::new()))
        );
        learn(&mut board, vec![later("a", Some(Phase::Live)), later("b", None)], 1030);
        let changed = since(&board, first);
        assert_eq!(changed["nodes"].as_array().map(Vec::len), Some(1));
        assert_eq!(changed["nodes"][0]["marks"][0]["is"], "live");
        assert_eq!(changed["apps"][0]["reach"]["live"], 1);
    }

    #[test]
    fn an_origin_that_knows_less_than_its_agents_is_said_to() {
        let mut board = Board::default();
        let ahead = vec![api::Ahead { app: "web\u{7}".into(), epoch: 9, agents: 2 }];
        board.learn(&Seen::now(FleetStatus { ahead, ..fleet(Vec::new()) }), Instant::now(), 0);
        let behind = since(&board, 0)["fleet"]["behind"].as_str().map(str::to_owned).unwrap_or_default();
        assert!(behind.starts_with("2 nodes had accepted epoch 9 of web\\u{7}, which"), "{behind}");
    }

    #[test]
    fn who_goes_and_comes_back_is_away_since_then() {
        let mut board = Board::default();
        let first = learn(&mut board, vec![node("a", None)], 1000);
        learn(&mut board, vec![NodeStatus { up: false, since_us: 0, ..node("a", None) }], 1010);
        let line = since(&board, first)["nodes"][0].clone();
        assert_eq!((line["up"].clone(), line["since"].clone()), (Value::from(false), Value::from(1010)));
    }

    #[test]
    fn operators_machines_are_not_shown_and_slots_stay() {
        let mut board = Board::default();
        let operator = NodeStatus { role: Role::Operator, ..node("op", None) };
        let first = learn(&mut board, vec![node("a", None), node("c", None)], 0);
        learn(&mut board, vec![node("a", None), node("b", None), node("c", None), operator], 0);
        let changed = since(&board, first);
        assert_eq!((changed["full"].clone(), changed["nodes"].as_array().map(Vec::len)), (Value::from(false), Some(1)));
        assert_eq!(
            (changed["nodes"][0]["slot"].clone(), changed["nodes"][0]["who"]["name"].clone()),
            (Value::from(2), Value::from("b"))
        );
        assert!(board.node(1).is_some_and(|page| String::from_utf8_lossy(&page).contains("\"name\":\"c\"")));
    }

    #[test]
    fn a_node_that_takes_the_place_of_another_is_no_other() {
        let mut board = Board::default();
        let first = learn(&mut board, vec![node("a", None), node("b", None)], 0);
        learn(&mut board, vec![node("a", None), node("c", None)], 0);
        let anew = since(&board, first);
        assert_eq!((anew["full"].clone(), anew["nodes"].as_array().map(Vec::len)), (Value::from(true), Some(2)));
    }
}
