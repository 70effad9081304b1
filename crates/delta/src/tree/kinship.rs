//! Which old file a new one was most likely made of: by its name, by its name without versions, by what is in it.

use super::Files;
use super::portrait::{Portrait, SKETCH};
use std::collections::{BTreeMap, BTreeSet};

/// How many old files with one name are looked at; a name that more have says little.
const NAMESAKES: usize = 4;
/// What having the same name weighs, beside numbers of a sketch in common.
const SAME_NAME: usize = SKETCH / 4;
/// The same name but for versions.
const SAME_STEM: usize = SKETCH / 8;
/// So many numbers in common make kin of files whose names have nothing in common.
const KIN: usize = SKETCH / 16;
/// So many old bytes may stand for each new one: so a part that is full makes much.
const OLD_PER_NEW: u64 = 8;

/// The old files, to be found again.
pub(super) struct Kinship<'a> {
    files: &'a dyn Files,
    portraits: &'a [Portrait],
    names: BTreeMap<&'a [u8], u32>,
    stems: BTreeMap<Vec<u8>, Vec<u32>>,
    shingles: BTreeMap<u64, Vec<u32>>,
}

impl<'a> Kinship<'a> {
    pub(super) fn of(files: &'a dyn Files, portraits: &'a [Portrait]) -> Self {
        let mut all =
            Self { files, portraits, names: BTreeMap::new(), stems: BTreeMap::new(), shingles: BTreeMap::new() };
        for file in 0..files.count() {
            for number in &portraits[file as usize].sketch {
                all.shingles.entry(*number).or_default().push(file);
            }
            let Some(name) = files.name(file) else { continue };
            all.names.insert(name, file);
            for stem in stems(name) {
                all.stems.entry(stem).or_default().push(file);
            }
        }
        all
    }

    /// The best base of a new file, if there is one that is not many times as long.
    pub(super) fn base(&self, name: Option<&[u8]>, len: u64, portrait: &Portrait) -> Option<u32> {
        let same = name.and_then(|name| self.names.get(name)).copied();
        let mut weights: BTreeMap<u32, usize> = same.map(|file| (file, SAME_NAME)).into_iter().collect();
        for file in self.namesakes(name) {
            weights.entry(file).or_insert(SAME_STEM);
        }
        for file in self.like(portrait) {
            weights.entry(file).or_insert(0);
        }
        let weighed = weights.into_iter().filter(|(file, _)| self.files.len(*file) <= len.saturating_mul(OLD_PER_NEW));
        let weighed = weighed.map(|(file, weight)| (weight + self.portraits[file as usize].likeness(portrait), file));
        let farther = |file: u32| std::cmp::Reverse((self.files.len(file).abs_diff(len), file));
        let best = weighed.max_by_key(|(weight, file)| (*weight, farther(*file)))?;
        (best.0 >= KIN && self.files.len(best.1) > 0).then_some(best.1)
    }

    /// Old files with this name but for versions, in the same directory or in any.
    fn namesakes(&self, name: Option<&[u8]>) -> BTreeSet<u32> {
        let found = name.into_iter().flat_map(stems).filter_map(|stem| self.stems.get(&stem));
        found.filter(|files| files.len() <= NAMESAKES).flatten().copied().collect()
    }

    /// The old files that have most in common with it.
    fn like(&self, portrait: &Portrait) -> Vec<u32> {
        let mut common: BTreeMap<u32, usize> = BTreeMap::new();
        for files in portrait.sketch.iter().filter_map(|number| self.shingles.get(number)) {
            // What very many files have says nothing of any.
            files.iter().take(SKETCH).for_each(|file| *common.entry(*file).or_default() += 1);
        }
        let mut common: Vec<_> = common.into_iter().map(|(file, count)| (std::cmp::Reverse(count), file)).collect();
        common.sort_unstable();
        common.into_iter().take(NAMESAKES).map(|(_, file)| file).collect()
    }
}

/// A path with every word that has a digit made the same, and the last part of that.
fn stems(name: &[u8]) -> [Vec<u8>; 2] {
    let mut stem = Vec::with_capacity(name.len());
    for word in name.chunk_by(|one, next| one.is_ascii_alphanumeric() == next.is_ascii_alphanumeric()) {
        match word.iter().any(u8::is_ascii_digit) {
            true => stem.push(b'#'),
            false => stem.extend_from_slice(word),
        }
    }
    let last = stem.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    [stem, last]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_digests_in_names_are_passed_over() {
        let [stem, last] = stems(b"numpy-2.4.5.libs/libgfortran-040039e1.so.5.0.0");
        assert_eq!(stem, b"numpy-#.#.#.libs/libgfortran-#.so.#.#.#");
        assert_eq!(last, b"libgfortran-#.so.#.#.#");
        assert_eq!(stems(b"numpy-2.4.6.libs/libgfortran-1b2c.so.5.0.1")[0], stem);
    }
}
