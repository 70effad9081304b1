//! A store that lays out what another one keeps, which may be anything.

use crate::memory::{Memory, name};
use crate::world::*;
use content::ContentSpec;
use engine::door::{Job, JobDone, JobError};
use std::sync::Arc;
use store::Store;
use store::disk::{Disk, Name};

/// A disk on which one store has all of a release, and another one that borrows from it.
fn lender_and_borrower(published: &Published) -> (Memory, Store<Memory>) {
    let disk = new_disk();
    fetch_all(&mut opened(&disk), published).expect("it can be fetched");
    let (home, root) = (disk.dir("hands"), disk.dir("root"));
    let (mut store, _) = Store::open(Arc::new(disk.clone()), home, root, "pid 2", options()).expect("it opens");
    store.borrow_from(disk.dir("home/blobs"));
    (disk, store)
}

fn assemble(store: &mut Store<Memory>, published: &Published) -> Result<JobDone, JobError> {
    store.run(&Job::Assemble { release: published.signed.clone() })
}

fn pieces_of(spec: ContentSpec) -> Name {
    name(format!("{}.pieces", spec.id()))
}

#[test]
fn what_another_store_has_is_laid_out_and_nothing_of_it_is_kept() {
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let (disk, mut store) = lender_and_borrower(&published);
    disk.set_shares(true);
    disk.take_log();
    assert_eq!(assemble(&mut store, &published), Ok(JobDone::Assembled));
    assert!(!disk.take_log().iter().any(|call| call.contains("share_range")), "what was hashed is what is written");
    let of = |job| job;
    store.run(&of(Job::Accept { order: order_for(published.id(), 1).1 })).expect("accepted");
    store.run(&of(Job::Switch { app: app(), release: published.id() })).expect("switched");
    assert_eq!(live(&disk).as_ref(), Some(&published.listing));
    let verified = store.run(&Job::Verify { app: app() });
    assert!(matches!(verified, Ok(JobDone::Verified { differing: 0, .. })), "{verified:?}");
    assert_eq!(disk.list(&disk.dir("hands/blobs")).expect("it is there"), []);
    assert_eq!(disk.list(&disk.dir("hands/staging")).expect("it is there"), []);
}

#[test]
fn h14_a_changed_byte_is_missing_and_looked_for_again() {
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let (disk, mut store) = lender_and_borrower(&published);
    let (content, blobs) = (published.contents()[0], disk.dir("home/blobs"));
    let whole = disk.read_file(&blobs, &pieces_of(content));
    for change in [|bytes: &mut Vec<u8>| bytes[70_000] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(100_000)] {
        disk.rot(&blobs, &pieces_of(content), change);
        match assemble(&mut store, &published) {
            Err(JobError::Missing { content: of, pieces }) => assert!(of == content.id() && !pieces.is_empty()),
            other => panic!("{other:?}"),
        }
        assert_eq!(live(&disk), None);
        disk.rot(&blobs, &pieces_of(content), |bytes| bytes.clone_from(&whole));
    }
    disk.remove_file(&blobs, &pieces_of(content)).expect("it was there");
    assert!(matches!(assemble(&mut store, &published), Err(JobError::Missing { .. })));
    disk.write_file(&blobs, &pieces_of(content), 0o600, &whole);
    assert_eq!(assemble(&mut store, &published), Ok(JobDone::Assembled));
}

#[test]
fn h14_what_is_no_regular_file_is_not_read() {
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let offers: [fn(&Memory, &Name); 3] = [
        |disk, at| disk.write_other(&disk.dir("home/blobs"), at, "fifo"),
        |disk, at| disk.symlink(&disk.dir("home/blobs"), at, b"/etc/shadow").expect("a test's disk"),
        |disk, at| disk.create_dir(&disk.dir("home/blobs"), at, 0o755).expect("a test's disk"),
    ];
    for offer in offers {
        let (disk, mut store) = lender_and_borrower(&published);
        let at = pieces_of(published.contents()[0]);
        disk.remove_file(&disk.dir("home/blobs"), &at).expect("it was there");
        offer(&disk, &at);
        let refused = assemble(&mut store, &published);
        assert!(matches!(&refused, Err(JobError::Refused { why }) if why.contains("is not read")), "{refused:?}");
        assert_eq!(disk.list(&disk.dir("root/srv")).expect("it is there"), [], "nothing was begun");
    }
}
