//! Whole trips that go well.

use crate::memory::{Crash, Memory, name};
use crate::world::*;
use content::fact::{Chain, Entry, JournalName, Noted, Position, Stamp};
use content::{Digest, Digested, Fact, NodeId, PieceNo, UnixTime};
use engine::door::{AppendError, Job, JobDone, JobError, SHUNNED};
use store::disk::{Disk, FileKind};
use store::{OpenError, PieceSource, ReadError, Store};

#[test]
fn a_tree_comes_out_as_it_went_in() {
    for shares in [true, false] {
        let disk = new_disk();
        disk.set_shares(shares);
        let published = publish("1", |disk, tree| rich(disk, tree, 1));
        let mut store = opened(&disk);
        deploy(&mut store, &published, 1).expect("a deploy on a good day");
        assert_eq!(live(&disk), Some(published.listing));
        let verified = store.run(&Job::Verify { app: app() });
        let Ok(JobDone::Verified { entries, differing: 0, first, .. }) = verified else { panic!("{verified:?}") };
        assert_eq!((entries, first), (published.found.entries, Vec::new()));
        check_blobs(&disk);
    }
}

#[test]
fn the_next_release_takes_over_what_is_shared_and_going_back_is_a_switch() {
    let disk = new_disk();
    let mut store = opened(&disk);
    let [one, two] = [1, 2].map(|seed| publish(&seed.to_string(), |disk, tree| rich(disk, tree, seed)));
    let first = fetch_all(&mut store, &one).expect("room");
    deploy(&mut store, &one, 1).expect("a good day");
    let second = fetch_all(&mut store, &two).expect("room");
    assert!(second < first, "{second} pieces of the second release were fetched, {first} of the first");
    deploy(&mut store, &two, 2).expect("a good day");
    assert_eq!(live(&disk), Some(two.listing));
    let back = store
        .run(&Job::Switch { app: app(), release: one.signed.payload_digest().to_string().parse().expect("an id") });
    assert_eq!(back, Ok(JobDone::Switched { previous: Some(content::ReleaseId(two.signed.payload_digest())) }));
    assert_eq!(live(&disk), Some(one.listing));
}

#[test]
fn a_single_file_is_a_release_too() {
    let disk = new_disk();
    let origin = crate::memory::Memory::new();
    origin.write_file(&origin.root(), &name("tree"), 0o755, &noise(5, 100_000));
    let published = publish_from(&origin, &origin.root(), "/srv/app", "1");
    deploy(&mut opened(&disk), &published, 1).expect("a good day");
    assert_eq!(live(&disk), Some(published.listing));
}

#[test]
fn what_was_here_is_here_after_a_restart() {
    let disk = new_disk();
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    deploy(&mut opened(&disk), &published, 7).expect("a good day");
    for crash in [Crash::Keep, Crash::Forget] {
        let disk = disk.crash(crash);
        let (store, recovered) = open(&disk).expect("the store opens");
        assert_eq!(store.notes(), [""; 0]);
        assert_eq!(recovered.held.len(), 2);
        assert!(recovered.held.iter().all(|held| held.complete && held.have.is_full()));
        let app = &recovered.apps[0];
        let id = Some(published.id());
        assert_eq!((app.live, app.confirmed, app.intent), (id, id, None));
        assert_eq!(app.laid_out, std::slice::from_ref(&published.signed));
        assert_eq!(app.order, Some(order_for(published.id(), 7).1));
    }
}

#[test]
fn collecting_keeps_what_is_live_whatever_is_said() {
    let disk = new_disk();
    let mut store = opened(&disk);
    let [one, two] = [1, 2].map(|seed| publish(&seed.to_string(), |disk, tree| rich(disk, tree, seed)));
    deploy(&mut store, &one, 1).expect("a good day");
    deploy(&mut store, &two, 2).expect("a good day");
    let done = store.run(&Job::Collect { contents: Vec::new(), releases: Vec::new() });
    let Ok(JobDone::Collected { freed }) = done else { panic!("{done:?}") };
    assert!(freed > 350_000, "only {freed} bytes were freed");
    assert_eq!(live(&disk), Some(two.listing.clone()));
    let side = disk.dir("root/srv/.app.tiding");
    assert_eq!(disk.list(&side).expect("a test's disk"), {
        let mut names = [name("owner"), name(two.id().to_string())];
        names.sort();
        names
    });
    assert_eq!(disk.list(&disk.dir("home/blobs")).expect("a test's disk").len(), 3);
    drop(store);
    assert_eq!(open(&disk).expect("the store opens").1.held.len(), 2);
}

