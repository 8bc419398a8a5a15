//! Passing a sample on to user space, whose tables will be there a moment later.
//!
//! The first samples of a process, of a page of code and of a library that was just loaded come before their rules are
//! in the kernel. They are copied out with the memory of their stacks, so that they end as complete as all others.

use aya_ebpf::{
    cty::c_void,
    helpers::{
        bpf_get_current_comm,
        generated::{bpf_loop, bpf_probe_read_user},
    },
    macros::perf_event,
    programs::PerfEventContext,
};
use profiler_common::{
    layout::{
        CpuState, DEFERRED_PAGE_BYTES, DEFERRED_PAGES, DEFERRED_PART, DEFERRED_STACKS, Deferred, MAX_DEFERRED,
    },
    outcome::Outcome,
    stack::MAX_KERNEL_FRAMES,
    unwind::{Architecture, GENERAL, Native, pool::process_flags},
};

use crate::{
    arch, goroutine, maps,
    memory::read_user,
    sample,
    task::Task,
    walk::{hide, masked, restart, reveal},
};

/// Copies a sample out, or goes back to walking it by frame pointers where there is no room.
#[perf_event]
pub fn on_defer(ctx: PerfEventContext) -> u32 {
    defer::<true>(&ctx)
}

/// What `on_defer` does, in the place of it on kernels that have no bpf_loop: a stack ends where its first gap is.
#[perf_event]
pub fn on_defer_to_gap(ctx: PerfEventContext) -> u32 {
    defer::<false>(&ctx)
}

#[inline(always)]
fn defer<const GAPS: bool>(ctx: &PerfEventContext) -> u32 {
    let Some(state) = maps::CPU_STATE.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the element belongs to this CPU, and ticks on one CPU do not nest (bpf_prog_active).
    let state = unsafe { &mut *state };
    if state.deferred < MAX_DEFERRED {
        find_stacks(state);
        let bytes = bytes_to_end(state);
        let is_small = (bytes <= holds(SMALL) && has_no_gap(bytes, state))
            || (bytes > LARGE as u64 && fits(SMALL, state));
        let deferred = if is_small {
            copy_out::<SMALL, GAPS>(state)
        } else {
            // Two pages less, for where there are gaps (`Stacks::first_page`).
            let is_medium = bytes <= MEDIUM as u64 - 2 * DEFERRED_PAGE_BYTES
                || (bytes > LARGE as u64 && fits(MEDIUM, state));
            // A part of the stack is better than none.
            (!is_medium && !is_shallow(state) && copy_out::<LARGE, GAPS>(state))
                || copy_out::<MEDIUM, GAPS>(state)
        };
        if deferred {
            state.deferred += 1;
            sample::count(state, state.epoch, Outcome::Deferred, 1);
            return 0;
        }
    }
    restart(state);
    sample::go_on(ctx, state, maps::WALK)
}

const SMALL: usize = DEFERRED_STACKS[0];
const MEDIUM: usize = DEFERRED_STACKS[1];
const LARGE: usize = DEFERRED_STACKS[2];

/// The most bytes of a stack that a copy of this size has: it is made of halves down to the smallest part, each of them once.
const fn holds(size: usize) -> u64 {
    (size - DEFERRED_PART) as u64
}

/// Finds which stacks the thread has: a handler on an alternate stack has interrupted what is on the ordinary one.
#[inline(always)]
fn find_stacks(state: &mut CpuState) {
    let sp = state.registers[usize::from(Native::SP)];
    hide(&mut state.stacks.alternate_bytes, 0);
    hide(&mut state.stacks.ordinary, sp);
    if read_user::<u8>(sp).is_none() {
        // The thread is about to write to a page of its stack for the first time: its frames lie above.
        hide(&mut state.stacks.ordinary, (sp | (arch::PAGE_BYTES - 1)).wrapping_add(1));
    }
    hide(&mut state.stack_end, 0);
    let (start, size) = Task::current().alternate_stack();
    if sp.wrapping_sub(start) >= size {
        goroutine::find_stacks(state, sp);
        return;
    }
    arch::find_interrupted_sp(start, size, &mut state.stacks.ordinary);
    if reveal(&state.stacks.ordinary) == 0 {
        hide(&mut state.stacks.ordinary, sp);
        return;
    }
    set_alternate(state, sp, start.wrapping_add(size));
}

