//! A thread that is stopped by ptrace(2).

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;

use super::{Beginning, Machine};

/// A thread of another process that stands still. Dropping it lets it run on.
#[derive(Debug)]
pub struct Stopped {
    tid: i32,
    memory: File,
}

impl Stopped {
    /// Stops a thread wherever it is. Fails for one that has ended.
    pub fn stop(tid: u32) -> io::Result<Stopped> {
        let tid = tid.cast_signed();
        // SAFETY: PTRACE_SEIZE reads and writes no memory here.
        check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, tid, 0, 0) })?;
        // From here on the guard lets the thread go, whatever fails.
        let stopped = Stopped { tid, memory: File::open(format!("/proc/{tid}/mem"))? };
        // SAFETY: as above.
        check(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0) })?;
        loop {
            let mut status = 0;
            // SAFETY: `status` is valid for writes.
            check(unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) }.into())?;
            if !libc::WIFSTOPPED(status) {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the thread has ended"));
            }
            // The event of a group stop or of the interruption is in the high bits.
            if status >> 16 == libc::PTRACE_EVENT_STOP {
                return Ok(stopped);
            }
            // A signal came first: it is delivered, and the interruption is still to come.
            let signal = libc::WSTOPSIG(status);
            // SAFETY: as above.
            check(unsafe { libc::ptrace(libc::PTRACE_CONT, tid, 0, signal) })?;
        }
    }

    /// The registers of its user code.
    pub fn registers(&self) -> io::Result<Beginning> {
        let mut regs = MaybeUninit::<libc::user_regs_struct>::uninit();
        // SAFETY: PTRACE_GETREGS fills the structure that the last argument points to.
        check(unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.tid, 0, regs.as_mut_ptr()) })?;
        // SAFETY: the call succeeded and filled it.
        let regs = unsafe { regs.assume_init() };
        Ok(Beginning {
            machine: Machine::X86_64,
            registers: vec![
                regs.rax, regs.rdx, regs.rcx, regs.rbx, regs.rsi, regs.rdi, regs.rbp, regs.rsp, regs.r8,
                regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
            ],
            pc: regs.rip,
            // As the kernel side tells it (`arch::in_system_call`).
            is_return: regs.orig_rax.cast_signed() >= 0,
        })
    }

    /// The word at an address, where it can be read.
    pub fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, address).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: PTRACE_DETACH touches no memory of ours. It fails for a thread that has ended, which needs no more.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.tid, 0, 0) };
    }
}

fn check(result: i64) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
