//! An order: which release of an application shall run where, signed by operators, with a rising epoch.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, check_text, require};
use crate::{AppName, FleetId, Label, ReleaseId, UnixTime};

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
    /// Which nodes: all of these labels, which rise by key, must match; none selects every agent.
    pub selector: Vec<(Label, Label)>,
    /// The waves, each a share of the selected nodes that is cumulative; the last is everyone.
    pub waves: Vec<Wave>,
    /// How many nodes may fail before the rollout halts and falls back.
    pub budget: u32,
    /// When it was given.
    pub created: UnixTime,
    /// Why, in the operator's words; at most 1,024 bytes of UTF-8 without control characters.
    pub message: String,
}

/// One wave of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wave {
    /// This many nodes.
    Count(u32),
    /// This many per thousand of the selected nodes, rounded up.
    PerMille(u16),
}

impl Order {
    /// By how much an epoch may rise at once, so that no one can exhaust it.
    pub const MAX_EPOCH_STEP: u64 = 1 << 20;
    /// How many waves there may be.
    pub const MAX_WAVES: usize = 16;
    /// By how many labels nodes may be selected.
    pub const MAX_SELECTOR: usize = 16;
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
        rule(self.selector.len() <= Self::MAX_SELECTOR, "it selects by more than 16 labels")?;
        rule(self.selector.is_sorted_by(|a, b| a.0 < b.0), "the selector's labels do not rise by key")?;
        check_text(Self::WHAT, "the message", &self.message, Self::MAX_MESSAGE)?;
        check_waves(&self.waves)
    }
}

/// One to sixteen waves, none of them empty or smaller than an earlier one of its sort, the last one everyone.
pub fn check_waves(waves: &[Wave]) -> Result<(), Malformed> {
    let rule = |fine, why| require(fine, Order::WHAT, why);
    rule((1..=Order::MAX_WAVES).contains(&waves.len()), "it must have 1 to 16 waves")?;
    rule(waves.last() == Some(&Wave::PerMille(1000)), "the last wave must be everyone (1000 per mille)")?;
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
        to.header(Document::Order).value(&self.fleet).value(&self.app).number(self.epoch);
        to.value(&self.release).option(self.fallback.as_ref()).count(self.selector.len());
        self.selector.iter().for_each(|(key, value)| {
            to.value(key).value(value);
        });
        to.list(self.waves.iter()).number(self.budget).value(&self.created).text(&self.message);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.header(Document::Order)?;
        let order = Self {
            fleet: from.value()?,
            app: from.value()?,
            epoch: from.number()?,
            release: from.value()?,
            fallback: from.option()?,
            selector: take_selector(from)?,
            waves: from.list("the number of waves", Self::MAX_WAVES, 2)?,
            budget: from.number32("the failure budget")?,
            created: from.value()?,
            message: from.text("the message", Self::MAX_MESSAGE)?,
        };
        order.check()?;
        Ok(order)
    }
}

fn take_selector(from: &mut Decoder<'_>) -> Result<Vec<(Label, Label)>, Malformed> {
    let count = from.count("the number of selecting labels", Order::MAX_SELECTOR, 4)?;
    (0..count).map(|_| Ok((from.value()?, from.value()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn label(text: &str) -> Label {
        Label::new(text).expect("a plain label")
    }

    fn order() -> Order {
        Order {
            fleet: FleetId(Digest::of(b"fleet")),
            app: AppName::new("web").expect("a plain name"),
            epoch: 7,
            release: ReleaseId(Digest::of(b"new")),
            fallback: Some(ReleaseId(Digest::of(b"old"))),
            selector: vec![(label("rack"), label("a1")), (label("zone"), label("x"))],
            waves: vec![Wave::Count(1), Wave::PerMille(100), Wave::PerMille(500), Wave::PerMille(1000)],
            budget: 2,
            created: UnixTime(1_700_000_000),
            message: "the tuesday build".to_owned(),
        }
    }

    #[test]
    fn an_order_round_trips() {
        assert_eq!(Order::decode(&order().encode()), Ok(order()));
        let bare = Order { fallback: None, selector: Vec::new(), waves: vec![Wave::PerMille(1000)], ..order() };
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
        refused("do not rise", &|order| order.selector.swap(0, 1));
        refused("do not rise", &|order| order.selector[1].0 = label("rack"));
        refused("selecting labels", &|order| {
            order.selector = (10..27).map(|n| (label(&format!("k{n}")), label("v"))).collect();
        });
        refused("the message", &|order| order.message = "x".repeat(1025));
        refused("U+0007", &|order| order.message = "\u{7}".to_owned());
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
