//! The flame graph as one page that needs nothing else: no server, no network, no other file.

use super::FlameReport;
use super::svg::{escape, subtitle, title};
use crate::report::json;

const PAGE: &str = include_str!("page/page.html");

/// Colours, controls and the graph, for every page that has one.
pub const STYLE: &str = include_str!("page/flame.css");

/// The scripts that draw a flame graph, for every page that has one, by name and in the order in which they need each
/// other.
pub const SCRIPTS: [(&str, &str); 6] = [
    ("values.js", include_str!("page/values.js")),
    ("tree.js", include_str!("page/tree.js")),
    ("colours.js", include_str!("page/colours.js")),
    ("strip.js", include_str!("page/strip.js")),
    ("input.js", include_str!("page/input.js")),
    ("canvas.js", include_str!("page/canvas.js")),
];

/// What this page has besides.
const SCRIPT: &str = include_str!("page/page.js");

/// The page. Of a comparison, frames are as wide as the larger of their two values, and coloured by what changed.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn html(report: &FlameReport) -> serde_json::Result<String> {
    // In a script element, nothing may look like its end.
    let data = json::flame(report)?.replace('<', "\\u003c");
    let scripts: String = SCRIPTS.iter().map(|(_, script)| *script).chain([SCRIPT]).collect();
    let mut page = String::with_capacity(data.len() + PAGE.len() + STYLE.len() + scripts.len());
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
            "SCRIPT" => page.push_str(&scripts),
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