#[test]
fn a_program_that_writes_into_its_live_tree_does_not_damage_the_store() {
    let disk = new_disk();
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let mut store = opened(&disk);
    deploy(&mut store, &published, 1).expect("a good day");
    let bin = disk.dir(&format!("root/srv/.app.tiding/{}/bin", published.id()));
    let server = disk.open_write(&bin, &name("server")).expect("a test's disk");
    disk.write_at(&server, b"overwritten", 70_000).expect("a test's disk");
    let verified = store.run(&Job::Verify { app: app() });
    let Ok(JobDone::Verified { differing: 1, first, .. }) = verified else { panic!("{verified:?}") };
    assert!(first[0].starts_with("bin/server has other bytes"), "{first:?}");
    check_blobs(&disk);
    let spec = published.found.content;
    for piece in (0..spec.total()).map(PieceNo) {
        assert_eq!(store.pieces().read(spec.id(), piece), published.source.read(spec.id(), piece));
    }
}

#[test]
fn verifying_names_every_sort_of_difference() {
    let disk = new_disk();
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let mut store = opened(&disk);
    deploy(&mut store, &published, 1).expect("a good day");
    let tree = disk.dir(&format!("root/srv/.app.tiding/{}", published.id()));
    let etc = disk.open_dir(&tree, &name("etc")).expect("a test's disk");
    disk.remove_file(&etc, &name("conf-3")).expect("a test's disk");
    disk.write_file(&etc, &name("stray\x1b"), 0o644, b"");
    disk.set_mode(&etc, &name("conf-4"), 0o666).expect("a test's disk");
    disk.remove_file(&tree, &name("current")).expect("a test's disk");
    disk.symlink(&tree, &name("current"), b"elsewhere").expect("a test's disk");
    disk.remove_file(&tree, &name("nothing")).expect("a test's disk");
    disk.create_dir(&tree, &name("nothing"), 0o755).expect("a test's disk");
    let bin = disk.open_dir(&tree, &name("bin")).expect("a test's disk");
    disk.remove_file(&bin, &name("server-again")).expect("a test's disk");
    disk.write_file(&bin, &name("server-again"), 0o755, &noise(1, 180_000));
    disk.rot(&tree, &name("sparse"), |bytes| bytes[650_000] = 1);
    let verified = store.run(&Job::Verify { app: app() });
    let Ok(JobDone::Verified { differing, first, .. }) = verified else { panic!("{verified:?}") };
    assert_eq!(
        first,
        [
            "bin/server-again is not the same file as its other name",
            "current points to elsewhere",
            "etc/stray\\u{1b} is not part of the release",
            "etc/conf-3 is missing",
            "etc/conf-4 has mode 666, and should have 640",
            "nothing is a directory, and should be a file",
            "sparse has other bytes (between 480645 and 700001)",
        ]
    );
    assert_eq!(differing, 7);
}

