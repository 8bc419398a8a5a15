//! Which nodes and edges of a call graph are worth showing: google/pprof's `-nodecount`, `-nodefraction` and
//! `-edgefraction` (its report/report.go, `newTrimmedGraph`).

use std::collections::{HashMap, HashSet, VecDeque};

use super::boxes::{self, Labelled};
use super::graph::{Built, Dropped, Edge, Graph, Node, build, weigh};
use super::measure::{float, truncated};
use super::node::{Nodes, Place};
use super::order::{self, Sort, Weight};
use super::subject::Negative;
use crate::profile::proto::Sample;

/// How much of a graph is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trim {
    /// At most so many nodes; `None` for all.
    pub nodes: Option<usize>,
    /// Nodes with at least this share of the total.
    pub node_fraction: f64,
    /// Edges with at least this share of the total.
    pub edge_fraction: f64,
}

impl Trim {
    /// Everything.
    pub const NOTHING: Trim = Trim { nodes: None, node_fraction: 0.0, edge_fraction: 0.0 };
    /// What pprof shows of a graph where nothing else is asked for.
    pub const GRAPH: Trim = Trim { nodes: Some(80), node_fraction: 0.005, edge_fraction: 0.001 };
}

/// What a graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A text, sorted.
    Text(Sort),
    /// A drawing: nodes that calls merely pass through are left out first, and so are shortcuts.
    Drawing,
}

/// What belongs to samples besides their value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Besides<'s> {
    /// Their labels, which become boxes.
    pub(super) labelled: Option<&'s Labelled<'s>>,
    /// What values are divided by in the end, where means are shown.
    pub(super) divisors: Option<&'s [(&'s Sample, i64)]>,
    /// Places one of which is at an end of all calls that are asked for.
    pub(super) wanted: Option<&'s [bool]>,
}

/// Builds the graph and trims it. Means are made of what is left: it is the sums that decide what is small.
pub(super) fn graph(
    nodes: &Nodes<'_>,
    samples: &[(&Sample, i64)],
    trim: Trim,
    purpose: Purpose,
    negative: Negative,
    besides: Besides<'_>,
) -> Graph {
    let Besides { labelled, divisors, wanted } = besides;
    let places = nodes.places();
    // What is left out changes neither value of what is left, so values alone decide. Calls are far more than places, and
    // are summed up between those only that will be shown.
    let mut rows = rows(&weigh(nodes, samples), negative);
    let total = rows.iter().fold(0_i64, |sum, row| sum.saturating_add(row.flat));
    let mut dropped = Dropped {
        node_cutoff: truncated(total, trim.node_fraction).saturating_abs(),
        edge_cutoff: truncated(total, trim.edge_fraction).saturating_abs(),
        ..Dropped::default()
    };
    // `None` while nothing is left out.
    let mut only: Option<Vec<bool>> = None;
    if dropped.node_cutoff > 0 {
        let before = rows.len();
        rows.retain(|row| row.cum.saturating_abs() >= dropped.node_cutoff);
        dropped.nodes = before - rows.len();
        only = (dropped.nodes > 0).then(|| marked(&rows, places.len()));
    }
    let nodes_in_all = rows.len();
    // The order in a drawing depends on calls.
    let mut built = match purpose {
        Purpose::Text(by) => {
            order::sort(&mut rows, places, |row| by.keys(row.flat, row.cum));
            None
        }
        Purpose::Drawing => {
            let built = build(nodes, samples, only.as_deref(), None);
            by_score(&mut rows, &built, places);
            Some(built)
        }
    };
    let boxes = |rows: &[Weight]| {
        let kept = marked(rows, places.len());
        labelled.map(|labelled| labelled.sum(nodes, samples, Some(&kept), dropped.node_cutoff))
    };
    let mut sums = boxes(&rows);
    let most = trim.nodes.filter(|&most| most > 0);
    let most = most.map(|most| with_boxes(most, &rows, sums.as_ref()));
    if let Some(most) = most.filter(|&most| most < rows.len()) {
        rows.truncate(most);
        sums = boxes(&rows);
        only = Some(marked(&rows, places.len()));
        built = None;
    }
    let mut built = built.unwrap_or_else(|| {
        let built = build(nodes, samples, only.as_deref(), wanted);
        if purpose == Purpose::Drawing {
            by_score(&mut rows, &built, places);
        }
        built
    });
    let kept = marked(&rows, nodes.places().len());
    let is_kept = |place: usize| kept.get(place).copied().unwrap_or_default();
    let before = built.edges.len();
    built.edges.retain(|edge| !is_kept(edge.to) || edge.weight.saturating_abs() >= dropped.edge_cutoff);
    dropped.edges = before - built.edges.len();
    // Only what a node is at one end of is ever shown.
    built.edges.retain(|edge| is_kept(edge.from) || is_kept(edge.to));
    let mut graph = compact(&rows, &built.edges, nodes.places());
    if let (Some(labelled), Some(sums)) = (labelled, &sums) {
        let boxes = labelled.boxes(sums, rows.iter().map(|row| row.node));
        for (node, boxes) in graph.nodes.iter_mut().zip(boxes) {
            node.boxes = boxes;
        }
    }
    if purpose == Purpose::Drawing {
        without_shortcuts(&mut graph);
    }
    if let Some(divisors) = divisors {
        divide(&mut graph, nodes, divisors, &kept);
    }
    Graph { nodes_in_all, dropped, ..graph }
}

