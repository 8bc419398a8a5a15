//! The hottest rows of a profile, with the numbers of `go tool pprof -top -nodefraction=0 -edgefraction=0`: unlike
//! pprof, small rows are not dropped silently; the number of rows alone decides.

use std::collections::HashMap;

use super::header::Header;
use super::node::{Nodes, Objects, Place};
use super::numbers::Numbers;
pub use super::order::Sort;
use super::order::{self, Weight};
use super::subject::{Lens, ReportError, Subject};
use crate::profile::proto::{Profile, Sample};

/// What to show, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How the profile is looked at.
    pub lens: Lens,
    /// What rows are sorted by.
    pub sort: Sort,
    /// How many rows; `None` for all of them.
    pub rows: Option<usize>,
}

/// The table.
#[derive(Clone, Debug, PartialEq)]
pub struct TopReport {
    /// The profile, the value and its total.
    pub header: Header,
    /// The filters that were applied, as `focus=regex`.
    pub filters: Vec<String>,
    /// Options that matched nothing.
    pub unmatched: Vec<&'static str>,
    /// Writes the values.
    pub numbers: Numbers,
    /// The rows that are shown, in order.
    pub rows: Vec<TopRow>,
    /// How many rows there are, shown or not.
    pub rows_in_all: usize,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    /// Where it is.
    pub place: Place<'static>,
    /// Whether it was inlined.
    pub inlined: Inlined,
    /// Value of the samples that end here.
    pub flat: i64,
    /// Sum of `flat` over this row and those above it.
    pub sum: i64,
    /// Value of the samples that have this anywhere in their stack, each counted once.
    pub cum: i64,
}

/// Whether a function was inlined into its callers, those that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Inlined {
    /// Into none.
    No,
    /// Into some.
    Partly,
    /// Into all.
    Always,
}

/// Makes the table.
///
/// # Errors
/// The profile is inconsistent, or does not have the value that is asked for.
pub fn top(profile: &Profile, options: &Options) -> Result<TopReport, ReportError> {
    let Options { lens, sort: by, rows } = options;
    let subject = Subject::new(profile, lens)?;
    let nodes = subject.nodes(lens, Objects::Merged)?;
    let weighted = subject.weighted();
    let mut weights = weigh(&nodes, &weighted);
    weights.retain(|weight| !lens.negative.drops(weight.flat, weight.cum));
    order::sort(&mut weights, nodes.places(), |weight| by.keys(weight.flat, weight.cum));
    let rows_in_all = weights.len();
    weights.truncate(rows.unwrap_or(usize::MAX));
    let inlined = inlining(&nodes, &weighted, &weights);
    let mut sum = 0_i64;
    let rows = weights.iter().zip(inlined).filter_map(|(weight, inlined)| {
        let &Weight { node, flat, cum } = weight;
        sum = sum.saturating_add(flat);
        Some(TopRow { place: nodes.places().get(node)?.clone().into_owned(), inlined, flat, sum, cum })
    });
    let rows: Vec<TopRow> = rows.collect();
    let numbers = subject.numbers.fitted(rows.iter().map(|row| (row.flat, row.cum)), subject.header.total);
    let Subject { header, filters, unmatched, .. } = subject;
    Ok(TopReport { header, filters, unmatched, numbers, rows, rows_in_all })
}

/// Flat and cum of every node that has either.
fn weigh(nodes: &Nodes<'_>, samples: &[(&Sample, i64)]) -> Vec<Weight> {
    let mut weights: Vec<Weight> =
        (0..nodes.places().len()).map(|node| Weight { node, flat: 0, cum: 0 }).collect();
    // Which sample a node was last counted for: recursion counts once.
    let mut counted: Vec<Option<usize>> = vec![None; weights.len()];
    for (number, &(sample, value)) in samples.iter().enumerate() {
        let mut leaf = None;
        for frame in nodes.frames(sample) {
            leaf = Some(frame.node);
            let (Some(weight), Some(last)) = (weights.get_mut(frame.node), counted.get_mut(frame.node))
            else {
                continue;
            };
            if *last != Some(number) {
                *last = Some(number);
                weight.cum = weight.cum.saturating_add(value);
            }
        }
        if let Some(weight) = leaf.and_then(|leaf| weights.get_mut(leaf)) {
            weight.flat = weight.flat.saturating_add(value);
        }
    }
    weights.retain(|weight| weight.flat != 0 || weight.cum != 0);
    weights
}

/// For each of the rows whether it was inlined. Only callers that have a row count; a caller's caller does where the
/// caller has none.
fn inlining(nodes: &Nodes<'_>, samples: &[(&Sample, i64)], rows: &[Weight]) -> Vec<Inlined> {
    let mut kept = vec![false; nodes.places().len()];
    for row in rows {
        if let Some(kept) = kept.get_mut(row.node) {
            *kept = true;
        }
    }
    // By caller and callee: the last sample with this call, and whether it was inlined in all samples.
    let mut calls: HashMap<(usize, usize), (usize, bool)> = HashMap::new();
    for (number, (sample, _)) in samples.iter().enumerate() {
        let mut caller = None;
        for frame in nodes.frames(sample).filter(|frame| kept.get(frame.node).copied().unwrap_or_default()) {
            if let Some(caller) = caller.filter(|&caller| caller != frame.node) {
                let (last, inlined) = calls.entry((caller, frame.node)).or_insert((usize::MAX, true));
                // As in pprof, the outermost call of a sample speaks for all equal ones in it.
                if *last != number {
                    *last = number;
                    *inlined &= frame.inlined;
                }
            }
            caller = Some(frame.node);
        }
    }
    let mut seen: HashMap<usize, (bool, bool)> = HashMap::new();
    for ((_, callee), (_, inlined)) in calls {
        let (some, others) = seen.entry(callee).or_default();
        *some |= inlined;
        *others |= !inlined;
    }
    let verdict = |row: &Weight| match seen.get(&row.node) {
        Some((true, false)) => Inlined::Always,
        Some((true, true)) => Inlined::Partly,
        _ => Inlined::No,
    };
    rows.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests;
