//! The real file system behind [`store::Disk`].
//!
//! Every operation is relative to an open directory and names one component, which is opened with `openat2` so that the
//! kernel itself refuses to follow a symlink or to leave the directory (kernels without it: `O_NOFOLLOW`, which for a single
//! component says the same). A call that a signal interrupts is made again, a short write is continued; an error of a sync
//! is passed on and never asked for twice. It holds no state but the process's umask, and decides nothing.

use crate::{kernel, scratch};
use rustix::fs::{self as sys, AtFlags, FlockOperation, Mode, OFlags, ResolveFlags, SeekFrom, Timespec, Timestamps};
use rustix::io::{Errno, retry_on_intr};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use store::disk::{Disk, FileKind, Lent, Meta, Name, Space};

/// The file system of this machine.
#[derive(Debug)]
pub struct RealDisk {
    umask: u32,
    owners: Owners,
}

/// Whose things are said to be.
#[derive(Debug, Clone, Copy)]
enum Owners {
    /// Whose they are.
    AsTheyAre,
    /// Root's, all of them.
    Root,
}

/// An open directory; clones share the handle.
#[derive(Debug, Clone)]
pub struct Dir(Arc<OwnedFd>);

/// An open regular file.
#[derive(Debug)]
pub struct File(OwnedFd);

/// Nothing on the way may be a symlink, and nothing may lead out of the directory.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// How often an `openat2` that raced with a rename (`EAGAIN`) is made again before its plain twin is asked.
const OPEN_TRIES: usize = 16;

impl RealDisk {
    /// The file system as this process sees it.
    pub fn new() -> Self {
        Self { umask: umask().unwrap_or(0o777), owners: Owners::AsTheyAre }
    }

    /// The file system as a process with this effective user id may publish it: only root can say whose things are to be on
    /// other machines (as with `tar`). The numbers of anyone else are of its own machine, and may be anybody's on another.
    pub(crate) fn to_publish(effective: u32) -> Self {
        let owners = if effective == 0 { Owners::AsTheyAre } else { Owners::Root };
        Self { owners, ..Self::new() }
    }

    fn meta(&self, stat: &sys::Stat) -> Meta {
        let meta = to_meta(stat);
        match self.owners {
            Owners::AsTheyAre => meta,
            Owners::Root => Meta { uid: 0, gid: 0, ..meta },
        }
    }

    /// Opens a directory by its path, following symlinks: the way in for the homes and roots that an administrator named.
    pub fn open_path(&self, path: &Path) -> io::Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| sys::open(path, flags, Mode::empty()))?;
        Ok(Dir(Arc::new(fd)))
    }

    /// Makes sure that a new name has exactly the mode it was created with, which the umask may have narrowed.
    fn widen(&self, fd: &OwnedFd, mode: u16) -> io::Result<()> {
        match u32::from(mode) & self.umask {
            0 => Ok(()),
            _ => Ok(retry_on_intr(|| sys::fchmod(fd, to_mode(mode)))?),
        }
    }
}

impl Default for RealDisk {
    fn default() -> Self {
        Self::new()
    }
}

/// The process's umask, read without changing it.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

fn to_mode(mode: u16) -> Mode {
    Mode::from_raw_mode(u32::from(mode) & 0o7777)
}

/// Opens one component of a directory, following nothing.
fn open_at(at: &Dir, name: &Name, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..OPEN_TRIES {
        match retry_on_intr(|| sys::openat2(&at.0, name.as_bytes(), flags, mode, RESOLVE)) {
            Err(Errno::AGAIN) => continue,
            // No such call (an old kernel), or a sandbox that does not know it.
            Err(Errno::NOSYS | Errno::PERM) => break,
            outcome => return Ok(outcome?),
        }
    }
    Ok(retry_on_intr(|| sys::openat(&at.0, name.as_bytes(), flags, mode))?)
}

