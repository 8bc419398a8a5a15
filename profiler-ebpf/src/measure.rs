//! Measuring where a task's user registers lie.
//!
//! They are at the top of its kernel stack, but how large that stack is, and what the kernel keeps above them, is
//! in no type information. User space runs this program with BPF_PROG_TEST_RUN (raw tracepoints: since 5.10), which
//! runs it in the calling thread: whose registers are known, for they hold the arguments of that very system call.

use aya_ebpf::{
    EbpfContext,
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};

use crate::{
    arch,
    task::{Task, read_kernel},
};

/// Element 0: the offset that was found, 0 for none. Element 1: the calling process's exec id.
#[map]
static MEASURED: Array<u64> = Array::with_max_entries(2, 0);

/// Sizes of kernel stacks: 8 to 128 KiB, by architecture, page size and sanitizers.
const STACK_SIZES: [u64; 5] = [1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17];

/// Argument 0 is the address of the calling thread's `bpf_attr`.
#[raw_tracepoint]
pub fn measure(ctx: RawTracePointContext) -> i32 {
    // SAFETY: user space passes one argument; the verifier knows that raw tracepoints may have twelve.
    let attr = unsafe { *ctx.as_ptr().cast::<u64>() };
    let Some(stack) = Task::current().stack() else {
        return 0;
    };
    for size in STACK_SIZES {
        for padding in arch::ABOVE_REGISTERS {
            let offset = size - padding - size_of::<arch::UserRegisters>() as u64;
            if let Some(regs) = read_kernel::<arch::UserRegisters>(stack + offset)
                && arch::is_bpf_call(&regs, attr)
            {
                let _ = MEASURED.set(0, offset, 0);
                let _ = MEASURED.set(1, u64::from(Task::current().exec_id().unwrap_or(0)), 0);
                return 0;
            }
        }
    }
    0
}
