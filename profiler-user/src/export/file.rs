//! Writing a file so that it appears whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use crate::profile::{codec::Encoder, proto::Profile, validate};

/// How the name of an unfinished file begins. Files of this name that no profiler is writing are leftovers.
pub const UNFINISHED: &str = ".unfinished-";

/// Why a profile was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The profile is not one that consumers accept: a defect of the profiler.
    #[error(
        "the profile for {path} is invalid ({reason}): this is a defect of the profiler, please report it"
    )]
    Invalid {
        /// Where it was to go.
        path: PathBuf,
        /// What is wrong.
        reason: validate::Invalid,
    },
    /// The file system refused.
    #[error("{path} cannot be written ({source}): check that the folder exists, is writable and has room")]
    Io {
        /// Where it was to go.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

/// Checks, encodes and writes a profile.
///
/// # Errors
/// When the profile is invalid or the file system refuses; the target is then as it was before.
pub fn write_profile(path: &Path, profile: &Profile, encoder: &mut Encoder) -> Result<(), WriteError> {
    stage_profile(path, profile, encoder)?.appear()
}

/// Checks and encodes a profile, and writes it next to its place.
///
/// # Errors
/// When the profile is invalid or the file system refuses.
pub fn stage_profile(path: &Path, profile: &Profile, encoder: &mut Encoder) -> Result<Staged, WriteError> {
    validate::check(profile, validate::Rules::Written)
        .map_err(|reason| WriteError::Invalid { path: path.to_owned(), reason })?;
    let fail = |source| WriteError::Io { path: path.to_owned(), source };
    let bytes = encoder.encode(profile).map_err(fail)?;
    Staged::write(path, bytes).map_err(fail)
}

/// A file that lies next to its place, on its way to the disk. Dropped, it goes away.
///
/// Of many files, all are to be staged before the first appears: while one is waited for, the others arrive with it, which
/// is less work for the disk and wakes the thread seldom.
#[derive(Debug)]
pub struct Staged {
    file: File,
    unfinished: PathBuf,
    path: PathBuf,
    has_appeared: bool,
}

impl Staged {
    fn write(path: &Path, bytes: &[u8]) -> io::Result<Staged> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name =
            path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
        let mut unfinished = OsString::from(format!("{UNFINISHED}{}-", std::process::id()));
        unfinished.push(name);
        // No ending that anyone takes for a profile.
        unfinished.push(".tmp");
        let unfinished = folder.join(unfinished);
        let file = File::create(&unfinished)?;
        let mut staged = Staged { file, unfinished, path: path.to_owned(), has_appeared: false };
        staged.file.write_all(bytes)?;
        // SAFETY: the descriptor is the file's, and the call touches no memory of ours.
        let begun =
            unsafe { libc::sync_file_range(staged.file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        if begun != 0 {
            // Some file systems cannot begin early (sync_file_range(2)); the wait at the end is longer there.
            tracing::trace!("{}: {}", path.display(), io::Error::last_os_error());
        }
        Ok(staged)
    }

    /// Waits until it is on the disk, and renames it into place.
    ///
    /// # Errors
    /// When the file system refuses; the target is then as it was before.
    pub fn appear(mut self) -> Result<(), WriteError> {
        let moved = self.file.sync_all().and_then(|()| fs::rename(&self.unfinished, &self.path));
        self.has_appeared = moved.is_ok();
        moved.map_err(|source| WriteError::Io { path: self.path.clone(), source })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.has_appeared {
            // Whatever is left of the attempt is of no use; if it cannot go now, the next start removes it.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

/// Writes a file next to its place, brings it to disk, and renames it into place.
///
/// # Errors
/// When the file system refuses; the target is then as it was before.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match Staged::write(path, bytes)?.appear() {
        Ok(()) => Ok(()),
        Err(WriteError::Io { source, .. }) => Err(source),
        // Only profiles are checked.
        Err(WriteError::Invalid { reason, .. }) => Err(io::Error::other(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_does_not_appear_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let staged =
            [Staged::write(&path, b"one").unwrap(), Staged::write(&folder.path().join("y"), b"two").unwrap()];
        let names = || {
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        assert!(names().iter().all(|name| name.to_string_lossy().starts_with(UNFINISHED)), "{:?}", names());
        let [one, two] = staged;
        drop(two);
        one.appear().unwrap();
        assert_eq!(names(), ["x"]);
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("no/x"), b"one").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
