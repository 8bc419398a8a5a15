//! bpf(2): creating maps, loading small programs, attaching to raw tracepoints.
//!
//! The layouts and numbers are those of the kernel's `include/uapi/linux/bpf.h`, which is a stable interface. Each
//! command gets its own struct, as long as the fields that are used here: the kernel takes a shorter `bpf_attr` and reads
//! the rest as zero.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::owned_fd;

/// `enum bpf_cmd`.
#[derive(Clone, Copy)]
#[repr(i64)]
pub(super) enum Command {
    MapCreate = 0,
    MapLookupElem = 1,
    MapUpdateElem = 2,
    MapDeleteElem = 3,
    MapGetNextKey = 4,
    ProgLoad = 5,
    ProgTestRun = 10,
    ObjGetInfoByFd = 15,
    RawTracepointOpen = 17,
    MapLookupAndDeleteBatch = 25,
}

/// Issues bpf(2). The result is the call's: negative with errno set on failure.
///
/// # Safety
/// `A` is the kernel's layout of `command`'s part of `union bpf_attr` without padding bytes, and every pointer in `attr`
/// refers to memory that is valid for what the kernel reads or writes there during the call.
pub(super) unsafe fn bpf<A>(command: Command, attr: &mut A) -> libc::c_long {
    // SAFETY: `attr` is a live exclusive reference of the size that is passed along, and the kernel accesses nothing
    // else but what the pointers in it refer to, which the caller vouches for.
    unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, std::ptr::from_mut(attr), size_of::<A>()) }
}

/// The map types that the profiler creates or probes for; the values are `enum bpf_map_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MapType {
    /// Key to value. Preallocated unless [`NO_PREALLOC`] is set.
    Hash = 1,
    /// Index to value.
    Array = 2,
    /// Key to one value per possible CPU.
    PerCpuHash = 5,
    /// Index to one value per possible CPU.
    PerCpuArray = 6,
    /// A hash that evicts its least recently used entry when full.
    LruHash = 9,
    /// Longest prefix match.
    LpmTrie = 11,
    /// Variable-length records to user space (5.8). Key and value size are zero, the entries a power-of-two byte count.
    RingBuf = 27,
}

/// `BPF_F_NO_PREALLOC`: entries of a hash are allocated as they are inserted.
pub const NO_PREALLOC: u32 = 1;
/// `BPF_F_MMAPABLE`: an array that user space can map (5.5).
pub const MMAPABLE: u32 = 1 << 10;
/// `BPF_F_INNER_MAP`: an inner array whose length may differ from its siblings' (5.10).
pub const INNER_MAP: u32 = 1 << 12;

/// What a new map looks like.
#[derive(Clone, Copy, Debug)]
pub struct MapSpec<'a> {
    /// Its type.
    pub map_type: MapType,
    /// Bytes per key.
    pub key_size: u32,
    /// Bytes per value, on one CPU for per-CPU types.
    pub value_size: u32,
    /// Most entries it can hold; for a ring buffer its size in bytes.
    pub max_entries: u32,
    /// `BPF_F_*` bits.
    pub flags: u32,
    /// The name that bpftool shows, of letters, digits, `_` and `.`; cut after 15 bytes.
    pub name: &'a str,
}

/// The `BPF_MAP_CREATE` part of `union bpf_attr`, up to `map_name`.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

/// Creates a map, which lives for as long as its descriptor or a program that uses it.
///
/// # Errors
/// `EPERM` without the capability or, before 5.11, above `RLIMIT_MEMLOCK`; `EINVAL` for a type or flag that the kernel
/// does not know; `ENOMEM`.
pub fn map_create(spec: &MapSpec<'_>) -> io::Result<OwnedFd> {
    let mut attr = MapCreate {
        map_type: spec.map_type as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        map_flags: spec.flags,
        inner_map_fd: 0,
        numa_node: 0,
        map_name: object_name(spec.name),
    };
    // SAFETY: `MapCreate` is eleven u32 in size without padding and holds no pointer.
    let ret = unsafe { bpf(Command::MapCreate, &mut attr) };
    // SAFETY: BPF_MAP_CREATE returns a fresh descriptor or a negative value.
    unsafe { owned_fd(ret) }
}

/// A name as the kernel wants it: at most 15 bytes and a terminating zero.
fn object_name(name: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    out
}

/// The program types that probes load; the values are `enum bpf_prog_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProgramType {
    /// Filters a socket's packets; the type that every general helper is open to.
    SocketFilter = 1,
    /// Runs on a perf event's overflow.
    PerfEvent = 7,
    /// Runs at a tracepoint with its raw arguments.
    RawTracepoint = 17,
}

/// One instruction, encoded as the kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Instruction(u64);

impl Instruction {
    /// `r0 = value`.
    #[must_use]
    pub const fn return_value(value: i32) -> Self {
        Self::new(0xb7, value)
    }

    /// `register = value`.
    #[must_use]
    pub const fn set(register: u8, value: i32) -> Self {
        Self::with_registers(0xb7, register, value)
    }

    /// `register = value`, of 64 bits, which takes the place of two.
    #[must_use]
    pub const fn set_wide(register: u8, value: u64) -> [Self; 2] {
        let (low, high) = (value as u32, (value >> 32) as u32);
        [Self::with_registers(0x18, register, low.cast_signed()), Self::new(0, high.cast_signed())]
    }

    /// `register` = address of the first value of the array map with this descriptor (BPF_PSEUDO_MAP_VALUE, 5.2).
    #[must_use]
    pub const fn set_map_value(register: u8, map: i32) -> [Self; 2] {
        const MAP_VALUE: u8 = 2;
        [Self::with_registers(0x18, MAP_VALUE << 4 | register, map), Self::new(0, 0)]
    }

