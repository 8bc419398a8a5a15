//! Functions with their callers and callees: google/pprof's `-tree`, and `-peek` for some of them.

use regex::Regex;

use super::boxes::Labelled;
use super::graph::Graph;
use super::header::Header;
use super::measure::truncated;
use super::node::Objects;
use super::numbers::{Numbers, Shown};
use super::order::Sort;
use super::subject::{Heading, Lens, ReportError, Subject};
use super::trim::{Besides, Purpose, Trim, graph};
use crate::profile::proto::Profile;

/// What to show, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the profile is looked at.
    pub lens: Lens,
    /// What is left out.
    pub trim: Trim,
    /// A text, or a drawing.
    pub purpose: Purpose,
}

impl Default for Options {
    fn default() -> Options {
        Options { lens: Lens::default(), trim: Trim::GRAPH, purpose: Purpose::Text(Sort::Flat) }
    }
}

/// The call graph with what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeReport {
    /// The profile, the value and its total.
    pub header: Header,
    /// The filters that were applied, as `focus=regex`.
    pub filters: Vec<String>,
    /// Options that matched nothing.
    pub unmatched: Vec<&'static str>,
    /// Writes the values.
    pub numbers: Numbers,
    /// What stands on top of the table; a drawing always has it all.
    pub heading: Heading,
    /// Nodes and edges.
    pub graph: Graph,
    /// Which nodes are shown, by their index; all of them, unless some were asked for.
    pub chosen: Vec<usize>,
}

/// Makes the graph.
///
/// # Errors
/// The profile is inconsistent, or does not have the value that is asked for.
pub fn tree(profile: &Profile, options: &Options) -> Result<TreeReport, ReportError> {
    make(profile, options, None)
}

/// Makes the graph; with a regex, calls are those only from and to what it matches.
fn make(profile: &Profile, options: &Options, regex: Option<&Regex>) -> Result<TreeReport, ReportError> {
    let Options { lens, trim, purpose } = options;
    let subject = Subject::new(profile, lens)?;
    let nodes = subject.nodes(lens, Objects::Merged)?;
    let weighted = subject.weighted();
    let unit = match &lens.unit {
        Shown::Fitting => None,
        Shown::Fixed(unit) => Some(unit.as_str()),
    };
    let labelled = (*purpose == Purpose::Drawing).then(|| Labelled::find(&subject.profile, &weighted, unit));
    let divisors = subject.divisors(lens);
    let wanted: Option<Vec<bool>> =
        regex.map(|regex| nodes.places().iter().map(|place| regex.is_match(&place.name())).collect());
    let besides =
        Besides { labelled: labelled.as_ref(), divisors: divisors.as_deref(), wanted: wanted.as_deref() };
    let mut graph = graph(&nodes, &weighted, *trim, *purpose, lens.negative, besides);
    // The bounds that pprof writes are shares of the whole profile's total, though it compares with shares of what the
    // filters leave.
    let bound = |fraction| truncated(subject.header.total, fraction).saturating_abs();
    graph.dropped.node_cutoff = bound(trim.node_fraction);
    graph.dropped.edge_cutoff = bound(trim.edge_fraction);
    let rows = graph.nodes.iter().map(|node| (node.flat, node.cum));
    let numbers = subject.numbers.fitted(rows, subject.header.total);
    let Subject { header, filters, unmatched, .. } = subject;
    let chosen = (0..graph.nodes.len()).collect();
    Ok(TreeReport { header, filters, unmatched, numbers, heading: lens.heading, graph, chosen })
}

/// Makes the graph, and chooses those whose name matches; nothing is left out for being small.
///
/// # Errors
/// As [`tree`], or nothing matches.
pub fn peek(profile: &Profile, lens: &Lens, sort: Sort, regex: &Regex) -> Result<TreeReport, ReportError> {
    let options = Options { lens: lens.clone(), trim: Trim::NOTHING, purpose: Purpose::Text(sort) };
    let mut report = make(profile, &options, Some(regex))?;
    let graph = &report.graph;
    let matches =
        |&node: &usize| graph.nodes.get(node).is_some_and(|node| regex.is_match(&graph.name(node.place)));
    report.chosen = report.chosen.iter().copied().filter(matches).collect();
    if report.chosen.is_empty() {
        return Err(ReportError::NoMatch(regex.as_str().to_owned()));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;

    fn lines(report: &TreeReport) -> Vec<String> {
        let TreeReport { graph, chosen, .. } = report;
        let edge = |&edge: &usize| {
            let edge = &graph.edges[edge];
            let mark = if edge.inlined { "~" } else { "" };
            format!("{}>{}{mark} {}", graph.name(edge.from), graph.name(edge.to), edge.weight)
        };
        let node = |&node: &usize| {
            let node = &graph.nodes[node];
            let edges: Vec<String> = node.callers.iter().chain(&node.callees).map(edge).collect();
            format!("{} {} {}: {}", graph.name(node.place), node.flat, node.cum, edges.join(", "))
        };
        chosen.iter().map(node).collect()
    }

    fn counts() -> Lens {
        Lens { sample_index: Some("samples".to_owned()), ..Lens::default() }
    }

    #[test]
    fn callers_and_callees() {
        let options = Options { lens: counts(), ..Options::default() };
        assert_eq!(
            lines(&tree(&fixture::two_threads(), &options).unwrap()),
            [
                "inlined 3 5: work>inlined~ 5, inlined>[[vdso]] 2",
                "[[vdso]] 2 2: inlined>[[vdso]] 2",
                "work 1 6: main>work 6, work>inlined~ 5",
                "main 0 6: main>work 6",
            ]
        );
    }

    #[test]
    fn peek_chooses_by_name() {
        let regex = Regex::new("^work$").unwrap();
        let report = peek(&fixture::two_threads(), &counts(), Sort::Flat, &regex).unwrap();
        assert_eq!(lines(&report), ["work 1 6: main>work 6, work>inlined~ 5"]);
        let regex = Regex::new("nobody").unwrap();
        let error = peek(&fixture::two_threads(), &counts(), Sort::Flat, &regex).unwrap_err();
        assert!(error.to_string().starts_with("no function matches \"nobody\""), "{error}");
    }
}
