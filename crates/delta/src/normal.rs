//! An executable without its tables that follow from the rest, and back.
//!
//! Two tables are functions of what stands elsewhere, and would have to be said again whenever code moves:
//!
//! * the RELATIVE entries of `.rela.dyn`: their addends go to the places that they are for, and the entries become a set of places;
//! * the table in `.eh_frame_hdr`, which is `.eh_frame` sorted by function.
//!
//! Invariant: [`Normal::restore`] gives back exactly the bytes that [`normalise`] got, where [`normalise`] cut anything. A
//! reader of patches is given a [`Recipe`] that anyone wrote: it ends in [`Unrestorable`], or in bytes of the length that was asked for.

use crate::elf::{Image, Machine, Map, Section, u64_at};
use crate::room::Lent;
use crate::unwind;
use std::ops::Range;

/// The bytes of an entry of `.rela.dyn`.
const ENTRY: usize = 24;

/// A file with the tables cut out.
#[derive(Debug)]
pub(crate) struct Normal {
    pub(crate) bytes: Lent,
    pub(crate) machine: Machine,
    /// See [`Image::fixed`].
    pub(crate) fixed: bool,
    /// Where the sections are in `bytes`.
    pub(crate) sections: Vec<Section>,
    pub(crate) recipe: Recipe,
}

/// What is needed to put the tables back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) relative: Option<Relative>,
    pub(crate) index: Option<Index>,
}

/// The entries that were moved into place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Relative {
    /// Where in the normal bytes they were cut.
    pub(crate) at: u32,
    /// Where in the normal bytes their addends stand, ascending.
    pub(crate) places: Vec<u32>,
    /// Whether the addends stood there before, too; else there were zeros.
    pub(crate) doubled: bool,
}

/// The search table that was cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Where in the normal bytes it was cut.
    pub(crate) at: u32,
    /// The address of the section that it was in, from which it counts.
    pub(crate) address: u32,
    /// The place, length and address of `.eh_frame`, in the normal bytes.
    pub(crate) frames: (u32, u32, u32),
}

/// A recipe that does not fit its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unrestorable;

/// Cuts what can be derived. Whoever wants to go back makes sure first that the way back is exact ([`Normal::restore`]).
pub(crate) fn normalise(file: impl Into<Lent>, image: &Image) -> Normal {
    let mut file = file.into();
    let map = Map::of(&image.sections);
    let relative = relative(&file, image, &map);
    let words = relative.iter().flat_map(|found| &found.words).map(|word| word.0..word.0 + 8);
    let index = search_table(&file, image).filter(|found| words.clone().all(|word| found.is_apart_from(&word)));
    let mut cuts = Vec::new();
    if let Some(found) = &relative {
        found.words.iter().for_each(|&(place, addend)| {
            file[place as usize..place as usize + 8].copy_from_slice(&addend.to_le_bytes());
        });
        cuts.push(found.entries.clone());
    }
    cuts.extend(index.as_ref().map(|found| found.table.clone()));
    cuts.sort_unstable_by_key(|cut| cut.start);
    let cuts = Cuts(cuts);
    let sections: Vec<Section> = image.sections.iter().map(|section| cuts.section(section)).collect();
    let recipe = Recipe {
        relative: relative.and_then(|found| {
            let places = found.words.iter().map(|word| cuts.moved(word.0)).collect::<Option<_>>();
            Some(Relative { at: cuts.moved_start(&found.entries), places: places?, doubled: found.doubled })
        }),
        index: index.map(|found| Index {
            at: cuts.moved_start(&found.table),
            address: found.address,
            frames: (cuts.moved(found.frames.0).unwrap_or(0), found.frames.1, found.frames.2),
        }),
    };
    cuts.apply(&mut file);
    Normal { bytes: file, machine: image.machine, fixed: image.fixed, sections, recipe }
}

/// Ranges of the file that are left out, ascending.
struct Cuts(Vec<Range<u32>>);

impl Cuts {
    /// Where a byte of the file is afterwards.
    fn moved(&self, at: u32) -> Option<u32> {
        let before: u32 = self.0.iter().filter(|cut| cut.end <= at).map(|cut| cut.end - cut.start).sum();
        let gone = self.0.iter().any(|cut| cut.contains(&at));
        (!gone).then(|| at - before)
    }

    fn moved_start(&self, cut: &Range<u32>) -> u32 {
        cut.start
            - self.0.iter().filter(|other| other.end <= cut.start).map(|other| other.end - other.start).sum::<u32>()
    }

    fn section(&self, section: &Section) -> Section {
        let Some(at) = section.at else { return section.clone() };
        let within = at..at + section.len;
        let cut = self.0.iter().filter(|cut| within.contains(&cut.start)).map(|cut| cut.end - cut.start).sum::<u32>();
        Section { at: Some(self.moved_start(&within)), len: section.len - cut, ..section.clone() }
    }

