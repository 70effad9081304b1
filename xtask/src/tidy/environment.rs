//! Below the command line nobody reads configuration: values come in as arguments, exactly once resolved.

use super::Finding;
use super::source::Tree;

const WORDS: [&str; 9] =
    ["std::env", "env::var", "env::var_os", "env::args", "toml", "clap", "indicatif", "process::exit", "ExitCode"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let below = tree.files.iter().filter(|file| file.crate_name().is_some_and(|name| name != "cli"));
    below.flat_map(|file| [words(file), colours(file)].concat()).collect()
}

fn words(file: &super::source::Source) -> Vec<Finding> {
    file.mentions(file.product(), &WORDS, "only cli knows arguments, environment, TOML, colours and exit codes")
}

/// Escape sequences stand in strings, which the code view hides.
fn colours(file: &super::source::Source) -> Vec<Finding> {
    let lines = file.text.lines().zip(file.product());
    lines
        .filter(|(text, _)| text.contains("\\x1b[") || text.contains("\\u{1b}["))
        .map(|(_, (line, _))| file.finding(line, "only cli knows colours"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_and_colours_are_found_below_the_command_line() {
        let text = "fn f() { std::env::var(\"X\"); }\nfn g() -> &'static str { \"\\x1b[31m\" }\n";
        let tree = Tree::of(&[("crates/node/src/a.rs", text), ("crates/cli/src/a.rs", text)]);
        assert!(check(&tree).iter().all(|finding| finding.place.starts_with("crates/node")));
        assert_eq!(check(&tree).iter().filter(|finding| finding.place.ends_with(":2")).count(), 1);
        assert!(check(&tree).iter().any(|finding| finding.place.ends_with(":1")));
    }
}
