//! Which nodes: conditions on their labels, all of which must hold.
//!
//! People write `role=web,zone!=b`. A condition names a key and what its value must be: one of these (`zone=a|b`), none of
//! these (`zone!=a|b`), anything (`gpu`), or nothing at all (`!gpu`). A node that lacks the key is none of anything: `zone!=b`
//! selects those without a zone as well, as Kubernetes' selectors do.

use crate::encoding::{Decoder, Encode, Encoder, Malformed, require};
use crate::id::BadName;
use crate::{Label, Labels};
use std::fmt;
use std::str::FromStr;

/// Conditions on labels, which rise by key and rule; none selects every agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector(Vec<Condition>);

/// What the value of one key must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// The key.
    pub key: Label,
    /// What of it.
    pub rule: Rule,
}

/// A rule for a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// It is one of these, which rise.
    In(Vec<Label>),
    /// It is none of these, which rise; a node that lacks the key has none of them.
    NotIn(Vec<Label>),
    /// There is one.
    Has,
    /// There is none.
    Lacks,
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSelector {
    /// A key or a value breaks the rule for labels.
    #[error(transparent)]
    Name(#[from] BadName),
    /// Nothing stands between two commas.
    #[error("a condition is empty; write them as role=web,zone!=b")]
    Empty,
    /// Two conditions on one key that could be one, or contradict each other.
    #[error("there are two conditions on {0:?} of the same sort; write the values in one, as {0}=a|b")]
    Twice(String),
    /// Too many conditions, or too many values in one.
    #[error("{0}")]
    TooMany(&'static str),
}

impl Rule {
    fn nr(&self) -> u8 {
        match self {
            Self::In(_) => 1,
            Self::NotIn(_) => 2,
            Self::Has => 3,
            Self::Lacks => 4,
        }
    }

    fn values(&self) -> &[Label] {
        match self {
            Self::In(values) | Self::NotIn(values) => values,
            Self::Has | Self::Lacks => &[],
        }
    }

    /// Whether each value, or lack of one, that keeps this rule keeps the other as well.
    fn implies(&self, other: &Self) -> bool {
        let all = |values: &[Label], keep: &dyn Fn(&Label) -> bool| values.iter().all(keep);
        match (self, other) {
            (Self::In(these), Self::In(those)) => all(these, &|value| those.contains(value)),
            (Self::In(these), Self::NotIn(those)) => all(these, &|value| !those.contains(value)),
            (Self::NotIn(these), Self::NotIn(those)) => all(those, &|value| these.contains(value)),
            (Self::In(_) | Self::Has, Self::Has) | (Self::Lacks, Self::NotIn(_) | Self::Lacks) => true,
            _ => false,
        }
    }

    fn holds(&self, value: Option<&Label>) -> bool {
        match self {
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Has => value.is_some(),
            Self::Lacks => value.is_none(),
        }
    }
}

impl Selector {
    /// How many conditions there may be.
    pub const MAX: usize = 16;
    /// How many values one may name.
    pub const MAX_VALUES: usize = 64;

    /// Takes conditions in any order; refuses two of the same sort on one key.
    pub fn new(mut conditions: Vec<Condition>) -> Result<Self, BadSelector> {
        for condition in &mut conditions {
            if let Rule::In(values) | Rule::NotIn(values) = &mut condition.rule {
                values.sort_unstable();
                values.dedup();
            }
        }
        conditions.sort_unstable_by(|a, b| (&a.key, a.rule.nr()).cmp(&(&b.key, b.rule.nr())));
        let same = |pair: &&[Condition]| (&pair[0].key, pair[0].rule.nr()) == (&pair[1].key, pair[1].rule.nr());
        if let Some(pair) = conditions.windows(2).find(same) {
            return Err(BadSelector::Twice(pair[0].key.as_str().to_owned()));
        }
        if conditions.len() > Self::MAX {
            return Err(BadSelector::TooMany("there are more than 16 conditions"));
        }
        if conditions.iter().any(|condition| condition.rule.values().len() > Self::MAX_VALUES) {
            return Err(BadSelector::TooMany(
                "a condition names more than 64 values; give those nodes a label of their own",
            ));
        }
        Ok(Self(conditions))
    }

    /// Each of these labels.
    pub fn of(labels: &Labels) -> Self {
        let is = |(key, value): (&Label, &Label)| Condition { key: key.clone(), rule: Rule::In(vec![value.clone()]) };
        Self(labels.iter().map(is).collect())
    }

    /// Both: every condition of either.
    pub fn and(&self, other: &Self) -> Result<Self, BadSelector> {
        let mut conditions = self.0.clone();
        conditions.extend(other.0.iter().filter(|condition| !self.0.contains(condition)).cloned());
        Self::new(conditions)
    }

    /// Whether every agent is selected.
    pub fn is_everyone(&self) -> bool {
        self.0.is_empty()
    }

    /// The conditions, which rise by key.
    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }

    /// Whether a node with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|condition| condition.rule.holds(labels.get(&condition.key)))
    }

    /// Whether every node that this one selects is selected by `outer`, as far as that can be told condition by condition: in doubt
    /// it is not.
    pub fn is_within(&self, outer: &Self) -> bool {
        outer.0.iter().all(|of| self.0.iter().any(|here| here.key == of.key && here.rule.implies(&of.rule)))
    }

    /// The labels that it asks for, if that is all it does: what the first version of an order could say.
    pub(crate) fn plain(&self) -> Option<Vec<(&Label, &Label)>> {
        let plain = |condition: &'_ Condition| matches!(&condition.rule, Rule::In(values) if values.len() == 1);
        self.0.iter().all(plain).then(|| self.0.iter().map(|of| (&of.key, &of.rule.values()[0])).collect())
    }
}

