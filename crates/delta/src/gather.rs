//! Collects the references of a file: those that code makes, and what it finds in tables.
//!
//! Of what is found in one place, what was found first is what is there; which of them overlap is known only in the end.

use crate::arm64;
use crate::elf::{Machine, Map, Section, u32_at, u64_at};
use crate::kind::Kind;
use crate::marks::{Draft, Marks};
use crate::normal::Normal;
use crate::room::Room;
use crate::unwind::{self, Entry};
use crate::x86;

/// Code that was looked at has one in 15 to 25 bytes of the file.
const BYTES_PER_REFERENCE: usize = 8;

/// The addresses from which Go's tables count; two files that have any have the same number, in the same order.
pub(crate) fn bases(normal: &Normal, map: &Map) -> Vec<u32> {
    let functions = Functions::read(normal, map);
    functions.map_or(Vec::new(), |table| {
        vec![table.text, table.rows_address, table.names, table.units, table.values, table.data.unwrap_or(0)]
    })
}

/// Where the references of a file begin; nothing when there is no room for that.
pub(crate) fn marks(room: &dyn Room, normal: &Normal, map: &Map) -> Option<Marks> {
    let limit = normal.bytes.len() / BYTES_PER_REFERENCE;
    let draft = Draft::new(room, normal.bytes.len(), limit)?;
    let mut found = Found { bytes: &normal.bytes, span: map.span(), map, count: 0, limit, draft };
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
    found.draft.finish()
}

struct Found<'a> {
    bytes: &'a [u8],
    map: &'a Map,
    span: (u32, u32),
    /// How many were taken, of those in one place each, and how many may be.
    count: usize,
    limit: usize,
    draft: Draft<'a>,
}

impl Found<'_> {
    /// Takes a reference unless its target is nowhere near the file's addresses, or there are far more than any code has.
    /// Returns the target of one that is taken.
    fn add(&mut self, at: u32, kind: Kind, base: u32, target: u64) -> Option<u32> {
        let target = self.taken(target)?;
        self.draft.mark(at, kind, base);
        Some(target)
    }

    /// Counts a reference with such a target, if it is to be taken.
    fn taken(&mut self, target: u64) -> Option<u32> {
        let (low, high) = self.span;
        let target = u32::try_from(target).ok().filter(|target| (low..=high).contains(target))?;
        let is_taken = self.count < self.limit;
        self.count += usize::from(is_taken);
        is_taken.then_some(target)
    }

    /// Takes a distance of four bytes at `at`, whose address is `here`.
    fn distance(&mut self, at: u32, here: u32, base: u32) -> Option<u32> {
        let distance = u32_at(self.bytes, at as usize)?;
        let from = u64::from(here) + u64::from(base);
        self.add(at, Kind::Distance, base, from.wrapping_add_signed(i64::from(distance as i32)))
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
                Entry::Function { at, .. } | Entry::Other { at } => {
                    self.distance(start + at, section.address + at, 0);
                }
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
                let base = u32::from(instruction.len - within);
                let target = self.distance(start + offset, section.address + offset, base);
                taken.extend(target.filter(|_| instruction.takes_address));
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
                    if self.taken(target.into()).is_some() {
                        self.draft.mark_row(at + number as u32 * 4, table);
                    }
                }
            }
        }
    }

    /// Go's table of functions, as its linker writes it since 1.18.
    fn go(&mut self, normal: &Normal) {
        let Some(table) = Functions::read(normal, self.map) else { return };
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
