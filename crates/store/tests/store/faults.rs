//! A disk that is full, fails its syncs, or rots; and a state file that is damaged.

use crate::memory::{Bad, Crash, Memory, name};
use crate::world::*;
use content::PieceNo;
use content::fact::{Chain, JournalName, Noted, Position, Stamp};
use content::{Digest, Fact, NodeId};
use engine::door::{AppendError, Recovered};
use engine::door::{Job, JobDone, JobError};
use redb::{ReadableDatabase, StorageBackend, TableDefinition};
use std::sync::Arc;
use store::disk::{Disk, Space};
use store::{OpenError, PieceSource, ReadError, Store};

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
            .write(
                spec.id(),
                PieceNo(0),
                &content::Digested::new(new.source.read(spec.id(), PieceNo(0)).expect("it has it")),
            )
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

fn fact(nth: u8) -> Fact {
    Fact::Revoked { node: NodeId(Digest::of(&[nth])) }
}

fn at(index: u64) -> Position {
    Position { generation: 1, index }
}

fn told(recovered: &Recovered) -> Vec<Fact> {
    recovered.facts.iter().map(|(_, _, fact)| fact.clone()).collect()
}

fn names_of_home(disk: &Memory) -> Vec<String> {
    let names = disk.list(&disk.dir("home")).expect("a test's disk");
    names.iter().map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()).collect()
}

#[test]
fn an_error_of_any_call_while_the_store_opens_costs_nothing() {
    const NUMBERS: [(&str, i32); 5] = [("EIO", 5), ("ENOMEM", 12), ("EACCES", 13), ("ENFILE", 23), ("EMFILE", 24)];
    let [old, _] = releases();
    let start = running(&old);
    opened(&start).append(&JournalName::Fleet, at(0), &[fact(1), fact(2)], NOTED).expect("a good day");
    let start = start.crash(Crash::Forget);
    let mut refusals = 0;
    for (which, number) in NUMBERS {
        for nth in 0.. {
            let disk = start.copy();
            disk.plan(nth, Bad::Error(number));
            let opened = open(&disk).map(drop);
            let struck = disk.relieve();
            match opened {
                Err(OpenError::Disk { source, .. }) => {
                    assert!(source.to_string().len() > 5, "{which} of call {nth}: {source}");
                    refusals += 1;
                }
                other => other.unwrap_or_else(|error| panic!("{which} of call {nth}: {error}")),
            }
            let names = names_of_home(&disk);
            assert!(!names.iter().any(|name| name.contains("damaged") || name.contains("lost")), "{which}, {nth}");
            let (store, recovered) = open(&disk).unwrap_or_else(|error| panic!("{which} of call {nth}: {error}"));
            assert_eq!(store.lost(), None, "{which} of call {nth}");
            assert_eq!(told(&recovered), [fact(1), fact(2)], "{which} of call {nth}");
            assert_eq!(recovered.apps[0].confirmed, Some(old.id()), "{which} of call {nth}");
            if !struck {
                break;
            }
        }
    }
    assert!(refusals > 50, "only {refusals} errors kept the store from opening");
}

#[test]
fn a_lost_state_is_told_at_every_start_until_someone_dealt_with_it() {
    let [old, _] = releases();
    for damaged in [true, false] {
        let disk = running(&old);
        let home = disk.dir("home");
        match damaged {
            true => disk.rot(&home, &name("state.redb"), |bytes| bytes[..200].fill(0)),
            false => disk.remove_file(&home, &name("state.redb")).expect("a test's disk"),
        }
        for _ in 0..3 {
            let store = opened(&disk);
            let told = store.lost().expect("it was lost");
            assert!(told.starts_with(if damaged {
                "THE STATE FILE WAS DAMAGED"
            } else {
                "THE STATE FILE WAS MISSING"
            }));
            assert_eq!(told.contains("state.redb.damaged-1"), damaged, "{told}");
            assert_eq!(store.notes().first().map(String::as_str), Some(told));
        }
        let mut store = opened(&disk.crash(Crash::Forget));
        assert!(store.lost().is_some(), "a crash makes it forgotten");
        store.forget_loss().expect("a good day");
        assert_eq!(store.lost(), None);
        let mut store = opened(&disk);
        store.forget_loss().expect("a good day");
        drop(store);
        assert_eq!(opened(&disk.crash(Crash::Forget)).lost(), None);
    }
}

