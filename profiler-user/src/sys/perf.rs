//! perf_event_open(2) for software events: the sampling clock, and the side-band records of execs and mappings.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{check, owned_fd};

/// `PERF_TYPE_SOFTWARE`.
const TYPE_SOFTWARE: u32 = 1;

/// A software event; the values are `enum perf_sw_ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Software {
    /// A high-resolution timer that ticks while the CPU is not idle; the CPU's own clock.
    CpuClock = 0,
    /// Never fires; carries side-band records such as mmap and comm.
    Dummy = 9,
}

/// How often a sampling event fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Never: the event only counts.
    Off,
    /// This many times a second of its clock. The kernel refuses more than `perf_event_max_sample_rate`.
    Hertz(u64),
    /// Once every so many nanoseconds of its clock.
    Nanoseconds(u64),
}

/// Which tasks on which CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that runs on this CPU. Needs `CAP_PERFMON`, or `perf_event_paranoid` at 0 or below.
    Cpu(u32),
    /// The calling thread on whichever CPU it runs.
    ThisThread,
}

/// Bits of `struct perf_event_attr` after `read_format`, by their position.
pub mod flag {
    /// Starts switched off, until [`super::enable`].
    pub const DISABLED: u64 = 1 << 0;
    /// Inherited by children of the task.
    pub const INHERIT: u64 = 1 << 1;
    /// Does not count in user mode.
    pub const EXCLUDE_USER: u64 = 1 << 4;
    /// Does not count in the kernel.
    pub const EXCLUDE_KERNEL: u64 = 1 << 5;
    /// Does not count in the idle task.
    pub const EXCLUDE_IDLE: u64 = 1 << 7;
    /// Records executable mappings.
    pub const MMAP: u64 = 1 << 8;
    /// Records changes of a thread's name.
    pub const COMM: u64 = 1 << 9;
    /// The sample rate is a frequency, not a period. Set by [`super::Sampling::Hertz`].
    pub const FREQ: u64 = 1 << 10;
    /// Records fork and exit.
    pub const TASK: u64 = 1 << 13;
    /// `wakeup` is a byte count, not an event count.
    pub const WATERMARK: u64 = 1 << 14;
    /// Adds the sample's identity to every record.
    pub const SAMPLE_ID_ALL: u64 = 1 << 18;
    /// Records mappings with device, inode and protection.
    pub const MMAP2: u64 = 1 << 23;
    /// Marks the comm records that come from an exec.
    pub const COMM_EXEC: u64 = 1 << 24;
    /// Timestamps use the clock in `clock_id`.
    pub const USE_CLOCKID: u64 = 1 << 25;
    /// mmap2 records carry the build-id instead of device and inode (5.12).
    pub const BUILD_ID: u64 = 1 << 34;
}

/// Bits of `sample_type` (`PERF_SAMPLE_*`).
pub mod sample {
    /// The time; with [`super::flag::SAMPLE_ID_ALL`] alone it is the last eight bytes of every record.
    pub const TIME: u64 = 1 << 2;
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec {
    /// The event.
    pub event: Software,
    /// Its rate.
    pub sampling: Sampling,
    /// Bits of [`flag`].
    pub flags: u64,
    /// `PERF_SAMPLE_*` bits: what a record holds. Zero where a BPF program takes the sample instead.
    pub sample_type: u64,
    /// Events, or bytes with [`flag::WATERMARK`], after which a poller wakes.
    pub wakeup: u32,
    /// `CLOCK_*` with [`flag::USE_CLOCKID`], otherwise zero.
    pub clock_id: i32,
}

impl EventSpec {
    /// A cpu-clock that fires at this rate and stores no records, switched off until [`enable`]: for a BPF program.
    #[must_use]
    pub fn cpu_clock(sampling: Sampling) -> Self {
        Self {
            event: Software::CpuClock,
            sampling,
            flags: flag::DISABLED,
            sample_type: 0,
            wakeup: 0,
            clock_id: 0,
        }
    }

