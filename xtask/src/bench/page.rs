//! `cargo xtask bench page`: how fast the page of `profiler view` draws large and deep flame graphs, in headless Chromium.

use std::path::PathBuf;

use anyhow::Result;

use crate::example;

/// Arguments of `cargo xtask bench page`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Frames of each graph.
    #[arg(long, default_value_t = 100_000)]
    frames: usize,
    /// Animation frames of each movement.
    #[arg(long, default_value_t = 240)]
    steps: usize,
    /// Write all figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the benchmark, which is an example of the tests' crate: that has the browser.
pub(super) fn run(args: &Args) -> Result<()> {
    let words =
        [args.frames.to_string(), args.steps.to_string(), example::file_argument(args.json.as_deref())?];
    example::run("page", &["--release"], words)
}
