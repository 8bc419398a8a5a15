//! Walking a stack in user space, from registers and a copy of its memory. It does what the kernel side does
//! (`on_walk` in profiler-ebpf/src/walk.rs), by the same steps and rules: the two must agree.

use std::cell::Cell;

use profiler_common::{
    outcome::Outcome,
    stack::MAX_USER_FRAMES,
    unwind::{
        Architecture, Memory, Native, RegisterFile, Registers, Step, frame_pointer_step, rule::Rule, step,
    },
};

/// How code is unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// By this rule.
    Rule(Rule),
    /// Along the chain of frame pointers: generated code.
    FramePointer,
    /// Along the chain of frame pointers for want of rules: what is found may lack frames.
    NoTable,
    /// Not at all: no code is known there.
    Unmapped,
}

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub struct Start<A: Architecture = Native> {
    /// Program counter of the first frame.
    pub pc: u64,
    /// Its general registers by DWARF number.
    pub registers: A::General,
    /// Whether `pc` is a return address.
    pub is_return: bool,
}

/// Memory from an address upwards.
#[derive(Clone, Copy, Debug)]
pub struct StackMemory<'a> {
    /// The first address.
    pub start: u64,
    /// What is there.
    pub bytes: &'a [u8],
}

impl Memory for StackMemory<'_> {
    fn read_word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..)?.first_chunk().map(|word| u64::from_ne_bytes(*word))
    }

    fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
        Some([self.read_word(address)?, self.read_word(address.checked_add(8)?)?])
    }
}

/// Memory in parts, none of which a value lies across.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a>(pub &'a [StackMemory<'a>]);

impl Memory for Parts<'_> {
    fn read_word(&self, address: u64) -> Option<u64> {
        self.0.iter().find_map(|memory| memory.read_word(address))
    }

    fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
        self.0.iter().find_map(|memory| memory.read_pair(address))
    }
}

/// Memory that remembers the highest address that was read.
#[derive(Debug)]
pub struct Watched<'a, M> {
    memory: &'a M,
    highest: Cell<u64>,
}

impl<'a, M: Memory> Watched<'a, M> {
    /// Nothing was read yet.
    #[must_use]
    pub fn new(memory: &'a M) -> Self {
        Self { memory, highest: Cell::new(0) }
    }

    /// The highest address that was asked for; 0 where none was.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest.get()
    }

    fn watch(&self, address: u64) {
        self.highest.set(self.highest.get().max(address));
    }
}

impl<M: Memory> Memory for Watched<'_, M> {
    fn read_word(&self, address: u64) -> Option<u64> {
        self.watch(address);
        self.memory.read_word(address)
    }

    fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
        self.watch(address);
        self.memory.read_pair(address)
    }
}

/// The general registers of the last interrupted frame; `known` in that frame itself.
struct Interrupted<A: Architecture> {
    registers: A::General,
    known: bool,
}

impl<A: Architecture> RegisterFile for Interrupted<A> {
    fn get(&self, register: u8) -> Option<u64> {
        let value = self.registers.as_ref().get(usize::from(register)).copied();
        if self.known || A::is_scratch(register) { value } else { None }
    }
}

/// Walks a stack. Gives its addresses, leaf first, as the kernel side writes them, and how the walk ended.
///
/// The architecture is that of the agent, or that of a stack which was recorded elsewhere.
pub fn walk<A: Architecture>(
    start: Start<A>,
    memory: &impl Memory,
    mut lookup: impl FnMut(u64) -> Lookup,
) -> (Vec<u64>, Outcome) {
    let mut file = Interrupted::<A> { registers: start.registers, known: true };
    // Every architecture has both among its general registers.
    let first = |number: u8| file.get(number).unwrap_or_default();
    let mut registers = Registers { pc: start.pc, sp: first(A::SP), fp: first(A::FP) };
    let mut is_return = start.is_return;
    let mut addresses = vec![start.pc];
    let mut astray = None;
    let end = loop {
        if addresses.len() >= MAX_USER_FRAMES {
            return (addresses, Outcome::TooDeep);
        }
        let pc = registers.pc.wrapping_sub(u64::from(is_return));
        let taken = match lookup(pc) {
            Lookup::Rule(rule) => step::<A>(&rule, registers, &file, memory),
            Lookup::FramePointer => frame_pointer_step::<A>(registers, memory),
            Lookup::NoTable => {
                astray.get_or_insert(Outcome::NoTable);
                frame_pointer_step::<A>(registers, memory)
            }
            Lookup::Unmapped if A::is_signal_return(registers.pc, memory) => Step::Interrupted,
            Lookup::Unmapped => break Outcome::UnmappedPc,
        };
        let taken = match taken {
            Step::NoRow if A::is_signal_return(registers.pc, memory) => Step::Interrupted,
            taken => taken,
        };
        match taken {
            Step::Caller(caller) => {
                registers = caller;
                file.known = false;
                is_return = true;
                addresses.push(caller.pc);
            }
            Step::Interrupted => {
                let Some(context) = read_context::<A>(registers.sp, memory) else {
                    break Outcome::UnreadableMemory;
                };
                // Neither address is behind a call: see `frame` in the kernel side.
                if let Some(last) = addresses.last_mut() {
                    *last = last.wrapping_add(1);
                }
                registers = A::interrupted(&context, &mut file.registers);
                file.known = true;
                is_return = false;
                addresses.push(registers.pc.wrapping_add(1));
            }
            Step::Root => break Outcome::Complete,
            Step::Unreadable => break Outcome::UnreadableMemory,
            Step::Lost => break Outcome::LostChain,
            Step::NoRow => break Outcome::NoRow,
            Step::Unsupported => break Outcome::UnsupportedRule,
        }
    };
    (addresses, astray.unwrap_or(end))
}

