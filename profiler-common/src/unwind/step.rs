//! A step by a rule.

use super::{
    Memory, Registers, Step, frame_pointer_step, is_code_address,
    rule::{Rule, fp, kind, ra},
};

/// DWARF number of rax, which holds what a system call returned.
const RAX: u8 = 0;
/// DWARF number of the frame pointer on x86_64 (System V ABI AMD64, figure 3.36).
const RBP: u8 = 6;
/// DWARF number of the stack pointer.
const RSP: u8 = 7;

/// Where the general registers of interrupted code lie above the stack pointer of the code that returns from a signal
/// handler: behind uc_flags, uc_link and uc_stack of ucontext_t (arch/x86/include/uapi/asm/sigcontext.h).
pub const SIGNAL_CONTEXT: u64 = 40;
/// How many words lie there: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip.
pub const SIGNAL_WORDS: usize = 17;

/// Registers beyond pc, sp and fp.
pub trait RegisterFile {
    /// The register with this DWARF number; `None` where it is not known: in callers of interrupted frames, all but
    /// [scratch](is_scratch) registers.
    fn get(&self, register: u8) -> Option<u64>;
}

/// Whether a register need not outlive a call (System V ABI AMD64, figure 3.4): rax, rdx, rcx, rsi, rdi, r8 to r11.
///
/// Compilers never need such a register in a frame that has called another one. Hand-written code that does so, as in
/// OpenSSL, relies on its callee to leave the register alone: there the interrupted frame's value is still the right one.
#[inline(always)]
#[must_use]
pub const fn is_scratch(register: u8) -> bool {
    0x0f37 >> (register & 15) & 1 == 1
}

/// Whether the instructions at a return address are those that return from a signal handler: `mov $15, %rax; syscall`.
/// C libraries other than glibc have no rule for them.
#[inline(always)]
#[must_use]
pub fn is_signal_return(pc: u64, memory: &impl Memory) -> bool {
    memory.read_word(pc) == Some(0x0f00_0000_0fc0_c748)
}

/// A step by the rule for `registers.pc`.
///
/// Stacks grow down, so a caller's frame lies above: one that does not is broken. That also bounds every walk.
#[inline(always)]
pub fn step(rule: &Rule, registers: Registers, file: &impl RegisterFile, memory: &impl Memory) -> Step {
    match rule.kind {
        kind::OFFSET | kind::DEREF | kind::PLT => {}
        kind::FRAME_POINTER => return frame_pointer_step(registers, memory),
        // Every address lies above this one. Walks that do not rise are bounded by the number of frames alone.
        kind::OTHER_STACK => return frame_pointer_step(Registers { sp: 0, ..registers }, memory),
        kind::CLONE => {
            return match file.get(RAX) {
                Some(0) => Step::Root,
                Some(_) => return_address_at(registers.sp, registers, memory),
                None => Step::Unsupported,
            };
        }
        kind::SIGNAL => return Step::Interrupted,
        kind::END => return Step::Root,
        kind::GAP => return Step::NoRow,
        _ => return Step::Unsupported,
    }
    let cfa_register = if rule.kind == kind::PLT { RSP } else { rule.cfa_register };
    let Some(base) = register(cfa_register, registers, file) else {
        return Step::Unsupported;
    };
    let mut cfa = base.wrapping_add(rule.cfa_offset as i64 as u64);
    if rule.kind == kind::PLT {
        cfa = base.wrapping_add(if registers.pc & 15 >= rule.cfa_add as u64 { 16 } else { 8 });
    } else if rule.kind == kind::DEREF {
        let Some(word) = memory.read_word(cfa) else {
            return Step::Unreadable;
        };
        cfa = word.wrapping_add(rule.cfa_add as i64 as u64);
    }
    if cfa < registers.sp {
        return Step::Lost;
    }
    if rule.ra == ra::REGISTER {
        let Some(pc) = file.get(rule.ra_register) else {
            return Step::Unsupported;
        };
        return caller(pc, cfa, registers.fp, registers.sp.wrapping_sub(1));
    }
    let return_at = cfa.wrapping_sub(8);
    match rule.fp {
        // Most often the two lie side by side, and one read gives both.
        fp::AT_CFA if rule.fp_offset == -16 => match memory.read_pair(cfa.wrapping_sub(16)) {
            Some([fp, pc]) => caller(pc, cfa, fp, registers.sp),
            None => Step::Unreadable,
        },
        _ => {
            let saved = match rule.fp {
                fp::AT_CFA => Some(cfa.wrapping_add(rule.fp_offset as i64 as u64)),
                fp::AT_REGISTER => match register(rule.fp_register, registers, file) {
                    Some(base) => Some(base.wrapping_add(rule.fp_offset as i64 as u64)),
                    None => return Step::Unsupported,
                },
                _ => None,
            };
            let Some(pc) = memory.read_word(return_at) else {
                return Step::Unreadable;
            };
            let fp = match saved {
                Some(address) => match memory.read_word(address) {
                    Some(fp) => fp,
                    None => return Step::Unreadable,
                },
                // Undefined: what is there is not the caller's, but nothing may follow it.
                None if rule.fp == fp::UNDEFINED => 0,
                None => registers.fp,
            };
            caller(pc, cfa, fp, registers.sp)
        }
    }
}

