//! What a content of a hundred gigabytes takes of a node's memory: measured in a process of its own, with its manifest alone.

#![allow(clippy::disallowed_methods, reason = "the process that is started again is told so by its environment")]

use content::manifest::{Entry, Extent, Kind};
use content::{BlobRef, ContentSpec, Digest, Digested, Manifest, Piece, PieceNo, blob};
use engine::door::{Job, JobDone};
use node::disk::RealDisk;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use store::{Options, PieceSource, Store};
use tiding_node as node;

/// Where the process that is measured finds everything.
const UNDER: &str = "TIDING_TEST_LARGE_UNDER";
/// Pieces of 64 KiB in 100 GB.
const PIECES: u32 = 1_600_000;
/// But these are short, so that the test needs no such disk: a piece costs the same memory whatever its length.
const LEN: u32 = 8;
/// What an agent may take in all, in KiB; its network, engine and buffers take less than the half of it.
const MOST: u64 = 56 << 10;

fn payload(nr: u32) -> Vec<u8> {
    u64::from(nr).to_le_bytes().to_vec()
}

/// The manifest of one file of all pieces, written page by page below `dir`.
fn write_manifest(dir: &Path) -> ContentSpec {
    let pieces: Vec<Piece> = (0..PIECES).map(|nr| Piece { digest: Digest::of(&payload(nr)), len: LEN }).collect();
    let bytes = u64::from(PIECES) * u64::from(LEN);
    let kind = Kind::File { mode: 0o644, len: bytes, extents: vec![Extent::Pieces { first: 0, count: PIECES }] };
    let manifest = Manifest { entries: vec![Entry { path: Vec::new(), kind }], pieces };
    let (blob, pages) = blob::build(&manifest.encode());
    for (page, bytes) in pages.iter().enumerate() {
        fs::write(dir.join(page.to_string()), bytes).expect("a page can be written");
    }
    fs::write(dir.join("blob"), blob.encode()).expect("its name can be written");
    ContentSpec { blob, pieces: PIECES, bytes }
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Not a test by itself: the process that is measured.
#[test]
fn the_measured_process() {
    let Some(under) = std::env::var_os(UNDER) else { return };
    let under = Path::new(&under);
    let blob = BlobRef::decode(&fs::read(under.join("blob")).expect("it was written")).expect("it is one");
    let spec = ContentSpec { blob, pieces: PIECES, bytes: u64::from(PIECES) * u64::from(LEN) };
    let disk = RealDisk::new();
    fs::create_dir(under.join("store")).expect("a directory can be made");
    let (home, root) = (disk.open_path(&under.join("store")), disk.open_path(under));
    let options = Options { reserve: 0, home: "the test".to_owned(), ..Options::default() };
    let (mut store, _) =
        Store::open(Arc::new(disk), home.expect("there"), root.expect("there"), "test", options).expect("a store");
    store.run(&Job::Open { content: spec }).expect("there is room");
    let pieces = store.pieces();
    for page in 0..spec.pages() {
        let bytes = fs::read(under.join(page.to_string())).expect("it was written");
        pieces.write(spec.id(), PieceNo(page), &Digested::new(bytes)).expect("it is right");
    }
    let JobDone::Indexed { have } = store.run(&Job::Index { content: spec.id() }).expect("a manifest") else {
        panic!("another job was done");
    };
    assert_eq!((have.count(), have.len()), (spec.pages(), spec.total()));
    for nr in [0, 1, 1819, 1820, PIECES / 2, PIECES - 1] {
        let piece = Manifest::piece_no(spec.pages(), nr);
        pieces.write(spec.id(), piece, &Digested::new(payload(nr))).expect("it is right");
        assert_eq!(pieces.read(spec.id(), piece).expect("it is here"), payload(nr));
        pieces.write(spec.id(), piece, &Digested::new(payload(nr + 1))).expect_err("another piece");
    }
    fs::write(under.join("peak"), peak().to_string()).expect("a number can be written");
}

#[test]
fn a19_the_manifest_of_a_hundred_gigabytes_takes_a_few_dozen_megabytes() {
    let temp = tempfile::tempdir().expect("a directory can be made");
    write_manifest(temp.path());
    let this = std::env::current_exe().expect("a test runs from a file");
    let run = Command::new(this).args(["--exact", "the_measured_process"]).env(UNDER, temp.path()).output();
    let run = run.expect("it starts");
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let peak: u64 = fs::read_to_string(temp.path().join("peak")).expect("it wrote it").parse().expect("a number");
    assert!(peak < MOST, "it took {peak} KiB");
    println!("peak: {peak} KiB");
}
