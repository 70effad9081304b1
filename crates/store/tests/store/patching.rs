//! Patches between contents: whatever fails, what is here are right pieces, and the same job makes the rest.

use crate::memory::{Bad, Crash, Dir, Memory, name};
use crate::world::*;
use content::{ContentId, ContentSpec, Digest, Digested, Manifest, PieceNo};
use engine::door::{Effort, Job, JobDone, JobError};
use store::disk::{Disk, Space};
use store::hands::OneHand;
use store::{PieceSource, Store};

/// Large, changed, renamed, packed, linked, empty, with a hole.
fn fill(disk: &Memory, tree: &Dir, is_new: bool) {
    let text = noise(2, 60_000);
    let (seed, kept) = (if is_new { 1 } else { 0 }, noise(1, 200_000));
    disk.write_file(tree, &name(if is_new { "large too" } else { "large" }), 0o644, &kept);
    let changed = if is_new { [&text[..900], b"more", &text[900..]].concat() } else { text };
    disk.write_file(tree, &name("app"), 0o755, &changed);
    for nth in 0..40 {
        let differs = if nth % 5 == 0 { seed } else { 0 };
        disk.write_file(tree, &name(format!("small-{nth:02}")), 0o644, &noise(100 + nth + 1000 * differs, 400));
    }
    disk.write_file(tree, &name("empty"), 0o644, b"");
    disk.write_file(tree, &name("hole"), 0o644, &[&noise(7 + seed, 9000)[..], &vec![0; 400_000]].concat());
    disk.link(tree, &name("app"), tree, &name("app too")).expect("a test's disk");
    disk.symlink(tree, &name("link"), b"none").expect("a test's disk");
}

fn pair() -> [Published; 2] {
    [false, true].map(|is_new| publish(if is_new { "2" } else { "1" }, |disk, tree| fill(disk, tree, is_new)))
}

fn id(published: &Published) -> ContentId {
    published.found.content.id()
}

fn diff(base: &Published, target: &Published, below: u64) -> Job {
    Job::Diff { base: id(base), target: id(target), effort: Effort::Fast, below }
}

fn job(base: &Published, target: &Published, patch: ContentSpec) -> Job {
    Job::Patch { base: id(base), target: id(target), patch: patch.id() }
}

/// The patch that an origin makes, and keeps.
fn made(old: &Published, new: &Published) -> Vec<u8> {
    let mut store = opened(&new_disk());
    for published in [old, new] {
        fetch(&mut store, &published.source, published.found.content).expect("room");
    }
    let done = store.run(&diff(old, new, u64::MAX)).expect("two trees");
    let JobDone::Diffed { patch: Some(patch) } = done else { panic!("{done:?}") };
    let complete = store.run(&Job::Open { content: patch });
    assert!(matches!(complete, Ok(JobDone::Opened { complete: true, .. })), "{complete:?}");
    let page = |page| store.pieces().read(patch.id(), PieceNo(page)).expect("it is complete");
    patch.blob.shape().leaves().flat_map(page).collect()
}

fn keep(store: &mut Store<Memory>, patch: &[u8]) -> ContentSpec {
    match store.keep_patch(patch) {
        Ok(JobDone::Diffed { patch: Some(spec) }) => spec,
        other => panic!("{other:?}"),
    }
}

/// An agent's disk that has the old release, and the patch.
fn agent(old: &Published, patch: &[u8]) -> (Memory, ContentSpec) {
    let disk = new_disk();
    let mut store = opened(&disk);
    deploy(&mut store, old, 1).expect("a good day");
    let spec = keep(&mut store, patch);
    drop(store);
    (disk.crash(Crash::Forget), spec)
}

/// Everything that an agent does with a patch; how many pieces it has then.
fn apply(store: &mut Store<Memory>, old: &Published, new: &Published, patch: ContentSpec) -> Result<u32, JobError> {
    store.run(&Job::Open { content: new.found.content })?;
    let JobDone::Patched { have } = store.run(&job(old, new, patch))? else { panic!("not patched") };
    if have.is_full() {
        store.run(&Job::Complete { content: id(new) })?;
    }
    Ok(have.count())
}

