//! Writes man pages and completions: `dist DIR`. `cargo xtask dist` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use std::path::PathBuf;

use profiler_tests::dist;

fn main() {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else { panic!("usage: dist DIR") };
    let files = dist::write(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    println!("{} files in {}", files.len(), folder.display());
}
