//! The command line: one file per subcommand. Arguments are parsed without side effects, then turned into a plan.

mod doctor;
mod reading;
mod top;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Shows, for every process on this host, which code the CPU time goes to.
#[derive(Parser, Debug)]
#[command(name = "profiler", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more: -v for what the profiler does, -vv for debugging, with the kernel verifier's log.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show the functions that the CPU time of one or more profiles went to.
    Top(top::Args),
    /// Show what this host offers and lacks for profiling, and how to mend it.
    Doctor(doctor::Args),
}

/// Why a subcommand did not do what was asked; the variant decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// It could not start: wrong arguments, missing privilege, unsupported kernel, no such input. Exit code 2.
    CannotStart(anyhow::Error),
    /// It started and failed. Exit code 1.
    WhileRunning(anyhow::Error),
}

/// What a subcommand returns: an exit code, or why there is none of its own.
pub type Outcome = Result<ExitCode, Failure>;

/// Parses the process's arguments, runs the subcommand and reports its failure as one sentence on stderr.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Top(args) => top::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(Failure::CannotStart(error)) => {
            eprintln!("profiler: {error:#}");
            ExitCode::from(2)
        }
        Err(Failure::WhileRunning(error)) => {
            eprintln!("profiler: {error:#}");
            ExitCode::from(1)
        }
    }
}
