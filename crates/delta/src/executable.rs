//! A patch between two executables: what moved is said once, and every place that names it follows.
//!
//! Both files are normalised ([`crate::normal`]). The new one is then runs of the old one, each with its references retargeted as
//! [`crate::predict`] expects or as a correction says, its other differences mended byte by byte, and between the runs bytes that are given
//! as they are. `docs/patch-format.md` draws it.
//!
//! What is coded is coded by one walk in both directions, as [`crate::residual`] does: [`Said`] holds what a writer knows and a
//! reader learns.
//!
//! Invariant: what [`write`] returns was read and compared; and [`Patch::read`] returns for any bytes, having taken no more
//! memory than a multiple of what [`Patch::memory`] says (ADR 30).

use crate::anatomy::{Anatomy, Zone};
use crate::bounds::{Allowed, ApplyError, short, take};
use crate::coder::{Coder, Reader, Writer};
use crate::elf::{self, Map, Section};
use crate::exceptions::{Moves, Tables};
use crate::format::{Malformed, Numbers, put_number};
use crate::gather::{bases, marks};
use crate::kind::Kind;
use crate::labels::{self, Names, read};
use crate::marks::Marks;
use crate::matching::{Equivalence, Prices, equivalences_bytes};
use crate::model::{Bit, Number, Signed};
use crate::normal::{self, Index, Normal, Recipe, Relative, normalise};
use crate::predict::{self, Expectation, Predictor};
use crate::references::{Reference, References};
use crate::residual::{Between, Expected, Literals, Mending, OutOfRange, Runs};
use crate::room::{Heap, Lent, Room};
use std::collections::BTreeMap;

/// How often matching and voting take turns.
const TURNS: usize = 3;

/// There are no more runs than one in so many bytes, and a few.
const BYTES_PER_RUN: u32 = 24;

/// The longest new file, in bytes.
const LONGEST: usize = i32::MAX as usize;

/// A file with everything that is derived from it.
pub(crate) struct Known {
    normal: Normal,
    map: Map,
    marks: Marks,
    /// See [`bases`].
    bases: Vec<u32>,
}

impl Known {
    /// Of an executable that is understood.
    fn of(room: &dyn Room, file: Lent) -> Result<Self, ApplyError> {
        let (image, len) = (elf::image(&file).ok_or(Malformed::NoExecutable)?, file.len() as u64);
        let normal = normalise(file, &image);
        let map = Map::of(&normal.sections);
        let marks = marks(room, &normal, &map).ok_or_else(|| short(room, len))?;
        let bases = bases(&normal, &map);
        Ok(Self { normal, map, marks, bases })
    }

    /// The same, with copies on the heap.
    fn of_copy(file: &[u8]) -> Option<Self> {
        Self::of(&Heap, file.to_vec().into()).ok()
    }

    fn references(&self) -> References<'_> {
        References { marks: &self.marks, bytes: &self.normal.bytes, map: &self.map }
    }

    fn anatomy(&self) -> Anatomy {
        let sections = self.normal.sections.iter().enumerate();
        Anatomy::new(sections.filter_map(|(number, section)| zone(&self.normal, section, number)).collect())
    }
}

/// What a section, which is like the old one with this number, says of its bytes.
fn zone(old: &Normal, section: &Section, number: usize) -> Option<Zone> {
    let (at, end) = (section.at?, section.at?.checked_add(section.len)?);
    let code = old.sections[number].executable.then_some(old.machine);
    Some(Zone { at, end, number: 1 + number.min(62) as u32, code })
}

