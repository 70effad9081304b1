//! An order: which release of an application shall run where, signed by operators, with a rising epoch.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, check_text, require};
use crate::selector::{Condition, Rule};
use crate::{AppName, FleetId, ReleaseId, Selector, UnixTime};

/// The version that selects by plain labels and skips who is away, which older programs read, and the newest.
const PLAIN: u8 = 1;
const NEWEST: u8 = 2;

/// The payload of a signed order: a plan inside which origins may open, halt or fall back, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The fleet it is for; any other refuses it.
    pub fleet: FleetId,
    /// The application.
    pub app: AppName,
    /// Rises with every order for this application, by 1 to 2^20; going back to an older release is a newer order.
    pub epoch: u64,
    /// The release to run.
    pub release: ReleaseId,
    /// The release to fall back to when this one fails; `None` when there was none before.
    pub fallback: Option<ReleaseId>,
    /// Which nodes.
    pub selector: Selector,
    /// What becomes of a wave when nodes of it are away.
    pub unreachable: Unreachable,
    /// The waves, each a share of the selected nodes that is cumulative; the last is everyone.
    pub waves: Vec<Wave>,
    /// How many nodes may fail before the rollout halts and falls back.
    pub budget: u32,
    /// When it was given.
    pub created: UnixTime,
    /// Why, in the operator's words; at most 1,024 bytes of UTF-8 without control characters.
    pub message: String,
}

/// What an order does about selected nodes that have been away for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unreachable {
    /// They hold nothing up, and converge when they come back.
    #[default]
    Skip,
    /// Their wave is not done before they are back and well, or an operator promotes it.
    Wait,
}

/// One wave of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wave {
    /// This many nodes.
    Count(u32),
    /// This many per thousand of the selected nodes, rounded up.
    PerMille(u16),
}

impl Wave {
    /// How many of so many selected nodes it is for, those of earlier waves included.
    pub fn of(self, selected: usize) -> usize {
        match self {
            Self::Count(nodes) => nodes as usize,
            Self::PerMille(share) => (selected * usize::from(share)).div_ceil(1000),
        }
    }
}

impl Order {
    /// By how much an epoch may rise at once, so that no one can exhaust it.
    pub const MAX_EPOCH_STEP: u64 = 1 << 20;
    /// How many waves there may be.
    pub const MAX_WAVES: usize = 16;
    /// The longest message, in bytes.
    pub const MAX_MESSAGE: usize = 1024;

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }

    /// Refuses an order that no one may give; whoever makes one asks before signing, decoding asks by itself.
    pub fn check(&self) -> Result<(), Malformed> {
        let rule = |fine, why| require(fine, Self::WHAT, why);
        rule(self.epoch >= 1, "the first epoch is 1")?;
        check_text(Self::WHAT, "the message", &self.message, Self::MAX_MESSAGE)?;
        check_waves(&self.waves)
    }
}

/// One to sixteen waves, none of them empty or smaller than an earlier one of its sort, the last one everyone.
pub fn check_waves(waves: &[Wave]) -> Result<(), Malformed> {
    let rule = |fine, why| require(fine, Order::WHAT, why);
    rule((1..=Order::MAX_WAVES).contains(&waves.len()), "it must have 1 to 16 waves")?;
    rule(waves.last() == Some(&Wave::PerMille(1000)), "the last wave must be everyone (100%)")?;
    let (mut count, mut per_mille) = (1, 1);
    for wave in waves {
        let (size, least) = match wave {
            Wave::Count(nodes) => (*nodes, &mut count),
            Wave::PerMille(share) => (u32::from(*share), &mut per_mille),
        };
        rule(size >= *least, "a wave is empty, or smaller than one before it")?;
        *least = size;
    }
    Ok(())
}

impl Encode for Wave {
    const WHAT: &'static str = "wave";

