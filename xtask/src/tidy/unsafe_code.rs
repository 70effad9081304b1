//! Unsafe code is in named files, each with a sentence that says why it is sound.

use super::Finding;
use super::source::Tree;

/// The files that may have it.
const NAMED: [&str; 1] = ["crates/node/src/kernel.rs"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let others = tree.files.iter().filter(|file| !NAMED.contains(&file.path.as_str()));
    others
        .flat_map(|file| {
            let lines = file.code.lines().enumerate().map(|(index, line)| (index + 1, line));
            file.mentions(lines, &["unsafe", "allow(unsafe_code)"], "unsafe code is in named files only")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_is_found_in_tests_too() {
        let tree = Tree::of(&[("crates/a/src/a.rs", "// unsafe\n#[cfg(test)]\nmod tests {\n  unsafe { f() }\n}\n")]);
        assert_eq!(check(&tree)[0].place, "crates/a/src/a.rs:4");
    }
}
