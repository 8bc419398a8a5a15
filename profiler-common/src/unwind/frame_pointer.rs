//! A step along the chain of frame pointers: for code that keeps one and has no rules.

use super::{Architecture, Memory, Registers, Step};

/// A step along the chain of frame pointers.
///
/// A frame record is a pair of words: the caller's frame pointer and the return address, at the address in the frame
/// pointer (System V ABI AMD64, section 3.2.2; AAPCS64, section 6.4.6). The ABIs mark the outermost frame with a zero
/// frame pointer. Stacks grow down, so every record lies above the one before: a chain that does not rise is broken,
/// and since each step rises by at least 16 bytes, no chain goes round in circles. Where a record lies in its frame is the
/// [architecture's](Architecture::above_record) business.
#[inline(always)]
pub fn frame_pointer_step<A: Architecture>(registers: Registers, memory: &impl Memory) -> Step {
    if registers.fp == 0 {
        return Step::Root;
    }
    if registers.fp & 7 != 0 || registers.fp < registers.sp {
        return Step::Lost;
    }
    let Some([fp, pc]) = memory.read_pair(registers.fp) else {
        return Step::Unreadable;
    };
    let pc = A::return_address(pc);
    if pc == 0 {
        return Step::Root;
    }
    if !A::is_code_address(pc) {
        return Step::Lost;
    }
    Step::Caller(Registers { pc, sp: A::above_record(registers.fp), fp })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::{Aarch64, X86_64};

    /// Words from a base address upwards.
    struct Words(u64, &'static [u64]);

    impl Memory for Words {
        fn read_word(&self, address: u64) -> Option<u64> {
            self.1.get(usize::try_from(address.checked_sub(self.0)? / 8).ok()?).copied()
        }

        fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
            let index = usize::try_from(address.checked_sub(self.0)? / 8).ok()?;
            Some([*self.1.get(index)?, *self.1.get(index + 1)?])
        }
    }

    const STACK: Words = Words(0x1000, &[0, 0, 0x1030, 0xc0de, 7, 7, 0, 0xbeef, 0x1018, 0xdead, 0x1070, 7]);

    #[test]
    fn goes_to_the_caller_and_ends_at_the_zero_frame_pointer() {
        let leaf = Registers { pc: 1, sp: 0x1000, fp: 0x1010 };
        let caller = Registers { pc: 0xc0de, sp: 0x1020, fp: 0x1030 };
        assert_eq!(frame_pointer_step::<X86_64>(leaf, &STACK), Step::Caller(caller));
        let root = Registers { pc: 0xbeef, sp: 0x1040, fp: 0 };
        assert_eq!(frame_pointer_step::<X86_64>(caller, &STACK), Step::Caller(root));
        assert_eq!(frame_pointer_step::<X86_64>(root, &STACK), Step::Root);
    }

    #[test]
    fn on_aarch64_records_follow_each_other_and_tell_a_bound_of_the_stack_pointer() {
        const RECORDS: Words = Words(0x1000, &[0x1010, 0x0035_0000_0000_c0de, 0, 0xbeef]);
        let leaf = Registers { pc: 1, sp: 0x1000, fp: 0x1000 };
        let Step::Caller(caller) = frame_pointer_step::<Aarch64>(leaf, &RECORDS) else {
            panic!("the first record is readable");
        };
        assert_eq!((caller.pc, caller.fp), (0xc0de, 0x1010));
        assert!(!Aarch64::is_exact(caller.sp) && caller.sp < caller.fp);
        let Step::Caller(root) = frame_pointer_step::<Aarch64>(caller, &RECORDS) else {
            panic!("a frame may be no larger than its record");
        };
        assert_eq!((root.pc, root.fp), (0xbeef, 0));
        assert_eq!(frame_pointer_step::<Aarch64>(root, &RECORDS), Step::Root);
    }

    #[test]
    fn a_zero_return_address_is_the_root() {
        let registers = Registers { pc: 1, sp: 0x1000, fp: 0x1000 };
        assert_eq!(frame_pointer_step::<X86_64>(registers, &STACK), Step::Root);
    }

    #[test]
    fn a_chain_that_falls_is_lost() {
        let registers = Registers { pc: 1, sp: 0x1040, fp: 0x1040 };
        let Step::Caller(caller) = frame_pointer_step::<X86_64>(registers, &STACK) else {
            panic!("the record itself is readable");
        };
        assert_eq!(frame_pointer_step::<X86_64>(caller, &STACK), Step::Lost);
    }

    #[test]
    fn a_frame_pointer_that_is_used_for_something_else_is_lost_or_unreadable() {
        let odd = Registers { pc: 1, sp: 0x1000, fp: 0x1011 };
        assert_eq!(frame_pointer_step::<X86_64>(odd, &STACK), Step::Lost);
        let small = Registers { pc: 1, sp: 0x1000, fp: 8 };
        assert_eq!(frame_pointer_step::<X86_64>(small, &STACK), Step::Lost);
        let data = Registers { pc: 1, sp: 0x1000, fp: 0x1050 };
        assert_eq!(frame_pointer_step::<X86_64>(data, &STACK), Step::Lost, "7 is no return address");
        let far = Registers { pc: 1, sp: 0x1000, fp: 0x9_0000 };
        assert_eq!(frame_pointer_step::<X86_64>(far, &STACK), Step::Unreadable);
    }
}
