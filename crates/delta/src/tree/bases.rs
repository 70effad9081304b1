//! What a tree patch will say: which wanted files are old ones, and which are made of which, in parts.
//!
//! Programs and large files are a part each. Everything else goes together, so that models learn once; and what has no base stands
//! apart where there is much of it, because a part is coded in one way.

use super::kinship::Kinship;
use super::listing::{Copied, OWN_PART};
use super::portrait::Portrait;
use super::{Files, Hands, each, read};
use std::collections::{BTreeMap, BTreeSet};

/// A file of so many bytes is a part of its own, whatever it is.
const LARGE: u64 = 4 << 20;
/// A part of several files takes no more when it makes so many bytes.
const FULL: u64 = 8 << 20;
/// However little memory there is, parts are not cut finer.
const LEAST_FULL: u64 = 1 << 20;
/// So much without a base is coded with what has one, in bytes.
const FEW: u64 = 48 << 10;

/// Old files, and places of wanted ones.
type Members = (Vec<u32>, Vec<u32>);

/// All but the bodies of the parts.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) copies: Vec<Copied>,
    pub(super) parts: Vec<Members>,
}

/// A wanted file that is no old one.
#[derive(Debug, Clone, Copy)]
struct Changed {
    at: u32,
    len: u64,
    base: Option<u32>,
    is_program: bool,
}

impl Changed {
    fn stands_alone(&self) -> bool {
        self.len >= LARGE || self.base.is_some() && self.is_program && self.len >= OWN_PART
    }
}

impl Plan {
    /// Nothing if a file cannot be read.
    pub(super) fn make(
        hands: &dyn Hands,
        old: &dyn Files,
        new: &dyn Files,
        wanted: &[u32],
        memory: u64,
    ) -> Option<Self> {
        if wanted.iter().all(|file| new.len(*file) == 0) {
            return Some(Self { copies: Vec::new(), parts: Vec::new() });
        }
        let olds = portraits(hands, old, old.count(), |nth| nth)?;
        let news = portraits(hands, new, wanted.len() as u32, |nth| wanted[nth as usize])?;
        let same = same(hands, old, new, wanted, &olds, &news)?;
        let kinship = Kinship::of(old, &olds);
        let changed = |at: u32| {
            let (file, portrait) = (wanted[at as usize], &news[at as usize]);
            let len = new.len(file);
            let base = kinship.base(new.name(file), len, portrait);
            Changed { at, len, base, is_program: portrait.is_program }
        };
        let is_left = |at: &u32| same[*at as usize].is_none() && new.len(wanted[*at as usize]) > 0;
        let left = (0..wanted.len() as u32).filter(is_left).map(changed).collect();
        Some(Self { copies: runs(&same), parts: parts(left, old, memory) })
    }
}

fn portraits(
    hands: &dyn Hands,
    files: &dyn Files,
    count: u32,
    file: impl Fn(u32) -> u32 + Sync,
) -> Option<Vec<Portrait>> {
    let look = |nth: usize| Some(Portrait::of(&read(files, file(nth as u32))?));
    each(hands, count as usize, look).into_iter().collect()
}

/// Which old file each wanted one is, if it is any: by its print, and then by its bytes.
fn same(
    hands: &dyn Hands,
    old: &dyn Files,
    new: &dyn Files,
    wanted: &[u32],
    olds: &[Portrait],
    news: &[Portrait],
) -> Option<Vec<Option<u32>>> {
    let mut prints: BTreeMap<(u64, u64), Vec<u32>> = BTreeMap::new();
    for (file, portrait) in (0..).zip(olds).filter(|(file, _)| old.len(*file) > 0) {
        prints.entry((old.len(file), portrait.print)).or_default().push(file);
    }
    let find = |at: usize| {
        let Some(files) = prints.get(&(new.len(wanted[at]), news[at].print)) else { return Some(None) };
        let name = new.name(wanted[at]);
        let namesake = files.iter().find(|file| name.is_some() && old.name(**file) == name);
        let file = *namesake.unwrap_or(&files[0]);
        Some((read(old, file)? == read(new, wanted[at])?).then_some(file))
    };
    each(hands, wanted.len(), find).into_iter().collect()
}

/// Neighbours that are neighbours in old, too, together.
fn runs(same: &[Option<u32>]) -> Vec<Copied> {
    let mut runs: Vec<Copied> = Vec::new();
    for (at, old) in (0..).zip(same).filter_map(|(at, old)| Some((at, (*old)?))) {
        match runs.last_mut() {
            Some(run) if (run.at + run.count, run.old + run.count) == (at, old) => run.count += 1,
            _ => runs.push(Copied { at, count: 1, old }),
        }
    }
    runs
}

fn parts(changed: Vec<Changed>, old: &dyn Files, memory: u64) -> Vec<Members> {
    let (alone, together): (Vec<_>, Vec<_>) = changed.into_iter().partition(Changed::stands_alone);
    let (based, fresh): (Vec<_>, Vec<_>) = together.into_iter().partition(|file| file.base.is_some());
    let len = |files: &[Changed]| files.iter().map(|file| file.len).sum::<u64>();
    // Twelve times both sides is what looking for a patch takes.
    let full = FULL.min(memory / 24).max(LEAST_FULL);
    let grouped = |files: Vec<Changed>| group(files, old, full).into_iter().map(|files| members(&files));
    let mut parts: Vec<Members> = alone.into_iter().map(|file| members(&[file])).collect();
    if len(&fresh) <= FEW {
        let mut all = [based, fresh].concat();
        all.sort_unstable_by_key(|file| file.at);
        parts.extend(grouped(all));
        return parts;
    }
    let helpful: Vec<u32> = based.iter().filter_map(|file| file.base).collect();
    parts.extend(grouped(based));
    let groups = group(fresh, old, full);
    parts.extend(groups.into_iter().map(|files| (beside(&helpful, old, len(&files)), members(&files).1)));
    parts
}

/// Old files that are of the same making, for what has no base of its own and is so long.
fn beside(helpful: &[u32], old: &dyn Files, len: u64) -> Vec<u32> {
    let mut sum = 0;
    let fits = |file: &&u32| {
        sum += old.len(**file);
        sum <= len * 8
    };
    let all: BTreeSet<u32> = helpful.iter().take_while(fits).copied().collect();
    all.into_iter().collect()
}

/// Cut where a part is full, on one side or the other.
fn group(files: Vec<Changed>, old: &dyn Files, full: u64) -> Vec<Vec<Changed>> {
    let mut groups: Vec<Vec<Changed>> = Vec::new();
    let mut sum = 0;
    for file in files {
        sum += file.len.max(file.base.map_or(0, |base| old.len(base)));
        match groups.last_mut() {
            Some(group) if sum <= full => group.push(file),
            _ => {
                sum = file.len.max(file.base.map_or(0, |base| old.len(base)));
                groups.push(vec![file]);
            }
        }
    }
    groups
}

fn members(files: &[Changed]) -> Members {
    let olds: BTreeSet<u32> = files.iter().filter_map(|file| file.base).collect();
    (olds.into_iter().collect(), files.iter().map(|file| file.at).collect())
}
