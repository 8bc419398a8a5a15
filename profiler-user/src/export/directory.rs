//! The agent's folder: `<YYYY-MM-DD>/<HHMMSS>Z/<process>-<pid>.cpu.pb.gz`, with bounds on age and size.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    file::{self, UNFINISHED, WriteError},
    kept::{self, Kept, Name},
};
use crate::profile::{codec::Encoder, proto::Profile};

/// Files that are on their way to the disk at the same time: each is an open descriptor.
const MOST_STAGED: usize = 64;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Windows older than this are removed.
    pub age: Duration,
    /// The oldest windows are removed above this many bytes.
    pub bytes: u64,
}

/// A folder that holds profiles by window.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    retention: Retention,
    kept: Kept,
    encoder: Encoder,
}

impl Directory {
    /// Opens the folder, makes it where it is missing, and removes what an interrupted run left unfinished.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub fn open(root: &Path, retention: Retention) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let probe = root.join(format!("{UNFINISHED}{}", std::process::id()));
        fs::write(&probe, b"")?;
        fs::remove_file(&probe)?;
        let directory =
            Self { root: root.to_owned(), retention, kept: Kept::default(), encoder: Encoder::new() };
        file::remove_leftovers(root);
        for window in kept::windows(root)? {
            let window = root.join(window.path());
            file::remove_leftovers(&window);
            // A window that was killed before its first file was done.
            let _ = fs::remove_dir(window);
        }
        Ok(directory)
    }

    /// Writes the profiles of a window that started at this time (nanoseconds since the Unix epoch): each with the
    /// process's name and pid. Returns the number of files and what went wrong; one bad file does not stop the others.
    pub fn write(
        &mut self,
        start_unix_ns: u64,
        profiles: &[(String, u32, Profile)],
    ) -> (usize, Vec<WriteError>) {
        if profiles.is_empty() {
            return (0, Vec::new());
        }
        let window = Name::begun(start_unix_ns);
        let folder = self.root.join(window.path());
        if let Err(source) = fs::create_dir_all(&folder) {
            return (0, vec![WriteError::Io { path: folder, source }]);
        }
        // A window that began in the same second is there already: windows are short, or end early for want of room.
        let mut taken = match names(&folder) {
            Ok(names) => names,
            Err(source) => return (0, vec![WriteError::Io { path: folder, source }]),
        };
        let mut errors = Vec::new();
        let mut written = 0;
        for some in profiles.chunks(MOST_STAGED) {
            let mut staged = Vec::with_capacity(some.len());
            for (name, pid, profile) in some {
                let path = folder.join(unique_name(name, *pid, &mut taken));
                match file::stage_profile(&path, profile, &mut self.encoder) {
                    Ok(file) => staged.push((file, name, *pid)),
                    Err(error) => errors.push(error),
                }
            }
            for (file, name, pid) in staged {
                match file.appear_beside(|| folder.join(unique_name(name, pid, &mut taken))) {
                    Ok(bytes) => {
                        written += 1;
                        self.kept.add(window, bytes);
                    }
                    Err(error) => errors.push(error),
                }
            }
        }
        (written, errors)
    }

    /// Removes windows that are too old or too much. Returns how many were removed.
    ///
    /// # Errors
    /// When the folder cannot be read, or one cannot be removed.
    pub fn prune(&mut self, now: SystemTime) -> io::Result<usize> {
        self.kept.look(&self.root, now)?;
        let oldest = now.checked_sub(self.retention.age).map(|time| Name::begun(unix_ns(time)));
        let mut removed = 0;
        while let Some(window) = self.kept.take(oldest, self.retention.bytes) {
            let window = self.root.join(window.path());
            match fs::remove_dir_all(&window) {
                Ok(()) => removed += 1,
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.kept.forget();
                    return Err(error);
                }
            }
            if let Some(day) = window.parent() {
                // Only an empty day goes; another window in it is the usual reason for a refusal.
                let _ = fs::remove_dir(day);
            }
        }
        Ok(removed)
    }
}

/// Names of the files in a folder.
fn names(folder: &Path) -> io::Result<HashSet<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn unix_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// `<process>-<pid>.cpu.pb.gz`, with a suffix where that was taken in this window.
pub fn unique_name(process: &str, pid: u32, taken: &mut HashSet<String>) -> String {
    let stem = format!("{}-{pid}", safe_name(process));
    let mut name = format!("{stem}.cpu.pb.gz");
    let mut next = 2;
    while !taken.insert(name.clone()) {
        name = format!("{stem}.{next}.cpu.pb.gz");
        next += 1;
    }
    name
}

