//! `profiler tree --json` and `profiler peek --json`.

use serde::Serialize;

use super::{Named, write};
use crate::report::graph::Edge;
use crate::report::header::Header;
use crate::report::measure::percent;
use crate::report::tree::TreeReport;

#[derive(Serialize)]
struct Tree<'a> {
    #[serde(flatten)]
    header: &'a Header,
    filters: &'a [String],
    /// Sum of `flat` over all nodes of the graph, in `unit`.
    shown: i64,
    nodes_in_all: usize,
    dropped_nodes: usize,
    dropped_edges: usize,
    nodes: Vec<Node<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    #[serde(flatten)]
    place: Option<Named<'a>>,
    flat: i64,
    flat_percent: f64,
    cum: i64,
    cum_percent: f64,
    callers: Vec<Call>,
    callees: Vec<Call>,
}

#[derive(Serialize)]
struct Call {
    name: String,
    value: i64,
    /// Of this node's `cum`.
    percent: f64,
    inlined: bool,
    /// True where other calls lie between, which are not shown.
    residual: bool,
}

/// The nodes of [`crate::report::tree::tree`] or [`crate::report::tree::peek`] as one JSON object.
///
/// # Errors
/// What the serializer reports, which for this data is nothing that has been seen.
pub fn tree(report: &TreeReport) -> serde_json::Result<String> {
    let TreeReport { header, filters, unmatched: _, numbers, heading: _, graph, chosen } = report;
    let call = |edge: &Edge, other: usize, cum: i64| Call {
        name: graph.name(other),
        value: numbers.divided(edge.weight),
        percent: percent(edge.weight, cum),
        inlined: edge.inlined,
        residual: edge.residual,
    };
    let nodes = chosen.iter().filter_map(|&node| graph.nodes.get(node)).map(|node| {
        let edges = |list: &[usize]| -> Vec<Edge> {
            list.iter().filter_map(|&edge| graph.edges.get(edge)).cloned().collect()
        };
        let (callers, callees) = (edges(&node.callers), edges(&node.callees));
        Node {
            place: graph.places.get(node.place).map(Named::of),
            flat: numbers.divided(node.flat),
            flat_percent: percent(node.flat, header.total),
            cum: numbers.divided(node.cum),
            cum_percent: percent(node.cum, header.total),
            callers: callers.iter().map(|edge| call(edge, edge.from, node.cum)).collect(),
            callees: callees.iter().map(|edge| call(edge, edge.to, node.cum)).collect(),
        }
    });
    write(&Tree {
        header,
        filters,
        shown: numbers.divided(graph.shown()),
        nodes_in_all: graph.nodes_in_all,
        dropped_nodes: graph.dropped.nodes,
        dropped_edges: graph.dropped.edges,
        nodes: nodes.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::tree::{Options, tree as report};

    #[test]
    fn nodes_know_their_calls() {
        let report = report(&fixture::two_threads(), &Options::default()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&tree(&report).unwrap()).unwrap();
        let node = &value["nodes"][0];
        assert_eq!((&node["name"], &node["cum"]), (&"inlined".into(), &50_000_000.into()));
        assert_eq!(node["callers"][0]["name"], "work");
        assert_eq!(node["callers"][0]["inlined"], true);
        assert_eq!(node["callees"][0]["value"], 20_000_000);
    }
}
