//! Makes patches: cuts what is too long into windows, and finds for each the engine whose body is smallest.

use crate::bounds::Budget;
use crate::format::{Declared, Engine, Patch, Window};
use crate::matching::{Equivalence, Prices, equivalences_bytes};
use crate::room::Heap;
use crate::{executable, plain, prefixed, quick, sparse};

/// How hard to look for a small patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// Little time, and two to three times the memory of the old bytes beside the new ones'; quick to apply.
    Fast,
    /// The smallest patch, with about ten times the memory of the old bytes.
    #[default]
    Best,
}

/// The most bytes of old, and of new, that are looked at together.
const WINDOW: u64 = 1 << 30;

/// A patch that makes `new` of `old`. Equal arguments give equal patches (with the same version of zstd).
pub fn diff(old: &[u8], new: &[u8], effort: Effort) -> Vec<u8> {
    windowed(old, new, effort, WINDOW)
}

fn windowed(old: &[u8], new: &[u8], effort: Effort, window: u64) -> Vec<u8> {
    let mut patch = Patch::begin(Declared { old_len: old.len() as u64, new_len: new.len() as u64 });
    for (number, part) in new.chunks(window as usize).enumerate() {
        let from = part_of_old(old, new, number as u64 * window, window);
        let (engine, body) = body(&old[from.clone()], part, effort);
        let (old_start, old_len) = (from.start as u64, from.len() as u64);
        Window { new_len: part.len() as u64, old_start, old_len, engine, body: &body }.write(&mut patch);
    }
    patch
}

/// The part of old that a window of new at `at` is compared with: all of it, or what lies about where the window does.
fn part_of_old(old: &[u8], new: &[u8], at: u64, window: u64) -> std::ops::Range<usize> {
    let (old_len, new_len) = (old.len() as u64, new.len() as u64);
    if old_len <= window {
        return 0..old.len();
    }
    let middle = u128::from(at + window / 2) * u128::from(old_len) / u128::from(new_len);
    let start = (middle as u64).saturating_sub(window / 2).min(old_len - window);
    start as usize..(start + window) as usize
}

fn body(old: &[u8], new: &[u8], effort: Effort) -> (Engine, Vec<u8>) {
    match effort {
        Effort::Fast => (Engine::Sparse, sparse::write(&quick::draft(old, new))),
        Effort::Best => smallest(old, new),
    }
}

/// What is mostly literals is left to zstd, which is far quicker to read; what is so to some part is tried both ways, and
/// so is what zstd may say in less: it knows what new says twice, whatever old says.
fn smallest(old: &[u8], new: &[u8]) -> (Engine, Vec<u8>) {
    let runs = equivalences_bytes(old, new, &Prices::of_bytes(new));
    let literals = new.len() - runs.iter().map(|run: &Equivalence| run.len as usize).sum::<usize>();
    let mut bodies: Vec<_> = of_executables(old, new).map(|body| (Engine::Executable, body)).into_iter().collect();
    if literals <= (new.len() / 4).max(1 << 16) {
        bodies.push((Engine::Plain, plain::write(old, new, &runs)));
    }
    drop(runs);
    // Of what is short, no estimate is sure, and both ways together take little time.
    let is_short = new.len() <= 1 << 16;
    let is_new = literals > new.len() / 16 && bodies.iter().all(|(engine, _)| *engine != Engine::Executable);
    if is_short
        || is_new
        || bodies.iter().map(|(_, body)| body.len()).min().is_none_or(|len| zstd_may_win(old, new, len))
    {
        bodies.push((Engine::Prefixed, prefixed::write(old, new)));
    }
    bodies.into_iter().min_by_key(|(_, body)| body.len()).expect("one of the two conditions holds")
}

/// Whether zstd's frame may be shorter than a body of this length, and by enough to matter: zstd in a hurry makes three
/// times what it makes at leisure, or less.
fn zstd_may_win(old: &[u8], new: &[u8], len: usize) -> bool {
    const TOO_SHORT_TO_MATTER: usize = 200;
    len > TOO_SHORT_TO_MATTER && prefixed::fits(old, new, 3 * len)
}

/// The body of two executables, which was applied and compared, if applying it keeps to the usual budget.
fn of_executables(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let len = new.len() as u64;
    let body = executable::write(old, new)?;
    let memory = executable::Patch::open(&Heap, &body, old.to_vec().into()).ok()?.memory().max(2 * old.len() as u64);
    (memory <= Budget::for_output(len).memory.saturating_sub(len)).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply;

    #[test]
    fn what_is_longer_than_a_window_is_cut() {
        let old: Vec<u8> = (0..50_000u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        let new = [&old[..30_000], b"something else", &old[30_000..]].concat();
        for effort in [Effort::Fast, Effort::Best] {
            let patch = windowed(&old, &new, effort, 8192);
            assert!(apply(&old, &patch, Budget::for_output(new.len() as u64)).is_ok_and(|made| made == new));
            assert!(patch.len() < 1500, "a window finds its part of old: {}", patch.len());
        }
    }

    #[test]
    fn c12_windows_that_make_next_to_nothing_are_refused() {
        let new = vec![7; 3000];
        let patch = windowed(&[7; 3000], &new, Effort::Fast, 512);
        let made = apply(&[7; 3000], &patch, Budget::for_output(3000));
        assert_eq!(made, Err(crate::Malformed::Idle.into()), "each would cost what a long one does");
    }

    #[test]
    fn what_old_is_of_no_help_for_is_left_to_zstd() {
        let new = b"something else, and on and on ".repeat(4000);
        let patch = diff(&[9; 500], &new, Effort::Best);
        let mut read = Patch::read(&patch).expect("just written");
        read.window(new.len() as u64).expect("one window");
        assert!(patch.len() <= prefixed::write(&[9; 500], &new).len() + 256);
    }
}
