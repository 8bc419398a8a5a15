//! The flame graph as an SVG without scripts: every frame tells its name and value under the mouse, and follows the
//! reader's choice of dark or light.

use std::fmt::Write;

use super::{FlameFrame, FlameReport};
use crate::report::colour::hue;
use crate::report::measure::{float, percentage};
use crate::report::node::base;

const WIDTH: f64 = 1200.0;
const ROW: usize = 17;
const TOP: usize = 44;
/// Frames narrower than this, in pixels, are left out with all they call.
const NARROWEST: f64 = 0.3;
/// Width of a letter.
const LETTER: f64 = 6.6;

/// The drawing: the root at the top, callees below.
#[must_use]
pub fn svg(report: &FlameReport) -> String {
    let total = float(report.total()).max(1.0);
    let scale = WIDTH / total;
    let mut body = String::new();
    let (mut deepest, mut left_out) = (0, 0_usize);
    for (left, frame) in report.laid_out() {
        if float(frame.total) * scale < NARROWEST {
            left_out += 1;
            continue;
        }
        deepest = deepest.max(frame.depth);
        draw(&mut body, report, frame, float(left) * scale, float(frame.total) * scale);
    }
    let height = TOP + (deepest + 1) * ROW + 10;
    let title = escape(&title(report));
    let note = if left_out == 0 {
        String::new()
    } else {
        format!(" — {left_out} frames narrower than {NARROWEST} px are left out")
    };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11" role="img" aria-label="{title}">
<style>svg{{background:#fff;color:#1a1a1a}}text{{fill:currentColor}}.f text{{fill:#1a1a1a}}.f rect{{stroke:#fff;stroke-width:.5}}.f:hover rect{{stroke:#000;stroke-width:1}}@media(prefers-color-scheme:dark){{svg{{background:#16181d;color:#e6e6e6}}.f rect{{stroke:#16181d}}.f:hover rect{{stroke:#fff}}}}</style>
<text x="8" y="18" font-size="14">{title}</text>
<text x="8" y="34">{}{note}</text>
{body}</svg>
"#,
        escape(&subtitle(report)),
    )
}

/// What the graph is of: the binary and the value.
pub(super) fn title(report: &FlameReport) -> String {
    let file = if report.header.file.is_empty() { "profile" } else { base(&report.header.file) };
    format!("{file}: {}", report.header.sample_type)
}

pub(super) fn subtitle(report: &FlameReport) -> String {
    let FlameReport { header, filters, numbers, .. } = report;
    let mut parts =
        vec![format!("{} of {} in all", numbers.value(report.total()), numbers.value(header.total))];
    parts.extend(filters.iter().cloned());
    parts.join(", ")
}

#[expect(clippy::as_conversions, reason = "how many letters fit: rounded down, and never negative")]
fn draw(out: &mut String, report: &FlameReport, frame: &FlameFrame, x: f64, width: f64) {
    let name = report.name(frame);
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    let share = percentage(frame.total, report.header.total);
    let value = report.numbers.value(frame.total);
    let own = report.numbers.value(frame.own);
    let y = TOP + frame.depth * ROW;
    let object = frame.place.and_then(|place| report.objects.get(place)).map_or("", String::as_str);
    let (hue, saturation) = frame.place.map_or((0, 0), |_| (hue(&name, object), 45));
    let _infallible = write!(
        out,
        r#"<g class="f"><title>{}{inlined}: {value} ({share}), {own} itself</title><rect x="{x:.2}" y="{y}" width="{:.2}" height="{}" rx="1" fill="hsl({hue},{saturation}%,77%)"/>"#,
        escape(&name),
        width.max(0.1),
        ROW - 1,
    );
    let letters = ((width - 6.0) / LETTER).max(0.0) as usize;
    if letters >= 3 {
        let shown: String = if name.chars().count() <= letters {
            name
        } else {
            name.chars().take(letters - 1).chain(['…']).collect()
        };
        let _infallible = write!(out, r#"<text x="{:.2}" y="{}">{}</text>"#, x + 3.0, y + 12, escape(&shown));
    }
    out.push_str("</g>\n");
}

/// Text for XML and HTML; characters that XML does not allow become the replacement character.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::flame::flame;
    use crate::report::subject::Lens;

    #[test]
    fn frames_have_place_and_name() {
        let drawing = svg(&flame(&fixture::two_threads(), &Lens::default()).unwrap());
        assert!(drawing.starts_with("<?xml") && drawing.ends_with("</svg>\n"));
        assert!(
            drawing.contains("<title>inlined (inlined): 50ms (83.33%), 30ms itself</title>"),
            "{drawing}"
        );
        assert!(drawing.contains(r#"<rect x="0.00" y="95" width="1000.00" height="16""#), "{drawing}");
        assert!(drawing.contains(">app: cpu</text>"));
    }

    #[test]
    fn names_cannot_be_markup() {
        let mut profile = fixture::two_threads();
        profile.string_table[10] = "<script>&\u{1b}".to_owned();
        let drawing = svg(&flame(&profile, &Lens::default()).unwrap());
        assert!(drawing.contains("&lt;script&gt;&amp;\u{fffd}") && !drawing.contains("<script"), "{drawing}");
    }
}
