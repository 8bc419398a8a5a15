//! Counting a sample whose stack is taken.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_current_comm, bpf_get_smp_processor_id},
    macros::perf_event,
    maps::HashMap,
    programs::PerfEventContext,
};
use aya_log_ebpf::warn;
use profiler_common::{
    layout::{CpuState, SampleKey},
    outcome::Outcome,
    stack::MAX_KERNEL_FRAMES,
};

use crate::{intern, maps, walk};

/// Counts ticks that ended this way.
#[inline(always)]
pub fn count(state: &mut CpuState, epoch: u64, outcome: Outcome, ticks: u64) {
    state.outcomes[(epoch & 1) as usize][outcome as usize] += ticks;
}

/// Goes on as another program, so that each is small enough to be verified. Returns what the program returns.
#[inline(always)]
pub fn go_on(ctx: &PerfEventContext, state: &mut CpuState, program: u32) -> u32 {
    // SAFETY: the array holds programs of this program's type.
    let _ = unsafe { maps::PROGRAMS.tail_call(ctx, program) };
    // User space puts the programs there before the first tick: this is not reached.
    count(state, state.epoch, Outcome::CountTableFull, 1);
    0
}

/// Ends a sample: interns the stack in the scratch words, counts it for its process and thread, and counts the outcome.
#[perf_event]
pub fn on_count(ctx: PerfEventContext) -> u32 {
    let Some(state) = maps::CPU_STATE.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the element belongs to this CPU, and ticks on one CPU do not nest (bpf_prog_active).
    let state = unsafe { &mut *state };
    let epoch = state.epoch;
    if walk::reveal(&state.walk.outcome) == Outcome::Complete as u64
        && walk::reveal(&state.walk.kernel_frames) >= MAX_KERNEL_FRAMES as u64
    {
        walk::hide(&mut state.walk.outcome, Outcome::KernelTooDeep as u64);
    }
    walk::close(state);
    let thread_name = bpf_get_current_comm().unwrap_or_default();
    let (stacks, counts) =
        if epoch & 1 == 0 { (&maps::STACKS_0, &maps::COUNTS_0) } else { (&maps::STACKS_1, &maps::COUNTS_1) };
    // SAFETY: the helper takes no arguments and has no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    let stack = intern::intern(stacks, state, epoch & 1, cpu);
    let key = SampleKey {
        process: state.process,
        thread_name,
        stack,
        generation: walk::reveal(&state.walk.generation) as u32,
    };
    if !add(counts, &key, state) {
        count_lost(&ctx, state);
        walk::hide(&mut state.walk.outcome, Outcome::CountTableFull as u64);
    } else if let Some(lost) = stack.outcome_index() {
        walk::hide(&mut state.walk.outcome, u64::from(lost));
    }
    // By number: the verifier would go on with each of them on its own.
    let index = walk::reveal(&state.walk.outcome) as usize;
    let bank = &mut state.outcomes[(epoch & 1) as usize];
    if index < bank.len() {
        bank[index] += 1;
    }
    0
}

/// Says that a sample found no room: once a window in the log, always in its process's counter.
#[inline(always)]
fn count_lost(ctx: &PerfEventContext, state: &mut CpuState) {
    if state.logged_epoch != state.epoch + 1 {
        state.logged_epoch = state.epoch + 1;
        warn!(ctx, "the count table of this window is full: samples are lost");
    }
    if let Some(info) = maps::PROCESSES.get_ptr_mut(state.process) {
        // SAFETY: the map gave a valid pointer to a whole value.
        let lost = unsafe { &raw mut (*info).lost };
        // SAFETY: as above; the field is only ever added to.
        unsafe { add_one(lost) };
    }
}

/// Adds one to a count. Of CPUs that find none at the same time only one inserts its own, and the others add to it.
#[inline(always)]
fn add(counts: &HashMap<SampleKey, u64>, key: &SampleKey, state: &mut CpuState) -> bool {
    let mut count = counts.get_ptr_mut(key);
    if count.is_none() {
        state.rows += 1;
        if counts.insert(key, 1, u64::from(BPF_NOEXIST)).is_ok() {
            return true;
        }
        // Another CPU was faster, or the table is full.
        count = counts.get_ptr_mut(key);
    }
    let Some(count) = count else {
        return false;
    };
    // SAFETY: the map gave a valid pointer to an aligned u64 that is only accessed atomically.
    unsafe { add_one(count) };
    true
}

/// Adds one atomically, by the instruction that every kernel knows: those before 5.12 refuse the one that also gives
/// the old value, and Rust has no atomics for a target without compare-and-swap.
///
/// # Safety
/// `counter` is a valid pointer into a map's value.
#[inline(always)]
unsafe fn add_one(counter: *mut u64) {
    // SAFETY: the caller vouches for the pointer; the instruction touches nothing else.
    unsafe {
        core::arch::asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) counter, one = in(reg) 1_u64);
    }
}
