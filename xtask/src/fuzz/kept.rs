//! What an hour of fuzzing found to be worth keeping: one file a target, `fuzz/kept/TARGET.zst`.
//!
//! Thousands of little files would be most of the repository's. Unpacked it is each input behind its length in four bytes, little end
//! first, ordered, so that the same inputs are the same file.

use crate::step::root;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Packed for years and unpacked in milliseconds.
const LEVEL: i32 = 19;

/// Writes what is kept of a target into its corpus, beside what is there.
pub(super) fn unpacked(target: &str, corpus: &Path) -> Result<()> {
    let path = file(target);
    if !path.exists() {
        return Ok(());
    }
    let packed = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let all = zstd::decode_all(&packed[..]).with_context(|| format!("unpacking {}", path.display()))?;
    for (number, input) in inputs(&all).with_context(|| format!("in {}", path.display()))?.into_iter().enumerate() {
        let one = corpus.join(format!("kept-{number}"));
        std::fs::write(&one, input).with_context(|| format!("writing {}", one.display()))?;
    }
    Ok(())
}

/// Packs all files of a directory as what is kept of a target.
pub(super) fn pack(target: &str, directory: &Path) -> Result<()> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        inputs.push(std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    inputs.sort();
    inputs.dedup();
    let packed = zstd::encode_all(&joined(&inputs)?[..], LEVEL).context("packing")?;
    let path = file(target);
    std::fs::create_dir_all(path.parent().context("a file in a directory")?).context("making fuzz/kept")?;
    std::fs::write(&path, &packed).with_context(|| format!("writing {}", path.display()))?;
    println!("{target}: {} inputs in {} bytes", inputs.len(), packed.len());
    Ok(())
}

fn file(target: &str) -> PathBuf {
    root().join("fuzz/kept").join(format!("{target}.zst"))
}

fn joined(inputs: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for input in inputs {
        all.extend(u32::try_from(input.len()).context("an input of 4 GiB")?.to_le_bytes());
        all.extend(input);
    }
    Ok(all)
}

fn inputs(mut all: &[u8]) -> Result<Vec<&[u8]>> {
    let mut inputs = Vec::new();
    while !all.is_empty() {
        let parted = all.split_first_chunk().and_then(|(len, rest)| {
            let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
            rest.split_at_checked(len)
        });
        let Some((input, rest)) = parted else { bail!("an input is cut off") };
        inputs.push(input);
        all = rest;
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_joined_comes_apart() {
        let inputs = [vec![], vec![1, 2, 3], vec![0; 300]];
        let all = super::joined(&inputs).expect("short inputs");
        assert_eq!(super::inputs(&all).expect("as joined"), inputs);
        assert!(super::inputs(&all[..all.len() - 1]).is_err());
    }
}
