//! Writing a file so that it appears whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
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

/// Checks, encodes and writes a profile. Returns the bytes written.
///
/// # Errors
/// When the profile is invalid or the file system refuses; the target is then as it was before.
pub fn write_profile(path: &Path, profile: &Profile, encoder: &mut Encoder) -> Result<u64, WriteError> {
    validate::check(profile, validate::Rules::Written)
        .map_err(|reason| WriteError::Invalid { path: path.to_owned(), reason })?;
    let fail = |source| WriteError::Io { path: path.to_owned(), source };
    let bytes = encoder.encode(profile).map_err(fail)?;
    write(path, bytes).map_err(fail)?;
    Ok(bytes.len() as u64)
}

/// Writes a file next to its place, brings it to disk, and renames it into place.
///
/// # Errors
/// When the file system refuses; the target is then as it was before.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let mut unfinished = OsString::from(format!("{UNFINISHED}{}-", std::process::id()));
    unfinished.push(name);
    // No ending that anyone takes for a profile.
    unfinished.push(".tmp");
    let unfinished = folder.join(unfinished);
    let result = (|| {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    if result.is_err() {
        // Whatever is left of the attempt is of no use; if it cannot go now, the next start removes it.
        let _ = fs::remove_file(&unfinished);
    }
    result
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
    fn a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(&folder.path().join("no/x"), b"one").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
