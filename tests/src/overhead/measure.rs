//! What a command costs: CPU time, memory, BPF maps, and time in BPF programs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a command cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// CPU time of it and its children, user and system, seconds.
    pub cpu_seconds: f64,
    /// Time in its BPF programs, seconds. The kernel counts it for whoever was interrupted. Sampling without BPF, as perf
    /// does, takes kernel time, too, which nobody counts.
    pub bpf_seconds: f64,
    /// Runs of its BPF programs on perf events.
    pub bpf_runs: u64,
    /// Most memory that its processes had resident, and its BPF maps as far as that does not show them, bytes.
    pub memory: u64,
}

/// A sum of what a tool's processes hold.
#[derive(Debug, Default)]
struct Held {
    resident: u64,
    /// Bytes of BPF maps by id, and whether they are mapped, and then part of the resident set.
    maps: BTreeMap<u64, (u64, bool)>,
    /// Runs and nanoseconds of BPF programs by id.
    programs: BTreeMap<u64, (u64, u64)>,
}

/// Has the kernel count the time in BPF programs until this is dropped.
#[derive(Debug)]
pub struct Statistics(String);

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Statistics {
    /// Switches them on.
    pub fn enable() -> Statistics {
        let before = fs::read_to_string(SWITCH).unwrap_or_default();
        fs::write(SWITCH, "1").unwrap_or_else(|e| panic!("cannot write {SWITCH}: {e}; run this as root"));
        Statistics(before)
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, self.0.trim());
    }
}

/// How long a profiler may take for its answer once it has seen enough.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command that ends by itself after some time, and a while for what it does then. `None` where it does not end, or
/// fails: it is ended then.
#[expect(clippy::zombie_processes, reason = "wait4 in try_wait reaps it, which the lint cannot see")]
pub fn run(mut command: Command, expected: Duration) -> Option<Cost> {
    let shown = format!("{command:?}");
    let child =
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.unwrap_or_else(|e| panic!("cannot run {shown}: {e}"));
    let deadline = Instant::now() + expected + PATIENCE;
    let mut late = false;
    let mut held = Held::default();
    let mut most = 0;
    let usage = loop {
        if let Some(usage) = try_wait(&child) {
            break usage;
        }
        if !late && Instant::now() > deadline {
            late = true;
            // SAFETY: numbers only; the group is this child's own, which has not been waited for.
            unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
        }
        held.look(child.id());
        most = most.max(held.resident + held.unseen_maps());
        // Looking costs the host time, but none of it is the command's.
        std::thread::sleep(Duration::from_millis(200));
    };
    let (runs, nanoseconds) =
        held.programs.values().fold((0, 0), |sum, program| (sum.0 + program.0, sum.1 + program.1));
    let cpu_seconds = usage?;
    Some(Cost { cpu_seconds, bpf_seconds: nanoseconds as f64 / 1e9, bpf_runs: runs, memory: most })
}

impl Held {
    fn look(&mut self, pid: u32) {
        self.resident = 0;
        for pid in tree(pid) {
            self.resident += resident(pid);
            let mapped = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
            let has_mapped = mapped.contains("anon_inode:bpf-map");
            let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { continue };
            for file in files.flatten() {
                let info = fs::read_to_string(file.path()).unwrap_or_default();
                if let (Some(id), Some(bytes)) = (number(&info, "map_id:"), number(&info, "memlock:")) {
                    // Arrays that may be mapped, and ring buffers (enum bpf_map_type, BPF_F_MMAPABLE).
                    let mappable = number(&info, "map_type:") == Some(27) || flags(&info) & 0x400 != 0;
                    self.maps.insert(id, (bytes, has_mapped && mappable));
                } else if let (Some(id), Some(runs), Some(time)) =
                    (number(&info, "prog_id:"), number(&info, "run_cnt:"), number(&info, "run_time_ns:"))
                {
                    self.programs.insert(id, (runs, time));
                }
            }
        }
    }

    fn unseen_maps(&self) -> u64 {
        self.maps.values().filter(|(_, seen)| !seen).map(|(bytes, _)| bytes).sum()
    }
}

/// A process and its descendants.
fn tree(pid: u32) -> Vec<u32> {
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

/// Bytes that a process has resident.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    1024 * number(&status, "VmRSS:").unwrap_or(0)
}

fn number(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.trim().trim_end_matches("kB").trim().parse().ok()
}

fn flags(info: &str) -> u64 {
    let value = info.lines().find_map(|line| line.strip_prefix("map_flags:")).unwrap_or_default();
    u64::from_str_radix(value.trim().trim_start_matches("0x"), 16).unwrap_or(0)
}

/// CPU seconds of a child and of its children, once it has ended; `None` in that where it failed. std waits too, but does
/// not say.
fn try_wait(child: &Child) -> Option<Option<f64>> {
    let pid = child.id().cast_signed();
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both are writable and of the types that wait4 fills; the child is ours and waited for nowhere else.
    let ended = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    assert!(ended >= 0, "cannot wait for a profiler: {}", io::Error::last_os_error());
    if ended == 0 {
        return None;
    }
    // SAFETY: rusage is made of integers, for which all zeros is a value, and wait4 has filled it.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let success = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
    Some(success.then_some(seconds(usage.ru_utime) + seconds(usage.ru_stime)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_a_child_is_measured_with_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; true"]);
        let cost = run(command, Duration::from_secs(1)).unwrap();
        assert!(cost.cpu_seconds > 0.01 && cost.memory > 500 << 10, "{cost:?}");
        assert_eq!((cost.bpf_runs, cost.bpf_seconds), (0, 0.0));
    }

    #[test]
    fn a_command_that_fails_has_no_cost() {
        assert_eq!(run(Command::new("false"), Duration::ZERO), None);
    }

    #[test]
    fn numbers_are_found_by_their_key() {
        let info = "map_type:\t2\nmap_flags:\t0x400\nmemlock:\t4096\n";
        assert_eq!((number(info, "memlock:"), number(info, "map_id:")), (Some(4096), None));
        assert_eq!(flags(info), 0x400);
    }
}
