//! Chores that need the tests' crate: they are examples of it.
//!
//! They are run and not linked: that crate needs the agent's, which needs the BPF object, and xtask has to work where that
//! cannot be built yet.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo::cargo;

/// A file that an example is to write, as an argument: `-` for none. The example runs in another folder.
pub(crate) fn file_argument(file: Option<&Path>) -> Result<String> {
    let Some(file) = file else { return Ok("-".to_owned()) };
    let file = std::path::absolute(file).with_context(|| format!("{} is no path", file.display()))?;
    Ok(file.to_str().with_context(|| format!("{} is not UTF-8", file.display()))?.to_owned())
}

/// Builds and runs an example of the tests' crate; `flags` are cargo's.
pub(crate) fn run<S: AsRef<OsStr>>(
    name: &str,
    flags: &[&str],
    args: impl IntoIterator<Item = S>,
) -> Result<()> {
    let status = cargo()
        .args(["run", "--quiet", "--package", "profiler-tests", "--example", name])
        .args(flags)
        .arg("--")
        .args(args)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the example {name} of the tests' crate failed: {status}");
    }
    Ok(())
}
