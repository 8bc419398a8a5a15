use super::super::node::Objects;
use super::super::subject::{Lens, Subject};
use super::*;
use crate::profile::fixture;

fn trimmed(trim: Trim, purpose: Purpose) -> Graph {
    let profile = fixture::two_threads();
    let lens = Lens { sample_index: Some("samples".to_owned()), ..Lens::default() };
    let subject = Subject::new(&profile, &lens).unwrap();
    let nodes = subject.nodes(&lens, Objects::Merged).unwrap();
    graph(&nodes, &subject.weighted(), trim, purpose, Negative::Shown, Besides::default())
}

/// `name flat cum` of nodes, and `from>to weight` of edges with `...` where something lies between.
fn shown(graph: &Graph) -> (Vec<String>, Vec<String>) {
    let node = |node: &Node| format!("{} {} {}", graph.name(node.place), node.flat, node.cum);
    let edge = |edge: &Edge| {
        let arrow = if edge.residual { "..." } else { ">" };
        format!("{}{arrow}{} {}", graph.name(edge.from), graph.name(edge.to), edge.weight)
    };
    let mut edges: Vec<String> = graph.edges.iter().map(edge).collect();
    edges.sort();
    (graph.nodes.iter().map(node).collect(), edges)
}

#[test]
fn small_nodes_go_and_their_callers_keep_nothing_of_them() {
    let graph = trimmed(Trim { node_fraction: 0.5, ..Trim::NOTHING }, Purpose::Text(Sort::Flat));
    let (nodes, edges) = shown(&graph);
    assert_eq!(nodes, ["inlined 3 5", "work 1 6", "main 0 6"]);
    assert_eq!(edges, ["main>work 6", "work>inlined 5"]);
    assert_eq!(graph.dropped, Dropped { nodes: 1, node_cutoff: 3, edges: 0, edge_cutoff: 0 });
    assert_eq!(graph.shown(), 4);
}

#[test]
fn calls_over_hidden_nodes_are_residual() {
    let graph = trimmed(Trim { nodes: Some(2), ..Trim::NOTHING }, Purpose::Text(Sort::Flat));
    let (nodes, edges) = shown(&graph);
    assert_eq!(nodes, ["inlined 3 5", "[[vdso]] 2 2"]);
    assert_eq!(edges, ["inlined>[[vdso]] 2"]);
    assert_eq!(graph.nodes_in_all, 4);
    let graph = trimmed(Trim { nodes: Some(3), ..Trim::NOTHING }, Purpose::Text(Sort::Cum));
    assert_eq!(shown(&graph).1, ["main>work 6", "work>inlined 5"]);
}

#[test]
fn light_edges_go() {
    let graph = trimmed(Trim { edge_fraction: 0.5, ..Trim::NOTHING }, Purpose::Text(Sort::Flat));
    assert_eq!(shown(&graph).1, ["main>work 6", "work>inlined 5"]);
    assert_eq!(graph.dropped.edges, 1);
}

#[test]
fn drawings_prefer_nodes_that_calls_fan_out_of() {
    let graph = trimmed(Trim { nodes: Some(3), ..Trim::NOTHING }, Purpose::Drawing);
    // main: an entry, 6; [[vdso]]: a leaf, 2; inlined and work by their entropy.
    let (nodes, _) = shown(&graph);
    assert_eq!(nodes.len(), 3);
    assert!(nodes.contains(&"inlined 3 5".to_owned()), "{nodes:?}");
}

#[test]
fn a_shortcut_gives_way_to_a_detour() {
    let edge = |from, to, weight, residual| Edge { from, to, weight, residual, inlined: false };
    let mut graph = Graph {
        places: vec![Place::default(); 3],
        nodes: (0..3)
            .map(|place| Node { place, flat: 1, cum: 3, callers: vec![], callees: vec![], boxes: vec![] })
            .collect(),
        edges: vec![edge(0, 1, 3, false), edge(1, 2, 2, false), edge(0, 2, 1, true)],
        ..Graph::default()
    };
    link(&mut graph);
    without_shortcuts(&mut graph);
    assert_eq!(graph.edges, [edge(0, 1, 3, false), edge(1, 2, 2, false)]);
}
