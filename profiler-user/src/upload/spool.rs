//! Batches that wait on disk: a bounded folder that survives restarts.
//!
//! A batch is a file from the moment it is made until the receiver has it. Files are named by the start of their window, so
//! that their order by name is that of time. The oldest goes first. What has no room is refused and counted, and what is too
//! old is removed and counted: an outage keeps its beginning.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::batch::Batch;
use crate::export::file::{self, UNFINISHED};

/// How the name of a batch ends.
const ENDING: &str = ".batch";

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files.
    pub bytes: u64,
    /// From the end of the window on.
    pub age: Duration,
}

/// A waiting batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When its window began, nanoseconds since the Unix epoch.
    pub start_unix_ns: u64,
    /// Of several with the same start.
    number: u32,
    bytes: u64,
}

/// Why a batch does not wait.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// As much waits as may.
    #[error("{0} bytes wait already: the window is given up (spool-size says how many may)")]
    Full(u64),
    /// The file system refused.
    #[error("{path} cannot be written ({source}): check that its folder is writable and has room")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

/// A folder of batches.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    bounds: Bounds,
    /// The oldest first.
    entries: Vec<Entry>,
}

impl Spool {
    /// Opens the folder, makes it where it is missing, and finds what an earlier run left.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn open(folder: &Path, bounds: Bounds) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut entries = Vec::new();
        for file in fs::read_dir(folder)? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) {
                // Nobody else writes here; should it not go, the next start tries again.
                let _ = fs::remove_file(file.path());
            } else if let Some((start_unix_ns, number)) = parse(&name) {
                entries.push(Entry { start_unix_ns, number, bytes: file.metadata()?.len() });
            }
        }
        entries.sort();
        Ok(Self { folder: folder.to_owned(), bounds, entries })
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// How old batches may become.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.bounds.age
    }

    /// Batches that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keeps a batch until it is removed.
    ///
    /// # Errors
    /// There is no room.
    pub fn put(&mut self, batch: &Batch) -> Result<(), NotKept> {
        let bytes = batch.to_file();
        let size = bytes.len() as u64;
        let waiting = self.bytes();
        if waiting + size > self.bounds.bytes {
            return Err(NotKept::Full(waiting));
        }
        let same = self.entries.iter().filter(|entry| entry.start_unix_ns == batch.start_unix_ns);
        let number = same.map(|entry| entry.number + 1).max().unwrap_or(0);
        let entry = Entry { start_unix_ns: batch.start_unix_ns, number, bytes: size };
        self.write(&entry, &bytes)?;
        let at = self.entries.partition_point(|other| *other < entry);
        self.entries.insert(at, entry);
        Ok(())
    }

    /// The oldest.
    #[must_use]
    pub fn oldest(&self) -> Option<Entry> {
        self.entries.first().cloned()
    }

    /// All, the oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Reads a batch; `None` for one that is damaged or gone.
    #[must_use]
    pub fn read(&self, entry: &Entry) -> Option<Batch> {
        let path = self.path(entry);
        let bytes =
            fs::read(&path).inspect_err(|error| tracing::warn!("{}: {error}", path.display())).ok()?;
        Batch::of_file(&bytes).inspect_err(|error| tracing::warn!("{}: {error}", path.display())).ok()
    }

    /// Puts what is left of a batch in its place.
    ///
    /// # Errors
    /// The file system refuses; the batch is then as it was.
    pub fn replace(&mut self, entry: &Entry, rest: &Batch) -> Result<(), NotKept> {
        let bytes = rest.to_file();
        self.write(entry, &bytes)?;
        if let Some(known) = self.entries.iter_mut().find(|known| known.same_as(entry)) {
            known.bytes = bytes.len() as u64;
        }
        Ok(())
    }

    /// Removes a batch.
    pub fn remove(&mut self, entry: &Entry) {
        let path = self.path(entry);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
        self.entries.retain(|known| !known.same_as(entry));
    }

    /// Takes the batches that are too old, the oldest first.
    pub fn expired(&mut self, now_unix_ns: u64) -> Vec<Entry> {
        let age = u64::try_from(self.bounds.age.as_nanos()).unwrap_or(u64::MAX);
        let too_old = |entry: &&Entry| now_unix_ns.saturating_sub(entry.start_unix_ns) > age;
        self.entries.iter().take_while(too_old).cloned().collect()
    }

    fn write(&self, entry: &Entry, bytes: &[u8]) -> Result<(), NotKept> {
        let path = self.path(entry);
        file::write(&path, bytes).map_err(|source| NotKept::Io { path, source })
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.folder.join(format!("{:020}-{:04}{ENDING}", entry.start_unix_ns, entry.number))
    }
}

impl Entry {
    fn same_as(&self, other: &Entry) -> bool {
        (self.start_unix_ns, self.number) == (other.start_unix_ns, other.number)
    }
}

fn parse(name: &str) -> Option<(u64, u32)> {
    let (start, number) = name.strip_suffix(ENDING)?.split_once('-')?;
    Some((start.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::batch;
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 2000, age: Duration::from_nanos(1000) };

    #[test]
    fn the_oldest_comes_first_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), BOUNDS).unwrap();
        for start in [30, 10, 20, 10] {
            spool.put(&batch(start, &["a"])).unwrap();
        }
        fs::write(folder.path().join(format!("{UNFINISHED}1-x.tmp")), "torn").unwrap();
        fs::write(folder.path().join("of somebody else"), "x").unwrap();
        let mut spool = Spool::open(folder.path(), BOUNDS).unwrap();
        let mut starts = Vec::new();
        while let Some(entry) = spool.oldest() {
            starts.push(spool.read(&entry).unwrap().start_unix_ns);
            spool.remove(&entry);
        }
        assert_eq!((starts, spool.bytes()), (vec![10, 10, 20, 30], 0));
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["of somebody else"]);
    }

    #[test]
    fn what_has_no_room_is_refused_and_what_is_old_expires() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), BOUNDS).unwrap();
        let mut kept = 0;
        while spool.put(&batch(kept, &["a", "b"])).is_ok() {
            kept += 1;
        }
        assert!(kept > 2 && spool.bytes() <= BOUNDS.bytes, "{kept}");
        assert!(matches!(spool.put(&batch(99, &["a", "b"])), Err(NotKept::Full(_))));
        let expired = spool.expired(1002);
        assert_eq!(expired.iter().map(|entry| entry.start_unix_ns).collect::<Vec<_>>(), [0, 1]);
        for entry in &expired {
            spool.remove(entry);
        }
        assert!(spool.put(&batch(99, &["a"])).is_ok());
    }

    #[test]
    fn a_part_takes_the_place_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), BOUNDS).unwrap();
        spool.put(&batch(1, &["a", "b"])).unwrap();
        let (entry, before) = (spool.oldest().unwrap(), spool.bytes());
        spool.replace(&entry, &batch(1, &["b"])).unwrap();
        assert!(spool.bytes() < before && spool.len() == 1);
        assert_eq!(spool.read(&entry), Some(batch(1, &["b"])));
        fs::write(spool.path(&entry), "damaged").unwrap();
        assert_eq!(spool.read(&entry), None);
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(matches!(spool.put(&batch(2, &["a"])), Err(NotKept::Io { .. })));
    }
}
