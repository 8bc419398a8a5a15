//! Joins the stages: messages and windows from the capture, processes, names, profiles, a sink.
//!
//! Four threads: the capturing one, which only drains; the collecting one, which looks at processes the moment they
//! are announced; the one that builds unwind tables; and the naming one, which may take its time. The queues between them hold two windows each: where
//! naming falls behind, windows grow longer, and nothing piles up.

mod collect;
mod name;
mod tables;

use std::{collections::HashMap, sync::Arc};

use profiler_common::{layout::ProcessKey, outcome::OUTCOMES};

pub use collect::{Collector, collect};
pub use name::{Naming, Patience};
pub use tables::{TablesQueue, TablesThread};

use crate::{
    capture::{CountedStack, Window},
    process::Process,
    profile::{build::Span, proto::Profile},
};

/// Windows that wait between two stages at the most.
pub const QUEUE: usize = 2;

/// A window with the processes in it.
#[derive(Debug)]
pub struct Job {
    /// The window.
    pub window: Window,
    /// Its processes, each once, as they are known at its end.
    pub processes: HashMap<ProcessKey, Arc<Process>>,
    /// Processes as they were earlier, by the generation of their mappings.
    pub earlier: HashMap<(ProcessKey, u32), Arc<Process>>,
}

impl Job {
    /// The process of a row as it was when the row's samples were taken.
    #[must_use]
    pub fn process(&self, row: &CountedStack) -> Option<&Arc<Process>> {
        self.earlier.get(&(row.process, row.generation)).or_else(|| self.processes.get(&row.process))
    }
}

/// The profile of one process in one window.
#[derive(Debug)]
pub struct ProcessProfile {
    /// The process.
    pub key: ProcessKey,
    /// Its name.
    pub name: String,
    /// Its profile, without comments.
    pub profile: Profile,
    /// Its samples by outcome.
    pub outcomes: [u64; OUTCOMES],
}

/// A finished window.
#[derive(Debug)]
pub struct NamedWindow {
    /// When and how it was taken.
    pub span: Span,
    /// All ticks by outcome.
    pub outcomes: [u64; OUTCOMES],
    /// One profile per process that was sampled, in no order.
    pub profiles: Vec<ProcessProfile>,
}

/// What becomes of finished windows. Runs on the naming thread.
pub trait Sink: Send + 'static {
    /// Takes a window.
    fn window(&mut self, window: NamedWindow);
}
