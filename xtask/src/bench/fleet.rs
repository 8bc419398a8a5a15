//! `cargo xtask bench fleet`: what windows take on their way to receivers, and how fast those of many agents are taken.

use std::path::PathBuf;

use anyhow::Result;

use crate::example;

/// Arguments of `cargo xtask bench fleet`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Agents that send at once.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    agents: u32,
    /// Windows of each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    windows: u32,
    /// Length of a window.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the benchmark, which is an example of the tests' crate: it reads profiles.
pub(super) fn run(args: &Args) -> Result<()> {
    let words = [
        args.agents.to_string(),
        args.windows.to_string(),
        args.seconds.to_string(),
        example::file_argument(args.json.as_deref())?,
    ];
    example::run("fleet", &["--release"], words)
}
