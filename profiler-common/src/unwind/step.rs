//! A step by a rule.

use super::{
    Architecture, Memory, Registers, Step, frame_pointer_step,
    rule::{Rule, fp, kind, ra},
};

/// Registers beyond pc, sp and fp.
pub trait RegisterFile {
    /// The register with this DWARF number; `None` where it is not known: in callers of interrupted frames, all but
    /// [scratch](Architecture::is_scratch) registers.
    fn get(&self, register: u8) -> Option<u64>;
}

/// A step by the rule for `registers.pc`.
///
/// Stacks grow down, so a caller's frame lies above: one that does not is broken. That also bounds every walk.
#[inline(always)]
pub fn step<A: Architecture>(
    rule: &Rule,
    registers: Registers,
    file: &impl RegisterFile,
    memory: &impl Memory,
) -> Step {
    match rule.kind {
        kind::OFFSET | kind::DEREF | kind::PLT => {}
        kind::FRAME_POINTER => return frame_pointer_step::<A>(registers, memory),
        // Every address lies above this one. Walks that do not rise are bounded by the number of frames alone.
        kind::OTHER_STACK => return frame_pointer_step::<A>(Registers { sp: 0, ..registers }, memory),
        kind::CLONE => {
            return match file.get(A::RESULT) {
                Some(0) => Step::Root,
                Some(_) => after_call::<A>(registers, file, memory),
                None => Step::Unsupported,
            };
        }
        kind::SIGNAL => return Step::Interrupted,
        kind::END => return Step::Root,
        kind::GAP => return Step::NoRow,
        _ => return Step::Unsupported,
    }
    let cfa_register = if rule.kind == kind::PLT { A::SP } else { rule.cfa_register };
    let Some(base) = register::<A>(cfa_register, registers, file) else {
        return Step::Unsupported;
    };
    let mut cfa = base.wrapping_add(rule.cfa_offset as i64 as u64);
    if cfa_register == A::SP && !A::is_exact(registers.sp) {
        // The frames below were walked by frame pointers, so this one's leads to its record.
        if rule.kind != kind::OFFSET || rule.fp != fp::AT_CFA {
            return Step::Unsupported;
        }
        cfa = registers.fp.wrapping_sub(rule.fp_offset as i64 as u64);
    } else if rule.kind == kind::PLT {
        cfa = A::linkage_cfa(base, registers.pc, rule.cfa_add as u64);
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
        return caller::<A>(pc, cfa, registers.fp, registers.sp.wrapping_sub(1));
    }
    // Where a call leaves it in a register, functions save it where they like.
    let return_offset = match A::LINK {
        Some(_) if rule.ra == ra::IN_RECORD => i64::from(rule.fp_offset) + 8,
        Some(_) => i64::from(rule.cfa_add),
        None => -8,
    };
    let return_at = cfa.wrapping_add(return_offset as u64);
    match rule.fp {
        // Most often the two lie side by side, and one read gives both.
        fp::AT_CFA if i64::from(rule.fp_offset) == return_offset - 8 => {
            match memory.read_pair(return_at.wrapping_sub(8)) {
                Some([fp, pc]) => caller::<A>(pc, cfa, fp, registers.sp),
                None => Step::Unreadable,
            }
        }
        _ => {
            let saved = match rule.fp {
                fp::AT_CFA => Some(cfa.wrapping_add(rule.fp_offset as i64 as u64)),
                fp::AT_REGISTER => match register::<A>(rule.fp_register, registers, file) {
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
            caller::<A>(pc, cfa, fp, registers.sp)
        }
    }
}

/// The frame of a function that has done nothing yet.
#[inline(always)]
fn after_call<A: Architecture>(registers: Registers, file: &impl RegisterFile, memory: &impl Memory) -> Step {
    let Registers { sp, fp, .. } = registers;
    match A::LINK {
        Some(link) => match file.get(link) {
            Some(pc) => caller::<A>(pc, sp, fp, sp.wrapping_sub(1)),
            None => Step::Unsupported,
        },
        None => match memory.read_word(sp) {
            Some(pc) => caller::<A>(pc, sp.wrapping_add(8), fp, sp),
            None => Step::Unreadable,
        },
    }
}

#[inline(always)]
fn caller<A: Architecture>(stored: u64, cfa: u64, fp: u64, below: u64) -> Step {
    let pc = A::return_address(stored);
    if pc == 0 {
        return Step::Root;
    }
    if cfa <= below || !A::is_code_address(pc) {
        return Step::Lost;
    }
    Step::Caller(Registers { pc, sp: cfa, fp })
}

#[inline(always)]
fn register<A: Architecture>(number: u8, registers: Registers, file: &impl RegisterFile) -> Option<u64> {
    if number == A::SP {
        Some(registers.sp)
    } else if number == A::FP {
        Some(registers.fp)
    } else {
        file.get(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::{Aarch64, X86_64};

    const RBP: u8 = X86_64::FP;
    const RSP: u8 = X86_64::SP;

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
        step::<X86_64>(&rule, LEAF, &Rax(Some(0x1018)), &Stack(words))
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
        assert_eq!(step::<X86_64>(&rule, LEAF, &Rax(None), &Stack(&[0; 8])), Step::Unsupported);
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
        assert_eq!(
            step::<X86_64>(&rule, late, &Rax(None), &Stack(&[0xc0de, 0xbeef])),
            at(0xbeef, 0x1010, 0x1020)
        );
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
        assert_eq!(step::<X86_64>(&rule, LEAF, &Rax(Some(0)), &Stack(&[0xc0de])), Step::Root);
        assert_eq!(step::<X86_64>(&rule, LEAF, &Rax(None), &Stack(&[0xc0de])), Step::Unsupported);
    }

    #[test]
    fn the_frame_pointer_may_lead_to_another_stack() {
        const STACK: &[u64] = &[0x5555, 0xc0de];
        let below = Registers { sp: 0x9000, fp: 0x1000, ..LEAF };
        let to = |rule: Rule, registers| step::<X86_64>(&rule, registers, &Rax(None), &Stack(STACK));
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

    /// Only x30 is known.
    struct Link(Option<u64>);

    impl RegisterFile for Link {
        fn get(&self, register: u8) -> Option<u64> {
            if register == 30 { self.0 } else { None }
        }
    }

    fn on_aarch64(rule: Rule, link: Option<u64>, words: &'static [u64]) -> Step {
        step::<Aarch64>(&rule, LEAF, &Link(link), &Stack(words))
    }

    #[test]
    fn a_call_may_leave_the_return_address_in_a_register() {
        let leaf = Rule { ra: ra::REGISTER, ra_register: 30, ..Rule::offset(31, 0) };
        assert_eq!(on_aarch64(leaf, Some(0xc0de), &[]), at(0xc0de, 0x1000, 0x1020));
        assert_eq!(on_aarch64(leaf, None, &[]), Step::Unsupported, "a callee has changed it");
        let entry = Rule { kind: kind::PLT, ..leaf };
        assert_eq!(on_aarch64(entry, Some(0xc0de), &[]), at(0xc0de, 0x1000, 0x1020));
    }

    #[test]
    fn a_return_address_is_where_the_function_saved_it() {
        // stp x29, x30, [sp, #-32]!
        let pair = Rule { fp: fp::AT_CFA, fp_offset: -32, ra: ra::IN_RECORD, ..Rule::offset(31, 32) };
        assert_eq!(on_aarch64(pair, None, &[0x7f0, 0xc0de]), at(0xc0de, 0x1020, 0x7f0));
        let pair = Rule { fp: fp::AT_CFA, fp_offset: -32, cfa_add: -24, ..Rule::offset(31, 32) };
        assert_eq!(on_aarch64(pair, None, &[0x7f0, 0xc0de]), at(0xc0de, 0x1020, 0x7f0));
        // str x30, [sp, #-16]!
        let alone = Rule { cfa_add: -16, ..Rule::offset(31, 16) };
        assert_eq!(on_aarch64(alone, None, &[0xc0de, 7]), at(0xc0de, 0x1010, 0x1020));
        assert_eq!(on_aarch64(alone, None, &[0x0035_0000_0000_c0de]), at(0xc0de, 0x1010, 0x1020));
    }

    #[test]
    fn above_frames_that_were_walked_by_frame_pointers_the_record_tells_the_cfa() {
        // A record at the lower end of 32 bytes; what is below is not known.
        let pair = Rule { fp: fp::AT_CFA, fp_offset: -32, ra: ra::IN_RECORD, ..Rule::offset(31, 32) };
        let bound = Registers { sp: Aarch64::above_record(0x1000), fp: 0x1018, ..LEAF };
        let words = Stack(&[1, 2, 3, 0x7f0, 0xc0de]);
        let run = |rule, registers| step::<Aarch64>(&rule, registers, &Link(None), &words);
        assert_eq!(run(pair, bound), at(0xc0de, 0x1038, 0x7f0));
        assert_eq!(run(pair, Registers { sp: 0x1018, ..bound }), at(0xc0de, 0x1038, 0x7f0));
        let alone = Rule { cfa_add: -16, ..Rule::offset(31, 16) };
        assert_eq!(run(alone, bound), Step::Unsupported, "nothing tells where its frame is");
    }

    #[test]
    fn the_maker_of_a_thread_returns_by_its_link_register() {
        struct Both([u64; 2]);
        impl RegisterFile for Both {
            fn get(&self, register: u8) -> Option<u64> {
                [0, 30].iter().position(|&known| known == register).map(|index| self.0[index])
            }
        }
        let rule = Rule::special(kind::CLONE);
        let run = |registers| step::<Aarch64>(&rule, LEAF, &Both(registers), &Stack(&[]));
        assert_eq!(run([7, 0xc0de]), at(0xc0de, 0x1000, 0x1020));
        assert_eq!(run([0, 0xc0de]), Step::Root);
    }
}
