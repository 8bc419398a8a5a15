//! Bytes as what a target needs.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Numbers out of bytes; zeros once they are used up.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(super) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from(self.u32()) | u64::from(self.u32()) << 32
    }

    /// What comes before the first such byte, which is left out, or all.
    pub(super) fn up_to(&mut self, end: u8) -> &'a [u8] {
        let at = self.0.iter().position(|&byte| byte == end).unwrap_or(self.0.len());
        let taken = self.take(at);
        self.take(1);
        taken
    }
}

/// A file with these bytes, in memory. It has other ones as soon as this is called again.
pub(super) fn with_file<T>(bytes: &[u8], work: impl FnOnce(&File) -> T) -> T {
    thread_local! {
        static FILE: RefCell<File> = RefCell::new(memory());
    }
    FILE.with_borrow(|file| {
        file.set_len(0).expect("a file in memory can be emptied");
        file.write_all_at(bytes, 0).expect("a file in memory can be written");
        work(file)
    })
}

/// A file in memory with these bytes.
pub(super) fn new_file(bytes: &[u8]) -> File {
    let file = memory();
    file.write_all_at(bytes, 0).expect("a file in memory can be written");
    file
}

fn memory() -> File {
    // SAFETY: the name is a string with a zero at its end, and the call does not keep it.
    let descriptor = unsafe { libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(descriptor >= 0, "memfd_create: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was just made, and nobody else has it.
    File::from(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