#[test]
fn journals_grow_only_where_they_stand_and_come_back() {
    let disk = new_disk();
    let mut store = opened(&disk);
    let fact = |nth: u8| Fact::Revoked { node: NodeId(Digest::of(&[nth])) };
    let at = |index| Position { generation: 1, index };
    let fleet = JournalName::Fleet;
    assert_eq!(store.append(&fleet, at(0), &[fact(1), fact(2)], NOTED), Ok(at(2)));
    assert_eq!(store.append(&fleet, at(0), &[fact(3)], NOTED), Err(AppendError::Conflict(at(2))));
    let other = JournalName::Datacenter(content::Label::new("west").expect("a good label"));
    assert_eq!(store.append(&other, at(0), &[fact(4)], NOTED), Ok(at(1)));
    let numbers: Vec<Fact> = (0..200).map(|nth| fact(nth as u8)).collect();
    assert_eq!(store.append(&fleet, at(2), &numbers, NOTED), Ok(at(202)));
    let disk = disk.crash(Crash::Forget);
    let (mut store, recovered) = open(&disk).expect("the store opens");
    let of_fleet: Vec<_> = recovered.facts.iter().filter(|(journal, ..)| *journal == fleet).collect();
    assert_eq!(of_fleet.len(), 202);
    assert!(of_fleet.iter().zip(0..).all(|((_, position, _), index)| *position == at(index)));
    assert_eq!(of_fleet[1].2, fact(2));
    assert_eq!(store.append(&other, at(1), &[fact(5)], NOTED), Ok(at(2)));
}

/// A journal as it is read back, whole.
fn read(store: &mut Store<Memory>, journal: &JournalName) -> Vec<Entry> {
    let (mut entries, mut from) = (Vec::new(), Position { generation: 1, index: 0 });
    loop {
        let job = Job::Journal { journal: journal.clone(), from, most: 7 };
        let Ok(JobDone::Journal { entries: page, stands }) = store.run(&job) else { panic!("it is read") };
        assert!(page.len() <= 7, "no more than was asked for");
        from.index += page.len() as u64;
        entries.extend(page);
        if from == stands {
            return entries;
        }
    }
}

#[test]
fn a_journal_tells_when_and_for_whom_each_fact_was_written_and_chains_them() {
    let disk = new_disk();
    let fact = |nth: u8| Fact::Revoked { node: NodeId(Digest::of(&[nth])) };
    let at = |index| Position { generation: 1, index };
    let here = JournalName::Datacenter(content::Label::new("west").expect("a good label"));
    let mut store = opened(&disk);
    assert_eq!(store.append(&here, at(0), &[fact(1)], NOTED), Ok(at(1)));
    let bob = Noted { written: UnixTime(1234), by: Some(NodeId(Digest::of(b"bob"))) };
    drop(store);
    // The chain goes on where it was, over a restart.
    let mut store = opened(&disk);
    assert_eq!(store.append(&here, at(1), &(2..20).map(fact).collect::<Vec<_>>(), bob), Ok(at(19)));
    assert_eq!(store.append(&JournalName::Fleet, at(0), &[fact(50)], bob), Ok(at(1)), "another journal, another chain");
    let entries = read(&mut store, &here);
    let mut chain = Chain::beginning(&here);
    for (entry, nth) in entries.iter().zip(0..) {
        let noted = if nth == 0 { NOTED } else { bob };
        chain = chain.after(at(nth), noted, &fact(nth as u8 + 1));
        assert_eq!(*entry, Entry { at: at(nth), fact: fact(nth as u8 + 1), stamp: Some(Stamp { noted, chain }) });
    }
    assert_eq!(entries.len(), 19);
    let crashed = opened(&disk.crash(Crash::Forget)).run(&Job::Journal { journal: here, from: at(18), most: 9 });
    let Ok(JobDone::Journal { entries: last, stands }) = crashed else { panic!("it is read") };
    assert_eq!((last, stands), (entries[18..].to_vec(), at(19)), "from anywhere, and after a crash");
}

#[test]
fn c1_who_is_shunned_is_remembered_and_only_the_last_list_counts() {
    let disk = new_disk();
    let mut store = opened(&disk);
    let shun = |nodes: std::ops::Range<u8>| Job::Shun { peers: nodes.map(|nth| NodeId(Digest::of(&[nth]))).collect() };
    let peers = |job: &Job| if let Job::Shun { peers } = job { peers.clone() } else { Vec::new() };
    assert_eq!(open(&disk.crash(Crash::Forget)).expect("the store opens").1.shunned, [], "nobody yet");
    assert_eq!(store.run(&shun(0..2)), Ok(JobDone::Shunned));
    let most = shun(1..65);
    assert_eq!(peers(&most).len(), SHUNNED);
    assert_eq!(store.run(&most), Ok(JobDone::Shunned));
    let refused = store.run(&shun(0..65));
    assert!(matches!(refused, Err(JobError::Refused { .. })), "{refused:?}");
    for crash in [Crash::Keep, Crash::Forget] {
        let (store, recovered) = open(&disk.crash(crash)).expect("the store opens");
        assert_eq!((recovered.shunned, store.notes()), (peers(&most), &[][..]));
    }
}

