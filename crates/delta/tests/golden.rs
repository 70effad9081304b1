//! Patches that were made once and must apply for ever: one for each version of the format and each engine.
//!
//! A format that changes under the same version breaks this. The patches are written by `cargo test -p tiding-delta --test golden -- --ignored`,
//! for a new version or engine only.
#![allow(clippy::disallowed_methods, reason = "a test of the repository's files reads them")]

use std::path::PathBuf;
use tiding_delta::{Budget, Effort, apply, diff};

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/golden", name].iter().collect()
}

/// Text of drawn words, the same in every run.
fn text(seed: u32, len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = ["magpie ", "tiding ", "wren, ", "a ", "flock ", "of ", "seven\n", "swallows "];
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        WORDS[(state >> 29) as usize].bytes()
    });
    words.flatten().take(len).collect()
}

/// Bytes like those of a program: fields that count up, between others that do not.
fn records(shift: u32) -> Vec<u8> {
    let record = |n: u32| [&[0xe8][..], &(n * 40 + shift).to_le_bytes(), &[0x48, 0x8d, ((n * n) >> 3) as u8]].concat();
    (0..1500).flat_map(record).collect()
}

/// Each patch's name, and what it makes of what.
fn pairs() -> [(&'static str, Vec<u8>, Vec<u8>); 5] {
    let (old, other) = (text(1, 12_000), text(2, 3000));
    let edited = [&old[5000..], &other[..300], &old[..7000]].concat();
    let (before, mut after) = (records(0), records(0x118));
    after.splice(4000..4000, other[..50].iter().copied());
    [
        ("1-packed", old.clone(), edited.clone()),
        ("2-packed", old.clone(), edited.clone()),
        ("2-plain-text", old.clone(), edited),
        ("2-plain-records", before, after),
        ("2-prefixed", old[..2000].to_vec(), (0..80).flat_map(|seed| text(seed, 1000)).collect()),
    ]
}

#[test]
fn c4_what_was_written_once_applies_for_ever() {
    for (name, old, new) in pairs() {
        let patch = std::fs::read(path(name)).expect("a golden patch");
        assert!(name.starts_with(&patch[4].to_string()), "{name} is in version {}", patch[4]);
        let made = apply(&old, &patch, Budget::for_output(new.len() as u64));
        assert!(made.is_ok_and(|made| made == new), "{name}");
    }
}

#[test]
#[ignore = "writes the golden patches"]
fn golden_patches_are_written() {
    for (name, old, new) in pairs() {
        let effort = if name.ends_with("packed") { Effort::Fast } else { Effort::Best };
        let patch = diff(&old, &new, effort);
        let patch = if name.starts_with('1') { as_version_1(&patch) } else { patch };
        std::fs::write(path(name), patch).expect("the directory is there");
    }
}

/// A patch of one packed window, in version 1: that has the body alone, behind the same lengths.
fn as_version_1(patch: &[u8]) -> Vec<u8> {
    let after = |at: usize| at + patch[at..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let lengths_end = after(after(5));
    let engine = after(after(after(lengths_end)));
    let body = after(engine + 1);
    [&patch[..4], &[1], &patch[5..lengths_end], &patch[body..]].concat()
}
