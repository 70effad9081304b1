//! Versions of this program: three numbers, of which the first that differs says which one is newer.

use crate::encoding::{Decoder, Encode, Encoder, Malformed};
use std::fmt;
use std::str::FromStr;

/// A version of this program, as `1.2.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SoftwareVersion(pub u32, pub u32, pub u32);

impl FromStr for SoftwareVersion {
    type Err = Malformed;

    /// Three numbers with dots between. What follows a `-` or `+` is of the build, and tells no version from another.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed::new(Self::WHAT, "it is not of three numbers, as 1.2.3 is");
        let numbers = text.split(['-', '+']).next().unwrap_or_default().split('.');
        let is_plain = |number: &&str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let numbers: Vec<u32> = numbers.filter(is_plain).map_while(|number| number.parse().ok()).collect();
        let is_whole = text.split(['-', '+']).next().is_some_and(|plain| plain.split('.').count() == 3);
        match numbers.as_slice() {
            [major, minor, patch] if is_whole => Ok(Self(*major, *minor, *patch)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for SoftwareVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Encode for SoftwareVersion {
    const WHAT: &'static str = "version of this program";

    fn put(&self, to: &mut Encoder) {
        to.number(self.0).number(self.1).number(self.2);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self(from.number32("the first number")?, from.number32("the second")?, from.number32("the third")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g17_versions_are_compared_by_numbers_and_what_is_none_is_refused() {
        let read = |text: &str| text.parse::<SoftwareVersion>();
        assert!(read("0.9.12").expect("a version") < read("0.10.1").expect("a version"));
        assert_eq!(read("1.2.3-rc1+build"), Ok(SoftwareVersion(1, 2, 3)));
        assert_eq!(SoftwareVersion::decode(&SoftwareVersion(1, 2, 3).encode()), Ok(SoftwareVersion(1, 2, 3)));
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.2.x", "1..3", "-1.2.3", "1.2.+3", "1.2.4294967296", "v1.2.3"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
