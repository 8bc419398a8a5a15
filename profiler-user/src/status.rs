//! What the agent has done so far, for those who ask: its metrics, its health, who was sampled of late. The naming thread
//! tells, others read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use profiler_common::outcome::OUTCOMES;

use crate::budget::Gauge;
use crate::pipeline::NamedWindow;

/// Processes of the last window that are kept, the busiest ones.
const MOST: usize = 1000;

/// A process in the last window.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// CPUs that it used: 1 is one CPU all the time.
    pub cpus: f64,
}

/// Counters since the start. Each only rises.
#[derive(Debug, Default)]
pub struct Counters {
    /// Windows that were named, parts of cut ones each by itself.
    pub windows: AtomicU64,
    /// Time that naming took, nanoseconds, waiting for its share of the CPUs included.
    pub naming_ns: AtomicU64,
    /// Time that windows waited for naming to begin, nanoseconds.
    pub waiting_ns: AtomicU64,
    /// How many times the kernel refused to hand out a window, which then waited there.
    pub refusals: AtomicU64,
    /// Profiles that were written to the folder.
    pub written: AtomicU64,
    /// Profiles that could not be written.
    pub write_errors: AtomicU64,
    /// Windows that were removed from the folder, for their age or the folder's size.
    pub pruned: AtomicU64,
    /// Profiles that were taken for somebody over HTTP.
    pub requests: AtomicU64,
}

/// What there is to know of an agent.
#[derive(Debug)]
pub struct Status {
    /// Counters.
    pub counters: Counters,
    gauge: Gauge,
    started: Instant,
    /// Length of a window.
    window: Duration,
    last: Mutex<Last>,
}

/// What the agent is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    Paused,
    Ended,
}

/// What was heard last.
#[derive(Debug, Default)]
struct Last {
    outcomes: [u64; OUTCOMES],
    at: Option<Instant>,
    processes: Vec<Sampled>,
    phase: Phase,
}

impl Status {
    /// Of an agent that starts now, with windows of this length.
    #[must_use]
    pub fn new(gauge: Gauge, window: Duration) -> Self {
        let (counters, last) = (Counters::default(), Mutex::default());
        Self { counters, gauge, started: Instant::now(), window, last }
    }

    /// A window, or a part of one, was named.
    pub fn window(&self, window: &NamedWindow) {
        let add = |counter: &AtomicU64, time: Duration| {
            counter.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        };
        self.counters.windows.fetch_add(1, Ordering::Relaxed);
        self.counters.refusals.fetch_add(window.effort.refusals, Ordering::Relaxed);
        add(&self.counters.naming_ns, window.effort.named);
        add(&self.counters.waiting_ns, window.effort.waited);
        let mut last = self.last();
        for (sum, ticks) in last.outcomes.iter_mut().zip(window.outcomes) {
            *sum += ticks;
        }
        last.at = Some(Instant::now());
    }

    /// A whole window is there.
    pub fn whole_window(&self, window: &NamedWindow) {
        let span = window.span;
        let cpus = |ticks: u64| (ticks * span.period_ns) as f64 / span.duration_ns.max(1) as f64;
        let mut processes: Vec<(u64, u32, &str)> = window
            .profiles
            .iter()
            .map(|process| (process.outcomes.iter().sum(), process.key.pid, process.name.as_str()))
            .collect();
        processes.sort_unstable_by_key(|&(ticks, pid, _)| (std::cmp::Reverse(ticks), pid));
        let sampled = |&(ticks, pid, name): &(u64, u32, &str)| Sampled {
            pid,
            name: name.to_owned(),
            cpus: cpus(ticks),
        };
        self.last().processes = processes.iter().take(MOST).map(sampled).collect();
    }

    /// No more windows come.
    pub fn end(&self) {
        self.last().phase = Phase::Ended;
    }

    /// For a while no windows come: other hosts have their turn.
    pub fn pause(&self) {
        self.last().phase = Phase::Paused;
    }

    /// From now on they come again.
    pub fn resume(&self) {
        let mut last = self.last();
        if last.phase == Phase::Paused {
            last.phase = Phase::Running;
            // What has been silent by intent is not late.
            last.at = last.at.map(|_| Instant::now());
        }
    }

    /// Whether other hosts have their turn.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.last().phase == Phase::Paused
    }

    /// The processes of the last window, the busiest first.
    #[must_use]
    pub fn processes(&self) -> Vec<Sampled> {
        self.last().processes.clone()
    }

    /// Ticks by outcome since the start.
    #[must_use]
    pub fn outcomes(&self) -> [u64; OUTCOMES] {
        self.last().outcomes
    }

    /// How memory is used.
    #[must_use]
    pub fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// When the agent started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Why the agent is not well; `None` where it is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let last = self.last();
        match last.phase {
            Phase::Running => {}
            Phase::Paused => return None,
            Phase::Ended => return Some("the capture has ended".to_owned()),
        }
        // A window that is named while the next one is full is late, and no more.
        let patience = self.window * 3 + Duration::from_secs(30);
        let silent = last.at.unwrap_or(self.started).elapsed();
        (silent > patience).then(|| format!("no window has been finished for {} s", silent.as_secs()))
    }

    /// Whether a window has been finished, or none is to be.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let last = self.last();
        match last.phase {
            Phase::Running => last.at.is_some(),
            Phase::Paused => true,
            Phase::Ended => false,
        }
    }

    /// What a thread that panicked left is whole.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Memory;
    use crate::pipeline::{Effort, ProcessProfile};
    use crate::profile::build::Span;
    use crate::profile::proto::Profile;
    use profiler_common::layout::ProcessKey;

    #[test]
    fn the_busiest_process_comes_first() {
        let status = Status::new(Gauge::new(Memory { bytes: 1 << 30 }), Duration::from_secs(60));
        assert!(!status.is_ready() && status.trouble().is_none(), "it has just started");
        let profiles = [(7, 3), (9, 20)].map(|(pid, ticks)| {
            let mut outcomes = [0; OUTCOMES];
            outcomes[0] = ticks;
            let key = ProcessKey { pid, exec_id: 0, start_ns: 1 };
            ProcessProfile { key, name: format!("p{pid}"), profile: Profile::default(), outcomes }
        });
        let span = Span { duration_ns: 1_000_000_000, period_ns: 50_000_000, ..Span::default() };
        let mut outcomes = [0; OUTCOMES];
        outcomes[0] = 23;
        let window =
            NamedWindow { span, outcomes, profiles: profiles.into(), cut: false, effort: Effort::default() };
        status.window(&window);
        status.whole_window(&window);
        let sampled = |pid: u32, cpus| Sampled { pid, name: format!("p{pid}"), cpus };
        assert_eq!(status.processes(), [sampled(9, 1.0), sampled(7, 0.15)]);
        assert_eq!(status.outcomes()[0], 23);
        assert!(status.is_ready() && status.trouble().is_none());
        status.pause();
        assert!(status.is_ready() && status.is_paused());
        status.resume();
        assert!(status.is_ready() && !status.is_paused());
        status.end();
        assert!(!status.is_ready() && status.trouble().is_some());
    }
}
