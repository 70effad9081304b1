//! How long an x86-64 instruction is, and where in it a distance of 32 bits to somewhere else stands.
//!
//! Not a disassembler: it knows lengths, RIP-relative operands and near branches, and nothing of meaning. The tables follow
//! the opcode maps in the appendix of Intel's manual, volume 2 (with AMD's 3DNow! and XOP). They are part of the patch format: both sides
//! of a patch sweep the old code with them, so a change here is a new format version.
//!
//! Invariant: an instruction's length is 1 to 15 and within the bytes given; a reference's four bytes are within it.

/// The longest instruction there is.
pub(crate) const LONGEST: usize = 15;

/// What is known of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) len: u8,
    /// Where in it four bytes are a distance from its end, if there are such.
    pub(crate) distance_at: Option<u8>,
    /// It takes an address without reading from it (LEA), as code does that jumps by a table.
    pub(crate) takes_address: bool,
    /// Where its parts begin behind the opcode: a ModRM byte (and SIB), a displacement, an immediate. Each ends where the next
    /// one begins, the last where the instruction does.
    pub(crate) operand_at: u8,
    pub(crate) displacement_at: u8,
    pub(crate) immediate_at: u8,
}

/// Calls `found` with the place of each instruction, one after the other; what is no instruction is passed over bytewise.
pub(crate) fn sweep(code: &[u8], mut found: impl FnMut(usize, Instruction)) {
    let mut at = 0;
    while at < code.len() {
        match decode(&code[at..]) {
            Some(instruction) => {
                found(at, instruction);
                at += usize::from(instruction.len);
            }
            None => at += 1,
        }
    }
}

/// What follows an opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// No such instruction in 64-bit mode, or a prefix.
    Bad,
    /// Nothing follows.
    Plain,
    /// So many immediate bytes.
    Imm(u8),
    /// An immediate of the operand's size: 2 bytes after a 66 prefix, else 4.
    ImmZ,
    /// An immediate of the operand's size, 8 bytes with REX.W.
    ImmV,
    /// An address of 8 bytes, 4 after a 67 prefix.
    Address,
    /// A distance of 4 bytes: a near call or jump.
    Near,
    /// A ModRM byte and its operand.
    M,
    /// As `M`, then so many immediate bytes.
    MImm(u8),
    /// As `M`, then an immediate of the operand's size.
    MImmZ,
    /// A ModRM byte that always names registers.
    Registers,
    /// As `M`; the two TEST forms of the group have an immediate byte, or one of the operand's size.
    Group3(bool),
}

const fn one_byte_map() -> [Form; 256] {
    use Form::{Address, Bad, Group3, Imm, ImmV, ImmZ, M, MImm, MImmZ, Near, Plain};
    let mut map = [Plain; 256];
    let mut row = 0;
    while row < 0x40 {
        let mut column = 0;
        while column < 8 {
            map[row + column] = match column {
                0..=3 => M,
                4 => Imm(1),
                5 => ImmZ,
                _ => Bad,
            };
            column += 1;
        }
        row += 8;
    }
    map = filled(map, 0x40, 0x4f, Bad);
    map = filled(map, 0x60, 0x67, Bad);
    map[0x63] = M;
    map[0x68] = ImmZ;
    map[0x69] = MImmZ;
    map[0x6a] = Imm(1);
    map[0x6b] = MImm(1);
    map = filled(map, 0x70, 0x7f, Imm(1));
    map[0x80] = MImm(1);
    map[0x81] = MImmZ;
    map[0x82] = Bad;
    map[0x83] = MImm(1);
    map = filled(map, 0x84, 0x8f, M);
    map[0x9a] = Bad;
    map = filled(map, 0xa0, 0xa3, Address);
    map[0xa8] = Imm(1);
    map[0xa9] = ImmZ;
    map = filled(map, 0xb0, 0xb7, Imm(1));
    map = filled(map, 0xb8, 0xbf, ImmV);
    map = filled(map, 0xc0, 0xc1, MImm(1));
    map[0xc2] = Imm(2);
    map = filled(map, 0xc4, 0xc5, Bad);
    map[0xc6] = MImm(1);
    map[0xc7] = MImmZ;
    map[0xc8] = Imm(3);
    map[0xca] = Imm(2);
    map[0xcd] = Imm(1);
    map[0xce] = Bad;
    map = filled(map, 0xd0, 0xd3, M);
    map = filled(map, 0xd4, 0xd6, Bad);
    map = filled(map, 0xd8, 0xdf, M);
    map = filled(map, 0xe0, 0xe7, Imm(1));
    map = filled(map, 0xe8, 0xe9, Near);
    map[0xea] = Bad;
    map[0xeb] = Imm(1);
    map[0xf0] = Bad;
    map = filled(map, 0xf2, 0xf3, Bad);
    map[0xf6] = Group3(false);
    map[0xf7] = Group3(true);
    filled(map, 0xfe, 0xff, M)
}

