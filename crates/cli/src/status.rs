//! `tiding status`.

use crate::failure::{Failure, Kind};
use crate::report::phase_word;
use crate::settings::Settings;
use crate::speak;
use crate::table::Table;
use crate::watch;
use crate::words::{self, by_number};
use clap::Args;
use content::Selector;
use node::api::{Ahead, FleetStatus, NodeStatus, Role, RolloutState, RolloutStatus};
use node::client::Client;
use node::escape::escape;
use std::path::PathBuf;
use std::time::Duration;

/// Shows where every node stands.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding status\n  tiding status --watch\n  tiding status --json | jq '.nodes[] | select(.up | not) | .name'"
)]
pub(crate) struct Status {
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
    /// Show it as it changes, until `q` or Ctrl-C; where there is no terminal, a line for each change
    #[arg(short, long)]
    watch: bool,
    /// Print everything as one line of JSON on standard output; with --watch a line whenever something changed
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Asks and prints.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let what = "cannot see the fleet";
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let client = Client::open(&operator_home).map_err(|error| Failure::asking(what, &error))?;
        if let Some(notice) = client.notice() {
            speak::warning(format!(
                "the operator's certificate {notice}; `tiding up` on the origin's machine renews it, when --operator-home \
                 leads to these keys there"
            ));
        }
        if self.watch {
            return watch::run(client, self.json).await;
        }
        let status = client.status().await.map_err(|error| Failure::asking(what, &error))?;
        crate::key::nag(&operator_home, settings);
        match self.json {
            true => speak::json(&status),
            false => lines(&status).into_iter().for_each(speak::result),
        }
        Ok(())
    }
}

/// The application that is meant: the named one, or the only one.
pub(crate) async fn choose_app(client: &Client, named: Option<&str>, what: &str) -> Result<String, Failure> {
    let status = client.status().await.map_err(|error| Failure::asking(what, &error))?;
    let apps: Vec<String> = status.apps.into_iter().map(|rollout| rollout.app).collect();
    if let Some(named) = named {
        return match apps.iter().any(|app| app == named) {
            true => Ok(named.to_owned()),
            false => Err(Failure::new(Kind::Refused, what)
                .because(format!("no application {} was deployed", escape(named)))
                .next("`tiding status` lists what there is")),
        };
    }
    match &apps[..] {
        [only] => Ok(only.clone()),
        [] => Err(Failure::new(Kind::Refused, what)
            .because("nothing was deployed yet")
            .next("tiding deploy DIR --to PATH")),
        several => {
            let names = several.iter().map(|name| escape(name)).collect::<Vec<_>>().join(", ");
            Err(Failure::new(Kind::Usage, what)
                .because(format!("there is more than one application: {names}"))
                .next("name the one you mean"))
        }
    }
}

fn lines(status: &FleetStatus) -> Vec<String> {
    let agents: Vec<&NodeStatus> = status.nodes.iter().filter(|node| node.role == Role::Agent).collect();
    let up = agents.iter().filter(|node| node.up).count();
    let mut lines = vec![format!(
        "fleet {}, origin {} of {}, {up} of {} up",
        words::short(&status.fleet),
        escape(&status.origin_name),
        escape(&status.datacenter),
        words::count(agents.len(), "agent")
    )];
    lines.extend(status.ahead.iter().map(ahead_line));
    lines.extend(status.vouching.as_ref().and_then(crate::ca::notice).map(|notice| format!("WARNING: {notice}")));
    for rollout in &status.apps {
        lines.push(String::new());
        lines.extend(rollout_lines(rollout));
        lines.push(reach_line(status, rollout));
    }
    lines.push(String::new());
    lines.extend(node_lines(status));
    lines.extend(crate::limit::lines(status));
    lines
}

/// That an origin knows less than its agents.
fn ahead_line(ahead: &Ahead) -> String {
    let agents = words::count(ahead.agents as usize, "agent");
    format!(
        "WARNING: {agents} had accepted epoch {} of {}, which this origin does not know: its state was lost, or an old copy was put \
         back. They run what they ran, and follow nothing older; deploy {} again, and all follow that",
        ahead.epoch,
        escape(&ahead.app),
        escape(&ahead.app)
    )
}

