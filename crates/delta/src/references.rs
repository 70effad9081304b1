//! Where an executable says where something else is.
//!
//! Collected are the places in a normalised file whose bytes follow from an address: in instructions, in pointers, in exception frames,
//! in jump tables and in Go's tables of functions. A wrong guess costs patch bytes and nothing else; but both sides of a patch
//! collect the references of the old file, so what is collected here is part of the format.
//!
//! Invariant: references ascend, do not overlap, are within the file, and their targets are within the span of its addresses.

use crate::arm64;
use crate::elf::{Machine, Map, Section, u32_at, u64_at};
use crate::normal::Normal;
use crate::unwind::{self, Entry};
use crate::x86;

/// Code that was looked at has one in 15 to 25 bytes of the file.
const BYTES_PER_REFERENCE: usize = 8;

/// How a place says where its target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Four bytes: the distance from `base` bytes after their beginning.
    Distance,
    /// Four bytes: the distance from the address `base`.
    Offset,
    /// Four bytes: the distance from the address `base`, in words of four bytes.
    Words,
    /// Four bytes: the distance back from their beginning.
    Back,
    /// Eight bytes: the address.
    Pointer,
    /// An aarch64 instruction.
    Instruction(arm64::Form),
}

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

impl Kind {
    /// The bytes of such a place.
    pub(crate) fn len(self) -> u32 {
        if self == Self::Pointer { 8 } else { 4 }
    }

    /// A number for each kind, below 10.
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Distance => 0,
            Self::Offset => 1,
            Self::Words => 2,
            Self::Back => 3,
            Self::Pointer => 4,
            Self::Instruction(form) => 5 + form as usize,
        }
    }

    /// The bits that depend on the address.
    pub(crate) fn mask(self) -> u64 {
        match self {
            Self::Pointer => u64::MAX,
            Self::Instruction(form) => form.mask().into(),
            Self::Distance | Self::Offset | Self::Words | Self::Back => u32::MAX.into(),
        }
    }

    /// What stands at the address `here` if the target is `target`; `word` is what stood in such a place before.
    pub(crate) fn body(self, word: u64, here: u32, base: u32, target: u32) -> u64 {
        match self {
            Self::Pointer => target.into(),
            Self::Distance => target.wrapping_sub(here.wrapping_add(base)).into(),
            Self::Offset => target.wrapping_sub(base).into(),
            Self::Words => (target.wrapping_sub(base) / 4).into(),
            Self::Back => here.wrapping_sub(target).into(),
            Self::Instruction(form) => form.retarget(word as u32, here.into(), target.into()).into(),
        }
    }
}

/// The addresses from which Go's tables count; two files that have any have the same number, in the same order.
pub(crate) fn bases(normal: &Normal) -> Vec<u32> {
    let functions = Functions::read(normal, &Map::of(&normal.sections));
    functions.map_or(Vec::new(), |table| {
        vec![table.text, table.rows_address, table.names, table.units, table.values, table.data.unwrap_or(0)]
    })
}

/// The references of a file.
pub(crate) fn references(normal: &Normal) -> Vec<Reference> {
    let map = Map::of(&normal.sections);
    let mut found = Found { bytes: &normal.bytes, span: map.span(), map, references: Vec::new() };
    found.frames(normal);
    found.relocated(normal);
    let mut taken = Vec::new();
    for section in normal.sections.iter().filter(|section| section.executable) {
        found.code(section, normal.machine, &mut taken);
    }
    found.jump_tables(normal, taken);
    found.go(normal);
    if normal.recipe.relative.is_none() && normal.fixed {
        found.pointers(normal);
    }
    found.sorted()
}

struct Found<'a> {
    bytes: &'a [u8],
    map: Map,
    span: (u32, u32),
    references: Vec<Reference>,
}

