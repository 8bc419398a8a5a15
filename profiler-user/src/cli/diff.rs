//! `profiler diff`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::ValueEnum;

use super::drawing::deliver;
use super::lens::{FilterArgs, warn_of_unmatched};
use super::reading::{Choice, no_report, paint, print, print_json, read};
use super::{Failure, Outcome};
use crate::profile::labels::LabelFilter;
use crate::report::diff::condition::{self, Condition};
use crate::report::diff::{DiffReport, Normalize, Options, Rows, diff, overlaid};
use crate::report::flame::html;
use crate::report::node::Granularity;
use crate::report::order::Sort;
use crate::report::{json, text};
use crate::source::Labels;
use crate::source::moment::Moment;

/// Arguments of `profiler diff`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler diff before.pb.gz after.pb.gz            what changed, the most certain change first
  profiler diff --cum before.pb.gz after.pb.gz      by functions with all they call
  profiler diff /var/lib/profiler /var/lib/profiler --base-since 2d --base-until 1d --other-since 1d
                                                    yesterday against the day before
  profiler diff fleet fleet --base-where version=1.4 --other-where version=1.5
                                                    two versions of a service
  profiler diff --by process before.pb.gz after.pb.gz
                                                    which process the change lies in
  profiler diff before.pb.gz after.pb.gz -o diff.html
                                                    a flame graph of both, coloured by what changed
  profiler diff before.pb.gz after.pb.gz --fail-on 'cum(json::parse) > +5%'
                                                    in CI: exit code 3 when it grew by more

Values are shares of each side's CPU time unless --normalize says otherwise, so that recordings of different lengths
compare. The interval tells where a change lies with 95 %, given how few samples there are; one that holds 0 is noise.
It knows of chance in sampling only: what differs between two runs of a program for other reasons is a change to it.
Functions are the same where name and binary are.")]
pub(super) struct Args {
    /// What it was: a pprof file, a folder that the agent writes, or a URL.
    #[arg(value_name = "BASE")]
    base: String,
    /// What it is now.
    #[arg(value_name = "OTHER")]
    other: String,
    /// What has a row: functions, filefunctions, files, lines or addresses, or the key of a label such as process.
    #[arg(long, value_name = "WHAT", default_value = "functions")]
    by: String,
    /// What makes sides comparable that were not observed equally long.
    #[arg(long, value_enum, default_value_t)]
    normalize: Normalize,
    /// Sort by cum rather than flat.
    #[arg(long)]
    cum: bool,
    /// How many rows to show; 0 for all.
    #[arg(short = 'n', long = "rows", value_name = "ROWS", default_value_t = 20)]
    rows: usize,
    /// Leave out rows that may be noise.
    #[arg(long)]
    no_noise: bool,
    /// Exit with code 3 when a change goes beyond this, and is no noise; may be given several times.
    #[arg(long, value_name = "CONDITION")]
    fail_on: Vec<Condition>,
    /// Write a flame graph of both sides, a page in one file (.html), instead of the table.
    #[arg(short = 'o', long = "output", value_name = "PATH")]
    output: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sides: SideArgs,
    #[command(flatten)]
    filters: FilterArgs,
}

/// Which profiles and samples each side is.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Which profiles and samples")]
struct SideArgs {
    /// Only samples with these labels, on both sides: key=value, key!=value, key=~regex or key!~regex.
    #[arg(long = "where", value_name = "LABELS")]
    labels: Vec<LabelFilter>,
    /// Only samples with these labels in BASE.
    #[arg(long, value_name = "LABELS")]
    base_where: Vec<LabelFilter>,
    /// Only samples with these labels in OTHER.
    #[arg(long, value_name = "LABELS")]
    other_where: Vec<LabelFilter>,
    /// Only windows of BASE that start then or later.
    #[arg(long, value_name = "TIME")]
    base_since: Option<Moment>,
    /// Only windows of BASE that start before then.
    #[arg(long, value_name = "TIME")]
    base_until: Option<Moment>,
    /// Only windows of OTHER that start then or later.
    #[arg(long, value_name = "TIME")]
    other_since: Option<Moment>,
    /// Only windows of OTHER that start before then.
    #[arg(long, value_name = "TIME")]
    other_until: Option<Moment>,
}

/// Exit code where a condition of `--fail-on` is met.
const BEYOND: u8 = 3;

/// Runs `profiler diff`.
pub(super) fn run(args: &Args) -> Outcome {
    let (by, rows) = match Granularity::from_str(&args.by, true) {
        Ok(by) => (by, Rows::Places),
        Err(_) => (Granularity::default(), Rows::Label(args.by.clone())),
    };
    if args.fail_on.iter().any(Condition::needs_shares) && args.normalize != Normalize::Share {
        return Err(Failure::CannotStart(anyhow!(
            "a condition in percentage points (pp) compares shares: leave --normalize out, or write the bound in %"
        )));
    }
    let labels = if rows == Rows::Places { args.filters.labels() } else { Labels::Keep };
    let both = |own: &[LabelFilter]| args.sides.labels.iter().chain(own).cloned().collect::<Vec<_>>();
    let (base_where, other_where) = (both(&args.sides.base_where), both(&args.sides.other_where));
    let base = Choice {
        sources: std::slice::from_ref(&args.base),
        samples: &base_where,
        since: args.sides.base_since,
        until: args.sides.base_until,
    };
    let other = Choice {
        sources: std::slice::from_ref(&args.other),
        samples: &other_where,
        since: args.sides.other_since,
        until: args.sides.other_until,
    };
    let (base, other) = (read(&base, labels)?.profile, read(&other, labels)?.profile);
    let lens = args.filters.lens(by);
    let sort = if args.cum { Sort::Cum } else { Sort::Flat };
    let options = Options { lens, rows, normalize: args.normalize, sort };
    let report = diff(&base, &other, &options).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    if let Some(path) = &args.output {
        let tree = overlaid(&base, &other, &options.lens, args.normalize).map_err(no_report)?;
        let page = html::html(&tree).context("cannot write JSON").map_err(Failure::WhileRunning)?;
        deliver(&page, Some(path))?;
    } else if args.json {
        print_json(json::diff(&report))?;
    } else {
        let noise = if args.no_noise { text::Noise::Counted } else { text::Noise::Shown };
        let rows = Some(args.rows).filter(|&rows| rows > 0);
        print(&text::diff(&report, text::Shown { rows, noise }, paint()))?;
    }
    judge(&args.fail_on, &report)
}

fn judge(conditions: &[Condition], report: &DiffReport) -> Outcome {
    let mut beyond = false;
    for condition in conditions {
        match condition.judge(report) {
            condition::Outcome::Holds(_) => {}
            condition::Outcome::Exceeded(sentence) => {
                eprintln!("profiler: {sentence}");
                beyond = true;
            }
            condition::Outcome::NoSuchFunction(name) => {
                return Err(Failure::WhileRunning(anyhow!(
                    "neither side has a row named {name:?}, so --fail-on cannot judge it; names are those of `profiler diff -n 0`"
                )));
            }
        }
    }
    Ok(if beyond { ExitCode::from(BEYOND) } else { ExitCode::SUCCESS })
}
