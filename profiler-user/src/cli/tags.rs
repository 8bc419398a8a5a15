//! `profiler tags`.

use super::Outcome;
use super::lens::{LensArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report, print, print_json};
use crate::report::labels::labels;
use crate::report::{json, text};
use crate::source::Labels;

/// Arguments of `profiler tags`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler tags profile.pb.gz                       which processes, threads and hosts the CPU time is of
  profiler tags --focus json --tagshow process profile.pb.gz
                                                    which processes spend time in json

A sample counts for each of its labels. The numbers are those of `go tool pprof -tags`.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler tags`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.source.load(Labels::Keep)?;
    let report = labels(&loaded.profile, &args.lens.lens()).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    if args.json { print_json(json::labels(&report)) } else { print(&text::labels(&report)) }
}