impl FromStr for Selector {
    type Err = BadSelector;

    /// Reads `role=web,zone!=b|c,gpu,!canary`; an empty text selects everyone.
    fn from_str(text: &str) -> Result<Self, BadSelector> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Self::new(text.split(',').map(|condition| condition_from(condition.trim())).collect::<Result<_, _>>()?)
    }
}

fn condition_from(text: &str) -> Result<Condition, BadSelector> {
    let values = |text: &str| text.split('|').map(|value| Label::new(value.trim())).collect::<Result<Vec<_>, _>>();
    let (key, rule) = if text.is_empty() {
        return Err(BadSelector::Empty);
    } else if let Some((key, of)) = text.split_once("!=") {
        (key, Rule::NotIn(values(of)?))
    } else if let Some((key, of)) = text.split_once('=') {
        (key, Rule::In(values(of.strip_prefix('=').unwrap_or(of))?))
    } else if let Some(key) = text.strip_prefix('!') {
        (key, Rule::Lacks)
    } else {
        (text, Rule::Has)
    };
    Ok(Condition { key: Label::new(key.trim())?, rule })
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, Condition { key, rule }) in self.0.iter().enumerate() {
            f.write_str(if nth > 0 { "," } else { "" })?;
            let values = rule.values().iter().map(Label::as_str).collect::<Vec<_>>().join("|");
            match rule {
                Rule::In(_) => write!(f, "{}={values}", key.as_str())?,
                Rule::NotIn(_) => write!(f, "{}!={values}", key.as_str())?,
                Rule::Has => f.write_str(key.as_str())?,
                Rule::Lacks => write!(f, "!{}", key.as_str())?,
            }
        }
        Ok(())
    }
}

impl Encode for Selector {
    const WHAT: &'static str = "selector";

    fn put(&self, to: &mut Encoder) {
        to.count(self.0.len());
        for Condition { key, rule } in &self.0 {
            to.value(key).byte(rule.nr());
            if matches!(rule, Rule::In(_) | Rule::NotIn(_)) {
                to.list(rule.values().iter());
            }
        }
    }

    fn take(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let count = from.count("the number of conditions", Self::MAX, 3)?;
        let conditions = (0..count).map(|_| take_condition(from)).collect::<Result<Vec<_>, _>>()?;
        let selector = Self::new(conditions.clone()).map_err(|bad| from.wrong(bad.to_string()))?;
        require(selector.0 == conditions, Self::WHAT, "its conditions or their values do not rise")?;
        Ok(selector)
    }
}

