//! `cargo xtask`: the chores of this repository that need more than cargo.

mod aarch64;
mod bench;
mod cargo;
mod compare;
mod dist;
mod ebpf;
mod example;
mod fuzz;
mod golden;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of this repository that need more than cargo.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand, Debug)]
enum Chore {
    /// Build the kernel-side object, or prove that the committed one is what the source builds.
    #[command(subcommand)]
    Ebpf(ebpf::Command),
    /// Build the profiler for 64-bit Arm. Needs Debian's gcc-aarch64-linux-gnu and libc6-dev-arm64-cross, and rustup's standard
    /// library for aarch64-unknown-linux-gnu.
    BuildAarch64(aarch64::Build),
    /// Measure what profiling costs on this machine, beside a BPF program that only counts, or how soon it begins.
    /// Needs root.
    Bench(bench::Bench),
    /// Set the profiler's stacks beside those of another tool. Needs root.
    #[command(subcommand)]
    Compare(compare::Command),
    /// Feed damaged and arbitrary input to everything that reads what others wrote.
    Fuzz(fuzz::Fuzz),
    /// Record the stacks of tests/golden anew.
    #[command(subcommand)]
    Golden(golden::Command),
    /// Write what packages contain beside the binary: man pages and completions.
    Dist(dist::Dist),
    /// Run the tests on other kernels.
    #[command(subcommand)]
    Vm(vm::Command),
}

fn main() -> ExitCode {
    if let Some(code) = ebpf::run_as_rustc() {
        return code;
    }
    let result = match Cli::parse().chore {
        Chore::Ebpf(command) => ebpf::run(&command),
        Chore::BuildAarch64(args) => aarch64::run(&args),
        Chore::Bench(args) => bench::run(&args),
        Chore::Compare(command) => compare::run(&command),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Golden(command) => golden::run(&command),
        Chore::Dist(args) => dist::run(&args),
        Chore::Vm(command) => vm::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
