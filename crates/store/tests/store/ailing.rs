//! A store that cannot work for now, is gone, or stands where it cannot be used; and one that forgets what is still coming.

use crate::memory::{Bad, Crash, Memory, name};
use crate::world::*;
use content::{Digested, PieceNo};
use engine::door::{Job, JobDone, JobError};
use std::sync::{Arc, Mutex};
use store::disk::{Disk, Space};
use store::look::Ailing;
use store::{OpenError, Options, PieceSource, Store};

fn releases() -> [Published; 2] {
    [1, 2].map(|seed| publish(&seed.to_string(), |disk, tree| rich(disk, tree, seed)))
}

fn running(old: &Published) -> Memory {
    let disk = new_disk();
    deploy(&mut opened(&disk), old, 1).expect("a good day");
    disk.crash(Crash::Forget)
}

#[test]
fn a5_a_quota_that_is_used_up_is_said_and_waited_for() {
    const EDQUOT: i32 = 122;
    let [old, new] = releases();
    let start = running(&old);
    let mut said = 0;
    for nth in (0..).step_by(5) {
        let disk = start.copy();
        let mut store = opened(&disk);
        fetch_all(&mut store, &new).expect("a good day");
        disk.plan(nth, Bad::Error(EDQUOT));
        let outcome = store.run(&Job::Assemble { release: new.signed.clone() });
        if !disk.relieve() {
            break;
        }
        let is_so = |why: &str| why.starts_with("quota used up: need ") && why.contains("on /");
        said += usize::from(matches!(&outcome, Err(JobError::NoSpace { why }) if is_so(why)));
        deploy(&mut store, &new, 2).unwrap_or_else(|error| panic!("call {nth}, with room again: {error:?}"));
    }
    assert!(said > 10, "only {said} errors were said");
}

#[test]
fn a5_names_that_lack_are_not_called_bytes() {
    let [old, new] = releases();
    let disk = running(&old);
    let mut store = opened(&disk);
    fetch_all(&mut store, &new).expect("a good day");
    // Enough when it is asked, none any more when the first file is made.
    let full = disk.clone();
    let made = disk.take_log().len();
    assert!(made > 0);
    let calls = {
        let disk = disk.copy();
        let mut store = opened(&disk);
        disk.take_log();
        store.run(&Job::Assemble { release: new.signed.clone() }).expect("a good day");
        let log = disk.take_log();
        log.iter().position(|call| call == "create").expect("files are made")
    };
    disk.interrupt(calls as u64, move || {
        full.set_space(Space { bytes: 1 << 30, inodes: 0 });
        full.plan(0, Bad::Full);
    });
    let outcome = store.run(&Job::Assemble { release: new.signed.clone() });
    let Err(JobError::NoSpace { why }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why, "disk full: need 1 new files (inodes), have 0, on /srv/.app.tiding");
}

#[test]
fn a6_a_disk_that_turns_read_only_at_any_call_is_waited_for_and_nothing_is_lost() {
    let [old, new] = releases();
    let start = running(&old);
    let mut strikes = 0;
    for nth in 0.. {
        let disk = start.copy();
        let mut store = opened(&disk);
        disk.plan(nth, Bad::ReadOnly);
        let outcome = deploy(&mut store, &new, 2);
        if disk.relieve() {
            strikes += 1;
            match outcome {
                Err(JobError::Stuck { why }) => assert!(why.contains("mounted for writing again"), "call {nth}: {why}"),
                // What could not be cleared up is cleared up later.
                Ok(()) => {}
                other => panic!("call {nth}: {other:?}"),
            }
        } else {
            outcome.expect("nothing stood in the way");
            break;
        }
        disk.plan(0, Bad::ReadOnly);
        assert!(matches!(store.look(), Err(Ailing::Unwritable(_))), "call {nth}");
        let read = store.pieces().read(old.found.content.id(), PieceNo(0));
        assert!(read.is_ok(), "call {nth}: what is here is not served any more: {read:?}");
        disk.relieve();
        assert_eq!(store.look(), Ok(()), "call {nth}");
        deploy(&mut store, &new, 2).unwrap_or_else(|error| panic!("call {nth}, writable again: {error:?}"));
        assert_eq!(live(&disk), Some(new.listing.clone()));
        check_blobs(&disk.crash(Crash::Forget));
    }
    assert!(strikes > 100, "only {strikes} calls met a read-only disk");
}

#[test]
fn a16_too_many_open_files_are_waited_for() {
    let [old, new] = releases();
    let start = running(&old);
    for number in [24, 23] {
        let mut waits = 0;
        for nth in (0..).step_by(3) {
            let disk = start.copy();
            let mut store = opened(&disk);
            fetch_all(&mut store, &new).expect("a good day");
            disk.plan(nth, Bad::Error(number));
            let outcome = store.run(&Job::Assemble { release: new.signed.clone() });
            if !disk.relieve() {
                break;
            }
            let is_waiting = |why: &str| why.contains("LimitNOFILE");
            waits += usize::from(matches!(&outcome, Err(JobError::Stuck { why }) if is_waiting(why)));
            store.run(&Job::Assemble { release: new.signed.clone() }).expect("a good day");
        }
        assert!(waits > 20, "{number}: {waits} waits");
    }
}

