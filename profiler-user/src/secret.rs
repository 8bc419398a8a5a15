//! Secrets: they come from files, are read again when the files change, and are never shown.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::sys::version::FileVersion;

/// The longest secret, bytes.
const LONGEST: u64 = 64 << 10;

/// A file with one secret; white space around it does not count.
pub struct SecretFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

/// What was read, and how to tell that the file is another one since.
#[derive(Clone, Default)]
struct Seen {
    version: Option<FileVersion>,
    secret: String,
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SecretFile {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// The file cannot be read, is empty, or is no text.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = Self { path: path.to_owned(), seen: Mutex::default() };
        file.read()?;
        Ok(file)
    }

    /// The secret as the file has it now. While it cannot be read, which happens when it is being replaced, the last one
    /// counts.
    ///
    /// # Errors
    /// It could never be read.
    pub fn read(&self) -> io::Result<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match self.read_if_changed(seen.version) {
            Ok(Some(new)) => *seen = new,
            Ok(None) => {}
            Err(error) if seen.version.is_some() => {
                tracing::warn!("the secret in {} stays what it was: {error}", self.path.display());
            }
            Err(error) => return Err(error),
        }
        Ok(seen.secret.clone())
    }

    fn read_if_changed(&self, known: Option<FileVersion>) -> io::Result<Option<Seen>> {
        let file = fs::metadata(&self.path)?;
        let version = Some(FileVersion::of(&self.path)?);
        if version == known {
            return Ok(None);
        }
        if !file.is_file() || file.len() > LONGEST {
            return Err(io::Error::other("it is no file of at most 64 KiB"));
        }
        let secret = fs::read_to_string(&self.path)?.trim().to_owned();
        if secret.is_empty() {
            return Err(io::Error::other("it is empty"));
        }
        Ok(Some(Seen { version, secret }))
    }
}

/// Whether two texts are equal, in a time that does not tell where they differ.
#[must_use]
pub fn equal(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(SecretFile::open(&path).is_err(), "not there");
        fs::write(&path, "  \n").unwrap();
        assert!(SecretFile::open(&path).is_err(), "empty");
        fs::write(&path, "one\n").unwrap();
        let secret = SecretFile::open(&path).unwrap();
        assert_eq!(secret.read().unwrap(), "one");
        assert!(!format!("{secret:?}").contains("one"));
        fs::write(folder.path().join("new"), "other").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(secret.read().unwrap(), "other");
        fs::remove_file(&path).unwrap();
        assert_eq!(secret.read().unwrap(), "other", "the last one counts");
    }

    #[test]
    fn equality() {
        assert!(equal("", "") && equal("abc", "abc"));
        assert!(!equal("abc", "abd") && !equal("abc", "ab"));
    }
}