/// Opens a regular file; a device or pipe is refused without waiting for its other end.
fn regular(at: &Dir, name: &Name, access: OFlags) -> io::Result<(File, sys::Stat)> {
    let fd = open_at(at, name, access | OFlags::NONBLOCK, Mode::empty())?;
    let stat = retry_on_intr(|| sys::fstat(&fd))?;
    match sys::FileType::from_raw_mode(stat.st_mode) {
        sys::FileType::RegularFile => Ok((File(fd), stat)),
        sys::FileType::Directory => Err(Errno::ISDIR.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Reads until a buffer is full or there is no more; the call is told how much was read before.
fn read_whole(buffer: &mut [u8], mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read(&mut buffer[filled..], filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(filled)
}

/// Writes until everything is written; the call is told how much was written before.
fn write_whole(bytes: &[u8], mut write: impl FnMut(&[u8], u64) -> Result<usize, Errno>) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match write(&bytes[written..], written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn kind_of(mode: u32) -> FileKind {
    match sys::FileType::from_raw_mode(mode) {
        sys::FileType::RegularFile => FileKind::File,
        sys::FileType::Directory => FileKind::Directory,
        sys::FileType::Symlink => FileKind::Symlink,
        sys::FileType::Fifo => FileKind::Other("fifo"),
        sys::FileType::Socket => FileKind::Other("socket"),
        sys::FileType::CharacterDevice => FileKind::Other("character device"),
        sys::FileType::BlockDevice => FileKind::Other("block device"),
        _ => FileKind::Other("something unknown"),
    }
}

// The widths of the fields differ between architectures.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
fn to_meta(stat: &sys::Stat) -> Meta {
    Meta {
        kind: kind_of(stat.st_mode),
        mode: (stat.st_mode & 0o7777) as u16,
        len: stat.st_size.max(0) as u64,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime as i64,
        mtime_nanos: stat.st_mtime_nsec as u32,
        ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        inode: (stat.st_dev as u64, stat.st_ino as u64),
        links: stat.st_nlink as u64,
    }
}

/// Where the kernel shows an open handle as a path. Walking it follows the handle, not a name that may have changed.
fn handle_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

impl Disk for RealDisk {
    type Dir = Dir;
    type File = File;

    fn open_dir(&self, at: &Dir, name: &Name) -> io::Result<Dir> {
        open_at(at, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map(|fd| Dir(Arc::new(fd)))
    }

    fn create_dir(&self, at: &Dir, name: &Name, mode: u16) -> io::Result<()> {
        retry_on_intr(|| sys::mkdirat(&at.0, name.as_bytes(), to_mode(mode)))?;
        match u32::from(mode) & (self.umask | 0o7000) {
            0 => Ok(()),
            _ => self.set_mode(at, name, mode),
        }
    }

    fn list(&self, dir: &Dir) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in sys::Dir::read_from(&dir.0)? {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if bytes != b"." && bytes != b".." {
                names.push(Name::new(bytes).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))?);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn metadata(&self, at: &Dir, name: &Name) -> io::Result<Meta> {
        let stat = retry_on_intr(|| sys::statat(&at.0, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW))?;
        Ok(self.meta(&stat))
    }

    fn dir_metadata(&self, dir: &Dir) -> io::Result<Meta> {
        Ok(self.meta(&retry_on_intr(|| sys::fstat(&dir.0))?))
    }

    fn file_metadata(&self, file: &File) -> io::Result<Meta> {
        Ok(self.meta(&retry_on_intr(|| sys::fstat(&file.0))?))
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::fsync(&dir.0))?)
    }

    fn sync_all(&self, dir: &Dir) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::syncfs(&dir.0))?)
    }

    fn space(&self, dir: &Dir) -> io::Result<Space> {
        let stat = retry_on_intr(|| sys::fstatvfs(&dir.0))?;
        // File systems without an inode table (btrfs) report none at all, not none free.
        let inodes = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
        Ok(Space { bytes: stat.f_bavail.saturating_mul(stat.f_frsize), inodes })
    }

    fn open(&self, at: &Dir, name: &Name) -> io::Result<File> {
        regular(at, name, OFlags::RDONLY).map(|(file, _)| file)
    }

    fn open_and_look(&self, at: &Dir, name: &Name) -> io::Result<(File, Meta)> {
        let (file, stat) = regular(at, name, OFlags::RDONLY)?;
        Ok((file, self.meta(&stat)))
    }

    fn open_write(&self, at: &Dir, name: &Name) -> io::Result<File> {
        regular(at, name, OFlags::RDWR).map(|(file, _)| file)
    }

    fn create(&self, at: &Dir, name: &Name, mode: u16) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let fd = open_at(at, name, flags, to_mode(mode))?;
        self.widen(&fd, mode)?;
        Ok(File(fd))
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read_whole(buffer, |rest, done| rustix::io::pread(&file.0, rest, offset + done))
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_whole(bytes, |rest, done| rustix::io::pwrite(&file.0, rest, offset + done))
    }

    fn lend(&self, at: &Dir, len: usize) -> Option<Lent> {
        let mut lent = Lent::new(scratch::scratch_in(&*at.0, len).ok()?);
        lent.truncate(len);
        Some(lent)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::ftruncate(&file.0, len))?)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::fdatasync(&file.0))?)
    }

    fn next_data(&self, file: &File, offset: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.file_metadata(file)?.len;
        if offset >= len {
            return Ok(None);
        }
        let start = match retry_on_intr(|| sys::seek(&file.0, SeekFrom::Data(offset))) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // A file system that knows no holes: all of it is data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(offset..len)),
            Err(errno) => return Err(errno.into()),
        };
        let end = retry_on_intr(|| sys::seek(&file.0, SeekFrom::Hole(start)))?;
        Ok(Some(start..end))
    }

    fn share_range(&self, from: &File, from_offset: u64, to: &File, to_offset: u64, len: u64) -> io::Result<()> {
        // No bytes would mean all that follow.
        if len == 0 {
            return Ok(());
        }
        loop {
            let shared = kernel::share_range(from.0.as_fd(), from_offset, to.0.as_fd(), to_offset, len);
            match shared.map_err(|error| (Errno::from_io_error(&error), error)) {
                Ok(()) => return Ok(()),
                Err((Some(Errno::INTR), _)) => continue,
                // A file system that cannot, another one, a range that does not fit its blocks, or a kernel that knows no such thing.
                Err((Some(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS), _)) => {
                    return Err(io::ErrorKind::Unsupported.into());
                }
                Err((_, error)) => return Err(error),
            }
        }
    }

    fn set_owner_of(&self, file: &File, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = to_owner(uid, gid)?;
        Ok(retry_on_intr(|| sys::fchown(&file.0, Some(uid), Some(gid)))?)
    }

    fn set_mtime_of(&self, file: &File, seconds: i64, nanos: u32) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::futimens(&file.0, &to_times(seconds, nanos)))?)
    }

    fn attribute_names_of(&self, file: &File) -> io::Result<Vec<Vec<u8>>> {
        split_names(attribute_list(|list| sys::flistxattr(&file.0, list)))
    }

    fn lock(&self, file: &File) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::flock(&file.0, FlockOperation::NonBlockingLockExclusive))?)
    }

    fn rename(&self, from: &Dir, name: &Name, to: &Dir, new: &Name) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::renameat(&from.0, name.as_bytes(), &to.0, new.as_bytes()))?)
    }

    fn exchange(&self, from: &Dir, name: &Name, to: &Dir, new: &Name) -> io::Result<()> {
        let flags = sys::RenameFlags::EXCHANGE;
        Ok(retry_on_intr(|| sys::renameat_with(&from.0, name.as_bytes(), &to.0, new.as_bytes(), flags))?)
    }

    fn link(&self, from: &Dir, name: &Name, to: &Dir, new: &Name) -> io::Result<()> {
        let flags = AtFlags::empty();
        Ok(retry_on_intr(|| sys::linkat(&from.0, name.as_bytes(), &to.0, new.as_bytes(), flags))?)
    }

    fn symlink(&self, at: &Dir, name: &Name, target: &[u8]) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::symlinkat(target, &at.0, name.as_bytes()))?)
    }

    fn read_link(&self, at: &Dir, name: &Name) -> io::Result<Vec<u8>> {
        Ok(retry_on_intr(|| sys::readlinkat(&at.0, name.as_bytes(), Vec::new()))?.into_bytes())
    }

    fn remove_file(&self, at: &Dir, name: &Name) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::unlinkat(&at.0, name.as_bytes(), AtFlags::empty()))?)
    }

    fn remove_dir(&self, at: &Dir, name: &Name) -> io::Result<()> {
        Ok(retry_on_intr(|| sys::unlinkat(&at.0, name.as_bytes(), AtFlags::REMOVEDIR))?)
    }

    fn set_mode(&self, at: &Dir, name: &Name, mode: u16) -> io::Result<()> {
        let fd = open_at(at, name, OFlags::PATH, Mode::empty())?;
        if kind_of(retry_on_intr(|| sys::fstat(&fd))?.st_mode) == FileKind::Symlink {
            return Err(Errno::LOOP.into());
        }
        match retry_on_intr(|| sys::chmod(handle_path(&fd), to_mode(mode))) {
            // Without /proc: open it in earnest, which needs leave to read.
            Err(Errno::NOENT) => {
                let fd = open_at(at, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
                Ok(retry_on_intr(|| sys::fchmod(&fd, to_mode(mode)))?)
            }
            outcome => Ok(outcome?),
        }
    }

    fn set_owner(&self, at: &Dir, name: &Name, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = to_owner(uid, gid)?;
        Ok(retry_on_intr(|| sys::chownat(&at.0, name.as_bytes(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))?)
    }

    fn set_mtime(&self, at: &Dir, name: &Name, seconds: i64, nanos: u32) -> io::Result<()> {
        let times = to_times(seconds, nanos);
        Ok(retry_on_intr(|| sys::utimensat(&at.0, name.as_bytes(), &times, AtFlags::SYMLINK_NOFOLLOW))?)
    }

    fn attribute_names(&self, at: &Dir, name: &Name) -> io::Result<Vec<Vec<u8>>> {
        let path = path_in(at, name);
        split_names(attribute_list(|list| sys::llistxattr(&path, list)))
    }

    fn attribute(&self, at: &Dir, name: &Name, attribute: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let path = path_in(at, name);
        match attribute_list(|value| sys::lgetxattr(&path, attribute, value)) {
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            value => Ok(Some(value?)),
        }
    }

    fn set_attribute(&self, at: &Dir, name: &Name, attribute: &[u8], value: &[u8]) -> io::Result<()> {
        let path = path_in(at, name);
        Ok(retry_on_intr(|| sys::lsetxattr(&path, attribute, value, sys::XattrFlags::empty()))?)
    }
}

/// A name in an open directory, for calls that take nothing but a path; its last component is not followed by them.
fn path_in(at: &Dir, name: &Name) -> Vec<u8> {
    [handle_path(&at.0).as_bytes(), b"/", name.as_bytes()].concat()
}

fn to_owner(uid: u32, gid: u32) -> io::Result<(sys::Uid, sys::Gid)> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no owner 2^32 - 1"));
    }
    Ok((sys::Uid::from_raw(uid), sys::Gid::from_raw(gid)))
}

