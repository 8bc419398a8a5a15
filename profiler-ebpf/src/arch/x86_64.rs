//! x86_64: struct pt_regs as arch/x86/include/uapi/asm/ptrace.h has it.

use aya_ebpf::bindings::pt_regs;
use profiler_common::unwind::{GENERAL, Registers};

use super::Entry;
use crate::{
    memory::read_user,
    task::{Task, read_kernel},
    walk::hide,
};

/// Bytes of the smallest page.
pub const PAGE_BYTES: u64 = 4096;

/// Registers of user code, as a program's context has them (`bpf_user_pt_regs_t`).
pub type UserRegisters = pt_regs;

/// What kernels keep above the registers: nothing, 16 bytes (with FRED), or what 32-bit x86 needed.
pub const ABOVE_REGISTERS: [u64; 3] = [0, 16, 8];

/// Code segment of 32-bit user code (__USER32_CS, arch/x86/include/asm/segment.h).
const USER32_CS: u64 = 0x23;

/// Whether these registers were saved in user mode: the privilege level is in the code segment's low bits.
#[inline(always)]
pub fn in_user_mode(regs: &pt_regs) -> bool {
    regs.cs & 3 == 3
}

/// Whether these registers belong to 32-bit code.
#[inline(always)]
pub fn is_32bit(regs: &pt_regs) -> bool {
    regs.cs == USER32_CS
}

/// Whether the thread entered the kernel by a system call and goes on behind it.
///
/// Only in a system call orig_rax holds a number that is not negative (arch/x86/entry/calling.h and entry_64.S set it to
/// -1 or below for exceptions and interrupts). At its end pc may have been moved already, to a signal's handler or back
/// to the instruction that makes the call again; then it differs from rcx, where `syscall` leaves the address behind it.
/// On machines with FRED it need not, but there is `syscall` (0f 05) before pc all the same.
#[inline(always)]
fn is_behind_system_call(regs: &pt_regs) -> bool {
    const SYSCALL: u16 = 0x050f;
    (regs.orig_rax as i64) >= 0
        && (regs.rcx == regs.rip || read_user::<u16>(regs.rip.wrapping_sub(2)) == Some(SYSCALL))
}

/// The registers that a task entered the kernel with and that lie at this address: the general ones go to `to`, by their
/// DWARF numbers. `None` where they are not those of user code.
#[inline(always)]
pub fn enter(address: u64, to: &mut [u64; 2 * GENERAL]) -> Option<Entry> {
    let regs: pt_regs = read_kernel(address)?;
    if !in_user_mode(&regs) {
        return None;
    }
    copy_registers(&regs, to);
    let is_return = is_behind_system_call(&regs);
    Some(Entry { registers: registers(&regs), is_32bit: is_32bit(&regs), is_return })
}

/// Where the first word lies that a step may read by this stack pointer.
#[inline(always)]
pub fn first_word(sp: u64) -> u64 {
    sp
}

/// The registers that unwinding starts from.
#[inline(always)]
pub fn registers(regs: &pt_regs) -> Registers {
    Registers { pc: regs.rip, sp: regs.rsp, fp: regs.rbp }
}

/// Whether these are the registers that a thread entered the bpf(2) system call with, with this second argument.
#[inline(always)]
pub fn is_bpf_call(regs: &pt_regs, attr: u64) -> bool {
    regs.orig_rax == 321 && regs.rsi == attr && in_user_mode(regs)
}

/// Copies the general registers in the order of their DWARF numbers (System V ABI AMD64, figure 3.36). Field by field,
/// because a program's context may only be read so.
#[inline(always)]
pub fn copy_registers(regs: &pt_regs, to: &mut [u64; 2 * GENERAL]) {
    to[0] = regs.rax;
    to[1] = regs.rdx;
    to[2] = regs.rcx;
    to[3] = regs.rbx;
    to[4] = regs.rsi;
    to[5] = regs.rdi;
    to[6] = regs.rbp;
    to[7] = regs.rsp;
    to[8] = regs.r8;
    to[9] = regs.r9;
    to[10] = regs.r10;
    to[11] = regs.r11;
    to[12] = regs.r12;
    to[13] = regs.r13;
    to[14] = regs.r14;
    to[15] = regs.r15;
}

/// The goroutine that a thread of a Go program runs: it is the word below the thread pointer (`runtime·settls`,
/// runtime/sys_linux_amd64.s; cmd/internal/obj/x86/obj6.go).
#[inline(always)]
pub fn goroutine(_registers: &[u64; 2 * GENERAL]) -> Option<u64> {
    read_user(Task::current().thread_pointer().wrapping_sub(8))
}

/// The register that keeps the goroutine's stack pointer while Go calls the vdso (r12; `runtime·nanotime1` and others,
/// runtime/sys_linux_amd64.s).
pub const GO_SAVED_SP: usize = 12;

/// How far above the alternate stack's address (`uc_stack.ss_sp`) in a signal's frame the interrupted code's stack pointer
/// lies: struct ucontext_x86_64 and struct sigcontext_64 (arch/x86/include/uapi/asm).
const SP_ABOVE_STACK: u64 = 144;
/// Bytes below the end of an alternate stack in which a signal's frame begins: the frame, and the state of the floating
/// point unit, of which AMX's eight tiles are the most (11 KiB).
const SIGNAL_FRAME: u64 = 16 << 10;

/// Looks for the frame of the signal that made a thread change to its alternate stack, which is the first one in it, and
/// puts the interrupted code's stack pointer in `found`; 0 where there is none.
///
/// Without knowing how code is unwound, the frame is known by what the kernel puts in it: the alternate stack's own address
/// and size (`unsafe_save_altstack`, kernel/signal.c). The floating point unit's state is aligned by 64
/// (`fpu__alloc_mathframe`), the frame of 440 bytes below it by 16, less 8 (`get_sigframe`, arch/x86/kernel/signal.c), and
/// the alternate stack's address is at 24 in the frame: so it lies 16 behind a multiple of 64.
#[inline(always)]
pub fn find_interrupted_sp(start: u64, size: u64, found: &mut u64) {
    hide(found, 0);
    let mut address = (start.wrapping_add(size) & !63).wrapping_sub(64 - 16);
    for _ in 0..SIGNAL_FRAME / 64 {
        if let Some([sp, _, bytes]) = read_user::<[u64; 3]>(address)
            && sp == start
            && bytes == size
        {
            hide(found, read_user(address.wrapping_add(SP_ABOVE_STACK)).unwrap_or(0));
            return;
        }
        address = address.wrapping_sub(64);
    }
}
