//! Paths in a manifest: which there may be, and their order.

use super::{MAX_DEPTH, MAX_NAME, MAX_PATH};
use std::cmp::Ordering;

/// Why a path or name may not stand in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Empty component, `.` or `..`.
    #[error("it has an empty, `.` or `..` component")]
    Climbs,
    /// It starts with `/`.
    #[error("it is absolute")]
    Absolute,
    /// A NUL byte.
    #[error("it contains a NUL byte")]
    Nul,
    /// A backslash, which some file systems and archive tools take for a separator.
    #[error("it contains a backslash")]
    Backslash,
    /// A component over 255 bytes, or all of it over 4,096 bytes, or over 128 deep.
    #[error("it is too long or too deep")]
    TooLong,
}

/// Checks a relative path (not the root's empty one).
pub fn check_path(path: &[u8]) -> Result<(), BadPath> {
    if path.first() == Some(&b'/') {
        return Err(BadPath::Absolute);
    }
    if path.contains(&0) {
        return Err(BadPath::Nul);
    }
    if path.contains(&b'\\') {
        return Err(BadPath::Backslash);
    }
    if path.len() > MAX_PATH || components(path).count() > MAX_DEPTH || components(path).any(|c| c.len() > MAX_NAME) {
        return Err(BadPath::TooLong);
    }
    match components(path).any(|component| matches!(component, b"" | b"." | b"..")) {
        true => Err(BadPath::Climbs),
        false => Ok(()),
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

/// The order of entries: by components, each bytewise. So `a/b` comes right after `a` and before `a.txt`.
pub fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    // No path contains NUL, so a separator that counts as NUL ends a component before any byte continues it.
    let rank = |&byte: &u8| if byte == b'/' { 0 } else { byte };
    a.iter().map(rank).cmp(b.iter().map(rank))
}

/// The path of the directory that a path stands in; `None` for the root.
pub(super) fn parent(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    Some(&path[..path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn f1_names_that_no_tree_of_ours_has_are_refused() {
        let long = [b'x'; MAX_NAME + 1];
        let deep = [b"d/".repeat(MAX_DEPTH), b"d".to_vec()].concat();
        let wide = [[b'x'; 254].as_slice(); 17].join(&b'/');
        let cases: &[(&[u8], BadPath)] = &[
            (b"", BadPath::Climbs),
            (b".", BadPath::Climbs),
            (b"..", BadPath::Climbs),
            (b"../a", BadPath::Climbs),
            (b"a/../b", BadPath::Climbs),
            (b"a/..", BadPath::Climbs),
            (b"a/./b", BadPath::Climbs),
            (b"a//b", BadPath::Climbs),
            (b"a/", BadPath::Climbs),
            (b"/", BadPath::Absolute),
            (b"/etc/passwd", BadPath::Absolute),
            (b"a\0b", BadPath::Nul),
            (b"a\\b", BadPath::Backslash),
            (b"..\\b", BadPath::Backslash),
            (&long, BadPath::TooLong),
            (&deep, BadPath::TooLong),
            (&wide, BadPath::TooLong),
        ];
        for (path, bad) in cases {
            assert_eq!(check_path(path), Err(bad.clone()), "{}", path.escape_ascii());
        }
        let good: &[&[u8]] =
            &[b"a", b"a/b", b"...", b"..a", b".git", b"a b", b"\xff\xfe", b"\n", &long[1..], &deep[2..]];
        for path in good {
            assert_eq!(check_path(path), Ok(()), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn a_directory_comes_right_before_what_is_in_it() {
        let rising: &[&[u8]] = &[b"", b"a", b"a/b", b"a/b/c", b"a/b-", b"a/b.c", b"a-", b"a.txt", b"aa", b"b", b"\xff"];
        for (n, a) in rising.iter().enumerate() {
            for (m, b) in rising.iter().enumerate() {
                assert_eq!(compare_paths(a, b), n.cmp(&m), "{} {}", a.escape_ascii(), b.escape_ascii());
            }
        }
    }

    #[test]
    fn parents() {
        assert_eq!(parent(b""), None);
        assert_eq!(parent(b"a"), Some(&b""[..]));
        assert_eq!(parent(b"a/b/c"), Some(&b"a/b"[..]));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_components(a in "[-a./\u{ff}]{0,6}", b in "[-a./\u{ff}]{0,6}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            prop_assume!(check_path(a).is_ok() && check_path(b).is_ok());
            prop_assert_eq!(compare_paths(a, b), components(a).cmp(components(b)));
        }
    }
}
