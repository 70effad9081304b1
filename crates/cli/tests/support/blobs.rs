//! Reads what a store calls complete without the store: every name under `blobs/` must be what it says.

use content::{ContentId, Digest, Manifest};
use std::fs;
use std::path::Path;

/// Where pieces may be moved up to.
const BLOCK: usize = 4096;

/// Hashes everything under `blobs/`, and panics at the first thing that is not what its name says. How many pieces were
/// as named.
pub fn hash_all(blobs: &Path) -> usize {
    let entries = fs::read_dir(blobs).expect("a store has blobs");
    let mut pieces = 0;
    for path in entries.map(|entry| entry.expect("a directory can be listed").path()) {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let manifest = hash_pages(&path.with_extension("pages"));
        match extension {
            Some("pages") => {}
            Some("pieces") => pieces += hash_pieces(&path, &Manifest::decode(&manifest).expect("it names pieces")),
            _ => panic!("{} is no name of ours", path.display()),
        }
    }
    pieces
}

/// The bytes of a blob of one page, which is its own root.
fn hash_pages(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).expect("a content has its pages");
    assert!(bytes.len() <= content::blob::PAGE, "{}: this test needs smaller trees", path.display());
    let name = ContentId(Digest::of(&bytes)).to_string();
    assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(name.as_str()), "the pages are not what they say");
    bytes
}

/// Pieces stand one after another, some of them moved up to the next block.
fn hash_pieces(path: &Path, manifest: &Manifest) -> usize {
    let bytes = fs::read(path).expect("a content has its pieces");
    let mut end = 0usize;
    for (number, piece) in manifest.pieces.iter().enumerate() {
        let len = piece.len as usize;
        let is_at = |start: &usize| bytes.get(*start..start + len).is_some_and(|at| Digest::of(at) == piece.digest);
        let start = [end, end.next_multiple_of(BLOCK)].into_iter().find(is_at);
        end = start.unwrap_or_else(|| panic!("{}: piece {number} is not what was named", path.display())) + len;
    }
    manifest.pieces.len()
}
