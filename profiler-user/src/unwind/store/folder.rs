//! The folder that entries lie in: it belongs to this user alone, and holds so many bytes at the most.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use super::key::is_entry;
use crate::export::file::UNFINISHED;

/// What a file takes on disk is rounded up to this many bytes.
const BLOCK: u64 = 4096;
/// An entry is marked as used when the last mark is older than this.
const MARK_EVERY: Duration = Duration::from_secs(3600);

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Somebody else could put tables there.
    #[error("{path} {why}: remove it, or name another folder with --unwind-cache")]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It cannot be made or opened.
    #[error(
        "{path} cannot be made or opened ({source}): mend its permissions, or name another folder with --unwind-cache"
    )]
    Unavailable {
        /// The folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

/// An open folder. Whatever becomes of its path, it is this one that is worked in.
#[derive(Debug)]
pub(super) struct Folder {
    /// Held open, for `path` leads through it.
    _directory: File,
    /// By the descriptor, as with openat(2).
    path: PathBuf,
    limit: u64,
    /// Bytes of the entries, as far as they are known here: other processes write, too.
    used: u64,
}

/// An entry in the folder.
struct Known {
    used: SystemTime,
    path: PathBuf,
    bytes: u64,
}

impl Folder {
    /// Opens a folder that may hold so many bytes, makes it where it is missing, and removes what is left over of
    /// interrupted runs.
    pub(super) fn open(path: &Path, limit: u64) -> Result<Self, FolderError> {
        // Behind a closing slash a symbolic link would be followed.
        let path: PathBuf = path.components().collect();
        let unsafe_as = |why| FolderError::Unsafe { path: path.clone(), why };
        let unavailable = |source: io::Error| match source.raw_os_error() {
            Some(libc::ENOTDIR | libc::ELOOP | libc::EEXIST) => {
                unsafe_as("is a symbolic link or no folder at all")
            }
            _ => FolderError::Unavailable { path: path.clone(), source },
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(unavailable)?;
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(&path)
            .map_err(unavailable)?;
        let metadata = directory.metadata().map_err(unavailable)?;
        // SAFETY: geteuid has no preconditions.
        if metadata.uid() != unsafe { libc::geteuid() } {
            return Err(unsafe_as("belongs to another user"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(unsafe_as("can be written to by other users"));
        }
        let through = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let mut folder = Self { _directory: directory, path: through, limit, used: 0 };
        folder.remove_unfinished().map_err(unavailable)?;
        folder.make_room(0).map_err(unavailable)?;
        Ok(folder)
    }

    /// Opens an entry for reading, and marks it as used.
    pub(super) fn read(&self, name: &str) -> io::Result<File> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(self.path.join(name))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        let age = metadata.modified()?.elapsed();
        // A mark in the future is none.
        if age.map_or(true, |age| age > MARK_EVERY) {
            // On a file system that is read-only the order in which entries go does not matter.
            let _ = file.set_modified(SystemTime::now());
        }
        Ok(file)
    }

    /// Whether an entry of so many bytes may be there, if it is the only one.
    pub(super) fn holds(&self, bytes: usize) -> bool {
        on_disk(bytes as u64) <= self.limit
    }

    /// Writes an entry that the folder holds in place of what is there: whole or not at all. A computer that crashes may leave it torn, which
    /// its checksums show; so nothing waits for the disk.
    pub(super) fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Several threads of one process may write, and several processes.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let size = on_disk(bytes.len() as u64);
        if self.used.saturating_add(size) > self.limit {
            self.make_room(size)?;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.path.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(bytes)?;
            fs::rename(&unfinished, self.path.join(name))
        })();
        match written {
            // What it replaced is counted as well until the folder is looked through again.
            Ok(()) => self.used += size,
            // What is left of the attempt is removed by the next start if it cannot go now.
            Err(_) => drop(fs::remove_file(&unfinished)),
        }
        written
    }

    /// Removes an entry.
    pub(super) fn remove(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.path.join(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!("the cached unwind table {name} stays: {error}");
        }
    }

    /// Removes the entries that were used longest ago until there is room for so many bytes.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        let mut known = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Some(metadata) = entry.metadata().ok().filter(fs::Metadata::is_file) else {
                continue;
            };
            if is_entry(&entry.file_name().to_string_lossy()) {
                let used = metadata.modified()?;
                known.push(Known { used, path: entry.path(), bytes: on_disk(metadata.len()) });
            }
        }
        self.used = known.iter().map(|entry| entry.bytes).sum();
        known.sort_unstable_by(|one, other| (one.used, &one.path).cmp(&(other.used, &other.path)));
        for entry in known {
            if self.used.saturating_add(bytes) <= self.limit {
                break;
            }
            match fs::remove_file(&entry.path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.used -= entry.bytes;
        }
        Ok(())
    }

    /// A process that writes right now loses what it writes, and writes it again later.
    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                match fs::remove_file(entry.path()) {
                    Ok(()) => tracing::debug!("removed an unfinished unwind table"),
                    Err(error) => tracing::debug!("an unfinished unwind table stays: {error}"),
                }
            }
        }
        Ok(())
    }
}

