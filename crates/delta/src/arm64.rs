//! Which aarch64 instructions name another place, and how the place is written in them.
//!
//! Known are the branches (B, BL, B.cond, CBZ, TBZ and their kin), literal loads, ADR, ADRP, and the ADD or load or store that
//! brings the low twelve bits after an ADRP. Everything is four bytes; the patch format's part in it is that both sides of a patch read the
//! same references from the same old bytes.

use crate::elf::u32_at;

/// How an instruction writes a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// 26 bits, in words, from here.
    Branch26,
    /// 19 bits, in words, from here.
    Branch19,
    /// 14 bits, in words, from here.
    Branch14,
    /// 21 bits, in pages of 4 KiB, from this page.
    Page21,
    /// The low 12 bits, in units of `1 << scale` bytes.
    Low12,
}

/// How far after its ADRP an instruction is taken for its second half, in bytes.
const PAIRED_WITHIN: u32 = 64;

/// Calls `found` with the place in the code, the form and the target of each reference; `address` is that of the first
/// byte. The target of an ADRP is what its first partner makes of it, so references do not come in the order of places.
pub(crate) fn sweep(code: &[u8], address: u32, mut found: impl FnMut(u32, Form, u64)) {
    let mut pages = [Page::default(); 32];
    for (number, word) in code.chunks_exact(4).enumerate() {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let at = number as u32 * 4;
        let here = u64::from(address) + u64::from(at);
        if let Some((form, target)) = direct(word, here) {
            found(at, form, target);
        } else if is_adrp(word) {
            let page = &mut pages[(word & 31) as usize];
            page.settle(&mut found);
            *page = Page { at, target: page_target(word, here), state: State::Alone };
        } else if let Some(low) = low_bits(word) {
            let page = &mut pages[(word >> 5 & 31) as usize];
            if page.state != State::None && at - page.at <= PAIRED_WITHIN {
                let target = (page.target & !0xfff).wrapping_add(low);
                if page.state == State::Alone {
                    *page = Page { target, state: State::Paired, ..*page };
                }
                found(at, Form::Low12, target);
            }
        }
    }
    pages.iter_mut().for_each(|page| page.settle(&mut found));
}

/// The target of a reference that [`sweep`] finds at `at` in code whose first byte is at `address`.
pub(crate) fn target(code: &[u8], address: u32, at: u32, form: Form) -> u64 {
    let word = |at: u32| u32_at(code, at as usize).unwrap_or(0);
    let here = |at: u32| u64::from(address) + u64::from(at);
    let adrp = |at: &u32, register: u32| is_adrp(word(*at)) && word(*at) & 31 == register;
    match form {
        Form::Branch26 | Form::Branch19 | Form::Branch14 => direct(word(at), here(at)).map_or(0, |found| found.1),
        Form::Page21 => {
            let register = word(at) & 31;
            let behind = (1..=PAIRED_WITHIN / 4).map(|number| at + 4 * number).take_while(|at| !adrp(at, register));
            let low = behind.map(word).find_map(|word| low_bits(word).filter(|_| word >> 5 & 31 == register));
            let page = page_target(word(at), here(at));
            low.map_or(page, |low| (page & !0xfff).wrapping_add(low))
        }
        Form::Low12 => {
            let register = word(at) >> 5 & 31;
            let mut before = (1..=PAIRED_WITHIN / 4).map_while(|number| at.checked_sub(4 * number));
            let Some(page) = before.find(|at| adrp(at, register)) else { return 0 };
            let first =
                (page + 4..at).step_by(4).map(word).any(|word| low_bits(word).is_some() && word >> 5 & 31 == register);
            let target = if first {
                self::target(code, address, page, Form::Page21)
            } else {
                page_target(word(page), here(page))
            };
            (target & !0xfff).wrapping_add(low_bits(word(at)).unwrap_or(0))
        }
    }
}

/// The last ADRP into a register.
#[derive(Debug, Clone, Copy, Default)]
struct Page {
    at: u32,
    target: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    None,
    /// No instruction has added the low bits yet.
    Alone,
    Paired,
}

impl Page {
    fn settle(&mut self, found: &mut impl FnMut(u32, Form, u64)) {
        if self.state != State::None {
            found(self.at, Form::Page21, self.target);
        }
    }
}

