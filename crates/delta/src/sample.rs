//! Small executables for tests: functions that call each other, with the tables that linkers write about them.
//!
//! No processor could do much with them; but their headers, code, pointers, relocations and exception frames are in the form of real ones.

use crate::elf::Machine;

/// An executable of functions that are known by number.
pub(crate) struct Sample {
    pub(crate) machine: Machine,
    /// The functions, in the order of the file. What each contains follows from its number alone.
    pub(crate) functions: Vec<u32>,
}

/// Where the parts are; file offsets and addresses are the same.
struct Parts {
    relocations: usize,
    frames: usize,
    index: usize,
    text: usize,
    starts: Vec<usize>,
    data: usize,
    end: usize,
}

const ENTRY: usize = 24;
const FRAME: usize = 24;
const COMMON: [u8; 20] = [16, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, 12, 7, 8];
const NAMES: &[u8] = b"\0.rela.dyn\0.eh_frame\0.eh_frame_hdr\0.text\0.data\0.relro_padding\0.shstrtab\0";

impl Sample {
    /// So many functions in order.
    pub(crate) fn of(machine: Machine, functions: u32) -> Self {
        Self { machine, functions: (0..functions).collect() }
    }

    fn len_of(&self, function: u32) -> usize {
        match self.machine {
            Machine::X86_64 => 18 + function as usize % 5 + 4 * (function as usize % 9),
            Machine::Aarch64 => 20 + 4 * (function as usize % 9),
        }
    }

    fn parts(&self) -> Parts {
        let count = self.functions.len();
        let relocations = 64 + 56;
        let frames = relocations + count * ENTRY;
        let index = frames + COMMON.len() + count * FRAME + 4;
        let text = (index + 12 + 8 * count).next_multiple_of(64);
        let mut at = text;
        let mut starts = Vec::new();
        for &function in &self.functions {
            starts.push(at);
            at += self.len_of(function);
        }
        let data = at.next_multiple_of(8);
        Parts { relocations, frames, index, text, starts, data, end: data + count * 8 }
    }

    /// The bytes of the file.
    pub(crate) fn file(&self) -> Vec<u8> {
        let parts = self.parts();
        let mut file = vec![0; parts.end];
        self.tables(&parts, &mut file);
        for (number, &function) in self.functions.iter().enumerate() {
            let code = self.code(&parts, number, function);
            file[parts.starts[number]..][..code.len()].copy_from_slice(&code);
        }
        self.headers(&parts, &mut file);
        file
    }

    /// The start of the function that is meant by some number.
    fn start(&self, parts: &Parts, function: u32) -> usize {
        let known = |function: &u32| self.functions.iter().position(|other| other == function);
        let found = (function % 60..60).chain(0..60).find_map(|function| known(&function));
        parts.starts[found.unwrap_or(0)]
    }

    fn code(&self, parts: &Parts, number: usize, function: u32) -> Vec<u8> {
        let start = parts.starts[number];
        let called = self.start(parts, function.wrapping_mul(7) + 3);
        let datum = parts.data + 8 * (number * 5 % self.functions.len());
        let filler = function.wrapping_mul(0x9e37_79b1);
        let len = self.len_of(function);
        match self.machine {
            Machine::X86_64 => {
                let mut code = vec![0x48, 0x8d, 0x05];
                code.extend(((datum as i64 - start as i64 - 7) as i32).to_le_bytes());
                code.push(0xe8);
                code.extend(((called as i64 - start as i64 - 12) as i32).to_le_bytes());
                code.push(0xb8);
                code.extend(filler.to_le_bytes());
                code.resize(len - 1, 0x90);
                code.push(0xc3);
                code
            }
            Machine::Aarch64 => {
                let pages = ((datum >> 12) as i32 - (start >> 12) as i32) as u32;
                let call = ((called as i64 - start as i64 - 8) / 4) as u32 & 0x03ff_ffff;
                let adrp = 0x9000_0000 | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5;
                let add = 0x9100_0000 | (datum as u32 & 0xfff) << 10;
                let mut words = vec![adrp, add, 0x9400_0000 | call, 0x5280_0001 | (filler & 0xffff) << 5];
                words.resize(len / 4 - 1, 0xd503_201f);
                words.push(0xd65f_03c0);
                words.into_iter().flat_map(u32::to_le_bytes).collect()
            }
        }
    }

