//! The kernel side of the profiler: entry points that wire BPF helpers to `profiler-common`.
//!
//! `on_tick` runs on every cpu-clock tick of every CPU, and goes on as `on_walk`, which walks the user stack and adds one
//! to (process, thread name, stack). The other programs run rarely: they follow the children of a command, and measure where user registers lie.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod announce;
mod arch;
mod deferral;
mod follow;
mod goroutine;
mod intern;
mod lateness;
mod maps;
mod measure;
mod memory;
mod pool;
mod sample;
mod task;
mod tick;
mod walk;

/// What the kernel is told of the licence: helpers that read kernel memory are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: nothing in here panics (overflow checks are off, indices are masked); a call that remained would make
    // the verifier refuse the program, so this is never reached.
    unsafe { core::hint::unreachable_unchecked() }
}
