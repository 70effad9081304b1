//! The trust root: which keys may say what, signed by the fleet's root keys.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, check_text, require};
use crate::sign::NotBelieved;
use crate::{FleetId, KeyId, PayloadKind, PublicKey, Signed, UnixTime};
use std::collections::BTreeSet;

/// The signed statement that names the fleet's keys. Its first version's payload digest is the [`crate::FleetId`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Rises by exactly one with each rotation; the first is 1.
    pub version: u64,
    /// Sixteen random bytes that make every fleet another one; a rotation keeps them.
    pub nonce: [u8; 16],
    /// When it was made.
    pub created: UnixTime,
    /// The keys that may sign the next root.
    pub root_keys: Vec<PublicKey>,
    /// How many of them must.
    pub root_threshold: u8,
    /// The keys that may sign releases and orders.
    pub operators: Vec<Operator>,
    /// How many of them must sign a release or an order.
    pub operator_threshold: u8,
}

/// An operator: a name for people and a key for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who it is, as `status` prints it; 1 to 64 bytes of UTF-8 without control characters.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// Why a signed root is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRoot {
    /// Too few of the keys that must sign it have.
    #[error("the trust root is not believed: {0}")]
    NotBelieved(#[from] NotBelieved),
    /// Its payload is no root.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Versions rise by exactly one.
    #[error("the trust root has version {found}, and version {wanted} is next")]
    WrongVersion {
        /// The version that comes next.
        wanted: u64,
        /// The version found.
        found: u64,
    },
    /// The root of some other fleet, even if the same keys have signed it.
    #[error("the trust root belongs to another fleet")]
    OtherFleet,
}

impl Root {
    /// How many root keys there may be.
    pub const MAX_ROOT_KEYS: usize = 16;
    /// How many operators there may be.
    pub const MAX_OPERATORS: usize = 256;
    /// The longest operator's name, in bytes.
    pub const MAX_NAME: usize = 64;

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }

    /// Refuses a root that no one may make; whoever makes one asks before signing, decoding asks by itself.
    pub fn check(&self) -> Result<(), Malformed> {
        let rule = |fine, why| require(fine, Self::WHAT, why);
        rule(self.version >= 1, "the first version is 1")?;
        rule(self.root_keys.len() <= Self::MAX_ROOT_KEYS, "it has more than 16 root keys")?;
        rule(self.operators.len() <= Self::MAX_OPERATORS, "it has more than 256 operators")?;
        check_keys("root", &self.root_keys, self.root_threshold)?;
        check_keys("operator", &self.operator_keys(), self.operator_threshold)?;
        for operator in &self.operators {
            check_text(Self::WHAT, "an operator's name", &operator.name, Self::MAX_NAME)?;
            rule(!operator.name.is_empty(), "an operator has no name")?;
        }
        let names: BTreeSet<&str> = self.operators.iter().map(|operator| operator.name.as_str()).collect();
        rule(names.len() == self.operators.len(), "two operators have the same name")
    }

    /// The first root of a fleet and the fleet's id, which is the digest of exactly these bytes: version 1, signed by
    /// its own root keys. Whether it is the right fleet's is for the caller to compare.
    pub fn verify_first(signed: &Signed) -> Result<(FleetId, Self), BadRoot> {
        let root = Self::decode(&signed.payload)?;
        root.require_signed_by_its_keys(signed)?;
        match root.version {
            1 => Ok((FleetId(signed.payload_digest()), root)),
            found => Err(BadRoot::WrongVersion { wanted: 1, found }),
        }
    }

    /// The root that follows this one: its version is one higher, and the thresholds of both have signed it.
    pub fn verify_next(&self, signed: &Signed) -> Result<Self, BadRoot> {
        self.require_signed_by_its_keys(signed)?;
        let next = Self::decode(&signed.payload)?;
        next.require_signed_by_its_keys(signed)?;
        if Some(next.version) != self.version.checked_add(1) {
            return Err(BadRoot::WrongVersion { wanted: self.version.saturating_add(1), found: next.version });
        }
        if next.nonce == self.nonce { Ok(next) } else { Err(BadRoot::OtherFleet) }
    }

    fn require_signed_by_its_keys(&self, signed: &Signed) -> Result<(), NotBelieved> {
        signed.verify(PayloadKind::Root, &self.root_keys, self.root_threshold.into()).map(drop)
    }

    /// The operators' keys.
    pub fn operator_keys(&self) -> Vec<PublicKey> {
        self.operators.iter().map(|operator| operator.key).collect()
    }

    /// The operator's name that belongs to a key.
    pub fn operator_name(&self, key: KeyId) -> Option<&str> {
        self.operators.iter().find(|operator| operator.key.id() == key).map(|operator| operator.name.as_str())
    }
}

/// At least one key, none of them twice, and a threshold that can be met.
fn check_keys(whose: &str, keys: &[PublicKey], threshold: u8) -> Result<(), Malformed> {
    let distinct: BTreeSet<KeyId> = keys.iter().map(PublicKey::id).collect();
    if distinct.len() != keys.len() {
        return Err(Malformed::new(Root::WHAT, format!("the same {whose} key stands there twice")));
    }
    if (1..=keys.len()).contains(&threshold.into()) {
        return Ok(());
    }
    Err(Malformed::new(Root::WHAT, format!("{threshold} of {} {whose} keys cannot be a threshold", keys.len())))
}

impl Encode for Operator {
    const WHAT: &'static str = "operator";

    fn put(&self, to: &mut Encoder) {
        to.text(&self.name).value(&self.key);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { name: from.text("an operator's name", Root::MAX_NAME)?, key: from.value()? })
    }
}

impl Encode for Root {
    const WHAT: &'static str = "trust root";

    fn put(&self, to: &mut Encoder) {
        to.header(Document::Root).number(self.version).raw(&self.nonce).value(&self.created);
        to.list(self.root_keys.iter()).byte(self.root_threshold);
        to.list(self.operators.iter()).byte(self.operator_threshold);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.header(Document::Root)?;
        let root = Self {
            version: from.number()?,
            nonce: from.array()?,
            created: from.value()?,
            root_keys: from.list("the number of root keys", Self::MAX_ROOT_KEYS, 32)?,
            root_threshold: from.byte()?,
            operators: from.list("the number of operators", Self::MAX_OPERATORS, 34)?,
            operator_threshold: from.byte()?,
        };
        root.check()?;
        Ok(root)
    }
}
