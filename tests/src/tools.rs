//! Programs of others that the tests build with or profile.

use std::path::PathBuf;
use std::process::Command;

use crate::programs::must_run;

/// The path of a program in PATH, links resolved.
///
/// Panics with one sentence that names the Debian package when it is missing: a test that is skipped proves nothing.
pub fn require(tool: &str, package: &str) -> PathBuf {
    find(&[tool]).unwrap_or_else(|| {
        panic!("this test needs `{tool}`, which is not in PATH: install the Debian package `{package}`")
    })
}

/// The first of these programs that is in PATH, links resolved.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.filter(|file| file.is_file()).find_map(|file| file.canonicalize().ok())
}

/// The Python interpreter itself, which a version manager may hide behind a script.
pub fn python() -> PathBuf {
    require("python3", "python3");
    let shown = must_run(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]));
    let path = PathBuf::from(shown.trim());
    path.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The C++ compiler of LLVM: `clang++`, or the newest one whose name carries its version.
pub fn clang() -> PathBuf {
    let versioned: Vec<String> = (14..30).rev().map(|version| format!("clang++-{version}")).collect();
    let names: Vec<&str> = std::iter::once("clang++").chain(versioned.iter().map(String::as_str)).collect();
    find(&names).unwrap_or_else(|| {
        panic!("this test needs `clang++`, which is not in PATH: install the Debian package `clang`")
    })
}