const fn two_byte_map() -> [Form; 256] {
    use Form::{Bad, M, MImm, Near, Plain, Registers};
    let mut map = [M; 256];
    map[0x04] = Bad;
    map = filled(map, 0x05, 0x09, Plain);
    map[0x0a] = Bad;
    map[0x0b] = Plain;
    map[0x0c] = Bad;
    map[0x0e] = Plain;
    map[0x0f] = MImm(1);
    map = filled(map, 0x20, 0x23, Registers);
    map = filled(map, 0x24, 0x27, Bad);
    map = filled(map, 0x30, 0x37, Plain);
    map[0x36] = Bad;
    map = filled(map, 0x38, 0x3f, Bad);
    map = filled(map, 0x70, 0x73, MImm(1));
    map[0x77] = Plain;
    map = filled(map, 0x7a, 0x7b, Bad);
    map = filled(map, 0x80, 0x8f, Near);
    map = filled(map, 0xa0, 0xa2, Plain);
    map[0xa4] = MImm(1);
    map = filled(map, 0xa6, 0xa7, Bad);
    map = filled(map, 0xa8, 0xaa, Plain);
    map[0xac] = MImm(1);
    map[0xba] = MImm(1);
    map[0xc2] = MImm(1);
    map = filled(map, 0xc4, 0xc6, MImm(1));
    filled(map, 0xc8, 0xcf, Plain)
}

const fn filled(mut map: [Form; 256], from: usize, to: usize, form: Form) -> [Form; 256] {
    let mut at = from;
    while at <= to {
        map[at] = form;
        at += 1;
    }
    map
}

static ONE_BYTE: [Form; 256] = one_byte_map();
static TWO_BYTE: [Form; 256] = two_byte_map();

/// What the prefixes change about lengths.
#[derive(Debug, Clone, Copy, Default)]
struct Prefixes {
    /// 66: operands of 16 bits.
    short: bool,
    /// 67: addresses of 32 bits.
    narrow: bool,
    /// REX.W: operands of 64 bits.
    wide: bool,
}

/// The instruction that these bytes begin with, or `None` where there is none or it is cut off.
pub(crate) fn decode(code: &[u8]) -> Option<Instruction> {
    let mut prefixes = Prefixes::default();
    let mut at = 0;
    let mut opcode = *code.first()?;
    while let 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 = opcode {
        prefixes.short |= opcode == 0x66;
        prefixes.narrow |= opcode == 0x67;
        // A REX prefix means something only where it is the last.
        prefixes.wide = opcode & 0xf8 == 0x48;
        at += 1;
        if at >= LONGEST {
            return None;
        }
        opcode = *code.get(at)?;
    }
    at += 1;
    let (form, after) = match opcode {
        0x0f => escaped(code, at)?,
        0xc4 | 0xc5 | 0x62 => vector(code, opcode, at)?,
        0x8f if code.get(at)? & 0x1f >= 8 => xop(code, at)?,
        _ => (ONE_BYTE[usize::from(opcode)], at),
    };
    let takes_address = opcode == 0x8d;
    finish(code, form, after, prefixes, takes_address)
}

/// The form of an opcode after 0F, and where what follows begins.
fn escaped(code: &[u8], at: usize) -> Option<(Form, usize)> {
    match *code.get(at)? {
        0x38 => code.get(at + 1).map(|_| (Form::M, at + 2)),
        0x3a => code.get(at + 1).map(|_| (Form::MImm(1), at + 2)),
        opcode => Some((TWO_BYTE[usize::from(opcode)], at + 1)),
    }
}

