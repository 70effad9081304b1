//! `tiding doctor`: what is not as it should be, on this machine and in the fleet, each with what to do next.
//!
//! It looks and changes nothing. What it finds is sorted: what stops a deploy, what will one day, and what is well.

use crate::failure::{Failure, Kind};
use crate::settings::Settings;
use crate::speak;
use crate::words;
use clap::Args;
use node::api::{FleetStatus, NodeStatus, Role, RolloutState};
use node::client::Client;
use node::escape::escape;
use node::freshness;
use node::moving::Placement;
use node::renewal::{self, Ends};
use serde::Serialize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Looks for what is wrong, or soon will be: keys, clock, disk, versions, machines that are away, rollouts that stand still.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tiding doctor\n  tiding doctor --json\n\nIt exits with 1 when something stops a deploy, and with 0 otherwise."
)]
pub(crate) struct Doctor {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// A node's home on this machine, if one is here [default: /var/lib/tiding for root, else ~/.local/share/tiding]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Where the operator's keys are [default: ~/.config/tiding]
    #[arg(long, value_name = "DIR")]
    operator_home: Option<PathBuf>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    /// It stops a deploy.
    Bad,
    /// It will one day.
    Warning,
    /// It is as it should be.
    Well,
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    what: String,
    next: Option<String>,
}

impl Finding {
    fn well(what: impl Into<String>) -> Self {
        Self { level: Level::Well, what: what.into(), next: None }
    }

    fn warning(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Warning, what: what.into(), next: Some(next.into()) }
    }

    fn bad(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Bad, what: what.into(), next: Some(next.into()) }
    }
}

/// Clocks may be apart by so much: certificates begin an hour early.
const APART: Duration = Duration::from_secs(60);
/// Who is away for longer is probably gone.
const GONE: Duration = Duration::from_secs(24 * 3600);
/// With less room than this part of its file system a node will soon have none for a release.
const ROOM: u64 = 10;

impl Doctor {
    /// Looks at everything and says what it found.
    pub(crate) async fn run(&self, settings: &Settings) -> Result<(), Failure> {
        let home = settings.home(self.home.as_ref())?;
        let operator_home = settings.operator_home(self.operator_home.as_ref())?;
        let mut findings = of_keys(&operator_home, &home);
        findings.extend(of_disk(&home));
        findings.extend(of_certificates(&operator_home, &home));
        findings.extend(of_labels(std::fs::read_to_string("/sys/fs/selinux/enforce").ok().as_deref()));
        match ask(&operator_home).await {
            Ok(status) => findings.extend(of_fleet(&status, now())),
            Err(finding) => findings.push(finding),
        }
        if node::vouching::lacks_the_ca(&home) {
            let [what, next] = crate::ca::lacking();
            let finding = Finding::warning(what, next);
            findings.retain(|other| *other != finding);
            findings.push(finding);
        }
        findings.sort_by_key(|finding| finding.level);
        match self.json {
            true => speak::json(&findings),
            false => findings.iter().for_each(say),
        }
        match findings.iter().filter(|finding| finding.level == Level::Bad).count() {
            0 => Ok(()),
            bad => {
                Err(Failure::new(Kind::Failed, format!("{} that a deploy would fail on", words::count(bad, "finding"))))
            }
        }
    }
}

fn say(finding: &Finding) {
    let mark = match finding.level {
        Level::Bad => "BAD    ",
        Level::Warning => "WARNING",
        Level::Well => "ok     ",
    };
    speak::result(format!("{mark}  {}", finding.what));
    if let Some(next) = &finding.next {
        speak::result(format!("         -> {next}"));
    }
}

