//! The order of rows, which is google/pprof's (internal/graph, `Nodes.Sort`).

use std::cmp::Reverse;
use std::collections::HashMap;

use super::node::Place;

/// What rows are sorted by, the largest absolute value first; equal ones by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The value of samples that end in the row.
    #[default]
    Flat,
    /// The value of samples with the row anywhere in the stack.
    Cum,
}

impl Sort {
    /// What is compared before the names, and what after them.
    #[must_use]
    pub fn keys(self, flat: i64, cum: i64) -> (i64, i64) {
        match self {
            Sort::Flat => (flat, cum),
            Sort::Cum => (cum, flat),
        }
    }
}

/// The values of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Index into the places.
    pub(super) node: usize,
    pub(super) flat: i64,
    pub(super) cum: i64,
}

/// Sorts by the first key's absolute value, falling; then by name, the second key, and what the name does not tell.
pub(super) fn sort(weights: &mut [Weight], places: &[Place<'_>], keys: impl Fn(&Weight) -> (i64, i64)) {
    // By address as a number where both have one, as their zero-padded names would be ordered.
    let names: HashMap<usize, String> =
        weights.iter().filter_map(|weight| Some((weight.node, places.get(weight.node)?.name()))).collect();
    weights.sort_by(|left, right| {
        let (first, second) = (keys(left), keys(right));
        let falling =
            |left: i64, right: i64| Reverse(left.unsigned_abs()).cmp(&Reverse(right.unsigned_abs()));
        falling(first.0, second.0)
            .then_with(|| names.get(&left.node).cmp(&names.get(&right.node)))
            .then_with(|| falling(first.1, second.1))
            .then_with(|| places.get(left.node).map(all_of).cmp(&places.get(right.node).map(all_of)))
    });
}

/// All that tells places apart, in the words that pprof compares: numbers by their digits.
fn all_of(place: &Place<'_>) -> String {
    let Place { address, function, file, line, column, mapping, start_line } = place;
    format!("{{{function}  {address} {file} {start_line} {line} {column} {mapping}}}")
}
