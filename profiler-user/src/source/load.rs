//! From sources to one profile.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::census::Census;
use super::folder::{Range, Window, walk};
use super::parallel::in_order;
use super::{Problem, Source, SourceError, url};
use crate::profile::codec::{DEFAULT_LIMIT, DecodeError, decode};
use crate::profile::labels::LabelFilter;
use crate::profile::merge::{Duration, Merger};
use crate::profile::proto::Profile;
use crate::profile::text;
use crate::profile::validate::{Rules, check};

/// What of the sources is read.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only profiles that start then or later, nanoseconds since the Unix epoch. In a folder of the agent the window's
    /// start counts, elsewhere the profile's own; a profile without a time is always read.
    pub since: Option<i64>,
    /// Only profiles that start before then, nanoseconds since the Unix epoch.
    pub until: Option<i64>,
    /// Only samples with these labels.
    pub samples: LabelFilter,
    /// Whether the samples' labels are needed.
    pub labels: Labels,
}

/// Whether labels are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// All of them.
    #[default]
    Keep,
    /// Only those that change what values mean (`pprof::`…). Then equal stacks of different processes and threads
    /// become one sample, and a folder of any length takes the memory of its different stacks.
    Drop,
    /// As [`Labels::Drop`], and [`Loaded::census`] tells which there were.
    Count,
}

/// The result.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All profiles as one.
    pub profile: Profile,
    /// How many profiles were read.
    pub profiles: u64,
    /// How many files of folders were left out because they are broken.
    pub broken: u64,
    /// Which labels and windows there are; empty unless asked for with [`Labels::Count`].
    pub census: Census,
}

/// Is told what happens, for people who wait.
pub trait Watcher {
    /// A profile is about to be read or fetched.
    fn reading(&mut self, name: &str);
    /// A file of a folder is left out.
    fn broken(&mut self, error: &SourceError);
}

/// Reads and merges the sources.
///
/// The length of the result is the time that was observed, summed over hosts: files of one window folder (or, in any
/// other folder, files that start at the same time) are different processes of one host over the same time and count
/// once; single files, URLs and folders add up.
///
/// # Errors
/// No source, one that is not there or holds nothing, a single file that is broken, or profiles of different kinds.
/// A broken file in a folder is no error unless all are.
pub fn load(
    sources: &[Source],
    selection: &Selection,
    watcher: &mut dyn Watcher,
) -> Result<Loaded, SourceError> {
    let mut loading = Loading {
        selection,
        watcher,
        only: None,
        merger: Merger::new(),
        duration: 0,
        windows: 0,
        profiles: 0,
        broken: 0,
        census: Census::default(),
    };
    for source in sources {
        let name = source.to_string();
        let read_before = loading.profiles;
        match source {
            Source::Url(url) => {
                loading.watcher.reading(&name);
                let result = url::fetch(url, DEFAULT_LIMIT).and_then(|bytes| loading.single(&bytes));
                result.map_err(|problem| at(&name, problem))?;
            }
            Source::Path(path) => match fs::metadata(path) {
                Ok(data) if data.is_dir() => loading.folder(&name, path)?,
                Ok(_) => {
                    loading.watcher.reading(&name);
                    let result = read(path).and_then(|bytes| loading.single(&bytes));
                    result.map_err(|problem| at(&name, problem))?;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(at(&name, Problem::Missing)),
                Err(error) => return Err(at(&name, Problem::Io(error))),
            },
        }
        if loading.profiles == read_before {
            return Err(at(&name, Problem::OutsideTime));
        }
    }
    loading.finish()
}

fn at(name: &str, problem: Problem) -> SourceError {
    SourceError { source_name: name.to_owned(), problem }
}

struct Loading<'a> {
    selection: &'a Selection,
    watcher: &'a mut dyn Watcher,
    /// The first profile while there is no second: alone it stays as it is, as in pprof.
    only: Option<Profile>,
    merger: Merger,
    duration: i64,
    /// Times over which several files count once.
    windows: u64,
    profiles: u64,
    broken: u64,
    census: Census,
}

