//! Judging the facts: pure, so that every host that could be met is a test with literals.

use std::io;

use super::facts::{Attempt, Facts, KernelSymbols};
use super::{Check, Status};
use crate::confine::purpose;
use crate::sys::caps::Capability;
use crate::sys::kernel_code::UserReads;

/// The highest rate that people commonly ask for, in samples per second and CPU.
const HIGH_RATE: i64 = 999;
/// The default of `profiler record`.
const DEFAULT_RATE: i64 = 99;

/// All checks but the one that loads the profiler's own programs.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![kernel(facts)];
    checks.extend(capabilities(facts));
    checks.extend([
        perf_event(facts),
        max_sample_rate(facts),
        bpf_maps(facts),
        lockdown(facts),
        memlock(facts),
        batch_operations(facts),
        ring_buffer(facts),
        raw_tracepoint(facts),
        user_reads(facts),
        btf(facts),
        jit(facts),
        kernel_symbols(facts),
        map_files(facts),
        online_cpus(facts),
        urgency(facts),
        seccomp(facts),
        landlock(facts),
    ]);
    checks
}

/// A check that came out fine.
fn ok(name: &'static str, why: &'static str, found: impl Into<String>) -> Check {
    Check { name, status: Status::Ok, found: found.into(), why, fix: String::new() }
}

impl Check {
    /// The same check with a problem and what to do about it.
    fn problem(self, status: Status, fix: impl Into<String>) -> Self {
        Self { status, fix: fix.into(), ..self }
    }
}

/// What the kernel says for an errno, such as "Operation not permitted".
fn describe(errno: i32) -> String {
    io::Error::from_raw_os_error(errno).to_string()
}

fn works(attempt: Attempt) -> String {
    attempt.map_or_else(describe, |()| "works".to_owned())
}

fn kernel(facts: &Facts) -> Check {
    let release = facts.kernel_release.as_deref().unwrap_or("unknown");
    let check = ok(
        "kernel",
        "5.10 is the oldest that is supported; what counts are the features below, which vendors move between versions",
        format!("Linux {release} on {}", facts.arch),
    );
    let version = facts.kernel_release.as_deref().and_then(version);
    if version.is_some_and(|version| version < (5, 10)) {
        check.problem(Status::Warn, "upgrade the kernel if a check below fails")
    } else {
        check
    }
}

/// Major and minor of a release such as `6.1.0-13-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn capabilities(facts: &Facts) -> impl Iterator<Item = Check> + '_ {
    let needed = [
        (Capability::Bpf, Status::Fail, "cap-bpf"),
        (Capability::Perfmon, Status::Fail, "cap-perfmon"),
        (Capability::SysPtrace, Status::Warn, "cap-sys-ptrace"),
        (Capability::DacReadSearch, Status::Warn, "cap-dac-read-search"),
        (Capability::Syslog, Status::Warn, "cap-syslog"),
        (Capability::CheckpointRestore, Status::Warn, "cap-checkpoint-restore"),
    ];
    needed.into_iter().map(|(capability, without, name)| {
        let why = purpose(capability);
        let has = facts.capabilities;
        if has.contains(capability) {
            ok(name, why, capability.name())
        } else if has.grants(capability) {
            ok(name, why, format!("CAP_SYS_ADMIN stands for {}", capability.name()))
        } else {
            ok(name, why, format!("no {}", capability.name()))
                .problem(without, format!("run as root, or give the process {}", capability.name()))
        }
    })
}

fn perf_event(facts: &Facts) -> Check {
    let check = ok("perf-event", "a cpu-clock on every CPU is the sampling clock", works(facts.perf_event));
    let Err(errno) = facts.perf_event else { return check };
    let paranoid = facts.perf_event_paranoid.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
    check.problem(
        Status::Fail,
        match errno {
            libc::EACCES | libc::EPERM if wants_admin(facts) => format!(
                "this kernel asks for CAP_SYS_ADMIN while kernel.perf_event_paranoid is above 2 (it is {paranoid}): \
                 `sysctl kernel.perf_event_paranoid=2`, or give the process CAP_SYS_ADMIN"
            ),
            libc::EACCES | libc::EPERM if facts.capabilities.grants(Capability::Perfmon) => {
                "the capability is there, so a seccomp or LSM policy forbids perf_event_open: allow it for this \
                 process or container"
                    .to_owned()
            }
            libc::EACCES | libc::EPERM => {
                format!("run as root or with CAP_PERFMON (kernel.perf_event_paranoid is {paranoid})")
            }
            libc::ENOSYS => "a kernel with CONFIG_PERF_EVENTS, or a seccomp policy that allows perf_event_open".to_owned(),
            libc::EMFILE | libc::ENFILE => "raise the limit on open files (ulimit -n)".to_owned(),
            libc::EINVAL => "raise kernel.perf_event_max_sample_rate to 99 or more".to_owned(),
            _ => "perf_event_open(2) explains this error".to_owned(),
        },
    )
}

