//! What the kernel offers and no library reaches safely: the one file of this crate with unsafe code.
//!
//! Each function is a single call with a SAFETY sentence, does nothing where the kernel has no such thing, and changes only
//! how fast something is, never what it gives: leaving a call out is the safe twin, and is tested.
#![allow(unsafe_code)]

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