/// The body of a patch, or `None` if the files are no two executables of one kind, or would not come back exactly.
pub(crate) fn write(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    if elf::image(old)?.machine != elf::image(new)?.machine {
        return None;
    }
    let (ours, theirs) = (Known::of_copy(old)?, Known::of_copy(new)?);
    if theirs.normal.restore(new.len()).ok()? != new {
        return None;
    }
    let runs = matched(&ours, &theirs);
    let theirs_at = theirs.normal.recipe.relative.as_ref().map_or(&[][..], |relative| &relative.places);
    let places = match theirs_at {
        [] => Vec::new(),
        _ => toggled(&brought(&ours.normal.recipe, &runs), theirs_at),
    };
    let layout = Layout::of(&ours, &theirs, runs.len(), places.len());
    let mut body = Vec::new();
    layout.write(&ours.normal.sections, &mut body);
    let mut scratch = theirs.normal.bytes.to_vec();
    let mut coder = Writer::new();
    let said = Said { runs, places, references: Some(theirs.references()) };
    walk(&mut coder, &ours, &layout, said, &mut scratch, &UNBOUNDED, |_| false).ok()?;
    body.extend(coder.finish());
    drop((scratch, theirs, ours));
    let mut made = vec![0; new.len()];
    Patch::open(&Heap, &body, old.to_vec().into()).ok()?.read(&UNBOUNDED, &mut made).ok()?;
    (made == new).then_some(body)
}

/// The body of a patch, and what is known of the old file.
pub(crate) struct Patch<'a> {
    old: Known,
    layout: Layout,
    coded: &'a [u8],
}

impl<'a> Patch<'a> {
    /// Reads the old file, and what the new one looks like.
    pub(crate) fn open(room: &dyn Room, body: &'a [u8], old: Lent) -> Result<Self, ApplyError> {
        let old = Known::of(room, old)?;
        let mut numbers = Numbers(body);
        let layout = Layout::read(&mut numbers, &old)?;
        Ok(Self { old, layout, coded: numbers.0 })
    }

    /// The most that is taken at one time beside the new file, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let Needs { lists, lent, named } = needs(&self.old, &self.layout);
        lists + lent + named
    }

    /// Makes the new file, in a buffer of its length.
    pub(crate) fn read(self, allowed: &Allowed<'_>, new: &mut [u8]) -> Result<(), ApplyError> {
        let normal = new.get_mut(..self.layout.len as usize).ok_or(Malformed::Sums)?;
        let mut coder = Reader::new(self.coded);
        let said = Said { runs: Vec::new(), places: Vec::new(), references: None };
        let said = walk(&mut coder, &self.old, &self.layout, said, normal, allowed, Reader::is_beyond)?;
        if !coder.is_exhausted() {
            return Err(Malformed::Stream.into());
        }
        let mut recipe = self.layout.recipe.clone();
        if let Some(relative) = &mut recipe.relative {
            relative.places = toggled(&brought(&self.old.normal.recipe, &said.runs), &said.places);
        }
        let (machine, map, len) = (self.old.normal.machine, self.layout.map(), normal.len());
        drop((self, said));
        normal::restore(new, len, machine, &map, &recipe).map_err(|_| Malformed::Sums.into())
    }
}

/// What is taken at one time beside the new file, in bytes.
struct Needs {
    /// Lists and tables.
    lists: u64,
    /// What is copied of the old file, and where its references are.
    lent: u64,
    /// What references name, at most: each an address of its own.
    named: u64,
}

/// No bounds, on the heap: of what was made here.
const UNBOUNDED: Allowed<'static> = Allowed { memory: u64::MAX, room: &Heap };

fn needs(old: &Known, layout: &Layout) -> Needs {
    let (bytes, references) = (old.normal.bytes.len() as u64, old.marks.len() as u64);
    let runs = u64::from(layout.runs) * 3 * size_of::<Equivalence>() as u64;
    let places = old.normal.recipe.relative.as_ref().map_or(0, |relative| relative.places.len() as u64);
    let tables = Mending::memory(table_bits(layout.len)) + Literals::memory(table_bits(layout.len));
    // Of each place: itself, where it came from, and its entry while that is made.
    let lists = runs + (places + u64::from(layout.places)) * 48 + tables;
    Needs { lists, lent: bytes + bytes / 8 + references, named: references * NAMED }
}

