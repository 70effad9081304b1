//! Executables in the whole: patches of the golden set apply for ever, and files that are cut or lie get patches, too.
#![allow(clippy::disallowed_methods, reason = "a test of the repository's files reads them")]

use std::path::Path;
use tiding_delta::{Budget, Effort, apply, apply_to, diff};

fn golden(name: &str) -> [Vec<u8>; 3] {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    ["old", "new", "patch"].map(|part| std::fs::read(directory.join(part)).expect("a golden file"))
}

fn through(old: &[u8], new: &[u8]) -> usize {
    let patch = diff(old, new, Effort::Best);
    assert_eq!(patch, diff(old, new, Effort::Best), "equal arguments give equal patches");
    let budget = Budget::for_output(new.len() as u64);
    assert_eq!(apply(old, &patch, budget).as_deref(), Ok(new));
    assert_eq!(apply_to(old.to_vec(), &patch, budget).as_deref(), Ok(new));
    patch.len()
}

#[test]
fn golden_patches_apply() {
    for name in ["executable-x86-64", "executable-aarch64"] {
        let [old, new, patch] = golden(name);
        assert_eq!(apply(&old, &patch, Budget::for_output(new.len() as u64)), Ok(new));
    }
}

#[test]
fn f21_executables_that_are_cut_or_lie_get_a_patch() {
    for name in ["executable-x86-64", "executable-aarch64"] {
        let [old, new, _] = golden(name);
        let good = through(&old, &new);
        for cut in (0..new.len()).step_by(997) {
            through(&old, &new[..cut]);
            through(&old[..cut], &new);
        }
        // Every byte of the first header, and some of the section headers at the end.
        for at in (0..64).chain((new.len() - 512..new.len()).step_by(13)) {
            let mut lying = new.clone();
            lying[at] ^= 0xff;
            through(&old, &lying);
            through(&lying, &new);
        }
        let bytes = through(&[&b"x"[..], &old].concat(), &[&b"x"[..], &new].concat());
        assert!(good < bytes, "{name}: {good} bytes, and {bytes} where it is not known what they are");
    }
}

#[test]
fn c12_a_patch_of_an_executable_that_anyone_wrote_returns() {
    let [old, new, patch] = golden("executable-x86-64");
    for at in 0..patch.len() {
        for change in [1, 0x10, 0x80, 0xff] {
            let mut other = patch.clone();
            other[at] ^= change;
            let made = apply(&old, &other, Budget::for_output(new.len() as u64));
            assert_eq!(made, apply_to(old.clone(), &other, Budget::for_output(new.len() as u64)));
            assert!(made.is_err() || made.is_ok_and(|made| made.len() == new.len()), "at {at}");
        }
        assert!(apply(&old, &patch[..at], Budget::for_output(new.len() as u64)).is_err(), "cut at {at}");
    }
}
