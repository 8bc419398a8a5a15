//! Ticks that the timer did not deliver, and how they count.

use aya_ebpf::{helpers::generated::bpf_ktime_get_ns, programs::PerfEventContext};
use profiler_common::{
    late::{due_since, late_ticks},
    layout::CpuState,
};

use crate::{
    maps,
    task::{Task, read_kernel},
    walk::{hide, reveal},
};

/// Where the context has the event: behind the registers and the sample (`struct bpf_perf_event_data_kern`,
/// include/linux/perf_event.h, the same from 4.14 to 7.0).
const EVENT: u64 = 16;

/// Looks at the clock, once for each tick, and notes how many ticks were left out since the last one that came.
#[inline(always)]
pub fn look(ctx: &PerfEventContext, state: &mut CpuState) {
    let last = state.last_tick_ns;
    let now_ns = scheduler_clock(ctx, last);
    let switches = idle_switches(state);
    let busy = switches != 0 && switches == state.idle_switches;
    let late = if last == 0 { 0 } else { late_ticks(now_ns.saturating_sub(last), maps::PERIOD_NS.load()) };
    hide(&mut state.last_tick_ns, now_ns);
    hide(&mut state.idle_switches, switches);
    hide(&mut state.never_idle, u64::from(busy));
    hide(&mut state.late_ticks, late);
}

/// How many of them came due while the CPU was idle, and how many while it ran a task.
#[inline(always)]
pub fn split(state: &mut CpuState, is_idle: bool) -> (u64, u64) {
    let late = reveal(&state.late_ticks);
    if is_idle {
        // Idle still, or again: then it was idle when the last of them was due, for that would have come late otherwise.
        state.idle_task = Task::current().address();
        return (late, 0);
    }
    if late == 0 || reveal(&state.never_idle) != 0 {
        return (0, late);
    }
    let missed = match Task::current().last_arrival_ns() {
        Some(arrival) => {
            due_since(late, reveal(&state.last_tick_ns).saturating_sub(arrival), maps::PERIOD_NS.load())
        }
        None => late,
    };
    (late - missed, missed)
}

/// How often the CPU began to run a task after it was idle; 0 until it was seen idle.
#[inline(always)]
fn idle_switches(state: &CpuState) -> u64 {
    if state.idle_task == 0 { 0 } else { Task::from_address(state.idle_task).preemptions().unwrap_or(0) }
}

/// The clock that the scheduler notes times by, which is not CLOCK_MONOTONIC: it is not adjusted. No helper gives it, but the
/// kernel has just brought the event up to date with it (`cpu_clock_event_update`, kernel/events/core.c).
#[inline(always)]
fn scheduler_clock(ctx: &PerfEventContext, last: u64) -> u64 {
    match maps::EVENT_CLOCK.load() {
        // SAFETY: the helper takes no arguments and has no precondition.
        0 => unsafe { bpf_ktime_get_ns() },
        // These reads do not fail; should one ever, no time has passed.
        offset => read_kernel::<u64>(ctx.ctx as u64 + EVENT)
            .and_then(|event| read_kernel(event + u64::from(offset)))
            .unwrap_or(last),
    }
}
