//! What this process uses.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::capture::sideband::boottime_ns;
use crate::process::start_ns;

/// What it uses now.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// CPU time, all threads together.
    pub cpu: Duration,
    /// Resident set, bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// When it was started.
    pub started: SystemTime,
}

/// What this process uses; 0 where it cannot be told.
#[must_use]
pub fn usage() -> Usage {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let now = SystemTime::now();
    let age = start_ns(std::process::id()).map_or(0, |start| boottime_ns().saturating_sub(start));
    Usage {
        cpu: cpu(),
        resident_bytes: pages * page_bytes(),
        // One of them is open only to count them.
        open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1) as u64),
        started: now.checked_sub(Duration::from_nanos(age)).unwrap_or(now),
    }
}

/// CPU time of this process, all threads together.
#[must_use]
pub fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is writable; the clock exists on every kernel.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds)
}

/// Bytes of a page of memory.
#[must_use]
pub fn page_bytes() -> u64 {
    // SAFETY: numbers only.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = usage();
        assert!(usage.resident_bytes > 1 << 16 && usage.open_files > 2, "{usage:?}");
        let age = SystemTime::now().duration_since(usage.started).unwrap();
        assert!(age < Duration::from_secs(86_400), "{usage:?}");
        assert!(usage.cpu <= cpu());
    }
}
