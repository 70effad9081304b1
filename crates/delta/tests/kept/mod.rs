//! What hours of fuzzing found that reaches something nothing smaller reaches: `fuzz/kept/TARGET.zst`, inputs behind their lengths.
#![allow(clippy::disallowed_methods, reason = "tests of the repository's files read them")]

use std::path::Path;

/// Runs each of them.
pub(crate) fn replayed(target: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/kept");
    let packed = std::fs::read(directory.join(target).with_extension("zst")).expect("something is kept of the target");
    let all = zstd::decode_all(&packed[..]).expect("what is kept is packed");
    let mut rest = &all[..];
    while let Some((len, after)) = rest.split_first_chunk() {
        let (input, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        run(input);
        rest = after;
    }
    assert!(rest.is_empty(), "the last input is cut off");
}