fn on_disk(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn name(number: u32) -> String {
        format!("{number:08x}-{number:016x}.rows")
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Sets when an entry was used last, in hours before now.
    fn age(path: &Path, number: u32, hours: u64) {
        let file = File::open(path.join(name(number))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600 * hours)).unwrap();
    }

    #[test]
    fn a_new_folder_is_closed_to_others() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let mut folder = Folder::open(&path, 1 << 20).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        folder.write(&name(1), b"rows").unwrap();
        assert_eq!(fs::metadata(path.join(name(1))).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(names(&path), [name(1)], "nothing unfinished is left");
    }

    #[test]
    fn a_folder_that_others_could_write_to_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        for mode in [0o770, 0o707, 0o1777] {
            let path = parent.path().join(format!("{mode:o}"));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Folder::open(&path, 1 << 20).unwrap_err();
            assert!(matches!(error, FolderError::Unsafe { .. }), "{error}");
            assert!(error.to_string().contains("--unwind-cache"), "{error}");
        }
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        // SAFETY: geteuid has no preconditions.
        if unsafe { libc::geteuid() } == 0 {
            let parent = tempfile::tempdir().unwrap();
            std::os::unix::fs::chown(parent.path(), Some(65534), None).unwrap();
            let error = Folder::open(parent.path(), 1 << 20).unwrap_err();
            assert!(error.to_string().contains("another user"), "{error}");
        } else {
            let error = Folder::open(Path::new("/"), 1 << 20).unwrap_err();
            assert!(error.to_string().contains("another user"), "{error}");
        }
    }

    #[test]
    fn links_and_files_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        fs::create_dir(path("real")).unwrap();
        fs::write(path("file"), b"").unwrap();
        symlink(path("real"), path("link")).unwrap();
        symlink(path("nowhere"), path("dangling")).unwrap();
        for name in ["link", "link/", "link/.", "file", "dangling"] {
            let error = Folder::open(&path(name), 1 << 20).unwrap_err();
            assert!(matches!(error, FolderError::Unsafe { .. }), "{name}: {error}");
        }
        assert!(names(&path("real")).is_empty());
        let error = Folder::open(Path::new("/proc/no-such-folder"), 1 << 20).unwrap_err();
        assert!(matches!(error, FolderError::Unavailable { .. }), "{error}");
    }

    #[test]
    fn an_entry_that_is_a_link_is_not_read() {
        let path = tempfile::tempdir().unwrap();
        symlink("/proc/self/exe", path.path().join(name(1))).unwrap();
        let folder = Folder::open(path.path(), 1 << 20).unwrap();
        assert!(folder.read(&name(1)).is_err());
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_foreign_files_stay() {
        let path = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(path.path(), 4 * BLOCK).unwrap();
        fs::write(path.path().join("notes.txt"), vec![0; 10 * BLOCK as usize]).unwrap();
        for (number, hours) in [(1, 3), (2, 5), (3, 4), (4, 2)] {
            folder.write(&name(number), &[7; 100]).unwrap();
            age(path.path(), number, hours);
        }
        // It is used now.
        folder.read(&name(2)).unwrap();
        folder.write(&name(5), &vec![7; BLOCK as usize + 1]).unwrap();
        assert_eq!(names(path.path()), [name(2), name(4), name(5), "notes.txt".to_owned()]);
        assert!(folder.holds(4 * BLOCK as usize) && !folder.holds(4 * BLOCK as usize + 1));
        // A smaller limit holds from the start.
        age(path.path(), 5, 1);
        Folder::open(path.path(), BLOCK).unwrap();
        assert_eq!(names(path.path()), [name(2), "notes.txt".to_owned()]);
    }

    #[test]
    fn what_was_not_finished_is_removed_at_the_start() {
        let path = tempfile::tempdir().unwrap();
        fs::write(path.path().join(format!("{UNFINISHED}7-0")), b"torn").unwrap();
        Folder::open(path.path(), 1 << 20).unwrap();
        assert!(names(path.path()).is_empty());
    }

    #[test]
    fn the_folder_stays_the_one_that_was_checked() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("cache");
        let mut folder = Folder::open(&path, 1 << 20).unwrap();
        fs::rename(&path, parent.path().join("moved")).unwrap();
        fs::create_dir(&path).unwrap();
        folder.write(&name(1), b"rows").unwrap();
        assert_eq!(names(&parent.path().join("moved")), [name(1)]);
        assert!(names(&path).is_empty());
    }
}
