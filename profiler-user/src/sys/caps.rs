//! capget(2), capset(2) and what of prctl(2) belongs to them: what a thread may do, and giving it up.
//!
//! On Linux capabilities belong to a thread; those that it starts later inherit what it has then.

use std::{fmt, io};

use super::check;

/// A Linux capability that matters to the profiler; the values are those of `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Capability {
    /// Read and write files whatever their permissions.
    DacOverride = 1,
    /// Read files and folders whatever their permissions.
    DacReadSearch = 2,
    /// Listen at ports below 1024.
    NetBindService = 10,
    /// Read other users' /proc/PID/maps and memory.
    SysPtrace = 19,
    /// Almost everything; stands for `Bpf`, `Perfmon` and `CheckpointRestore`.
    SysAdmin = 21,
    /// Be more urgent than others.
    SysNice = 23,
    /// Raise resource limits.
    SysResource = 24,
    /// See kernel addresses.
    Syslog = 34,
    /// Use perf events on all processes, and tracing programs (5.8).
    Perfmon = 38,
    /// Create maps and load programs (5.8).
    Bpf = 39,
    /// Open /proc/PID/map_files (5.9).
    CheckpointRestore = 40,
}

impl Capability {
    /// All of them.
    const ALL: [Self; 11] = [
        Self::DacOverride,
        Self::DacReadSearch,
        Self::NetBindService,
        Self::SysPtrace,
        Self::SysAdmin,
        Self::SysNice,
        Self::SysResource,
        Self::Syslog,
        Self::Perfmon,
        Self::Bpf,
        Self::CheckpointRestore,
    ];

    /// The name that `capabilities(7)` uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::NetBindService => "CAP_NET_BIND_SERVICE",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysNice => "CAP_SYS_NICE",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::Syslog => "CAP_SYSLOG",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
            Self::CheckpointRestore => "CAP_CHECKPOINT_RESTORE",
        }
    }
}

/// A set of capabilities, as the kernel's bit mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// Whether the set contains this capability itself, regardless of what stands for it.
    #[must_use]
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u32) != 0
    }

    /// Whether the kernel grants what this capability is for: by itself, or by the `CAP_SYS_ADMIN` that it was split
    /// out of.
    #[must_use]
    pub fn grants(self, capability: Capability) -> bool {
        self.contains(capability) || split_from_admin(capability) && self.contains(Capability::SysAdmin)
    }

    /// What of this set grants these: each by itself, or the `CAP_SYS_ADMIN` that stands for it where it is not there.
    #[must_use]
    pub fn granting(self, wanted: &[Capability]) -> Self {
        let each = wanted.iter().filter_map(|&capability| {
            if self.contains(capability) {
                Some(capability)
            } else {
                self.grants(capability).then_some(Capability::SysAdmin)
            }
        });
        each.collect()
    }

    /// The set with this one in it, too.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u32)
    }

    /// The set without this one.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability as u32))
    }

    /// What is in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Display for CapabilitySet {
    /// The names, and the mask of what has no name here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Capability::ALL.into_iter().filter(|&capability| self.contains(capability));
        let mut words: Vec<String> = named.clone().map(|capability| capability.name().to_owned()).collect();
        let rest = self.0 & !named.collect::<Self>().0;
        if rest != 0 {
            words.push(format!("{rest:#x}"));
        }
        f.write_str(if words.is_empty() { "none" } else { "" })?;
        f.write_str(&words.join(" "))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::default(), Self::with)
    }
}

/// Whether `CAP_SYS_ADMIN` stands for it, too.
fn split_from_admin(capability: Capability) -> bool {
    matches!(capability, Capability::Bpf | Capability::Perfmon | Capability::CheckpointRestore)
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// Version 3 of the interface (2.6.26); the calling thread.
const OWN: Header = Header { version: 0x2008_0522, pid: 0 };

/// `struct __user_cap_data_struct`: 32 capabilities of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn get() -> io::Result<[Data; 2]> {
    let mut header = OWN;
    let mut data = [Data::default(); 2];
    // SAFETY: with version 3 the kernel reads one header and writes two `Data`, which both are what is passed; the header
    // may be rewritten with the kernel's version, which its type allows.
    check(unsafe { libc::syscall(libc::SYS_capget, std::ptr::from_mut(&mut header), data.as_mut_ptr()) })?;
    Ok(data)
}

fn joined(low: u32, high: u32) -> CapabilitySet {
    CapabilitySet(u64::from(high) << 32 | u64::from(low))
}

/// The effective capabilities of the calling thread.
///
/// # Errors
/// Only on a kernel without version 3 of the interface (before 2.6.26).
pub fn effective() -> io::Result<CapabilitySet> {
    get().map(|[low, high]| joined(low.effective, high.effective))
}

