//! The stacks of a Go program's thread, for samples whose stacks are copied.

use profiler_common::{goroutine, layout::CpuState, unwind::Architecture, unwind::Native};

use crate::{
    arch,
    deferral::set_alternate,
    memory::UserMemory,
    walk::{hide, reveal},
};

/// Puts down where the thread's stacks are and where they end, if it is one of a Go program.
#[inline(always)]
pub fn find_stacks(state: &mut CpuState, sp: u64) {
    let saved = [state.registers[arch::GO_SAVED_SP], state.registers[usize::from(Native::FP)]];
    let Some(g) = arch::goroutine(&state.registers) else {
        return;
    };
    let Some(found) = goroutine::stacks(&UserMemory, g, sp, saved) else {
        return;
    };
    // The page at the stack pointer may have no memory yet.
    let start = reveal(&state.stacks.ordinary);
    if found.left == 0 || start >= found.end {
        hide(&mut state.stack_end, found.end);
        return;
    }
    set_alternate(state, start, found.end);
    hide(&mut state.stacks.ordinary, found.left);
    hide(&mut state.stack_end, found.left_end);
}
