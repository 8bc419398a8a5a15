//! `cargo xtask bench cold`: how soon profiling begins.

use std::path::PathBuf;

use anyhow::Result;

use crate::example;

/// Arguments of `cargo xtask bench cold`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Runs of each measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Write the figures, with those of every run, to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the times into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// What to measure: the first stack of a large binary, or the first window of a busy host.
    #[arg(default_values = ["binary", "host"], value_parser = ["binary", "host"])]
    parts: Vec<String>,
}

/// Runs the benchmark, which is an example of the tests' crate: it reads profiles.
pub(super) fn run(args: &Args) -> Result<()> {
    let mut words = vec![args.runs.to_string()];
    words.push(example::file_argument(args.json.as_deref())?);
    words.push(example::file_argument(args.svg.as_deref())?);
    words.extend(args.parts.iter().cloned());
    example::run("cold", &["--release"], words)
}
