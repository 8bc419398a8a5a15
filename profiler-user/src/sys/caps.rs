//! capget(2): what this process may do.

use std::io;

use super::check;

/// A Linux capability that matters to the profiler; the values are those of `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Capability {
    /// Read files and folders whatever their permissions.
    DacReadSearch = 2,
    /// Read other users' /proc/PID/maps and memory.
    SysPtrace = 19,
    /// Almost everything; stands for `Bpf`, `Perfmon` and `CheckpointRestore`.
    SysAdmin = 21,
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
    /// The name that `capabilities(7)` uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
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
        let split_from_admin =
            matches!(capability, Capability::Bpf | Capability::Perfmon | Capability::CheckpointRestore);
        self.contains(capability) || split_from_admin && self.contains(Capability::SysAdmin)
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |set, capability| set | 1 << capability as u32))
    }
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`: 32 capabilities of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The effective capabilities of the calling thread.
///
/// # Errors
/// Only on a kernel without version 3 of the interface (before 2.6.26).
pub fn effective() -> io::Result<CapabilitySet> {
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: with version 3 the kernel reads one header and writes two `Data`, which both are what is passed; the header
    // may be rewritten with the kernel's version, which its type allows.
    check(unsafe { libc::syscall(libc::SYS_capget, std::ptr::from_mut(&mut header), data.as_mut_ptr()) })?;
    let [low, high] = data;
    Ok(CapabilitySet(u64::from(high.effective) << 32 | u64::from(low.effective)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_the_one_in_proc_status() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        assert_eq!(effective().unwrap().0, u64::from_str_radix(line.trim(), 16).unwrap());
    }

    #[test]
    fn sys_admin_stands_for_what_was_split_from_it() {
        let admin = CapabilitySet::from_iter([Capability::SysAdmin]);
        assert!(admin.grants(Capability::Bpf) && admin.grants(Capability::Perfmon));
        assert!(!admin.contains(Capability::Bpf));
        assert!(!admin.grants(Capability::SysPtrace) && !admin.grants(Capability::Syslog));
        let bpf = CapabilitySet::from_iter([Capability::Bpf]);
        assert!(bpf.grants(Capability::Bpf) && !bpf.grants(Capability::Perfmon));
    }
}
