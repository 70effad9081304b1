//! Buffers that are files without a name: what does not fit into memory goes to the disk by itself, and is gone with the process.

use crate::kernel;
use memmap2::MmapMut;
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, fallocate, linkat, openat};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
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

/// The first bytes of a file, in a file without a name in this directory.
pub fn copied(directory: &Path, mut from: &File, len: usize) -> io::Result<MmapMut> {
    const PART: usize = 1 << 18;
    let mut copy = tempfile::tempfile_in(directory)?;
    // Not shared, where a file system could: a write to what is shared may find the disk full, when it is too late for an error.
    let mut part = vec![0; PART.min(len.max(1))];
    for at in (0..len).step_by(PART) {
        let part = &mut part[..PART.min(len - at)];
        from.read_exact(part)?;
        copy.write_all(part)?;
    }
    if len == 0 {
        copy.write_all(&[0])?;
    }
    kernel::mapped(&copy)
}

/// A file that gets its name when all of it is there.
#[derive(Debug)]
pub struct Unnamed {
    file: File,
    bytes: MmapMut,
    len: usize,
}

impl Unnamed {
    /// So many zeros, in this directory and with this mode. An error where the file system knows no such files.
    pub fn new(directory: &Path, len: usize, mode: u32) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(retry_on_intr(|| openat(CWD, directory, flags, Mode::from_raw_mode(mode)))?);
        let bytes = filled(file.try_clone()?, len)?;
        Ok(Self { file, bytes, len })
    }

    /// What it holds.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Gives it its name, in its directory; what had that name is gone.
    pub fn name(self, path: &Path) -> io::Result<()> {
        let Self { file, bytes, len } = self;
        // Nobody may find it while its bytes are at hand here.
        drop(bytes);
        file.set_len(len as u64)?;
        let it = format!("/proc/self/fd/{}", file.as_raw_fd());
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let link = |at: &Path| Ok(linkat(CWD, it.as_str(), CWD, at, AtFlags::SYMLINK_FOLLOW)?);
        tempfile::Builder::new().make_in(directory, link)?.persist(path)?;
        Ok(())
    }
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
    fn a_copy_is_of_no_file_and_what_is_too_short_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let from = directory.path().join("from");
        std::fs::write(&from, b"one two").expect("written");
        let copied = |len| copied(directory.path(), &File::open(&from).expect("it is there"), len);
        let mut copy = copied(3).expect("a copy");
        assert_eq!(copy[..], *b"one");
        copy.fill(b'x');
        assert_eq!(std::fs::read(&from).expect("readable"), b"one two");
        assert_eq!(copied(0).expect("a copy").len(), 1, "nothing cannot be mapped");
        assert_eq!(copied(8).expect_err("there are seven").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_gets_its_name_and_mode_when_it_is_whole() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("new");
        for len in [0, 5, 9000] {
            let mut file = Unnamed::new(directory.path(), len, 0o540).expect("a file");
            file.bytes().fill(b'x');
            let names = || directory.path().read_dir().expect("a directory").count();
            assert_eq!(names(), usize::from(path.exists()), "it has no name yet");
            file.name(&path).expect("named");
            assert_eq!(std::fs::read(&path).expect("readable"), vec![b'x'; len]);
            assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o777, 0o540);
            assert_eq!(names(), 1, "and nothing else is left");
        }
        drop(Unnamed::new(directory.path(), 9000, 0o600));
        assert_eq!(directory.path().read_dir().expect("a directory").count(), 1);
        assert!(Unnamed::new(Path::new("/nowhere"), 1, 0o600).is_err());
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
