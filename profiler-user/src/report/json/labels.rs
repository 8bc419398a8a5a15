//! `profiler tags --json`.

use serde::Serialize;

use super::write;
use crate::report::header::Header;
use crate::report::labels::LabelsReport;
use crate::report::measure::percent;

#[derive(Serialize)]
struct Labels<'a> {
    #[serde(flatten)]
    header: &'a Header,
    keys: Vec<Key<'a>>,
}

#[derive(Serialize)]
struct Key<'a> {
    key: &'a str,
    sum: i64,
    sum_percent: f64,
    values: Vec<Value<'a>>,
}

#[derive(Serialize)]
struct Value<'a> {
    /// What the label holds, numbers with their unit.
    held: &'a str,
    sum: i64,
    sum_percent: f64,
}

/// The labels of [`crate::report::labels::labels`] as one JSON object.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn labels(report: &LabelsReport) -> serde_json::Result<String> {
    let LabelsReport { header, unmatched: _, numbers, keys } = report;
    let value =
        |(held, sum)| Value { held, sum: numbers.divided(sum), sum_percent: percent(sum, header.total) };
    let keys = keys.iter().map(|key| Key {
        key: &key.name,
        sum: numbers.divided(key.total),
        sum_percent: percent(key.total, header.total),
        values: key.values.iter().map(|(held, sum)| value((held.as_str(), *sum))).collect(),
    });
    write(&Labels { header, keys: keys.collect() })
}
