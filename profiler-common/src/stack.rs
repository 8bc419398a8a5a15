//! How a stack lies in the stack arena.
//!
//! The arena is an array of chunks of [`CHUNK_WORDS`] words. A stack takes as many chunks in a row as it needs: one header word, the
//! kernel frames and then the user frames, each leaf first. Variable size is what makes the arena small: a fixed slot for the deepest stack would be thirty times the size of a typical one.
//!
//! To the kernel the arena is an array of [blocks](Block), for a stack to be copied there as a whole: what is written at
//! once has to lie in one element. So a stack does not begin so late in a block that the longest of its kind would not fit.

use crate::outcome::Outcome;

/// Most kernel frames that are kept, and the most that bpf_get_stack gives (kernel.perf_event_max_stack, 127).
pub const MAX_KERNEL_FRAMES: usize = 127;
/// Most user frames that are kept.
pub const MAX_USER_FRAMES: usize = 1024;
/// Words in a chunk.
pub const CHUNK_WORDS: usize = 8;
/// Chunks of the longest stack; a walk may overshoot its depth by some frames.
pub const MAX_CHUNKS: usize = 150;
/// Words of the buffer in which stacks are put together: a power of two, so that indices are masked, not compared.
pub const MAX_WORDS: usize = 2048;

const _: () = assert!(1 + MAX_KERNEL_FRAMES + MAX_USER_FRAMES <= MAX_CHUNKS * CHUNK_WORDS);
const _: () = assert!((MAX_CHUNKS + 1) * CHUNK_WORDS <= MAX_WORDS);

/// Chunks in a block: 64 KiB.
pub const BLOCK_CHUNKS: u64 = 1024;
/// Stacks of up to so many chunks, nearly all, may begin anywhere but in the last so many chunks of a block.
pub const SHORT_CHUNKS: u64 = 32;

/// One element of the arena.
pub type Block = [u64; BLOCK_CHUNKS as usize * CHUNK_WORDS];

/// Where a stack of so many chunks goes if `next` is the first free chunk.
#[inline(always)]
#[must_use]
pub const fn place(next: u64, chunks: u64) -> u64 {
    let longest = if chunks <= SHORT_CHUNKS { SHORT_CHUNKS } else { MAX_CHUNKS as u64 };
    if next % BLOCK_CHUNKS > BLOCK_CHUNKS - longest { (next / BLOCK_CHUNKS + 1) * BLOCK_CHUNKS } else { next }
}

/// The first word of a stack: how many frames follow and how the walk ended.
///
/// Bits 0-7 hold the number of kernel frames, 8-23 the number of user frames, 24-31 the [`Outcome`], 32 is set where
/// the first user address is a return address (the thread is in a system call).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Header(pub u64);

impl Header {
    /// Packs a header. Counts above 255 kernel or 65,535 user frames do not fit and do not occur.
    #[inline(always)]
    #[must_use]
    pub const fn new(kernel_frames: u64, user_frames: u64, outcome: Outcome, leaf_is_return: bool) -> Self {
        Self::pack(kernel_frames, user_frames, outcome as u64, leaf_is_return as u64)
    }

    /// Likewise, from numbers: the outcome's index, and 1 where the first user address is a return address.
    #[inline(always)]
    #[must_use]
    pub const fn pack(kernel_frames: u64, user_frames: u64, outcome: u64, leaf_is_return: u64) -> Self {
        Self(
            (kernel_frames & 0xff)
                | (user_frames & 0xffff) << 8
                | (outcome & 0xff) << 24
                | (leaf_is_return & 1) << 32,
        )
    }

    /// Number of kernel frames.
    #[inline(always)]
    #[must_use]
    pub const fn kernel_frames(self) -> usize {
        (self.0 & 0xff) as usize
    }

    /// Number of user frames.
    #[inline(always)]
    #[must_use]
    pub const fn user_frames(self) -> usize {
        (self.0 >> 8 & 0xffff) as usize
    }

    /// How the walk ended; `None` where the bits are no outcome, which a torn or foreign word can be.
    #[inline(always)]
    #[must_use]
    pub const fn outcome(self) -> Option<Outcome> {
        Outcome::from_index((self.0 >> 24) as u8)
    }

    /// Whether the first user address is the return address of a system call, not an interrupted instruction.
    #[inline(always)]
    #[must_use]
    pub const fn leaf_is_return(self) -> bool {
        self.0 >> 32 & 1 == 1
    }
}

/// Which stack a sample has: the index of its first chunk, or why it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct StackRef(pub u32);

/// References from here on are no chunk indices but say why there is no stack, by outcome.
const NO_STACK: u32 = 0xffff_ff00;

impl StackRef {
    /// No stack, for this reason.
    #[inline(always)]
    #[must_use]
    pub const fn lost(outcome: Outcome) -> Self {
        Self(NO_STACK | outcome as u32)
    }

    /// The index of the outcome that left the sample without a stack; `None` where it has one.
    #[inline(always)]
    #[must_use]
    pub const fn outcome_index(self) -> Option<u8> {
        if self.0 < NO_STACK { None } else { Some(self.0 as u8) }
    }

    /// The index of the first chunk, or the outcome that left the sample without a stack.
    ///
    /// # Errors
    /// The outcome; `StackTableFull` also for a number that is none.
    #[inline(always)]
    pub const fn chunk(self) -> Result<u32, Outcome> {
        if self.0 < NO_STACK {
            return Ok(self.0);
        }
        match Outcome::from_index((self.0 & 0xff) as u8) {
            Some(outcome) => Err(outcome),
            None => Err(Outcome::StackTableFull),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trip() {
        let header = Header::new(127, 300, Outcome::LostChain, true);
        assert_eq!(header.kernel_frames(), 127);
        assert_eq!(header.user_frames(), 300);
        assert_eq!(header.outcome(), Some(Outcome::LostChain));
        assert!(header.leaf_is_return());
        assert!(!Header::new(0, 1, Outcome::Complete, false).leaf_is_return());
    }

    #[test]
    fn a_stack_lies_in_one_block() {
        for chunks in 1..=MAX_CHUNKS as u64 {
            for next in 0..3 * BLOCK_CHUNKS {
                let place = place(next, chunks);
                assert!(place >= next && place - next < MAX_CHUNKS as u64);
                assert_eq!(place / BLOCK_CHUNKS, (place + chunks - 1) / BLOCK_CHUNKS, "{chunks} from {next}");
            }
        }
    }

    #[test]
    fn a_header_of_noise_has_no_outcome() {
        assert_eq!(Header(u64::MAX).outcome(), None);
    }

    #[test]
    fn stack_ref_round_trip() {
        assert_eq!(StackRef(17).chunk(), Ok(17));
        assert_eq!(StackRef::lost(Outcome::StackCollision).chunk(), Err(Outcome::StackCollision));
        assert_eq!(StackRef(u32::MAX).chunk(), Err(Outcome::StackTableFull));
    }
}
