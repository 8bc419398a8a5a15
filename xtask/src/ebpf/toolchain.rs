//! Finding a Rust compiler that can build `core` for BPF, and the linker.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The oldest rustc that the kernel side builds with.
const OLDEST_RUSTC: (u32, u32) = (1, 90);

/// What the bytes of the object depend on besides the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    /// What `rustc --version` prints after the name.
    pub(super) rustc: String,
    /// The version of LLVM in rustc.
    pub(super) llvm: String,
    /// The version of bpf-linker.
    pub(super) bpf_linker: String,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rustc {} (LLVM {}) and bpf-linker {}", self.rustc, self.llvm, self.bpf_linker)
    }
}

/// A usable toolchain on this machine.
#[derive(Debug)]
pub(super) struct Toolchain {
    pub(super) cargo: PathBuf,
    pub(super) rustc: PathBuf,
    /// Where the linker lies; rustc looks it up by name, so this goes to the front of PATH.
    pub(super) linker_folder: PathBuf,
    /// rustc's sysroot, below which the standard library's sources are.
    pub(super) sysroot: PathBuf,
    pub(super) versions: Versions,
}

impl Toolchain {
    /// Takes the distribution's compiler when it comes with the standard library's sources, else rustup's nightly.
    pub(super) fn find() -> Result<Self> {
        let linker = find_linker()?;
        let linker_version = output(Command::new(&linker).arg("--version"))?;
        let bpf_linker = linker_version.trim().trim_start_matches("bpf-linker ").to_owned();
        let linker_folder = linker.parent().map(Path::to_owned).unwrap_or_default();
        for (cargo, rustc) in candidates() {
            if let Some((sysroot, rustc_version, llvm)) = inspect(&rustc) {
                return Ok(Self {
                    cargo,
                    rustc,
                    linker_folder,
                    sysroot,
                    versions: Versions { rustc: rustc_version, llvm, bpf_linker },
                });
            }
        }
        bail!(
            "found no rustc {}.{} or later with the standard library's sources: on Debian `apt-get install rustc-web \
             cargo-web rust-web-src`, elsewhere `rustup toolchain install nightly --component rust-src`",
            OLDEST_RUSTC.0,
            OLDEST_RUSTC.1
        )
    }
}

/// Pairs of cargo and rustc to try, best first.
fn candidates() -> Vec<(PathBuf, PathBuf)> {
    let mut found = vec![(PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"))];
    let which = |tool| {
        let path = output(Command::new("rustup").args(["which", "--toolchain", "nightly", tool])).ok()?;
        Some(PathBuf::from(path.trim()))
    };
    found.extend(which("cargo").zip(which("rustc")));
    found
}

/// The sysroot, version and LLVM of a compiler that can build `core`; `None` when it cannot.
fn inspect(rustc: &Path) -> Option<(PathBuf, String, String)> {
    let sysroot = PathBuf::from(output(command(rustc).args(["--print", "sysroot"])).ok()?.trim());
    if !sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists() {
        return None;
    }
    let verbose = output(command(rustc).arg("-vV")).ok()?;
    let (version, release, llvm) = parse_version(&verbose)?;
    (release >= OLDEST_RUSTC).then_some((sysroot, version, llvm))
}

/// The version, the release as numbers and the LLVM version out of what `rustc -vV` prints.
fn parse_version(verbose: &str) -> Option<(String, (u32, u32), String)> {
    let field = |name| verbose.lines().find_map(|line| line.strip_prefix(name));
    let mut release = field("release: ")?.split('.').map(str::parse);
    let release = (release.next()?.ok()?, release.next()?.ok()?);
    Some((field("rustc ")?.to_owned(), release, field("LLVM version: ")?.to_owned()))
}

/// The linker in PATH or among cargo's installed binaries.
fn find_linker() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_home().map(|home| home.join("bin")))
        .map(|folder| folder.join("bpf-linker"))
        .find(|file| file.is_file())
        .context(
            "bpf-linker is missing: `cargo install bpf-linker --version 0.13.0`, with the features \
             `--no-default-features --features llvm-22` and LLVM_PREFIX where rustc is the distribution's",
        )
}

/// Cargo's home folder, where the sources of crates are unpacked.
pub(super) fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// A command in an environment without what `cargo xtask` itself was started with: rustup's choice of toolchain, the
/// library path of its compiler, and flags or wrappers that would change the object.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(changes_a_build) {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether an environment variable of this name can change what cargo and rustc produce.
fn changes_a_build(name: &str) -> bool {
    if name == "CARGO_HOME" || name == "RUSTUP_HOME" {
        return false;
    }
    // How to reach a registry is the machine's business.
    let network = ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRY_", "CARGO_REGISTRIES_", "CARGO_SOURCE_"];
    if network.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    name == "LD_LIBRARY_PATH" || name == "CARGO" || name.starts_with("CARGO_") || name.starts_with("RUST")
}

/// What a command printed, or why it failed.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{shown} printed something that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_description_is_read() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\nbinary: rustc\n\
                    host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let (version, release, llvm) = parse_version(text).unwrap();
        assert_eq!(version, "1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)");
        assert_eq!((release, llvm.as_str()), ((1, 96), "22.1.8"));
        assert_eq!(parse_version(&text.replace("1.96.0\nLLVM", "1.97.0-nightly\nLLVM")).unwrap().1, (1, 97));
        assert!(parse_version("rustc 1.96.0\n").is_none());
    }

    #[test]
    fn flags_are_dropped_and_registries_kept() {
        for name in
            ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO_BUILD_RUSTFLAGS", "LD_LIBRARY_PATH"]
        {
            assert!(changes_a_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE", "PATH", "HOME"] {
            assert!(!changes_a_build(name), "{name}");
        }
    }
}
