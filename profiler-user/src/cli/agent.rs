//! `profiler agent`.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::Context;

use super::{
    Failure, Outcome,
    capturing::{self, CaptureArgs, Running},
    units,
};
use crate::{
    budget::{Gauge, Usage},
    export::directory::{Directory, Retention},
    pipeline::{NamedWindow, Patience, Sink},
    profile::build,
};
use profiler_common::outcome::{Kind, OUTCOMES, Outcome as Ended};

/// Arguments of `profiler agent`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler agent -o /var/lib/profiler             a profile per process and minute, at 19 Hz
  profiler agent -o profiles --window 10s -F 99   finer, for a while
  profiler top --since 15m /var/lib/profiler      what the last quarter of an hour went to

Each window becomes DIR/<YYYY-MM-DD>/<HHMMSS>Z/<process>-<pid>.cpu.pb.gz (UTC).
SIGTERM and Ctrl-C write the last window and exit with 0.")]
pub(super) struct Args {
    /// The folder to write to; made where it is missing.
    #[arg(short = 'o', long = "output", value_name = "DIR", default_value = "profiles")]
    output: PathBuf,
    /// Length of a window.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::duration)]
    window: Duration,
    /// Samples per second on each CPU, 1 to 999.
    #[arg(short = 'F', long, value_name = "HZ", default_value = "19", value_parser = capturing::frequency,
          allow_negative_numbers = true)]
    frequency: u32,
    /// Remove windows older than this.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = units::duration)]
    keep: Duration,
    /// Remove the oldest windows above this size.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = units::bytes)]
    keep_size: u64,
    #[command(flatten)]
    capture: CaptureArgs,
}

/// Runs `profiler agent`.
pub(super) fn run(args: &Args) -> Outcome {
    let retention = Retention { age: args.keep, bytes: args.keep_size };
    let directory = Directory::open(&args.output, retention)
        .with_context(|| {
            format!(
                "the folder {} cannot be written to: choose another one with -o, or mend its permissions",
                args.output.display()
            )
        })
        .map_err(Failure::CannotStart)?;
    let runtime = capturing::runtime()?;
    let _inside = runtime.enter();
    let stop = capturing::interrupted().context("cannot listen for signals").map_err(Failure::CannotStart)?;
    let session = capturing::load(args.capture.options(args.frequency, args.window, Patience::Others))?;
    let gauge = args.capture.gauge(&session, Patience::Others);
    let about = capturing::about(args.frequency, args.window);
    let sink = Writer { directory, about, gauge: gauge.clone() };
    let running = Running::start(session, &args.capture, gauge, Patience::Others, sink)?;
    tracing::info!(
        "sampling at {} Hz, a window every {} s, into {}",
        args.frequency,
        args.window.as_secs_f64(),
        args.output.display()
    );
    runtime.block_on(running.run(stop))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes each window into the folder.
struct Writer {
    directory: Directory,
    about: Vec<String>,
    gauge: Gauge,
}

impl Sink for Writer {
    fn window(&mut self, window: NamedWindow) {
        log(&window);
        let profiles: Vec<_> = window
            .profiles
            .into_iter()
            .map(|mut process| {
                build::comment(&mut process.profile, &self.about, &process.outcomes);
                (process.name, process.key.pid, process.profile)
            })
            .collect();
        let (written, errors) = self.directory.write(window.span.start_unix_ns, &profiles);
        tracing::info!("wrote {written} profiles");
        for error in errors {
            tracing::error!("{error}");
        }
        match self.directory.prune(SystemTime::now()) {
            Ok(0) => {}
            Ok(removed) => tracing::info!("removed {removed} old windows"),
            Err(error) => tracing::warn!("old windows cannot be removed: {error}"),
        }
        let Usage { heap, files, maps } = self.gauge.usage();
        let [heap_kib, files_kib, maps_kib] = [heap, files, maps].map(|bytes| bytes >> 10);
        tracing::info!(heap_kib, files_kib, maps_kib, "memory in use");
    }
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

/// Ticks of one kind.
pub(super) fn total(outcomes: &[u64; OUTCOMES], kind: Kind) -> u64 {
    Ended::ALL
        .iter()
        .filter(|outcome| outcome.kind() == kind)
        .map(|&outcome| outcomes[outcome as usize])
        .sum()
}

/// A sentence for each kind of loss that the user can do something about.
pub(super) fn loss(outcomes: &[u64; OUTCOMES]) -> Option<String> {
    let of = |outcome: Ended| outcomes[outcome as usize];
    let mut sentences = Vec::new();
    if of(Ended::StackTableFull) > 0 {
        sentences.push(format!(
            "{} samples kept no stack because the stack table of their window was full: raise --max-stacks or shorten \
             the window",
            of(Ended::StackTableFull)
        ));
    }
    if of(Ended::StackCollision) > 0 {
        sentences.push(format!(
            "{} samples kept no stack because other stacks have the same hash",
            of(Ended::StackCollision)
        ));
    }
    if of(Ended::CountTableFull) > 0 {
        sentences.push(format!(
            "{} samples were lost because the count table of their window was full: raise --max-counts or shorten the \
             window",
            of(Ended::CountTableFull)
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join("; "))
}
