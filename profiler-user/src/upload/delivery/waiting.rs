//! What waits: on disk, and in memory while the disk takes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::batch::Batch;
use super::super::spool::{Entry, NotKept, Spool};

/// Batches that wait in memory.
const MOST_IN_MEMORY: usize = 4;

/// Where a batch waits. It stays there while it is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Disk(Entry),
    /// By its number.
    Memory(u64),
}

/// Batches, the oldest first.
#[derive(Debug)]
pub(super) struct Waiting {
    spool: Spool,
    memory: VecDeque<(u64, Batch)>,
    next_number: u64,
}

/// Where a batch went that came in.
#[derive(Debug)]
pub(super) enum Put {
    OnDisk,
    InMemory(NotKept),
    Nowhere(NotKept),
}

impl Waiting {
    pub(super) fn new(spool: Spool) -> Waiting {
        Waiting { spool, memory: VecDeque::new(), next_number: 0 }
    }

    pub(super) fn put(&mut self, batch: Batch) -> Put {
        match self.spool.put(&batch) {
            Ok(()) => Put::OnDisk,
            Err(error @ NotKept::Io { .. }) if self.memory.len() < MOST_IN_MEMORY => {
                self.memory.push_back((self.next_number, batch));
                self.next_number += 1;
                Put::InMemory(error)
            }
            Err(error) => Put::Nowhere(error),
        }
    }

    pub(super) fn oldest(&self) -> Option<Place> {
        let disk = self.spool.oldest();
        let memory = self.memory.front().map(|(number, batch)| (batch.start_unix_ns, *number));
        match (disk, memory) {
            (Some(entry), Some((start, _))) if entry.start_unix_ns <= start => Some(Place::Disk(entry)),
            (_, Some((_, number))) => Some(Place::Memory(number)),
            (Some(entry), None) => Some(Place::Disk(entry)),
            (None, None) => None,
        }
    }

    /// A batch; `None` where it is damaged or gone.
    pub(super) fn read(&self, place: &Place) -> Option<Batch> {
        match place {
            Place::Disk(entry) => self.spool.read(entry),
            Place::Memory(number) => {
                self.memory.iter().find(|(known, _)| known == number).map(|(_, batch)| batch.clone())
            }
        }
    }

    /// Puts what is left of a batch in its place.
    pub(super) fn replace(&mut self, place: &Place, rest: &Batch) -> Result<(), NotKept> {
        match place {
            Place::Disk(entry) => self.spool.replace(entry, rest),
            Place::Memory(number) => {
                if let Some((_, batch)) = self.memory.iter_mut().find(|(known, _)| known == number) {
                    batch.clone_from(rest);
                }
                Ok(())
            }
        }
    }

    pub(super) fn remove(&mut self, place: &Place) {
        match place {
            Place::Disk(entry) => self.spool.remove(entry),
            Place::Memory(number) => self.memory.retain(|(known, _)| known != number),
        }
    }

    /// Gives up what is too old: of each batch, how many series it had.
    pub(super) fn expire(&mut self, now_unix_ns: u64) -> Vec<usize> {
        let mut gone = Vec::new();
        for entry in self.spool.expired(now_unix_ns) {
            // How many a damaged one had nobody knows.
            gone.push(self.spool.read(&entry).map_or(1, |batch| batch.series.len()));
            self.spool.remove(&entry);
        }
        let age = self.spool.age();
        let too_old =
            |batch: &Batch| Duration::from_nanos(now_unix_ns.saturating_sub(batch.start_unix_ns)) > age;
        self.memory.retain(|(_, batch)| {
            let expired = too_old(batch);
            if expired {
                gone.push(batch.series.len());
            }
            !expired
        });
        gone
    }

    /// Moves what is in memory to disk, if that has room by now. What it takes is there under another name.
    pub(super) fn settle(&mut self) {
        let spool = &mut self.spool;
        self.memory.retain(|(_, batch)| spool.put(batch).is_err());
    }

    /// Gives up what is in memory; how many series that is.
    pub(super) fn forget_memory(&mut self) -> usize {
        self.memory.drain(..).map(|(_, batch)| batch.series.len()).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.spool.len() + self.memory.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.spool.bytes() + self.memory.iter().map(|(_, batch)| batch.bytes() as u64).sum::<u64>()
    }
}
