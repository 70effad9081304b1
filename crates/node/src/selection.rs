//! Whom a deploy is for: counted before anything happens, and refused when it looks like a mistake.
//!
//! A selector that was mistyped selects nobody, and one that was forgotten selects everyone. Both look like any other deploy
//! until it is too late; what the origin knows of its nodes tells them apart before a byte leaves.

use crate::api::{FleetStatus, NodeStatus, Role};
use content::order::Restraint;
use content::release::Instructions;
use content::{Label, Selector, SoftwareVersion};
use engine::wire::RESTRAINTS;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is done about selected agents that are away when a deploy begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAway {
    /// They hold nothing up, and converge when they come back.
    #[default]
    Skip,
    /// Their wave is not done before they are back and well, or an operator promotes it.
    Wait,
    /// Nothing is deployed.
    Fail,
}

/// The agents that a selector chooses, by what an origin knew a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// By what.
    pub selector: Selector,
    /// How many are chosen, and of how many.
    pub chosen: usize,
    /// How many agents there are.
    pub agents: usize,
    /// The names of those chosen that are not connected.
    pub away: Vec<String>,
    /// How many the application's newest order selects, if there is one.
    pub before: Option<usize>,
}

/// Why a selection is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSelection {
    /// It selects nobody.
    #[error("no agent of {agents} is {selector}; they are {labels}")]
    Nobody {
        /// By what.
        selector: Selector,
        /// How many agents there are.
        agents: usize,
        /// The labels that they have, and their values.
        labels: String,
    },
    /// It selects many more than the application was for until now.
    #[error("it would go to {chosen} agents, and until now this application goes to {before}")]
    Surprising {
        /// How many are selected.
        chosen: usize,
        /// How many its newest order selects.
        before: usize,
    },
    /// Some would not read it.
    #[error("{what} by agents that speak protocol {RESTRAINTS} or newer, and these do not: {}", named(old))]
    Unreadable {
        /// What they would not read, as `something is read`.
        what: &'static str,
        /// Their names.
        old: Vec<String>,
    },
    /// Some run an older version of this program than the release wants.
    #[error("it wants agents of tiding {least} or newer, and these are older: {}", named(old))]
    TooOld {
        /// What it wants.
        least: SoftwareVersion,
        /// Their names and versions.
        old: Vec<String>,
    },
    /// Some are away, and that was not to be.
    #[error("{} of {chosen} selected agents are not connected: {}", away.len(), named(away))]
    Away {
        /// How many are selected.
        chosen: usize,
        /// Who is away.
        away: Vec<String>,
    },
}

/// So many times as many as before, and so many more, are a surprise.
const TIMES: usize = 2;
const MORE: usize = 3;
/// How many names, or values of one label, are listed.
const LISTED: usize = 8;

/// That selected agents lack a label whose value is asked for, if some do.
pub(crate) fn lacking(status: &FleetStatus, selector: &Selector, label: &Label) -> Option<String> {
    let selected = status.nodes.iter().filter(|node| node.role == Role::Agent && node.is_selected(selector));
    let without = selected.filter(|node| !node.labels.contains_key(label.as_str()));
    let mut without: Vec<String> = without.map(|node| node.name.clone()).collect();
    without.sort_unstable();
    let label = label.as_str();
    let agents = if without.len() == 1 { "agent has" } else { "agents have" };
    let why = || format!("{} selected {agents} no label {label}: {}", without.len(), named(&without));
    (!without.is_empty()).then(why)
}

/// What a deploy says that not every agent may read, or follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demands<'a> {
    pub(crate) selector: &'a Selector,
    pub(crate) restraint: &'a Restraint,
    pub(crate) instructions: &'a Instructions,
}

/// Refuses what selected agents that are here are too old for. Those that are away say so themselves when they are back.
pub(crate) fn check_readers(status: &FleetStatus, demands: Demands<'_>) -> Result<(), BadSelection> {
    let old = |is_old: &dyn Fn(&NodeStatus) -> bool| {
        let agents = status.nodes.iter().filter(|node| node.role == Role::Agent && node.up);
        let mut old: Vec<&NodeStatus> =
            agents.filter(|node| node.is_selected(demands.selector) && is_old(node)).collect();
        old.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        old
    };
    let names = |old: Vec<&NodeStatus>| old.into_iter().map(|node| node.name.clone()).collect();
    let deaf = old(&|node| (1..RESTRAINTS).contains(&node.speaks));
    let what = match (demands.restraint.is_none(), demands.instructions.version()) {
        (false, _) => Some("gates, a deadline and limits of how many at once are read"),
        (true, 4..) => Some("--adopt, --owner, --boot and --min-agent are read"),
        (true, _) => None,
    };
    if let Some(what) = what.filter(|_| !deaf.is_empty()) {
        return Err(BadSelection::Unreadable { what, old: names(deaf) });
    }
    let Some(least) = demands.instructions.min_agent else { return Ok(()) };
    let is_older =
        |node: &NodeStatus| node.software.parse::<SoftwareVersion>().map_or(true, |software| software < least);
    let old: Vec<String> = old(&is_older).iter().map(|node| format!("{} ({})", node.name, node.software)).collect();
    if old.is_empty() { Ok(()) } else { Err(BadSelection::TooOld { least, old }) }
}

