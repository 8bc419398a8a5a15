//! `cargo xtask build-aarch64`: the profiler for 64-bit Arm, on any host.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// What links, and compiles what of the dependencies is written in C.
const COMPILER: &str = "aarch64-linux-gnu-gcc";

/// How to build.
#[derive(clap::Args, Debug)]
pub(crate) struct Build {
    /// Only look whether it would build, which takes no linker.
    #[arg(long)]
    check: bool,
    /// Build as for a release.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(build: &Build) -> Result<()> {
    if Command::new(COMPILER).arg("--version").output().is_err() {
        bail!(
            "there is no {COMPILER}; on Debian `apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross`"
        );
    }
    let mut command = cargo();
    command.arg(if build.check { "check" } else { "build" });
    command.args(["--locked", "--package", "profiler-user", "--target", TARGET]);
    if build.release {
        command.arg("--release");
    }
    if std::env::consts::ARCH != "aarch64" {
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", COMPILER);
    }
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!(
            "the profiler does not build for {TARGET}; without its standard library, `rustup target add {TARGET}`"
        );
    }
    Ok(())
}
