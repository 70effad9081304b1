//! What holds for every pair of byte strings, and for every byte string that claims to be a patch.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tiding_delta::{Budget, Declared, Effort, apply, diff};

/// A change from old to new, as programs and trees change.
#[derive(Debug, Clone)]
enum Edit {
    Overwrite(Index, u8),
    Insert(Index, Vec<u8>),
    Delete(Index, usize),
    Move(Index, Index, usize),
    /// Adds to every n-th byte, as an insertion does to all branches behind it.
    Shift(usize, u8),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Overwrite(at, byte)),
        (any::<Index>(), vec(any::<u8>(), 1..300)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), 1..500usize).prop_map(|(at, len)| Edit::Delete(at, len)),
        (any::<Index>(), any::<Index>(), 1..2000usize).prop_map(|(from, to, len)| Edit::Move(from, to, len)),
        (5..60usize, any::<u8>()).prop_map(|(every, add)| Edit::Shift(every, add)),
    ]
}

fn make(bytes: &mut Vec<u8>, edit: &Edit) {
    let len = bytes.len();
    let cut = |at: &Index, run: usize| {
        let at = at.index(len + 1);
        at..(at + run).min(len)
    };
    match edit {
        Edit::Overwrite(at, byte) => bytes.splice(cut(at, 1), [*byte]).for_each(drop),
        Edit::Insert(at, more) => bytes.splice(cut(at, 0), more.iter().copied()).for_each(drop),
        Edit::Delete(at, run) => bytes.drain(cut(at, *run)).for_each(drop),
        Edit::Move(from, to, run) => {
            let moved: Vec<u8> = bytes.drain(cut(from, *run)).collect();
            let to = to.index(bytes.len() + 1);
            bytes.splice(to..to, moved).for_each(drop);
        }
        Edit::Shift(every, add) => bytes.iter_mut().step_by(*every).for_each(|byte| *byte = byte.wrapping_add(*add)),
    }
}

/// Bytes as they are found: random, of few letters, periodic, or zeros.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..5000),
        vec(b'a'..=b'c', 0..5000),
        (vec(any::<u8>(), 1..40), 0..5000usize).prop_map(|(part, len)| part.into_iter().cycle().take(len).collect()),
        (0..5000usize).prop_map(|len| vec![0; len]),
    ]
}

fn changed() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (bytes(), vec(edit(), 0..8)).prop_map(|(old, edits)| {
        let mut new = old.clone();
        edits.iter().for_each(|edit| make(&mut new, edit));
        (old, new)
    })
}

/// Lines of few words, and what edits make of them.
fn edited_text() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let words = vec(prop_oneof!["magpie ", "tiding ", "wren, ", "of seven\n", "[a-z]{1,8} "], 0..4000);
    (words, vec(edit(), 0..8)).prop_map(|(words, edits)| {
        let old = words.concat().into_bytes();
        let mut new = old.clone();
        edits.iter().for_each(|edit| make(&mut new, edit));
        (old, new)
    })
}

/// How long the frame of `zstd -19 --patch-from` is.
fn patch_from(old: &[u8], new: &[u8]) -> usize {
    let mut zstd = zstd::Encoder::with_ref_prefix(Vec::new(), 19, old).expect("zstd has this level");
    std::io::Write::write_all(&mut zstd, new).expect("a vector takes what it is given");
    zstd.finish().expect("a vector takes what it is given").len()
}

fn effort() -> impl Strategy<Value = Effort> {
    prop_oneof![Just(Effort::Fast), Just(Effort::Best)]
}

fn round_trip(old: &[u8], new: &[u8], effort: Effort) -> Result<Vec<u8>, TestCaseError> {
    let patch = diff(old, new, effort);
    let made = apply(old, &patch, Budget::for_output(new.len() as u64));
    prop_assert_eq!(made.as_deref(), Ok(new));
    let declared = Declared { old_len: old.len() as u64, new_len: new.len() as u64 };
    prop_assert_eq!(Declared::of(&patch), Ok(declared));
    Ok(patch)
}

