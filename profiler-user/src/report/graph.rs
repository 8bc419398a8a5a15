//! Who calls whom: the call graph of a profile, by the rules of google/pprof (internal/graph, `newGraph`).

use hashbrown::HashMap;

use super::boxes::Box;
use super::node::{Nodes, Place};
use super::order::Weight;
use crate::profile::proto::Sample;

/// A call graph that reports are made of; it holds what is shown and nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// All places that a node or an edge is about.
    pub places: Vec<Place<'static>>,
    /// The nodes, in the order of the report.
    pub nodes: Vec<Node>,
    /// The calls between them.
    pub edges: Vec<Edge>,
    /// Nodes there would be without a limit to their number.
    pub nodes_in_all: usize,
    /// What was left out for being small.
    pub dropped: Dropped,
}

/// What was left out of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Nodes whose cumulative value is below a bound.
    pub nodes: usize,
    /// The bound for nodes.
    pub node_cutoff: i64,
    /// Edges with a value below a bound.
    pub edges: usize,
    /// The bound for edges.
    pub edge_cutoff: i64,
}

/// A place with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Index into [`Graph::places`].
    pub place: usize,
    /// Value of the samples that end here.
    pub flat: i64,
    /// Value of the samples that have this anywhere in their stack, each counted once.
    pub cum: i64,
    /// Calls of this, the heaviest first; indices into [`Graph::edges`].
    pub callers: Vec<usize>,
    /// Calls from here, the heaviest first; indices into [`Graph::edges`].
    pub callees: Vec<usize>,
    /// What its samples are labelled with; only in drawings.
    pub boxes: Vec<Box>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Index of the caller's place.
    pub from: usize,
    /// Index of the callee's place.
    pub to: usize,
    /// Value of the samples with this call, each counted once.
    pub weight: i64,
    /// True where other calls lie between the two, which are not shown.
    pub residual: bool,
    /// True where the callee was inlined into the caller, everywhere.
    pub inlined: bool,
}

impl Graph {
    /// Sum of `flat` over the nodes.
    #[must_use]
    pub fn shown(&self) -> i64 {
        self.nodes.iter().fold(0, |sum, node| sum.saturating_add(node.flat))
    }

    /// The name of a place; see [`Place::name`].
    #[must_use]
    pub fn name(&self, place: usize) -> String {
        self.places.get(place).map(Place::name).unwrap_or_default()
    }
}

/// Values of nodes and edges while a graph is built; places are indices into those of the profile.
#[derive(Clone, Debug, Default)]
pub(super) struct Built {
    /// Of each place.
    pub(super) weights: Vec<Weight>,
    pub(super) edges: Vec<Edge>,
}

/// Flat and cum of every place.
pub(super) fn weigh(nodes: &Nodes<'_>, samples: &[(&Sample, i64)]) -> Vec<Weight> {
    let mut weights: Vec<Weight> =
        (0..nodes.places().len()).map(|node| Weight { node, flat: 0, cum: 0 }).collect();
    // Which sample a node was last counted for: recursion counts once.
    let mut counted: Vec<usize> = vec![usize::MAX; weights.len()];
    for (number, &(sample, value)) in samples.iter().enumerate() {
        let mut leaf = None;
        for frame in nodes.frames(sample) {
            leaf = Some(frame.node);
            if let (Some(weight), Some(last)) = (weights.get_mut(frame.node), counted.get_mut(frame.node))
                && *last != number
            {
                *last = number;
                weight.cum = weight.cum.saturating_add(value);
            }
        }
        if let Some(weight) = leaf.and_then(|leaf| weights.get_mut(leaf)) {
            weight.flat = weight.flat.saturating_add(value);
        }
    }
    weights
}

/// Sums up the samples; with `kept`, stacks are those of the places that are marked in it; with `wanted`, calls are those
/// of the places that are marked in it.
pub(super) fn build(
    nodes: &Nodes<'_>,
    samples: &[(&Sample, i64)],
    kept: Option<&[bool]>,
    wanted: Option<&[bool]>,
) -> Built {
    let is_wanted = |place: usize| wanted.is_none_or(|wanted| wanted.get(place).copied().unwrap_or_default());
    let places = nodes.places().len();
    let mut weights: Vec<Weight> = (0..places).map(|node| Weight { node, flat: 0, cum: 0 }).collect();
    let mut edges: Vec<Edge> = Vec::new();
    let mut known: HashMap<(usize, usize), usize> = HashMap::new();
    // Which sample nodes and edges were last counted for: recursion counts once.
    let mut counted: Vec<usize> = vec![usize::MAX; places];
    let mut counted_edges: Vec<usize> = Vec::new();
    for (number, &(sample, value)) in samples.iter().enumerate() {
        let mut caller: Option<usize> = None;
        let mut residual = false;
        for frame in nodes.frames(sample) {
            let node = frame.node;
            if kept.is_some_and(|kept| !kept.get(node).copied().unwrap_or_default()) {
                residual = true;
                continue;
            }
            if let (Some(weight), Some(last)) = (weights.get_mut(node), counted.get_mut(node))
                && *last != number
            {
                *last = number;
                weight.cum = weight.cum.saturating_add(value);
            }
            let caller_of = caller.filter(|&caller| caller != node && (is_wanted(caller) || is_wanted(node)));
            if let Some(caller) = caller_of {
                let place = *known.entry((caller, node)).or_insert_with(|| {
                    edges.push(Edge { from: caller, to: node, weight: 0, residual: false, inlined: true });
                    counted_edges.push(usize::MAX);
                    edges.len() - 1
                });
                if let (Some(edge), Some(last)) = (edges.get_mut(place), counted_edges.get_mut(place))
                    && *last != number
                {
                    *last = number;
                    edge.weight = edge.weight.saturating_add(value);
                    // The outermost call of a sample speaks for all equal ones in it.
                    edge.residual |= residual;
                    edge.inlined &= frame.inlined;
                }
            }
            caller = Some(node);
            residual = false;
        }
        // Where the leaf is not kept, its value is nobody's own.
        if let Some(leaf) = caller.filter(|_| !residual)
            && let Some(weight) = weights.get_mut(leaf)
        {
            weight.flat = weight.flat.saturating_add(value);
        }
    }
    Built { weights, edges }
}
