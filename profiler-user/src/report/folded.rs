//! Stacks as one line each, for flame graph tools: `main;work;inlined 30000000`.

use std::collections::BTreeMap;

use super::node::{Objects, Place};
use super::subject::{Lens, ReportError, Subject};
use crate::profile::proto::Profile;

/// Different stacks with their values.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedReport {
    /// Options that matched nothing.
    pub unmatched: Vec<&'static str>,
    /// All places; stacks point into them.
    pub places: Vec<Place<'static>>,
    /// The stacks, the outermost frame first, with the value in the profile's unit; sorted by names, without those
    /// whose value is 0.
    pub stacks: Vec<(Vec<usize>, i64)>,
}

/// Sums up equal stacks.
///
/// # Errors
/// The profile is inconsistent, or does not have the value that is asked for.
pub fn folded(profile: &Profile, lens: &Lens) -> Result<FoldedReport, ReportError> {
    let subject = Subject::new(profile, lens)?;
    let nodes = subject.nodes(lens, Objects::Merged)?;
    let names: Vec<String> = nodes.places().iter().map(Place::name).collect();
    // By name and not by place: a line holds names only, and equal lines are one.
    let mut stacks: BTreeMap<Vec<&str>, (Vec<usize>, i64)> = BTreeMap::new();
    for (sample, value) in subject.weighted() {
        let stack: Vec<usize> = nodes.frames(sample).map(|frame| frame.node).collect();
        if stack.is_empty() {
            continue;
        }
        let key = stack.iter().filter_map(|&node| Some(names.get(node)?.as_str())).collect();
        let (_, sum) = stacks.entry(key).or_insert_with(|| (stack, 0));
        *sum = sum.saturating_add(value);
    }
    let divided = |(stack, value)| (stack, subject.numbers.divided(value));
    let stacks = stacks.into_values().filter(|(_, value)| *value != 0).map(divided).collect();
    let places = nodes.places().iter().map(|place| place.clone().into_owned()).collect();
    Ok(FoldedReport { unmatched: subject.unmatched, places, stacks })
}
