//! Builds the target programs. A built program is kept under a name that hashes its sources and its command.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::session::{cache_folder, lock};

/// Flags of every C and C++ program: optimised as programs are, with frame pointers, and every call a real one.
const C_FLAGS: [&str; 6] = [
    "-O2",
    "-Wall",
    "-Wextra",
    "-fno-omit-frame-pointer",
    "-mno-omit-leaf-frame-pointer",
    "-fno-optimize-sibling-calls",
];

/// A target program in one of its builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// `chain.c` as a position-independent executable, as distributions build.
    Pie,
    /// `chain.c` at a fixed address.
    NoPie,
    /// `chain.c` linked statically at a fixed address.
    Static,
    /// `chain.c` linked statically and relocatable.
    StaticPie,
    /// `chain.c` linked by lld: the addresses of its code differ from their file offsets.
    Lld,
    /// `chain.c` with debug information.
    Debug,
    /// `chain.cpp`.
    Cpp,
    /// `chain.rs`, linked by lld.
    Rust,
    /// `vdso.c`.
    Vdso,
    /// `jit.c`.
    Jit,
    /// `hostile.c`.
    Hostile,
}

impl Program {
    /// The builds of the chain that carry their own symbols.
    pub const CHAINS: [Program; 8] = [
        Program::Pie,
        Program::NoPie,
        Program::Static,
        Program::StaticPie,
        Program::Lld,
        Program::Debug,
        Program::Cpp,
        Program::Rust,
    ];

    /// File in `tests/programs`.
    pub fn source(self) -> PathBuf {
        let name = match self {
            Program::Cpp => "chain.cpp",
            Program::Rust => "chain.rs",
            Program::Vdso => "vdso.c",
            Program::Jit => "jit.c",
            Program::Hostile => "hostile.c",
            Program::Pie
            | Program::NoPie
            | Program::Static
            | Program::StaticPie
            | Program::Lld
            | Program::Debug => "chain.c",
        };
        source_folder().join(name)
    }

    /// Name of the executable; short enough to be a process name.
    pub fn name(self) -> &'static str {
        match self {
            Program::Pie => "chain-pie",
            Program::NoPie => "chain-nopie",
            Program::Static => "chain-static",
            Program::StaticPie => "chain-spie",
            Program::Lld => "chain-lld",
            Program::Debug => "chain-debug",
            Program::Cpp => "chain-cpp",
            Program::Rust => "chain-rust",
            Program::Vdso => "vdso-user",
            Program::Jit => "jit-user",
            Program::Hostile => "hostile",
        }
    }

    /// Builds the program where that has not happened yet, and gives its path.
    pub fn build(self) -> PathBuf {
        let built = self.build_with(&[]);
        if matches!(self, Program::Lld | Program::Rust) {
            crate::elf::assert_vaddr_differs_from_offset(&built);
        }
        built
    }

    /// Likewise, with more arguments for the compiler.
    pub fn build_with(self, more: &[String]) -> PathBuf {
        let mut args: Vec<String> = Vec::new();
        let compiler = match self {
            Program::Rust => {
                args.extend(["--edition=2024", "-O", "-Cforce-frame-pointers=yes"].map(str::to_owned));
                args.extend([format!("-Clink-arg=-B{}", lld_folder()), "-Clink-arg=-fuse-ld=lld".to_owned()]);
                "rustc"
            }
            Program::Cpp => "g++",
            _ => "gcc",
        };
        if compiler != "rustc" {
            args.extend(C_FLAGS.map(str::to_owned));
        }
        match self {
            Program::NoPie => args.extend(["-fno-pie", "-no-pie"].map(str::to_owned)),
            Program::Static => args.extend(["-fno-pie", "-no-pie", "-static"].map(str::to_owned)),
            Program::StaticPie => args.push("-static-pie".to_owned()),
            Program::Lld => args.extend([format!("-B{}", lld_folder()), "-fuse-ld=lld".to_owned()]),
            Program::Debug => args.push("-g".to_owned()),
            Program::Pie | Program::Cpp | Program::Rust | Program::Vdso | Program::Jit | Program::Hostile => {
            }
        }
        args.extend_from_slice(more);
        build(compiler, &args, &self.source(), self.name())
    }

    /// The 1-based line of the program's source that contains `text`, which must occur once.
    pub fn line_of(self, text: &str) -> i64 {
        let source = std::fs::read_to_string(self.source()).unwrap();
        let lines: Vec<usize> =
            source.lines().enumerate().filter(|(_, line)| line.contains(text)).map(|(i, _)| i + 1).collect();
        assert!(lines.len() == 1, "{text:?} occurs {} times in {}", lines.len(), self.source().display());
        i64::try_from(lines[0]).unwrap()
    }
}

/// Runs a command that has to succeed and gives its stdout.
pub fn must_run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// Builds `source` once per content and arguments. The file appears whole, so that a program that runs is not replaced.
pub(crate) fn build(compiler: &str, args: &[String], source: &Path, name: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (compiler, args).hash(&mut hasher);
    for file in [source, &source_folder().join("common.h")] {
        std::fs::read(file)
            .unwrap_or_else(|e| panic!("cannot read {}: {e}", file.display()))
            .hash(&mut hasher);
    }
    let folder = cache_folder().join(format!("{name}-{:016x}", hasher.finish()));
    let built = folder.join(name);
    let _one_builder = lock("build");
    if !built.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let fresh = folder.join("fresh");
        must_run(Command::new(compiler).args(args).arg("-o").arg(&fresh).arg(source));
        std::fs::rename(&fresh, &built).unwrap();
    }
    built
}

pub(crate) fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

/// The folder in which rustc keeps an `ld.lld` for gcc.
pub(crate) fn lld_folder() -> String {
    let sysroot = must_run(Command::new("rustc").args(["--print", "sysroot"]));
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    let folder = rustlib.join("x86_64-unknown-linux-gnu/bin/gcc-ld");
    assert!(folder.join("ld.lld").exists(), "rustc brings no lld in {}", folder.display());
    folder.to_str().unwrap().to_owned()
}
