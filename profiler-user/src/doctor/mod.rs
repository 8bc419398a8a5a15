//! What this host offers and lacks for profiling: a list of checks, each with what was found, why it matters and how to
//! mend it.
//!
//! [`facts`] asks the kernel, mostly by trying the very call that the profiler will make, because neither a kernel's version
//! nor a capability says whether a call will work. [`checks`] judges the facts and is pure; [`render`] shows the
//! report.

pub mod checks;
pub mod facts;
pub mod render;

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// The profiler runs, and something in its output will be missing or coarser.
    Warn,
    /// The profiler cannot run.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A short name, stable across versions.
    pub name: &'static str,
    /// How it came out.
    pub status: Status,
    /// What this host has.
    pub found: String,
    /// What the profiler needs it for.
    pub why: &'static str,
    /// What to do about it; empty when there is nothing to do.
    pub fix: String,
}

/// All checks of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which they are shown.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether the profiler can run: no check failed.
    #[must_use]
    pub fn can_run(&self) -> bool {
        self.worst() < Status::Fail
    }

    /// The worst status of all checks.
    #[must_use]
    pub fn worst(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok)
    }
}

/// Looks at this host. `load` loads the profiler's own programs without attaching them and says in a sentence why that
/// failed; it is passed in because this module knows nothing of capturing.
pub fn examine(load: impl FnOnce() -> Result<(), String>) -> Report {
    let mut checks = checks::judge(&facts::Facts::gather());
    checks.push(load_check(load));
    Report { checks }
}

/// The check that counts most: whether the kernel takes the profiler's own programs.
pub fn load_check(load: impl FnOnce() -> Result<(), String>) -> Check {
    let (status, found, fix) = match load() {
        Ok(()) => (Status::Ok, "the kernel accepts them".to_owned(), String::new()),
        Err(reason) => (
            Status::Fail,
            reason,
            "mend what failed above; if nothing did, report it with the output of `profiler -vv record -d 1s`".to_owned(),
        ),
    };
    Check { name: "bpf-programs", status, found, why: "they take the samples", fix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_check_keeps_the_profiler_from_running() {
        let ok = load_check(|| Ok(()));
        let fail = load_check(|| Err("the verifier said no".to_owned()));
        assert_eq!(fail.found, "the verifier said no");
        assert!(Report { checks: vec![ok.clone()] }.can_run());
        assert!(Report { checks: vec![Check { status: Status::Warn, ..ok.clone() }] }.can_run());
        assert!(!Report { checks: vec![ok, fail] }.can_run());
    }

    #[test]
    fn this_host_is_examined() {
        let report = examine(|| Ok(()));
        let names: Vec<_> = report.checks.iter().map(|check| check.name).collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        // The tests need root; where they can run, the profiler can.
        assert!(report.can_run(), "{}", render::text(&report));
    }
}
