//! Who it was that a receiver refused for good: pieces of a refused request, halved until each is taken or alone.
//!
//! A receiver that refuses everything is not asked over and over: what is suspected is given up once a whole request, its
//! halves and their halves were refused and nothing was taken, or after a number of requests.

use std::collections::VecDeque;

/// A request, its halves, and theirs.
const REFUSED_WITHOUT_ONE_TAKEN: usize = 7;

/// Requests for the suspects of one batch: four culprits of two hundred are found with fewer.
const MOST_REQUESTS: usize = 64;

/// The suspected pieces lie at the end of the batch, in this order, as long as these.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    sizes: VecDeque<usize>,
    refused: usize,
    taken: usize,
    requests: usize,
}

impl Suspects {
    /// Series that are suspected.
    pub(super) fn total(&self) -> usize {
        self.sizes.iter().sum()
    }

    /// The first piece, which is asked for now.
    pub(super) fn next(&mut self) -> usize {
        self.requests += 1;
        self.sizes.pop_front().unwrap_or(1)
    }

    /// These are still to be asked for, before all others.
    pub(super) fn put_back(&mut self, series: usize) {
        if series > 0 {
            self.sizes.push_front(series);
        }
    }

    pub(super) fn taken(&mut self) {
        self.taken += 1;
    }

    /// A piece was refused. Whether it is worth to ask for its halves; then they are the last of all.
    pub(super) fn refused(&mut self, series: usize) -> bool {
        self.refused += 1;
        if series < 2 || self.is_hopeless() {
            return false;
        }
        self.sizes.extend([series - series / 2, series / 2]);
        true
    }

    pub(super) fn is_hopeless(&self) -> bool {
        self.requests >= MOST_REQUESTS || (self.taken == 0 && self.refused >= REFUSED_WITHOUT_ONE_TAKEN)
    }

    /// Gives all up; how many series that is.
    pub(super) fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.sizes).into_iter().sum()
    }
}
