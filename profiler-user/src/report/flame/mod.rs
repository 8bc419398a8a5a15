//! All stacks as one tree, for flame graphs: [`svg`] to look at anywhere, [`html`] to explore, and for other viewers
//! [`speedscope`] and [`firefox`]. [`sandwich`] turns it into one function's callers and callees.

pub mod firefox;
pub mod html;
pub mod sandwich;
pub mod speedscope;
pub mod svg;
mod tree;

use std::collections::HashMap;

use tree::{Load, Tree};

use super::diff::judge::Judge;
use super::diff::{Counting, Key, Normalize, Verdict};
use super::header::Header;
use super::measure::truncated;
use super::node::{Objects, Place, base as file_name};
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
    /// For each place the file name of a binary that has it; empty where none is known.
    pub objects: Vec<String>,
    /// The frames, parents before their children, siblings by falling value and then by name. The first is the root,
    /// which stands for all samples and has no place.
    pub frames: Vec<FlameFrame>,
    /// Whether frames know what they were before.
    pub kind: Kind,
    /// Of a comparison, tells changes from noise; `None` where values are not counts of ticks.
    pub judge: Option<Judge>,
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
#[derive(Clone, Debug, PartialEq)]
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
    /// In a comparison, the ticks behind `base` and `total`; else 0.
    pub ticks: [f64; 2],
    /// In a comparison, what the change from `base` to `total` means; else [`Verdict::Same`].
    pub verdict: Verdict,
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
        tree.add(stack, Load { value, ..Load::default() });
    }
    let names: Vec<String> = nodes.places().iter().map(Place::name).collect();
    let frames = tree.frames(&names, Kind::Single, None);
    let objects = nodes.mappings(&subject.profile).into_iter().map(object).collect();
    let places = nodes.places().iter().map(|place| place.clone().into_owned()).collect();
    let numbers = subject.numbers.clone();
    let Subject { ref header, ref filters, ref unmatched, .. } = subject;
    let (header, filters, unmatched) = (header.clone(), filters.clone(), unmatched.clone());
    let kind = Kind::Single;
    Ok(FlameReport { header, filters, unmatched, numbers, places, objects, frames, kind, judge: None })
}

/// Puts the stacks of two profiles into one tree, whose frames know both values; `factor` says what the values of the
/// base are multiplied with.
pub(super) fn of_two(
    base: &Profile,
    other: &Profile,
    lens: &Lens,
    normalize: Normalize,
    factor: impl Fn(&Header, &Header) -> f64,
) -> Result<FlameReport, ReportError> {
    let profiles = [base, other];
    let (base, other) = (Subject::new(base, lens)?, Subject::new(other, lens)?);
    let counting = [Counting::of(profiles[0], &base, lens), Counting::of(profiles[1], &other, lens)];
    let judge = Judge::new([&base.header, &other.header], counting.map(|side| side.all), normalize);
    let factor = factor(&base.header, &other.header);
    let factor = if factor.is_finite() { factor } else { 1.0 };
    let mut places: Vec<Place<'static>> = Vec::new();
    let mut objects: Vec<String> = Vec::new();
    let mut known: HashMap<Key, usize> = HashMap::new();
    let mut tree = Tree::default();
    for (subject, counting, of_base) in [(&base, &counting[0], true), (&other, &counting[1], false)] {
        let nodes = subject.nodes(lens, Objects::Told)?;
        let mappings = nodes.mappings(&subject.profile);
        // What is the same function on both sides is one place.
        let common: Vec<usize> = nodes
            .places()
            .iter()
            .zip(mappings)
            .map(|(place, mapping)| {
                *known.entry(Key::of(place)).or_insert_with(|| {
                    places.push(place.clone().into_owned());
                    objects.push(object(mapping));
                    places.len() - 1
                })
            })
            .collect();
        for (sample, value) in subject.weighted() {
            let frames = nodes.frames(sample);
            let stack = frames.filter_map(|frame| Some((*common.get(frame.node)?, frame.inlined)));
            let ticks = counting.in_sample(sample, value);
            let load = if of_base {
                Load { value: 0, base: truncated(value, factor), ticks: [ticks, 0.0] }
            } else {
                Load { value, base: 0, ticks: [0.0, ticks] }
            };
            tree.add(stack, load);
        }
    }
    let names: Vec<String> = places.iter().map(Place::name).collect();
    let kind = Kind::Comparison;
    let frames = tree.frames(&names, kind, judge.as_ref());
    let Subject { header, filters, numbers, .. } = other;
    let unmatched = other.unmatched.into_iter().filter(|name| base.unmatched.contains(name)).collect();
    Ok(FlameReport { header, filters, unmatched, numbers, places, objects, frames, kind, judge })
}

fn object(mapping: &str) -> String {
    if mapping.is_empty() { String::new() } else { file_name(mapping).to_owned() }
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

    /// The same report over other frames.
    fn with_frames(&self, frames: Vec<FlameFrame>) -> FlameReport {
        let FlameReport { header, filters, unmatched, numbers, places, objects, frames: _, kind, judge } =
            self;
        FlameReport {
            header: header.clone(),
            filters: filters.clone(),
            unmatched: unmatched.clone(),
            numbers: numbers.clone(),
            places: places.clone(),
            objects: objects.clone(),
            frames,
            kind: *kind,
            judge: judge.clone(),
        }
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
