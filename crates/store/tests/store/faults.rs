//! A disk that is full, fails its syncs, or rots; and a state file that is damaged.

use crate::memory::{Bad, Crash, Memory, name};
use crate::world::*;
use content::PieceNo;
use engine::door::{Job, JobDone, JobError};
use store::disk::{Disk, Space};
use store::{PieceSource, ReadError, Store};

fn releases() -> [Published; 2] {
    [1, 2].map(|seed| publish(&seed.to_string(), |disk, tree| rich(disk, tree, seed)))
}

fn running(old: &Published) -> Memory {
    let disk = new_disk();
    deploy(&mut opened(&disk), old, 1).expect("a good day");
    disk.crash(Crash::Forget)
}

#[test]
fn a4_a_disk_that_fills_at_any_call_stops_that_job_and_nothing_else() {
    let [old, new] = releases();
    let start = running(&old);
    let mut strikes = 0;
    for nth in 0.. {
        let disk = start.copy();
        let mut store = opened(&disk);
        disk.plan(nth, Bad::Full);
        let outcome = deploy(&mut store, &new, 2);
        let switched = live(&disk) == Some(new.listing.clone());
        assert!(switched || live(&disk) == Some(old.listing.clone()), "call {nth}: a mixture is live");
        if !disk.relieve() {
            outcome.expect("nothing stood in the way");
            break;
        }
        strikes += 1;
        match outcome {
            Err(JobError::NoSpace { why }) => assert!(why.starts_with("disk full: need "), "call {nth}: {why}"),
            Ok(()) => {}
            other => panic!("call {nth}: {other:?}"),
        }
        deploy(&mut store, &new, 2).unwrap_or_else(|error| panic!("call {nth}, with room again: {error:?}"));
        assert_eq!(live(&disk), Some(new.listing.clone()));
        check_blobs(&disk.crash(Crash::Forget));
    }
    assert!(strikes > 100, "only {strikes} calls met a full disk");
}

#[test]
fn a4_what_would_not_fit_is_refused_before_it_is_fetched() {
    let [old, _] = releases();
    let disk = new_disk();
    let mut store = opened(&disk);
    disk.set_space(Space { bytes: 200_000, inodes: 1000 });
    let refused = store.run(&Job::Open { content: old.found.content });
    let Err(JobError::NoSpace { why }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("have 195.3 KiB, on /var/lib/tiding"), "{why}");
    disk.set_space(Space { bytes: 1 << 40, inodes: 10 });
    fetch_all(&mut store, &old).expect("room for the content");
    let refused = store.run(&Job::Assemble { release: old.signed.clone() });
    let Err(JobError::NoSpace { why }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("inodes") && why.ends_with("on /srv/.app.tiding"), "{why}");
}

#[test]
fn a7_what_a_failed_sync_touched_is_fetched_again_and_only_then_believed() {
    let [old, new] = releases();
    let start = running(&old);
    let mut strikes = 0;
    for nth in 0.. {
        let disk = start.copy();
        let mut store = opened(&disk);
        disk.plan(nth, Bad::Sync);
        let first = deploy(&mut store, &new, 2);
        let struck = disk.relieve();
        // What an engine does with `Missing` and `Disk`: it tries again, fetching what is not here.
        let tries = (0..4).find(|_| deploy(&mut store, &new, 2).is_ok());
        assert!(tries.is_some(), "sync {nth}: {first:?}, and it never recovers");
        drop(store);
        let after = disk.crash(Crash::Forget);
        check_blobs(&after);
        assert_eq!(live(&after), Some(new.listing.clone()), "sync {nth}");
        let (mut store, recovered) = open(&after).expect("the store opens");
        assert_eq!(recovered.apps[0].confirmed, Some(new.id()), "sync {nth}: {first:?}");
        assert!(recovered.held.iter().all(|held| held.complete), "sync {nth}");
        let verified = store.run(&Job::Verify { app: app() });
        assert!(matches!(verified, Ok(JobDone::Verified { differing: 0, .. })), "sync {nth}: {verified:?}");
        if !struck {
            break;
        }
        strikes += 1;
    }
    assert!(strikes > 10, "only {strikes} syncs failed");
}

#[test]
fn a9_rot_is_found_before_a_peer_sees_it_and_is_fetched_again() {
    let [published, _] = releases();
    let spec = published.found.content;
    for (file, nth) in [("pages", 0), ("pieces", spec.pages() + 3)] {
        let disk = new_disk();
        let mut store = opened(&disk);
        fetch_all(&mut store, &published).expect("room");
        let blobs = disk.dir("home/blobs");
        let right = store.pieces().read(spec.id(), PieceNo(nth)).expect("it is here");
        disk.rot(&blobs, &name(format!("{}.{file}", spec.id())), |bytes| {
            let at = bytes.windows(right.len()).position(|window| window == right).expect("it stands there");
            bytes[at + right.len() / 2] ^= 1;
        });
        let pieces = store.pieces();
        assert_eq!(pieces.read(spec.id(), PieceNo(nth)), Err(ReadError::Damaged));
        assert_eq!(pieces.read(spec.id(), PieceNo(nth)), Err(ReadError::Missing));
        let missing = JobError::Missing { content: spec.id(), pieces: vec![PieceNo(nth)] };
        assert_eq!(store.run(&Job::Assemble { release: published.signed.clone() }), Err(missing));
        assert!(store.notes()[0].contains("fetched again"), "{:?}", store.notes());
        assert!(disk.metadata(&blobs, &name(format!("{}.pages", spec.id()))).is_err(), "it is still called complete");
        assert_eq!(fetch(&mut store, &published.source, spec), Ok(1), "only the damaged piece comes again");
        check_blobs(&disk.crash(Crash::Forget));
        store.run(&Job::Assemble { release: published.signed.clone() }).expect("it is whole again");
    }
}

