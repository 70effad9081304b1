//! What is signed by whom, and what of it may still be followed.
//!
//! It checks signatures against the newest trust root, fleet ids, and that epochs only rise. A root is followed by the next one and by no
//! other, so whoever begins at the first gets to the newest over every one between. It remembers the floors: the newest order of each
//! application. It does not know what an order leads to.

use content::root::{BadRoot, Operator, Refused};
use content::sign::NotBelieved;
use content::{AppName, Directive, FleetId, KeyId, Order, OrderId, Release, ReleaseId, Root, Selector, Signed};
use std::collections::BTreeMap;

/// A release that was believed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Believed {
    pub(crate) id: ReleaseId,
    pub(crate) signed: Signed,
    pub(crate) release: Release,
}

/// An order that was believed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instruction {
    pub(crate) id: OrderId,
    pub(crate) signed: Signed,
    pub(crate) order: Order,
}

/// Why a document is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Distrust {
    #[error("this node knows no trust root; join it to the fleet again")]
    NoRoot,
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Distrust {
    /// Whether nobody is to blame: the operators signed what only a newer program reads.
    pub(crate) fn is_ignorance(&self) -> bool {
        matches!(self, Self::NoRoot) || matches!(self, Self::Refused(Refused::Malformed(why)) if why.is_newer)
    }
}

/// What came of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Followed {
    /// It is in force now.
    Anew,
    /// It, or a later one, was in force already.
    Known,
}

/// Why a root is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfollowed {
    #[error("this node knows no trust root; join it to the fleet again")]
    NoRoot,
    #[error(transparent)]
    Bad(#[from] BadRoot),
}

impl Unfollowed {
    /// Whether nobody is to blame: it is in a form that only a newer program reads.
    pub(crate) fn is_ignorance(&self) -> bool {
        matches!(self, Self::NoRoot) || matches!(self, Self::Bad(BadRoot::Malformed(why)) if why.is_newer)
    }
}

/// How an order stands to the newest one of its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It comes next.
    Next,
    /// It is the newest one itself.
    Same,
    /// Its epoch is below the floor, or another order has the same one.
    Stale { floor: u64 },
    /// Its epoch is too far above.
    TooFar { most: u64 },
}

/// The trust root and the floors.
#[derive(Debug)]
pub(crate) struct Trust {
    fleet: FleetId,
    root: Option<Root>,
    /// Who signed with which key, in any root that was seen.
    names: BTreeMap<KeyId, String>,
    floors: BTreeMap<AppName, (u64, OrderId)>,
    /// The roots after the first, by their versions, as far as they are remembered.
    chain: BTreeMap<u64, Signed>,
}

impl Trust {
    /// Trusts a root that whoever recovered it has verified.
    pub(crate) fn new(fleet: FleetId, root: Option<&Signed>) -> Self {
        let signed = root;
        let root = signed.and_then(|signed| Root::decode(&signed.payload).ok());
        let names = root.as_ref().map(names_in).unwrap_or_default();
        let mut trust = Self { fleet, root, names, floors: BTreeMap::new(), chain: BTreeMap::new() };
        signed.into_iter().for_each(|signed| trust.recall(signed));
        trust
    }

    /// Follows the next root. One that is known already, or older, changes nothing.
    pub(crate) fn follow(&mut self, signed: &Signed) -> Result<Followed, Unfollowed> {
        let next = self.next_root(signed)?;
        let Some(root) = next else { return Ok(Followed::Known) };
        self.names.extend(names_in(&root));
        self.chain.insert(root.version, signed.clone());
        self.root = Some(root);
        Ok(Followed::Anew)
    }

    /// The root that would be in force after this document; nothing when that changes nothing.
    pub(crate) fn next_root(&self, signed: &Signed) -> Result<Option<Root>, Unfollowed> {
        let root = self.root.as_ref().ok_or(Unfollowed::NoRoot)?;
        let said = Root::decode(&signed.payload).map_err(BadRoot::from)?;
        match said.version <= root.version {
            true => Ok(None),
            false => Ok(Some(root.verify_next(signed)?)),
        }
    }

