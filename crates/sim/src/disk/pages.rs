//! The bytes of one pretend file: as programs see them, and as the platter holds them.
//!
//! Both are sparse maps of shared 4 KiB pages, so copies and holes cost nothing. Between two syncs the pages that differ
//! are remembered; a crash decides about each of their 512-byte sectors on its own.

use crate::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Bytes in a page.
pub(crate) const PAGE: u64 = 4096;
/// Bytes that reach the platter as a whole.
const SECTOR: usize = 512;

type Page = [u8; PAGE as usize];

/// A sparse byte string.
#[derive(Debug, Clone, Default)]
struct Sparse {
    pages: BTreeMap<u64, Arc<Page>>,
    len: u64,
}

impl Sparse {
    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let end = self.len.min(offset.saturating_add(buffer.len() as u64));
        let mut at = offset;
        while at < end {
            let (page, within) = (at / PAGE, (at % PAGE) as usize);
            let step = (PAGE as usize - within).min((end - at) as usize);
            let to = &mut buffer[(at - offset) as usize..][..step];
            match self.pages.get(&page) {
                Some(bytes) => to.copy_from_slice(&bytes[within..within + step]),
                None => to.fill(0),
            }
            at += step as u64;
        }
        end.saturating_sub(offset) as usize
    }

    fn page_mut(&mut self, page: u64) -> &mut Page {
        Arc::make_mut(self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE as usize])))
    }

    fn page(&self, page: u64) -> Page {
        self.pages.get(&page).map_or([0; PAGE as usize], |bytes| **bytes)
    }

    /// Takes over one page of another, hole or not.
    fn take_page(&mut self, page: u64, from: &Self) {
        match from.pages.get(&page) {
            Some(bytes) => self.pages.insert(page, bytes.clone()),
            None => self.pages.remove(&page),
        };
    }
}

/// What a crash did to the unsynced bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tear {
    /// There were none, or they all survived, or none did.
    Whole,
    /// Some survived and some did not.
    Torn,
}

/// One change of a file's length. A write that makes a file longer may do so in part, a cut or an extension may not.
#[derive(Debug, Clone, Copy)]
struct Grown {
    from: u64,
    to: u64,
    by_write: bool,
}

/// Changes of length that are told apart; what came before the last of them is one.
const MAX_LENS: usize = 32;

/// A file's bytes, seen and kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileBytes {
    seen: Sparse,
    kept: Sparse,
    dirty: BTreeSet<u64>,
    /// How the length changed since it was kept, in order.
    lens: Vec<Grown>,
    /// A sync failed: what is seen may never reach the platter, though nothing is dirty.
    doubtful: bool,
}

impl FileBytes {
    pub(crate) fn len(&self) -> u64 {
        self.seen.len
    }

