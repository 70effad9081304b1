//! The simulator pretends a disk and a network only: engines and stores in it are the real ones.

use super::Finding;
use super::source::Tree;

/// Where a `Disk` may be implemented: the real one, the pretend one, and what tests make of either.
const HOMES: [&str; 4] =
    ["crates/node/src/disk", "crates/sim/src/disk", "crates/store/src/tests", "crates/store/tests"];

/// What a pretend world may not have a second one of.
const REAL: [&str; 8] = ["Engine", "Store", "Pieces", "Swarm", "Rollout", "Catalog", "Trust", "Tracker"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let disks = tree.files.iter().flat_map(second_disks);
    disks.chain(tree.of_crate("sim").flat_map(|(file, _)| second_parts(file))).collect()
}

fn second_disks(file: &super::source::Source) -> Vec<Finding> {
    let home = file.is_support() || HOMES.iter().any(|home| file.path.starts_with(home));
    let implements = |line: &str| line.trim_start().starts_with("impl") && line.contains(" Disk for ");
    file.product()
        .filter(|(_, line)| !home && implements(line))
        .map(|(line, _)| file.finding(line, "the Disk is implemented by node, sim and test support only"))
        .collect()
}

fn second_parts(file: &super::source::Source) -> Vec<Finding> {
    let second = |line: &str| {
        REAL.iter().any(|name| super::source::has_word(line, &format!("struct {name}")))
            || (line.trim_start().starts_with("impl") && line.contains("PieceSource for"))
    };
    file.product()
        .filter(|(_, line)| second(line))
        .map(|(line, _)| file.finding(line, "the simulator runs the real engine and the real store"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_disk_and_a_pretend_store_are_found() {
        let disk = "impl Disk for Mine {\n}\nimpl<D: Disk> Disk for Counted<D> {}\n";
        let tree = Tree::of(&[
            ("crates/node/src/disk.rs", disk),
            ("crates/sim/src/disk/pages.rs", disk),
            ("crates/store/tests/crash.rs", disk),
            ("crates/cli/src/a.rs", disk),
            ("crates/sim/src/world.rs", "struct Store;\nstruct StoreView;\n"),
        ]);
        let places: Vec<String> = check(&tree).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["crates/cli/src/a.rs:1", "crates/cli/src/a.rs:3", "crates/sim/src/world.rs:1"]);
    }
}