/// A modification time; when it was read last is left as it is.
fn to_times(seconds: i64, nanos: u32) -> Timestamps {
    let keep = Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT };
    let set = Timespec { tv_sec: seconds, tv_nsec: nanos.min(999_999_999).into() };
    Timestamps { last_access: keep, last_modification: set }
}

/// The names in a list of attributes; none where the file system has no attributes.
fn split_names(list: rustix::io::Result<Vec<u8>>) -> io::Result<Vec<Vec<u8>>> {
    let list = match list {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        list => list?,
    };
    Ok(list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// Most lists of attributes are shorter, in bytes.
const ATTRIBUTES: usize = 512;

/// The names of attributes, each ended by NUL, as `ask` writes them; asked for again while the room for them is too small.
fn attribute_list(ask: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut list = vec![0; ATTRIBUTES];
    loop {
        match ask(&mut list) {
            Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(Errno::INTR) => {}
            filled => {
                list.truncate(filled?);
                return Ok(list);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn name(text: &str) -> Name {
        Name::new(text).expect("a plain name")
    }

    fn here() -> (tempfile::TempDir, RealDisk, Dir) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let disk = RealDisk::new();
        let dir = disk.open_path(temp.path()).expect("it is there");
        (temp, disk, dir)
    }

    #[test]
    fn attributes_are_given_and_read_and_two_names_change_places() -> io::Result<()> {
        let (temp, disk, dir) = here();
        std::fs::create_dir(temp.path().join("d"))?;
        symlink("elsewhere", temp.path().join("l"))?;
        assert_eq!(disk.attribute(&dir, &name("d"), b"user.tiding")?, None);
        match disk.set_attribute(&dir, &name("d"), b"user.tiding", b"a label") {
            // A file system without them.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            set => {
                set?;
                assert_eq!(disk.attribute(&dir, &name("d"), b"user.tiding")?.as_deref(), Some(&b"a label"[..]));
            }
        }
        disk.exchange(&dir, &name("d"), &dir, &name("l"))?;
        assert!(temp.path().join("l").is_dir() && temp.path().join("d").is_symlink());
        assert!(disk.exchange(&dir, &name("d"), &dir, &name("none")).is_err());
        Ok(())
    }

    #[test]
    fn only_root_publishes_whose_things_are() -> io::Result<()> {
        let (temp, disk, dir) = here();
        let path = temp.path().join("f");
        std::fs::write(&path, "x")?;
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(1000), Some(1000))?;
        }
        let real = disk.metadata(&dir, &name("f"))?;
        assert_ne!(real.uid, 0);
        let published = |effective| {
            let meta = RealDisk::to_publish(effective).metadata(&dir, &name("f"))?;
            Ok::<_, io::Error>((meta.uid, meta.gid, meta.mtime))
        };
        assert_eq!(published(0)?, (real.uid, real.gid, real.mtime));
        assert_eq!(published(1000)?, (0, 0, real.mtime), "who has that number elsewhere could replace what root runs");
        Ok(())
    }

    #[test]
    fn files_are_written_read_cut_and_listed() -> io::Result<()> {
        let (_temp, disk, dir) = here();
        let file = disk.create(&dir, &name("b"), 0o640)?;
        disk.write_at(&file, b"tidings", 3)?;
        let mut buffer = [9; 16];
        assert_eq!(disk.read_at(&file, &mut buffer, 0)?, 10);
        assert_eq!(&buffer[..10], b"\0\0\0tidings");
        disk.set_len(&file, 4)?;
        disk.sync(&file)?;
        disk.create_dir(&dir, &name("a"), 0o700)?;
        disk.sync_dir(&dir)?;
        disk.sync_all(&dir)?;
        assert_eq!(disk.list(&dir)?, [name("a"), name("b")]);
        let meta = disk.metadata(&dir, &name("b"))?;
        assert_eq!((meta.kind, meta.mode, meta.len, meta.links), (FileKind::File, 0o640, 4, 1));
        assert_eq!(
            disk.create(&dir, &name("b"), 0o640).map(drop).map_err(|e| e.kind()),
            Err(io::ErrorKind::AlreadyExists)
        );
        assert!(disk.space(&dir)?.bytes > 0);
        Ok(())
    }

    #[test]
    fn a8_what_is_written_or_read_in_parts_or_interrupted_is_whole_and_an_error_is_one() {
        let mut disk = Vec::new();
        // Three bytes at most, every second call is interrupted.
        let mut calls = 0;
        let written = write_whole(b"a tiding", |rest, done| {
            calls += 1;
            if calls % 2 == 1 {
                return Err(Errno::INTR);
            }
            assert_eq!(done, disk.len() as u64);
            let taken = rest.len().min(3);
            disk.extend_from_slice(&rest[..taken]);
            Ok(taken)
        });
        assert!(written.is_ok());
        assert_eq!(disk, b"a tiding");
        let (mut buffer, mut calls) = ([0; 20], 0);
        let read = read_whole(&mut buffer, |rest, done| {
            calls += 1;
            if calls % 2 == 1 {
                return Err(Errno::INTR);
            }
            let from = &disk[done as usize..];
            let taken = from.len().min(3).min(rest.len());
            rest[..taken].copy_from_slice(&from[..taken]);
            Ok(taken)
        });
        assert_eq!((read.ok(), &buffer[..8]), (Some(8), &b"a tiding"[..]));
        let second = |outcome| {
            let mut calls = 0;
            let write = move |_: &[u8], _| {
                calls += 1;
                if calls == 1 { Ok(3) } else { outcome }
            };
            write_whole(b"a tiding", write).map_err(|error| (error.kind(), error.raw_os_error()))
        };
        assert_eq!(second(Err(Errno::IO)), Err((io::Error::from(Errno::IO).kind(), Some(5))), "after a part, too");
        assert_eq!(second(Ok(0)), Err((io::ErrorKind::WriteZero, None)), "what takes nothing is no progress");
    }

    #[test]
    fn modes_are_exact_whatever_the_umask() -> io::Result<()> {
        let (_temp, disk, dir) = here();
        disk.create(&dir, &name("file"), 0o666)?;
        disk.create_dir(&dir, &name("dir"), 0o777)?;
        assert_eq!(disk.metadata(&dir, &name("file"))?.mode, 0o666);
        assert_eq!(disk.metadata(&dir, &name("dir"))?.mode, 0o777);
        disk.set_mode(&dir, &name("file"), 0)?;
        assert_eq!(disk.metadata(&dir, &name("file"))?.mode, 0);
        Ok(())
    }

    #[test]
    fn no_operation_follows_a_symlink() -> io::Result<()> {
        let (temp, disk, dir) = here();
        std::fs::write(temp.path().join("real"), b"x")?;
        std::fs::create_dir(temp.path().join("tree"))?;
        symlink("real", temp.path().join("link"))?;
        symlink("tree", temp.path().join("way"))?;
        assert!(disk.open(&dir, &name("link")).is_err());
        assert!(disk.open_write(&dir, &name("link")).is_err());
        assert!(disk.create(&dir, &name("link"), 0o600).is_err());
        assert!(disk.open_dir(&dir, &name("way")).is_err());
        assert!(disk.set_mode(&dir, &name("link"), 0o777).is_err());
        disk.set_mtime(&dir, &name("link"), 77, 5)?;
        let (link, real) = (disk.metadata(&dir, &name("link"))?, disk.metadata(&dir, &name("real"))?);
        assert_eq!((link.kind, link.mtime, link.mtime_nanos), (FileKind::Symlink, 77, 5));
        assert_ne!(real.mtime, 77);
        assert_eq!(disk.read_link(&dir, &name("link"))?, b"real");
        Ok(())
    }

    #[test]
    fn f7_pipes_are_refused_without_waiting() -> io::Result<()> {
        let (_temp, disk, dir) = here();
        sys::mknodat(&dir.0, "pipe", sys::FileType::Fifo, to_mode(0o600), 0)?;
        assert_eq!(disk.metadata(&dir, &name("pipe"))?.kind, FileKind::Other("fifo"));
        assert_eq!(disk.open(&dir, &name("pipe")).map(drop).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput));
        Ok(())
    }

    #[test]
    fn holes_are_seen() -> io::Result<()> {
        let (_temp, disk, dir) = here();
        let file = disk.create(&dir, &name("sparse"), 0o600)?;
        disk.set_len(&file, 8 << 20)?;
        disk.write_at(&file, &[1; 4096], 4 << 20)?;
        let data = disk.next_data(&file, 0)?.expect("there is data");
        assert!(data.contains(&(4 << 20)), "{data:?}");
        assert!(disk.next_data(&file, data.end)?.is_none_or(|rest| rest.start >= data.end));
        assert_eq!(disk.next_data(&file, 8 << 20)?, None);
        Ok(())
    }

    #[test]
    fn a14_a_lock_is_exclusive_and_ends_with_its_handle() -> io::Result<()> {
        let (_temp, disk, dir) = here();
        let first = disk.create(&dir, &name("lock"), 0o600)?;
        disk.lock(&first)?;
        let second = disk.open_write(&dir, &name("lock"))?;
        assert_eq!(disk.lock(&second).map_err(|e| e.kind()), Err(io::ErrorKind::WouldBlock));
        drop(first);
        disk.lock(&second)
    }

    #[test]
    fn names_move_link_and_go() -> io::Result<()> {
        let (_temp, disk, dir) = here();
        disk.create_dir(&dir, &name("sub"), 0o700)?;
        let sub = disk.open_dir(&dir, &name("sub"))?;
        disk.symlink(&dir, &name("old"), b"/no/such \xff thing")?;
        disk.create(&dir, &name("new"), 0o600)?;
        disk.link(&dir, &name("new"), &sub, &name("twin"))?;
        assert_eq!(disk.metadata(&sub, &name("twin"))?.links, 2);
        disk.rename(&dir, &name("new"), &dir, &name("old"))?;
        assert_eq!(disk.metadata(&dir, &name("old"))?.kind, FileKind::File);
        disk.remove_file(&sub, &name("twin"))?;
        disk.remove_dir(&dir, &name("sub"))?;
        assert_eq!(disk.list(&dir)?, [name("old")]);
        Ok(())
    }

    #[test]
    fn f6_attributes_are_named_and_a_symlinks_own() -> io::Result<()> {
        let (temp, disk, dir) = here();
        disk.create(&dir, &name("file"), 0o600)?;
        match sys::setxattr(temp.path().join("file"), "user.note", b"x", sys::XattrFlags::empty()) {
            Ok(()) => assert!(disk.attribute_names(&dir, &name("file"))?.contains(&b"user.note".to_vec())),
            Err(errno) => eprintln!("skipped: this file system has no user attributes ({errno})"),
        }
        symlink("file", temp.path().join("link"))?;
        assert!(!disk.attribute_names(&dir, &name("link"))?.contains(&b"user.note".to_vec()));
        Ok(())
    }

    #[test]
    fn ranges_are_shared_or_the_file_system_says_that_it_cannot() -> io::Result<()> {
        let (_temp, disk, dir) = here();
        let from = disk.create(&dir, &name("from"), 0o600)?;
        disk.write_at(&from, &[[1; 4096], [2; 4096], [3; 4096]].concat(), 0)?;
        let to = disk.create(&dir, &name("to"), 0o600)?;
        match disk.share_range(&from, 4096, &to, 8192, 8192) {
            Ok(()) => {
                let mut bytes = vec![9; 20_000];
                assert_eq!(disk.read_at(&to, &mut bytes, 0)?, 16_384);
                assert_eq!((&bytes[..8192], &bytes[8192..12_288]), (&[0; 8192][..], &[2; 4096][..]));
                disk.write_at(&to, &[7; 10], 8192)?;
                assert_eq!(disk.read_at(&from, &mut bytes[..10], 4096)?, 10);
                assert_eq!(bytes[..10], [2; 10], "who writes into one of them has a copy");
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::Unsupported);
                assert_eq!(disk.file_metadata(&to)?.len, 0);
            }
        }
        disk.share_range(&from, 0, &to, 0, 0)?;
        let crooked = disk.share_range(&from, 1, &to, 0, 4096).map_err(|e| e.kind());
        assert_eq!(crooked, Err(io::ErrorKind::Unsupported));
        Ok(())
    }

    /// How often the race is run; the promise is meant for any number.
    const F5_TRIES: u32 = 1_000_000;

    /// A local user swaps a directory of the staging area with a symlink to a place outside, over and over, while we
    /// write into it. Whatever the interleaving, nothing outside is created or changed.
    #[test]
    fn f5_a_racing_symlink_leads_nowhere() -> io::Result<()> {
        let (temp, disk, dir) = here();
        let (stage, outside) = (temp.path().join("stage"), temp.path().join("outside"));
        std::fs::create_dir(&stage)?;
        std::fs::create_dir(&outside)?;
        std::fs::write(outside.join("file"), b"sentinel")?;
        std::fs::set_permissions(outside.join("file"), std::fs::Permissions::from_mode(0o640))?;
        let before = std::fs::metadata(outside.join("file"))?;
        symlink(&outside, stage.join("trap"))?;
        std::fs::create_dir(stage.join("tree"))?;
        let stop = AtomicBool::new(false);
        let (mut entered, mut refused) = (0, 0);
        std::thread::scope(|scope| -> io::Result<()> {
            scope.spawn(|| swap_until(&stop, &stage));
            for _ in 0..F5_TRIES {
                match write_into(&disk, &dir) {
                    Ok(()) => entered += 1,
                    Err(_) => refused += 1,
                }
            }
            stop.store(true, Ordering::Relaxed);
            Ok(())
        })?;
        let after = std::fs::metadata(outside.join("file"))?;
        assert_eq!(std::fs::read(outside.join("file"))?, b"sentinel");
        assert_eq!((before.mode(), before.mtime(), before.ino()), (after.mode(), after.mtime(), after.ino()));
        assert_eq!(std::fs::read_dir(&outside)?.count(), 1, "something was created outside");
        assert!(entered > 0 && refused > 0, "the race never happened: {entered} entered, {refused} refused");
        Ok(())
    }

    fn write_into(disk: &RealDisk, root: &Dir) -> io::Result<()> {
        let stage = disk.open_dir(root, &name("stage"))?;
        let tree = disk.open_dir(&stage, &name("tree"))?;
        // The handle stays on the directory that was opened, wherever its name points by now.
        match disk.create(&tree, &name("file"), 0o600) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            created => drop(created),
        }
        disk.write_at(&disk.open_write(&tree, &name("file"))?, b"payload", 0)?;
        disk.set_mode(&tree, &name("file"), 0o755)
    }

    fn swap_until(stop: &AtomicBool, stage: &Path) {
        let (tree, trap, aside) = (stage.join("tree"), stage.join("trap"), stage.join("aside"));
        while !stop.load(Ordering::Relaxed) {
            for (from, to) in [(&tree, &aside), (&trap, &tree), (&tree, &trap), (&aside, &tree)] {
                std::fs::rename(from, to).expect("only this thread renames");
                std::thread::yield_now();
            }
        }
    }
}
