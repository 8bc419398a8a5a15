//! Standing in for rustc, as cargo's `RUSTC_WRAPPER`, to keep the repository's path out of symbol names.
//!
//! Cargo gives each crate a hash that rustc mixes into the names of its symbols. For a path dependency outside of the
//! workspace, which `profiler-common` is to the kernel side, the hash covers the absolute path, and the hash of what
//! depends on it covers that hash. Names of functions end up in the object, so two clones would build different bytes.

use std::env;
use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode};

/// Set for the wrapper's calls, to tell them from `cargo xtask`.
pub(super) const VARIABLE: &str = "PROFILER_XTASK_IS_RUSTC";

/// The crates whose hash depends on where the repository lies; names of crates, as rustc is given them.
const OWN_CRATES: [&str; 3] = ["profiler_common", "profiler", "floor"];

/// Runs rustc when cargo called this program in rustc's place, and returns its exit code; `None` in an ordinary call.
pub(crate) fn run_as_rustc() -> Option<ExitCode> {
    env::var_os(VARIABLE)?;
    let mut arguments = env::args_os().skip(1);
    let rustc = arguments.next()?;
    let status = Command::new(rustc).args(with_stable_metadata(arguments.collect())).status();
    let code = status.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    Some(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The same arguments, with the crate's name for the hash where it is one of ours.
fn with_stable_metadata(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let follows = |pair: &[OsString]| (pair[0] == "--crate-name").then(|| pair[1].clone());
    let name = arguments.windows(2).find_map(follows);
    let Some(name) = name.as_deref().and_then(OsStr::to_str).filter(|name| OWN_CRATES.contains(name)) else {
        return arguments;
    };
    let stable = OsString::from(format!("metadata={name}"));
    for argument in &mut arguments {
        if argument.to_str().is_some_and(|argument| argument.starts_with("metadata=")) {
            argument.clone_from(&stable);
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(arguments: &str) -> String {
        let arguments = arguments.split(' ').map(OsString::from).collect();
        with_stable_metadata(arguments).join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn only_the_hash_of_our_own_crates_is_replaced() {
        assert_eq!(
            changed("--crate-name profiler_common src/lib.rs -C metadata=12ab -C extra-filename=-12ab"),
            "--crate-name profiler_common src/lib.rs -C metadata=profiler_common -C extra-filename=-12ab"
        );
        let foreign = "--crate-name aya_ebpf src/lib.rs -C metadata=12ab";
        assert_eq!(changed(foreign), foreign);
        assert_eq!(changed("-vV"), "-vV");
    }
}
