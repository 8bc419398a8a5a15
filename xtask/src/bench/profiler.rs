//! One run of `profiler record` and what it cost.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::programs::ProgramFd;
use serde::Serialize;

use super::kernel;

/// The name of the program that takes the samples.
const PROGRAM: &str = "on_tick";

/// One run of the profiler.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Measured {
    /// Ticks on all CPUs.
    pub(super) ticks: u64,
    /// Time in the BPF program per tick.
    pub(super) kernel_ns_per_sample: f64,
    /// CPU time of the profiler's process, user and system, per minute of recording; loading, naming and writing included.
    pub(super) cpu_seconds_per_minute: f64,
    /// The part of that in user mode.
    pub(super) user_seconds_per_minute: f64,
    /// Most resident memory.
    pub(super) peak_rss_bytes: u64,
    /// Most kernel memory of its maps that was seen.
    pub(super) map_bytes: u64,
}

/// What the kernel says about a child that has ended.
struct Usage {
    success: bool,
    user_seconds: f64,
    system_seconds: f64,
    peak_rss_bytes: u64,
}

/// Records the whole host for that long, and waits until the profile is written.
pub(super) fn measure(binary: &Path, profile: &Path, rate: u64, length: Duration) -> Result<Measured> {
    let others = kernel::programs_named(PROGRAM);
    let seconds = length.as_secs();
    let child = Command::new(binary)
        .args(["record", "-F", &rate.to_string(), "-d", &format!("{seconds}s"), "-o"])
        .arg(profile)
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let pid = child.id();
    let mut program: Option<ProgramFd> = None;
    let mut map_bytes = 0;
    let usage = loop {
        if let Some(usage) = try_wait(&child)? {
            break usage;
        }
        if program.is_none() {
            let new = kernel::programs_named(PROGRAM).into_iter().find(|id| !others.contains(id));
            program = new.and_then(kernel::open_program);
        }
        map_bytes = map_bytes.max(kernel::map_bytes(pid));
        // Looking costs CPU time that the workload then lacks, but none of it is the profiler's.
        thread::sleep(Duration::from_millis(100));
    };
    if !usage.success {
        bail!("`profiler record` failed; run it by hand to see why");
    }
    let program = program.with_context(|| format!("the profiler loaded no BPF program named {PROGRAM}"))?;
    let ran = kernel::run_statistics(&program)?;
    let per_minute = 60.0 / length.as_secs_f64();
    Ok(Measured {
        ticks: ran.count,
        kernel_ns_per_sample: ran.per_run().context("the profiler's BPF program never ran")?,
        cpu_seconds_per_minute: (usage.user_seconds + usage.system_seconds) * per_minute,
        user_seconds_per_minute: usage.user_seconds * per_minute,
        peak_rss_bytes: usage.peak_rss_bytes,
        map_bytes,
    })
}

/// What a child used, once it has ended. std waits too, but does not say what the child used.
fn try_wait(child: &Child) -> Result<Option<Usage>> {
    let pid = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `status` and `usage` are writable and of the types that wait4 fills. The child is ours and is waited for
    // nowhere else: `child` is never waited for through std.
    let ended = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    match ended {
        -1 => return Err(io::Error::last_os_error()).context("cannot wait for the profiler"),
        0 => return Ok(None),
        _ => {}
    }
    // SAFETY: rusage is made of integers, for which all zeros is a value, and wait4 has filled it.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Some(Usage {
        success: libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        user_seconds: seconds(usage.ru_utime),
        system_seconds: seconds(usage.ru_stime),
        // Linux counts in KiB.
        peak_rss_bytes: u64::try_from(usage.ru_maxrss)? * 1024,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "wait4 in try_wait reaps it, which the lint cannot see")]
    fn a_childs_use_is_known_after_it_ended() {
        let child = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"])
            .spawn()
            .unwrap();
        let usage = loop {
            if let Some(usage) = try_wait(&child).unwrap() {
                break usage;
            }
            thread::sleep(Duration::from_millis(10));
        };
        assert!(usage.success && usage.user_seconds > 0.0 && usage.peak_rss_bytes > 100 << 10);
    }
}
