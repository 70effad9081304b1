//! The best patch is never larger than what `zstd -19 --patch-from --long=31` makes, and 256 bytes, where both ways are not simply tried:
//! above 64 KiB.

use proptest::collection::vec;
use proptest::prelude::*;
use tiding_delta::{Budget, Effort, apply, diff};
use zstd::zstd_safe::{CParameter, compress_bound};

/// More than what is tried in all ways because it is short.
const LONG: usize = 70_000;

/// How long the frame of `zstd -19 --patch-from --long=31` is.
fn patch_from(old: &[u8], new: &[u8]) -> usize {
    let mut zstd = zstd::zstd_safe::CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(19),
        CParameter::WindowLog(if usize::BITS == 32 { 30 } else { 31 }),
        CParameter::EnableLongDistanceMatching(true),
    ] {
        zstd.set_parameter(parameter).expect("zstd has it");
    }
    zstd.ref_prefix(old).expect("nothing was begun");
    let mut frame = Vec::with_capacity(compress_bound(new.len()));
    zstd.compress2(&mut frame, new).expect("the buffer is long enough")
}

/// The best patch gives new back, and is as small as was promised.
fn held(what: &str, old: &[u8], new: &[u8]) -> Result<(), TestCaseError> {
    let patch = diff(old, new, Effort::Best);
    let made = apply(old, &patch, Budget::for_output(new.len() as u64));
    prop_assert!(made.is_ok_and(|made| made == new), "{what}: it does not come back");
    let most = patch_from(old, new) + 256;
    prop_assert!(patch.len() <= most, "{what}: {} of at most {most}", patch.len());
    Ok(())
}

/// Bytes that do not compress and are the same in every run (xorshift64).
fn generated(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1 << 40;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

fn period(seed: u64, period: usize, len: usize) -> Vec<u8> {
    generated(seed, period).into_iter().cycle().take(len).collect()
}

/// Text of words that are drawn from a small language.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let words: Vec<String> =
        generated(1, 4000).chunks(2).map(|pair| format!("w{:x} ", pair[0] as u16 * pair[1] as u16)).collect();
    let drawn = generated(seed, len).into_iter().zip(generated(seed + 1, len));
    drawn
        .flat_map(|(a, b)| words[(usize::from(a) * usize::from(b)) % words.len()].clone().into_bytes())
        .take(len)
        .collect()
}

/// Every n-th byte of it is another.
fn changed(bytes: &[u8], every: usize, by: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.iter_mut().step_by(every).for_each(|byte| *byte ^= by);
    bytes
}

fn shuffled(bytes: &[u8], block: usize, seed: u64) -> Vec<u8> {
    let mut blocks: Vec<(u8, &[u8])> =
        generated(seed, bytes.len().div_ceil(block)).into_iter().zip(bytes.chunks(block)).collect();
    blocks.sort_by_key(|(key, _)| *key);
    blocks.into_iter().flat_map(|(_, block)| block.to_vec()).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("anything compresses")
}

#[test]
fn what_repeats_itself_is_left_to_zstd() -> Result<(), TestCaseError> {
    let old = generated(1, LONG);
    let edited = changed(&old, 50, 3);
    held("each change is made ten times", &old, &edited.repeat(10))?;
    held(
        "each change is made ten times, in other places",
        &old,
        &[&edited[..], &old[..9], &edited[..], &old, &edited].concat(),
    )?;
    let news = generated(2, 900).repeat(16);
    held("what is new repeats itself", &generated(3, 5 * LONG), &[&generated(3, 5 * LONG)[..], &news].concat())?;
    for (n, m) in [(1, 2), (2, 3), (48, 48), (48, 49), (1000, 999), (4096, 4096)] {
        held(&format!("period {n} to {m}"), &period(4, n, LONG), &period(5, m, LONG + 7))?;
        held(&format!("period {n} to {m} of the same"), &period(4, n, LONG), &period(4, m, LONG + 7)[5..])?;
    }
    let records = |len: usize| -> Vec<u8> {
        (0..len as u32 / 8).flat_map(|n| [n * 40, 7].map(u32::to_le_bytes).concat()).collect()
    };
    held("numbers that count", &records(LONG), &changed(&records(LONG), 16, 1))
}

#[test]
fn whatever_is_far_away_in_old_is_found() -> Result<(), TestCaseError> {
    let old = generated(1, 24 << 20);
    let new = [&old[..LONG], &generated(2, LONG), &old[5 * LONG..6 * LONG]].concat();
    held("small parts of a long file, and news", &old, &new)
}

#[test]
fn what_is_empty_equal_or_packed_is_no_exception() -> Result<(), TestCaseError> {
    let (words, other) = (text(1, 3 * LONG), text(7, 3 * LONG));
    let edited = [&words[5000..], &other[..300], &words[..4000]].concat();
    for (what, old, new) in [
        ("of nothing", &b""[..], &words[..]),
        ("to nothing", &words, b""),
        ("to the same", &words, &words),
        ("text that was edited", &words, &edited),
        ("packed, of edited text", &packed(&words), &packed(&edited)),
        ("packed text", &words, &packed(&words)),
        ("unpacked text", &packed(&words), &words),
    ] {
        held(what, old, new)?;
    }
    Ok(())
}

/// What old is, by number and seed.
fn old(kind: u8, seed: u16) -> Vec<u8> {
    match kind {
        0 => generated(seed.into(), 3 * LONG),
        1 => text(seed.into(), 3 * LONG),
        2 => packed(&text(seed.into(), 9 * LONG)),
        _ => period(seed.into(), usize::from(seed) % 5000 + 1, 2 * LONG),
    }
}

/// A part of new: its kind, where in old it begins, its length, and two numbers for what is done to it.
type Part = (u8, usize, usize, usize, u8);

/// The beginning of old, and parts of it, changed or not, or that are new.
fn put_together(old: &[u8], parts: &[Part]) -> Vec<u8> {
    let mut new = old[..LONG.min(old.len())].to_vec();
    for &(kind, from, len, every, by) in parts {
        let taken = &old[from.min(old.len())..(from + len).min(old.len())];
        match kind {
            0 => new.extend(taken),
            1 => new.extend(changed(taken, every, by)),
            2 => new.extend(generated(by.into(), len / 8)),
            3 => new.extend(text(by.into(), len)),
            4 => new.extend(shuffled(taken, every, by.into())),
            _ => new.extend_from_within(from.min(new.len())..(from + len).min(new.len())),
        }
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_that_are_put_together(
        kind in 0..4u8, seed: u16, parts in vec((0..6u8, 0..2 * LONG, 1..LONG, 1..300usize, any::<u8>()), 2..9),
    ) {
        let old = old(kind, seed);
        held("put together", &old, &put_together(&old, &parts))?;
    }

    #[test]
    fn blocks_in_another_order(kind in 0..4u8, block in 8..5000usize, seed: u16) {
        let old = old(kind, seed);
        held("shuffled", &old, &shuffled(&old, block, seed.into()))?;
    }
}
