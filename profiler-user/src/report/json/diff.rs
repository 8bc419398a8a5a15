//! `profiler diff --json`.

use serde::Serialize;

use super::write;
use crate::report::diff::{DiffReport, DiffRow, Normalize};
use crate::report::header::Header;

#[derive(Serialize)]
struct Diff<'a> {
    base: &'a Header,
    other: &'a Header,
    base_samples: Option<f64>,
    other_samples: Option<f64>,
    filters: &'a [String],
    normalize: Normalize,
    /// Of all values below.
    unit: &'a str,
    rows: &'a [DiffRow],
}

/// All rows of [`crate::report::diff::diff`] as one JSON object, noise included.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn diff(report: &DiffReport) -> serde_json::Result<String> {
    let DiffReport { base, other, ticks, filters, unmatched: _, normalize, unit, rows } = report;
    let (base_samples, other_samples) = ticks.unzip();
    write(&Diff { base, other, base_samples, other_samples, filters, normalize: *normalize, unit, rows })
}
