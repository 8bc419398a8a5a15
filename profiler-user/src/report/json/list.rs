//! `profiler list --json`.

use serde::Serialize;

use super::write;
use crate::report::header::Header;
use crate::report::list::ListReport;
use crate::report::measure::percent;
use crate::report::text::Read;

#[derive(Serialize)]
struct List<'a> {
    #[serde(flatten)]
    header: &'a Header,
    routines: Vec<Routine<'a>>,
}

#[derive(Serialize)]
struct Routine<'a> {
    function: &'a str,
    file: &'a str,
    flat: i64,
    cum: i64,
    cum_percent: f64,
    /// Why there is no source; null where there is.
    no_source: Option<String>,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    line: i64,
    flat: i64,
    cum: i64,
    /// Null where the source is not at hand.
    source: Option<String>,
}

/// The functions of [`crate::report::list::list`] as one JSON object: their lines that have a value, with the source
/// where it is at hand.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn list(report: &ListReport, read: Read<'_>) -> serde_json::Result<String> {
    listing(report, Lines::Valued, read)
}

/// Which lines of a function are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Those with a value.
    Valued,
    /// Where the source is at hand, also those between, before and behind them.
    Around,
}

/// Likewise, with a choice of lines.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn listing(report: &ListReport, shown: Lines, read: Read<'_>) -> serde_json::Result<String> {
    let ListReport { header, unmatched: _, numbers, routines } = report;
    let mut all = Vec::with_capacity(routines.len());
    for routine in routines {
        let source = if routine.file.is_empty() {
            Err("the profile names no file for it".to_owned())
        } else {
            read(&routine.file)
        };
        let text = |number: i64| {
            let lines = source.as_ref().ok()?;
            usize::try_from(number.checked_sub(1)?).ok().and_then(|index| lines.get(index)).cloned()
        };
        let valued = |line: i64| {
            let (flat, cum) = routine.lines.get(&line).copied().unwrap_or_default();
            Line { line, flat: numbers.divided(flat), cum: numbers.divided(cum), source: text(line) }
        };
        let lines: Vec<Line> = match (shown, &source) {
            (Lines::Around, Ok(source)) => {
                // Lines are numbered by the profile, and might be any.
                let end = i64::try_from(source.len()).unwrap_or(i64::MAX).min(routine.last);
                (routine.first..=end).map(valued).collect()
            }
            _ => routine.lines.keys().map(|&line| valued(line)).collect(),
        };
        all.push(Routine {
            function: &routine.function,
            file: &routine.file,
            flat: numbers.divided(routine.flat),
            cum: numbers.divided(routine.cum),
            cum_percent: percent(routine.cum, header.total),
            lines,
            no_source: source.err(),
        });
    }
    write(&List { header, routines: all })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::fixture;
    use crate::report::subject::Lens;

    #[test]
    fn lines_have_their_source() {
        let regex = regex::Regex::new("work|inlined").unwrap();
        let report = crate::report::list::list(&fixture::two_threads(), &Lens::default(), &regex).unwrap();
        let mut read = |path: &str| match path {
            "work.c" => Ok(Arc::from(vec!["work();".to_owned(); 30])),
            path => Err(format!("looked for {path}")),
        };
        let value: serde_json::Value = serde_json::from_str(&list(&report, &mut read).unwrap()).unwrap();
        assert_eq!(value["routines"][0]["no_source"], "looked for inlined.h");
        assert_eq!(value["routines"][1]["lines"][0]["source"], "work();");
        assert_eq!(value["routines"][1]["lines"][0]["cum"], 50_000_000);
        let text = listing(&report, Lines::Around, &mut read).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let lines = value["routines"][1]["lines"].as_array().unwrap();
        assert_eq!((lines.len(), &lines[0]["line"], &lines[2]["cum"]), (11, &20.into(), &50_000_000.into()));
        assert_eq!(value["routines"][0]["lines"].as_array().unwrap().len(), 1, "no source, no lines between");
    }
}
