//! Taking the two halves of a stack into the CPU's scratch words.

use aya_ebpf::{
    bindings::pt_regs,
    helpers::{bpf_probe_read_user, generated::bpf_get_stack},
    programs::PerfEventContext,
};
use profiler_common::{
    hash,
    layout::CpuState,
    outcome::Outcome,
    stack::{Header, MAX_KERNEL_FRAMES, MAX_USER_FRAMES, MAX_WORDS},
    unwind::{Memory, Step, frame_pointer_step},
};

use crate::arch;

/// The memory of the running task.
struct UserMemory;

impl Memory for UserMemory {
    #[inline(always)]
    fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
        // SAFETY: the helper checks the address itself, does not sleep, and reports what it cannot read.
        unsafe { bpf_probe_read_user(address as *const [u64; 2]) }.ok()
    }
}

/// An index into the scratch words that the verifier sees to be in bounds.
#[inline(always)]
fn masked(index: u64) -> usize {
    (index & (MAX_WORDS as u64 - 1)) as usize
}

/// Puts a number where the verifier loses sight of it.
///
/// It tracks what it knows of registers, so code after a loop is checked again for each number of rounds that the
/// loop can have had, as long as a register still tells them apart. What went through a map's memory is any number.
#[inline(always)]
pub fn hide(place: &mut u64, value: u64) {
    // SAFETY: `place` is a valid reference; volatile keeps the compiler from carrying the value around the memory.
    unsafe { core::ptr::write_volatile(place, value) };
}

/// Reads a hidden number: nothing is known of it.
#[inline(always)]
pub fn reveal(place: &u64) -> u64 {
    // SAFETY: `place` is a valid reference; volatile keeps the compiler from reusing an earlier read.
    unsafe { core::ptr::read_volatile(place) }
}

/// Takes the kernel stack of a tick that hit kernel mode.
///
/// The kernel unwinds itself with its own tables (ORC) or frame pointers.
#[inline(always)]
pub fn kernel(ctx: &PerfEventContext, state: &mut CpuState) {
    let bytes = MAX_KERNEL_FRAMES * size_of::<u64>();
    // SAFETY: the words after the header have room for that many bytes: MAX_WORDS is larger by more than one.
    let buffer = unsafe { state.words.as_mut_ptr().add(1) };
    // SAFETY: the context is the one the kernel passed in, and the buffer is valid for `bytes`.
    let taken = unsafe { bpf_get_stack(ctx.ctx.cast(), buffer.cast(), bytes as u32, 0) };
    let frames = if taken < 0 { 0 } else { taken as u64 / 8 };
    hide(&mut state.walk.kernel_frames, frames);
    let frames = reveal(&state.walk.kernel_frames);
    let mut hash = state.walk.hash;
    for index in 0..MAX_KERNEL_FRAMES as u64 {
        if index >= frames {
            break;
        }
        hash = hash::mix(hash, state.words[1 + index as usize]);
    }
    hide(&mut state.walk.hash, hash);
}

/// Walks the user stack from these registers, appending to the kernel frames that are already there.
#[inline(always)]
pub fn user(regs: &pt_regs, state: &mut CpuState) {
    if arch::is_32bit(regs) {
        hide(&mut state.walk.outcome, Outcome::Compat32 as u64);
        return;
    }
    let base = 1 + reveal(&state.walk.kernel_frames);
    let mut registers = arch::registers(regs);
    let mut hash = hash::mix(reveal(&state.walk.hash), registers.pc);
    state.words[masked(base)] = registers.pc;
    let mut outcome = Outcome::TooDeep;
    let mut frames = 1_u64;
    for _ in 1..MAX_USER_FRAMES {
        match frame_pointer_step(registers, &UserMemory) {
            Step::Caller(caller) => {
                registers = caller;
                state.words[masked(base + frames)] = caller.pc;
                hash = hash::mix(hash, caller.pc);
                frames += 1;
            }
            Step::Root => {
                outcome = Outcome::Complete;
                break;
            }
            Step::Unreadable => {
                outcome = Outcome::UnreadableMemory;
                break;
            }
            Step::Lost => {
                outcome = Outcome::LostChain;
                break;
            }
        }
    }
    hide(&mut state.walk.hash, hash);
    hide(&mut state.walk.user_frames, frames);
    hide(&mut state.walk.outcome, outcome as u64);
}

/// Writes the header and clears the rest of the last chunk.
#[inline(always)]
pub fn finish(state: &mut CpuState, outcome: Outcome, leaf_is_return: bool) {
    let (kernel, user) = (reveal(&state.walk.kernel_frames), reveal(&state.walk.user_frames));
    let header = Header::new(kernel, user, outcome, leaf_is_return);
    state.words[0] = header.0;
    let words = 1 + kernel + user;
    // Whole chunks are copied and compared, so what lies behind the last frame must not differ by accident.
    for extra in 0..7 {
        state.words[masked(words + extra)] = 0;
    }
    hide(&mut state.walk.words, words);
    let hash = hash::mix(reveal(&state.walk.hash), header.0);
    hide(&mut state.walk.hash, hash);
}
