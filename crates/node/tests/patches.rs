//! Patches over loopback: real nodes, whose stores make and apply them.

#[path = "support/fleet.rs"]
mod support;

use tiding_node as node;

use node::api::{FleetStatus, RoadStatus};
use node::join::{self, JoinTerms};
use node::publish::{self, DeployOptions, Deployed, Effort, Wish};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use support::{ANY_PORT, Fleet, in_time, listing, start};

const BEST: Wish = Wish::Patches(Effort::Best);
const FAST: Wish = Wish::Patches(Effort::Fast);
/// What comes besides a patch: times and owners; and up to four pieces that had left when a node that had heard of the release from a
/// neighbour called them off, since its origin said wait.
const ON_ITS_WAY: u64 = 10_000 + 4 * 65_536;

/// A program of 2 MB whose every piece another version changes.
fn program(at: &Path, version: u8) {
    std::fs::create_dir_all(at).expect("made");
    let mut bytes: Vec<u8> =
        (0..500_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) ^ n >> 7).to_le_bytes()).collect();
    bytes.iter_mut().step_by(10_000).for_each(|byte| *byte = version);
    std::fs::write(at.join("program"), bytes).expect("written");
    std::fs::write(at.join("version"), [version]).expect("written");
}

async fn deploy(fleet: &Fleet, version: u8, wish: Wish, on: &str) -> Deployed {
    let source = fleet.path("build");
    program(&source, version);
    let options = DeployOptions {
        health_window: Duration::ZERO,
        version: Some(format!("v{version}")),
        selector: on.parse().expect("a selector"),
        is_sure: true,
        wish,
        ..DeployOptions::new("app", Path::new("/srv/app"))
    };
    in_time("deploying", publish::deploy(&fleet.operator(), &source, &options, |_| {})).await.expect("deployed")
}

/// Payload bytes that came to each agent for what it works on.
fn moved(status: &FleetStatus) -> BTreeMap<String, u64> {
    let agents = status.nodes.iter().filter(|node| node.name.starts_with("web"));
    agents.map(|node| (node.name.clone(), node.apps.iter().map(|app| app.from_origin + app.from_peers).sum())).collect()
}

fn roads(status: &FleetStatus) -> &[RoadStatus] {
    &status.apps[0].roads
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_the_release_before_gets_a_patch() {
    let fleet = Fleet::new(2).await;
    let first = deploy(&fleet, 1, BEST, "").await;
    fleet.until_confirmed(&first.release.to_string()).await;
    for (version, wish) in [(2, BEST), (3, FAST)] {
        let next = deploy(&fleet, version, wish, "").await;
        let status = fleet.until_confirmed(&next.release.to_string()).await;
        let [road] = roads(&status) else { panic!("{:?}", roads(&status)) };
        let patch = road.patch_bytes.unwrap_or_else(|| panic!("{road:?}"));
        assert_eq!((road.base.clone(), road.nodes), (Some(format!("v{}", version - 1)), 2));
        assert!(patch < 100_000 && road.whole_bytes > 1_800_000, "{road:?}");
        println!(
            "v{version}: a patch of {patch} bytes instead of {}, and to each came {:?}",
            road.whole_bytes,
            moved(&status)
        );
        for (name, bytes) in moved(&status) {
            assert!(bytes < patch + ON_ITS_WAY, "{name} got {bytes} bytes");
        }
        (0..2)
            .for_each(|agent| assert_eq!(listing(&fleet.live(agent)), listing(&fleet.path("build")), "agent {agent}"));
    }
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_on_three_releases_are_served_by_a_patch_each() {
    let mut fleet = Fleet::new(0).await;
    for n in 0..3 {
        let label = |text: &str| content::Label::new(text).expect("a plain label");
        let labels = content::Labels::from([(label("n"), label(&n.to_string()))]);
        let terms = JoinTerms { labels, ..JoinTerms::default() };
        let line = fleet.origin.issue_join_line(terms).await.expect("a line");
        let name = format!("web-{n}");
        in_time("joining", join::join(&line, &fleet.path(&name), Some(&name))).await.expect("joined");
        let agent = start(fleet.temp.path(), &name, ANY_PORT.into()).await;
        fleet.agents.push(agent);
    }
    for (version, on) in [(1, ""), (2, "n!=0"), (3, "n=2")] {
        let deployed = deploy(&fleet, version, Wish::Whole, on).await;
        let release = deployed.release.to_string();
        let is_on = |status: &FleetStatus| {
            let on = status.nodes.iter().flat_map(|node| &node.apps);
            on.filter(|app| app.confirmed.as_ref() == Some(&release)).count() == 4 - usize::from(version)
        };
        fleet.until("confirming", is_on).await;
    }
    let last = deploy(&fleet, 4, BEST, "").await;
    fleet.until_confirmed(&last.release.to_string()).await;
    // Whoever has what two patches are made from may not have waited for the second.
    let are_made = |status: &FleetStatus| roads(status).iter().all(|road| road.patch_bytes.is_some());
    let status = fleet.until("making all patches", are_made).await;
    let mut bases: Vec<_> = roads(&status).iter().map(|road| (road.base.as_deref(), road.nodes)).collect();
    bases.sort_unstable();
    assert_eq!(bases, [(Some("v1"), 1), (Some("v2"), 1), (Some("v3"), 1)]);
    let moved = moved(&status);
    println!("{:?}, and to each came {moved:?}", roads(&status));
    assert!(moved.len() == 3 && moved.values().all(|bytes| *bytes < ON_ITS_WAY), "{moved:?}");
    (0..3).for_each(|agent| assert_eq!(listing(&fleet.live(agent)), listing(&fleet.path("build")), "agent {agent}"));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_damaged_costs_a_try_and_pieces_come() {
    let fleet = Fleet::new(1).await;
    let first = deploy(&fleet, 1, BEST, "").await;
    fleet.until_confirmed(&first.release.to_string()).await;
    let mut damaged = 0;
    let mut waiting = vec![fleet.path("web-0")];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).expect("readable") {
            let path = entry.expect("readable").path();
            let meta = std::fs::symlink_metadata(&path).expect("it is there");
            if meta.is_dir() {
                waiting.push(path);
            } else if meta.is_file() && meta.len() > 1_000_000 {
                let mut bytes = std::fs::read(&path).expect("readable");
                bytes.iter_mut().step_by(1000).for_each(|byte| *byte ^= 0xff);
                std::fs::write(&path, bytes).expect("written");
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0, "the store keeps files");
    let second = deploy(&fleet, 2, BEST, "").await;
    let status = fleet.until_confirmed(&second.release.to_string()).await;
    assert!(roads(&status)[0].patch_bytes.is_some());
    assert!(moved(&status)["web-0"] > 1_800_000, "all of it came: {:?}", moved(&status));
    assert_eq!(listing(&fleet.live(0)), listing(&fleet.path("build")));
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_fast_links_nobody_waits_for_a_patch_unless_it_is_wished_for() {
    let fleet = Fleet::new(1).await;
    let first = deploy(&fleet, 1, Wish::Auto, "").await;
    fleet.until_confirmed(&first.release.to_string()).await;
    let second = deploy(&fleet, 2, Wish::Auto, "").await;
    let status = fleet.until_confirmed(&second.release.to_string()).await;
    let [road] = roads(&status) else { panic!("{:?}", roads(&status)) };
    assert!(road.patch_bytes.is_none() && road.why.starts_with("links are fast"), "{road:?}");
    assert!(moved(&status)["web-0"] > 1_800_000, "{:?}", moved(&status));
    fleet.stop().await;
}
