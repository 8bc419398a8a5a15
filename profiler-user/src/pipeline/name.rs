//! The naming stage: names all addresses of a window at once, builds one profile per process, feeds the sink.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use profiler_common::{
    layout::ProcessKey,
    outcome::{OUTCOMES, Outcome},
};
use tokio::sync::mpsc;

use super::{Effort, Job, NamedWindow, ProcessProfile, Sink, Task};
use crate::{
    budget::{Gauge, Pace},
    capture::{CountedStack, sideband::boottime_ns},
    process::{Area, Object, Process},
    profile::build::{self, Names, Span, Subject, frames},
    symbol::{Functions, KernelPlace, Namer},
    sys::{
        lost_pages,
        priority::{self, Urgency},
    },
};

/// Who waits while a window is named and another one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A user, for the end of a recording.
    User,
    /// Nobody, but the host has other work.
    Others,
}

/// What naming may cost.
#[derive(Debug)]
pub struct Costs {
    /// The budget of memory.
    pub gauge: Gauge,
    /// The cap on CPU time.
    pub pace: Pace,
}

/// The running stage.
#[derive(Debug)]
pub struct Naming<S> {
    thread: JoinHandle<S>,
    urgency: priority::Thread,
}

impl<S: Sink> Naming<S> {
    /// Starts the thread. It ends when the last sender of tasks is gone.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        mut tasks: mpsc::Receiver<Task>,
        host: String,
        patience: Patience,
        costs: Costs,
        mut sink: S,
    ) -> io::Result<Self> {
        let urgency = priority::Thread::default();
        let own = urgency.clone();
        let run = move || {
            own.enter();
            let usual = match patience {
                Patience::User => Urgency::Ordinary,
                Patience::Others => Urgency::Late,
            };
            priority::try_set(usual);
            if let Err(error) = lost_pages::expect() {
                tracing::debug!("a file that is cut short while it is read ends the profiler: {error}");
            }
            // Made here, for it must not move to another thread.
            let mut namer = Namer::new(costs.gauge, costs.pace);
            while let Some(task) = tasks.blocking_recv() {
                let job = match task {
                    Task::Window(job) => job,
                    Task::Asked(unnamed) => {
                        unnamed.name(&mut namer);
                        continue;
                    }
                };
                let begun = Instant::now();
                let waited = boottime_ns().saturating_sub(job.window.boottime_ns[1]);
                let mut named = name(&job, &host, &mut namer);
                named.effort = Effort {
                    waited: Duration::from_nanos(waited),
                    named: begun.elapsed(),
                    refusals: job.window.refusals,
                };
                sink.window(named);
                drop(job);
                namer.end_window();
                if tasks.is_empty() {
                    // What was behind has caught up.
                    priority::try_set(usual);
                }
            }
            sink
        };
        Ok(Self { thread: std::thread::Builder::new().name("naming".to_owned()).spawn(run)?, urgency })
    }

    /// How soon the thread gets its turn: whoever sees that it is behind may hasten it.
    #[must_use]
    pub fn urgency(&self) -> priority::Thread {
        self.urgency.clone()
    }

    /// Waits for the end and gives the sink back.
    ///
    /// # Errors
    /// When the thread panicked, which is a defect.
    pub fn join(self) -> io::Result<S> {
        if !self.thread.is_finished() {
            self.urgency.try_set(Urgency::Ordinary);
        }
        self.thread.join().map_err(|_| io::Error::other("the naming thread panicked"))
    }
}

impl Names for Namer {
    fn functions(&mut self, object: u64, address: u64) -> Functions {
        Namer::functions(self, object, address)
    }

    fn kernel(&mut self, address: u64) -> (KernelPlace, Functions) {
        let (place, functions) = self.kernel_place(address);
        (place, functions.map_or_else(|| Arc::from([]), Arc::clone))
    }
}

/// Names a window.
fn name(job: &Job, host: &str, namer: &mut Namer) -> NamedWindow {
    let window = &job.window;
    let mut rows: HashMap<ProcessKey, Vec<&CountedStack>> = HashMap::new();
    for row in &window.rows {
        rows.entry(row.process).or_default().push(row);
    }
    prepare(job, &rows, namer);
    let span = Span {
        start_unix_ns: window.start_unix_ns,
        duration_ns: window.duration_ns,
        boottime_ns: window.boottime_ns,
        period_ns: window.period_ns,
    };
    let mut profiles = Vec::with_capacity(job.processes.len());
    for (key, process) in &job.processes {
        let rows = rows.remove(key).unwrap_or_default();
        let mut outcomes = [0; OUTCOMES];
        for row in &rows {
            outcomes[build::outcome(row, &window.stacks) as usize] += row.count;
        }
        outcomes[Outcome::CountTableFull as usize] += window.lost.get(key).copied().unwrap_or(0);
        let subject = Subject { process, pid: key.pid, host };
        let rows = rows.into_iter().map(|row| (row, job.process(row).unwrap_or(process).as_ref()));
        profiles.push(ProcessProfile {
            key: *key,
            name: process.name.clone(),
            profile: build::build(span, subject, rows, &window.stacks, namer),
            outcomes,
        });
    }
    NamedWindow { span, outcomes: window.outcomes, profiles, cut: window.cut, effort: Effort::default() }
}

/// Has all addresses of the window named, each object in one batch.
fn prepare(job: &Job, rows: &HashMap<ProcessKey, Vec<&CountedStack>>, namer: &mut Namer) {
    let mut kernel = Vec::new();
    let mut objects: HashMap<u64, (Arc<Object>, Vec<u64>)> = HashMap::new();
    for row in rows.values().flatten() {
        if let Some(process) = job.process(row) {
            for (address, is_kernel) in frames(row, &job.window.stacks) {
                if is_kernel {
                    kernel.push(address);
                } else if let Some((object, own)) = own_address(process, address) {
                    let (_, addresses) =
                        objects.entry(object.id).or_insert_with(|| (Arc::clone(object), Vec::new()));
                    addresses.push(own);
                }
            }
        }
    }
    namer.prepare(objects);
    namer.prepare_kernel(kernel);
}

/// The object at a process's address, and the address that the object gives it.
pub(super) fn own_address(process: &Process, address: u64) -> Option<(&Arc<Object>, u64)> {
    let mapping = &process.mappings[process.find(address)?];
    match &mapping.area {
        Area::Object(object) => Some((object, object.address_of(address - mapping.start + mapping.offset)?)),
        Area::Anonymous(_) => None,
    }
}
