//! `profiler doctor`.

use std::process::ExitCode;

use super::{Failure, Outcome};
use crate::doctor::{self, render};

/// Arguments of `profiler doctor`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Print JSON: `can_run`, and for each of `checks` its name, status, found, why and fix.
    #[arg(long)]
    json: bool,
}

/// Runs `profiler doctor`: exit code 0 when the profiler can run on this host, 2 when not.
pub(super) fn run(args: &Args) -> Outcome {
    let report = doctor::examine(|| crate::capture::check_load().map_err(|error| error.to_string()));
    if args.json {
        println!("{}", render::json(&report).map_err(|error| Failure::WhileRunning(error.into()))?);
    } else {
        print!("{}", render::text(&report));
    }
    Ok(if report.can_run() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
