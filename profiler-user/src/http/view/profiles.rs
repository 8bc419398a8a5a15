//! The profiles behind the page: what does not change is held, folders are read again for each selection.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::profile::labels::LabelFilter;
use crate::profile::merge::{Duration, MergeError, Merger};
use crate::profile::proto::Profile;
use crate::source::census::Census;
use crate::source::moment::Moment;
use crate::source::{Labels, Loaded, Selection, Source, SourceError, Watcher, load};

/// How many selections of a folder are kept in memory, those that were asked for last.
const KEPT: usize = 4;

/// Broken files beyond this number are counted only.
const MOST_WARNINGS: usize = 20;

/// What of the sources may be seen at all, as the command line says.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Only samples with these labels.
    pub samples: LabelFilter,
    /// Only profiles that start then or later.
    pub since: Option<Moment>,
    /// Only profiles that start before then.
    pub until: Option<Moment>,
}

/// What of the sources a reader of the page chose, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) labels: Vec<String>,
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoProfile {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Labels(#[from] crate::profile::labels::LabelFilterError),
    #[error(transparent)]
    Time(#[from] crate::source::moment::MomentError),
    #[error("the sources do not fit each other: {0}")]
    Merge(#[from] MergeError),
    #[error("the time ends before it begins")]
    Backwards,
}

impl NoProfile {
    /// True where the reader chose something that does not exist.
    pub(super) fn is_wish(&self) -> bool {
        match self {
            NoProfile::Source(error) => error.is_missing(),
            NoProfile::Labels(_) | NoProfile::Time(_) | NoProfile::Backwards => true,
            NoProfile::Merge(_) => false,
        }
    }
}

/// The sources of one side.
#[derive(Debug)]
pub struct Side {
    /// As they are named on the command line.
    names: Vec<String>,
    limits: Limits,
    /// Files and URLs, read once: a URL gives another profile each time.
    held: Option<Arc<Profile>>,
    folders: Vec<Source>,
    seen: Mutex<Seen>,
    unread: AtomicBool,
    /// One reads at a time, so that memory is bounded.
    reading: Mutex<()>,
}

/// What was read of the folders.
#[derive(Debug, Default)]
struct Seen {
    census: Census,
    warnings: Vec<String>,
    broken: u64,
    /// Those that were asked for last come last.
    kept: Vec<((Choice, Labels), Arc<Profile>)>,
}

/// What a side has to choose from.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) names: Vec<String>,
    pub(super) census: Census,
    pub(super) warnings: Vec<String>,
    pub(super) broken: u64,
    pub(super) has_folder: bool,
}

impl Side {
    /// Splits sources into those that are read once, and folders.
    #[must_use]
    pub fn split(names: &[String]) -> (Vec<String>, Vec<String>) {
        names.iter().cloned().partition(|name| match Source::new(name) {
            Source::Path(path) => !Path::new(&path).is_dir(),
            Source::Url(_) => true,
        })
    }

    /// `held` is what was read of files and URLs with all its labels, `folder` what was read of the folders within the
    /// limits, with [`Labels::Count`].
    #[must_use]
    pub fn new(
        names: &[String],
        limits: Limits,
        held: Option<Loaded>,
        folders: &[String],
        folder: Option<Loaded>,
    ) -> Side {
        let mut seen = Seen::default();
        if let Some(folder) = folder {
            seen.take(folder);
        }
        if let Some(held) = &held {
            // Without a folder there are no windows to choose from.
            seen.census.merge(Census { windows: Default::default(), ..Census::of(&held.profile, 0) });
        }
        Side {
            names: names.iter().map(|name| Source::new(name).to_string()).collect(),
            limits,
            held: held.map(|held| Arc::new(held.profile)),
            folders: folders.iter().map(|name| Source::new(name)).collect(),
            seen: Mutex::new(seen),
            unread: AtomicBool::new(false),
            reading: Mutex::new(()),
        }
    }

    /// Folders that are read when somebody looks.
    #[must_use]
    pub fn unread(folders: &[String], limits: Limits) -> Side {
        let mut side = Side::new(folders, limits, None, folders, None);
        side.unread = AtomicBool::new(true);
        side
    }

    /// What there is to choose from. Reads the folders where nobody has yet.
    pub(super) fn about(&self) -> About {
        if self.unread.swap(false, Ordering::Relaxed)
            && let Err(error) = self.reload()
        {
            lock(&self.seen).warnings.push(error.to_string());
        }
        let seen = lock(&self.seen);
        About {
            names: self.names.clone(),
            census: seen.census.clone(),
            warnings: seen.warnings.clone(),
            broken: seen.broken,
            has_folder: !self.folders.is_empty(),
        }
    }

    /// Reads the folders again: an agent may have written more.
    pub(super) fn reload(&self) -> Result<(), NoProfile> {
        if self.folders.is_empty() {
            return Ok(());
        }
        let _alone = lock(&self.reading);
        let mut log = Log::default();
        let loaded = self.read(&Choice::default(), Labels::Count, &mut log)?;
        let mut seen = lock(&self.seen);
        *seen = Seen::default();
        seen.take(loaded);
        seen.warnings = log.0;
        if let Some(held) = &self.held {
            seen.census.merge(Census { windows: Default::default(), ..Census::of(held, 0) });
        }
        Ok(())
    }

    /// The samples that were chosen; their labels only where they are needed.
    pub(super) fn profile(&self, choice: &Choice, labels: Labels) -> Result<Arc<Profile>, NoProfile> {
        if let Some(known) = self.kept(choice, labels) {
            return Ok(known);
        }
        let _alone = lock(&self.reading);
        if let Some(known) = self.kept(choice, labels) {
            return Ok(known);
        }
        let held = self.held.as_deref().map(|held| chosen(held, choice)).transpose()?;
        let folder = if self.folders.is_empty() {
            None
        } else {
            Some(self.read(choice, labels, &mut Log::default())?.profile)
        };
        let profile = match (held, folder) {
            (Some(held), Some(folder)) => {
                let mut merger = Merger::new();
                merger.add(&held)?;
                merger.add(&folder)?;
                let length = held.duration_nanos.saturating_add(folder.duration_nanos);
                merger.finish(Duration::Nanoseconds(length))?
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => Profile::default(),
        };
        let profile = Arc::new(profile);
        lock(&self.seen).keep(choice, labels, Arc::clone(&profile));
        Ok(profile)
    }

    fn kept(&self, choice: &Choice, labels: Labels) -> Option<Arc<Profile>> {
        if self.folders.is_empty() && *choice == Choice::default() {
            return self.held.clone();
        }
        lock(&self.seen).find(choice, labels)
    }

    fn read(&self, choice: &Choice, labels: Labels, log: &mut Log) -> Result<Loaded, NoProfile> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let nanos = |written: &Option<String>| -> Result<Option<i64>, NoProfile> {
            Ok(written.as_deref().map(str::parse::<Moment>).transpose()?.map(|moment| moment.nanos(now)))
        };
        let limit = |moment: Option<Moment>| moment.map(|moment| moment.nanos(now));
        // The narrower of what may be seen and what was chosen.
        let since = nanos(&choice.since)?.max(limit(self.limits.since));
        let until = [nanos(&choice.until)?, limit(self.limits.until)].into_iter().flatten().min();
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Err(NoProfile::Backwards);
        }
        let samples = filter(choice)?.and(self.limits.samples.clone());
        Ok(load(&self.folders, &Selection { since, until, samples, labels }, log)?)
    }
}

impl Seen {
    fn take(&mut self, folder: Loaded) {
        let Loaded { profile, broken, census, .. } = folder;
        self.broken = broken;
        self.census = census;
        self.keep(&Choice::default(), Labels::Drop, Arc::new(profile));
    }

    fn find(&mut self, choice: &Choice, labels: Labels) -> Option<Arc<Profile>> {
        let at = self.kept.iter().position(|((known, with), _)| known == choice && *with == labels)?;
        let entry = self.kept.remove(at);
        let profile = Arc::clone(&entry.1);
        self.kept.push(entry);
        Some(profile)
    }

    fn keep(&mut self, choice: &Choice, labels: Labels, profile: Arc<Profile>) {
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        self.kept.push(((choice.clone(), labels), profile));
    }
}

fn filter(choice: &Choice) -> Result<LabelFilter, NoProfile> {
    let mut filter = LabelFilter::default();
    for written in &choice.labels {
        filter = filter.and(written.parse()?);
    }
    Ok(filter)
}

/// Times choose windows of folders; a file is one.
fn chosen(profile: &Profile, choice: &Choice) -> Result<Profile, NoProfile> {
    let mut profile = profile.clone();
    filter(choice)?.apply(&mut profile);
    Ok(profile)
}

/// Keeps what is said about broken files.
#[derive(Default)]
struct Log(Vec<String>);

impl Watcher for Log {
    fn reading(&mut self, _name: &str) {}

    fn broken(&mut self, error: &SourceError) {
        if self.0.len() < MOST_WARNINGS {
            self.0.push(error.to_string());
        }
    }
}

/// What a thread that panicked left is whole: it is replaced in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::codec::encode;
    use crate::profile::fixture;

    fn folder() -> (tempfile::TempDir, Side) {
        let root = tempfile::tempdir().unwrap();
        for name in ["120000Z/a-1", "120100Z/a-1"] {
            let path = root.path().join(format!("2023-11-14/{name}.cpu.pb.gz"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, encode(&fixture::two_threads()).unwrap()).unwrap();
        }
        let names = [root.path().to_str().unwrap().to_owned()];
        let (single, folders) = Side::split(&names);
        assert!(single.is_empty());
        let selection = Selection { labels: Labels::Count, ..Selection::default() };
        let loaded = load(&[Source::new(&names[0])], &selection, &mut Log::default()).unwrap();
        let side = Side::new(&names, Limits::default(), None, &folders, Some(loaded));
        (root, side)
    }

    fn count(profile: &Profile) -> i64 {
        profile.sample.iter().map(|sample| sample.value[0]).sum()
    }

    #[test]
    fn a_folder_is_read_for_each_selection_and_a_few_are_kept() {
        let (_root, side) = folder();
        let about = side.about();
        assert!(about.has_folder);
        assert_eq!(about.census.windows.len(), 2);
        let all = side.profile(&Choice::default(), Labels::Drop).unwrap();
        assert_eq!((count(&all), all.sample.iter().all(|sample| sample.label.is_empty())), (12, true));
        let choice = Choice {
            labels: vec!["thread=b".to_owned()],
            since: Some("2023-11-14T12:01:00Z".to_owned()),
            until: None,
        };
        let some = side.profile(&choice, Labels::Keep).unwrap();
        assert_eq!((count(&some), some.sample[0].label.len()), (2, 1));
        assert!(Arc::ptr_eq(&some, &side.profile(&choice, Labels::Keep).unwrap()), "kept");
        for number in 0..10 {
            let other = Choice { since: Some(format!("2000-01-01T00:00:0{number}Z")), ..Choice::default() };
            side.profile(&other, Labels::Drop).unwrap();
        }
        assert_eq!(lock(&side.seen).kept.len(), KEPT);
    }

    #[test]
    fn new_windows_appear_when_it_is_reloaded() {
        let (root, side) = folder();
        let path = root.path().join("2023-11-14/120200Z/a-1.cpu.pb.gz");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, encode(&fixture::two_threads()).unwrap()).unwrap();
        assert_eq!(count(&side.profile(&Choice::default(), Labels::Drop).unwrap()), 12);
        side.reload().unwrap();
        assert_eq!(count(&side.profile(&Choice::default(), Labels::Drop).unwrap()), 18);
        assert_eq!(side.about().census.windows.len(), 3);
    }

    #[test]
    fn wrong_wishes_are_said_to_be_wrong() {
        let (_root, side) = folder();
        let wish = |choice: Choice| side.profile(&choice, Labels::Drop).unwrap_err();
        for choice in [
            Choice { labels: vec!["nginx".to_owned()], ..Choice::default() },
            Choice { since: Some("yesterday".to_owned()), ..Choice::default() },
            Choice { since: Some("2024-01-01".to_owned()), ..Choice::default() },
            Choice {
                since: Some("2024-01-02".to_owned()),
                until: Some("2024-01-01".to_owned()),
                ..Choice::default()
            },
        ] {
            assert!(wish(choice).is_wish());
        }
    }
}
