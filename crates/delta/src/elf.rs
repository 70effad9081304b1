//! What an executable's headers say: which addresses its bytes are loaded to, and what the pieces are called.
//!
//! Read are ELF files of 64 bits, little endian, for x86-64 and aarch64, that are programs or shared libraries. Anything
//! else is `None`, which is no error: such a file is bytes like any others. Headers may lie, so what does not fit the file
//! or another header is left out, and a wrong answer costs patch bytes, never correctness. The same reading is part of the
//! patch format: whoever applies a patch reads the old file's headers in exactly this way.
//!
//! Invariant: the sections of an [`Image`] are inside the file, overlap neither in memory nor in the file, and end below
//! 4 GiB of address space and 2 GiB of file.

/// The longest file that is looked at, in bytes.
const LONGEST: usize = i32::MAX as usize;
/// How many headers of each kind are read.
const MOST_HEADERS: usize = 4096;

/// The processor that code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

/// A named piece of memory, and where it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: Vec<u8>,
    /// The address of its first byte.
    pub(crate) address: u32,
    pub(crate) len: u32,
    /// Where its bytes are in the file; `None` where memory begins as zeros (`.bss`).
    pub(crate) at: Option<u32>,
    pub(crate) executable: bool,
}

impl Section {
    /// Its bytes, where it has any.
    pub(crate) fn bytes<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let at = self.at? as usize;
        file.get(at..at.checked_add(self.len as usize)?)
    }

    fn end(&self) -> u32 {
        self.address + self.len
    }
}

/// What is known of an executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) machine: Machine,
    /// It is loaded at the addresses that it names, so pointers in it need no relocation.
    pub(crate) fixed: bool,
    /// Ascending by address.
    pub(crate) sections: Vec<Section>,
}

/// What can be said of a file, or `None` if it is no executable that is understood.
pub(crate) fn image(bytes: &[u8]) -> Option<Image> {
    if bytes.len() > LONGEST || bytes.get(..7)? != b"\x7fELF\x02\x01\x01" {
        return None;
    }
    let machine = match u16_at(bytes, 18)? {
        62 => Machine::X86_64,
        183 => Machine::Aarch64,
        _ => return None,
    };
    let fixed = match u16_at(bytes, 16)? {
        2 => true,
        3 => false,
        _ => return None,
    };
    let loads = loads(bytes)?;
    let mut sections = sections(bytes, &loads).unwrap_or_default();
    if sections.is_empty() {
        sections = loads.iter().filter_map(Load::section).collect();
    }
    let sections = apart(sections);
    (!sections.is_empty()).then_some(Image { machine, fixed, sections })
}

/// A program header of type LOAD.
struct Load {
    offset: u64,
    address: u64,
    in_file: u64,
    executable: bool,
}

impl Load {
    /// The segment as one piece without a name, for files without section headers.
    fn section(&self) -> Option<Section> {
        Some(Section {
            name: Vec::new(),
            address: u32::try_from(self.address).ok()?,
            len: u32::try_from(self.in_file).ok().filter(|len| *len > 0)?,
            at: Some(u32::try_from(self.offset).ok()?),
            executable: self.executable,
        })
    }

    /// Whether these file bytes are loaded to that address.
    fn agrees(&self, offset: u64, address: u64, len: u64) -> bool {
        offset >= self.offset
            && address.checked_sub(self.address) == Some(offset - self.offset)
            && (offset - self.offset).checked_add(len).is_some_and(|end| end <= self.in_file)
    }
}

fn loads(bytes: &[u8]) -> Option<Vec<Load>> {
    let table = table(bytes, u64_at(bytes, 32)?, u16_at(bytes, 54)?, 56, u16_at(bytes, 56)?)?;
    let load = |header: &[u8]| {
        let load = Load {
            offset: u64_at(header, 8)?,
            address: u64_at(header, 16)?,
            in_file: u64_at(header, 32)?,
            executable: u32_at(header, 4)? & 1 != 0,
        };
        let fits = load.offset.checked_add(load.in_file)? <= bytes.len() as u64
            && load.address.checked_add(load.in_file)? < u64::from(u32::MAX);
        (u32_at(header, 0)? == 1 && fits).then_some(load)
    };
    Some(table.chunks_exact(56).filter_map(load).collect())
}

