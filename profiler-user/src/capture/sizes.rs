//! How large the maps are.

use std::time::Duration;

use profiler_common::{
    stack::{BLOCK_CHUNKS, CHUNK_WORDS},
    unwind::pool::ELEMENT_BYTES,
};

/// What to capture.
#[derive(Clone, Debug)]
pub struct Options {
    /// Ticks per second on each CPU, 1 to 999.
    pub frequency_hz: u32,
    /// Length of a window.
    pub window: Duration,
    /// Sample only selected processes.
    pub select: bool,
    /// Select the children of selected processes, too.
    pub follow_children: bool,
    /// Distinct stacks that a window has room for; `None`: as many as there are ticks in it.
    pub max_stacks: Option<u32>,
    /// Combinations of process, thread and stack that a window has room for; `None`: as many as there are ticks.
    pub max_counts: Option<u32>,
    /// Which bits of a stack's hash are kept. All, but in tests that need collisions.
    pub hash_mask: u64,
    /// Bytes of the pool of unwind tables, rounded up to whole elements.
    pub pool_bytes: usize,
    /// Bytes of the ring buffer of messages; a power of two.
    pub message_bytes: u32,
    /// Bytes that counts and stacks may have at the most, both banks together. Where a window may need more, it ends early.
    pub window_bytes: usize,
    /// Drain maps entry by entry even where the kernel has batch operations.
    pub no_batch: bool,
    /// Walk without bpf_loop even where the kernel has it.
    pub no_bpf_loop: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            frequency_hz: 99,
            window: Duration::from_secs(10),
            select: false,
            follow_children: false,
            max_stacks: None,
            max_counts: None,
            hash_mask: u64::MAX,
            pool_bytes: 20 << 20,
            message_bytes: 4 << 20,
            window_bytes: 16 << 20,
            no_batch: false,
            no_bpf_loop: false,
        }
    }
}

impl Options {
    /// Nanoseconds between two ticks of a CPU.
    #[must_use]
    pub fn period_ns(&self) -> u64 {
        1_000_000_000 / u64::from(self.frequency_hz.max(1))
    }
}

/// Chunks that a stack is expected to take: 64 words, that is 63 frames. Deeper ones take from shallower ones.
pub(super) const CHUNKS_PER_STACK: u64 = 8;

/// Bytes that room for one tick takes in both banks: its stack in the arena, and entries of 106 and 130 bytes in the two hash
/// maps, as the kernel accounts for them.
const TICK_BYTES: u64 = 2 * (CHUNKS_PER_STACK * CHUNK_WORDS as u64 * 8 + 106 + 130);

/// Map sizes that follow from the options and the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Parts of the stack arena per bank: CPUs.
    pub cpus: u32,
    /// Blocks in a part.
    pub blocks_per_cpu: u32,
    /// Entries of each stack map.
    pub stacks: u32,
    /// Entries of each count map.
    pub counts: u32,
    /// Entries of each of the process maps.
    pub processes: u32,
    /// Elements of the pool of unwind tables.
    pub pool_elements: u32,
}

impl Sizes {
    /// Room for every tick of a window to have a stack of its own, and a quarter more, for windows end late; or as much as
    /// the options allow.
    #[must_use]
    pub fn new(options: &Options, cpus: u32) -> Self {
        let most = (options.window_bytes as u64 / TICK_BYTES).max(256);
        let window_ms = u64::try_from(options.window.as_millis()).unwrap_or(u64::MAX).max(1);
        let ticks_per_cpu =
            u64::from(options.frequency_hz).saturating_mul(window_ms).saturating_mul(5) / 4_000 + 16;
        let ticks = ticks_per_cpu.saturating_mul(u64::from(cpus)).clamp(256, most);
        let per_cpu = ticks_per_cpu.min(most / u64::from(cpus.max(1)) + 1);
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            cpus,
            blocks_per_cpu: narrow((per_cpu * CHUNKS_PER_STACK).div_ceil(BLOCK_CHUNKS)),
            stacks: options.max_stacks.unwrap_or_else(|| narrow(ticks)).max(1),
            counts: options.max_counts.unwrap_or_else(|| narrow(ticks)).max(1),
            processes: 8192,
            pool_elements: u32::try_from(options.pool_bytes.div_ceil(ELEMENT_BYTES)).unwrap_or(1).max(1),
        }
    }

    /// Bytes of the pool of unwind tables.
    #[must_use]
    pub fn pool_bytes(&self) -> usize {
        self.pool_elements as usize * ELEMENT_BYTES
    }

    /// Elements of the arena: both banks.
    #[must_use]
    pub fn arena_blocks(&self) -> u32 {
        self.cpus.saturating_mul(self.blocks_per_cpu).saturating_mul(2)
    }

    /// Chunks in a CPU's part of the arena.
    #[must_use]
    pub fn chunks_per_cpu(&self) -> u32 {
        self.blocks_per_cpu.saturating_mul(BLOCK_CHUNKS as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tick_of_a_window_finds_room() {
        let options = Options { frequency_hz: 19, window: Duration::from_secs(60), ..Options::default() };
        let sizes = Sizes::new(&options, 2);
        assert!(sizes.stacks >= 19 * 60 * 2 && sizes.counts >= 19 * 60 * 2);
        assert!(u64::from(sizes.chunks_per_cpu()) >= 19 * 60 * CHUNKS_PER_STACK);
    }

    #[test]
    fn the_largest_machine_stays_bounded() {
        let options = Options { frequency_hz: 999, window: Duration::from_secs(3600), ..Options::default() };
        let sizes = Sizes::new(&options, 1024);
        assert!(sizes.counts <= 1 << 19);
        // Each CPU has a block in each bank at the least.
        assert!(u64::from(sizes.arena_blocks()) << 16 <= (24 << 20) + ((2 * 1024) << 16));
    }

    #[test]
    fn a_short_window_has_room_for_the_deepest_stack() {
        let options = Options { frequency_hz: 1, window: Duration::from_millis(10), ..Options::default() };
        assert!(Sizes::new(&options, 1).blocks_per_cpu >= 1);
    }
}