fn rollout_lines(rollout: &RolloutStatus) -> Vec<String> {
    let state = match &rollout.state {
        RolloutState::Spreading => {
            format!("spreading, the origin has {} of {} pieces", rollout.origin_have, rollout.origin_total)
        }
        RolloutState::Rolling { wave } => format!("rolling, wave {}", u32::from(*wave) + 1),
        RolloutState::Paused { wave, by, why } => {
            let at = wave.map_or_else(|| "before its first wave".to_owned(), |wave| format!("at wave {}", wave + 1));
            let why = if why.is_empty() { String::new() } else { format!(": {}", escape(why)) };
            format!("PAUSED {at} by {}{why}", escape(by))
        }
        RolloutState::Halted { why } => format!("HALTED: {}", escape(why)),
        RolloutState::Finished => "finished".to_owned(),
    };
    let (app, version, by) = (escape(&rollout.app), escape(&rollout.version), escape(&rollout.by));
    let mut lines = vec![format!("{app} {version}  {state}  (epoch {} by {by})", rollout.epoch)];
    if !rollout.message.is_empty() {
        lines.push(format!("  {}", escape(&rollout.message)));
    }
    lines.extend(restraint_lines(rollout));
    lines.extend(crate::roads::lines(&rollout.roads).into_iter().map(|line| format!("  {line}")));
    let releases: Vec<String> = (rollout.releases.iter().rev().take(5))
        .map(|release| format!("{}{}", escape(&release.version), if release.runs { " (live)" } else { "" }))
        .collect();
    lines.push(format!("  releases, newest first: {}", releases.join(", ")));
    lines
}

/// Which gate waits for a word, for how long, and what says it; how much time the open wave has left; how many switch at once.
fn restraint_lines(rollout: &RolloutStatus) -> Vec<String> {
    let (restraint, mut lines) = (&rollout.restraint, Vec::new());
    let duration = |micros: u64| words::duration(Duration::from_micros(micros));
    if let Some(awaits) = &restraint.awaits {
        lines.push(format!(
            "  WAITS FOR A WORD for {}: wave {} of {} is confirmed; `{}` opens the next",
            duration(awaits.since_us),
            u32::from(awaits.wave) + 1,
            rollout.waves.len(),
            escape(&awaits.say)
        ));
    }
    if let Some((of, left)) = restraint.deadline.and_then(|deadline| Some((deadline.of_us, deadline.left_us?))) {
        let stands = if matches!(rollout.state, RolloutState::Paused { .. }) { ", and stands still" } else { "" };
        let then = if rollout.fallback.is_some() { "it halts and all go back" } else { "it halts" };
        lines.push(format!("  deadline of the wave: {} of {} left{stands}; then {then}", duration(left), duration(of)));
    }
    let is_under_way = matches!(rollout.state, RolloutState::Rolling { .. } | RolloutState::Paused { .. });
    if is_under_way && !restraint.at_once.is_empty() {
        lines.push(format!("  switching at once: {} at most", escape(&restraint.at_once.join(" and "))));
    }
    lines
}

/// How many of those it is for run it, and who is out of reach: `live on 497 of 500, role=web; 3 not connected, for 2 h at the longest`.
fn reach_line(status: &FleetStatus, rollout: &RolloutStatus) -> String {
    let selector: Selector = rollout.selector.parse().unwrap_or_default();
    let selected = status.nodes.iter().filter(|node| node.role == Role::Agent && node.is_selected(&selector));
    let selected: Vec<&NodeStatus> = selected.collect();
    let runs = |node: &&&NodeStatus| {
        let ours = |app: &node::api::AppStatus| app.app == rollout.app && app.live.as_ref() == Some(&rollout.release);
        node.apps.iter().any(ours)
    };
    let live = selected.iter().filter(runs).count();
    let away: Vec<u64> = selected.iter().filter(|node| !node.up).map(|node| node.since_us).collect();
    let which = if selector.is_everyone() { String::new() } else { format!(", {selector}") };
    let away = away.iter().max().map_or_else(String::new, |longest| {
        let longest = words::duration(Duration::from_micros(*longest));
        format!("; {} not connected, for {longest} at the longest", away.len())
    });
    format!("  live on {live} of {}{which}{away}", words::count(selected.len(), "agent"))
}

