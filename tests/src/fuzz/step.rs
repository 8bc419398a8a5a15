//! The unwinder's step and what it finds its rules by.

use std::cell::Cell;

use profiler_common::outcome::Outcome;
use profiler_common::stack::MAX_USER_FRAMES;
use profiler_common::unwind::rule::{Row, Rule, find_row, kind, ra};
use profiler_common::unwind::{
    Aarch64, Architecture, CONTEXT, GENERAL, Memory, RegisterFile, Registers, Step, X86_64, step as one_step,
};
use profiler_user::unwind::walk::{Lookup, Start, walk};

use super::input::Input;

/// Where the stack lies.
const STACK: u64 = 0x7ffc_0000_0000;
/// Words of it.
const WORDS: usize = 64;

/// Memory of which the stack is given, and what else can be read is a function of the address.
struct Arbitrary {
    words: [u64; WORDS],
    seed: u64,
    reads: Cell<usize>,
}

impl Memory for Arbitrary {
    fn read_word(&self, address: u64) -> Option<u64> {
        self.reads.set(self.reads.get() + 1);
        // The upper half is the kernel's: nobody reads it by a user's address.
        if address >> 47 != 0 {
            return None;
        }
        let in_stack =
            address.checked_sub(STACK).and_then(|at| self.words.get(usize::try_from(at / 8).ok()?));
        if let Some(word) = in_stack {
            return Some(word.rotate_right(8 * (address % 8) as u32));
        }
        let mixed = (address ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // An eighth cannot be read; what can be leads near the stack or anywhere.
        match mixed >> 61 {
            0 => None,
            1..=4 => Some(STACK.wrapping_add(mixed >> 40 & 0xffff)),
            _ => Some(mixed.rotate_left(17)),
        }
    }

    fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.read_word(address)?, self.read_word(address.checked_add(8)?)?])
    }
}

/// Registers of which some are not known.
struct Some32([u64; 32], u32);

impl RegisterFile for Some32 {
    fn get(&self, register: u8) -> Option<u64> {
        let known = self.1.checked_shr(u32::from(register)).is_some_and(|bits| bits & 1 == 1);
        self.0.get(usize::from(register)).copied().filter(|_| known)
    }
}

/// A number near the stack, small, or any.
fn word(input: &mut Input<'_>) -> u64 {
    match input.u8() {
        0..=127 => STACK + u64::from(input.u8()) * 8,
        128..=159 => u64::from(input.u16()),
        160..=175 => u64::MAX - u64::from(input.u8()),
        176..=191 => (1 << 47) - u64::from(input.u8()),
        _ => input.u64(),
    }
}

fn rule(input: &mut Input<'_>) -> Rule {
    Rule {
        // One more than there are.
        kind: input.u8() % (kind::OTHER_STACK + 2),
        cfa_register: input.u8() % 34,
        fp: input.u8() % 5,
        fp_register: input.u8() % 34,
        ra: input.u8() % 3,
        ra_register: input.u8() % 34,
        cfa_add: input.u16().cast_signed(),
        cfa_offset: i32::from(input.u16().cast_signed()),
        fp_offset: if input.u8().is_multiple_of(4) {
            input.u32().cast_signed()
        } else {
            i32::from(input.u8().cast_signed())
        },
    }
}

/// Every step leads up the stack to code, or ends the walk, and reads a few words at the most; every walk ends.
pub(super) fn step(bytes: &[u8]) {
    let mut input = Input(bytes);
    let rules: Vec<(Rule, u8)> =
        (0..1 + input.u8() % 8).map(|_| (rule(&mut input), input.u8() % 16)).collect();
    let mut registers = [0; 32];
    registers.iter_mut().take(16).for_each(|register| *register = word(&mut input));
    let (seed, known, is_return) = (input.u64(), input.u32(), input.u8().is_multiple_of(2));
    let pc = word(&mut input);
    let mut words = [0; WORDS];
    for place in &mut words {
        if input.is_empty() {
            break;
        }
        *place = word(&mut input);
    }
    let memory = Arbitrary { words, seed, reads: Cell::new(0) };
    let file = Some32(registers, known);
    for (rule, _) in &rules {
        let start = |sp: u8, fp: u8| Registers {
            pc,
            sp: registers[usize::from(sp) % 16],
            fp: registers[usize::from(fp) % 16],
        };
        check::<X86_64>(rule, start(X86_64::SP, X86_64::FP), &file, &memory);
        check::<Aarch64>(rule, start(Aarch64::SP, Aarch64::FP), &file, &memory);
    }
    let mut general = [0; GENERAL];
    general.iter_mut().zip(registers).for_each(|(to, from)| *to = from);
    memory.reads.set(0);
    let mut steps = 0;
    let (addresses, outcome) = walk(Start::<X86_64> { pc, registers: general, is_return }, &memory, |pc| {
        steps += 1;
        let (rule, how) = rules[(pc ^ pc >> 7) as usize % rules.len()];
        match how {
            0 => Lookup::Unmapped,
            1 => Lookup::NoTable,
            2 => Lookup::FramePointer,
            _ => Lookup::Rule(rule),
        }
    });
    assert!((1..=MAX_USER_FRAMES).contains(&addresses.len()) && steps <= MAX_USER_FRAMES);
    assert_eq!(addresses.len() == MAX_USER_FRAMES, outcome == Outcome::TooDeep);
    assert!(memory.reads.get() <= MAX_USER_FRAMES * (CONTEXT + 4), "{} reads", memory.reads.get());
}

fn check<A: Architecture>(rule: &Rule, from: Registers, file: &Some32, memory: &Arbitrary) {
    memory.reads.set(0);
    let taken = one_step::<A>(rule, from, file, memory);
    assert!(memory.reads.get() <= 3, "{rule:?} reads {} words", memory.reads.get());
    let Step::Caller(to) = taken else { return };
    assert!(A::is_code_address(to.pc), "{rule:?} leads from {from:?} to {to:?}");
    let stays = A::LINK.is_some() && rule.kind == kind::CLONE
        || rule.ra == ra::REGISTER && [kind::OFFSET, kind::DEREF, kind::PLT].contains(&rule.kind);
    let rises = to.sp > from.sp || stays && to.sp == from.sp;
    assert!(rises || rule.kind == kind::OTHER_STACK, "{rule:?} leads from {from:?} down to {to:?}");
}

/// Finding a row looks at a few rows, and gives the one that a search of all gives where they are in order.
pub(super) fn rows(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (offset, sorted) = (u64::from(input.u16()), input.u8() % 4 != 0);
    let mut offsets: Vec<u16> = input.0.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    if sorted {
        offsets.insert(0, 0);
        offsets.sort_unstable();
        offsets.dedup();
    }
    let looks = Cell::new(0);
    let found = find_row(offsets.len() as u64, offset, |index| {
        looks.set(looks.get() + 1);
        let at = usize::try_from(index).ok()?;
        Some(Row { offset: *offsets.get(at)?, rule: u16::try_from(at).ok()? })
    });
    assert!(looks.get() <= 19, "{} rows were looked at", looks.get());
    if sorted {
        let expected = offsets.iter().rposition(|&row| u64::from(row) <= offset);
        assert_eq!(found.map(|row| usize::from(row.rule)), expected);
    }
}