fn sections(bytes: &[u8], loads: &[Load]) -> Option<Vec<Section>> {
    let table = table(bytes, u64_at(bytes, 40)?, u16_at(bytes, 58)?, 64, u16_at(bytes, 60)?)?;
    let names = table.chunks_exact(64).nth(u16_at(bytes, 62)?.into()).and_then(|header| {
        let (at, len) = (u64_at(header, 24)?, u64_at(header, 32)?);
        bytes.get(usize::try_from(at).ok()?..usize::try_from(at.checked_add(len)?).ok()?)
    });
    let names = names.unwrap_or_default();
    Some(table.chunks_exact(64).filter_map(|header| section(header, names, loads)).collect())
}

const ALLOCATED: u64 = 2;
const EXECUTABLE: u64 = 4;
const THREAD_LOCAL: u64 = 0x400;
const NO_BITS: u32 = 8;

/// The section of a header, if it takes part of memory and the program headers say the same of it.
fn section(header: &[u8], names: &[u8], loads: &[Load]) -> Option<Section> {
    let (kind, flags) = (u32_at(header, 4)?, u64_at(header, 8)?);
    let (address, offset, len) = (u64_at(header, 16)?, u64_at(header, 24)?, u64_at(header, 32)?);
    let empty_at_start = kind == NO_BITS;
    if flags & ALLOCATED == 0 || len == 0 || empty_at_start && flags & THREAD_LOCAL != 0 {
        return None;
    }
    if !empty_at_start && !loads.iter().any(|load| load.agrees(offset, address, len)) {
        return None;
    }
    address.checked_add(len).filter(|end| *end < u64::from(u32::MAX))?;
    let name = names.get(u32_at(header, 0)? as usize..).unwrap_or_default();
    let name = name.iter().take(64).take_while(|byte| **byte != 0).copied().collect();
    let at = if empty_at_start { None } else { Some(u32::try_from(offset).ok()?) };
    Some(Section { name, address: address as u32, len: len as u32, at, executable: flags & EXECUTABLE != 0 })
}

/// The sections that overlap no earlier one, in memory or in the file; those with bytes go before those without.
fn apart(mut sections: Vec<Section>) -> Vec<Section> {
    sections.sort_by_key(|section| (section.at.is_none(), section.at, section.address));
    let mut end = 0;
    sections.retain(|section| {
        let free = section.at.is_none_or(|at| at >= end);
        end = section.at.filter(|_| free).map_or(end, |at| at + section.len);
        free
    });
    let mut kept: std::collections::BTreeMap<u32, Section> = std::collections::BTreeMap::new();
    for section in sections {
        let before = kept.range(..section.end()).next_back().is_none_or(|(_, other)| other.end() <= section.address);
        if before {
            kept.insert(section.address, section);
        }
    }
    kept.into_values().collect()
}

/// A table of headers, if its entries have the one size there is.
fn table(bytes: &[u8], at: u64, size: u16, wanted: u16, count: u16) -> Option<&[u8]> {
    let count = usize::from(count).min(MOST_HEADERS);
    let at = usize::try_from(at).ok()?;
    if size != wanted && count > 0 {
        return None;
    }
    bytes.get(at..at.checked_add(count * usize::from(wanted))?)
}

/// A piece of a file that is loaded to one stretch of addresses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Piece {
    /// Where it is in the file.
    pub(crate) place: u32,
    pub(crate) len: u32,
    /// The address of its first byte.
    pub(crate) address: u32,
}

impl Piece {
    /// Whether a byte of the file is in it.
    pub(crate) fn contains(&self, place: u32) -> bool {
        place.wrapping_sub(self.place) < self.len
    }

    /// Its bytes, as far as the file has them.
    pub(crate) fn bytes<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        let rest = file.get(self.place as usize..).unwrap_or_default();
        &rest[..rest.len().min(self.len as usize)]
    }
}

/// Between addresses and places in a file, piece by piece.
#[derive(Debug, Clone, Default)]
pub(crate) struct Map {
    /// Ascending by address: address, length, place.
    by_address: Vec<(u32, u32, Option<u32>)>,
    /// Ascending by place.
    by_place: Vec<Piece>,
}

impl Map {
    /// The map of pieces `(address, length, place)` that do not overlap.
    pub(crate) fn new(pieces: impl Iterator<Item = (u32, u32, Option<u32>)>) -> Self {
        let mut by_address: Vec<_> = pieces.collect();
        by_address.sort_unstable();
        let in_file = by_address.iter().filter_map(|&(address, len, at)| Some(Piece { place: at?, len, address }));
        let mut by_place: Vec<_> = in_file.collect();
        by_place.sort_unstable_by_key(|piece| (piece.place, piece.len, piece.address));
        Self { by_address, by_place }
    }

