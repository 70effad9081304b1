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
