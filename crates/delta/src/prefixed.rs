//! The engine for what has little to do with old: one zstd frame (RFC 8878), before whose beginning old stands.
//!
//! What is equal in both is then a match like any other, and what is not is compressed as well as zstd can.

use crate::format::Malformed;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, find_frame_compressed_size};

/// The memory that reading takes, whatever the lengths: zstd's own state.
pub(crate) const MEMORY: u64 = 1 << 18;

/// The frame that makes `new` of `old`.
pub(crate) fn write(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(compress_bound(new.len()));
    let mut context = prefixed(old, new, 19);
    context.compress2(&mut frame, new).expect("the buffer has the size that zstd asks for");
    frame
}

/// Whether a frame that is made in a hurry has at most this length, or little more. It takes a hundredth of the time, and
/// none for what would come behind that length.
pub(crate) fn fits(old: &[u8], new: &[u8], most: usize) -> bool {
    prefixed(old, new, 3).compress2(&mut Vec::with_capacity(most), new).is_ok()
}

/// What compresses `new`, with old before it.
fn prefixed<'a>(old: &'a [u8], new: &[u8], level: i32) -> CCtx<'a> {
    let mut context = CCtx::create();
    let window = ((old.len() + new.len()) as u64).max(1 << 10).ilog2() + 1;
    let parameters = [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(window.min(if usize::BITS == 32 { 30 } else { 31 })),
        // Tables of short matches reach no further than some megabytes back.
        CParameter::EnableLongDistanceMatching(old.len() + new.len() > 1 << 22),
        CParameter::ContentSizeFlag(false),
    ];
    for parameter in parameters {
        context.set_parameter(parameter).expect("zstd has this parameter, and the value is in its range");
    }
    context.ref_prefix(old).expect("nothing was begun");
    context
}

/// Refuses what is not one frame of the format that zstd has had since 0.8: readers for what was before need not be there.
pub(crate) fn one_frame(bytes: &[u8]) -> Result<(), Malformed> {
    let is_one = bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) && find_frame_compressed_size(bytes) == Ok(bytes.len());
    if is_one { Ok(()) } else { Err(Malformed::Stream) }
}

/// Makes new of old, in a buffer of its length.
pub(crate) fn read(frame: &[u8], old: &[u8], new: &mut [u8]) -> Result<(), Malformed> {
    one_frame(frame)?;
    let mut context = DCtx::create();
    context.ref_prefix(old).map_err(|_| Malformed::Stream)?;
    match context.decompress(new, frame) {
        Ok(len) if len == new.len() => Ok(()),
        _ => Err(Malformed::Stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c12_only_one_frame_of_todays_format_is_read() {
        let frame = write(b"old", b"new");
        assert_eq!(one_frame(&frame), Ok(()));
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0][..], &frame].concat();
        let (twice, longer) = ([&frame[..], &frame].concat(), [&frame[..], &[0]].concat());
        // Version 0.7 of zstd began its frames so.
        let old = [&[0x27, 0xb5, 0x2f, 0xfd][..], &frame[4..]].concat();
        for bytes in [&skippable[..], &twice, &longer, &old, &frame[..frame.len() - 1], b""] {
            assert_eq!(one_frame(bytes), Err(Malformed::Stream), "{bytes:?}");
            assert_eq!(read(bytes, b"old", &mut [0; 3]), Err(Malformed::Stream));
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let old: Vec<u8> = (0..30_000u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        let new = [&old[20_000..], b"something else", &old[..20_000]].concat();
        for (old, new) in [(&old[..], &new[..]), (b"", &new), (&old, b"")] {
            let frame = write(old, new);
            let mut made = vec![0; new.len()];
            assert_eq!(read(&frame, old, &mut made), Ok(()));
            assert_eq!(made, new);
            assert!(read(&frame, old, &mut vec![0; new.len() + 1]).is_err());
        }
        assert!(write(&old, &new).len() < 100);
    }

    #[test]
    fn what_fits_is_said_without_making_it_whole() {
        let old: Vec<u8> = (0..30_000u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        let other: Vec<u8> = (0..30_000u32).map(|n| (n.wrapping_mul(n | 1) >> 13) as u8).collect();
        assert!(fits(&old, &old[100..], 6000) && fits(&old, b"", 20));
        assert!(!fits(&old, &other, 6000));
    }

    #[test]
    fn old_bytes_that_look_like_a_dictionary_are_bytes() {
        let old = [&[0x37, 0xa4, 0x30, 0xec][..], &[7; 500]].concat();
        let mut made = vec![0; old.len()];
        assert_eq!(read(&write(&old, &old), &old, &mut made), Ok(()));
        assert_eq!(made, old);
    }
}
