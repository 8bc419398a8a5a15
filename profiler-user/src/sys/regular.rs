//! Opening files whose paths others choose.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::Path,
};

/// Opens a file for reading if it is a regular one. Whoever put something else in its place gets nothing done by it: opening a
/// FIFO would wait for a writer, and opening a device may do anything.
///
/// # Errors
/// As for [`File::open`]; `InvalidInput` for what is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Opens nothing yet, but holds what is there: no other file takes its place between the question and the opening (open(2)).
    let place = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    if !place.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::{ffi::CString, io::Read, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "content").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        std::os::unix::fs::symlink("loop", path("loop")).unwrap();
        let name = CString::new(path("fifo").as_os_str().as_bytes()).unwrap();
        // SAFETY: the name ends with a zero and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let mut text = String::new();
        open(&path("link")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        for other in [path("fifo"), path("loop"), path("missing"), "/dev/zero".into(), "/proc".into()] {
            assert!(open(&other).is_err(), "{}", other.display());
        }
    }
}