/// The bytes for each address that references name, of which a list that grows holds half as many again.
const NAMED: u64 = 4 * 2;

/// The bits of a place in the tables of models: small files have small tables.
fn table_bits(len: u32) -> u32 {
    (len | 1).ilog2().saturating_sub(7).clamp(10, 20)
}

/// What is coded beside bytes.
struct Said<'a> {
    runs: Vec<Equivalence>,
    /// The places with addends apart from those that runs bring.
    places: Vec<u32>,
    /// The references of the new file, which a writer knows.
    references: Option<References<'a>>,
}

/// Codes a new file: its runs, its places with addends, then from its beginning what is in runs and what is between them.
fn walk<'a, C: Coder>(
    coder: &mut C,
    old: &Known,
    layout: &Layout,
    mut said: Said<'a>,
    new: &mut [u8],
    allowed: &Allowed<'_>,
    is_lost: impl Fn(&C) -> bool,
) -> Result<Said<'a>, ApplyError> {
    let Needs { lists, lent, named } = needs(old, layout);
    // How many addresses there are is known only when they are found; on the heap, what they take at most was reckoned before.
    let most = match allowed.room.is_memory() {
        true => allowed.bear(lists + named, lent).map(|_| usize::MAX)?,
        false => (allowed.bear(lists, lent)? / 4) as usize,
    };
    said.runs = code_runs(coder, old, layout, &said.runs, &is_lost)?;
    said.places = code_places(coder, layout, &said.places)?;
    let map = layout.map();
    let by_old = predict::Runs::new(&said.runs);
    let references = old.references();
    let said_of = layout.said(&old.normal.sections);
    let over = || ApplyError::OverBudget { of: "memory", needed: lists + named, allowed: allowed.memory };
    let predictor = Predictor::new(references, &by_old, &map, said_of, &layout.bases, most).ok_or_else(over)?;
    let tables = Tables::of(&old.normal.sections, references);
    let mut moves = Moves::new(&by_old, &old.map, &map);
    let bits = table_bits(layout.len);
    let mut mending = Mending::new(bits, old.anatomy());
    let mut literals = Literals::new(bits, layout.anatomy(&old.normal));
    let mut verdicts = Verdicts::new(predictor, &map, said.references);
    let longest = said.runs.iter().map(|run| run.len).max().unwrap_or(0);
    let mut buffer = take(allowed.room, longest.into())?;
    let (mut at, mut ends) = (0, 0);
    for run in &said.runs {
        if is_lost(coder) {
            return Err(Malformed::Stream.into());
        }
        let (from, to) = (run.old as usize, (run.old + run.len) as usize);
        let (start, end) = (run.new as usize, (run.new + run.len) as usize);
        let between = Between { ends, begins: Some(from) };
        literals.code(coder, &old.normal.bytes, between, new, at, start);
        let expected = &mut buffer[..to - from];
        expected.copy_from_slice(&old.normal.bytes[from..to]);
        tables.expect(&old.normal.bytes, run, expected, &mut moves);
        for reference in references.within(run.old, run.old + run.len) {
            let within = (reference.at - run.old) as usize;
            let slot = within..within + reference.kind.len() as usize;
            let actual = read(&new[start + slot.start..start + slot.end]);
            verdicts.code(coder, run, &reference, &mut expected[slot], actual)?;
        }
        mending.code(coder, Expected { old: &old.normal.bytes, from, bytes: expected }, new, start);
        (at, ends) = (end, to);
    }
    literals.code(coder, &old.normal.bytes, Between { ends, begins: None }, new, at, layout.len as usize);
    Ok(said)
}

