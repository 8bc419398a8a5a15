//! Showing what the kernels got: while it runs, as a table at the end, and as docs/kernels.md.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    cases::CASES,
    outcome::{Found, KernelRun, LIMIT},
};

/// Programs that take the place of others where there is no bpf_loop.
const FALL_BACKS: [(&str, &str); 2] = [("on_walk", "on_walk_in_runs"), ("on_defer", "on_defer_to_gap")];

/// Shows one kernel's tests.
pub(crate) fn show(run: &KernelRun, left_out: &[&str]) {
    println!("{}:", run.kernel.name());
    for result in &run.results {
        let mark = if result.passed { "ok  " } else { "FAIL" };
        println!("  {mark} {:4} s  {}", result.seconds, result.name);
        if !result.passed {
            println!("{}", result.output);
        }
    }
    for name in run.planned.iter().filter(|name| !run.results.iter().any(|result| result.name == **name)) {
        println!("  FAIL         {name}: did not end");
    }
    println!(
        "  {} of {} passed, {} not run, in {} s",
        run.passed(),
        run.planned.len(),
        left_out.len(),
        run.seconds
    );
}

/// The kernels by what they got.
pub(crate) fn table(runs: &[KernelRun]) -> String {
    let mut table =
        "| kernel | release | fall-backs | doctor | tests | most verified instructions | seconds |\n\
                     |---|---|---|---|---|---|---|\n"
            .to_owned();
    for run in runs {
        let (release, fall_backs, doctor) = run.found.as_ref().map_or_else(
            || ("not reached".to_owned(), String::new(), String::new()),
            |found| (found.release.clone(), fall_backs(found), lacks(found)),
        );
        let most = run.most_verified().map_or_else(String::new, |(name, count)| {
            format!(
                "{} in `{name}`, {:.1} % of the limit",
                grouped(count),
                100.0 * count as f64 / LIMIT as f64
            )
        });
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| {} | {release} | {fall_backs} | {doctor} | {} of {} | {most} | {} |",
            run.kernel.name(),
            run.passed(),
            run.planned.len(),
            run.seconds
        );
    }
    table
}

/// What the kernel got instead of what newer ones get.
fn fall_backs(found: &Found) -> String {
    let taken: Vec<String> = FALL_BACKS
        .into_iter()
        .filter(|(_, without)| found.verified.contains_key(*without))
        .map(|(with, without)| format!("`{without}` for `{with}`"))
        .collect();
    if taken.is_empty() { "none".to_owned() } else { taken.join(", ") }
}

fn lacks(found: &Found) -> String {
    if found.lacks.is_empty() { "all ok".to_owned() } else { found.lacks.join(", ") }
}