impl Found<'_> {
    /// Takes a reference unless its target is nowhere near the file's addresses, or there are far more than any code has.
    fn add(&mut self, at: u32, kind: Kind, base: u32, target: u64) {
        let (low, high) = self.span;
        if let Ok(target) = u32::try_from(target)
            && (low..=high).contains(&target)
            && self.references.len() < self.bytes.len() / BYTES_PER_REFERENCE
        {
            self.references.push(Reference { at, kind, base, target });
        }
    }

    /// Takes a distance of four bytes at `at`, whose address is `here`.
    fn distance(&mut self, at: u32, here: u32, base: u32) {
        if let Some(distance) = u32_at(self.bytes, at as usize) {
            let from = u64::from(here) + u64::from(base);
            self.add(at, Kind::Distance, base, from.wrapping_add_signed(i64::from(distance as i32)));
        }
    }

    fn frames(&mut self, normal: &Normal) {
        let index =
            named(normal, b".eh_frame_hdr").and_then(|section| Some((section.at?, section.address, section.len)));
        if let Some((at, address, _)) = index.filter(|section| section.2 >= 8) {
            self.distance(at + 4, address + 4, 0);
        }
        let Some(section) = named(normal, b".eh_frame") else { return };
        let (Some(start), Some(bytes)) = (section.at, section.bytes(self.bytes)) else { return };
        for entry in unwind::entries(bytes) {
            match entry {
                Entry::Common { at, common } => {
                    self.add(start + at, Kind::Back, 0, u64::from(section.address) + u64::from(common));
                }
                Entry::Function { at, .. } | Entry::Other { at } => self.distance(start + at, section.address + at, 0),
            }
        }
    }

    fn relocated(&mut self, normal: &Normal) {
        for &place in normal.recipe.relative.iter().flat_map(|relative| &relative.places) {
            self.pointer(place);
        }
        for name in [&b".rela.dyn"[..], b".rela.plt"] {
            let Some((at, len)) = named(normal, name).and_then(|section| Some((section.at?, section.len))) else {
                continue;
            };
            for row in (at..at + len / 24 * 24).step_by(24) {
                self.pointer(row);
            }
        }
        self.symbols(normal);
    }

    fn symbols(&mut self, normal: &Normal) {
        let Some((at, len)) = named(normal, b".dynsym").and_then(|section| Some((section.at?, section.len))) else {
            return;
        };
        for row in (at..at + len / 24 * 24).step_by(24) {
            // Symbols that are defined elsewhere have no value.
            if u64_at(self.bytes, row as usize + 8).is_some_and(|value| value != 0) {
                self.pointer(row + 8);
            }
        }
    }

    fn pointer(&mut self, place: u32) {
        if let Some(target) = u64_at(self.bytes, place as usize) {
            self.add(place, Kind::Pointer, 0, target);
        }
    }

    /// The references in code; the addresses that it takes go to `taken`.
    fn code(&mut self, section: &Section, machine: Machine, taken: &mut Vec<u32>) {
        let (Some(start), Some(code)) = (section.at, section.bytes(self.bytes)) else { return };
        match machine {
            Machine::X86_64 => x86::sweep(code, |at, instruction| {
                let Some(within) = instruction.distance_at else { return };
                let offset = at as u32 + u32::from(within);
                let before = self.references.len();
                self.distance(start + offset, section.address + offset, u32::from(instruction.len - within));
                if instruction.takes_address {
                    taken.extend(self.references[before..].first().map(|reference| reference.target));
                }
            }),
            Machine::Aarch64 => arm64::sweep(code, section.address, |at, form, target| {
                self.add(start + at, Kind::Instruction(form), 0, target);
            }),
        }
    }

    /// Tables of distances from their own beginning to code, at addresses that code takes.
    fn jump_tables(&mut self, normal: &Normal, mut taken: Vec<u32>) {
        const MOST_ROWS: u32 = 4096;
        taken.sort_unstable();
        taken.dedup();
        let code: Vec<_> = normal.sections.iter().filter(|section| section.executable).collect();
        let in_code = |address: u32| {
            let next = code.partition_point(|section| section.address <= address);
            next > 0 && address - code[next - 1].address < code[next - 1].len
        };
        for (number, &table) in taken.iter().enumerate() {
            let stop = taken.get(number + 1).copied().unwrap_or(u32::MAX);
            let Some(at) = self.map.place(table) else { continue };
            if table & 3 != 0 || in_code(table) {
                continue;
            }
            let row = |number: u32| {
                let distance = u32_at(self.bytes, at as usize + number as usize * 4)? as i32;
                let target = table.checked_add_signed(distance)?;
                (distance != 0 && in_code(target)).then_some(target)
            };
            let rows = ((stop - table) / 4).min(MOST_ROWS);
            let targets: Vec<u32> = (0..rows).map_while(row).collect();
            if targets.len() >= 3 {
                for (number, target) in targets.into_iter().enumerate() {
                    self.add(at + number as u32 * 4, Kind::Offset, table, target.into());
                }
            }
        }
    }

    /// Go's table of functions, as its linker writes it since 1.18.
    fn go(&mut self, normal: &Normal) {
        let Some(table) = Functions::read(normal, &self.map) else { return };
        self.type_links(normal);
        let mut after = 0;
        for number in 0..table.count {
            let row = table.rows + 8 * number;
            let Some(within) = u32_at(self.bytes, row + 4) else { return };
            self.offset(row, table.text);
            self.offset(row + 4, table.rows_address);
            let Ok(at) = usize::try_from(table.rows as u64 + u64::from(within)) else { continue };
            // Functions ascend, so that rows that lie cannot have the same one read again and again.
            if (after..table.end).contains(&at) {
                self.function(&table, at);
                after = at + 44;
            }
        }
    }

    fn function(&mut self, table: &Functions, at: usize) {
        self.offset(at, table.text);
        self.offset(at + 4, table.names);
        [16, 20, 24].into_iter().for_each(|field| self.offset(at + field, table.values));
        if let Some(words) = u32_at(self.bytes, at + 32).filter(|words| *words != u32::MAX) {
            self.add(at as u32 + 32, Kind::Words, table.units, u64::from(table.units) + 4 * u64::from(words));
        }
        let (Some(values), Some(&data)) = (u32_at(self.bytes, at + 28), self.bytes.get(at + 43)) else { return };
        if values > 64 || data > 32 {
            return;
        }
        let (values, data) = (values as usize, usize::from(data));
        for field in (0..values).map(|number| at + 44 + 4 * number) {
            if u32_at(self.bytes, field) != Some(0) {
                self.offset(field, table.values);
            }
        }
        if let Some(base) = table.data {
            (0..data).for_each(|number| self.offset(at + 44 + 4 * (values + number), base));
        }
    }

    /// The list of types, which are counted from the beginning of `.rodata`.
    fn type_links(&mut self, normal: &Normal) {
        let (Some(links), Some(types)) = (named(normal, b".typelink"), named(normal, b".rodata")) else { return };
        let Some(at) = links.at else { return };
        (at..at + links.len / 4 * 4).step_by(4).for_each(|place| self.offset(place as usize, types.address));
    }

    fn offset(&mut self, at: usize, base: u32) {
        if let Some(offset) = u32_at(self.bytes, at).filter(|offset| *offset != u32::MAX) {
            self.add(at as u32, Kind::Offset, base, u64::from(base) + u64::from(offset));
        }
    }

    /// Words of eight bytes outside code that are addresses of the file.
    fn pointers(&mut self, normal: &Normal) {
        for section in normal.sections.iter().filter(|section| !section.executable && section.name != b".gopclntab") {
            let Some(at) = section.at else { continue };
            let skipped = section.address.wrapping_neg() & 7;
            for place in (at + skipped..at + section.len).step_by(8) {
                if place + 8 <= at + section.len {
                    self.pointer(place);
                }
            }
        }
    }

    /// Ascending; of those that overlap, the first that was found.
    fn sorted(self) -> Vec<Reference> {
        let (mut references, len) = (self.references, self.bytes.len() as u64);
        references.sort_by_key(|reference| reference.at);
        let mut end = 0;
        references.retain(|reference| {
            let after = u64::from(reference.at) + u64::from(reference.kind.len());
            let free = u64::from(reference.at) >= end && after <= len;
            end = if free { after } else { end };
            free
        });
        references
    }
}

