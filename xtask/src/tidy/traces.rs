//! What is written here is true on every machine: no file names a directory of the one it was written on.

use super::Finding;
use super::source::{Source, Tree};

/// Directories of people and build machines. (Put together, so that this file does not name them either.)
fn traces() -> [String; 4] {
    ["work/", "home/", "Users/", "root/"].map(|dir| format!("/{dir}"))
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().chain(&tree.texts).flat_map(of_file).collect()
}

fn of_file(file: &Source) -> Vec<Finding> {
    let traces = traces();
    let named = |line: &str| traces.iter().any(|trace| begins_a_path(line, trace));
    let lines = file.text.lines().enumerate().filter(|(_, line)| named(line));
    lines.map(|(index, _)| file.finding(index + 1, "names a directory of somebody's machine")).collect()
}

/// Whether an absolute path in `line` begins with `trace`.
fn begins_a_path(line: &str, trace: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "._-/}>)~".contains(c);
    line.match_indices(trace).any(|(at, _)| !line[..at].chars().next_back().is_some_and(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_a_machine_is_found_and_a_part_of_a_path_is_not() {
        let path = format!("read(\"{}x\")\nread(\"D/node-1{}x\")\n", traces()[0], traces()[3]);
        let tree = Tree::of(&[("crates/a/src/a.rs", &path)]);
        assert_eq!(check(&tree).len(), 1);
    }
}
