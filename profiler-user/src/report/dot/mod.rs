//! The call graph in graphviz's language: google/pprof's `-dot` (internal/graph/dotgraph.go), with its nodes, edges and
//! numbers, and its boxes for labels.

mod boxes;

use std::fmt::Write;

use super::graph::{Edge, Node};
use super::measure::{float, percentage};
use super::node::{Place, base};
use super::text::{head, left_out, summary};
use super::tree::TreeReport;

/// The graph of [`super::tree::tree`] with [`super::trim::Purpose::Drawing`].
#[must_use]
pub fn dot(report: &TreeReport) -> String {
    let TreeReport { header, filters, numbers, graph, .. } = report;
    let title = if header.file.is_empty() { "unnamed" } else { base(&header.file) };
    let mut legend = head(header, numbers);
    legend.extend(summary(header, filters, graph.shown(), numbers));
    legend.extend(left_out(header, &graph.dropped, (graph.nodes.len(), graph.nodes_in_all), numbers));
    let legend: Vec<String> = legend.iter().map(|line| escape(line)).collect();
    let mut out = format!(
        "digraph \"{0}\" {{\nnode [style=filled fillcolor=\"#f8f8f8\" fontname=\"Helvetica,Arial,sans-serif\"]\n\
         edge [fontname=\"Helvetica,Arial,sans-serif\"]\n\
         subgraph cluster_L {{ \"legend\" [shape=box fontsize=16 label=\"{1}\\l\" tooltip=\"{0}\"] }}\n",
        escape(title),
        legend.join("\\l")
    );
    let most = graph.nodes.iter().map(|node| node.flat.saturating_abs()).max().unwrap_or_default();
    let mut boxed: Vec<usize> = Vec::new();
    for (number, node) in graph.nodes.iter().enumerate() {
        if let Some(place) = graph.places.get(node.place) {
            draw_node(&mut out, report, number + 1, node, place, most);
            let has_callees = node
                .callees
                .iter()
                .any(|&edge| graph.edges.get(edge).is_some_and(|edge| edge.to < graph.nodes.len()));
            if boxes::draw(&mut out, number + 1, &node.boxes, has_callees, numbers) {
                boxed.push(number);
            }
        }
    }
    let mut edges: Vec<&Edge> = graph
        .edges
        .iter()
        .filter(|edge| edge.from < graph.nodes.len() && edge.to < graph.nodes.len())
        .collect();
    edges.sort_by_cached_key(|edge| {
        (std::cmp::Reverse(edge.weight.unsigned_abs()), graph.name(edge.from), graph.name(edge.to))
    });
    for edge in edges {
        draw_edge(&mut out, report, edge, boxed.binary_search(&edge.from).is_ok());
    }
    out.push_str("}\n");
    out
}

#[expect(clippy::as_conversions, reason = "8 to 24 points")]
fn draw_node(
    out: &mut String,
    report: &TreeReport,
    number: usize,
    node: &Node,
    place: &Place<'_>,
    most: i64,
) {
    let TreeReport { header, numbers, .. } = report;
    let share = |value| percentage(value, header.total);
    let mut label = several_lines(place);
    if node.flat == 0 {
        label.push('0');
    } else {
        let _infallible = write!(label, "{} ({})", numbers.value(node.flat), share(node.flat));
    }
    if node.cum != node.flat {
        label.push_str(if node.flat == 0 { " " } else { "\\n" });
        let _infallible = write!(label, "of {} ({})", numbers.value(node.cum), share(node.cum));
    }
    let ratio = if most == 0 { 0.0 } else { float(node.flat.saturating_abs()) / float(most) };
    let size = 8 + (16.0 * ratio.sqrt()).ceil() as u32;
    let score = relative(node.cum, header.total);
    let _infallible = writeln!(
        out,
        "N{number} [label=\"{label}\" id=\"node{number}\" fontsize={size} shape=box tooltip=\"{} ({})\" color=\"{}\" fillcolor=\"{}\"]",
        escape(&place.name()),
        numbers.value(node.cum),
        colour(score, Ground::Front),
        colour(score, Ground::Back)
    );
}

