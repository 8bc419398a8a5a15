//! What runs inside a machine, as its first process: looks at the kernel, runs the tests, and powers off.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::machine::EMULATED;
use super::outcome::{CaseResult, Found, Line, Plan};

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(240);
/// What is kept of a failed test's output, bytes.
const SHOWN: usize = 6000;

/// Runs the plan in the folder, and does not come back.
pub(crate) fn run(folder: &Path) -> Result<()> {
    if let Err(error) = follow(folder) {
        eprintln!("the plan could not be followed: {error:#}");
    }
    // SAFETY: the call has no arguments.
    unsafe { libc::sync() };
    // SAFETY: a number; it is the virtual machine that is powered off.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
    Ok(())
}

fn follow(folder: &Path) -> Result<()> {
    let mut plan: Plan = serde_json::from_slice(&fs::read(folder.join("plan.json"))?)?;
    if fs::read_to_string("/proc/cmdline")?.split_whitespace().any(|word| word == EMULATED) {
        // tests/src/emulated.rs
        plan.environment.insert("PROFILER_TEST_EMULATED".to_owned(), "1".to_owned());
    }
    let mut results = OpenOptions::new().create(true).append(true).open(folder.join("results.jsonl"))?;
    let mut say = |line: &Line| -> Result<()> {
        writeln!(results, "{}", serde_json::to_string(line)?)?;
        results.sync_data()?;
        Ok(())
    };
    say(&Line::Found(look(&plan)?))?;
    for case in &plan.cases {
        let mut command = Command::new(&case.program);
        command.args(["--exact", &case.name, "--test-threads", "1"]);
        let started = Instant::now();
        let output = output_of(&plan, &mut command)?;
        // A name that no test has runs none, which is no failure to the test program.
        let passed = output.contains("test result: ok. 1 passed");
        let seconds = started.elapsed().as_secs();
        println!("{} {} {seconds} s", if passed { "ok  " } else { "FAIL" }, case.name);
        let from = output.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
        let output = if passed { String::new() } else { output[from..].to_owned() };
        say(&Line::Case(CaseResult { name: case.name.clone(), passed, seconds, output }))?;
    }
    say(&Line::End)
}

/// What a command prints. One that hangs is killed.
fn output_of(plan: &Plan, command: &mut Command) -> Result<String> {
    let mut file = tempfile::tempfile()?;
    let out = |file: &File| -> Result<Stdio> { Ok(file.try_clone()?.into()) };
    command.env_clear().envs(&plan.environment).stdin(Stdio::null());
    command.stdout(out(&file)?).stderr(out(&file)?);
    let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            writeln!(file, "did not end within {PATIENCE:?}")?;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn look(plan: &Plan) -> Result<Found> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let record = |more: &[&str]| -> Result<BTreeMap<String, u64>> {
        let mut command = Command::new(&plan.profiler);
        command.args(["record", "-d", "1s", "-o", "/tmp/look.pb.gz", "--unwind-cache-size", "0"]).args(more);
        // Its own variables would be those of everything that is run from it, too.
        let mut plan = plan.clone();
        plan.environment.insert("LD_PRELOAD".to_owned(), plan.verified.display().to_string());
        let output = output_of(&plan, &mut command)?;
        let verified = verified(&output);
        if verified.is_empty() {
            println!("{output}");
        }
        Ok(verified)
    };
    let doctor = output_of(plan, Command::new(&plan.profiler).args(["doctor", "--json"]))?;
    Ok(Found {
        release,
        verified: record(&[])?,
        verified_without: record(&["--no-bpf-loop"])?,
        lacks: lacks(&doctor),
    })
}

/// The programs of the profiler with the number of instructions that tests/programs/verified.c tells.
fn verified(output: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, count) = line.strip_prefix("verified ")?.split_once(' ')?;
        let is_own = name.starts_with("on_") || name == "measure";
        Some((name.to_owned(), count.parse().ok()?)).filter(|_| is_own)
    };
    output.lines().filter_map(line).collect()
}

/// The checks that are not ok.
fn lacks(doctor: &str) -> Vec<String> {
    let Ok(report) = serde_json::from_str::<serde_json::Value>(doctor) else {
        return vec!["no report".to_owned()];
    };
    let checks = report["checks"].as_array().into_iter().flatten();
    checks
        .filter(|check| check["status"] != "ok")
        .filter_map(|check| check["name"].as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profilers_programs_are_told_from_probes() {
        let output =
            "verified  2\nverified aya_name_check 2\nverified on_tick 7988\nrecording\nverified measure 10\n";
        let expected = [("measure".to_owned(), 10), ("on_tick".to_owned(), 7988)];
        assert_eq!(verified(output), expected.into());
    }

    #[test]
    fn what_doctor_does_not_find_ok_is_lacking() {
        let report =
            r#"{"checks": [{"name": "bpf", "status": "ok"}, {"name": "bpf-jit", "status": "warn"}]}"#;
        assert_eq!(lacks(report), ["bpf-jit"]);
        assert_eq!(lacks("profiler: what?"), ["no report"]);
    }
}
