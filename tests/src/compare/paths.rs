//! Stacks grouped by their path from the root to the leaf.

use std::collections::BTreeMap;

use super::code::{Code, Function, Place};

/// A sample's user stack, leaf first.
#[derive(Debug, Clone)]
pub struct Walked {
    /// Its frames.
    pub places: Vec<Place>,
    /// How many samples have it.
    pub samples: i64,
}

/// Functions from the leaf to the root.
pub type Path = Vec<Function>;

/// Samples by path.
#[derive(Debug, Default)]
pub struct Counted {
    /// Those that begin at a function in which threads begin.
    pub whole: BTreeMap<Path, i64>,
    /// Those that end before.
    pub cut: BTreeMap<Path, i64>,
}

impl Counted {
    /// Groups stacks. A stack is whole if the root-side function is one that other stacks share as root: `_start` or
    /// that of a thread, which its name tells.
    pub fn of(stacks: &[Walked], code: &mut Code) -> Counted {
        let mut counted = Counted::default();
        for stack in stacks.iter().filter(|stack| !stack.places.is_empty()) {
            let path: Path = stack.places.iter().map(|place| code.function(place)).collect();
            let is_whole = stack.places.last().is_some_and(is_root);
            let group = if is_whole { &mut counted.whole } else { &mut counted.cut };
            *group.entry(path).or_default() += stack.samples;
        }
        counted
    }

    /// All samples.
    pub fn samples(&self) -> i64 {
        self.whole.values().chain(self.cut.values()).sum()
    }

    /// The hottest whole paths.
    pub fn hottest(&self, most: usize) -> Vec<(&Path, i64)> {
        let mut paths: Vec<(&Path, i64)> =
            self.whole.iter().map(|(path, &samples)| (path, samples)).collect();
        paths.sort_by_key(|&(path, samples)| (-samples, path));
        paths.truncate(most);
        paths
    }

    /// Deals the cut stacks of another tool out to the paths here whose leaf side they are, in proportion to how
    /// frequent these are. Gives the share of each path, and how many samples fit none.
    pub fn deal(&self, cut: &BTreeMap<Path, i64>) -> (BTreeMap<&Path, f64>, i64) {
        let mut dealt: BTreeMap<&Path, f64> = BTreeMap::new();
        let mut strangers = 0;
        for (part, &samples) in cut {
            let part = end_of_sense(part);
            let fitting: Vec<(&Path, i64)> = self
                .whole
                .iter()
                .filter(|(path, _)| !part.is_empty() && path.starts_with(part))
                .map(|(path, &samples)| (path, samples))
                .collect();
            let all: i64 = fitting.iter().map(|(_, samples)| samples).sum();
            if all == 0 {
                strangers += samples;
            }
            for (path, weight) in fitting {
                *dealt.entry(path).or_default() += samples as f64 * weight as f64 / all as f64;
            }
        }
        (dealt, strangers)
    }
}

/// A cut stack without root-side frames that are no code of a file: a walk that went astray may end in some.
fn end_of_sense(part: &[Function]) -> &[Function] {
    let end = part.iter().rposition(|function| function != "[generated]").map_or(0, |last| last + 1);
    &part[..end]
}

/// Whether a thread begins in this function.
fn is_root(place: &Place) -> bool {
    let name = super::names::plain(&place.name);
    ["_start", "clone", "clone3", "__clone", "__clone3", "__GI___clone", "__GI___clone3"].contains(&&*name)
}

/// Whether two counts out of two totals are shares of the same size, to three standard deviations of their difference.
pub fn agree(a: f64, of_a: f64, b: f64, of_b: f64) -> bool {
    let pooled = (a + b) / (of_a + of_b);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / of_a + 1.0 / of_b)).sqrt();
    (a / of_a - b / of_b).abs() <= 3.0 * deviation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str]) -> Path {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn cut_stacks_go_to_the_paths_that_they_are_the_leaf_side_of() {
        let (abc, abd) = (path(&["a", "b", "c"]), path(&["a", "b", "d"]));
        let counted = Counted { whole: [(abc.clone(), 30), (abd.clone(), 10)].into(), ..Counted::default() };
        let cut = [(path(&["a", "b", "[generated]"]), 8), (path(&["x"]), 3)].into();
        let (dealt, strangers) = counted.deal(&cut);
        assert_eq!((dealt[&abc], dealt[&abd], strangers), (6.0, 2.0, 3));
    }

    #[test]
    fn shares_agree_to_sampling_error() {
        assert!(agree(100.0, 1000.0, 120.0, 1000.0));
        assert!(!agree(100.0, 1000.0, 160.0, 1000.0));
        assert!(agree(0.0, 1000.0, 0.0, 1000.0));
    }
}
