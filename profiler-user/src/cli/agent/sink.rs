//! What becomes of the agent's windows.

use std::{
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use profiler_common::outcome::Kind;

use super::{loss, total};
use crate::{
    budget::Parts,
    export::directory::Directory,
    pipeline::{
        NamedWindow, Sink,
        on_demand::{OnDemand, Rejoin},
    },
    profile::build,
    status::Status,
    upload::Uploads,
};

/// Gives each window to those who wait for it, and writes it into the folder.
pub(super) struct Writer {
    directory: Directory,
    about: Vec<String>,
    status: Arc<Status>,
    on_demand: Arc<OnDemand>,
    rejoin: Rejoin,
    uploads: Uploads,
    /// How many times its CPU time each sample stands for.
    weight: f64,
}

impl Sink for Writer {
    fn window(&mut self, part: NamedWindow) {
        self.status.window(&part);
        self.on_demand.window(&part);
        if let Some((window, errors)) = self.rejoin.window(part) {
            self.write(window, &errors);
        }
    }
}

impl Writer {
    pub(super) fn new(
        directory: Directory,
        about: Vec<String>,
        status: Arc<Status>,
        on_demand: Arc<OnDemand>,
        uploads: Uploads,
        weight: f64,
    ) -> Self {
        Self { directory, about, status, on_demand, rejoin: Rejoin::default(), uploads, weight }
    }

    /// Writes what was cut off and has had no end.
    pub(super) fn end_turn(&mut self) {
        if let Some((window, errors)) = self.rejoin.rest() {
            self.write(window, &errors);
        }
    }

    /// Nothing more comes.
    pub(super) fn finish(mut self) {
        self.end_turn();
        self.uploads.finish();
        self.status.end();
    }

    fn write(&mut self, mut window: NamedWindow, errors: &[String]) {
        for error in errors {
            tracing::error!("{error}");
        }
        log(&window);
        self.status.whole_window(&window);
        window.weigh(self.weight);
        self.uploads.window(&window);
        let profiles: Vec<_> = window
            .profiles
            .into_iter()
            .map(|mut process| {
                build::comment(&mut process.profile, &self.about, &process.outcomes);
                (process.name, process.key.pid, process.profile)
            })
            .collect();
        let all = profiles.len();
        let (written, errors) = self.directory.write(window.span.start_unix_ns, &profiles);
        tracing::info!("wrote {written} profiles");
        let counters = &self.status.counters;
        counters.written.fetch_add(written as u64, Ordering::Relaxed);
        // A folder that cannot be made is one error and the end of all profiles in it.
        counters.write_errors.fetch_add((all - written) as u64, Ordering::Relaxed);
        for error in errors {
            tracing::error!("{error}");
        }
        match self.directory.prune(SystemTime::now()) {
            Ok(0) => {}
            Ok(removed) => {
                counters.pruned.fetch_add(removed as u64, Ordering::Relaxed);
                tracing::info!("removed {removed} old windows");
            }
            Err(error) => tracing::warn!("old windows cannot be removed: {error}"),
        }
        tracing::info!("memory in use: {}", memory(&self.status.gauge().parts()));
    }
}

/// All parts in a line, KiB; their sum last.
fn memory(parts: &Parts) -> String {
    let named = parts.named().map(|(name, bytes)| format!("{name}={}", bytes >> 10));
    format!("{} total={} KiB", named.join(" "), parts.total() >> 10)
}

/// Says how the window went: nothing is lost in silence.
fn log(window: &NamedWindow) {
    let [complete, truncated, stack_lost, sample_lost] =
        [Kind::Complete, Kind::Truncated, Kind::StackLost, Kind::SampleLost]
            .map(|kind| total(&window.outcomes, kind));
    tracing::info!(
        complete,
        truncated,
        stack_lost,
        sample_lost,
        "window of {} processes",
        window.profiles.len()
    );
    if let Some(warning) = loss(&window.outcomes) {
        tracing::warn!("{warning}");
    }
}
