//! A machine of two halves in one process, and whoever speaks in the place of the one that talks to the network.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use super::fleet::{ANY_PORT, Fleet, listing, options, tree};
use content::encoding::Encode;
use content::{AppName, Order, PayloadKind, Release, ReleaseId, Signed, SigningKey};
use engine::door::{AppRecord, Job, JobDone, JobError};
use node::api::{FleetStatus, Phase, RolloutState};
use node::halves::words::{Asked, Told};
use node::halves::{self, Hands, HandsOptions};
use node::{daemon, join};
use std::fs;
use std::path::{Path, PathBuf};
use tiding_node as node;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// One machine of a fleet whose node is two halves, in one process here.
pub struct Machine {
    pub fleet: Fleet,
    pub hands: Hands,
    pub half: Option<daemon::Running>,
}

pub fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub fn places(fleet: &Fleet, user: u32) -> HandsOptions {
    HandsOptions {
        home: fleet.path("hands"),
        other: fleet.path("web-0"),
        targets: fleet.path("web-0-root"),
        socket: fleet.path("socket"),
        user,
        hooks_user: None,
    }
}

impl Machine {
    pub async fn new() -> Self {
        let fleet = Fleet::new(0).await;
        let line = fleet.origin.issue_join_line(join::JoinTerms::default()).await.expect("a line");
        join::join(&line, &fleet.path("web-0"), Some("web-0")).await.expect("joined");
        let of_agent = options(fleet.temp.path(), "web-0", ANY_PORT.into());
        let hands = halves::start(places(&fleet, me())).await.expect("started");
        let half = daemon::start_with_hands(of_agent, &fleet.path("socket")).await.expect("started");
        Self { fleet, hands, half: Some(half) }
    }

    pub async fn deploy(&self, words: &str) -> PathBuf {
        let source = self.fleet.path(&format!("source-{words}"));
        tree(&source, words);
        let deployed = self.fleet.deploy(&source).await.expect("deployed");
        self.confirmed(&deployed.release.to_string()).await;
        assert_eq!(listing(&self.targets().join("srv/app/")), listing(&source));
        source
    }

    /// Waits until the origin says that a release is live and confirmed on it.
    pub async fn confirmed(&self, release: &str) {
        let is_there = |status: &FleetStatus| {
            let mut apps = status.nodes.iter().flat_map(|node| &node.apps);
            apps.any(|app| app.phase == Phase::Confirmed && app.live.as_deref() == Some(release))
                && status.apps.iter().all(|app| app.state == RolloutState::Finished)
        };
        self.fleet.until("confirming", is_there).await;
    }

    /// From here on somebody else has the network half.
    pub async fn owned(&mut self) -> Owned {
        self.half.take().expect("it runs").stop().await;
        Owned::connect(&self.fleet.path("socket")).await.expect("its user may connect")
    }

    pub async fn given_back(&mut self) {
        let of_agent = options(self.fleet.temp.path(), "web-0", ANY_PORT.into());
        self.half = Some(daemon::start_with_hands(of_agent, &self.fleet.path("socket")).await.expect("started"));
    }

    pub fn targets(&self) -> PathBuf {
        self.fleet.path("web-0-root")
    }

    pub fn operator(&self) -> SigningKey {
        let hex = fs::read_to_string(self.fleet.operator().join("operator.key")).expect("readable");
        let secret = data_encoding::HEXLOWER.decode(hex.trim().as_bytes()).expect("hexadecimal");
        SigningKey::from_secret(&secret.try_into().expect("32 bytes"))
    }

    pub async fn stop(self) {
        if let Some(half) = self.half {
            half.stop().await;
        }
        self.hands.stop().await;
        self.fleet.stop().await;
    }
}

/// Whoever speaks in its place.
pub struct Owned {
    pub stream: UnixStream,
    pub record: AppRecord,
    pub next: u64,
}

/// What is remembered of an application of which nothing is.
fn nothing() -> AppRecord {
    AppRecord {
        app: app(),
        order: None,
        laid_out: Vec::new(),
        live: None,
        confirmed: None,
        intent: None,
        begun: 0,
        given_up: None,
    }
}

pub async fn hear(stream: &mut UnixStream) -> std::io::Result<Told> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
    stream.read_exact(&mut bytes).await?;
    Told::decode(&bytes).map_err(std::io::Error::other)
}

pub fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

impl Owned {
    pub async fn connect(socket: &Path) -> std::io::Result<Self> {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(&framed(&Asked::Greeting { software: "owned".to_owned() }.encode())).await?;
        match hear(&mut stream).await? {
            Told::Welcome { records, .. } => {
                let record = records.into_iter().next().unwrap_or_else(nothing);
                Ok(Self { stream, record, next: 0 })
            }
            other => Err(std::io::Error::other(format!("{other:?}"))),
        }
    }

    pub async fn ask(&mut self, job: Job) -> Result<JobDone, JobError> {
        self.next += 1;
        let asked = Asked::Job { number: self.next, job };
        self.stream.write_all(&framed(&asked.encode())).await.expect("it listens");
        match hear(&mut self.stream).await.expect("it answers") {
            Told::Done { number, outcome } => {
                assert_eq!(number, self.next);
                outcome
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn refused(outcome: &Result<JobDone, JobError>, said: &str) {
        match outcome {
            Err(JobError::Refused { why }) => assert!(why.contains(said), "`{said}` in {why}"),
            other => panic!("`{said}` was not said: {other:?}"),
        }
    }

    pub fn live(&self) -> Signed {
        let live = self.record.live.expect("something is live");
        let found = self.record.laid_out.iter().find(|signed| ReleaseId(signed.payload_digest()) == live);
        found.expect("it is laid out").clone()
    }

    pub fn order(&self) -> Order {
        Order::decode(&self.record.order.as_ref().expect("it was ordered").payload).expect("an order")
    }
}

pub fn app() -> AppName {
    AppName::new("app").expect("a plain name")
}

pub fn id(signed: &Signed) -> ReleaseId {
    ReleaseId(signed.payload_digest())
}

/// The release, changed, and signed by this key.
pub fn changed(release: &Signed, by: &SigningKey, change: impl FnOnce(&mut Release)) -> Signed {
    let mut release = Release::decode(&release.payload).expect("a release");
    change(&mut release);
    by.sign(PayloadKind::Release, release.encode())
}

pub fn root(machine: &Machine) -> Signed {
    Signed::decode(&fs::read(machine.fleet.operator().join("root.signed")).expect("readable")).expect("a root")
}