fn read_context<A: Architecture>(sp: u64, memory: &impl Memory) -> Option<A::Context> {
    let start = sp.wrapping_add(A::SIGNAL_CONTEXT);
    let words: Option<Vec<u64>> = (0..size_of::<A::Context>() as u64 / 8)
        .map(|index| memory.read_word(start.wrapping_add(8 * index)))
        .collect();
    A::Context::try_from(&words?).ok()
}

#[cfg(test)]
mod tests {
    use profiler_common::unwind::{
        CONTEXT, X86_64,
        rule::{fp, kind},
    };

    use super::*;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    const SP: usize = X86_64::SP as usize;

    fn start(pc: u64, is_return: bool) -> Start<X86_64> {
        let mut registers = [0; 16];
        registers[SP] = 0x1000;
        registers[0] = 0x1010;
        Start { pc, registers, is_return }
    }

    #[test]
    fn goes_to_the_root_by_the_rules_of_calls() {
        let bytes = words(&[0x5010, 7, 0x6020]);
        let memory = StackMemory { start: 0x1000, bytes: &bytes };
        let mut asked = Vec::new();
        let (addresses, outcome) = walk(start(0x4000, false), &memory, |pc| {
            asked.push(pc);
            Lookup::Rule(match pc {
                0x4000 => Rule::offset(7, 8),
                0x500f => Rule::offset(7, 16),
                _ => Rule::END,
            })
        });
        assert_eq!((addresses, outcome), (vec![0x4000, 0x5010, 0x6020], Outcome::Complete));
        assert_eq!(asked, [0x4000, 0x500f, 0x601f], "callers are looked up inside their calls");
    }

    #[test]
    fn keeps_the_leaf_side_and_says_why_it_stopped() {
        let bytes = words(&[0x5010]);
        let memory = StackMemory { start: 0x1000, bytes: &bytes };
        let run = |second: Lookup| {
            walk(start(0x4001, true), &memory, |pc| {
                if pc == 0x4000 { Lookup::Rule(Rule::offset(7, 8)) } else { second }
            })
        };
        for (second, outcome) in [
            (Lookup::Unmapped, Outcome::UnmappedPc),
            (Lookup::Rule(Rule::GAP), Outcome::NoRow),
            (Lookup::Rule(Rule::UNSUPPORTED), Outcome::UnsupportedRule),
            (Lookup::Rule(Rule::offset(7, 8)), Outcome::UnreadableMemory),
            // Registers that callees save are not known in callers.
            (Lookup::Rule(Rule::offset(3, 8)), Outcome::UnsupportedRule),
            // A zero frame pointer is a root, but not one to rely on without rules.
            (Lookup::NoTable, Outcome::NoTable),
            (Lookup::FramePointer, Outcome::Complete),
        ] {
            assert_eq!(run(second), (vec![0x4001, 0x5010], outcome), "{second:?}");
        }
    }

    #[test]
    fn a_signal_leads_to_all_registers_of_what_it_interrupted() {
        // The handler's return address, then ucontext_t: 40 bytes, r8 to r15, ..., rax at 13, rsp at 15, rip at 16.
        let mut stack = vec![0x5001];
        stack.extend([0; 5]);
        let mut context = [0; CONTEXT];
        (context[13], context[15], context[16]) = (0x10c8, 0x10b8, 0x7000);
        stack.extend(context);
        stack.extend([1, 1, 0x8000]);
        let bytes = words(&stack);
        let memory = StackMemory { start: 0x1000, bytes: &bytes };
        let (addresses, outcome) = walk(start(0x4000, false), &memory, |pc| {
            Lookup::Rule(match pc {
                0x4000 => Rule::offset(7, 8),
                0x5000 => Rule::SIGNAL,
                // CFA = rax + 8, and rax is where the return address lies.
                0x7000 => Rule { kind: kind::OFFSET, fp: fp::UNDEFINED, ..Rule::offset(0, 8) },
                _ => Rule::END,
            })
        });
        assert_eq!(outcome, Outcome::Complete);
        assert_eq!(addresses, [0x4000, 0x5002, 0x7001, 0x8000]);
    }

    #[test]
    fn memory_in_two_parts_is_not_read_across_their_border() {
        let (low, high) = (words(&[1, 2]), words(&[3]));
        let parts = [StackMemory { start: 0x1000, bytes: &low }, StackMemory { start: 0x1010, bytes: &high }];
        let memory = Parts(&parts);
        assert_eq!(memory.read_pair(0x1000), Some([1, 2]));
        assert_eq!(memory.read_word(0x1010), Some(3));
        assert_eq!((memory.read_word(0x100c), memory.read_pair(0x1008)), (None, None));
    }

    #[test]
    fn a_stack_without_end_is_cut() {
        let bytes = words(&[0x5000; 4096]);
        let memory = StackMemory { start: 0x1000, bytes: &bytes };
        let (addresses, outcome) = walk(start(0x4000, false), &memory, |_| Lookup::Rule(Rule::offset(7, 8)));
        assert_eq!((addresses.len(), outcome), (MAX_USER_FRAMES, Outcome::TooDeep));
    }
}
