//! Where in a tree that is published something outlives the release: a link is put there, and the directories above it if the tree lacks
//! them. What the tree itself has there is not published in silence: it is refused, unless its own patterns leave it out.

use content::kept::{KeptPath, is_or_holds};
use std::collections::BTreeSet;

/// What a path is to those that outlive releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing.
    Elsewhere,
    /// Something below it is one.
    Above,
    /// It is one; the target of its link.
    Kept(Vec<u8>),
}

/// Paths that outlive releases, while a tree is walked.
pub(super) struct Keeping<'a> {
    kept: &'a [KeptPath],
    /// Directories that the tree has not.
    made: BTreeSet<Vec<u8>>,
}

impl<'a> Keeping<'a> {
    pub(super) fn new(kept: &'a [KeptPath]) -> Self {
        Self { kept, made: BTreeSet::new() }
    }

    /// What a path is.
    pub(super) fn place(&self, path: &[u8]) -> Place {
        match self.kept.iter().find(|kept| path.is_empty() || is_or_holds(path, &kept.path)) {
            None => Place::Elsewhere,
            Some(kept) if kept.path == path => Place::Kept(kept.link()),
            Some(_) => Place::Above,
        }
    }

    /// The paths in a directory that the tree has not.
    pub(super) fn made(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
        self.made.insert(path.to_vec());
        self.among(path, Vec::new())
    }

    /// Whether a path stands in a directory that the tree has not.
    pub(super) fn is_below_made(&self, path: &[u8]) -> bool {
        let slash = path.iter().rposition(|&byte| byte == b'/');
        slash.is_some_and(|slash| self.made.contains(&path[..slash]))
    }

    /// The paths in a directory, with those among them that lead to what outlives the release, rising.
    pub(super) fn among(&self, directory: &[u8], mut paths: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let begin = if directory.is_empty() { 0 } else { directory.len() + 1 };
        let below = |kept: &&KeptPath| kept.path.len() > begin && (begin == 0 || is_or_holds(directory, &kept.path));
        for kept in self.kept.iter().filter(below) {
            let end = kept.path[begin..].iter().position(|&byte| byte == b'/');
            paths.push(kept.path[..end.map_or(kept.path.len(), |end| begin + end)].to_vec());
        }
        paths.sort();
        paths.dedup();
        paths
    }
}