/// Has the stack from `start` to `end` copied as the alternate one.
#[inline(always)]
pub fn set_alternate(state: &mut CpuState, start: u64, end: u64) {
    const PART: u64 = DEFERRED_PART as u64;
    // Up to its very end: what is behind it may be no memory.
    let bytes = end.wrapping_sub(start).wrapping_add(PART - 1) & !(PART - 1);
    hide(&mut state.stacks.alternate, end.wrapping_sub(bytes));
    hide(&mut state.stacks.alternate_bytes, bytes);
}

/// The most bytes that the stacks can have, as far as the kernel or the program knows where they end.
#[inline(always)]
fn bytes_to_end(state: &CpuState) -> u64 {
    let start = reveal(&state.stacks.ordinary);
    let ordinary = match reveal(&state.stack_end) {
        0 => {
            let [first, second] = Task::current().stack_ends().map(|end| end.wrapping_sub(start));
            // What lies below the stack pointer is very far away.
            first.min(second)
        }
        end => end.wrapping_sub(start),
    };
    ordinary.saturating_add(reveal(&state.stacks.alternate_bytes))
}

/// Whether a small copy of so many bytes has all pages of the ordinary stack: there is no room for pages behind a gap in it.
#[inline(always)]
fn has_no_gap(bytes: u64, state: &CpuState) -> bool {
    let start = reveal(&state.stacks.ordinary);
    let last = bytes.wrapping_sub(reveal(&state.stacks.alternate_bytes)).wrapping_sub(1);
    let next = last.min(arch::PAGE_BYTES);
    read_user::<u8>(start.wrapping_add(next)).is_some() && read_user::<u8>(start.wrapping_add(last)).is_some()
}

/// Whether a copy of this size holds the stacks, as far as can be seen: there is no memory behind them. One page that is missing may
/// be that of a variable that was not written to yet, so that farther ones are tried.
#[inline(always)]
fn fits(size: usize, state: &CpuState) -> bool {
    let alternate = reveal(&state.stacks.alternate_bytes);
    let mut behind = holds(size);
    while behind <= LARGE as u64 / 2 {
        let end = reveal(&state.stacks.ordinary).wrapping_add(behind).wrapping_sub(alternate);
        if read_user::<u8>(end).is_some() {
            return false;
        }
        behind *= 2;
    }
    alternate <= holds(size)
}

/// Whether the process's stacks are known to be less deep than they look.
#[inline(always)]
fn is_shallow(state: &CpuState) -> bool {
    // SAFETY: an entry that is replaced meanwhile stays readable until the program ends.
    unsafe { maps::PROCESS_TABLES.get(state.process) }
        .is_some_and(|table| table.flags & process_flags::SHALLOW != 0)
}

/// Copies the sample out with so much of its stack; `false` where the ring buffer has no room.
#[inline(always)]
fn copy_out<const STACK: usize, const GAPS: bool>(state: &CpuState) -> bool {
    let Some(mut entry) = maps::MESSAGES.reserve::<Deferred<STACK>>(0) else {
        return false;
    };
    // SAFETY: all of the entry is written below, or counted out by `kernel_frames` and `stack_bytes`; no reference to
    // what is not written yet is kept.
    let deferred = unsafe { &mut *entry.as_mut_ptr() };
    fill(deferred, state);
    if GAPS {
        fill_behind_gaps(deferred);
    }
    entry.submit(0);
    true
}