    /// A root that stood in force once, and whose operators have signed what is remembered.
    pub(crate) fn recall(&mut self, signed: &Signed) {
        if let Ok(root) = Root::decode(&signed.payload) {
            let before =
                names_in(&root).into_iter().filter(|(key, _)| !self.names.contains_key(key)).collect::<Vec<_>>();
            self.names.extend(before);
            if root.version > 1 {
                self.chain.entry(root.version).or_insert_with(|| signed.clone());
            }
        }
    }

    /// The roots after a version, up to the newest; nothing when not all of them are remembered.
    pub(crate) fn roots_after(&self, version: u64) -> Option<Vec<Signed>> {
        let after = self.chain.range(version.saturating_add(1)..);
        let after: Vec<Signed> = after.map(|(_, signed)| signed.clone()).collect();
        (after.len() as u64 == self.version().saturating_sub(version)).then_some(after)
    }

    /// Of roots that each follow the one before, those that are newer than what is in force; nothing is followed by that.
    pub(crate) fn newer(&self, roots: &[Signed]) -> Result<Vec<Signed>, Unfollowed> {
        let mut root = self.root.clone().ok_or(Unfollowed::NoRoot)?;
        let mut newer = Vec::new();
        for signed in roots {
            let said = Root::decode(&signed.payload).map_err(BadRoot::from)?;
            if said.version > root.version {
                root = root.verify_next(signed)?;
                newer.push(signed.clone());
            }
        }
        Ok(newer)
    }

    /// The root that is in force.
    pub(crate) fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// The version of the root that is in force.
    pub(crate) fn version(&self) -> u64 {
        self.root.as_ref().map_or(0, |root| root.version)
    }

    /// The operator of this name, if the newest root names one.
    pub(crate) fn operator(&self, name: &str) -> Option<&Operator> {
        self.root.as_ref()?.operator(name)
    }

    /// An order that was accepted once, whoever may order by now: what it raised never sinks.
    pub(crate) fn remembered(signed: &Signed) -> Option<Instruction> {
        let order = Order::decode(&signed.payload).ok()?;
        Some(Instruction { id: OrderId(signed.payload_digest()), signed: signed.clone(), order })
    }

    /// Whether what is wrong with a document may be that another root is in force where it comes from: it is signed by somebody unknown
    /// here, or by one who has no such power here.
    pub(crate) fn may_be_of_another_root(&self, signed: &Signed, why: &Distrust) -> bool {
        let is_unknown = |key: KeyId| self.root.as_ref().is_none_or(|root| root.operator_name(key).is_none());
        match why {
            Distrust::Refused(Refused::Powerless { .. }) => true,
            Distrust::Refused(Refused::NotBelieved(NotBelieved::TooFewSignatures { .. })) => {
                signed.signatures.iter().any(|signature| is_unknown(signature.key))
            }
            _ => false,
        }
    }

    pub(crate) fn release(&self, signed: &Signed) -> Result<Believed, Distrust> {
        let root = self.root.as_ref().ok_or(Distrust::NoRoot)?;
        let release = root.verify_release(self.fleet, signed)?;
        Ok(Believed { id: ReleaseId(signed.payload_digest()), signed: signed.clone(), release })
    }

    pub(crate) fn order(&self, signed: &Signed) -> Result<Instruction, Distrust> {
        let root = self.root.as_ref().ok_or(Distrust::NoRoot)?;
        let order = root.verify_order(self.fleet, signed)?;
        Ok(Instruction { id: OrderId(signed.payload_digest()), signed: signed.clone(), order })
    }

    /// A directive; `selects` knows whom its order selects.
    pub(crate) fn directive(
        &self,
        signed: &Signed,
        selects: impl FnOnce(&Directive) -> Option<Selector>,
    ) -> Result<Directive, Distrust> {
        let root = self.root.as_ref().ok_or(Distrust::NoRoot)?;
        Ok(root.verify_directive(self.fleet, signed, selects)?)
    }

