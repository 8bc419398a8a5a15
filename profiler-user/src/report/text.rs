//! Reports as text for people, with google/pprof's head and columns.

use std::borrow::Cow;
use std::fmt::Write;

use time::OffsetDateTime;
use time::macros::format_description;

use super::header::Header;
use super::measure::{AUTO, common_unit, label, percent, percentage, scale};
use super::node::base;
use super::top::{Inlined, TopReport};

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

/// The table of [`super::top::top`], with a line feed at its end.
#[must_use]
pub fn top(report: &TopReport, paint: Paint) -> String {
    let TopReport { header, filters, matched: _, rows, rows_in_all } = report;
    let value = unit_of(report);
    let (total, shown) = (header.total, rows.last().map_or(0, |row| row.sum));
    let mut lines = head(header, &value);
    if !filters.is_empty() {
        lines.push("Active filters:".to_owned());
        lines.extend(filters.iter().map(|filter| format!("   {filter}")));
    }
    lines.push(format!(
        "Showing nodes accounting for {}, {} of {} total",
        value(shown),
        percentage(shown, total),
        value(total)
    ));
    if !rows.is_empty() && rows.len() < *rows_in_all {
        lines.push(format!("Showing top {} nodes out of {rows_in_all}", rows.len()));
    }
    let mut out = String::new();
    for line in lines {
        push_line(&mut out, &safe(&line));
    }
    let columns = format!("{:>10} {:>6} {:>6} {:>10} {:>6}", "flat", "flat%", "sum%", "cum", "cum%");
    push_line(&mut out, &paint.wrap("1", &columns));
    for row in rows {
        let numbers = format!(
            "{:>10} {:>6} {:>6} {:>10} {:>6}",
            value(row.flat),
            percentage(row.flat, total),
            percentage(row.sum, total),
            value(row.cum),
            percentage(row.cum, total)
        );
        let inlined = match row.inlined {
            Inlined::No => "",
            Inlined::Partly => " (partial-inline)",
            Inlined::Always => " (inline)",
        };
        let share = percent(row.flat, total);
        let code = if share >= HOT {
            "31"
        } else if share >= WARM {
            "33"
        } else {
            ""
        };
        let name = row.place.name();
        push_line(
            &mut out,
            &format!("{}  {}{}", paint.wrap(code, &numbers), safe(&name), paint.wrap("2", inlined)),
        );
    }
    out
}

/// Writes values in the unit that fits all rows.
fn unit_of(report: &TopReport) -> impl Fn(i64) -> String {
    let smallest = report
        .rows
        .iter()
        .map(|row| if row.flat == 0 { row.cum } else { row.flat })
        .map(i64::saturating_abs)
        .filter(|&value| value > 0)
        .min();
    let unit = report.header.unit.clone();
    let shown_in = if report.rows.is_empty() {
        AUTO.to_owned()
    } else {
        common_unit(smallest.unwrap_or(0), report.header.total, &unit)
    };
    move |value| label(value, &unit, &shown_in)
}

/// The lines about the profile as a whole; `value` writes the total.
pub fn head(header: &Header, value: &impl Fn(i64) -> String) -> Vec<String> {
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
        lines.push(format!("Duration: {duration}, Total samples = {}{share}", value(header.total)));
    }
    lines
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

fn push_line(out: &mut String, line: &str) {
    let _infallible = writeln!(out, "{line}");
}

/// Names come from profiles, and those from anywhere: their control characters must not reach a terminal.
fn safe(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.replace(char::is_control, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::top::{Options, top as report};
    use super::*;
    use crate::profile::fixture;

    #[test]
    fn reads_like_pprof() {
        let report =
            report(&fixture::two_threads(), &Options { rows: Some(3), ..Options::default() }).unwrap();
        assert_eq!(
            top(&report, Paint::Plain),
            "File: app\n\
             Build ID: abcdef\n\
             Type: cpu\n\
             Time: 2023-11-14 22:13:20 UTC\n\
             Duration: 1s, Total samples = 60ms (6.00%)\n\
             Showing nodes accounting for 60ms, 100% of 60ms total\n\
             Showing top 3 nodes out of 4\n"
                .to_owned()
                + "      flat  flat%   sum%        cum   cum%\n"
                + "      30ms 50.00% 50.00%       50ms 83.33%  inlined (inline)\n"
                + "      20ms 33.33% 83.33%       20ms 33.33%  [[vdso]]\n"
                + "      10ms 16.67%   100%       60ms   100%  work\n"
        );
    }

    #[test]
    fn colours_only_when_asked_for() {
        let report = report(&fixture::two_threads(), &Options::default()).unwrap();
        assert!(!top(&report, Paint::Plain).contains('\x1b'));
        assert!(top(&report, Paint::Colours).contains("\x1b[31m"));
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut profile = fixture::two_threads();
        profile.string_table[10] = "evil\x1b[2Jname".to_owned();
        let text = top(&report(&profile, &Options::default()).unwrap(), Paint::Plain);
        assert!(!text.contains('\x1b') && text.contains("evil\u{fffd}[2Jname"), "{text}");
    }
}
