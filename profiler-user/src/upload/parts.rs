//! Windows of an interval that is not over: they wait on disk, too, and become one batch when it is.
//!
//! A window that has arrived here survives SIGKILL: the next start makes a batch of what it finds. The order of steps sees to
//! it that nothing is sent twice: the folder of parts is renamed, so that it takes no more; its batch is put into the spool;
//! the folder goes. Where the end comes between the last two, the batch is made again, with the same ids.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use super::batch::Batch;
use super::spool::{Bounds, NotKept, Spool};

/// Where parts wait, in the folder of the target's spool.
const OPEN: &str = "interval";
/// Where parts are that are being made one.
const CLOSED: &str = "interval-over";

/// The parts of one target's interval.
#[derive(Debug)]
pub(super) struct Parts {
    folder: PathBuf,
    bounds: Bounds,
    interval: Duration,
    open: Option<Spool>,
    covered: Duration,
}

impl Parts {
    /// Of a target whose spool is in `folder`.
    pub(super) fn new(folder: &Path, bounds: Bounds, interval: Duration) -> Parts {
        Parts { folder: folder.to_owned(), bounds, interval, open: None, covered: Duration::ZERO }
    }

    /// Before the first window: an interval that an earlier run left, as [`Parts::take`] gives one. To be asked until there is
    /// none.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn left(&mut self) -> io::Result<Option<Vec<Batch>>> {
        if self.folder.join(CLOSED).is_dir() {
            return self.closed().map(Some);
        }
        if self.folder.join(OPEN).is_dir() {
            return self.take().map(Some);
        }
        Ok(None)
    }

    /// Whether a window is to be kept here, rather than sent by itself.
    pub(super) fn takes(&self, length: Duration) -> bool {
        self.covered > Duration::ZERO || length < self.interval
    }

    /// Keeps a window, and says whether the interval is over with it.
    ///
    /// # Errors
    /// The disk takes it not, or as much waits as may: what is here is an interval then.
    pub(super) fn put(&mut self, window: &Batch) -> Result<bool, NotKept> {
        let path = self.folder.join(OPEN);
        let spool = match &mut self.open {
            Some(spool) => spool,
            none => {
                none.insert(Spool::open(&path, self.bounds).map_err(|source| NotKept::Io { path, source })?)
            }
        };
        spool.put(window)?;
        let length = Duration::from_nanos(window.duration_ns);
        self.covered += length;
        // Windows end a moment late or early.
        Ok(self.covered + length / 2 >= self.interval)
    }

    /// Whether there is anything.
    pub(super) fn is_empty(&self) -> bool {
        self.covered.is_zero()
    }

    /// Ends the interval: its windows, the oldest first. They stay on disk until [`Parts::forget`].
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn take(&mut self) -> io::Result<Vec<Batch>> {
        self.close()?;
        self.closed()
    }

    /// Removes what [`Parts::take`] gave; the spool has it now.
    pub(super) fn forget(&self) {
        let path = self.folder.join(CLOSED);
        if let Err(error) = fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
    }

    fn close(&mut self) -> io::Result<()> {
        (self.open, self.covered) = (None, Duration::ZERO);
        self.forget();
        fs::rename(self.folder.join(OPEN), self.folder.join(CLOSED))
    }

    fn closed(&self) -> io::Result<Vec<Batch>> {
        let spool = Spool::open(&self.folder.join(CLOSED), self.bounds)?;
        // A damaged one is told in the log; what was in it nobody knows.
        Ok(spool.entries().iter().filter_map(|entry| spool.read(entry)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::batch;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const BOUNDS: Bounds = Bounds { bytes: 2000, age: Duration::from_secs(3600) };

    fn starts(windows: &[Batch]) -> Vec<u64> {
        windows.iter().map(|window| window.start_unix_ns).collect()
    }

    #[test]
    fn an_interval_is_over_when_its_windows_cover_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = Parts::new(folder.path(), BOUNDS, 3 * MINUTE);
        assert!(parts.is_empty() && parts.takes(MINUTE) && !parts.takes(3 * MINUTE));
        assert_eq!(parts.left().unwrap(), None);
        for (start, over) in [(1, false), (2, false), (3, true)] {
            assert_eq!(parts.put(&batch(start, &["a"])).unwrap(), over);
        }
        assert!(parts.takes(9 * MINUTE), "a long window ends the interval that it belongs to");
        assert_eq!(starts(&parts.take().unwrap()), [1, 2, 3]);
        parts.forget();
        assert!(parts.is_empty());
        parts.put(&batch(4, &["a"])).unwrap();
        assert_eq!(starts(&parts.take().unwrap()), [4]);
    }

    #[test]
    fn killed_at_any_step_an_interval_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Parts::new(folder.path(), BOUNDS, 3 * MINUTE);
        let mut parts = open();
        parts.put(&batch(1, &["a"])).unwrap();
        parts.put(&batch(2, &["a"])).unwrap();
        // Within an interval.
        let mut parts = open();
        assert_eq!(parts.left().unwrap().map(|windows| starts(&windows)), Some(vec![1, 2]));
        // Before the batch is in the spool.
        let mut parts = open();
        assert_eq!(parts.left().unwrap().map(|windows| starts(&windows)), Some(vec![1, 2]));
        parts.forget();
        assert_eq!(parts.left().unwrap(), None);
        // Both an interval that was over and a new one.
        parts.put(&batch(3, &["a"])).unwrap();
        parts.take().unwrap();
        fs::create_dir(folder.path().join(OPEN)).unwrap();
        Spool::open(&folder.path().join(OPEN), BOUNDS).unwrap().put(&batch(4, &["a"])).unwrap();
        let mut parts = open();
        for start in [3, 4] {
            assert_eq!(parts.left().unwrap().map(|windows| starts(&windows)), Some(vec![start]));
            parts.forget();
        }
        assert_eq!(parts.left().unwrap(), None);
    }

    #[test]
    fn what_has_no_room_is_said_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = Parts::new(folder.path(), BOUNDS, 1000 * MINUTE);
        let mut kept = 0;
        let full = loop {
            match parts.put(&batch(kept, &["a"])) {
                Ok(over) => assert!(!over),
                Err(error) => break error,
            }
            kept += 1;
        };
        assert!(matches!(full, NotKept::Full(_)) && kept > 2, "{full} after {kept}");
        assert_eq!(parts.take().unwrap().len() as u64, kept);
    }
}