#[test]
fn a9_rot_is_found_while_a_release_is_laid_out() {
    let [published, _] = releases();
    let disk = new_disk();
    let mut store = opened(&disk);
    fetch_all(&mut store, &published).expect("room");
    let spec = published.found.content;
    disk.rot(&disk.dir("home/blobs"), &name(format!("{}.pieces", spec.id())), |bytes| bytes[60_000] ^= 4);
    match store.run(&Job::Assemble { release: published.signed.clone() }) {
        Err(JobError::Missing { content, pieces }) => assert_eq!((content, pieces.len()), (spec.id(), 1)),
        other => panic!("{other:?}"),
    }
    let side = disk.dir("root/srv/.app.tiding");
    assert_eq!(disk.list(&side).expect("a test's disk"), [name("owner")], "a part of a release is left");
    assert_eq!(fetch(&mut store, &published.source, spec), Ok(1));
    deploy(&mut store, &published, 1).expect("it is whole again");
    assert_eq!(live(&disk), Some(published.listing));
}

fn state_file(disk: &Memory) -> Vec<u8> {
    disk.read_file(&disk.dir("home"), &name("state.redb"))
}

#[test]
fn a11_a12_a_damaged_state_file_costs_memory_not_contents() {
    let [old, new] = releases();
    let start = running(&old);
    {
        let mut store = opened(&start);
        let spec = new.found.content;
        store.run(&Job::Open { content: spec }).expect("room");
        store
            .pieces()
            .write(spec.id(), PieceNo(0), &new.source.read(spec.id(), PieceNo(0)).expect("it has it"))
            .expect("room");
    }
    let len = state_file(&start).len();
    let (mut damaged, mut whole) = (0, 0);
    let cuts = (0..len).step_by(len / 23).map(|at| (at, true));
    let flips = (0..len).step_by(len / 61).chain(0..320).map(|at| (at, false));
    for (at, cut) in cuts.chain(flips) {
        let disk = start.copy();
        disk.rot(
            &disk.dir("home"),
            &name("state.redb"),
            |bytes| if cut { bytes.truncate(at) } else { bytes[at] ^= 0x10 },
        );
        let (store, recovered) = open(&disk).unwrap_or_else(|error| panic!("at {at}: {error}"));
        match store.notes() {
            [] => {
                whole += 1;
                assert_eq!(recovered.apps[0].confirmed, Some(old.id()), "at {at}, cut {cut}");
            }
            notes => {
                damaged += 1;
                assert!(notes[0].starts_with("THE STATE FILE WAS DAMAGED"), "{notes:?}");
                assert!(disk.metadata(&disk.dir("home"), &name("state.redb.damaged-1")).is_ok());
            }
        }
        rebuilt(store, &recovered, &disk, &old);
    }
    assert!(damaged > 20, "{damaged} damages were noticed, {whole} did no harm");
}

#[test]
fn a12_a_deleted_state_file_is_made_again_from_the_names() {
    let [old, _] = releases();
    let disk = running(&old);
    disk.remove_file(&disk.dir("home"), &name("state.redb")).expect("a test's disk");
    let (store, recovered) = open(&disk).expect("the store opens");
    assert!(store.notes()[0].starts_with("THE STATE FILE WAS MISSING"), "{:?}", store.notes());
    assert_eq!(recovered.held.len(), 2);
    rebuilt(store, &recovered, &disk, &old);
}

/// Complete contents are found again, nothing is fetched again, and what is laid out is used.
fn rebuilt(mut store: Store<Memory>, recovered: &engine::door::Recovered, disk: &Memory, old: &Published) {
    let complete = recovered.held.iter().filter(|held| held.complete).count();
    assert_eq!(complete, 2, "{:?}", recovered.held);
    assert_eq!(fetch_all(&mut store, old), Ok(0));
    deploy(&mut store, old, 1).expect("it is all here");
    assert_eq!(live(disk).as_ref(), Some(&old.listing));
}

#[test]
fn a12_damaged_blobs_are_not_believed_when_the_state_is_gone_too() {
    let [old, _] = releases();
    let disk = running(&old);
    let spec = old.found.content;
    disk.remove_file(&disk.dir("home"), &name("state.redb")).expect("a test's disk");
    disk.rot(&disk.dir("home/blobs"), &name(format!("{}.pieces", spec.id())), |bytes| bytes[100_000] ^= 1);
    let (mut store, recovered) = open(&disk).expect("the store opens");
    let held = recovered.held.iter().find(|held| held.content.id() == spec.id()).expect("most of it is here");
    assert_eq!((held.complete, held.have.count()), (false, spec.total() - 1));
    assert_eq!(held.content, spec);
    assert_eq!(fetch_all(&mut store, &old), Ok(1));
    check_blobs(&disk);
}