/// Sums become means; what there is nothing to divide by stays.
fn divide(graph: &mut Graph, nodes: &Nodes<'_>, divisors: &[(&Sample, i64)], kept: &[bool]) {
    let built = build(nodes, divisors, Some(kept), None);
    let numbers: HashMap<&Place<'_>, usize> =
        nodes.places().iter().enumerate().map(|(number, place)| (place, number)).collect();
    let calls: HashMap<(usize, usize), i64> =
        built.edges.iter().map(|edge| ((edge.from, edge.to), edge.weight)).collect();
    let places: Vec<Option<usize>> = graph.places.iter().map(|place| numbers.get(place).copied()).collect();
    let number = |place: usize| places.get(place).copied().flatten();
    let mean = |sum: i64, count: i64| sum.checked_div(count).unwrap_or(sum);
    for node in &mut graph.nodes {
        let Some(count) = number(node.place).and_then(|number| built.weights.get(number)) else { continue };
        (node.flat, node.cum) = (mean(node.flat, count.flat), mean(node.cum, count.cum));
    }
    for edge in &mut graph.edges {
        let ends = number(edge.from).zip(number(edge.to));
        edge.weight = mean(edge.weight, ends.and_then(|ends| calls.get(&ends).copied()).unwrap_or_default());
    }
}

/// How many nodes there is room for: boxes take room, too.
fn with_boxes(most: usize, rows: &[Weight], sums: Option<&boxes::Boxes>) -> usize {
    let Some(counts) = sums.map(boxes::Boxes::counts) else { return most };
    let mut count = 0;
    let full = rows.iter().position(|row| {
        count += 1 + counts.get(&row.node).copied().unwrap_or_default().min(boxes::MOST);
        count >= most
    });
    full.map_or(most, |last| last + 1)
}

/// The places that have a value.
fn rows(weights: &[Weight], negative: Negative) -> Vec<Weight> {
    let shown = |row: &&Weight| (row.flat != 0 || row.cum != 0) && !negative.drops(row.flat, row.cum);
    weights.iter().filter(shown).copied().collect()
}

fn marked(rows: &[Weight], places: usize) -> Vec<bool> {
    let mut marked = vec![false; places];
    for row in rows {
        if let Some(mark) = marked.get_mut(row.node) {
            *mark = true;
        }
    }
    marked
}

