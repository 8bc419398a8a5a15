//! One function with all its callers and all its callees, over all the ways that lead to it.

use super::tree::{Load, Tree};
use super::{FlameFrame, FlameReport};
use crate::report::node::Place;
use crate::report::subject::ReportError;

/// Both halves have the function as the only child of their root, with the same values.
#[derive(Clone, Debug, PartialEq)]
pub struct Sandwich {
    /// What it calls: its callees, and theirs.
    pub callees: FlameReport,
    /// The other way: its callers, and theirs. `own` is the value of ways that begin there.
    pub callers: FlameReport,
}

/// Cuts a tree at all frames with this name. Where the function calls itself, the outermost call speaks for all, so that
/// each sample counts once.
///
/// # Errors
/// Nothing has this name.
pub fn sandwich(report: &FlameReport, name: &str) -> Result<Sandwich, ReportError> {
    let names: Vec<String> = report.places.iter().map(Place::name).collect();
    let is_wanted: Vec<bool> = names.iter().map(|one| one == name).collect();
    // In a comparison two binaries may each have such a function; here they are one.
    let function = is_wanted.iter().position(|&wanted| wanted);
    let merged = |place: usize| {
        let wanted = is_wanted.get(place).copied().unwrap_or_default();
        if wanted { function.unwrap_or(place) } else { place }
    };
    let (mut callees, mut callers) = (Tree::default(), Tree::default());
    // The way from the root to the current frame; and from the function on, the nodes of the callees' tree.
    let mut way: Vec<&FlameFrame> = Vec::new();
    let mut below: Vec<usize> = Vec::new();
    let mut cut: Option<usize> = None;
    let mut found = false;
    for frame in &report.frames {
        way.truncate(frame.depth);
        if cut.is_some_and(|depth| frame.depth <= depth) {
            cut = None;
        }
        way.push(frame);
        let Some(place) = frame.place else { continue };
        let load = Load { value: frame.total, base: frame.base, ticks: frame.ticks };
        if cut.is_none() && is_wanted.get(place).copied().unwrap_or_default() {
            found = true;
            cut = Some(frame.depth);
            below = vec![0];
            callees.count(0, load);
            let stack = way.iter().rev().filter_map(|frame| Some((merged(frame.place?), frame.inlined)));
            callers.add(stack, load);
        }
        if let Some(depth) = cut {
            below.truncate(frame.depth - depth + 1);
            let parent = below.last().copied().unwrap_or_default();
            let node = callees.child(parent, merged(place), frame.inlined);
            callees.count(node, load);
            callees.count_own(node, frame.own);
            below.push(node);
        }
    }
    if !found {
        return Err(ReportError::NoMatch(name.to_owned()));
    }
    let part = |tree: &Tree| report.with_frames(tree.frames(&names, report.kind, report.judge.as_ref()));
    Ok(Sandwich { callees: part(&callees), callers: part(&callers) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::flame::flame;
    use crate::report::subject::Lens;

    fn lines(report: &FlameReport) -> Vec<String> {
        let line = |frame: &FlameFrame| {
            format!("{}{} {} {}", " ".repeat(frame.depth), report.name(frame), frame.own, frame.total)
        };
        report.frames.iter().map(line).collect()
    }

    fn counts() -> Lens {
        Lens { sample_index: Some("samples".to_owned()), ..Lens::default() }
    }

    #[test]
    fn callers_and_callees_have_the_functions_values() {
        let report = flame(&fixture::two_threads(), &counts()).unwrap();
        let Sandwich { callees, callers } = sandwich(&report, "work").unwrap();
        assert_eq!(lines(&callees), ["all 0 6", " work 1 6", "  inlined 3 5", "   [[vdso]] 2 2"]);
        assert_eq!(lines(&callers), ["all 0 6", " work 0 6", "  main 6 6"]);
        let error = sandwich(&report, "nobody").unwrap_err();
        assert_eq!(error, ReportError::NoMatch("nobody".to_owned()));
    }

    #[test]
    fn several_ways_are_joined_and_recursion_counts_once() {
        let mut profile = fixture::two_threads();
        // main -> work -> main -> work: 3; main: 1; [vdso] -> main: 2.
        profile.sample[0].location_id = vec![3, 1, 3, 1];
        profile.sample[1].location_id = vec![1];
        profile.sample[2].location_id = vec![1, 4];
        let report = flame(&profile, &counts()).unwrap();
        let Sandwich { callees, callers } = sandwich(&report, "main").unwrap();
        assert_eq!(lines(&callees), ["all 0 6", " main 3 6", "  work 0 3", "   main 0 3", "    work 3 3"]);
        assert_eq!(lines(&callers), ["all 0 6", " main 4 6", "  [[vdso]] 2 2"]);
    }

    #[test]
    fn a_comparison_keeps_both_sides() {
        let base = fixture::two_threads();
        let mut other = base.clone();
        other.sample[2].value = vec![200, 2_000_000_000];
        let normalize = crate::report::diff::Normalize::Absolute;
        let report = crate::report::diff::overlaid(&base, &other, &Lens::default(), normalize).unwrap();
        let Sandwich { callees, callers } = sandwich(&report, "inlined").unwrap();
        let function = callees.frames.get(1).unwrap();
        assert_eq!((function.base, function.total), (50_000_000, 2_030_000_000));
        assert_eq!(callers.frames.get(1).unwrap().ticks, [5.0, 203.0]);
        assert_eq!(function.verdict, crate::report::diff::Verdict::More);
    }
}
