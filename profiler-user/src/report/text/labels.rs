//! `profiler tags`.

use super::{push_line, safe};
use crate::report::labels::LabelsReport;
use crate::report::measure::percentage;

/// The labels of [`crate::report::labels::labels`], with a line feed at their end: for each key a line with its sum,
/// then one for each value.
#[must_use]
pub fn labels(report: &LabelsReport) -> String {
    let LabelsReport { header, unmatched: _, numbers, keys } = report;
    let total = header.total;
    let share = |value| if total > 0 { format!(" ({:>6})", percentage(value, total)) } else { String::new() };
    let mut out = String::new();
    for key in keys {
        let name = safe(&key.name);
        let line = format!(
            "{name}: Total {} of {}{}",
            numbers.value(key.total),
            numbers.value(total),
            share(key.total)
        );
        push_line(&mut out, &format!(" {line}"));
        let values: Vec<(String, &str)> = key
            .values
            .iter()
            .map(|(held, value)| (format!("{}{}:", numbers.value(*value), share(*value)), held.as_str()))
            .collect();
        let widest = values.iter().map(|(value, _)| value.chars().count()).max().unwrap_or_default();
        let indent = name.chars().count() + 3;
        for (value, held) in values {
            push_line(&mut out, &format!("{:indent$}{value:>widest$} {}", "", safe(held)));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::labels::labels as report;
    use crate::report::subject::Lens;

    #[test]
    fn reads_like_pprof() {
        let text = labels(&report(&fixture::two_threads(), &Lens::default()).unwrap());
        assert_eq!(
            text,
            " thread: Total 60ms of 60ms (  100%)\n         40ms (66.67%): a\n         20ms (33.33%): b\n\n"
        );
    }
}
