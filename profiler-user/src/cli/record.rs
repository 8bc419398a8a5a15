//! `profiler record`: the plan, and what it takes to carry it out.

use std::{
    ffi::OsString,
    future::Future,
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use profiler_common::layout::{NO_EXEC_ID, Selected};

use super::{
    Failure, Outcome,
    capturing::{self, CaptureArgs, Running},
    command::Waiting,
    logging, reading,
    recording::{Output, Recording},
};
use crate::{capture::Session, pipeline::Patience, process::start_ns, report::text, units};

/// Arguments of `profiler record`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler record                              the whole host for ten seconds
  profiler record -d 1m -p 1234 -p 5678        two processes
  profiler record -o build.pb.gz -- make -j8   a command with all its children, until it ends
  profiler record -o hot/ -d 30s               one file per process, into the folder hot
  go tool pprof -http=: profile.pb.gz          the result in a browser

Ctrl-C ends a recording early and still writes it.")]
pub(super) struct Args {
    /// How long to record [default: 10s; with a command: until it ends].
    #[arg(short = 'd', long, value_name = "TIME", value_parser = units::duration)]
    duration: Option<Duration>,
    /// Samples per second on each CPU, 1 to 999.
    #[arg(short = 'F', long, value_name = "HZ", default_value = "99", value_parser = capturing::frequency,
          allow_negative_numbers = true)]
    frequency: u32,
    /// Record only this process; may be given several times.
    #[arg(short = 'p', long = "pid", value_name = "PID", conflicts_with = "command",
          value_parser = clap::value_parser!(u32).range(1..))]
    pids: Vec<u32>,
    /// Where to write: a file for one merged profile, or a folder (with a closing slash) for one file per process.
    #[arg(short = 'o', long = "output", value_name = "PATH", default_value = "profile.pb.gz")]
    output: PathBuf,
    /// Print a summary as JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    capture: CaptureArgs,
    /// The command to record, with its arguments.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Longest window of a recording: what is drained is merged at once, so maps stay small however long it takes.
const WINDOW: Duration = Duration::from_secs(5);

/// Runs `profiler record`.
pub(super) fn run(args: &Args) -> Outcome {
    capturing::start_reader(&args.capture, Patience::User)?;
    let output = Output::prepare(&args.output).map_err(Failure::CannotStart)?;
    let with_command = !args.command.is_empty();
    let limit = match args.duration {
        None if with_command => None,
        None => Some(Duration::from_secs(10)),
        limit => limit,
    };
    let mut options =
        args.capture.options(args.frequency, limit.unwrap_or(WINDOW).min(WINDOW), Patience::User);
    options.select = with_command || !args.pids.is_empty();
    options.follow_children = with_command;

    let mut starts = Vec::new();
    for &pid in &args.pids {
        let start = start_ns(pid).ok_or_else(|| capturing::no_process(pid))?;
        starts.push((pid, start));
    }
    let runtime = capturing::runtime()?;
    let _inside = runtime.enter();
    let interrupted =
        capturing::interrupted().context("cannot listen for signals").map_err(Failure::CannotStart)?;
    let session = capturing::load(options)?;
    for (pid, start) in starts {
        select(&session, pid, start, NO_EXEC_ID, false)?;
    }
    let waiting = if with_command {
        let waiting = Waiting::start(&args.command).map_err(Failure::CannotStart)?;
        let start = start_ns(waiting.pid())
            .ok_or_else(|| Failure::CannotStart(anyhow!("the command's process vanished before it ran")))?;
        select(&session, waiting.pid(), start, session.own_exec_id(), true)?;
        Some(waiting)
    } else {
        None
    };
    // The command was forked, and keeps what the user has.
    args.capture.confine()?;
    let gauge = args.capture.gauge(&session, Patience::User);
    let about = capturing::about(args.frequency, limit.unwrap_or_default());
    let recording = Recording::new(about, gauge.clone());
    let (running, ..) = Running::start(session, &args.capture, gauge, Patience::User, recording)?;
    // From here on the command runs; should it not be there, nothing is written.
    let mut child = waiting.map(Waiting::release).transpose().map_err(Failure::CannotStart)?;

    let progress = progress(limit);
    let (code, recording) = runtime.block_on(async {
        let mut code = None;
        let stop = stop(limit, interrupted, child.as_mut(), &mut code);
        let recording = running.run(stop).await;
        progress.finish_and_clear();
        (code, recording)
    });
    let summary = recording?.finish(&output).map_err(Failure::WhileRunning)?;
    // A command's own output keeps stdout to itself.
    let rendered = if args.json {
        summary.json().context("cannot write JSON").map_err(Failure::WhileRunning)?
    } else {
        summary.text(if with_command { text::Paint::Plain } else { reading::paint() })
    };
    let written = if with_command && !args.json {
        std::io::stderr().write_all(rendered.as_bytes())
    } else {
        std::io::stdout().write_all(rendered.as_bytes())
    };
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        return Err(Failure::WhileRunning(anyhow::Error::new(error).context("cannot write to stdout")));
    }
    for sentence in summary.remarks() {
        logging::say(sentence);
    }
    match (code, child) {
        (Some(code), _) => Ok(code),
        // The recording ended first, by -d or Ctrl-C: the exit code is still the command's.
        (None, Some(mut child)) => runtime
            .block_on(child.wait())
            .context("cannot wait for the command")
            .map_err(Failure::WhileRunning),
        (None, None) => Ok(ExitCode::SUCCESS),
    }
}

/// Comes true when the recording is to end; puts the command's exit code in its place if that was the reason.
async fn stop(
    limit: Option<Duration>,
    interrupted: impl Future<Output = ()>,
    child: Option<&mut super::command::Child>,
    code: &mut Option<ExitCode>,
) {
    let limit = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let ended = async {
        match child {
            Some(child) => child.wait().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = limit => {}
        () = interrupted => {}
        ended = ended => match ended {
            Ok(ended) => *code = Some(ended),
            Err(error) => tracing::warn!("cannot wait for the command: {error}"),
        },
    }
}

fn select(session: &Session, pid: u32, start: u64, skip_exec_id: u32, children: bool) -> Result<(), Failure> {
    let selected = Selected { start_ns: start, skip_exec_id, with_children: u32::from(children) };
    session.select(pid, selected).map_err(|error| Failure::CannotStart(error.into()))
}

/// Shows on a terminal how far the recording is.
fn progress(limit: Option<Duration>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match limit {
        Some(limit) => (
            ProgressBar::new(limit.as_secs().max(1)),
            "recording {bar:30} {elapsed_precise} (Ctrl-C ends it)",
        ),
        None => (ProgressBar::new_spinner(), "recording {spinner} {elapsed_precise}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
