//! What fuzzing asserts of the parts that are no part of the crate's interface.
//!
//! The readers of headers, tables and code see a stranger's old file only through [`crate::diff`] and [`crate::apply`], which a fuzzer would
//! have to get past first: lengths that fit, a matching that takes milliseconds, a check that hides what went wrong behind a patch of bytes.
//! So fuzz targets call them here. The module is there for tests and with the feature `fuzzing`, takes bytes alone, and gives nothing that
//! anything could be built on; it is no promise to anyone.
//!
//! Each function returns for any bytes, or it panics and something was found.

use crate::elf::{self, Machine, Map, Section};
use crate::gather::marks;
use crate::normal::normalise;
use crate::references::References;
use crate::room::Heap;
use crate::sample::Sample;
use crate::{Budget, Effort, apply, arm64, diff, x86};

/// The longest instruction of x86-64, in bytes.
const LONGEST: usize = 15;

/// Headers, the tables that follow from the rest, and all references, of a file that says of itself what it likes.
pub fn elf(bytes: &[u8]) {
    let Some(image) = elf::image(bytes) else { return };
    apart(&image.sections, bytes.len());
    let normal = normalise(bytes.to_vec(), &image);
    assert!(normal.bytes.len() <= bytes.len(), "what is left out cannot be negative");
    let made = normal.restore(bytes.len());
    assert!(made.is_ok_and(|made| made == bytes), "what was left out does not come back");
    let mut end = 0;
    let map = Map::of(&normal.sections);
    let marks = marks(&Heap, &normal, &map).expect("room");
    for reference in (References { marks: &marks, bytes: &normal.bytes, map: &map }).all() {
        assert!(reference.at >= end, "references ascend and do not overlap");
        end = reference.at + reference.kind.len();
        assert!(end as usize <= normal.bytes.len(), "a reference is within the file");
    }
}

/// Sections are in the file, and overlap neither there nor in memory.
fn apart(sections: &[Section], len: usize) {
    let mut end = 0;
    for section in sections {
        assert!(u64::from(section.address) >= end, "sections overlap in memory");
        end = u64::from(section.address) + u64::from(section.len);
    }
    let mut places: Vec<_> = sections.iter().filter_map(|section| Some((section.at?, section.len))).collect();
    places.sort_unstable();
    let mut end = 0;
    for (at, section) in places {
        assert!(u64::from(at) >= end, "sections overlap in the file");
        end = u64::from(at) + u64::from(section);
    }
    assert!(end <= len as u64, "a section is outside the file");
}

/// Lengths of x86-64 instructions, and where distances stand in them.
pub fn x86(code: &[u8]) {
    let mut end = 0;
    x86::sweep(code, |at, instruction| {
        let len = usize::from(instruction.len);
        assert!(at >= end, "instructions overlap");
        end = at + len;
        assert!((1..=LONGEST).contains(&len) && end <= code.len(), "an instruction of {len} bytes");
        assert!(instruction.distance_at.is_none_or(|within| usize::from(within) + 4 <= len), "a distance outside it");
    });
}

/// References of aarch64 instructions, of which each comes back when it is written for the same place and target.
pub fn arm64(bytes: &[u8]) {
    let Some((address, code)) = bytes.split_first_chunk() else { return };
    let address = u32::from_le_bytes(*address);
    arm64::sweep(code, address, |at, form, target| {
        let word =
            code.get(at as usize..).and_then(|rest| rest.first_chunk()).expect("an instruction is within the code");
        assert_eq!(at % 4, 0, "instructions are four bytes each");
        let word = u32::from_le_bytes(*word);
        let made = form.retarget(word, u64::from(address) + u64::from(at), target);
        assert_eq!(made & !form.mask(), word & !form.mask(), "bits of {word:08x} that are not of the address");
    });
}

/// Two executables as a build makes them, one a change of the other, then damaged as the bytes say: a patch gives the new one back.
pub fn mutated(bytes: &[u8]) {
    let mut script = Script(bytes);
    let machine = if script.next() & 1 == 0 { Machine::X86_64 } else { Machine::Aarch64 };
    let mut sample = Sample::of(machine, 4 + u32::from(script.next() % 28));
    let mut old = sample.file();
    for _ in 0..script.next() % 6 {
        let count = sample.functions.len();
        let (from, to) = (usize::from(script.next()) % count, usize::from(script.next()) % count);
        let moved = sample.functions.remove(from);
        sample.functions.insert(to, if script.next() & 3 == 0 { moved + 100 } else { moved });
    }
    let mut new = sample.file();
    while !script.0.is_empty() {
        let file = if script.next() & 1 == 0 { &mut new } else { &mut old };
        let at = usize::from(u16::from_le_bytes([script.next(), script.next()])) % file.len();
        file[at] = script.next();
    }
    for effort in [Effort::Best, Effort::Fast] {
        let patch = diff(&old, &new, effort);
        assert!(apply(&old, &patch, Budget::for_output(new.len() as u64)).is_ok_and(|made| made == new), "{effort:?}");
    }
}

/// Bytes that say what to do; zeros when they are used up.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }
}

/// A small executable to begin with, for x86-64 or aarch64.
pub fn seed(is_aarch64: bool, functions: u32) -> Vec<u8> {
    Sample::of(if is_aarch64 { Machine::Aarch64 } else { Machine::X86_64 }, functions).file()
}

/// The body of a patch between two executables, also where another engine's would be shorter.
pub fn body(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    crate::executable::write(old, new)
}

#[cfg(test)]
#[path = "../tests/kept/mod.rs"]
mod kept;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests of the repository's files read them")]
mod tests {
    use super::kept;
    use std::path::Path;

    /// Everything that fuzzing starts from, or once found, whole and cut.
    fn replayed(target: &str, run: fn(&[u8]), step: usize) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let files: Vec<_> = std::fs::read_dir(&directory).expect("the target has seeds").collect();
        assert!(!files.is_empty(), "there are no seeds");
        for file in files {
            let bytes = std::fs::read(file.expect("the directory is readable").path()).expect("a corpus file");
            run(&bytes);
            (0..bytes.len()).step_by(step).for_each(|end| run(&bytes[..end]));
        }
    }

    #[test]
    fn f21_headers_and_tables_of_any_file() {
        replayed("elf", super::elf, 7);
        kept::replayed("elf", super::elf);
    }

    #[test]
    fn f21_any_bytes_as_x86_64_code() {
        replayed("x86", super::x86, 1);
        kept::replayed("x86", super::x86);
    }

    #[test]
    fn f21_any_bytes_as_aarch64_code() {
        replayed("arm64", super::arm64, 1);
        kept::replayed("arm64", super::arm64);
    }

    #[test]
    fn f21_executables_that_are_damaged_come_back() {
        replayed("mutated", super::mutated, 5);
    }
}
