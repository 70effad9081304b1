//! Every file begins with what it is for.

use super::Finding;
use super::source::Tree;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let bare = tree.files.iter().filter(|file| !begins_with_its_purpose(&file.text));
    bare.map(|file| file.finding(1, "begin the file with `//!` and what it is for")).collect()
}

fn begins_with_its_purpose(text: &str) -> bool {
    let mut lines = text.lines().skip_while(|line| line.is_empty() || line.starts_with("#!["));
    lines.next().and_then(|line| line.strip_prefix("//!")).is_some_and(|purpose| purpose.trim().len() > 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_head_is_found() {
        let tree = Tree::of(&[("crates/a/src/a.rs", "//! Says what it is for.\n"), ("crates/a/src/b.rs", "use x;\n")]);
        assert_eq!(check(&tree)[0].place, "crates/a/src/b.rs:1");
    }
}