fn code_runs<C: Coder>(
    coder: &mut C,
    old: &Known,
    layout: &Layout,
    runs: &[Equivalence],
    is_lost: impl Fn(&C) -> bool,
) -> Result<Vec<Equivalence>, Malformed> {
    let old_len = old.normal.bytes.len() as u64;
    let (mut lie, mut at) = (Runs::default(), 0);
    let mut coded = Vec::with_capacity(layout.runs as usize);
    for number in 0..layout.runs as usize {
        if is_lost(coder) {
            return Err(Malformed::Stream);
        }
        let run = runs.get(number).copied().unwrap_or(Equivalence { old: 0, new: at, len: 0 });
        let left = |at: u32| u64::from(layout.len - at);
        at += lie.gap(coder, run.new - at, left(at)).map_err(|OutOfRange| Malformed::OutOfRange)?;
        let run = Equivalence { new: at, ..run };
        let run = lie.run(coder, run, old_len, left(at)).map_err(|OutOfRange| Malformed::OutOfRange)?;
        at += run.len;
        coded.push(run);
    }
    Ok(coded)
}

fn code_places(coder: &mut impl Coder, layout: &Layout, places: &[u32]) -> Result<Vec<u32>, Malformed> {
    let (mut gaps, mut at) = (Number::default(), 0u32);
    let mut coded = Vec::with_capacity(layout.places as usize);
    for number in 0..layout.places as usize {
        let gap = gaps.code(coder, places.get(number).map_or(0, |place| place - at));
        at = at.checked_add(gap).filter(|at| *at < layout.len).ok_or(Malformed::OutOfRange)?;
        coded.push(at);
    }
    Ok(coded)
}

/// Whether references are as expected, and what they are if not.
struct Verdicts<'a> {
    predictor: Predictor<'a>,
    map: &'a Map,
    /// The references of the new file, which a writer knows.
    references: Option<References<'a>>,
    /// By trust, kind and the last verdicts.
    right: Vec<Bit>,
    corrected: Vec<Bit>,
    known: Vec<Bit>,
    ranks: Vec<Signed>,
    /// By trust.
    distances: [Signed; 3],
    history: usize,
}

const KINDS: usize = 10;

impl<'a> Verdicts<'a> {
    fn new(predictor: Predictor<'a>, map: &'a Map, references: Option<References<'a>>) -> Self {
        let right = vec![Bit::default(); 3 * KINDS * 16];
        let corrected = vec![Bit::default(); 3 * KINDS];
        let (known, ranks) = (corrected.clone(), vec![Signed::default(); 3 * KINDS]);
        Self { predictor, map, references, right, corrected, known, ranks, distances: Default::default(), history: 0 }
    }

    /// Puts into `slot`, which has the old bytes, what is expected in the new file, where `actual` stands in the end.
    fn code(
        &mut self,
        coder: &mut impl Coder,
        run: &Equivalence,
        reference: &Reference,
        slot: &mut [u8],
        actual: u64,
    ) -> Result<(), Malformed> {
        let place = reference.at - run.old + run.new;
        let Some(here) = self.map.address(place) else { return Ok(()) };
        let word = read(slot);
        let expectation = self.predictor.expect(reference, run, here, word);
        let len = slot.len();
        let mut put = |word: u64| slot.copy_from_slice(&word.to_le_bytes()[..len]);
        put(expectation.word);
        let situation = expectation.trust as usize * KINDS + reference.kind.number();
        let right = &mut self.right[situation * 16 + self.history];
        let right = right.code(coder, actual == expectation.word);
        self.history = self.history << 1 & 15 | usize::from(!right);
        if right {
            return Ok(());
        }
        let body = |target: u32| reference.kind.body(word, here, expectation.base, target);
        let target = self.target_of(place, reference.kind).filter(|target| body(*target) == actual);
        if !self.corrected[situation].code(coder, target.is_some()) {
            return Ok(());
        }
        let target = self.target(coder, &expectation, situation, target.unwrap_or(0))?;
        put(body(target));
        self.predictor.correct(reference.target, target);
        Ok(())
    }

