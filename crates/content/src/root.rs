//! The trust root: which keys may say what, signed by the fleet's root keys.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, check_text, require};
use crate::sign::NotBelieved;
use crate::{
    Act, AppName, Directive, FleetId, KeyId, Order, PayloadKind, Powers, PublicKey, Release, Selector, Signed, UnixTime,
};
use std::collections::BTreeSet;

/// The version in which every operator may do everything, which older programs read; the one that says what each may; and the newest,
/// which names the CAs as well.
const PLAIN: u8 = 1;
const POWERS: u8 = 2;
const NEWEST: u8 = 3;

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
    /// The certificates (DER) of the CAs that say who may talk; the last of them makes certificates. None: the one that a join line pinned.
    pub authorities: Vec<Vec<u8>>,
}

/// An operator: a name for people and a key for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who it is, as `status` prints it; 1 to 64 bytes of UTF-8 without control characters.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// What may be done with it.
    pub powers: Powers,
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
    /// A root that names CAs is followed by one that does: what was given up by name does not come back by silence.
    #[error("the trust root names no CA, and the one before it does")]
    NoAuthority,
}

impl Root {
    /// How many root keys there may be.
    pub const MAX_ROOT_KEYS: usize = 16;
    /// How many operators there may be.
    pub const MAX_OPERATORS: usize = 256;
    /// The longest operator's name, in bytes.
    pub const MAX_NAME: usize = 64;
    /// How many CAs it may name.
    pub const MAX_AUTHORITIES: usize = 4;
    /// The longest certificate of a CA, in bytes.
    pub const MAX_CERTIFICATE: usize = 2048;

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
            operator.powers.check()?;
        }
        let keeps_fleet = self.operators.iter().any(|operator| operator.powers.allow(Act::Fleet));
        rule(keeps_fleet, "no operator may change the fleet (power fleet), so nobody ever could again")?;
        let names: BTreeSet<&str> = self.operators.iter().map(|operator| operator.name.as_str()).collect();
        rule(names.len() == self.operators.len(), "two operators have the same name")?;
        rule(self.authorities.len() <= Self::MAX_AUTHORITIES, "it names more than 4 CAs")?;
        let fits = |certificate: &Vec<u8>| (1..=Self::MAX_CERTIFICATE).contains(&certificate.len());
        rule(self.authorities.iter().all(fits), "a CA's certificate is empty or too long")?;
        let distinct: BTreeSet<&Vec<u8>> = self.authorities.iter().collect();
        rule(distinct.len() == self.authorities.len(), "the same CA stands there twice")
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
        match next.nonce == self.nonce {
            true if next.authorities.is_empty() && !self.authorities.is_empty() => Err(BadRoot::NoAuthority),
            true => Ok(next),
            false => Err(BadRoot::OtherFleet),
        }
    }

    /// The release of a signed document, once enough operators have signed it and it is for `fleet`, whose root this is.
    pub fn verify_release(&self, fleet: FleetId, signed: &Signed) -> Result<Release, Refused> {
        let release = Release::decode(self.verify_payload(PayloadKind::Release, signed)?)?;
        require_fleet(fleet, release.fleet)?;
        self.require_power(signed, Act::Deploy, &release.app, None).map(|()| release)
    }

    /// The order of a signed document, once enough operators have signed it and it is for `fleet`, whose root this is.
    /// Whether its epoch is high enough is for the caller, who remembers the floor, to compare.
    pub fn verify_order(&self, fleet: FleetId, signed: &Signed) -> Result<Order, Refused> {
        let order = Order::decode(self.verify_payload(PayloadKind::Order, signed)?)?;
        require_fleet(fleet, order.fleet)?;
        self.require_power(signed, Act::Deploy, &order.app, Some(&order.selector)).map(|()| order)
    }

    /// The directive of a signed document, once enough operators have signed it and it is for `fleet`, whose root this is. Whom the
    /// order selects that it is about, `selects` knows; where it does not, only those count who may do it anywhere.
    pub fn verify_directive(
        &self,
        fleet: FleetId,
        signed: &Signed,
        selects: impl FnOnce(&Directive) -> Option<Selector>,
    ) -> Result<Directive, Refused> {
        let directive = Directive::decode(self.verify_payload(PayloadKind::Directive, signed)?)?;
        require_fleet(fleet, directive.fleet)?;
        let on = selects(&directive).unwrap_or_default();
        self.require_power(signed, Act::Steer, &directive.app, Some(&on)).map(|()| directive)
    }

    /// Whether enough of those who may do this have signed it.
    fn require_power(&self, signed: &Signed, act: Act, app: &AppName, on: Option<&Selector>) -> Result<(), Refused> {
        let may = |operator: &&Operator| operator.powers.cover(act, app, on);
        let keys: Vec<PublicKey> = self.operators.iter().filter(may).map(|operator| operator.key).collect();
        if keys.len() == self.operators.len()
            || signed.verify(signed.kind, &keys, self.operator_threshold.into()).is_ok()
        {
            return Ok(());
        }
        let has_signed = |operator: &&Operator| signed.signatures.iter().any(|of| of.key == operator.key.id());
        let lacking = self.operators.iter().filter(|operator| !may(operator)).filter(has_signed);
        let who = lacking.map(|operator| format!("{} (who may {})", operator.name, operator.powers));
        let on = on.filter(|on| !on.is_everyone()).map(Selector::to_string);
        Err(Refused::Powerless {
            who: who.collect::<Vec<_>>().join(" and "),
            act,
            app: app.clone(),
            on: on.map_or_else(String::new, |on| format!(" on {on}")),
        })
    }

    /// The version of the encoding that says it: the oldest that can.
    fn encoding(&self) -> u8 {
        match self.authorities.is_empty() {
            true if self.operators.iter().all(|operator| operator.powers.are_full()) => PLAIN,
            true => POWERS,
            false => NEWEST,
        }
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

    /// The operator of this name.
    pub fn operator(&self, name: &str) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.name == name)
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
    /// Too few of those who have signed it may do this.
    #[error("{who} may not {act} {app}{on}: the power is missing; an operator who has it must sign")]
    Powerless {
        /// Those who have signed it and may not, and what they may.
        who: String,
        /// What they may not.
        act: Act,
        /// The application.
        app: AppName,
        /// Where, in words; nothing when it is everywhere.
        on: String,
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

/// An operator of whom nothing is said but who it is.
struct Plain<'a>(&'a Operator);

