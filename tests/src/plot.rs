//! Drawings of figures as SVG: bars with the range of several runs, and lines over time.

use std::fmt::Write as _;

/// Ours in drawings.
const OURS: &str = "#2a7d4f";
/// All others.
const OTHERS: &str = "#9aa5b1";
/// Height of a bar with the space to the next, pixels.
const ROW: usize = 26;
/// Where bars begin: left of it are their names.
const LEFT: usize = 300;
/// The longest bar.
const LONGEST: f64 = 520.0;

/// Bars of one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// What they show, with its unit.
    pub title: String,
    /// Digits behind the point.
    pub digits: usize,
    /// One after the other, from above.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Stands beside it.
    pub name: String,
    /// Whether it is one of ours.
    pub ours: bool,
    /// Median, least and greatest of all runs.
    pub spread: [f64; 3],
}

/// One figure over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it shows, with its unit.
    pub title: String,
    /// Time and value, by time.
    pub points: Vec<(f64, f64)>,
}

/// A drawing of groups of bars, one below the other. The bar is the median, the line in it the range.
pub fn bars(groups: &[Bars]) -> String {
    let height = |group: &Bars| 40 + ROW * group.bars.len();
    let mut svg = begin(groups.iter().map(height).sum());
    let mut top = 0;
    for group in groups {
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\">{}</text>", top + 22, escaped(&group.title));
        let most = group.bars.iter().map(|bar| bar.spread[2]).fold(f64::MIN_POSITIVE, f64::max);
        for (row, bar) in group.bars.iter().enumerate() {
            let (y, digits, [median, least, greatest]) = (top + 32 + row * ROW, group.digits, bar.spread);
            let at = |value: f64| LEFT as f64 + (LONGEST * value / most).max(1.0);
            let _ = writeln!(
                svg,
                "<text x=\"8\" y=\"{}\">{}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"18\" \
                 fill=\"{}\"/><path d=\"M{:.1} {}H{:.1}\" stroke=\"black\"/><text x=\"{:.1}\" y=\"{}\">{median:.digits$}</text>",
                y + 14,
                escaped(&bar.name),
                at(median) - LEFT as f64,
                if bar.ours { OURS } else { OTHERS },
                at(least),
                y + 9,
                at(greatest),
                at(greatest) + 6.0,
                y + 14
            );
        }
        top += height(group);
    }
    svg + "</svg>\n"
}

/// A drawing of lines over the same time, one below the other, each from zero.
pub fn lines(time: &str, lines: &[Line]) -> String {
    const HEIGHT: usize = 150;
    const BEGIN: f64 = 70.0;
    const WIDTH: f64 = 820.0;
    let mut svg = begin(lines.len() * HEIGHT + 24);
    let until =
        lines.iter().flat_map(|line| &line.points).map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
    for (row, line) in lines.iter().enumerate() {
        let (top, bottom) = ((row * HEIGHT + 32) as f64, ((row + 1) * HEIGHT) as f64);
        let most = line.points.iter().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(
            svg,
            "<text x=\"{BEGIN}\" y=\"{:.0}\">{}</text><text x=\"8\" y=\"{:.0}\">{most:.0}</text>\
             <text x=\"8\" y=\"{bottom:.0}\">0</text><path d=\"M{BEGIN} {top:.0}V{bottom:.0}H{:.0}\" fill=\"none\" \
             stroke=\"{OTHERS}\"/>",
            top - 8.0,
            escaped(&line.title),
            top + 8.0,
            BEGIN + WIDTH
        );
        let place = |&(time, value): &(f64, f64)| {
            format!("{:.1},{:.1} ", BEGIN + WIDTH * time / until, bottom - (bottom - top) * value / most)
        };
        let points: String = line.points.iter().map(place).collect();
        let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{OURS}\"/>", points.trim_end());
    }
    let _ = writeln!(
        svg,
        "<text x=\"{BEGIN}\" y=\"{}\">0 to {until:.0} {time}</text>",
        lines.len() * HEIGHT + 18
    );
    svg + "</svg>\n"
}

fn begin(height: usize) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_run_is_the_longest_and_every_bar_has_its_name() {
        let bar = |name: &str, spread| Bar { name: name.to_owned(), ours: name == "ours", spread };
        let group = Bars {
            title: "time, s".to_owned(),
            digits: 1,
            bars: vec![bar("ours", [1.0, 0.5, 2.0]), bar("a <b> & c", [3.0, 3.0, 4.0])],
        };
        let svg = bars(&[group.clone(), group]);
        assert_eq!(svg.matches("<rect x=").count(), 4, "{svg}");
        assert!(svg.contains("height=\"184\"") && svg.contains("a &lt;b> &amp; c"), "{svg}");
        assert!(svg.contains("H820.0\"") && svg.contains("width=\"390.0\""), "{svg}");
    }

    #[test]
    fn a_line_ends_at_its_last_point() {
        let line = |points: &[(f64, f64)]| Line { title: "heap".to_owned(), points: points.to_vec() };
        let svg = lines("minutes", &[line(&[(0.0, 0.0), (5.0, 10.0)]), line(&[])]);
        assert!(svg.contains("points=\"70.0,150.0 890.0,32.0\""), "{svg}");
        assert!(svg.contains("0 to 5 minutes"), "{svg}");
    }
}
