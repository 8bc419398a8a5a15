//! Running cargo on `profiler-ebpf/` so that the result does not depend on where anything lies on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::toolchain::{Toolchain, cargo_home, command};
use super::{Arch, wrapper};

/// BPF in the byte order of every architecture that the profiler supports.
const TARGET: &str = "bpfel-unknown-none";

/// The folder for build products: cargo's, unless the caller chose another.
pub(crate) fn target_dir(workspace: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |dir| workspace.join(dir))
}

/// Builds all binaries for one architecture into `target_dir` and returns the folder they are in.
pub(super) fn compile(
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
    arch: Arch,
) -> Result<PathBuf> {
    let manifest = workspace.join("profiler-ebpf/Cargo.toml");
    // Fetched first, so that the folders of the registries exist and can be remapped.
    cargo(toolchain, &manifest, &["fetch"], &[])?;
    let flags = flags(toolchain, workspace, target_dir, arch)?;
    let target_dir_flag = target_dir.to_str().context("the target folder's path is not UTF-8")?;
    let arguments = [
        "build",
        "--release",
        "--target",
        TARGET,
        "-Zbuild-std=core",
        "--bins",
        "--target-dir",
        target_dir_flag,
    ];
    cargo(toolchain, &manifest, &arguments, &flags)?;
    Ok(target_dir.join(TARGET).join("release"))
}

fn cargo(toolchain: &Toolchain, manifest: &Path, arguments: &[&str], flags: &[String]) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path =
        env::join_paths(std::iter::once(toolchain.linker_folder.clone()).chain(env::split_paths(&path)))?;
    let folder = manifest.parent().context("the manifest has no folder")?;
    let status = command(&toolchain.cargo)
        .args(arguments)
        .arg("--locked")
        .arg("--manifest-path")
        .arg(manifest)
        // Cargo reads its configuration from the folders above the current one.
        .current_dir(folder)
        .env("PATH", path)
        .env("RUSTC", &toolchain.rustc)
        // A stable compiler takes -Z flags only so; a nightly one does not mind.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC_WRAPPER", env::current_exe()?)
        .env(wrapper::VARIABLE, "1")
        .env("CARGO_ENCODED_RUSTFLAGS", OsString::from(flags.join("\x1f")))
        .status()
        .with_context(|| format!("cannot run {}", toolchain.cargo.display()))?;
    if !status.success() {
        bail!("cargo {} of the kernel side failed", arguments.first().unwrap_or(&""));
    }
    Ok(())
}

/// The flags for rustc. Line information holds the paths of sources; each folder that may differ from one machine to the
/// next gets a name of its own.
fn flags(toolchain: &Toolchain, workspace: &Path, target_dir: &Path, arch: Arch) -> Result<Vec<String>> {
    let mut flags: Vec<String> = vec![
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // What aya-ebpf's build script would otherwise take from the host.
        format!("--cfg=bpf_target_arch=\"{}\"", arch.name()),
    ];
    // Where several match, rustc takes the last one.
    let mut remap = |from: &Path, to: &str| -> Result<()> {
        let from = from.to_str().with_context(|| format!("{} is not UTF-8", from.display()))?;
        flags.push(format!("--remap-path-prefix={from}={to}"));
        Ok(())
    };
    remap(workspace, "profiler")?;
    remap(target_dir, "target")?;
    remap(&toolchain.sysroot.join("lib/rustlib/src/rust"), "rust")?;
    // The name of a registry's folder depends on how the registry is reached.
    let sources = cargo_home().context("there is no home folder")?.join("registry/src");
    let mut registries: Vec<PathBuf> =
        fs::read_dir(&sources)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    registries.sort();
    for registry in registries {
        remap(&registry, "crates")?;
    }
    Ok(flags)
}
