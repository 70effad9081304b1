//! Patches applied with buffers that somebody lends, and little memory beside them.
#![allow(clippy::disallowed_methods, reason = "a test of the repository's files reads them")]

use std::cell::Cell;
use std::path::Path;
use tiding_delta::{ApplyError, Budget, Effort, Lent, Room, apply, apply_in, diff};

/// Lends so often, and counts what it lent.
struct Lender {
    times: Cell<usize>,
    lent: Cell<usize>,
}

impl Lender {
    fn of(times: usize) -> Self {
        Self { times: Cell::new(times), lent: Cell::new(0) }
    }
}

impl Room for Lender {
    fn take(&self, len: usize) -> Option<Lent> {
        self.times.set(self.times.get().checked_sub(1)?);
        self.lent.set(self.lent.get() + len);
        Some(vec![0; len].into())
    }
}

/// Old, new and a patch, of each engine.
fn pairs() -> Vec<(String, [Vec<u8>; 3])> {
    let old: Vec<u8> = (0..60_000u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    let moved = [&old[30_000..], b"something else", &old[..30_000]].concat();
    let words = b"something else, and on and on ".repeat(4000);
    let made =
        |name: &str, new: &Vec<u8>, effort| (name.to_owned(), [old.clone(), new.clone(), diff(&old, new, effort)]);
    let mut pairs = vec![
        made("best of what moved", &moved, Effort::Best),
        made("fast of what moved", &moved, Effort::Fast),
        made("best of what is new", &words, Effort::Best),
    ];
    for machine in ["x86-64", "aarch64"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/executable-{machine}"));
        let parts = ["old", "new", "patch"].map(|part| std::fs::read(directory.join(part)).expect("a golden file"));
        pairs.push((format!("executable-{machine}"), parts));
    }
    pairs
}

/// As little as models and lists take.
fn little(new: &[u8], memory: u64) -> Budget {
    Budget { output: new.len() as u64, memory }
}

#[test]
fn every_patch_applies_with_what_is_lent() {
    for (name, [old, new, patch]) in pairs() {
        let room = Lender::of(usize::MAX);
        let made = apply_in(&room, old.clone().into(), &patch, little(&new, 64 << 20));
        assert!(made.is_ok_and(|made| made[..] == new), "{name}");
        let most = 5 * (old.len() + new.len()) + (1 << 16);
        assert!(
            room.lent.get() <= most,
            "{name}: {} bytes were lent, for {} and {}",
            room.lent.get(),
            old.len(),
            new.len()
        );
    }
}

#[test]
fn whoever_lends_no_more_is_told_so() {
    for (name, [old, new, patch]) in pairs() {
        let made = |times: usize| apply_in(&Lender::of(times), old.clone().into(), &patch, little(&new, 64 << 20));
        let enough = (0..100).find(|times| made(*times).is_ok()).expect("enough at some time");
        for times in 0..enough {
            let error = made(times).map(|made| made.len());
            assert!(matches!(error, Err(ApplyError::OverBudget { of: "room", .. })), "{name}, {times}: {error:?}");
        }
        assert!(enough >= 1, "the result is lent, too");
    }
}

#[test]
fn what_is_lent_is_no_memory() {
    let old: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    let new = [&old[100_000..], b"something else", &old[..100_000]].concat();
    let patch = diff(&old, &new, Effort::Fast);
    let scant = little(&new, 1 << 18);
    assert!(apply_in(&Lender::of(usize::MAX), old.clone().into(), &patch, scant).is_ok_and(|made| made[..] == new));
    let short = apply(&old, &patch, little(&new, 1 << 16));
    assert!(matches!(short, Err(ApplyError::OverBudget { of: "memory", .. })), "{short:?}");
}

#[test]
fn c12_lists_and_models_keep_to_the_memory_all_the_same() {
    for (name, [old, new, patch]) in pairs().into_iter().filter(|pair| pair.0.contains("executable")) {
        let made = |memory: u64| apply_in(&Lender::of(usize::MAX), old.clone().into(), &patch, little(&new, memory));
        assert!(made(4 << 20).is_ok(), "{name}");
        assert!(matches!(made(1 << 14), Err(ApplyError::OverBudget { of: "memory", .. })), "{name}");
    }
}

#[test]
fn c11_other_old_bytes_are_refused_before_anything_is_lent() {
    let (_, [old, new, patch]) = pairs().swap_remove(0);
    let room = Lender::of(usize::MAX);
    let made = apply_in(&room, old[1..].to_vec().into(), &patch, little(&new, u64::MAX));
    assert!(matches!(made, Err(ApplyError::WrongBase { .. })));
    let made = apply_in(&room, old.into(), &patch, Budget { output: new.len() as u64 - 1, memory: u64::MAX });
    assert!(matches!(made, Err(ApplyError::OverBudget { of: "output", .. })));
    assert_eq!(room.lent.get(), 0);
}