/// Where Go's table of functions has its parts.
struct Functions {
    /// The number of rows.
    count: usize,
    /// Where in the file the rows begin, and that place's address.
    rows: usize,
    rows_address: u32,
    /// Where in the file the table ends.
    end: usize,
    /// From where functions, their names, their units of compilation and their tables of values are counted.
    text: u32,
    names: u32,
    units: u32,
    values: u32,
    /// From where functions' other data is counted.
    data: Option<u32>,
}

impl Functions {
    fn read(normal: &Normal, map: &Map) -> Option<Self> {
        let section = named(normal, b".gopclntab")?;
        let (start, header) = (section.at? as usize, section.bytes(&normal.bytes)?);
        // Little endian, in use since Go 1.18 and 1.20.
        if !matches!(u32_at(header, 0)?, 0xffff_fff0 | 0xffff_fff1) {
            return None;
        }
        let field = |number: usize| u64_at(header, 8 + 8 * number).and_then(|value| u32::try_from(value).ok());
        let part = |number: usize| section.address.checked_add(field(number)?);
        let rows = field(7)? as usize;
        let text = match field(2)? {
            0 => named(normal, b".text")?.address,
            address => address,
        };
        let count = (field(0)? as usize).min(header.len().checked_sub(rows)? / 8);
        let names = part(3)?;
        Some(Self {
            count,
            rows: start + rows,
            rows_address: part(7)?,
            end: start + header.len(),
            text,
            names,
            units: part(4)?,
            values: part(6)?,
            data: data_of_functions(normal, map, section.address, names),
        })
    }
}

/// The address that the module's description, found by what it begins with, gives for functions' data.
fn data_of_functions(normal: &Normal, map: &Map, table: u32, names: u32) -> Option<u32> {
    const FIELD: usize = 39 * 8;
    for name in [&b".go.module"[..], b".noptrdata", b".data"] {
        let Some(bytes) = named(normal, name).and_then(|section| section.bytes(&normal.bytes)) else { continue };
        let begins =
            |at: &usize| u64_at(bytes, *at) == Some(table.into()) && u64_at(bytes, at + 8) == Some(names.into());
        if let Some(at) = (0..bytes.len()).step_by(8).find(begins) {
            return unwind::pointer(bytes, at + FIELD).filter(|address| map.place(*address).is_some());
        }
    }
    None
}

fn named<'a>(normal: &'a Normal, name: &[u8]) -> Option<&'a Section> {
    normal.sections.iter().find(|section| section.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::image;
    use crate::normal::normalise;
    use crate::sample::Sample;

    fn of(file: &[u8]) -> Option<(Normal, Vec<Reference>)> {
        let normal = normalise(file, &image(file)?);
        let references = references(&normal);
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
