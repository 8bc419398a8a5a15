//! Taking the two halves of a stack into the CPU's scratch words.

use aya_ebpf::{
    cty::c_void,
    helpers::{
        bpf_probe_read_user_buf,
        generated::{bpf_get_stack, bpf_ktime_get_ns, bpf_loop},
    },
    macros::perf_event,
    programs::PerfEventContext,
};
use profiler_common::{
    hash,
    layout::{CpuState, PageWanted, UnknownPc, defer},
    outcome::Outcome,
    stack::{CHUNK_WORDS, Header, MAX_CHUNKS, MAX_KERNEL_FRAMES, MAX_USER_FRAMES, MAX_WORDS},
    unwind::{
        Architecture, GENERAL, Native, RegisterFile, Registers, Step, frame_pointer_step, pool::how, step,
    },
};

use crate::{
    arch::{self, Entry},
    maps,
    memory::{self, UserMemory, Windowed},
    pool::{self, Found},
    sample,
};

/// Frames that one run of `on_walk_in_runs` takes. The kernel lets 33 tail calls follow each other (MAX_TAIL_CALL_CNT): 31 runs
/// reach the depth that is kept, and one call is left for `on_count`.
const FRAMES_PER_RUN: usize = 33;
const _: () = assert!(FRAMES_PER_RUN * 31 + 1 >= MAX_USER_FRAMES);
/// Frames that one round of `on_walk` takes. The kernel calls a round by a pointer, which costs as much as a frame; more of them
/// in a round cost the verifier's time when the profiler starts.
const FRAMES_PER_ROUND: usize = 2;
const ROUNDS: usize = MAX_USER_FRAMES / FRAMES_PER_ROUND;
// A run may overshoot the depth, but not the scratch words.
const _: () = assert!(1 + MAX_KERNEL_FRAMES + MAX_USER_FRAMES + FRAMES_PER_RUN <= MAX_CHUNKS * CHUNK_WORDS);

/// The general registers of the last interrupted frame; `known` in that frame itself.
struct Interrupted<'a> {
    registers: &'a [u64; 2 * GENERAL],
    /// Where they begin: 0 or [`GENERAL`].
    at: u64,
    known: bool,
}

impl RegisterFile for Interrupted<'_> {
    #[inline(always)]
    fn get(&self, register: u8) -> Option<u64> {
        if self.known || Native::is_scratch(register) {
            Some(self.registers[(self.at as usize & GENERAL) + (usize::from(register) & (GENERAL - 1))])
        } else {
            None
        }
    }
}

