//! What a patch declares is law: a stream that goes on behind it is refused, in every engine, however little packs it.

use tiding_delta::{ApplyError, Budget, Malformed, apply};

/// What bombs come to, and what the patches around them declare.
const BOMB: usize = 1 << 26;
const DECLARED: u64 = 1000;

fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A patch of old bytes `old` with one window by that engine, with right headers.
fn patch(old: &[u8], new_len: u64, engine: u8, body: &[u8]) -> Vec<u8> {
    let (old_len, new_len) = (number(old.len() as u64), number(new_len));
    [b"tdgp\x02", &old_len[..], &new_len, &new_len, &[0], &old_len, &[engine], &number(body.len() as u64), body]
        .concat()
}

fn zeros(len: usize) -> Vec<u8> {
    zstd::bulk::compress(&vec![0; len], 3).expect("zeros compress")
}

/// A packed body whose only instruction appends so many literals, which are packed so.
fn packed(literals: u64, bytes: &[u8]) -> Vec<u8> {
    let instruction = [&[0, 0][..], &number(literals)].concat();
    let stream = zstd::bulk::compress(&instruction, 3).expect("a few bytes compress");
    let lens = [instruction.len() as u64, stream.len() as u64, 0, 0, literals, bytes.len() as u64];
    [lens.map(number).concat(), stream, bytes.to_vec()].concat()
}

/// A frame that declares a window of two gigabytes, and that its content goes on for ever: blocks of one repeated byte.
fn endless(blocks: usize) -> Vec<u8> {
    let header = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3];
    let block = |last: u32| [&(last | 1 << 1 | (1 << 17) << 3).to_le_bytes()[..3], &[0]].concat();
    [&header[..], &block(0).repeat(blocks), &block(1)].concat()
}

#[test]
fn f12_c12_a_stream_that_goes_on_behind_its_length_is_refused() {
    let old = b"old bytes";
    let budget = Budget { output: DECLARED, memory: 1 << 22 };
    let refused = |engine, body: &[u8]| {
        let made = apply(old, &patch(old, DECLARED, engine, body), budget);
        assert_eq!(made, Err(ApplyError::Malformed(Malformed::Stream)), "engine {engine}, {} bytes", body.len());
    };
    for bytes in [zeros(BOMB), zeros(DECLARED as usize + 1), zeros(DECLARED as usize - 1), endless(500), endless(0)] {
        refused(0, &packed(DECLARED, &bytes));
        refused(2, &bytes);
    }
    let right = apply(old, &patch(old, DECLARED, 0, &packed(DECLARED, &zeros(DECLARED as usize))), budget);
    assert_eq!(right, Ok(vec![0; DECLARED as usize]), "only the length was wrong");
}

#[test]
fn f12_c12_what_is_declared_is_compared_with_the_budget_first() {
    let old = b"old bytes";
    let bytes = zeros(BOMB);
    for (engine, body) in [(0, packed(BOMB as u64, &bytes)), (2, bytes)] {
        let patch = patch(old, BOMB as u64, engine, &body);
        assert!(patch.len() < BOMB / 1000, "{} bytes make {BOMB}", patch.len());
        let over = apply(old, &patch, Budget { output: BOMB as u64 - 1, memory: u64::MAX });
        assert!(matches!(over, Err(ApplyError::OverBudget { of: "output", .. })), "{over:?}");
        let over = apply(old, &patch, Budget { output: u64::MAX, memory: BOMB as u64 });
        assert!(matches!(over, Err(ApplyError::OverBudget { of: "memory", .. })), "{over:?}");
    }
}

#[test]
fn f12_c12_coded_bodies_of_nothing_come_to_an_end() {
    let old = vec![7; 5000];
    for byte in [0, 0x55, 0xff] {
        for len in [2, 3, 10, 1000] {
            // A plain body begins with the sizes of its tables; the rest may be anything.
            let body = [&[10, 10][..], &vec![byte; len]].concat();
            let new_len = 1 << 20;
            if let Ok(made) = apply(&old, &patch(&old, new_len, 1, &body), Budget::for_output(new_len)) {
                assert_eq!(made.len() as u64, new_len);
            }
        }
    }
}

#[test]
fn c11_other_old_bytes_of_the_same_length_are_for_the_digest_to_notice() {
    let old: Vec<u8> = (0..4000u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 21) as u8).collect();
    let new = [&old[..1000], b"something else", &old[1000..]].concat();
    let other: Vec<u8> = old.iter().map(|byte| byte ^ 0x40).collect();
    for effort in [tiding_delta::Effort::Best, tiding_delta::Effort::Fast] {
        let patch = tiding_delta::diff(&old, &new, effort);
        let budget = Budget::for_output(new.len() as u64);
        assert_eq!(apply(&old, &patch, budget).as_deref(), Ok(&new[..]));
        // Never a panic and never another length, but no error either: that is why the caller compares digests.
        let made = apply(&other, &patch, budget);
        assert!(made.is_err() || made.is_ok_and(|made| made.len() == new.len() && made != new), "{effort:?}");
        assert!(matches!(apply(&old[1..], &patch, budget), Err(ApplyError::WrongBase { .. })));
    }
}
