//! What a command costs: CPU time, memory, BPF maps, and time in BPF programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::family;

/// What a command cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU time of it and its children, user and system, since it samples, seconds.
    pub cpu_seconds: f64,
    /// Likewise until it samples, to a hundredth of a second; nothing where it has no BPF programs by which that is seen.
    pub start_seconds: f64,
    /// Time in its BPF programs, seconds. The kernel counts it for whoever was interrupted. Sampling without BPF, as perf
    /// does, takes kernel time, too, which nobody counts.
    pub bpf_seconds: f64,
    /// Runs of its BPF programs on perf events: the ticks of the clock.
    pub bpf_runs: u64,
    /// Most memory that its processes had resident, and its BPF maps as far as that does not show them, bytes.
    pub memory: u64,
    /// CPU time that it took afterwards to unwind what it kept, seconds; nothing where that is done by then.
    #[serde(default)]
    pub unwind_seconds: f64,
}

/// What a command printed, and took.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// Its standard output.
    pub text: String,
    /// CPU time of it and its children, user and system, seconds.
    pub cpu_seconds: f64,
    /// False where it failed, or was ended for taking too long; the text may be cut then.
    pub complete: bool,
}

/// A sum of what a tool's processes hold.
#[derive(Debug, Default)]
struct Held {
    resident: u64,
    /// Bytes of BPF maps by id, and whether they are mapped, and then part of the resident set.
    maps: BTreeMap<u64, (u64, bool)>,
    /// BPF programs by id: whether it is run by perf events, its runs and their nanoseconds.
    programs: BTreeMap<u64, (bool, u64, u64)>,
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

/// How a command comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself: it was told how long.
    Itself,
    /// It runs for ever, and is asked to end by SIGTERM.
    Asked,
}

/// Runs a command for some time, and a while for what it does then. `None` where it does not end, or fails: it is ended
/// then.
#[expect(clippy::zombie_processes, reason = "wait4 in try_wait reaps it, which the lint cannot see")]
pub fn run(mut command: Command, end: End, expected: Duration) -> Option<Cost> {
    let shown = format!("{command:?}");
    let mut said = tempfile::tempfile().expect("a scratch file");
    let stderr = said.try_clone().expect("a descriptor");
    let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
    let child = child.unwrap_or_else(|e| panic!("cannot run {shown}: {e}"));
    let signal = |signal| {
        // SAFETY: numbers only; the group is this child's own, which has not been waited for.
        unsafe { libc::kill(-child.id().cast_signed(), signal) };
    };
    let mut started = Instant::now();
    let mut start_seconds = 0.0;
    let mut samples = false;
    let mut asked = end == End::Itself;
    let mut late = false;
    let mut held = Held::default();
    let mut most = 0;
    let ended = loop {
        if let Some(ended) = try_wait(&child) {
            break ended;
        }
        if !asked && started.elapsed() >= expected {
            asked = true;
            signal(libc::SIGTERM);
        }
        if !late && started.elapsed() > expected + PATIENCE {
            late = true;
            signal(libc::SIGKILL);
        }
        held.look(child.id());
        if !samples && held.programs.values().any(|(on_ticks, runs, _)| *on_ticks && *runs > 0) {
            // Who takes long to start samples no less for it.
            (samples, started, start_seconds) = (true, Instant::now(), cpu_time(child.id()));
        }
        most = most.max(held.resident + held.unseen_maps());
        // Looking costs the host time, but none of it is the command's.
        std::thread::sleep(Duration::from_millis(200));
    };
    let on_ticks = held.programs.values().filter(|(on_ticks, ..)| *on_ticks);
    let runs = on_ticks.map(|(_, runs, _)| runs).sum();
    let nanoseconds: u64 = held.programs.values().map(|(.., nanoseconds)| nanoseconds).sum();
    if !ended.success {
        let mut text = String::new();
        let _ = said.rewind().and_then(|()| said.read_to_string(&mut text));
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("{shown} failed:\n{}", lines[lines.len().saturating_sub(5)..].join("\n"));
        return None;
    }
    Some(Cost {
        cpu_seconds: ended.cpu_seconds - start_seconds,
        start_seconds,
        bpf_seconds: nanoseconds as f64 / 1e9,
        bpf_runs: runs,
        memory: most,
        unwind_seconds: 0.0,
    })
}

