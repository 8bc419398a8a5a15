//! The floor of the benchmarks: a program on the same event that only counts.
#![no_std]
#![no_main]

use aya_ebpf::{
    macros::{map, perf_event},
    maps::PerCpuArray,
    programs::PerfEventContext,
};

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

/// As in the profiler's object.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: nothing in here panics.
    unsafe { core::hint::unreachable_unchecked() }
}
