//! The flame graph as one page that needs nothing else: no server, no network, no other file.

use serde::Serialize;

use super::svg::{escape, subtitle, title};
use super::{FlameReport, Kind};
use crate::report::measure::AUTO;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the page draws, in columns: a row per frame, parents before their children.
#[derive(Serialize)]
struct Data<'a> {
    names: Vec<String>,
    /// Index into `names`; -1 for the root.
    name: Vec<i64>,
    depth: Vec<usize>,
    /// 1 where inlined.
    inlined: Vec<u8>,
    own: Vec<i64>,
    total: Vec<i64>,
    /// Of a comparison, the value of each frame in the base, on the same scale; `null` otherwise.
    base: Option<Vec<i64>>,
    /// What shares relate to.
    whole: i64,
    unit: &'a str,
}

/// The page. Of a comparison, frames are as wide as the larger of their two values, and coloured by what changed.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn html(report: &FlameReport) -> serde_json::Result<String> {
    let FlameReport { header, numbers, places, frames, .. } = report;
    let divided =
        |values: &mut dyn Iterator<Item = i64>| values.map(|value| numbers.divided(value)).collect();
    let data = Data {
        names: places.iter().map(|place| place.name()).collect(),
        name: frames
            .iter()
            .map(|frame| frame.place.and_then(|place| i64::try_from(place).ok()).unwrap_or(-1))
            .collect(),
        depth: frames.iter().map(|frame| frame.depth).collect(),
        inlined: frames.iter().map(|frame| u8::from(frame.inlined)).collect(),
        own: divided(&mut frames.iter().map(|frame| frame.own)),
        total: divided(&mut frames.iter().map(|frame| frame.total)),
        base: (report.kind == Kind::Comparison).then(|| divided(&mut frames.iter().map(|frame| frame.base))),
        whole: numbers.divided(header.total),
        unit: if header.unit.is_empty() { AUTO } else { &header.unit },
    };
    // In a script element, nothing may look like its end.
    let data = serde_json::to_string(&data)?.replace('<', "\\u003c");
    let mut page = String::with_capacity(data.len() + PAGE.len() + STYLE.len() + SCRIPT.len());
    let parts = [
        ("STYLE", STYLE.to_owned()),
        ("TITLE", escape(&title(report))),
        ("ABOUT", escape(&subtitle(report))),
    ];
    let mut rest = PAGE;
    // Each mark once, in the page's order; what is put in is not searched for marks.
    let marks = ["STYLE", "TITLE", "TITLE", "ABOUT", "DATA", "SCRIPT"];
    for mark in marks {
        let Some((before, after)) = rest.split_once(&format!("{{{{{mark}}}}}")) else { continue };
        page.push_str(before);
        match mark {
            "DATA" => page.push_str(&data),
            "SCRIPT" => page.push_str(SCRIPT),
            mark => page.push_str(
                parts
                    .iter()
                    .find(|(name, _)| *name == mark)
                    .map(|(_, text)| text.as_str())
                    .unwrap_or_default(),
            ),
        }
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::flame::flame;
    use crate::report::subject::Lens;

    #[test]
    fn one_page_without_anything_from_elsewhere() {
        let mut profile = fixture::two_threads();
        profile.string_table[10] = "</script><b>{{DATA}}".to_owned();
        let page = html(&flame(&profile, &Lens::default()).unwrap()).unwrap();
        assert!(!page.contains("</script><b>"), "names cannot end the script");
        assert_eq!(page.matches("</script>").count(), 2);
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("<title>app: cpu</title>"));
        assert!(!page.contains("{{STYLE}}") && !page.contains("{{SCRIPT}}"));
        assert!(page.contains(r#""total":[60000000,60000000,60000000,50000000,20000000]"#), "{page}");
    }
}
