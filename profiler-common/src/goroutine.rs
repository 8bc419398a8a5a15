//! Where the stacks of a thread of a Go program are: its own, and that of the goroutine that it runs.
//!
//! A goroutine's stack lies on a heap, and nothing about the memory says where it ends. What Go's runtime does for a goroutine
//! (collecting garbage, finding memory, starting threads) it does on the thread's own stack, and so it calls the vdso: a copy of
//! that stack alone ends where the goroutine's begins. The runtime's own records tell both. Their places are those of
//! runtime/runtime2.go: `g` begins with the stack's bounds, has `m` at 48 and `sched.sp` at 56; `m` begins with `g0`.
//! Nothing is believed that does not fit together, so that other programs and other runtimes are not taken for Go's.

use core::ops::Range;

use crate::unwind::Memory;

/// Where a `g` has its stack's bounds, the lower one first.
const BOUNDS: u64 = 0;
/// Where it has its `m`, and behind that the stack pointer that it is left with.
const M_AND_SP: u64 = 48;
/// Where an `m` may have `curg`, the goroutine that the thread runs for. Its place differs from version to version: 176 in Go 1.26,
/// 192 where a `gobuf` still had seven words.
const CURG: Range<u64> = 144..256;

/// The stacks of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    /// Where the stack that the thread is on ends.
    pub end: u64,
    /// The stack pointer of the goroutine's stack, where the thread is on its own; 0 where it has left none.
    pub left: u64,
    /// Where that one ends.
    pub left_end: u64,
}

/// A goroutine, or the thread's own stack as Go keeps record of it.
struct Goroutine {
    low: u64,
    high: u64,
    m: u64,
    sp: u64,
}

impl Goroutine {
    #[inline(always)]
    fn read(memory: &impl Memory, g: u64) -> Option<Self> {
        let [low, high] = memory.read_pair(g.wrapping_add(BOUNDS))?;
        let [m, sp] = memory.read_pair(g.wrapping_add(M_AND_SP))?;
        Some(Self { low, high, m, sp })
    }

    /// Whether its stack is where this stack pointer points.
    #[inline(always)]
    fn holds(&self, sp: u64) -> bool {
        self.low < sp && sp <= self.high
    }
}

/// The stacks of a thread with this stack pointer, whose goroutine is said to be at `g`. `saved` is where that one's stack pointer
/// may be while the thread calls the vdso for it, the likelier first. `None` where it is no thread of a Go program, as far as can be seen.
#[inline(always)]
pub fn stacks(memory: &impl Memory, g: u64, sp: u64, saved: [u64; 2]) -> Option<Stacks> {
    let running = Goroutine::read(memory, g)?;
    let own = memory.read_word(running.m)?;
    if running.holds(sp) {
        let (left, left_end) = if own == g { left(memory, g, running.m) } else { (0, 0) };
        return Some(Stacks { end: running.high, left, left_end });
    }
    // The runtime says that the goroutine runs, and has changed stacks for a call all the same.
    let thread = Goroutine::read(memory, own)?;
    if !thread.holds(sp) || thread.m != running.m {
        return None;
    }
    let left = if running.holds(saved[0]) {
        saved[0]
    } else if running.holds(saved[1]) {
        saved[1]
    } else {
        0
    };
    Some(Stacks { end: thread.high, left, left_end: running.high })
}

