//! The floors of the benchmarks: programs on the same event that only count, one of them by stack, which the kernel takes for it.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::BPF_F_USER_STACK,
    helpers::bpf_get_current_pid_tgid,
    macros::{map, perf_event},
    maps::{HashMap, PerCpuArray, StackTrace},
    programs::{PerfEventContext, tracing::StackIdContext},
};

/// As many as a window of the profiler's at a small rate.
const STACKS_OF_A_WINDOW: u32 = 16_384;

/// Ticks per CPU.
#[map]
static TICKS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Counts one tick.
#[perf_event]
pub fn floor(_ctx: PerfEventContext) -> u32 {
    if let Some(ticks) = TICKS.get_ptr_mut(0) {
        // SAFETY: the element belongs to this CPU, and ticks on one CPU do not nest.
        unsafe { *ticks += 1 };
    }
    0
}

/// User stacks by their hash.
#[map]
static STACKS: StackTrace = StackTrace::with_max_entries(STACKS_OF_A_WINDOW, 0);

/// Ticks by thread and stack.
#[map]
static COUNTS: HashMap<[u64; 2], u64> = HashMap::with_max_entries(STACKS_OF_A_WINDOW, 0);

/// Counts one tick by its thread and its user stack, which the kernel takes by frame pointers.
#[perf_event]
pub fn stacks(ctx: PerfEventContext) -> u32 {
    // A thread of the kernel has none, and a full table takes none.
    let stack = ctx.get_stackid(&STACKS, u64::from(BPF_F_USER_STACK)).unwrap_or(-1);
    let key = [bpf_get_current_pid_tgid(), stack as u64];
    match COUNTS.get_ptr_mut(key) {
        // SAFETY: the map gave a valid pointer. Of two CPUs that count at once one may be lost: this measures time.
        Some(count) => unsafe { *count += 1 },
        None => {
            let _ = COUNTS.insert(key, 1, 0);
        }
    }
    0
}

/// As in the profiler's object.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: nothing in here panics.
    unsafe { core::hint::unreachable_unchecked() }
}
