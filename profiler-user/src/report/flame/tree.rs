//! The tree of stacks while it grows.

use std::collections::HashMap;

use super::{FlameFrame, Kind};
use crate::report::diff::Verdict;
use crate::report::diff::judge::{Judge, without_chance};

/// What samples bring to the frames that they come through.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Their value.
    pub(super) value: i64,
    /// In a comparison their value in the base, on the other side's scale.
    pub(super) base: i64,
    /// In a comparison the ticks of both sides.
    pub(super) ticks: [f64; 2],
}

impl Load {
    fn add(&mut self, more: Load) {
        self.value = self.value.saturating_add(more.value);
        self.base = self.base.saturating_add(more.base);
        self.ticks = [self.ticks[0] + more.ticks[0], self.ticks[1] + more.ticks[1]];
    }
}

/// The tree; its nodes are numbered, the root is 0.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Grown>,
    known: HashMap<(usize, usize), usize>,
}

#[derive(Debug)]
struct Grown {
    place: Option<usize>,
    inlined: bool,
    own: i64,
    load: Load,
    children: Vec<usize>,
}

impl Grown {
    fn new(place: Option<usize>) -> Grown {
        Grown { place, inlined: true, own: 0, load: Load::default(), children: vec![] }
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: vec![Grown::new(None)], known: HashMap::new() }
    }
}

impl Tree {
    /// Adds a stack, the outermost frame first; each frame is a place and whether it was inlined.
    pub(super) fn add(&mut self, stack: impl Iterator<Item = (usize, bool)>, load: Load) {
        let mut at = 0;
        self.count(at, load);
        for (place, inlined) in stack {
            at = self.child(at, place, inlined);
            self.count(at, load);
        }
        self.count_own(at, load.value);
    }

    /// The node of a place that this node calls, made where there is none.
    pub(super) fn child(&mut self, at: usize, place: usize, inlined: bool) -> usize {
        let next = self.nodes.len();
        let child = *self.known.entry((at, place)).or_insert(next);
        if child == next {
            self.nodes.push(Grown::new(Some(place)));
            if let Some(parent) = self.nodes.get_mut(at) {
                parent.children.push(child);
            }
        }
        if let Some(node) = self.nodes.get_mut(child) {
            node.inlined &= inlined;
        }
        child
    }

    pub(super) fn count(&mut self, node: usize, load: Load) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.load.add(load);
        }
    }

    pub(super) fn count_own(&mut self, node: usize, value: i64) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.own = node.own.saturating_add(value);
        }
    }

    /// In the order of [`super::FlameReport::frames`].
    pub(super) fn frames(&self, names: &[String], kind: Kind, judge: Option<&Judge>) -> Vec<FlameFrame> {
        let mut frames = Vec::with_capacity(self.nodes.len());
        let mut waiting: Vec<(usize, usize)> = vec![(0, 0)];
        while let Some((at, depth)) = waiting.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            let &Grown { place, inlined, own, load: Load { value: total, base, ticks }, ref children } = node;
            let verdict = match (kind, judge) {
                (Kind::Single, _) => Verdict::Same,
                (Kind::Comparison, Some(judge)) => judge.verdict(ticks),
                (Kind::Comparison, None) => without_chance(base, total),
            };
            let inlined = inlined && place.is_some();
            frames.push(FlameFrame { place, depth, inlined, own, total, base, ticks, verdict });
            let mut children = children.clone();
            // The last is taken first.
            children.sort_by_cached_key(|&child| {
                let child = self.nodes.get(child);
                let name = child.and_then(|child| names.get(child.place?));
                (child.map(|child| child.load.value.max(child.load.base)), std::cmp::Reverse(name))
            });
            waiting.extend(children.into_iter().map(|child| (child, depth + 1)));
        }
        frames
    }
}
