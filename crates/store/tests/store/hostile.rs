//! Content and directories that mean harm.

use crate::memory::{Memory, name};
use crate::world::*;
use content::manifest::{Entry, Extent, Kind, Manifest};
use content::{Digest, Digested, Piece, PieceNo, Release, Signed};
use engine::door::{Job, JobDone, JobError};
use store::PieceSource;
use store::disk::Disk;

/// Gives a store a manifest that its maker did not check, as an evil publisher would.
fn deploy_raw(disk: &Memory, manifest: &Manifest, payload: &[u8]) -> Result<(), JobError> {
    let honest = publish("1", |disk, tree| rich(disk, tree, 1));
    let (blob, pages) = content::blob::build(&manifest.encode());
    let totals = manifest.totals();
    let release = Release {
        content: manifest.spec(blob),
        attributes: None,
        entries: totals.entries,
        size: totals.size,
        ..honest.release()
    };
    let mut store = opened(disk);
    let content = release.content.id();
    store.run(&Job::Open { content: release.content })?;
    for (nth, page) in (0..).zip(&pages) {
        store.pieces().write(content, PieceNo(nth), &Digested::new(page.clone()))?;
    }
    store.run(&Job::Index { content })?;
    if !payload.is_empty() {
        store.pieces().write(content, PieceNo(release.content.pages()), &Digested::new(payload.to_vec()))?;
    }
    store.run(&Job::Complete { content })?;
    let signed = Signed { payload: release.encode(), ..honest.signed };
    store.run(&Job::Assemble { release: signed })?;
    Ok(())
}

fn root() -> Entry {
    Entry { path: Vec::new(), kind: Kind::Directory { mode: 0o755 } }
}

fn file(path: &[u8], payload: &[u8]) -> Entry {
    let extents = vec![Extent::Pieces { first: 0, count: 1 }];
    Entry { path: path.to_vec(), kind: Kind::File { mode: 0o644, len: payload.len() as u64, extents } }
}

fn symlink(path: &[u8], target: &[u8]) -> Entry {
    Entry { path: path.to_vec(), kind: Kind::Symlink { target: target.to_vec() } }
}

fn manifest(entries: Vec<Entry>, payload: &[u8]) -> Manifest {
    Manifest { entries, pieces: vec![Piece { digest: Digest::of(payload), len: payload.len() as u32 }] }
}

const PAYLOAD: &[u8] = b"evil";

#[test]
fn f1_f9_names_that_climb_or_collide_never_touch_the_disk() {
    let long = [b'a'; 256];
    let bad: [&[u8]; 9] = [b"../x", b"/x", b".", b"a//b", b"a/../../x", b"nul\0", b"back\\slash", &long, b"missing/x"];
    let mut cases: Vec<Manifest> =
        bad.iter().map(|path| manifest(vec![root(), file(path, PAYLOAD)], PAYLOAD)).collect();
    cases.push(manifest(vec![root(), file(b"x", PAYLOAD), file(b"x", PAYLOAD)], PAYLOAD));
    cases.push(manifest(vec![root(), file(b"x", PAYLOAD), file(b"x/y", PAYLOAD)], PAYLOAD));
    cases.push(manifest(vec![root(), symlink(b"x", b"/tmp"), file(b"x/y", PAYLOAD)], PAYLOAD));
    for evil in cases {
        let disk = new_disk();
        disk.write_file(&disk.dir("root"), &name("sentinel"), 0o600, b"untouched");
        let before = list(&disk, &disk.root(), "root");
        match deploy_raw(&disk, &evil, PAYLOAD) {
            Err(JobError::Refused { why }) => assert!(why.starts_with("malformed manifest"), "{why}"),
            other => panic!("{:?}: {other:?}", evil.entries),
        }
        assert_eq!(list(&disk, &disk.root(), "root"), before);
    }
}