/// What the calling thread may make effective.
///
/// # Errors
/// As [`effective`].
pub fn permitted() -> io::Result<CapabilitySet> {
    get().map(|[low, high]| joined(low.permitted, high.permitted))
}

/// Sets what is effective in the calling thread, of what is permitted, for a while.
///
/// # Errors
/// `EPERM` where more is wanted than is permitted.
pub fn set_effective(wanted: CapabilitySet) -> io::Result<()> {
    let data = get()?;
    set([
        Data { effective: wanted.0 as u32, ..data[0] },
        Data { effective: (wanted.0 >> 32) as u32, ..data[1] },
    ])
}

/// Leaves the calling thread nothing but what of these it has, for good; nothing is inheritable or ambient any more. Gives
/// what is left.
///
/// # Errors
/// None are known: capabilities may always be given up.
pub fn keep_only(wanted: CapabilitySet) -> io::Result<CapabilitySet> {
    let left = permitted()?.and(wanted);
    let part = |bits: u32| Data { effective: bits, permitted: bits, inheritable: 0 };
    // What is not inheritable is not ambient, either (capabilities(7)).
    set([part(left.0 as u32), part((left.0 >> 32) as u32)])?;
    Ok(left)
}

fn set(data: [Data; 2]) -> io::Result<()> {
    let mut header = OWN;
    // SAFETY: with version 3 the kernel reads one header and two `Data`, which both are what is passed; of the header it may
    // write the version.
    check(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_mut(&mut header), data.as_ptr()) })
}

/// Empties the calling thread's bounding set: no program that it might run gets a capability any more, whoever owns the file.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn empty_bounding_set() -> io::Result<()> {
    for number in 0..64 {
        // SAFETY: numbers only.
        let ret = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number as libc::c_ulong, 0, 0, 0) };
        if ret < 0 {
            let error = io::Error::last_os_error();
            // The kernel knows no more of them.
            let end = error.raw_os_error() == Some(libc::EINVAL) && number > 0;
            return if end { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

/// From now on no program that the calling thread runs gets more than it has: bits of files for users, groups and
/// capabilities do not count (3.5).
///
/// # Errors
/// None are known.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the calling thread's status.
    fn status(key: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
    }

    #[test]
    fn the_masks_are_those_in_proc_status() {
        assert_eq!(effective().unwrap().0, status("CapEff"));
        assert_eq!(permitted().unwrap().0, status("CapPrm"));
    }

    #[test]
    fn sys_admin_stands_for_what_was_split_from_it() {
        let admin = CapabilitySet::from_iter([Capability::SysAdmin]);
        assert!(admin.grants(Capability::Bpf) && admin.grants(Capability::Perfmon));
        assert!(!admin.contains(Capability::Bpf));
        assert!(!admin.grants(Capability::SysPtrace) && !admin.grants(Capability::Syslog));
        let bpf = CapabilitySet::from_iter([Capability::Bpf]);
        assert!(bpf.grants(Capability::Bpf) && !bpf.grants(Capability::Perfmon));
        let wanted = [Capability::Bpf, Capability::SysPtrace];
        assert_eq!(admin.granting(&wanted), admin);
        assert_eq!(
            bpf.with(Capability::SysAdmin).granting(&wanted),
            bpf,
            "the smaller one where it is there"
        );
    }

    #[test]
    fn sets_are_told_by_name() {
        let set = CapabilitySet::from_iter([Capability::Bpf, Capability::DacReadSearch]);
        assert_eq!(set.to_string(), "CAP_DAC_READ_SEARCH CAP_BPF");
        assert_eq!(CapabilitySet(1 << 5).to_string(), "0x20");
        assert_eq!(CapabilitySet::default().to_string(), "none");
    }

    #[test]
    fn a_thread_gives_up_what_it_has_and_no_other_does() {
        let before = status("CapPrm");
        let after = std::thread::spawn(|| {
            empty_bounding_set().unwrap();
            no_new_privileges().unwrap();
            let kept = keep_only(CapabilitySet::from_iter([Capability::DacReadSearch])).unwrap();
            assert_eq!(kept.0, 1 << 2, "the tests run as root");
            // Lost is lost.
            assert_eq!(keep_only(CapabilitySet(u64::MAX)).unwrap(), kept);
            ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"].map(status)
        });
        assert_eq!(after.join().unwrap(), [0, 4, 4, 0, 0, 1]);
        assert_eq!(status("CapPrm"), before);
    }

    #[test]
    fn what_is_not_effective_can_become_so_again() {
        let checked = std::thread::spawn(|| {
            let all = permitted().unwrap();
            set_effective(all.without(Capability::DacOverride)).unwrap();
            assert!(!effective().unwrap().contains(Capability::DacOverride));
            assert!(permitted().unwrap().contains(Capability::DacOverride), "the tests run as root");
            set_effective(all).unwrap();
            assert_eq!(effective().unwrap(), all);
        });
        checked.join().unwrap();
    }
}
