//! `cargo xtask bench soak`: whether an agent's memory and files stay what they are while processes come and go.

use std::path::PathBuf;

use anyhow::Result;

use crate::example;

/// Arguments of `cargo xtask bench soak`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// How long the agent runs.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// Write all that was seen to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw what was held over time into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the benchmark, which is an example of the tests' crate: it reads profiles.
pub(super) fn run(args: &Args) -> Result<()> {
    let words = [
        args.minutes.to_string(),
        example::file_argument(args.json.as_deref())?,
        example::file_argument(args.svg.as_deref())?,
    ];
    example::run("soak", &["--release"], words)
}
