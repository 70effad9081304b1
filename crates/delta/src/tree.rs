//! The change between two trees as one patch, and back again.
//!
//! A tree is numbered byte strings here: which path has which number, and how long each is, both sides know from somewhere
//! else (two manifests). A tree patch says of each wanted file that it is a whole old file, or in which *part* it is made:
//! a part joins some old files, and some new ones, and is one patch between the two. So what changed in many small files is
//! learned once, and programs are still seen as what they are.
//!
//! Nothing is verified here but lengths, as in [`crate::apply`]: the caller compares digests of what it reads, and of what
//! is made. Whatever the patch, [`apply_tree`] makes each wanted file at most once, and takes no more memory than the
//! budget and some multiple of the patch's own length.

mod bases;
mod kinship;
mod listing;
mod portrait;

use crate::bounds::{take, within};
use crate::{ApplyError, Budget, Declared, Effort, Heap, Lent, Malformed, Room, apply_in, diff};
use bases::Plan;
use listing::{Listing, Part};
use std::sync::{Mutex, PoisonError};

/// Numbered files.
pub trait Files: Sync {
    /// How many there are.
    fn count(&self) -> u32;
    /// How long one is, in bytes.
    fn len(&self, file: u32) -> u64;
    /// All bytes of one, or nothing when they cannot be had, or are no longer what they were; whoever reads verifies.
    fn read(&self, file: u32) -> Option<Vec<u8>>;
    /// The same, into a buffer of its length: whether they could be had.
    fn read_into(&self, file: u32, buffer: &mut [u8]) -> bool {
        let bytes = self.read(file).filter(|bytes| bytes.len() == buffer.len());
        bytes.map(|bytes| buffer.copy_from_slice(&bytes)).is_some()
    }
    /// What it is called: a hint where to look for what is like it, and never part of a patch.
    fn name(&self, _file: u32) -> Option<&[u8]> {
        None
    }
}

/// Whoever can do several things at once: this crate has no threads of its own.
pub trait Hands {
    /// Calls `work` once with each number below `jobs`, and returns when all of them have ended.
    fn share(&self, jobs: usize, work: &(dyn Fn(usize) + Sync));
}

/// The thread that calls, alone.
#[derive(Debug, Clone, Copy)]
pub struct OneHand;

impl Hands for OneHand {
    fn share(&self, jobs: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..jobs).for_each(work);
    }
}

/// What a new file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made<'a> {
    /// The same as this old file, which has the same length.
    Old(u32),
    /// These bytes.
    Bytes(&'a [u8]),
}

/// Whoever takes the files wants no more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// Why not all files were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The patch, or a part of it, cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The bytes of an old file cannot be had.
    #[error("the old file number {0} cannot be read, or changed")]
    Unread(u32),
    /// Whoever takes the files said so.
    #[error("the files were no longer wanted")]
    Stopped,
}

impl From<Malformed> for TreeError {
    fn from(malformed: Malformed) -> Self {
        Self::Apply(malformed.into())
    }
}

/// A tree patch that makes the `wanted` files of `new` (ascending) of the files of `old`. Nothing if a file cannot be read, or `wanted`
/// is not ascending or names what is not there. With `memory` bytes; a part that needs more is looked at with less effort. Equal arguments
/// give equal patches.
pub fn diff_tree(old: &dyn Files, new: &dyn Files, wanted: &[u32], effort: Effort, memory: u64) -> Option<Vec<u8>> {
    diff_tree_by(&OneHand, old, new, wanted, effort, memory)
}

