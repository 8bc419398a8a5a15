//! Asking the kernel.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;

use crate::sys::bpf::{self, Instruction, MapSpec, MapType, ProgramType};
use crate::sys::caps::{self, Capability, CapabilitySet};
use crate::sys::cpus;
use crate::sys::kernel_code::{self, UserReads};
use crate::sys::landlock;
use crate::sys::limits::{self, Limit};
use crate::sys::map::{BatchCursor, Map};
use crate::sys::perf::{self, EventSpec, Sampling, Scope};
use crate::sys::priority;
use crate::sys::seccomp;

/// How an attempt went: it worked, or the errno.
pub type Attempt = Result<(), i32>;

/// What /proc/kallsyms shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelSymbols {
    /// Names with addresses.
    Visible,
    /// Names, every address zero.
    Hidden,
    /// It is empty or cannot be read.
    Unreadable,
}

/// Everything that the checks judge.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `uname -r`.
    pub kernel_release: Option<String>,
    /// The architecture that the profiler was built for.
    pub arch: &'static str,
    /// Effective capabilities.
    pub capabilities: CapabilitySet,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i64>,
    /// Opening a sampling cpu-clock on the first online CPU.
    pub perf_event: Attempt,
    /// Creating a hash map.
    pub map_create: Attempt,
    /// The active lockdown mode; `None` where the kernel has no lockdown.
    pub lockdown: Option<String>,
    /// Whether the kernel describes its own types.
    pub btf: bool,
    /// `net.core.bpf_jit_enable`; `None` where the kernel has no such switch.
    pub bpf_jit_enable: Option<i64>,
    /// `RLIMIT_MEMLOCK`, before it is raised as a recording raises it.
    pub memlock: Limit,
    /// Whether BPF maps are charged to `RLIMIT_MEMLOCK`.
    pub memlock_charged: bool,
    /// Draining a hash map with one call.
    pub batch_operations: Attempt,
    /// Creating a ring buffer.
    pub ring_buffer: Attempt,
    /// What /proc/kallsyms shows.
    pub kernel_symbols: KernelSymbols,
    /// Following a link in /proc/self/map_files.
    pub map_files: Attempt,
    /// How many CPUs are online.
    pub online_cpus: Result<usize, i32>,
    /// `kernel.perf_event_max_sample_rate`.
    pub max_sample_rate: Option<i64>,
    /// `kernel.perf_cpu_time_max_percent`.
    pub cpu_time_max_percent: Option<i64>,
    /// Attaching to the raw tracepoint of exec.
    pub raw_tracepoint: Attempt,
    /// Whether reading user memory in a tick can freeze the kernel.
    pub user_reads: UserReads,
    /// Whether threads may become urgent.
    pub urgency: bool,
    /// Whether system calls can be filtered.
    pub seccomp: bool,
    /// Landlock's version; `None` where the kernel has none, or uses none.
    pub landlock: Option<u32>,
}

impl Facts {
    /// Asks the kernel everything. Whatever is created for it is gone when this returns.
    #[must_use]
    pub fn gather() -> Self {
        let online = cpus::online();
        let memlock = limits::memlock().unwrap_or(Limit { soft: 0, hard: 0 });
        // As a recording does before it makes maps.
        if let Err(error) = limits::raise_memlock() {
            tracing::debug!("RLIMIT_MEMLOCK stays as it is: {error}");
        }
        let first_cpu = online.as_ref().ok().and_then(|cpus| cpus.first()).copied().unwrap_or(0);
        Self {
            kernel_release: read("/proc/sys/kernel/osrelease"),
            arch: std::env::consts::ARCH,
            capabilities: caps::effective().unwrap_or_default(),
            perf_event_paranoid: sysctl("kernel/perf_event_paranoid"),
            perf_event: attempt(perf::open(
                &EventSpec::cpu_clock(Sampling::Hertz(99)),
                Scope::Cpu(first_cpu),
            )),
            map_create: attempt(bpf::map_create(&HASH)),
            lockdown: read("/sys/kernel/security/lockdown").as_deref().and_then(active_choice),
            btf: fs::metadata("/sys/kernel/btf/vmlinux").is_ok(),
            bpf_jit_enable: sysctl("net/core/bpf_jit_enable"),
            memlock,
            memlock_charged: memlock_charged(),
            batch_operations: attempt(batch()),
            ring_buffer: attempt(bpf::map_create(&RING)),
            kernel_symbols: kernel_symbols(),
            map_files: attempt(map_files()),
            online_cpus: online.map(|cpus| cpus.len()).map_err(|error| errno(&error)),
            max_sample_rate: sysctl("kernel/perf_event_max_sample_rate"),
            cpu_time_max_percent: sysctl("kernel/perf_cpu_time_max_percent"),
            raw_tracepoint: attempt(raw_tracepoint()),
            user_reads: kernel_code::user_reads(),
            urgency: priority::permit()
                || caps::effective().is_ok_and(|set| set.contains(Capability::SysNice)),
            seccomp: seccomp::is_available(),
            landlock: landlock::abi(),
        }
    }
}

