//! What changed between two profiles: each function's value on both sides, the change, and whether it is noise.

pub mod condition;
mod interval;
pub mod judge;
mod side;

use std::collections::BTreeMap;

use interval::{Estimate, difference, number, share};
use side::Side;
pub(super) use side::{Counting, Key};

use super::flame::{FlameReport, of_two};
use super::header::Header;
use super::measure::float;
use super::order::Sort;
use super::subject::{Lens, ReportError};
use crate::profile::proto::Profile;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Functions, or what else the lens tells apart, by name and binary.
    Places,
    /// The values of the label with this key, such as `process`.
    Label(String),
}

/// What makes two sides comparable that were not observed equally long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// Each value is a share of its own side, in percent.
    #[default]
    Share,
    /// The other side is scaled so that both have the base's total, in its unit.
    Cpu,
    /// Each value is divided by its side's duration: CPU seconds per second.
    Rate,
    /// Values stay as they are.
    Absolute,
}

/// What to compare, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How both profiles are looked at.
    pub lens: Lens,
    /// What has a row.
    pub rows: Rows,
    /// What makes them comparable.
    pub normalize: Normalize,
    /// What decides the order: the change in a function's own value, or with all it calls.
    pub sort: Sort,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffReport {
    /// The base as a whole.
    pub base: Header,
    /// The other side as a whole.
    pub other: Header,
    /// Ticks on both sides; `None` where values are not counts of ticks, so that nothing can be said about chance.
    pub ticks: Option<(f64, f64)>,
    /// The filters that were applied, as `focus=regex`.
    pub filters: Vec<String>,
    /// Options that matched nothing on either side.
    pub unmatched: Vec<&'static str>,
    /// What made the sides comparable.
    pub normalize: Normalize,
    /// The unit of values and changes: `%`, the profile's unit, or that per second.
    pub unit: String,
    /// The rows: first what changed for certain, the most certain change first; then the others.
    pub rows: Vec<DiffRow>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct DiffRow {
    /// The function, or the label's value.
    pub name: String,
    /// File name of its binary; empty for labels.
    pub object: String,
    /// The value of samples that end here.
    pub own: Change,
    /// The value of samples with this anywhere in their stack.
    pub total: Change,
}

/// A value on both sides.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Change {
    /// In the base.
    pub base: f64,
    /// On the other side.
    pub other: f64,
    /// `other` minus `base`.
    pub change: f64,
    /// Where the change lies with 95 %; `None` where nothing can be said, or both values are 0.
    pub interval: Option<(f64, f64)>,
    /// What this means.
    pub verdict: Verdict,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It grew.
    More,
    /// It shrank.
    Less,
    /// It was not there before.
    New,
    /// It is not there any more.
    Gone,
    /// Chance alone may have done this.
    Noise,
    /// Nothing changed.
    Same,
    /// It changed, and nothing can be said about chance.
    Unknown,
}

impl Change {
    /// How far the change lies from 0 at least; 0 for noise. Where nothing can be said, the change itself.
    #[must_use]
    pub fn certain(&self) -> f64 {
        match (self.verdict, self.interval) {
            (Verdict::Noise | Verdict::Same, _) => 0.0,
            (_, Some((low, high))) => low.abs().min(high.abs()),
            (_, None) => self.change.abs(),
        }
    }

    /// The change in relation to the base, in percent; `None` where there is nothing to relate it to.
    #[must_use]
    pub fn relative(&self) -> Option<f64> {
        (self.base != 0.0).then(|| 100.0 * self.change / self.base)
    }
}

/// Compares two profiles.
///
/// # Errors
/// One is inconsistent, or does not have the value that is asked for.
pub fn diff(base: &Profile, other: &Profile, options: &Options) -> Result<DiffReport, ReportError> {
    let Options { lens, rows, normalize, sort } = options;
    let (base, other) = (Side::new(base, lens, rows)?, Side::new(other, lens, rows)?);
    let scale = Scale::new(&base, &other, *normalize);
    let mut keys: BTreeMap<&Key, [Option<side::Values>; 2]> = BTreeMap::new();
    for (place, side) in [&base, &other].into_iter().enumerate() {
        for (key, values) in &side.rows {
            if let Some(slot) = keys.entry(key).or_default().get_mut(place) {
                *slot = Some(*values);
            }
        }
    }
    let mut rows: Vec<DiffRow> = keys
        .into_iter()
        .map(|(key, [base, other])| {
            let (base, other) = (base.unwrap_or_default(), other.unwrap_or_default());
            DiffRow {
                name: key.name.clone(),
                object: key.object.clone(),
                own: scale.change(base.own, other.own),
                total: scale.change(base.total, other.total),
            }
        })
        .collect();
    // What did not change itself may still call what did.
    let ranked = |row: &DiffRow| match sort {
        Sort::Flat => [row.own, row.total],
        Sort::Cum => [row.total, row.own],
    };
    rows.sort_by(|left, right| {
        let (left_changes, right_changes) = (ranked(left), ranked(right));
        let falling = |of: fn(&Change) -> f64| {
            let [left, right] =
                [left_changes, right_changes].map(|[first, second]| (of(&first), of(&second)));
            right.0.total_cmp(&left.0).then(right.1.total_cmp(&left.1))
        };
        falling(Change::certain)
            .then_with(|| falling(|change| change.change.abs()))
            .then_with(|| (&left.name, &left.object).cmp(&(&right.name, &right.object)))
    });
    let unmatched = base.unmatched.iter().copied().filter(|name| other.unmatched.contains(name)).collect();
    Ok(DiffReport {
        ticks: base.ticks.zip(other.ticks),
        filters: base.filters,
        unmatched,
        normalize: *normalize,
        unit: scale.unit,
        rows,
        base: base.header,
        other: other.header,
    })
}