/// The same by several hands: the patch does not depend on how many they are.
pub fn diff_tree_by(
    hands: &dyn Hands,
    old: &dyn Files,
    new: &dyn Files,
    wanted: &[u32],
    effort: Effort,
    memory: u64,
) -> Option<Vec<u8>> {
    let is_rising = wanted.is_sorted_by(|one, next| one < next);
    if !is_rising || wanted.last().is_some_and(|last| *last >= new.count()) {
        return None;
    }
    let plan = Plan::make(hands, old, new, wanted, memory)?;
    let bodies = bodies(hands, old, new, wanted, &plan, effort, memory)?;
    let part = |((olds, news), body)| Part { olds, news, body };
    let parts = plan.parts.into_iter().zip(bodies.iter().map(Vec::as_slice)).map(part).collect();
    let lens: Vec<u64> = wanted.iter().map(|file| new.len(*file)).collect();
    Some(Listing { copies: plan.copies, parts }.write(&lens))
}

/// Makes the wanted files: their lengths are `new_lens`, in the same order, and both come from whom one trusts. First come the empty
/// ones, then those that are old files, then those of each part; `sink` gets the number of each, as in `wanted`. The budget's output
/// bounds what all parts make together, its memory what one takes, with its old files.
pub fn apply_tree(
    old: &dyn Files,
    new_lens: &[u64],
    wanted: &[u32],
    patch: &[u8],
    budget: Budget,
    sink: &mut dyn FnMut(u32, Made<'_>) -> Result<(), Stop>,
) -> Result<(), TreeError> {
    apply_tree_in(&Heap, old, new_lens, wanted, patch, budget, sink)
}

/// The same, with what is large from this room, as [`crate::apply_in`] has it; but the budget's memory bounds the old files of a part and what it
/// makes of them all the same.
pub fn apply_tree_in(
    room: &dyn Room,
    old: &dyn Files,
    new_lens: &[u64],
    wanted: &[u32],
    patch: &[u8],
    budget: Budget,
    sink: &mut dyn FnMut(u32, Made<'_>) -> Result<(), Stop>,
) -> Result<(), TreeError> {
    if new_lens.len() != wanted.len() {
        return Err(Malformed::Sums.into());
    }
    let listing = Listing::read(patch, old, new_lens)?;
    let made: u64 = listing.parts.iter().map(|part| part.new_len(new_lens)).fold(0, u64::saturating_add);
    within("output", made, budget.output)?;
    let mut give = |at: u32, made: Made<'_>| sink(wanted[at as usize], made).map_err(|Stop| TreeError::Stopped);
    for at in (0..wanted.len()).filter(|at| new_lens[*at] == 0) {
        give(at as u32, Made::Bytes(&[]))?;
    }
    for copy in &listing.copies {
        copy.files().try_for_each(|(at, old)| give(at, Made::Old(old)))?;
    }
    for part in &listing.parts {
        let bytes = make(room, old, new_lens, part, budget)?;
        let mut rest = &bytes[..];
        for &at in &part.news {
            let file = rest.split_off(..new_lens[at as usize] as usize).ok_or(Malformed::Sums)?;
            give(at, Made::Bytes(file))?;
        }
    }
    Ok(())
}

/// The budget that this patch needs, as far as it says: enough for what [`diff_tree`] wrote.
pub fn tree_budget(old: &dyn Files, new_lens: &[u64], patch: &[u8]) -> Result<Budget, Malformed> {
    let listing = Listing::read(patch, old, new_lens)?;
    let need = |part: &Part<'_>| Budget::for_output(part.new_len(new_lens)).memory.saturating_add(part.old_len(old));
    let output = listing.parts.iter().map(|part| part.new_len(new_lens)).fold(0, u64::saturating_add);
    Ok(Budget { output, memory: listing.parts.iter().map(need).max().unwrap_or(0) })
}

/// Which wanted files, by their place among those that are wanted, this patch says to be which old files.
pub fn tree_copies(old: &dyn Files, new_lens: &[u64], patch: &[u8]) -> Result<Vec<(u32, u32)>, Malformed> {
    let listing = Listing::read(patch, old, new_lens)?;
    Ok(listing.copies.iter().flat_map(|copy| copy.files()).collect())
}

fn make(
    room: &dyn Room,
    old: &dyn Files,
    new_lens: &[u64],
    part: &Part<'_>,
    budget: Budget,
) -> Result<Lent, TreeError> {
    let (old_len, new_len) = (part.old_len(old), part.new_len(new_lens));
    let declared = Declared::of(part.body)?;
    if declared != (Declared { old_len, new_len }) {
        return Err(Malformed::Sums.into());
    }
    // Wherever they lie: a part may name one file a thousand times.
    within("memory", old_len.saturating_add(new_len), budget.memory)?;
    let mut from = take(room, old_len)?;
    let mut rest = &mut from[..];
    for &file in &part.olds {
        let (bytes, behind) = rest.split_at_mut_checked(old.len(file) as usize).ok_or(TreeError::Unread(file))?;
        if !old.read_into(file, bytes) {
            return Err(TreeError::Unread(file));
        }
        rest = behind;
    }
    Ok(apply_in(room, from, part.body, Budget { output: new_len, memory: budget.memory - old_len })?)
}

/// These files one after the other, or the number of the first that cannot be had.
fn joined(files: &dyn Files, which: &[u32]) -> Result<Vec<u8>, TreeError> {
    let read = |file: u32| read(files, file).ok_or(TreeError::Unread(file));
    if let [one] = which {
        return read(*one);
    }
    let mut all = Vec::new();
    for &file in which {
        all.extend_from_slice(&read(file)?);
    }
    Ok(all)
}

fn read(files: &dyn Files, file: u32) -> Option<Vec<u8>> {
    files.read(file).filter(|bytes| bytes.len() as u64 == files.len(file))
}

/// The patch of each part: as many at once as there is memory for.
fn bodies(
    hands: &dyn Hands,
    old: &dyn Files,
    new: &dyn Files,
    wanted: &[u32],
    plan: &Plan,
    effort: Effort,
    memory: u64,
) -> Option<Vec<Vec<u8>>> {
    let len = |(olds, news): &(Vec<u32>, Vec<u32>)| {
        let olds: u64 = olds.iter().map(|file| old.len(*file)).sum();
        olds + news.iter().map(|at| new.len(wanted[*at as usize])).sum::<u64>()
    };
    let lens: Vec<u64> = plan.parts.iter().map(len).collect();
    let body = |nth: usize| {
        let (olds, news) = &plan.parts[nth];
        let news: Vec<u32> = news.iter().map(|at| wanted[*at as usize]).collect();
        let (from, to) = (joined(old, olds).ok()?, joined(new, &news).ok()?);
        Some(diff(&from, &to, affordable(effort, lens[nth], memory)))
    };
    let mut bodies = Vec::new();
    while bodies.len() < lens.len() {
        let first = bodies.len();
        let count = lens[first..].iter().scan(0, |sum, len| {
            *sum += need(affordable(effort, *len, memory), *len);
            Some(*sum)
        });
        let count = count.take_while(|sum| *sum <= memory).count().max(1);
        bodies.extend(each(hands, count, |nth| body(first + nth)));
    }
    bodies.into_iter().collect()
}

/// What looking for a patch takes, in bytes, when both sides have this many together.
fn need(effort: Effort, len: u64) -> u64 {
    match effort {
        Effort::Fast => len * 3,
        Effort::Best => len * 12,
    }
}

fn affordable(effort: Effort, len: u64, memory: u64) -> Effort {
    if need(effort, len) <= memory { effort } else { Effort::Fast }
}

/// What `work` makes of each number below `jobs`, in their order.
fn each<T: Send>(hands: &dyn Hands, jobs: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let slots: Vec<Mutex<Option<T>>> = (0..jobs).map(|_| Mutex::new(None)).collect();
    hands.share(jobs, &|job| {
        let done = work(job);
        *slots[job].lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    });
    let taken = |slot: Mutex<Option<T>>| slot.into_inner().unwrap_or_else(PoisonError::into_inner);
    slots.into_iter().map(|slot| taken(slot).expect("hands return when every job has ended")).collect()
}