    /// A target that is not the expected one: how many known ones lie between the two, or how many bytes.
    fn target(
        &mut self,
        coder: &mut impl Coder,
        expectation: &Expectation,
        situation: usize,
        target: u32,
    ) -> Result<u32, Malformed> {
        let rank = self.predictor.rank(target);
        let expected = self.predictor.rank(expectation.target).unwrap_or_else(|behind| behind) as i64;
        let target = if self.known[situation].code(coder, rank.is_ok()) {
            let distance = rank.map_or(0, |rank| rank as i64 - expected);
            self.predictor.ranked(expected + self.ranks[situation].code(coder, distance))
        } else {
            let distance = i64::from(target) - i64::from(expectation.target);
            let distance = self.distances[expectation.trust as usize].code(coder, distance);
            u32::try_from(i64::from(expectation.target) + distance).ok()
        };
        target.ok_or(Malformed::OutOfRange)
    }

    /// What a reference of the new file names, for those who know.
    fn target_of(&self, place: u32, kind: Kind) -> Option<u32> {
        let reference = self.references?.at(place)?;
        Some(reference.target).filter(|_| reference.kind == kind)
    }
}

fn matched(old: &Known, new: &Known) -> Vec<Equivalence> {
    let mut names = (Names::default(), Names::default());
    let tables = Tables::of(&old.normal.sections, old.references());
    let mut runs = Vec::new();
    let (mut ours, mut theirs) = (vec![0; old.normal.bytes.len()], vec![0; new.normal.bytes.len()]);
    for turn in 0..TURNS {
        names.0.put(old.references(), &mut ours);
        tables.expect_all(
            &old.normal.bytes,
            &mut ours,
            &mut Moves::new(&predict::Runs::new(&runs), &old.map, &new.map),
        );
        names.1.put(new.references(), &mut theirs);
        runs = equivalences_bytes(&ours, &theirs, &Prices::of_bytes(&theirs));
        if turn + 1 < TURNS {
            names = labels::voted(old.references(), new.references(), &runs);
        }
    }
    runs
}

fn put_signed(to: &mut Vec<u8>, number: i64) {
    put_number(to, (number << 1 ^ number >> 63) as u64);
}

