//! The top-level modules of a crate form no import circle: each can be read after those it imports.
//!
//! An import is any mention of `crate::module` (or `super::module` in a top-level file), and of a name that the crate's root
//! re-exports from a module. What the root itself defines counts as the root, so a root that others import imports none of them
//! but to re-export.

use super::Finding;
use super::source::{Source, Tree};
use std::collections::{BTreeMap, BTreeSet};

type Graph = BTreeMap<String, BTreeSet<String>>;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let names: BTreeSet<&str> = tree.files.iter().filter_map(Source::crate_name).collect();
    names.into_iter().flat_map(|name| of_crate(tree, name)).collect()
}

fn of_crate(tree: &Tree, name: &str) -> Vec<Finding> {
    let circles = circles(&imports(tree, name));
    circles
        .into_iter()
        .map(|circle| Finding {
            place: format!("crates/{name}/src"),
            what: format!("a circle: {}", circle.join(" <-> ")),
        })
        .collect()
}

/// Which top-level module imports which.
fn imports(tree: &Tree, name: &str) -> Graph {
    let files: Vec<(&Source, String)> = tree.of_crate(name).map(|(file, path)| (file, module_of(path))).collect();
    let modules: BTreeSet<String> = files.iter().map(|(_, module)| module.clone()).filter(|m| m != ROOT).collect();
    let root: String = files.iter().filter(|(_, module)| module == ROOT).map(|(file, _)| product(file)).collect();
    let exported = re_exports(&root, &modules);
    let mut graph = Graph::new();
    for (file, module) in files.iter().filter(|(file, module)| module != ROOT && !file.is_support()) {
        let supers = file.path.matches('/').count() == 3;
        let named = mentioned(&product(file), supers);
        let targets = named.into_iter().filter_map(|name| match modules.contains(&name) {
            true => Some(name),
            false => exported.get(&name).cloned(),
        });
        graph.entry(module.clone()).or_default().extend(targets.filter(|target| target != module));
    }
    graph
}

/// The module that `lib.rs` and `main.rs` are.
const ROOT: &str = "";

fn module_of(path: &str) -> String {
    let first = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    if path == "lib.rs" || path == "main.rs" { ROOT.to_owned() } else { first.to_owned() }
}

fn product(file: &Source) -> String {
    file.product().flat_map(|(_, line)| [line, "\n"]).collect()
}

/// Names that the root re-exports, and from which module.
fn re_exports(root: &str, modules: &BTreeSet<String>) -> BTreeMap<String, String> {
    let uses = root.split(';').filter_map(|statement| statement.split_once("pub use ")).map(|(_, path)| path.trim());
    uses.filter_map(|path| path.trim_start_matches("crate::").split_once("::"))
        .filter(|(module, _)| modules.contains(*module))
        .flat_map(|(module, names)| leaves(names).into_iter().map(move |name| (name, module.to_owned())))
        .collect()
}

/// The last names of a use tree: `{A, b::C as D}` gives `A` and `D`.
fn leaves(tree: &str) -> Vec<String> {
    let separators = |c: char| "{},".contains(c);
    let parts = tree.split(separators).map(str::trim).filter(|part| !part.is_empty() && !part.ends_with("::"));
    parts.map(|part| part.rsplit([':', ' ']).next().unwrap_or(part).to_owned()).collect()
}

/// The first names after every `crate::` (and `super::`).
fn mentioned(code: &str, supers: bool) -> BTreeSet<String> {
    let prefixes: &[&str] = if supers { &["crate::", "super::"] } else { &["crate::"] };
    let starts = prefixes.iter().flat_map(|prefix| code.match_indices(prefix).map(|(at, found)| at + found.len()));
    starts.flat_map(|at| first_names(&code[at..])).collect()
}

fn first_names(rest: &str) -> Vec<String> {
    let Some(tree) = rest.strip_prefix('{') else { return vec![identifier(rest)] };
    let mut depth = 0_i32;
    let mut names = vec![identifier(tree.trim_start())];
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(identifier(tree[at + 1..].trim_start())),
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Sets of modules that import each other, each sorted: those that reach one another (the graphs are small).
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = graph.keys().map(|from| (from, reachable(graph, from))).collect();
    let both = |a: &String, b: &String| reach[a].contains(b) && reach.get(b).is_some_and(|back| back.contains(a));
    let sets: BTreeSet<Vec<String>> = (graph.keys())
        .filter(|module| reach[module].contains(module))
        .map(|module| graph.keys().filter(|other| both(module, other)).cloned().collect())
        .collect();
    sets.into_iter().collect()
}

fn reachable<'a>(graph: &'a Graph, from: &String) -> BTreeSet<&'a String> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&String> = graph.get(from).into_iter().flatten().collect();
    while let Some(module) = next.pop() {
        if seen.insert(module) {
            next.extend(graph.get(module).into_iter().flatten());
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_circle_of_two_is_found() {
        let files = [
            ("crates/x/src/lib.rs", "mod a;\nmod b;\n"),
            ("crates/x/src/a.rs", "use crate::b::B;\n"),
            ("crates/x/src/b.rs", "fn f(_: crate::a::A) {}\n"),
        ];
        assert_eq!(found(&files), ["a circle: a <-> b"]);
    }

    #[test]
    fn a_circle_through_a_re_export_and_a_nested_file_is_found() {
        let files = [
            ("crates/x/src/lib.rs", "mod a;\nmod b;\nmod c;\npub use a::{A, inner::Z as Y};\n"),
            ("crates/x/src/a.rs", "use crate::{b, c::C};\n"),
            ("crates/x/src/b.rs", "mod deep;\n"),
            ("crates/x/src/b/deep.rs", "use crate::Y;\n"),
            ("crates/x/src/c.rs", "use std::fmt;\n"),
        ];
        assert_eq!(found(&files), ["a circle: a <-> b"]);
    }

    #[test]
    fn a_line_of_imports_and_the_tests_at_the_bottom_are_fine() {
        let files = [
            ("crates/x/src/lib.rs", "mod a;\nmod b;\n"),
            ("crates/x/src/a.rs", "use crate::b::B;\n"),
            ("crates/x/src/b.rs", "struct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"),
        ];
        assert!(found(&files).is_empty());
    }
}