/// The target can be laid out as ever, whatever has been tried before.
fn check_fetchable(store: &mut Store<Memory>, disk: &Memory, new: &Published) {
    deploy(store, new, 2).expect("it comes in another way");
    assert_eq!(live(disk), Some(new.listing.clone()));
    check_blobs(disk);
}

fn round_trip(old: &Published, new: &Published) {
    let patch = made(old, new);
    let (disk, spec) = agent(old, &patch);
    let mut store = opened(&disk);
    assert_eq!(apply(&mut store, old, new, spec), Ok(new.found.content.total()));
    assert_eq!(fetch(&mut store, &new.source, new.found.content), Ok(0));
    check_fetchable(&mut store, &disk, new);
}

#[test]
fn a_content_is_made_of_another_one_and_a_patch() {
    let [old, new] = pair();
    assert!(made(&old, &new).len() < 25_000, "{}", made(&old, &new).len());
    round_trip(&old, &new);
}

#[test]
fn contents_of_one_file_and_trees_without_files_are_patched() {
    let one = |seed: &[u8]| {
        let disk = Memory::new();
        disk.write_file(&disk.root(), &name("tree"), 0o644, &[&noise(1, 90_000), seed].concat());
        publish_from(&disk, &disk.root(), "/srv/app", "1")
    };
    round_trip(&one(b"1"), &one(b"22"));
    let links = |target: &[u8]| {
        let link = |disk: &Memory, tree: &Dir| disk.symlink(tree, &name("link"), target).expect("a test's disk");
        publish("1", link)
    };
    round_trip(&links(b"one"), &links(b"another"));
    round_trip(&links(b"one"), &one(b"1"));
    round_trip(&one(b"1"), &links(b"one"));
}

#[test]
fn what_a_large_file_needs_is_lent_by_the_disk_while_it_has_room() {
    let large = |seed: u64| {
        publish("1", |disk: &Memory, tree: &Dir| {
            let bytes = [&noise(1, 1_400_000)[..], &noise(seed, 5000), &noise(3, 1_400_000)].concat();
            disk.write_file(tree, &name("large"), 0o644, &bytes);
            disk.write_file(tree, &name("small"), 0o644, &noise(seed, 5000));
        })
    };
    let (old, new) = (large(5), large(6));
    let patch = made(&old, &new);
    let lends = |disk: &Memory, nearly_full: bool| {
        let mut store = opened(disk);
        store.run(&Job::Open { content: new.found.content }).expect("room");
        if nearly_full {
            disk.set_space(Space { bytes: new.found.content.bytes + (1 << 20), inodes: 1000 });
        }
        disk.take_log();
        let (_, spec) = agent(&old, &patch);
        let done = store.run(&job(&old, &new, spec)).expect("it is patched");
        let JobDone::Patched { have } = done else { panic!("not patched") };
        assert!(have.is_full());
        disk.take_log().iter().filter(|call| call.starts_with("lend")).count()
    };
    let (disk, _) = agent(&old, &patch);
    assert!(lends(&disk.copy(), false) >= 2, "the old and the new file");
    assert_eq!(lends(&disk, true), 0);
}

#[test]
fn ten_thousand_small_files_are_patched() {
    let many = |seed: u64| {
        publish("1", |disk: &Memory, tree: &Dir| {
            for nth in 0..10_000 {
                let differs = if nth % 100 == 0 { seed } else { 0 };
                disk.write_file(tree, &name(format!("{nth:05}")), 0o644, &noise(nth + 100_000 * differs, 60));
            }
        })
    };
    let (old, new) = (many(0), many(1));
    let patch = made(&old, &new);
    let (disk, spec) = agent(&old, &patch);
    let mut store = opened(&disk);
    assert_eq!(apply(&mut store, &old, &new, spec), Ok(new.found.content.total()));
}

