//! The power goes at every call of the disk, and every state that may be left is opened again.

use crate::memory::{Bad, Crash, Memory};
use crate::world::*;
use content::ContentId;
use engine::door::{Job, JobDone};

/// A node that runs the first of two small releases.
fn before() -> (Memory, [Published; 2]) {
    let releases = [1, 2].map(|seed| publish(&seed.to_string(), |disk, tree| rich(disk, tree, seed)));
    let disk = new_disk();
    deploy(&mut opened(&disk), &releases[0], 1).expect("a good day");
    (disk.crash(Crash::Forget), releases)
}

#[test]
fn a2_a_power_cut_at_any_call_leaves_the_old_release_or_the_new() {
    let (start, [old, new]) = before();
    let (mut switched, mut cuts) = (0, 0);
    for nth in 0.. {
        let disk = start.copy();
        disk.plan(nth, Bad::Cut);
        let mut said = Vec::new();
        if let Ok((mut store, _)) = open(&disk) {
            drop(deploy(&mut store, &new, 2));
            let complete = new.contents().into_iter().filter(|spec| is_complete(&mut store, *spec));
            said.extend(complete.map(|spec| spec.id()));
        }
        if !disk.relieve() {
            // All of it was said to be done.
            let disk = disk.crash(Crash::Forget);
            assert!(check_after(&disk, &old, &new, &said, "after the last call"));
            break;
        }
        cuts += 1;
        for crash in [Crash::Forget, Crash::Keep, Crash::Tear(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))] {
            let (disk, when) = (disk.crash(crash), format!("cut {nth}, {crash:?}"));
            switched += u32::from(check_after(&disk, &old, &new, &said, &when));
        }
    }
    assert!(cuts > 250, "the enumeration only saw {cuts} calls");
    assert!(switched > 10 && switched < cuts as u32 * 3 - 10, "{switched} of {} were switched", cuts * 3);
}

/// Opens what a crash left, checks the promises, and finishes the deploy; whether the new release was live.
fn check_after(disk: &Memory, old: &Published, new: &Published, said: &[ContentId], when: &str) -> bool {
    check_blobs(disk);
    let seen = live(disk).unwrap_or_else(|| panic!("{when}: nothing is live"));
    let switched = seen == new.listing;
    assert!(switched || seen == old.listing, "{when}: a mixture is live");
    let (mut store, recovered) = open(disk).unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!(store.notes(), [""; 0], "{when}");
    let app = &recovered.apps[0];
    let expected = if switched { new.id() } else { old.id() };
    assert_eq!(app.live, Some(expected), "{when}");
    for id in said {
        let kept = recovered.held.iter().any(|held| held.content.id() == *id && held.complete);
        assert!(kept, "{when}: {id} was called complete");
    }
    assert!(switched || app.confirmed == Some(old.id()), "{when}: it was called confirmed");
    if switched {
        assert!(app.intent == Some(new.id()) || app.confirmed == Some(new.id()), "{when}: {app:?}");
    }
    deploy(&mut store, new, 2).unwrap_or_else(|error| panic!("{when}: {error:?}"));
    assert_eq!(live(disk).as_ref(), Some(&new.listing), "{when}");
    switched
}

/// Whether the store has called a content complete; it answers from memory.
fn is_complete(store: &mut store::Store<Memory>, content: content::ContentSpec) -> bool {
    matches!(store.run(&Job::Open { content }), Ok(JobDone::Opened { complete: true, .. }))
}

#[test]
fn a1_after_a_kill_no_more_is_fetched_again_than_a_checkpoint_allows() {
    let published = publish("1", |disk, tree| {
        disk.write_file(tree, &crate::memory::name("large"), 0o644, &noise(1, 3_000_000));
    });
    let disk = new_disk();
    let mut store = opened(&disk);
    let spec = published.found.content;
    fetch_part(&mut store, &published, 30);
    let before = have(&mut store, spec);
    drop(store);
    let disk = disk.crash(Crash::Forget);
    let mut store = opened(&disk);
    let after = have(&mut store, spec);
    let lost = before - after;
    // 200,000 bytes are the checkpoint of these tests, and no piece is longer than 128 KiB.
    assert!(u64::from(lost) * 32 * 1024 <= 200_000 + 128 * 1024, "{lost} of {before} pieces are lost");
    assert!(after > 20, "only {after} pieces were resumed");
    fetch_all(&mut store, &published).expect("the rest comes");
}

fn have(store: &mut store::Store<Memory>, spec: content::ContentSpec) -> u32 {
    match store.run(&Job::Open { content: spec }) {
        Ok(JobDone::Opened { have, .. }) => have.count(),
        other => panic!("{other:?}"),
    }
}

fn fetch_part(store: &mut store::Store<Memory>, published: &Published, count: u32) {
    use content::PieceNo;
    use store::PieceSource;
    let (spec, pieces) = (published.found.content, store.pieces());
    store.run(&Job::Open { content: spec }).expect("room");
    for nth in 0..spec.pages() + count {
        if nth == spec.pages() {
            store.run(&Job::Index { content: spec.id() }).expect("a good manifest");
        }
        let bytes = published.source.read(spec.id(), PieceNo(nth)).expect("it has it");
        pieces.write(spec.id(), PieceNo(nth), &content::Digested::new(bytes)).expect("room");
        if pieces.checkpoint_due() {
            assert_eq!(store.checkpoint(), Ok(Vec::new()));
        }
    }
}