/// The frame of a function that has pushed nothing yet.
#[inline(always)]
fn return_address_at(sp: u64, registers: Registers, memory: &impl Memory) -> Step {
    match memory.read_word(sp) {
        Some(pc) => caller(pc, sp.wrapping_add(8), registers.fp, sp),
        None => Step::Unreadable,
    }
}

#[inline(always)]
fn caller(pc: u64, cfa: u64, fp: u64, below: u64) -> Step {
    if pc == 0 {
        return Step::Root;
    }
    if cfa <= below || !is_code_address(pc) {
        return Step::Lost;
    }
    Step::Caller(Registers { pc, sp: cfa, fp })
}

#[inline(always)]
fn register(number: u8, registers: Registers, file: &impl RegisterFile) -> Option<u64> {
    match number {
        RSP => Some(registers.sp),
        RBP => Some(registers.fp),
        other => file.get(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words from 0x1000 upwards.
    struct Stack(&'static [u64]);

    impl Memory for Stack {
        fn read_word(&self, address: u64) -> Option<u64> {
            self.0.get(usize::try_from(address.checked_sub(0x1000)? / 8).ok()?).copied()
        }

        fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
            Some([self.read_word(address)?, self.read_word(address + 8)?])
        }
    }

    /// Only rax is known.
    struct Rax(Option<u64>);

    impl RegisterFile for Rax {
        fn get(&self, register: u8) -> Option<u64> {
            if register == 0 { self.0 } else { None }
        }
    }

    const LEAF: Registers = Registers { pc: 0x40_0000, sp: 0x1000, fp: 0x1020 };

    fn run(rule: Rule, words: &'static [u64]) -> Step {
        step(&rule, LEAF, &Rax(Some(0x1018)), &Stack(words))
    }

    fn at(pc: u64, sp: u64, fp: u64) -> Step {
        Step::Caller(Registers { pc, sp, fp })
    }

    #[test]
    fn no_rule_for_the_frame_pointer_means_unchanged() {
        assert_eq!(run(Rule::offset(RSP, 8), &[0xc0de]), at(0xc0de, 0x1008, 0x1020));
    }

    #[test]
    fn a_saved_frame_pointer_beside_and_apart_from_the_return_address() {
        let beside = Rule { fp: fp::AT_CFA, fp_offset: -16, ..Rule::offset(RSP, 16) };
        assert_eq!(run(beside, &[0x7f0, 0xc0de]), at(0xc0de, 0x1010, 0x7f0));
        let apart = Rule { fp: fp::AT_CFA, fp_offset: -24, ..Rule::offset(RSP, 24) };
        assert_eq!(run(apart, &[0x7f0, 1, 0xc0de]), at(0xc0de, 0x1018, 0x7f0));
    }

    #[test]
    fn other_registers_are_known_in_interrupted_frames_only() {
        let rule = Rule::offset(0, 8);
        assert_eq!(run(rule, &[0, 0, 0, 0xc0de]), at(0xc0de, 0x1020, 0x1020));
        assert_eq!(step(&rule, LEAF, &Rax(None), &Stack(&[0; 8])), Step::Unsupported);
    }

    #[test]
    fn an_aligned_stack_keeps_its_cfa_and_its_frame_pointer_behind_rbp() {
        // gcc's stack realignment: CFA = *(rbp - 8), rbp saved at (rbp).
        let rule = Rule {
            kind: kind::DEREF,
            cfa_offset: -8,
            fp: fp::AT_REGISTER,
            fp_register: RBP,
            ..Rule::offset(RBP, 0)
        };
        assert_eq!(run(rule, &[0, 0, 0, 0x1038, 0x7f0, 0, 0xc0de]), at(0xc0de, 0x1038, 0x7f0));
    }

    #[test]
    fn a_linkage_table_entry_has_pushed_a_word_from_its_middle_on() {
        let rule = Rule { kind: kind::PLT, cfa_add: 11, ..Rule::default() };
        assert_eq!(run(rule, &[0xc0de, 0xbeef]), at(0xc0de, 0x1008, 0x1020));
        let late = Registers { pc: 0x40_000b, ..LEAF };
        assert_eq!(step(&rule, late, &Rax(None), &Stack(&[0xc0de, 0xbeef])), at(0xbeef, 0x1010, 0x1020));
    }

    #[test]
    fn a_return_address_in_a_register_leaves_the_stack_as_it_is() {
        // vfork pops its return address before the system call.
        let rule = Rule { ra: ra::REGISTER, ..Rule::offset(RSP, 0) };
        assert_eq!(run(rule, &[]), at(0x1018, 0x1000, 0x1020));
    }

    #[test]
    fn the_maker_of_a_thread_has_a_caller_and_the_thread_has_none() {
        let rule = Rule::special(kind::CLONE);
        assert_eq!(run(rule, &[0xc0de]), at(0xc0de, 0x1008, 0x1020));
        assert_eq!(step(&rule, LEAF, &Rax(Some(0)), &Stack(&[0xc0de])), Step::Root);
        assert_eq!(step(&rule, LEAF, &Rax(None), &Stack(&[0xc0de])), Step::Unsupported);
    }

    #[test]
    fn the_frame_pointer_may_lead_to_another_stack() {
        const STACK: &[u64] = &[0x5555, 0xc0de];
        let below = Registers { sp: 0x9000, fp: 0x1000, ..LEAF };
        let to = |rule: Rule, registers| step(&rule, registers, &Rax(None), &Stack(STACK));
        assert_eq!(to(Rule::OTHER_STACK, below), at(0xc0de, 0x1010, 0x5555));
        assert_eq!(to(Rule::FRAME_POINTER, below), Step::Lost);
        assert_eq!(to(Rule::OTHER_STACK, Registers { fp: 0, ..below }), Step::Root);
    }

    #[test]
    fn ends_and_failures() {
        assert_eq!(run(Rule::END, &[]), Step::Root);
        assert_eq!(run(Rule::GAP, &[]), Step::NoRow);
        assert_eq!(run(Rule::UNSUPPORTED, &[]), Step::Unsupported);
        assert_eq!(run(Rule::special(99), &[]), Step::Unsupported);
        assert_eq!(run(Rule::SIGNAL, &[]), Step::Interrupted);
        assert_eq!(run(Rule::offset(RSP, 8), &[]), Step::Unreadable);
        assert_eq!(run(Rule::offset(RSP, 8), &[0]), Step::Root);
        assert_eq!(run(Rule::offset(RSP, 8), &[8]), Step::Lost);
        assert_eq!(run(Rule::offset(RSP, 0), &[0xc0de]), Step::Unreadable);
        assert_eq!(run(Rule::offset(0, -0x100), &[0xc0de]), Step::Lost);
    }

    #[test]
    fn scratch_registers_are_those_that_callees_may_change() {
        let scratch: Vec<u8> = (0..16).filter(|&register| is_scratch(register)).collect();
        assert_eq!(scratch, [0, 1, 2, 4, 5, 8, 9, 10, 11]);
    }

    #[test]
    fn signal_returns_are_known_by_their_instructions() {
        assert!(is_signal_return(0x1000, &Stack(&[0x0f00_0000_0fc0_c748])));
        assert!(!is_signal_return(0x1000, &Stack(&[0x0f00_0000_0fc0_c749])));
    }
}