    /// How an order stands to the floor of its application.
    pub(crate) fn standing(&self, new: &Instruction) -> Standing {
        let (floor, newest) = self.floors.get(&new.order.app).map_or((0, None), |(floor, id)| (*floor, Some(*id)));
        let most = floor.saturating_add(Order::MAX_EPOCH_STEP);
        match new.order.epoch {
            epoch if epoch == floor && newest == Some(new.id) => Standing::Same,
            epoch if epoch <= floor => Standing::Stale { floor },
            epoch if epoch > most => Standing::TooFar { most },
            _ => Standing::Next,
        }
    }

    /// Whether anything of an application was accepted before.
    pub(crate) fn has_floor(&self, app: &AppName) -> bool {
        self.floors.contains_key(app)
    }

    /// Raises the floor; it never sinks.
    pub(crate) fn raise(&mut self, accepted: &Instruction) {
        let floor = self.floors.entry(accepted.order.app.clone()).or_insert((0, accepted.id));
        if accepted.order.epoch > floor.0 {
            *floor = (accepted.order.epoch, accepted.id);
        }
    }

    /// The newest epoch of each application.
    pub(crate) fn floors(&self) -> Vec<(AppName, u64)> {
        self.floors.iter().map(|(app, (epoch, _))| (app.clone(), *epoch)).collect()
    }

    /// Who signed a document, as people know them.
    pub(crate) fn signer(&self, signed: &Signed) -> String {
        let name = |key: KeyId| self.names.get(&key).cloned();
        let names: Vec<String> = signed.signatures.iter().filter_map(|signature| name(signature.key)).collect();
        if names.is_empty() { "somebody unknown".to_owned() } else { names.join(" and ") }
    }
}

fn names_in(root: &Root) -> BTreeMap<KeyId, String> {
    root.operators.iter().map(|operator| (operator.key.id(), operator.name.clone())).collect()
}

/// What a root would leave without anyone who may have signed it: a judge of documents under another root.
pub(crate) struct Judge<'a> {
    pub(crate) fleet: FleetId,
    pub(crate) root: &'a Root,
}

