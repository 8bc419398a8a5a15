//! `cargo xtask bench overhead`: what this profiler and its peers cost, in turns on the same host.

use std::path::PathBuf;

use anyhow::Result;

use crate::example;

/// Arguments of `cargo xtask bench overhead`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Turns of each profiler at each rate.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Seconds per turn.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Rates in samples per second and CPU.
    #[arg(long, value_delimiter = ',', default_values_t = [19, 99])]
    rates: Vec<u32>,
    /// Where peers are looked for before PATH: what `cargo xtask bench peers` installed.
    #[arg(long, value_name = "FOLDER")]
    peers: Option<PathBuf>,
    /// Write the figures of every turn to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the last rate's CPU time and memory into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the benchmark, which is an example of the tests' crate: it reads profiles.
pub(super) fn run(args: &Args) -> Result<()> {
    let rates: Vec<String> = args.rates.iter().map(u32::to_string).collect();
    let words = [
        args.runs.to_string(),
        args.seconds.to_string(),
        rates.join(","),
        example::file_argument(args.peers.as_deref())?,
        example::file_argument(args.json.as_deref())?,
        example::file_argument(args.svg.as_deref())?,
    ];
    example::run("overhead", &["--release"], words)
}
