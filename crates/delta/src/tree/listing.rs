//! The bytes of a tree patch, as `docs/patch-format.md` draws them: which wanted file comes from where.
//!
//! Wanted files are counted by their place among those that are wanted. What is read makes each that is not empty exactly once, of
//! old files that there are, in so few parts, of so few old bytes, that time is bounded by what is made.

use super::Files;
use crate::Malformed;
use crate::format::{Numbers, TREE_FORMAT_VERSION, put_number};

const MAGIC: &[u8; 4] = b"tdgt";

/// A part costs something whatever it makes: there are so many, and one more for each of so many bytes that are made.
const PARTS: u64 = 16;
/// The least that a file has which is a part of its own, in bytes.
pub(super) const OWN_PART: u64 = 1 << 16;
/// So many old bytes may be read for each that a part makes, and so many besides.
const OLD_PER_NEW: u64 = 64;
const OLD_BESIDES: u64 = 4096;

/// Neighbouring wanted files that are neighbouring old files; empty ones are passed over among the wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copied {
    /// The first wanted file.
    pub(super) at: u32,
    pub(super) count: u32,
    /// The first old file.
    pub(super) old: u32,
}

impl Copied {
    /// Each wanted file and which old one it is.
    pub(super) fn files(self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.count).map(move |nth| (self.at + nth, self.old + nth))
    }
}

/// Some old files joined, of which a patch makes some wanted ones joined; both ascend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) olds: Vec<u32>,
    pub(super) news: Vec<u32>,
    pub(super) body: &'a [u8],
}

impl Part<'_> {
    pub(super) fn old_len(&self, old: &dyn Files) -> u64 {
        self.olds.iter().map(|file| old.len(*file)).fold(0, u64::saturating_add)
    }

    pub(super) fn new_len(&self, lens: &[u64]) -> u64 {
        self.news.iter().map(|at| lens[*at as usize]).fold(0, u64::saturating_add)
    }
}

/// All that a tree patch says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Listing<'a> {
    /// Ascending, and not touching each other where they could be one.
    pub(super) copies: Vec<Copied>,
    pub(super) parts: Vec<Part<'a>>,
}

impl<'a> Listing<'a> {
    /// The tree patch, where these are the lengths of the wanted files.
    pub(super) fn write(&self, lens: &[u64]) -> Vec<u8> {
        let mut to = [MAGIC.as_slice(), &[TREE_FORMAT_VERSION]].concat();
        put_number(&mut to, self.copies.len() as u64);
        let mut next = (0, 0);
        for copy in &self.copies {
            let gap = u64::from(copy.at - next.0);
            put_number(&mut to, gap);
            put_number(&mut to, u64::from(copy.count) - 1);
            put_signed(&mut to, i64::from(copy.old) - (next.1 + gap) as i64);
            next = (copy.at + copy.count, u64::from(copy.old + copy.count));
        }
        let rest = self.rest(lens);
        put_number(&mut to, self.parts.len() as u64);
        for part in &self.parts {
            put_rising(&mut to, &part.olds);
            let place = |at: &u32| rest.binary_search(at).expect("a part makes what is not copied") as u32;
            put_rising(&mut to, &part.news.iter().map(place).collect::<Vec<_>>());
            put_number(&mut to, part.body.len() as u64);
        }
        self.parts.iter().for_each(|part| to.extend_from_slice(part.body));
        to
    }

    /// Reads and checks everything but the bodies.
    pub(super) fn read(patch: &'a [u8], old: &dyn Files, lens: &[u64]) -> Result<Self, Malformed> {
        let rest = patch.strip_prefix(MAGIC).ok_or(Malformed::Magic)?;
        let (&version, rest) = rest.split_first().ok_or(Malformed::Length)?;
        if version != TREE_FORMAT_VERSION {
            return Err(Malformed::TreeVersion(version));
        }
        let mut numbers = Numbers(rest);
        let mut listing = Self { copies: copies(&mut numbers, old, lens)?, parts: Vec::new() };
        listing.read_parts(numbers, old, lens)?;
        Ok(listing)
    }