impl Selection {
    /// What a selector chooses for an application.
    pub fn of(status: &FleetStatus, app: &str, selector: &Selector) -> Self {
        let agents = || status.nodes.iter().filter(|node| node.role == Role::Agent);
        let chosen: Vec<&NodeStatus> = agents().filter(|node| node.is_selected(selector)).collect();
        let rollout = status.apps.iter().find(|rollout| rollout.app == app);
        let before = rollout.and_then(|rollout| rollout.selector.parse().ok());
        let mut away: Vec<String> = chosen.iter().filter(|node| !node.up).map(|node| node.name.clone()).collect();
        away.sort_unstable();
        Self {
            selector: selector.clone(),
            chosen: chosen.len(),
            agents: agents().count(),
            away,
            before: before.map(|before: Selector| agents().filter(|node| node.is_selected(&before)).count()),
        }
    }

    /// Refuses it when it selects nobody, or more than was surely meant (unless it is `sure`), or someone who must not be away.
    pub fn check(&self, status: &FleetStatus, when_away: WhenAway, sure: bool) -> Result<(), BadSelection> {
        let (chosen, agents) = (self.chosen, self.agents);
        // A fleet whose agents are still to come gets what is ordered when they do.
        if chosen == 0 && !self.selector.is_everyone() {
            let labels = known_labels(status);
            return Err(BadSelection::Nobody { selector: self.selector.clone(), agents, labels });
        }
        let is_surprising = |before: usize| chosen > before * TIMES && chosen > before + MORE;
        if let Some(before) = self.before.filter(|before| !sure && is_surprising(*before)) {
            return Err(BadSelection::Surprising { chosen, before });
        }
        match when_away == WhenAway::Fail && !self.away.is_empty() {
            true => Err(BadSelection::Away { chosen, away: self.away.clone() }),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chosen, agents, selector, away, .. } = self;
        match selector.is_everyone() {
            true if *agents == 1 => write!(f, "the one agent there is")?,
            true => write!(f, "all {agents} agents")?,
            false => write!(f, "{chosen} of {agents} agents, {selector}")?,
        }
        match away.is_empty() {
            true => Ok(()),
            false => write!(f, "; {} not connected: {}", away.len(), named(away)),
        }
    }
}

