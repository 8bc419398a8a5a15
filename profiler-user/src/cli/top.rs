//! `profiler top`.

use std::process::ExitCode;

use super::Outcome;

/// Arguments of `profiler top`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {}

/// Runs `profiler top`.
pub(super) fn run(_args: &Args) -> Outcome {
    Ok(ExitCode::SUCCESS)
}