/// Both profiles as one tree of stacks, for an overlaid flame graph: the base is scaled to the other side's total,
/// unless values are to stay as they are.
///
/// # Errors
/// One is inconsistent, or does not have the value that is asked for.
pub fn overlaid(
    base: &Profile,
    other: &Profile,
    lens: &Lens,
    normalize: Normalize,
) -> Result<FlameReport, ReportError> {
    let factor = |base: &Header, other: &Header| match normalize {
        Normalize::Absolute => 1.0,
        Normalize::Share | Normalize::Cpu => float(other.total) / float(base.total),
        Normalize::Rate => float(other.duration_nanos) / float(base.duration_nanos),
    };
    of_two(base, other, lens, normalize, factor)
}

/// From sums to what is shown.
struct Scale {
    unit: String,
    normalize: Normalize,
    /// What sums are multiplied with.
    factors: [f64; 2],
    /// Ticks in all.
    ticks: Option<[f64; 2]>,
}

impl Scale {
    fn new(base: &Side, other: &Side, normalize: Normalize) -> Scale {
        let totals = [&base.header, &other.header].map(|header| float(header.total));
        let seconds = [&base.header, &other.header].map(|header| float(header.duration_nanos) / 1e9);
        let inverse = |number: f64| if number == 0.0 { 0.0 } else { 1.0 / number };
        let unit = base.header.unit.clone();
        let (unit, factors) = match normalize {
            Normalize::Share => ("%".to_owned(), totals.map(|total| 100.0 * inverse(total))),
            Normalize::Cpu => (unit, [1.0, totals[0] * inverse(totals[1])]),
            Normalize::Rate => (format!("{unit}/s"), seconds.map(inverse)),
            Normalize::Absolute => (unit, [1.0, 1.0]),
        };
        let ticks = base.ticks.zip(other.ticks).map(|(base, other)| [base, other]);
        Scale { unit, normalize, factors, ticks }
    }

    fn change(&self, base: side::Sum, other: side::Sum) -> Change {
        let values = [base.value * self.factors[0], other.value * self.factors[1]];
        let change = values[1] - values[0];
        let seen = [base, other].iter().any(|side| side.value != 0.0);
        let interval = self.ticks.filter(|_| seen).map(|ticks| {
            let of = |side: side::Sum, all: f64, factor: f64, mean: f64| -> Estimate {
                let estimate = match self.normalize {
                    Normalize::Share | Normalize::Cpu => share(side.ticks, all).times(all),
                    Normalize::Rate | Normalize::Absolute => number(side.ticks),
                };
                // What one tick is worth; where none hit, what one is worth elsewhere.
                let worth = if side.ticks > 0.0 { side.value / side.ticks } else { mean };
                estimate.times(worth * factor)
            };
            let mean = [base, other].into_iter().fold(0.0, |most: f64, side| {
                most.max(if side.ticks > 0.0 { side.value / side.ticks } else { 0.0 })
            });
            let estimate = difference(
                of(base, ticks[0], self.factors[0], mean),
                of(other, ticks[1], self.factors[1], mean),
            );
            (estimate.low, estimate.high)
        });
        let verdict = match interval {
            _ if base.value == other.value && change == 0.0 => Verdict::Same,
            Some((low, high)) if low <= 0.0 && high >= 0.0 => Verdict::Noise,
            _ if base.value == 0.0 => Verdict::New,
            _ if other.value == 0.0 => Verdict::Gone,
            None => Verdict::Unknown,
            Some(_) if change > 0.0 => Verdict::More,
            Some(_) => Verdict::Less,
        };
        Change { base: values[0], other: values[1], change, interval, verdict }
    }
}

#[cfg(test)]
mod tests;
