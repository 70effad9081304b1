//! Whole fleets over loopback: real nodes, sockets, disks and clocks in one process. Everything waits for what the origin
//! says has happened, never for time.

use tiding_node as node;

use node::api::{FleetStatus, Phase, RolloutState};
use node::client::{Client, ClientError};
use node::daemon::{self, Running};
use node::founding::{self, FoundOptions};
use node::join::{self, JoinError, JoinTerms};
use node::publish::{self, DeployError, DeployOptions, Progress};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// What no step of a healthy fleet on loopback takes, however busy the machine is: a test that waits longer hangs.
const HANG: Duration = Duration::from_secs(120);
const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

async fn in_time<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, waiting).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

struct Fleet {
    temp: TempDir,
    origin: Running,
    agents: Vec<Running>,
}

impl Fleet {
    async fn new(agents: usize) -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let options = FoundOptions {
            home: temp.path().join("origin"),
            operator_home: temp.path().join("operator"),
            listen: ANY_PORT.into(),
            advertise: Vec::new(),
            name: "origin".to_owned(),
            datacenter: "here".to_owned(),
            operator: "alice".to_owned(),
        };
        founding::found(&options).expect("founded");
        let origin = start(temp.path(), "origin", ANY_PORT.into()).await;
        founding::set_origins(&options.operator_home, &[origin.address()]).expect("written");
        let mut fleet = Self { temp, origin, agents: Vec::new() };
        let line = fleet.origin.issue_join_line(JoinTerms::default()).await.expect("a line");
        for n in 0..agents {
            let name = format!("web-{n}");
            in_time("joining", join::join(&line, &fleet.path(&name), Some(&name))).await.expect("joined");
            let agent = start(fleet.temp.path(), &name, ANY_PORT.into()).await;
            fleet.agents.push(agent);
        }
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn operator(&self) -> PathBuf {
        self.path("operator")
    }

    fn client(&self) -> Client {
        Client::open(&self.operator()).expect("an operator's home")
    }

    /// The live path on an agent.
    fn live(&self, agent: usize) -> PathBuf {
        self.path(&format!("web-{agent}-root/srv/app"))
    }

    async fn deploy(&self, source: &Path) -> Result<publish::Deployed, DeployError> {
        let options =
            DeployOptions { health_window: Duration::ZERO, ..DeployOptions::new("app", Path::new("/srv/app")) };
        in_time("deploying", publish::deploy(&self.operator(), source, &options, |_| {})).await
    }

    /// Waits until the origin says so.
    async fn until(&self, what: &str, said: impl Fn(&FleetStatus) -> bool) -> FleetStatus {
        let watching = async {
            let mut watch = self.client().watch().await.expect("watching");
            loop {
                let status = watch.recv().await.expect("it goes on").expect("a status");
                if said(&status) {
                    return status;
                }
            }
        };
        in_time(what, watching).await
    }

    /// Waits until a release is confirmed on every agent.
    async fn until_confirmed(&self, release: &str) -> FleetStatus {
        let agents = self.agents.len();
        self.until("confirming", |status| {
            let on = status.nodes.iter().flat_map(|node| &node.apps);
            let confirmed = on.filter(|app| app.phase == Phase::Confirmed && app.live.as_deref() == Some(release));
            confirmed.count() == agents && status.apps.iter().all(|app| app.state == RolloutState::Finished)
        })
        .await
    }

    async fn stop(self) {
        for agent in self.agents {
            in_time("stopping an agent", agent.stop()).await;
        }
        in_time("stopping the origin", self.origin.stop()).await;
    }
}

async fn start(under: &Path, name: &str, listen: SocketAddr) -> Running {
    let targets = under.join(format!("{name}-root"));
    std::fs::create_dir_all(targets.join("srv")).expect("made");
    let options = daemon::Options { home: under.join(name), targets, listen };
    in_time("starting", daemon::start(options)).await.expect("started")
}