    /// An event that never fires and records the life of processes: exec, executable mappings, fork and exit. Every
    /// record ends with its time ([`sample::TIME`]) on CLOCK_BOOTTIME, which is the clock of a task's start time; the
    /// kernel allows it for software events (`perf_event_set_clock`), which never fire in an NMI.
    #[must_use]
    pub fn life(wakeup_bytes: u32) -> Self {
        Self {
            event: Software::Dummy,
            sampling: Sampling::Off,
            flags: flag::MMAP
                | flag::MMAP2
                | flag::COMM
                | flag::COMM_EXEC
                | flag::TASK
                | flag::SAMPLE_ID_ALL
                | flag::WATERMARK
                | flag::USE_CLOCKID,
            sample_type: sample::TIME,
            wakeup: wakeup_bytes,
            clock_id: libc::CLOCK_BOOTTIME,
        }
    }
}

/// `struct perf_event_attr` up to `PERF_ATTR_SIZE_VER5` (4.1): 112 bytes.
#[repr(C)]
#[derive(Default)]
struct Attr {
    type_: u32,
    size: u32,
    config: u64,
    sample_period_or_freq: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clock_id: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

/// Opens a perf event. It ends when the descriptor is closed; the descriptor is closed on exec.
///
/// # Errors
/// `EACCES` or `EPERM` without the privilege, `EINVAL` for a rate above the limit or a flag that the kernel does not know,
/// `ENODEV` for a CPU that is offline, `ENOSYS` on a kernel without perf events, `EMFILE`.
pub fn open(spec: &EventSpec, scope: Scope) -> io::Result<OwnedFd> {
    let (rate, freq) = match spec.sampling {
        Sampling::Off => (0, 0),
        Sampling::Hertz(hertz) => (hertz, flag::FREQ),
        Sampling::Nanoseconds(period) => (period, 0),
    };
    let attr = Attr {
        type_: TYPE_SOFTWARE,
        size: size_of::<Attr>() as u32,
        config: spec.event as u64,
        sample_period_or_freq: rate,
        sample_type: spec.sample_type,
        flags: spec.flags | freq,
        wakeup: spec.wakeup,
        clock_id: spec.clock_id,
        ..Attr::default()
    };
    let (pid, cpu): (libc::c_long, libc::c_long) = match scope {
        Scope::Cpu(cpu) => (-1, libc::c_long::from(cpu.cast_signed())),
        Scope::ThisThread => (0, -1),
    };
    const NO_GROUP: libc::c_long = -1;
    const FLAG_FD_CLOEXEC: libc::c_long = 8;
    // SAFETY: `attr` is a valid perf_event_attr of the size that it states, without padding, and is only read (the kernel
    // writes its own size into the `size` field on E2BIG, which happens only for sizes that it does not know: 112 is one
    // that every kernel since 4.1 knows). The other arguments are numbers.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            std::ptr::from_ref(&attr),
            pid,
            cpu,
            NO_GROUP,
            FLAG_FD_CLOEXEC,
        )
    };
    // SAFETY: perf_event_open returns a fresh descriptor or a negative value.
    unsafe { owned_fd(ret) }
}

/// `_IO('$', n)`.
const fn request(n: libc::c_ulong) -> libc::c_ulong {
    0x2400 | n
}

/// Switches an event on.
///
/// # Errors
/// `ENOTTY` when it is not a perf event.
pub fn enable(event: BorrowedFd<'_>) -> io::Result<()> {
    ioctl(event, request(0), 0)
}

/// Switches an event off.
///
/// # Errors
/// `ENOTTY` when it is not a perf event.
pub fn disable(event: BorrowedFd<'_>) -> io::Result<()> {
    ioctl(event, request(1), 0)
}

/// Attaches a loaded perf_event program; it stays attached until the event is closed.
///
/// # Errors
/// `EEXIST` when the event has one already, `EINVAL` for another type of program, `EPERM`.
pub fn set_bpf(event: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // PERF_EVENT_IOC_SET_BPF is _IOW('$', 8, __u32).
    ioctl(event, 0x4004_0000 | request(8), libc::c_long::from(program.as_raw_fd()))
}

fn ioctl(event: BorrowedFd<'_>, request: libc::c_ulong, argument: libc::c_long) -> io::Result<()> {
    // SAFETY: the requests used here take a number, not a pointer, so that no memory is touched; on a descriptor that is
    // no perf event they fail.
    check(unsafe { libc::syscall(libc::SYS_ioctl, event.as_raw_fd(), request, argument) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use super::super::bpf::{Instruction, ProgramType, prog_load};
    use super::*;

    fn count(event: &File) -> u64 {
        let mut bytes = [0; 8];
        let mut event: &File = event;
        event.read_exact(&mut bytes).unwrap();
        u64::from_ne_bytes(bytes)
    }

    #[test]
    fn the_attribute_has_a_size_that_the_kernel_knows() {
        assert_eq!(size_of::<Attr>(), 112);
    }

    #[test]
    fn a_cpu_clock_counts_once_it_is_enabled() {
        let event = open(&EventSpec::cpu_clock(Sampling::Off), Scope::ThisThread).unwrap();
        let spin = || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(20) {}
        };
        spin();
        let event = File::from(event);
        assert_eq!(count(&event), 0);
        enable(event.as_fd()).unwrap();
        spin();
        disable(event.as_fd()).unwrap();
        let counted = count(&event);
        assert!(counted > 1_000_000, "{counted} ns");
        spin();
        assert_eq!(count(&event), counted);
    }

    #[test]
    fn a_program_attaches_to_a_cpus_clock() {
        let event = open(&EventSpec::cpu_clock(Sampling::Hertz(99)), Scope::Cpu(0)).unwrap();
        let program =
            prog_load(ProgramType::PerfEvent, "probe", &[Instruction::return_value(0), Instruction::exit()])
                .unwrap();
        set_bpf(event.as_fd(), program.as_fd()).unwrap();
        enable(event.as_fd()).unwrap();
    }

    #[test]
    fn errors_keep_their_errno() {
        let absent = open(&EventSpec::cpu_clock(Sampling::Off), Scope::Cpu(1 << 20)).unwrap_err();
        assert!(matches!(absent.raw_os_error(), Some(libc::EINVAL | libc::ENODEV)), "{absent}");
        let too_fast = open(&EventSpec::cpu_clock(Sampling::Hertz(1 << 40)), Scope::ThisThread).unwrap_err();
        assert_eq!(too_fast.raw_os_error(), Some(libc::EINVAL));
        let file = File::open("/dev/null").unwrap();
        assert_eq!(enable(file.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
