//! An evil peer that is a process of its own: this test's binary, started again, runs a node of the fleet whose store is right
//! and whose every payload is one byte off.

#![allow(clippy::disallowed_methods, reason = "the process that is started again is told so by its environment")]

#[path = "support/fleet.rs"]
mod support;

use tiding_node as node;

use content::{ContentId, PieceNo};
use engine::door::{Event, Misbehaviour};
use node::api::{FleetStatus, Phase};
use node::daemon;
use node::join::{self, JoinTerms};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use store::{PieceSource, ReadError};
use support::{ANY_PORT, Fleet, in_time, listing, options, start, tree};

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

impl Drop for Evil {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_an_evil_process_is_convicted_by_a_piece_and_the_honest_get_the_tree() {
    let mut fleet = Fleet::new(0).await;
    let line = fleet.origin.issue_join_line(JoinTerms::default()).await.expect("a line");
    for name in ["web-0", "web-1"] {
        in_time("joining", join::join(&line, &fleet.path(name), Some(name))).await.expect("joined");
    }
    let this = std::env::current_exe().expect("a test runs from a file");
    let mut evil = Command::new(this);
    evil.args(["--exact", "the_evil_process", "--nocapture"]).env(UNDER, fleet.temp.path());
    let evil = Evil(evil.spawn().expect("it starts"));
    let honest = start(fleet.temp.path(), "web-1", ANY_PORT.into()).await;
    let mut seen = honest.events();
    fleet.agents.push(honest);
    let agents =
        |status: &FleetStatus| status.nodes.iter().filter(|node| node.up && node.name.starts_with("web")).count();
    let status = fleet.until("coming", |status| agents(status) == 2).await;
    let liar = status.nodes.iter().find(|node| node.name == "web-0").expect("it is there").node.clone();

    let source = fleet.path("build");
    tree(&source, "one");
    let release = fleet.deploy(&source).await.expect("deployed").release.to_string();
    let is_confirmed = |status: &FleetStatus| {
        let honest = status.nodes.iter().filter(|node| node.name == "web-1").flat_map(|node| &node.apps);
        honest.clone().any(|app| app.phase == Phase::Confirmed && app.live.as_deref() == Some(&release))
    };
    fleet.until("confirming", is_confirmed).await;
    assert_eq!(listing(&fleet.live(1)), listing(&source));
    let convicting = async {
        loop {
            if let Event::Convicted { peer, of } = seen.recv().await.expect("no event is missed") {
                return (peer.to_string(), of);
            }
        }
    };
    assert_eq!(in_time("convicting", convicting).await, (liar, Misbehaviour::CorruptPiece));
    drop(evil);
    fleet.stop().await;
}
