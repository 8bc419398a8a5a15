//! The `profiler` binary: parse the arguments, run the subcommand, turn its result into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    profiler_user::cli::main()
}
