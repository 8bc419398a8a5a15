//! The system calls that neither std, libc nor aya wraps: bpf(2), perf_event_open(2), capget(2), seccomp(2), Landlock.
//!
//! Every function here takes and returns safe types, checks buffer lengths before the kernel can write past them, and
//! reports a failure as the [`std::io::Error`] of its errno. What an errno *means* for the user is decided by the
//! caller: this folder knows the kernel's interface and nothing about profiling.

pub mod bell;
pub mod bpf;
pub mod caps;
pub mod cpus;
pub mod kernel_code;
pub mod landlock;
pub mod limits;
pub mod lost_pages;
pub mod map;
pub mod membarrier;
pub mod own;
pub mod passing;
pub mod perf;
pub mod perf_ring;
pub mod priority;
pub mod regular;
pub mod remedy;
pub mod seccomp;
pub mod settle;
pub mod shared;
pub mod version;
pub mod watch;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Turns the return value of a system call that gives a new file descriptor into its owner.
///
/// # Safety
/// `ret` is what such a call just returned: negative with errno set, or a descriptor that nobody else owns.
unsafe fn owned_fd(ret: libc::c_long) -> io::Result<OwnedFd> {
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(ret).map_err(io::Error::other)?;
    // SAFETY: the caller vouches that `ret` is a fresh descriptor; it is not negative, as checked above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Turns the return value of a system call that gives zero or -1 into a result.
pub(crate) fn check(ret: libc::c_long) -> io::Result<()> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