/// Whether events are refused for want of what Debian's kernels ask for: see `confine/events.rs`.
fn wants_admin(facts: &Facts) -> bool {
    facts.capabilities.contains(Capability::Perfmon)
        && !facts.capabilities.contains(Capability::SysAdmin)
        && facts.perf_event_paranoid.is_some_and(|value| value > 2)
}

fn max_sample_rate(facts: &Facts) -> Check {
    const NAME: &str = "sample-rate";
    const WHY: &str =
        "the kernel refuses to sample faster than this, and lowers it when sampling takes too much time";
    let Some(rate) = facts.max_sample_rate else {
        return ok(NAME, WHY, "kernel.perf_event_max_sample_rate is not there")
            .problem(Status::Warn, "mount /proc with its sys folder");
    };
    let percent =
        facts.cpu_time_max_percent.map_or_else(String::new, |p| format!(", at most {p}% of CPU time"));
    let check = ok(NAME, WHY, format!("up to {rate} Hz{percent}"));
    let fix = format!("sysctl kernel.perf_event_max_sample_rate=100000, or stay at -F {rate} or below");
    match rate {
        HIGH_RATE.. => check,
        DEFAULT_RATE.. => check.problem(Status::Warn, fix),
        _ => check.problem(Status::Fail, fix),
    }
}

fn bpf_maps(facts: &Facts) -> Check {
    let check = ok("bpf", "samples are counted in BPF maps", works(facts.map_create));
    let Err(errno) = facts.map_create else { return check };
    check.problem(
        Status::Fail,
        match errno {
            libc::EPERM if facts.memlock_charged && facts.capabilities.grants(Capability::Bpf) => {
                "raise the limit on locked memory (ulimit -l unlimited), which this kernel charges BPF maps to"
            }
            libc::EPERM if facts.lockdown.as_deref() == Some("confidentiality") => {
                "the kernel is locked down: boot with lockdown=integrity or none"
            }
            libc::EPERM if facts.capabilities.grants(Capability::Bpf) => {
                "the capability is there, so a seccomp or LSM policy forbids bpf(2): allow it for this process or container"
            }
            libc::EPERM => "run as root or with CAP_BPF (kernel.unprivileged_bpf_disabled keeps others out)",
            libc::ENOSYS => "a kernel with CONFIG_BPF_SYSCALL, or a seccomp policy that allows bpf(2)",
            _ => "bpf(2) explains this error",
        },
    )
}

fn lockdown(facts: &Facts) -> Check {
    let found = facts.lockdown.as_deref().unwrap_or("not part of this kernel");
    let check = ok("lockdown", "in confidentiality mode BPF programs cannot read memory", found);
    if facts.lockdown.as_deref() == Some("confidentiality") {
        check.problem(
            Status::Fail,
            "boot with lockdown=integrity or none, which may need Secure Boot's policy changed",
        )
    } else {
        check
    }
}

fn memlock(facts: &Facts) -> Check {
    const NAME: &str = "memlock";
    const WHY: &str = "kernels before 5.11 charge BPF maps to the limit on locked memory";
    /// Room for the maps of the default memory budget.
    const ENOUGH: u64 = 128 << 20;
    let limit = match facts.memlock.soft {
        libc::RLIM_INFINITY => "unlimited".to_owned(),
        bytes => format!("{} KiB", bytes / 1024),
    };
    if !facts.memlock_charged {
        return ok(NAME, WHY, format!("{limit}, not charged by this kernel"));
    }
    let check = ok(NAME, WHY, format!("{limit}, charged by this kernel"));
    // The profiler raises the soft limit itself, as far as it may.
    if facts.memlock.hard >= ENOUGH || facts.capabilities.contains(Capability::SysResource) {
        check
    } else {
        check.problem(
            Status::Fail,
            "ulimit -l unlimited, LimitMEMLOCK=infinity in a unit, or give CAP_SYS_RESOURCE",
        )
    }
}

