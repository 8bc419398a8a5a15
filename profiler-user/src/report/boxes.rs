//! What the samples of each node are labelled with: the small boxes beside the nodes of a drawing. The rules are
//! google/pprof's (internal/graph, `addSample` and `TrimLowFrequencyTags`).

use std::collections::{BTreeSet, HashMap};

use super::measure::{AUTO, label as with_unit};
use super::node::Nodes;
use super::tags::{Units, is_number, is_string};
use crate::profile::proto::{Profile, Sample};
use crate::profile::text;

/// Boxes beside a node: at most so many.
pub(super) const MOST: usize = 4;

/// The only numbers that are drawn, as in pprof.
const SIZES: &str = "bytes";

/// What marks the samples of a comparison's base, which is no label of theirs.
const BASE: &str = "pprof::base";

/// The labels of samples, each combination once.
#[derive(Debug, Default)]
pub(super) struct Labelled<'p> {
    /// Combinations of labels that hold strings, `key:value` each; the first is that of no labels.
    names: Vec<Vec<String>>,
    sizes: Vec<Size<'p>>,
    /// For each sample its combination and its sizes.
    of_samples: Vec<(usize, Vec<usize>)>,
}

#[derive(Clone, Debug)]
struct Size<'p> {
    shown: String,
    value: i64,
    unit: &'p str,
}

/// The values of samples with something in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Of those that end in the node.
    pub flat: i64,
    /// Of those with the node anywhere in their stack.
    pub cum: i64,
}

/// Samples of a node with the same labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Box {
    /// The labels, `key:value`; none where samples have no strings, which only have sizes then.
    pub labels: Vec<String>,
    /// Their values; of a box without labels 0.
    pub sum: Sum,
    /// The same by their sizes.
    pub sizes: Vec<SizeBox>,
}

/// Samples of a node with the same labels and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeBox {
    /// The size, in `unit`.
    pub value: i64,
    /// Its unit.
    pub unit: String,
    /// As the size is told apart from others.
    pub shown: String,
    /// Their values.
    pub sum: Sum,
}

