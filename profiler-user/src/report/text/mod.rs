//! Reports as text for people, with google/pprof's head and columns.

mod diff;
mod disasm;
mod folded;
mod labels;
mod list;
mod raw;
mod top;
mod traces;
mod tree;

use std::borrow::Cow;
use std::fmt::Write;

use time::OffsetDateTime;
use time::macros::format_description;

pub use diff::{Noise, Shown, diff};
pub use disasm::disasm;
pub use folded::folded;
pub use labels::labels;
pub use list::{Read, list};
pub use raw::raw;
pub use top::top;
pub use traces::traces;
pub use tree::{peek, tree};

use super::graph::Dropped;
use super::header::Header;
use super::measure::{AUTO, label, percent, percentage, scale};
use super::node::base;
use super::numbers::Numbers;
use super::subject::Heading;

/// Whether the text may hold colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// No escape sequences.
    Plain,
    /// ANSI escape sequences.
    Colours,
}

/// Rows with at least this share of the total, in percent, stand out.
const HOT: f64 = 10.0;

/// From this share on, in percent, rows are still marked.
const WARM: f64 = 2.0;

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colours if code.is_empty() || text.is_empty() => text.to_owned(),
            Paint::Colours => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// The lines about the profile as a whole.
pub fn head(header: &Header, numbers: &Numbers) -> Vec<String> {
    let mut lines = Vec::new();
    if !header.file.is_empty() {
        lines.push(format!("File: {}", base(&header.file)));
    }
    if !header.build_id.is_empty() {
        lines.push(format!("Build ID: {}", header.build_id));
    }
    if !header.sample_type.is_empty() {
        lines.push(format!("Type: {}", header.sample_type));
    }
    if !header.doc_url.is_empty() {
        lines.push(format!("Doc: {}", header.doc_url));
    }
    if let Some(time) = utc(header.time_nanos).filter(|_| header.time_nanos != 0) {
        lines.push(format!("Time: {time}"));
    }
    if header.duration_nanos != 0 {
        let (nanos, unit) = scale(header.total, &header.unit, "nanoseconds");
        let share = if unit == "ns" && nanos != 0.0 {
            // A time, so the ratio of the total in nanoseconds; whole ones, as pprof rounds them.
            format!(" ({})", percentage(whole(nanos), header.duration_nanos))
        } else {
            String::new()
        };
        let duration = label(header.duration_nanos, "nanoseconds", AUTO);
        lines.push(format!("Duration: {duration}, Total samples = {}{share}", numbers.value(header.total)));
    }
    lines
}

/// What was left out of the profile, and how much of it is shown: `shown` of the total.
pub(super) fn summary(header: &Header, filters: &[String], shown: i64, numbers: &Numbers) -> Vec<String> {
    let mut lines = Vec::new();
    if !filters.is_empty() {
        lines.push("Active filters:".to_owned());
        lines.extend(filters.iter().map(|filter| format!("   {}", shortened(filter))));
    }
    lines.push(format!(
        "Showing nodes accounting for {}, {} of {} total",
        numbers.value(shown),
        percentage(shown, header.total),
        numbers.value(header.total)
    ));
    lines
}

/// The lines about the profile as a whole, as far as they are wanted.
fn opening(heading: Heading, header: &Header, numbers: &Numbers) -> Vec<String> {
    match heading {
        Heading::Full => head(header, numbers),
        Heading::Compact => Vec::new(),
    }
}

/// What is not shown: nodes and edges for being small, and nodes behind the last row. As in pprof, nothing is said of a
/// profile whose total is zero, as that of means can be while some of its nodes have values.
pub(super) fn left_out(
    header: &Header,
    dropped: &Dropped,
    (rows, rows_in_all): (usize, usize),
    numbers: &Numbers,
) -> Vec<String> {
    let mut lines = Vec::new();
    if header.total == 0 {
        return lines;
    }
    let small = [
        (dropped.nodes, "node", "cum", dropped.node_cutoff),
        (dropped.edges, "edge", "freq", dropped.edge_cutoff),
    ];
    for (count, what, by, bound) in small.into_iter().filter(|small| small.0 > 0) {
        let plural = if count == 1 { "" } else { "s" };
        lines.push(format!("Dropped {count} {what}{plural} ({by} <= {})", numbers.value(bound)));
    }
    if (1..rows_in_all).contains(&rows) {
        lines.push(format!("Showing top {rows} nodes out of {rows_in_all}"));
    }
    lines
}

/// As [`left_out`], for tables, which do not say how many edges they leave out.
fn rows_left_out(header: &Header, dropped: &Dropped, rows: (usize, usize), numbers: &Numbers) -> Vec<String> {
    left_out(header, &Dropped { edges: 0, ..*dropped }, rows, numbers)
}

/// As much of a filter as fits a line.
fn shortened(filter: &str) -> Cow<'_, str> {
    if filter.len() <= 80 {
        return Cow::Borrowed(filter);
    }
    let end = (0..=80).rev().find(|&end| filter.is_char_boundary(end)).unwrap_or_default();
    Cow::Owned(format!("{}…", filter.get(..end).unwrap_or_default()))
}

/// The colour of a row with this value.
fn heat(value: i64, total: i64) -> &'static str {
    let share = percent(value, total);
    if share >= HOT {
        "31"
    } else if share >= WARM {
        "33"
    } else {
        ""
    }
}

/// Nanoseconds since the Unix epoch as `2026-11-24 02:03:00 UTC`.
#[must_use]
pub fn utc(nanos: i64) -> Option<String> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).ok()?.format(&format).ok()
}

#[expect(clippy::as_conversions, reason = "saturates, which is right for a share")]
fn whole(value: f64) -> i64 {
    value as i64
}

pub(super) fn push_line(out: &mut String, line: &str) {
    let _infallible = writeln!(out, "{line}");
}

/// Names come from profiles, and those from anywhere: their control characters must not reach a terminal.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.replace(char::is_control, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}