/// An index into the scratch words that the verifier sees to be in bounds.
#[inline(always)]
pub fn masked(index: u64) -> usize {
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

/// Makes the compiler forget what it knows of a number, so that the comparison which follows is made with this very register.
///
/// Of two comparisons with one number it makes one with the number less a constant. What that one shows of the number itself
/// is lost on verifiers before Linux 6.13: two registers with a constant between them have been linked since ("bpf: Track
/// delta between "linked" registers”, and its corrections).
#[inline(always)]
pub fn opaque(value: u64) -> u64 {
    let mut value = value;
    // An instruction there has to be: line information of none is refused.
    // SAFETY: the instruction touches this register alone.
    unsafe {
        core::arch::asm!("{value} = {value}", value = inout(reg) value, options(pure, nomem, nostack));
    }
    value
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
    let (mut hash, mut check) = (hash::SEED, hash::SEED);
    for index in 0..MAX_KERNEL_FRAMES as u64 {
        if index >= frames {
            break;
        }
        let word = state.words[1 + index as usize];
        hash = hash::mix(hash, word);
        check = hash::mix_check(check, word);
    }
    hide(&mut state.walk.hash, hash);
    hide(&mut state.walk.check, check);
}

/// Sets out on the user stack from registers that were copied into the state: its first frame goes behind the kernel's.
#[inline(always)]
pub fn begin(entry: Entry, state: &mut CpuState) {
    let Entry { registers, is_32bit, is_return } = entry;
    if is_32bit {
        hide(&mut state.walk.outcome, Outcome::Compat32 as u64);
        return;
    }
    hide(&mut state.walk.registers_at, 0);
    go_to(state, registers);
    keep(state, registers.pc);
    hide(&mut state.walk.interrupted, 1);
    hide(&mut state.walk.is_return, u64::from(is_return));
    hide(&mut state.walk.leaf_is_return, u64::from(is_return));
    hide(&mut state.walk.end, 0);
    hide(&mut state.walk.fallback, 0);
    hide(&mut state.walk.defer, defer::POSSIBLE);
    memory::forget(&mut state.window);
    // SAFETY: an entry that is replaced meanwhile stays readable until the program ends.
    match unsafe { maps::PROCESS_TABLES.get(state.process) } {
        Some(table) => {
            hide(&mut state.walk.mappings, u64::from(table.mappings));
            hide(&mut state.walk.mapping_count, u64::from(table.count));
            hide(&mut state.walk.generation, u64::from(table.generation));
        }
        None => {
            hide(&mut state.walk.mapping_count, 0);
            fall_back(state, Outcome::NewProcess);
        }
    }
}

/// Makes a frame the one at hand.
#[inline(always)]
fn go_to(state: &mut CpuState, registers: Registers) {
    hide(&mut state.walk.pc, registers.pc);
    hide(&mut state.walk.sp, registers.sp);
    hide(&mut state.walk.fp, registers.fp);
}

/// Appends an address to the stack.
#[inline(always)]
fn keep(state: &mut CpuState, address: u64) {
    let frames = reveal(&state.walk.user_frames);
    state.words[masked(1 + reveal(&state.walk.kernel_frames) + frames)] = address;
    hide(&mut state.walk.user_frames, frames + 1);
    mix(state, address);
}

/// Mixes a word of the stack into its hash and its check.
#[inline(always)]
fn mix(state: &mut CpuState, word: u64) {
    let hash = hash::mix(reveal(&state.walk.hash), word);
    let check = hash::mix_check(reveal(&state.walk.check), word);
    hide(&mut state.walk.hash, hash);
    hide(&mut state.walk.check, check);
}

/// Walks the user stack that `on_tick` began: a call of bpf_loop (Linux 5.17), for which the verifier checks a step once.
#[perf_event]
pub fn on_walk(ctx: PerfEventContext) -> u32 {
    let Some(state) = maps::CPU_STATE.get_ptr_mut(0) else {
        return 0;
    };
    // The kernel passes on nothing but a pointer to the program's stack.
    let mut context = state;
    // SAFETY: the callback takes what it is given here, which lives as long as the program runs.
    unsafe { bpf_loop(ROUNDS as u32, next_frames as *mut c_void, (&raw mut context).cast(), 0) };
    // SAFETY: the element belongs to this CPU, and ticks on one CPU do not nest (bpf_prog_active).
    let state = unsafe { &mut *state };
    if reveal(&state.walk.defer) == defer::WANTED {
        return sample::go_on(&ctx, state, maps::DEFER);
    }
    if reveal(&state.walk.goes_on) != 0 {
        hide(&mut state.walk.outcome, Outcome::TooDeep as u64);
    }
    sample::go_on(&ctx, state, maps::COUNT)
}

/// A round of `on_walk`. Returns 1 to end the loop.
#[inline(never)]
extern "C" fn next_frames(_round: u64, context: *const *mut CpuState) -> u64 {
    // SAFETY: `on_walk` passes a pointer to its own pointer, and does not use the state meanwhile.
    let state = unsafe { &mut **context };
    for _ in 0..FRAMES_PER_ROUND {
        if !frame(state) || reveal(&state.walk.user_frames) >= MAX_USER_FRAMES as u64 {
            return 1;
        }
    }
    0
}

/// What `on_walk` does, in the place of it on kernels that have no bpf_loop: as many steps as can be verified one after the
/// other, and then another run.
#[perf_event]
pub fn on_walk_in_runs(ctx: PerfEventContext) -> u32 {
    let Some(state) = maps::CPU_STATE.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the element belongs to this CPU, and ticks on one CPU do not nest (bpf_prog_active).
    let state = unsafe { &mut *state };
    for _ in 0..FRAMES_PER_RUN {
        if !frame(state) {
            break;
        }
    }
    if reveal(&state.walk.defer) == defer::WANTED {
        return sample::go_on(&ctx, state, maps::DEFER);
    }
    if reveal(&state.walk.goes_on) != 0 {
        if reveal(&state.walk.user_frames) < MAX_USER_FRAMES as u64 {
            // SAFETY: the array holds programs of this program's type.
            let _ = unsafe { maps::PROGRAMS.tail_call(&ctx, maps::WALK) };
        }
        hide(&mut state.walk.outcome, Outcome::TooDeep as u64);
    }
    sample::go_on(&ctx, state, maps::COUNT)
}

/// Takes one step. Returns whether there is another one, and notes it in the walk's state.
#[inline(always)]
fn frame(state: &mut CpuState) -> bool {
    let goes_on = step_on(state);
    hide(&mut state.walk.goes_on, u64::from(goes_on));
    goes_on
}

#[inline(always)]
fn step_on(state: &mut CpuState) -> bool {
    let registers =
        Registers { pc: reveal(&state.walk.pc), sp: reveal(&state.walk.sp), fp: reveal(&state.walk.fp) };
    // A return address is the end of a call, and belongs to the call: the function may end with it.
    let pc = registers.pc.wrapping_sub(reveal(&state.walk.is_return));
    let known = pool::find_mapping(state, pc);
    memory::look_ahead(state, arch::first_word(registers.sp));
    let taken = if !known {
        if reveal(&state.walk.mapping_count) != 0 {
            if Native::is_signal_return(registers.pc, &UserMemory) {
                Step::Interrupted
            } else {
                ask_for_mappings(state, pc);
                end(state, Outcome::UnmappedPc);
                want_defer(state);
                return false;
            }
        } else {
            frame_pointer_step::<Native>(registers, &Windowed(&state.window))
        }
    } else {
        let directory = reveal(&state.walk.directory);
        match (directory >> 32) as u32 {
            how::ROWS => {
                let address = pc.wrapping_add(reveal(&state.walk.delta));
                match pool::find_rule(directory as u32, address, state.epoch) {
                    Found::Rule(rule) => {
                        let file = Interrupted {
                            registers: &state.registers,
                            at: reveal(&state.walk.registers_at),
                            known: reveal(&state.walk.interrupted) != 0,
                        };
                        match step::<Native>(rule, registers, &file, &Windowed(&state.window)) {
                            Step::NoRow if Native::is_signal_return(registers.pc, &UserMemory) => {
                                Step::Interrupted
                            }
                            taken => taken,
                        }
                    }
                    Found::NotLoaded(page) => {
                        if let Some(page) = page {
                            ask_for_page(state, directory as u32, page);
                        }
                        if want_defer(state) {
                            return false;
                        }
                        fall_back(state, Outcome::TableNotLoaded);
                        frame_pointer_step::<Native>(registers, &Windowed(&state.window))
                    }
                    Found::Nothing => Step::NoRow,
                }
            }
            how::FRAME_POINTER => frame_pointer_step::<Native>(registers, &Windowed(&state.window)),
            _ => {
                fall_back(state, Outcome::NoTable);
                frame_pointer_step::<Native>(registers, &Windowed(&state.window))
            }
        }
    };
    match taken {
        Step::Caller(caller) => {
            hide(&mut state.walk.interrupted, 0);
            hide(&mut state.walk.is_return, 1);
            go_to(state, caller);
            keep(state, caller.pc);
            return true;
        }
        Step::Interrupted => {
            // SAFETY: as for the other reads of user memory.
            let read = unsafe {
                bpf_probe_read_user_buf(
                    registers.sp.wrapping_add(Native::SIGNAL_CONTEXT) as *const u8,
                    core::slice::from_raw_parts_mut(
                        state.context.as_mut_ptr().cast(),
                        size_of_val(&state.context),
                    ),
                )
            };
            if read.is_ok() {
                let Some(general) = state.registers.last_chunk_mut() else { return false };
                let interrupted = Native::interrupted(&state.context, general);
                hide(&mut state.walk.registers_at, GENERAL as u64);
                hide(&mut state.walk.interrupted, 1);
                hide(&mut state.walk.is_return, 0);
                // Neither the address that a handler returns to nor the interrupted one is behind a call. One is added,
                // for one is taken off all addresses but the first when they are named.
                let last = masked(reveal(&state.walk.kernel_frames) + reveal(&state.walk.user_frames));
                let here = state.words[last].wrapping_add(1);
                state.words[last] = here;
                mix(state, here);
                go_to(state, interrupted);
                keep(state, interrupted.pc.wrapping_add(1));
                return true;
            }
            end(state, Outcome::UnreadableMemory);
        }
        Step::Root => {}
        Step::Unreadable => end(state, Outcome::UnreadableMemory),
        Step::Lost => end(state, Outcome::LostChain),
        Step::NoRow => end(state, Outcome::NoRow),
        Step::Unsupported => end(state, Outcome::UnsupportedRule),
    }
    false
}

/// Notes why the walk ends, unless it went astray before.
#[inline(always)]
fn end(state: &mut CpuState, outcome: Outcome) {
    if reveal(&state.walk.fallback) == 0 {
        hide(&mut state.walk.outcome, outcome as u64);
    }
}

/// Wants user space to walk the stack, where that is possible.
#[inline(always)]
pub fn want_defer(state: &mut CpuState) -> bool {
    if reveal(&state.walk.defer) != defer::POSSIBLE {
        return false;
    }
    hide(&mut state.walk.defer, defer::WANTED);
    true
}

/// Begins the walk anew, after it turned out that user space cannot do it.
#[inline(always)]
pub fn restart(state: &mut CpuState) {
    let first = state.words[masked(1 + reveal(&state.walk.kernel_frames))];
    hide(&mut state.walk.pc, first);
    hide(&mut state.walk.sp, state.registers[usize::from(Native::SP)]);
    hide(&mut state.walk.fp, state.registers[usize::from(Native::FP)]);
    hide(&mut state.walk.user_frames, 1);
    hide(&mut state.walk.interrupted, 1);
    hide(&mut state.walk.registers_at, 0);
    hide(&mut state.walk.is_return, reveal(&state.walk.leaf_is_return));
    hide(&mut state.walk.defer, defer::IMPOSSIBLE);
}

/// From here on frames may be missing.
#[inline(always)]
fn fall_back(state: &mut CpuState, outcome: Outcome) {
    end(state, outcome);
    hide(&mut state.walk.fallback, 1);
}

#[inline(always)]
fn ask_for_page(state: &mut CpuState, directory: u32, page: u32) {
    if maps::MESSAGES.output::<PageWanted>(PageWanted { directory, page }, 0).is_err() {
        state.messages_lost += 1;
    }
}

/// Says that a process has code where none was known. Ten times a second for a process at the most.
#[inline(always)]
fn ask_for_mappings(state: &mut CpuState, pc: u64) {
    const PAUSE_NS: u64 = 100_000_000;
    let Some(table) = maps::PROCESS_TABLES.get_ptr_mut(state.process) else {
        return;
    };
    // SAFETY: the helper takes no arguments and has no precondition.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the map gave a valid pointer to a whole value.
    let asked = unsafe { core::ptr::read_volatile(&raw const (*table).asked_ns) };
    if now.wrapping_sub(asked) < PAUSE_NS {
        return;
    }
    // SAFETY: as above. Of two CPUs that are here at once both may ask: user space does not mind.
    unsafe { core::ptr::write_volatile(&raw mut (*table).asked_ns, now) };
    if maps::MESSAGES.output::<UnknownPc>(UnknownPc { process: state.process, pc }, 0).is_err() {
        state.messages_lost += 1;
    }
}

/// Writes the header.
#[inline(always)]
pub fn close(state: &mut CpuState) {
    let (kernel, user) = (reveal(&state.walk.kernel_frames), reveal(&state.walk.user_frames));
    let header = Header::pack(kernel, user, reveal(&state.walk.outcome), reveal(&state.walk.leaf_is_return));
    state.words[0] = header.0;
    hide(&mut state.walk.words, 1 + kernel + user);
    mix(state, header.0);
}
