//! What became of everything that was to be sent.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of series. Every one that was made is in one of these, or waits.
#[derive(Debug, Default)]
pub struct Counters {
    /// Made.
    pub made: AtomicU64,
    /// The receiver has them.
    pub delivered: AtomicU64,
    /// The receiver will never take them.
    pub rejected: AtomicU64,
    /// They became too old.
    pub expired: AtomicU64,
    /// There was no room to wait.
    pub full: AtomicU64,
    /// They were damaged on disk, or the disk took none and memory had no more room or ended with the agent.
    pub lost: AtomicU64,
    /// Requests that failed and were repeated.
    pub retries: AtomicU64,
    /// Bytes of profiles that the receiver has.
    pub bytes: AtomicU64,
    /// Batches that wait, bytes of them; one that is on its way waits until it has arrived.
    pub waiting: [AtomicU64; 2],
}

/// Counts up.
pub(super) fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Ordering::Relaxed);
}