/// The form of an opcode after a VEX or EVEX prefix, whose first byte stands before `at`.
fn vector(code: &[u8], prefix: u8, at: usize) -> Option<(Form, usize)> {
    let first = *code.get(at)?;
    let (map, opcode_at) = match prefix {
        0xc5 => (1, at + 1),
        0xc4 => (first & 0x1f, at + 2),
        _ => (first & 0x0f, at + 3),
    };
    let opcode = *code.get(opcode_at)?;
    let form = match map {
        1 => match opcode {
            0x77 if prefix != 0x62 => Form::Plain,
            0x70..=0x73 | 0xc2 | 0xc4..=0xc6 => Form::MImm(1),
            _ => Form::M,
        },
        2 => Form::M,
        3 => Form::MImm(1),
        5 | 6 if prefix == 0x62 => Form::M,
        _ => Form::Bad,
    };
    Some((form, opcode_at + 1))
}

/// The form of an opcode after AMD's XOP prefix.
fn xop(code: &[u8], at: usize) -> Option<(Form, usize)> {
    code.get(at + 2)?;
    let form = match code[at] & 0x1f {
        8 => Form::MImm(1),
        9 => Form::M,
        10 => Form::MImm(4),
        _ => Form::Bad,
    };
    Some((form, at + 3))
}

/// The instruction whose opcode ends at `at`.
fn finish(code: &[u8], form: Form, at: usize, prefixes: Prefixes, takes_address: bool) -> Option<Instruction> {
    let sized = if prefixes.short && !prefixes.wide { 2 } else { 4 };
    let (operand, immediate) = match form {
        Form::Bad => return None,
        Form::Plain => (Operand::NONE, 0),
        Form::Imm(len) => (Operand::NONE, len.into()),
        Form::ImmZ => (Operand::NONE, sized),
        Form::ImmV => (Operand::NONE, if prefixes.wide { 8 } else { sized }),
        Form::Address => (Operand::NONE, if prefixes.narrow { 4 } else { 8 }),
        Form::Near => (Operand::NONE, 4),
        Form::Registers => (Operand::REGISTER, 0),
        Form::M => (operand(code, at)?, 0),
        Form::MImm(len) => (operand(code, at)?, len.into()),
        Form::MImmZ => (operand(code, at)?, sized),
        Form::Group3(full) => {
            let test = code.get(at)? & 0x38 <= 8;
            (operand(code, at)?, if test { if full { sized } else { 1 } } else { 0 })
        }
    };
    let len = at + operand.len + immediate;
    if len > LONGEST || len > code.len() {
        return None;
    }
    let near = (form == Form::Near).then_some(at);
    let distance_at = near.or(operand.distance_at.map(|within| at + within)).map(|at| at as u8);
    let immediate_at = (at + operand.len) as u8;
    Some(Instruction {
        len: len as u8,
        distance_at,
        takes_address: takes_address && distance_at.is_some(),
        operand_at: at as u8,
        displacement_at: immediate_at - operand.displacement as u8,
        immediate_at,
    })
}

/// A ModRM byte and what belongs to it.
struct Operand {
    len: usize,
    /// How many bytes of it, the last ones, are a displacement.
    displacement: usize,
    /// Where in it a RIP-relative distance stands.
    distance_at: Option<usize>,
}

impl Operand {
    const NONE: Self = Self { len: 0, displacement: 0, distance_at: None };
    const REGISTER: Self = Self { len: 1, displacement: 0, distance_at: None };
}

