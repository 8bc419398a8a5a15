//! The program that runs on every cpu-clock tick.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::perf_event, programs::PerfEventContext};
use profiler_common::{
    hash,
    layout::{CpuState, NO_EXEC_ID, ProcessKey, same_start},
    outcome::Outcome,
};

use crate::{
    announce::{Wanted, announce},
    arch::{self, Entry},
    lateness, maps, sample,
    task::Task,
    walk,
};

/// Counts one tick. Whatever happens, exactly one outcome is counted.
#[perf_event]
pub fn on_tick(ctx: PerfEventContext) -> u32 {
    // An array of one element always has it: without state there is nothing to count in, and it does not happen.
    let Some(state) = maps::CPU_STATE.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the element belongs to this CPU, and ticks on one CPU do not nest (bpf_prog_active).
    let state = unsafe { &mut *state };
    let epoch = maps::CONTROL.get(0).copied().unwrap_or(0);
    if state.epoch != epoch {
        state.epoch = epoch;
        state.next_chunk = 0;
        state.rows = 0;
        state.deferred = 0;
    }
    lateness::look(&ctx, state);
    let begun = begin(&ctx, state);
    let (idle, missed) = lateness::split(state, begun == Some(Outcome::Idle));
    sample::count(state, epoch, Outcome::Idle, idle);
    sample::count(state, epoch, Outcome::Missed, missed);
    match begun {
        Some(outcome) => {
            sample::count(state, epoch, outcome, 1);
            0
        }
        None if walk::reveal(&state.walk.user_frames) == 0 => sample::go_on(&ctx, state, maps::COUNT),
        None if walk::reveal(&state.walk.fallback) != 0 && walk::want_defer(state) => {
            sample::go_on(&ctx, state, maps::DEFER)
        }
        None => sample::go_on(&ctx, state, maps::WALK),
    }
}

/// Sees to the sample up to its stack's first user frame. Returns the outcome where there is no more to do.
#[inline(always)]
fn begin(ctx: &PerfEventContext, state: &mut CpuState) -> Option<Outcome> {
    let id = bpf_get_current_pid_tgid();
    let (pid, tgid) = (id as u32, (id >> 32) as u32);
    if tgid == 0 {
        return Some(Outcome::Idle);
    }
    let task = Task::current();
    // Most samples hit a leading thread: it need not be asked who leads it.
    let leader = if pid == tgid { Some(task) } else { task.leader() };
    // Reading the running task does not fail; should it ever, the sample has no process to count for.
    let Some(leader) = leader else {
        return Some(Outcome::CountTableFull);
    };
    let Some(process) = task.process(tgid, leader) else {
        return Some(Outcome::CountTableFull);
    };
    if maps::SELECT.load() != 0 && !is_selected(&process) {
        return Some(Outcome::NotSelected);
    }
    if announce(&process, task, leader, state) == Wanted::No {
        return Some(Outcome::NotSelected);
    }
    state.process = process;
    begin_stack(ctx, task, state);
    None
}

/// Takes the kernel frames into the scratch words, and the registers that the user stack begins with.
#[inline(always)]
fn begin_stack(ctx: &PerfEventContext, task: Task, state: &mut CpuState) {
    walk::hide(&mut state.walk.hash, hash::SEED);
    walk::hide(&mut state.walk.check, hash::SEED);
    walk::hide(&mut state.walk.kernel_frames, 0);
    walk::hide(&mut state.walk.user_frames, 0);
    walk::hide(&mut state.walk.leaf_is_return, 0);
    walk::hide(&mut state.walk.generation, 0);
    walk::hide(&mut state.walk.outcome, Outcome::Complete as u64);
    // SAFETY: the kernel passes a valid context; its registers lie at its start, and the verifier turns the loads
    // into loads from the interrupted registers.
    let regs: &arch::UserRegisters = unsafe { &*ctx.ctx.cast() };
    if arch::in_user_mode(regs) {
        arch::copy_registers(regs, &mut state.registers);
        let registers = arch::registers(regs);
        walk::begin(Entry { registers, is_32bit: arch::is_32bit(regs), is_return: false }, state);
        return;
    }
    walk::kernel(ctx, state);
    if task.has_user_memory()
        && let Some(address) = task.user_registers_at()
        && let Some(entry) = arch::enter(address, &mut state.registers)
    {
        walk::begin(entry, state);
    }
}

#[inline(always)]
fn is_selected(process: &ProcessKey) -> bool {
    // SAFETY: an entry that is removed meanwhile belongs to a process that is gone.
    match unsafe { maps::SELECTED.get(process.pid) } {
        Some(selected) => {
            same_start(selected.start_ns, process.start_ns)
                && (selected.skip_exec_id == NO_EXEC_ID || selected.skip_exec_id != process.exec_id)
        }
        None => false,
    }
}
