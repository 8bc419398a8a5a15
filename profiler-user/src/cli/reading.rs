//! What all commands that read profiles have in common: the arguments, and what is shown while reading.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use regex::Regex;

use super::{Failure, Outcome};
use crate::profile::base::{Base, Scaling, difference};
use crate::profile::labels::LabelFilter;
use crate::report::subject::ReportError;
use crate::report::text::Paint;
use crate::source::moment::Moment;
use crate::source::{Labels, Loaded, Selection, Source, SourceError, Watcher, load};

/// How long reading may take before progress is shown.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which profiles and samples are read.
#[derive(clap::Args, Debug)]
pub(super) struct SelectionArgs {
    /// What to read: a pprof file, a folder that the agent writes, or an http(s)://…/debug/pprof/… URL. Several are
    /// merged.
    #[arg(value_name = "SOURCE", required = true)]
    pub(super) source: Vec<String>,
    /// Only samples with these string labels: key=value, key!=value, key=~regex or key!~regex, separated by commas.
    #[arg(long = "where", value_name = "LABELS")]
    pub(super) labels: Vec<LabelFilter>,
    /// Only windows that start then or later: 2026-11-24T15:04:05Z, 2026-11-24 (UTC), or 15m, 2h, 3d ago.
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<Moment>,
    /// Only windows that start before then.
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<Moment>,
}

/// The same, and what is subtracted from it.
#[derive(clap::Args, Debug)]
pub(super) struct SourceArgs {
    #[command(flatten)]
    read: SelectionArgs,
    /// Subtract this profile, an earlier one of the same run. `profiler diff` compares two runs, and tells noise.
    #[arg(long, value_name = "SOURCE", conflicts_with = "diff_base")]
    base: Option<String>,
    /// Subtract this profile, to which shares then relate.
    #[arg(long, value_name = "SOURCE", alias = "diff_base")]
    diff_base: Option<String>,
    /// Scale to the totals of the base first.
    #[arg(long)]
    normalize: bool,
}

impl SourceArgs {
    /// Reads what is to be read, less the base. See [`read`].
    pub(super) fn load(&self, labels: Labels) -> Result<Loaded, Failure> {
        let SourceArgs {
            read: SelectionArgs { source, labels: samples, since, until },
            base,
            diff_base,
            normalize,
        } = self;
        let choice = |sources| Choice { sources, samples, since: *since, until: *until };
        let (kind, base) = match (base, diff_base) {
            (Some(base), _) => (Base::Subtracted, base),
            (None, Some(base)) => (Base::Compared, base),
            (None, None) if *normalize => {
                return Err(Failure::CannotStart(anyhow!(
                    "--normalize scales to a base: name one with --base or --diff-base"
                )));
            }
            (None, None) => return read(&choice(source), labels),
        };
        // Samples that differ in labels only must not cancel out before the total is known.
        let loaded = read(&choice(source), Labels::Keep)?;
        let base = read(&choice(std::slice::from_ref(base)), Labels::Keep)?.profile;
        let scaling = if *normalize { Scaling::ToBase } else { Scaling::Kept };
        let profile = difference(loaded.profile, base, kind, scaling)
            .context("the base cannot be subtracted")
            .map_err(Failure::WhileRunning)?;
        Ok(Loaded { profile, ..loaded })
    }
}

/// What is read, as it is written.
pub(super) struct Choice<'a> {
    pub(super) sources: &'a [String],
    pub(super) samples: &'a [LabelFilter],
    pub(super) since: Option<Moment>,
    pub(super) until: Option<Moment>,
}

