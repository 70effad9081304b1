//! Names that are one name to some file systems: those that differ in upper and lower case, in how an accented letter is written, or in dots
//! and spaces at their end.
//!
//! Most servers tell all of them apart, and a tree with such names is as good there as any. So they are noted where it is published, and
//! only a node whose file system does not tell them apart refuses the release.

use super::judge::shown;
use std::collections::BTreeMap;
use unicode_normalization::UnicodeNormalization;

/// A path as a file system sees it that tells as little apart as any does.
fn folded(path: &[u8]) -> Vec<u8> {
    let Ok(path) = str::from_utf8(path) else { return path.to_vec() };
    let parts = path.split('/').map(|name| match name.trim_end_matches(['.', ' ']) {
        "" => name,
        trimmed => trimmed,
    });
    let lower = |name: &str| name.nfc().flat_map(char::to_lowercase).nfc().collect::<String>();
    parts.map(lower).collect::<Vec<_>>().join("/").into_bytes()
}

/// Whether a path may be folded to another one at all. Most are plain, so most trees cost nothing.
fn is_plain(path: &[u8]) -> bool {
    let is_quiet = |byte: &u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    path.iter().all(is_quiet)
        && !path.split(|byte| *byte == b'/').any(|name| name.ends_with(b".") || name.ends_with(b" "))
}

/// What is to be said of paths that some file systems do not tell apart, if there are any.
pub(super) fn note<'a>(paths: impl Iterator<Item = &'a [u8]> + Clone) -> Option<String> {
    let mut by_fold: BTreeMap<Vec<u8>, &[u8]> =
        paths.clone().filter(|path| !is_plain(path)).map(|path| (folded(path), path)).collect();
    let mut twins: Vec<(&[u8], &[u8])> = Vec::new();
    if by_fold.is_empty() {
        return None;
    }
    for path in paths {
        let fold = if is_plain(path) { path.to_vec() } else { folded(path) };
        match by_fold.get(&fold) {
            Some(other) if *other != path => twins.push((path, other)),
            Some(_) => {}
            None => drop(by_fold.insert(fold, path)),
        }
    }
    let (one, other) = twins.iter().map(|(one, other)| (one.min(other), one.max(other))).min()?;
    let count = twins.len();
    let (names, are) = if count == 1 { ("name", "is") } else { ("names", "are") };
    Some(format!(
        "{count} {names} {are} no other than another one where a file system does not tell upper and lower case, or forms of a letter, apart, \
         and such a node refuses the release (the first: {} and {})",
        shown(one),
        shown(other)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(paths: &[&str]) -> Option<String> {
        note(paths.iter().map(|path| path.as_bytes()))
    }

    #[test]
    fn f8_names_that_some_file_systems_do_not_tell_apart_are_noted() {
        for twins in [
            ["a/README", "a/readme"],
            ["caf\u{e9}", "cafe\u{301}"],
            ["CAF\u{c9}", "cafe\u{301}"],
            ["conf", "conf."],
            ["conf ", "conf"],
            ["lib/x", "Lib"],
        ] {
            let all = ["other", twins[0], "z/Plain", twins[1], "lib"];
            let said = noted(&all);
            assert!(said.is_some(), "{twins:?}");
        }
        let one = noted(&["b", "A", "a", "B"]).expect("two");
        assert!(one.starts_with("2 names are no other") && one.ends_with("(the first: A and a)"), "{one}");
        assert_eq!(noted(&["a/README", "b/readme", "Makefile", "..a", "\u{e9}", "e"]), None);
        assert_eq!(note([&b"\xff"[..], b"\xfe", b"A"].into_iter()), None, "bytes are told apart by all");
    }
}