#[test]
fn a_patch_that_is_not_short_enough_is_not_kept() {
    let [old, new] = pair();
    let mut store = opened(&new_disk());
    for published in [&old, &new] {
        fetch(&mut store, &published.source, published.found.content).expect("room");
    }
    let len = made(&old, &new).len() as u64;
    assert_eq!(store.run(&diff(&old, &new, len)), Ok(JobDone::Diffed { patch: None }));
    assert!(matches!(store.run(&diff(&old, &new, len + 1)), Ok(JobDone::Diffed { patch: Some(_) })));
    let attributes = Job::Diff { base: old.found.attributes.id(), target: id(&new), effort: Effort::Best, below: 1 };
    assert!(matches!(store.run(&attributes), Err(JobError::Missing { .. })));
    fetch(&mut store, &old.source, old.found.attributes).expect("room");
    assert!(matches!(store.run(&attributes), Err(JobError::Refused { .. })));
}

#[test]
fn what_is_pinned_is_not_collected() {
    let [old, new] = pair();
    let disk = new_disk();
    let mut store = opened(&disk);
    fetch(&mut store, &old.source, old.found.content).expect("room");
    let patch = keep(&mut store, &made(&old, &new));
    store.run(&Job::Open { content: new.found.content }).expect("room");
    let (pieces, collect) = (store.pieces(), Job::Collect { contents: Vec::new(), releases: Vec::new() });
    let pinned = pieces.pin(&[id(&old), id(&new), patch.id()]);
    let twice = pieces.pin(&[id(&old)]);
    assert_eq!(store.run(&collect), Ok(JobDone::Collected { freed: 0 }));
    let done = pieces.patch(id(&old), id(&new), patch.id(), &OneHand).expect("all of it is here");
    assert!(matches!(&done, JobDone::Patched { have } if have.is_full()), "{done:?}");
    drop(pinned);
    store.run(&collect).expect("a good day");
    assert!(pieces.read(id(&old), PieceNo(0)).is_ok() && pieces.read(id(&new), PieceNo(0)).is_err());
    drop(twice);
    store.run(&collect).expect("a good day");
    assert!(pieces.read(id(&old), PieceNo(0)).is_err());
}

/// A strike at every call of one job, and then the same once more.
fn sweep(start: &Memory, bad: Bad, run: &dyn Fn(&mut Store<Memory>) -> Result<(), JobError>, check: &dyn Fn(&Memory)) {
    let mut strikes = 0u64;
    for nth in 0.. {
        let disk = start.copy();
        let mut store = opened(&disk);
        disk.plan(nth, bad);
        let outcome = run(&mut store);
        if !disk.relieve() {
            outcome.unwrap_or_else(|error| panic!("{bad:?}, no call failed: {error:?}"));
            break;
        }
        strikes += 1;
        check_blobs(&disk);
        let disk = if bad == Bad::Cut {
            drop(store);
            let crash = [Crash::Forget, Crash::Keep, Crash::Tear(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))];
            let disk = disk.crash(crash[nth as usize % 3]);
            check_blobs(&disk);
            store = opened(&disk);
            disk
        } else {
            disk
        };
        assert_eq!(live_before(&disk), live_before(start), "{bad:?} {nth}");
        run(&mut store).unwrap_or_else(|error| panic!("{bad:?} {nth}, once more: {error:?}"));
        drop(store);
        check(&disk.crash(Crash::Forget));
    }
    assert!(strikes > if bad == Bad::Sync { 3 } else { 40 }, "{bad:?}: {strikes}");
}

fn live_before(disk: &Memory) -> Option<Listing> {
    disk.metadata(&disk.dir("root/srv"), &name("app")).ok().and_then(|_| live(disk))
}

fn check_complete(disk: &Memory, content: ContentSpec) {
    check_blobs(disk);
    let opened = opened(disk).run(&Job::Open { content });
    assert!(matches!(opened, Ok(JobDone::Opened { complete: true, .. })), "{opened:?}");
}