proptest! {
    #[test]
    fn changed_bytes_come_back((old, new) in changed(), effort in effort()) {
        let patch = round_trip(&old, &new, effort)?;
        prop_assert_eq!(diff(&old, &new, effort), patch, "equal arguments give equal patches");
        round_trip(&new, &old, effort)?;
    }

    #[test]
    fn the_best_patch_is_never_larger_than_one_of_zstd((old, new) in prop_oneof![changed(), edited_text(), (bytes(), bytes())]) {
        let patch = diff(&old, &new, Effort::Best);
        let most = patch_from(&old, &new) + 256;
        prop_assert!(patch.len() <= most, "{} of at most {most}", patch.len());
    }

    #[test]
    fn unrelated_bytes_come_back(old in bytes(), new in bytes(), effort in effort()) {
        round_trip(&old, &new, effort)?;
    }

    #[test]
    fn c12_a_damaged_patch_never_panics_or_exceeds_its_budget(
        (old, new) in changed(), effort in effort(), flips in vec((any::<Index>(), 0..8u8), 1..6),
    ) {
        let mut patch = diff(&old, &new, effort);
        for (at, bit) in flips {
            let at = at.index(patch.len());
            patch[at] ^= 1 << bit;
            let budget = Budget::for_output(2 * new.len() as u64);
            if let Ok(made) = apply(&old, &patch, budget) {
                prop_assert!(made.len() as u64 <= budget.output);
            }
        }
    }

    #[test]
    fn c12_random_bytes_never_panic(old in vec(any::<u8>(), 0..10), tail in vec(any::<u8>(), 0..100)) {
        let budget = Budget { output: 1 << 16, memory: 1 << 18 };
        prop_assert!(apply(&old, &tail, budget).is_err());
        let header = |version: u8| [b"tdgp".as_slice(), &[version, old.len() as u8]].concat();
        for engine in 0..6 {
            let window = [100, 0, old.len() as u8, engine, tail.len() as u8];
            let tries = [
                [&header(1), &tail[..]].concat(),
                [&header(2), &tail[..]].concat(),
                [&header(2), &[100][..], &window, &tail].concat(),
            ];
            for patch in tries {
                if let Ok(made) = apply(&old, &patch, budget) {
                    prop_assert!(made.len() <= 1 << 16);
                }
            }
        }
    }
}

/// Bytes that do not compress and are the same in every run (xorshift64).
fn generated(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

#[test]
fn what_did_not_change_costs_next_to_nothing() {
    let old = generated(1, 1 << 20);
    for effort in [Effort::Fast, Effort::Best] {
        assert!(diff(&old, &old, effort).len() < 200);
        let moved = [&old[600_000..], b"inserted", &old[..600_000]].concat();
        let patch = diff(&old, &moved, effort);
        assert!(patch.len() < 300, "{effort:?}: {}", patch.len());
        assert_eq!(apply(&old, &patch, Budget::for_output(moved.len() as u64)), Ok(moved));
    }
}

#[test]
fn scattered_changes_cost_little_more_than_themselves() {
    // 4,000 bytes of a million differ, and no 260 in a row are equal; a copy of equal runs alone would take instructions.
    let old = generated(2, 1 << 20);
    let mut new = old.clone();
    new.iter_mut().step_by(256).for_each(|byte| *byte = byte.wrapping_add(8));
    for (effort, most) in [(Effort::Fast, 2000), (Effort::Best, 2500)] {
        let patch = diff(&old, &new, effort);
        assert!(patch.len() < most, "{effort:?}: {}", patch.len());
    }
}

#[test]
fn c12_zeros_and_periods_take_linear_time() {
    let zeros = vec![0; 1 << 20];
    let period: Vec<u8> = generated(3, 48).into_iter().cycle().take(1 << 20).collect();
    for (old, new) in [(&zeros, &zeros), (&zeros, &period), (&period, &zeros), (&period, &period)] {
        let patch = diff(old, &new[5..], Effort::Best);
        assert_eq!(apply(old, &patch, Budget::for_output(new.len() as u64)).as_deref(), Ok(&new[5..]));
    }
}

#[test]
fn what_nearly_matches_before_an_exact_match_is_copied_too() {
    // After an insertion, 3,000 bytes in which no 30 in a row are equal; only behind them an exact match can be found.
    let old = generated(4, 20_000);
    let mut tail = old[8000..].to_vec();
    tail[..3000].iter_mut().step_by(15).for_each(|byte| *byte = byte.wrapping_add(8));
    let new = [&old[..8000], &generated(5, 500), &tail].concat();
    for effort in [Effort::Fast, Effort::Best] {
        let patch = diff(&old, &new, effort);
        assert!(patch.len() < 1000, "{effort:?}: {}", patch.len());
    }
}
