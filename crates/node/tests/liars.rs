//! A node of the fleet, with a certificate like any other, that lies over real sockets. The honest end with the right tree,
//! and know who lied.

#[path = "support/fleet.rs"]
mod support;

use tiding_node as node;

use content::{ContentId, NodeId, PieceNo};
use engine::door::{Event, Misbehaviour};
use node::api::FleetStatus;
use node::daemon::{self, Running};
use node::join::{self, JoinTerms};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{PieceSource, ReadError};
use support::{ANY_PORT, Fleet, in_time, listing, options, start, tree};
use tokio::sync::broadcast;

/// How a liar answers who asks for a piece that it holds.
type Lie = fn(Vec<u8>) -> Result<Vec<u8>, ReadError>;

/// Stands between a liar's store and the network, and counts.
struct Lying {
    source: Arc<dyn PieceSource>,
    lie: Lie,
    told: Arc<AtomicU64>,
}

impl PieceSource for Lying {
    fn read(&self, content: ContentId, piece: PieceNo) -> Result<Vec<u8>, ReadError> {
        let honest = self.source.read(content, piece)?;
        self.told.fetch_add(1, Ordering::Relaxed);
        (self.lie)(honest)
    }
}

/// An origin, a liar and an honest agent (the last of the fleet's), and what happens in the honest one.
struct Scene {
    fleet: Fleet,
    liar: NodeId,
    told: Arc<AtomicU64>,
    seen: broadcast::Receiver<Event>,
}

impl Scene {
    async fn new(lie: Lie) -> Self {
        let mut fleet = Fleet::new(0).await;
        let line = fleet.origin.issue_join_line(JoinTerms::default()).await.expect("a line");
        for name in ["web-0", "web-1"] {
            in_time("joining", join::join(&line, &fleet.path(name), Some(name))).await.expect("joined");
        }
        let told = Arc::new(AtomicU64::new(0));
        let liar = start_liar(fleet.temp.path(), "web-0", lie, told.clone()).await;
        let node = liar.node();
        fleet.agents.push(liar);
        let honest = start(fleet.temp.path(), "web-1", ANY_PORT.into()).await;
        let seen = honest.events();
        fleet.agents.push(honest);
        let agents =
            |status: &FleetStatus| status.nodes.iter().filter(|node| node.up && node.name.starts_with("web")).count();
        fleet.until("coming", |status| agents(status) == 2).await;
        Self { fleet, liar: node, told, seen }
    }

    /// Waits until the honest agent has convicted the liar.
    async fn convicted(&mut self) -> Misbehaviour {
        let hearing = async {
            loop {
                match self.seen.recv().await.expect("no event is missed") {
                    Event::Convicted { peer, of } if peer == self.liar => return of,
                    Event::Convicted { peer, of } => panic!("{peer:?} is innocent of {of:?}"),
                    _ => {}
                }
            }
        };
        in_time("convicting", hearing).await
    }
}

async fn start_liar(under: &Path, name: &str, lie: Lie, told: Arc<AtomicU64>) -> Running {
    let between = |source| Arc::new(Lying { source, lie, told }) as Arc<dyn PieceSource>;
    let starting = daemon::start_serving(options(under, name, ANY_PORT.into()), between);
    in_time("starting", starting).await.expect("started")
}

fn one_byte_off(mut honest: Vec<u8>) -> Result<Vec<u8>, ReadError> {
    let middle = honest.len() / 2;
    honest[middle] ^= 1;
    Ok(honest)
}

/// What a liar finds who claims all that was sent to it and gives nothing back.
fn nothing(_honest: Vec<u8>) -> Result<Vec<u8>, ReadError> {
    Err(ReadError::Disk("never to be had".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_peer_that_sends_corrupt_payloads_is_convicted_and_the_honest_get_the_tree() {
    let mut scene = Scene::new(one_byte_off).await;
    let source = scene.fleet.path("build");
    tree(&source, "one");
    let deployed = scene.fleet.deploy(&source).await.expect("deployed");
    scene.fleet.until_confirmed(&deployed.release.to_string()).await;
    assert_eq!(listing(&scene.fleet.live(1)), listing(&source));
    assert_eq!(scene.convicted().await, Misbehaviour::CorruptPiece);
    assert!(scene.told.load(Ordering::Relaxed) > 0, "nothing corrupt was sent");

    // Who comes later, and may have the liar for a neighbour, ends right as well.
    let line = scene.fleet.origin.issue_join_line(JoinTerms::default()).await.expect("a line");
    in_time("joining", join::join(&line, &scene.fleet.path("web-2"), Some("web-2"))).await.expect("joined");
    let under = scene.fleet.temp.path().to_owned();
    scene.fleet.agents.push(start(&under, "web-2", ANY_PORT.into()).await);
    scene.fleet.until_confirmed(&deployed.release.to_string()).await;
    assert_eq!(listing(&scene.fleet.live(2)), listing(&source));
    scene.fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_a_peer_that_claims_what_it_never_gives_holds_nobody_up() {
    let scene = Scene::new(nothing).await;
    let source = scene.fleet.path("build");
    tree(&source, "one");
    let deployed = scene.fleet.deploy(&source).await.expect("deployed");
    scene.fleet.until_confirmed(&deployed.release.to_string()).await;
    assert_eq!(listing(&scene.fleet.live(1)), listing(&source));
    assert!(scene.told.load(Ordering::Relaxed) > 0, "nothing was asked of the liar");
    scene.fleet.stop().await;
}