fn next_signed(from: &mut Numbers<'_>) -> Result<i64, Malformed> {
    let number = from.next()?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

fn next_u32(from: &mut Numbers<'_>) -> Result<u32, Malformed> {
    u32::try_from(from.next()?).map_err(|_| Malformed::OutOfRange)
}

/// The places of the new file with addends that the runs bring from the old one, ascending.
fn brought(recipe: &Recipe, runs: &[Equivalence]) -> Vec<u32> {
    let Some(relative) = &recipe.relative else { return Vec::new() };
    let mut brought = Vec::new();
    for run in runs {
        let start = relative.places.partition_point(|place| *place < run.old);
        let inside = relative.places[start..].iter().take_while(|place| **place + 8 <= run.old + run.len);
        brought.extend(inside.map(|place| place - run.old + run.new));
    }
    brought
}

/// What is in exactly one of two ascending lists.
fn toggled(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut both: Vec<u32> = a.iter().chain(b).copied().collect();
    both.sort_unstable();
    let mut single = Vec::new();
    for place in both {
        if single.last() == Some(&place) {
            single.pop();
        } else {
            single.push(place);
        }
    }
    single
}

/// Where the pieces of the new file are.
struct Layout {
    /// The length of the normal bytes.
    len: u32,
    /// The new sections, and the number of the old one with the same name.
    sections: Vec<(Section, Option<usize>)>,
    recipe: Recipe,
    /// The old and the new of [`bases`].
    bases: Vec<(u32, u32)>,
    /// How many runs there are, and how many places to be said.
    runs: u32,
    places: u32,
}

impl Layout {
    fn of(old: &Known, new: &Known, runs: usize, places: usize) -> Self {
        let namesake = |section: &Section| {
            old.normal.sections.iter().position(|old| old.name == section.name && !section.name.is_empty())
        };
        let sections = new.normal.sections.iter().map(|section| (section.clone(), namesake(section))).collect();
        let bases = old.bases.iter().copied().zip(new.bases.iter().copied()).collect();
        Self {
            len: new.normal.bytes.len() as u32,
            sections,
            recipe: new.normal.recipe.clone(),
            bases,
            runs: runs as u32,
            places: places as u32,
        }
    }

    /// What the layout says of addresses.
    fn said(&self, old: &[Section]) -> BTreeMap<u32, u32> {
        let pairs = self.sections.iter().filter_map(|(new, old)| Some((new.address, (*old)?)));
        pairs.map(|(new, number)| (old[number].address, new)).collect()
    }

    fn write(&self, old: &[Section], to: &mut Vec<u8>) {
        put_number(to, self.len.into());
        put_number(to, self.sections.len() as u64);
        for (section, namesake) in &self.sections {
            put_number(to, namesake.map_or(0, |number| number as u64 + 1));
            let like = namesake.map(|number| &old[number]);
            let difference = |new: u32, old: Option<u32>| i64::from(new) - i64::from(old.unwrap_or(0));
            put_signed(to, difference(section.address, like.map(|old| old.address)));
            put_signed(to, difference(section.len, like.map(|old| old.len)));
            put_number(to, section.at.is_some().into());
            if let Some(at) = section.at {
                put_signed(to, difference(at, like.and_then(|old| old.at)));
            }
        }
        write_recipe(&self.recipe, to);
        put_number(to, self.bases.len() as u64);
        self.bases.iter().for_each(|&(old, new)| put_signed(to, i64::from(new) - i64::from(old)));
        put_number(to, self.runs.into());
        put_number(to, self.places.into());
    }

    fn read(from: &mut Numbers<'_>, old: &Known) -> Result<Self, Malformed> {
        const MOST_SECTIONS: u32 = 4096;
        let len = next_u32(from)?;
        let count = next_u32(from)?;
        if len as usize > LONGEST || count > MOST_SECTIONS {
            return Err(Malformed::OutOfRange);
        }
        let sections = (0..count).map(|_| read_section(from, &old.normal.sections)).collect::<Result<_, _>>()?;
        let recipe = read_recipe(from)?;
        let count = next_u32(from)? as usize;
        let bases = old.bases.get(..count).ok_or(Malformed::OutOfRange)?.iter().map(|&base| {
            let new = i64::from(base).checked_add(next_signed(from)?).and_then(|new| u32::try_from(new).ok());
            Ok((base, new.ok_or(Malformed::OutOfRange)?))
        });
        let bases = bases.collect::<Result<_, Malformed>>()?;
        let (runs, places) = (next_u32(from)?, next_u32(from)?);
        if runs > len / BYTES_PER_RUN + 64 || places > len / 8 {
            return Err(Malformed::OutOfRange);
        }
        Ok(Self { len, sections, recipe, bases, runs, places })
    }

    fn anatomy(&self, old: &Normal) -> Anatomy {
        let zones = self.sections.iter().filter_map(|(section, namesake)| zone(old, section, (*namesake)?));
        Anatomy::new(zones.filter(|zone| zone.end <= self.len).collect())
    }

    fn map(&self) -> Map {
        Map::new(self.sections.iter().map(|(section, _)| (section.address, section.len, section.at)))
    }
}

fn read_section(from: &mut Numbers<'_>, old: &[Section]) -> Result<(Section, Option<usize>), Malformed> {
    let namesake = (next_u32(from)? as usize).checked_sub(1);
    let like = match namesake {
        Some(number) => Some(old.get(number).ok_or(Malformed::OutOfRange)?),
        None => None,
    };
    let mut near = |old: Option<u32>| {
        let number = i64::from(old.unwrap_or(0)).checked_add(next_signed(from)?);
        number.and_then(|number| u32::try_from(number).ok()).ok_or(Malformed::OutOfRange)
    };
    let (address, len) = (near(like.map(|old| old.address))?, near(like.map(|old| old.len))?);
    address.checked_add(len).ok_or(Malformed::OutOfRange)?;
    let at = match from.next()? {
        0 => None,
        1 => {
            let number = i64::from(like.and_then(|old| old.at).unwrap_or(0)).checked_add(next_signed(from)?);
            Some(number.and_then(|number| u32::try_from(number).ok()).ok_or(Malformed::OutOfRange)?)
        }
        _ => return Err(Malformed::Number),
    };
    Ok((Section { name: Vec::new(), address, len, at, executable: false }, namesake))
}

fn write_recipe(recipe: &Recipe, to: &mut Vec<u8>) {
    match &recipe.relative {
        None => put_number(to, 0),
        Some(relative) => {
            put_number(to, 1 + u64::from(relative.doubled));
            put_number(to, relative.at.into());
        }
    }
    put_number(to, recipe.index.is_some().into());
    if let Some(Index { at, address, frames }) = recipe.index {
        [at, address, frames.0, frames.1, frames.2].into_iter().for_each(|number| put_number(to, number.into()));
    }
}

/// The recipe, as yet without places.
fn read_recipe(from: &mut Numbers<'_>) -> Result<Recipe, Malformed> {
    let relative = match from.next()? {
        0 => None,
        kind @ (1 | 2) => Some(Relative { at: next_u32(from)?, places: Vec::new(), doubled: kind == 2 }),
        _ => return Err(Malformed::Number),
    };
    let index = match from.next()? {
        0 => None,
        1 => {
            let mut next = || next_u32(from);
            Some(Index { at: next()?, address: next()?, frames: (next()?, next()?, next()?) })
        }
        _ => return Err(Malformed::Number),
    };
    Ok(Recipe { relative, index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Machine;
    use crate::sample::Sample;

    /// An executable, and it with a function moved, one added and one gone.
    fn pair(machine: Machine) -> (Vec<u8>, Vec<u8>) {
        let mut sample = Sample::of(machine, 300);
        let old = sample.file();
        let moved = sample.functions.remove(20);
        sample.functions.insert(200, moved);
        sample.functions.insert(5, 1000);
        sample.functions.remove(100);
        (old, sample.file())
    }

    #[test]
    fn c12_a_layout_says_nothing_that_has_no_meaning_yet() {
        for recipe in [&[3, 0, 0][..], &[0, 2, 0, 0, 0, 0, 0]] {
            assert_eq!(read_recipe(&mut Numbers(recipe)).err(), Some(Malformed::Number));
        }
        assert_eq!(read_section(&mut Numbers(&[0, 2, 2, 2, 0]), &[]).err(), Some(Malformed::Number));
        assert!(read_section(&mut Numbers(&[0, 2, 2, 1, 0]), &[]).is_ok());
    }

    fn read(old: &[u8], body: &[u8], len: usize) -> Result<Vec<u8>, ApplyError> {
        let mut new = vec![0; len];
        Patch::open(&Heap, body, old.to_vec().into())?.read(&UNBOUNDED, &mut new)?;
        Ok(new)
    }

    #[test]
    fn what_moved_is_said_once() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let (old, new) = pair(machine);
            let body = write(&old, &new).expect("executables");
            assert_eq!(read(&old, &body, new.len()).as_ref(), Ok(&new));
            assert!(body.len() < 1000, "{machine:?}: {} bytes, and about 1200 places changed", body.len());
        }
    }

    #[test]
    fn other_files_are_none() {
        let (old, new) = pair(Machine::X86_64);
        assert!(write(&old, &pair(Machine::Aarch64).0).is_none());
        assert!(write(b"text", &new).is_none());
        assert!(write(&old, b"text").is_none());
        let open = Patch::open(&Heap, b"", b"text".to_vec().into());
        assert_eq!(open.err(), Some(Malformed::NoExecutable.into()));
    }

    #[test]
    fn f21_any_executable_comes_back() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            let (old, new) = (Sample::of(machine, 12).file(), Sample::of(machine, 13).file());
            for at in (0..new.len()).step_by(7) {
                let mut other = new.clone();
                other[at] ^= 0x55;
                // What is returned was compared; here it has to come to an end for any header, on both sides.
                drop(write(&old, &other));
                drop(write(&other, &new));
                drop(write(&old, &new[..at]));
            }
        }
    }

    #[test]
    fn c12_any_patch_comes_to_an_end() {
        let (old, new) = (Sample::of(Machine::X86_64, 12).file(), Sample::of(Machine::X86_64, 14).file());
        let body = write(&old, &new).expect("executables");
        for at in 0..body.len() {
            for change in [0x01, 0x7f, 0x80, 0xff] {
                let mut other = body.clone();
                other[at] ^= change;
                drop(read(&old, &other, new.len()));
            }
            assert_ne!(read(&old, &body[..at], new.len()).as_ref(), Ok(&new), "cut at {at}");
        }
        assert!(read(&old, &body, new.len() - 1).is_err());
        assert!(read(&old, &[&body[..], &[0]].concat(), new.len()).is_err());
        assert!(read(&new, &body, new.len()).as_ref() != Ok(&new));
    }

    #[test]
    fn c12_more_runs_or_places_than_bytes_are_refused() {
        let old = Known::of_copy(&Sample::of(Machine::X86_64, 12).file()).expect("an executable");
        let layout = |runs, places| {
            let mut layout = Layout::of(&old, &old, 0, 0);
            (layout.runs, layout.places) = (runs, places);
            let mut written = Vec::new();
            layout.write(&old.normal.sections, &mut written);
            Layout::read(&mut Numbers(&written), &old)
                .map(|layout| needs(&old, &layout))
                .map(|needs| needs.lists + needs.lent + needs.named)
        };
        let len = old.normal.bytes.len() as u32;
        assert!(layout(len / BYTES_PER_RUN, len / 8).is_ok_and(|memory| memory < 50 * u64::from(len) + (1 << 20)));
        assert_eq!(layout(len, 0), Err(Malformed::OutOfRange));
        assert_eq!(layout(0, len), Err(Malformed::OutOfRange));
    }

    /// Writes the golden set and the seeds of the fuzz target, when the format has a new version or the seeds are to be others.
    #[test]
    #[ignore = "writes files of the repository"]
    #[allow(clippy::disallowed_methods, reason = "it writes files of the repository")]
    fn write_golden_files() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for (name, machine) in [("x86-64", Machine::X86_64), ("aarch64", Machine::Aarch64)] {
            let mut sample = Sample::of(machine, 60);
            let old = sample.file();
            sample.functions.swap(10, 40);
            sample.functions.insert(5, 1000);
            let new = sample.file();
            let patch = crate::diff(&old, &new, crate::Effort::Best);
            let directory = root.join("tests/golden").join(format!("executable-{name}"));
            std::fs::create_dir_all(&directory).expect("a directory");
            for (part, bytes) in [("old", &old), ("new", &new), ("patch", &patch)] {
                std::fs::write(directory.join(part), bytes).expect("a file");
            }
            let seeds = root.join("../../fuzz/corpus/executable");
            let (old, new) = (Sample::of(machine, 3).file(), Sample::of(machine, 4).file());
            std::fs::create_dir_all(&seeds).expect("a directory");
            let seed = [&(old.len() as u16).to_le_bytes()[..], &old, &new].concat();
            std::fs::write(seeds.join(format!("seed-{name}")), seed).expect("a file");
        }
    }
}
