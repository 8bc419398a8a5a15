//! `cargo xtask golden`: the recorded stacks in `tests/golden`.
//!
//! The recorder is an example of the tests' crate, where the programs are. It is run and not linked: that crate needs the
//! agent's, which needs the BPF object, and xtask has to work where that cannot be built yet.

use std::path::Path;
use std::process::Command as Process;

use anyhow::{Context, Result, bail};

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
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Process::new(cargo)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["run", "--quiet", "--package", "profiler-tests", "--example", "golden", "--", "record"])
        .args(names)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the recorder failed: {status}");
    }
    Ok(())
}