#[test]
fn a14_a_second_process_is_told_who_has_the_store() {
    let disk = new_disk();
    let store = opened(&disk);
    match open(&disk) {
        Err(OpenError::Locked { pid }) => assert_eq!(pid, "pid 1"),
        other => panic!("{:?}", other.map(|(_, recovered)| recovered)),
    }
    let pieces = store.pieces();
    drop(store);
    assert!(matches!(open(&disk), Err(OpenError::Locked { .. })), "the shared half still uses the store");
    drop(pieces);
    assert!(open(&disk).is_ok());
}

#[test]
fn a_store_of_another_format_is_left_alone() {
    let disk = new_disk();
    drop(opened(&disk));
    disk.rot(&disk.dir("home"), &name("format"), |bytes| *bytes = b"tiding store 9\n".to_vec());
    match open(&disk) {
        Err(OpenError::Format { found, .. }) => assert_eq!(found, "tiding store 9"),
        other => panic!("{:?}", other.map(|(_, recovered)| recovered)),
    }
}

#[test]
fn a_target_that_is_not_ours_is_refused_with_how_to_adopt_it() {
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    for make in [0, 1, 2] {
        let disk = new_disk();
        let srv = disk.dir("root/srv");
        match make {
            0 => drop(disk.dir("root/srv/app")),
            1 => disk.write_file(&srv, &name("app"), 0o644, b"precious"),
            _ => disk.symlink(&srv, &name("app"), b"/opt/app").expect("a test's disk"),
        }
        let before = list(&disk, &disk.dir("root"), "srv");
        match deploy(&mut opened(&disk), &published, 1) {
            Err(JobError::Refused { why }) => assert!(why.contains("mv /srv/app /srv/app.before"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(list(&disk, &disk.dir("root"), "srv"), before);
    }
}

#[test]
fn missing_parents_are_made_and_symlinks_on_the_way_refused() {
    let published = publish_to("/opt/deep/er/app", "1", |disk, tree| rich(disk, tree, 1));
    let disk = new_disk();
    deploy(&mut opened(&disk), &published, 1).expect("a good day");
    let after = disk.crash(Crash::Forget);
    let er = after.dir("root/opt/deep/er");
    assert_eq!(after.metadata(&er, &name("app")).expect("it is durable").kind, FileKind::Symlink);

    let disk = new_disk();
    disk.symlink(&disk.dir("root"), &name("opt"), b"/usr/opt").expect("a test's disk");
    match deploy(&mut opened(&disk), &published, 1) {
        Err(JobError::Refused { why }) => assert!(why.contains("/opt is a symbolic link (to /usr/opt)"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn c7_a_valid_piece_of_another_release_is_not_stored_under_our_name() {
    let [one, two] = [1, 2].map(|seed| publish(&seed.to_string(), |disk, tree| rich(disk, tree, seed)));
    let disk = new_disk();
    let mut store = opened(&disk);
    let (ours, theirs) = (one.found.content, two.found.content);
    store.run(&Job::Open { content: ours }).expect("room");
    let pieces = store.pieces();
    let page = Digested::new(two.source.read(theirs.id(), PieceNo(0)).expect("it has it"));
    assert_eq!(pieces.write(ours.id(), PieceNo(0), &page), Err(JobError::Corrupt));
    assert_eq!(pieces.read(ours.id(), PieceNo(0)), Err(ReadError::Missing));
    for nth in (0..ours.pages()).map(PieceNo) {
        let right = Digested::new(one.source.read(ours.id(), nth).expect("it has it"));
        pieces.write(ours.id(), nth, &right).expect("it is ours");
    }
    store.run(&Job::Index { content: ours.id() }).expect("a good manifest");
    for nth in (ours.pages()..ours.total()).map(PieceNo) {
        let right = one.source.read(ours.id(), nth).expect("it has it");
        let other = (theirs.pages()..theirs.total()).filter_map(|nth| two.source.read(theirs.id(), PieceNo(nth)).ok());
        for wrong in other.filter(|bytes| *bytes != right) {
            assert_eq!(pieces.write(ours.id(), nth, &Digested::new(wrong)), Err(JobError::Corrupt));
        }
    }
    assert_eq!(pieces.write(ours.id(), PieceNo(ours.total()), &page), Err(JobError::Corrupt));
}

#[test]
fn a_manifest_that_is_not_what_was_declared_is_refused() {
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let mut store = opened(&new_disk());
    let honest = published.found.content;
    let lie = content::ContentSpec { bytes: honest.bytes - 1, ..honest };
    match fetch(&mut store, &published.source, lie) {
        Err(JobError::Refused { why }) => assert!(why.contains("than the release declares"), "{why}"),
        other => panic!("{other:?}"),
    }
    fetch(&mut store, &published.source, honest).expect("the honest declaration takes the place of the lie");
}

#[test]
fn the_same_jobs_make_the_same_calls() {
    let trace = || {
        let disk = new_disk();
        let published = publish("1", |disk, tree| rich(disk, tree, 1));
        let mut store = opened(&disk);
        deploy(&mut store, &published, 1).expect("a good day");
        disk.take_log()
    };
    assert_eq!(trace(), trace());
}

#[test]
fn owners_are_given_when_we_may_and_left_when_not() {
    let published = publish("1", |disk, tree| {
        disk.write_file(tree, &name("theirs"), 0o640, b"bytes");
        disk.set_owner(tree, &name("theirs"), 501, 20).expect("a test's disk");
    });
    for apply_owners in [true, false] {
        let disk = new_disk();
        let options = store::Options { apply_owners, ..options() };
        let opened =
            store::Store::open(std::sync::Arc::new(disk.clone()), disk.dir("home"), disk.dir("root"), "1", options);
        deploy(&mut opened.expect("the store opens").0, &published, 1).expect("a good day");
        let tree = disk.dir(&format!("root/srv/.app.tiding/{}", published.id()));
        let meta = disk.metadata(&tree, &name("theirs")).expect("it was laid out");
        assert_eq!((meta.uid, meta.gid), if apply_owners { (501, 20) } else { (7, 7) });
    }
}

#[test]
fn an_order_below_the_floor_is_refused_even_if_the_engine_let_it_through() {
    let disk = new_disk();
    let mut store = opened(&disk);
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let accept =
        |store: &mut store::Store<_>, epoch| store.run(&Job::Accept { order: order_for(published.id(), epoch).1 });
    assert_eq!(accept(&mut store, 5), Ok(JobDone::Accepted));
    assert_eq!(accept(&mut store, 5), Ok(JobDone::Accepted), "the same order again is no news");
    drop(store);
    let mut store = opened(&disk.crash(Crash::Forget));
    assert!(matches!(accept(&mut store, 4), Err(JobError::Refused { .. })));
}

/// A tree of files into which nobody writes, and one that is to be written into.
fn fixed(disk: &crate::memory::Memory, tree: &crate::memory::Dir, seed: u64) {
    disk.write_file(tree, &name("changed"), 0o444, &noise(seed, 5000));
    disk.write_file(tree, &name("large"), 0o555, &noise(7, 200_000));
    disk.write_file(tree, &name("small"), 0o444, &noise(8, 300));
    disk.write_file(tree, &name("twin"), 0o444, &noise(8, 300));
    disk.write_file(tree, &name("writable"), 0o644, &noise(9, 300));
    for file in ["changed", "large", "small", "twin", "writable"] {
        disk.set_mtime(tree, &name(file), 1000, 0).expect("a test's disk");
        disk.set_owner(tree, &name(file), 7, 7).expect("a test's disk");
    }
}

/// Two releases, the first live and then `between` done to its tree; which files of the second are those of the first.
fn shared(between: impl FnOnce(&crate::memory::Memory, &crate::memory::Dir)) -> Vec<&'static str> {
    let disk = new_disk();
    let mut store = opened(&disk);
    let [one, two] = [1, 2].map(|seed| publish(&seed.to_string(), |disk, tree| fixed(disk, tree, seed)));
    deploy(&mut store, &one, 1).expect("a good day");
    let trees = [&one, &two].map(|release| format!("root/srv/.app.tiding/{}", release.id()));
    between(&disk, &disk.dir(&trees[0]));
    deploy(&mut store, &two, 2).expect("a good day");
    assert_eq!(live(&disk), Some(two.listing.clone()), "whatever is shared, it is what was published");
    let inode = |tree: &str, file: &str| disk.metadata(&disk.dir(tree), &name(file)).map(|meta| meta.inode).ok();
    let files = ["changed", "large", "small", "twin", "writable"];
    files.into_iter().filter(|file| inode(&trees[0], file) == inode(&trees[1], file)).collect()
}

#[test]
fn files_that_nobody_writes_into_are_shared_with_the_live_release() {
    assert_eq!(shared(|_, _| ()), ["large", "small", "twin"]);
}

#[test]
fn what_was_written_into_a_live_file_does_not_come_into_the_next_release() {
    let write = |disk: &crate::memory::Memory, tree: &crate::memory::Dir| {
        let file = disk.open_write(tree, &name("large")).expect("a test's disk");
        disk.write_at(&file, b"overwritten", 70_000).expect("a test's disk");
    };
    assert_eq!(shared(write), ["small", "twin"]);
    let in_secret = |disk: &crate::memory::Memory, tree: &crate::memory::Dir| {
        write(disk, tree);
        disk.set_mtime(tree, &name("large"), 1000, 0).expect("a test's disk");
    };
    assert_eq!(shared(in_secret), ["small", "twin"], "its time says nothing, its bytes do");
}

#[test]
fn a_live_file_that_others_could_write_into_is_not_shared() {
    type Act = fn(&crate::memory::Memory, &crate::memory::Dir) -> std::io::Result<()>;
    let acts: [Act; 5] = [
        |disk, tree| disk.set_mode(tree, &name("small"), 0o644),
        |disk, tree| disk.set_owner(tree, &name("small"), 8, 7),
        |disk, tree| disk.set_mtime(tree, &name("small"), 1001, 0),
        |disk, tree| disk.remove_file(tree, &name("small")),
        |disk, tree| {
            disk.name_attribute(tree, &name("small"), b"security.capability");
            Ok(())
        },
    ];
    for (nth, act) in acts.into_iter().enumerate() {
        let found = shared(|disk, tree| act(disk, tree).expect("a test's disk"));
        assert_eq!(found, ["large", "twin"], "act {nth}");
    }
}

#[test]
fn two_files_of_a_release_are_not_made_one() {
    let found = shared(|disk, tree| {
        disk.remove_file(tree, &name("twin")).expect("a test's disk");
        disk.link(tree, &name("small"), tree, &name("twin")).expect("a test's disk");
    });
    assert_eq!(found, ["large", "small"]);
}

#[test]
fn a_shared_file_outlives_the_release_that_it_came_from() {
    let disk = new_disk();
    let mut store = opened(&disk);
    let [one, two] = [1, 2].map(|seed| publish(&seed.to_string(), |disk, tree| fixed(disk, tree, seed)));
    deploy(&mut store, &one, 1).expect("a good day");
    deploy(&mut store, &two, 2).expect("a good day");
    store.run(&Job::Collect { contents: Vec::new(), releases: Vec::new() }).expect("a good day");
    drop(store);
    let disk = disk.crash(Crash::Forget);
    let mut store = opened(&disk);
    assert_eq!(live(&disk), Some(two.listing));
    let verified = store.run(&Job::Verify { app: app() });
    assert!(matches!(verified, Ok(JobDone::Verified { differing: 0, .. })), "{verified:?}");
}

#[test]
fn a_file_of_another_owner_who_could_give_himself_the_right_to_write_is_not_shared() {
    let [one, two] = ["1", "2"].map(|version| {
        publish(version, |disk, tree| {
            disk.write_file(tree, &name("version"), 0o644, version.as_bytes());
            for (file, uid) in [("ours", 7), ("theirs", 501)] {
                disk.write_file(tree, &name(file), 0o444, b"bytes");
                disk.set_owner(tree, &name(file), uid, 7).expect("a test's disk");
                disk.set_mtime(tree, &name(file), 1000, 0).expect("a test's disk");
            }
        })
    });
    let disk = new_disk();
    let options = store::Options { apply_owners: true, ..options() };
    let (home, root) = (disk.dir("home"), disk.dir("root"));
    let opened = store::Store::open(std::sync::Arc::new(disk.clone()), home, root, "1", options);
    let mut store = opened.expect("the store opens").0;
    deploy(&mut store, &one, 1).expect("a good day");
    deploy(&mut store, &two, 2).expect("a good day");
    let tree = disk.dir(&format!("root/srv/.app.tiding/{}", two.id()));
    let links = |file| disk.metadata(&tree, &name(file)).expect("it was laid out").links;
    assert_eq!((links("ours"), links("theirs")), (2, 1));
}

#[test]
fn f8_names_that_a_disk_does_not_tell_apart_are_refused_there_and_nothing_is_mixed() {
    type Fill = fn(&Memory, &crate::memory::Dir);
    let twins: [(&str, Fill); 3] = [
        ("a", |disk, tree| {
            ["A", "a"].iter().for_each(|file| disk.write_file(tree, &name(file), 0o644, file.as_bytes()))
        }),
        ("lib", |disk, tree| {
            disk.create_dir(tree, &name("Lib"), 0o755).expect("a test's disk");
            disk.write_file(tree, &name("lib"), 0o644, b"a file");
        }),
        ("to", |disk, tree| {
            disk.write_file(tree, &name("TO"), 0o644, b"a file");
            disk.symlink(tree, &name("to"), b"elsewhere").expect("a test's disk");
        }),
    ];
    for (twin, fill) in twins {
        let published = publish("2", fill);
        let noted = published.found.notes.iter().any(|note| note.contains("does not tell upper and lower case"));
        assert!(noted, "{:?}", published.found.notes);
        let disk = new_disk();
        let mut store = opened(&disk);
        let first = publish("1", |disk, tree| rich(disk, tree, 1));
        deploy(&mut store, &first, 1).expect("a good day");
        disk.set_folds();
        match deploy(&mut store, &published, 2) {
            Err(JobError::Refused { why }) => {
                assert!(why.starts_with(&format!("\"{twin}\" is also another name of this release")), "{why}");
            }
            other => panic!("{twin}: {other:?}"),
        }
        assert_eq!(live(&disk), Some(first.listing), "what runs is untouched");
        let told_apart = new_disk();
        deploy(&mut opened(&told_apart), &published, 1).expect("a disk that tells them apart");
        assert_eq!(live(&told_apart), Some(published.listing));
    }
}

#[test]
fn all_trust_roots_are_remembered_beside_the_newest() {
    let disk = new_disk();
    let mut store = opened(&disk);
    let key = content::SigningKey::from_secret(&[1; 32]);
    let operator =
        content::root::Operator { name: "alice".to_owned(), key: key.public(), powers: content::Powers::default() };
    let root = |version| content::Root {
        version,
        nonce: [0; 16],
        created: UnixTime(0),
        root_keys: vec![key.public()],
        root_threshold: 1,
        operators: vec![operator.clone()],
        operator_threshold: 1,
        authorities: Vec::new(),
    };
    let signed = |version| key.sign(content::PayloadKind::Root, root(version).encode());
    [1, 2, 3, 300].iter().for_each(|version| store.set_root(&signed(*version)).expect("room"));
    drop(store);
    let (_, recovered) = open(&disk.crash(Crash::Forget)).expect("a whole store");
    assert_eq!(recovered.root, Some(signed(300)));
    assert_eq!(recovered.roots, [2, 3, 300].map(signed), "in their order, without the first, which everyone has");
}
