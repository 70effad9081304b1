//! What an operator may do: which acts, for which applications, on which nodes.
//!
//! A key is stolen where it lies, and keys for machines lie where many can reach them. What bounds the damage is what the key may
//! sign at all. Whoever has every power is what every operator was before there were any.

use crate::encoding::{Decoder, Encode, Encoder, Malformed, require};
use crate::{AppName, Selector};
use std::fmt;

/// An act that an operator may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// To sign releases and orders.
    Deploy,
    /// To pause, resume, promote and abort rollouts.
    Steer,
    /// To change who and what is in the fleet: join lines, forgetting nodes, limits, operators.
    Fleet,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deploy, Self::Steer, Self::Fleet];

    /// Its word, as people write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Steer => "steer",
            Self::Fleet => "fleet",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Deploy => 1,
            Self::Steer => 2,
            Self::Fleet => 4,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What one operator may do. The default is everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Powers {
    /// Which acts; at least one, each once, in the order of [`Act::ALL`].
    pub may: Vec<Act>,
    /// For which applications, which rise; none is all of them. It bounds what is signed, not [`Act::Fleet`].
    pub apps: Vec<AppName>,
    /// On which nodes: the selector of an order must lie within this one. It bounds what is signed, not [`Act::Fleet`].
    pub on: Selector,
}

impl Default for Powers {
    fn default() -> Self {
        Self { may: Act::ALL.to_vec(), apps: Vec::new(), on: Selector::default() }
    }
}

impl Powers {
    /// How many applications may be named.
    pub const MAX_APPS: usize = 32;

    /// These acts, applications and nodes, in any order.
    pub fn new(mut may: Vec<Act>, mut apps: Vec<AppName>, on: Selector) -> Self {
        may.sort_unstable();
        may.dedup();
        apps.sort_unstable();
        apps.dedup();
        Self { may, apps, on }
    }

    /// Whether nothing is kept from this operator.
    pub fn are_full(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it may do this at all.
    pub fn allow(&self, act: Act) -> bool {
        self.may.contains(&act)
    }

    /// Whether it may do this for an application, on the nodes that `on` selects; a release is for no nodes yet.
    pub fn cover(&self, act: Act, app: &AppName, on: Option<&Selector>) -> bool {
        let is_named = self.apps.is_empty() || self.apps.contains(app);
        self.allow(act) && is_named && on.is_none_or(|on| on.is_within(&self.on))
    }

    /// Refuses what no operator may have.
    pub fn check(&self) -> Result<(), Malformed> {
        let rule = |fine, why| require(fine, Self::WHAT, why);
        rule(!self.may.is_empty(), "it allows nothing; leave that operator out")?;
        rule(self.may.is_sorted_by(|a, b| a < b), "its acts do not rise")?;
        rule(self.apps.len() <= Self::MAX_APPS, "it names more than 32 applications; name none for all of them")?;
        rule(self.apps.is_sorted_by(|a, b| a < b), "its applications do not rise")
    }
}

impl fmt::Display for Powers {
    /// `everything`, or what it is: `deploy, steer of web on role=web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.are_full() {
            return f.write_str("everything");
        }
        let words: Vec<&str> = self.may.iter().map(|act| act.word()).collect();
        f.write_str(&words.join(", "))?;
        let apps: Vec<&str> = self.apps.iter().map(AppName::as_str).collect();
        if !apps.is_empty() {
            write!(f, " of {}", apps.join(", "))?;
        }
        if self.on.is_everyone() { Ok(()) } else { write!(f, " on {}", self.on) }
    }
}

impl Encode for Powers {
    const WHAT: &'static str = "powers of an operator";

    fn put(&self, to: &mut Encoder) {
        to.byte(self.may.iter().fold(0, |bits, act| bits | act.bit()));
        to.list(self.apps.iter()).value(&self.on);
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let bits = from.byte()?;
        let known = Act::ALL.iter().fold(0, |bits, act| bits | act.bit());
        require(bits & !known == 0, Self::WHAT, "it allows an act that this program does not know")?;
        let may = Act::ALL.into_iter().filter(|act| bits & act.bit() != 0).collect();
        let powers = Self { may, apps: from.list("the number of applications", Self::MAX_APPS, 2)?, on: from.value()? };
        powers.check().map(|()| powers)
    }
}
