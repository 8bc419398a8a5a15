//! x86_64: struct pt_regs as arch/x86/include/uapi/asm/ptrace.h has it.

use aya_ebpf::bindings::pt_regs;
use profiler_common::unwind::{Registers, SIGNAL_WORDS};

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

/// Whether the thread entered the kernel by a system call: only then orig_rax holds a number that is not negative
/// (arch/x86/entry/calling.h and entry_64.S set it to -1 or below for exceptions and interrupts).
#[inline(always)]
pub fn in_system_call(regs: &pt_regs) -> bool {
    (regs.orig_rax as i64) >= 0
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
pub fn copy_registers(regs: &pt_regs, to: &mut [u64; 16]) {
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

/// Copies the general registers from a signal's context, and gives those that unwinding goes on from. The context's order
/// is that of struct sigcontext_64 (arch/x86/include/uapi/asm/sigcontext.h).
#[inline(always)]
pub fn copy_context(context: &[u64; SIGNAL_WORDS], to: &mut [u64; 16]) -> Registers {
    let mut index = 0;
    while index < 8 {
        to[8 + index] = context[index];
        index += 1;
    }
    to[5] = context[8];
    to[4] = context[9];
    to[6] = context[10];
    to[3] = context[11];
    to[1] = context[12];
    to[0] = context[13];
    to[2] = context[14];
    to[7] = context[15];
    Registers { pc: context[16], sp: context[15], fp: context[10] }
}
