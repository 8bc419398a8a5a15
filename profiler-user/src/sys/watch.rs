//! Changes in a folder: inotify(7).

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Tells that something was made, replaced or written in a folder.
#[derive(Debug)]
pub struct FolderWatch(File);

impl FolderWatch {
    /// Watches from now on.
    ///
    /// # Errors
    /// There is no such folder, or no watch is left (`fs.inotify.max_user_watches`).
    pub fn new(folder: &Path) -> io::Result<Self> {
        let path = CString::new(folder.as_os_str().as_bytes())?;
        // SAFETY: numbers only.
        let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above just made the descriptor, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let events = libc::IN_CLOSE_WRITE | libc::IN_MOVED_TO | libc::IN_CREATE | libc::IN_ONLYDIR;
        // SAFETY: the path ends with a zero and outlives the call.
        if unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), events) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(fd.into()))
    }

    /// Forgets what has happened until now; says whether anything had.
    pub fn drain(&self) -> bool {
        let mut any = false;
        let mut buffer = [0; 4096];
        while (&self.0).read(&mut buffer).is_ok_and(|bytes| bytes > 0) {
            any = true;
        }
        any
    }
}

impl AsFd for FolderWatch {
    /// Readable when something has happened.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for FolderWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let watch = FolderWatch::new(folder.path()).unwrap();
        assert!(!watch.drain());
        std::fs::write(folder.path().join("new"), "x").unwrap();
        assert!(watch.drain() && !watch.drain());
        std::fs::rename(folder.path().join("new"), folder.path().join("old")).unwrap();
        assert!(watch.drain());
        assert!(FolderWatch::new(&folder.path().join("missing")).is_err());
    }
}
