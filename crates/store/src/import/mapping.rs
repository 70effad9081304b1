//! Owners and modes that are published as something else than they are here.

use std::collections::BTreeMap;

/// What of a tree's owners and modes is published as something else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    /// What owners become.
    pub users: BTreeMap<u32, u32>,
    /// What groups become.
    pub groups: BTreeMap<u32, u32>,
    /// Whether all others become root's, since whoever publishes cannot say who they are on other machines.
    pub others_are_root: bool,
    /// What becomes of modes, one after the other.
    pub modes: Vec<ModeChange>,
}

/// A change of modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    /// Of what.
    pub of: Kinds,
    /// The bits that stay as they are.
    pub keep: u16,
    /// Bits that are set.
    pub set: u16,
    /// Bits that are set where somebody may execute, and on directories.
    pub set_if_executable: u16,
}

/// Which entries are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// All.
    All,
    /// Directories.
    Directories,
    /// Regular files.
    Files,
}

/// Reading, writing and executing, of owner, group and others: what a release carries of a mode.
const CARRIED: u16 = 0o777;

impl Mapping {
    /// Whether it says anything of owners or groups.
    pub fn has_owners(&self) -> bool {
        !self.users.is_empty() || !self.groups.is_empty()
    }

    pub(super) fn owner(&self, uid: u32, gid: u32) -> (u32, u32) {
        let others = |id| if self.others_are_root { 0 } else { id };
        let of = |known: &BTreeMap<u32, u32>, id| known.get(&id).copied().unwrap_or_else(|| others(id));
        (of(&self.users, uid), of(&self.groups, gid))
    }

    pub(super) fn mode(&self, mode: u16, is_directory: bool) -> u16 {
        let concerns = |change: &&ModeChange| match change.of {
            Kinds::All => true,
            Kinds::Directories => is_directory,
            Kinds::Files => !is_directory,
        };
        self.modes.iter().filter(concerns).fold(mode, |mode, change| {
            let is_executable = is_directory || mode & 0o111 != 0;
            let more = if is_executable { change.set_if_executable } else { 0 };
            mode & (change.keep | !CARRIED) | (change.set | more) & CARRIED
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_that_are_not_named_stay_or_become_roots() {
        let named = Mapping { users: [(1000, 33)].into(), groups: [(7, 8), (33, 7)].into(), ..Mapping::default() };
        assert_eq!(named.owner(1000, 7), (33, 8));
        assert_eq!(named.owner(33, 33), (33, 7), "once, not again and again");
        assert_eq!(named.owner(1, 1), (1, 1));
        assert_eq!(Mapping { others_are_root: true, ..named }.owner(1, 7), (0, 8));
    }

    #[test]
    fn modes_change_in_order_for_what_is_meant() {
        let change = |of, keep, set, set_if_executable| ModeChange { of, keep, set, set_if_executable };
        let of = |modes: &[ModeChange]| Mapping { modes: modes.to_vec(), ..Mapping::default() };
        let read = of(&[change(Kinds::All, 0o770, 0, 0), change(Kinds::All, 0o777, 0o040, 0o010)]);
        assert_eq!([read.mode(0o755, false), read.mode(0o604, false), read.mode(0o700, true)], [0o750, 0o640, 0o750]);
        let exact = of(&[change(Kinds::Directories, 0, 0o750, 0), change(Kinds::Files, 0, 0o640, 0)]);
        assert_eq!([exact.mode(0o777, true), exact.mode(0o777, false)], [0o750, 0o640]);
        assert_eq!(of(&[change(Kinds::All, 0, 0o7777, 0o7000)]).mode(0, false), 0o777, "special bits are never made");
        assert_eq!(of(&[]).mode(0o604, false), 0o604);
    }
}