fn batch_operations(facts: &Facts) -> Check {
    let check =
        ok("batch-operations", "to drain a whole map with a few calls (5.6)", works(facts.batch_operations));
    needs_kernel(check, facts.batch_operations)
}

fn ring_buffer(facts: &Facts) -> Check {
    let check = ok(
        "ring-buffer",
        "BPF programs report new processes and stacks through one (5.8)",
        works(facts.ring_buffer),
    );
    needs_kernel(check, facts.ring_buffer)
}

/// A failure that a newer kernel mends, unless bpf(2) does not work at all.
fn needs_kernel(check: Check, attempt: Attempt) -> Check {
    match attempt {
        Ok(()) => check,
        Err(libc::EPERM | libc::ENOSYS) => check.problem(Status::Fail, "mend what the check `bpf` says"),
        Err(_) => check.problem(Status::Fail, "kernel 5.10 or later"),
    }
}

fn raw_tracepoint(facts: &Facts) -> Check {
    let check = ok(
        "raw-tracepoint",
        "to follow a command's children and to notice execs and exits at once",
        works(facts.raw_tracepoint),
    );
    match facts.raw_tracepoint {
        Ok(()) => check,
        Err(libc::EPERM) => check.problem(Status::Warn, "run as root or with CAP_PERFMON and CAP_BPF"),
        Err(_) => check.problem(Status::Warn, "a kernel with CONFIG_TRACEPOINTS and CONFIG_BPF_EVENTS"),
    }
}

fn user_reads(facts: &Facts) -> Check {
    let check = |found| ok("user-memory", "stacks are read from it on every tick", found);
    match facts.user_reads {
        UserReads::Safe => check("reading it takes no lock"),
        UserReads::MayFreeze => check("reading it takes a lock that the interrupted code may hold: the machine can freeze")
            .problem(
                Status::Fail,
                "a kernel with \"mm: Fix copy_from_user_nofault()\": Linux 6.1.36, 6.3.10, 6.4 or later, or 5.17 or earlier",
            ),
        UserReads::Unknown => check("the kernel's code cannot be looked at"),
    }
}

fn btf(facts: &Facts) -> Check {
    const NAME: &str = "btf";
    const WHY: &str = "gives the places of the kernel's fields, such as a task's registers";
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    if facts.btf {
        ok(NAME, WHY, PATH)
    } else {
        ok(NAME, WHY, format!("no {PATH}"))
            .problem(Status::Fail, "a kernel with CONFIG_DEBUG_INFO_BTF, and /sys mounted")
    }
}

fn jit(facts: &Facts) -> Check {
    const NAME: &str = "bpf-jit";
    const WHY: &str = "without it a sample costs several times as much";
    match facts.bpf_jit_enable {
        Some(0) => ok(NAME, WHY, "off").problem(Status::Warn, "sysctl net.core.bpf_jit_enable=1"),
        Some(_) => ok(NAME, WHY, "on"),
        // Absent in a container's own network namespace, and from kernels without the JIT.
        None => ok(NAME, WHY, "net.core.bpf_jit_enable is not visible here")
            .problem(Status::Warn, "on the host, see that sysctl net.core.bpf_jit_enable is 1"),
    }
}

fn kernel_symbols(facts: &Facts) -> Check {
    const NAME: &str = "kernel-symbols";
    const WHY: &str = "without addresses in /proc/kallsyms kernel frames have no names";
    match facts.kernel_symbols {
        KernelSymbols::Visible => ok(NAME, WHY, "addresses are shown"),
        KernelSymbols::Hidden => ok(NAME, WHY, "every address is zero")
            .problem(Status::Warn, "sysctl kernel.kptr_restrict=1 and run with CAP_SYSLOG"),
        KernelSymbols::Unreadable => ok(NAME, WHY, "/proc/kallsyms cannot be read or is empty")
            .problem(Status::Warn, "a kernel with CONFIG_KALLSYMS, and /proc mounted"),
    }
}

