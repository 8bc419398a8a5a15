//! The corpus: programs without frame pointers, whose stacks are only to be had by their unwind tables.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::elf;
use crate::programs::{build, lld_folder, must_run, source_folder};
use crate::session::cache_folder;
use crate::tools;

/// Flags of every C and C++ program. `OMIT_FRAMES` turns off what `common.h` does for frame pointers.
const C_FLAGS: [&str; 4] = ["-Wall", "-Wextra", "-fomit-frame-pointer", "-DOMIT_FRAMES"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    C,
    Cpp,
    Rust,
    Go,
}

/// One build of a program without frame pointers.
#[derive(Debug, Clone)]
pub struct Bare {
    language: Language,
    source: &'static str,
    name: &'static str,
    flags: Vec<String>,
}

impl Bare {
    /// A program in C, at -O2. `name` is the executable's, and has to be short enough for a process name.
    pub fn c(source: &'static str, name: &'static str) -> Bare {
        Bare { language: Language::C, source, name, flags: vec!["-O2".to_owned()] }
    }

    /// A program in C++, at -O2.
    pub fn cpp(source: &'static str, name: &'static str) -> Bare {
        Bare { language: Language::Cpp, ..Bare::c(source, name) }
    }

    /// A program in Rust, as `cargo build --release` builds it.
    pub fn rust(source: &'static str, name: &'static str) -> Bare {
        let flags = ["--edition=2024", "-Copt-level=3"].map(str::to_owned).into();
        Bare { language: Language::Rust, source, name, flags }
    }

    /// A program in Go.
    pub fn go(source: &'static str, name: &'static str) -> Bare {
        Bare { language: Language::Go, source, name, flags: vec!["build".to_owned()] }
    }

    /// With more arguments for the compiler; of two that contradict, the later one counts.
    pub fn with(mut self, flags: &[&str]) -> Bare {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// Linked by lld: the addresses of the code differ from their file offsets.
    pub fn lld(self) -> Bare {
        let folder = format!("-B{}", lld_folder());
        match self.language {
            Language::Rust => self.with(&[&format!("-Clink-arg={folder}"), "-Clink-arg=-fuse-ld=lld"]),
            _ => self.with(&[&folder, "-fuse-ld=lld"]),
        }
    }

    /// The executable's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Builds the program where that has not happened yet, and gives its path.
    pub fn build(&self) -> PathBuf {
        let (compiler, package) = match self.language {
            Language::C => ("gcc", "gcc"),
            Language::Cpp => ("g++", "g++"),
            Language::Rust => ("rustc", "rustc"),
            Language::Go => ("go", "golang-go"),
        };
        tools::require(compiler, package);
        let mut args = self.flags.clone();
        if matches!(self.language, Language::C | Language::Cpp) {
            args.extend(C_FLAGS.map(str::to_owned));
        }
        build(compiler, &args, &source_folder().join(self.source), self.name)
    }

    /// A copy of the program without symbols, under the same name.
    pub fn build_stripped(&self) -> PathBuf {
        let whole = self.build();
        let parent = whole.parent().and_then(Path::file_name).expect("a folder per build");
        let folder = cache_folder().join(format!("stripped-{}", parent.to_string_lossy()));
        std::fs::create_dir_all(&folder).unwrap();
        let stripped = folder.join(self.name);
        if !stripped.exists() {
            let fresh =
                folder.join(format!("fresh-{}-{:?}", std::process::id(), std::thread::current().id()));
            must_run(Command::new("strip").arg("--strip-all").arg("-o").arg(&fresh).arg(&whole));
            assert_eq!(elf::symbol_count(&fresh), 0, "the program is stripped");
            std::fs::rename(&fresh, &stripped).unwrap();
        }
        stripped
    }
}

/// The corpus by what it is for.
impl Bare {
    /// The chain at -O2.
    pub fn chain() -> Bare {
        Bare::c("chain.c", "bare-o2")
    }

    /// All builds of the chain in C that carry their own symbols.
    pub fn chains() -> Vec<Bare> {
        vec![
            Bare::chain(),
            Bare::c("chain.c", "bare-o3").with(&["-O3"]),
            Bare::c("chain.c", "bare-nopie").with(&["-fno-pie", "-no-pie"]),
            Bare::c("chain.c", "bare-static").with(&["-fno-pie", "-no-pie", "-static"]),
            Bare::c("chain.c", "bare-spie").with(&["-static-pie"]),
            Bare::c("chain.c", "bare-lld").lld(),
        ]
    }

    /// `calls.c`. Its calls are not for the compiler to replace.
    pub fn calls() -> Bare {
        Bare::c("calls.c", "calls").with(&["-fno-builtin"])
    }

    /// A library for `plugins.c`, by a number below 10.
    pub fn plugin(number: usize) -> Bare {
        const NAMES: [&str; 10] = [
            "plugin0.so",
            "plugin1.so",
            "plugin2.so",
            "plugin3.so",
            "plugin4.so",
            "plugin5.so",
            "plugin6.so",
            "plugin7.so",
            "plugin8.so",
            "plugin9.so",
        ];
        // Code of another length and frames of another size in each, so that no table fits two of them.
        let padding = format!("-DPADDING=\"{}\"", 16 + 48 * number);
        let frame = format!("-DFRAME_BYTES={}", 40 + 64 * number);
        Bare::c("plugin.c", NAMES[number]).with(&[
            "-shared",
            "-fPIC",
            &format!("-DNAME={number}"),
            &padding,
            &frame,
        ])
    }
}
