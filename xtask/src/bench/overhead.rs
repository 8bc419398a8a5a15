//! `cargo xtask bench overhead`: what this profiler and its peers cost, in turns on the same host.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::example;

/// Arguments of `cargo xtask bench overhead`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Turns of each profiler at each rate; with --add, 0 only shows and draws again what the JSON file has.
    #[arg(long, default_value_t = 5)]
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
    /// Only these, by their names in the table; the first one is held against the others.
    #[arg(long, value_name = "NAME")]
    tool: Vec<String>,
    /// Write the figures of every turn to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Add the turns to those that the JSON file has: a long comparison can be made in pieces.
    #[arg(long, requires = "json")]
    add: bool,
    /// Draw CPU time and memory into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the benchmark, which is an example of the tests' crate: it reads profiles.
pub(super) fn run(args: &Args) -> Result<()> {
    if args.runs == 0 && !args.add {
        bail!("nothing to run: --runs 0 goes with --add");
    }
    let rates: Vec<String> = args.rates.iter().map(u32::to_string).collect();
    let words = [
        args.runs.to_string(),
        args.seconds.to_string(),
        rates.join(","),
        example::file_argument(args.peers.as_deref())?,
        if args.tool.is_empty() { "-".to_owned() } else { args.tool.join(";") },
        example::file_argument(args.json.as_deref())?,
        example::file_argument(args.svg.as_deref())?,
        if args.add { "add" } else { "new" }.to_owned(),
    ];
    example::run("overhead", &["--release"], words)
}
