//! `profiler list`.

use std::sync::Arc;

use super::{Paint, heat, push_line, safe};
use crate::report::list::{ListReport, Routine};
use crate::report::measure::percentage;
use crate::report::numbers::Numbers;

/// The lines of a source file by its path in the profile, or why it is not at hand.
pub type Read<'r> = &'r mut dyn FnMut(&str) -> Result<Arc<[String]>, String>;

/// The functions of [`crate::report::list::list`], with a line feed at their end. Where the source of one is not at
/// hand, its lines are there with their values and without their text.
pub fn list(report: &ListReport, paint: Paint, read: Read<'_>) -> String {
    let ListReport { header, unmatched: _, numbers, routines } = report;
    let mut out = String::new();
    push_line(&mut out, &format!("Total: {}", numbers.value(header.total)));
    for routine in routines {
        if routine.file.is_empty() {
            let name = safe(&routine.function);
            push_line(
                &mut out,
                &format!("no source information for {name}: the profile names no file for it"),
            );
            continue;
        }
        let head = format!("ROUTINE ======================== {} in {}", routine.function, routine.file);
        push_line(&mut out, &paint.wrap("1", &safe(&head)));
        push_line(
            &mut out,
            &format!(
                "{:>10} {:>10} (flat, cum) {} of Total",
                numbers.value(routine.flat),
                numbers.value(routine.cum),
                percentage(routine.cum, header.total)
            ),
        );
        match read(&routine.file) {
            Ok(source) => {
                for number in routine.first..=routine.last {
                    let text = usize::try_from(number - 1).ok().and_then(|index| source.get(index));
                    // Behind the file's end.
                    let Some(text) = text else { break };
                    push_line(&mut out, &line(routine, number, text, header.total, numbers, paint));
                }
            }
            Err(why) => {
                let name = safe(&routine.function);
                push_line(&mut out, &format!("no source information for {name}: {}", safe(&why)));
                for &number in routine.lines.keys() {
                    push_line(&mut out, &line(routine, number, "", header.total, numbers, paint));
                }
            }
        }
    }
    out
}

fn line(routine: &Routine, number: i64, text: &str, total: i64, numbers: &Numbers, paint: Paint) -> String {
    let (flat, cum) = routine.lines.get(&number).copied().unwrap_or_default();
    let values = format!("{:>10} {:>10} {number:>6}:", numbers.or_dot(flat), numbers.or_dot(cum));
    // Tabs are not control characters to be afraid of.
    let text = text.replace('\t', "    ");
    format!("{}{}", paint.wrap(heat(flat, total), &values), safe(&text))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::profile::fixture;
    use crate::report::list::list as report;
    use crate::report::subject::Lens;

    #[test]
    fn source_beside_its_values() {
        let mut profile = fixture::two_threads();
        profile.location[0].line[0].line = 3;
        profile.function[0].start_line = 2;
        let report = report(&profile, &Lens::default(), &Regex::new("main|inlined").unwrap()).unwrap();
        let mut read = |path: &str| match path {
            "main.c" => Ok(Arc::from(["// main", "int main()", "{ work(); }"].map(str::to_owned))),
            path => Err(format!("looked for {path}")),
        };
        assert_eq!(
            list(&report, Paint::Plain, &mut read),
            "\
Total: 60ms
ROUTINE ======================== inlined in inlined.h
      30ms       50ms (flat, cum) 83.33% of Total
no source information for inlined: looked for inlined.h
      30ms       50ms     31:
ROUTINE ======================== main in main.c
         0       60ms (flat, cum) 100% of Total
         .          .      2:int main()
         .       60ms      3:{ work(); }
"
        );
    }
}
