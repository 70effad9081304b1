//! Buffers that are files without a name: what does not fit into memory goes to the disk by itself, and is gone with the process.

use crate::kernel;
use memmap2::MmapMut;
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, openat};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// So many zeros (one at least), in a file without a name in this directory. All of its blocks are there: a full disk is an error here, and not later.
pub fn scratch(directory: &Path, len: usize) -> io::Result<MmapMut> {
    filled(tempfile::tempfile_in(directory)?, len)
}

/// The same in an open directory, where the file system knows files without names.
pub(crate) fn scratch_in(directory: impl AsFd, len: usize) -> io::Result<MmapMut> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = retry_on_intr(|| openat(directory.as_fd(), c".", flags, Mode::RUSR | Mode::WUSR))?;
    filled(File::from(file), len)
}

fn filled(mut file: File, len: usize) -> io::Result<MmapMut> {
    match fallocate(&file, FallocateFlags::empty(), 0, len.max(1) as u64) {
        Ok(()) => {}
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(&mut file, len.max(1))?,
        Err(error) => return Err(error.into()),
    }
    kernel::mapped(&file)
}

/// Writes zeros, where blocks cannot be had in another way.
fn fill(file: &mut File, len: usize) -> io::Result<()> {
    const PART: usize = 1 << 16;
    for at in (0..len).step_by(PART) {
        file.write_all(&[0; PART][..PART.min(len - at)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_there_and_nothing_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        for len in [0, 1, 4096, (1 << 20) + 7] {
            let open = File::open(directory.path()).expect("a directory");
            for bytes in [scratch(directory.path(), len), scratch_in(&open, len)] {
                let mut bytes = bytes.expect("a file");
                assert_eq!(bytes.len(), len.max(1));
                assert!(bytes.iter().all(|byte| *byte == 0));
                bytes.fill(7);
                assert!(bytes.iter().all(|byte| *byte == 7));
                assert_eq!(directory.path().read_dir().expect("a directory").count(), 0, "it has no name");
            }
        }
    }

    #[test]
    fn zeros_are_written_where_blocks_cannot_be_had_otherwise() {
        let mut file = tempfile::tempfile().expect("a file");
        fill(&mut file, (1 << 17) + 3).expect("written");
        assert_eq!(file.metadata().map(|file| file.len()).ok(), Some((1 << 17) + 3));
    }

    #[test]
    fn a4_what_no_disk_has_room_for_is_an_error() {
        assert!(scratch(Path::new("/dev/shm"), 1 << 50).is_err());
        assert!(scratch(Path::new("/nowhere"), 1).is_err());
    }
}
