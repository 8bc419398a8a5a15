//! `cargo xtask bench scale`: what an agent costs on a host with much of everything, and on one with a quarter of that.

use std::path::PathBuf;

use anyhow::Result;

use crate::example;

/// Arguments of `cargo xtask bench scale`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Runs of each, in turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Processes that work for a millisecond each second.
    #[arg(long, default_value_t = 1000)]
    processes: usize,
    /// Files that they run.
    #[arg(long, default_value_t = 300)]
    objects: usize,
    /// Mappings of another process, half of them generated code.
    #[arg(long, default_value_t = 100_000)]
    mappings: usize,
    /// Samples per second and CPU: more of them stand for more CPUs.
    #[arg(short = 'F', long, default_value_t = 999)]
    rate: u32,
    /// Windows that the agent runs.
    #[arg(long, default_value_t = 3)]
    windows: usize,
    /// Seconds of a window.
    #[arg(long, default_value_t = 60)]
    seconds: usize,
    /// The agent's budget, MiB.
    #[arg(long, default_value_t = 128)]
    memory: u64,
    /// Write all figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw CPU time and memory into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the benchmark, which is an example of the tests' crate: it reads profiles.
pub(super) fn run(args: &Args) -> Result<()> {
    let words = [
        args.runs.to_string(),
        args.processes.to_string(),
        args.objects.to_string(),
        args.mappings.to_string(),
        args.rate.to_string(),
        args.windows.to_string(),
        args.seconds.to_string(),
        args.memory.to_string(),
        example::file_argument(args.json.as_deref())?,
        example::file_argument(args.svg.as_deref())?,
    ];
    example::run("scale", &["--release"], words)
}
