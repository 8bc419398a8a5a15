//! What `profiler record` keeps while it records, and what it makes of it at the end.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use profiler_common::{
    layout::ProcessKey,
    outcome::{Kind, OUTCOMES, Outcome},
};
use serde::Serialize;

use super::{
    Failure,
    agent::{loss, total},
    drawing::Format,
};
use crate::{
    export::{directory::unique_name, file},
    pipeline::{NamedWindow, Sink},
    profile::{
        build::{self, Span},
        codec::Encoder,
        merge::{Duration, Merger},
        proto::Profile,
    },
    report::{
        json,
        subject::{Lens, ReportError},
        tag_frames::TagFrames,
        text, top,
    },
};

/// Where a recording goes.
#[derive(Debug)]
pub(super) enum Output {
    /// One file.
    File(PathBuf),
    /// One file per process in this folder.
    Folder(PathBuf),
}

impl Output {
    /// Finds out at the start whether it can be written to at the end.
    pub(super) fn prepare(path: &Path) -> anyhow::Result<Self> {
        let text = path.to_string_lossy();
        if text.ends_with('/') || path.is_dir() {
            fs::create_dir_all(path).with_context(|| format!("the folder {text} cannot be made"))?;
            probe(path)
                .with_context(|| format!("the folder {text} cannot be written to: choose another with -o"))?;
            return Ok(Self::Folder(path.to_owned()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        probe(folder).with_context(|| {
            format!("{text} cannot be written: choose a file in a folder that exists and is writable with -o")
        })?;
        Ok(Self::File(path.to_owned()))
    }
}

/// Writes a profile, or where the file's name asks for it, a picture of it, with the processes at its root.
fn write(path: &Path, profile: &Profile) -> anyhow::Result<()> {
    let Some(format) = Format::of(path) else {
        file::write_profile(path, profile, &mut Encoder::new())?;
        return Ok(());
    };
    let tag_frames = TagFrames { root: vec!["process".to_owned()], leaf: vec![] };
    let (rendered, _) = match format.render(profile, &Lens { tag_frames, ..Lens::default() }) {
        Ok(rendered) => rendered,
        Err(Failure::CannotStart(error) | Failure::WhileRunning(error)) => return Err(error),
    };
    file::write(path, rendered.as_bytes())
        .with_context(|| format!("{} cannot be written: check that its folder has room", path.display()))
}

fn probe(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!("{}{}", file::UNFINISHED, std::process::id()));
    fs::write(&path, b"")?;
    fs::remove_file(path)
}

/// One process so far.
struct Part {
    name: String,
    merger: Merger,
    outcomes: [u64; OUTCOMES],
}

/// The recording so far: windows are merged as they come.
pub(super) struct Recording {
    about: Vec<String>,
    parts: HashMap<ProcessKey, Part>,
    outcomes: [u64; OUTCOMES],
    span: Option<Span>,
    errors: Vec<String>,
}

impl Sink for Recording {
    fn window(&mut self, window: NamedWindow) {
        for (sum, ticks) in self.outcomes.iter_mut().zip(window.outcomes) {
            *sum += ticks;
        }
        let span = self.span.get_or_insert(Span { duration_ns: 0, ..window.span });
        span.duration_ns += window.span.duration_ns;
        for process in window.profiles {
            let part = self.parts.entry(process.key).or_insert_with(|| Part {
                name: process.name.clone(),
                merger: Merger::new(),
                outcomes: [0; OUTCOMES],
            });
            part.name = process.name;
            for (sum, ticks) in part.outcomes.iter_mut().zip(process.outcomes) {
                *sum += ticks;
            }
            if let Err(error) = part.merger.add(&process.profile) {
                self.errors.push(format!("a window of process {} is missing: {error}", process.key.pid));
            }
        }
    }
}

impl Recording {
    pub(super) fn new(about: Vec<String>) -> Self {
        Self { about, parts: HashMap::new(), outcomes: [0; OUTCOMES], span: None, errors: Vec::new() }
    }

    /// Merges and writes everything.
    pub(super) fn finish(self, output: &Output) -> anyhow::Result<Summary> {
        let span = self.span.unwrap_or(Span { start_unix_ns: 0, duration_ns: 0, period_ns: 0 });
        let duration = Duration::Nanoseconds(i64::try_from(span.duration_ns).unwrap_or(i64::MAX));
        let mut processes: Vec<(ProcessKey, Part)> = self.parts.into_iter().collect();
        // The busiest first: its main binary becomes the profile's.
        processes.sort_by_key(|(key, part)| (std::cmp::Reverse(part.outcomes.iter().sum::<u64>()), *key));
        let mut whole = Merger::new();
        let mut taken = HashSet::new();
        let mut files = Vec::new();
        let mut encoder = Encoder::new();
        let count = processes.len();
        for (key, part) in processes {
            let mut profile =
                part.merger.finish(duration).context("a process's windows do not fit together")?;
            whole.add(&profile).context("the processes' profiles do not fit together")?;
            if let Output::Folder(folder) = output {
                build::comment(&mut profile, &self.about, &part.outcomes);
                let path = folder.join(unique_name(&part.name, key.pid, &mut taken));
                file::write_profile(&path, &profile, &mut encoder)?;
                files.push(path);
            }
        }
        let mut profile = if count == 0 {
            build::empty(span)
        } else {
            whole.finish(duration).context("the processes' profiles do not fit together")?
        };
        build::comment(&mut profile, &self.about, &self.outcomes);
        if let Output::File(path) = output {
            write(path, &profile)?;
            files.push(path.clone());
        }
        let target = match output {
            Output::File(path) | Output::Folder(path) => path.clone(),
        };
        Ok(Summary {
            profile,
            processes: count,
            outcomes: self.outcomes,
            span,
            files,
            target,
            errors: self.errors,
        })
    }
}

/// What there is to say of a finished recording.
pub(super) struct Summary {
    profile: Profile,
    processes: usize,
    outcomes: [u64; OUTCOMES],
    span: Span,
    files: Vec<PathBuf>,
    target: PathBuf,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct Json {
    ticks: u64,
    samples: u64,
    complete: u64,
    cpu_ns: u64,
    period_ns: u64,
    duration_ns: u64,
    processes: usize,
    outcomes: BTreeMap<&'static str, u64>,
    files: Vec<PathBuf>,
    top: serde_json::Value,
}

impl Summary {
    fn report(&self) -> Result<top::TopReport, ReportError> {
        top::top(&self.profile, &top::Options { rows: Some(10), ..top::Options::default() })
    }

    fn kind(&self, kind: Kind) -> u64 {
        total(&self.outcomes, kind)
    }

    fn samples(&self) -> u64 {
        self.kind(Kind::Complete) + self.kind(Kind::Truncated) + self.kind(Kind::StackLost)
    }

    /// The ten hottest functions, and what was written.
    pub(super) fn text(&self, paint: text::Paint) -> String {
        let table =
            self.report().map_or_else(|error| format!("{error}\n"), |report| text::top(&report, paint));
        let samples = self.samples();
        let share =
            if samples == 0 { 0.0 } else { 100.0 * self.kind(Kind::Complete) as f64 / samples as f64 };
        // What the machine delivered late was never a sample.
        let missed = self.outcomes[Outcome::Missed as usize];
        let late = if missed == 0 { String::new() } else { format!(", {missed} ticks missed") };
        format!(
            "{table}\n{samples} samples of {} processes, {share:.1}% with complete stacks, {} lost{late}; wrote {}\n",
            self.processes,
            self.kind(Kind::SampleLost) - missed,
            self.target.display(),
        )
    }

    /// The same for machines.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let report = json::top(&self.report()?)?;
        let summary = Json {
            ticks: self.outcomes.iter().sum(),
            samples: self.samples(),
            complete: self.kind(Kind::Complete),
            cpu_ns: self.samples() * self.span.period_ns,
            period_ns: self.span.period_ns,
            duration_ns: self.span.duration_ns,
            processes: self.processes,
            outcomes: Outcome::ALL
                .iter()
                .map(|&outcome| (outcome.name(), self.outcomes[outcome as usize]))
                .collect(),
            files: self.files.clone(),
            top: serde_json::from_str(&report)?,
        };
        Ok(serde_json::to_string_pretty(&summary)? + "\n")
    }

    /// What the user must know: what was lost and could be helped.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.errors.iter().cloned().chain(loss(&self.outcomes)).collect()
    }
}
