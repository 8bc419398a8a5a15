//! Joins the stages: messages and windows from the capture, processes, names, profiles, a sink.
//!
//! Four threads: the capturing one, which only drains; the collecting one, which looks at processes the moment they
//! are announced; the one that builds unwind tables; and the naming one, which may take its time. The queues between them hold one window each: where
//! naming falls behind, windows grow longer, and nothing piles up.

mod asked;
mod collect;
pub mod gather;
mod name;
pub mod on_demand;
mod tables;

use std::{collections::HashMap, sync::Arc, time::Duration};

use profiler_common::{layout::ProcessKey, outcome::OUTCOMES};

pub use asked::{Asking, Question};
pub use collect::{Collector, collect};
pub use name::{Costs, Naming, Patience};
pub use tables::{TablesQueue, TablesThread};

use crate::{
    capture::{CountedStack, Window},
    process::Process,
    profile::{build::Span, proto::Profile},
};

/// Windows that wait between two stages at the most.
pub const QUEUE: usize = 1;

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
    ///
    /// Of several lists of mappings of one generation the newest one is right for all samples, since only addresses are
    /// added to it; those that deferred samples were walked by may lack libraries that other rows are in.
    #[must_use]
    pub fn process(&self, row: &CountedStack) -> Option<&Arc<Process>> {
        let now = self.processes.get(&row.process);
        if now.is_some_and(|process| process.generation == row.generation) {
            return now;
        }
        self.earlier.get(&(row.process, row.generation)).or(now)
    }
}

/// What the naming stage works on.
#[derive(Debug)]
pub enum Task {
    /// A window.
    Window(Box<Job>),
    /// Addresses that somebody asks about.
    Asked(asked::Unnamed),
}

/// The profile of one process in one window.
#[derive(Clone, Debug)]
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

/// What it took to finish a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// From its end until it was looked at.
    pub waited: Duration,
    /// From then on.
    pub named: Duration,
    /// How many times the kernel refused to hand it out.
    pub refusals: u64,
}

/// A finished window.
#[derive(Clone, Debug)]
pub struct NamedWindow {
    /// When and how it was taken.
    pub span: Span,
    /// All ticks by outcome.
    pub outcomes: [u64; OUTCOMES],
    /// One profile per process that was sampled, in no order.
    pub profiles: Vec<ProcessProfile>,
    /// Whether it ended before its time, for what came after it was wanted by itself.
    pub cut: bool,
    /// What its naming took.
    pub effort: Effort,
}

impl NamedWindow {
    /// Makes each sample stand for so many times its CPU time. Numbers of samples stay what they are.
    pub fn weigh(&mut self, weight: f64) {
        if weight <= 1.0 {
            return;
        }
        let weighed = (self.span.period_ns as f64 * weight).round() as u64;
        self.span.period_ns = weighed;
        let period = i64::try_from(weighed).unwrap_or(i64::MAX);
        for process in &mut self.profiles {
            process.profile.period = period;
            for sample in &mut process.profile.sample {
                if let [count, cpu] = sample.value.as_mut_slice() {
                    *cpu = count.saturating_mul(period);
                }
            }
        }
    }
}

/// What becomes of finished windows. Runs on the naming thread.
pub trait Sink: Send + 'static {
    /// Takes a window.
    fn window(&mut self, window: NamedWindow);
}

#[cfg(test)]
mod tests {
    use profiler_common::{layout::NAME_BYTES, stack::StackRef};

    use super::*;

    #[test]
    fn rows_are_named_by_the_newest_mappings_of_their_generation() {
        let key = ProcessKey { pid: 1, exec_id: 0, start_ns: 1 };
        let process = |generation, name: &str| {
            Arc::new(Process { generation, name: name.to_owned(), ..Process::default() })
        };
        let job = Job {
            window: Window::default(),
            processes: HashMap::from([(key, process(7, "with libraries"))]),
            earlier: HashMap::from([
                ((key, 7), process(7, "as a deferred sample found it")),
                ((key, 6), process(6, "before one object took another's place")),
            ]),
        };
        let named_by = |generation| {
            let row = CountedStack {
                process: key,
                thread_name: [0; NAME_BYTES],
                stack: StackRef(0),
                generation,
                count: 1,
            };
            job.process(&row).map(|process| process.name.as_str())
        };
        assert_eq!(named_by(7), Some("with libraries"));
        assert_eq!(named_by(6), Some("before one object took another's place"));
        assert_eq!(named_by(0), Some("with libraries"), "the kernel side knew no list");
    }
}
