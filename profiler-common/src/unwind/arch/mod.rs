//! What the unwinder has to know of a processor architecture, its ABI, and what Linux does on it.

mod aarch64;
mod x86_64;

pub use aarch64::Aarch64;
pub use x86_64::X86_64;

use core::fmt::Debug;

use super::{Memory, Registers};

/// The architecture that is built for; on the kernel side, that of the kernel.
#[cfg(any(target_arch = "x86_64", bpf_target_arch = "x86_64"))]
pub type Native = X86_64;
/// The architecture that is built for; on the kernel side, that of the kernel.
#[cfg(any(target_arch = "aarch64", bpf_target_arch = "aarch64"))]
pub type Native = Aarch64;

/// The general registers of [`Native`], by DWARF number.
pub type General = <Native as Architecture>::General;
/// What a signal's frame holds on [`Native`].
pub type Context = <Native as Architecture>::Context;
/// Number of general registers of [`Native`]: a power of two.
pub const GENERAL: usize = size_of::<General>() / size_of::<u64>();
/// Number of words in [`Context`].
pub const CONTEXT: usize = size_of::<Context>() / size_of::<u64>();

const _: () = assert!(GENERAL.is_power_of_two());

/// A processor architecture. Registers have their DWARF numbers.
///
/// Everything is known when the step is compiled, so that the step for one architecture has nothing of the others in it.
pub trait Architecture {
    /// The general registers by DWARF number.
    type General: Copy + Debug + AsRef<[u64]> + for<'a> TryFrom<&'a [u64]>;
    /// What a signal's frame holds of the code that it interrupted, in the kernel's order.
    type Context: Copy + Debug + for<'a> TryFrom<&'a [u64]>;

    /// Number of the stack pointer.
    const SP: u8;
    /// Number of the frame pointer.
    const FP: u8;
    /// The register in which a call leaves the return address; `None` where it is pushed onto the stack.
    const LINK: Option<u8>;
    /// The register in which a system call's result is.
    const RESULT: u8;
    /// Where [`Context`](Self::Context) lies above the stack pointer of the code that returns from a signal handler, bytes.
    const SIGNAL_CONTEXT: u64;

    /// Whether a register need not outlive a call.
    ///
    /// Compilers never need such a register in a frame that has called another one. Hand-written code that does so, as in
    /// OpenSSL, relies on its callee to leave the register alone: there the interrupted frame's value is still the right
    /// one.
    fn is_scratch(register: u8) -> bool;

    /// Whether the instructions at a return address are those that return from a signal handler: C libraries other than
    /// glibc have no rule for them.
    fn is_signal_return(pc: u64, memory: &impl Memory) -> bool;

    /// Sorts what a signal interrupted by DWARF number, and gives the registers that unwinding goes on from.
    fn interrupted(context: &Self::Context, general: &mut Self::General) -> Registers;

    /// The address that a stored return address stands for.
    fn return_address(stored: u64) -> u64;

    /// The caller's stack pointer, as far as the place of a frame record tells it: a number that is not
    /// [exact](Self::is_exact), where a record may lie anywhere in its frame, and then below the caller's.
    fn above_record(record: u64) -> u64;

    /// Whether a stack pointer is more than a bound.
    fn is_exact(sp: u64) -> bool;

    /// The CFA in an entry of a procedure linkage table, where it is not one offset for the whole entry. `late` is where in
    /// an entry the stack pointer has moved, bytes.
    fn linkage_cfa(sp: u64, pc: u64, late: u64) -> u64;

    /// Whether user code can lie at an address: not in the first page, which no process may map (vm.mmap_min_addr), and
    /// not in the upper half, which is the kernel's.
    #[inline(always)]
    #[must_use]
    fn is_code_address(address: u64) -> bool {
        address >= 0x1000 && address >> 63 == 0
    }
}
