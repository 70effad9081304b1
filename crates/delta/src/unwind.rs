//! The entries of `.eh_frame`: which functions there are and where what is said of each stands.
//!
//! Understood is the form that compilers write for x86-64 and aarch64 (Linux Standard Base, "Exception Frames"): distances of
//! four bytes from where they stand. What is written otherwise has no entry here.
//!
//! Invariant: every place in an [`Entry`] is four bytes within the section.

use crate::elf::{u32_at, u64_at};
use std::collections::BTreeMap;

/// Four bytes that say where something is; places are counted from the section's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The distance back to the common entry `common`.
    Common { at: u32, common: u32 },
    /// The distance to the function that the entry beginning at `entry` describes.
    Function { at: u32, entry: u32 },
    /// The distance to a table of exceptions, or to the routine that reads it.
    Other { at: u32 },
}

/// A four-byte signed distance from where it stands; with the high bit, to where a pointer is.
const RELATIVE: u8 = 0x1b;

/// Everything in the section that is understood, entry by entry, until its end or the first that is cut.
pub(crate) fn entries(section: &[u8]) -> Vec<Entry> {
    let mut commons = BTreeMap::new();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some((len, id)) = u32_at(section, at).zip(u32_at(section, at + 4)) {
        let Some(entry) = section.get(at..).and_then(|rest| rest.get(..(len as usize).checked_add(4)?)) else { break };
        if len < 4 {
            break;
        }
        if id == 0 {
            let common = Common::read(entry).unwrap_or_default();
            found.extend(common.routine_at.map(|within| Entry::Other { at: (at + within) as u32 }));
            commons.insert(at, common);
        } else if let Some((start, common)) =
            (at + 4).checked_sub(id as usize).and_then(|start| Some((start, commons.get(&start)?)))
        {
            describe(entry, at, start, common, &mut found);
        }
        at += entry.len();
    }
    found
}

fn describe(entry: &[u8], at: usize, start: usize, common: &Common, found: &mut Vec<Entry>) {
    found.push(Entry::Common { at: (at + 4) as u32, common: start as u32 });
    if common.function != Some(RELATIVE) || entry.len() < 16 {
        return;
    }
    found.push(Entry::Function { at: (at + 8) as u32, entry: at as u32 });
    let table = entry.get(17..21).is_some_and(|table| entry[16] == 4 && table != [0; 4]);
    if common.table == Some(RELATIVE) && table {
        found.push(Entry::Other { at: (at + 17) as u32 });
    }
}

/// What a common entry says about the form of others.
#[derive(Debug, Default)]
struct Common {
    function: Option<u8>,
    table: Option<u8>,
    /// Where in it the distance to the routine for exceptions stands.
    routine_at: Option<usize>,
}

impl Common {
    fn read(entry: &[u8]) -> Option<Self> {
        let text: Vec<u8> = entry.get(9..)?.iter().copied().take_while(|letter| *letter != 0).take(8).collect();
        let mut at = 9 + text.len() + 1;
        // The units of code and data, and the register of the return address.
        (0..3).try_for_each(|_| skip_number(entry, &mut at))?;
        let mut letters = text.iter();
        if letters.next()? != &b'z' {
            return None;
        }
        skip_number(entry, &mut at)?;
        let mut common = Self::default();
        for letter in letters {
            match letter {
                b'R' => common.function = Some(take(entry, &mut at)?),
                b'L' => common.table = Some(take(entry, &mut at)?),
                b'P' => common.routine(entry, &mut at)?,
                b'S' | b'B' | b'G' => {}
                _ => return Some(common),
            }
        }
        Some(common)
    }

    fn routine(&mut self, entry: &[u8], at: &mut usize) -> Option<()> {
        let encoding = take(entry, at)?;
        if encoding & 0x7f == RELATIVE {
            u32_at(entry, *at)?;
            self.routine_at = Some(*at);
        }
        *at += match encoding & 0x0f {
            0x02 | 0x0a => 2,
            0x03 | 0x0b => 4,
            0x00 | 0x04 | 0x0c => 8,
            _ => return None,
        };
        Some(())
    }
}

fn take(bytes: &[u8], at: &mut usize) -> Option<u8> {
    let byte = *bytes.get(*at)?;
    *at += 1;
    Some(byte)
}

fn skip_number(bytes: &[u8], at: &mut usize) -> Option<()> {
    while take(bytes, at)? & 0x80 != 0 {}
    Some(())
}

/// The table of `.eh_frame_hdr`: function and entry of each, as distances from `index`, ascending by function.
pub(crate) fn search_table(section: &[u8], address: u32, index: u32) -> Vec<u8> {
    let mut rows: Vec<(i32, i32)> = entries(section)
        .into_iter()
        .filter_map(|entry| {
            let Entry::Function { at, entry } = entry else { return None };
            let function = address.wrapping_add(at).wrapping_add(u32_at(section, at as usize)?);
            let entry = address.wrapping_add(entry);
            Some((function.wrapping_sub(index) as i32, entry.wrapping_sub(index) as i32))
        })
        .collect();
    rows.sort_unstable();
    rows.iter().flat_map(|row| [row.0.to_le_bytes(), row.1.to_le_bytes()]).flatten().collect()
}

/// A pointer of eight bytes to somewhere below 4 GiB.
pub(crate) fn pointer(bytes: &[u8], at: usize) -> Option<u32> {
    u64_at(bytes, at).and_then(|value| u32::try_from(value).ok())
}
