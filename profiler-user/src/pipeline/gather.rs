//! Several windows as one.

use std::collections::HashMap;

use profiler_common::{layout::ProcessKey, outcome::OUTCOMES};

use super::{Effort, NamedWindow, ProcessProfile};
use crate::profile::{
    build::{self, Span},
    merge::{Duration, MergeError, Merger},
    proto::Profile,
};

/// One process so far.
#[derive(Debug)]
struct Part {
    name: String,
    merger: Merger,
    outcomes: [u64; OUTCOMES],
}

/// Windows that are merged as they come, each process by itself.
#[derive(Debug)]
pub struct Gatherer {
    parts: HashMap<ProcessKey, Part>,
    outcomes: [u64; OUTCOMES],
    span: Option<Span>,
    errors: Vec<String>,
}

impl Default for Gatherer {
    fn default() -> Self {
        Self { parts: HashMap::new(), outcomes: [0; OUTCOMES], span: None, errors: Vec::new() }
    }
}

impl Gatherer {
    /// Adds a window; of its processes those that are wanted.
    pub fn add(&mut self, window: &NamedWindow, wanted: impl Fn(&ProcessProfile) -> bool) {
        add(&mut self.outcomes, &window.outcomes);
        let span = self.span.get_or_insert(Span { duration_ns: 0, ..window.span });
        span.duration_ns += window.span.duration_ns;
        span.boottime_ns[1] = window.span.boottime_ns[1];
        for process in window.profiles.iter().filter(|process| wanted(process)) {
            let part = self.parts.entry(process.key).or_insert_with(|| Part {
                name: process.name.clone(),
                merger: Merger::new(),
                outcomes: [0; OUTCOMES],
            });
            part.name.clone_from(&process.name);
            add(&mut part.outcomes, &process.outcomes);
            if let Err(error) = part.merger.add(&process.profile) {
                self.errors.push(format!("a window of process {} is missing: {error}", process.key.pid));
            }
        }
    }

    /// What was gathered, as one window with the busiest process first, and a sentence for each part that is missing.
    #[must_use]
    pub fn finish(self) -> (NamedWindow, Vec<String>) {
        let Self { parts, outcomes, span, mut errors } = self;
        let span = span.unwrap_or_default();
        let duration = duration(span);
        let mut profiles = Vec::with_capacity(parts.len());
        for (key, Part { name, merger, outcomes }) in parts {
            match merger.finish(duration) {
                Ok(profile) => profiles.push(ProcessProfile { key, name, profile, outcomes }),
                Err(error) => {
                    errors.push(format!("the windows of process {} do not fit together: {error}", key.pid));
                }
            }
        }
        profiles
            .sort_by_key(|process| (std::cmp::Reverse(process.outcomes.iter().sum::<u64>()), process.key));
        (NamedWindow { span, outcomes, profiles, cut: false, effort: Effort::default() }, errors)
    }
}

/// All processes of a window as one profile; the first one's main binary becomes the profile's.
///
/// # Errors
/// The profiles do not fit together.
pub fn whole(window: &NamedWindow) -> Result<Profile, MergeError> {
    if window.profiles.is_empty() {
        return Ok(build::empty(window.span));
    }
    let mut merger = Merger::new();
    for process in &window.profiles {
        merger.add(&process.profile)?;
    }
    merger.finish(duration(window.span))
}

fn duration(span: Span) -> Duration {
    Duration::Nanoseconds(i64::try_from(span.duration_ns).unwrap_or(i64::MAX))
}

fn add(sums: &mut [u64; OUTCOMES], outcomes: &[u64; OUTCOMES]) {
    for (sum, ticks) in sums.iter_mut().zip(outcomes) {
        *sum += ticks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    fn window(start: u64, pids: &[u32]) -> NamedWindow {
        let profiles = pids
            .iter()
            .map(|&pid| {
                let mut outcomes = [0; OUTCOMES];
                outcomes[0] = u64::from(pid);
                ProcessProfile {
                    key: ProcessKey { pid, exec_id: 0, start_ns: 1 },
                    name: format!("at {start}"),
                    profile: fixture::two_threads(),
                    outcomes,
                }
            })
            .collect();
        let span =
            Span { start_unix_ns: start, duration_ns: 10, boottime_ns: [start, start + 10], period_ns: 1 };
        NamedWindow { span, outcomes: [1; OUTCOMES], profiles, cut: false, effort: Effort::default() }
    }

    #[test]
    fn windows_become_one() {
        let mut gatherer = Gatherer::default();
        gatherer.add(&window(100, &[1, 2]), |_| true);
        gatherer.add(&window(110, &[2, 3]), |process| process.key.pid != 3);
        let (window, errors) = gatherer.finish();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!((window.span.start_unix_ns, window.span.duration_ns), (100, 20));
        assert_eq!(window.span.boottime_ns, [100, 120]);
        assert_eq!(window.outcomes, [2; OUTCOMES]);
        let seen: Vec<_> = window
            .profiles
            .iter()
            .map(|process| (process.key.pid, process.outcomes[0], &*process.name))
            .collect();
        assert_eq!(seen, [(2, 4, "at 110"), (1, 1, "at 100")]);
        let count = |profile: &Profile| profile.sample.iter().map(|sample| sample.value[0]).sum::<i64>();
        let one = count(&fixture::two_threads());
        assert_eq!(count(&window.profiles[0].profile), 2 * one);
        let whole = whole(&window).unwrap();
        assert_eq!((count(&whole), whole.duration_nanos), (3 * one, 20));
    }

    #[test]
    fn nothing_is_a_profile_too() {
        let (window, errors) = Gatherer::default().finish();
        assert!(errors.is_empty() && whole(&window).unwrap().sample.is_empty());
    }
}
