//! The trust root: which keys may say what, signed by the fleet's root keys.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, check_text, require};
use crate::sign::NotBelieved;
use crate::{Directive, FleetId, KeyId, Order, PayloadKind, PublicKey, Release, Signed, UnixTime};
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

    /// The release of a signed document, once enough operators have signed it and it is for `fleet`, whose root this is.
    pub fn verify_release(&self, fleet: FleetId, signed: &Signed) -> Result<Release, Refused> {
        let release = Release::decode(self.verify_payload(PayloadKind::Release, signed)?)?;
        require_fleet(fleet, release.fleet).map(|()| release)
    }

    /// The order of a signed document, once enough operators have signed it and it is for `fleet`, whose root this is.
    /// Whether its epoch is high enough is for the caller, who remembers the floor, to compare.
    pub fn verify_order(&self, fleet: FleetId, signed: &Signed) -> Result<Order, Refused> {
        let order = Order::decode(self.verify_payload(PayloadKind::Order, signed)?)?;
        require_fleet(fleet, order.fleet).map(|()| order)
    }

    /// The directive of a signed document, once enough operators have signed it and it is for `fleet`, whose root this is.
    pub fn verify_directive(&self, fleet: FleetId, signed: &Signed) -> Result<Directive, Refused> {
        let directive = Directive::decode(self.verify_payload(PayloadKind::Directive, signed)?)?;
        require_fleet(fleet, directive.fleet).map(|()| directive)
    }

    fn verify_payload<'a>(&self, kind: PayloadKind, signed: &'a Signed) -> Result<&'a [u8], NotBelieved> {
        signed.verify(kind, &self.operator_keys(), self.operator_threshold.into())
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

/// Why a signed release or order is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too few operators have signed it.
    #[error("it is not believed: {0}")]
    NotBelieved(#[from] NotBelieved),
    /// Its payload is not what it should be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is meant for another fleet.
    #[error("it is for fleet {found}, and this is fleet {here}")]
    OtherFleet {
        /// The fleet that was asked.
        here: FleetId,
        /// The fleet it is for.
        found: FleetId,
    },
}