#[inline(always)]
fn fill<const STACK: usize>(deferred: &mut Deferred<STACK>, state: &CpuState) {
    deferred.process = state.process;
    deferred.thread_name = bpf_get_current_comm().unwrap_or_default();
    deferred.epoch = state.epoch;
    let kernel_frames = reveal(&state.walk.kernel_frames);
    deferred.pc = state.words[masked(1 + kernel_frames)];
    for index in 0..GENERAL {
        deferred.registers[index] = state.registers[index];
    }
    deferred.is_return = reveal(&state.walk.leaf_is_return);
    deferred.kernel_frames = kernel_frames;
    for index in 0..MAX_KERNEL_FRAMES {
        deferred.kernel[index] = state.words[1 + index];
    }
    deferred.stacks = state.stacks;
    deferred.pages = [0; DEFERRED_PAGES / 64];
    let alternate = reveal(&state.stacks.alternate_bytes);
    hide(&mut deferred.stack_bytes, 0);
    if alternate != 0 && read_into(&mut deferred.stack, 0, alternate, reveal(&state.stacks.alternate)) {
        hide(&mut deferred.stack_bytes, alternate);
    }
    // The most that can be read: what is readable has an end, and the size that is tried is halved until it is found.
    let mut size = STACK as u64 / 2;
    while size >= DEFERRED_PART as u64 {
        let bytes = reveal(&deferred.stack_bytes);
        let from = reveal(&state.stacks.ordinary).wrapping_add(bytes).wrapping_sub(alternate);
        if bytes >= alternate && read_into(&mut deferred.stack, bytes, size, from) {
            hide(&mut deferred.stack_bytes, bytes + size);
        }
        size /= 2;
    }
}

/// Copies what is readable behind the first page that is not.
#[inline(always)]
fn fill_behind_gaps<const STACK: usize>(deferred: &mut Deferred<STACK>) {
    // The kernel passes on nothing but a pointer to the program's stack.
    let mut context: *mut Deferred<STACK> = deferred;
    let pages = (STACK as u64 / DEFERRED_PAGE_BYTES) as u32;
    // SAFETY: the callback takes what it is given here, which lives as long as the call.
    unsafe { bpf_loop(pages, fill_page::<STACK> as *mut c_void, (&raw mut context).cast(), 0) };
}

/// A round of that. Returns 0 to go on.
#[inline(never)]
extern "C" fn fill_page<const STACK: usize>(page: u64, context: *const *mut Deferred<STACK>) -> u64 {
    // SAFETY: `fill_behind_gaps` passes a pointer to its own pointer, and does not use the message meanwhile.
    let deferred = unsafe { &mut **context };
    let page = page as usize & (STACK / DEFERRED_PAGE_BYTES as usize - 1);
    let at = page as u64 * DEFERRED_PAGE_BYTES;
    // Not where the copy without gaps lies.
    if at < reveal(&deferred.stack_bytes) || page == 0 {
        return 0;
    }
    let from = deferred.stacks.first_page().wrapping_add(at);
    if read_into(&mut deferred.stack, at, DEFERRED_PAGE_BYTES, from) {
        deferred.pages[page / 64] |= 1 << (page % 64);
    }
    0
}

/// Reads so much user memory to a place in the buffer. `false` where not all of it is there, or it does not fit.
#[inline(always)]
fn read_into<const STACK: usize>(buffer: &mut [u8; STACK], at: u64, bytes: u64, from: u64) -> bool {
    // The verifier knows one of the two, and sees here what the other can be at the most.
    if bytes > STACK as u64 || at > STACK as u64 - bytes {
        return false;
    }
    // SAFETY: `at` and what follows lie in the buffer. The helper checks the address, does not sleep, and reports what it
    // cannot read.
    unsafe {
        bpf_probe_read_user(buffer.as_mut_ptr().add(at as usize).cast(), bytes as u32, from as *const _) == 0
    }
}