/// A small tree with one of everything that a tree may have.
fn tree(at: &Path, words: &str) {
    std::fs::create_dir_all(at.join("bin/deep")).expect("made");
    std::fs::create_dir_all(at.join("empty")).expect("made");
    std::fs::write(at.join("bin/run"), format!("#!/bin/sh\necho {words}\n")).expect("written");
    std::fs::set_permissions(at.join("bin/run"), std::fs::Permissions::from_mode(0o755)).expect("changed");
    let large: Vec<u8> = (0..700_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    std::fs::write(at.join("bin/deep/large"), large).expect("written");
    std::fs::write(at.join("none"), b"").expect("written");
    if let Err(error) = std::fs::remove_file(at.join("current")) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
    symlink("bin/run", at.join("current")).expect("linked");
}

/// Everything below a directory, by its path: kind, mode and bytes.
fn listing(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).expect("readable") {
            let path = entry.expect("readable").path();
            let meta = std::fs::symlink_metadata(&path).expect("it is there");
            let bytes = match meta.file_type() {
                kind if kind.is_dir() => {
                    waiting.push(path.clone());
                    Vec::new()
                }
                kind if kind.is_symlink() => {
                    std::os::unix::ffi::OsStrExt::as_bytes(std::fs::read_link(&path).expect("readable").as_os_str())
                        .to_vec()
                }
                _ => std::fs::read(&path).expect("readable"),
            };
            all.insert(path.strip_prefix(root).expect("below it").to_owned(), (meta.permissions().mode(), bytes));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_goes_live_everywhere_and_back() {
    let fleet = Fleet::new(3).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let mut seen = Vec::new();
    let options = DeployOptions { health_window: Duration::ZERO, ..DeployOptions::new("app", Path::new("/srv/app")) };
    let operator = fleet.operator();
    let deploying = publish::deploy(&operator, &source, &options, |progress| seen.push(progress));
    let first = in_time("deploying", deploying).await.expect("deployed");
    assert!(seen.iter().any(|progress| matches!(progress, Progress::Found { entries: 8, .. })), "{seen:?}");
    assert!(matches!(seen.last(), Some(Progress::Ordered { epoch: 1, .. })), "{seen:?}");
    fleet.until_confirmed(&first.release.to_string()).await;
    let one = listing(&source);
    for agent in 0..3 {
        assert_eq!(listing(&fleet.live(agent)), one, "agent {agent}");
    }

    tree(&source, "two");
    let second = fleet.deploy(&source).await.expect("deployed");
    assert_eq!(second.epoch, 2);
    let status = fleet.until_confirmed(&second.release.to_string()).await;
    let two = listing(&source);
    assert_ne!(one, two);
    assert_eq!(listing(&fleet.live(2)), two);
    let sent: u64 = status.apps.iter().map(|app| app.origin_sent).sum();
    let whole = status.apps[0].content_bytes;
    assert!(sent <= whole * 13 / 10 + 200_000, "the origin sent {sent} of {whole} bytes");

    let verified = in_time("verifying", fleet.client().verify("app")).await.expect("verified");
    assert_eq!(verified.nodes.len(), 3);
    for node in &verified.nodes {
        let report = node.report.as_ref().unwrap_or_else(|| panic!("{}: {:?}", node.name, node.error));
        assert_eq!((report.differing, report.release.as_str()), (0, second.release.to_string().as_str()));
    }

    let back = publish::rollback(&operator, "app", None, "two is bad");
    let back = in_time("rolling back", back).await.expect("ordered");
    assert_eq!((back.release, back.epoch), (first.release, 3));
    fleet.until_confirmed(&first.release.to_string()).await;
    assert_eq!(listing(&fleet.live(0)), one);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_what_was_changed_in_a_live_tree() {
    let fleet = Fleet::new(2).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;
    std::fs::write(fleet.live(1).join("bin/run"), b"#!/bin/sh\nrm -rf /\n").expect("written");
    let verified = in_time("verifying", fleet.client().verify("app")).await.expect("verified");
    let differing: BTreeMap<&str, u32> = (verified.nodes.iter())
        .map(|node| (node.name.as_str(), node.report.as_ref().expect("a report").differing))
        .collect();
    assert_eq!(differing, BTreeMap::from([("web-0", 0), ("web-1", 1)]));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_file_can_be_deployed() {
    let fleet = Fleet::new(1).await;
    let source = fleet.path("config.txt");
    std::fs::write(&source, b"port = 80\n").expect("written");
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;
    assert_eq!(std::fs::read(fleet.live(0)).expect("readable"), b"port = 80\n");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_wrong_used_up_and_revoked_lines_let_nobody_in() {
    let fleet = Fleet::new(0).await;
    let refused = async |line: &join::JoinLine, name: &str| {
        let joined = in_time("joining", join::join(line, &fleet.path(name), None)).await;
        assert!(!founding::is_founded(&fleet.path(name)), "{name} has joined");
        match joined {
            Err(JoinError::Refused(refusal)) => refusal.to_string(),
            other => panic!("{name}: {other:?}"),
        }
    };
    let once = JoinTerms { uses: 1, ..JoinTerms::default() };
    let line = fleet.origin.issue_join_line(once.clone()).await.expect("a line");
    in_time("joining", join::join(&line, &fleet.path("first"), Some("first"))).await.expect("joined");
    refused(&line, "second").await;

    let line = fleet.client().issue_join_line(&once).await.expect("a line");
    fleet.client().revoke_token(line.token_id()).await.expect("revoked");
    refused(&line, "third").await;

    // A token that was never issued; the secret of one line does not open another.
    let other = Fleet::new(0).await;
    let mut foreign = other.origin.issue_join_line(once).await.expect("a line");
    foreign.addresses = vec![fleet.origin.address()];
    let joined = in_time("joining", join::join(&foreign, &fleet.path("fourth"), None)).await;
    assert!(matches!(joined, Err(JoinError::NotTheFleet { .. })), "{joined:?}");
    let good = fleet.origin.issue_join_line(JoinTerms::default()).await.expect("a line");
    (foreign.ca, foreign.fleet) = (good.ca, good.fleet);
    refused(&foreign, "fifth").await;
    other.stop().await;
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_back_after_a_restart_of_either_side() {
    let mut fleet = Fleet::new(2).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;

    let (address, under) = (fleet.origin.address(), fleet.temp.path().to_owned());
    in_time("stopping", fleet.origin.stop()).await;
    fleet.origin = start(&under, "origin", address).await;
    let agents =
        |status: &FleetStatus| status.nodes.iter().filter(|node| node.up && node.name.starts_with("web")).count();
    fleet.until("coming back", |status| agents(status) == 2).await;

    in_time("stopping", fleet.agents.remove(1).stop()).await;
    fleet.until("going", |status| agents(status) == 1).await;
    tree(&source, "two");
    let second = fleet.deploy(&source).await.expect("deployed");
    fleet.agents.push(start(&under, "web-1", ANY_PORT.into()).await);
    fleet.until_confirmed(&second.release.to_string()).await;
    assert_eq!(listing(&fleet.live(1)), listing(&source));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_converges_without_an_operator() {
    let mut fleet = Fleet::new(1).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;
    let line = fleet.client().issue_join_line(&JoinTerms::default()).await.expect("a line");
    in_time("joining", join::join(&line, &fleet.path("web-1"), Some("web-1"))).await.expect("joined");
    let under = fleet.temp.path().to_owned();
    fleet.agents.push(start(&under, "web-1", ANY_PORT.into()).await);
    fleet.until_confirmed(&deployed.release.to_string()).await;
    assert_eq!(listing(&fleet.live(1)), listing(&source));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_a_second_process_on_one_store_is_refused() {
    let fleet = Fleet::new(0).await;
    let options =
        daemon::Options { home: fleet.path("origin"), targets: fleet.path("origin-root"), listen: ANY_PORT.into() };
    let why = daemon::start(options).await.map(drop).expect_err("locked").to_string();
    assert!(why.contains(&format!("locked by process {}", std::process::id())), "{why}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_away_is_said_before_anything_is_read() {
    let fleet = Fleet::new(0).await;
    let (operator, source) = (fleet.operator(), fleet.path("build"));
    tree(&source, "one");
    let Fleet { temp: _temp, origin, .. } = fleet;
    in_time("stopping", origin.stop()).await;
    let options = DeployOptions::new("app", Path::new("/srv/app"));
    let mut told = 0;
    let deployed = in_time("deploying", publish::deploy(&operator, &source, &options, |_| told += 1)).await;
    assert!(matches!(deployed, Err(DeployError::Client(ClientError::Unreachable(_)))), "{deployed:?}");
    assert_eq!(told, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn d6_a_publisher_that_is_cut_off_has_deployed_nothing_and_may_try_again() {
    let fleet = Fleet::new(2).await;
    let source = fleet.path("build");
    tree(&source, "one");
    let large: Vec<u8> =
        (0..10_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(7).to_le_bytes()).collect();
    std::fs::write(source.join("larger"), large).expect("written");
    let (operator, (cut, cut_off)) = (fleet.operator(), tokio::sync::oneshot::channel());
    let mut cut = Some(cut);
    let options = DeployOptions::new("app", Path::new("/srv/app"));
    let deploying = publish::deploy(&operator, &source, &options, |progress| {
        if matches!(progress, Progress::Spreading { .. })
            && let Some(cut) = cut.take()
        {
            cut.send(()).expect("somebody waits");
        }
    });
    tokio::select! {
        deployed = deploying => panic!("it was not cut off: {deployed:?}"),
        _ = cut_off => {}
    }
    let status = in_time("asking", fleet.client().status()).await.expect("a status");
    assert!(status.apps.iter().all(|app| app.order.is_none()), "{:?}", status.apps);
    assert!(!fleet.live(0).exists());
    let deployed = fleet.deploy(&source).await.expect("deployed");
    fleet.until_confirmed(&deployed.release.to_string()).await;
    assert_eq!(listing(&fleet.live(1)), listing(&source));
    fleet.stop().await;
}
