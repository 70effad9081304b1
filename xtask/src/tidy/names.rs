//! A name says what a part is for; these say that nobody knew.

use super::Finding;
use super::source::Tree;

const EMPTY: [&str; 10] =
    ["util", "utils", "utility", "utilities", "common", "core", "helper", "helpers", "manager", "misc"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().flat_map(|file| [by_path(file), by_declaration(file)].concat()).collect()
}

fn by_path(file: &super::source::Source) -> Vec<Finding> {
    let parts = file.path.trim_end_matches(".rs").split('/');
    parts
        .filter(|part| EMPTY.iter().any(|name| name == part || part.ends_with(&format!("_{name}"))))
        .map(|part| file.finding(1, format!("`{part}` says nothing: name it after what it is for")))
        .collect()
}

fn by_declaration(file: &super::source::Source) -> Vec<Finding> {
    let declared = |line: &str| {
        let (_, name) = line.split_once("mod ")?;
        let name = name.trim_end_matches(['{', ';', ' ', '}']).to_owned();
        EMPTY.contains(&name.as_str()).then_some(name)
    };
    let named = file.code.lines().enumerate().filter_map(|(index, line)| Some((index, declared(line)?)));
    named.map(|(index, name)| file.finding(index + 1, format!("module `{name}` says nothing"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_found_in_paths_and_declarations() {
        let tree = Tree::of(&[
            ("crates/node/src/utils.rs", ""),
            ("crates/common/src/lib.rs", ""),
            ("crates/node/src/a.rs", "mod helpers {\n}\nmod corner;\n"),
        ]);
        assert_eq!(check(&tree).len(), 3);
    }
}
