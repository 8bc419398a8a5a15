//! `profiler traces`.

use super::Outcome;
use super::lens::{LensArgs, ValuesArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report, paint, print, print_json};
use crate::report::traces::traces;
use crate::report::{json, text};
use crate::source::Labels;

/// Arguments of `profiler traces`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler traces profile.pb.gz | less              every sample with its labels and stack
  profiler traces --tagfocus thread=worker --by lines profile.pb.gz
                                                    the stacks of some threads, with lines

The value stands beside the leaf. The numbers are those of `go tool pprof -traces`.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    #[command(flatten)]
    values: ValuesArgs,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler traces`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.source.load(Labels::Keep)?;
    let report = traces(&loaded.profile, &args.values.on(args.lens.lens())).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    if args.json { print_json(json::traces(&report)) } else { print(&text::traces(&report, paint())) }
}
