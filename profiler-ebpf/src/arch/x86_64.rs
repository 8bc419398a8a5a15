//! x86_64: struct pt_regs as arch/x86/include/uapi/asm/ptrace.h has it.

use aya_ebpf::bindings::pt_regs;
use profiler_common::unwind::Registers;

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

/// The registers of a program context that unwinding needs, copied: a context may only be read field by field.
#[inline(always)]
pub fn user_part(regs: &pt_regs) -> pt_regs {
    // SAFETY: pt_regs is plain numbers, for which zero is a value.
    let mut part: pt_regs = unsafe { core::mem::zeroed() };
    part.rip = regs.rip;
    part.rsp = regs.rsp;
    part.rbp = regs.rbp;
    part.cs = regs.cs;
    part
}
