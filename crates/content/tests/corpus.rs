//! Everything that fuzzing starts from, or once found, goes through the decoders without a panic, on stable Rust.
#![allow(clippy::disallowed_methods, reason = "a test of the repository's files reads them")]

#[allow(unreachable_pub, reason = "the fuzz targets use it as a library")]
#[path = "../../../fuzz/src/content.rs"]
mod targets;

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(&directory).expect("every target has seeds").collect();
    assert!(!files.is_empty(), "{target} has no seeds");
    for file in files {
        let path = file.expect("the directory is readable").path();
        let bytes = std::fs::read(&path).expect("a corpus file is readable");
        check(&bytes);
        // Every beginning of it, too: what ends too early is the commonest damage.
        (0..bytes.len()).for_each(|end| check(&bytes[..end]));
    }
}

#[test]
fn f20_manifests() {
    replay("manifest", targets::manifest);
}

#[test]
fn f20_signed_documents() {
    replay("signed", targets::signed);
}

#[test]
fn f20_facts() {
    replay("fact", targets::fact);
}

#[test]
fn f20_attributes() {
    replay("attributes", targets::attributes);
}

#[test]
fn the_seeds_are_still_valid() {
    let seed = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        std::fs::read(path).expect("a seed of this name is kept")
    };
    assert!(tiding_content::Manifest::decode(&seed("manifest/seed-tree")).is_ok());
    assert!(tiding_content::attributes::Attributes::decode(&seed("attributes/seed-two")).is_ok());
    assert!(tiding_content::Fact::decode(&seed("fact/seed-0")).is_ok());
    let root = tiding_content::Signed::decode(&seed("signed/seed-root")).expect("a signed root");
    assert!(tiding_content::Root::verify_first(&root).is_ok());
    let naming = tiding_content::Signed::decode(&seed("signed/seed-root-authorities")).expect("a signed root");
    assert!(tiding_content::Root::verify_first(&naming).is_ok_and(|(_, root)| root.authorities.len() == 2));
}
