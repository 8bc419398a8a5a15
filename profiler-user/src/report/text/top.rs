//! `profiler top`.

use super::{Paint, heat, opening, push_line, rows_left_out, safe, summary};
use crate::report::measure::percentage;
use crate::report::top::{Inlined, TopReport};

/// The table of [`crate::report::top::top`], with a line feed at its end.
#[must_use]
pub fn top(report: &TopReport, paint: Paint) -> String {
    let TopReport { header, filters, unmatched: _, numbers, heading, dropped, rows, rows_in_all } = report;
    let (total, shown) = (header.total, rows.last().map_or(0, |row| row.sum));
    let mut lines = opening(*heading, header, numbers);
    lines.extend(summary(header, filters, shown, numbers));
    lines.extend(rows_left_out(header, dropped, (rows.len(), *rows_in_all), numbers));
    let mut out = String::new();
    for line in lines {
        push_line(&mut out, &safe(&line));
    }
    let columns = format!("{:>10} {:>6} {:>6} {:>10} {:>6}", "flat", "flat%", "sum%", "cum", "cum%");
    push_line(&mut out, &paint.wrap("1", &columns));
    for row in rows {
        let numbers = format!(
            "{:>10} {:>6} {:>6} {:>10} {:>6}",
            numbers.value(row.flat),
            percentage(row.flat, total),
            percentage(row.sum, total),
            numbers.value(row.cum),
            percentage(row.cum, total)
        );
        let inlined = match row.inlined {
            Inlined::No => "",
            Inlined::Partly => " (partial-inline)",
            Inlined::Always => " (inline)",
        };
        let code = heat(row.flat, total);
        let name = row.place.name();
        push_line(
            &mut out,
            &format!("{}  {}{}", paint.wrap(code, &numbers), safe(&name), paint.wrap("2", inlined)),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::top::{Options, top as report};

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
