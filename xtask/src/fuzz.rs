//! `cargo xtask fuzz`: the fuzz targets of the tests' crate, driven by libFuzzer.
//!
//! It takes stable Rust and a C++ compiler. LLVM's coverage counters are switched on by flags that stable rustc has, and
//! libFuzzer is built from the sources in the crate libfuzzer-sys.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What libFuzzer sees of a run: counters of edges, and the operands of comparisons.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                        -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16";
/// Most memory of a target, MiB, the inputs that it keeps included.
const MOST_MEMORY_MIB: u32 = 2048;
/// Seconds after which a case is taken for one that never ends.
const NEVER_S: u32 = 20;
/// The variable that names the target to the binary, which lists all where there is none.
const TARGET: &str = "PROFILER_FUZZ_TARGET";
/// Lines of a log that are shown where a target fails.
const SHOWN: usize = 40;

/// How long to fuzz what.
#[derive(clap::Args, Debug)]
pub(crate) struct Fuzz {
    /// Names of targets (tests/src/fuzz/mod.rs); all of them unless given.
    targets: Vec<String>,
    /// Cases of each target.
    #[arg(long, default_value_t = 1_000_000, conflicts_with = "seconds")]
    iterations: u64,
    /// In place of a number of cases: seconds for all targets together.
    #[arg(long)]
    seconds: Option<u64>,
    /// Where the random numbers begin.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    seed: u32,
}

/// A target.
struct Target {
    name: String,
    /// The longest input that is worth trying, bytes.
    longest: usize,
}

/// Where things are.
struct Folders {
    /// The kept inputs.
    inputs: PathBuf,
    /// What is built, found and logged.
    target: PathBuf,
}

/// Runs the targets one after the other, and says of each how many cases there were and how long the slowest took.
pub(crate) fn run(args: &Fuzz) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let folders = Folders { inputs: root.join("tests/fuzz"), target: root.join("target/fuzz") };
    let binary = build(&root, &folders.target)?;
    let mut wanted = targets(&binary)?;
    if let Some(unknown) = args.targets.iter().find(|&name| wanted.iter().all(|target| target.name != *name))
    {
        let all: Vec<&str> = wanted.iter().map(|target| target.name.as_str()).collect();
        bail!("there is no target {unknown}; there are {}", all.join(", "));
    }
    wanted.retain(|target| args.targets.is_empty() || args.targets.contains(&target.name));
    println!(
        "{:<14} {:>10} {:>9} {:>8} {:>11} {:>9}",
        "target", "cases", "seconds", "cases/s", "slowest ms", "coverage"
    );
    let mut failed = Vec::new();
    for target in &wanted {
        let limit = match args.seconds {
            Some(seconds) => format!("-max_total_time={}", (seconds / wanted.len() as u64).max(1)),
            None => format!("-runs={}", args.iterations),
        };
        if !fuzz(target, &binary, &folders, &[limit, format!("-seed={}", args.seed)])? {
            failed.push(target.name.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("something is wrong with {}", failed.join(", "));
    }
    Ok(())
}

/// What there is to fuzz, as the binary says.
fn targets(binary: &Path) -> Result<Vec<Target>> {
    let output = Command::new(binary)
        .env_remove(TARGET)
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let text = String::from_utf8(output.stdout).context("names of targets are text")?;
    let target = |line: &str| {
        let (name, longest) = line.split_once(' ')?;
        Some(Target { name: name.to_owned(), longest: longest.parse().ok()? })
    };
    let targets: Option<Vec<Target>> = text.lines().map(target).collect();
    targets.filter(|targets| !targets.is_empty()).with_context(|| format!("{text:?} is no list of targets"))
}

/// Builds the targets in a folder of their own, for nothing else is built with these flags.
fn build(root: &Path, target: &Path) -> Result<PathBuf> {
    // Build scripts and macros must not have the flags, which cargo knows by the target being named.
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--profile", "fuzz", "--package", "profiler-tests"])
        .args(["--example", "fuzz", "--features", "libfuzzer", "--target", &host, "--target-dir"])
        .arg(target)
        .env("RUSTFLAGS", COVERAGE)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the fuzz targets cannot be built: {status}");
    }
    Ok(target.join(host).join("fuzz/examples/fuzz"))
}

/// Runs a target; whether nothing is wrong with it.
fn fuzz(target: &Target, binary: &Path, folders: &Folders, flags: &[String]) -> Result<bool> {
    let Target { name, longest } = target;
    let work = folders.target.join("work").join(name);
    let found = folders.target.join("found");
    // What a run before has kept would make this one another.
    let _ = fs::remove_dir_all(&work);
    for folder in [&work, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let log_path = folders.target.join(format!("{name}.log"));
    let log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let kept = ["corpus", "regressions"].map(|kind| folders.inputs.join(kind).join(name));
    let begin = Instant::now();
    let status = Command::new(binary)
        .args(flags)
        .args([format!("-timeout={NEVER_S}"), format!("-rss_limit_mb={MOST_MEMORY_MIB}")])
        .args([format!("-max_len={longest}"), format!("-artifact_prefix={}/{name}-", found.display())])
        .arg(&work)
        .args(kept.iter().filter(|folder| folder.exists()))
        .env(TARGET, name)
        // Nothing that is installed is run: graphviz, binutils.
        .env("PATH", "/nonexistent")
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let seconds = begin.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&fs::read(&log_path)?).into_owned();
    let (cases, slowest_us) = told(&text).unwrap_or_default();
    println!(
        "{name:<14} {cases:>10} {seconds:>9.1} {:>8.0} {:>11.1} {:>9}",
        cases as f64 / seconds,
        slowest_us as f64 / 1000.0,
        coverage(&text)
    );
    if !status.success() {
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
        eprintln!(
            "{name}: {status}; the input is in {}, all of the log in {}",
            found.display(),
            log_path.display()
        );
    }
    Ok(status.success())
}

/// Cases and microseconds of the slowest, as the binary says at its end.
fn told(log: &str) -> Option<(u64, u64)> {
    let line = log.lines().rev().find_map(|line| line.strip_prefix("profiler-fuzz: "))?;
    let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Edges that were reached, as libFuzzer said last.
fn coverage(log: &str) -> &str {
    log.rsplit_once(" cov: ").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_end_of_a_log() {
        let log = "#2\tINITED cov: 5 ft: 6\n#9\tDONE   cov: 71 ft: 80 corp: 3\nDone 9\nprofiler-fuzz: 9 cases, slowest 1234 us\n";
        assert_eq!((told(log), coverage(log)), (Some((9, 1234)), "71"));
        assert_eq!((told("killed"), coverage("killed")), (None, "?"));
    }
}