fn take_condition(from: &mut Decoder<'_>) -> Result<Condition, Malformed> {
    let (key, nr) = (from.value()?, from.byte()?);
    let rule = match nr {
        1 | 2 => {
            let values: Vec<Label> = from.list("the number of values", Selector::MAX_VALUES, 2)?;
            require(!values.is_empty(), Selector::WHAT, "a condition names no value")?;
            if nr == 1 { Rule::In(values) } else { Rule::NotIn(values) }
        }
        3 => Rule::Has,
        4 => Rule::Lacks,
        other => return Err(from.wrong(format!("there is no sort of condition {other}"))),
    };
    Ok(Condition { key, rule })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> Selector {
        text.parse().expect(text)
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let label = |text| Label::new(text).expect("a plain label");
        pairs.iter().map(|(key, value)| (label(key), label(value))).collect()
    }

    #[test]
    fn what_people_write_is_what_is_meant() {
        let web_a = labels(&[("role", "web"), ("zone", "a")]);
        let (web, db_b) = (labels(&[("role", "web")]), labels(&[("role", "db"), ("zone", "b"), ("gpu", "yes")]));
        let chosen = |text: &str| [&web_a, &web, &db_b].map(|labels| selector(text).matches(labels));
        assert_eq!(chosen(""), [true, true, true]);
        assert_eq!(chosen("role=web"), [true, true, false]);
        assert_eq!(chosen("role==web , zone = a"), [true, false, false]);
        assert_eq!(chosen("role=web,zone!=b"), [true, true, false], "who has no zone is not in zone b");
        assert_eq!(chosen("zone!=a"), [false, true, true]);
        assert_eq!(chosen("zone=a|b"), [true, false, true]);
        assert_eq!(chosen("zone!=a|b"), [false, true, false]);
        assert_eq!(chosen("gpu"), [false, false, true]);
        assert_eq!(chosen("!gpu,zone"), [true, false, false]);
        assert_eq!(chosen("zone,zone!=b"), [true, false, false], "two rules for one key");
    }

    #[test]
    fn a_selector_reads_what_it_prints_and_has_one_form() {
        for text in ["", "role=web", "role=web,zone!=b", "gpu,!old,zone=a|b,zone!=c"] {
            assert_eq!(selector(&selector(text).to_string()), selector(text));
            assert_eq!(Selector::decode(&selector(text).encode()), Ok(selector(text)));
        }
        assert_eq!(selector("zone=b|a|b,role=web"), selector("role=web,zone=a|b"));
        assert_eq!(selector("zone=b|a,role=web").to_string(), "role=web,zone=a|b");
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_reason() {
        let refused = |text: &str, why: &str| {
            let error = text.parse::<Selector>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        };
        refused("role=web,", "empty");
        refused("role=", "1 to 64 of a-z");
        refused("=web", "1 to 64 of a-z");
        refused("role=Web", "1 to 64 of a-z");
        refused("a=b=c", "1 to 64 of a-z");
        refused("zone=a,zone=b", "zone=a|b");
        refused(&(0..17).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(","), "more than 16");
        refused(&format!("k={}", (0..65).map(|n| format!("v{n}")).collect::<Vec<_>>().join("|")), "more than 64");
    }

    #[test]
    fn hostile_bytes_are_refused() {
        let bytes = selector("gpu,zone=a|b").encode();
        for at in 0..bytes.len() {
            assert!(Selector::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        let of = |conditions: Vec<(&str, u8, &[&str])>| {
            let mut to = Encoder::new();
            to.count(conditions.len());
            for (key, nr, values) in conditions {
                to.text(key).byte(nr);
                if nr < 3 {
                    to.count(values.len());
                    for value in values {
                        to.text(value);
                    }
                }
            }
            Selector::decode(&to.finish())
        };
        assert!(of(vec![("a", 1, &["x"]), ("b", 3, &[])]).is_ok());
        assert!(of(vec![("b", 3, &[]), ("a", 1, &["x"])]).is_err(), "keys fall");
        assert!(of(vec![("a", 1, &["y", "x"])]).is_err(), "values fall");
        assert!(of(vec![("a", 1, &["x", "x"])]).is_err(), "a value stands twice");
        assert!(of(vec![("a", 2, &[])]).is_err(), "no value");
        assert!(of(vec![("a", 5, &[])]).is_err(), "no such rule");
        assert!(of(vec![("a", 3, &[]), ("a", 3, &[])]).is_err(), "twice the same");
    }

    #[test]
    fn both_of_two_is_what_either_asks_for() {
        let both = selector("role=web,zone!=b").and(&selector("gpu,role=web")).expect("they agree");
        assert_eq!(both, selector("gpu,role=web,zone!=b"));
        assert!(selector("zone=a").and(&selector("zone=b")).is_err());
    }

    #[test]
    fn what_lies_within_another() {
        let within = |inner: &str, outer: &str| selector(inner).is_within(&selector(outer));
        for (inner, outer) in [
            ("", ""),
            ("role=web", ""),
            ("role=web,zone=a", "role=web"),
            ("role=web", "role=web|db"),
            ("zone!=a|b", "zone!=a"),
            ("zone=c", "zone!=a|b"),
            ("zone=c", "zone"),
            ("!zone", "zone!=a"),
            ("!zone,role=web", "!zone"),
        ] {
            assert!(within(inner, outer), "{inner} within {outer}");
        }
        for (inner, outer) in [
            ("", "role=web"),
            ("role=web|db", "role=web"),
            ("zone=a", "role=web"),
            ("zone!=a", "zone!=a|b"),
            ("zone!=a", "zone=b"),
            ("zone!=a", "zone"),
            ("zone", "zone=a"),
            ("zone=a|b", "zone!=b"),
            ("!zone", "zone"),
        ] {
            assert!(!within(inner, outer), "{inner} within {outer}");
        }
    }
}
