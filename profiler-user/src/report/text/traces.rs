//! `profiler traces`.

use super::{Paint, head, push_line, safe};
use crate::report::traces::TracesReport;

const SEPARATOR: &str = "-----------+-------------------------------------------------------";

/// The samples of [`crate::report::traces::traces`], with a line feed at their end: labels, then the stack from the
/// leaf on, with the value beside the leaf.
#[must_use]
pub fn traces(report: &TracesReport, paint: Paint) -> String {
    let TracesReport { header, unmatched: _, numbers, places, traces } = report;
    let names: Vec<String> = places.iter().map(|place| safe(&place.name()).into_owned()).collect();
    let mut out = String::new();
    for line in head(header, numbers) {
        push_line(&mut out, &safe(&line));
    }
    for trace in traces {
        push_line(&mut out, SEPARATOR);
        for label in &trace.labels {
            push_line(&mut out, &safe(&format!("{:>10}:  {}", label.key, label.values.join(" "))));
        }
        for (depth, frame) in trace.frames.iter().enumerate() {
            let value = if depth == 0 { numbers.value(trace.value) } else { String::new() };
            let value = paint.wrap(if depth == 0 { "1" } else { "" }, &format!("{value:>10}"));
            let inlined = if frame.inlined { paint.wrap("2", " (inline)") } else { String::new() };
            let name = names.get(frame.place).map(String::as_str).unwrap_or_default();
            push_line(&mut out, &format!("{value}   {name}{inlined}"));
        }
    }
    push_line(&mut out, SEPARATOR);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::subject::Lens;
    use crate::report::traces::traces as report;

    #[test]
    fn reads_like_pprof() {
        let mut profile = fixture::two_threads();
        profile.sample.truncate(1);
        assert_eq!(
            traces(&report(&profile, &Lens::default()).unwrap(), Paint::Plain),
            "\
File: app
Build ID: abcdef
Type: cpu
Time: 2023-11-14 22:13:20 UTC
Duration: 1s, Total samples = 30ms (3.00%)
-----------+-------------------------------------------------------
    thread:  a
      30ms   inlined (inline)
             work
             main
-----------+-------------------------------------------------------
"
        );
    }
}
