//! How a release comes to nodes, in a line for each release that they ran before: by a patch or whole, and why.

use crate::words;
use clap::ValueEnum;
use node::api::RoadStatus;
use node::escape::escape;
use node::publish::{Effort as Work, Wish};

/// Whether patches are made of what nodes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Effort {
    /// Where bytes arrive sooner so, by an estimate from the limits that apply
    Auto,
    /// Yes, made quickly
    Fast,
    /// Yes, as small as can be
    Best,
    /// No
    None,
}

impl From<Effort> for Wish {
    fn from(effort: Effort) -> Self {
        match effort {
            Effort::Auto => Self::Auto,
            Effort::Fast => Self::Patches(Work::Fast),
            Effort::Best => Self::Patches(Work::Best),
            Effort::None => Self::Whole,
        }
    }
}

/// `patch from v41, 3 nodes: 79 kB instead of 10.4 MB; a patch is wished for`.
pub(crate) fn lines(roads: &[RoadStatus]) -> Vec<String> {
    roads.iter().map(line).collect()
}

fn line(road: &RoadStatus) -> String {
    let (nodes, why) = (words::count(road.nodes as usize, "node"), escape(&road.why));
    let from = road.base.as_ref().map_or_else(String::new, |base| format!(" from {}", escape(base)));
    match road.patch_bytes {
        Some(patch) => {
            let (patch, whole) = (words::size(patch), words::size(road.whole_bytes));
            format!("patch{from}, {nodes}: {patch} instead of {whole}; {why}")
        }
        None => format!("whole{from}, {nodes}: {}; {why}", words::size(road.whole_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_road_says_its_bytes_and_why_it_was_taken() {
        let patch = RoadStatus {
            base: Some("v\x1b41".to_owned()),
            nodes: 3,
            patch_bytes: Some(79_000),
            whole_bytes: 10_400_000,
            why: "a patch is wished for".to_owned(),
        };
        let whole = RoadStatus { nodes: 1, patch_bytes: None, why: "links are fast".to_owned(), ..patch.clone() };
        let [patch, whole] = [line(&patch), line(&whole)];
        let (small, large) = (words::size(79_000), words::size(10_400_000));
        assert_eq!(
            patch,
            format!("patch from v\\u{{1b}}41, 3 nodes: {small} instead of {large}; a patch is wished for")
        );
        assert_eq!(whole, format!("whole from v\\u{{1b}}41, 1 node: {large}; links are fast"));
    }
}