const HASH: MapSpec<'_> =
    MapSpec { map_type: MapType::Hash, key_size: 4, value_size: 8, max_entries: 1, flags: 0, name: "doctor" };

/// The size is a power of two and whole pages on every architecture.
const RING: MapSpec<'_> = MapSpec {
    map_type: MapType::RingBuf,
    key_size: 0,
    value_size: 0,
    max_entries: 64 * 1024,
    flags: 0,
    name: "doctor",
};

fn attempt<T>(result: io::Result<T>) -> Attempt {
    result.map(drop).map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EINVAL)
}

/// A small file without the newline at its end.
fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn sysctl(name: &str) -> Option<i64> {
    read(&format!("/proc/sys/{name}"))?.parse().ok()
}

/// The choice in brackets, as in `none [integrity] confidentiality`.
fn active_choice(choices: &str) -> Option<String> {
    Some(choices.split_once('[')?.1.split_once(']')?.0.to_owned())
}

fn batch() -> io::Result<usize> {
    let fd = bpf::map_create(&HASH)?;
    Map::new(fd.as_fd())?.lookup_and_delete_batch(&mut BatchCursor::default(), &mut [0; 4], &mut [0; 8])
}

/// Charging to the memory cgroup instead came with 5.11, and so did the helper bpf_ktime_get_coarse_ns (number 160): a
/// socket filter that calls it (tracing programs may not) loads exactly where `RLIMIT_MEMLOCK` does not matter.
fn memlock_charged() -> bool {
    let code = [Instruction::call(160), Instruction::return_value(0), Instruction::exit()];
    let refused = bpf::prog_load(ProgramType::SocketFilter, "doctor", &code).err();
    // Any other error says nothing about the helper; the check of maps reports it.
    refused.is_some_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}

fn raw_tracepoint() -> io::Result<()> {
    let code = [Instruction::return_value(0), Instruction::exit()];
    let program = bpf::prog_load(ProgramType::RawTracepoint, "doctor", &code)?;
    bpf::raw_tracepoint_open(c"sched_process_exec", program.as_fd())?;
    Ok(())
}

/// Follows the first link: listing the folder needs less privilege than opening what it lists.
fn map_files() -> io::Result<()> {
    match fs::read_dir("/proc/self/map_files")?.next() {
        Some(entry) => fs::metadata(entry?.path()).map(drop),
        None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
    }
}

fn kernel_symbols() -> KernelSymbols {
    let Ok(file) = fs::File::open("/proc/kallsyms") else {
        return KernelSymbols::Unreadable;
    };
    // Per-CPU symbols can be zero in earnest, and come first: a few hundred are enough to tell.
    shown_symbols(BufReader::new(file).lines().map_while(Result::ok).take(1000))
}

fn shown_symbols(lines: impl Iterator<Item = String>) -> KernelSymbols {
    let mut shown = KernelSymbols::Unreadable;
    for line in lines {
        let address = line.split(' ').next().unwrap_or_default();
        if address.bytes().any(|digit| digit != b'0') {
            return KernelSymbols::Visible;
        }
        shown = KernelSymbols::Hidden;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_active_lockdown_mode_is_the_one_in_brackets() {
        assert_eq!(active_choice("none [integrity] confidentiality"), Some("integrity".to_owned()));
        assert_eq!(active_choice("none"), None);
    }

    #[test]
    fn hidden_addresses_are_told_from_no_symbols() {
        let shown = |text: &str| shown_symbols(text.lines().map(str::to_owned));
        assert_eq!(shown(""), KernelSymbols::Unreadable);
        assert_eq!(shown("0000000000000000 A a\n0000000000000000 t b\n"), KernelSymbols::Hidden);
        assert_eq!(shown("0000000000000000 A a\nffffffff81000000 T _text\n"), KernelSymbols::Visible);
    }

    #[test]
    fn the_clock_and_the_maps_work_where_the_tests_run() {
        let facts = Facts::gather();
        assert_eq!(
            (facts.perf_event, facts.map_create, facts.raw_tracepoint),
            (Ok(()), Ok(()), Ok(())),
            "{facts:?}"
        );
        assert_eq!((facts.batch_operations, facts.ring_buffer, facts.map_files), (Ok(()), Ok(()), Ok(())));
        assert_eq!(facts.user_reads, UserReads::Safe);
    }
}
