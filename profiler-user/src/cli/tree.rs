//! `profiler tree`.

use super::Outcome;
use super::lens::{HeadingArgs, LensArgs, ValuesArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report, paint, print, print_json};
use crate::report::order::Sort;
use crate::report::tree::{Options, tree};
use crate::report::trim::{Purpose, Trim};
use crate::report::{json, text};

/// Arguments of `profiler tree`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler tree profile.pb.gz                       the 80 hottest functions, each between its callers and callees
  profiler tree --cum -n 20 profile.pb.gz           from main downwards
  profiler tree --focus malloc profile.pb.gz        who allocates
  profiler tree -n 0 --node-fraction 0 --edge-fraction 0 profile.pb.gz
                                                    everything

Above a function are its callers, below it what it calls, with their share in its cum. The numbers are those of
`go tool pprof -tree`; how many small functions were left out stands at the top.")]
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
    #[command(flatten)]
    trim: TrimArgs,
    /// Print JSON with raw numbers instead of text.
    #[arg(long)]
    json: bool,
}

/// How much of a call graph is shown.
#[derive(clap::Args, Debug)]
pub(super) struct TrimArgs {
    /// How many functions to show; 0 for all.
    #[arg(short = 'n', long = "rows", value_name = "ROWS", alias = "nodecount", default_value_t = 80)]
    rows: usize,
    /// Leave out functions below this share of the total.
    #[arg(long, value_name = "SHARE", alias = "nodefraction", default_value_t = 0.005, value_parser = share)]
    node_fraction: f64,
    /// Leave out calls below this share of the total.
    #[arg(long, value_name = "SHARE", alias = "edgefraction", default_value_t = 0.001, value_parser = share)]
    edge_fraction: f64,
}

impl TrimArgs {
    pub(super) fn trim(&self) -> Trim {
        Trim {
            nodes: Some(self.rows).filter(|&rows| rows > 0),
            node_fraction: self.node_fraction,
            edge_fraction: self.edge_fraction,
        }
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it must be a number from 0 to 1, such as 0.01".to_owned()),
    }
}

/// Runs `profiler tree`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.source.load(args.lens.labels())?;
    let options = Options {
        lens: args.heading.on(args.values.on(args.lens.lens())),
        trim: args.trim.trim(),
        purpose: Purpose::Text(if args.cum { Sort::Cum } else { Sort::Flat }),
    };
    let report = tree(&loaded.profile, &options).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    if args.json { print_json(json::tree(&report)) } else { print(&text::tree(&report, paint())) }
}
