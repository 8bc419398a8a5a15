//! A process and its descendants: what a profiler costs is the cost of all of them.

use std::fs;

/// A process and its descendants that live.
pub fn of(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}

/// The child of a process that has this name; `None` where there is none.
pub fn child_named(pid: u32, name: &str) -> Option<u32> {
    let comm = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    of(pid).into_iter().skip(1).find(|pid| comm(pid).trim_end() == name)
}
