//! The hottest rows of a profile, with the numbers of `go tool pprof -top -nodefraction=0 -edgefraction=0`: unlike
//! pprof, small rows are not dropped silently; the number of rows alone decides.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use super::header::Header;
use super::node::{Granularity, Nodes, Place};
use crate::profile::filter::{FrameFilter, Matched};
use crate::profile::ids::IdError;
use crate::profile::proto::{Profile, Sample};
use crate::profile::prune::drop_frames;
use crate::profile::sample_index::{SampleIndexError, sample_index};
use crate::profile::validate::{self, Invalid, Rules};

/// What to show, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What has a row.
    pub by: Granularity,
    /// What rows are sorted by.
    pub sort: Sort,
    /// How many rows; `None` for all of them.
    pub rows: Option<usize>,
    /// Name or number of the value; `None` for the profile's default.
    pub sample_index: Option<String>,
    /// Which frames are looked at. Shares stay those of the unfiltered total, as in pprof.
    pub frames: FrameFilter,
}

/// What rows are sorted by, the largest absolute value first; equal ones by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The value of samples that end in the row.
    #[default]
    Flat,
    /// The value of samples with the row anywhere in the stack.
    Cum,
}

/// The table.
#[derive(Clone, Debug, PartialEq)]
pub struct TopReport {
    /// The profile, the value and its total.
    pub header: Header,
    /// The regexes that were applied, as `focus=regex`.
    pub filters: Vec<String>,
    /// Which of those regexes matched anything.
    pub matched: Matched,
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

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopError {
    /// The profile has no such value.
    #[error(transparent)]
    SampleIndex(#[from] SampleIndexError),
    /// The profile's tables do not fit each other.
    #[error("the profile is inconsistent: {0}")]
    Invalid(Invalid),
}

impl From<Invalid> for TopError {
    fn from(cause: Invalid) -> TopError {
        TopError::Invalid(cause)
    }
}

impl From<IdError> for TopError {
    fn from(cause: IdError) -> TopError {
        TopError::Invalid(Invalid::Id { table: "id", cause })
    }
}

/// Makes the table.
///
/// # Errors
/// The profile is inconsistent, or does not have the value that is asked for.
pub fn top(profile: &Profile, options: &Options) -> Result<TopReport, TopError> {
    validate::check(profile, Rules::Readable)?;
    let index = sample_index(profile, options.sample_index.as_deref())?;
    let header = Header::new(profile, index);
    let mut profile = Cow::Borrowed(profile);
    if profile.drop_frames != 0 {
        drop_frames(profile.to_mut());
    }
    let matched = if options.frames.is_empty() {
        options.frames.apply(&mut Profile::default())
    } else {
        options.frames.apply(profile.to_mut())
    };
    let nodes = Nodes::new(&profile, options.by)?;
    let weighted: Vec<(&Sample, i64)> = profile
        .sample
        .iter()
        .filter_map(|sample| Some((sample, *sample.value.get(index)?)))
        .filter(|&(_, weight)| weight != 0)
        .collect();
    let mut weights = weigh(&nodes, &weighted);
    sort(&mut weights, nodes.places(), options.sort);
    let rows_in_all = weights.len();
    weights.truncate(options.rows.unwrap_or(usize::MAX));
    let inlined = inlining(&nodes, &weighted, &weights);
    let mut sum = 0_i64;
    let rows = weights.iter().zip(inlined).filter_map(|(weight, inlined)| {
        let &Weight { node, flat, cum } = weight;
        sum = sum.saturating_add(flat);
        Some(TopRow { place: nodes.places().get(node)?.clone().into_owned(), inlined, flat, sum, cum })
    });
    let rows = rows.collect();
    let filters = options.frames.given().map(|(name, regex)| format!("{name}={regex}")).collect();
    Ok(TopReport { header, filters, matched, rows, rows_in_all })
}

/// The values of a node.
#[derive(Clone, Copy)]
struct Weight {
    node: usize,
    flat: i64,
    cum: i64,
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

fn sort(weights: &mut [Weight], places: &[Place<'_>], sort: Sort) {
    let names: HashMap<usize, String> =
        weights.iter().filter_map(|weight| Some((weight.node, places.get(weight.node)?.name()))).collect();
    let place = |weight: &Weight| places.get(weight.node);
    // By address as a number where both have one, as their zero-padded names would be ordered.
    let by_name =
        |left: &Weight, right: &Weight| -> Ordering { names.get(&left.node).cmp(&names.get(&right.node)) };
    weights.sort_by(|left, right| {
        let (first, second) = match sort {
            Sort::Flat => ((left.flat, right.flat), (left.cum, right.cum)),
            Sort::Cum => ((left.cum, right.cum), (left.flat, right.flat)),
        };
        let descending =
            |(left, right): (i64, i64)| Reverse(left.unsigned_abs()).cmp(&Reverse(right.unsigned_abs()));
        descending(first)
            .then_with(|| by_name(left, right))
            .then_with(|| descending(second))
            .then_with(|| place(left).cmp(&place(right)))
    });
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
