//! All stacks as one tree, for flame graphs: [`svg`] to look at anywhere, [`html`] to explore, and for other viewers
//! [`speedscope`] and [`firefox`].

pub mod firefox;
pub mod html;
pub mod speedscope;
pub mod svg;

use std::collections::HashMap;

use super::diff::Key;
use super::header::Header;
use super::measure::truncated;
use super::node::{Objects, Place};
use super::numbers::Numbers;
use super::subject::{Lens, ReportError, Subject};
use crate::profile::proto::Profile;

/// The tree with what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct FlameReport {
    /// The profile, the value and its total.
    pub header: Header,
    /// The filters that were applied, as `focus=regex`.
    pub filters: Vec<String>,
    /// Options that matched nothing.
    pub unmatched: Vec<&'static str>,
    /// Writes the values.
    pub numbers: Numbers,
    /// All places; frames point into them.
    pub places: Vec<Place<'static>>,
    /// The frames, parents before their children, siblings by falling value and then by name. The first is the root,
    /// which stands for all samples and has no place.
    pub frames: Vec<FlameFrame>,
    /// Whether frames know what they were before.
    pub kind: Kind,
}

/// What a tree is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// One profile.
    #[default]
    Single,
    /// Two, one over the other.
    Comparison,
}

/// A function as it was called along one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlameFrame {
    /// Index into [`FlameReport::places`]; `None` for the root.
    pub place: Option<usize>,
    /// How many callers it has, the root included.
    pub depth: usize,
    /// True where all calls were inlined.
    pub inlined: bool,
    /// Value of the samples that end here.
    pub own: i64,
    /// Value of all samples that come through here.
    pub total: i64,
    /// In a comparison, what `total` was before, on the same scale; else 0.
    pub base: i64,
}

/// Puts all stacks into one tree.
///
/// # Errors
/// The profile is inconsistent, or does not have the value that is asked for.
pub fn flame(profile: &Profile, lens: &Lens) -> Result<FlameReport, ReportError> {
    let subject = Subject::new(profile, lens)?;
    let nodes = subject.nodes(lens, Objects::Merged)?;
    let mut tree = Tree::default();
    for (sample, value) in subject.weighted() {
        let stack = nodes.frames(sample).map(|frame| (frame.node, frame.inlined));
        tree.add(stack, value, 0);
    }
    let names: Vec<String> = nodes.places().iter().map(Place::name).collect();
    let frames = tree.frames(&names);
    let places = nodes.places().iter().map(|place| place.clone().into_owned()).collect();
    let numbers = subject.numbers.clone();
    let Subject { ref header, ref filters, ref unmatched, .. } = subject;
    let (header, filters, unmatched) = (header.clone(), filters.clone(), unmatched.clone());
    Ok(FlameReport { header, filters, unmatched, numbers, places, frames, kind: Kind::Single })
}

/// Puts the stacks of two profiles into one tree, whose frames know both values; `factor` says what the values of the
/// base are multiplied with.
pub(super) fn of_two(
    base: &Profile,
    other: &Profile,
    lens: &Lens,
    factor: impl Fn(&Header, &Header) -> f64,
) -> Result<FlameReport, ReportError> {
    let (base, other) = (Subject::new(base, lens)?, Subject::new(other, lens)?);
    let factor = factor(&base.header, &other.header);
    let factor = if factor.is_finite() { factor } else { 1.0 };
    let mut places: Vec<Place<'static>> = Vec::new();
    let mut known: HashMap<Key, usize> = HashMap::new();
    let mut tree = Tree::default();
    for (subject, of_base) in [(&base, true), (&other, false)] {
        let nodes = subject.nodes(lens, Objects::Told)?;
        // What is the same function on both sides is one place.
        let common: Vec<usize> = nodes
            .places()
            .iter()
            .map(|place| {
                *known.entry(Key::of(place)).or_insert_with(|| {
                    places.push(place.clone().into_owned());
                    places.len() - 1
                })
            })
            .collect();
        for (sample, value) in subject.weighted() {
            let frames = nodes.frames(sample);
            let stack = frames.filter_map(|frame| Some((*common.get(frame.node)?, frame.inlined)));
            if of_base {
                tree.add(stack, 0, truncated(value, factor));
            } else {
                tree.add(stack, value, 0);
            }
        }
    }
    let names: Vec<String> = places.iter().map(Place::name).collect();
    let frames = tree.frames(&names);
    let Subject { header, filters, unmatched, numbers, .. } = other;
    Ok(FlameReport { header, filters, unmatched, numbers, places, frames, kind: Kind::Comparison })
}

impl FlameReport {
    /// The name of a frame; see [`Place::name`].
    #[must_use]
    pub fn name(&self, frame: &FlameFrame) -> String {
        let place = frame.place.and_then(|place| self.places.get(place));
        place.map_or_else(|| "all".to_owned(), Place::name)
    }