impl<'p> Labelled<'p> {
    /// Reads the labels of samples; sizes are told apart as they are written in `unit`.
    pub(super) fn find(profile: &'p Profile, samples: &[(&Sample, i64)], unit: Option<&str>) -> Labelled<'p> {
        let mut found = Labelled { names: vec![vec![]], ..Labelled::default() };
        let units = Units::find(profile, &profile.sample);
        let mut known: HashMap<Vec<String>, usize> = HashMap::from([(vec![], 0)]);
        let mut known_sizes: HashMap<String, usize> = HashMap::new();
        for (sample, _) in samples {
            let strings = sample.label.iter().filter(|label| is_string(label));
            let strings = strings.filter(|label| text(profile, label.key) != BASE);
            let mut names: Vec<String> = strings
                .map(|label| format!("{}:{}", text(profile, label.key), text(profile, label.str)))
                .collect();
            names.sort_unstable();
            let combination = *known.entry(names).or_insert_with_key(|names| {
                found.names.push(names.clone());
                found.names.len() - 1
            });
            let sizes = sample.label.iter().filter(|label| is_number(label));
            let sizes = sizes.filter(|label| text(profile, label.key) == SIZES);
            let sizes: Vec<usize> = sizes
                .map(|label| {
                    let own = units.of(profile, label.key);
                    let shown = with_unit(label.num, own, unit.unwrap_or(AUTO));
                    *known_sizes.entry(shown).or_insert_with_key(|shown| {
                        found.sizes.push(Size { shown: shown.clone(), value: label.num, unit: own });
                        found.sizes.len() - 1
                    })
                })
                .collect();
            found.of_samples.push((combination, sizes));
        }
        found
    }

    /// Sums up the samples by node, combination and size, as the graph does; what is below the bound is left out.
    pub(super) fn sum(
        &self,
        nodes: &Nodes<'_>,
        samples: &[(&Sample, i64)],
        kept: Option<&[bool]>,
        bound: i64,
    ) -> Boxes {
        let mut sums: HashMap<(usize, usize, Option<usize>), Sum> = HashMap::new();
        let mut counted: Vec<usize> = vec![usize::MAX; nodes.places().len()];
        if self.names.len() > 1 || !self.sizes.is_empty() {
            for (number, (&(sample, value), (combination, sizes))) in
                samples.iter().zip(&self.of_samples).enumerate()
            {
                let mut add = |node: usize, to: fn(&mut Sum) -> &mut i64| {
                    // Samples without labels that hold strings have no box of their own.
                    let own = (*combination > 0).then_some(None);
                    for size in own.into_iter().chain(sizes.iter().map(|&size| Some(size))) {
                        let sum = to(sums.entry((node, *combination, size)).or_default());
                        *sum = sum.saturating_add(value);
                    }
                };
                let mut leaf = None;
                for frame in nodes.frames(sample) {
                    leaf = None;
                    if kept.is_some_and(|kept| !kept.get(frame.node).copied().unwrap_or_default()) {
                        continue;
                    }
                    leaf = Some(frame.node);
                    if let Some(last) = counted.get_mut(frame.node).filter(|last| **last != number) {
                        *last = number;
                        add(frame.node, |sum| &mut sum.cum);
                    }
                }
                if let Some(leaf) = leaf {
                    add(leaf, |sum| &mut sum.flat);
                }
            }
        }
        sums.retain(|_, sum| sum.flat.saturating_abs() >= bound || sum.cum.saturating_abs() >= bound);
        Boxes(sums)
    }

    /// The boxes of some nodes.
    pub(super) fn boxes(&self, sums: &Boxes, rows: impl Iterator<Item = usize>) -> Vec<Vec<Box>> {
        let mut of_node: HashMap<usize, BTreeSet<(usize, Option<usize>)>> = HashMap::new();
        for (node, combination, size) in sums.0.keys() {
            of_node.entry(*node).or_default().insert((*combination, *size));
        }
        let mut all = Vec::new();
        for node in rows {
            let mut boxes: Vec<(usize, Box)> = Vec::new();
            for &(combination, size) in of_node.get(&node).into_iter().flatten() {
                let sum = sums.0.get(&(node, combination, size)).copied().unwrap_or_default();
                if boxes.last().is_none_or(|(last, _)| *last != combination) {
                    // One whose own sum is below the bound goes with its sizes.
                    if size.is_some() && combination > 0 {
                        continue;
                    }
                    let labels = self.names.get(combination).cloned().unwrap_or_default();
                    boxes.push((combination, Box { labels, ..Box::default() }));
                }
                let Some((_, last)) = boxes.last_mut() else { continue };
                match size.and_then(|size| self.sizes.get(size)) {
                    None => last.sum = sum,
                    Some(Size { shown, value, unit }) => last.sizes.push(SizeBox {
                        value: *value,
                        unit: (*unit).to_owned(),
                        shown: shown.clone(),
                        sum,
                    }),
                }
            }
            all.push(boxes.into_iter().map(|(_, own)| own).collect());
        }
        all
    }
}

/// Sums by node, combination of labels and size.
#[derive(Debug, Default)]
pub(super) struct Boxes(HashMap<(usize, usize, Option<usize>), Sum>);

impl Boxes {
    /// By node, how many have samples that end in it.
    pub(super) fn counts(&self) -> HashMap<usize, usize> {
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for ((node, ..), _) in self.0.iter().filter(|(_, sum)| sum.flat != 0) {
            *counts.entry(*node).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::profile::proto::Label;
    use crate::report::node::Objects;
    use crate::report::subject::{Lens, Subject};

    #[test]
    fn samples_by_node_and_label() {
        let mut profile = fixture::two_threads();
        let next = i64::try_from(profile.string_table.len()).unwrap();
        profile.string_table.push(SIZES.to_owned());
        profile.sample[0].label.push(Label { key: next, num: 2048, ..Label::default() });
        let lens = Lens { sample_index: Some("samples".to_owned()), ..Lens::default() };
        let subject = Subject::new(&profile, &lens).unwrap();
        let nodes = subject.nodes(&lens, Objects::Merged).unwrap();
        let samples = subject.weighted();
        let labelled = Labelled::find(&subject.profile, &samples, None);
        let drawn = |bound| {
            let sums = labelled.sum(&nodes, &samples, None, bound);
            let main = nodes.places().iter().position(|place| place.function == "main").unwrap();
            let inlined = nodes.places().iter().position(|place| place.function == "inlined").unwrap();
            labelled.boxes(&sums, [main, inlined].into_iter())
        };
        let own =
            |label: &str, flat, cum, sizes| Box { labels: vec![label.into()], sum: Sum { flat, cum }, sizes };
        let size = |flat, cum| {
            vec![SizeBox { value: 2048, unit: SIZES.into(), shown: "2kB".into(), sum: Sum { flat, cum } }]
        };
        assert_eq!(
            drawn(0),
            [
                vec![own("thread:a", 0, 4, size(0, 3)), own("thread:b", 0, 2, vec![])],
                vec![own("thread:a", 3, 3, size(3, 3)), own("thread:b", 0, 2, vec![])],
            ]
        );
        assert_eq!(drawn(4)[0], [own("thread:a", 0, 4, vec![])]);
    }
}
