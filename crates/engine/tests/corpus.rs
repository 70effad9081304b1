//! Everything that fuzzing starts from, or once found, goes through the wire without a panic, on stable Rust.
#![allow(clippy::disallowed_methods, reason = "a test of the repository's files reads them")]

#[allow(unreachable_pub, reason = "the fuzz targets use it as a library")]
#[path = "../../../fuzz/src/wire.rs"]
mod targets;

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(&directory).expect("every target has seeds").collect();
    assert!(!files.is_empty(), "{target} has no seeds");
    for file in files {
        let bytes = std::fs::read(file.expect("the directory is readable").path()).expect("a corpus file is readable");
        check(&bytes);
        // Every beginning of it, and every byte of it with a bit turned over.
        (0..bytes.len()).for_each(|end| check(&bytes[..end]));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            check(&damaged);
        }
    }
}

#[test]
fn c3_f20_control_frames() {
    replay("frames", targets::frames);
}

#[test]
fn c3_f20_bulk_headers() {
    replay("bulk", targets::bulk);
}