/// The programs by what the verifier did for them.
fn verified(runs: &[KernelRun]) -> String {
    let counts = |run: &KernelRun, program: &str| {
        let found = run.found.as_ref()?;
        found.verified.get(program).or_else(|| found.verified_without.get(program)).copied()
    };
    let programs: BTreeSet<&str> = runs
        .iter()
        .filter_map(|run| run.found.as_ref())
        .flat_map(|found| found.verified.keys().chain(found.verified_without.keys()))
        .map(String::as_str)
        .collect();
    let names: Vec<&str> = runs.iter().map(|run| run.kernel.name()).collect();
    let mut table = format!("| program | {} |\n|---|{}\n", names.join(" | "), "--:|".repeat(runs.len()));
    for program in programs {
        let cells: Vec<String> = runs
            .iter()
            .map(|run| counts(run, program).map_or_else(|| "not taken".to_owned(), grouped))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{program}` | {} |", cells.join(" | "));
    }
    table
}

/// The names of the tests, and on which kernels each passed.
fn tests(runs: &[KernelRun]) -> String {
    let names: Vec<&str> = runs.iter().map(|run| run.kernel.name()).collect();
    let mut table =
        format!("| what | test | {} |\n|---|---|{}\n", names.join(" | "), "---|".repeat(runs.len()));
    for case in CASES {
        let cells: Vec<&str> = runs
            .iter()
            .map(|run| match run.results.iter().find(|result| result.name == case.name) {
                Some(result) if result.passed => "passed",
                Some(_) => "failed",
                None => "not run",
            })
            .collect();
        // Writing to a String cannot fail.
        let _ =
            writeln!(table, "| {} | `{}::{}` | {} |", case.shows, case.binary, case.name, cells.join(" | "));
    }
    table
}

/// docs/kernels.md.
pub(crate) fn document(runs: &[KernelRun]) -> String {
    let mut emulations: Vec<&str> = runs.iter().map(|run| run.acceleration.name()).collect();
    emulations.dedup();
    format!(
        "# Kernels\n\n\
         Written by `cargo xtask vm test --write-docs`, from a run under {}. Do not edit: change `xtask/src/vm/report.rs`.\n\n\
         Each kernel is Debian's own image, booted under QEMU with two CPUs and the host's files; in it run the tests that\n\
         are listed below. They are the same as those that run on the host, where the newest kernel is used with the\n\
         fall-backs, too. What is not listed is only tested on the host. Under software emulation user space, and with it the\n\
         profiler's, takes ten to twenty times as long, so that more samples come before their tables: where the tests ask for a\n\
         share of whole stacks, ten times as many others are allowed for each of them (4.8 % for 0.5 %, tests/src/emulated.rs).\n\n\
         {}\n\
         ## Which fall-back\n\n\
         Nothing is decided by a kernel's version: the better way is tried, and the other one taken where the kernel says no.\n\
         A hidden option of `record` and `agent` takes the fall-back at once, for tests.\n\n\
         | feature | kernels that have it | without it | forced by |\n\
         |---|---|---|---|\n\
         | bpf_loop | 5.17 | `on_walk_in_runs`: 33 frames a run, 31 runs by tail calls; `on_defer_to_gap`: a copied stack ends at its first page that is not in memory | `--no-bpf-loop` |\n\
         | batch operations on hash maps | 5.6 | each entry by a call of its own | `--no-batch` |\n\
         | bpf_task_pt_regs | 5.15 | not used on any kernel: the place of the user registers is measured at start | |\n\
         | hash maps that are not preallocated in perf event programs | 6.1 | not used on any kernel: all are preallocated, within `--memory` | |\n\
         | ring buffer, arrays that can be mapped | 5.8, 5.5 | none: `profiler doctor` says so, and nothing starts | |\n\
         | memory of maps is charged to the cgroup | 5.11 | the limit on locked memory is raised | |\n\n\
         ## Instructions that the verifier goes through\n\n\
         A kernel gives a program up at {}; `cargo xtask vm test` fails from half of that on. The programs behind the\n\
         fall-backs are counted on every kernel, as they are taken with the options above.\n\n\
         {}\n\
         ## Tests\n\n\
         Not run is neither passed nor failed: `--short` leaves it out, for under software emulation it takes too long.\n\n\
         {}",
        emulations.join(" and "),
        table(runs),
        grouped(LIMIT),
        verified(runs),
        tests(runs)
    )
}

/// A number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::{Kernel, machine::Acceleration, outcome::CaseResult};

    fn run() -> KernelRun {
        let found = Found {
            release: "5.10.0".to_owned(),
            verified: [("on_walk_in_runs".to_owned(), 187_391), ("on_tick".to_owned(), 7988)].into(),
            ..Found::default()
        };
        let result = CaseResult { name: "pie".to_owned(), passed: true, seconds: 3, output: String::new() };
        KernelRun {
            kernel: Kernel::V5_10,
            acceleration: Acceleration::Tcg,
            found: Some(found),
            planned: vec!["pie".to_owned(), "exec_without_fork".to_owned()],
            results: vec![result],
            seconds: 60,
        }
    }

    #[test]
    fn the_table_tells_what_was_taken_and_what_passed() {
        let table = table(&[run()]);
        let line = table.lines().nth(2).unwrap_or_default();
        assert_eq!(
            line,
            "| 5.10 | 5.10.0 | `on_walk_in_runs` for `on_walk` | all ok | 1 of 2 | 187,391 in `on_walk_in_runs`, 18.7 % of \
             the limit | 60 |"
        );
    }

    #[test]
    fn a_test_that_did_not_run_did_not_pass() {
        let tests = tests(&[run()]);
        assert!(
            tests.lines().any(|line| line.contains("chain::pie") && line.ends_with("| passed |")),
            "{tests}"
        );
        assert!(
            tests.lines().any(|line| line.contains("exec_without_fork") && line.ends_with("| not run |"))
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
