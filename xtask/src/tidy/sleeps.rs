//! A test waits for what happens, never for time to pass: a sleep is too short on a slow machine and too long on all others.

use super::Finding;
use super::source::Tree;

const WORDS: [&str; 4] = ["thread::sleep", "time::sleep", "sleep_ms", "park_timeout"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let files = tree.files.iter().filter(|file| file.path.starts_with("crates/"));
    files.flat_map(|file| file.mentions(file.tests(), &WORDS, "wait for a line, an exit or a state instead")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_in_a_test_is_found() {
        let inside = "fn f() { thread::sleep(x) }\n#[cfg(test)]\nmod tests {\n  fn g() { std::thread::sleep(x) }\n}\n";
        let tree = Tree::of(&[
            ("crates/a/src/a.rs", inside),
            ("crates/a/tests/b.rs", "async fn f() { tokio::time::sleep(x).await }\n"),
        ]);
        let places: Vec<String> = check(&tree).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["crates/a/src/a.rs:4", "crates/a/tests/b.rs:1"]);
    }
}
