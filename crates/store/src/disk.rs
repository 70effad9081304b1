//! The one `Disk`: everything the store does to a file system, behind handles that cannot leave their directory.
//!
//! Every name is a single component ([`Name`]), every operation is relative to an open directory and follows no symlink, so
//! climbing out of a root is not an error that is checked for but a thing that cannot be said.
//!
//! # Crash semantics, which implementations keep and the store relies on
//!
//! * A crash may forget or tear any write that no later [`Disk::sync`] of the same file (or [`Disk::sync_all`]) covered;
//!   writes may reach the disk in any order, at a grain of 512 bytes.
//! * A crash may forget any change of names (create, rename, exchange, link, symlink, remove) that no later [`Disk::sync_dir`] of the
//!   directory (or [`Disk::sync_all`]) covered; a rename or an exchange is forgotten or kept as a whole, never half.
//! * A file whose name survives but whose bytes were not synced may be empty, short, or hold zeros or old bytes.
//! * After a failed sync nothing is known of that file: it must be thrown away, never synced again and believed.
//!
//! The store uses no clock, thread or lock of the operating system; each call is one step at which a simulator may crash
//! or interleave.

pub use delta::Lent;
use std::fmt;
use std::io;
use std::ops::Range;

/// A single file name: 1 to 255 bytes, no `/`, no NUL, not `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

/// Bytes that are no single file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a single file name")]
pub struct NotAName(String);

impl Name {
    /// Checks and takes a name.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, NotAName> {
        let bytes = bytes.as_ref();
        let fine = (1..=255).contains(&bytes.len()) && !bytes.contains(&b'/') && !bytes.contains(&0);
        match fine && bytes != b"." && bytes != b".." {
            true => Ok(Self(bytes.into())),
            false => Err(NotAName(String::from_utf8_lossy(bytes).into_owned())),
        }
    }

    /// The bytes, as on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

/// What stands behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else: what it is called (`block device`, `character device`, `fifo`, `socket`).
    Other(&'static str),
}

/// What is known of a name without opening it; symlinks are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky: 0o7777 at most.
    pub mode: u16,
    /// Length in bytes (of a symlink: of its target).
    pub len: u64,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time: seconds since 1970.
    pub mtime: i64,
    /// And nanoseconds.
    pub mtime_nanos: u32,
    /// Time of the last change of the inode, seconds and nanoseconds: tells that a file was touched while being read.
    pub ctime: (i64, u32),
    /// Which inode of which device: the same pair means the same file.
    pub inode: (u64, u64),
    /// How many names it has.
    pub links: u64,
}

/// Free room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that we may still write.
    pub bytes: u64,
    /// Files that we may still create.
    pub inodes: u64,
}

