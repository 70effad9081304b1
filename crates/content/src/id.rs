//! A type for every name, so that no two kinds of id can be confused.

use crate::Digest;
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

fn checked(what: &'static str, name: &str) -> Result<String, BadName> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fine = (1..=64).contains(&name.len())
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

/// What is said of a node: role, rack, zone and free ones.
pub type Labels = BTreeMap<Label, Label>;

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

/// Seconds since 1970-01-01 UTC, by some wall clock; never used for order, only for expiry and for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(pub u64);