    fn apply(&self, bytes: &mut Lent) {
        let mut cuts = self.0.iter().peekable();
        let mut kept = cuts.peek().map_or(bytes.len(), |cut| cut.start as usize);
        while let Some(cut) = cuts.next() {
            let next = cuts.peek().map_or(bytes.len(), |cut| cut.start as usize);
            bytes.copy_within(cut.end as usize..next, kept);
            kept += next - cut.end as usize;
        }
        bytes.truncate(kept);
    }
}

fn relative_type(machine: Machine) -> u64 {
    match machine {
        Machine::X86_64 => 8,
        Machine::Aarch64 => 1027,
    }
}

/// The RELATIVE entries at the beginning of `.rela.dyn`.
struct Entries {
    entries: Range<u32>,
    /// Where in the file each addend belongs.
    words: Vec<(u32, u64)>,
    doubled: bool,
}

/// The entries, if they ascend, all of their places are apart from each other and from the entries' section (what is behind a cut
/// in a section has another address afterwards), and the places were all zeros or all held the addends already.
fn relative(file: &[u8], image: &Image, map: &Map) -> Option<Entries> {
    let section = image.sections.iter().find(|section| section.name == b".rela.dyn")?;
    let (start, table) = (section.at?, section.bytes(file)?);
    let wanted = relative_type(image.machine);
    let rows = table.chunks_exact(ENTRY).take_while(|row| u64_at(row, 8) == Some(wanted));
    let rows: Vec<(u64, u64)> = rows.filter_map(|row| u64_at(row, 0).zip(u64_at(row, 16))).collect();
    if rows.is_empty() || !rows.windows(2).all(|pair| pair[0].0.checked_add(8).is_some_and(|end| end <= pair[1].0)) {
        return None;
    }
    let place = |address: u64| {
        let address = u32::try_from(address).ok()?;
        let place = map.place(address)?;
        (map.place(address.checked_add(7)?)? == place + 7).then_some(place)
    };
    let words = rows.iter().map(|&(address, addend)| Some((place(address)?, addend))).collect::<Option<Vec<_>>>()?;
    let entries = start..start + (rows.len() * ENTRY) as u32;
    let apart = words.windows(2).all(|pair| pair[0].0 + 8 <= pair[1].0)
        && words.iter().all(|word| word.0 + 8 <= start || word.0 >= start + section.len);
    let held = |word: &(u32, u64)| u64_at(file, word.0 as usize);
    let zeros = words.iter().all(|word| held(word) == Some(0));
    let doubled = !zeros && words.iter().all(|word| held(word) == Some(word.1));
    (apart && (zeros || doubled)).then_some(Entries { entries, words, doubled })
}

/// The part of `.eh_frame_hdr` that can be derived.
struct Table {
    table: Range<u32>,
    /// The section that it is in.
    section: Range<u32>,
    address: u32,
    frames: (u32, u32, u32),
}

impl Table {
    /// Whether these bytes are neither of the table's section nor of what it follows from.
    fn is_apart_from(&self, bytes: &Range<u32>) -> bool {
        let frames = self.frames.0..self.frames.0 + self.frames.1;
        [&self.section, &frames].into_iter().all(|of| bytes.end <= of.start || bytes.start >= of.end)
    }
}

fn search_table(file: &[u8], image: &Image) -> Option<Table> {
    const HEAD: u32 = 12;
    let named = |name: &[u8]| image.sections.iter().find(|section| section.name == name);
    let (index, frames) = (named(b".eh_frame_hdr")?, named(b".eh_frame")?);
    let table = unwind::search_table(frames.bytes(file)?, frames.address, index.address);
    let start = index.at?.checked_add(HEAD)?;
    let found = index.bytes(file)?.get(HEAD as usize..)?.starts_with(&table);
    (found && !table.is_empty()).then(|| Table {
        table: start..start + table.len() as u32,
        section: start - HEAD..start - HEAD + index.len,
        address: index.address,
        frames: (frames.at.unwrap_or(0), frames.len, frames.address),
    })
}

impl Normal {
    /// The file, which must come to `len` bytes.
    pub(crate) fn restore(&self, len: usize) -> Result<Vec<u8>, Unrestorable> {
        let mut file = self.bytes.to_vec();
        file.resize(len.max(file.len()), 0);
        restore(&mut file, self.bytes.len(), self.machine, &Map::of(&self.sections), &self.recipe)?;
        if file.len() == len { Ok(file) } else { Err(Unrestorable) }
    }
}

