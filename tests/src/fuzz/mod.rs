//! Fuzz targets: what reads bytes of others, and the unwinder's step, each as a function of bytes that panics where
//! something is wrong.
//!
//! `cargo xtask fuzz` drives them by libFuzzer (`examples/fuzz.rs`); `tests/fuzz.rs` replays what is in `tests/fuzz` and
//! some damaged copies of it in every run of the tests. docs/robustness.md has the figures.

mod elf;
mod http;
mod input;
mod names;
mod pprof;
mod step;
mod text;
mod unwind;

pub mod damage;

use std::fs;
use std::path::{Path, PathBuf};

/// A function of bytes that must neither panic, nor take long, nor take much memory.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folders in `tests/fuzz`.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The longest input that is worth trying, bytes.
    pub longest: usize,
    /// Tries an input.
    pub run: fn(&[u8]),
}

/// All targets, those first that read what any user of a host can write.
pub const TARGETS: &[Target] = &[
    Target {
        name: "elf",
        about: "a whole ELF file, for unwind tables and for what an object is known by",
        longest: 16 << 10,
        run: unwind::elf,
    },
    Target {
        name: "eh_frame",
        about: ".eh_frame with and without a search table, over arbitrary code",
        longest: 2 << 10,
        run: unwind::eh_frame,
    },
    Target {
        name: "debug_frame",
        about: ".debug_frame, also of Go, and compressed",
        longest: 2 << 10,
        run: unwind::debug_frame,
    },
    Target {
        name: "pclntab",
        about: "Go's table of functions, and where its code begins",
        longest: 2 << 10,
        run: unwind::pclntab,
    },
    Target {
        name: "step",
        about: "walks over arbitrary registers, rules and memory, of both architectures",
        longest: 1 << 10,
        run: step::step,
    },
    Target { name: "rows", about: "finding a row in arbitrary pages", longest: 1 << 10, run: step::rows },
    Target {
        name: "dwarf",
        about: "symbols and debug information of an ELF file, through blazesym",
        longest: 16 << 10,
        run: names::dwarf,
    },
    Target {
        name: "answers",
        about: "answers of the process that reads names, which a file may have taken over",
        longest: 1 << 10,
        run: names::answers,
    },
    Target { name: "maps", about: "/proc/PID/maps", longest: 1 << 10, run: text::maps },
    Target {
        name: "identity",
        about: "/proc/PID/cgroup and environ, and what an engine keeps of a container",
        longest: 1 << 10,
        run: text::identity,
    },
    Target {
        name: "events",
        about: "records of perf events and messages of the kernel side",
        longest: 512,
        run: text::events,
    },
    Target {
        name: "pprof",
        about: "a profile, packed or not, and every report of it",
        longest: 4 << 10,
        run: pprof::pprof,
    },
    Target {
        name: "http",
        about: "requests to the agent's server and to the page, as bytes of a connection",
        longest: 1 << 10,
        run: http::http,
    },
    Target { name: "configuration", about: "the agent's TOML file", longest: 512, run: text::configuration },
];

impl Target {
    /// The target with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Where its inputs are that reach much of the code.
    #[must_use]
    pub fn corpus(&self) -> PathBuf {
        folder("corpus").join(self.name)
    }

    /// Where the inputs are that something was wrong with once.
    #[must_use]
    pub fn regressions(&self) -> PathBuf {
        folder("regressions").join(self.name)
    }

    /// All kept inputs with their file names, in the order of these.
    ///
    /// # Panics
    /// A file cannot be read.
    #[must_use]
    pub fn inputs(&self) -> Vec<(String, Vec<u8>)> {
        let mut inputs = Vec::new();
        for folder in [self.corpus(), self.regressions()] {
            // Most targets have no regressions.
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                inputs.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes));
            }
        }
        inputs.sort();
        inputs
    }
}

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind)
}
