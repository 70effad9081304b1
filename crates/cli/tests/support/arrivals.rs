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

/// The files of pieces in a store.
fn pieces(store: &Path) -> impl Iterator<Item = (OsString, PathBuf)> {
    ["staging", "blobs"].into_iter().flat_map(|dir| in_dir(&store.join(dir)).collect::<Vec<_>>())
}

fn in_dir(dir: &Path) -> impl Iterator<Item = (OsString, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries.map(|entry| (entry.file_name(), entry.path()));
    files.filter(|(_, path)| path.extension().is_some_and(|ext| ext == "pieces"))
}
