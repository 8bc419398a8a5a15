//! A program image, and how it is told from others of its pid.

use std::sync::{Arc, OnceLock};

use profiler_common::layout::{Name, ProcessKey};

use super::super::ranges::Ranges;

/// Longest time between a task's start time and the report of its fork. It is microseconds, unless the parent is
/// preempted in between.
const FORK_DELAY_NS: u64 = 1_000_000_000;

/// When a process was started, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// At this time.
    At(u64),
    /// Just before this time, when the fork was reported.
    Forked(u64),
    /// Some time before this one.
    Before(u64),
}

impl Start {
    pub(super) fn can_be(self, start_ns: u64) -> bool {
        match self {
            Self::At(at) => at == start_ns,
            Self::Forked(by) => start_ns <= by && by - start_ns <= FORK_DELAY_NS,
            Self::Before(by) => start_ns <= by,
        }
    }
}

/// Exec ids relative to an image whose id is to be found out.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineage {
    first: Arc<OnceLock<u32>>,
    execs: u32,
}

impl Lineage {
    pub(super) fn exec_id(&self) -> Option<u32> {
        self.first.get().map(|first| first.wrapping_add(self.execs))
    }

    pub(super) fn learn(&self, exec_id: u32) {
        let _ = self.first.set(exec_id.wrapping_sub(self.execs));
    }

    pub(super) fn after_exec(&self) -> Self {
        Self { first: Arc::clone(&self.first), execs: self.execs.wrapping_add(1) }
    }
}

/// An image whose mappings at a fork were not heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Base {
    /// Its process.
    pub(in super::super) pid: u32,
    pub(super) image: u64,
}

/// How much of its mappings was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing: it is older than the agent.
    Nothing,
    /// What was mapped since it was forked, from this one.
    Since(Base),
    /// All.
    All,
}

/// A program image: what a process runs from its fork or exec to its next exec or its end.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// Unique.
    pub(super) id: u64,
    /// Id of the first image of the process.
    pub(super) process: u64,
    pub(super) parent: u32,
    pub(super) start: Start,
    pub(super) lineage: Lineage,
    pub(super) name: Name,
    /// Running threads; 0 where that is not known.
    pub(super) threads: u32,
    pub(super) known: Known,
    /// Where nothing was heard of it: an image as old that is the same, for it was forked from it.
    pub(super) like: Option<Base>,
    /// Whether records were lost meanwhile.
    pub(super) doubt: bool,
    pub(super) ranges: Arc<Ranges>,
    /// First address of the main binary; 0 where it is not known.
    pub(super) main: u64,
    /// The process that was sampled.
    pub(super) key: Option<ProcessKey>,
    pub(super) ended_windows: u8,
}
