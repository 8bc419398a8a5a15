//! What goes into a machine and what comes out of it.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Kernel, machine::Acceleration};

/// The most instructions that the verifier goes through for one program (BPF_COMPLEXITY_LIMIT_INSNS, include/linux/bpf.h).
pub(crate) const LIMIT: u64 = 1_000_000;

/// What a machine is to do.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Plan {
    /// The profiler's binary.
    pub(crate) profiler: PathBuf,
    /// The library that tells how much the verifier does.
    pub(crate) verified: PathBuf,
    /// The environment of the tests.
    pub(crate) environment: BTreeMap<String, String>,
    /// The tests.
    pub(crate) cases: Vec<PlannedCase>,
}

/// One test of a plan.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct PlannedCase {
    /// Its name.
    pub(crate) name: String,
    /// The program that has it.
    pub(crate) program: PathBuf,
}

/// What was found out about a kernel before the tests.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// `uname -r`.
    pub(crate) release: String,
    /// Instructions that the verifier went through, by program.
    pub(crate) verified: BTreeMap<String, u64>,
    /// The same where every fall-back is taken.
    pub(crate) verified_without: BTreeMap<String, u64>,
    /// Names of the checks of `profiler doctor` that are not ok.
    pub(crate) lacks: Vec<String>,
}

/// How a test ended.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaseResult {
    /// Its name.
    pub(crate) name: String,
    /// Whether it ran and passed.
    pub(crate) passed: bool,
    /// How long it took.
    pub(crate) seconds: u64,
    /// What it printed, if it failed.
    pub(crate) output: String,
}

/// A line of the results.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) enum Line {
    /// The first one.
    Found(Found),
    /// One for each test.
    Case(CaseResult),
    /// The last one.
    End,
}

/// All of one kernel.
#[derive(Clone, Debug)]
pub(crate) struct KernelRun {
    /// Which one.
    pub(crate) kernel: Kernel,
    /// How it was emulated.
    pub(crate) acceleration: Acceleration,
    /// What it has; nothing where the machine did not get so far.
    pub(crate) found: Option<Found>,
    /// The tests that were to be run.
    pub(crate) planned: Vec<String>,
    /// Those that ended.
    pub(crate) results: Vec<CaseResult>,
    /// From power on to power off.
    pub(crate) seconds: u64,
}

impl KernelRun {
    /// Takes what a machine wrote. A last line that is cut off is none.
    pub(crate) fn new(
        kernel: Kernel,
        acceleration: Acceleration,
        planned: Vec<String>,
        text: &str,
        seconds: u64,
    ) -> Self {
        let mut run = Self { kernel, acceleration, found: None, planned, results: Vec::new(), seconds };
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::Found(found) => run.found = Some(found),
                Line::Case(result) => run.results.push(result),
                Line::End => {}
            }
        }
        run
    }

    /// How many tests passed.
    pub(crate) fn passed(&self) -> usize {
        self.results.iter().filter(|result| result.passed).count()
    }

    /// The most instructions of one program, and which.
    pub(crate) fn most_verified(&self) -> Option<(&str, u64)> {
        let found = self.found.as_ref()?;
        let all = found.verified.iter().chain(&found.verified_without);
        all.map(|(name, count)| (name.as_str(), *count)).max_by_key(|(_, count)| *count)
    }

    /// What is wrong.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        match self.most_verified() {
            None => faults.push("no program was verified".to_owned()),
            Some((name, count)) if count * 2 >= LIMIT => {
                faults.push(format!("{name} takes {count} verified instructions, half of the limit or more"));
            }
            Some(_) => {}
        }
        for name in &self.planned {
            match self.results.iter().find(|result| result.name == *name) {
                None => faults.push(format!("{name} did not end")),
                Some(result) if !result.passed => faults.push(format!("{name} failed")),
                Some(_) => {}
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> KernelRun {
        KernelRun::new(Kernel::V5_10, Acceleration::Tcg, vec!["a".to_owned(), "b".to_owned()], text, 1)
    }

    fn text(verified: u64, passed: bool) -> String {
        let found = Found { verified: [("walk".to_owned(), verified)].into(), ..Found::default() };
        let case = |name: &str, passed| CaseResult {
            name: name.to_owned(),
            passed,
            seconds: 1,
            output: String::new(),
        };
        let lines =
            [Line::Found(found), Line::Case(case("a", true)), Line::Case(case("b", passed)), Line::End];
        lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
    }

    #[test]
    fn a_machine_that_says_nothing_has_passed_nothing() {
        let run = run("");
        assert_eq!(run.passed(), 0);
        assert_eq!(run.faults(), ["no program was verified", "a did not end", "b did not end"]);
    }

    #[test]
    fn all_tests_have_to_pass() {
        assert_eq!(run(&text(1000, true)).faults(), [""; 0]);
        assert_eq!(run(&text(1000, false)).faults(), ["b failed"]);
    }

    #[test]
    fn a_test_that_was_cut_off_did_not_end() {
        let text = text(1000, true);
        let cut = text.find("\"b\"").unwrap_or_default() + 2;
        assert_eq!(run(&text[..cut]).faults(), ["b did not end"]);
    }

    #[test]
    fn half_of_the_limit_is_too_much() {
        assert_eq!(run(&text(499_999, true)).faults(), [""; 0]);
        assert_eq!(run(&text(500_000, true)).faults().len(), 1);
    }
}
