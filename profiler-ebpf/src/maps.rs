//! Maps and the values that user space sets before loading.
//!
//! Sizes in here are placeholders: user space sets them from the number of CPUs, the frequency and the window.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use profiler_common::{
    layout::{CpuState, ProcessInfo, ProcessKey, SampleKey, Selected, StoredStack},
    stack::Block,
    unwind::{
        pool::{Element, MAX_RULES, ProcessTable},
        rule::Rule,
    },
};

/// BPF_F_MMAPABLE (uapi/linux/bpf.h): user space reads the array in place instead of by system calls.
const MMAPABLE: u32 = 1 << 10;

/// Element 0: the number of the current window. Its lowest bit is the bank that ticks count into.
#[map]
pub static CONTROL: Array<u64> = Array::with_max_entries(1, 0);

/// What each CPU keeps.
#[map]
pub static CPU_STATE: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// Samples per (process, thread name, stack), in windows with an even number.
#[map]
pub static COUNTS_0: HashMap<SampleKey, u64> = HashMap::with_max_entries(1, 0);

/// The same in windows with an odd number.
#[map]
pub static COUNTS_1: HashMap<SampleKey, u64> = HashMap::with_max_entries(1, 0);

/// From a stack's hash to the stack, in windows with an even number.
#[map]
pub static STACKS_0: HashMap<u64, StoredStack> = HashMap::with_max_entries(1, 0);

/// The same in windows with an odd number.
#[map]
pub static STACKS_1: HashMap<u64, StoredStack> = HashMap::with_max_entries(1, 0);

/// The stacks themselves: two banks, each with one part per CPU, so that taking room needs no atomic operation.
#[map]
pub static ARENA: Array<Block> = Array::with_max_entries(1, MMAPABLE);

/// Processes that have been announced. Least recently sampled ones make room for new ones.
#[map]
pub static PROCESSES: LruHashMap<ProcessKey, ProcessInfo> = LruHashMap::with_max_entries(1, 0);

/// What user space is told or asked for at once: [`FirstSight`](profiler_common::layout::FirstSight),
/// [`Announcement`](profiler_common::layout::Announcement),
/// [`UnknownPc`](profiler_common::layout::UnknownPc), [`PageWanted`](profiler_common::layout::PageWanted),
/// [`Deferred`](profiler_common::layout::Deferred).
#[map]
pub static MESSAGES: RingBuf = RingBuf::with_byte_size(1 << 22, 0);

/// The programs that `on_tick` goes on with: [`WALK`], [`COUNT`] and [`DEFER`].
#[map]
pub static PROGRAMS: ProgramArray = ProgramArray::with_max_entries(3, 0);
/// Place of `on_walk` in [`PROGRAMS`].
pub const WALK: u32 = 0;
/// Place of `on_count` in [`PROGRAMS`].
pub const COUNT: u32 = 1;
/// Place of `on_defer` in [`PROGRAMS`].
pub const DEFER: u32 = 2;

/// Unwind tables and mappings: see [`pool`](profiler_common::unwind::pool).
#[map]
pub static POOL: Array<Element> = Array::with_max_entries(1, MMAPABLE);

/// Element 0: all unwind rules.
#[map]
pub static RULES: Array<[Rule; MAX_RULES]> = Array::with_max_entries(1, MMAPABLE);

/// Where a process's mappings lie in the pool.
#[map]
pub static PROCESS_TABLES: HashMap<ProcessKey, ProcessTable> = HashMap::with_max_entries(1, 0);

/// The processes to sample, by pid, where `SELECT` is on.
#[map]
pub static SELECTED: HashMap<u32, Selected> = HashMap::with_max_entries(1, 0);

/// Chunks in one CPU's part of one bank.
#[unsafe(no_mangle)]
pub static CHUNKS_PER_CPU: Global<u32> = Global::new(0);

/// Number of parts in a bank: possible CPUs.
#[unsafe(no_mangle)]
pub static CPUS: Global<u32> = Global::new(0);

/// Nanoseconds between two ticks.
#[unsafe(no_mangle)]
pub static PERIOD_NS: Global<u64> = Global::new(0);

