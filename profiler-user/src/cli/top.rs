//! `profiler top`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

use super::reading::{FrameArgs, SourceArgs, paint, warn_of_unmatched};
use super::{Failure, Outcome};
use crate::report::top::{Options, Sort, TopError, top};
use crate::report::{json, text};
use crate::source::Labels;

/// Arguments of `profiler top`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler top profile.pb.gz                        the functions that used the most CPU
  profiler top --cum profile.pb.gz                  with everything they call
  profiler top --since 15m --where process=nginx /var/lib/profiler
                                                    one process in the last windows of an agent
  profiler top --by lines --focus '^main\\.' http://localhost:6060/debug/pprof/profile?seconds=5
  profiler top --json -n 5 before.pb.gz | jq '.rows[].name'

flat is what a function used itself, cum what it used with all it called; sum% adds up flat% from the top.
The numbers are those of `go tool pprof -top -nodefraction=0 -edgefraction=0`.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    frames: FrameArgs,
    /// Sort by cum rather than flat.
    #[arg(long)]
    cum: bool,
    /// How many rows to show; 0 for all.
    #[arg(short = 'n', long = "rows", value_name = "ROWS", default_value_t = 20)]
    rows: usize,
    /// Print JSON with raw numbers instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler top`.
pub(super) fn run(args: &Args) -> Outcome {
    // Labels have done their work once the samples are chosen.
    let loaded = args.source.load(Labels::Drop)?;
    let options = Options {
        by: args.frames.by,
        sort: if args.cum { Sort::Cum } else { Sort::Flat },
        rows: Some(args.rows).filter(|&rows| rows > 0),
        sample_index: args.frames.sample_index.clone(),
        frames: args.frames.frames(),
    };
    let report = top(&loaded.profile, &options).map_err(|error| match error {
        TopError::SampleIndex(_) => Failure::CannotStart(error.into()),
        TopError::Invalid(_) => Failure::WhileRunning(error.into()),
    })?;
    warn_of_unmatched(report.matched);
    let rendered = if args.json {
        json::top(&report).context("cannot write JSON").map_err(Failure::WhileRunning)?
    } else {
        text::top(&report, paint())
    };
    match std::io::stdout().write_all(rendered.as_bytes()) {
        // `profiler top … | head` has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::WhileRunning(anyhow::Error::new(error).context("cannot write to stdout")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
