//! The pairs, as `bench/delta/pairs.tsv` has them: the one list for whoever fetches and whoever measures.

use super::Files;
use crate::step;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

const LIST: &str = include_str!("../../../bench/delta/pairs.tsv");
/// What the list has in the place of a main file where a pair is two trees.
const TREE: &str = "TREE";

/// Whether a pair was looked at while the format was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Dev,
    HeldOut,
}

impl Set {
    /// As the list has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::HeldOut => "held-out",
        }
    }

    /// What the geometric mean over its executables must be, and is to be.
    pub(crate) fn bounds(self) -> Bounds {
        match self {
            Self::Dev => Bounds { must: 0.28, aim: 0.17 },
            Self::HeldOut => Bounds { must: 0.42, aim: 0.27 },
        }
    }
}

/// A ratio that is to be kept, and one that would be better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) must: f64,
    pub(crate) aim: f64,
}

/// Patches of others that were measured once, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Recorded {
    /// HDiffPatch with the settings that make its smallest.
    pub(crate) hdiffpatch: Option<u64>,
    /// HDiffPatch with the settings that it recommends.
    pub(crate) recommended: Option<u64>,
    /// Zucchini, which is no generic one.
    pub(crate) zucchini: Option<u64>,
}

/// Two versions of something.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) set: Set,
    pub(crate) name: String,
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) is_tree: bool,
    sums: [String; 2],
    /// Patch bytes by those of the best generic peer.
    pub(crate) bounds: Bounds,
    pub(crate) recorded: Recorded,
}

/// These pairs of a set; all of it without names.
pub(crate) fn named(set: Set, names: &[&str]) -> Result<Vec<Pair>> {
    let of_set: Vec<Pair> = all()?.into_iter().filter(|pair| pair.set == set).collect();
    let known: Vec<&str> = of_set.iter().map(|pair| pair.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no pair {name} in {}; there are {}", set.name(), known.join(", "));
    }
    Ok(of_set.into_iter().filter(|pair| names.is_empty() || names.contains(&pair.name.as_str())).collect())
}

fn all() -> Result<Vec<Pair>> {
    let rows = LIST.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| Pair::read(row).with_context(|| format!("pairs.tsv: {row}"))).collect()
}

impl Pair {
    fn read(row: &str) -> Result<Self> {
        let fields: Vec<&str> = row.split('\t').collect();
        let [set, name, _, _, old, new, _, main, old_sum, new_sum, must, aim, hdiffpatch, recommended, zucchini] =
            fields[..]
        else {
            bail!("{} fields", fields.len())
        };
        let set = [Set::Dev, Set::HeldOut].into_iter().find(|known| known.name() == set).context("no such set")?;
        let recorded = |field: &str| if field == "-" { Ok(None) } else { field.parse().map(Some) };
        Ok(Self {
            set,
            name: name.to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
            is_tree: main == TREE,
            sums: [old_sum, new_sum].map(str::to_owned),
            bounds: Bounds { must: must.parse()?, aim: aim.parse()? },
            recorded: Recorded {
                hdiffpatch: recorded(hdiffpatch)?,
                recommended: recorded(recommended)?,
                zucchini: recorded(zucchini)?,
            },
        })
    }

    /// Where its files are, which must be what was pinned.
    pub(crate) fn files(&self, corpus: &Path) -> Result<Files> {
        let dir = corpus.join(&self.name);
        let files = ["old.bin", "new.bin"].map(|name| dir.join(name));
        for (file, sum) in files.iter().zip(&self.sums) {
            ensure!(
                file.is_file(),
                "{} is missing: bench/delta/fetch {} {}",
                file.display(),
                corpus.display(),
                self.name
            );
            let mut command = Command::new("sha256sum");
            command.arg(file);
            let said = step::output("sha256sum", command)?;
            ensure!(said.starts_with(sum.as_str()), "{} is not what is pinned; fetch it again", file.display());
        }
        let new_len = files[1].metadata()?.len();
        let [old, new] = files;
        let trees = self.is_tree.then(|| (dir.join("old"), dir.join("new")));
        Ok(Files { old, new, trees, new_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read() {
        let all = all().expect("every row makes sense");
        let names: std::collections::BTreeSet<_> = all.iter().map(|pair| &pair.name).collect();
        assert_eq!(names.len(), all.len(), "no name stands twice");
        for pair in &all {
            assert!(pair.bounds.aim < pair.bounds.must, "{}", pair.name);
            assert!(pair.sums.iter().all(|sum| sum.len() == 64 && sum.bytes().any(|b| b != b'0')), "{}", pair.name);
        }
        let esbuild = all.iter().find(|pair| pair.name == "esbuild-x64").expect("it is there");
        assert_eq!(esbuild.recorded.hdiffpatch, Some(450_845));
        assert_eq!((esbuild.old.as_str(), esbuild.is_tree), ("0.28.1", false));
    }

    #[test]
    fn a_row_that_lacks_something_is_named() {
        assert!(Pair::read("dev\tx\tnpm").is_err());
    }
}