    /// What is neither empty nor copied.
    fn rest(&self, lens: &[u64]) -> Vec<u32> {
        let mut copies = self.copies.iter().flat_map(|copy| copy.files()).map(|(at, _)| at).peekable();
        let is_left = |at: &u32| copies.next_if_eq(at).is_none() && lens[*at as usize] > 0;
        (0..lens.len() as u32).filter(is_left).collect()
    }

    fn read_parts(&mut self, mut numbers: Numbers<'a>, old: &dyn Files, lens: &[u64]) -> Result<(), Malformed> {
        let rest = self.rest(lens);
        let left: u64 = rest.iter().map(|at| lens[*at as usize]).fold(0, u64::saturating_add);
        let count = numbers.next()?;
        if count > PARTS + left / OWN_PART {
            return Err(Malformed::Idle);
        }
        let mut is_made = vec![false; rest.len()];
        let mut heads = Vec::new();
        for _ in 0..count {
            let olds = rising(&mut numbers, old.count())?;
            let mut news = rising(&mut numbers, rest.len() as u32)?;
            for place in &mut news {
                if std::mem::replace(&mut is_made[*place as usize], true) {
                    return Err(Malformed::Files);
                }
                *place = rest[*place as usize];
            }
            heads.push((olds, news, numbers.next()?));
        }
        if is_made.contains(&false) {
            return Err(Malformed::Files);
        }
        let mut bodies = numbers.0;
        for (olds, news, len) in heads {
            let len = usize::try_from(len).map_err(|_| Malformed::Length)?;
            let body = bodies.split_off(..len).ok_or(Malformed::Length)?;
            let part = Part { olds, news, body };
            let most = part.new_len(lens).saturating_mul(OLD_PER_NEW).saturating_add(OLD_BESIDES);
            match part.news.is_empty() || part.old_len(old) > most {
                true => return Err(Malformed::Idle),
                false => self.parts.push(part),
            }
        }
        if bodies.is_empty() { Ok(()) } else { Err(Malformed::Length) }
    }
}

fn copies(numbers: &mut Numbers<'_>, old: &dyn Files, lens: &[u64]) -> Result<Vec<Copied>, Malformed> {
    let mut copies = Vec::new();
    let mut next = (0u64, 0u64);
    for _ in 0..numbers.next()? {
        let (gap, more) = (numbers.next()?, numbers.next()?);
        let at = next.0.checked_add(gap).ok_or(Malformed::OutOfRange)?;
        let expected = i64::try_from(next.1.saturating_add(gap)).map_err(|_| Malformed::OutOfRange)?;
        let first = expected.checked_add(signed(numbers)?).and_then(|first| u64::try_from(first).ok());
        let first = first.ok_or(Malformed::OutOfRange)?;
        let end = |start: u64, of: u64| {
            start
                .checked_add(more)
                .and_then(|last| last.checked_add(1))
                .filter(|end| *end <= of)
                .ok_or(Malformed::OutOfRange)
        };
        next = (end(at, lens.len() as u64)?, end(first, old.count().into())?);
        let copy = Copied { at: at as u32, count: (next.0 - at) as u32, old: first as u32 };
        if copy.files().any(|(at, file)| lens[at as usize] == 0 || lens[at as usize] != old.len(file)) {
            return Err(Malformed::Sums);
        }
        copies.push(copy);
    }
    Ok(copies)
}

/// How many, and each as what lies between it and the one before it.
fn put_rising(to: &mut Vec<u8>, all: &[u32]) {
    put_number(to, all.len() as u64);
    let mut next = 0;
    for &one in all {
        put_number(to, u64::from(one - next));
        next = one + 1;
    }
}

fn rising(numbers: &mut Numbers<'_>, below: u32) -> Result<Vec<u32>, Malformed> {
    let mut all = Vec::new();
    let mut next = 0u64;
    for _ in 0..numbers.next()? {
        let one = next.checked_add(numbers.next()?).filter(|one| *one < below.into()).ok_or(Malformed::OutOfRange)?;
        all.push(one as u32);
        next = one + 1;
    }
    Ok(all)
}

fn put_signed(to: &mut Vec<u8>, number: i64) {
    put_number(to, ((number << 1) ^ (number >> 63)) as u64);
}

fn signed(numbers: &mut Numbers<'_>) -> Result<i64, Malformed> {
    let number = numbers.next()?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}
