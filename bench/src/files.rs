//! Files without a network: what it costs to read, cut and hash them, and what it costs merely to create them.

use crate::lab::{self, Cost};
use anyhow::{Context, Result};
use node::hands::Threads;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// Writes `len` bytes that do not compress and hold no repetition.
pub(crate) fn random_file(path: &Path, len: usize, seed: u64) -> Result<()> {
    let mut state = seed | 1;
    let mut file = fs::File::create(path).with_context(|| path.display().to_string())?;
    let mut block = vec![0u8; 1 << 16];
    let mut left = len;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let part = left.min(block.len());
        file.write_all(&block[..part])?;
        left -= part;
    }
    Ok(())
}

/// Makes a tree of `count` files of `len` bytes, 100 to a directory.
pub(crate) fn small_files(dir: &Path, count: usize, len: usize) -> Result<()> {
    for number in 0..count {
        let sub = dir.join(format!("d{:04}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&sub)?;
        }
        random_file(&sub.join(format!("f{number:06}")), len, number as u64 * 2 + 1)?;
    }
    Ok(())
}

/// Reads, cuts and hashes `path` on one thread, as a publisher does, and says how long it took.
pub(crate) fn import(path: &Path) -> Result<Duration> {
    Ok(lab::cost(|| lab::import(path, &Threads::of(1)))?.0.wall)
}

/// The bare loop: create, write, and one `syncfs` at the end, in a directory per hundred files as above.
pub(crate) fn bare_loop(dir: &Path, count: usize, len: usize) -> Result<Cost> {
    let bytes = vec![7u8; len];
    let bare = || {
        for number in 0..count {
            let sub = dir.join(format!("d{:04}", number / 100));
            if number % 100 == 0 {
                fs::create_dir_all(&sub)?;
            }
            fs::File::create(sub.join(format!("f{number:06}")))?.write_all(&bytes)?;
        }
        Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
    };
    Ok(lab::cost(bare)?.0)
}

/// Takes the right to write from every file below `dir`, two directories deep as above.
pub(crate) fn forbid_writing(dir: &Path) -> Result<()> {
    each(dir, &mut |path, _| Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o444))?))
}

/// How many files below `dir` have more than one name, and how many there are.
pub(crate) fn shared(dir: &Path) -> Result<(usize, usize)> {
    let (mut shared, mut all) = (0, 0);
    each(dir, &mut |_, found| {
        shared += usize::from(found.nlink() > 1);
        all += 1;
        Ok(())
    })?;
    Ok((shared, all))
}

fn each(dir: &Path, act: &mut dyn FnMut(&Path, &fs::Metadata) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match fs::symlink_metadata(&path)? {
            found if found.is_dir() => each(&path, act)?,
            found => act(&path, &found)?,
        }
    }
    Ok(())
}
