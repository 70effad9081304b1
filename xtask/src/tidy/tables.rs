//! What patches are coded with is known, and from where: a table of 4 KiB or more in the delta crate is listed in `docs/deltas.md` with its origin.
//!
//! A table that was learned from the software that is measured would make the measurement worth nothing, and nobody could tell by looking at it.

use super::Finding;
use super::source::{Source, Tree};
use std::collections::BTreeSet;

/// The page with the list, and the lines between which it stands.
const PAGE: &str = "docs/deltas.md";
const BEGINS: &str = "<!-- tables -->";
const ENDS: &str = "<!-- end of tables -->";
/// From how many bytes on a table is listed.
const LARGE: u64 = 4096;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let page = tree.texts.iter().find(|text| text.path == PAGE);
    let listed = page.map_or_else(BTreeSet::new, |page| names(&page.text));
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, _) in tree.of_crate("delta") {
        for (line, name) in large(file) {
            if !listed.contains(&name) {
                let what = format!(
                    "`{name}` has {LARGE} bytes or more, or a length that cannot be read here: list it in {PAGE}"
                );
                findings.push(file.finding(line, what));
            }
            seen.insert(name);
        }
    }
    let gone = listed
        .difference(&seen)
        .map(|name| Finding { place: PAGE.to_owned(), what: format!("there is no table `{name}`") });
    findings.extend(gone);
    findings
}

/// What stands in backquotes at the beginning of the list's rows.
fn names(page: &str) -> BTreeSet<String> {
    let list = page.split_once(BEGINS).and_then(|(_, rest)| rest.split_once(ENDS)).map_or("", |(list, _)| list);
    list.lines().filter_map(|row| row.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name.to_owned()).collect()
}

/// Tables of a file that are large, and files that are built in, which count as such.
fn large(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, code) in file.product() {
        if code.contains("include_bytes!") || code.contains("include!(") {
            found.push((line, format!("include in {}", file.path)));
        }
        let code = code.trim_start().trim_start_matches("pub(crate) ");
        let Some(item) = code.strip_prefix("static ").or_else(|| code.strip_prefix("const ")) else { continue };
        let Some((name, rest)) = item.split_once(':') else { continue };
        let kind = rest.split_once(" = ").map_or(rest, |(kind, _)| kind).trim();
        if is_large(kind) && !name.contains('(') {
            found.push((line, name.trim().to_owned()));
        }
    }
    found
}

/// Whether a type is, or refers to, a table that is large, or that cannot be seen to be small.
fn is_large(kind: &str) -> bool {
    let Some(inside) = kind.trim_start_matches('&').trim_start_matches("'static ").strip_prefix('[') else {
        return false;
    };
    let Some((of, len)) = inside.trim_end_matches(']').rsplit_once(';') else {
        // A slice: of words or of rows that somebody wrote down, which only numbers are in bulk.
        return ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"].contains(&inside.trim_end_matches(']'))
            && !kind.contains("u8");
    };
    let each = match of.trim() {
        "u8" | "i8" | "bool" => 1,
        "u16" | "i16" => 2,
        "u32" | "i32" => 4,
        // An enum with a field, a reference, a pair.
        _ => 8,
    };
    len.trim().replace('_', "").parse::<u64>().map_or(true, |len| len * each >= LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(code: &str, page: &str) -> Tree {
        let mut tree = Tree::of(&[("crates/delta/src/a.rs", code)]);
        tree.texts = vec![Source::new(PAGE, page.to_owned())];
        tree
    }

    #[test]
    fn a_large_table_that_is_not_listed_is_found() {
        let code = "static FEW: [u16; 100] = few();\nstatic MANY: [u16; 4_095] = many();\nconst LONG: [u8; LEN + 1] = long();\n";
        let places: Vec<_> = check(&tree(code, "")).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["crates/delta/src/a.rs:2", "crates/delta/src/a.rs:3"]);
        let page = format!("{BEGINS}\n| `MANY` | 8 KiB |\n| `LONG` | ? |\n{ENDS}\n");
        assert_eq!(check(&tree(code, &page)), []);
        assert_eq!(check(&tree("static KNOWN: &[u32] = &[1];\n", "")).len(), 1, "a slice of numbers");
        assert_eq!(check(&tree("static MODEL: &[u8] = include_bytes!(\"x\");\n", "")).len(), 1);
    }

    #[test]
    fn what_is_no_table_and_what_is_gone() {
        let code = "const fn map() -> [u16; 9999] {\nconst NAME: &[u8] = b\"x\";\nconst SIZE: usize = 5000;\n#[cfg(test)]\nmod tests {\nstatic T: [u8; 9999] = x;\n}\n";
        assert_eq!(check(&tree(code, "")), []);
        let page = format!("{BEGINS}\n| `GONE` | 8 KiB |\n{ENDS}\n");
        assert_eq!(check(&tree(code, &page)).len(), 1);
    }
}
