//! Writing a file so that it appears whole or not at all.

use std::{
    ffi::{CString, OsString},
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use crate::{
    profile::{codec::Encoder, proto::Profile, validate},
    sys::settle,
};

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
    bytes: u64,
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
        // Held until the file is in its place or given up: whoever cleans up sees that it is none of the leftovers. Where a file
        // system has no locks, another profiler may take it for one; then the rename fails, which is counted.
        let _ = lock(&file);
        let mut staged = Staged {
            file,
            unfinished,
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            has_appeared: false,
        };
        staged.file.write_all(bytes)?;
        settle::begin(&staged.file);
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

    /// Renames it into place once its data is on the disk. After a power cut it is there whole or, unlike what has appeared by the
    /// other way, not at all: one of many that come each minute. It replaces nothing: where a file has taken its place meanwhile,
    /// it goes to one that `other` gives. Gives its size in bytes.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn appear_beside(mut self, mut other: impl FnMut() -> PathBuf) -> Result<u64, WriteError> {
        let moved = settle::end(&self.file).and_then(|()| {
            loop {
                match rename_new(&self.unfinished, &self.path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.path = other(),
                    result => return result,
                }
            }
        });
        self.has_appeared = moved.is_ok();
        moved.map(|()| self.bytes).map_err(|source| WriteError::Io { path: self.path.clone(), source })
    }
}

/// Renames a file to a name that none has yet; `AlreadyExists` where one has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let path = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let (old, new) = (path(from)?, path(to)?);
    // SAFETY: both are strings that end with a zero and outlive the call, which only reads them.
    let result = unsafe {
        libc::renameat2(libc::AT_FDCWD, old.as_ptr(), libc::AT_FDCWD, new.as_ptr(), libc::RENAME_NOREPLACE)
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Not every file system can (renameat2(2)). There, two profilers with one folder may replace each other's files.
        Some(libc::EINVAL | libc::ENOSYS) => fs::rename(from, to),
        _ => Err(error),
    }
}

/// Locks a file, unless somebody else has done so.
fn lock(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is the file's, and the call touches no memory.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Removes what an interrupted run left unfinished in this folder: what another one is writing is locked, and stays.
pub fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        // A folder or a FIFO of this name is none of ours, and opening it could wait for ever.
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        let path = entry.path();
        let in_use = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        match File::open(&path).and_then(|file| lock(&file).map(|()| file)) {
            Err(error) if in_use(&error) => continue,
            // What can be neither opened nor locked may still be removed.
            _ => {}
        }
        match fs::remove_file(&path) {
            Ok(()) => tracing::info!("removed the unfinished file {}", path.display()),
            Err(error) => tracing::warn!("{} cannot be removed: {error}", path.display()),
        }
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