async fn ask(operator_home: &Path) -> Result<FleetStatus, Finding> {
    let failed = |error: node::client::ClientError| {
        if let node::client::ClientError::Home(why) = &error {
            return Finding::bad(
                why.clone(),
                "run this where the operator's keys are, or say where with --operator-home",
            );
        }
        Finding::bad(
            format!("the fleet cannot be asked: {error}"),
            "look at its log there; `tiding run` or `tiding up` starts it again",
        )
    };
    let client = Client::open(operator_home).map_err(failed)?;
    client.status().await.map_err(failed)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The operator's keys: nobody else reads them, and the root key is not where the origin is.
fn of_keys(operator_home: &Path, home: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["operator.key", "root.key", "key.pem"] {
        let path = operator_home.join(name);
        let Ok(found) = std::fs::metadata(&path) else { continue };
        if found.mode() & 0o077 != 0 {
            let next = format!("chmod 600 {}", path.display());
            findings.push(Finding::bad(format!("{} can be read by others", path.display()), next));
        }
    }
    let placed = Placement::look(operator_home, home);
    findings.extend(placed.notice().map(|[what, next]| Finding::warning(what, next)));
    let moved = [("the operator's keys", &placed.moved), ("the fleet's root key", &placed.root_moved)];
    findings.extend(moved.into_iter().filter_map(|(what, to)| {
        to.as_ref().map(|to| Finding::well(format!("{what} moved away from here, to {}", to.display())))
    }));
    findings
}

/// How long certificates are good, and whether the node on this machine hears of an origin.
fn of_certificates(operator_home: &Path, home: &Path) -> Vec<Finding> {
    let said = |whose: &str, ends: Ends, next: &str| {
        let until = format!("{whose} certificate is good until {} UTC", words::moment(ends.at));
        match ends.notice {
            Some(notice) => Finding::warning(format!("{whose} certificate {notice}"), next),
            None => Finding::well(until),
        }
    };
    let node = renewal::of_node(home).map(|ends| {
        let next = "it is renewed as soon as an origin answers; its log says why that fails";
        said("this node's", ends, next)
    });
    let operator = renewal::of_operator(operator_home).map(|ends| {
        let next = "any command that reaches the origin renews it; after 90 days more only `tiding up` does, on the origin's machine";
        said("the operator's", ends, next)
    });
    let stale = freshness::stale(home).map(|age| {
        let age = words::duration(Duration::from_secs(age));
        Finding::warning(
            format!("STALE: the node on this machine has heard of no origin for {age}"),
            "what runs goes on and nothing new comes: see whether it runs, and whether the origin's port is reached from here",
        )
    });
    node.into_iter().chain(operator).chain(stale).collect()
}

/// Whether the node on this machine, if there is one, has room.
fn of_disk(home: &Path) -> Vec<Finding> {
    let Ok(found) = rustix::fs::statvfs(home) else { return Vec::new() };
    let (free, all) = (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize);
    let inodes = found.f_files > 0 && found.f_favail < found.f_files / ROOM;
    let said = format!("{}: {} free of {}", home.display(), words::size(free), words::size(all));
    let next = "make room, or give the node another home; a download waits for room and goes on by itself";
    vec![match (free < all / ROOM, inodes) {
        (true, _) => Finding::warning(said, next),
        (_, true) => Finding::warning(format!("{}: nearly as many files as it can hold", home.display()), next),
        _ => Finding::well(said),
    }]
}

/// What SELinux makes of releases, where it is on: `1` where it forbids, `0` where it only tells.
fn of_labels(enforce: Option<&str>) -> Option<Finding> {
    let is_enforcing = enforce?.trim() == "1";
    Some(Finding {
        level: Level::Well,
        what: format!(
            "SELinux is {}: what is laid out for /srv/app has the label of /srv/.app.tiding, which is that of an adopted /srv/app, or what the \
             policy says",
            if is_enforcing { "enforcing" } else { "permissive" }
        ),
        next: Some(
            "if a service may not read it: semanage fcontext -a -e /srv/app /srv/.app.tiding && restorecon -R /srv/.app.tiding".to_owned(),
        ),
    })
}

/// What the fleet's own words say.
fn of_fleet(status: &FleetStatus, now: u64) -> Vec<Finding> {
    let mut findings = vec![of_clock(status, now)];
    findings.extend(of_machines(status));
    findings.extend(of_versions(status));
    findings.extend(of_authorities(status));
    findings.extend(of_rollouts(status));
    findings
}

fn of_clock(status: &FleetStatus, now: u64) -> Finding {
    let Some(theirs) = status.now else { return Finding::well("the origin does not say what time it is") };
    let apart = Duration::from_secs(theirs.abs_diff(now));
    match apart > APART {
        true => Finding::warning(
            format!("the origin's clock and this machine's are {} apart", words::duration(apart)),
            "let both follow a time server; certificates begin and end by these clocks",
        ),
        false => Finding::well("the origin answers, and its clock agrees with this machine's"),
    }
}

fn of_machines(status: &FleetStatus) -> Vec<Finding> {
    let agents: Vec<&NodeStatus> = status.nodes.iter().filter(|node| node.role == Role::Agent).collect();
    let (up, away): (Vec<&NodeStatus>, Vec<&NodeStatus>) = agents.iter().partition(|node| node.up);
    let mut findings =
        vec![Finding::well(format!("{} of {} connected", up.len(), words::count(agents.len(), "agent")))];
    let is_gone = |node: &&&NodeStatus| Duration::from_micros(node.since_us) > GONE;
    let gone: Vec<String> = away.iter().filter(is_gone).map(|node| escape(&node.name)).collect();
    if !gone.is_empty() {
        findings.push(Finding::warning(
            format!("away for more than a day: {}", few(&gone)),
            "`tiding forget NAME` for those that are gone for good: they are counted no more",
        ));
    }
    let lately: Vec<String> = away.iter().filter(|node| !is_gone(node)).map(|node| escape(&node.name)).collect();
    if !lately.is_empty() {
        findings.push(Finding::warning(
            format!("not connected: {}", few(&lately)),
            "look at these machines; they get what is ordered when they come back",
        ));
    }
    findings
}

fn of_versions(status: &FleetStatus) -> Vec<Finding> {
    let others = status.nodes.iter().filter(|node| node.up && node.software != status.software);
    let others: Vec<String> = others.map(|node| format!("{} {}", escape(&node.name), escape(&node.software))).collect();
    match others.is_empty() {
        true => Vec::new(),
        false => vec![Finding::warning(
            format!("the origin runs {}, and others do not: {}", escape(&status.software), few(&others)),
            "bring all to one version when it suits; older ones are served meanwhile",
        )],
    }
}

/// Whether the fleet changes its CA, and who has not got a certificate of the new one.
fn of_authorities(status: &FleetStatus) -> Option<Finding> {
    let vouching = status.vouching.as_ref()?;
    if vouching.lacks_key {
        let [what, next] = crate::ca::lacking();
        return Some(Finding::warning(what, next));
    }
    let left: Vec<String> = vouching.left.iter().map(|name| escape(name)).collect();
    match left.is_empty() {
        _ if vouching.named < 2 => None,
        true => Some(Finding::warning(
            "the fleet changes its CA: every agent has a certificate of the new one, and the old one is believed still",
            "give it up: `tiding ca rotate --finish`",
        )),
        false => Some(Finding::warning(
            format!(
                "the fleet changes its CA: {} not shown a certificate of the new one since the origin started: {}",
                if left.len() == 1 { "1 agent has".to_owned() } else { format!("{} agents have", left.len()) },
                few(&left)
            ),
            "wait until they have, or see why they are not connected; then `tiding ca rotate --finish`",
        )),
    }
}

fn of_rollouts(status: &FleetStatus) -> Vec<Finding> {
    let ahead = status.ahead.iter().map(|ahead| {
        let app = escape(&ahead.app);
        Finding::bad(
            format!(
                "the origin's state is an old copy: {} had accepted epoch {} of {app}",
                words::count(ahead.agents as usize, "agent"),
                ahead.epoch
            ),
            format!("deploy {app} again: its order will be above what the fleet has"),
        )
    });
    let rollouts = status.apps.iter().filter_map(|rollout| {
        let (app, version) = (escape(&rollout.app), escape(&rollout.version));
        match &rollout.state {
            RolloutState::Halted { why } => Some(Finding::warning(
                format!("{app} {version} has halted: {}", escape(why)),
                "deploy what mends it; its nodes run what they ran before",
            )),
            RolloutState::Paused { by, .. } => Some(Finding::warning(
                format!("{app} {version} is paused by {}", escape(by)),
                format!("`tiding resume {app}` or `tiding abort {app}`"),
            )),
            _ => None,
        }
    });
    let nodes = status.nodes.iter().flat_map(|node| node.apps.iter().map(move |app| (node, app)));
    let troubled: Vec<String> = nodes
        .filter_map(|(node, app)| {
            Some(format!("{} ({}: {})", escape(&node.name), escape(&app.app), escape(app.trouble.as_ref()?)))
        })
        .collect();
    let troubled = (!troubled.is_empty()).then(|| {
        Finding::warning(
            format!("in trouble: {}", few(&troubled)),
            "`tiding status` shows all of them; they go on trying by themselves",
        )
    });
    ahead.chain(rollouts).chain(troubled).collect()
}

/// The first of many.
fn few(names: &[String]) -> String {
    const FEW: usize = 5;
    let more = names.len().saturating_sub(FEW);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    names[..names.len().min(FEW)].join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn node(name: &str, up: bool, away: Duration) -> NodeStatus {
        NodeStatus {
            node: name.to_owned(),
            name: name.to_owned(),
            role: Role::Agent,
            labels: BTreeMap::new(),
            up,
            since_us: away.as_micros() as u64,
            software: "1.0".to_owned(),
            limit: None,
            obeys_limits: true,
            speaks: 6,
            apps: Vec::new(),
        }
    }

    fn said(status: &FleetStatus) -> String {
        of_fleet(status, 1000).into_iter().map(|finding| format!("{:?} {}\n", finding.level, finding.what)).collect()
    }

    #[test]
    fn a_fleet_that_is_well_gives_no_warning() {
        let status = FleetStatus {
            software: "1.0".to_owned(),
            now: Some(1010),
            nodes: vec![node("a", true, Duration::ZERO)],
            ..FleetStatus::default()
        };
        assert!(of_fleet(&status, 1000).iter().all(|finding| finding.level == Level::Well), "{}", said(&status));
        assert!(said(&status).contains("1 of 1 agent connected"));
    }

    #[test]
    fn whatever_is_not_well_is_named_with_what_next() {
        let mut old = node("old", true, Duration::ZERO);
        old.software = "0.9\u{1b}[2J".to_owned();
        let status = FleetStatus {
            software: "1.0".to_owned(),
            now: Some(2000),
            nodes: vec![old, node("lost", false, GONE * 2), node("late", false, Duration::from_secs(60))],
            ahead: vec![node::api::Ahead { app: "web".to_owned(), epoch: 7, agents: 3 }],
            ..FleetStatus::default()
        };
        let all = said(&status);
        for what in [
            "16 min 40 s apart",
            "more than a day: lost",
            "not connected: late",
            "others do not: old",
            "epoch 7 of web",
        ] {
            assert!(all.contains(what), "`{what}` in\n{all}");
        }
        assert!(!all.contains('\u{1b}'), "{all:?}");
        let findings = of_fleet(&status, 1000);
        assert!(findings.iter().all(|finding| finding.level == Level::Well || finding.next.is_some()));
        assert_eq!(findings.iter().filter(|finding| finding.level == Level::Bad).count(), 1);
    }

    #[test]
    fn selinux_is_spoken_of_where_it_is() {
        assert_eq!(of_labels(None), None);
        let said = |enforce| of_labels(Some(enforce)).expect("it is on").what;
        assert!(said("1").contains("enforcing") && said("0\n").contains("permissive"));
    }

    #[test]
    fn h8_keys_that_others_can_read_are_found() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (operator, home) = (temp.path().join("operator"), temp.path().join("home"));
        std::fs::create_dir_all(&operator).expect("a directory");
        std::fs::write(operator.join("root.key"), "x").expect("a file");
        std::fs::set_permissions(operator.join("root.key"), std::fs::Permissions::from_mode(0o600)).expect("a mode");
        assert_eq!(of_keys(&operator, &home), []);
        for directory in [operator.clone(), home.join("ca"), home.join("identity")] {
            std::fs::create_dir_all(&directory).expect("a directory");
            std::fs::write(directory.join("root.signed"), "of one fleet").expect("a file");
        }
        assert!(of_keys(&operator, &home)[0].what.contains("root key lies on the origin's machine"));
        std::fs::set_permissions(operator.join("root.key"), std::fs::Permissions::from_mode(0o640)).expect("a mode");
        assert_eq!(of_keys(&operator, &home)[0].level, Level::Bad);
    }
}
