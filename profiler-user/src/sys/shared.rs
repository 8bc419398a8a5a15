//! Memory that a BPF array map shares with user space.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering},
};

/// Whether user space may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// The values of an array map with BPF_F_MMAPABLE (Linux 5.5), as 64-bit words. The kernel side may change them at any
/// time, so every access is atomic.
#[derive(Debug)]
pub struct SharedArray {
    address: *mut u64,
    words: usize,
    access: Access,
}

// SAFETY: the mapping belongs to no thread, and its words are only accessed atomically.
unsafe impl Send for SharedArray {}

impl SharedArray {
    /// Maps `words` words of the map behind a descriptor.
    ///
    /// # Errors
    /// `EINVAL` when the map is smaller or may not be mapped; `EPERM` when it may not be written.
    pub fn map(fd: BorrowedFd<'_>, words: usize, access: Access) -> io::Result<Self> {
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choice; nothing existing is touched.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), words * 8, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { address: address.cast(), words, access })
    }

    /// Number of words.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// The word at `index`; zero behind the end.
    #[must_use]
    pub fn load(&self, index: usize) -> u64 {
        self.word(index).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Sets the word at `index`, after everything that was set before. Nothing happens behind the end, or where the
    /// memory may only be read.
    pub fn store(&self, index: usize, value: u64) {
        if self.access == Access::ReadWrite
            && let Some(word) = self.word(index)
        {
            word.store(value, Ordering::Release);
        }
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        if index >= self.words {
            return None;
        }
        // SAFETY: the index lies within the mapping, which is page-aligned and lives as long as self. The kernel side
        // writes whole aligned words only.
        Some(unsafe { AtomicU64::from_ptr(self.address.wrapping_add(index)) })
    }
}

impl Drop for SharedArray {
    fn drop(&mut self) {
        // SAFETY: unmaps what `map` mapped; nobody else holds a pointer into it.
        unsafe { libc::munmap(self.address.cast(), self.words * 8) };
    }
}
