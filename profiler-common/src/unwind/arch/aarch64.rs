//! aarch64: AAPCS64, DWARF for the Arm 64-bit Architecture, and Linux's signal frames on it.

use super::{super::Memory, Architecture, Registers};

/// Bits of an address in user space. Larger ones, which need 52, are only given to processes that ask for them by a hint
/// (Documentation/arch/arm64/memory.rst).
const ADDRESS_BITS: u32 = 48;

/// aarch64. The general registers are x0 to x30 and sp (DWARF for the Arm 64-bit Architecture, section 4.1).
#[derive(Clone, Copy, Debug)]
pub enum Aarch64 {}

impl Architecture for Aarch64 {
    type General = [u64; 32];
    /// x0 to x30, sp, pc (struct sigcontext, arch/arm64/include/uapi/asm/sigcontext.h).
    type Context = [u64; 33];

    const SP: u8 = 31;
    const FP: u8 = 29;
    const LINK: Option<u8> = Some(30);
    const RESULT: u8 = 0;
    /// Behind siginfo (128 bytes), the first 176 bytes of struct ucontext, and fault_address (struct rt_sigframe,
    /// arch/arm64/kernel/signal.c).
    const SIGNAL_CONTEXT: u64 = 128 + 176 + 8;

    /// x0 to x18 (AAPCS64, section 6.1.1).
    #[inline(always)]
    fn is_scratch(register: u8) -> bool {
        register <= 18
    }

    /// `mov x8, #139; svc #0`, as in the vDSO's trampoline.
    #[inline(always)]
    fn is_signal_return(pc: u64, memory: &impl Memory) -> bool {
        memory.read_word(pc) == Some(0xd400_0001_d280_1168)
    }

    #[inline(always)]
    fn interrupted(context: &[u64; 33], general: &mut [u64; 32]) -> Registers {
        let mut index = 0;
        while index < 32 {
            general[index] = context[index];
            index += 1;
        }
        Registers { pc: context[32], sp: context[31], fp: context[29] }
    }

    /// Without the code that signs it (pointer authentication, Arm ARM, section D8.10).
    #[inline(always)]
    fn return_address(stored: u64) -> u64 {
        stored & ((1 << ADDRESS_BITS) - 1)
    }

    /// Compilers put a record wherever they like in a frame: gcc at its lower end, clang near its upper one. Of stack
    /// pointers, which are multiples of 16 at calls (AAPCS64, section 6.4.5.1), the lowest bit says that this is none.
    #[inline(always)]
    fn above_record(record: u64) -> u64 {
        record.wrapping_add(15)
    }

    #[inline(always)]
    fn is_exact(sp: u64) -> bool {
        sp & 1 == 0
    }

    /// Entries leave the stack as it is, and the return address in its register.
    #[inline(always)]
    fn linkage_cfa(sp: u64, _pc: u64, _late: u64) -> u64 {
        sp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_the_registers_in_order() {
        let context = core::array::from_fn(|index| index as u64);
        let mut general = [99; 32];
        let registers = Aarch64::interrupted(&context, &mut general);
        assert_eq!(general, core::array::from_fn(|index| index as u64));
        assert_eq!(registers, Registers { pc: 32, sp: 31, fp: 29 });
    }

    #[test]
    fn a_signed_return_address_is_stripped() {
        assert_eq!(Aarch64::return_address(0x002b_ffff_a123_4568), 0xffff_a123_4568);
        assert_eq!(Aarch64::return_address(0xffff_a123_4568), 0xffff_a123_4568);
    }
}
