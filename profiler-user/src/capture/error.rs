//! What can go wrong at start-up, as sentences with cause and fix.

use std::io;

use crate::sys::remedy::remedy;

/// Why capturing could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// bpf(2) or perf_event_open(2) was refused.
    #[error(
        "the kernel refused {what} ({source}): run as root, or give the profiler CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, \
         CAP_DAC_READ_SEARCH, CAP_SYSLOG and CAP_CHECKPOINT_RESTORE; `profiler doctor` shows which are missing, and what \
         else this kernel asks for"
    )]
    NotPermitted {
        /// What was refused.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// BPF maps are counted as locked memory, of which too little is allowed (before Linux 5.11).
    #[error(
        "the kernel refused to create a BPF map ({source}): it counts maps as locked memory, of which {kib} KiB are allowed; \
         raise the limit (`ulimit -l unlimited`, `LimitMEMLOCK=infinity` in a unit, `--ulimit memlock=-1` for docker)"
    )]
    LockedMemory {
        /// What is allowed, KiB.
        kib: u64,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel has no type information.
    #[error(
        "the kernel's type information cannot be read from /sys/kernel/btf/vmlinux ({0}): run a kernel that is built \
         with CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels since 5.10 are"
    )]
    NoBtf(io::Error),
    /// The kernel's type information lacks what is needed.
    #[error(
        "the kernel's type information has no usable {0}: this kernel is not supported, please report it with the output of `uname -r`"
    )]
    BtfField(&'static str),
    /// The BPF object could not be loaded.
    #[error(
        "the kernel did not take the BPF program {program} ({source}): {}",
        fix(source, "`-v` shows the verifier's reasons, `profiler doctor` what this kernel lacks")
    )]
    Load {
        /// Name of the program or map.
        program: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// A map could not be created for another reason than privilege.
    #[error(
        "the BPF map {map} cannot be created ({source}): {}",
        fix(source, "`profiler doctor` shows what this kernel lacks")
    )]
    Map {
        /// Its name.
        map: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The BPF object could not be read.
    #[error("the BPF object cannot be set up ({0}): `profiler doctor` shows what this kernel lacks")]
    Object(String),
    /// The measurement of the user registers' place found nothing.
    #[error(
        "the user registers of a thread were not found on its kernel stack: this kernel is not supported, please report it with the output of `uname -r`"
    )]
    NoUserRegisters,
    /// The kernel has a defect that a recording would run into.
    #[error(
        "on this kernel a tick that reads user memory can freeze the machine, for it waits for a lock that the interrupted code \
         may hold: run one with \"mm: Fix copy_from_user_nofault()\", which Linux 6.1.36, 6.3.10, 6.4 and later have"
    )]
    MayFreeze,
    /// A perf event could not be opened for another reason than privilege.
    #[error(
        "no cpu-clock event can be opened on CPU {cpu} ({source}): {}",
        fix(
            source,
            "perf events may be compiled out or limited by kernel.perf_event_max_sample_rate; `profiler doctor` shows more"
        )
    )]
    Event {
        /// The CPU.
        cpu: u32,
        /// The kernel's error.
        source: io::Error,
    },
    /// A system call failed that should not.
    #[error("{what} failed ({source}): {}", fix(source, "`profiler doctor` shows what this host lacks"))]
    System {
        /// What was tried.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
}

/// What helps: against what the system ran out of, or else in general.
fn fix(source: &io::Error, general: &'static str) -> &'static str {
    source.raw_os_error().and_then(remedy).unwrap_or(general)
}

impl Error {
    /// Wraps the error of a system call that should not fail.
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Whether the kernel said that the caller lacks the privilege.
pub(super) fn is_permission(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}