fn draw_edge(out: &mut String, report: &TreeReport, edge: &Edge, boxed: bool) {
    let TreeReport { header, numbers, graph, .. } = report;
    let value = numbers.value(edge.weight);
    let inlined = if edge.inlined { "\\n (inline)" } else { "" };
    let mut attributes = format!("label=\" {value}{inlined}\"");
    if header.total != 0 {
        let steps = |most: i64| {
            let part = i128::from(edge.weight) * i128::from(most) / i128::from(header.total);
            1 + part.abs().min(i128::from(most))
        };
        let _infallible = write!(attributes, " weight={} penwidth={}", steps(100), steps(5));
        let score = relative(edge.weight, header.total);
        let _infallible = write!(attributes, " color=\"{}\"", colour(score, Ground::Front));
    }
    let (arrow, style) = if edge.residual { ("...", " style=\"dotted\"") } else { ("->", "") };
    // Callees keep their distance from boxes.
    let apart = if boxed { " minlen=2" } else { "" };
    let (from, to) = (escape(&graph.name(edge.from)), escape(&graph.name(edge.to)));
    let tip = format!("{from} {arrow} {to} ({value})");
    let _infallible = writeln!(
        out,
        "N{} -> N{} [{attributes} tooltip=\"{tip}\" labeltooltip=\"{tip}\"{style}{apart}]",
        edge.from + 1,
        edge.to + 1
    );
}

/// The parts of a name below each other, for boxes that are not too wide.
fn several_lines(place: &Place<'_>) -> String {
    let shown = Place { file: base_of(&place.file).to_owned().into(), ..place.clone() }.name();
    let name = escape(&shown).replace("[...]", "[…]").replace("::", "\\n").replace('.', "\\n");
    format!("{name}\\n")
}

fn base_of(path: &str) -> &str {
    if path.is_empty() { "" } else { base(path) }
}

fn relative(value: i64, total: i64) -> f64 {
    if total == 0 { 0.0 } else { float(value) / float(total.saturating_abs()) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    Front,
    Back,
}

/// Grey for little, red for much, green for what is less than before; pale behind letters.
#[expect(clippy::as_conversions, reason = "a colour's parts lie within 0 and 255")]
fn colour(score: f64, ground: Ground) -> String {
    let (saturation, bright) = if ground == Ground::Back { (0.1, 0.93) } else { (1.0, 0.7) };
    let score = score.clamp(-1.0, 1.0);
    let saturation = saturation * (score.abs() / 0.2).min(1.0);
    let strong = score.abs().powf(0.3);
    let other = bright * (1.0 - saturation * strong);
    let (red, green) = if score < 0.0 { (other, bright) } else { (bright, other) };
    let part = |part: f64| (part * 255.0) as u8;
    format!("#{:02x}{:02x}{:02x}", part(red), part(green), part(bright * (1.0 - saturation)))
}

/// For a text between double quotes; line feeds and other control characters would end or spoil it.
fn escape(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    escaped.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::tree::{Options, tree};
    use crate::report::trim::Purpose;

    fn drawn(profile: &crate::profile::proto::Profile) -> String {
        let options = Options { purpose: Purpose::Drawing, ..Options::default() };
        dot(&tree(profile, &options).unwrap())
    }

    #[test]
    fn nodes_and_edges_with_their_numbers() {
        let text = drawn(&fixture::two_threads());
        assert!(text.starts_with("digraph \"app\" {\n") && text.ends_with("}\n"), "{text}");
        assert!(text.contains(r#"[label="inlined\n30ms (50.00%)\nof 50ms (83.33%)""#), "{text}");
        assert!(text.contains(r#"label=" 50ms\n (inline)" weight=84 penwidth=5"#), "{text}");
        assert!(text.contains(r#"label="main\n0 of 60ms (100%)""#), "{text}");
    }

    #[test]
    fn names_cannot_end_their_quotes() {
        let mut profile = fixture::two_threads();
        profile.string_table[10] = "a\"]; b\\".to_owned();
        assert!(drawn(&profile).contains(r#"a\"]; b\\"#));
    }

    #[test]
    fn colours_tell_more_from_less() {
        assert_eq!(colour(0.0, Ground::Front), "#b2b2b2");
        assert_eq!(colour(1.0, Ground::Front), "#b20000");
        assert_eq!(colour(-1.0, Ground::Front), "#00b200");
    }
}
