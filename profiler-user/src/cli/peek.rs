//! `profiler peek`.

use regex::Regex;

use super::Outcome;
use super::lens::{HeadingArgs, LensArgs, ValuesArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report, paint, print, print_json, regex_first};
use crate::report::order::Sort;
use crate::report::tree::peek;
use crate::report::{json, text};

/// Arguments of `profiler peek`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler peek '^malloc$' profile.pb.gz            who calls malloc, and what malloc calls
  profiler peek --by lines json::parse profile.pb.gz
                                                    from which lines

Nothing is left out for being small. The numbers are those of `go tool pprof -peek`.")]
pub(super) struct Args {
    /// Functions whose name this regex matches.
    #[arg(value_name = "REGEX")]
    regex: Regex,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    #[command(flatten)]
    values: ValuesArgs,
    #[command(flatten)]
    heading: HeadingArgs,
    /// Sort by cum rather than flat.
    #[arg(long)]
    cum: bool,
    /// Print JSON with raw numbers instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler peek`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = regex_first(&args.regex, args.source.load(args.lens.labels()))?;
    let sort = if args.cum { Sort::Cum } else { Sort::Flat };
    let report = peek(&loaded.profile, &args.heading.on(args.values.on(args.lens.lens())), sort, &args.regex)
        .map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    if args.json { print_json(json::tree(&report)) } else { print(&text::peek(&report, paint())) }
}
