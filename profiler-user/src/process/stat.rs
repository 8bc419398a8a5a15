//! /proc/PID/stat.

use std::fs;

use profiler_common::layout::{ProcessKey, START_TICK_NS, same_start};

/// When a process was started, nanoseconds since boot to the precision of /proc (10 ms); `None` where there is none.
#[must_use]
pub fn start_ns(pid: u32) -> Option<u64> {
    Some(stat_field(pid, 22)? * START_TICK_NS)
}

/// Whether a process id still is this process's.
pub(super) fn is_alive(key: &ProcessKey) -> bool {
    start_ns(key.pid).is_some_and(|start| same_start(start, key.start_ns))
}

/// Whether it is a thread of the kernel's: one that has no memory may also be a program that begins or ends.
pub(super) fn is_kernel_thread(pid: u32) -> bool {
    /// PF_KTHREAD (include/linux/sched.h).
    const KERNEL_THREAD: u64 = 0x0020_0000;
    stat_field(pid, 9).is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

/// A field of /proc/PID/stat by its number in proc_pid_stat(5), from the third on: the second one is a name that may hold
/// spaces and brackets.
fn stat_field(pid: u32, number: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}