/// Runs a command for as long as that at the most.
#[expect(clippy::zombie_processes, reason = "wait4 in try_wait reaps it, which the lint cannot see")]
pub fn ask(command: &mut Command, most: Duration) -> Answer {
    let mut said = tempfile::tempfile().expect("a scratch file");
    let stdout = said.try_clone().expect("a descriptor");
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn();
    let mut child = child.unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let begun = Instant::now();
    let ended = loop {
        if let Some(ended) = try_wait(&child) {
            break ended;
        }
        if begun.elapsed() > most {
            child.kill().expect("a child that was not waited for");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut text = Vec::new();
    said.rewind().and_then(|()| said.read_to_end(&mut text)).expect("a scratch file can be read");
    let text = String::from_utf8_lossy(&text).into_owned();
    Answer { text, cpu_seconds: ended.cpu_seconds, complete: ended.success }
}

impl Held {
    fn look(&mut self, pid: u32) {
        self.resident = 0;
        for pid in family::of(pid) {
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
                    // BPF_PROG_TYPE_PERF_EVENT of enum bpf_prog_type.
                    let on_ticks = number(&info, "prog_type:") == Some(7);
                    self.programs.insert(id, (on_ticks, runs, time));
                }
            }
        }
    }

    fn unseen_maps(&self) -> u64 {
        self.maps.values().filter(|(_, seen)| !seen).map(|(bytes, _)| bytes).sum()
    }
}

/// CPU time of a process and of its children that were waited for, seconds.
fn cpu_time(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may have anything in it: utime, stime, cutime and cstime are the 14th to 17th field (proc(5)).
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace().skip(11).take(4);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    // SAFETY: numbers only.
    ticks as f64 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
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

/// How a child ended.
struct Ended {
    /// CPU time of it and its children, seconds.
    cpu_seconds: f64,
    success: bool,
}

/// How a child ended, once it has. std waits too, but does not say what it took.
fn try_wait(child: &Child) -> Option<Ended> {
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
    Some(Ended { cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime), success })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_a_child_is_measured_with_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; true"]);
        let cost = run(command, End::Itself, Duration::from_secs(1)).unwrap();
        assert!(cost.cpu_seconds > 0.01 && cost.memory > 500 << 10, "{cost:?}");
        assert_eq!((cost.bpf_runs, cost.bpf_seconds, cost.start_seconds), (0, 0.0, 0.0));
    }

    #[test]
    fn a_command_that_fails_has_no_cost() {
        assert_eq!(run(Command::new("false"), End::Itself, Duration::ZERO), None);
    }

    #[test]
    fn a_command_answers_or_is_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done"]);
        let answer = ask(&mut command, Duration::from_secs(60));
        assert_eq!((&*answer.text, answer.complete), ("done\n", true));
        assert!(answer.cpu_seconds > 0.01, "{answer:?}");
        let mut command = Command::new("sh");
        let answer = ask(command.args(["-c", "echo begun; exec sleep 60"]), Duration::from_millis(300));
        assert_eq!((&*answer.text, answer.complete), ("begun\n", false));
    }

    #[test]
    fn a_command_that_runs_for_ever_is_asked_to_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]);
        assert!(run(command, End::Asked, Duration::from_millis(300)).is_some());
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let before = cpu_time(std::process::id());
        let begun = Instant::now();
        while cpu_time(std::process::id()) < before + 0.02 {
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
    }

    #[test]
    fn numbers_are_found_by_their_key() {
        let info = "map_type:\t2\nmap_flags:\t0x400\nmemlock:\t4096\n";
        assert_eq!((number(info, "memlock:"), number(info, "map_id:")), (Some(4096), None));
        assert_eq!(flags(info), 0x400);
    }
}
