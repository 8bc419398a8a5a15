//! Builds what runs inside: the profiler, the tests, and the library that asks how much the verifier did.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{
    cases::{CASES, Case},
    outcome::{Plan, PlannedCase},
};

/// Variables that the tests need to find compilers.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];

/// The test that builds what the others profile: its file, and its name in it.
const PROGRAMS: (&str, &str) = ("corpus", "what_other_kernels_run_is_built");

/// Builds everything for the cases that are wanted, and says what a machine has to run.
pub(crate) fn plan(workspace: &Path, target: &Path, wanted: impl Fn(&Case) -> bool) -> Result<Plan> {
    let cases: Vec<Case> = CASES.into_iter().filter(|case| wanted(case)).collect();
    let binaries: BTreeSet<&str> = cases.iter().map(|case| case.binary).collect();
    cargo(workspace, target, &["build", "--release", "--package", "profiler-user", "--bin", "profiler"])?;
    // The whole workspace, although one crate would do: by itself its dependencies would have fewer features, and be built anew.
    let mut arguments = vec!["test", "--no-run", "--workspace", "--test", PROGRAMS.0];
    arguments.extend(binaries.iter().flat_map(|binary| ["--test", binary]));
    let programs =
        if cases.is_empty() { BTreeMap::new() } else { programs(&cargo(workspace, target, &arguments)?) };
    if let Some(corpus) = programs.get(PROGRAMS.0) {
        let mut command = Command::new(corpus);
        if !command.args(["--ignored", "--exact", PROGRAMS.1]).stdout(Stdio::null()).status()?.success() {
            bail!("the programs that the tests profile cannot be built: run {} --ignored", corpus.display());
        }
    }
    let program = |case: &Case| {
        let program = programs.get(case.binary).cloned();
        program.with_context(|| format!("cargo has built no test {}", case.binary))
    };
    let profiler = target.join("release/profiler");
    let mut environment: BTreeMap<String, String> =
        PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?))).collect();
    environment.insert("PROFILER_BIN".to_owned(), profiler.display().to_string());
    Ok(Plan {
        profiler,
        verified: verified(workspace, &target.join("vm"))?,
        environment,
        cases: cases
            .iter()
            .map(|case| Ok(PlannedCase { name: case.name.to_owned(), program: program(case)? }))
            .collect::<Result<_>>()?,
    })
}

/// Runs cargo, and gives its messages.
fn cargo(workspace: &Path, target: &Path, arguments: &[&str]) -> Result<String> {
    let output = crate::cargo::cargo()
        .current_dir(workspace)
        .args(arguments)
        .args(["--locked", "--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(target)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The test programs of the tests' crate in cargo's messages, by name.
fn programs(messages: &str) -> BTreeMap<String, PathBuf> {
    let program = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_test = message["profile"]["test"] == true
            && message["manifest_path"].as_str()?.ends_with("/tests/Cargo.toml");
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, message["executable"].as_str()?.into())).filter(|_| is_test)
    };
    messages.lines().filter_map(program).collect()
}

/// Builds tests/programs/verified.c.
fn verified(workspace: &Path, folder: &Path) -> Result<PathBuf> {
    let library = folder.join("verified.so");
    let source = workspace.join("tests/programs/verified.c");
    let status = Command::new("gcc")
        .args(["-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .context("cannot run gcc; install the Debian package gcc")?;
    if !status.success() {
        bail!("gcc failed on {}", source.display());
    }
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_in_cargos_messages() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"name":"build"},"profile":{"test":false},"executable":null}
            {"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"chain"},"profile":{"test":true},"executable":"/t/chain-1"}
            {"reason":"compiler-artifact","manifest_path":"/w/profiler-user/Cargo.toml","target":{"name":"chain"},"profile":{"test":true},"executable":"/t/chain-2"}
            {"reason":"compiler-artifact","target":{"name":"profiler"},"profile":{"test":false},"executable":"/t/profiler"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(programs(messages), [("chain".to_owned(), PathBuf::from("/t/chain-1"))].into());
    }
}
