//! Reading the running task's memory.

use aya_ebpf::helpers::{bpf_probe_read_user, generated};
use profiler_common::{
    layout::{CpuState, StackWindow, WINDOW_BYTES, window_index},
    unwind::Memory,
};

use crate::{
    arch,
    walk::{hide, opaque, reveal},
};

/// Bytes above the stack pointer that are wanted in the window: nine tenths of all frames are smaller. What lies behind the
/// window is read word by word.
const AHEAD: u64 = 256;

/// The memory of the running task, read word by word.
pub struct UserMemory;

impl Memory for UserMemory {
    #[inline(always)]
    fn read_word(&self, address: u64) -> Option<u64> {
        read_user(address)
    }

    #[inline(always)]
    fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
        read_user(address)
    }
}

/// Reads user memory; `None` where there is none, or it is not at hand.
#[inline(always)]
pub fn read_user<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address itself, does not sleep, and reports what it cannot read.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// The same, of which the part that the walk is at was copied before.
pub struct Windowed<'a>(pub &'a StackWindow);

impl Windowed<'_> {
    /// Index of the word at an address, where it and the next one are in the window.
    #[inline(always)]
    fn index(&self, address: u64) -> Option<usize> {
        window_index(reveal(&self.0.start), reveal(&self.0.bytes), address)
    }
}

impl Memory for Windowed<'_> {
    #[inline(always)]
    fn read_word(&self, address: u64) -> Option<u64> {
        match self.index(address) {
            Some(index) => Some(self.0.words[index]),
            None => read_user(address),
        }
    }

    #[inline(always)]
    fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
        match self.index(address) {
            Some(index) => Some([self.0.words[index], self.0.words[index + 1]]),
            None => read_user(address),
        }
    }
}

/// Forgets the window: another walk begins.
#[inline(always)]
pub fn forget(window: &mut StackWindow) {
    hide(&mut window.start, 0);
    hide(&mut window.bytes, 0);
    hide(&mut window.ceiling, u64::MAX);
}

/// Sees to it that what lies above the stack pointer is in the window, as far as it can be.
#[inline(always)]
pub fn look_ahead(state: &mut CpuState, sp: u64) {
    let window = &mut state.window;
    let left = reveal(&window.start).wrapping_add(reveal(&window.bytes)).wrapping_sub(sp);
    // An address outside of the window is far away, however it is subtracted.
    if left.wrapping_sub(AHEAD) <= WINDOW_BYTES as u64 - AHEAD {
        return;
    }
    let room = reveal(&window.ceiling).wrapping_sub(sp);
    if room >= WINDOW_BYTES as u64 {
        if copy(window, sp, WINDOW_BYTES as u64) {
            return;
        }
        // A page further up has no memory: the end of the stack, or a variable that was not touched yet.
        let end = (sp | (arch::PAGE_BYTES - 1)).wrapping_add(1);
        hide(&mut window.ceiling, end);
        copy(window, sp, end.wrapping_sub(sp));
    } else if left != room {
        copy(window, sp, room);
    }
}

/// Copies so much of the stack into the window.
#[inline(always)]
fn copy(window: &mut StackWindow, sp: u64, bytes: u64) -> bool {
    hide(&mut window.bytes, 0);
    if bytes < 16 {
        return false;
    }
    let bytes = opaque(bytes);
    if bytes > WINDOW_BYTES as u64 {
        return false;
    }
    // SAFETY: the window has room for so many bytes. The helper checks the address, does not sleep, and reports what it
    // cannot read.
    let read = unsafe {
        generated::bpf_probe_read_user(window.words.as_mut_ptr().cast(), bytes as u32, sp as *const _)
    };
    if read != 0 {
        return false;
    }
    hide(&mut window.start, sp);
    hide(&mut window.bytes, bytes);
    true
}
