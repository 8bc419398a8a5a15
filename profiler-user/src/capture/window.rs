//! What a drained window consists of: plain data.

use std::collections::HashMap;

use profiler_common::{
    layout::{Name, ProcessKey},
    outcome::{OUTCOMES, Outcome},
    stack::{Header, StackRef},
};

/// One row of the count map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedStack {
    /// The process.
    pub process: ProcessKey,
    /// The thread's name.
    pub thread_name: Name,
    /// The stack, to be looked up in [`Window::stacks`].
    pub stack: StackRef,
    /// Which of the process's lists of mappings the addresses belong to; 0 where there was none.
    pub generation: u32,
    /// Number of samples.
    pub count: u64,
}

/// Everything that was counted between two drains.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Number of the window, from 0.
    pub epoch: u64,
    /// Start, nanoseconds since the Unix epoch.
    pub start_unix_ns: u64,
    /// Length, nanoseconds.
    pub duration_ns: u64,
    /// Start and end, nanoseconds since boot (CLOCK_BOOTTIME): no step of the wall clock moves them.
    pub boottime_ns: [u64; 2],
    /// Ended before its time, because somebody wants what is counted from then on by itself: see
    /// [`Cutter`](super::Cutter).
    pub cut: bool,
    /// Nanoseconds between two ticks of one CPU.
    pub period_ns: u64,
    /// The counted stacks.
    pub rows: Vec<CountedStack>,
    /// The stacks that the rows refer to.
    pub stacks: Stacks,
    /// All ticks of the window by outcome.
    pub outcomes: [u64; OUTCOMES],
    /// Samples that found no room in the count map, by process; their sum is the outcome's count, unless even a
    /// process had no entry any more.
    pub lost: HashMap<ProcessKey, u64>,
    /// How many times the kernel refused to hand it out, before it did.
    pub refusals: u64,
}

impl Window {
    /// The number of ticks that ended this way.
    #[must_use]
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }
}

/// The distinct stacks of a window, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    words: Vec<u64>,
    offsets: HashMap<StackRef, usize>,
}

/// One stack: frames leaf first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack<'a> {
    /// How it ended, and what its user leaf is.
    pub header: Header,
    /// Kernel addresses: the interrupted instruction, then return addresses.
    pub kernel: &'a [u64],
    /// User addresses: the interrupted instruction (or see [`Header::leaf_is_return`]), then return addresses.
    pub user: &'a [u64],
}

impl Stacks {
    /// Whether this stack is there already.
    #[must_use]
    pub fn contains(&self, stack: StackRef) -> bool {
        self.offsets.contains_key(&stack)
    }

    /// Adds a stack. `words` are the header and the frames; surplus words are left out.
    /// A header that announces more frames than there are words is refused: nothing is added.
    pub fn insert(&mut self, stack: StackRef, words: &[u64]) -> bool {
        let Some(&header) = words.first() else {
            return false;
        };
        let header = Header(header);
        let len = 1 + header.kernel_frames() + header.user_frames();
        let Some(words) = words.get(..len) else {
            return false;
        };
        self.offsets.insert(stack, self.words.len());
        self.words.extend_from_slice(words);
        true
    }

    /// The stack under this reference.
    #[must_use]
    pub fn get(&self, stack: StackRef) -> Option<Stack<'_>> {
        let words = self.words.get(*self.offsets.get(&stack)?..)?;
        let header = Header(*words.first()?);
        let (kernel, rest) = words.get(1..)?.split_at_checked(header.kernel_frames())?;
        Some(Stack { header, kernel, user: rest.get(..header.user_frames())? })
    }

    /// Number of distinct stacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_comes_back_in_its_two_halves() {
        let mut stacks = Stacks::default();
        let header = Header::new(2, 1, Outcome::Complete, true);
        assert!(stacks.insert(StackRef(7), &[header.0, 10, 11, 20, 0, 0, 0, 0]));
        assert!(stacks.insert(StackRef(8), &[Header::new(0, 1, Outcome::LostChain, false).0, 30]));
        assert_eq!(stacks.get(StackRef(7)), Some(Stack { header, kernel: &[10, 11], user: &[20] }));
        assert_eq!(stacks.get(StackRef(8)).map(|stack| stack.user), Some(&[30][..]));
        assert_eq!(stacks.get(StackRef(9)), None);
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused() {
        let mut stacks = Stacks::default();
        assert!(!stacks.insert(StackRef(1), &[Header::new(5, 5, Outcome::Complete, false).0, 1, 2]));
        assert!(!stacks.insert(StackRef(1), &[]));
        assert!(stacks.is_empty());
    }
}
