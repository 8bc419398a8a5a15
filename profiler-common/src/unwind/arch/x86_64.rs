//! x86_64: System V ABI AMD64, and Linux's signal frames on it.

use super::{super::Memory, Architecture, Registers};

/// x86_64. The general registers are rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp and r8 to r15 (System V ABI AMD64, figure
/// 3.36).
#[derive(Clone, Copy, Debug)]
pub enum X86_64 {}

impl Architecture for X86_64 {
    type General = [u64; 16];
    /// r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip (struct sigcontext_64,
    /// arch/x86/include/uapi/asm/sigcontext.h).
    type Context = [u64; 17];

    const SP: u8 = 7;
    const FP: u8 = 6;
    const LINK: Option<u8> = None;
    const RESULT: u8 = 0;
    /// Behind uc_flags, uc_link and uc_stack of ucontext_t (arch/x86/include/uapi/asm/ucontext.h).
    const SIGNAL_CONTEXT: u64 = 40;

    /// rax, rdx, rcx, rsi, rdi, r8 to r11 (System V ABI AMD64, figure 3.4).
    #[inline(always)]
    fn is_scratch(register: u8) -> bool {
        0x0f37 >> (register & 15) & 1 == 1
    }

    /// `mov $15, %rax; syscall`.
    #[inline(always)]
    fn is_signal_return(pc: u64, memory: &impl Memory) -> bool {
        memory.read_word(pc) == Some(0x0f00_0000_0fc0_c748)
    }

    #[inline(always)]
    fn interrupted(context: &[u64; 17], general: &mut [u64; 16]) -> Registers {
        let mut index = 0;
        while index < 8 {
            general[8 + index] = context[index];
            index += 1;
        }
        general[5] = context[8];
        general[4] = context[9];
        general[6] = context[10];
        general[3] = context[11];
        general[1] = context[12];
        general[0] = context[13];
        general[2] = context[14];
        general[7] = context[15];
        Registers { pc: context[16], sp: context[15], fp: context[10] }
    }

    #[inline(always)]
    fn return_address(stored: u64) -> u64 {
        stored
    }

    /// A record is pushed first, right below the caller's frame.
    #[inline(always)]
    fn above_record(record: u64) -> u64 {
        record.wrapping_add(16)
    }

    #[inline(always)]
    fn is_exact(_sp: u64) -> bool {
        true
    }

    /// Entries are 16 bytes, and push one word in their middle (binutils, bfd/elfxx-x86.h).
    #[inline(always)]
    fn linkage_cfa(sp: u64, pc: u64, late: u64) -> u64 {
        sp.wrapping_add(if pc & 15 >= late { 16 } else { 8 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_registers_are_those_that_callees_may_change() {
        let scratch: Vec<u8> = (0..16).filter(|&register| X86_64::is_scratch(register)).collect();
        assert_eq!(scratch, [0, 1, 2, 4, 5, 8, 9, 10, 11]);
    }

    #[test]
    fn signal_returns_are_known_by_their_instructions() {
        struct Word(u64);
        impl Memory for Word {
            fn read_word(&self, address: u64) -> Option<u64> {
                (address == 0x1000).then_some(self.0)
            }
            fn read_pair(&self, _: u64) -> Option<[u64; 2]> {
                None
            }
        }
        assert!(X86_64::is_signal_return(0x1000, &Word(0x0f00_0000_0fc0_c748)));
        assert!(!X86_64::is_signal_return(0x1000, &Word(0x0f00_0000_0fc0_c749)));
        assert!(!X86_64::is_signal_return(0x1008, &Word(0x0f00_0000_0fc0_c748)));
    }

    #[test]
    fn a_context_is_sorted_by_dwarf_number() {
        let context = core::array::from_fn(|index| index as u64);
        let mut general = [99; 16];
        let registers = X86_64::interrupted(&context, &mut general);
        assert_eq!(general, [13, 12, 14, 11, 9, 8, 10, 15, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(registers, Registers { pc: 16, sp: 15, fp: 10 });
    }
}