impl Plain<'_> {
    fn put(&self, to: &mut Encoder) {
        to.text(&self.0.name).value(&self.0.key);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Operator, Malformed> {
        let (name, key) = (from.text("an operator's name", Root::MAX_NAME)?, from.value()?);
        Ok(Operator { name, key, powers: Powers::default() })
    }
}

impl Encode for Operator {
    const WHAT: &'static str = "operator";

    fn put(&self, to: &mut Encoder) {
        Plain(self).put(to);
        to.value(&self.powers);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let plain = Plain::take(from)?;
        Ok(Self { powers: from.value()?, ..plain })
    }
}

impl Encode for Root {
    const WHAT: &'static str = "trust root";

    fn put(&self, to: &mut Encoder) {
        let encoding = self.encoding();
        to.header_in(Document::Root, encoding);
        to.number(self.version).raw(&self.nonce).value(&self.created);
        to.list(self.root_keys.iter()).byte(self.root_threshold).count(self.operators.len());
        for operator in &self.operators {
            match encoding {
                PLAIN => Plain(operator).put(to),
                _ => operator.put(to),
            }
        }
        to.byte(self.operator_threshold);
        if encoding == NEWEST {
            to.count(self.authorities.len());
            for certificate in &self.authorities {
                to.bytes(certificate);
            }
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let encoding = from.header_up_to(Document::Root, NEWEST)?;
        let root = Self {
            version: from.number()?,
            nonce: from.array()?,
            created: from.value()?,
            root_keys: from.list("the number of root keys", Self::MAX_ROOT_KEYS, 32)?,
            root_threshold: from.byte()?,
            operators: take_operators(from, encoding)?,
            operator_threshold: from.byte()?,
            authorities: if encoding == NEWEST { take_authorities(from)? } else { Vec::new() },
        };
        // One root has one encoding.
        let due = root.encoding();
        if encoding != due {
            let why = format!("it says no more than version {due} can, and is in version {encoding}");
            return Err(Malformed::new(Self::WHAT, why));
        }
        root.check()?;
        Ok(root)
    }
}

fn take_authorities(from: &mut Decoder<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let count = from.count("the number of CAs", Root::MAX_AUTHORITIES, 2)?;
    (0..count).map(|_| Ok(from.bytes("a CA's certificate", Root::MAX_CERTIFICATE)?.to_vec())).collect()
}

fn take_operators(from: &mut Decoder<'_>, encoding: u8) -> Result<Vec<Operator>, Malformed> {
    let name = "the number of operators";
    if encoding != PLAIN {
        return from.list(name, Root::MAX_OPERATORS, 37);
    }
    let count = from.count(name, Root::MAX_OPERATORS, 34)?;
    (0..count).map(|_| Plain::take(from)).collect()
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
        let operator =
            |n: u8| Operator { name: format!("operator {n}"), key: key(n).public(), powers: Powers::default() };
        Root {
            version: 1,
            nonce: [7; 16],
            created: UnixTime(1_700_000_000),
            root_keys: publics(&[1, 2, 3]),
            root_threshold: 2,
            operators: vec![operator(4), operator(5)],
            operator_threshold: 1,
            authorities: Vec::new(),
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
            restraint: crate::order::Restraint::default(),
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
    fn g7_fewer_keys_than_the_threshold_sign_nothing() {
        let two = Root { operator_threshold: 2, ..root() };
        let (fleet, two) = Root::verify_first(&signed(&two, &[1, 2])).expect("signed");
        let mut order_by_one = key(4).sign(PayloadKind::Order, order(fleet).encode());
        assert!(matches!(two.verify_order(fleet, &order_by_one), Err(Refused::NotBelieved(_))));
        key(9).co_sign(&mut order_by_one);
        assert!(
            matches!(two.verify_order(fleet, &order_by_one), Err(Refused::NotBelieved(_))),
            "a stranger is no second"
        );
        key(5).co_sign(&mut order_by_one);
        assert_eq!(two.verify_order(fleet, &order_by_one), Ok(order(fleet)));
        let next = Root { version: 2, ..two.clone() };
        assert!(two.verify_next(&signed(&next, &[1])).is_err(), "nor does one root key of two make a root");
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

    /// Operator 4 with every power, operator 5 with these.
    fn bounded(powers: Powers) -> Root {
        let mut root = root();
        root.operators[1].powers = powers;
        root
    }

    fn web() -> AppName {
        AppName::new("web").expect("a plain name")
    }

    fn selecting(text: &str) -> Selector {
        text.parse().expect("a selector")
    }

    #[test]
    fn c4_what_the_first_version_can_say_is_said_in_its_very_bytes() {
        let mut bytes = b"tdgT\x01\x01".to_vec();
        bytes[3] = root().encode()[3];
        bytes.extend([7; 16]);
        // The time as LEB128.
        bytes.extend([0x80, 0xe2, 0xcf, 0xaa, 0x06]);
        bytes.push(3);
        publics(&[1, 2, 3]).iter().for_each(|key| bytes.extend(key.as_bytes()));
        bytes.extend([2, 2]);
        for n in [4, 5] {
            bytes.push(10);
            bytes.extend(format!("operator {n}").as_bytes());
            bytes.extend(key(n).public().as_bytes());
        }
        bytes.push(1);
        assert_eq!(root().encode(), bytes);
    }

    #[test]
    fn powers_are_said_in_the_second_version_and_in_no_other_way() {
        let some = [
            Powers::new(vec![Act::Deploy], vec![web()], Selector::default()),
            Powers::new(vec![Act::Steer, Act::Deploy], Vec::new(), selecting("role=web|db,!old")),
            Powers::new(vec![Act::Fleet], Vec::new(), Selector::default()),
        ];
        for powers in some {
            let root = bounded(powers);
            let bytes = root.encode();
            assert_eq!((bytes[4], Root::decode(&bytes)), (POWERS, Ok(root)));
        }
        // What is full, in the newer form: nobody may say one thing in two ways.
        let mut to = Encoder::new();
        let full = root();
        to.header_in(Document::Root, POWERS).number(full.version).raw(&full.nonce).value(&full.created);
        to.list(full.root_keys.iter()).byte(2).list(full.operators.iter()).byte(1);
        let error = Root::decode(&to.finish()).expect_err("two encodings").to_string();
        assert!(error.contains("no more than version 1 can"), "{error}");
        let mut newer = full.encode();
        newer[4] = NEWEST + 1;
        assert!(Root::decode(&newer).expect_err("a newer one").is_newer);
    }

    /// A root that names CAs.
    fn naming(authorities: &[&[u8]]) -> Root {
        Root { authorities: authorities.iter().map(|bytes| bytes.to_vec()).collect(), ..root() }
    }

    #[test]
    fn c4_cas_are_said_in_the_third_version_in_its_very_bytes_and_in_no_other_way() {
        let named = naming(&[b"old", b"newer"]);
        let mut to = Encoder::new();
        to.header_in(Document::Root, 3).number(named.version).raw(&named.nonce).value(&named.created);
        to.list(named.root_keys.iter()).byte(2).list(named.operators.iter()).byte(1);
        let mut bytes = to.finish();
        let without = bytes.clone();
        bytes.extend(b"\x02\x03old\x05newer");
        assert_eq!((named.encode(), Root::decode(&bytes)), (bytes.clone(), Ok(named)));
        (0..bytes.len()).for_each(|end| drop(Root::decode(&bytes[..end]).expect_err("it is cut")));
        // None, in the newest form.
        let error = Root::decode(&[&without[..], b"\x00"].concat()).expect_err("two encodings").to_string();
        assert!(error.contains("no more than version 1 can"), "{error}");
        // A program of before says that it is too old, and nothing else.
        bytes[4] = NEWEST + 1;
        assert!(Root::decode(&bytes).expect_err("a newer one").is_newer);
    }

    #[test]
    fn cas_that_no_root_may_name_are_refused() {
        let refused = |why: &str, authorities: &[&[u8]]| {
            let error = Root::decode(&naming(authorities).encode()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        };
        refused("the same CA", &[b"one", b"two", b"one"]);
        refused("empty or too long", &[b"one", b""]);
        refused("certificate", &[&[7; Root::MAX_CERTIFICATE + 1]]);
        refused("the number of CAs", &[b"1", b"2", b"3", b"4", b"5"]);
        assert!(Root::decode(&naming(&[&[7; Root::MAX_CERTIFICATE], b"2", b"3", b"4"]).encode()).is_ok());
    }

    #[test]
    fn h7_a_ca_that_was_given_up_does_not_come_back_by_silence() {
        let both = naming(&[b"old", b"new"]);
        let next = |authorities: &[&[u8]]| signed(&Root { version: 2, ..naming(authorities) }, &[1, 2]);
        assert!(both.verify_next(&next(&[b"new"])).is_ok());
        assert_eq!(both.verify_next(&next(&[])), Err(BadRoot::NoAuthority));
        assert!(root().verify_next(&next(&[])).is_ok(), "who never named one need not begin");
        let thief = signed(&Root { version: 2, ..naming(&[b"thief"]) }, &[4, 5]);
        assert!(matches!(both.verify_next(&thief), Err(BadRoot::NotBelieved(_))), "only root keys name CAs");
    }

    #[test]
    fn powers_that_nobody_may_have_are_refused() {
        let refused = |why: &str, powers: Powers| {
            let error = Root::decode(&bounded(powers).encode()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        };
        refused("it allows nothing", Powers::new(Vec::new(), Vec::new(), Selector::default()));
        let twice = Powers { apps: vec![web(), web()], ..Powers::default() };
        refused("applications do not rise", twice);
        let many = (0..33).map(|n| AppName::new(&format!("app{n:02}")).expect("a name")).collect();
        refused("the number of applications", Powers { apps: many, ..Powers::default() });
        let mut unable = bounded(Powers::new(vec![Act::Deploy], Vec::new(), Selector::default()));
        unable.operators.remove(0);
        let error = Root::decode(&unable.encode()).expect_err("nobody is left").to_string();
        assert!(error.contains("no operator may change the fleet"), "{error}");
    }

    #[test]
    fn g14_a_key_signs_what_its_powers_cover_and_nothing_else() {
        let given = |powers: Powers| {
            let signed = signed(&bounded(powers), &[1, 2]);
            Root::verify_first(&signed).expect("signed")
        };
        let ordered = |powers: &Powers, on: &str, keys: &[u8]| {
            let (fleet, root) = given(powers.clone());
            let order = Order { selector: selecting(on), ..order(fleet) };
            let mut document = Signed { kind: PayloadKind::Order, payload: order.encode(), signatures: Vec::new() };
            keys.iter().for_each(|&n| key(n).co_sign(&mut document));
            root.verify_order(fleet, &document).map(drop)
        };
        let ci = Powers::new(vec![Act::Deploy], vec![web()], selecting("role=web"));
        assert_eq!(ordered(&ci, "role=web,zone=a", &[5]), Ok(()));
        let wide = ordered(&ci, "zone=a", &[5]).expect_err("too wide").to_string();
        let said = "operator 5 (who may deploy of web on role=web) may not deploy web on zone=a: the power is missing";
        assert!(wide.starts_with(said), "{wide}");
        assert_eq!(ordered(&ci, "zone=a", &[4, 5]), Ok(()), "one who may is enough");
        let other = Powers { apps: vec![AppName::new("db").expect("a name")], ..ci.clone() };
        assert!(matches!(ordered(&other, "role=web", &[5]), Err(Refused::Powerless { .. })), "another application");
        let steers = Powers { may: vec![Act::Steer], ..ci.clone() };
        assert!(matches!(ordered(&steers, "role=web", &[5]), Err(Refused::Powerless { .. })), "another act");
        assert!(matches!(ordered(&ci, "role=web", &[9]), Err(Refused::NotBelieved(_))), "a stranger is a stranger");
    }

    #[test]
    fn g14_who_may_deploy_may_not_steer_and_who_steers_some_does_not_steer_all() {
        let directed = |powers: Powers, on: Option<&str>| {
            let (fleet, root) = Root::verify_first(&signed(&bounded(powers), &[1, 2])).expect("signed");
            let directive = Directive {
                fleet,
                app: web(),
                order: crate::OrderId(Digest::of(b"order")),
                verb: crate::directive::Verb::Pause,
                wave: None,
                created: UnixTime(0),
                message: String::new(),
            };
            let document = key(5).sign(PayloadKind::Directive, directive.encode());
            root.verify_directive(fleet, &document, |_| on.map(selecting)).map(drop)
        };
        let powers = |act| Powers::new(vec![act], vec![web()], selecting("role=web"));
        assert_eq!(directed(powers(Act::Steer), Some("role=web")), Ok(()));
        let all = directed(powers(Act::Steer), None).expect_err("it is not known whom it is about");
        assert!(matches!(all, Refused::Powerless { act: Act::Steer, .. }), "{all}");
        assert!(matches!(directed(powers(Act::Steer), Some("")), Err(Refused::Powerless { .. })));
        assert!(matches!(directed(powers(Act::Deploy), Some("role=web")), Err(Refused::Powerless { .. })));
    }

    #[test]
    fn a_release_is_signed_by_who_may_deploy_that_application() {
        let released = |powers: Powers| {
            let (fleet, root) = Root::verify_first(&signed(&bounded(powers), &[1, 2])).expect("signed");
            let blob = crate::BlobRef { root: Digest::of(b"tree"), len: 600 };
            let release = Release {
                fleet,
                app: web(),
                version: "1".to_owned(),
                created: UnixTime(2),
                content: crate::ContentSpec { blob, pieces: 3, bytes: 190_000 },
                attributes: None,
                entries: 3,
                size: 190_000,
                instructions: crate::release::Instructions::plain(b"/srv/web", 20, 2),
            };
            root.verify_release(fleet, &key(5).sign(PayloadKind::Release, release.encode())).map(drop)
        };
        let powers =
            |act, app: &str| Powers::new(vec![act], vec![AppName::new(app).expect("a name")], selecting("a=b"));
        assert_eq!(released(powers(Act::Deploy, "web")), Ok(()), "where it goes says its order");
        assert!(matches!(released(powers(Act::Deploy, "db")), Err(Refused::Powerless { .. })));
        assert!(matches!(released(powers(Act::Steer, "web")), Err(Refused::Powerless { .. })));
    }
}