/// Makes a file, in place, of its normal bytes, which are the first `normal_len` of it.
pub(crate) fn restore(
    file: &mut [u8],
    normal_len: usize,
    machine: Machine,
    map: &Map,
    recipe: &Recipe,
) -> Result<(), Unrestorable> {
    let len = file.len();
    let normal = file.get_mut(..normal_len).ok_or(Unrestorable)?;
    let mut tables = Vec::new();
    if let Some(index) = &recipe.index {
        let (at, frames, address) = index.frames;
        let frames = normal.get(at as usize..).and_then(|rest| rest.get(..frames as usize)).ok_or(Unrestorable)?;
        tables.push((index.at as usize, unwind::search_table(frames, address, index.address)));
    }
    if let Some(relative) = &recipe.relative {
        if relative.places.len() > len / ENTRY {
            return Err(Unrestorable);
        }
        tables.push((relative.at as usize, take_back(normal, machine, map, relative)?));
    }
    tables.sort_by_key(|table| table.0);
    let sum = tables.iter().map(|table| table.1.len()).sum::<usize>();
    if normal_len + sum != len || tables.iter().any(|table| table.0 > normal_len) {
        return Err(Unrestorable);
    }
    // From the end, so that nothing is written over before it is moved.
    let (mut from, mut to) = (normal_len, len);
    for (at, table) in tables.iter().rev() {
        let moved = from - at;
        file.copy_within(*at..from, to - moved);
        to -= moved + table.len();
        file[to..to + table.len()].copy_from_slice(table);
        from = *at;
    }
    Ok(())
}

/// Makes the entries of the addends in place, and clears the places where nothing stood before.
fn take_back(bytes: &mut [u8], machine: Machine, map: &Map, relative: &Relative) -> Result<Vec<u8>, Unrestorable> {
    let mut rows = Vec::with_capacity(relative.places.len());
    for &place in &relative.places {
        let address = map.address(place).ok_or(Unrestorable)?;
        let word = bytes.get_mut(place as usize..).and_then(|rest| rest.first_chunk_mut::<8>()).ok_or(Unrestorable)?;
        rows.push((address, *word));
        if !relative.doubled {
            *word = [0; 8];
        }
    }
    // By all of it: what is equal in a lying layout is equal for every sort.
    rows.sort_unstable();
    let kind = relative_type(machine).to_le_bytes();
    Ok(rows
        .into_iter()
        .flat_map(|(address, addend)| [u64::from(address).to_le_bytes(), kind, addend])
        .flatten()
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::image;
    use crate::sample::Sample;

    fn normal(file: &[u8]) -> Normal {
        normalise(file.to_vec(), &image(file).expect("an executable"))
    }

    #[test]
    fn tables_are_cut_and_come_back() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let file = Sample::of(machine, 40).file();
            let normal = normal(&file);
            assert_eq!(file.len() - normal.bytes.len(), 40 * (24 + 8), "relocations and search table");
            assert_eq!(normal.recipe.relative.as_ref().map(|relative| relative.places.len()), Some(40));
            assert_eq!(normal.restore(file.len()), Ok(file));
        }
    }

    #[test]
    fn addends_that_stood_in_place_too_stay_there() {
        let mut file = Sample::of(Machine::X86_64, 5).file();
        let data = normal(&file).sections.iter().position(|section| section.name == b".data").expect("data");
        let image = image(&file).expect("an executable");
        let (table, place) =
            (image.sections[0].at.expect("bytes") as usize, image.sections[data].at.expect("bytes") as usize);
        for number in 0..5 {
            file.copy_within(table + number * 24 + 16..table + number * 24 + 24, place + number * 8);
        }
        let normal = normal(&file);
        assert_eq!(normal.recipe.relative.as_ref().map(|relative| relative.doubled), Some(true));
        assert_eq!(normal.restore(file.len()), Ok(file));
    }

    #[test]
    fn f21_tables_that_do_not_follow_stay() {
        let good = Sample::of(Machine::X86_64, 5).file();
        let image = image(&good).expect("an executable");
        let relocations = image.sections[0].at.expect("bytes") as usize;
        // Two entries for one place; an entry for a place outside; a word in place that is neither zero nor the addend.
        for (at, byte) in [(relocations + 24, good[relocations]), (relocations + 7, 1), (good.len() - 8 * 64 - 200, 1)]
        {
            let mut file = good.clone();
            file[at] = byte;
            let normal = normal(&file);
            assert_eq!(normal.restore(file.len()), Ok(file), "{at}");
        }
    }

    #[test]
    fn f21_a_recipe_that_does_not_fit_is_refused() {
        let file = Sample::of(Machine::X86_64, 5).file();
        let normal = normal(&file);
        let refused = |recipe: Recipe| {
            let map = Map::of(&normal.sections);
            let mut made = normal.bytes.to_vec();
            made.resize(file.len(), 0);
            assert_eq!(restore(&mut made, normal.bytes.len(), normal.machine, &map, &recipe), Err(Unrestorable));
        };
        let relative = normal.recipe.relative.clone().expect("relocations");
        let with = |relative: Relative| Recipe { relative: Some(relative), ..normal.recipe.clone() };
        refused(with(Relative { at: u32::MAX, ..relative.clone() }));
        refused(with(Relative { places: vec![0; 5], ..relative.clone() }));
        refused(with(Relative { places: vec![u32::MAX - 3; 5], ..relative.clone() }));
        refused(with(Relative { places: relative.places[1..].to_vec(), ..relative }));
        let index = normal.recipe.index.expect("a search table");
        refused(Recipe { index: Some(Index { frames: (u32::MAX, u32::MAX, 0), ..index }), ..normal.recipe.clone() });
        refused(Recipe { index: None, ..normal.recipe.clone() });
    }
}
