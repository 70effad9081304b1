//! Modification times and owners of a tree's entries, kept apart from its content.

use crate::encoding::{Decoder, Document, Encode, Encoder, Malformed};
use crate::manifest::MAX_ENTRIES;

/// What is kept of each entry of a manifest, in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(pub Vec<Attribute>);

/// Time and owner of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Modification time: seconds since 1970, [`Attribute::MIN_SECONDS`] to [`Attribute::MAX_SECONDS`].
    pub seconds: i64,
    /// And nanoseconds, below 10^9.
    pub nanos: u32,
    /// Numeric owner; 2^32 - 1 is refused.
    pub uid: u32,
    /// Numeric group; 2^32 - 1 is refused.
    pub gid: u32,
}

impl Attributes {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        Encode::encode(self)
    }

    /// Reads canonical bytes, refusing anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Encode::decode(bytes)
    }
}

impl Attribute {
    /// The earliest time that is kept: the beginning of the year 1.
    pub const MIN_SECONDS: i64 = -62_135_596_800;
    /// The latest time that is kept: the end of the year 9999.
    pub const MAX_SECONDS: i64 = 253_402_300_799;

    /// The nearest attribute that may be kept: times beyond the years 1 to 9999 become the first or last second of them,
    /// and the owner that `chown` takes for "leave it" becomes `nobody` (65534).
    pub fn nearest(seconds: i64, nanos: u32, uid: u32, gid: u32) -> Self {
        let owner = |id| if id == u32::MAX { NOBODY } else { id };
        let seconds = seconds.clamp(Self::MIN_SECONDS, Self::MAX_SECONDS);
        Self { seconds, nanos: nanos.min(MAX_NANOS), uid: owner(uid), gid: owner(gid) }
    }
}

const MAX_NANOS: u32 = 999_999_999;
const NOBODY: u32 = 65_534;

impl Encode for Attribute {
    const WHAT: &'static str = "attribute";

    fn put(&self, to: &mut Encoder) {
        to.signed(self.seconds).number(self.nanos).number(self.uid).number(self.gid);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let seconds = from.signed()?;
        if !(Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(&seconds) {
            return Err(from.wrong(format!("a time is {seconds} s from 1970, beyond the years 1 to 9999")));
        }
        let nanos = from.within("the nanoseconds of a time", 0..=MAX_NANOS.into())? as u32;
        let owner = 0..=u64::from(u32::MAX) - 1;
        let uid = from.within("an owner", owner.clone())? as u32;
        Ok(Self { seconds, nanos, uid, gid: from.within("a group", owner)? as u32 })
    }
}

impl Encode for Attributes {
    const WHAT: &'static str = "attributes";

    fn put(&self, to: &mut Encoder) {
        to.header(Document::Attributes).list(self.0.iter());
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        from.header(Document::Attributes)?;
        from.list("the number of entries", MAX_ENTRIES as usize, 4).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Attribute = Attribute { seconds: -1, nanos: 999_999_999, uid: 0, gid: u32::MAX - 1 };

    #[test]
    fn attributes_round_trip() {
        for list in [vec![], vec![ONE], vec![ONE, Attribute { seconds: Attribute::MAX_SECONDS, ..ONE }]] {
            let attributes = Attributes(list);
            assert_eq!(Attributes::decode(&attributes.encode()), Ok(attributes));
        }
    }

    #[test]
    fn f17_absurd_times_and_the_owner_minus_one_are_refused() {
        let refused = |why: &str, bad: Attribute| {
            let error = Attributes::decode(&Attributes(vec![ONE, bad]).encode()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        };
        for seconds in [i64::MIN, i64::MAX, Attribute::MIN_SECONDS - 1, Attribute::MAX_SECONDS + 1] {
            refused("beyond the years 1 to 9999", Attribute { seconds, ..ONE });
        }
        refused("nanoseconds", Attribute { nanos: 1_000_000_000, ..ONE });
        refused("an owner", Attribute { uid: u32::MAX, ..ONE });
        refused("a group", Attribute { gid: u32::MAX, ..ONE });
    }

    #[test]
    fn f17_the_nearest_attribute_is_always_allowed() {
        let clamped = [i64::MIN, -1, i64::MAX].map(|s| Attribute::nearest(s, u32::MAX, u32::MAX, u32::MAX));
        let attributes = Attributes(clamped.to_vec());
        assert_eq!(Attributes::decode(&attributes.encode()), Ok(attributes));
        assert_eq!(Attribute::nearest(ONE.seconds, ONE.nanos, ONE.uid, ONE.gid), ONE, "what is allowed stays");
    }
}
