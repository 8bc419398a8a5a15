//! `profiler folded`.

use super::Outcome;
use super::lens::{LensArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report, print, print_json};
use crate::report::folded::folded;
use crate::report::{json, text};

/// Arguments of `profiler folded`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler folded profile.pb.gz | flamegraph.pl > flame.svg
                                                    for any tool that reads folded stacks
  profiler folded --tagroot process --sample-index samples profile.pb.gz
                                                    counts of samples, with the process as the root

A line is a stack, the outermost function first, and its value in the profile's unit (`--sample-index samples` for
counts of samples). Equal stacks are one line.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler folded`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.source.load(args.lens.labels())?;
    let report = folded(&loaded.profile, &args.lens.lens()).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    if args.json { print_json(json::folded(&report)) } else { print(&text::folded(&report)) }
}
