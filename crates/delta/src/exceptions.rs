//! Tables of exceptions (`.gcc_except_table`): which calls of a function land where when they throw.
//!
//! Their rows are distances from the function's beginning, so a function that grows somewhere has all rows changed that come after. What is
//! said of a row in the old file is expected in the new one where the runs moved the code that it means.
//!
//! Understood are tables whose rows are written in LEB128 and whose landing pads count from the function. A table that lies costs
//! bytes and nothing else. Invariant: finding the tables is linear in their section, and expecting what is in a run is linear in it.

use crate::elf::{Map, Section};
use crate::kind::Kind;
use crate::matching::Equivalence;
use crate::predict;
use crate::references::{Reference, References};

/// Rows of one table, without what is said before and after them.
#[derive(Debug, Clone, Copy)]
struct Rows {
    /// Where in the file the first one begins, and where the last one ends.
    at: u32,
    end: u32,
    /// The address of the function.
    function: u32,
}

/// All tables of a file, in pieces of about [`PIECE`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Tables(Vec<Rows>);

/// Whoever looks for a row in the middle of a long table does not begin at its beginning.
const PIECE: u32 = 256;

/// The distance in `.eh_frame` from where a function is said to where its table is.
const FUNCTION_TO_TABLE: u32 = 9;

impl Tables {
    /// The tables that the references name in a file.
    pub(crate) fn of(sections: &[Section], references: References<'_>) -> Self {
        let named = |name: &[u8]| sections.iter().find(|section| section.name == name);
        let range = |section: &Section| Some((section.at?, section.at?.checked_add(section.len)?));
        let (Some(frames), Some(tables)) = (named(b".eh_frame"), named(b".gcc_except_table")) else {
            return Self::default();
        };
        let (Some(frames), Some((start, end))) = (range(frames), range(tables)) else { return Self::default() };
        let bytes = references.bytes;
        let mut function: Option<Reference> = None;
        let mut found: Vec<(u32, u32)> = Vec::new();
        for reference in references.from(frames.0).take_while(|reference| reference.at < frames.1) {
            let named = function.replace(reference).filter(|function| {
                function.kind == Kind::Distance
                    && reference.kind == Kind::Distance
                    && reference.at - function.at == FUNCTION_TO_TABLE
            });
            let within = reference.target.checked_sub(tables.address).filter(|within| *within < tables.len);
            found.extend(named.zip(within).map(|(function, within)| (start + within, function.target)));
        }
        found.sort_unstable();
        found.dedup_by_key(|table| table.0);
        let mut rows = Vec::new();
        for (number, &(at, function)) in found.iter().enumerate() {
            let stop = found.get(number + 1).map_or(end, |next| next.0).min(bytes.len() as u32);
            if at < stop {
                cut(&bytes[..stop as usize], at, function, &mut rows);
            }
        }
        Self(rows)
    }

    /// Puts what is expected in the new file into all bytes of the old one.
    pub(crate) fn expect_all(&self, old: &[u8], expected: &mut [u8], moves: &mut Moves<'_>) {
        self.expect(old, &Equivalence { old: 0, new: 0, len: old.len() as u32 }, expected, moves);
    }

    /// Puts what is expected in the new file into `expected`, the bytes of `run`.
    pub(crate) fn expect(&self, old: &[u8], run: &Equivalence, expected: &mut [u8], moves: &mut Moves<'_>) {
        let first = self.0.partition_point(|rows| rows.end <= run.old);
        for rows in self.0[first..].iter().take_while(|rows| rows.at < run.old + run.len) {
            moves.begin(rows.function);
            let mut at = rows.at as usize;
            while let Some(row) = Row::read(&old[..rows.end as usize], at) {
                if row.end > run.old as usize {
                    row.expect(rows.function, moves, |place, word| {
                        put(word, place.start.checked_sub(run.old as usize), place.len(), expected);
                    });
                }
                at = row.end;
                if at >= (run.old + run.len) as usize {
                    break;
                }
            }
        }
    }
}

