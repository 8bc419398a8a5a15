//! A bell that one thread rings and another one sleeps on: eventfd(2).

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Rung any number of times, it is heard once. Clones are the same bell.
#[derive(Debug)]
pub struct Bell(File);

impl Bell {
    /// A bell that has not been rung.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: numbers only.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above just made the descriptor, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }.into()))
    }

    /// The same bell once more.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Rings.
    pub fn ring(&self) {
        // It only fails when the counter is at its limit, which says the same.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    /// Whether it was rung since it was last listened to.
    pub fn listen(&self) -> bool {
        (&self.0).read(&mut [0; 8]).is_ok()
    }
}

impl AsFd for Bell {
    /// Readable while it was rung and nobody has listened.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_heard_once_however_often_it_was_rung() {
        let bell = Bell::new().unwrap();
        let same = bell.try_clone().unwrap();
        assert!(!bell.listen());
        same.ring();
        same.ring();
        assert!(bell.listen());
        assert!(!bell.listen() && !same.listen());
    }
}
