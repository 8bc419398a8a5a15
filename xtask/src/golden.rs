//! `cargo xtask golden`: the recorded stacks in `tests/golden`.
//!
//! The recorder is an example of the tests' crate, where the programs are.

use anyhow::Result;

use crate::example;

/// What to do with the recorded stacks.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Build the programs, run each of them, stop it where it is to be recorded, and write its snapshot.
    Record {
        /// Names of the snapshots; all of them unless given.
        names: Vec<String>,
    },
}

pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Record { names } = command;
    let names = names.iter().map(String::as_str);
    example::run("golden", &[], std::iter::once("record").chain(names))
}
