//! Only the command line speaks; everybody else returns values or traces.

use super::Finding;
use super::source::Tree;

const WORDS: [&str; 7] = ["print!", "println!", "eprint!", "eprintln!", "dbg!", "io::stdout", "io::stderr"];

/// The loud line of the log subscriber and the like belong to cli; examples, tests, bench and xtask print as they like.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let below = tree.files.iter().filter(|file| file.crate_name().is_some_and(|name| name != "cli"));
    below.flat_map(|file| file.mentions(file.product(), &WORDS, "only cli prints")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_below_the_command_line_is_found() {
        let text = "fn f() { eprintln!(\"x\"); }\n#[cfg(test)]\nmod tests {\n    fn g() { println!(); }\n}\n";
        let tree = Tree::of(&[
            ("crates/node/src/a.rs", text),
            ("crates/cli/src/a.rs", text),
            ("crates/sim/examples/a.rs", text),
        ]);
        assert_eq!(check(&tree).len(), 1);
    }
}
