//! `profiler raw`.

use super::Outcome;
use super::lens::{LensArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report, print, print_json};
use crate::report::raw::raw;
use crate::report::{json, text};
use crate::source::Labels;

/// Arguments of `profiler raw`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler raw profile.pb.gz                        the tables of the file: samples, locations, mappings
  profiler raw --json profile.pb.gz | jq '.mappings[].build_id'

Samples hold the ids of locations, the leaf first. The text is that of `go tool pprof -raw`.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler raw`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.source.load(Labels::Keep)?;
    let (profile, unmatched) = raw(&loaded.profile, &args.lens.lens()).map_err(no_report)?;
    warn_of_unmatched(&unmatched);
    if args.json { print_json(json::raw(&profile)) } else { print(&text::raw(&profile)) }
}
