//! A directive: what an operator has to say about a rollout that is under way, inside its order.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed, check_text};
use crate::{AppName, FleetId, Order, OrderId, UnixTime};

/// The payload of a signed directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// The fleet it is for; any other refuses it.
    pub fleet: FleetId,
    /// The application.
    pub app: AppName,
    /// The order whose rollout it is about; under any other it says nothing.
    pub order: OrderId,
    /// What is to be done.
    pub verb: Verb,
    /// The wave that was open when it was said, from 0, as far as any was: the one after it is what `Promote` opens.
    pub wave: Option<u8>,
    /// When it was given; the same bytes again are the same directive.
    pub created: UnixTime,
    /// Why, in the operator's words; at most [`Order::MAX_MESSAGE`] bytes of UTF-8 without control characters.
    pub message: String,
}

/// What an operator may do with a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Nobody switches any more, until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// The next wave opens now, whatever the one before does.
    Promote,
    /// It is over: everyone goes back to the order's fallback.
    Abort,
}

impl Directive {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }

    /// Refuses a directive that no one may give; whoever makes one asks before signing.
    pub fn check(&self) -> Result<(), Malformed> {
        check_text(Self::WHAT, "the message", &self.message, Order::MAX_MESSAGE)
    }
}

impl Encode for Verb {
    const WHAT: &'static str = "verb";

    fn put(&self, to: &mut Encoder) {
        to.byte(match self {
            Self::Pause => 1,
            Self::Resume => 2,
            Self::Promote => 3,
            Self::Abort => 4,
        });
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(match from.byte()? {
            1 => Self::Pause,
            2 => Self::Resume,
            3 => Self::Promote,
            4 => Self::Abort,
            other => return Err(from.wrong(format!("there is no verb {other}"))),
        })
    }
}

impl Encode for Directive {
    const WHAT: &'static str = "directive";

    fn put(&self, to: &mut Encoder) {
        to.header(Document::Directive).value(&self.fleet).value(&self.app).value(&self.order).value(&self.verb);
        let wave = self.wave.map_or(0, |wave| u64::from(wave) + 1);
        to.number(wave).value(&self.created).text(&self.message);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.header(Document::Directive)?;
        Ok(Self {
            fleet: from.value()?,
            app: from.value()?,
            order: from.value()?,
            verb: from.value()?,
            wave: from.within("the wave", 0..=256)?.checked_sub(1).map(|wave| wave as u8),
            created: from.value()?,
            message: from.text("the message", Order::MAX_MESSAGE)?,
        })
    }
}
