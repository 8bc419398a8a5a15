//! The small boxes that tell what the samples of a node are labelled with (google/pprof internal/graph/dotgraph.go,
//! `addNodelets`).

use std::cmp::Reverse;
use std::fmt::Write;

use super::escape;
use crate::report::boxes::{Box, MOST, SizeBox, Sum};
use crate::report::measure::{AUTO, label, scale};
use crate::report::numbers::Numbers;

/// Whose values a box shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Of samples that end in the node: what it calls has boxes of its own.
    Flat,
    /// Of all samples through it, for it has no callees here.
    Cum,
}

impl Whose {
    fn of(self, sum: Sum) -> i64 {
        match self {
            Whose::Flat => sum.flat,
            Whose::Cum => sum.cum,
        }
    }

    /// The largest first, then by name.
    fn key(self, sum: Sum, name: &str) -> (Reverse<u64>, Reverse<u64>, &str) {
        let cum = if self == Whose::Cum { sum.cum.unsigned_abs() } else { 0 };
        (Reverse(cum), Reverse(sum.flat.unsigned_abs()), name)
    }
}

/// Draws the boxes of the node with this number; true where there are any.
pub(super) fn draw(
    out: &mut String,
    number: usize,
    boxes: &[Box],
    has_callees: bool,
    numbers: &Numbers,
) -> bool {
    let whose = if has_callees { Whose::Flat } else { Whose::Cum };
    let before = out.len();
    let mut labelled: Vec<(&Box, String)> =
        boxes.iter().filter(|own| !own.labels.is_empty()).map(|own| (own, own.labels.join("\\n"))).collect();
    labelled.sort_by(|(left, left_name), (right, right_name)| {
        whose.key(left.sum, left_name).cmp(&whose.key(right.sum, right_name))
    });
    for (place, (own, _)) in labelled.into_iter().take(MOST).enumerate() {
        let value = whose.of(own.sum);
        if value == 0 {
            continue;
        }
        let lines: Vec<String> = own.labels.iter().map(|line| escape(line)).collect();
        let (from, to) = (format!("N{number}"), format!("N{number}_{place}"));
        one(out, [&from, &to], &lines.join("\\n"), &numbers.value(value), "");
        sizes(out, &to, &own.sizes, whose, numbers);
    }
    for own in boxes.iter().filter(|own| own.labels.is_empty()) {
        sizes(out, &format!("N{number}"), &own.sizes, whose, numbers);
    }
    out.len() > before
}

fn one(out: &mut String, [from, to]: [&str; 2], name: &str, value: &str, style: &str) {
    let _infallible = writeln!(
        out,
        "{to} [label = \"{name}\" id=\"{to}\" fontsize=8 shape=box3d tooltip=\"{value}\"]\n\
         {from} -> {to} [label=\" {value}\" weight=100 tooltip=\"{value}\" labeltooltip=\"{value}\"{style}]"
    );
}

/// A few boxes of sizes; where there are more, the others join the nearest of the largest.
fn sizes(out: &mut String, from: &str, sizes: &[SizeBox], whose: Whose, numbers: &Numbers) {
    for (place, (name, sum)) in collapsed(sizes, whose).into_iter().enumerate() {
        let (value, style) = if whose == Whose::Flat || sum.flat == sum.cum {
            (sum.flat, "")
        } else {
            (sum.cum, " style=\"dotted\"")
        };
        if value != 0 {
            one(out, [from, &format!("N{from}_{place}")], &escape(&name), &numbers.value(value), style);
        }
    }
}

fn collapsed(sizes: &[SizeBox], whose: Whose) -> Vec<(String, Sum)> {
    let mut sorted: Vec<&SizeBox> = sizes.iter().collect();
    sorted.sort_by(|left, right| whose.key(left.sum, &left.shown).cmp(&whose.key(right.sum, &right.shown)));
    if sorted.len() <= MOST {
        return sorted.into_iter().map(|size| (size.shown.clone(), size.sum)).collect();
    }
    let mut groups: Vec<Vec<&SizeBox>> = sorted.iter().take(MOST).map(|&size| vec![size]).collect();
    for &size in sorted.iter().skip(MOST) {
        let distances =
            groups.iter().map(|group| group.first().map_or(f64::MAX, |first| distance(size, first)));
        let nearest = distances.enumerate().min_by(|left, right| left.1.total_cmp(&right.1));
        if let Some(group) = nearest.and_then(|(group, _)| groups.get_mut(group)) {
            group.push(size);
        }
    }
    let mut joined: Vec<(String, Sum)> = groups.iter().filter_map(|group| joined(group)).collect();
    joined.sort_by(|left, right| whose.key(left.1, &left.0).cmp(&whose.key(right.1, &right.0)));
    joined
}

/// How far two sizes are apart. All have the unit of their key, so there is nothing to convert.
fn distance(left: &SizeBox, right: &SizeBox) -> f64 {
    scale(left.value.saturating_sub(right.value).saturating_abs(), &left.unit, &right.unit).0
}

/// `1kB..64kB`, with the sum of all.
fn joined(group: &[&SizeBox]) -> Option<(String, Sum)> {
    let least = group.iter().min_by_key(|size| size.value)?;
    let most = group.iter().max_by_key(|size| size.value)?;
    let sum = group.iter().fold(Sum::default(), |sum, size| Sum {
        flat: sum.flat.saturating_add(size.sum.flat),
        cum: sum.cum.saturating_add(size.sum.cum),
    });
    let name = |size: &SizeBox| label(size.value, &size.unit, AUTO);
    if group.len() == 1 {
        return Some((name(least), sum));
    }
    Some((format!("{}..{}", name(least), name(most)), sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::numbers::Shown;

    fn size(value: i64, flat: i64, cum: i64) -> SizeBox {
        let shown = label(value, "bytes", AUTO);
        SizeBox { value, unit: "bytes".to_owned(), shown, sum: Sum { flat, cum } }
    }

    #[test]
    fn labels_then_sizes() {
        let numbers = Numbers::new("count", Shown::Fitting, 1.0);
        let labels = vec!["process:a".to_owned(), "thread:\"b\"".to_owned()];
        let boxes = [Box { labels, sum: Sum { flat: 3, cum: 5 }, sizes: vec![size(2048, 3, 5)] }];
        let mut out = String::new();
        assert!(draw(&mut out, 7, &boxes, true, &numbers));
        assert!(out.contains(r#"N7_0 [label = "process:a\nthread:\"b\"" id="N7_0""#), "{out}");
        assert!(out.contains(r#"N7 -> N7_0 [label=" 3" weight=100"#), "{out}");
        assert!(out.contains(r#"N7_0 -> NN7_0_0 [label=" 3""#), "{out}");
        let mut out = String::new();
        assert!(draw(&mut out, 7, &boxes, false, &numbers));
        assert!(out.contains(r#"N7 -> N7_0 [label=" 5""#) && out.contains("dotted"), "{out}");
        assert!(!draw(&mut out, 7, &[], true, &numbers));
    }

    #[test]
    fn many_sizes_join_the_nearest() {
        let sizes =
            [size(1024, 9, 9), size(4096, 8, 8), size(16384, 7, 7), size(1 << 20, 6, 6), size(1040, 1, 1)];
        let names: Vec<(String, i64)> =
            collapsed(&sizes, Whose::Flat).into_iter().map(|(name, sum)| (name, sum.flat)).collect();
        assert_eq!(
            names,
            [
                ("1kB..1.02kB".to_owned(), 10),
                ("4kB".to_owned(), 8),
                ("16kB".to_owned(), 7),
                ("1MB".to_owned(), 6)
            ]
        );
    }
}
