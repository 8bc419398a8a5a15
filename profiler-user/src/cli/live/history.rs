//! What was seen since the start, and in the last seconds; and all stacks, for saving. Bounded, however long it runs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use profiler_common::layout::ProcessKey;
use profiler_common::outcome::{Kind, OUTCOMES, Outcome};

use super::sums::{Names, Sums};
use crate::pipeline::NamedWindow;
use crate::profile::build::{self, Span};
use crate::profile::merge::{Duration, MergeError, Merger};
use crate::profile::proto::Profile;

/// Processes that are told apart since the start; beyond, those that used least become one.
const MOST_PROCESSES: usize = 2048;

/// Windows that are kept one by one.
const MOST_WINDOWS: usize = 600;

/// Stacks that are kept for saving; beyond, it begins again.
const MOST_STACKS: usize = 200_000;

/// What stands for processes that are no longer told apart.
const OTHERS: ProcessKey = ProcessKey { pid: 0, exec_id: 0, start_ns: 0 };

/// Sums over some time.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// How long, nanoseconds.
    pub(super) duration_ns: u64,
    pub(super) processes: HashMap<ProcessKey, Sums>,
    /// All ticks by outcome.
    pub(super) outcomes: [u64; OUTCOMES],
}

impl Part {
    fn add(&mut self, other: &Part) {
        self.duration_ns += other.duration_ns;
        for (key, sums) in &other.processes {
            self.processes.entry(*key).or_default().add(sums);
        }
        for (sum, ticks) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += ticks;
        }
    }

    /// CPU time of all processes, nanoseconds.
    pub(super) fn total(&self) -> i64 {
        self.processes.values().fold(0, |sum, process| sum.saturating_add(process.total))
    }

    /// Ticks that ended in one of these.
    pub(super) fn ticks(&self, kinds: &[Kind]) -> u64 {
        let of = |outcome: &&Outcome| kinds.contains(&outcome.kind());
        Outcome::ALL.iter().filter(of).map(|&outcome| count(&self.outcomes, outcome)).sum()
    }

    /// Ticks that the machine delivered late or not at all.
    pub(super) fn missed(&self) -> u64 {
        count(&self.outcomes, Outcome::Missed)
    }

    /// Joins the processes that used least where there are too many.
    fn shrink(&mut self, most: usize) {
        if self.processes.len() <= most {
            return;
        }
        let mut order: Vec<(i64, ProcessKey)> =
            self.processes.iter().map(|(key, sums)| (sums.total, *key)).collect();
        order.sort_unstable_by_key(|&(total, key)| (std::cmp::Reverse(total), key));
        let mut others = self.processes.remove(&OTHERS).unwrap_or_default();
        for (_, key) in order.iter().skip(most / 2) {
            if let Some(sums) = self.processes.remove(key) {
                others.add(&sums);
            }
        }
        others.name = "(others)".to_owned();
        self.processes.insert(OTHERS, others);
    }
}

fn count(outcomes: &[u64; OUTCOMES], outcome: Outcome) -> u64 {
    outcomes.get(usize::from(outcome as u8)).copied().unwrap_or_default()
}

/// Over which time sums are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// The last seconds.
    #[default]
    Last,
    /// Since the start, or since it was set back.
    Total,
}

/// All that is kept.
#[derive(Debug)]
pub(super) struct History {
    pub(super) names: Names,
    total: Arc<Part>,
    last: VecDeque<Part>,
    /// How long the last seconds are, nanoseconds.
    keep_ns: u64,
    stacks: Stacks,
    /// Counts windows, so that who draws knows whether there is something new.
    pub(super) generation: u64,
    /// Profiles that could not be added, of which the last says why.
    pub(super) error: Option<String>,
}

/// Whole stacks, for saving.
#[derive(Debug, Default)]
struct Stacks {
    merger: Merger,
    samples: usize,
    span: Option<Span>,
    outcomes: [u64; OUTCOMES],
}

impl History {
    /// Keeps the last `keep_ns` nanoseconds one by one.
    pub(super) fn new(keep_ns: u64) -> History {
        History {
            names: Names::default(),
            total: Arc::default(),
            last: VecDeque::new(),
            keep_ns,
            stacks: Stacks::default(),
            generation: 0,
            error: None,
        }
    }

    /// Takes a window.
    pub(super) fn add(&mut self, window: &NamedWindow) {
        let mut part =
            Part { duration_ns: window.span.duration_ns, outcomes: window.outcomes, ..Part::default() };
        let mut busiest: Vec<_> = window.profiles.iter().collect();
        // The busiest first: its main binary becomes that of a saved profile.
        busiest.sort_by_key(|process| (std::cmp::Reverse(process.outcomes.iter().sum::<u64>()), process.key));
        if self.stacks.samples > MOST_STACKS {
            self.stacks = Stacks::default();
        }
        for process in busiest {
            match Sums::of(process, &mut self.names) {
                Ok(sums) => part.processes.entry(process.key).or_default().add(&sums),
                Err(error) => self.error = Some(format!("process {}: {error}", process.key.pid)),
            }
            self.stacks.samples += process.profile.sample.len();
            if let Err(error) = self.stacks.merger.add(&process.profile) {
                self.error = Some(format!("process {}: {error}", process.key.pid));
            }
        }
        let span = self.stacks.span.get_or_insert(Span { duration_ns: 0, ..window.span });
        span.duration_ns += window.span.duration_ns;
        for (sum, ticks) in self.stacks.outcomes.iter_mut().zip(window.outcomes) {
            *sum += ticks;
        }
        let total = Arc::make_mut(&mut self.total);
        total.add(&part);
        total.shrink(MOST_PROCESSES);
        self.last.push_back(part);
        let mut kept: u64 = self.last.iter().map(|part| part.duration_ns).sum();
        while self.last.len() > 1 {
            let oldest = self.last.front().map_or(0, |part| part.duration_ns);
            // Windows are a little longer than they should be; half of one is no reason to keep it.
            if kept - oldest / 2 <= self.keep_ns && self.last.len() <= MOST_WINDOWS {
                break;
            }
            kept -= oldest;
            self.last.pop_front();
        }
        self.generation += 1;
    }