fn map_files(facts: &Facts) -> Check {
    let check =
        ok("map-files", "binaries that were deleted or replaced are read through it", works(facts.map_files));
    match facts.map_files {
        Ok(()) => check,
        Err(_) => check.problem(Status::Warn, "give CAP_CHECKPOINT_RESTORE (or CAP_SYS_ADMIN)"),
    }
}

fn urgency(facts: &Facts) -> Check {
    const WHY: &str = "so that short tasks come first on a host with more work than CPUs";
    if facts.urgency {
        ok("urgency", WHY, "threads may become urgent")
    } else {
        ok("urgency", WHY, "threads may not become urgent").problem(
            Status::Warn,
            "LimitNICE=-10 in a unit, ulimit -e 30, or give CAP_SYS_NICE; without it some stacks are incomplete when the \
             host is overloaded",
        )
    }
}

fn seccomp(facts: &Facts) -> Check {
    const WHY: &str = "once it runs, the agent is held to the system calls that it needs";
    if facts.seccomp {
        ok("seccomp", WHY, "filters work")
    } else {
        ok("seccomp", WHY, "no filters").problem(Status::Warn, "a kernel with CONFIG_SECCOMP_FILTER")
    }
}

fn landlock(facts: &Facts) -> Check {
    const WHY: &str = "once it runs, what reads other people's files can write to the agent's folders only";
    match facts.landlock {
        Some(abi) => ok("landlock", WHY, format!("version {abi}")),
        None => ok("landlock", WHY, "not there, or not in use").problem(
            Status::Warn,
            "a kernel with CONFIG_SECURITY_LANDLOCK (5.13 or later), and landlock in the boot parameter lsm= if there is one",
        ),
    }
}