/// Finds the rows of the table at `at`, which ends with the bytes at the latest.
fn cut(bytes: &[u8], at: u32, function: u32, found: &mut Vec<Rows>) -> Option<()> {
    const OMITTED: u8 = 0xff;
    const LEB128: u8 = 1;
    let mut place = at as usize;
    if *bytes.get(place)? != OMITTED {
        return None;
    }
    place += 2;
    if bytes[place - 1..].first()? != &OMITTED {
        place = number(bytes, place)?.1;
    }
    if *bytes.get(place)? != LEB128 {
        return None;
    }
    let (len, mut place) = number(bytes, place + 1)?;
    let end = place.checked_add(len as usize)?.min(bytes.len());
    let mut start = place;
    while place < end {
        place = Row::read(&bytes[..end], place).map_or(end, |row| row.end);
        if place - start >= PIECE as usize || place == end {
            found.push(Rows { at: start as u32, end: place as u32, function });
            start = place;
        }
    }
    Some(())
}

/// A number in LEB128 of at most 31 bits, and where it ends.
fn number(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let mut value = 0;
    for (within, byte) in bytes.get(at..)?.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f).checked_shl(7 * within as u32)?;
        if byte & 0x80 == 0 {
            return (value <= i32::MAX as u32).then_some((value, at + within + 1));
        }
    }
    None
}

/// Writes a number over one that is as long, if that is how long it is, and all of it is there.
fn put(value: u32, at: Option<usize>, len: usize, bytes: &mut [u8]) {
    let needed = (32 - (value | 1).leading_zeros()).div_ceil(7) as usize;
    let Some(place) = at.and_then(|at| bytes.get_mut(at..at + len)).filter(|_| needed == len) else { return };
    for (within, byte) in place.iter_mut().enumerate() {
        let more = if within + 1 < len { 0x80 } else { 0 };
        *byte = (value >> (7 * within)) as u8 & 0x7f | more;
    }
}

/// Where calls are, how long, and where they land; each with its place in the file.
#[derive(Debug)]
struct Row {
    start: (u32, std::ops::Range<usize>),
    len: (u32, std::ops::Range<usize>),
    lands: (u32, std::ops::Range<usize>),
    /// Behind the row.
    end: usize,
}

impl Row {
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let field = |at: usize| number(bytes, at).map(|(value, end)| (value, at..end));
        let start = field(at)?;
        let len = field(start.1.end)?;
        let lands = field(len.1.end)?;
        let (_action, end) = number(bytes, lands.1.end)?;
        Some(Self { start, len, lands, end })
    }

    /// Says what each number is expected to be.
    fn expect(&self, function: u32, moves: &mut Moves<'_>, mut put: impl FnMut(&std::ops::Range<usize>, u32)) {
        let Some(new_function) = moves.function else { return };
        let address = function.wrapping_add(self.start.0);
        let start = moves.address(address);
        // Behind the last byte, because what follows may have been moved elsewhere.
        let end = moves.address(address.wrapping_add(self.len.0).wrapping_sub(1)).wrapping_add(1);
        put(&self.start.1, start.wrapping_sub(new_function));
        put(&self.len.1, end.wrapping_sub(start));
        if self.lands.0 != 0 {
            put(&self.lands.1, moves.pad(function.wrapping_add(self.lands.0)).wrapping_sub(new_function));
        }
    }
}

/// Where the runs move addresses to, asked for mostly in order.
pub(crate) struct Moves<'a> {
    runs: &'a predict::Runs,
    old: &'a Map,
    new: &'a Map,
    /// Where the function moves to whose rows are asked for.
    function: Option<u32>,
    /// The run that moved the last address in rows: the old address of its beginning, its length, and the new address.
    last: (u32, u32, u32),
    /// The same for landing pads.
    last_pad: (u32, u32, u32),
}