    /// The sums over a time.
    pub(super) fn part(&self, scope: Scope) -> Arc<Part> {
        match scope {
            Scope::Total => Arc::clone(&self.total),
            Scope::Last => {
                let mut sum = Part::default();
                self.last.iter().for_each(|part| sum.add(part));
                Arc::new(sum)
            }
        }
    }

    /// Forgets what was seen so far.
    pub(super) fn reset(&mut self) {
        self.total = Arc::default();
        self.last.clear();
        self.stacks = Stacks::default();
        self.generation += 1;
    }

    /// All stacks as one profile, and the seconds that it covers; they are kept.
    ///
    /// # Errors
    /// There was no window yet.
    pub(super) fn profile(&mut self, about: &[String]) -> Result<(Profile, u64), MergeError> {
        let span = self.stacks.span.unwrap_or_default();
        let duration = Duration::Nanoseconds(i64::try_from(span.duration_ns).unwrap_or(i64::MAX));
        let mut profile = if self.stacks.samples == 0 {
            build::empty(span)
        } else {
            let profile = std::mem::take(&mut self.stacks.merger).finish(duration)?;
            self.stacks.samples = profile.sample.len();
            self.stacks.merger.add(&profile)?;
            profile
        };
        build::comment(&mut profile, about, &self.stacks.outcomes);
        Ok((profile, span.duration_ns / 1_000_000_000))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::sums::tests::process;
    use super::*;
    use crate::pipeline::Effort;

    /// A window of a second with these processes.
    pub(in crate::cli::live) fn window(processes: &[(u32, &str)]) -> NamedWindow {
        let mut outcomes = [0; OUTCOMES];
        outcomes[0] = 6 * u64::try_from(processes.len()).unwrap();
        let span = Span {
            start_unix_ns: 1_700_000_000_000_000_000,
            duration_ns: 1_000_000_000,
            period_ns: 10_000_000,
            ..Span::default()
        };
        let profiles = processes.iter().map(|&(pid, name)| process(pid, name)).collect();
        NamedWindow { span, outcomes, profiles, cut: false, effort: Effort::default() }
    }

    #[test]
    fn the_last_seconds_and_all_of_them() {
        let mut history = History::new(2_000_000_000);
        history.add(&window(&[(1, "a")]));
        history.add(&window(&[(1, "a"), (2, "b")]));
        history.add(&window(&[(2, "b")]));
        let (last, total) = (history.part(Scope::Last), history.part(Scope::Total));
        assert_eq!((last.duration_ns, total.duration_ns), (2_000_000_000, 3_000_000_000));
        let pid = |part: &Part, pid| {
            part.processes.iter().find(|(key, _)| key.pid == pid).map(|(_, sums)| sums.total)
        };
        assert_eq!((pid(&last, 1), pid(&last, 2)), (Some(60_000_000), Some(120_000_000)));
        assert_eq!((pid(&total, 1), pid(&total, 2)), (Some(120_000_000), Some(120_000_000)));
        assert_eq!((total.ticks(&[Kind::Complete]), total.missed()), (24, 0));
        history.reset();
        assert_eq!(history.part(Scope::Total).total(), 0);
        assert_eq!(history.generation, 4);
    }

    #[test]
    fn saves_all_stacks_more_than_once() {
        let mut history = History::new(1_000_000_000);
        assert!(history.profile(&[]).unwrap().0.sample.is_empty());
        for _ in 0..3 {
            history.add(&window(&[(1, "a"), (2, "b")]));
        }
        for _ in 0..2 {
            let (profile, seconds) = history.profile(&["about".to_owned()]).unwrap();
            let counts: i64 = profile.sample.iter().map(|sample| sample.value[0]).sum();
            assert_eq!((counts, seconds, profile.duration_nanos), (36, 3, 3_000_000_000));
        }
    }

    #[test]
    fn processes_that_used_little_are_joined() {
        let mut part = Part::default();
        for pid in 1..=10 {
            let sums = Sums { total: i64::from(pid), ..Sums::default() };
            part.processes.insert(ProcessKey { pid, exec_id: 0, start_ns: 1 }, sums);
        }
        part.shrink(4);
        assert_eq!((part.processes.len(), part.total()), (3, 55));
        assert_eq!(part.processes[&OTHERS].total, 36);
    }
}
