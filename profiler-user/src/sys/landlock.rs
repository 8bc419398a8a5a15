//! Landlock (Linux 5.13): a thread gives up rights to the file system, for itself and the threads that it starts later.
//!
//! The interface is three system calls and grows by versions ("ABIs"), each of which knows of more rights; the numbers are
//! those of `include/uapi/linux/landlock.h`. A right that the kernel does not know of is left out: it cannot be given up.

use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

use libc::{SYS_landlock_add_rule, SYS_landlock_create_ruleset, SYS_landlock_restrict_self};

use super::{check, owned_fd};

/// Rights to the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u64);

impl Rights {
    /// To run a file as a program.
    const EXECUTE: u64 = 1 << 0;
    const WRITE_FILE: u64 = 1 << 1;
    const REMOVE_FILE: u64 = 1 << 5;
    const MAKE_SOCKET: u64 = 1 << 9;
    /// All that make and remove: REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM.
    const MAKE_AND_REMOVE: u64 = 0b1_1111_1111 << 4;
    /// Linking and renaming from folder to folder, which without it is refused.
    const REFER: u64 = 1 << 13;
    const TRUNCATE: u64 = 1 << 14;
    const DEVICE_IOCTL: u64 = 1 << 15;

    /// All that change something, and running programs, as far as an ABI knows of them.
    fn changes(abi: u32) -> Self {
        let mut rights = Self::EXECUTE | Self::WRITE_FILE | Self::MAKE_AND_REMOVE;
        for (since, right) in [(2, Self::REFER), (3, Self::TRUNCATE), (5, Self::DEVICE_IOCTL)] {
            if abi >= since {
                rights |= right;
            }
        }
        Self(rights)
    }

    /// To write, make and remove files and folders, but no devices.
    #[must_use]
    pub fn files() -> Self {
        const REMOVE_DIR: u64 = 1 << 4;
        const MAKE_DIR: u64 = 1 << 7;
        const MAKE_REGULAR: u64 = 1 << 8;
        let makes = REMOVE_DIR | Self::REMOVE_FILE | MAKE_DIR | MAKE_REGULAR;
        Self(Self::WRITE_FILE | makes | Self::REFER | Self::TRUNCATE)
    }

    /// To make and remove a socket.
    #[must_use]
    pub fn sockets() -> Self {
        Self(Self::MAKE_SOCKET | Self::REMOVE_FILE)
    }
}

/// The version that the kernel has; `None` where it has none, or was told to use none.
#[must_use]
pub fn abi() -> Option<u32> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag no memory is passed.
    let ret = unsafe {
        libc::syscall(SYS_landlock_create_ruleset, std::ptr::null::<Attributes>(), 0_usize, VERSION)
    };
    u32::try_from(ret).ok().filter(|&abi| abi > 0)
}

/// `struct landlock_ruleset_attr`; an older kernel takes a part of it.
#[repr(C)]
struct Attributes {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// What may be changed where; nothing else may, and no program may be run.
#[derive(Debug)]
pub struct Ruleset {
    fd: OwnedFd,
    abi: u32,
}

impl Ruleset {
    /// One that allows to change nothing yet.
    ///
    /// # Errors
    /// `EOPNOTSUPP` or `ENOSYS` where the kernel has no Landlock.
    pub fn new() -> io::Result<Self> {
        /// Abstract Unix sockets of others (ABI 6).
        const ABSTRACT_SOCKETS: u64 = 1 << 0;
        let abi = abi().ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))?;
        let attributes = Attributes {
            handled_access_fs: Rights::changes(abi).0,
            handled_access_net: 0,
            scoped: if abi >= 6 { ABSTRACT_SOCKETS } else { 0 },
        };
        let size = match abi {
            0..4 => 8,
            4..6 => 16,
            6.. => size_of::<Attributes>(),
        };
        // SAFETY: the attributes are readable for the size that is passed.
        let ret = unsafe { libc::syscall(SYS_landlock_create_ruleset, &raw const attributes, size, 0) };
        // SAFETY: the call just made the descriptor, or failed.
        let fd = unsafe { owned_fd(ret) }?;
        Ok(Self { fd, abi })
    }

    /// Allows this beneath a folder.
    ///
    /// # Errors
    /// When the folder cannot be opened.
    pub fn allow(&mut self, folder: &Path, rights: Rights) -> io::Result<()> {
        const PATH_BENEATH: libc::c_int = 1;
        let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY;
        let parent = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
        let rule =
            Beneath { allowed_access: rights.0 & Rights::changes(self.abi).0, parent_fd: parent.as_raw_fd() };
        // SAFETY: the rule has the layout of its kind, and is only read.
        check(unsafe {
            libc::syscall(SYS_landlock_add_rule, self.fd.as_raw_fd(), PATH_BENEATH, &raw const rule, 0)
        })
    }

    /// Confines the calling thread, for good. Files that are open stay what they are. It may look into no process any more that
    /// is not confined likewise: not into /proc/PID/maps, nor what lies behind /proc/PID/root (ptrace(2) is refused, and what
    /// asks for the same right).
    ///
    /// # Errors
    /// `EPERM` without "no new privileges" ([`super::caps::no_new_privileges`]).
    pub fn confine(&self) -> io::Result<()> {
        // SAFETY: numbers only.
        check(unsafe { libc::syscall(SYS_landlock_restrict_self, self.fd.as_raw_fd(), 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_that_the_abi_knows_of() {
        assert_eq!(Rights::changes(1).0, 0x1ff3);
        assert_eq!(Rights::changes(2).0, 0x3ff3);
        assert_eq!(Rights::changes(3).0, 0x7ff3);
        assert_eq!(Rights::changes(7).0, 0xfff3);
        assert_eq!(Rights::files().0 & !Rights::changes(3).0, 0);
        assert_eq!(Rights::files().0 & Rights::EXECUTE, 0);
    }
}
