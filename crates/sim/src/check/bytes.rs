//! What stands at a path is what was published, to the byte.

use crate::disk::{Platter, Seen};
use crate::truth::{Published, TARGET};
use content::ReleaseId;

/// What is wrong with what the path shows, if it should show this release (or nothing).
pub(crate) fn wrong(platter: &Platter, expected: Option<(&ReleaseId, &Published)>) -> Option<String> {
    let seen = platter.look(TARGET);
    let (id, published) = match (expected, &seen) {
        (None, None) => return None,
        (None, Some(_)) => return Some("something stands at the path, and nothing was switched there".to_owned()),
        (Some((id, _)), None) => return Some(format!("nothing stands at the path, and {id:?} is live")),
        (Some(published), Some(_)) => published,
    };
    let Some(Seen::Symlink(target)) = seen else { return Some("what stands at the path is no symlink".to_owned()) };
    let Some(tree) = platter.tree(&resolved(&target)) else {
        return Some(format!("the path's symlink to {} dangles", target.escape_ascii()));
    };
    let difference = published.tree.difference(&tree)?;
    Some(format!("the path shows {id:?} ({}), but {difference}", published.release.version))
}

/// The absolute path of a symlink's target that stands in the target's directory.
pub(crate) fn resolved(target: &[u8]) -> Vec<u8> {
    if target.starts_with(b"/") {
        return target.to_vec();
    }
    let parent = TARGET.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    [&TARGET[..parent], b"/", target].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_resolved_beside_the_path() {
        assert_eq!(resolved(b"x/y"), b"/srv/x/y");
        assert_eq!(resolved(b"/x"), b"/x");
    }
}
