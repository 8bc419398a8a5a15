//! aarch64: struct user_pt_regs as arch/arm64/include/uapi/asm/ptrace.h has it.

use aya_ebpf::{bindings::user_pt_regs, helpers::generated::bpf_probe_read_kernel};
use profiler_common::unwind::{GENERAL, Registers};

use super::Entry;
use crate::{memory::read_user, walk::hide};

/// Bytes of the smallest page.
pub const PAGE_BYTES: u64 = 4096;

/// Registers of user code, as a program's context has them (`bpf_user_pt_regs_t`).
pub type UserRegisters = user_pt_regs;

/// What the kernel keeps above user_pt_regs: the rest of struct pt_regs, which has 336 bytes, or 320 where entering the
/// kernel is generic code. The kernel sees to it that they are a multiple of 16.
pub const ABOVE_REGISTERS: [u64; 3] = [64, 48, 80];

/// Bits of pstate that tell the exception level (PSR_MODE_MASK): 0 is that of user code.
const MODE: u64 = 0xf;
/// Bit of pstate that is set for 32-bit code (PSR_MODE32_BIT).
const MODE32: u64 = 0x10;

/// Programs may read their context by whole registers only.
#[inline(always)]
fn pstate(regs: &user_pt_regs) -> u64 {
    // SAFETY: the reference is valid; volatile keeps the compiler from reading the few bits that are looked at alone.
    unsafe { core::ptr::read_volatile(&raw const regs.pstate) }
}

/// Whether these registers were saved in user mode.
#[inline(always)]
pub fn in_user_mode(regs: &user_pt_regs) -> bool {
    pstate(regs) & MODE == 0
}

/// Whether these registers belong to 32-bit code.
#[inline(always)]
pub fn is_32bit(regs: &user_pt_regs) -> bool {
    pstate(regs) & (MODE | MODE32) == MODE32
}

/// The registers that a task entered the kernel with and that lie at this address: the general ones go to `to`, by their
/// DWARF numbers. `None` where they are not those of user code.
///
/// They are in the order of the numbers already, and too many for the program's stack, so they are read in place: with what
/// follows them in struct pt_regs (arch/arm64/include/asm/ptrace.h since Linux 4.14), for which there is room.
#[inline(always)]
pub fn enter(address: u64, to: &mut [u64; 2 * GENERAL]) -> Option<Entry> {
    const PC: usize = 32;
    const PSTATE: usize = 33;
    /// Its low half is the system call's number: -1 after all else, and where a system call goes on with a signal's handler.
    const SYSTEM_CALL: usize = 35;
    const BYTES: u32 = 8 * (SYSTEM_CALL as u32 + 1);
    // SAFETY: `to` has room for so many bytes. The helper checks the address and reports what it cannot read.
    if unsafe { bpf_probe_read_kernel(to.as_mut_ptr().cast(), BYTES, address as *const _) } != 0 {
        return None;
    }
    if to[PSTATE] & MODE != 0 {
        return None;
    }
    let registers = Registers { pc: to[PC], sp: to[31], fp: to[29] };
    let is_return = to[SYSTEM_CALL] as i32 >= 0 && is_behind_svc(registers.pc);
    Some(Entry { registers, is_32bit: to[PSTATE] & MODE32 != 0, is_return })
}

/// Whether an address is behind a system call's instruction, where the processor leaves pc. At the system call's end it may
/// have been moved back to that instruction, to make the call again.
#[inline(always)]
fn is_behind_svc(pc: u64) -> bool {
    const SVC: u32 = 0xd400_0001;
    read_user::<u32>(pc.wrapping_sub(4)) == Some(SVC)
}

/// Where the first word lies that a step may read by this stack pointer, which may be a bound
/// ([`is_exact`](profiler_common::unwind::Architecture::is_exact)).
#[inline(always)]
pub fn first_word(sp: u64) -> u64 {
    sp & !7
}

/// The registers that unwinding starts from.
#[inline(always)]
pub fn registers(regs: &user_pt_regs) -> Registers {
    Registers { pc: regs.pc, sp: regs.sp, fp: regs.regs[29] }
}

/// Whether these are the registers that a thread entered the bpf(2) system call with, with this second argument.
#[inline(always)]
pub fn is_bpf_call(regs: &user_pt_regs, attr: u64) -> bool {
    regs.regs[8] == 280 && regs.regs[1] == attr && in_user_mode(regs)
}

/// Copies the general registers in the order of their DWARF numbers (DWARF for the Arm 64-bit Architecture, section 4.1).
/// Each by a place that the compiler knows, because a program's context may only be read so.
#[inline(always)]
pub fn copy_registers(regs: &user_pt_regs, to: &mut [u64; 2 * GENERAL]) {
    macro_rules! copy {
        ($($number:literal)*) => { $(to[$number] = regs.regs[$number];)* };
    }
    copy!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30);
    to[31] = regs.sp;
}

/// The goroutine that a thread of a Go program runs: x28 has it (cmd/internal/obj/arm64/a.out.go, REGG).
#[inline(always)]
pub fn goroutine(registers: &[u64; 2 * GENERAL]) -> Option<u64> {
    Some(registers[28])
}

/// The register that keeps the goroutine's stack pointer while Go calls the vdso (x20; `runtime·nanotime1` and others,
/// runtime/sys_linux_arm64.s).
pub const GO_SAVED_SP: usize = 20;

/// How far above the alternate stack's address (`uc_stack.ss_sp`) in a signal's frame the interrupted code's stack pointer
/// lies: struct ucontext and struct sigcontext (arch/arm64/include/uapi/asm).
const SP_ABOVE_STACK: u64 = 416;
/// Bytes from the alternate stack's address in a signal's frame to the end of the frame: struct rt_sigframe
/// (arch/arm64/kernel/signal.c) has 4688, and 144 are before it.
const FRAME_ABOVE_STACK: u64 = 4688 - 144;
/// Bytes of the frame record between the signal's frame and the end of the stack.
const FRAME_RECORD: u64 = 16;
/// By how much frames may be larger: for the state of vectors (SVE, SME) that finds no room in the frame proper, 8 KiB of the
/// longest that SVE has.
const MORE_FRAME: u64 = 10 << 10;

/// Looks for the frame of the signal that made a thread change to its alternate stack, which is the first one in it, and
/// puts the interrupted code's stack pointer in `found`; 0 where there is none.
///
/// Without knowing how code is unwound, the frame is known by what the kernel puts in it: the alternate stack's own address
/// and size (`__save_altstack`, kernel/signal.c). The frame and the record above it are aligned by 16 (`get_sigframe`,
/// arch/arm64/kernel/signal.c). Nearly all frames are as small as they can be, so that the first look finds them.
#[inline(always)]
pub fn find_interrupted_sp(start: u64, size: u64, found: &mut u64) {
    hide(found, 0);
    let end = start.wrapping_add(size) & !15;
    let mut address = end.wrapping_sub(FRAME_RECORD + FRAME_ABOVE_STACK);
    for _ in 0..MORE_FRAME / 16 {
        if let Some([sp, _, bytes]) = read_user::<[u64; 3]>(address)
            && sp == start
            && bytes == size
        {
            hide(found, read_user(address.wrapping_add(SP_ABOVE_STACK)).unwrap_or(0));
            return;
        }
        address = address.wrapping_sub(16);
    }
}
