//! `profiler diff`.

use super::{Paint, push_line, safe};
use crate::report::diff::{Change, DiffReport, DiffRow, Normalize, Verdict};
use crate::report::header::Header;
use crate::report::measure::{AUTO, label, rounded};
use crate::report::node::base;

/// How many rows of a comparison are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// At most so many; `None` for all.
    pub rows: Option<usize>,
    /// Whether what may be noise has rows, too.
    pub noise: Noise,
}

/// Whether what may be noise is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// It is.
    Shown,
    /// Only its number is told.
    Counted,
}

/// The table of [`crate::report::diff::diff`], with a line feed at its end.
#[must_use]
pub fn diff(report: &DiffReport, shown: Shown, paint: Paint) -> String {
    let mut out = String::new();
    let (of_base, of_other) = report.ticks.unzip();
    push_line(&mut out, &safe(&side("Base", &report.base, of_base)));
    push_line(&mut out, &safe(&side("Other", &report.other, of_other)));
    let normalized = match report.normalize {
        Normalize::Share => "shares of each side's total",
        Normalize::Cpu => "the other side scaled to the base's total",
        Normalize::Rate => "per second of each side's duration",
        Normalize::Absolute => "as they are",
    };
    let interval = if report.ticks.is_some() {
        "95 % intervals from the number of samples"
    } else {
        "no intervals, for these values are not counts of samples"
    };
    push_line(&mut out, &format!("Values: {normalized}; {interval}"));
    if !report.filters.is_empty() {
        push_line(&mut out, &safe(&format!("Active filters: {}", report.filters.join(", "))));
    }
    let is_noise = |row: &&DiffRow| {
        [row.own, row.total].iter().all(|one| matches!(one.verdict, Verdict::Noise | Verdict::Same))
    };
    let noise = report.rows.iter().filter(is_noise).count();
    push_line(&mut out, &format!("{} changed, {noise} may be noise", report.rows.len() - noise));
    let columns = format!(
        "{:>10} {:>22} {:>10} {:>10} {:>6}   {:>10} {:>22} {:>10} {:>10} {:>6}",
        "flat", "95% interval", "base", "other", "", "cum", "95% interval", "base", "other", ""
    );
    push_line(&mut out, &paint.wrap("1", columns.trim_end()));
    let rows = report.rows.iter().filter(|row| shown.noise == Noise::Shown || !is_noise(row));
    for row in rows.take(shown.rows.unwrap_or(usize::MAX)) {
        let cells = |change: &Change| {
            let value = |value: f64| written(report, value, Sign::Plain);
            let interval = change.interval.map_or_else(
                || if change.verdict == Verdict::Same { "." } else { "?" }.to_owned(),
                |(low, high)| {
                    format!("{}..{}", written(report, low, Sign::Always), written(report, high, Sign::Always))
                },
            );
            let cells = format!(
                "{:>10} {interval:>22} {:>10} {:>10} {:>6}",
                written(report, change.change, Sign::Always),
                value(change.base),
                value(change.other),
                word(change.verdict)
            );
            paint.wrap(colour(change.verdict), &cells)
        };
        let object = if row.object.is_empty() { String::new() } else { format!("  [{}]", row.object) };
        let name = safe(&row.name);
        let object = if row.name.contains(&format!("[{}]", row.object)) { String::new() } else { object };
        push_line(
            &mut out,
            &format!(
                "{}   {}  {name}{}",
                cells(&row.own),
                cells(&row.total),
                paint.wrap("2", &safe(&object))
            ),
        );
    }
    out
}

fn side(which: &str, header: &Header, ticks: Option<f64>) -> String {
    let file = if header.file.is_empty() { "profile" } else { base(&header.file) };
    let total = label(header.total, &header.unit, AUTO);
    let ticks = ticks.map_or_else(String::new, |ticks| format!(", {ticks:.0} samples"));
    let duration = if header.duration_nanos == 0 {
        String::new()
    } else {
        format!(" in {}", label(header.duration_nanos, "nanoseconds", AUTO))
    };
    format!("{which}: {file}, {} {total}{duration}{ticks}", header.sample_type)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plain,
    Always,
}

fn written(report: &DiffReport, value: f64, sign: Sign) -> String {
    let plus = if sign == Sign::Always && value > 0.0 { "+" } else { "" };
    match report.normalize {
        Normalize::Share => format!("{plus}{value:.2}{}", if sign == Sign::Always { "pp" } else { "%" }),
        Normalize::Cpu | Normalize::Absolute => {
            format!("{plus}{}", label(rounded(value), &report.base.unit, AUTO))
        }
        Normalize::Rate => format!("{plus}{}/s", label(rounded(value), &report.base.unit, AUTO)),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::More => "more",
        Verdict::Less => "less",
        Verdict::New => "new",
        Verdict::Gone => "gone",
        Verdict::Noise => "noise",
        Verdict::Same => "same",
        Verdict::Unknown => "?",
    }
}

fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::More | Verdict::New => "31",
        Verdict::Less | Verdict::Gone => "32",
        Verdict::Noise | Verdict::Same => "2",
        Verdict::Unknown => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::diff::{Options, Rows, diff as report};
    use crate::report::order::Sort;
    use crate::report::subject::Lens;

    #[test]
    fn noise_is_called_noise() {
        let base = fixture::two_threads();
        let mut other = base.clone();
        other.sample[2].value = vec![200, 2_000_000_000];
        let options = Options {
            lens: Lens::default(),
            rows: Rows::Places,
            normalize: Normalize::Share,
            sort: Sort::Flat,
        };
        let report = report(&base, &other, &options).unwrap();
        let shown = Shown { rows: None, noise: Noise::Counted };
        let text = diff(&report, shown, Paint::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Base: app, cpu 60ms in 1s, 6 samples");
        assert_eq!(lines[1], "Other: app, cpu 2.04s in 1s, 204 samples");
        assert!(lines[3].starts_with("3 changed, 1 may be noise"), "{text}");
        assert!(lines[5].contains("+64.71pp") && lines[5].contains("more"), "{text}");
        assert!(lines[5].ends_with("[[vdso]]"), "{text}");
        let all = diff(&report, Shown { rows: Some(1), noise: Noise::Shown }, Paint::Colours);
        assert_eq!(all.lines().count(), 6);
        assert!(all.contains("\x1b[31m"));
    }
}
