//! `cargo xtask compare`: the profiler's stacks beside another tool's.

use std::path::PathBuf;

use anyhow::Result;

use crate::example;

/// What the tests' crate has to run.
const WORKLOADS: [&str; 4] = ["clang", "clang++", "python3", "node"];

/// What to compare with.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Sample a compiler, an interpreter and node with `perf record --call-graph dwarf` at the same time, and show the ten
    /// hottest paths of each, where they differ, and where perf's stacks end early.
    Perf(Perf),
}

/// Arguments of `cargo xtask compare perf`.
#[derive(clap::Args, Debug)]
pub(crate) struct Perf {
    /// Seconds per workload.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Samples per second and CPU, of each tool.
    #[arg(long, default_value_t = 199)]
    rate: u32,
    /// Write the figures with the whole paths to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What to run.
    #[arg(default_values = WORKLOADS, value_parser = WORKLOADS)]
    workloads: Vec<String>,
}

/// Runs `cargo xtask compare`.
pub(crate) fn run(command: &Command) -> Result<()> {
    let Command::Perf(Perf { seconds, rate, json, workloads }) = command;
    let mut args = vec![seconds.to_string(), rate.to_string()];
    args.push(example::file_argument(json.as_deref())?);
    args.extend(workloads.iter().cloned());
    example::run("compare", &["--release"], args)
}
