//! The reference reader of profiles: `go tool pprof`.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `go tool pprof` with these arguments on a profile and gives its stdout. Fails on any word on stderr: a reader
/// that has to warn was given something wrong.
pub fn pprof(profile: &Path, args: &[&str]) -> String {
    let scratch = tempfile::tempdir().expect("a folder for pprof");
    let mut command = Command::new("go");
    command.args(["tool", "pprof"]).args(args).arg(profile);
    // Keeps it from reading settings of the user, and from writing to the user's home.
    command.env("PPROF_TMPDIR", scratch.path()).env("XDG_CONFIG_HOME", scratch.path());
    let output = command.output().unwrap_or_else(|e| panic!("the tests need `go tool pprof`: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && stderr.is_empty(),
        "{command:?}\nstatus: {}\nstdout:\n{stdout}\nstderr:\n{stderr}",
        output.status
    );
    stdout.into_owned()
}

/// What `go tool pprof` says of a URL, with these arguments and variables; it may refuse.
pub fn pprof_of_url(url: &str, args: &[&str], environment: &[(&str, &Path)]) -> Output {
    let scratch = tempfile::tempdir().expect("a folder for pprof");
    let mut command = Command::new("go");
    command.args(["tool", "pprof"]).args(args).arg(url);
    command.env("PPROF_TMPDIR", scratch.path()).env("XDG_CONFIG_HOME", scratch.path());
    command.envs(environment.iter().copied());
    command.output().expect("the tests need `go tool pprof`")
}
