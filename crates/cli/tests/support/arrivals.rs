//! How far a content has come, told by what stands in the stores: for moments that are drawn by progress, not by the clock.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of it")]

use crate::lab::Node;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The contents that were not there when it was made.
pub struct Arrivals {
    stores: Vec<PathBuf>,
    known: BTreeSet<OsString>,
}

impl Arrivals {
    /// Takes down what is there now.
    pub fn from_now_on(nodes: &[&Node]) -> Self {
        let stores: Vec<PathBuf> = nodes.iter().map(|node| node.home.join("store")).collect();
        let known = stores.iter().flat_map(|store| pieces(store)).map(|(name, _)| name).collect();
        Self { stores, known }
    }

    /// Bytes of new contents in all stores together, whole or not.
    pub fn bytes(&self) -> u64 {
        let new = self.stores.iter().flat_map(|store| pieces(store)).filter(|(name, _)| !self.known.contains(name));
        // Files are as long as they will be from the start; only what was written takes up room.
        new.filter_map(|(_, path)| fs::metadata(path).ok()).map(|meta| meta.blocks() * 512).sum()
    }

    /// Whether a new content is complete in every store.
    pub fn are_complete(&self) -> bool {
        self.stores.iter().all(|store| in_dir(&store.join("blobs")).any(|(name, _)| !self.known.contains(&name)))
    }
}

/// Whether what is in the origin's store is in those of these agents, each part of it in one of them at least.
pub fn hold_jointly(agents: &[&Node], origin: &Node) -> bool {
    const PART: usize = 4096;
    let entries = fs::read_dir(origin.home.join("store/blobs")).expect("an origin has blobs");
    entries.flatten().all(|entry| {
        let whole = fs::read(entry.path()).expect("a blob can be read");
        let here = |agent: &&Node| {
            let places = ["staging", "blobs"].map(|dir| agent.home.join("store").join(dir).join(entry.file_name()));
            places.iter().find_map(|place| fs::read(place).ok()).unwrap_or_default()
        };
        let copies: Vec<Vec<u8>> = agents.iter().map(here).collect();
        let has = |copy: &Vec<u8>, at: usize, part: &[u8]| copy.get(at..at + part.len()) == Some(part);
        let have = |at: usize, part: &[u8]| copies.iter().any(|copy| has(copy, at, part));
        // Where one piece ends and the next begins, each may be with another agent.
        let have_bytes = |at: usize, part: &[u8]| part.chunks(1).enumerate().all(|(nth, byte)| have(at + nth, byte));
        let mut parts = whole.chunks(PART).enumerate().map(|(nth, part)| (nth * PART, part));
        parts.all(|(at, part)| have(at, part) || have_bytes(at, part))
    })
}

/// The files of pieces in a store.
fn pieces(store: &Path) -> impl Iterator<Item = (OsString, PathBuf)> {
    ["staging", "blobs"].into_iter().flat_map(|dir| in_dir(&store.join(dir)).collect::<Vec<_>>())
}

fn in_dir(dir: &Path) -> impl Iterator<Item = (OsString, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries.map(|entry| (entry.file_name(), entry.path()));
    files.filter(|(_, path)| path.extension().is_some_and(|ext| ext == "pieces"))
}