    /// Calls the kernel helper with this number in `enum bpf_func_id`; its result is in r0.
    #[must_use]
    pub const fn call(helper: i32) -> Self {
        Self::new(0x85, helper)
    }

    /// Leaves the program with r0.
    #[must_use]
    pub const fn exit() -> Self {
        Self::new(0x95, 0)
    }

    /// `struct bpf_insn`: opcode, two registers, offset, immediate, in memory order.
    const fn new(opcode: u8, immediate: i32) -> Self {
        Self::with_registers(opcode, 0, immediate)
    }

    /// Likewise, with the source register in the upper half of `registers` and the destination in the lower.
    const fn with_registers(opcode: u8, registers: u8, immediate: i32) -> Self {
        let [a, b, c, d] = immediate.to_ne_bytes();
        Self(u64::from_ne_bytes([opcode, registers, 0, 0, a, b, c, d]))
    }
}

/// The `BPF_PROG_LOAD` part of `union bpf_attr`, up to `prog_name`.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// Loads a program under the licence "GPL", without a verifier log: for probes of a few instructions. The real programs
/// go through aya.
///
/// # Errors
/// `EPERM` without the capability, `EINVAL` or `EACCES` when the verifier rejects it, for instance over an unknown helper.
pub fn prog_load(prog_type: ProgramType, name: &str, instructions: &[Instruction]) -> io::Result<OwnedFd> {
    const LICENSE: &CStr = c"GPL";
    let mut attr = ProgLoad {
        prog_type: prog_type as u32,
        insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        insns: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: object_name(name),
    };
    // SAFETY: `ProgLoad` has no padding: its u64 fields lie at multiples of eight and its size is one. `insns` points to
    // `insn_cnt` instructions and `license` to a terminated string; both outlive the call, and both are only read.
    let ret = unsafe { bpf(Command::ProgLoad, &mut attr) };
    // SAFETY: BPF_PROG_LOAD returns a fresh descriptor or a negative value.
    unsafe { owned_fd(ret) }
}

/// The `BPF_PROG_TEST_RUN` part of `union bpf_attr`, up to `cpu`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
}

/// Runs a raw tracepoint program once, in this thread (5.10). Gives what it returns. `arguments` are made of the address that
/// the kernel gets its orders at, and does not change while the program runs.
///
/// # Errors
/// `EINVAL` for a program that looks at more arguments, and on older kernels; `EPERM`.
pub fn run_once<const N: usize>(
    program: BorrowedFd<'_>,
    arguments: impl FnOnce(u64) -> [u64; N],
) -> io::Result<u32> {
    let mut attr = Box::new(TestRun { prog_fd: program.as_raw_fd().cast_unsigned(), ..TestRun::default() });
    let arguments = arguments(std::ptr::from_ref(&*attr) as u64);
    if N > 0 {
        attr.ctx_in = arguments.as_ptr() as u64;
        attr.ctx_size_in = size_of_val(&arguments) as u32;
    }
    // SAFETY: the layout is the kernel's, without padding; `ctx_in` points to `ctx_size_in` readable bytes, which outlive the
    // call, and no output buffer is named.
    if unsafe { bpf(Command::ProgTestRun, &mut *attr) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(attr.retval)
}

/// The `BPF_RAW_TRACEPOINT_OPEN` part of `union bpf_attr`.
#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    padding: u32,
}

/// Attaches a raw tracepoint program to the tracepoint of that name; it stays attached until the descriptor is closed.
///
/// # Errors
/// `ENOENT` when the kernel has no such tracepoint, `EINVAL` for another type of program, `EPERM`.
pub fn raw_tracepoint_open(name: &CStr, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = RawTracepointOpen {
        name: name.as_ptr() as u64,
        prog_fd: program.as_raw_fd().cast_unsigned(),
        padding: 0,
    };
    // SAFETY: the layout is the kernel's with its tail padding spelled out; `name` is a terminated string that outlives
    // the call and is only read.
    let ret = unsafe { bpf(Command::RawTracepointOpen, &mut attr) };
    // SAFETY: BPF_RAW_TRACEPOINT_OPEN returns a fresh descriptor or a negative value.
    unsafe { owned_fd(ret) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn instructions_are_encoded_as_struct_bpf_insn() {
        assert_eq!(Instruction::return_value(1).0.to_ne_bytes(), [0xb7, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(Instruction::call(160).0.to_ne_bytes(), [0x85, 0, 0, 0, 160, 0, 0, 0]);
        assert_eq!(Instruction::exit().0.to_ne_bytes(), [0x95, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Instruction::set(2, 3).0.to_ne_bytes(), [0xb7, 2, 0, 0, 3, 0, 0, 0]);
        let wide = Instruction::set_wide(3, 0x1122_3344_5566_7788).map(|slot| slot.0.to_ne_bytes());
        assert_eq!(wide, [[0x18, 3, 0, 0, 0x88, 0x77, 0x66, 0x55], [0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11]]);
    }

    #[test]
    fn long_names_keep_their_terminator() {
        assert_eq!(&object_name("abcdefghijklmnopqrs"), b"abcdefghijklmno\0");
    }

    #[test]
    fn a_program_loads_and_attaches_to_a_raw_tracepoint() {
        let code = [Instruction::return_value(0), Instruction::exit()];
        let program = prog_load(ProgramType::RawTracepoint, "probe", &code).unwrap();
        raw_tracepoint_open(c"sched_process_exec", program.as_fd()).unwrap();
        let error = raw_tracepoint_open(c"no_such_tracepoint", program.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn an_unknown_helper_is_refused() {
        let code = [Instruction::call(i32::MAX), Instruction::exit()];
        let error = prog_load(ProgramType::PerfEvent, "probe", &code).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
