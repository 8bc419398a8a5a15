//! `profiler list`.

use anyhow::Context;
use regex::Regex;

use super::lens::{LensArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report, paint, print, print_json, regex_first};
use super::{Failure, Outcome};
use crate::report::list::list;
use crate::report::{json, text};
use crate::source::code::Code;

/// Arguments of `profiler list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler list '^main\\.work$' profile.pb.gz        the function's source, with the value of each line
  profiler list --trim-path /build/app --source-path ~/src/app parse profile.pb.gz
                                                    a program that was built elsewhere

flat is what a line used itself, cum what it used with all it calls. Inlined functions are listed with their own lines;
in the function that they were inlined into, the line of the call has their value. Lines are known only where the
program has debug information. The numbers are those of `go tool pprof -list`.")]
pub(super) struct Args {
    /// Functions whose name this regex matches.
    #[arg(value_name = "REGEX")]
    regex: Regex,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    /// Print JSON with raw numbers instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler list`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = regex_first(&args.regex, args.source.load(args.lens.labels()))?;
    let lens = args.lens.lens();
    let here = std::env::current_dir().context("the current folder is gone").map_err(Failure::CannotStart)?;
    // Where nothing else is asked for, sources are looked for here, as the current project's.
    let mut code = Code::new(lens.paths.or_here(&here), &here);
    let report = list(&loaded.profile, &lens, &args.regex).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    let mut read = |path: &str| code.lines(path).map_err(|error| error.to_string());
    if args.json {
        print_json(json::list(&report, &mut read))
    } else {
        print(&text::list(&report, paint(), &mut read))
    }
}
