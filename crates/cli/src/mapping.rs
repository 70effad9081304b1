//! Flags that say what owners and modes of a tree become: `1000=33`, `1000:1000=33:33`, `o-rwx`, `D750,F640`.

use clap::Args;
use node::publish::{Kinds, Mapping, ModeChange};

const HOW_OWNERS: &str = "write UID=UID, UID:GID=UID:GID or :GID=:GID, with numbers: 1000=33";
const HOW_MODES: &str =
    "write what chmod takes, with D or F before it for directories or files alone: o-rwx, g=rX, D750,F640";

/// What an owner, a group, or both become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnerChange {
    user: Option<(u32, u32)>,
    group: Option<(u32, u32)>,
}

/// A user, a group, or both, by number.
fn ids(text: &str) -> Option<(Option<u32>, Option<u32>)> {
    let id = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
    match text.split_once(':') {
        None => Some((Some(id(text)?), None)),
        Some(("", group)) => Some((None, Some(id(group)?))),
        Some((user, group)) => Some((Some(id(user)?), Some(id(group)?))),
    }
}

/// What an owner becomes.
pub(crate) fn owner_change(text: &str) -> Result<OwnerChange, String> {
    let (from, to) = text.split_once('=').ok_or(HOW_OWNERS)?;
    let ((from_user, from_group), (to_user, to_group)) = ids(from).zip(ids(to)).ok_or(HOW_OWNERS)?;
    match from_user.is_some() == to_user.is_some() && from_group.is_some() == to_group.is_some() {
        true => Ok(OwnerChange { user: from_user.zip(to_user), group: from_group.zip(to_group) }),
        false => Err(HOW_OWNERS.to_owned()),
    }
}

/// Changes of modes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModeChanges(Vec<ModeChange>);

/// What modes become, as for chmod.
pub(crate) fn mode_changes(text: &str) -> Result<ModeChanges, String> {
    Ok(ModeChanges(text.split(',').map(mode_change).collect::<Option<_>>().ok_or(HOW_MODES)?))
}

fn mode_change(text: &str) -> Option<ModeChange> {
    let (of, rest) = match text.as_bytes().first()? {
        b'D' => (Kinds::Directories, &text[1..]),
        b'F' => (Kinds::Files, &text[1..]),
        _ => (Kinds::All, text),
    };
    if rest.bytes().all(|byte| byte.is_ascii_digit()) {
        let set = u16::from_str_radix(rest, 8).ok().filter(|mode| *mode <= 0o777)?;
        return Some(ModeChange { of, keep: 0, set, set_if_executable: 0 });
    }
    let (who, how) = rest.split_at(rest.find(['+', '-', '='])?);
    let whose = who.bytes().try_fold(0, |bits, byte| Some(bits | places(byte)?))?;
    let whose = if who.is_empty() { 0o111 } else { whose };
    let (does, what) = how.split_at(1);
    let (mut plain, mut if_executable) = (0, 0);
    for byte in what.bytes() {
        match byte {
            b'r' => plain |= 4 * whose,
            b'w' => plain |= 2 * whose,
            b'x' => plain |= whose,
            b'X' => if_executable |= whose,
            _ => return None,
        }
    }
    let (keep, set, set_if_executable) = match does {
        "+" => (0o777, plain, if_executable),
        "=" => (!(7 * whose), plain, if_executable),
        _ => (!(plain | if_executable), 0, 0),
    };
    Some(ModeChange { of, keep, set, set_if_executable })
}

/// The lowest bit of those whom a letter means.
fn places(letter: u8) -> Option<u16> {
    match letter {
        b'u' => Some(0o100),
        b'g' => Some(0o010),
        b'o' => Some(0o001),
        b'a' => Some(0o111),
        _ => None,
    }
}

/// All of it.
pub(crate) fn mapping(owners: &[OwnerChange], modes: &[ModeChanges]) -> Mapping {
    Mapping {
        users: owners.iter().filter_map(|change| change.user).collect(),
        groups: owners.iter().filter_map(|change| change.group).collect(),
        modes: modes.iter().flat_map(|changes| changes.0.iter().copied()).collect(),
        ..Mapping::default()
    }
}

/// What owners and modes of a tree become when it is read.
#[derive(Debug, Args)]
pub(crate) struct Mapped {
    /// What one owner or group of the tree becomes: 1000=33, 1000:1000=33:33, :50=:33, in numbers; may be given several times. The others stay as
    /// they are when root deploys, and become root's else
    #[arg(long, value_name = "FROM=TO", value_parser = owner_change)]
    map_owner: Vec<OwnerChange>,
    /// What modes of the tree become, as for chmod, with D or F before it for directories or files alone: o-rwx, g=rX, D750,F640
    #[arg(long, value_name = "MODES", value_parser = mode_changes)]
    chmod: Vec<ModeChanges>,
}

impl Mapped {
    /// All of it together.
    pub(crate) fn mapping(&self) -> Mapping {
        mapping(&self.map_owner, &self.chmod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_named_by_numbers_on_both_sides() {
        let change = |user, group| Ok(OwnerChange { user, group });
        assert_eq!(owner_change("1000=33"), change(Some((1000, 33)), None));
        assert_eq!(owner_change("1000:1001=33:34"), change(Some((1000, 33)), Some((1001, 34))));
        assert_eq!(owner_change(":5=:0"), change(None, Some((5, 0))));
        for wrong in
            ["", "1", "1=", "=1", "1=a", "www-data=33", "1=2:3", "1:2=3", ":=:", "1=4294967295", "1=-1", "1=2=3"]
        {
            assert_eq!(owner_change(wrong), Err(HOW_OWNERS.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn modes_are_written_as_for_chmod() {
        let change = |of, keep, set, set_if_executable| ModeChange { of, keep, set, set_if_executable };
        let read = |text| mode_changes(text).map(|changes| changes.0);
        assert_eq!(read("o-rwx"), Ok(vec![change(Kinds::All, !0o007, 0, 0)]));
        assert_eq!(read("g=rX"), Ok(vec![change(Kinds::All, !0o070, 0o040, 0o010)]));
        assert_eq!(read("Fug+w"), Ok(vec![change(Kinds::Files, 0o777, 0o220, 0)]));
        assert_eq!(read("+X,a-x"), Ok(vec![change(Kinds::All, 0o777, 0, 0o111), change(Kinds::All, !0o111, 0, 0)]));
        let exact = vec![change(Kinds::Directories, 0, 0o750, 0), change(Kinds::Files, 0, 0o640, 0)];
        assert_eq!(read("D750,F640"), Ok(exact));
        for wrong in ["", "D", "u", "rwx", "1777", "888", "u+s", "o+t", "z+r", "750,", "é=r", "u+é"] {
            assert_eq!(read(wrong), Err(HOW_MODES.to_owned()), "{wrong}");
        }
    }
}
