//! `profiler disasm`.

use super::{Paint, heat, push_line, safe};
use crate::report::disasm::{DisasmReport, Look, routines};
use crate::report::measure::percentage;

/// Longer instructions have their place on a line of its own.
const SHORT: usize = 40;

/// The functions of [`crate::report::disasm::disasm`], with a line feed at their end. Where a program is not at hand, the
/// addresses are there with their values and without instructions.
pub fn disasm(report: &DisasmReport, paint: Paint, look: Look<'_>) -> String {
    let DisasmReport { header, numbers, .. } = report;
    let mut out = String::new();
    push_line(&mut out, &format!("Total: {}", numbers.value(header.total)));
    for routine in routines(report, look) {
        let head = format!("ROUTINE ======================== {}", routine.function);
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
        if let Some(why) = &routine.no_code {
            push_line(&mut out, &safe(&format!("no instructions of {}: {why}", routine.function)));
        }
        for one in &routine.instructions {
            let values = format!(
                "{:>10} {:>10} {:>10x}:",
                numbers.or_dot(one.flat),
                numbers.or_dot(one.cum),
                one.address
            );
            let values = paint.wrap(heat(one.flat, header.total), &values);
            let (text, place) = (safe(&one.text), safe(&one.place));
            if place.is_empty() {
                push_line(&mut out, format!("{values} {text}").trim_end());
            } else if text.chars().count() < SHORT {
                push_line(&mut out, &format!("{values} {text:<SHORT$};{}", paint.wrap("2", &place)));
            } else {
                push_line(&mut out, &format!("{:>74};{}", "", paint.wrap("2", &place)));
                push_line(&mut out, &format!("{values} {text}"));
            }
        }
    }
    out
}
