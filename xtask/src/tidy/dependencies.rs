//! Which crate may list which: Cargo keeps crates apart, this keeps the lists short.

use super::Finding;
use super::source::Tree;
use serde_json::Value;
use std::collections::BTreeMap;

/// Ours, by the one-word name, and which of ours each may list. `cli` names content for the types in node's doors.
const OURS: [(&str, &[&str]); 9] = [
    ("tiding-content", &[]),
    ("tiding-delta", &[]),
    ("tiding-engine", &["tiding-content"]),
    ("tiding-store", &["tiding-content", "tiding-delta", "tiding-engine"]),
    ("tiding-node", &["tiding-content", "tiding-engine", "tiding-store"]),
    ("tiding-sim", &["tiding-content", "tiding-engine", "tiding-store"]),
    ("tiding-cli", &["tiding-content", "tiding-delta", "tiding-node", "tiding-sim"]),
    ("tiding-bench", &["tiding-content", "tiding-engine", "tiding-node", "tiding-store"]),
    ("xtask", &[]),
];

/// Crates that decide or remember: nothing in them may wait, listen or draw.
const PURE: [&str; 5] = ["tiding-content", "tiding-delta", "tiding-engine", "tiding-store", "tiding-sim"];

/// What those must not list.
const WORLD: [&str; 14] = [
    "tokio",
    "tokio-rustls",
    "rustls",
    "hyper",
    "hyper-util",
    "mio",
    "socket2",
    "rustix",
    "libc",
    "nix",
    "rand",
    "getrandom",
    "aws-lc-rs",
    "reqwest",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let packages = listed(&tree.metadata);
    packages.iter().flat_map(|(name, dependencies)| of_package(name, dependencies)).collect()
}

fn of_package(name: &str, dependencies: &[String]) -> Vec<Finding> {
    let wrong = |what: String| Finding { place: format!("{name}/Cargo.toml"), what };
    let Some((_, allowed)) = OURS.iter().find(|(ours, _)| *ours == name) else {
        return vec![wrong("a crate that the table of crates does not know".to_owned())];
    };
    let is_ours = |dependency: &str| OURS.iter().any(|(ours, _)| *ours == dependency);
    let upward = |dependency: &&String| is_ours(dependency) && !allowed.contains(&dependency.as_str());
    let world = |dependency: &&String| PURE.contains(&name) && WORLD.contains(&dependency.as_str());
    let upward = dependencies.iter().filter(upward).map(|to| wrong(format!("{name} must not depend on {to}")));
    let world = dependencies.iter().filter(world).map(|to| wrong(format!("{name} has no I/O, but lists {to}")));
    upward.chain(world).collect()
}

/// Every package of the workspace with the names of what it lists, tests included.
fn listed(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let text = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            (text(package), dependencies.map(text).collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn findings(name: &str, dependencies: &[&str]) -> Vec<Finding> {
        let dependencies: Vec<Value> = dependencies.iter().map(|name| json!({ "name": name })).collect();
        let metadata = json!({ "packages": [{ "name": name, "dependencies": dependencies }] });
        check(&Tree { files: Vec::new(), texts: Vec::new(), metadata })
    }

    #[test]
    fn an_arrow_that_points_up_or_sideways_is_found() {
        assert_eq!(findings("tiding-engine", &["tiding-content", "thiserror"]), []);
        assert_eq!(findings("tiding-engine", &["tiding-store"]).len(), 1);
        assert_eq!(findings("tiding-node", &["tiding-sim"]).len(), 1);
        assert_eq!(findings("tiding-sim", &["tiding-node"]).len(), 1);
        assert_eq!(findings("tiding-delta", &["tiding-content"]).len(), 1);
    }

    #[test]
    fn a_crate_that_decides_lists_no_runtime() {
        assert_eq!(findings("tiding-store", &["tokio"]).len(), 1);
        assert_eq!(findings("tiding-node", &["tokio"]), []);
    }

    #[test]
    fn a_new_crate_must_be_placed() {
        assert_eq!(findings("tiding-more", &[]).len(), 1);
    }

    #[test]
    fn the_metadata_of_this_workspace_is_understood() {
        let tree = Tree::read().expect("the repository can be read");
        assert!(listed(&tree.metadata).contains_key("tiding-store"));
    }
}