#[test]
fn f2_symlinks_are_made_last_and_nothing_is_written_through_them() {
    let evil = manifest(vec![root(), symlink(b"a", b"/sentinels"), file(b"b", PAYLOAD)], PAYLOAD);
    let disk = new_disk();
    let outside = disk.dir("root/sentinels");
    disk.write_file(&outside, &name("b"), 0o600, b"untouched");
    let before = list(&disk, &disk.dir("root"), "sentinels");
    disk.take_log();
    deploy_raw(&disk, &evil, PAYLOAD).expect("a link's target is only data");
    let log = disk.take_log();
    let link = log.iter().rposition(|call| call == "symlink").expect("it was made");
    let names = ["create", "create_dir", "link", "write_at"];
    let later = log[link..].iter().take_while(|call| *call != "sync_all");
    assert_eq!(later.filter(|call| names.iter().any(|name| call.starts_with(name))).count(), 0);
    assert_eq!(list(&disk, &disk.dir("root"), "sentinels"), before);
}

#[test]
fn f3_hard_links_name_an_earlier_file_of_the_manifest_or_are_refused() {
    let link = |to| Entry { path: b"z".to_vec(), kind: Kind::HardLink { to } };
    let good = manifest(vec![root(), file(b"a", PAYLOAD), link(1)], PAYLOAD);
    deploy_raw(&new_disk(), &good, PAYLOAD).expect("an earlier regular file");
    for to in [0, 2, 3, 7, u32::MAX] {
        let entries = vec![root(), file(b"a", PAYLOAD), symlink(b"b", b"/etc/shadow"), link(to)];
        let refused = deploy_raw(&new_disk(), &manifest(entries, PAYLOAD), PAYLOAD);
        assert!(matches!(refused, Err(JobError::Refused { .. })), "to {to}: {refused:?}");
    }
}

#[test]
fn f6_special_modes_in_a_manifest_are_refused() {
    for mode in [0o4755, 0o2755, 0o1755] {
        let mut evil = manifest(vec![root(), file(b"a", PAYLOAD)], PAYLOAD);
        if let Kind::File { mode: of_file, .. } = &mut evil.entries[1].kind {
            *of_file = mode;
        }
        assert!(matches!(deploy_raw(&new_disk(), &evil, PAYLOAD), Err(JobError::Refused { .. })), "{mode:o}");
    }
}

/// CRC-32 as IEEE 802.3 has it, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

#[test]
fn c2_a_piece_forged_to_keep_its_length_and_crc32_is_corrupt() {
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let spec = published.contents()[0];
    let mut store = opened(&new_disk());
    store.run(&Job::Open { content: spec }).expect("room");
    let right = published.source.read(spec.id(), PieceNo(0)).expect("the publisher has it");
    // CRC-32 is linear: its own polynomial, added anywhere, changes nothing. The lowest bit of a byte comes first.
    let mut forged = right.clone();
    let generator = 1 | (u64::from(0x04c1_1db7_u32.reverse_bits()) << 1);
    for (byte, change) in forged[7..].iter_mut().zip(generator.to_le_bytes()) {
        *byte ^= change;
    }
    assert_ne!(forged, right);
    assert_eq!(crc32(&forged), crc32(&right), "the test has not forged what it should");
    assert_eq!(store.pieces().write(spec.id(), PieceNo(0), &Digested::new(forged)), Err(JobError::Corrupt));
    assert!(store.pieces().read(spec.id(), PieceNo(0)).is_err(), "it must not be served either");
    store.pieces().write(spec.id(), PieceNo(0), &Digested::new(right)).expect("the honest one is taken");
}

#[test]
fn f5_a_release_is_laid_out_where_nobody_else_can_look() {
    let disk = new_disk();
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let mut store = opened(&disk);
    fetch_all(&mut store, &published).expect("room");
    // The power goes while files are written: what stands there then is what another user could have met.
    let calls = {
        let trial = disk.crash(crate::memory::Crash::Keep);
        let (mut store, before) = (opened(&trial), trial.calls());
        store.run(&Job::Assemble { release: published.signed.clone() }).expect("a good day");
        trial.calls() - before
    };
    let mut seen = 0;
    for nth in (0..calls).step_by(7) {
        let disk = disk.crash(crate::memory::Crash::Keep);
        let mut store = opened(&disk);
        disk.plan(nth, crate::memory::Bad::Cut);
        drop(store.run(&Job::Assemble { release: published.signed.clone() }));
        disk.relieve();
        let side = disk.dir("root/srv/.app.tiding");
        for staging in disk.list(&side).expect("a test's disk") {
            let unfinished = staging.as_bytes().starts_with(b"staging-")
                && disk.open_dir(&side, &staging).is_ok_and(|dir| disk.metadata(&dir, &name("zeros")).is_err());
            if unfinished {
                seen += 1;
                assert_eq!(disk.metadata(&side, &staging).expect("it was listed").mode, 0o700);
            }
        }
    }
    assert!(seen > 3, "the test met {seen} layouts under way");
}