#[test]
fn a13_a_store_that_was_removed_while_it_was_open_is_noticed() {
    let [old, _] = releases();
    for gone in ["state.redb", "format", "lock", "blobs", "staging"] {
        let disk = running(&old);
        let store = opened(&disk);
        assert_eq!(store.look(), Ok(()));
        assert!(disk.metadata(&disk.dir("home"), &name("look")).is_err(), "it leaves something behind");
        disk.rename(&disk.dir("home"), &name(gone), &disk.dir("trash"), &name("it")).expect("a test's disk");
        assert_eq!(store.look(), Err(Ailing::Gone(format!("/var/lib/tiding/{gone}"))));
    }
}

#[test]
fn a18_a_store_in_two_file_systems_is_refused_at_start_and_a_path_in_two_before_anything_is_laid_out() {
    let [old, new] = releases();
    for part in ["blobs", "staging"] {
        let disk = running(&old);
        disk.set_apart(&disk.dir(&format!("home/{part}")));
        match open(&disk).map(drop) {
            Err(error @ OpenError::Apart { name }) => {
                assert_eq!(name, part);
                assert!(error.to_string().contains("is on another file system"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    let disk = running(&old);
    let mut store = opened(&disk);
    let side = disk.dir("root/srv/.app.tiding");
    disk.set_apart(&side);
    let before = disk.list(&side).expect("a test's disk");
    match deploy(&mut store, &new, 2) {
        Err(JobError::Refused { why }) => {
            assert!(
                why.contains("/srv/.app.tiding is a file system of its own, and /srv/app cannot be swung"),
                "{why}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.list(&side).expect("a test's disk"), before);
    assert_eq!(live(&disk), Some(old.listing.clone()));
}

#[test]
fn a18_a_store_on_another_file_system_than_the_path_is_as_good() {
    let [old, new] = releases();
    let disk = new_disk();
    disk.set_shares(false);
    ["home", "home/staging", "home/blobs"].iter().for_each(|dir| disk.set_apart(&disk.dir(dir)));
    for (published, epoch) in [(&old, 1), (&new, 2)] {
        deploy(&mut opened(&disk), published, epoch).expect("everything is copied");
        assert_eq!(live(&disk).as_ref(), Some(&published.listing));
    }
}

/// A store that makes every byte durable at once, as far as counting goes.
fn counting(disk: &Memory) -> Store<Memory> {
    let (home, root) = (disk.dir("home"), disk.dir("root"));
    let options = Options { checkpoint: 1, ..options() };
    Store::open(Arc::new(disk.clone()), home, root, "pid 1", options).expect("the store opens").0
}

#[test]
fn a17_what_is_forgotten_between_any_two_calls_of_a_write_is_not_believed_and_counts_for_nothing() {
    let [published, _] = releases();
    let (spec, mut struck) = (published.found.content, 0);
    let piece = PieceNo(spec.pages());
    let payload = Digested::new(published.source.read(spec.id(), piece).expect("it has it"));
    for nth in 0.. {
        let disk = new_disk();
        let store = Arc::new(Mutex::new(counting(&disk)));
        let pieces = store.lock().expect("one thread").pieces();
        begin(&mut store.lock().expect("one thread"), &published);
        let collector = store.clone();
        disk.interrupt(nth, move || {
            let mut store = collector.lock().expect("one thread");
            store.run(&Job::Collect { contents: Vec::new(), releases: Vec::new() }).expect("a good day");
            store.run(&Job::Open { content: spec }).expect("a good day");
        });
        let written = pieces.write(spec.id(), piece, &payload);
        let was_late = disk.cancel_interrupt();
        if written.is_ok() {
            assert!(was_late || pieces.read(spec.id(), piece).is_ok(), "call {nth}: it is believed and not here");
        }
        let mut store = store.lock().expect("one thread");
        fetch(&mut store, &published.source, spec).unwrap_or_else(|error| panic!("call {nth}: {error:?}"));
        assert!(!pieces.checkpoint_due(), "call {nth}: what is gone still waits for a checkpoint");
        check_blobs(&disk.crash(Crash::Forget));
        if was_late {
            break;
        }
        struck += 1;
    }
    assert!(struck > 0, "nothing came in between");
}

/// Fetches all pages, and reads the manifest.
fn begin(store: &mut Store<Memory>, published: &Published) {
    let spec = published.found.content;
    store.run(&Job::Open { content: spec }).expect("a good day");
    let pieces = store.pieces();
    for page in (0..spec.pages()).map(PieceNo) {
        let payload = published.source.read(spec.id(), page).expect("it has it");
        pieces.write(spec.id(), page, &Digested::new(payload)).expect("a good day");
    }
    let indexed = store.run(&Job::Index { content: spec.id() });
    assert!(matches!(indexed, Ok(JobDone::Indexed { .. })), "{indexed:?}");
    store.checkpoint().expect("a good day");
}