impl Loading<'_> {
    fn range(&self) -> Range {
        Range { since: self.selection.since, until: self.selection.until }
    }

    /// A source of its own.
    fn single(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if let Some(prepared) = prepare(bytes, self.selection, None)? {
            let Header { duration, .. } = self.add(prepared)?;
            self.duration = self.duration.saturating_add(duration);
        }
        Ok(())
    }

    fn folder(&mut self, name: &str, path: &Path) -> Result<(), SourceError> {
        let (range, read_before) = (self.range(), self.profiles);
        let mut unreadable = Vec::new();
        let mut visit = |window: Window| -> Result<(), SourceError> {
            self.window(&window);
            Ok(())
        };
        let found = walk(path, range, &mut visit, &mut |path, error| {
            unreadable.push(at(&path.display().to_string(), Problem::Io(error)));
        })?;
        for error in unreadable {
            self.broken += 1;
            self.watcher.broken(&error);
        }
        if self.profiles > read_before {
            return Ok(());
        }
        let problem = if found.files == 0 && found.outside == 0 {
            Problem::EmptyFolder
        } else if self.broken > 0 && found.files > 0 {
            Problem::AllBroken { files: found.files }
        } else {
            Problem::OutsideTime
        };
        Err(at(name, problem))
    }

    /// The files of one folder: broken ones are reported, the others go on.
    fn window(&mut self, window: &Window) {
        // By start: a window folder has one for all of its files.
        let mut lengths: HashMap<i64, i64> = HashMap::new();
        let selection = self.selection;
        let make = |file: &PathBuf| read(file).and_then(|bytes| prepare(&bytes, selection, window.start));
        in_order(&window.files, make, |file, prepared| {
            let name = file.display().to_string();
            self.watcher.reading(&name);
            let added = prepared.and_then(|prepared| prepared.map(|prepared| self.add(prepared)).transpose());
            match added {
                Ok(Some(Header { time, duration, .. })) => {
                    let length = lengths.entry(window.start.unwrap_or(time)).or_default();
                    *length = duration.max(*length);
                }
                Ok(None) => {}
                Err(problem) => {
                    self.broken += 1;
                    self.watcher.broken(&at(&name, problem));
                }
            }
        });
        self.windows += u64::try_from(lengths.len()).unwrap_or_default();
        self.duration = lengths.values().fold(self.duration, |sum, &length| sum.saturating_add(length));
    }

    /// Adds a profile.
    fn add(&mut self, (mut header, profile): (Header, Profile)) -> Result<Header, Problem> {
        self.census.merge(std::mem::take(&mut header.census));
        if self.profiles == 0 {
            self.only = Some(profile);
        } else {
            if let Some(first) = self.only.take() {
                self.merger.add(&first)?;
            }
            self.merger.add(&profile)?;
        }
        self.profiles += 1;
        Ok(header)
    }

    fn finish(self) -> Result<Loaded, SourceError> {
        let Loading { only, merger, duration, windows, profiles, broken, census, .. } = self;
        let mut profile = match only {
            Some(only) => only,
            None => merger
                .finish(Duration::Nanoseconds(duration))
                .map_err(|error| at("SOURCE", Problem::Merge(error)))?,
        };
        if profiles > 1 && windows > 0 {
            let comment = format!(
                "{profiles} profiles merged; the duration is the time observed, {windows} windows each counted once \
                 however many processes it has"
            );
            profile.comment.push(i64::try_from(profile.string_table.len()).unwrap_or_default());
            profile.string_table.push(comment);
        }
        Ok(Loaded { profile, profiles, broken, census })
    }
}

/// What of a file goes into the result; `None` where it starts outside the range.
fn prepare(
    bytes: &[u8],
    selection: &Selection,
    window_start: Option<i64>,
) -> Result<Option<(Header, Profile)>, Problem> {
    let mut profile = decode(bytes, DEFAULT_LIMIT)?;
    check(&profile, Rules::Readable)?;
    let mut header =
        Header { time: profile.time_nanos, duration: profile.duration_nanos, census: Census::default() };
    let range = Range { since: selection.since, until: selection.until };
    // A window folder was chosen by its name already.
    if window_start.is_none() && header.time != 0 && !range.contains(header.time) {
        return Ok(None);
    }
    selection.samples.apply(&mut profile);
    match selection.labels {
        Labels::Keep => {}
        Labels::Drop => drop_labels(&mut profile),
        Labels::Count => {
            header.census = Census::of(&profile, window_start.unwrap_or(header.time));
            drop_labels(&mut profile);
        }
    }
    Ok(Some((header, profile)))
}

/// What of a profile decides over the length of the result, nanoseconds; and what was seen in it.
struct Header {
    time: i64,
    duration: i64,
    census: Census,
}

fn drop_labels(profile: &mut Profile) {
    let mut samples = std::mem::take(&mut profile.sample);
    for sample in &mut samples {
        sample.label.retain(|label| text(profile, label.key).starts_with("pprof::"));
    }
    profile.sample = samples;
}

/// The bytes of a file, of at most as many as a profile may have uncompressed.
fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let most = u64::try_from(DEFAULT_LIMIT).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    if bytes.len() > DEFAULT_LIMIT {
        return Err(DecodeError::TooLarge { limit: DEFAULT_LIMIT }.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