impl<'a> Moves<'a> {
    pub(crate) fn new(runs: &'a predict::Runs, old: &'a Map, new: &'a Map) -> Self {
        Self { runs, old, new, function: None, last: (0, 0, 0), last_pad: (0, 0, 0) }
    }

    fn begin(&mut self, function: u32) {
        let near = (function, 0, function);
        self.last = self.found(function, near).unwrap_or(near);
        self.function = self.found(function, near).map(|run| moved(run, function));
        self.last_pad = self.last;
    }

    fn address(&mut self, address: u32) -> u32 {
        self.last = self.next(address, self.last);
        moved(self.last, address)
    }

    fn pad(&mut self, address: u32) -> u32 {
        self.last_pad = self.next(address, self.last_pad);
        moved(self.last_pad, address)
    }

    fn next(&self, address: u32, last: (u32, u32, u32)) -> (u32, u32, u32) {
        if address.wrapping_sub(last.0) < last.1 {
            return last;
        }
        self.found(address, last).unwrap_or((last.0, 0, last.2))
    }

    /// The run that moves this address nearest to where the last one would.
    fn found(&self, address: u32, last: (u32, u32, u32)) -> Option<(u32, u32, u32)> {
        let place = self.old.place(address)?;
        let run = self.runs.nearest(place, |run| {
            let there = self.new.address(place - run.old + run.new);
            there.map_or(u32::MAX, |there| there.abs_diff(moved(last, address)))
        })?;
        let new = self.new.address(place - run.old + run.new)?;
        let within = place - run.old;
        Some((address.wrapping_sub(within), run.len, new.wrapping_sub(within)))
    }
}

fn moved(run: (u32, u32, u32), address: u32) -> u32 {
    address.wrapping_sub(run.0).wrapping_add(run.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of a call at 0x10 of five bytes that lands at 0x90, and of one at 0x20 that lands nowhere.
    const TABLE: [u8; 14] = [0xff, 0xff, 1, 9, 0x10, 5, 0x90, 1, 0, 0x20, 5, 0, 0, 0];

    fn rows() -> Vec<Rows> {
        let mut rows = Vec::new();
        cut(&TABLE, 0, 0x1000, &mut rows);
        rows
    }

    #[test]
    fn rows_are_expected_where_their_code_moves() {
        let tables = Tables(rows());
        // All code is 0x100 further on, and what is behind 0x1018 another 0x10.
        let map = Map::new([(0x1000, 0x1000, Some(0x1000))].into_iter());
        let run = |old, new, len| Equivalence { old, new, len };
        let runs = predict::Runs::new(&[run(0x1000, 0x1100, 0x18), run(0x1018, 0x1128, 0x100)]);
        let mut expected = TABLE;
        tables.expect_all(&TABLE, &mut expected, &mut Moves::new(&runs, &map, &map));
        assert_eq!(expected[4..13], [0x10, 5, 0xa0, 1, 0, 0x30, 5, 0, 0]);
    }

    #[test]
    fn a_number_of_another_length_stays_as_it_was() {
        let mut bytes = [0x90, 1];
        put(5, Some(0), 2, &mut bytes);
        put(0x91, Some(1), 2, &mut bytes);
        put(0x91, None, 2, &mut bytes);
        assert_eq!(bytes, [0x90, 1]);
        put(0x91, Some(0), 2, &mut bytes);
        assert_eq!((bytes, number(&bytes, 0)), ([0x91, 1], Some((0x91, 2))));
    }

    #[test]
    fn c12_tables_that_lie_have_no_more_rows_than_bytes() {
        assert_eq!(rows().iter().map(|rows| (rows.at, rows.end)).collect::<Vec<_>>(), [(4, 13)]);
        for at in 0..TABLE.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = TABLE;
                bytes[at] = value;
                for end in 1..=bytes.len() {
                    let mut rows = Vec::new();
                    cut(&bytes[..end], 0, 0x1000, &mut rows);
                    assert!(rows.iter().all(|rows| rows.at < rows.end && rows.end as usize <= end));
                }
            }
        }
    }
}
