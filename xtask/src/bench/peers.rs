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

/// A peer, and the command that installs it into the folder, which may have to be prepared.
struct Peer {
    name: &'static str,
    install: fn(&Path) -> Result<Command>,
}

/// OpenTelemetry's eBPF profiler, and the version to compare with.
const OTEL: [&str; 2] = ["go.opentelemetry.io/ebpf-profiler", "v0.0.202633"];

const PEERS: [Peer; 6] = [
    Peer { name: "perf", install: |_| Ok(debian("linux-perf")) },
    Peer { name: "bpfcc's profile", install: |_| Ok(debian("bpfcc-tools")) },
    Peer { name: "bpftrace", install: |_| Ok(debian("bpftrace")) },
    Peer { name: "profile-bee", install: |folder| Ok(crates_io(folder, "profile-bee")) },
    Peer { name: "samply", install: |folder| Ok(crates_io(folder, "samply")) },
    Peer { name: "OpenTelemetry's eBPF profiler", install: go_module },
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

/// A Go program, built as the dependency of a module of its own. `go install` asks the host in the module's path whether the
/// module is deprecated, and fails where only Go's proxy can be reached.
fn go_module(folder: &Path) -> Result<Command> {
    let [path, version] = OTEL;
    let module = folder.join("go");
    std::fs::create_dir_all(&module).with_context(|| format!("cannot make {}", module.display()))?;
    let text = format!("module peers\n\ngo 1.26.0\n\nrequire {path} {version}\n");
    std::fs::write(module.join("go.mod"), text)
        .with_context(|| format!("cannot write into {}", module.display()))?;
    let mut command = Command::new("go");
    command.current_dir(module).env("CGO_ENABLED", "0");
    command
        .args(["build", "-mod=mod", "-buildvcs=false", "-tags", "osusergo,netgo", "-o"])
        .arg(folder)
        .arg(path);
    Ok(command)
}

/// Installs what can be had, and says what cannot.
pub(super) fn run(args: &Args) -> Result<()> {
    let folder = std::path::absolute(&args.folder)?;
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut lines = Vec::new();
    for peer in PEERS {
        eprintln!("== {}", peer.name);
        let mut command = (peer.install)(&folder)?;
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
