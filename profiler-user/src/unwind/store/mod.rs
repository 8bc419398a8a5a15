//! Unwind tables on disk, so that the next run need not build them again.
//!
//! An entry is the rows of one object, as many pages of them as were built. It is found by what identifies the object
//! ([`Key`]), appears whole or not at all, and is checked when it is read: one that is damaged is removed, and its
//! rows are built from the object's file again. The folder belongs to the user that the profiler runs as and holds a
//! bounded number of bytes; what was used longest ago goes first.

mod folder;
mod key;
mod layout;

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

pub use folder::FolderError;
pub(super) use key::{Changed, Key};
pub(super) use layout::Draft;

use self::{
    folder::Folder,
    layout::{Damaged, Head, Present},
};
use profiler_common::unwind::rule::Rule;

/// What the cache did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Pages that came from the cache.
    pub hits: u64,
    /// Pages that had to be built although their object may be cached.
    pub misses: u64,
    /// Bytes of the entries that were written.
    pub bytes_written: u64,
    /// Entries that were removed because they were damaged.
    pub damaged: u64,
}

/// The cache.
#[derive(Debug)]
pub struct Store {
    folder: Folder,
    pub(super) figures: StoreFigures,
}

/// Why an entry gives no rows.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("it cannot be read ({0})")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// Rows of one object.
#[derive(Debug)]
pub(super) struct Entry {
    file: File,
    head: Head,
}

impl Store {
    /// The cache in a folder, which is made where it is missing; it keeps at most `limit` bytes there, files rounded up
    /// to 4 KiB.
    ///
    /// # Errors
    /// Where the folder cannot be made, opened or read, or does not belong to this user alone.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, FolderError> {
        Ok(Self { folder: Folder::open(folder, limit)?, figures: StoreFigures::default() })
    }

    /// The entry of an object, if there is one that is sound.
    pub(super) fn find(&mut self, key: &Key) -> Option<Entry> {
        let name = key.file_name();
        let file = self
            .folder
            .read(&name)
            .inspect_err(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!("the cached unwind table {name} cannot be opened: {error}");
                }
            })
            .ok()?;
        Entry::read(file, key).inspect_err(|error| self.discard(key, error)).ok()
    }

    /// The rows of a page: offsets, and numbers in [`Entry::rules`]. Where they are damaged the whole entry is removed,
    /// and should not be asked again.
    pub(super) fn rows(&mut self, key: &Key, entry: &Entry, page: &Present) -> Option<Vec<(u16, u16)>> {
        entry.rows(page).inspect_err(|error| self.discard(key, error)).ok()
    }

    /// Whether an entry of so many bytes may be written at all.
    pub(super) fn holds(&self, bytes: usize) -> bool {
        self.folder.holds(bytes)
    }

    /// Writes an entry in place of the one that is there.
    pub(super) fn save(&mut self, key: &Key, bytes: &[u8]) -> io::Result<()> {
        self.folder.write(&key.file_name(), bytes)?;
        self.figures.bytes_written += bytes.len() as u64;
        Ok(())
    }

    fn discard(&mut self, key: &Key, why: &Unreadable) {
        let name = key.file_name();
        tracing::debug!("the cached unwind table {name} is removed: {why}");
        self.figures.damaged += 1;
        self.folder.remove(&name);
    }
}

impl Entry {
    fn read(file: File, key: &Key) -> Result<Self, Unreadable> {
        let file_bytes = file.metadata()?.len();
        let mut bytes = vec![0; layout::FIXED_BYTES];
        read_exact(&file, &mut bytes, 0)?;
        let head_bytes = layout::head_bytes(&bytes)?;
        if head_bytes > file_bytes {
            return Err(Damaged("length").into());
        }
        bytes.resize(usize::try_from(head_bytes).map_err(|_| Damaged("length"))?, 0);
        let (_, rest) = bytes.split_at_mut(layout::FIXED_BYTES);
        read_exact(&file, rest, layout::FIXED_BYTES as u64)?;
        Ok(Self { file, head: layout::head(&bytes, file_bytes, key)? })
    }

    /// Number of the object's first page.
    pub(super) fn first_page(&self) -> u64 {
        self.head.first_page
    }

    /// Pages that the object has.
    pub(super) fn pages(&self) -> u32 {
        self.head.pages
    }

    /// Pages that are here.
    pub(super) fn len(&self) -> usize {
        self.head.present.len()
    }

    /// The rules that rows name by number.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.head.rules
    }

    /// A page by its number from the object's first, if it is here.
    pub(super) fn page(&self, page: u32) -> Option<Present> {
        let index = self.head.present.binary_search_by_key(&page, |present| present.page).ok()?;
        self.head.present.get(index).copied()
    }

    fn rows(&self, page: &Present) -> Result<Vec<(u16, u16)>, Unreadable> {
        let mut bytes = vec![0; page.bytes()];
        read_exact(&self.file, &mut bytes, page.at)?;
        Ok(layout::rows(&bytes, page, self.head.rules.len())?)
    }
}

/// A file that is shorter than it was is damaged.
fn read_exact(file: &File, bytes: &mut [u8], at: u64) -> Result<(), Unreadable> {
    file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Damaged("length").into(),
        _ => error.into(),
    })
}

#[cfg(test)]
mod tests;