    fn put(&self, to: &mut Encoder) {
        match self {
            Self::Count(nodes) => to.byte(1).number(*nodes),
            Self::PerMille(share) => to.byte(2).number(*share),
        };
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match from.byte()? {
            1 => from.number32("a wave's size").map(Self::Count),
            2 => from.within("a wave's share", 0..=1000).map(|share| Self::PerMille(share as u16)),
            other => Err(from.wrong(format!("there is no sort of wave {other}"))),
        }
    }
}

impl Encode for Order {
    const WHAT: &'static str = "order";

    fn put(&self, to: &mut Encoder) {
        let plain = self.selector.plain().filter(|_| self.unreachable == Unreachable::Skip);
        to.header_in(Document::Order, if plain.is_some() { PLAIN } else { NEWEST });
        to.value(&self.fleet).value(&self.app).number(self.epoch);
        to.value(&self.release).option(self.fallback.as_ref());
        match plain {
            Some(labels) => {
                to.count(labels.len());
                for (key, value) in labels {
                    to.value(key).value(value);
                }
            }
            None => {
                to.value(&self.selector).byte(u8::from(self.unreachable == Unreachable::Wait));
            }
        }
        to.list(self.waves.iter()).number(self.budget).value(&self.created).text(&self.message);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let version = from.header_up_to(Document::Order, NEWEST)?;
        let (fleet, app, epoch) = (from.value()?, from.value()?, from.number()?);
        let (release, fallback) = (from.value()?, from.option()?);
        let (selector, unreachable) =
            if version == PLAIN { (take_plain(from)?, Unreachable::Skip) } else { take_who(from)? };
        let order = Self {
            fleet,
            app,
            epoch,
            release,
            fallback,
            selector,
            unreachable,
            waves: from.list("the number of waves", Self::MAX_WAVES, 2)?,
            budget: from.number32("the failure budget")?,
            created: from.value()?,
            message: from.text("the message", Self::MAX_MESSAGE)?,
        };
        order.check()?;
        Ok(order)
    }
}

/// Labels, all of which a node must have.
fn take_plain(from: &mut Decoder<'_>) -> Result<Selector, Malformed> {
    let count = from.count("the number of selecting labels", Selector::MAX, 4)?;
    let mut conditions: Vec<Condition> = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, value) = (from.value()?, from.value()?);
        let rises = conditions.last().is_none_or(|last| last.key < key);
        require(rises, Order::WHAT, "the selector's labels do not rise by key")?;
        conditions.push(Condition { key, rule: Rule::In(vec![value]) });
    }
    Selector::new(conditions).map_err(|bad| from.wrong(bad.to_string()))
}

