//! A type for every name, so that no two kinds of id can be confused.

use crate::Digest;
use crate::encoding::{Decoder, Encode, Encoder, Malformed};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

macro_rules! digest_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = crate::digest::BadDigest;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }

        impl Encode for $name {
            const WHAT: &'static str = stringify!($name);

            fn put(&self, to: &mut Encoder) {
                self.0.put(to);
            }

            fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
                from.value().map($name)
            }
        }
    )*};
}

digest_ids! {
    /// A fleet: the digest of the payload of its first trust root.
    FleetId;
    /// A node: the digest of the public key (DER SubjectPublicKeyInfo) of its certificate.
    NodeId;
    /// An operator's or root key: the digest of its 32 public bytes.
    KeyId;
    /// A release: the digest of its signed payload bytes.
    ReleaseId;
    /// An order: the digest of its signed payload bytes.
    OrderId;
    /// A content: the digest of the root page of its blob.
    ContentId;
    /// A join token: the digest of its public half; the secret half is never an id.
    TokenId;
}

/// A name that breaks the rule it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?}: 1 to 64 of a-z 0-9 . _ - are allowed, starting with a letter or digit")]
pub struct BadName {
    what: &'static str,
    name: String,
}

/// The longest application name or label, in bytes.
const MAX_NAME: usize = 64;

fn checked(what: &'static str, name: &str) -> Result<String, BadName> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fine = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|c| plain(c) || b"._-".contains(&c))
        && name.bytes().next().is_some_and(plain);
    if fine { Ok(name.to_owned()) } else { Err(BadName { what, name: name.chars().take(80).collect() }) }
}

/// The name of an application: 1 to 64 of `a-z 0-9 . _ -`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(String);

impl AppName {
    /// Checks and takes a name.
    pub fn new(name: &str) -> Result<Self, BadName> {
        checked("application name", name).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Encode for AppName {
    const WHAT: &'static str = "application name";

    fn put(&self, to: &mut Encoder) {
        to.text(&self.0);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let name = from.text("a name", MAX_NAME)?;
        Self::new(&name).map_err(|bad| from.wrong(bad.to_string()))
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key or value of a label: the same rule as [`AppName`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// Checks and takes a label's key or value.
    pub fn new(text: &str) -> Result<Self, BadName> {
        checked("label", text).map(Self)
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Encode for Label {
    const WHAT: &'static str = "label";

    fn put(&self, to: &mut Encoder) {
        to.text(&self.0);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let text = from.text("a label", MAX_NAME)?;
        Self::new(&text).map_err(|bad| from.wrong(bad.to_string()))
    }
}

/// What is said of a node: role, rack, zone and free ones.
pub type Labels = BTreeMap<Label, Label>;

/// How many labels a node may have.
const MAX_LABELS: usize = 32;

impl Encode for Labels {
    const WHAT: &'static str = "labels";

    fn put(&self, to: &mut Encoder) {
        to.count(self.len());
        self.iter().for_each(|(key, value)| {
            to.value(key).value(value);
        });
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let mut labels = Self::new();
        for _ in 0..from.count("the number of labels", MAX_LABELS, 4)? {
            let key = from.value()?;
            if labels.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(from.wrong("labels do not rise by key"));
            }
            labels.insert(key, from.value()?);
        }
        Ok(labels)
    }
}

/// What a certificate lets its holder be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Receives and deploys.
    Agent,
    /// Holds the truth of its datacenter, accepts pushes.
    Origin,
    /// A person's or a pipeline's command line: publishes and gives orders.
    Operator,
}

impl Encode for Role {
    const WHAT: &'static str = "role";

    fn put(&self, to: &mut Encoder) {
        to.byte(match self {
            Self::Agent => 1,
            Self::Origin => 2,
            Self::Operator => 3,
        });
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            1 => Ok(Self::Agent),
            2 => Ok(Self::Origin),
            3 => Ok(Self::Operator),
            other => Err(from.wrong(format!("there is no role {other}"))),
        }
    }
}

/// Seconds since 1970-01-01 UTC, by some wall clock; never used for order, only for expiry and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(pub u64);

impl Encode for UnixTime {
    const WHAT: &'static str = "time";

    fn put(&self, to: &mut Encoder) {
        to.number(self.0);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.number().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "web", "7", "a.b_c-d", &"x".repeat(64)] {
            assert!(AppName::new(good).is_ok() && Label::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "_a", "Web", "a b", "a/b", "é", "a\0", &"x".repeat(65)] {
            assert!(AppName::new(bad).is_err() && Label::new(bad).is_err(), "{bad}");
            let encoded = {
                let mut to = Encoder::new();
                to.text(bad);
                to.finish()
            };
            assert!(<AppName as Encode>::decode(&encoded).is_err() && <Label as Encode>::decode(&encoded).is_err());
        }
    }

    #[test]
    fn labels_rise_by_key_and_are_few() {
        let label = |text: &str| Label::new(text).expect("a plain label");
        let labels: Labels = (10..10 + MAX_LABELS).map(|n| (label(&n.to_string()), label("v"))).collect();
        assert_eq!(Labels::decode(&labels.encode()), Ok(labels.clone()));
        let more: Labels = labels.into_iter().chain([(label("z"), label("v"))]).collect();
        assert!(Labels::decode(&more.encode()).is_err());
        for keys in [["b", "a"], ["a", "a"]] {
            let mut to = Encoder::new();
            to.count(2);
            keys.iter().for_each(|key| {
                to.text(key).text("v");
            });
            assert!(Labels::decode(&to.finish()).is_err(), "{keys:?}");
        }
    }
}