/// 1 where only processes in `SELECTED` are sampled.
#[unsafe(no_mangle)]
pub static SELECT: Global<u32> = Global::new(0);

/// Kept bits of a stack's hash; all but in tests, which force collisions with a small mask.
#[unsafe(no_mangle)]
pub static HASH_MASK: Global<u64> = Global::new(u64::MAX);

/// `task_struct.tgid`, as the following ones an offset in bytes.
#[unsafe(no_mangle)]
pub static TASK_TGID: Global<u32> = Global::new(0);
/// `task_struct.pid`.
#[unsafe(no_mangle)]
pub static TASK_PID: Global<u32> = Global::new(0);
/// `task_struct.flags`.
#[unsafe(no_mangle)]
pub static TASK_FLAGS: Global<u32> = Global::new(0);
/// `task_struct.mm`.
#[unsafe(no_mangle)]
pub static TASK_MM: Global<u32> = Global::new(0);
/// `task_struct.stack`.
#[unsafe(no_mangle)]
pub static TASK_STACK: Global<u32> = Global::new(0);
/// `task_struct.comm`.
#[unsafe(no_mangle)]
pub static TASK_COMM: Global<u32> = Global::new(0);
/// `task_struct.group_leader`.
#[unsafe(no_mangle)]
pub static TASK_GROUP_LEADER: Global<u32> = Global::new(0);
/// `task_struct.start_boottime`.
#[unsafe(no_mangle)]
pub static TASK_START_BOOTTIME: Global<u32> = Global::new(0);
/// `task_struct.self_exec_id`.
#[unsafe(no_mangle)]
pub static TASK_SELF_EXEC_ID: Global<u32> = Global::new(0);
/// `task_struct.parent_exec_id`; 0 where it is not known.
#[unsafe(no_mangle)]
pub static TASK_PARENT_EXEC_ID: Global<u32> = Global::new(0);
/// `task_struct.real_parent`; 0 where it is not known.
#[unsafe(no_mangle)]
pub static TASK_REAL_PARENT: Global<u32> = Global::new(0);
/// `task_struct.sas_ss_sp`.
#[unsafe(no_mangle)]
pub static TASK_SAS_SS_SP: Global<u32> = Global::new(0);
/// `task_struct.sas_ss_size`.
#[unsafe(no_mangle)]
pub static TASK_SAS_SS_SIZE: Global<u32> = Global::new(0);
/// The thread pointer in `task_struct`; 0 where it is not known.
#[unsafe(no_mangle)]
pub static TASK_THREAD_POINTER: Global<u32> = Global::new(0);
/// `task_struct.sched_info.last_arrival`; 0 where it is not known, or no clock to compare it with is.
#[unsafe(no_mangle)]
pub static TASK_LAST_ARRIVAL: Global<u32> = Global::new(0);
/// `task_struct.nivcsw`; 0 where it is not known.
#[unsafe(no_mangle)]
pub static TASK_NIVCSW: Global<u32> = Global::new(0);
/// `perf_event.hw.prev_count`; 0 where it is not known.
#[unsafe(no_mangle)]
pub static EVENT_CLOCK: Global<u32> = Global::new(0);
/// `mm_struct.start_stack`; 0 where it is not known.
#[unsafe(no_mangle)]
pub static MM_START_STACK: Global<u32> = Global::new(0);
/// `mm_struct.arg_start`; 0 where it is not known.
#[unsafe(no_mangle)]
pub static MM_ARG_START: Global<u32> = Global::new(0);
/// `mm_struct.end_code`; 0 where it is not known.
#[unsafe(no_mangle)]
pub static MM_END_CODE: Global<u32> = Global::new(0);
/// `mm_struct.exe_file`; 0 where it is not known.
#[unsafe(no_mangle)]
pub static MM_EXE_FILE: Global<u32> = Global::new(0);
/// Where the user registers lie above `task_struct.stack`.
#[unsafe(no_mangle)]
pub static USER_REGISTERS: Global<u32> = Global::new(0);
