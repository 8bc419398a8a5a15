//! The folders that an agent writes: `DIR/<YYYY-MM-DD>/<HHMMSS>Z/<process>-<pid>.cpu.pb.gz`; any other folder with
//! profiles in it, at any depth, will do.

use std::fs;
use std::path::{Path, PathBuf};

use time::Duration;

use super::moment::{day, nanos};

/// Folders deeper than this are not looked into: no layout of ours has more levels.
const MOST_LEVELS: usize = 16;

/// A range of starting times, nanoseconds since the Unix epoch; the end does not belong to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) since: Option<i64>,
    pub(super) until: Option<i64>,
}

impl Range {
    pub(super) fn contains(self, time: i64) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Whether any time from `start` on and before `end` is in the range.
    fn overlaps(self, start: i64, end: i64) -> bool {
        self.since.is_none_or(|since| end > since) && self.until.is_none_or(|until| start < until)
    }
}

/// A folder with profiles directly in it.
#[derive(Debug)]
pub(super) struct Window {
    /// When its window started, where the folder's name says so.
    pub(super) start: Option<i64>,
    /// Its profiles, sorted by name.
    pub(super) files: Vec<PathBuf>,
}

/// What was found below a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Profiles that were visited.
    pub(super) files: u64,
    /// Window or day folders that lie outside the range.
    pub(super) outside: u64,
}

/// Visits the windows in and below a folder in the order of their names, one after the other: no list of all files is
/// ever held. Hidden files are left out (the agent writes a file under a hidden name until it is whole), and so are
/// links to folders, which might lead in circles.
pub(super) fn walk<E>(
    root: &Path,
    range: Range,
    visit: &mut dyn FnMut(Window) -> Result<(), E>,
    unreadable: &mut dyn FnMut(&Path, std::io::Error),
) -> Result<Found, E> {
    let mut found = Found::default();
    // `.` has no name, but the folder that it is may be a window or a day.
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    enter(&root, range, MOST_LEVELS, &mut found, visit, unreadable)?;
    Ok(found)
}

fn enter<E>(
    folder: &Path,
    range: Range,
    levels: usize,
    found: &mut Found,
    visit: &mut dyn FnMut(Window) -> Result<(), E>,
    unreadable: &mut dyn FnMut(&Path, std::io::Error),
) -> Result<(), E> {
    let start = window_start(folder);
    let outside = match (start, name(folder).and_then(day)) {
        (Some(start), _) => !range.contains(start),
        (None, Some(day)) => match (nanos(day), nanos(day.saturating_add(Duration::DAY))) {
            (Some(start), Some(end)) => !range.overlaps(start, end),
            _ => false,
        },
        (None, None) => false,
    };
    if outside {
        found.outside += 1;
        return Ok(());
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            unreadable(folder, error);
            return Ok(());
        }
    };
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(name) = name(&path).filter(|name| !name.starts_with('.')) else { continue };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(path);
        } else if (name.ends_with(".pb.gz") || name.ends_with(".pb")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort_unstable();
    folders.sort_unstable();
    found.files += u64::try_from(files.len()).unwrap_or_default();
    if !files.is_empty() {
        visit(Window { start, files })?;
    }
    if levels > 0 {
        for folder in folders {
            enter(&folder, range, levels - 1, found, visit, unreadable)?;
        }
    }
    Ok(())
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The start of the window that a folder `<YYYY-MM-DD>/<HHMMSS>Z` holds.
fn window_start(folder: &Path) -> Option<i64> {
    let day = day(name(folder.parent()?)?)?;
    let clock = name(folder)?.strip_suffix('Z').filter(|clock| clock.len() == 6)?;
    let part = |from: usize, below: i64| {
        clock.get(from..from + 2)?.parse::<u8>().ok().map(i64::from).filter(|&part| part < below)
    };
    let seconds = part(0, 24)? * 3600 + part(2, 60)? * 60 + part(4, 60)?;
    nanos(day.checked_add(Duration::seconds(seconds))?)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn window_folders_tell_their_start() {
        let start = |path: &str| window_start(Path::new(path));
        assert_eq!(start("/x/1970-01-02/010203Z"), Some((86_400 + 3723) * 1_000_000_000));
        for other in ["/x/1970-01-02/250000Z", "/x/1970-01-02/1200Z", "/x/1970-01-02", "/x/y/120000Z", "/"] {
            assert_eq!(start(other), None, "{other}");
        }
    }

    #[test]
    fn visits_profiles_of_the_range_in_order() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "1970-01-01/235900Z/a-1.cpu.pb.gz",
            "1970-01-02/000000Z/b-2.cpu.pb.gz",
            "1970-01-02/000000Z/a-1.cpu.pb.gz",
            "1970-01-02/000000Z/.tmp.pb.gz",
            "1970-01-02/000000Z/notes.txt",
            "1970-01-02/000100Z/a-1.cpu.pb.gz",
            "1970-01-03/000000Z/a-1.cpu.pb.gz",
            "other/plain.pb.gz",
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let visited = |range| {
            let mut names = Vec::new();
            let root = fs::canonicalize(root.path()).unwrap();
            let mut visit = |window: Window| -> Result<(), Infallible> {
                names.extend(
                    window.files.iter().map(|file| file.strip_prefix(&root).unwrap().display().to_string()),
                );
                Ok(())
            };
            let Ok(found) = walk(&root, range, &mut visit, &mut |path, error| panic!("{path:?} {error}"));
            (names, found)
        };
        let (all, found) = visited(Range::default());
        assert_eq!(all.len(), 6, "{all:?}");
        assert_eq!(found, Found { files: 6, outside: 0 });
        let day = 86_400_000_000_000;
        let (some, found) = visited(Range { since: Some(day), until: Some(day + 60_000_000_000) });
        assert_eq!(
            some,
            ["1970-01-02/000000Z/a-1.cpu.pb.gz", "1970-01-02/000000Z/b-2.cpu.pb.gz", "other/plain.pb.gz"]
        );
        assert_eq!(found, Found { files: 3, outside: 3 });
    }
}
