//! `profiler top --json`.

use serde::Serialize;

use super::write;
use crate::report::header::Header;
use crate::report::measure::percent;
use crate::report::numbers::Numbers;
use crate::report::top::{Inlined, TopReport, TopRow};

#[derive(Serialize)]
struct Top<'a> {
    #[serde(flatten)]
    header: &'a Header,
    filters: &'a [String],
    /// Sum of `flat` over the rows, in `unit`.
    shown: i64,
    rows_in_all: usize,
    /// Rows that were left out for being small, and the least `cum` of those that were not.
    dropped: usize,
    dropped_below: i64,
    rows: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    /// As the text shows it.
    name: String,
    function: &'a str,
    file: &'a str,
    line: i64,
    column: i64,
    /// Hexadecimal: JSON's numbers end at 2^53 in many readers.
    address: String,
    mapping: &'a str,
    inlined: Inlined,
    flat: i64,
    flat_percent: f64,
    sum: i64,
    sum_percent: f64,
    cum: i64,
    cum_percent: f64,
}

impl<'a> Row<'a> {
    fn of(row: &'a TopRow, total: i64, numbers: &Numbers) -> Row<'a> {
        let TopRow { place, inlined, flat, sum, cum } = row;
        Row {
            name: place.name(),
            function: &place.function,
            file: &place.file,
            line: place.line,
            column: place.column,
            address: format!("{:#x}", place.address),
            mapping: &place.mapping,
            inlined: *inlined,
            flat: numbers.divided(*flat),
            flat_percent: percent(*flat, total),
            sum: numbers.divided(*sum),
            sum_percent: percent(*sum, total),
            cum: numbers.divided(*cum),
            cum_percent: percent(*cum, total),
        }
    }
}

/// The table of [`crate::report::top::top`] as one JSON object, with a line feed at its end.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn top(report: &TopReport) -> serde_json::Result<String> {
    let TopReport { header, filters, unmatched: _, numbers, heading: _, dropped, rows, rows_in_all } = report;
    let object = Top {
        header,
        filters,
        shown: numbers.divided(rows.last().map_or(0, |row| row.sum)),
        rows_in_all: *rows_in_all,
        dropped: dropped.nodes,
        dropped_below: numbers.divided(dropped.node_cutoff),
        rows: rows.iter().map(|row| Row::of(row, header.total, numbers)).collect(),
    };
    write(&object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::top::{Options, top as report};

    #[test]
    fn holds_raw_numbers_and_their_unit() {
        let report =
            report(&fixture::two_threads(), &Options { rows: Some(3), ..Options::default() }).unwrap();
        let value: serde_json::Value = serde_json::from_str(&top(&report).unwrap()).unwrap();
        assert_eq!(value["unit"], "nanoseconds");
        assert_eq!(value["total"], 60_000_000);
        assert_eq!(value["shown"], 60_000_000);
        assert_eq!(value["rows_in_all"], 4);
        assert_eq!(value["rows"][0]["name"], "inlined");
        assert_eq!(value["rows"][0]["flat"], 30_000_000);
        assert_eq!(value["rows"][0]["flat_percent"], 50.0);
        assert_eq!(value["rows"][0]["inlined"], "always");
    }
}
