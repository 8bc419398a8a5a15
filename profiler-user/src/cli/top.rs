//! `profiler top`.

use super::Outcome;
use super::lens::{HeadingArgs, LensArgs, ValuesArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report, paint, print, print_json};
use super::tree::share;
use crate::report::top::{Options, Sort, top};
use crate::report::{json, text};

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
    lens: LensArgs,
    #[command(flatten)]
    values: ValuesArgs,
    #[command(flatten)]
    heading: HeadingArgs,
    /// Sort by cum rather than flat.
    #[arg(long)]
    cum: bool,
    /// How many rows to show; 0 for all.
    #[arg(short = 'n', long = "rows", value_name = "ROWS", alias = "nodecount", default_value_t = 20)]
    rows: usize,
    /// Leave out functions below this share of the total.
    #[arg(long, value_name = "SHARE", alias = "nodefraction", default_value_t = 0.0, value_parser = share)]
    node_fraction: f64,
    /// Calls below this share of the total do not tell whether a function was inlined.
    #[arg(long, value_name = "SHARE", alias = "edgefraction", default_value_t = 0.0, value_parser = share)]
    edge_fraction: f64,
    /// Print JSON with raw numbers instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler top`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.source.load(args.lens.labels())?;
    let options = Options {
        lens: args.heading.on(args.values.on(args.lens.lens())),
        sort: if args.cum { Sort::Cum } else { Sort::Flat },
        rows: Some(args.rows).filter(|&rows| rows > 0),
        node_fraction: args.node_fraction,
        edge_fraction: args.edge_fraction,
    };
    let report = top(&loaded.profile, &options).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    if args.json { print_json(json::top(&report)) } else { print(&text::top(&report, paint())) }
}