fn online_cpus(facts: &Facts) -> Check {
    let check = |found: String| ok("cpus", "each gets its own sampling clock", found);
    match facts.online_cpus {
        Ok(count) => check(format!("{count} online")),
        Err(errno) => check(describe(errno)).problem(Status::Fail, "mount /sys"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::caps::CapabilitySet;
    use crate::sys::limits::Limit;

    fn good() -> Facts {
        Facts {
            kernel_release: Some("6.1.0-13-amd64".to_owned()),
            arch: "x86_64",
            capabilities: CapabilitySet::from_iter([
                Capability::SysAdmin,
                Capability::SysPtrace,
                Capability::DacReadSearch,
                Capability::Syslog,
            ]),
            perf_event_paranoid: Some(2),
            perf_event: Ok(()),
            map_create: Ok(()),
            lockdown: Some("integrity".to_owned()),
            btf: true,
            bpf_jit_enable: Some(1),
            memlock: Limit { soft: 8 << 20, hard: 8 << 20 },
            memlock_charged: false,
            batch_operations: Ok(()),
            ring_buffer: Ok(()),
            kernel_symbols: KernelSymbols::Visible,
            map_files: Ok(()),
            online_cpus: Ok(2),
            max_sample_rate: Some(100_000),
            cpu_time_max_percent: Some(25),
            raw_tracepoint: Ok(()),
            user_reads: UserReads::Safe,
            urgency: true,
            seccomp: true,
            landlock: Some(1),
        }
    }

    /// The checks that are not ok, with the start of their fix.
    fn problems(facts: &Facts) -> Vec<(&'static str, Status, String)> {
        judge(facts)
            .into_iter()
            .inspect(|check| assert_eq!(check.status == Status::Ok, check.fix.is_empty(), "{check:?}"))
            .filter(|check| check.status != Status::Ok)
            .map(|check| (check.name, check.status, check.fix))
            .collect()
    }

    fn check_one(change: impl FnOnce(&mut Facts), name: &str, status: Status, fix: &str) {
        let mut facts = good();
        change(&mut facts);
        let problems = problems(&facts);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let (is, got, text) = &problems[0];
        assert_eq!((*is, *got), (name, status));
        assert!(text.contains(fix), "{text:?} does not mention {fix:?}");
    }

    #[test]
    fn a_good_host_has_no_problems() {
        assert_eq!(problems(&good()), []);
        // Who may not see the kernel's addresses is told so by the check of its symbols.
        assert_eq!(problems(&Facts { user_reads: UserReads::Unknown, ..good() }), []);
    }

    #[test]
    fn each_lack_is_named_with_its_fix() {
        use Status::{Fail, Warn};
        check_one(|f| f.kernel_release = Some("5.4.0".to_owned()), "kernel", Warn, "upgrade");
        check_one(|f| f.perf_event = Err(libc::EACCES), "perf-event", Fail, "seccomp");
        check_one(|f| f.perf_event = Err(libc::EMFILE), "perf-event", Fail, "open files");
        check_one(|f| f.map_create = Err(libc::EPERM), "bpf", Fail, "seccomp");
        check_one(|f| f.map_create = Err(libc::ENOSYS), "bpf", Fail, "CONFIG_BPF_SYSCALL");
        check_one(
            |f| f.lockdown = Some("confidentiality".to_owned()),
            "lockdown",
            Fail,
            "lockdown=integrity",
        );
        check_one(|f| f.memlock_charged = true, "memlock", Fail, "ulimit -l");
        check_one(|f| f.batch_operations = Err(libc::EINVAL), "batch-operations", Fail, "5.10");
        check_one(|f| f.ring_buffer = Err(libc::EPERM), "ring-buffer", Fail, "`bpf`");
        check_one(|f| f.raw_tracepoint = Err(libc::ENOENT), "raw-tracepoint", Warn, "CONFIG_TRACEPOINTS");
        check_one(|f| f.user_reads = UserReads::MayFreeze, "user-memory", Fail, "6.1.36");
        check_one(|f| f.btf = false, "btf", Fail, "CONFIG_DEBUG_INFO_BTF");
        check_one(|f| f.bpf_jit_enable = Some(0), "bpf-jit", Warn, "bpf_jit_enable=1");
        check_one(|f| f.kernel_symbols = KernelSymbols::Hidden, "kernel-symbols", Warn, "kptr_restrict");
        check_one(|f| f.map_files = Err(libc::EPERM), "map-files", Warn, "CAP_CHECKPOINT_RESTORE");
        check_one(|f| f.online_cpus = Err(libc::ENOENT), "cpus", Fail, "/sys");
        check_one(|f| f.urgency = false, "urgency", Warn, "LimitNICE=-10");
        check_one(|f| f.seccomp = false, "seccomp", Warn, "CONFIG_SECCOMP_FILTER");
        check_one(|f| f.landlock = None, "landlock", Warn, "lsm=");
        check_one(|f| f.max_sample_rate = Some(200), "sample-rate", Warn, "-F 200");
        check_one(|f| f.max_sample_rate = Some(50), "sample-rate", Fail, "max_sample_rate");
    }

    #[test]
    fn a_locked_memory_limit_does_not_matter_to_who_may_raise_it() {
        let mut facts = Facts { memlock_charged: true, ..good() };
        facts.memlock = Limit { soft: 64 << 10, hard: libc::RLIM_INFINITY };
        assert_eq!(problems(&facts), []);
    }

    #[test]
    fn an_ordinary_user_is_told_to_be_root() {
        let facts = Facts {
            capabilities: CapabilitySet::default(),
            perf_event: Err(libc::EACCES),
            map_create: Err(libc::EPERM),
            ..good()
        };
        let problems = problems(&facts);
        let fix = |name| problems.iter().find(|problem| problem.0 == name).map(|problem| problem.2.as_str());
        assert!(fix("cap-bpf").is_some_and(|fix| fix.contains("run as root")));
        assert!(fix("perf-event").is_some_and(|fix| fix.contains("perf_event_paranoid is 2")));
        assert!(fix("bpf").is_some_and(|fix| fix.contains("CAP_BPF")));
    }

    #[test]
    fn debians_kernels_are_told_from_a_policy() {
        let six = CapabilitySet::from_iter([Capability::Bpf, Capability::Perfmon]);
        let refused = |paranoid| {
            let facts = Facts {
                capabilities: six,
                perf_event: Err(libc::EACCES),
                perf_event_paranoid: Some(paranoid),
                ..good()
            };
            let problems = problems(&facts);
            problems.into_iter().find(|problem| problem.0 == "perf-event").map(|problem| problem.2)
        };
        assert!(refused(3).is_some_and(|fix| fix.contains("perf_event_paranoid=2")));
        assert!(refused(2).is_some_and(|fix| fix.contains("policy")));
    }

    #[test]
    fn releases_of_all_shapes_have_a_version() {
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version("5.10"), Some((5, 10)));
        assert_eq!(version("7.0-rc1"), Some((7, 0)));
        assert_eq!(version("weird"), None);
    }
}
