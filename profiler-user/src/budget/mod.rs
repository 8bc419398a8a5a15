//! What the profiler may cost: memory, and CPU time.
//!
//! One number of bytes covers all of it: heap, parts of files that are mapped, BPF maps. What has to have its size when it
//! is made gets a fixed [share](Memory::shares); everything else is looked at while it grows ([`Gauge`]), and whoever makes
//! it grow gives back what can be had again.

mod gauge;
mod pace;
mod parts;

pub use gauge::{Gauge, Usage};
pub use pace::Pace;
pub use parts::{Maps, Parts};

/// Least memory that the profiler works with, bytes.
pub const LEAST: u64 = 48 << 20;
/// What it may use for ever where nothing is said, bytes.
pub const DEFAULT: u64 = 128 << 20;
/// What it may use for one recording where nothing is said, bytes: somebody waits for it, and wants lines also of programs
/// with much debug information.
pub const DEFAULT_ONCE: u64 = 512 << 20;

/// A budget of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it, bytes.
    pub bytes: u64,
}

/// Fixed parts of a budget, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// The pool of unwind tables.
    pub pool: u64,
    /// The ring buffer of messages from the kernel side; a power of two.
    pub messages: u64,
    /// Counts and stacks of a window: the most for both banks.
    pub window: u64,
    /// Copies of stacks that wait to be walked in user space.
    pub waiting_stacks: u64,
    /// Names by address.
    pub names: u64,
}

impl Memory {
    /// How it is shared out.
    #[must_use]
    pub fn shares(self) -> Shares {
        Shares {
            // Room for the code that a host really runs, at four bytes a row; libLLVM, the largest library of a
            // distribution, has 5 MiB of rows if all of its code runs.
            // The kernel gives an array all of its memory at once, used or not.
            pool: (self.bytes / 8).clamp(8 << 20, 24 << 20),
            // Messages hold stacks of up to 1 MiB, and come as fast as ticks while deep programs begin. Who reads them may
            // not run for some milliseconds. The ring is mapped twice in a row to be read without a seam.
            messages: (1 << (self.bytes / 32).max(1).ilog2()).clamp(2 << 20, 8 << 20),
            window: (self.bytes / 8).min(256 << 20),
            waiting_stacks: (self.bytes / 16).min(32 << 20),
            names: self.bytes / 12,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_parts_leave_half_to_what_grows() {
        for bytes in [LEAST, DEFAULT, 1 << 30] {
            let Shares { pool, messages, window, waiting_stacks, names } = Memory { bytes }.shares();
            assert!(pool + messages + window + waiting_stacks + names <= bytes * 3 / 5, "{bytes}");
            assert!(messages.is_power_of_two());
        }
    }
}