fn operand(code: &[u8], at: usize) -> Option<Operand> {
    let modrm = *code.get(at)?;
    let (mode, register) = (modrm >> 6, modrm & 7);
    if mode == 3 {
        return Some(Operand::REGISTER);
    }
    if mode == 0 && register == 5 {
        return Some(Operand { len: 5, displacement: 4, distance_at: Some(1) });
    }
    let scaled = usize::from(register == 4);
    let displacement = match mode {
        1 => 1,
        2 => 4,
        _ if register == 4 && code.get(at + 1)? & 7 == 5 => 4,
        _ => 0,
    };
    Some(Operand { len: 1 + scaled + displacement, displacement, distance_at: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions, OpKind};

    fn distances(code: &[u8]) -> Option<(u8, Option<u8>)> {
        decode(code).map(|instruction| (instruction.len, instruction.distance_at))
    }

    #[test]
    fn lengths_and_distances() {
        assert_eq!(distances(&[0xe8, 1, 2, 3, 4]), Some((5, Some(1))), "call");
        assert_eq!(distances(&[0x0f, 0x84, 1, 2, 3, 4]), Some((6, Some(2))), "je");
        assert_eq!(distances(&[0xeb, 1]), Some((2, None)), "a short jump");
        assert_eq!(distances(&[0x48, 0x8d, 0x05, 1, 2, 3, 4]), Some((7, Some(3))), "lea rax, [rip + x]");
        assert_eq!(distances(&[0xc7, 0x05, 1, 2, 3, 4, 5, 6, 7, 8]), Some((10, Some(2))), "mov dword [rip + x], y");
        assert_eq!(distances(&[0x66, 0xc7, 0x05, 1, 2, 3, 4, 5, 6]), Some((9, Some(3))), "mov word [rip + x], y");
        assert_eq!(distances(&[0xf6, 0x05, 1, 2, 3, 4, 5]), Some((7, Some(2))), "test byte [rip + x], y");
        assert_eq!(distances(&[0x49, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8]), Some((10, None)), "movabs r8");
        assert_eq!(distances(&[0xc5, 0xf9, 0x6f, 0x05, 1, 2, 3, 4]), Some((8, Some(4))), "vmovdqa xmm0, [rip + x]");
        assert_eq!(distances(&[0x8b, 0x44, 0x24, 8]), Some((4, None)), "mov eax, [rsp + 8]");
        assert_eq!(distances(&[0x42, 0x8b, 0x04, 0x85, 1, 2, 3, 4]), Some((8, None)), "mov eax, [r8 * 4 + x]");
        assert!(decode(&[0x48, 0x8d, 0x05, 0, 0, 0, 0]).is_some_and(|lea| lea.takes_address));
    }

    #[test]
    fn cut_or_overlong_instructions_are_none() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[0x66; 20]), None);
        let long = [0x48, 0x81, 0x84, 0x24, 1, 2, 3, 4, 5, 6, 7, 8];
        assert!(decode(&long).is_some());
        (0..long.len()).for_each(|cut| assert_eq!(decode(&long[..cut]), None, "{cut}"));
        let prefixed = |count: usize| decode(&[&vec![0x2e; count][..], &long[..]].concat());
        assert!(prefixed(3).is_some(), "15 bytes");
        assert_eq!(prefixed(4), None, "16 bytes");
    }

    /// How many instructions of this code are read as iced reads them, of how many.
    fn agreement(code: &[u8]) -> (u64, u64, Vec<String>) {
        let (mut same, mut all, mut others) = (0, 0, Vec::new());
        let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
        while decoder.can_decode() {
            let at = decoder.position();
            let theirs = decoder.decode();
            if theirs.is_invalid() {
                continue;
            }
            let offsets = decoder.get_constant_offsets(&theirs);
            let branch = theirs.op0_kind() == OpKind::NearBranch64 && offsets.immediate_size() == 4;
            let relative = theirs.is_ip_rel_memory_operand();
            let at_distance = match (branch, relative) {
                (true, _) => Some(offsets.immediate_offset() as u8),
                (_, true) => Some(offsets.displacement_offset() as u8),
                _ => None,
            };
            let ours = distances(&code[at..]);
            all += 1;
            if ours == Some((theirs.len() as u8, at_distance)) {
                same += 1;
            } else if others.len() < 20 {
                others.push(format!(
                    "{:02x?}: {ours:?}, {:?} {} {at_distance:?}",
                    &code[at..code.len().min(at + 15)],
                    theirs.code(),
                    theirs.len()
                ));
            }
        }
        (same, all, others)
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "it reads the code of its own program")]
    fn this_program_is_read_as_iced_reads_it() {
        let program = std::env::current_exe().and_then(std::fs::read).expect("the test is a file");
        compared(&program);
    }

    #[test]
    #[ignore = "takes FILES=PATH:..."]
    #[allow(clippy::disallowed_methods, reason = "a measurement by hand")]
    fn files_are_read_as_iced_reads_them() {
        for file in std::env::var("FILES").expect("FILES=PATH:...").split(':') {
            println!("{file}");
            compared(&std::fs::read(file).expect("it is there"));
        }
    }

    fn compared(program: &[u8]) {
        let Some(image) = crate::elf::image(program).filter(|image| image.machine == crate::elf::Machine::X86_64)
        else {
            return;
        };
        let code =
            image.sections.iter().filter(|section| section.executable).filter_map(|section| section.bytes(program));
        for code in code {
            let (same, all, others) = agreement(code);
            println!("{same} of {all} instructions in {} bytes", code.len());
            // Data between functions is read by both as whatever it looks like.
            assert!(same * 1000 >= all * 999, "{others:#?}");
            if same < all {
                println!("{others:#?}");
            }
        }
    }
}
