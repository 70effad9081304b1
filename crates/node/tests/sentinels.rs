//! F2 on real files: an evil manifest, laid out by the real disk, changes nothing outside of its own place.

use content::manifest::{Entry, Extent, Kind, Manifest};
use content::release::Instructions;
use content::{AppName, Digest, FleetId, PayloadKind, Piece, PieceNo, Release, Signed, UnixTime};
use engine::door::{Job, JobError};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Options, Store};
use tiding_node::disk::RealDisk;

const PAYLOAD: &[u8] = b"evil";

/// Every name below a directory, with its kind, mode and hash.
fn listing(at: &Path) -> Vec<(PathBuf, u32, Digest)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(at).expect("a directory can be listed").flatten() {
        let path = entry.path();
        let meta = fs::symlink_metadata(&path).expect("it was listed");
        let bytes = if meta.is_file() { fs::read(&path).expect("a file can be read") } else { Vec::new() };
        found.push((path.clone(), meta.mode(), Digest::of(&bytes)));
        if meta.is_dir() {
            found.extend(listing(&path));
        }
    }
    found.sort();
    found
}

fn entry(path: &[u8], kind: Kind) -> Entry {
    Entry { path: path.to_vec(), kind }
}

fn file(path: &[u8]) -> Entry {
    let extents = vec![Extent::Pieces { first: 0, count: 1 }];
    entry(path, Kind::File { mode: 0o644, len: PAYLOAD.len() as u64, extents })
}

/// Lays a manifest that nobody checked out below `root`, as an evil publisher's order would.
fn lay_out(home: &Path, root: &Path, entries: Vec<Entry>) -> Result<(), JobError> {
    let pieces = vec![Piece { digest: Digest::of(PAYLOAD), len: PAYLOAD.len() as u32 }];
    let manifest = Manifest { entries, pieces };
    let (blob, pages) = content::blob::build(&manifest.encode());
    let release = Release {
        fleet: FleetId(Digest::of(b"fleet")),
        app: AppName::new("app").expect("a good name"),
        version: "1".to_owned(),
        created: UnixTime(1),
        content: manifest.spec(blob),
        attributes: None,
        entries: manifest.totals().entries,
        size: manifest.totals().size,
        instructions: Instructions::plain(b"/srv/app", 0, 2),
    };
    let disk = Arc::new(RealDisk::new());
    let open = |path: &Path| disk.open_path(path).expect("a directory can be opened");
    let opened = Store::open(disk.clone(), open(home), open(root), "1", Options::default());
    let (mut store, _) = opened.expect("a new store");
    let content = release.content.id();
    store.run(&Job::Open { content: release.content })?;
    for (nth, page) in (0..).zip(&pages) {
        store.pieces().write(content, PieceNo(nth), &content::Digested::new(page.clone()))?;
    }
    store.run(&Job::Index { content })?;
    store.pieces().write(content, PieceNo(release.content.pages()), &content::Digested::new(PAYLOAD.to_vec()))?;
    store.run(&Job::Complete { content })?;
    let signed = Signed { kind: PayloadKind::Release, payload: release.encode(), signatures: Vec::new() };
    store.run(&Job::Assemble { release: signed }).map(drop)
}

#[test]
fn f2_nothing_is_written_through_a_symlink_of_a_manifest() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let [home, root, outside] = ["home", "root", "outside"].map(|name| temp.path().join(name));
    for dir in [&home, &root.join("srv"), &outside.join("sub")] {
        fs::create_dir_all(dir).expect("a directory can be made");
    }
    fs::write(outside.join("x"), "untouched").expect("a file can be written");
    fs::write(outside.join("sub/y"), "untouched").expect("a file can be written");
    let before = listing(&outside);
    let top = || entry(b"", Kind::Directory { mode: 0o755 });
    let link = |to: &Path| entry(b"a", Kind::Symlink { target: to.to_string_lossy().into_owned().into_bytes() });
    // A link outside is only data; a file, or a directory, below it is refused.
    lay_out(&home, &root, vec![top(), link(&outside), file(b"b")]).expect("a link's target is only data");
    assert_eq!(listing(&outside), before);
    let below = [file(b"a/x"), entry(b"a/sub", Kind::Directory { mode: 0o777 })];
    for evil in below {
        let refused = lay_out(&home, &root, vec![top(), link(&outside), evil, file(b"b")]);
        assert!(matches!(refused, Err(JobError::Refused { .. })), "{refused:?}");
        assert_eq!(listing(&outside), before);
    }
    let refused = lay_out(&home, &root, vec![top(), file(b"../outside/x")]);
    assert!(matches!(refused, Err(JobError::Refused { .. })), "{refused:?}");
    assert_eq!(listing(&outside), before, "what stands outside is as it was, name by name and byte by byte");
}
