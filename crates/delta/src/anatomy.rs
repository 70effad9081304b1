//! What part of an instruction, or of a word of data, a byte is: what models of bytes want to know of a place in an executable.
//!
//! In code of x86-64, instructions are followed from a little before a place that is asked for: from wherever one begins, they soon fall
//! into step. Nothing depends on being right, but both sides of a patch ask the same, so it belongs to the format.

use crate::elf::Machine;
use crate::x86::{self, Instruction};

/// A part of a file whose bytes are of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zone {
    /// Where it begins.
    pub(crate) at: u32,
    /// Where it ends.
    pub(crate) end: u32,
    /// A number below 64 that tells it from others.
    pub(crate) number: u32,
    /// The machine whose code it is.
    pub(crate) code: Option<Machine>,
}

/// What is known of a byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The part it is, and which byte of it: below [`SLOTS`].
    pub(crate) slot: u32,
    /// What it belongs to: the opcode and ModRM byte of an instruction, or a zone.
    pub(crate) owner: u32,
    /// The displacement, immediate or word that it belongs to: how many bytes of that are before it, and how many it has.
    pub(crate) within: u32,
    pub(crate) size: u32,
}

/// How many slots there are.
pub(crate) const SLOTS: usize = 32;

const OPCODE: u32 = 1;
const MODRM: u32 = 2;
const SIB: u32 = 3;
const DISPLACEMENT: u32 = 4;
const DISTANCE: u32 = 9;
const IMMEDIATE: u32 = 13;
const SHORT_JUMP: u32 = 18;
const WORD: u32 = 20;
const DATA: u32 = 24;

/// How far before a place instructions are followed from, in bytes.
const RUN_UP: u32 = 24;

/// Finds out what bytes are, mostly of ascending places.
#[derive(Debug)]
pub(crate) struct Anatomy {
    /// Ascending, without overlaps.
    zones: Vec<Zone>,
    zone: Zone,
    /// An instruction begins here.
    start: u32,
    instruction: Option<Instruction>,
    /// Not all of its bytes were there.
    is_provisional: bool,
}

impl Anatomy {
    pub(crate) fn new(mut zones: Vec<Zone>) -> Self {
        zones.sort_unstable_by_key(|zone| zone.at);
        Self {
            zones,
            zone: Zone { at: 0, end: 0, number: 0, code: None },
            start: 0,
            instruction: None,
            is_provisional: false,
        }
    }

    /// What the byte at `place` is; if `bytes` end there, as far as those before it say so.
    pub(crate) fn spot(&mut self, bytes: &[u8], place: usize) -> Spot {
        let at = place as u32;
        self.find_zone(at);
        match self.zone.code {
            Some(Machine::X86_64) => {
                self.follow(bytes, at);
                let start = self.start;
                self.instruction.map_or(Spot::default(), |known| part(&bytes[start as usize..], known, at - start))
            }
            Some(Machine::Aarch64) => {
                let within = at & 3;
                let first = (at - within) as usize;
                let owner =
                    bytes.get(first..first + 4).map_or(0, |word| u32::from(word[3]) << 3 | u32::from(word[2]) >> 5);
                Spot { slot: WORD + within, owner, within, size: 4 }
            }
            None => {
                let within = at & 3;
                Spot { slot: DATA + within, owner: self.zone.number, within, size: 4 }
            }
        }
    }

    fn find_zone(&mut self, at: u32) {
        if (self.zone.at..self.zone.end).contains(&at) {
            return;
        }
        let next = self.zones.partition_point(|zone| zone.at <= at);
        self.zone = match next.checked_sub(1).map(|number| self.zones[number]) {
            Some(zone) if at < zone.end => zone,
            _ => Zone { at, end: at + 1, number: 0, code: None },
        };
        self.start = u32::MAX;
    }

    /// Follows instructions to the one that `at` is in.
    fn follow(&mut self, bytes: &[u8], at: u32) {
        let near = at.checked_sub(self.start).is_some_and(|behind| behind < 2 * RUN_UP);
        if !near {
            self.start = at.saturating_sub(RUN_UP).max(self.zone.at);
            self.decode(bytes);
        }
        if self.is_provisional {
            self.decode(bytes);
        }
        while at - self.start >= self.len() {
            self.start += self.len();
            self.decode(bytes);
        }
    }

    fn len(&self) -> u32 {
        self.instruction.map_or(1, |instruction| u32::from(instruction.len))
    }

    fn decode(&mut self, bytes: &[u8]) {
        self.is_provisional = bytes.len() - (self.start as usize) < x86::LONGEST;
        self.instruction = match self.is_provisional {
            true => x86::decode(&ahead(bytes, self.start)),
            false => x86::decode(&bytes[self.start as usize..]),
        };
    }
}

