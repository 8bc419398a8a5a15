//! What this process uses, and the one that reads files for it.

use std::fs;
use std::sync::{Mutex, PoisonError};
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

/// What the process uses that reads files for this one ([`confine::apart`](crate::confine::apart)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// CPU time, of earlier such processes too.
    pub cpu: Duration,
    /// Memory of its own, bytes.
    pub heap: u64,
    /// Pages of files, the program's own among them, bytes.
    pub files: u64,
    /// Pages of files that were gone when they were read, of earlier such processes too.
    pub lost_pages: u64,
    /// Such processes that ended while they read a file.
    pub ends: u64,
}

static SHARE: Mutex<Share> =
    Mutex::new(Share { cpu: Duration::ZERO, heap: 0, files: 0, lost_pages: 0, ends: 0 });

/// What it used when it was last asked something; nothing where there is none.
#[must_use]
pub fn share() -> Share {
    *SHARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says what it uses.
pub fn set_share(share: Share) {
    *SHARE.lock().unwrap_or_else(PoisonError::into_inner) = share;
}

/// Resident memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Heap, stacks, and pages of files that were written to.
    pub private: u64,
    /// What has a file behind it, and shared memory.
    pub shared: u64,
}

/// Resident memory of this process alone; nothing where /proc is not there.
#[must_use]
pub fn memory() -> Resident {
    memory_of("self")
}

/// Likewise of the process with this id.
#[must_use]
pub fn memory_of(pid: &str) -> Resident {
    Resident::of(&fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default())
}

/// Memory of this process alone that it may write to, resident or not, and its stack, bytes; nothing where /proc is not there.
#[must_use]
pub fn writable_bytes() -> u64 {
    // The sixth number of proc_pid_statm(5).
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_ascii_whitespace().nth(5).and_then(|pages| pages.parse().ok()).unwrap_or(0) * page_bytes()
}

impl Resident {
    /// Reads /proc/PID/statm: its second and third number are pages.
    fn of(statm: &str) -> Self {
        let mut numbers = statm.split_ascii_whitespace().skip(1).map(|number| number.parse().unwrap_or(0));
        let (resident, shared): (u64, u64) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self { private: resident.saturating_sub(shared) * page_bytes(), shared: shared * page_bytes() }
    }
}

/// What this process uses; 0 where it cannot be told.
#[must_use]
pub fn usage() -> Usage {
    let (memory, share) = (memory(), share());
    let now = SystemTime::now();
    let age = start_ns(std::process::id()).map_or(0, |start| boottime_ns().saturating_sub(start));
    Usage {
        cpu: cpu(),
        resident_bytes: memory.private + memory.shared + share.heap + share.files,
        // One of them is open only to count them.
        open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1) as u64),
        started: now.checked_sub(Duration::from_nanos(age)).unwrap_or(now),
    }
}

/// CPU time of this process, all threads together, and of the one that reads files for it.
#[must_use]
pub fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is writable; the clock exists on every kernel.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds) + share().cpu
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
    fn statm_is_read() {
        let page = page_bytes();
        let resident = Resident { private: 2000 * page, shared: 1000 * page };
        assert_eq!(Resident::of("5000 3000 1000 2 0 700 0\n"), resident);
        assert_eq!(Resident::of(""), Resident::default());
    }

    #[test]
    fn this_process_uses_something() {
        let usage = usage();
        assert!(usage.resident_bytes > 1 << 16 && usage.open_files > 2, "{usage:?}");
        let age = SystemTime::now().duration_since(usage.started).unwrap();
        assert!(age < Duration::from_secs(86_400), "{usage:?}");
        assert!(usage.cpu <= cpu());
        assert!(writable_bytes() >= memory().private / 2, "{} {:?}", writable_bytes(), memory());
    }
}
