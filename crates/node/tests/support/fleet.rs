//! A whole fleet over loopback in one process, and trees to deploy on it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use tiding_node as node;

use node::api::{FleetStatus, Phase, RolloutState};
use node::client::Client;
use node::daemon::{self, Running};
use node::founding::{self, FoundOptions};
use node::join::{self, JoinTerms};
use node::publish::{self, DeployError, DeployOptions};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// What no step of a healthy fleet on loopback takes, however busy the machine is: a test that waits longer hangs.
const HANG: Duration = Duration::from_secs(120);
pub const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

pub async fn in_time<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, waiting).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

pub struct Fleet {
    pub temp: TempDir,
    pub origin: Running,
    pub agents: Vec<Running>,
}

impl Fleet {
    pub async fn new(agents: usize) -> Self {
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub fn operator(&self) -> PathBuf {
        self.path("operator")
    }

    pub fn client(&self) -> Client {
        Client::open(&self.operator()).expect("an operator's home")
    }

    /// The live path on an agent.
    pub fn live(&self, agent: usize) -> PathBuf {
        self.path(&format!("web-{agent}-root/srv/app"))
    }

    pub async fn deploy(&self, source: &Path) -> Result<publish::Deployed, DeployError> {
        let options =
            DeployOptions { health_window: Duration::ZERO, ..DeployOptions::new("app", Path::new("/srv/app")) };
        in_time("deploying", publish::deploy(&self.operator(), source, &options, |_| {})).await
    }

    /// Waits until the origin says so.
    pub async fn until(&self, what: &str, said: impl Fn(&FleetStatus) -> bool) -> FleetStatus {
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
    pub async fn until_confirmed(&self, release: &str) -> FleetStatus {
        let agents = self.agents.len();
        self.until("confirming", |status| {
            let on = status.nodes.iter().flat_map(|node| &node.apps);
            let confirmed = on.filter(|app| app.phase == Phase::Confirmed && app.live.as_deref() == Some(release));
            confirmed.count() == agents && status.apps.iter().all(|app| app.state == RolloutState::Finished)
        })
        .await
    }

    pub async fn stop(self) {
        for agent in self.agents {
            in_time("stopping an agent", agent.stop()).await;
        }
        in_time("stopping the origin", self.origin.stop()).await;
    }
}

pub fn options(under: &Path, name: &str, listen: SocketAddr) -> daemon::Options {
    let targets = under.join(format!("{name}-root"));
    std::fs::create_dir_all(targets.join("srv")).expect("made");
    daemon::Options { home: under.join(name), targets, listen, limit: None, policy: Default::default() }
}

pub async fn start(under: &Path, name: &str, listen: SocketAddr) -> Running {
    in_time("starting", daemon::start(options(under, name, listen))).await.expect("started")
}

/// A small tree with one of everything that a tree may have.
pub fn tree(at: &Path, words: &str) {
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
pub fn listing(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
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
