//! `cargo xtask ebpf`: the kernel-side object, built from `profiler-ebpf/` and kept in the repository.
//!
//! The object is committed so that nobody needs the BPF toolchain to build the profiler. For that to be honest the build is
//! reproducible (no path of the machine reaches the object), the toolchain is written down beside it, and `verify` builds
//! it again and compares bytes.

mod compile;
mod pin;
mod strip;
mod toolchain;
mod wrapper;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

pub(crate) use compile::target_dir;
use pin::Pin;
use toolchain::Toolchain;
pub(crate) use wrapper::run_as_rustc;

/// What to do with the kernel-side object.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Build the objects and write them, with the toolchain they came from, to profiler-ebpf/object/.
    Build {
        /// The architecture of the kernel that the object is for; the host's unless given.
        #[arg(long, value_enum)]
        arch: Option<ArchChoice>,
    },
    /// Build the committed objects again with the toolchain they were built with, and fail when a byte differs.
    Verify,
}

/// The value of `--arch`.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum ArchChoice {
    /// 64-bit x86.
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[value(name = "aarch64")]
    Aarch64,
    /// Both.
    All,
}

/// An architecture whose kernel the object runs in: pt_regs and calling conventions differ, BPF itself does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Arch {
    /// Every architecture, in the order of the pin file.
    const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The name that rustc, aya and the folders use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The architecture that xtask runs on.
    pub(crate) fn host() -> Result<Self> {
        let host = std::env::consts::ARCH;
        Self::ALL
            .into_iter()
            .find(|arch| arch.name() == host)
            .with_context(|| format!("the profiler has no object for {host}"))
    }
}

/// The binaries of `profiler-ebpf/`: what the profiler loads, and the floor that benchmarks compare it with.
const BINARIES: [&str; 2] = ["profiler", "floor"];

/// The repository's root folder.
pub(crate) fn workspace() -> Result<PathBuf> {
    // Cargo sets it for what it runs. What it was at compile time may be another clone's that shares the target folder.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest.parent().map(Path::to_owned).context("xtask does not lie in the workspace")
}

/// Where the object of that binary is kept, below the repository's root.
pub(crate) fn object_path(workspace: &Path, arch: Arch, binary: &str) -> PathBuf {
    object_folder(workspace).join(object_name(arch, binary))
}

fn object_folder(workspace: &Path) -> PathBuf {
    workspace.join("profiler-ebpf/object")
}

/// The object's name within the object folder, as the pin file gives it.
fn object_name(arch: Arch, binary: &str) -> String {
    format!("{}/{binary}.bpf.o", arch.name())
}

/// Runs `cargo xtask ebpf`.
pub(crate) fn run(command: &Command) -> Result<()> {
    let workspace = workspace()?;
    match command {
        Command::Build { arch } => build(&workspace, &chosen(*arch)?),
        Command::Verify => verify(&workspace),
    }
}

fn chosen(choice: Option<ArchChoice>) -> Result<Vec<Arch>> {
    Ok(match choice {
        None => vec![Arch::host()?],
        Some(ArchChoice::X86_64) => vec![Arch::X86_64],
        Some(ArchChoice::Aarch64) => vec![Arch::Aarch64],
        Some(ArchChoice::All) => Arch::ALL.to_vec(),
    })
}

/// One finished object, in memory.
struct Object {
    name: String,
    bytes: Vec<u8>,
}

/// Compiles every binary for one architecture and strips the debug sections.
fn objects(toolchain: &Toolchain, workspace: &Path, target_dir: &Path, arch: Arch) -> Result<Vec<Object>> {
    let release = compile::compile(toolchain, workspace, target_dir, arch)?;
    BINARIES
        .into_iter()
        .map(|binary| {
            let linked = release.join(binary);
            let bytes = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
            let bytes = strip::without_debug_sections(&bytes)
                .with_context(|| format!("cannot strip {}", linked.display()))?;
            Ok(Object { name: object_name(arch, binary), bytes })
        })
        .collect()
}

fn build(workspace: &Path, archs: &[Arch]) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let folder = object_folder(workspace);
    let mut pin = Pin::read(&folder)?
        // A pin vouches for objects of one toolchain only.
        .filter(|pin| pin.toolchain == toolchain.versions)
        .unwrap_or_else(|| Pin::new(toolchain.versions.clone()));
    for &arch in archs {
        let target_dir = compile::target_dir(workspace).join("ebpf").join(arch.name());
        for object in objects(&toolchain, workspace, &target_dir, arch)? {
            let path = folder.join(&object.name);
            fs::create_dir_all(folder.join(arch.name()))?;
            fs::write(&path, &object.bytes).with_context(|| format!("cannot write {}", path.display()))?;
            pin.objects.insert(object.name.clone(), pin::sha256(&path)?);
            println!("{} ({} bytes)", path.display(), object.bytes.len());
        }
    }
    pin.write(&folder)
}

fn verify(workspace: &Path) -> Result<()> {
    let folder = object_folder(workspace);
    let pin = Pin::read(&folder)?
        .with_context(|| format!("{} has no pin; run `cargo xtask ebpf build` first", folder.display()))?;
    for (name, sha256) in &pin.objects {
        if pin::sha256(&folder.join(name))? != *sha256 {
            bail!("{name} is not the object that {} vouches for; run `cargo xtask ebpf build`", pin::FILE);
        }
    }
    let toolchain = Toolchain::find()?;
    if toolchain.versions != pin.toolchain {
        bail!(
            "the objects were built with {}, this machine has {}: install the former, or run `cargo xtask ebpf \
             build --arch all` and commit the result",
            pin.toolchain,
            toolchain.versions
        );
    }
    // A fresh folder, so that nothing left over from an earlier build can stand in for a part of this one.
    let scratch = tempfile::tempdir()?;
    let mut seen = 0;
    for arch in Arch::ALL {
        if !BINARIES.iter().any(|binary| pin.objects.contains_key(&object_name(arch, binary))) {
            continue;
        }
        for object in objects(&toolchain, workspace, &scratch.path().join(arch.name()), arch)? {
            let committed = folder.join(&object.name);
            if fs::read(&committed).with_context(|| format!("cannot read {}", committed.display()))?
                != object.bytes
            {
                bail!(
                    "{} is not what the source builds; run `cargo xtask ebpf build` and commit the result",
                    object.name
                );
            }
            println!("{}: what the source builds, to the byte", object.name);
            seen += 1;
        }
    }
    if seen != pin.objects.len() {
        bail!("{} names {} objects, the source builds {seen}", pin::FILE, pin.objects.len());
    }
    Ok(())
}