/// The stack pointer and the end of the stack of the goroutine that a thread does something for on its own stack; zeros where
/// there is none.
#[inline(always)]
fn left(memory: &impl Memory, own: u64, m: u64) -> (u64, u64) {
    let mut place = CURG.start;
    while place < CURG.end {
        if let Some(g) = memory.read_word(m.wrapping_add(place))
            && g != own
            && let Some(goroutine) = Goroutine::read(memory, g)
            && goroutine.m == m
            && goroutine.holds(goroutine.sp)
        {
            return (goroutine.sp, goroutine.high);
        }
        place += 8;
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const G0: u64 = 0x1000;
    const G: u64 = 0x2000;
    const M: u64 = 0x3000;
    const OWN: Range<u64> = 0x7f00_0000..0x7f00_4000;
    const GOROUTINE: Range<u64> = 0xc000_0000..0xc000_0800;

    struct Words(BTreeMap<u64, u64>);

    impl Memory for Words {
        fn read_word(&self, address: u64) -> Option<u64> {
            self.0.get(&address).copied()
        }

        fn read_pair(&self, address: u64) -> Option<[u64; 2]> {
            Some([self.read_word(address)?, self.read_word(address + 8)?])
        }
    }

    /// A thread that runs a goroutine, which has left its stack at `sp` if that is not 0.
    fn thread(curg: u64, sp: u64) -> Words {
        let mut words: BTreeMap<u64, u64> = (0..64).map(|word| (M + 8 * word, 0)).collect();
        for (g, stack, sp) in [(G0, OWN, OWN.end - 64), (G, GOROUTINE, sp)] {
            words.extend([(g, stack.start), (g + 8, stack.end), (g + 48, M), (g + 56, sp)]);
        }
        words.extend([(M, G0), (M + curg, G)]);
        Words(words)
    }

    #[test]
    fn a_goroutine_is_on_its_own_stack() {
        let found = stacks(&thread(176, 0), G, GOROUTINE.start + 0x100, [0; 2]);
        assert_eq!(found, Some(Stacks { end: GOROUTINE.end, left: 0, left_end: 0 }));
    }

    #[test]
    fn the_runtime_works_for_a_goroutine() {
        let left = GOROUTINE.start + 0x200;
        let wanted = Stacks { end: OWN.end, left, left_end: GOROUTINE.end };
        for curg in [176, 192] {
            let mut memory = thread(curg, left);
            // The thread's local storage is in the same record, and has the thread's own.
            memory.0.insert(M + 152, G0);
            assert_eq!(stacks(&memory, G0, OWN.end - 0x900, [0; 2]), Some(wanted));
        }
    }

    #[test]
    fn the_runtime_works_for_nobody() {
        let own = Some(Stacks { end: OWN.end, left: 0, left_end: 0 });
        assert_eq!(stacks(&thread(0, 0), G0, OWN.end - 0x900, [0; 2]), own, "none runs");
        assert_eq!(stacks(&thread(176, 0), G0, OWN.end - 0x900, [0; 2]), own, "it has not left its stack");
        let mut other = thread(176, GOROUTINE.start + 0x200);
        other.0.insert(G + 48, M + 8);
        assert_eq!(stacks(&other, G0, OWN.end - 0x900, [0; 2]), own, "it belongs to another thread");
    }

    #[test]
    fn a_goroutine_calls_the_vdso_on_the_threads_stack() {
        let [sp, fp] = [GOROUTINE.start + 0x300, GOROUTINE.start + 0x310];
        let found = |saved| stacks(&thread(176, 0), G, OWN.end - 0x80, saved);
        let wanted = |left| Some(Stacks { end: OWN.end, left, left_end: GOROUTINE.end });
        assert_eq!(found([sp, fp]), wanted(sp));
        assert_eq!(found([5, fp]), wanted(fp));
        assert_eq!(found([5, 7]), wanted(0));
    }

    #[test]
    fn other_programs_are_no_go_programs() {
        let memory = thread(176, 0);
        assert_eq!(stacks(&memory, G, 0x5000_0000, [0; 2]), None, "the stack pointer is elsewhere");
        assert_eq!(stacks(&memory, 0x9999, GOROUTINE.start + 8, [0; 2]), None, "there is no goroutine");
        let mut alone = thread(176, 0);
        alone.0.remove(&M);
        assert_eq!(stacks(&alone, G, GOROUTINE.start + 8, [0; 2]), None, "it has no thread");
    }
}
