//! Disks that are full: one that is too small for a release from the start, and one that fills up while it is fetched.

#[path = "support/lab.rs"]
mod lab;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]
#[path = "support/mount.rs"]
mod mount;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/watched.rs"]
mod watched;

use lab::{Lab, Node, until};
use mount::Mount;
use rustix::process::Signal;
use skip::skipped;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use watched::Watched;

/// What a node says is in the way.
fn trouble(lab: &Lab, name: &str) -> Option<String> {
    Some(lab.status_of(name)?["trouble"].as_str()?.to_owned())
}

#[test]
fn a4_a_disk_too_small_is_said_before_anything_is_fetched_and_a_larger_one_is_noticed() {
    let lab = Lab::new();
    let Some(small) = Mount::new(&lab.dir().join("node-1"), &["-t", "tmpfs", "-o", "size=110m", "tmpfs"]) else {
        return skipped("a4_a_disk_too_small...", "only root may mount a tmpfs");
    };
    let (full, other) = (lab.agent("node-1"), lab.agent("node-2"));
    let (old, new) = (lab.dir().join("old"), lab.dir().join("new"));
    lab::tree(&old, 1 << 20, 1);
    lab::tree(&new, 64 << 20, 2);
    lab.deploy(&old);
    let mut deploy = Watched::start(lab.deploy_command(&new));
    until("the other node shows the new release", || other.shows(&new));
    until("the full node says so", || trouble(&lab, "node-1").is_some_and(|why| why.starts_with("disk full: need ")));
    assert!(full.shows(&old), "the old release stays");
    assert_eq!(staged(&full), 0, "nothing is fetched");
    small.remount("size=600m");
    until("the full node shows the new release", || full.shows(&new));
    assert!(deploy.end().success(), "{}", deploy.said);
}

#[test]
fn a4_a_disk_that_fills_up_during_a_download_pauses_it_and_it_goes_on_when_there_is_room() {
    let lab = Lab::new();
    let Some(_small) = Mount::new(&lab.dir().join("node-1"), &["-t", "tmpfs", "-o", "size=300m", "tmpfs"]) else {
        return skipped("a4_a_disk_that_fills_up...", "only root may mount a tmpfs");
    };
    let (mut full, other) = (lab.agent("node-1"), lab.agent("node-2"));
    let (old, new) = (lab.dir().join("old"), lab.dir().join("new"));
    lab::tree(&old, 1 << 20, 1);
    lab::tree(&new, 32 << 20, 2);
    lab.deploy(&old);
    let mut deploy = Watched::start(lab.deploy_command(&new));
    until("pieces come", || staged(&full) > 1 << 20);
    // Where time stands still for the node, somebody else can take all the room that it had made sure of.
    full.signal(Signal::STOP);
    assert!(staged(&full) < 32 << 20, "it had everything before the disk was filled");
    let ballast = full.home.join("ballast");
    let why = fill(&ballast);
    full.signal(Signal::CONT);
    assert_eq!(why.kind(), std::io::ErrorKind::StorageFull);
    let on = format!("on {}", full.home.join("store").display());
    until("the full node says so", || {
        let why = trouble(&lab, "node-1").unwrap_or_default();
        // The room for all of it was there; it is a single write that finds none.
        why.starts_with("disk full: need ") && why.contains(" KiB, have 0 bytes, ") && why.ends_with(&on)
    });
    assert!(full.runs() && full.shows(&old), "the old release stays");
    until("the other node shows the new release", || other.shows(&new));
    fs::remove_file(ballast).expect("the ballast can be dropped");
    assert!(deploy.end().success(), "{}", deploy.said);
    assert!(full.runs() && full.shows(&new), "it went on by itself");
}

/// Writes into a file until the disk is full; how that was said.
fn fill(ballast: &Path) -> std::io::Error {
    let mut file = File::create(ballast).expect("a file can be made");
    let page = [0x5a; 4096];
    std::iter::repeat_with(|| file.write_all(&page)).find_map(Result::err).expect("no disk is endless")
}

/// How many bytes of contents under way are on a node's disk.
fn staged(node: &Node) -> u64 {
    let entries = fs::read_dir(node.home.join("store/staging")).expect("a node has staging");
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.blocks() * 512).sum()
}