fn by_score(rows: &mut [Weight], built: &Built, places: &[Place<'_>]) {
    let scores = scores(built);
    order::sort(rows, places, |row| (scores.get(row.node).copied().unwrap_or_default(), row.flat));
}

/// How much a node's own place in a drawing tells: the more its callers and callees differ in weight (their entropy),
/// the more; nodes that one call leads into and one leads out of, little.
#[expect(clippy::as_conversions, reason = "pprof's arithmetic; it saturates")]
fn scores(built: &Built) -> Vec<i64> {
    let places = built.weights.len();
    let (mut into, mut out_of): (Vec<Vec<i64>>, Vec<Vec<i64>>) = (vec![vec![]; places], vec![vec![]; places]);
    for edge in &built.edges {
        if let Some(weights) = into.get_mut(edge.to) {
            weights.push(edge.weight);
        }
        if let Some(weights) = out_of.get_mut(edge.from) {
            weights.push(edge.weight);
        }
    }
    let score = |((weight, into), out_of): ((&Weight, Vec<i64>), Vec<i64>)| {
        let into = if into.is_empty() { 1.0 } else { entropy(&into, 0) };
        let out_of = if out_of.is_empty() { 1.0 } else { entropy(&out_of, weight.flat) };
        (((into + out_of) * float(weight.cum)) as i64).saturating_add(weight.flat)
    };
    built.weights.iter().zip(into).zip(out_of).map(score).collect()
}

fn entropy(weights: &[i64], own: i64) -> f64 {
    let positive = weights.iter().filter(|&&weight| weight > 0);
    let total = positive.fold(own, |sum, &weight| sum.saturating_add(weight));
    if total == 0 {
        return 0.0;
    }
    let part = |weight: i64| {
        let share = float(weight.saturating_abs()) / float(total);
        -share * share.log2()
    };
    // Calls whose values cancel out in a comparison tell nothing; pprof's score then is no number at all.
    let edges: f64 = weights.iter().filter(|&&weight| weight != 0).map(|&weight| part(weight)).sum();
    if own > 0 { edges + part(own) } else { edges }
}

/// Leaves behind all places without a node or edge, and sorts each node's edges.
fn compact(rows: &[Weight], edges: &[Edge], places: &[Place<'_>]) -> Graph {
    let mut new: Vec<Option<usize>> = vec![None; places.len()];
    let mut graph = Graph::default();
    let mut place = |old: usize, graph: &mut Graph| -> usize {
        let next = graph.places.len();
        match new.get_mut(old) {
            Some(Some(known)) => *known,
            Some(unknown) => {
                *unknown = Some(next);
                graph.places.push(places.get(old).cloned().unwrap_or_default().into_owned());
                next
            }
            None => usize::MAX,
        }
    };
    for row in rows {
        let place = place(row.node, &mut graph);
        let node =
            Node { place, flat: row.flat, cum: row.cum, callers: vec![], callees: vec![], boxes: vec![] };
        graph.nodes.push(node);
    }
    for edge in edges {
        let (from, to) = (place(edge.from, &mut graph), place(edge.to, &mut graph));
        graph.edges.push(Edge { from, to, ..edge.clone() });
    }
    link(&mut graph);
    graph
}

/// Tells each node its edges, the heaviest first, equal ones by name. A node's place has the node's own number.
fn link(graph: &mut Graph) {
    let names: Vec<String> = graph.places.iter().map(Place::name).collect();
    let mut sorted: Vec<usize> = (0..graph.edges.len()).collect();
    let key = |place: &usize| {
        let edge = graph.edges.get(*place);
        let weight = std::cmp::Reverse(edge.map_or(0, |edge| edge.weight.unsigned_abs()));
        (weight, edge.and_then(|edge| names.get(edge.from)), edge.and_then(|edge| names.get(edge.to)))
    };
    sorted.sort_by(|left, right| key(left).cmp(&key(right)));
    for node in &mut graph.nodes {
        node.callers.clear();
        node.callees.clear();
    }
    for place in sorted {
        let Some(edge) = graph.edges.get(place) else { continue };
        if let Some(callee) = graph.nodes.get_mut(edge.to) {
            callee.callers.push(place);
        }
        if let Some(caller) = graph.nodes.get_mut(edge.from) {
            caller.callees.push(place);
        }
    }
}

/// Takes out the lightest edges over nodes that are not shown, where another way leads from one end to the other.
fn without_shortcuts(graph: &mut Graph) {
    let mut gone: HashSet<usize> = HashSet::new();
    for node in graph.nodes.iter().rev() {
        for &place in node.callers.iter().rev() {
            if graph.edges.get(place).is_none_or(|edge| !edge.residual) {
                // Heavier ones stay, so that no lighter one is shown in their place.
                break;
            }
            if has_detour(graph, place, &gone) {
                gone.insert(place);
            }
        }
    }
    let mut place = 0;
    graph.edges.retain(|_| {
        place += 1;
        !gone.contains(&(place - 1))
    });
    link(graph);
}

fn has_detour(graph: &Graph, shortcut: usize, gone: &HashSet<usize>) -> bool {
    let Some(Edge { from, to, .. }) = graph.edges.get(shortcut) else { return false };
    let mut seen = HashSet::from([*to]);
    let mut queue = VecDeque::from([*to]);
    while let Some(place) = queue.pop_front() {
        let callers = graph.nodes.get(place).map(|node| node.callers.as_slice()).unwrap_or_default();
        for edge in callers.iter().filter(|&&edge| edge != shortcut && !gone.contains(&edge)) {
            let Some(edge) = graph.edges.get(*edge) else { continue };
            if seen.contains(&edge.from) {
                continue;
            }
            if edge.from == *from {
                return true;
            }
            seen.insert(edge.from);
            queue.push_back(edge.from);
        }
    }
    false
}

#[cfg(test)]
mod tests;
