//! An evil peer that is a process of its own: this test's binary, started again, runs a node of the fleet whose store is right
//! and whose every payload is one byte off.

#![allow(clippy::disallowed_methods, reason = "the process that is started again is told so by its environment")]

#[path = "support/fleet.rs"]
mod support;

use tiding_node as node;

use content::{ContentId, NodeId, PieceNo};
use engine::door::{Event, Misbehaviour};
use node::api::{AppStatus, FleetStatus, Phase};
use node::daemon;
use node::join::{self, JoinTerms};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use store::{PieceSource, ReadError};
use support::{ANY_PORT, Fleet, in_time, listing, options, start, tree};
use tokio::sync::broadcast::{self, error::TryRecvError};

/// Below which directory the evil process has its home.
const UNDER: &str = "TIDING_TEST_EVIL_UNDER";

struct OneByteOff(Arc<dyn PieceSource>);

impl PieceSource for OneByteOff {
    fn read(&self, content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ReadError> {
        let mut payload = self.0.read(content, piece)?;
        let middle = payload.len() / 2;
        payload[middle] ^= 1;
        Ok(payload)
    }
}

/// Not a test by itself: the evil process, which runs until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn the_evil_process() {
    let Some(under) = std::env::var_os(UNDER) else { return };
    let between = |source| Arc::new(OneByteOff(source)) as Arc<dyn PieceSource>;
    let running = daemon::start_serving(options(Path::new(&under), "web-0", ANY_PORT.into()), between).await;
    let _running = running.expect("started");
    std::future::pending::<()>().await;
}

/// Ends the evil process with the test, however that ends.
struct Evil(Child);

impl Evil {
    fn start(fleet: &Fleet) -> Self {
        let this = std::env::current_exe().expect("a test runs from a file");
        let mut evil = Command::new(this);
        evil.args(["--exact", "the_evil_process", "--nocapture"]).env(UNDER, fleet.temp.path());
        Self(evil.spawn().expect("it starts"))
    }
}

impl Drop for Evil {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// An origin, an evil process, and an honest agent (the only one of the fleet's) which has convicted it.
struct Scene {
    fleet: Fleet,
    evil: Evil,
    liar: NodeId,
}

impl Scene {
    async fn new() -> Self {
        let mut fleet = Fleet::new(0).await;
        let line = fleet.origin.issue_join_line(JoinTerms::default()).await.expect("a line");
        for name in ["web-0", "web-1"] {
            in_time("joining", join::join(&line, &fleet.path(name), Some(name))).await.expect("joined");
        }
        let evil = Evil::start(&fleet);
        let honest = start(fleet.temp.path(), "web-1", ANY_PORT.into()).await;
        let mut seen = honest.events();
        fleet.agents.push(honest);
        let agents =
            |status: &FleetStatus| status.nodes.iter().filter(|node| node.up && node.name.starts_with("web")).count();
        let status = fleet.until("coming", |status| agents(status) == 2).await;
        let liar = status.nodes.iter().find(|node| node.name == "web-0").expect("it is there").node.clone();
        deploy(&fleet, "one").await;
        let convicting = hear(&mut seen, |event| match event {
            Event::Convicted { peer, of } => Some((peer, of)),
            _ => None,
        });
        let (peer, of) = in_time("convicting", convicting).await;
        assert_eq!((peer.to_string(), of), (liar, Misbehaviour::CorruptPiece));
        Self { fleet, evil, liar: peer }
    }
}

/// Deploys another tree until it is right on the honest agent; what the origin knows of that.
async fn deploy(fleet: &Fleet, words: &str) -> AppStatus {
    let source = fleet.path(&format!("build-{words}"));
    tree(&source, words);
    // So much that a part of it goes to every agent first.
    std::fs::write(source.join("other"), words.repeat(1 << 20)).expect("written");
    let release = fleet.deploy(&source).await.expect("deployed").release.to_string();
    let confirmed = |status: &FleetStatus| {
        let honest = status.nodes.iter().filter(|node| node.name == "web-1").flat_map(|node| &node.apps);
        honest.clone().find(|app| app.phase == Phase::Confirmed && app.live.as_deref() == Some(&release)).cloned()
    };
    let status = fleet.until("confirming", |status| confirmed(status).is_some()).await;
    assert_eq!(listing(&fleet.live(1)), listing(&source));
    confirmed(&status).expect("it was just seen")
}

/// Waits for an event.
async fn hear<T>(seen: &mut broadcast::Receiver<Event>, wanted: impl Fn(Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(seen.recv().await.expect("no event is missed")) {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_an_evil_process_is_convicted_by_a_piece_and_the_honest_get_the_tree() {
    let Scene { fleet, evil, .. } = Scene::new().await;
    drop(evil);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_an_evil_process_is_not_let_in_again_after_its_judge_was_started_again() {
    let Scene { mut fleet, evil, liar } = Scene::new().await;
    drop(evil);
    in_time("stopping", fleet.agents.remove(0).stop()).await;
    let honest = start(fleet.temp.path(), "web-1", ANY_PORT.into()).await;
    let mut seen = honest.events();
    fleet.agents.push(honest);
    let evil = Evil::start(&fleet);
    let is_kept_out = |event| match event {
        Event::Shunned { peer } => Some(peer == liar),
        Event::PeerUp { peer } if peer == liar => Some(false),
        _ => None,
    };
    assert!(in_time("coming", hear(&mut seen, is_kept_out)).await, "the evil one was let in");
    let app = deploy(&fleet, "two").await;
    assert_eq!(app.from_peers, 0, "there was nobody else to get anything from");
    let end = loop {
        match seen.try_recv() {
            Ok(event) => assert_ne!(is_kept_out(event), Some(false), "the evil one was let in"),
            Err(end) => break end,
        }
    };
    assert_eq!(end, TryRecvError::Empty, "events were missed");
    drop(evil);
    fleet.stop().await;
}