    /// How many pages hold data, as programs see it.
    pub(crate) fn pages(&self) -> u64 {
        self.seen.pages.len() as u64
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.seen.len != self.kept.len || self.doubtful
    }

    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        self.seen.read(buffer, offset)
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.seen.len as usize];
        self.seen.read(&mut bytes, 0);
        bytes
    }

    /// How many new pages a write would take.
    pub(crate) fn new_pages(&self, offset: u64, len: u64) -> u64 {
        pages_of(offset, len).filter(|page| !self.seen.pages.contains_key(page)).count() as u64
    }

    pub(crate) fn write(&mut self, bytes: &[u8], offset: u64) {
        let mut at = offset;
        let end = offset + bytes.len() as u64;
        while at < end {
            let (page, within) = (at / PAGE, (at % PAGE) as usize);
            let step = (PAGE as usize - within).min((end - at) as usize);
            self.seen.page_mut(page)[within..within + step].copy_from_slice(&bytes[(at - offset) as usize..][..step]);
            self.dirty.insert(page);
            at += step as u64;
        }
        if end > self.seen.len {
            self.grow(end, true);
        }
    }

    fn grow(&mut self, to: u64, by_write: bool) {
        self.lens.truncate(MAX_LENS - 1);
        self.lens.push(Grown { from: self.seen.len, to, by_write });
        self.seen.len = to;
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.seen.len {
            let gone: Vec<u64> = self.seen.pages.range(len.div_ceil(PAGE)..).map(|(page, _)| *page).collect();
            for page in gone {
                self.seen.pages.remove(&page);
                self.dirty.insert(page);
            }
            if !len.is_multiple_of(PAGE) && self.seen.pages.contains_key(&(len / PAGE)) {
                self.seen.page_mut(len / PAGE)[(len % PAGE) as usize..].fill(0);
                self.dirty.insert(len / PAGE);
            }
        }
        if len != self.seen.len {
            self.grow(len, false);
        }
    }

    /// Shares whole pages of another file; the caller has checked the alignment.
    pub(crate) fn share(&mut self, from: &Self, from_offset: u64, to_offset: u64, len: u64) {
        for nth in 0..len.div_ceil(PAGE) {
            let (source, page) = (from_offset / PAGE + nth, to_offset / PAGE + nth);
            match from.seen.pages.get(&source) {
                Some(bytes) => self.seen.pages.insert(page, bytes.clone()),
                None => self.seen.pages.remove(&page),
            };
            self.dirty.insert(page);
        }
        if to_offset + len > self.seen.len {
            self.grow(to_offset + len, true);
        }
    }

    /// The next run of pages that hold data.
    pub(crate) fn next_data(&self, offset: u64) -> Option<Range<u64>> {
        let (&first, _) = self.seen.pages.range(offset / PAGE..).next()?;
        let last = self.seen.pages.range(first..).zip(first..).take_while(|((page, _), at)| **page == *at).last()?.1;
        let range = (first * PAGE).max(offset)..((last + 1) * PAGE).min(self.seen.len);
        (range.start < range.end).then_some(range)
    }

    /// Everything seen is kept.
    pub(crate) fn sync(&mut self) {
        for page in std::mem::take(&mut self.dirty) {
            self.kept.take_page(page, &self.seen);
        }
        self.keep_len(self.seen.len);
    }

    fn keep_len(&mut self, len: u64) {
        self.kept.len = len;
        self.lens.clear();
    }

    /// The length after a crash: as kept, or as after one of the changes since, or within one that a write made.
    fn crashed_len(&self, dice: &mut Dice) -> u64 {
        let nth = dice.below(self.lens.len() as u64 + 1) as usize;
        match nth.checked_sub(1).map(|nth| self.lens[nth]) {
            None => self.kept.len,
            Some(Grown { from, to, by_write: true }) if dice.chance(1, 2) => dice.within(from..to + 1),
            Some(Grown { to, .. }) => to,
        }
    }

    /// What the kernel may do at any time: some sectors of one dirty page reach the platter early.
    pub(crate) fn write_back(&mut self, page: u64, dice: &mut Dice) {
        if self.dirty.contains(&page) {
            self.keep_sectors(page, dice, 1);
        }
    }

    /// A sync that failed: some sectors were kept, and all pages are believed to be clean (as Linux does).
    pub(crate) fn fail_sync(&mut self, dice: &mut Dice) {
        self.doubtful = true;
        for page in std::mem::take(&mut self.dirty) {
            self.keep_sectors(page, dice, 1);
        }
        if dice.chance(1, 2) {
            self.keep_len(self.seen.len);
        }
    }

    /// The power went: of each unsynced sector the old or the new bytes are there. `keep` is how many of two survive
    /// on average (0: none, 2: all).
    pub(crate) fn crash(&mut self, dice: &mut Dice, keep: u64) -> Tear {
        let (mut kept, mut lost) = (0, 0);
        for page in std::mem::take(&mut self.dirty) {
            let (k, l) = self.keep_sectors(page, dice, keep);
            (kept, lost) = (kept + k, lost + l);
        }
        let len = self.crashed_len(dice);
        self.keep_len(len);
        let beyond: Vec<u64> = self.kept.pages.range(self.kept.len.div_ceil(PAGE)..).map(|(page, _)| *page).collect();
        for page in beyond {
            self.kept.pages.remove(&page);
        }
        if !self.kept.len.is_multiple_of(PAGE) && self.kept.pages.contains_key(&(self.kept.len / PAGE)) {
            let len = self.kept.len;
            self.kept.page_mut(len / PAGE)[(len % PAGE) as usize..].fill(0);
        }
        self.seen = self.kept.clone();
        self.doubtful = false;
        if kept > 0 && lost > 0 { Tear::Torn } else { Tear::Whole }
    }

    /// Flips one bit at rest; false when there is no byte to flip.
    pub(crate) fn rot(&mut self, dice: &mut Dice) -> bool {
        if self.seen.len == 0 || self.is_dirty() {
            return false;
        }
        let at = dice.below(self.seen.len);
        let bit = 1 << dice.below(8);
        self.seen.page_mut(at / PAGE)[(at % PAGE) as usize] ^= bit;
        self.kept.take_page(at / PAGE, &self.seen);
        true
    }

    /// Decides about each sector of a page; how many differing ones were kept and lost.
    fn keep_sectors(&mut self, page: u64, dice: &mut Dice, keep: u64) -> (u32, u32) {
        let (new, old) = (self.seen.page(page), self.kept.page(page));
        let (mut kept, mut lost) = (0, 0);
        for start in (0..PAGE as usize).step_by(SECTOR) {
            let sector = start..start + SECTOR;
            if new[sector.clone()] == old[sector.clone()] {
                continue;
            }
            if dice.below(2) < keep {
                self.kept.page_mut(page)[sector.clone()].copy_from_slice(&new[sector]);
                kept += 1;
            } else {
                lost += 1;
            }
        }
        (kept, lost)
    }
}

