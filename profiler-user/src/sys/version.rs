//! Whether a file is another one than before.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells one content of a path from the next: whoever replaces or writes a file changes at least one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    /// Modification time, seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileVersion {
    /// Of a file as it is now.
    ///
    /// # Errors
    /// There is none, or it may not be seen.
    pub fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        let modified = (file.mtime(), file.mtime_nsec());
        Ok(Self { device: file.dev(), inode: file.ino(), size: file.size(), modified })
    }
}