#[test]
fn a3_a_patch_is_applied_whatever_call_fails() {
    let [old, new] = pair();
    let (start, spec) = agent(&old, &made(&old, &new));
    let run = |store: &mut Store<Memory>| match apply(store, &old, &new, spec)? {
        total if total == new.found.content.total() => Ok(()),
        // A piece of the base was not read, and what it was for is left to be fetched, or to the next attempt.
        _ => Err(JobError::Missing { content: id(&new), pieces: Vec::new() }),
    };
    for bad in [Bad::Cut, Bad::Full, Bad::Sync, Bad::Error(5)] {
        sweep(&start, bad, &run, &|disk| check_complete(disk, new.found.content));
    }
}

#[test]
fn a3_a_patch_is_made_whatever_call_fails() {
    let [old, new] = pair();
    let disk = new_disk();
    let mut store = opened(&disk);
    for published in [&old, &new] {
        fetch(&mut store, &published.source, published.found.content).expect("room");
    }
    drop(store);
    let (start, patch) = (disk.crash(Crash::Forget), made(&old, &new));
    let (blob, _) = content::blob::build(&patch);
    let spec = ContentSpec { blob, pieces: 0, bytes: 0 };
    let run = |store: &mut Store<Memory>| {
        let done = store.run(&diff(&old, &new, u64::MAX))?;
        assert_eq!(done, JobDone::Diffed { patch: Some(spec) });
        Ok(())
    };
    for bad in [Bad::Cut, Bad::Full, Bad::Sync, Bad::Error(5)] {
        sweep(&start, bad, &run, &|disk| check_complete(disk, spec));
    }
}

/// What an agent says to such a patch.
fn refusal(start: &Memory, patch: &[u8], old: &Published, new: &Published) -> Result<u32, JobError> {
    let disk = start.copy();
    let mut store = opened(&disk);
    let spec = keep(&mut store, patch);
    let said = apply(&mut store, old, new, spec);
    check_blobs(&disk);
    if said.is_err() {
        check_fetchable(&mut store, &disk, new);
    }
    said
}

