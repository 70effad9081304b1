//! The store takes the engine's job vocabulary and nothing else of it.

use super::Finding;
use super::source::Tree;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let files = tree.of_crate("store");
    files
        .flat_map(|(file, _)| {
            file.code
                .lines()
                .enumerate()
                .filter(|(_, line)| uses_more_than_doors(line))
                .map(|(index, _)| file.finding(index + 1, "the store imports of the engine only `engine::door`"))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn uses_more_than_doors(line: &str) -> bool {
    let beside =
        |at: usize| line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
    let whole = line.contains("use engine;") || line.contains("use engine as");
    let path = |at: usize| line[at + "engine::".len()..].starts_with("door");
    whole || line.match_indices("engine::").any(|(at, _)| !beside(at) && !path(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_the_doors_is_found() {
        let tree = Tree::of(&[("crates/store/src/a.rs", "use engine::door::Job;\nuse engine::swarm::Swarm;\n")]);
        assert_eq!(check(&tree)[0].place, "crates/store/src/a.rs:2");
        let tree = Tree::of(&[("crates/store/src/a.rs", "use engine::{door, trust};\n")]);
        assert_eq!(check(&tree).len(), 1);
    }
}
