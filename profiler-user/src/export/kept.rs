//! What the agent's folder holds, remembered: looking at each window that is kept would cost more the longer it runs.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use time::OffsetDateTime;

/// How long what was seen is believed. Whoever else writes to the folder or removes windows from it is noticed by then.
const BELIEVED: Duration = Duration::from_secs(24 * 60 * 60);

/// A window's folder, `<YYYY-MM-DD>/<HHMMSS>Z`, as the number that its digits are: the order of the numbers is that of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(u64);

impl Name {
    /// That of the window that begins then (nanoseconds since the Unix epoch), in UTC.
    pub(super) fn begun(start_unix_ns: u64) -> Self {
        // There are years for all of them, up to 2554.
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(start_unix_ns))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let digits = [
            u64::try_from(time.year()).unwrap_or(0),
            u64::from(u8::from(time.month())),
            u64::from(time.day()),
            u64::from(time.hour()),
            u64::from(time.minute()),
            u64::from(time.second()),
        ];
        Self(digits.into_iter().fold(0, |number, two| number * 100 + two))
    }

    /// Of the names of a day's folder and a window's; none of others. Retention removes nothing else.
    pub(super) fn of(day: &str, window: &str) -> Option<Self> {
        const FORMS: [&str; 2] = ["dddd-dd-dd", "ddddddZ"];
        let mut number = 0;
        for (name, form) in [day, window].into_iter().zip(FORMS) {
            if name.len() != form.len() {
                return None;
            }
            for (byte, form) in name.bytes().zip(form.bytes()) {
                match form {
                    b'd' if byte.is_ascii_digit() => number = number * 10 + u64::from(byte - b'0'),
                    form if form != b'd' && byte == form => {}
                    _ => return None,
                }
            }
        }
        Some(Self(number))
    }

    /// Where it lies in the agent's folder.
    pub(super) fn path(self) -> PathBuf {
        let (date, time) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let day = format!("{:04}-{:02}-{:02}", date / 10_000, date / 100 % 100, date % 100);
        PathBuf::from(day).join(format!("{time:06}Z"))
    }
}

/// The windows of a folder and their sizes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// With their bytes.
    windows: VecDeque<(Name, u64)>,
    /// The sum.
    bytes: u64,
    /// When the folder was looked at; never yet.
    looked: Option<SystemTime>,
}

impl Kept {
    /// Notes what was written to a window.
    pub(super) fn add(&mut self, window: Name, bytes: u64) {
        self.bytes += bytes;
        // It is the newest one, unless the clock was set back.
        let place = self.windows.partition_point(|&(other, _)| other < window);
        match self.windows.get_mut(place) {
            Some((other, size)) if *other == window => *size += bytes,
            _ => self.windows.insert(place, (window, bytes)),
        }
    }

    /// Looks at the folder, where that was too long ago.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn look(&mut self, root: &Path, now: SystemTime) -> io::Result<()> {
        let is_known =
            self.looked.is_some_and(|then| now.duration_since(then).is_ok_and(|since| since < BELIEVED));
        if is_known {
            return Ok(());
        }
        let mut windows: Vec<(Name, u64)> =
            windows(root)?.into_iter().map(|window| (window, size(&root.join(window.path())))).collect();
        windows.sort_unstable();
        self.bytes = windows.iter().map(|&(_, bytes)| bytes).sum();
        self.windows = windows.into();
        self.looked = Some(now);
        Ok(())
    }

    /// Takes the oldest window out if it began before `oldest`, or there is more than `most` bytes. The newest one stays whatever
    /// its size.
    pub(super) fn take(&mut self, oldest: Option<Name>, most: u64) -> Option<Name> {
        let &(window, bytes) = self.windows.front()?;
        let is_old = oldest.is_some_and(|oldest| window < oldest);
        if self.windows.len() < 2 || !(is_old || self.bytes > most) {
            return None;
        }
        self.windows.pop_front();
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(window)
    }

    /// Forgets all: it is looked at again.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// All windows in a folder.
