//! Paths of an application that outlive its releases: uploads, logs, a file of secrets.
//!
//! What they name stands on each node beside the releases, in one directory for each application, and each release has a symbolic
//! link there instead. The link is part of the published tree like any other, and points one directory up and into
//! [`DIRECTORY`]; what it leads to is made by the node, and never removed.

use crate::encoding::{Decoder, Encode, Encoder, Malformed, require};
use crate::manifest::{check_path, compare_paths};

/// What the directory beside the releases is called.
pub const DIRECTORY: &str = "kept";

/// A path that outlives releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPath {
    /// Relative to the release, as in a manifest; 255 bytes at most.
    pub path: Vec<u8>,
    /// What stands there.
    pub kind: KeptKind,
}

/// What stands at a path that outlives releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptKind {
    /// A directory, which the node makes when it is not there.
    Directory {
        /// Permission bits with which it is made; 0o777 at most.
        mode: u16,
        /// Numeric owner and group with which it is made; `None` is whoever the agent runs as. Neither is 2^32 - 1.
        owner: Option<(u32, u32)>,
    },
    /// A file that somebody else makes; the node makes the directories above it.
    File,
}

impl KeptPath {
    /// How many a release may have.
    pub const MOST: usize = 32;
    /// The longest path, in bytes.
    pub const MAX_PATH: usize = 255;

    /// The target of the link that stands at this path in a release.
    pub fn link(&self) -> Vec<u8> {
        let up = self.path.iter().filter(|&&byte| byte == b'/').count() + 1;
        [&b"../".repeat(up), DIRECTORY.as_bytes(), b"/", &self.path].concat()
    }

    fn check(&self) -> Result<(), Malformed> {
        let wrong = |why: &dyn std::fmt::Display| {
            Malformed::new(Self::WHAT, format!("\"{}\": {why}", self.path.escape_ascii()))
        };
        check_path(&self.path).map_err(|bad| wrong(&bad))?;
        if self.path.len() > Self::MAX_PATH {
            return Err(wrong(&"it has more than 255 bytes"));
        }
        match self.kind {
            KeptKind::Directory { mode, .. } if mode > 0o777 => Err(wrong(&"its mode has more than permission bits")),
            KeptKind::Directory { owner: Some((u32::MAX, _) | (_, u32::MAX)), .. } => {
                Err(wrong(&"its owner is nobody"))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses paths that no release may keep: they rise, and none is, or stands below, another.
pub fn check(paths: &[KeptPath]) -> Result<(), Malformed> {
    require(paths.len() <= KeptPath::MOST, KeptPath::WHAT, "there are more than 32 of them")?;
    paths.iter().try_for_each(KeptPath::check)?;
    for pair in paths.windows(2) {
        let (one, other) = (&pair[0].path, &pair[1].path);
        // In path order what stands below a path follows it, before anything else.
        if is_or_holds(one, other) {
            let (one, other) = (one.escape_ascii(), other.escape_ascii());
            return Err(Malformed::new(
                KeptPath::WHAT,
                format!("\"{other}\" is, or stands below, \"{one}\", which is kept already"),
            ));
        }
        require(compare_paths(one, other).is_lt(), KeptPath::WHAT, "they are not in path order")?;
    }
    Ok(())
}

/// Whether a path is this one, or stands below it.
pub fn is_or_holds(above: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

const FILE: u8 = 0;
const ANY_OWNER: u8 = 1;
const OWNED: u8 = 2;

impl Encode for KeptPath {
    const WHAT: &'static str = "path to keep";

    fn put(&self, to: &mut Encoder) {
        to.bytes(&self.path);
        match self.kind {
            KeptKind::File => to.byte(FILE),
            KeptKind::Directory { mode, owner: None } => to.byte(ANY_OWNER).number(mode),
            KeptKind::Directory { mode, owner: Some((uid, gid)) } => {
                to.byte(OWNED).number(mode).number(uid).number(gid)
            }
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let path = from.bytes("a path to keep", Self::MAX_PATH)?.to_vec();
        let sort = from.byte()?;
        let mut mode = || from.within("the mode of a path to keep", 0..=0o777).map(|mode| mode as u16);
        let kind = match sort {
            FILE => KeptKind::File,
            ANY_OWNER => KeptKind::Directory { mode: mode()?, owner: None },
            OWNED => {
                let mode = mode()?;
                KeptKind::Directory { mode, owner: Some((from.number32("an owner")?, from.number32("a group")?)) }
            }
            other => return Err(from.wrong(format!("there is no sort {other} of it"))),
        };
        let kept = Self { path, kind };
        kept.check()?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(path: &[u8]) -> KeptPath {
        KeptPath { path: path.to_vec(), kind: KeptKind::File }
    }

    #[test]
    fn a_link_leads_out_of_the_release_and_into_the_directory_beside_it() {
        assert_eq!(kept(b"uploads").link(), b"../kept/uploads");
        assert_eq!(kept(b"log/app/a.sock").link(), b"../../../kept/log/app/a.sock");
    }

    #[test]
    fn f1_paths_that_climb_are_absolute_or_stand_below_each_other_are_refused() {
        let refused = |why: &str, paths: &[&[u8]]| {
            let paths: Vec<KeptPath> = paths.iter().map(|path| kept(path)).collect();
            let error = check(&paths).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        };
        refused("`..` component", &[b"../x"]);
        refused("`..` component", &[b"a/../../x"]);
        refused("`..` component", &[b""]);
        refused("absolute", &[b"/etc"]);
        refused("NUL", &[b"a\0"]);
        refused("backslash", &[b"a\\b"]);
        refused("more than 255", &[&[&b"abc/".repeat(63)[..], b"defg"].concat()]);
        refused("\"a\" is, or stands below, \"a\"", &[b"a", b"a"]);
        refused("\"a/b\" is, or stands below, \"a\"", &[b"a", b"a/b"]);
        refused("\"a/b/c\" is, or stands below, \"a\"", &[b"a", b"a/b/c", b"b"]);
        refused("path order", &[b"b", b"a"]);
        refused("path order", &[b"a/b", b"a"]);
        let many: Vec<Vec<u8>> = (0..33).map(|nr| format!("{nr:02}").into_bytes()).collect();
        refused("more than 32", &many.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let fine = [&b"a/b"[..], b"a-b", b"a.txt", b"\xff"].map(kept);
        assert_eq!(check(&fine), Ok(()));
    }

    #[test]
    fn special_modes_and_the_owner_minus_one_are_refused() {
        let of = |mode, owner| KeptPath { path: b"a".to_vec(), kind: KeptKind::Directory { mode, owner } };
        for wrong in
            [of(0o1777, None), of(0o4755, None), of(0o755, Some((u32::MAX, 0))), of(0o755, Some((0, u32::MAX)))]
        {
            assert!(check(std::slice::from_ref(&wrong)).is_err(), "{wrong:?}");
            assert!(KeptPath::decode(&wrong.encode()).is_err(), "{wrong:?}");
        }
        for fine in [of(0o777, None), of(0, Some((0, 7))), kept(b"a/b")] {
            assert_eq!(KeptPath::decode(&fine.encode()), Ok(fine));
        }
    }
}