#[test]
fn f14_directories_that_others_may_write_are_not_used() {
    let published = publish("1", |disk, tree| rich(disk, tree, 1));
    let refused = |disk: &Memory, words: &str| match deploy(&mut opened(disk), &published, 1) {
        Err(JobError::Refused { why }) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    };
    let disk = new_disk();
    let srv = disk.dir("root/srv");
    disk.create_dir(&srv, &name(".app.tiding"), 0o777).expect("a test's disk");
    refused(&disk, "may be written by others than its owner 7 (mode 777)");
    disk.set_mode(&srv, &name(".app.tiding"), 0o755).expect("a test's disk");
    disk.set_owner(&srv, &name(".app.tiding"), 1234, 7).expect("a test's disk");
    refused(&disk, "is owned by user 1234, not by user 7");
    disk.set_owner(&srv, &name(".app.tiding"), 7, 7).expect("a test's disk");
    disk.write_file(&disk.dir("root/srv/.app.tiding"), &name("owner"), 0o644, b"tiding 1\napplication other\n");
    refused(&disk, "belongs to another application or fleet (application other);");
    let disk = new_disk();
    disk.set_mode(&disk.dir("root"), &name("srv"), 0o777).expect("a test's disk");
    refused(&disk, "/srv may be written by everyone (mode 777, owner 7)");
    disk.set_mode(&disk.dir("root"), &name("srv"), 0o1777).expect("a test's disk");
    deploy(&mut opened(&disk), &published, 1).expect("a sticky directory is like /tmp");
}

#[test]
fn f4_targets_of_symlinks_are_data_to_layout_verification_and_repair() {
    const TARGETS: [(&str, &[u8]); 3] =
        [("absolute", b"/etc/shadow"), ("climbs", b"../../../../../etc/shadow"), ("itself", b"itself")];
    let published = publish("1", |disk, tree| {
        disk.write_file(tree, &name("file"), 0o644, b"a file");
        TARGETS.iter().for_each(|(link, target)| disk.symlink(tree, &name(link), target).expect("a test's disk"));
    });
    let disk = new_disk();
    let etc = disk.dir("etc");
    disk.write_file(&etc, &name("shadow"), 0o600, b"secret");
    let before = list(&disk, &disk.root(), "etc");
    let mut store = opened(&disk);
    deploy(&mut store, &published, 1).expect("they are only data");
    let tree = disk.dir(&format!("root/srv/.app.tiding/{}", published.id()));
    for (link, target) in TARGETS {
        assert_eq!(disk.read_link(&tree, &name(link)).expect("it is there"), target);
        disk.remove_file(&tree, &name(link)).expect("a test's disk");
        disk.symlink(&tree, &name(link), b"/etc").expect("a test's disk");
    }
    disk.remove_file(&tree, &name("file")).expect("a test's disk");
    disk.symlink(&tree, &name("file"), b"/etc/shadow").expect("a test's disk");
    let repaired = store.run(&Job::Repair { app: app() });
    assert!(matches!(repaired, Ok(JobDone::Verified { differing: 0, .. })), "{repaired:?}");
    TARGETS.iter().for_each(|(link, target)| {
        assert_eq!(disk.read_link(&tree, &name(link)).expect("it is there"), *target);
    });
    assert_eq!(disk.read_file(&tree, &name("file")), b"a file");
    assert_eq!(list(&disk, &disk.root(), "etc"), before, "somebody followed one");
}
