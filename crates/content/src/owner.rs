//! To whom a release belongs on the nodes: a user and a group by their names there, which each node looks up for itself.
//!
//! Numbers of one machine are somebody else's on another; a name is either known on a node or it is not, and then the node says so.

use crate::encoding::{Decoder, Encode, Encoder, Malformed, require};
use std::fmt;
use std::str::FromStr;

/// A user and a group, by name or by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user: a name, or digits that are taken as the number.
    pub user: String,
    /// The group, likewise; the user's own when absent, which a user by number has not.
    pub group: Option<String>,
}

impl Owner {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 64;

    /// The number that a name is, if it is one.
    pub fn number(name: &str) -> Option<u32> {
        name.parse().ok().filter(|number| *number != u32::MAX)
    }

    pub(crate) fn check(&self) -> Result<(), Malformed> {
        check_name(&self.user)?;
        self.group.as_deref().map_or(Ok(()), check_name)?;
        let has_group = self.group.is_some() || !is_digits(&self.user);
        require(has_group, Self::WHAT, "a user by number has no group of its own: say UID:GID")
    }
}

fn is_digits(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_name(name: &str) -> Result<(), Malformed> {
    let rule = |fine, why| require(fine, Owner::WHAT, why);
    rule((1..=Owner::MAX_NAME).contains(&name.len()), "a name is empty, or has more than 64 bytes")?;
    rule(!name.starts_with('-'), "a name begins with `-`")?;
    let fine = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b':' | b'/' | b',');
    rule(name.bytes().all(fine), "a name has a space, `:`, `/`, `,` or something that is not ASCII")?;
    rule(!is_digits(name) || Owner::number(name).is_some(), "there is no user or group of that number")
}

impl FromStr for Owner {
    type Err = Malformed;

    /// `USER` or `USER:GROUP`.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group.to_owned())));
        let owner = Self { user: user.to_owned(), group };
        owner.check().map(|()| owner)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "{}:{group}", self.user),
            None => f.write_str(&self.user),
        }
    }
}

impl Encode for Owner {
    const WHAT: &'static str = "owner";

    fn put(&self, to: &mut Encoder) {
        to.text(&self.user).text(self.group.as_deref().unwrap_or_default());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let user = from.text("a user", Self::MAX_NAME)?;
        let group = Some(from.text("a group", Self::MAX_NAME)?).filter(|group| !group.is_empty());
        let owner = Self { user, group };
        owner.check().map(|()| owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_user_and_maybe_a_group() {
        for text in ["app", "app:www-data", "33:33", "app:7", "DOM\\web$", "_x.y@realm"] {
            let owner: Owner = text.parse().expect(text);
            assert_eq!(owner.to_string(), text);
            assert_eq!(Owner::decode(&owner.encode()), Ok(owner));
        }
        for wrong in
            ["", ":", "app:", ":app", "a b", "a:b:c", "-u", "33", "4294967295:1", "99999999999:1", "a/b", "ä", "a,b"]
        {
            assert!(wrong.parse::<Owner>().is_err(), "{wrong}");
        }
    }
}
