//! `cargo xtask bench parts`: what the pure parts cost, by criterion, with the bytes that they allocate.

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;

/// Arguments of `cargo xtask bench parts`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// For criterion: a part of a benchmark's name, `--save-baseline NAME`, `--baseline NAME`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    criterion: Vec<String>,
}

/// Builds and runs the benchmarks of the agent's crate. They are run and not linked, as everything of that crate here.
pub(super) fn run(args: &Args) -> Result<()> {
    let status = cargo()
        .args(["bench", "--quiet", "--package", "profiler-user", "--bench", "parts", "--"])
        .args(&args.criterion)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the benchmarks failed: {status}");
    }
    Ok(())
}