/// A process's name as part of a file name: letters, digits, `.`, `_`, `-`, `+` and `@` stay, all else becomes `_`,
/// and so does a leading dot.
#[must_use]
pub fn safe_name(process: &str) -> String {
    let mut name: String = process
        .chars()
        .take(64)
        .map(|char| if char.is_ascii_alphanumeric() || "._-+@".contains(char) { char } else { '_' })
        .collect();
    if name.is_empty() || name.starts_with(['.', '-']) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::build::{self, Span};

    #[test]
    fn names_are_safe_and_unique() {
        assert_eq!(safe_name("kworker/0:1-mm"), "kworker_0_1-mm");
        assert_eq!(safe_name("../../etc/passwd"), "_.._.._etc_passwd");
        assert_eq!(safe_name(""), "_");
        let mut taken = HashSet::new();
        assert_eq!(unique_name("a", 1, &mut taken), "a-1.cpu.pb.gz");
        assert_eq!(unique_name("a", 1, &mut taken), "a-1.2.cpu.pb.gz");
        assert_eq!(unique_name("a", 1, &mut taken), "a-1.3.cpu.pb.gz");
    }

    fn window(root: &Path, name: &str, bytes: usize) {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("a-1.cpu.pb.gz"), vec![0; bytes]).unwrap();
    }

    #[test]
    fn the_oldest_windows_go_first_and_foreign_files_stay() {
        let root = tempfile::tempdir().unwrap();
        let retention = Retention { age: Duration::from_secs(86_400), bytes: 250 };
        let mut directory = Directory::open(root.path(), retention).unwrap();
        for name in ["2026-11-01/000000Z", "2026-11-23/100000Z", "2026-11-23/110000Z", "2026-11-23/120000Z"] {
            window(root.path(), name, 100);
        }
        window(root.path(), "mine/100000Z", 1000);
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_435_200);
        assert_eq!(directory.prune(noon).unwrap(), 2);
        assert!(!root.path().join("2026-11-01").exists());
        assert!(!root.path().join("2026-11-23/100000Z").exists());
        assert!(root.path().join("2026-11-23/110000Z").exists());
        assert!(root.path().join("mine/100000Z").exists());
    }

    #[test]
    fn windows_of_the_same_second_are_all_kept() {
        let root = tempfile::tempdir().unwrap();
        let retention = Retention { age: Duration::from_secs(86_400), bytes: 1 << 20 };
        let mut directory = Directory::open(root.path(), retention).unwrap();
        let start_unix_ns = 1_795_435_200_000_000_000;
        for after_ns in [0, 400_000_000, 800_000_000] {
            let span = Span {
                start_unix_ns: start_unix_ns + after_ns,
                duration_ns: 400_000_000,
                period_ns: 1,
                ..Span::default()
            };
            let profiles = [("a".to_owned(), 1, build::empty(span))];
            let (written, errors) = directory.write(span.start_unix_ns, &profiles);
            assert!(written == 1 && errors.is_empty(), "{errors:?}");
        }
        let mut found: Vec<String> =
            names(&root.path().join("2026-11-23/120000Z")).unwrap().into_iter().collect();
        found.sort();
        assert_eq!(found, ["a-1.2.cpu.pb.gz", "a-1.3.cpu.pb.gz", "a-1.cpu.pb.gz"]);
    }

    #[test]
    fn files_of_another_agent_are_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let profile = build::empty(Span { duration_ns: 1, period_ns: 1, ..Span::default() });
        let staged = file::stage_profile(&path("a"), &profile, &mut Encoder::new()).unwrap();
        for taken in ["a", "b"] {
            fs::write(path(taken), taken).unwrap();
        }
        let mut others = ["b", "c"].into_iter();
        staged.appear_beside(|| path(others.next().unwrap())).unwrap();
        assert_eq!(fs::read(path("a")).unwrap(), b"a");
        assert_eq!(fs::read(path("b")).unwrap(), b"b");
        assert!(fs::read(path("c")).unwrap().len() > 1);
        assert_eq!(names(root.path()).unwrap().len(), 3);
    }

    #[test]
    fn leftovers_are_removed_at_the_start() {
        let root = tempfile::tempdir().unwrap();
        let retention = Retention { age: Duration::from_secs(86_400), bytes: 1 << 20 };
        window(root.path(), "2026-11-23/100000Z", 1);
        let leftover = root.path().join("2026-11-23/100000Z/.unfinished-7-b.cpu.pb.gz");
        fs::write(&leftover, b"torn").unwrap();
        let probe = root.path().join(".unfinished-7");
        fs::write(&probe, b"").unwrap();
        // What somebody is writing.
        let path = root.path().join("2026-11-23/100000Z/c-1.cpu.pb.gz");
        let profile = build::empty(Span { duration_ns: 1, period_ns: 1, ..Span::default() });
        let staged = file::stage_profile(&path, &profile, &mut Encoder::new()).unwrap();
        Directory::open(root.path(), retention).unwrap();
        assert!(!leftover.exists() && !probe.exists());
        staged.appear().unwrap();
        assert!(path.exists());
        assert!(root.path().join("2026-11-23/100000Z/a-1.cpu.pb.gz").exists());
    }
}