fn node_lines(status: &FleetStatus) -> Vec<String> {
    let mut table = Table::new(&["node", "role", "connected", "app", "state", "live", "trouble"]);
    let mut nodes: Vec<&NodeStatus> = status.nodes.iter().filter(|node| is_shown(node, status)).collect();
    nodes.sort_by_key(|node| by_number(&node.name));
    for node in nodes {
        let apps = node.apps.iter().map(|app| {
            let live = app.live.as_deref().map_or_else(|| "-".to_owned(), |live| version_of(status, &app.app, live));
            let trouble = app.trouble.as_deref().map(escape).unwrap_or_default();
            [escape(&app.app), phase_word(app.phase).to_owned(), live, trouble]
        });
        let mut apps: Vec<[String; 4]> = apps.collect();
        if apps.is_empty() {
            apps.push(["-", "-", "-", ""].map(str::to_owned));
        }
        for app in apps {
            table.row(
                [escape(&node.name), role(node.role).to_owned(), connected(node)].into_iter().chain(app).collect(),
            );
        }
    }
    table.lines()
}

/// An operator's machine comes and goes with its commands, and the origin that answers is plainly there.
fn is_shown(node: &NodeStatus, status: &FleetStatus) -> bool {
    node.role != Role::Operator && node.node != status.origin
}

/// What people call a release, or the beginning of its id.
fn version_of(status: &FleetStatus, app: &str, release: &str) -> String {
    let rollout = status.apps.iter().find(|rollout| rollout.app == app);
    let known = rollout.and_then(|rollout| rollout.releases.iter().find(|one| one.release == release));
    known.map_or_else(|| words::short(release), |known| escape(&known.version))
}

fn connected(node: &NodeStatus) -> String {
    let since = words::duration(Duration::from_micros(node.since_us));
    if node.up { format!("for {since}") } else { format!("NOT, for {since}") }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Agent => "agent",
        Role::Origin => "origin",
        Role::Operator => "operator",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f19_names_from_the_network_are_escaped() {
        let node = NodeStatus {
            node: "id".into(),
            name: "n\x1b[2J".into(),
            role: Role::Agent,
            labels: std::collections::BTreeMap::new(),
            up: false,
            since_us: 5_000_000,
            software: String::new(),
            limit: None,
            obeys_limits: true,
            speaks: 6,
            apps: Vec::new(),
        };
        let status = FleetStatus { nodes: vec![node], origin_name: "\x07".into(), ..FleetStatus::default() };
        let text = lines(&status).join("\n");
        assert!(!text.contains('\x1b') && !text.contains('\x07'), "{text:?}");
        assert!(text.contains("NOT, for 5.0 s"), "{text}");
    }

    #[test]
    fn argo_942_a_gate_that_waits_is_said_with_since_when_and_what_opens_it() {
        let rollout = r#"{"app":"web","order":"o","epoch":3,"release":"r","version":"2.1","by":"alice","message":"",
            "state":{"is":"rolling","wave":0},"origin_have":1,"origin_total":1,"content_bytes":1,"origin_sent":1,"selector":"",
            "releases":[],"waves":[{"nodes":1,"confirmed":1,"failed":0},{"nodes":9,"confirmed":0,"failed":0}],"fallback":"q",
            "restraint":{"gates":[0],"awaits":{"wave":0,"since_us":240000000,"say":"tiding promote web"},
            "deadline":{"of_us":1800000000,"left_us":1500000000},"at_once":["rack=1"]}}"#;
        let rollout: RolloutStatus = serde_json::from_str(rollout).expect("a status");
        let text = rollout_lines(&rollout).join("\n");
        for part in [
            "WAITS FOR A WORD for 4 min 0 s: wave 1 of 2 is confirmed; `tiding promote web` opens the next",
            "deadline of the wave: 25 min 0 s of 30 min 0 s left; then it halts and all go back",
            "switching at once: rack=1 at most",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
