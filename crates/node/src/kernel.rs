//! What the kernel offers and no library reaches safely: the one file of this crate with unsafe code.
//!
//! Each function is a single call with a SAFETY sentence, and changes only how fast something is, or where it lies, never what it gives: leaving a call
//! out, or a buffer on the heap, is the safe twin, and is tested.
#![allow(unsafe_code)]

use memmap2::MmapMut;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Wakes a reader only when so many bytes have come (or the connection ended): a wake-up for each packet costs more than all
/// that is done with the bytes.
pub(crate) fn set_receive_low_water(socket: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    let value: *const i32 = &bytes;
    // SAFETY: the descriptor is open for as long as it is borrowed, and `value` points to `len` readable bytes during the call.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, value.cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Shares a range of bytes of one file with another without copying them (`FICLONERANGE`), where the file system can.
pub(crate) fn share_range(
    from: BorrowedFd<'_>,
    from_offset: u64,
    to: BorrowedFd<'_>,
    to_offset: u64,
    len: u64,
) -> io::Result<()> {
    let range = libc::file_clone_range {
        src_fd: from.as_raw_fd().into(),
        src_offset: from_offset,
        src_length: len,
        dest_offset: to_offset,
    };
    let range: *const libc::file_clone_range = &range;
    // SAFETY: both descriptors are open for as long as they are borrowed, and `range` points to what this call only reads.
    let done = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONERANGE, range) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The bytes of a file as memory: what is written there goes to the file, and what is not used for a while needs no memory. The safe twin is
/// a buffer on the heap.
///
/// Whoever touches bytes that the disk cannot give, or that somebody cut off the file, ends with a signal. So it is for files that have
/// no name and all of their blocks.
pub(crate) fn mapped(file: &File) -> io::Result<MmapMut> {
    // SAFETY: nobody else has this file open, which has no name while it is mapped, and its length does not change; see `scratch`,
    // which is the only caller.
    unsafe { MmapMut::map_mut(file) }
}