/// Any conditions, and what is done about who is away.
fn take_who(from: &mut Decoder<'_>) -> Result<(Selector, Unreachable), Malformed> {
    let selector: Selector = from.value()?;
    let unreachable = match from.byte()? {
        0 => Unreachable::Skip,
        1 => Unreachable::Wait,
        other => return Err(from.wrong(format!("there is no way {other} to deal with who is unreachable"))),
    };
    // One order has one encoding.
    let is_plain = selector.plain().is_some() && unreachable == Unreachable::Skip;
    require(!is_plain, Order::WHAT, "it says no more than version 1 can, and is in version 2")?;
    Ok((selector, unreachable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn order() -> Order {
        Order {
            fleet: FleetId(Digest::of(b"fleet")),
            app: AppName::new("web").expect("a plain name"),
            epoch: 7,
            release: ReleaseId(Digest::of(b"new")),
            fallback: Some(ReleaseId(Digest::of(b"old"))),
            selector: "rack=a1,zone=x".parse().expect("a selector"),
            unreachable: Unreachable::Skip,
            waves: vec![Wave::Count(1), Wave::PerMille(100), Wave::PerMille(500), Wave::PerMille(1000)],
            budget: 2,
            created: UnixTime(1_700_000_000),
            message: "the tuesday build".to_owned(),
        }
    }

    #[test]
    fn an_order_round_trips() {
        assert_eq!(Order::decode(&order().encode()), Ok(order()));
        let bare =
            Order { fallback: None, selector: Selector::default(), waves: vec![Wave::PerMille(1000)], ..order() };
        assert_eq!(Order::decode(&bare.encode()), Ok(bare));
    }

    #[test]
    fn what_no_order_may_say_is_refused() {
        let refused = |why: &str, change: &dyn Fn(&mut Order)| {
            let mut bad = order();
            change(&mut bad);
            let error = Order::decode(&bad.encode()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
            assert!(bad.check().is_err(), "{why}: refused before signing, too");
        };
        refused("first epoch", &|order| order.epoch = 0);
        refused("the message", &|order| order.message = "x".repeat(1025));
        refused("U+0007", &|order| order.message = "\u{7}".to_owned());
    }

    #[test]
    fn what_the_first_version_can_say_is_said_in_it() {
        let version = |order: &Order| order.encode()[4];
        assert_eq!(version(&order()), PLAIN);
        let wide = Order { selector: "rack=a1|a2,!old".parse().expect("a selector"), ..order() };
        let waits = Order { unreachable: Unreachable::Wait, ..order() };
        for newer in [wide, waits] {
            assert_eq!(version(&newer), NEWEST);
            assert_eq!(Order::decode(&newer.encode()), Ok(newer));
        }
        // The same labels as the old order, in the new form: nobody may say one thing in two ways.
        let mut to = Encoder::new();
        let old = order();
        to.header_in(Document::Order, NEWEST).value(&old.fleet).value(&old.app).number(old.epoch);
        to.value(&old.release).option(old.fallback.as_ref()).value(&old.selector).byte(0);
        to.list(old.waves.iter()).number(old.budget).value(&old.created).text(&old.message);
        let error = Order::decode(&to.finish()).expect_err("two encodings").to_string();
        assert!(error.contains("no more than version 1 can"), "{error}");
    }

    #[test]
    fn labels_that_fall_are_refused() {
        let plain = |first: &str, second: &str| {
            let mut bytes = order().encode();
            let place = |key: &[u8]| bytes.windows(4).position(|window| window == key).expect("it stands there");
            let places = [(place(b"rack"), first), (place(b"zone"), second)];
            for (at, key) in places {
                bytes[at..at + 4].copy_from_slice(key.as_bytes());
            }
            Order::decode(&bytes)
        };
        assert!(plain("rack", "zone").is_ok());
        for (first, second) in [("zone", "rack"), ("rack", "rack")] {
            let error = plain(first, second).expect_err("they do not rise").to_string();
            assert!(error.contains("do not rise"), "{error}");
        }
    }

    #[test]
    fn waves_grow_until_everyone() {
        use Wave::{Count, PerMille};
        let refused = |why: &str, waves: &[Wave]| {
            let bad = Order { waves: waves.to_vec(), ..order() };
            let error = Order::decode(&bad.encode()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        };
        refused("1 to 16 waves", &[]);
        refused("must be everyone", &[Count(5)]);
        refused("must be everyone", &[PerMille(999)]);
        refused("must be everyone", &[PerMille(1000), Count(1)]);
        refused("a wave is empty", &[Count(0), PerMille(1000)]);
        refused("a wave is empty", &[PerMille(0), PerMille(1000)]);
        refused("smaller than one before", &[Count(5), PerMille(1), Count(4), PerMille(1000)]);
        refused("smaller than one before", &[PerMille(500), Count(9), PerMille(499), PerMille(1000)]);
        refused("the number of waves", &[PerMille(1000); 17]);
        refused("share", &[PerMille(1001), PerMille(1000)]);
        let most = Order { waves: vec![PerMille(1000); 16], ..order() };
        assert_eq!(Order::decode(&most.encode()), Ok(most));
    }
}
