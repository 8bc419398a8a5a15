//! Following a command's descendants: a child of a selected process is selected before it runs.

use aya_ebpf::{EbpfContext, bindings::BPF_ANY, macros::raw_tracepoint, programs::RawTracePointContext};
use profiler_common::layout::{NO_EXEC_ID, Selected, same_start};

use crate::{maps, task::Task};

/// sched_process_fork(parent, child): also fires for threads, which belong to their process already.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn on_fork(ctx: RawTracePointContext) -> i32 {
    let _ = follow(Task::from_address(argument(&ctx, 0)), Task::from_address(argument(&ctx, 1)));
    0
}

#[inline(always)]
fn follow(parent: Task, child: Task) -> Option<()> {
    let parent_pid = parent.tgid()?;
    let pid = child.tgid()?;
    if pid == parent_pid {
        return None;
    }
    // SAFETY: an entry that is removed meanwhile belongs to a process that is gone, and a parent is not gone.
    let selected = unsafe { maps::SELECTED.get(parent_pid) }?;
    if selected.with_children == 0 || !same_start(selected.start_ns, parent.leader()?.start_ns()?) {
        return None;
    }
    let entry = Selected { start_ns: child.start_ns()?, skip_exec_id: NO_EXEC_ID, with_children: 1 };
    maps::SELECTED.insert(pid, entry, u64::from(BPF_ANY)).ok()
}

/// sched_process_free(task): fires once a thread is gone for good; the leading thread is the last of its process.
#[raw_tracepoint(tracepoint = "sched_process_free")]
pub fn on_free(ctx: RawTracePointContext) -> i32 {
    let _ = forget(Task::from_address(argument(&ctx, 0)));
    0
}

#[inline(always)]
fn forget(task: Task) -> Option<()> {
    let pid = task.tgid()?;
    if task.pid()? != pid {
        return None;
    }
    // SAFETY: the entry is copied at once.
    let selected = unsafe { maps::SELECTED.get(pid) }?;
    // The pid may have been given to a new process already.
    if !same_start(selected.start_ns, task.start_ns()?) {
        return None;
    }
    maps::SELECTED.remove(pid).ok()
}

/// The `index`-th argument of a raw tracepoint.
#[inline(always)]
fn argument(ctx: &RawTracePointContext, index: usize) -> u64 {
    // SAFETY: the kernel passes an array with all arguments of the tracepoint, and the verifier checks its bounds.
    unsafe { *ctx.as_ptr().cast::<u64>().add(index) }
}
