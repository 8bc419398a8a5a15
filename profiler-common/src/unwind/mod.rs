//! The unwinder's step: from a frame's registers to its caller's.
//!
//! Generic over memory and over the registers beyond pc, sp and fp: the BPF program reads user memory through a kernel
//! helper, tests read recorded memory. What a step needs to know of the code at hand is a [rule](rule::Rule), and what it
//! needs to know of the processor an [`Architecture`].

mod arch;
mod frame_pointer;
pub mod pool;
pub mod rule;
mod step;

pub use arch::{Aarch64, Architecture, CONTEXT, Context, GENERAL, General, Native, X86_64};
pub use frame_pointer::frame_pointer_step;
pub use step::{RegisterFile, step};

/// Readable memory of the thread that is unwound.
pub trait Memory {
    /// The 64-bit word at `address`; `None` where it cannot be read.
    fn read_word(&self, address: u64) -> Option<u64>;
    /// The two 64-bit words at `address` and `address + 8`; `None` where they cannot be read.
    fn read_pair(&self, address: u64) -> Option<[u64; 2]>;
}

/// The registers that a step needs and yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Program counter: the interrupted instruction, or a return address.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer (rbp on x86_64, x29 on aarch64).
    pub fp: u64,
}

/// Where a step led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the caller.
    Caller(Registers),
    /// To what a signal interrupted: all registers lie at [`Architecture::SIGNAL_CONTEXT`] above the stack pointer.
    Interrupted,
    /// This frame is the thread's first.
    Root,
    /// A word that the rule needs cannot be read.
    Unreadable,
    /// What was found cannot be: the stack does not rise, or the return address is none.
    Lost,
    /// There is no rule for this code.
    NoRow,
    /// There is a rule, but it cannot be followed: it is of no kind that is known here, or it needs a register that only
    /// interrupted frames have.
    Unsupported,
}
