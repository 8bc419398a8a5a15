//! `profiler disasm`.

use regex::Regex;

use super::Outcome;
use super::lens::{LensArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report, paint, print, print_json, regex_first};
use crate::report::disasm::{Mapped, disasm};
use crate::report::{json, text};
use crate::source::assembly::{Syntax, code};

/// Arguments of `profiler disasm`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler disasm '^main\\.work$' profile.pb.gz      the function's instructions, with the value of each
  profiler disasm --intel-syntax memcpy profile.pb.gz

flat is what an instruction used itself, cum what it used with all it calls. The program has to lie where it was
profiled, unchanged, and binutils' objdump has to be installed; without them addresses are shown with their values. The
numbers are those of `go tool pprof -disasm`.")]
pub(super) struct Args {
    /// Functions whose name this regex matches, or the address of one.
    #[arg(value_name = "REGEX")]
    regex: Regex,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    /// Intel's syntax rather than AT&T's.
    #[arg(long, alias = "intel_syntax")]
    intel_syntax: bool,
    /// Print JSON with raw numbers instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler disasm`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = regex_first(&args.regex, args.source.load(args.lens.labels()))?;
    let report = disasm(&loaded.profile, &args.lens.lens(), &args.regex).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    let syntax = if args.intel_syntax { Syntax::Intel } else { Syntax::Att };
    let mut look = |mapped: &Mapped| code(mapped, syntax);
    if args.json {
        print_json(json::disasm(&report, &mut look))
    } else {
        print(&text::disasm(&report, paint(), &mut look))
    }
}