impl Judge<'_> {
    pub(crate) fn release(&self, signed: &Signed) -> bool {
        self.root.verify_release(self.fleet, signed).is_ok()
    }

    pub(crate) fn order(&self, signed: &Signed) -> bool {
        self.root.verify_order(self.fleet, signed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::order::Wave;
    use content::root::Operator;
    use content::{Digest, PayloadKind, Powers, SigningKey, UnixTime};

    fn operator() -> SigningKey {
        SigningKey::from_secret(&[1; 32])
    }

    fn trust() -> Trust {
        let key = SigningKey::from_secret(&[2; 32]);
        let root = Root {
            version: 1,
            nonce: [0; 16],
            created: UnixTime(0),
            root_keys: vec![key.public()],
            root_threshold: 1,
            operators: vec![Operator { name: "alice".to_owned(), key: operator().public(), powers: Powers::default() }],
            operator_threshold: 1,
            authorities: Vec::new(),
        };
        let root = key.sign(PayloadKind::Root, root.encode());
        Trust::new(FleetId(root.payload_digest()), Some(&root))
    }

    fn order(trust: &Trust, epoch: u64, message: &str) -> Signed {
        let order = Order {
            fleet: trust.fleet,
            app: AppName::new("web").expect("a plain name"),
            epoch,
            release: ReleaseId(Digest::of(b"release")),
            fallback: None,
            selector: content::Selector::default(),
            unreachable: content::order::Unreachable::Skip,
            waves: vec![Wave::PerMille(1000)],
            budget: 0,
            restraint: content::order::Restraint::default(),
            created: UnixTime(0),
            message: message.to_owned(),
        };
        operator().sign(PayloadKind::Order, order.encode())
    }

    #[test]
    fn g2_g5_epochs_rise_and_not_too_far() {
        let mut trust = trust();
        let standing = |trust: &Trust, epoch, message| {
            trust.standing(&trust.order(&order(trust, epoch, message)).expect("alice signed it"))
        };
        assert_eq!(standing(&trust, 1, ""), Standing::Next);
        let five = trust.order(&order(&trust, 5, "")).expect("alice signed it");
        trust.raise(&five);
        assert_eq!(standing(&trust, 5, ""), Standing::Same);
        assert_eq!(standing(&trust, 5, "twin"), Standing::Stale { floor: 5 });
        assert_eq!(standing(&trust, 4, ""), Standing::Stale { floor: 5 });
        assert_eq!(standing(&trust, 5 + Order::MAX_EPOCH_STEP, ""), Standing::Next);
        assert_eq!(
            standing(&trust, 6 + Order::MAX_EPOCH_STEP, ""),
            Standing::TooFar { most: 5 + Order::MAX_EPOCH_STEP }
        );
        trust.raise(&trust.order(&order(&trust, 2, "")).expect("alice signed it"));
        assert_eq!(trust.floors(), [(five.order.app, 5)]);
    }

    #[test]
    fn g1_strangers_and_other_fleets_are_not_believed() {
        let trust = trust();
        let good = order(&trust, 1, "");
        let stranger = SigningKey::from_secret(&[9; 32]).sign(PayloadKind::Order, good.payload.clone());
        assert!(trust.order(&good).is_ok() && trust.order(&stranger).is_err());
        assert_eq!((trust.signer(&good), trust.signer(&stranger)), ("alice".to_owned(), "somebody unknown".to_owned()));
        let other = Trust { fleet: FleetId(Digest::of(b"other")), ..self::trust() };
        assert!(other.order(&good).is_err());
        assert_eq!(Trust::new(trust.fleet, None).order(&good), Err(Distrust::NoRoot));
    }

    fn next(trust: &Trust, version: u64, operators: Vec<Operator>, by: &SigningKey) -> Signed {
        let root = Root { version, operators, ..trust.root.clone().expect("a root") };
        by.sign(PayloadKind::Root, root.encode())
    }

    fn of(name: &str, nr: u8) -> Operator {
        Operator { name: name.to_owned(), key: SigningKey::from_secret(&[nr; 32]).public(), powers: Powers::default() }
    }

    #[test]
    fn g9_roots_are_followed_one_by_one_and_known_ones_change_nothing() {
        let (mut trust, key) = (trust(), SigningKey::from_secret(&[2; 32]));
        let second = next(&trust, 2, vec![of("alice", 1), of("bob", 7)], &key);
        let third = next(&trust, 3, vec![of("bob", 7)], &key);
        assert!(trust.follow(&third).is_err(), "one is left out");
        assert_eq!(trust.follow(&second), Ok(Followed::Anew));
        assert_eq!(trust.follow(&second), Ok(Followed::Known));
        let good = order(&trust, 1, "");
        assert!(trust.order(&good).is_ok());
        assert_eq!(trust.follow(&third), Ok(Followed::Anew));
        assert_eq!((trust.version(), trust.follow(&second)), (3, Ok(Followed::Known)), "it does not go back");
        assert!(trust.order(&good).is_err(), "alice is gone");
        assert_eq!(trust.signer(&good), "alice", "and what she signed is still hers");
    }

    #[test]
    fn g12_nobody_but_the_root_keys_makes_operators() {
        let mut trust = trust();
        for by in [operator(), SigningKey::from_secret(&[9; 32])] {
            let minted = next(&trust, 2, vec![of("alice", 1), of("mallory", 9)], &by);
            assert!(matches!(trust.follow(&minted), Err(why) if !why.is_ignorance()));
        }
        assert_eq!(trust.version(), 1);
    }

    #[test]
    fn a_stranger_may_be_of_another_root_and_a_forged_signature_may_not() {
        let trust = trust();
        let good = order(&trust, 1, "");
        let may = |signed: &Signed| {
            let why = trust.order(signed).expect_err("it is not believed");
            trust.may_be_of_another_root(signed, &why)
        };
        assert!(may(&SigningKey::from_secret(&[9; 32]).sign(PayloadKind::Order, good.payload.clone())));
        let mut forged = good.clone();
        forged.signatures[0].bytes[7] ^= 1;
        assert!(!may(&forged));
        assert!(!may(&Signed { signatures: Vec::new(), ..good.clone() }));
        assert!(!may(&Signed { kind: PayloadKind::Release, ..good }));
    }
}