/// The bytes of the longest instruction from a place on, with zeros behind the end.
fn ahead(bytes: &[u8], start: u32) -> [u8; x86::LONGEST] {
    let mut ahead = [0; x86::LONGEST];
    let known = &bytes[start as usize..];
    let len = known.len().min(ahead.len());
    ahead[..len].copy_from_slice(&known[..len]);
    ahead
}

/// What the byte `at` of an instruction is.
fn part(bytes: &[u8], known: Instruction, at: u32) -> Spot {
    let [operand, displacement, immediate, len] =
        [known.operand_at, known.displacement_at, known.immediate_at, known.len].map(u32::from);
    let byte = |at: u32| bytes.get(at as usize).map_or(0, |byte| u32::from(*byte));
    let last_of_opcode = byte(operand - 1);
    let modrm = if displacement > operand { byte(operand) } else { 256 };
    let owner = last_of_opcode << 9 | modrm;
    let field = |slot: u32, start: u32, end: u32| {
        let (within, size) = (at - start, end - start);
        let slot = if size == 1 { slot } else { slot + 1 + within.min(3) };
        Spot { slot, owner, within, size }
    };
    if at < operand {
        Spot { slot: OPCODE, owner: at, within: 0, size: 0 }
    } else if at == operand && displacement > operand {
        Spot { slot: MODRM, owner: last_of_opcode, within: 0, size: 0 }
    } else if at < displacement {
        Spot { slot: SIB, owner, within: 0, size: 0 }
    } else if let Some(distance) = known.distance_at.map(u32::from)
        && (distance..distance + 4).contains(&at)
    {
        Spot { slot: DISTANCE + at - distance, owner, within: at - distance, size: 4 }
    } else if at < immediate {
        field(DISPLACEMENT, displacement, immediate)
    } else if len - immediate == 1 && matches!(last_of_opcode, 0x70..=0x7f | 0xe0..=0xe3 | 0xeb) && modrm == 256 {
        Spot { slot: SHORT_JUMP, owner, within: 0, size: 1 }
    } else {
        field(IMMEDIATE, immediate, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(code: Machine, bytes: &[u8]) -> Vec<u32> {
        let zone = Zone { at: 0, end: bytes.len() as u32, number: 1, code: Some(code) };
        let mut anatomy = Anatomy::new(vec![zone]);
        (0..bytes.len()).map(|place| anatomy.spot(bytes, place).slot).collect()
    }

    #[test]
    fn parts_of_instructions_are_told_apart() {
        // mov eax, [rsp + 8]; mov rax, [rbx + 0x100]; call; je; add ecx, 5
        let code = [
            &[0x8b, 0x44, 0x24, 8][..],
            &[0x48, 0x8b, 0x83, 0, 1, 0, 0],
            &[0xe8, 1, 2, 3, 4],
            &[0x74, 9],
            &[0x83, 0xc1, 5],
        ];
        let wanted = [1, 2, 3, 4, 1, 1, 2, 5, 6, 7, 8, 1, 9, 10, 11, 12, 1, SHORT_JUMP, 1, 2, IMMEDIATE];
        assert_eq!(slots(Machine::X86_64, &code.concat()), wanted);
        assert_eq!(slots(Machine::Aarch64, &[0; 6]), [20, 21, 22, 23, 20, 21]);
    }

    #[test]
    fn what_is_not_there_yet_is_guessed_from_what_is() {
        let code = [0x48, 0x8b, 0x83, 0, 1, 0, 0, 0xe8, 1, 2, 3, 4];
        let zone = Zone { at: 0, end: code.len() as u32, number: 1, code: Some(Machine::X86_64) };
        let mut anatomy = Anatomy::new(vec![zone]);
        let slots: Vec<u32> = (0..code.len()).map(|place| anatomy.spot(&code[..place], place).slot).collect();
        assert_eq!(slots[3..7], [5, 6, 7, 8], "the bytes of a displacement");
        assert_eq!(slots[8..], [9, 10, 11, 12], "the bytes of a distance");
    }

    #[test]
    fn c12_zones_that_lie_are_no_trouble() {
        let zones = [(0, 100), (5, 7), (5, 3), (90, u32::MAX)];
        let zone = |(at, end)| Zone { at, end, number: 1, code: Some(Machine::X86_64) };
        let mut anatomy = Anatomy::new(zones.map(zone).to_vec());
        for place in (0..200).chain([3, 150, 6, 0]) {
            anatomy.spot(&[0x0f; 200], place);
        }
    }
}
