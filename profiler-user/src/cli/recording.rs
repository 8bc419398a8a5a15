//! What `profiler record` keeps while it records, and what it makes of it at the end.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use profiler_common::outcome::{Kind, OUTCOMES, Outcome};
use serde::Serialize;

use super::{
    Failure,
    agent::{loss, total},
    drawing::Format,
};
use crate::{
    budget::{Gauge, Parts},
    export::{directory::unique_name, file},
    pipeline::{
        NamedWindow, Sink,
        gather::{Gatherer, whole},
    },
    profile::{
        build::{self, Span},
        codec::Encoder,
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

/// The recording so far: windows are merged as they come.
pub(super) struct Recording {
    about: Vec<String>,
    gatherer: Gatherer,
    gauge: Gauge,
    memory: Parts,
}

impl Sink for Recording {
    fn window(&mut self, window: NamedWindow) {
        let memory = self.gauge.parts();
        if memory.total() > self.memory.total() {
            self.memory = memory;
        }
        self.gatherer.add(&window, |_| true);
    }
}

impl Recording {
    pub(super) fn new(about: Vec<String>, gauge: Gauge) -> Self {
        Self { about, gatherer: Gatherer::default(), gauge, memory: Parts::default() }
    }

    /// Merges and writes everything.
    pub(super) fn finish(self, output: &Output) -> anyhow::Result<Summary> {
        let (window, errors) = self.gatherer.finish();
        let mut profile = whole(&window).context("the processes' profiles do not fit together")?;
        build::comment(&mut profile, &self.about, &window.outcomes);
        let NamedWindow { span, outcomes, profiles, .. } = window;
        let processes = profiles.len();
        let mut files = Vec::new();
        let target = match output {
            Output::Folder(folder) => {
                let mut taken = HashSet::new();
                let mut encoder = Encoder::new();
                for mut process in profiles {
                    build::comment(&mut process.profile, &self.about, &process.outcomes);
                    let path = folder.join(unique_name(&process.name, process.key.pid, &mut taken));
                    file::write_profile(&path, &process.profile, &mut encoder)?;
                    files.push(path);
                }
                folder
            }
            Output::File(path) => {
                write(path, &profile)?;
                files.push(path.clone());
                path
            }
        };
        let target = target.clone();
        Ok(Summary { profile, processes, outcomes, span, files, target, errors, memory: self.memory })
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
    /// Most that was in use at the end of a window.
    memory: Parts,
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
    memory: Memory,
    top: serde_json::Value,
}

/// Bytes of the profiler's own memory.
#[derive(Serialize)]
struct Memory {
    total: u64,
    #[serde(flatten)]
    parts: Parts,
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
            memory: Memory { total: self.memory.total(), parts: self.memory },
            top: serde_json::from_str(&report)?,
        };
        Ok(serde_json::to_string_pretty(&summary)? + "\n")
    }

    /// What the user must know: what was lost and could be helped.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.errors.iter().cloned().chain(loss(&self.outcomes)).collect()
    }
}
