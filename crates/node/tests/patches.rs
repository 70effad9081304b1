//! Patches over loopback: real nodes, whose stores make and apply them.

#[path = "support/fleet.rs"]
mod support;

use tiding_node as node;

use content::fact::{Noted, Offer};
use content::{ContentId, Fact, Release, UnixTime};
use engine::door::{Event, Job, JobDone};
use node::api::{FleetStatus, RoadStatus};
use node::disk::RealDisk;
use node::join::{self, JoinTerms};
use node::publish::{self, DeployOptions, Deployed, Effort, Progress, Wish};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use store::hands::OneHand;
use support::{ANY_PORT, Fleet, in_time, listing, start};
use tokio::sync::broadcast;

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

/// Deploys a version with one that was deployed before at hand; the bytes that left the publisher.
async fn bring(fleet: &Fleet, source: &Path, base: &Path, wish: Wish) -> (Deployed, u64) {
    let options = DeployOptions {
        health_window: Duration::ZERO,
        is_sure: true,
        wish,
        base: Some(base.to_owned()),
        ..DeployOptions::new("app", Path::new("/srv/app"))
    };
    let (mut patch, mut left) = (None, 0);
    let home = fleet.operator();
    let deploying = publish::deploy(&home, source, &options, |progress| match progress {
        Progress::Patch { bytes } => patch = bytes,
        Progress::Ordered { sent, .. } => left = sent,
        _ => {}
    });
    let deployed = in_time("deploying", deploying).await.expect("deployed");
    println!("a patch of {patch:?} bytes, and {left} left the publisher");
    (deployed, left)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_goes_once_from_the_publisher_and_what_the_origin_makes_of_it_fans_out() {
    let fleet = Fleet::new(2).await;
    let first = deploy(&fleet, 1, Wish::Whole, "").await;
    fleet.until_confirmed(&first.release.to_string()).await;
    let sources: Vec<_> = (1..=4).map(|version| fleet.path(&format!("v{version}"))).collect();
    (1..).zip(&sources).for_each(|(version, at)| program(at, version));
    // Pieces inside, or the same patch to each that runs its base.
    for (at, wish) in [(1, Wish::Whole), (2, BEST)] {
        let (next, left) = bring(&fleet, &sources[at], &sources[at - 1], wish).await;
        assert!(left < 100_000, "{left}");
        let status = fleet.until_confirmed(&next.release.to_string()).await;
        for (name, bytes) in moved(&status) {
            assert_eq!(bytes < 1_800_000, wish == BEST, "{name} got {bytes} bytes");
        }
        (0..2).for_each(|agent| assert_eq!(listing(&fleet.live(agent)), listing(&sources[at]), "agent {agent}"));
    }
    // Of what was never deployed here there is a patch, and the origin has no use for it; nor of what is deployed already.
    let never = fleet.path("never");
    program(&never, 9);
    let (next, left) = bring(&fleet, &sources[3], &never, Wish::Whole).await;
    assert!(left > 1_800_000, "{left}");
    fleet.until_confirmed(&next.release.to_string()).await;
    let (_, left) = bring(&fleet, &sources[3], &sources[3], Wish::Whole).await;
    assert!(left < 100_000, "it has all of it: {left}");
    let nowhere =
        DeployOptions { base: Some(fleet.path("nowhere")), ..DeployOptions::new("app", Path::new("/srv/app")) };
    let refused = publish::deploy(&fleet.operator(), &sources[2], &nowhere, |_| {}).await.expect_err("it is not there");
    assert!(refused.to_string().contains("nowhere"), "{refused}");
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_brought_as_a_patch_too() {
    let fleet = Fleet::new(1).await;
    let sources: Vec<_> = (1..=2).map(|version| fleet.path(&format!("v{version}"))).collect();
    (1..).zip(&sources).for_each(|(version, at)| program(at, version));
    let [old, new] = [0, 1].map(|at| sources[at].join("program"));
    let (first, left) = bring(&fleet, &old, &new, Wish::Whole).await;
    assert!(left > 1_800_000, "{left}");
    fleet.until_confirmed(&first.release.to_string()).await;
    let (next, left) = bring(&fleet, &new, &old, Wish::Whole).await;
    assert!(left < 100_000, "{left}");
    fleet.until_confirmed(&next.release.to_string()).await;
    assert_eq!(std::fs::read(fleet.live(0)).expect("live"), std::fs::read(&new).expect("new"));
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
async fn whoever_was_away_for_a_release_gets_two_patches_in_a_row() {
    let mut fleet = Fleet::new(2).await;
    let first = deploy(&fleet, 1, BEST, "").await;
    fleet.until_confirmed(&first.release.to_string()).await;
    in_time("stopping", fleet.agents.remove(1).stop()).await;
    let mut last = first;
    for version in [2, 3] {
        last = deploy(&fleet, version, BEST, "").await;
        let release = last.release.to_string();
        let is_on = |status: &FleetStatus| {
            let mut on = status.nodes.iter().flat_map(|node| &node.apps);
            on.any(|app| app.confirmed.as_ref() == Some(&release))
        };
        fleet.until("confirming", is_on).await;
    }
    let agent = start(fleet.temp.path(), "web-1", ANY_PORT.into()).await;
    let mut seen = agent.events();
    fleet.agents.push(agent);
    let status = fleet.until_confirmed(&last.release.to_string()).await;
    let mut patched = Vec::new();
    while let Ok(event) = seen.try_recv() {
        if let Event::Patched { bytes, .. } = event {
            patched.push(bytes);
        }
    }
    let moved = moved(&status)["web-1"];
    println!("two patches of {patched:?} bytes, and {moved} bytes came; {:?}", roads(&status));
    assert!(patched.len() == 2 && moved < ON_ITS_WAY && moved >= patched.iter().sum(), "{patched:?} {moved}");
    (0..2).for_each(|agent| assert_eq!(listing(&fleet.live(agent)), listing(&fleet.path("build")), "agent {agent}"));
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
    let mut seen = fleet.agents[0].events();
    let second = deploy(&fleet, 2, BEST, "").await;
    let status = fleet.until_confirmed(&second.release.to_string()).await;
    assert!(roads(&status)[0].patch_bytes.is_some());
    assert_eq!(failed(&mut seen, None), ["what it is made from was damaged on disk"]);
    assert!(moved(&status)["web-0"] > 1_800_000, "all of it came: {:?}", moved(&status));
    assert_eq!(listing(&fleet.live(0)), listing(&fleet.path("build")));
    fleet.stop().await;
}

/// Why patches, of one content or of any, failed on a node on which none did.
fn failed(seen: &mut broadcast::Receiver<Event>, of: Option<ContentId>) -> Vec<String> {
    let happened = |_| match seen.try_recv() {
        Ok(event) => Some(event),
        Err(broadcast::error::TryRecvError::Empty) => None,
        Err(error) => panic!("something was missed: {error}"),
    };
    let failed = |event| match event {
        Event::PatchFailed { target, why } if of.is_none_or(|of| of == target) => Some(why),
        Event::Patched { .. } => panic!("{event:?}"),
        _ => None,
    };
    (0..).map_while(happened).filter_map(failed).collect()
}

/// Where a patch says what it makes, and how long the patch of the manifest is that comes before those of the files.
const MAKES: std::ops::Range<usize> = 37..69;
const LENGTH: std::ops::Range<usize> = 69..77;

/// A patch that makes another tree than its head says.
fn of_another_tree(honest: Vec<u8>, of_another: Vec<u8>) -> Vec<u8> {
    [&of_another[..MAKES.start], &honest[MAKES], &of_another[MAKES.end..]].concat()
}

/// A patch that makes the right manifest, and other files.
fn of_other_files(honest: Vec<u8>, of_another: Vec<u8>) -> Vec<u8> {
    let files = |patch: &[u8]| {
        let length = patch[LENGTH].try_into().expect("eight bytes");
        LENGTH.end + usize::try_from(u64::from_le_bytes(length)).expect("it is short")
    };
    [&honest[..files(&honest)], &of_another[files(&of_another)..]].concat()
}

/// Offers, in the store of an origin that is stopped, such a patch of the last but one release that it knows to the last, and says of what.
fn offer_a_lie(home: &Path, lie: fn(Vec<u8>, Vec<u8>) -> Vec<u8>) -> Offer {
    let disk = Arc::new(RealDisk::new());
    let open = |path: &Path| disk.open_path(path).expect("it is there");
    let opened = Store::open(disk.clone(), open(&home.join("store")), open(home), "a test", store::Options::default());
    let (mut store, recovered) = opened.expect("nobody else has it");
    let contents: Vec<ContentId> = recovered
        .facts
        .iter()
        .filter_map(|(_, _, fact)| if let Fact::Published { release } = fact { Some(release) } else { None })
        .map(|release| Release::decode(&release.payload).expect("it was believed").content.id())
        .collect();
    let [other, base, target] = contents[..] else { panic!("{contents:?}") };
    let diff = |to| {
        let made = store.pieces().diff(base, to, engine::door::Effort::Best, u64::MAX, &OneHand);
        made.expect("both are here").expect("it is shorter")
    };
    let false_patch = lie(diff(target), diff(other));
    let Ok(JobDone::Diffed { patch: Some(patch) }) = store.keep_patch(&false_patch) else { panic!("there is room") };
    let journal = recovered
        .facts
        .iter()
        .map(|(journal, ..)| journal)
        .find(|name| matches!(name, content::fact::JournalName::Datacenter(_)));
    let journal = journal.expect("it conducts a datacenter");
    let last = recovered.facts.iter().rev().find(|(name, ..)| name == journal).map(|(_, at, _)| *at).expect("facts");
    let Ok(JobDone::Journal { stands, .. }) =
        store.run(&Job::Journal { journal: journal.clone(), from: last, most: 1 })
    else {
        panic!("it has a journal")
    };
    let offer = Offer { base, target, patch, format: store::trees::READS[0] };
    let noted = Noted { written: UnixTime(1), by: None };
    store.append(journal, stands, &[Fact::Offered(offer)], noted).expect("there is room");
    offer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_makes_something_else_is_tried_fails_with_its_reason_and_pieces_come() {
    for (lie, said) in [
        (of_another_tree as fn(Vec<u8>, Vec<u8>) -> Vec<u8>, "what the patch makes is the tree"),
        (of_other_files, "what the patch makes of program is not what stands in"),
    ] {
        let mut fleet = Fleet::new(1).await;
        for version in [1, 2] {
            let deployed = deploy(&fleet, version, Wish::Whole, "").await;
            fleet.until_confirmed(&deployed.release.to_string()).await;
        }
        in_time("stopping", fleet.agents.remove(0).stop()).await;
        let last = deploy(&fleet, 3, Wish::Whole, "").await;
        let (address, under) = (fleet.origin.address(), fleet.temp.path().to_owned());
        in_time("stopping", fleet.origin.stop()).await;
        let offer = offer_a_lie(&fleet.temp.path().join("origin"), lie);

        // It is there first, so that nothing that happens in it is missed.
        let agent = start(&under, "web-0", ANY_PORT.into()).await;
        let mut seen = agent.events();
        fleet.agents.push(agent);
        fleet.origin = start(&under, "origin", address).await;
        let status = fleet.until_confirmed(&last.release.to_string()).await;
        let failed = failed(&mut seen, Some(offer.target));
        assert!(failed.len() == 1 && failed[0].contains(said), "{failed:?}");
        let moved = moved(&status)["web-0"];
        assert!(moved > 1_800_000 + offer.patch.blob.len, "the patch came, and all pieces: {moved}");
        assert_eq!(listing(&fleet.live(0)), listing(&fleet.path("build")));
        fleet.stop().await;
    }
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