/// Reads sources. Broken files of a folder are reported on stderr, and progress where it takes long.
///
/// # Errors
/// A source that is not there cannot start the command; a broken one is a failure while running.
pub(super) fn read(choice: &Choice<'_>, labels: Labels) -> Result<Loaded, Failure> {
    let sources: Vec<Source> = choice.sources.iter().map(|name| Source::new(name)).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    let (since, until) = (choice.since.map(|time| time.nanos(now)), choice.until.map(|time| time.nanos(now)));
    if since.zip(until).is_some_and(|(since, until)| since >= until) {
        return Err(Failure::CannotStart(anyhow!(
            "--since is not before --until, so no profile can be between them; swap them or leave one out"
        )));
    }
    let samples = choice.samples.iter().cloned().fold(LabelFilter::default(), LabelFilter::and);
    let selection = Selection { since, until, samples, labels };
    let mut console = Console::new();
    let loaded = load(&sources, &selection, &mut console);
    console.finish();
    let loaded = loaded.map_err(|error| {
        if error.is_missing() {
            Failure::CannotStart(error.into())
        } else {
            Failure::WhileRunning(error.into())
        }
    })?;
    if loaded.broken > 0 {
        let (broken, read) = (loaded.broken, loaded.profiles);
        eprintln!("profiler: warning: {broken} broken files were left out, {read} profiles were read");
    }
    if loaded.profile.sample.is_empty() && !selection.samples.is_empty() {
        eprintln!("profiler: warning: no sample has the labels that --where asks for");
    }
    Ok(loaded)
}

/// Colours where stdout is a terminal and the user has not asked for none (<https://no-color.org>).
pub(super) fn paint() -> Paint {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && stdout().is_terminal() { Paint::Colours } else { Paint::Plain }
}

/// Prints a report.
pub(super) fn print(rendered: &str) -> Outcome {
    print_bytes(rendered.as_bytes())
}

/// Prints a report or a picture.
pub(super) fn print_bytes(rendered: &[u8]) -> Outcome {
    match stdout().write_all(rendered) {
        // `profiler top … | head` has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::WhileRunning(anyhow::Error::new(error).context("cannot write to stdout")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints a report as JSON.
pub(super) fn print_json(rendered: serde_json::Result<String>) -> Outcome {
    print(&rendered.context("cannot write JSON").map_err(Failure::WhileRunning)?)
}

/// Explains the order of arguments where the regex is a file, and what should be a source is missing.
pub(super) fn regex_first(regex: &Regex, loaded: Result<Loaded, Failure>) -> Result<Loaded, Failure> {
    match loaded {
        Err(Failure::CannotStart(error)) if std::path::Path::new(regex.as_str()).exists() => {
            Err(Failure::CannotStart(error.context(format!(
                "the regex comes first, then what to read, but {:?} is a file",
                regex.as_str()
            ))))
        }
        loaded => loaded,
    }
}

/// A wish that the profile cannot fulfil is a wrong argument; a broken profile is a failure.
pub(super) fn no_report(error: ReportError) -> Failure {
    match error {
        ReportError::SampleIndex(_) => Failure::CannotStart(error.into()),
        ReportError::Invalid(_) | ReportError::NoMatch(_) => Failure::WhileRunning(error.into()),
    }
}

/// Shows progress on stderr where that is a terminal.
struct Console {
    started: Instant,
    read: u64,
    bar: Option<ProgressBar>,
}

impl Console {
    fn new() -> Console {
        Console { started: Instant::now(), read: 0, bar: None }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watcher for Console {
    fn reading(&mut self, name: &str) {
        if self.bar.is_none() && self.started.elapsed() > PATIENCE && stderr().is_terminal() {
            // The number of files is not known before they are all found, and finding them all first would cost as
            // much as it tells.
            let bar = ProgressBar::new_spinner();
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {pos} profiles read, {elapsed}: {wide_msg}")
            {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.read);
            bar.set_message(name.to_owned());
        }
        self.read += 1;
    }

    fn broken(&mut self, error: &SourceError) {
        let line = || eprintln!("profiler: warning: {error}");
        match &self.bar {
            Some(bar) => bar.suspend(line),
            None => line(),
        }
    }
}