/// A few names, and how many more.
fn named(names: &[String]) -> String {
    let listed = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// What agents are labelled with: `role=db|web, zone=a|b`.
fn known_labels(status: &FleetStatus) -> String {
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for node in status.nodes.iter().filter(|node| node.role == Role::Agent) {
        for (key, value) in &node.labels {
            known.entry(key).or_default().insert(value);
        }
    }
    let values = |values: BTreeSet<&str>| {
        let more = if values.len() > LISTED { "|..." } else { "" };
        values.into_iter().take(LISTED).collect::<Vec<_>>().join("|") + more
    };
    match known.is_empty() {
        true => "not labelled at all".to_owned(),
        false => known.into_iter().map(|(key, of)| format!("{key}={}", values(of))).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{RolloutState, RolloutStatus};

    fn node(name: &str, labels: &[(&str, &str)], up: bool) -> NodeStatus {
        NodeStatus {
            node: name.into(),
            name: name.into(),
            role: Role::Agent,
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            up,
            since_us: 0,
            software: String::new(),
            limit: None,
            obeys_limits: true,
            speaks: 6,
            apps: Vec::new(),
        }
    }

    #[test]
    fn d20_a_restrained_order_is_refused_before_anything_is_sent_while_a_selected_agent_could_not_read_it() {
        let mut status = fleet(None);
        status.nodes[1].speaks = RESTRAINTS - 1;
        let (restraint, instructions) =
            (Restraint { gates: vec![0], ..Restraint::default() }, Instructions::plain(b"/srv", 0, 1));
        let said = |status: &FleetStatus, on: &str| {
            let selector = on.parse().expect("a selector");
            let demands = Demands { selector: &selector, restraint: &restraint, instructions: &instructions };
            check_readers(status, demands).map_err(|why| why.to_string())
        };
        let why = said(&status, "role=web").expect_err("one is too old");
        assert!(why.ends_with("speak protocol 6 or newer, and these do not: web-1"), "{why}");
        assert_eq!(said(&status, "role=db"), Ok(()), "it is for others");
        status.nodes[1].up = false;
        assert_eq!(said(&status, "role=web"), Ok(()), "nobody knows how it comes back");
        status.nodes[2].speaks = 0;
        assert_eq!(said(&status, "role=web"), Ok(()), "its origin is too old to tell");
    }

    #[test]
    fn g17_a_release_that_wants_newer_agents_is_refused_before_anything_is_sent_with_those_that_are_older() {
        let mut status = fleet(None);
        for node in &mut status.nodes {
            node.software = if node.name == "web-1" { "0.1.9" } else { "0.2.0" }.to_owned();
        }
        let mut instructions = Instructions::plain(b"/srv", 0, 1);
        let check = |status: &FleetStatus, instructions: &Instructions| {
            let (selector, restraint) = (&Selector::default(), &Restraint::default());
            check_readers(status, Demands { selector, restraint, instructions })
        };
        assert_eq!(check(&status, &instructions), Ok(()));
        instructions.min_agent = "0.2.0".parse().ok();
        let why = check(&status, &instructions).expect_err("one is older").to_string();
        assert_eq!(why, "it wants agents of tiding 0.2.0 or newer, and these are older: web-1 (0.1.9)");
        status.nodes[1].speaks = RESTRAINTS - 1;
        let why = check(&status, &instructions).expect_err("it would not even read that").to_string();
        assert!(why.contains("--min-agent are read by agents that speak protocol 6 or newer"), "{why}");
        status.nodes[1].up = false;
        assert_eq!(check(&status, &instructions), Ok(()), "it refuses by itself when it is back");
    }

    fn fleet(before: Option<&str>) -> FleetStatus {
        let web = (0..8).map(|n| node(&format!("web-{n}"), &[("role", "web"), ("zone", "a")], n != 3));
        let db = (0..2).map(|n| node(&format!("db-{n}"), &[("role", "db")], true));
        let origin = NodeStatus { role: Role::Origin, ..node("origin", &[], true) };
        let rollout = |selector: &str| RolloutStatus {
            app: "app".into(),
            order: None,
            epoch: 1,
            release: String::new(),
            version: String::new(),
            by: String::new(),
            message: String::new(),
            state: RolloutState::Finished,
            origin_have: 0,
            origin_total: 0,
            content_bytes: 0,
            origin_sent: 0,
            selector: selector.into(),
            releases: Vec::new(),
            created: 0,
            fallback: None,
            budget: 0,
            waves: Vec::new(),
            restraint: crate::api::Restraint::default(),
            since_us: None,
            roads: Vec::new(),
        };
        FleetStatus {
            nodes: web.chain(db).chain([origin]).collect(),
            apps: before.map(rollout).into_iter().collect(),
            ..FleetStatus::default()
        }
    }

    fn check(before: Option<&str>, selector: &str, when_away: WhenAway, sure: bool) -> Result<String, String> {
        let status = fleet(before);
        let selection = Selection::of(&status, "app", &selector.parse().expect("a selector"));
        let checked = selection.check(&status, when_away, sure);
        checked.map(|()| selection.to_string()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn it_is_counted_who_is_chosen_and_who_is_away() {
        use WhenAway::{Fail, Skip, Wait};
        assert_eq!(check(None, "", Skip, false).as_deref(), Ok("all 10 agents; 1 not connected: web-3"));
        assert_eq!(check(None, "role=db", Fail, false).as_deref(), Ok("2 of 10 agents, role=db"));
        assert_eq!(
            check(None, "role!=db", Wait, false).as_deref(),
            Ok("8 of 10 agents, role!=db; 1 not connected: web-3")
        );
        let away = check(None, "zone", Fail, true).expect_err("web-3 is away");
        assert_eq!(away, "1 of 8 selected agents are not connected: web-3");
    }

    #[test]
    fn d26_nobody_and_far_more_than_before_are_refused() {
        let nobody = check(None, "role=wep", WhenAway::Skip, true).expect_err("nobody");
        assert_eq!(nobody, "no agent of 10 is role=wep; they are role=db|web, zone=a");
        assert!(check(Some("role=db"), "role=db", WhenAway::Skip, false).is_ok());
        let forgotten = check(Some("role=db"), "", WhenAway::Skip, false).expect_err("it was for two");
        assert_eq!(forgotten, "it would go to 10 agents, and until now this application goes to 2");
        assert!(check(Some("role=db"), "", WhenAway::Skip, true).is_ok(), "someone who is sure may");
        assert!(check(Some("role=web"), "", WhenAway::Skip, false).is_ok(), "two more than eight are no surprise");
        let empty = FleetStatus::default();
        assert!(Selection::of(&empty, "app", &Selector::default()).check(&empty, WhenAway::Fail, false).is_ok());
    }
}
