//! `profiler callgraph`.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail};

use super::drawing::deliver;
use super::lens::{LensArgs, warn_of_unmatched};
use super::reading::{SourceArgs, no_report};
use super::tree::TrimArgs;
use super::{Failure, Outcome};
use crate::report::dot::dot;
use crate::report::tree::{Options, tree};
use crate::report::trim::Purpose;

/// Arguments of `profiler callgraph`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler callgraph profile.pb.gz -o graph.svg     a picture, drawn by graphviz
  profiler callgraph profile.pb.gz > graph.dot      the graph as text, which needs no graphviz
  profiler callgraph -n 30 --focus json profile.pb.gz -o json.svg

A box is a function, the larger its letters the more it used itself; an arrow is a call, dotted where functions between
the two were left out. Nodes, edges and numbers are those of `go tool pprof -dot`; labels are not drawn.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    lens: LensArgs,
    #[command(flatten)]
    trim: TrimArgs,
    /// Where to write: .svg for a picture (needs graphviz), .dot for text [default: text to stdout].
    #[arg(short = 'o', long = "output", value_name = "PATH")]
    output: Option<PathBuf>,
}

/// Runs `profiler callgraph`.
pub(super) fn run(args: &Args) -> Outcome {
    let loaded = args.source.load(args.lens.labels())?;
    let options = Options { lens: args.lens.lens(), trim: args.trim.trim(), purpose: Purpose::Drawing };
    let report = tree(&loaded.profile, &options).map_err(no_report)?;
    warn_of_unmatched(&report.unmatched);
    let text = dot(&report);
    let picture = args.output.as_deref().filter(|path| path.extension() == Some(OsStr::new("svg")));
    match picture {
        None => deliver(&text, args.output.as_deref()),
        Some(path) => deliver(&drawn(&text)?, Some(path)),
    }
}

/// Has graphviz draw the graph.
fn drawn(text: &str) -> Result<String, Failure> {
    let started = Command::new("dot")
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Failure::CannotStart(anyhow!(
                "graphviz's `dot`, which draws the picture, is not installed: install graphviz, or write the graph as text with -o graph.dot"
            )));
        }
        Err(error) => {
            return Err(Failure::WhileRunning(
                anyhow::Error::new(error).context("graphviz's `dot` cannot be run"),
            ));
        }
    };
    let draw = || -> anyhow::Result<String> {
        let mut stdin = child.stdin.take().context("graphviz's `dot` has no input")?;
        // From a thread of its own: dot may write before it has read everything.
        let output = std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(text.as_bytes()));
            child.wait_with_output()
        })?;
        if !output.status.success() {
            bail!("graphviz's `dot` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    draw().map_err(Failure::WhileRunning)
}
