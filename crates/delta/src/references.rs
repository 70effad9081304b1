//! Where an executable says where something else is.
//!
//! Collected are the places in a normalised file whose bytes follow from an address: in instructions, in pointers, in exception frames,
//! in jump tables and in Go's tables of functions ([`crate::gather`]). A wrong guess costs patch bytes and nothing else; but both sides of a patch
//! collect the references of the old file, so what is collected is part of the format.
//!
//! What a reference says is read from the file whenever it is wanted: kept is only where it begins and what it is ([`crate::marks`]).
//!
//! Invariant: references ascend, do not overlap, are within the file, and their targets are within the span of its addresses.

use crate::arm64;
use crate::elf::{Map, Piece, u32_at, u64_at};
use crate::kind::Kind;
use crate::marks::{Mark, Marks};

/// A place that depends on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Where in the file it is.
    pub(crate) at: u32,
    pub(crate) kind: Kind,
    /// What the kind says.
    pub(crate) base: u32,
    /// The address that it names.
    pub(crate) target: u32,
}

/// The references of a file.
#[derive(Clone, Copy)]
pub(crate) struct References<'a> {
    pub(crate) marks: &'a Marks,
    pub(crate) bytes: &'a [u8],
    pub(crate) map: &'a Map,
}

impl<'a> References<'a> {
    /// Those that begin at a place or behind it.
    pub(crate) fn from(self, place: u32) -> impl Iterator<Item = Reference> + 'a {
        let mut piece = Piece::default();
        self.marks.from(place).map(move |mark| {
            if !piece.contains(mark.0) {
                piece = self.map.piece(mark.0).unwrap_or_default();
            }
            self.read(mark, &piece)
        })
    }

    /// All of them.
    pub(crate) fn all(self) -> impl Iterator<Item = Reference> + 'a {
        self.from(0)
    }

    /// Those that begin in a part of the file and end there.
    pub(crate) fn within(self, start: u32, end: u32) -> impl Iterator<Item = Reference> + 'a {
        self.from(start).take_while(move |reference| reference.at + reference.kind.len() <= end)
    }

    /// The reference that begins at a place.
    pub(crate) fn at(self, place: u32) -> Option<Reference> {
        self.from(place).next().filter(|reference| reference.at == place)
    }

    /// What a mark in a piece of the file says. What is outside all pieces counts from nothing, and its target from zero.
    fn read(self, (at, kind, base): Mark, piece: &Piece) -> Reference {
        let here = piece.address.wrapping_add(at.wrapping_sub(piece.place));
        let word = || u32_at(self.bytes, at as usize).unwrap_or(0);
        let target = match kind {
            Kind::Distance => here.wrapping_add(base).wrapping_add(word()),
            Kind::Offset => base.wrapping_add(word()),
            Kind::Words => base.wrapping_add(word().wrapping_mul(4)),
            Kind::Back => here.wrapping_sub(word()),
            Kind::Pointer => u64_at(self.bytes, at as usize).unwrap_or(0) as u32,
            Kind::Instruction(form) => {
                arm64::target(piece.bytes(self.bytes), piece.address, at - piece.place, form) as u32
            }
        };
        Reference { at, kind, base, target }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::{Machine, image};
    use crate::gather::marks;
    use crate::normal::{Normal, normalise};
    use crate::room::Heap;
    use crate::sample::Sample;

    fn of(file: &[u8]) -> Option<(Normal, Vec<Reference>)> {
        let normal = normalise(file.to_vec(), &image(file)?);
        let map = Map::of(&normal.sections);
        let marks = marks(&Heap, &normal, &map).expect("room");
        let references = References { marks: &marks, bytes: &normal.bytes, map: &map }.all().collect();
        Some((normal, references))
    }

    #[test]
    fn every_kind_is_found_and_says_what_stands_there() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let (normal, references) = of(&Sample::of(machine, 50).file()).expect("an executable");
            let map = Map::of(&normal.sections);
            let count = |kind: fn(&Kind) -> bool| references.iter().filter(|reference| kind(&reference.kind)).count();
            assert_eq!(count(|kind| *kind == Kind::Pointer), 50, "pointers");
            assert_eq!(count(|kind| *kind == Kind::Back), 50, "frames");
            match machine {
                Machine::X86_64 => {
                    assert_eq!(count(|kind| *kind == Kind::Distance), 1 + 50 + 100, "frames, calls and data")
                }
                Machine::Aarch64 => assert_eq!(count(|kind| matches!(kind, Kind::Instruction(_))), 150),
            }
            for reference in references {
                let bytes = &normal.bytes[reference.at as usize..(reference.at + reference.kind.len()) as usize];
                let word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
                let here = map.address(reference.at).expect("in a section");
                assert_eq!(reference.kind.body(word, here, reference.base, reference.target), word, "{reference:?}");
            }
        }
    }

    #[test]
    fn f21_references_ascend_whatever_the_file() {
        let good = Sample::of(Machine::X86_64, 30).file();
        for at in (0..good.len()).step_by(3) {
            let mut file = good.clone();
            file[at] ^= 0xff;
            let Some((normal, references)) = of(&file) else { continue };
            assert!(references.windows(2).all(|pair| pair[0].at + pair[0].kind.len() <= pair[1].at));
            assert!(references.last().is_none_or(|last| (last.at + last.kind.len()) as usize <= normal.bytes.len()));
        }
    }
}