#[test]
fn an_append_that_was_reported_failed_never_comes_back() {
    let start = new_disk();
    opened(&start).append(&JournalName::Fleet, at(0), &[fact(1)], NOTED).expect("a good day");
    let start = start.crash(Crash::Forget);
    let mut strikes = 0;
    for (sync, nth) in [true, false].into_iter().flat_map(|sync| (0..).map(move |nth| (sync, nth)).take(60)) {
        let disk = start.copy();
        let mut store = opened(&disk);
        disk.plan(nth, if sync { Bad::Sync } else { Bad::Error(5) });
        let outcome = store.append(&JournalName::Fleet, at(1), &[fact(2), fact(3)], NOTED);
        if !disk.relieve() {
            continue;
        }
        let Err(AppendError::Unavailable(_)) = outcome else {
            // What failed came after the word was durable.
            assert_eq!(outcome, Ok(at(3)));
            continue;
        };
        strikes += 1;
        for crash in [Crash::Keep, Crash::Forget] {
            let (store, recovered) = open(&disk.crash(crash)).expect("the store opens");
            assert_eq!(told(&recovered), [fact(1)], "call {nth}, sync {sync}, {crash:?}");
            assert_eq!(store.notes(), [""; 0]);
        }
        assert_eq!(store.append(&JournalName::Fleet, at(1), &[fact(4)], NOTED), Ok(at(2)), "call {nth}");
        for crash in [Crash::Keep, Crash::Forget] {
            let (mut store, recovered) = open(&disk.crash(crash)).expect("the store opens");
            assert_eq!(told(&recovered), [fact(1), fact(4)], "call {nth}, sync {sync}, {crash:?}");
            assert_eq!(store.append(&JournalName::Fleet, at(2), &[fact(5)], NOTED), Ok(at(3)));
        }
    }
    assert!(strikes > 5, "only {strikes} appends failed");
}

const STAMPS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("tiding stamps");
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("tiding");

/// A state file outside of any disk.
#[derive(Debug, Clone)]
struct Bytes(Arc<redb::backends::InMemoryBackend>);

impl StorageBackend for Bytes {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
}

fn last_fact(database: &redb::Database) -> (Vec<u8>, Vec<u8>) {
    let table = database.begin_read().expect("a state file").open_table(TABLE).expect("a state file");
    let mut facts = table.range::<&[u8]>(b"f".as_slice()..b"g".as_slice()).expect("a state file");
    let (key, value) = facts.next_back().expect("a fact").expect("a state file");
    (key.value().to_vec(), value.value().to_vec())
}

/// Writes the last fact a second time, one place further, and leaves the journal where it stood.
fn add_ghost(file: &mut Vec<u8>) {
    rewrite(file, |database| {
        let (mut key, value) = last_fact(database);
        *key.last_mut().expect("an index") += 1;
        let batch = database.begin_write().expect("memory");
        batch.open_table(TABLE).expect("memory").insert(key.as_slice(), value.as_slice()).expect("memory");
        batch.commit().expect("memory");
    });
}

/// Takes out what is noted beside facts, as software of before noted nothing.
fn forget_stamps(file: &mut Vec<u8>) {
    rewrite(file, |database| {
        let batch = database.begin_write().expect("memory");
        assert!(batch.delete_table(STAMPS).expect("memory"), "there were some");
        batch.commit().expect("memory");
    });
}

/// Does something to a state file as a database.
fn rewrite(file: &mut Vec<u8>, with: impl FnOnce(&redb::Database)) {
    let bytes = Bytes(Arc::new(redb::backends::InMemoryBackend::new()));
    bytes.set_len(file.len() as u64).and_then(|()| bytes.write(0, file)).expect("memory");
    let database = redb::Database::builder().create_with_backend(bytes.clone()).expect("a state file");
    with(&database);
    drop(database);
    file.resize(bytes.len().expect("memory") as usize, 0);
    bytes.read(0, file).expect("memory");
}

#[test]
fn a_journal_that_software_of_before_has_written_goes_on() {
    let disk = new_disk();
    opened(&disk).append(&JournalName::Fleet, at(0), &[fact(1), fact(2)], NOTED).expect("a good day");
    disk.rot(&disk.dir("home"), &name("state.redb"), forget_stamps);
    let (mut store, recovered) = open(&disk).expect("the store opens");
    assert_eq!((store.notes(), told(&recovered)), (&[][..], vec![fact(1), fact(2)]));
    assert_eq!(store.append(&JournalName::Fleet, at(2), &[fact(3)], NOTED), Ok(at(3)));
    let job = Job::Journal { journal: JournalName::Fleet, from: at(0), most: 9 };
    let Ok(JobDone::Journal { entries, .. }) = store.run(&job) else { panic!("it is read") };
    let chain = Chain::beginning(&JournalName::Fleet);
    let chain = chain.after(at(0), Noted::NOTHING, &fact(1)).after(at(1), Noted::NOTHING, &fact(2));
    let stamps: Vec<Option<Stamp>> = entries.iter().map(|entry| entry.stamp).collect();
    assert_eq!(stamps, [None, None, Some(Stamp { noted: NOTED, chain: chain.after(at(2), NOTED, &fact(3)) })]);
}