///
/// # Errors
/// When it cannot be read.
pub(super) fn windows(root: &Path) -> io::Result<Vec<Name>> {
    let mut windows = Vec::new();
    for day in fs::read_dir(root)? {
        let day = day?;
        let name = day.file_name();
        let name = name.to_string_lossy();
        // A day that is none has no windows either.
        if !day.file_type()?.is_dir() || Name::of(&name, "000000Z").is_none() {
            continue;
        }
        for window in fs::read_dir(day.path())? {
            let window = window?;
            if let Some(known) = Name::of(&name, &window.file_name().to_string_lossy())
                && window.file_type()?.is_dir()
            {
                windows.push(known);
            }
        }
    }
    Ok(windows)
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: &str = "2026-11-23";

    fn name(window: &str) -> Name {
        Name::of(DAY, window).unwrap()
    }

    #[test]
    fn a_window_has_its_start_in_utc_as_its_path() {
        assert_eq!(Name::begun(1_795_478_399_999_999_999).path(), Path::new("2026-11-23/235959Z"));
        assert_eq!(Name::begun(0).path(), Path::new("1970-01-01/000000Z"));
        assert_eq!(Name::begun(u64::MAX).path(), Path::new("2554-07-21/233433Z"));
    }

    #[test]
    fn a_name_is_its_path_and_others_are_none() {
        assert_eq!(name("000109Z").path(), Path::new("2026-11-23/000109Z"));
        assert!(name("235959Z") > name("000109Z"));
        assert!(Name::of("2026-11-24", "000000Z") > Some(name("235959Z")));
        for (day, window) in
            [("mine", "100000Z"), (DAY, "1000000"), (DAY, "10000aZ"), ("2026/11/23", "100000Z")]
        {
            assert_eq!(Name::of(day, window), None, "{day} {window}");
        }
    }

    #[test]
    fn the_oldest_go_until_there_is_room() {
        let mut kept = Kept::default();
        for (window, bytes) in [("100000Z", 50), ("110000Z", 100), ("110000Z", 50), ("090000Z", 7)] {
            kept.add(name(window), bytes);
        }
        assert_eq!(kept.bytes, 207);
        assert_eq!(kept.take(None, 207), None);
        assert_eq!(kept.take(None, 180), Some(name("090000Z")));
        assert_eq!(kept.take(None, 180), Some(name("100000Z")));
        assert_eq!(kept.take(None, 0), None, "the newest one stays");
        assert_eq!(kept.bytes, 150);
    }

    #[test]
    fn what_is_too_old_goes() {
        let mut kept = Kept::default();
        for window in ["100000Z", "110000Z", "120000Z"] {
            kept.add(name(window), 1);
        }
        assert_eq!(kept.take(Some(name("103000Z")), 100), Some(name("100000Z")));
        assert_eq!(kept.take(Some(name("103000Z")), 100), None);
    }

    #[test]
    fn a_folder_is_looked_at_once_a_day() {
        let root = tempfile::tempdir().unwrap();
        let window = |window: &str, bytes: usize| {
            let path = root.path().join(name(window).path());
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("x"), vec![0; bytes]).unwrap();
        };
        let mut kept = Kept::default();
        let now = SystemTime::UNIX_EPOCH + BELIEVED;
        window("100000Z", 10);
        kept.look(root.path(), now).unwrap();
        window("110000Z", 100);
        kept.look(root.path(), now + BELIEVED / 2).unwrap();
        assert_eq!(kept.bytes, 10);
        kept.look(root.path(), now + BELIEVED).unwrap();
        assert_eq!(kept.bytes, 110);
        // A clock that was set back.
        window("120000Z", 1000);
        kept.look(root.path(), now).unwrap();
        assert_eq!(kept.bytes, 1110);
    }
}
