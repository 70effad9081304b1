//! What is signed by whom, and what of it may still be followed.
//!
//! It checks signatures against the trust root, fleet ids, and that epochs only rise. It remembers the floors: the newest
//! order of each application. It does not know what an order leads to.

use content::root::Refused;
use content::{AppName, Directive, FleetId, KeyId, Order, OrderId, Release, ReleaseId, Root, Signed};
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
    floors: BTreeMap<AppName, (u64, OrderId)>,
}

impl Trust {
    /// Trusts a root that whoever recovered it has verified.
    pub(crate) fn new(fleet: FleetId, root: Option<&Signed>) -> Self {
        let root = root.and_then(|signed| Root::decode(&signed.payload).ok());
        Self { fleet, root, floors: BTreeMap::new() }
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

    pub(crate) fn directive(&self, signed: &Signed) -> Result<Directive, Distrust> {
        let root = self.root.as_ref().ok_or(Distrust::NoRoot)?;
        Ok(root.verify_directive(self.fleet, signed)?)
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
        let name = |key: KeyId| self.root.as_ref().and_then(|root| root.operator_name(key)).map(str::to_owned);
        let names: Vec<String> = signed.signatures.iter().filter_map(|signature| name(signature.key)).collect();
        if names.is_empty() { "somebody unknown".to_owned() } else { names.join(" and ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use content::order::Wave;
    use content::root::Operator;
    use content::{Digest, PayloadKind, SigningKey, UnixTime};

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
            operators: vec![Operator { name: "alice".to_owned(), key: operator().public() }],
            operator_threshold: 1,
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
}