fn require_fleet(here: FleetId, found: FleetId) -> Result<(), Refused> {
    if here == found { Ok(()) } else { Err(Refused::OtherFleet { here, found }) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Wave;
    use crate::{AppName, Digest, ReleaseId, SigningKey};

    fn key(n: u8) -> SigningKey {
        SigningKey::from_secret(&[n; 32])
    }

    fn publics(keys: &[u8]) -> Vec<PublicKey> {
        keys.iter().map(|&n| key(n).public()).collect()
    }

    /// Root keys 1 2 3 with threshold 2, operators 4 and 5 with threshold 1.
    fn root() -> Root {
        let operator = |n: u8| Operator { name: format!("operator {n}"), key: key(n).public() };
        Root {
            version: 1,
            nonce: [7; 16],
            created: UnixTime(1_700_000_000),
            root_keys: publics(&[1, 2, 3]),
            root_threshold: 2,
            operators: vec![operator(4), operator(5)],
            operator_threshold: 1,
        }
    }

    fn signed(root: &Root, keys: &[u8]) -> Signed {
        let mut signed = Signed { kind: PayloadKind::Root, payload: root.encode(), signatures: Vec::new() };
        keys.iter().for_each(|&n| key(n).co_sign(&mut signed));
        signed
    }

    fn order(fleet: FleetId) -> Order {
        Order {
            fleet,
            app: AppName::new("web").expect("a plain name"),
            epoch: 1,
            release: ReleaseId(Digest::of(b"release")),
            fallback: None,
            selector: crate::Selector::default(),
            unreachable: crate::order::Unreachable::Skip,
            waves: vec![Wave::PerMille(1000)],
            budget: 0,
            created: UnixTime(0),
            message: String::new(),
        }
    }

    #[test]
    fn the_first_root_names_its_fleet_and_its_operators() {
        let document = signed(&root(), &[1, 3]);
        let (fleet, first) = Root::verify_first(&document).expect("two of three have signed");
        assert_eq!((fleet.0, &first), (document.payload_digest(), &root()));
        assert_eq!(first.operator_name(key(5).public().id()), Some("operator 5"));
        assert_eq!(first.operator_name(key(1).public().id()), None);
        assert!(matches!(Root::verify_first(&signed(&root(), &[1])), Err(BadRoot::NotBelieved(_))));
        assert!(matches!(Root::verify_first(&signed(&root(), &[4, 5])), Err(BadRoot::NotBelieved(_))));
        let second = Root { version: 2, ..root() };
        let wrong = BadRoot::WrongVersion { wanted: 1, found: 2 };
        assert_eq!(Root::verify_first(&signed(&second, &[1, 2])), Err(wrong));
    }

    #[test]
    fn g1_only_operators_sign_orders() {
        let (fleet, root) = Root::verify_first(&signed(&root(), &[1, 2])).expect("signed");
        let payload = order(fleet).encode();
        assert_eq!(root.verify_order(fleet, &key(4).sign(PayloadKind::Order, payload.clone())), Ok(order(fleet)));
        for stranger in [1, 9] {
            let order = key(stranger).sign(PayloadKind::Order, payload.clone());
            assert!(matches!(root.verify_order(fleet, &order), Err(Refused::NotBelieved(_))), "key {stranger}");
        }
        let garbage = key(4).sign(PayloadKind::Order, b"tdgO".to_vec());
        assert!(matches!(root.verify_order(fleet, &garbage), Err(Refused::Malformed(_))));
    }

    #[test]
    fn g8_keys_and_names_are_distinct_and_thresholds_can_be_met() {
        let refused = |why: &str, change: &dyn Fn(&mut Root)| {
            let mut bad = root();
            change(&mut bad);
            let error = Root::decode(&bad.encode()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        };
        assert_eq!(Root::decode(&root().encode()), Ok(root()));
        refused("the same root key", &|root| root.root_keys[2] = root.root_keys[0]);
        refused("the same operator key", &|root| root.operators[1].key = root.operators[0].key);
        refused("the same name", &|root| root.operators[1].name = root.operators[0].name.clone());
        refused("0 of 3 root keys", &|root| root.root_threshold = 0);
        refused("4 of 3 root keys", &|root| root.root_threshold = 4);
        refused("0 of 2 operator keys", &|root| root.operator_threshold = 0);
        refused("3 of 2 operator keys", &|root| root.operator_threshold = 3);
        refused("1 of 0 operator keys", &|root| (root.operators, root.operator_threshold) = (Vec::new(), 1));
        refused("2 of 0 root keys", &|root| root.root_keys.clear());
        refused("first version", &|root| root.version = 0);
        refused("no name", &|root| root.operators[0].name.clear());
        refused("U+001B", &|root| root.operators[0].name = "\u{1b}[2J".to_owned());
        refused("root keys", &|root| root.root_keys = (0..17).map(|n| key(100 + n).public()).collect());
    }

    #[test]
    fn g9_a_rotation_takes_the_next_version_and_both_thresholds() {
        let now = root();
        let next = Root { version: 2, root_keys: publics(&[3, 6, 7]), ..root() };
        assert_eq!(now.verify_next(&signed(&next, &[1, 2, 6, 7])), Ok(next.clone()));
        assert_eq!(now.verify_next(&signed(&next, &[1, 3, 6])), Ok(next.clone()), "a key of both counts for both");
        for only in [&[6, 7][..], &[1, 2], &[1, 6, 7], &[1, 2, 7], &[4, 5], &[]] {
            assert!(matches!(now.verify_next(&signed(&next, only)), Err(BadRoot::NotBelieved(_))), "{only:?}");
        }
        for version in [1, 3, u64::MAX] {
            let other = Root { version, ..next.clone() };
            let wrong = BadRoot::WrongVersion { wanted: 2, found: version };
            assert_eq!(now.verify_next(&signed(&other, &[1, 2, 6, 7])), Err(wrong));
        }
        let last = Root { version: u64::MAX, ..root() };
        assert!(last.verify_next(&signed(&last, &[1, 2])).is_err(), "no version follows the last");
    }

    #[test]
    fn g16_what_is_meant_for_another_fleet_is_refused() {
        let (fleet, root) = Root::verify_first(&signed(&root(), &[1, 2])).expect("signed");
        let other = FleetId(Digest::of(b"another"));
        let document = key(4).sign(PayloadKind::Order, order(other).encode());
        let refused = Refused::OtherFleet { here: fleet, found: other };
        assert_eq!(root.verify_order(fleet, &document), Err(refused));
        let next = Root { version: 2, nonce: [8; 16], ..root.clone() };
        assert_eq!(root.verify_next(&signed(&next, &[1, 2])), Err(BadRoot::OtherFleet), "same keys, another fleet");
    }
}
