//! Everything that fuzzing starts from, or once found, goes through the patch reader without a panic, on stable Rust.
#![allow(clippy::disallowed_methods, reason = "a test of the repository's files reads them")]

#[allow(unreachable_pub, reason = "the fuzz targets use it as a library")]
#[path = "../../../fuzz/src/patch.rs"]
mod target;

#[allow(unreachable_pub, reason = "the fuzz targets use it as a library")]
#[path = "../../../fuzz/src/executable.rs"]
mod executable;

#[allow(unreachable_pub, reason = "the fuzz targets use it as a library")]
#[path = "../../../fuzz/src/decoder.rs"]
mod decoder;

mod kept;

use std::path::Path;

#[test]
fn f20_c12_patches() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/patch");
    let files: Vec<_> = std::fs::read_dir(&directory).expect("the target has seeds").collect();
    assert!(!files.is_empty(), "there are no seeds");
    for file in files {
        let path = file.expect("the directory is readable").path();
        let bytes = std::fs::read(&path).expect("a corpus file is readable");
        target::patch(&bytes);
        (0..bytes.len()).for_each(|end| target::patch(&bytes[..end]));
    }
}

#[test]
fn f21_c12_executables() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/executable");
    let files: Vec<_> = std::fs::read_dir(&directory).expect("the target has seeds").collect();
    assert!(!files.is_empty(), "there are no seeds");
    for file in files {
        let path = file.expect("the directory is readable").path();
        let bytes = std::fs::read(&path).expect("a corpus file is readable");
        executable::executable(&bytes);
        (0..bytes.len()).step_by(61).for_each(|end| executable::executable(&bytes[..end]));
    }
}

#[test]
fn f20_f12_c12_patches_that_anyone_wrote() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decoder");
    let files: Vec<_> = std::fs::read_dir(&directory).expect("the target has seeds").collect();
    assert!(!files.is_empty(), "there are no seeds");
    for file in files {
        let path = file.expect("the directory is readable").path();
        let bytes = std::fs::read(&path).expect("a corpus file is readable");
        decoder::decoder(&bytes);
        (0..bytes.len()).step_by(3).for_each(|end| decoder::decoder(&bytes[..end]));
    }
    kept::replayed("decoder", decoder::decoder);
}
