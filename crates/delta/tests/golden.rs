//! Patches that were made once and must apply for ever: one for each version of the format and each engine.
//!
//! A format that changes under the same version breaks this. The patches are written by `cargo test -p tiding-delta --test golden -- --ignored`,
//! for a new version or engine only.
#![allow(clippy::disallowed_methods, reason = "a test of the repository's files reads them")]

use std::path::PathBuf;
use tiding_delta::tree::{Files, Made, apply_tree, diff_tree};
use tiding_delta::{Budget, Effort, Heap, apply, apply_in, diff};

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
fn pairs() -> [(&'static str, Vec<u8>, Vec<u8>); 6] {
    let (old, other) = (text(1, 12_000), text(2, 3000));
    let edited = [&old[5000..], &other[..300], &old[..7000]].concat();
    let (before, mut after) = (records(0), records(0x118));
    after.splice(4000..4000, other[..50].iter().copied());
    [
        ("1-packed", old.clone(), edited.clone()),
        ("2-packed", old.clone(), edited.clone()),
        ("2-sparse", old.clone(), edited.clone()),
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
        let lent = apply_in(&Heap, old.into(), &patch, Budget::for_output(new.len() as u64));
        assert!(lent.is_ok_and(|made| made[..] == new), "{name}");
    }
}

/// Files in memory.
struct Tree(Vec<Vec<u8>>);

impl Files for Tree {
    fn count(&self) -> u32 {
        self.0.len() as u32
    }

    fn len(&self, file: u32) -> u64 {
        self.0[file as usize].len() as u64
    }

    fn read(&self, file: u32) -> Option<Vec<u8>> {
        Some(self.0[file as usize].clone())
    }
}

/// Two trees: something empty, something that only moved, and something that is made of two old files.
fn trees() -> (Tree, Tree) {
    let [one, two, three] = [1, 2, 3].map(|seed| text(seed, 3000));
    let edited = |text: &[u8]| [&text[..1000], b"something else", &text[1000..]].concat();
    let new = vec![edited(&three), Vec::new(), one.clone(), edited(&two)];
    (Tree(vec![one, two, three]), Tree(new))
}

#[test]
fn c4_a_tree_patch_that_was_written_once_applies_for_ever() {
    let (old, new) = trees();
    let patch = std::fs::read(path("tree-1")).expect("a golden patch");
    let lens: Vec<u64> = (0..4).map(|file| new.len(file)).collect();
    let mut left = new.0;
    apply_tree(&old, &lens, &[0, 1, 2, 3], &patch, Budget::for_output(1 << 20), &mut |file, made| {
        let bytes = match made {
            Made::Old(from) => old.0[from as usize].clone(),
            Made::Bytes(bytes) => bytes.to_vec(),
        };
        assert_eq!(bytes, std::mem::take(&mut left[file as usize]));
        Ok(())
    })
    .expect("it applies");
    assert!(left.iter().all(Vec::is_empty));
}

#[test]
#[ignore = "writes the golden patches that are not there yet; packed ones are only read"]
fn golden_patches_are_written() {
    if !path("tree-1").exists() {
        let (old, new) = trees();
        let patch = diff_tree(&old, &new, &[0, 1, 2, 3], Effort::Best, 1 << 30).expect("all can be read");
        std::fs::write(path("tree-1"), patch).expect("the directory is there");
    }
    for (name, old, new) in pairs().into_iter().filter(|(name, ..)| !path(name).exists()) {
        let effort = if name.ends_with("sparse") { Effort::Fast } else { Effort::Best };
        std::fs::write(path(name), diff(&old, &new, effort)).expect("the directory is there");
    }
}