    pub(crate) fn of(sections: &[Section]) -> Self {
        Self::new(sections.iter().map(|section| (section.address, section.len, section.at)))
    }

    /// Where in the file the byte of an address is.
    pub(crate) fn place(&self, address: u32) -> Option<u32> {
        let next = self.by_address.partition_point(|piece| piece.0 <= address);
        let (start, len, at) = *self.by_address.get(next.checked_sub(1)?)?;
        let within = address - start;
        if within < len { at?.checked_add(within) } else { None }
    }

    /// The piece that a byte of the file is in.
    pub(crate) fn piece(&self, place: u32) -> Option<Piece> {
        let next = self.by_place.partition_point(|piece| piece.place <= place);
        self.by_place.get(next.checked_sub(1)?).filter(|piece| piece.contains(place)).copied()
    }

    /// The address that a byte of the file is loaded to.
    pub(crate) fn address(&self, place: u32) -> Option<u32> {
        let piece = self.piece(place)?;
        piece.address.checked_add(place - piece.place)
    }

    /// The lowest address and the one after the highest.
    pub(crate) fn span(&self) -> (u32, u32) {
        let low = self.by_address.first().map_or(0, |piece| piece.0);
        let high = self.by_address.last().map_or(0, |piece| piece.0.saturating_add(piece.1));
        (low, high)
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[test]
    fn headers_are_read() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let file = Sample::of(machine, 9).file();
            let image = image(&file).expect("an executable");
            assert_eq!((image.machine, image.fixed), (machine, false));
            let names: Vec<_> = image.sections.iter().map(|section| String::from_utf8_lossy(&section.name)).collect();
            assert_eq!(names, [".rela.dyn", ".eh_frame", ".eh_frame_hdr", ".text", ".data"], "padding is left out");
            let map = Map::of(&image.sections);
            let text = &image.sections[3];
            assert!(text.executable);
            assert_eq!(map.place(text.address + 1), text.at.map(|at| at + 1));
            assert_eq!(map.address(text.at.expect("bytes")), Some(text.address));
            assert_eq!((map.place(0), map.address(u32::MAX)), (None, None));
        }
    }

    #[test]
    fn without_section_headers_segments_are_sections() {
        let mut file = Sample::of(Machine::X86_64, 9).file();
        file[40..48].fill(0xff);
        let image = image(&file).expect("an executable");
        assert_eq!(image.sections.len(), 1);
        assert!(image.sections[0].executable && image.sections[0].name.is_empty());
    }

    #[test]
    fn f21_sections_that_lie_are_left_out() {
        let good = Sample::of(Machine::X86_64, 9).file();
        let headers = u64_at(&good, 40).expect("an offset") as usize;
        for (field, value) in
            [(24, u64::MAX), (24, 1 << 30), (32, u64::MAX), (32, 1 << 30), (16, u64::MAX - 3), (16, 77)]
        {
            let mut file = good.clone();
            let text = headers + 4 * 64 + field;
            file[text..text + 8].copy_from_slice(&u64::to_le_bytes(value));
            let image = image(&file).expect("an executable");
            assert!(image.sections.iter().all(|section| section.name != b".text"), "{field} {value}");
        }
    }

    #[test]
    fn f21_sections_that_overlap_are_left_out() {
        let mut file = Sample::of(Machine::X86_64, 9).file();
        let headers = u64_at(&file, 40).expect("an offset") as usize;
        let (frames, text) = (headers + 2 * 64, headers + 4 * 64);
        file.copy_within(frames + 16..frames + 40, text + 16);
        let image = image(&file).expect("an executable");
        assert_eq!(
            image.sections.iter().filter(|section| section.name == b".text" || section.name == b".eh_frame").count(),
            1
        );
    }

    #[test]
    fn f21_what_is_no_executable_is_none() {
        let good = Sample::of(Machine::Aarch64, 3).file();
        for (at, byte) in [(0, 0), (4, 1), (5, 2), (16, 1), (18, 40)] {
            let mut file = good.clone();
            file[at] = byte;
            assert_eq!(image(&file), None, "{at}");
        }
        (0..good.len()).for_each(|cut| drop(image(&good[..cut])));
    }
}
