//! How deep the stacks of a process are, as copies of them have shown.
//!
//! The kernel side sees where the memory of a stack ends, and copies all of it. Stacks on a heap end nowhere, unless the program
//! says where, as Go's do: the most is copied of each, unless this says that less will do.

use profiler_common::{layout::DEFERRED_STACKS, outcome::Outcome, unwind::pool::process_flags};

/// Bytes that are copied of a shallow stack.
const SHALLOW: u64 = DEFERRED_STACKS[1] as u64;
/// Copies in which the frames ended within that before it is believed.
const ENOUGH: u8 = 4;

/// What is known of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Depth {
    shallow: u8,
    deep: bool,
}

impl Depth {
    /// Whether the lower part of a stack is enough.
    pub(super) fn is_shallow(self) -> bool {
        !self.deep && self.shallow >= ENOUGH
    }

    /// What the kernel side is told of it, of [`process_flags`].
    pub(super) fn flags(self) -> u32 {
        if self.is_shallow() { process_flags::SHALLOW } else { 0 }
    }

    /// Learns from a walk over a copy of `copied` bytes, which read or wanted to read the lowest `used` bytes.
    pub(super) fn learn(&mut self, copied: u64, used: u64, outcome: Outcome) {
        if copied > SHALLOW {
            match outcome {
                _ if used > SHALLOW => self.deep = true,
                Outcome::Complete => self.shallow = self.shallow.saturating_add(1),
                _ => {}
            }
        } else if self.is_shallow() && outcome == Outcome::UnreadableMemory && used >= copied {
            // A process with both kinds of stacks counts as deep from now on.
            self.deep = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn stacks_without_an_end_are_shallow_after_some_copies() {
        let mut depth = Depth::default();
        for _ in 0..ENOUGH {
            assert!(!depth.is_shallow());
            depth.learn(MIB, 2000, Outcome::Complete);
        }
        assert!(depth.is_shallow());
        depth.learn(SHALLOW, 3000, Outcome::UnreadableMemory);
        assert!(depth.is_shallow(), "it was not for want of memory");
        depth.learn(SHALLOW, SHALLOW + 8, Outcome::UnreadableMemory);
        assert!(!depth.is_shallow());
        (0..10).for_each(|_| depth.learn(MIB, 2000, Outcome::Complete));
        assert!(!depth.is_shallow(), "it has deep ones, too");
    }

    #[test]
    fn one_deep_stack_is_enough() {
        let mut depth = Depth::default();
        depth.learn(MIB, SHALLOW + 8, Outcome::Complete);
        (0..10).for_each(|_| depth.learn(MIB, 2000, Outcome::Complete));
        assert!(!depth.is_shallow());
    }

    #[test]
    fn incomplete_walks_and_stacks_with_an_end_say_nothing() {
        let mut depth = Depth::default();
        (0..10).for_each(|_| depth.learn(MIB, 2000, Outcome::NoRow));
        (0..10).for_each(|_| depth.learn(8192, 2000, Outcome::Complete));
        assert_eq!(depth, Depth::default());
    }
}
