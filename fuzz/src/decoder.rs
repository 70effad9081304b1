//! The promise of what applies patches, apart from what makes them: it returns, within its budget, whoever wrote the patch.

use tiding_delta::{Budget, apply};

/// Little enough that a patch which takes more than it says is noticed by the fuzzer's own limit.
const BUDGET: Budget = Budget { output: 1 << 18, memory: 1 << 22 };

/// Two length bytes, so many old bytes, and a patch; then two length bytes of the result and an engine, and what follows as a body
/// in a patch whose headers are right, so that nothing has to be guessed to get at it.
pub fn decoder(bytes: &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk() else { return };
    let (old, patch) = rest.split_at(rest.len().min(u16::from_le_bytes(*len).into()));
    applied(old, patch);
    let Some((&[low, high, engine], body)) = patch.split_first_chunk() else { return };
    let (old_len, new_len) = (number(old.len() as u64), number(u16::from_le_bytes([low, high]).into()));
    // Five engines; the upper half of the byte's values is the last one, so that the others' inputs stay what they were.
    let engine = if engine < 0x80 { engine % 4 } else { 4 };
    let window = [&new_len[..], &[0], &old_len, &[engine], &number(body.len() as u64), body].concat();
    applied(old, &[&b"tdgp\x02"[..], &old_len, &new_len, &window].concat());
}

fn applied(old: &[u8], patch: &[u8]) {
    if let Ok(made) = apply(old, patch, BUDGET) {
        assert!(made.len() as u64 <= BUDGET.output, "the result is longer than the budget");
    }
}

/// LEB128, as the format has it.
fn number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
