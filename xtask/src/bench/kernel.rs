//! What the kernel counts about BPF programs and maps.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use aya::programs::{ProgramFd, loaded_programs};
use aya::sys::{Stats, enable_stats};

/// Switches the statistics of BPF programs on until the descriptor is closed (5.8), whatever happens to this process.
pub(super) fn enable_statistics() -> Result<OwnedFd> {
    enable_stats(Stats::RunTime).context("cannot switch on the kernel's BPF statistics; run this as root")
}

/// `uname -r`.
pub(super) fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// How often a program ran, and how long altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RunStatistics {
    pub(super) count: u64,
    pub(super) nanoseconds: u64,
}

impl RunStatistics {
    /// What was added since an earlier reading.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
        }
    }

    /// Nanoseconds per run; `None` when it never ran.
    pub(super) fn per_run(self) -> Option<f64> {
        (self.count > 0).then(|| self.nanoseconds as f64 / self.count as f64)
    }
}

/// The ids of all loaded programs of that name.
pub(super) fn programs_named(name: &str) -> Vec<u32> {
    // Programs come and go while they are listed; one that has gone is not the one that is sought.
    loaded_programs()
        .flatten()
        .filter(|program| program.name_as_str() == Some(name))
        .map(|p| p.id())
        .collect()
}

/// A descriptor of the program with that id; with it the statistics outlive whoever loaded the program.
pub(super) fn open_program(id: u32) -> Option<ProgramFd> {
    loaded_programs().flatten().find(|program| program.id() == id)?.fd().ok()
}

/// The statistics of a program that this process has open.
pub(super) fn run_statistics(program: &impl AsFd) -> Result<RunStatistics> {
    let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |name| field(&text, name).with_context(|| format!("{path} has no {name}"));
    Ok(RunStatistics { count: field("run_cnt")?, nanoseconds: field("run_time_ns")? })
}

/// Bytes of kernel memory of all BPF maps that a process has open; zero once it is gone. A map that is open twice counts
/// once.
pub(super) fn map_bytes(pid: u32) -> u64 {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return 0 };
    let mut maps: Vec<(u64, u64)> = entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|text| Some((field(&text, "map_id")?, field(&text, "memlock")?)))
        .collect();
    maps.sort_unstable();
    maps.dedup_by_key(|map| map.0);
    maps.iter().map(|map| map.1).sum()
}

/// The number behind `name:` in an fdinfo file.
fn field(fdinfo: &str, name: &str) -> Option<u64> {
    let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "pos:\t0\nprog_tag:\t59f3\nrun_time_ns:\t1200\nrun_cnt:\t4\n";
        assert_eq!(field(text, "run_cnt"), Some(4));
        assert_eq!(field(text, "run"), None);
        assert_eq!(field(text, "prog_tag"), None);
    }

    #[test]
    fn a_program_that_never_ran_has_no_cost() {
        assert_eq!(RunStatistics::default().per_run(), None);
        let later = RunStatistics { count: 6, nanoseconds: 1000 };
        let earlier = RunStatistics { count: 2, nanoseconds: 200 };
        assert_eq!(later.since(earlier).per_run(), Some(200.0));
    }
}
