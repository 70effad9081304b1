//! Patches of directories: whatever call of the disk fails, there is the whole new tree or nothing.

use crate::memory::{Bad, Crash, Dir, Memory, name};
use crate::world::*;
use std::sync::Arc;
use store::disk::Disk;
use store::hands::OneHand;
use store::trees::{Effort, Place, Summary, TreesError, diff, patch};

fn place(disk: &Memory, at: &str) -> Place<Memory> {
    Place { parent: disk.root(), name: name(at) }
}

/// Something kept, changed, renamed, linked, empty, with a hole, and a directory that is not for everyone.
fn fill(disk: &Memory) {
    let dir = |path: &str, mode: u16| -> Dir {
        let (dir, (above, last)) = (disk.dir(path), path.rsplit_once('/').expect("it stands in a tree"));
        disk.set_mode(&disk.dir(above), &name(last), mode).expect("a test's disk");
        dir
    };
    let (old, new) = (disk.dir("old"), disk.dir("new"));
    let (large, text) = (noise(1, 300_000), noise(2, 5000));
    disk.write_file(&old, &name("kept"), 0o644, &noise(3, 700));
    disk.write_file(&old, &name("app"), 0o755, &text);
    disk.write_file(&dir("old/lib", 0o755), &name("large"), 0o644, &large);
    disk.write_file(&new, &name("kept"), 0o600, &noise(3, 700));
    disk.write_file(&new, &name("app"), 0o755, &[&text[..900], b"more", &text[900..]].concat());
    disk.write_file(&new, &name("empty"), 0o644, b"");
    disk.write_file(&new, &name("hole"), 0o644, &[&[7][..], &vec![0; 400_000]].concat());
    let private = dir("new/private", 0o500);
    disk.write_file(&private, &name("large"), 0o444, &large);
    disk.link(&new, &name("app"), &private, &name("app too")).expect("a test's disk");
    disk.symlink(&new, &name("link"), b"private/none").expect("a test's disk");
}

/// What a manifest knows of a tree: no times.
fn shown(disk: &Memory, tree: &str) -> Vec<(String, String)> {
    let timeless = |what: String| what.rsplit_once(' ').map_or(what.clone(), |(rest, _)| rest.to_owned());
    list(disk, &disk.root(), tree).into_iter().map(|(path, what)| (path, timeless(what))).collect()
}

fn names(disk: &Memory) -> Vec<Vec<u8>> {
    disk.list(&disk.root()).expect("a test's disk").iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn made(disk: &Memory, bytes: &[u8]) -> Result<Summary, TreesError> {
    patch(&OneHand, &Arc::new(disk.clone()), &place(disk, "old"), bytes, &place(disk, "made"), 1 << 30)
}

/// A disk with both trees, and the patch between them.
fn patched() -> (Memory, Vec<u8>, Summary) {
    let disk = Memory::new();
    fill(&disk);
    let (old, new) = (place(&disk, "old"), place(&disk, "new"));
    let (bytes, summary) =
        diff(&OneHand, &Arc::new(disk.clone()), &old, &new, Effort::Best, 1 << 30).expect("two trees");
    (disk, bytes, summary)
}

#[test]
fn a_tree_comes_back_with_its_modes_and_links() {
    let (disk, bytes, summary) = patched();
    assert_eq!((summary.unchanged, summary.renamed, summary.changed, summary.added), (1, 1, 1, 2));
    assert!(bytes.len() < 1500, "{}", bytes.len());
    assert_eq!(made(&disk, &bytes).expect("it applies"), summary);
    assert_eq!(shown(&disk, "made"), shown(&disk, "new"));
    assert!(matches!(made(&disk, &bytes), Err(TreesError::Exists)));
}

#[test]
fn a3_whatever_call_fails_there_is_a_whole_tree_or_nothing() {
    let (fresh, bytes, _) = patched();
    let whole = shown(&fresh, "new");
    let without = names(&fresh);
    for bad in [Bad::Error(5), Bad::Full, Bad::Sync] {
        for nth in 0.. {
            let disk = fresh.copy();
            disk.plan(nth, bad);
            let result = made(&disk, &bytes);
            let struck = disk.relieve();
            match names(&disk) == without {
                true => assert!(result.is_err(), "{bad:?} {nth}"),
                // What could not be cleared at once is cleared by the next attempt.
                false if names(&disk).contains(&b".made.tiding-patching".to_vec()) => assert!(result.is_err()),
                false => assert_eq!(shown(&disk, "made"), whole, "{bad:?} {nth}"),
            }
            if result.is_err() && !names(&disk).contains(&b"made".to_vec()) {
                made(&disk, &bytes).expect("now it can be made");
                assert_eq!(shown(&disk, "made"), whole);
                assert_eq!(names(&disk).len(), without.len() + 1);
            }
            if !struck {
                break;
            }
        }
    }
}

#[test]
fn after_a_crash_the_name_means_a_whole_tree() {
    let (fresh, bytes, _) = patched();
    let whole = shown(&fresh, "new");
    fresh.sync_all(&fresh.root()).expect("a test's disk");
    for nth in 0.. {
        let disk = fresh.copy();
        disk.plan(nth, Bad::Cut);
        let result = made(&disk, &bytes);
        if !disk.relieve() {
            break;
        }
        assert!(result.is_err());
        let disk = disk.crash(Crash::Tear(nth));
        if names(&disk).contains(&b"made".to_vec()) {
            assert_eq!(shown(&disk, "made"), whole);
        }
    }
}

#[test]
fn c11_a_tree_that_changes_meanwhile_makes_nothing() {
    let (fresh, bytes, _) = patched();
    let without = names(&fresh);
    let (mut refused, mut nth) = (0, 0);
    loop {
        let disk = fresh.copy();
        let other = disk.clone();
        disk.interrupt(nth, move || other.rot(&other.dir("old"), &name("app"), |bytes| bytes[2000] ^= 1));
        let result = made(&disk, &bytes);
        if disk.cancel_interrupt() {
            break;
        }
        if result.is_err() {
            refused += 1;
            assert_eq!(names(&disk), without, "{nth}");
        } else {
            assert_eq!(shown(&disk, "made"), shown(&disk, "new"));
        }
        nth += 1;
    }
    assert!(refused > 5, "{refused}");
}
