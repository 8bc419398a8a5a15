//! `cargo xtask bench peers`: installs the profilers to compare with, by the ordinary clients of their registries.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Arguments of `cargo xtask bench peers`.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Where programs that come from source are put.
    #[arg(default_value = "target/peers")]
    folder: PathBuf,
}

/// A peer, and the command that installs it into the folder.
struct Peer {
    name: &'static str,
    install: fn(&Path) -> Command,
}

const PEERS: [Peer; 5] = [
    Peer { name: "perf", install: |_| debian("linux-perf") },
    Peer { name: "bpfcc's profile", install: |_| debian("bpfcc-tools") },
    Peer { name: "bpftrace", install: |_| debian("bpftrace") },
    Peer { name: "profile-bee", install: |folder| crates_io(folder, "profile-bee") },
    Peer {
        name: "OpenTelemetry's eBPF profiler",
        install: |folder| {
            let mut command = Command::new("go");
            command.args(["install", "go.opentelemetry.io/ebpf-profiler@latest"]).env("GOBIN", folder);
            command
        },
    },
];

fn debian(package: &str) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends", package]);
    command
}

fn crates_io(folder: &Path, name: &str) -> Command {
    let mut command = Command::new("cargo");
    // Programs lie in the folder itself, as those of others do.
    command.args(["install", "--locked", name, "--root"]).arg(folder.join("cargo"));
    command
}

/// Installs what can be had, and says what cannot.
pub(super) fn run(args: &Args) -> Result<()> {
    let folder = std::path::absolute(&args.folder)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut lines = Vec::new();
    for peer in PEERS {
        eprintln!("== {}", peer.name);
        let mut command = (peer.install)(&folder);
        let said = match command.status() {
            Ok(status) if status.success() => "installed".to_owned(),
            Ok(status) => format!("could not be installed: {command:?} ended with {status}"),
            Err(error) => format!("could not be installed: {command:?}: {error}"),
        };
        lines.push(format!("{}: {said}", peer.name));
    }
    for program in std::fs::read_dir(folder.join("cargo/bin")).into_iter().flatten().flatten() {
        let to = folder.join(program.file_name());
        std::fs::copy(program.path(), &to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    println!("{}", lines.join("\n"));
    println!("`cargo xtask bench overhead --peers {}` compares with them", folder.display());
    Ok(())
}
