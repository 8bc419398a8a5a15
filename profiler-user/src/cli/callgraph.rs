//! `profiler callgraph`.

use std::path::PathBuf;

use super::Outcome;
use super::drawing::deliver;
use super::graphviz::drawn;
use super::lens::{LensArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report};
use super::tree::TrimArgs;
use crate::report::dot::dot;
use crate::report::tree::{Options, tree};
use crate::report::trim::Purpose;
use crate::source::Labels;

/// Arguments of `profiler callgraph`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler callgraph profile.pb.gz -o graph.svg     a picture, drawn by graphviz
  profiler callgraph profile.pb.gz > graph.dot      the graph as text, which needs no graphviz
  profiler callgraph --tagshow thread profile.pb.gz -o graph.png
                                                    with a box for each thread
  profiler callgraph -n 30 --focus json profile.pb.gz -o json.svg

A box is a function, the larger its letters the more it used itself; an arrow is a call, dotted where functions between
the two were left out; small boxes are the labels of samples (--taghide . leaves them out). Nodes, edges, boxes and
numbers are those of `go tool pprof -dot`.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    #[command(flatten)]
    trim: TrimArgs,
    /// Where to write: .svg, .png, .pdf, .ps or .gif for a picture (needs graphviz), .dot for text [default: text to stdout].
    #[arg(short = 'o', long = "output", value_name = "PATH")]
    output: Option<PathBuf>,
}

/// What graphviz draws, by the names of files; any other name gets the text.
const PICTURES: [&str; 5] = ["svg", "png", "pdf", "ps", "gif"];

/// Runs `profiler callgraph`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.source.load(Labels::Keep)?;
    let options = Options { lens: args.lens.lens(), trim: args.trim.trim(), purpose: Purpose::Drawing };
    let report = tree(&loaded.profile, &options).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    let text = dot(&report);
    let output = args.output.as_deref();
    let ending = output.and_then(|path| path.extension()?.to_str());
    match ending.filter(|ending| PICTURES.contains(ending)) {
        None => deliver(&text, output),
        Some(format) => deliver(&drawn(&text, format)?, output),
    }
}
