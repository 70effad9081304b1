//! An order: which release of an application shall run where, signed by operators, with a rising epoch.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, check_text, require};
use crate::selector::{Condition, Rule};
use crate::{AppName, FleetId, Label, ReleaseId, Selector, UnixTime};
use std::fmt;
use std::time::Duration;

/// The version that selects by plain labels and skips who is away, the one that says any of that, and the one that restrains its rollout
/// besides. An order is in the lowest version that can say it, so that older programs read what they can follow.
const PLAIN: u8 = 1;
const CHOOSY: u8 = 2;
const RESTRAINED: u8 = 3;

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
    /// What else holds its waves back, and for how long at most.
    pub restraint: Restraint,
    /// When it was given.
    pub created: UnixTime,
    /// Why, in the operator's words; at most 1,024 bytes of UTF-8 without control characters.
    pub message: String,
}

/// What holds a rollout back besides the confirmations of its nodes; the usual is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restraint {
    /// Waves, from 0 and rising, after which the next one opens only when an operator says so.
    pub gates: Vec<u8>,
    /// How many seconds after it opened a wave must be confirmed and, if it has a gate, its word said; else the rollout halts and falls
    /// back. `None` for ever.
    pub deadline_s: Option<u32>,
    /// How many nodes may be switching at the same time, rising by label.
    pub at_once: Vec<AtOnce>,
}

/// Of how many nodes, at the same time, it may be open whether they do well: they may switch, and have neither confirmed nor failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtOnce {
    /// Of those with the same value of this label, those without it being one group; of all together when there is none.
    pub by: Option<Label>,
    /// How many: a count, or a share of the selected nodes of the group.
    pub most: Wave,
}

impl fmt::Display for Wave {
    /// `12`, `10%`, `12.5%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(nodes) => write!(f, "{nodes}"),
            Self::PerMille(share) if share % 10 == 0 => write!(f, "{}%", share / 10),
            Self::PerMille(share) => write!(f, "{}.{}%", share / 10, share % 10),
        }
    }
}

impl fmt::Display for AtOnce {
    /// `50`, `rack=1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            Some(key) => write!(f, "{}={}", key.as_str(), self.most),
            None => write!(f, "{}", self.most),
        }
    }
}

impl Restraint {
    /// How many limits there may be.
    pub const MAX_AT_ONCE: usize = 4;
    /// The longest deadline, in seconds: a year.
    pub const MAX_DEADLINE_S: u32 = 365 * 24 * 3600;

    /// Whether nothing is held back.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a wave, from 0, has a gate.
    pub fn has_gate(&self, wave: u8) -> bool {
        self.gates.binary_search(&wave).is_ok()
    }

    /// How long a wave may take.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_s.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Refuses what no order of so many waves may say.
    pub fn check(&self, waves: usize) -> Result<(), Malformed> {
        let rule = |fine, why| require(fine, Order::WHAT, why);
        let rise = self.gates.windows(2).all(|pair| pair[0] < pair[1]);
        rule(rise, "its gates do not rise by wave")?;
        let has_next = |wave: &u8| usize::from(*wave) + 1 < waves;
        rule(self.gates.iter().all(has_next), "a gate needs a wave before it and one after it")?;
        let deadline = self.deadline_s.is_none_or(|seconds| (1..=Self::MAX_DEADLINE_S).contains(&seconds));
        rule(deadline, "the deadline of a wave must be from a second to a year")?;
        rule(self.at_once.len() <= Self::MAX_AT_ONCE, "there are more than 4 limits of how many at once")?;
        let rise = self.at_once.windows(2).all(|pair| pair[0].by < pair[1].by);
        rule(rise, "its limits of how many at once do not rise by label, or one is given twice")?;
        let some = |limit: &AtOnce| !matches!(limit.most, Wave::Count(0) | Wave::PerMille(0 | 1001..));
        rule(self.at_once.iter().all(some), "a limit of how many at once lets nobody switch, or more than all")
    }
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
        check_waves(&self.waves)?;
        self.restraint.check(self.waves.len())
    }

    /// The lowest version of the encoding that can say it.
    fn version(&self) -> u8 {
        let is_plain = self.selector.plain().is_some() && self.unreachable == Unreachable::Skip;
        match (self.restraint.is_none(), is_plain) {
            (false, _) => RESTRAINED,
            (true, false) => CHOOSY,
            (true, true) => PLAIN,
        }
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

impl Encode for AtOnce {
    const WHAT: &'static str = "limit of how many at once";

    fn put(&self, to: &mut Encoder) {
        to.option(self.by.as_ref()).value(&self.most);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self { by: from.option()?, most: from.value()? })
    }
}

impl Encode for Restraint {
    const WHAT: &'static str = "restraint of a rollout";

    fn put(&self, to: &mut Encoder) {
        to.count(self.gates.len()).raw(&self.gates);
        to.number(self.deadline_s.unwrap_or(0)).list(self.at_once.iter());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let gates = from.count("the number of gates", Order::MAX_WAVES, 1)?;
        Ok(Self {
            gates: (0..gates).map(|_| from.byte()).collect::<Result<_, _>>()?,
            deadline_s: Some(from.number32("the deadline of a wave")?).filter(|seconds| *seconds > 0),
            at_once: from.list("the number of limits", Self::MAX_AT_ONCE, 3)?,
        })
    }
}