/// The target of a branch or a literal load.
fn direct(word: u32, here: u64) -> Option<(Form, u64)> {
    let words = |bits: u32, shift: u32| {
        let field = (word >> shift << (32 - bits)) as i32 >> (32 - bits);
        here.wrapping_add_signed(i64::from(field) * 4)
    };
    if word & 0x7c00_0000 == 0x1400_0000 {
        Some((Form::Branch26, words(26, 0)))
    } else if word & 0xff00_0010 == 0x5400_0000
        || word & 0x7e00_0000 == 0x3400_0000
        || word & 0x3b00_0000 == 0x1800_0000
    {
        Some((Form::Branch19, words(19, 5)))
    } else if word & 0x7e00_0000 == 0x3600_0000 {
        Some((Form::Branch14, words(14, 5)))
    } else {
        None
    }
}

fn is_adrp(word: u32) -> bool {
    word & 0x9f00_0000 == 0x9000_0000
}

fn page_target(word: u32, here: u64) -> u64 {
    let pages = ((word >> 5 & 0x7_ffff) << 2 | word >> 29 & 3) << 11;
    (here & !0xfff).wrapping_add_signed(i64::from(pages as i32 >> 11) << 12)
}

/// What an ADD of an immediate or a load or store with an unsigned offset adds to its base.
fn low_bits(word: u32) -> Option<u64> {
    let adds = word & 0xffc0_0000 == 0x9100_0000;
    let accesses = word & 0x3b00_0000 == 0x3900_0000;
    (adds || accesses).then(|| u64::from(word >> 10 & 0xfff) << scale(word))
}

/// The unit of the low bits in such an instruction, as a shift.
fn scale(word: u32) -> u32 {
    if word & 0xffc0_0000 == 0x9100_0000 {
        0
    } else if word & 0x0480_0000 == 0x0480_0000 {
        4
    } else {
        word >> 30
    }
}

impl Form {
    /// The bits of the instruction that say where.
    pub(crate) fn mask(self) -> u32 {
        match self {
            Self::Branch26 => 0x03ff_ffff,
            Self::Branch19 => 0x00ff_ffe0,
            Self::Branch14 => 0x0007_ffe0,
            Self::Page21 => 0x60ff_ffe0,
            Self::Low12 => 0x003f_fc00,
        }
    }

    /// The instruction, standing at `here`, with another target.
    pub(crate) fn retarget(self, word: u32, here: u64, target: u64) -> u32 {
        let words = (target.wrapping_sub(here) >> 2) as u32;
        let field = match self {
            Self::Branch26 => words,
            Self::Branch19 | Self::Branch14 => words << 5,
            Self::Page21 => {
                let pages = ((target & !0xfff).wrapping_sub(here & !0xfff) >> 12) as u32;
                (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5
            }
            Self::Low12 => (((target & 0xfff) >> scale(word)) as u32) << 10,
        };
        word & !self.mask() | field & self.mask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Instructions that take pages and add to them, of few registers, and any others between them.
    fn instruction() -> impl Strategy<Value = u32> {
        let page = (any::<u32>(), 0..3u32).prop_map(|(page, register)| page & 0x60ff_ffe0 | 0x9000_0000 | register);
        let low = (any::<u32>(), 0..3u32).prop_map(|(low, from)| low & 0x003f_fc1f | 0x9100_0000 | from << 5);
        let load = (any::<u32>(), 0..3u32).prop_map(|(low, from)| low & 0xc4ff_fc1f | 0x3900_0000 | from << 5);
        prop_oneof![2 => page, 3 => low, 2 => load, 4 => Just(0xd503_201f), 3 => any::<u32>()]
    }

    proptest! {
        #[test]
        fn what_is_read_again_is_what_was_found(
            code in vec(instruction(), 0..200), far in vec(instruction(), 0..4), gap in 0..300usize, address in 0..1u32 << 30,
        ) {
            let words = code.into_iter().chain(std::iter::repeat_n(0xd503_201f, gap)).chain(far);
            let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
            let mut found = Vec::new();
            sweep(&bytes, address, |at, form, target| found.push((at, form, target)));
            for (at, form, wanted) in found {
                prop_assert_eq!(target(&bytes, address, at, form), wanted, "{:?} at {}", form, at);
            }
        }
    }
}