#[test]
fn c12_a_patch_that_is_cut_or_flipped_makes_right_pieces_or_none() {
    let [old, new] = pair();
    let patch = made(&old, &new);
    let (start, _) = agent(&old, &patch);
    let steps = patch.len() / 40;
    let mut refused = 0;
    for at in (0..90).chain((90..patch.len()).step_by(steps)) {
        let mut flipped = patch.clone();
        flipped[at] ^= 0x41;
        for bad in [&patch[..at], &flipped[..]] {
            match refusal(&start, bad, &old, &new) {
                Err(JobError::Refused { why }) => refused += usize::from(!why.is_empty()),
                Ok(total) => assert_eq!(total, new.found.content.total()),
                other => panic!("{at}: {other:?}"),
            }
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn c12_lengths_that_lie_take_no_memory() {
    let [old, new] = pair();
    let patch = made(&old, &new);
    let (start, _) = agent(&old, &patch);
    for lie in [0, 1, 1 << 20, 1 << 40, u64::MAX] {
        let mut bad = patch.clone();
        bad[69..77].copy_from_slice(&u64::to_le_bytes(lie));
        assert!(matches!(refusal(&start, &bad, &old, &new), Err(JobError::Refused { .. })), "{lie}");
    }
    let bomb = delta::diff(&[], &vec![0; 80 << 20], delta::Effort::Fast);
    let bad = [&patch[..69], &(bomb.len() as u64).to_le_bytes(), &bomb].concat();
    assert!(matches!(refusal(&start, &bad, &old, &new), Err(JobError::Refused { .. })));
    let long = [&patch[..], &noise(1, 2 << 20)].concat();
    let Err(JobError::Refused { why }) = refusal(&start, &long, &old, &new) else { panic!("a long patch") };
    assert!(why.contains("longer than all that it should make"), "{why}");
}

#[test]
fn c11_a_patch_for_others_is_refused() {
    let [old, new] = pair();
    let third = publish("3", |disk, tree| {
        fill(disk, tree, true);
        disk.write_file(tree, &name("third"), 0o644, b"of another tree");
    });
    let (start, _) = agent(&old, &made(&old, &new));
    let Err(JobError::Refused { why }) = refusal(&start, &made(&third, &new), &old, &new) else { panic!("wrong base") };
    assert!(why.contains("is for the tree"), "{why}");
    let Err(JobError::Refused { why }) = refusal(&start, &made(&old, &third), &old, &new) else {
        panic!("wrong target")
    };
    assert!(why.contains("the patch makes the tree"), "{why}");
}

#[test]
fn c12_a_patch_that_makes_other_bytes_makes_none() {
    let [old, new] = pair();
    let other = publish("2", |disk, tree| {
        fill(disk, tree, true);
        let app = disk.read_file(tree, &name("app"));
        disk.rot(tree, &name("app"), |bytes| bytes[902] ^= 1);
        assert_ne!(disk.read_file(tree, &name("app")), app);
    });
    let (right, wrong) = (made(&old, &new), made(&old, &other));
    let len = |patch: &[u8]| 77 + u64::from_le_bytes(patch[69..77].try_into().expect("eight bytes")) as usize;
    // The head and the manifest of one, and the files of the other.
    let mixed = [&right[..len(&right)], &wrong[len(&wrong)..]].concat();
    let (start, _) = agent(&old, &right);
    let Err(JobError::Refused { why }) = refusal(&start, &mixed, &old, &new) else { panic!("other bytes") };
    assert!(why.starts_with("what the patch makes of ") && why.contains("app"), "{why}");
}

#[test]
fn b2_a_damaged_base_is_told_by_its_pieces() {
    let [old, new] = pair();
    let (start, spec) = agent(&old, &made(&old, &new));
    let (content, mut told) = (old.found.content, 0);
    let pages: Vec<u8> = content
        .blob
        .shape()
        .leaves()
        .flat_map(|page| old.source.read(content.id(), PieceNo(page)).expect("it has it"))
        .collect();
    let pieces = Manifest::decode(&pages).expect("a manifest").pieces;
    for (index, piece) in (0..).zip(&pieces) {
        let disk = start.copy();
        let file = name(format!("{}.pieces", content.id()));
        let wanted = piece.digest;
        disk.rot(&disk.dir("home/blobs"), &file, |bytes| {
            let at = (0..bytes.len()).find(|at| {
                bytes
                    .get(*at..*at + piece.len as usize)
                    .is_some_and(|here| here[..16] == first(&old, index)[..16] && Digest::of(here) == wanted)
            });
            bytes[at.expect("it stands there")] ^= 1;
        });
        let mut store = opened(&disk);
        match apply(&mut store, &old, &new, spec) {
            Err(JobError::Missing { content, pieces }) => {
                assert_eq!(content, id(&old));
                assert_eq!(pieces, [Manifest::piece_no(old.found.content.pages(), index)]);
                told += 1;
            }
            Ok(total) => assert!(total <= new.found.content.total()),
            // What was noticed while pieces were taken over is out of use already.
            other => panic!("{index}: {other:?}"),
        }
        let bytes = old.source.read(content.id(), Manifest::piece_no(content.pages(), index)).expect("it has it");
        store
            .pieces()
            .write(content.id(), Manifest::piece_no(content.pages(), index), &Digested::new(bytes))
            .expect("room");
        store.run(&Job::Complete { content: content.id() }).expect("it is whole again");
        assert_eq!(apply(&mut store, &old, &new, spec), Ok(new.found.content.total()), "{index}");
    }
    assert!(told > 0);
}

/// The bytes of a piece.
fn first(published: &Published, index: u32) -> Vec<u8> {
    let piece = Manifest::piece_no(published.found.content.pages(), index);
    published.source.read(published.found.content.id(), piece).expect("it has it")
}