impl Encode for Order {
    const WHAT: &'static str = "order";

    fn put(&self, to: &mut Encoder) {
        let version = self.version();
        to.header_in(Document::Order, version);
        to.value(&self.fleet).value(&self.app).number(self.epoch);
        to.value(&self.release).option(self.fallback.as_ref());
        match self.selector.plain().filter(|_| version == PLAIN) {
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
        to.list(self.waves.iter()).number(self.budget);
        if version == RESTRAINED {
            to.value(&self.restraint);
        }
        to.value(&self.created).text(&self.message);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let version = from.header_up_to(Document::Order, RESTRAINED)?;
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
            restraint: if version == RESTRAINED { from.value()? } else { Restraint::default() },
            created: from.value()?,
            message: from.text("the message", Self::MAX_MESSAGE)?,
        };
        order.check()?;
        // One order has one encoding.
        match order.version() {
            least if least == version => Ok(order),
            least => Err(from.wrong(format!("it says no more than version {least} can, and is in version {version}"))),
        }
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
            restraint: Restraint::default(),
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
            assert_eq!(version(&newer), CHOOSY);
            assert_eq!(Order::decode(&newer.encode()), Ok(newer));
        }
        // The same labels as the old order, in the new form: nobody may say one thing in two ways.
        let mut to = Encoder::new();
        let old = order();
        to.header_in(Document::Order, CHOOSY).value(&old.fleet).value(&old.app).number(old.epoch);
        to.value(&old.release).option(old.fallback.as_ref()).value(&old.selector).byte(0);
        to.list(old.waves.iter()).number(old.budget).value(&old.created).text(&old.message);
        let error = Order::decode(&to.finish()).expect_err("two encodings").to_string();
        assert!(error.contains("no more than version 1 can"), "{error}");
    }

    fn limit(by: Option<&str>, most: Wave) -> AtOnce {
        AtOnce { by: by.map(|key| Label::new(key).expect("a plain label")), most }
    }

    fn restrained() -> Order {
        let at_once = vec![limit(None, Wave::Count(50)), limit(Some("rack"), Wave::PerMille(100))];
        Order { restraint: Restraint { gates: vec![0, 2], deadline_s: Some(1800), at_once }, ..order() }
    }

    #[test]
    fn what_restrains_a_rollout_takes_the_third_version_and_nothing_else_does() {
        let only = |change: &dyn Fn(&mut Restraint)| {
            let mut order = order();
            change(&mut order.restraint);
            order
        };
        let gate = only(&|of| of.gates = vec![1]);
        let deadline = only(&|of| of.deadline_s = Some(1));
        let racks = only(&|of| of.at_once = vec![limit(Some("rack"), Wave::Count(1))]);
        for order in [restrained(), gate, deadline, racks] {
            assert_eq!(order.encode()[4], RESTRAINED);
            assert_eq!(Order::decode(&order.encode()), Ok(order));
        }
        // Version 3 with nothing to restrain: nobody may say one thing in two ways.
        let old = order();
        let mut to = Encoder::new();
        to.header_in(Document::Order, RESTRAINED).value(&old.fleet).value(&old.app).number(old.epoch);
        to.value(&old.release).option(old.fallback.as_ref()).value(&old.selector).byte(0);
        to.list(old.waves.iter())
            .number(old.budget)
            .value(&Restraint::default())
            .value(&old.created)
            .text(&old.message);
        let error = Order::decode(&to.finish()).expect_err("two encodings").to_string();
        assert!(error.contains("no more than version 1 can, and is in version 3"), "{error}");
    }

    #[test]
    fn a_limit_reads_as_somebody_wrote_it() {
        let text = |by, most| limit(by, most).to_string();
        assert_eq!(text(Some("rack"), Wave::Count(1)), "rack=1");
        assert_eq!([text(None, Wave::PerMille(100)), text(None, Wave::PerMille(125))], ["10%", "12.5%"]);
    }

    #[test]
    fn no_restraint_may_be_one_that_nobody_can_keep() {
        let refused = |why: &str, change: &dyn Fn(&mut Restraint)| {
            let mut bad = restrained();
            change(&mut bad.restraint);
            let error = Order::decode(&bad.encode()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
            assert!(bad.check().is_err(), "{why}: refused before signing, too");
        };
        refused("one after it", &|of| of.gates = vec![3]);
        refused("one after it", &|of| of.gates = vec![200]);
        refused("do not rise by wave", &|of| of.gates = vec![1, 1]);
        refused("a second to a year", &|of| of.deadline_s = Some(Restraint::MAX_DEADLINE_S + 1));
        refused("lets nobody switch", &|of| of.at_once = vec![limit(None, Wave::Count(0))]);
        refused("lets nobody switch", &|of| of.at_once = vec![limit(None, Wave::PerMille(0))]);
        refused("given twice", &|of| of.at_once = vec![limit(None, Wave::Count(2)), limit(None, Wave::Count(3))]);
        refused("do not rise by label", &|of| of.at_once.reverse());
        refused("the number of limits", &|of| {
            of.at_once = ["a", "b", "c", "d", "e"].map(|key| limit(Some(key), Wave::Count(1))).to_vec();
        });
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