fn pages_of(offset: u64, len: u64) -> Range<u64> {
    if len == 0 { 0..0 } else { offset / PAGE..(offset + len).div_ceil(PAGE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_see_writes_and_holes() {
        let mut file = FileBytes::default();
        file.write(b"abc", 5000);
        let mut buffer = [1; 8];
        assert_eq!(file.read(&mut buffer, 4998), 5);
        assert_eq!(&buffer[..5], b"\0\0abc");
        assert_eq!(file.next_data(0), Some(4096..5003));
        file.set_len(5001);
        file.set_len(6000);
        assert_eq!(file.to_vec()[5000..5003], *b"a\0\0");
        assert_eq!(file.next_data(8192), None);
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_tears_the_rest_by_sectors() {
        let (mut torn, mut lost) = (0, 0);
        for seed in 0..64 {
            let mut file = FileBytes::default();
            file.write(&[1; 4096], 0);
            file.sync();
            file.write(&[2; 4096], 0);
            torn += u32::from(file.crash(&mut Dice::new(seed), 1) == Tear::Torn);
            let bytes = file.to_vec();
            assert_eq!(bytes.len(), 4096);
            for sector in bytes.chunks(SECTOR) {
                assert!(sector.iter().all(|byte| *byte == sector[0]) && matches!(sector[0], 1 | 2));
            }
            lost += u32::from(bytes.contains(&1));
        }
        assert!(torn > 32 && lost > 32);
    }

    #[test]
    fn a_length_is_torn_by_writes_and_never_by_cuts() {
        let lens = |by_write: bool| -> BTreeSet<u64> {
            let crash = |seed| {
                let mut file = FileBytes::default();
                file.write(&[1; 1000], 0);
                file.sync();
                if by_write {
                    file.write(&[1; 9000], 1000)
                } else {
                    file.set_len(10_000)
                }
                file.crash(&mut Dice::new(seed), 1);
                file.len()
            };
            (0..64).map(crash).collect()
        };
        assert_eq!(lens(false), BTreeSet::from([1000, 10_000]));
        assert!(lens(true).len() > 8);
    }

    #[test]
    fn a_failed_sync_is_believed_clean_and_lost_later() {
        let mut forgotten = 0;
        for seed in 0..32 {
            let mut file = FileBytes::default();
            file.write(&[3; 4096], 0);
            file.fail_sync(&mut Dice::new(seed));
            file.sync();
            assert_eq!(file.to_vec(), [3; 4096]);
            file.crash(&mut Dice::new(seed), 2);
            forgotten += u32::from(file.to_vec() != [3; 4096]);
        }
        assert!(forgotten > 16);
    }
}
