//! What differs between processor architectures.

#[cfg(bpf_target_arch = "aarch64")]
mod aarch64;
#[cfg(bpf_target_arch = "x86_64")]
mod x86_64;
#[cfg(bpf_target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(bpf_target_arch = "x86_64")]
pub use x86_64::*;

use profiler_common::unwind::Registers;

/// Where user code entered the kernel.
pub struct Entry {
    /// The registers that unwinding starts from.
    pub registers: Registers,
    /// Whether it is 32-bit code.
    pub is_32bit: bool,
    /// Whether it was by a system call, which the program counter is behind.
    pub is_return: bool,
}