/// A file system, as the store sees it.
///
/// Errors are `io::Error`s of the kinds the operating system would give; a full disk is `StorageFull` (or
/// `QuotaExceeded`), a missing name `NotFound`, a name that exists `AlreadyExists`, a symlink where none is followed
/// `FilesystemLoop`, an operation the file system lacks `Unsupported`.
pub trait Disk: Send + Sync + 'static {
    /// An open directory. Clones share the handle.
    type Dir: Clone + Send + Sync + fmt::Debug + 'static;
    /// An open file.
    type File: Send + Sync + fmt::Debug + 'static;

    /// Opens a directory inside another.
    fn open_dir(&self, at: &Self::Dir, name: &Name) -> io::Result<Self::Dir>;
    /// Creates a directory that does not exist yet.
    fn create_dir(&self, at: &Self::Dir, name: &Name, mode: u16) -> io::Result<()>;
    /// The names in a directory, rising, without `.` and `..`.
    fn list(&self, dir: &Self::Dir) -> io::Result<Vec<Name>>;
    /// What stands behind a name.
    fn metadata(&self, at: &Self::Dir, name: &Name) -> io::Result<Meta>;
    /// What an open directory is.
    fn dir_metadata(&self, dir: &Self::Dir) -> io::Result<Meta>;
    /// What an open file is.
    fn file_metadata(&self, file: &Self::File) -> io::Result<Meta>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Self::Dir) -> io::Result<()>;
    /// Makes everything on the directory's file system durable (`syncfs`).
    fn sync_all(&self, dir: &Self::Dir) -> io::Result<()>;
    /// The free room of the directory's file system.
    fn space(&self, dir: &Self::Dir) -> io::Result<Space>;

    /// Opens a regular file for reading.
    fn open(&self, at: &Self::Dir, name: &Name) -> io::Result<Self::File>;
    /// Opens a regular file for reading, and says what it is.
    fn open_and_look(&self, at: &Self::Dir, name: &Name) -> io::Result<(Self::File, Meta)> {
        let file = self.open(at, name)?;
        let meta = self.file_metadata(&file)?;
        Ok((file, meta))
    }
    /// Opens a regular file for reading and writing.
    fn open_write(&self, at: &Self::Dir, name: &Name) -> io::Result<Self::File>;
    /// Creates a regular file that does not exist yet, for reading and writing.
    fn create(&self, at: &Self::Dir, name: &Name, mode: u16) -> io::Result<Self::File>;
    /// Reads into `buffer` from `offset`; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, file: &Self::File, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, file: &Self::File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Zeros that need not be in memory: a file without a name beside what is in a directory, say. Nothing where there is no such thing, or no room.
    fn lend(&self, _at: &Self::Dir, _len: usize) -> Option<Lent> {
        None
    }
    /// Cuts or extends (with a hole) a file.
    fn set_len(&self, file: &Self::File, len: u64) -> io::Result<()>;
    /// Makes a file's bytes and length durable.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// The next range of a file that holds data, from `offset` on; `None` when only a hole is left.
    fn next_data(&self, file: &Self::File, offset: u64) -> io::Result<Option<Range<u64>>>;
    /// Shares `len` bytes of `from` with `to` without copying; `Unsupported` where the file system cannot.
    fn share_range(
        &self,
        from: &Self::File,
        from_offset: u64,
        to: &Self::File,
        to_offset: u64,
        len: u64,
    ) -> io::Result<()>;
    /// Sets numeric owner and group of an open file.
    fn set_owner_of(&self, file: &Self::File, uid: u32, gid: u32) -> io::Result<()>;
    /// Sets the modification time of an open file; a later write changes it again.
    fn set_mtime_of(&self, file: &Self::File, seconds: i64, nanos: u32) -> io::Result<()>;
    /// The names of an open file's extended attributes; empty where there are none.
    fn attribute_names_of(&self, file: &Self::File) -> io::Result<Vec<Vec<u8>>>;
    /// Takes an exclusive advisory lock that ends with the handle; `WouldBlock` when another process has it.
    fn lock(&self, file: &Self::File) -> io::Result<()>;

    /// Moves a name; replaces a file or symlink that stands there, in one step.
    fn rename(&self, from: &Self::Dir, name: &Name, to: &Self::Dir, new: &Name) -> io::Result<()>;
    /// Has two names change places, whatever they are, in one step; both must be there. `Unsupported` or `InvalidInput` where the file
    /// system cannot, `ResourceBusy` where one of them is a mount point, `CrossesDevices` where they stand on two file systems.
    fn exchange(&self, from: &Self::Dir, name: &Name, to: &Self::Dir, new: &Name) -> io::Result<()>;
    /// Gives a regular file a second name.
    fn link(&self, from: &Self::Dir, name: &Name, to: &Self::Dir, new: &Name) -> io::Result<()>;
    /// Creates a symlink; its target is data.
    fn symlink(&self, at: &Self::Dir, name: &Name, target: &[u8]) -> io::Result<()>;
    /// The target of a symlink.
    fn read_link(&self, at: &Self::Dir, name: &Name) -> io::Result<Vec<u8>>;
    /// Removes a file or symlink.
    fn remove_file(&self, at: &Self::Dir, name: &Name) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, at: &Self::Dir, name: &Name) -> io::Result<()>;
    /// Sets permission bits of a file or directory, not through a symlink.
    fn set_mode(&self, at: &Self::Dir, name: &Name, mode: u16) -> io::Result<()>;
    /// Sets numeric owner and group, of a symlink itself if it is one.
    fn set_owner(&self, at: &Self::Dir, name: &Name, uid: u32, gid: u32) -> io::Result<()>;
    /// Sets the modification time, of a symlink itself if it is one.
    fn set_mtime(&self, at: &Self::Dir, name: &Name, seconds: i64, nanos: u32) -> io::Result<()>;
    /// The names of extended attributes, of a symlink itself if it is one; empty where there are none.
    fn attribute_names(&self, at: &Self::Dir, name: &Name) -> io::Result<Vec<Vec<u8>>>;
    /// The value of an extended attribute, of a symlink itself if it is one; `None` where there is none.
    fn attribute(&self, at: &Self::Dir, name: &Name, attribute: &[u8]) -> io::Result<Option<Vec<u8>>>;
    /// Gives an extended attribute a value, of a symlink itself if it is one.
    fn set_attribute(&self, at: &Self::Dir, name: &Name, attribute: &[u8], value: &[u8]) -> io::Result<()>;
}
