//! What the patch commands do with patches and files of strangers: they end, say what to do next, and leave nothing that is not whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn tiding(words: &[&Path]) -> Output {
    let binary = std::env::var_os("TIDING_TESTED").unwrap_or_else(|| env!("CARGO_BIN_EXE_tiding").into());
    Command::new(binary).args(words).output().expect("the binary runs")
}

fn make(old: &Path, new: &Path, patch: &Path) -> String {
    said(&tiding(&[Path::new("diff"), old, new, Path::new("-o"), patch]), 0)
}

fn apply(old: &Path, patch: &Path, new: &Path) -> Output {
    tiding(&[Path::new("patch"), old, patch, Path::new("-o"), new])
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let all = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{all}");
    all
}

/// Bytes in which nothing repeats.
fn generated(len: u32, seed: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_add(seed).wrapping_mul(0x9e37_79b1) >> 13) as u8).collect()
}

fn last_word(text: &str) -> String {
    text.split_whitespace().last().expect("something was said").to_owned()
}

#[test]
fn c11_a_patch_for_another_file_is_refused_or_makes_another_digest() {
    let place = Place::new();
    let bytes = generated(50_000, 1);
    let old = place.file("old", &bytes);
    let new = place.file("new", &[&bytes[..20_000], b"more", &bytes[20_000..]].concat());
    let other = place.file("other", &generated(50_000, 77_777));
    let shorter = place.file("shorter", &bytes[1..]);
    let (patch, made) = (place.path("patch"), place.path("made"));
    let digest = last_word(&make(&old, &new, &patch));
    assert!(said(&apply(&old, &patch, &made), 0).contains(&digest), "the digest that was foretold");
    fs::remove_file(&made).expect("it was made");
    assert!(said(&apply(&shorter, &patch, &made), 2).contains("the file that the patch was made against"));
    assert!(!made.exists(), "nothing is made of it");
    let rubbish = apply(&other, &patch, &made);
    let all = String::from_utf8_lossy(&rubbish.stdout).into_owned();
    assert!(!all.contains(&digest), "whoever compares digests notices: {all}");
}

/// A patch of an empty file that declares `declared` bytes, by one zstd frame of blocks that repeat a byte: four bytes for each 128 KiB.
fn bomb(declared: &[u8], blocks: usize) -> Vec<u8> {
    let block = |last: u32| [&(last | 1 << 1 | (1 << 17) << 3).to_le_bytes()[..3], &[0]].concat();
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3][..], &block(0).repeat(blocks), &block(1)].concat();
    let len = [frame.len() as u8 & 0x7f | 0x80, (frame.len() >> 7) as u8];
    [b"tdgp\x02\0", declared, declared, &[0, 0, 2], &len, &frame].concat()
}

#[test]
fn f12_c12_a_bomb_ends_at_what_it_declares_and_leaves_nothing() {
    let place = Place::new();
    let (empty, made) = (place.file("old", b""), place.path("made"));
    // 130 MB in four kilobytes, which says that it is a thousand bytes; and one that says that it is 2^60.
    for (name, declared, why) in [
        ("long", &[0xe8, 0x07][..], "malformed"),
        ("endless", &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10], "--at-most BYTES"),
    ] {
        let patch = place.file(name, &bomb(declared, 1000));
        let all = said(&apply(&empty, &patch, &made), 2);
        assert!(all.contains(why), "{name}: {all}");
    }
    assert_eq!(fs::read_dir(place.0.path()).expect("a directory").count(), 3, "nothing half made stays");
}

#[test]
fn f21_executables_that_are_cut_or_lie_come_back() {
    let golden = |name: &str| {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../delta/tests/golden/executable-x86-64");
        fs::read(golden.join(name)).expect("a golden file")
    };
    let (old, new) = (golden("old"), golden("new"));
    let (start, names) = ([0xff; 8], new.len() - 400);
    let lying = [&new[..40], &start, &new[48..]].concat();
    let torn = [&new[..names], &[0xff; 300], &new[names + 300..]].concat();
    let place = Place::new();
    let (patch, made) = (place.path("patch"), place.path("made"));
    let old = place.file("old", &old);
    for (name, bytes) in [("cut", &new[..new.len() / 2]), ("lying", &lying), ("torn", &torn), ("header", &new[..64])] {
        let new = place.file(name, bytes);
        for (from, to) in [(&old, &new), (&new, &old)] {
            make(from, to, &patch);
            said(&apply(from, &patch, &made), 0);
            assert_eq!(fs::read(&made).expect("it was made"), fs::read(to).expect("a file"), "{name}");
        }
    }
}