    /// Value of all samples in the tree.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.frames.first().map_or(0, |root| root.total)
    }

    /// Each frame with its left edge, in units of the value: children lie side by side from the left of their parent.
    pub fn laid_out(&self) -> impl Iterator<Item = (i64, &FlameFrame)> {
        // By depth, where the next frame begins.
        let mut edges: Vec<i64> = vec![0];
        self.frames.iter().map(move |frame| {
            let left = edges.get(frame.depth).copied().unwrap_or_default();
            edges.truncate(frame.depth);
            edges.push(left.saturating_add(frame.total.max(0)));
            edges.push(left);
            (left, frame)
        })
    }
}

/// The tree while it grows.
#[derive(Debug)]
struct Tree {
    nodes: Vec<Grown>,
    known: HashMap<(usize, usize), usize>,
}

#[derive(Debug)]
struct Grown {
    place: Option<usize>,
    inlined: bool,
    own: i64,
    total: i64,
    base: i64,
    children: Vec<usize>,
}

impl Default for Tree {
    fn default() -> Tree {
        let root = Grown { place: None, inlined: false, own: 0, total: 0, base: 0, children: vec![] };
        Tree { nodes: vec![root], known: HashMap::new() }
    }
}

impl Tree {
    fn add(&mut self, stack: impl Iterator<Item = (usize, bool)>, value: i64, base: i64) {
        let mut at = 0;
        self.count(at, value, base);
        for (place, inlined) in stack {
            let next = self.nodes.len();
            let child = *self.known.entry((at, place)).or_insert(next);
            if child == next {
                self.nodes.push(Grown {
                    place: Some(place),
                    inlined: true,
                    own: 0,
                    total: 0,
                    base: 0,
                    children: vec![],
                });
                if let Some(parent) = self.nodes.get_mut(at) {
                    parent.children.push(child);
                }
            }
            if let Some(node) = self.nodes.get_mut(child) {
                node.inlined &= inlined;
            }
            self.count(child, value, base);
            at = child;
        }
        if let Some(leaf) = self.nodes.get_mut(at) {
            leaf.own = leaf.own.saturating_add(value);
        }
    }

    fn count(&mut self, node: usize, value: i64, base: i64) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.base = node.base.saturating_add(base);
            node.total = node.total.saturating_add(value);
        }
    }

    /// In the order of [`FlameReport::frames`].
    fn frames(&self, names: &[String]) -> Vec<FlameFrame> {
        let mut frames = Vec::with_capacity(self.nodes.len());
        let mut waiting: Vec<(usize, usize)> = vec![(0, 0)];
        while let Some((at, depth)) = waiting.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            let &Grown { place, inlined, own, total, base, ref children } = node;
            frames.push(FlameFrame { place, depth, inlined: inlined && place.is_some(), own, total, base });
            let mut children = children.clone();
            // The last is taken first.
            children.sort_by_cached_key(|&child| {
                let child = self.nodes.get(child);
                let name = child.and_then(|child| names.get(child.place?));
                (child.map(|child| child.total.max(child.base)), std::cmp::Reverse(name))
            });
            waiting.extend(children.into_iter().map(|child| (child, depth + 1)));
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    #[test]
    fn stacks_become_one_tree() {
        let lens = Lens { sample_index: Some("samples".to_owned()), ..Lens::default() };
        let report = flame(&fixture::two_threads(), &lens).unwrap();
        let frames: Vec<String> = report
            .laid_out()
            .map(|(left, frame)| {
                let mark = if frame.inlined { "~" } else { "" };
                format!(
                    "{left}:{}{}{mark} {} {}",
                    " ".repeat(frame.depth),
                    report.name(frame),
                    frame.own,
                    frame.total
                )
            })
            .collect();
        assert_eq!(
            frames,
            ["0:all 0 6", "0: main 0 6", "0:  work 1 6", "0:   inlined~ 3 5", "0:    [[vdso]] 2 2",]
        );
        assert_eq!(report.total(), 6);
    }

    #[test]
    fn siblings_lie_side_by_side() {
        let mut profile = fixture::two_threads();
        profile.sample[1].location_id = vec![4, 1];
        profile.sample[2].location_id = vec![1];
        let report =
            flame(&profile, &Lens { sample_index: Some("0".to_owned()), ..Lens::default() }).unwrap();
        let lefts: Vec<(i64, String)> =
            report.laid_out().map(|(left, frame)| (left, report.name(frame))).collect();
        let wanted = [(0, "all"), (0, "main"), (0, "work"), (0, "inlined"), (3, "[[vdso]]")];
        assert_eq!(lefts, wanted.map(|(left, name)| (left, name.to_owned())));
    }
}
