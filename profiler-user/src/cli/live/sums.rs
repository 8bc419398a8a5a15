//! What functions and calls of a process add up to. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use profiler_common::outcome::OUTCOMES;

use crate::pipeline::ProcessProfile;
use crate::report::order::Sort;
use crate::report::subject::{Lens, ReportError};
use crate::report::tree::{Options, tree};
use crate::report::trim::{Purpose, Trim};

/// Names of functions that are told apart; others are one.
const MOST_NAMES: usize = 1 << 18;

/// What stands for the others.
const OTHERS: &str = "(other functions)";

/// A function, by its place among the names.
pub(super) type Function = u32;

/// The names of functions, each once.
#[derive(Debug, Default)]
pub(super) struct Names {
    table: Vec<Arc<str>>,
    known: HashMap<Arc<str>, Function>,
}

impl Names {
    fn intern(&mut self, name: &str) -> Function {
        let name = if self.table.len() < MOST_NAMES || self.known.contains_key(name) { name } else { OTHERS };
        if let Some(&known) = self.known.get(name) {
            return known;
        }
        let place = Function::try_from(self.table.len()).unwrap_or(Function::MAX);
        let name: Arc<str> = name.into();
        self.table.push(Arc::clone(&name));
        self.known.insert(name, place);
        place
    }

    /// The name of a function.
    pub(super) fn get(&self, function: Function) -> Arc<str> {
        let place = usize::try_from(function).unwrap_or(usize::MAX);
        self.table.get(place).cloned().unwrap_or_default()
    }
}

/// CPU time of a function, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Its own.
    pub(super) flat: i64,
    /// With all it called.
    pub(super) cum: i64,
}

impl Cost {
    pub(super) fn add(&mut self, other: Cost) {
        self.flat = self.flat.saturating_add(other.flat);
        self.cum = self.cum.saturating_add(other.cum);
    }
}

/// A process over some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) name: String,
    /// CPU time, nanoseconds.
    pub(super) total: i64,
    /// Samples by outcome.
    pub(super) outcomes: [u64; OUTCOMES],
    pub(super) functions: HashMap<Function, Cost>,
    /// From caller to callee, nanoseconds.
    pub(super) calls: HashMap<(Function, Function), i64>,
}

impl Sums {
    /// Of one window.
    ///
    /// # Errors
    /// The profile is inconsistent.
    pub(super) fn of(process: &ProcessProfile, names: &mut Names) -> Result<Sums, ReportError> {
        let options =
            Options { lens: Lens::default(), trim: Trim::NOTHING, purpose: Purpose::Text(Sort::Flat) };
        let report = tree(&process.profile, &options)?;
        let graph = &report.graph;
        let places: Vec<Function> = graph.places.iter().map(|place| names.intern(&place.name())).collect();
        let mut sums = Sums {
            name: process.name.clone(),
            total: report.header.total,
            outcomes: process.outcomes,
            ..Sums::default()
        };
        for node in &graph.nodes {
            if let Some(&function) = places.get(node.place) {
                sums.functions.entry(function).or_default().add(Cost { flat: node.flat, cum: node.cum });
            }
        }
        for edge in &graph.edges {
            if let (Some(&from), Some(&to)) = (places.get(edge.from), places.get(edge.to)) {
                let sum = sums.calls.entry((from, to)).or_default();
                *sum = sum.saturating_add(edge.weight);
            }
        }
        Ok(sums)
    }

    /// Adds what came later.
    pub(super) fn add(&mut self, other: &Sums) {
        if self.name != other.name {
            // After an exec it is called something else.
            self.name.clone_from(&other.name);
        }
        self.total = self.total.saturating_add(other.total);
        for (sum, ticks) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += ticks;
        }
        for (function, cost) in &other.functions {
            self.functions.entry(*function).or_default().add(*cost);
        }
        for (call, weight) in &other.calls {
            let sum = self.calls.entry(*call).or_default();
            *sum = sum.saturating_add(*weight);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use profiler_common::layout::ProcessKey;

    use super::*;
    use crate::profile::fixture;

    /// The fixture's samples as those of a process: inlined 30 ms of 50 ms, vdso 20 ms, work 10 ms of 60 ms, main 60 ms.
    pub(in crate::cli::live) fn process(pid: u32, name: &str) -> ProcessProfile {
        let mut outcomes = [0; OUTCOMES];
        outcomes[0] = 6;
        ProcessProfile {
            key: ProcessKey { pid, exec_id: 0, start_ns: 1 },
            name: name.to_owned(),
            profile: fixture::two_threads(),
            outcomes,
        }
    }

    #[test]
    fn functions_and_calls_add_up() {
        let mut names = Names::default();
        let mut sums = Sums::of(&process(1, "a"), &mut names).unwrap();
        let again = Sums::of(&process(1, "renamed"), &mut names).unwrap();
        sums.add(&again);
        let of = |names: &mut Names, name: &str| names.intern(name);
        let (work, main, inlined) =
            (of(&mut names, "work"), of(&mut names, "main"), of(&mut names, "inlined"));
        assert_eq!(sums.functions[&inlined], Cost { flat: 60_000_000, cum: 100_000_000 });
        assert_eq!(sums.functions[&main], Cost { flat: 0, cum: 120_000_000 });
        assert_eq!((sums.calls[&(main, work)], sums.calls[&(work, inlined)]), (120_000_000, 100_000_000));
        assert_eq!((sums.total, sums.outcomes[0], sums.name.as_str()), (120_000_000, 12, "renamed"));
        assert_eq!(&*names.get(work), "work");
    }
}