#[test]
fn facts_beyond_where_their_journal_stands_are_forgotten() {
    let disk = new_disk();
    opened(&disk).append(&JournalName::Fleet, at(0), &[fact(1), fact(2)], NOTED).expect("a good day");
    disk.rot(&disk.dir("home"), &name("state.redb"), add_ghost);
    assert_eq!(facts_in(&disk), 3);
    let (store, recovered) = open(&disk).expect("the store opens");
    assert_eq!(store.notes(), [""; 0]);
    assert_eq!(told(&recovered), [fact(1), fact(2)]);
    drop(store);
    // And on disk, too: a journal that grows must not be followed by it.
    assert_eq!(facts_in(&disk.crash(Crash::Forget)), 2);
}

fn facts_in(disk: &Memory) -> usize {
    let (file, bytes) = (state_file(disk), Bytes(Arc::new(redb::backends::InMemoryBackend::new())));
    bytes.set_len(file.len() as u64).and_then(|()| bytes.write(0, &file)).expect("memory");
    let database = redb::Database::builder().create_with_backend(bytes).expect("a state file");
    let table = database.begin_read().expect("a state file").open_table(TABLE).expect("a state file");
    table.range::<&[u8]>(b"f".as_slice()..b"g".as_slice()).expect("a state file").count()
}

/// What was mounted on a directory is gone, and what lies under it is empty; or it comes back.
fn swap_mount(disk: &Memory) {
    let (root, spare) = (disk.dir("root"), disk.dir("spare"));
    let (srv, other, between) = (name("srv"), name("srv"), name("between"));
    let have = |dir, what| disk.metadata(dir, what).is_ok();
    let (below, above) = (have(&spare, &other), have(&root, &srv));
    if above {
        disk.rename(&root, &srv, &spare, &between).expect("a test's disk");
    }
    if below {
        disk.rename(&spare, &other, &root, &srv).expect("a test's disk");
    }
    if above {
        disk.rename(&spare, &between, &spare, &other).expect("a test's disk");
    }
}

#[test]
fn a_store_that_opens_before_its_file_system_is_mounted_forgets_nothing_and_lays_out_nothing() {
    let [old, new] = releases();
    for mount_point in [true, false] {
        let disk = running(&old);
        if mount_point {
            disk.dir("spare/srv");
        }
        swap_mount(&disk);
        let (mut store, recovered) = open(&disk).expect("the store opens");
        let app_then = &recovered.apps[0];
        assert_eq!((app_then.live, app_then.confirmed), (Some(old.id()), Some(old.id())));
        assert_eq!(app_then.laid_out, std::slice::from_ref(&old.signed));
        assert!(store.notes()[0].contains("is a file system not mounted?"), "{:?}", store.notes());
        for attempt in
            [deploy(&mut store, &new, 2), store.run(&Job::Switch { app: app(), release: old.id() }).map(drop)]
        {
            let Err(JobError::Disk { why }) = attempt else { panic!("{attempt:?}") };
            assert!(
                why.contains("/srv/.app.tiding is not there") && why.contains("mkdir -p /srv/.app.tiding"),
                "{why}"
            );
        }
        store.run(&Job::Collect { contents: Vec::new(), releases: Vec::new() }).expect("a good day");
        let under = disk.metadata(&disk.dir("root"), &name("srv")).is_ok().then(|| disk.list(&disk.dir("root/srv")));
        assert_eq!(under.map(|names| names.expect("a test's disk").len()), mount_point.then_some(0));
        swap_mount(&disk);
        assert_eq!(live(&disk), Some(old.listing.clone()));
        deploy(&mut store, &new, 2).expect("it is mounted now");
        drop(store);
        let (store, recovered) = open(&disk.crash(Crash::Forget)).expect("the store opens");
        assert_eq!(store.notes(), [""; 0]);
        assert_eq!(recovered.apps[0].live, Some(new.id()));
    }
}

#[test]
fn who_removed_everything_on_purpose_deploys_again_as_the_words_say() {
    let [old, new] = releases();
    let disk = running(&old);
    let root = disk.dir("root");
    disk.rename(&root, &name("srv"), &root, &name("trash")).expect("a test's disk");
    let mut store = opened(&disk);
    assert!(matches!(deploy(&mut store, &new, 2), Err(JobError::Disk { .. })));
    disk.dir("root/srv/.app.tiding");
    deploy(&mut store, &new, 2).expect("the directory is there");
    assert_eq!(live(&disk), Some(new.listing.clone()));
    drop(store);
    let (store, recovered) = open(&disk).expect("the store opens");
    assert_eq!(recovered.apps[0].laid_out, std::slice::from_ref(&new.signed));
    assert!(store.notes()[0].contains("is not laid out at /srv/app any more"), "{:?}", store.notes());
}