    fn tables(&self, parts: &Parts, file: &mut [u8]) {
        let kind: u64 = if self.machine == Machine::X86_64 { 8 } else { 1027 };
        file[parts.frames..][..COMMON.len()].copy_from_slice(&COMMON);
        let mut rows = Vec::new();
        for (number, &start) in parts.starts.iter().enumerate() {
            let row = [(parts.data + 8 * number) as u64, kind, start as u64];
            let row: Vec<u8> = row.into_iter().flat_map(u64::to_le_bytes).collect();
            file[parts.relocations + number * ENTRY..][..ENTRY].copy_from_slice(&row);
            let frame = parts.frames + COMMON.len() + number * FRAME;
            let len = self.len_of(self.functions[number]) as u32;
            let fields = [
                FRAME as u32 - 4,
                (frame + 4 - parts.frames) as u32,
                (start as u32).wrapping_sub(frame as u32 + 8),
                len,
            ];
            let fields: Vec<u8> = fields.into_iter().flat_map(u32::to_le_bytes).collect();
            file[frame..][..16].copy_from_slice(&fields);
            rows.extend([start, frame].map(|at| (at as u32).wrapping_sub(parts.index as u32)));
        }
        let head = [0x3b03_1b01, (parts.frames as u32).wrapping_sub(parts.index as u32 + 4), parts.starts.len() as u32];
        let rows: Vec<u8> = head.into_iter().chain(rows).flat_map(u32::to_le_bytes).collect();
        file[parts.index..][..rows.len()].copy_from_slice(&rows);
    }

    fn headers(&self, parts: &Parts, file: &mut Vec<u8>) {
        let names = file.len();
        file.extend_from_slice(NAMES);
        let sections = file.len();
        let index_len = 12 + 8 * self.functions.len();
        let code_end =
            parts.starts.last().map_or(parts.text, |start| start + self.len_of(*self.functions.last().unwrap_or(&0)));
        let header = |name: &str, kind: u32, flags: u64, at: usize, len: usize| {
            let name = NAMES.windows(name.len()).position(|window| window == name.as_bytes()).unwrap_or(0);
            let mut header = [(name as u32).to_le_bytes(), kind.to_le_bytes()].concat();
            let fields = [flags, if flags == 0 { 0 } else { at as u64 }, at as u64, len as u64, 0, 8, 0];
            header.extend(fields.into_iter().flat_map(u64::to_le_bytes));
            header
        };
        file.extend([0; 64]);
        file.extend(header(".rela.dyn", 4, 2, parts.relocations, parts.frames - parts.relocations));
        file.extend(header(".eh_frame", 1, 2, parts.frames, parts.index - parts.frames));
        file.extend(header(".eh_frame_hdr", 1, 2, parts.index, index_len));
        file.extend(header(".text", 1, 6, parts.text, code_end - parts.text));
        file.extend(header(".data", 1, 3, parts.data, parts.end - parts.data));
        // Takes no bytes of the file, and overlaps what does, as lld's does.
        file.extend(header(".relro_padding", 8, 3, parts.data + 8, 4096));
        file.extend(header(".shstrtab", 3, 0, names, NAMES.len()));
        let machine: u16 = if self.machine == Machine::X86_64 { 62 } else { 183 };
        file[..20]
            .copy_from_slice(&[&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0"[..], &machine.to_le_bytes()].concat());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[40..48].copy_from_slice(&(sections as u64).to_le_bytes());
        for (at, field) in [(52, 64u16), (54, 56), (56, 1), (58, 64), (60, 8), (62, 7)] {
            file[at..at + 2].copy_from_slice(&field.to_le_bytes());
        }
        let load = [1 | 7 << 32, 0, 0, 0, parts.end as u64, parts.end as u64, 4096];
        let load: Vec<u8> = load.into_iter().flat_map(u64::to_le_bytes).collect();
        file[64..64 + 56].copy_from_slice(&load);
    }
}
