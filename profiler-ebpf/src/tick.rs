//! The program that runs on every cpu-clock tick.

use aya_ebpf::{
    bindings::{BPF_NOEXIST, pt_regs},
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_smp_processor_id,
        generated::{bpf_get_current_cgroup_id, bpf_ktime_get_ns},
    },
    macros::perf_event,
    maps::HashMap,
    programs::PerfEventContext,
};
use aya_log_ebpf::warn;
use profiler_common::{
    hash,
    layout::{CpuState, FirstSight, NO_EXEC_ID, ProcessInfo, ProcessKey, SampleKey, same_start},
    outcome::Outcome,
    stack::MAX_KERNEL_FRAMES,
};

use crate::{arch, intern, maps, task::Task, walk};

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
    let bank = epoch & 1;
    if state.epoch != epoch {
        state.epoch = epoch;
        state.next_chunk = 0;
    }
    count_missed(state, bank);
    let outcome = sample(&ctx, state, epoch);
    count(state, bank, outcome, 1);
    0
}

#[inline(always)]
fn count(state: &mut CpuState, bank: u64, outcome: Outcome, ticks: u64) {
    state.outcomes[(bank & 1) as usize][outcome as usize] += ticks;
}

/// Counts ticks that the timer could not deliver: it goes on from the next whole period when it is late.
#[inline(always)]
fn count_missed(state: &mut CpuState, bank: u64) {
    // SAFETY: the helper takes no arguments and has no precondition.
    let now = unsafe { bpf_ktime_get_ns() };
    let period = maps::PERIOD_NS.load();
    if state.last_tick_ns != 0 && period != 0 {
        let periods = (now - state.last_tick_ns + period / 2) / period;
        if periods > 1 {
            count(state, bank, Outcome::Missed, periods - 1);
        }
    }
    state.last_tick_ns = now;
}

#[inline(always)]
fn sample(ctx: &PerfEventContext, state: &mut CpuState, epoch: u64) -> Outcome {
    let id = bpf_get_current_pid_tgid();
    let (pid, tgid) = (id as u32, (id >> 32) as u32);
    if tgid == 0 {
        return Outcome::Idle;
    }
    let task = Task::current();
    // Most samples hit a leading thread: it need not be asked who leads it.
    let leader = if pid == tgid { Some(task) } else { task.leader() };
    // Reading the running task does not fail; should it ever, the sample has no process to count for.
    let Some(leader) = leader else {
        return Outcome::CountTableFull;
    };
    let Some(process) = task.process(tgid, leader) else {
        return Outcome::CountTableFull;
    };
    if maps::SELECT.load() != 0 && !is_selected(&process) {
        return Outcome::NotSelected;
    }
    announce(&process, leader, state);

    let outcome = take_stack(ctx, task, state);
    let thread_name = bpf_get_current_comm().unwrap_or_default();
    let (stacks, counts) =
        if epoch & 1 == 0 { (&maps::STACKS_0, &maps::COUNTS_0) } else { (&maps::STACKS_1, &maps::COUNTS_1) };
    // SAFETY: the helper takes no arguments and has no precondition.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    let stack = intern::intern(stacks, state, epoch & 1, cpu);
    let key = SampleKey { process, thread_name, stack, reserved: 0 };
    if !add(counts, &key) {
        count_lost(ctx, state, epoch, &process);
        return Outcome::CountTableFull;
    }
    match stack.chunk() {
        Ok(_) => outcome,
        Err(lost) => lost,
    }
}

/// Puts the stack into the scratch words; gives how the walk ended.
#[inline(always)]
fn take_stack(ctx: &PerfEventContext, task: Task, state: &mut CpuState) -> Outcome {
    walk::hide(&mut state.walk.hash, hash::SEED);
    walk::hide(&mut state.walk.kernel_frames, 0);
    walk::hide(&mut state.walk.user_frames, 0);
    walk::hide(&mut state.walk.outcome, Outcome::Complete as u64);
    // SAFETY: the kernel passes a valid context; its registers lie at its start, and the verifier turns the loads
    // into loads from the interrupted registers.
    let regs: &pt_regs = unsafe { &*ctx.ctx.cast::<pt_regs>() };
    let mut leaf_is_return = false;
    if arch::in_user_mode(regs) {
        let regs = arch::user_part(regs);
        walk::user(&regs, state);
    } else {
        walk::kernel(ctx, state);
        if task.has_user_memory()
            && let Some(regs) = task.user_registers()
            && arch::in_user_mode(&regs)
        {
            leaf_is_return = arch::in_system_call(&regs);
            walk::user(&regs, state);
        }
    }
    let outcome = match walk::reveal(&state.walk.outcome) {
        1 => Outcome::TooDeep,
        2 => Outcome::UnreadableMemory,
        3 => Outcome::LostChain,
        4 => Outcome::Compat32,
        _ if walk::reveal(&state.walk.kernel_frames) >= MAX_KERNEL_FRAMES as u64 => Outcome::KernelTooDeep,
        _ => Outcome::Complete,
    };
    walk::finish(state, outcome, leaf_is_return);
    outcome
}

/// Says that a sample found no room: once a window in the log, always in its process's counter.
#[inline(always)]
fn count_lost(ctx: &PerfEventContext, state: &mut CpuState, epoch: u64, process: &ProcessKey) {
    if state.logged_epoch != epoch + 1 {
        state.logged_epoch = epoch + 1;
        warn!(ctx, "the count table of this window is full: samples are lost");
    }
    if let Some(info) = maps::PROCESSES.get_ptr_mut(process) {
        // SAFETY: the map gave a valid pointer to a whole value.
        let lost = unsafe { &raw mut (*info).lost };
        // SAFETY: as above; the field is only ever added to.
        unsafe { add_one(lost) };
    }
}

/// Adds one to a count. A zero is inserted first where there is none, so that CPUs that are here at the same time
/// all add to the same number.
#[inline(always)]
fn add(counts: &HashMap<SampleKey, u64>, key: &SampleKey) -> bool {
    let mut count = counts.get_ptr_mut(key);
    if count.is_none() {
        let _ = counts.insert(key, 0, u64::from(BPF_NOEXIST));
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

/// Tells user space of a process that it does not know, at once: it may be gone before the window ends.
#[inline(always)]
fn announce(process: &ProcessKey, leader: Task, state: &mut CpuState) {
    if maps::PROCESSES.get_ptr(process).is_some() {
        return;
    }
    let info = ProcessInfo {
        name: leader.name().unwrap_or_default(),
        // SAFETY: the helper takes no arguments and has no precondition.
        cgroup_id: unsafe { bpf_get_current_cgroup_id() },
        lost: 0,
    };
    // Of two CPUs only one inserts, and only that one announces.
    if maps::PROCESSES.insert(process, info, u64::from(BPF_NOEXIST)).is_err() {
        return;
    }
    let message = FirstSight { process: *process, info };
    if maps::FIRST_SIGHTS.output::<FirstSight>(message, 0).is_err() {
        // User space finds the process in the map when it drains the window, only later.
        state.announcements_lost += 1;
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
