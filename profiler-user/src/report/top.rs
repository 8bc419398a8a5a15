//! The hottest rows of a profile, with the numbers of `go tool pprof -top`. Small rows are only dropped where that is
//! asked for; otherwise the number of rows alone decides, as with pprof's `-nodefraction=0 -edgefraction=0`.

use hashbrown::HashMap;

use super::graph::{Dropped, Graph, weigh};
use super::header::Header;
use super::measure::truncated;
use super::node::{Nodes, Objects, Place};
use super::numbers::Numbers;
pub use super::order::Sort;
use super::order::{self, Weight};
use super::subject::{Heading, Lens, ReportError, Subject};
use super::trim::{Besides, Purpose, Trim, graph};
use crate::profile::proto::{Profile, Sample};

/// What to show, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How the profile is looked at.
    pub lens: Lens,
    /// What rows are sorted by.
    pub sort: Sort,
    /// How many rows; `None` for all of them.
    pub rows: Option<usize>,
    /// Leave out rows whose cumulative value is below this share of the total; calls from them are those of their
    /// callers. With 0 nothing is left out.
    pub node_fraction: f64,
    /// Calls below this share do not tell whether a function was inlined.
    pub edge_fraction: f64,
}

/// The table.
#[derive(Clone, Debug, PartialEq)]
pub struct TopReport {
    /// The profile, the value and its total.
    pub header: Header,
    /// The filters that were applied, as `focus=regex`.
    pub filters: Vec<String>,
    /// Options that matched nothing.
    pub unmatched: Vec<&'static str>,
    /// Writes the values.
    pub numbers: Numbers,
    /// What stands on top of the table.
    pub heading: Heading,
    /// What was left out for being small.
    pub dropped: Dropped,
    /// The rows that are shown, in order.
    pub rows: Vec<TopRow>,
    /// How many rows there are, shown or not.
    pub rows_in_all: usize,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    /// Where it is.
    pub place: Place<'static>,
    /// Whether it was inlined.
    pub inlined: Inlined,
    /// Value of the samples that end here.
    pub flat: i64,
    /// Sum of `flat` over this row and those above it.
    pub sum: i64,
    /// Value of the samples that have this anywhere in their stack, each counted once.
    pub cum: i64,
}

/// Whether a function was inlined into its callers, those that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Inlined {
    /// Into none.
    No,
    /// Into some.
    Partly,
    /// Into all.
    Always,
}

impl Inlined {
    /// By whether there are calls where it was inlined, and others.
    fn of(some: bool, others: bool) -> Inlined {
        match (some, others) {
            (true, false) => Inlined::Always,
            (true, true) => Inlined::Partly,
            (false, _) => Inlined::No,
        }
    }
}

/// Makes the table.
///
/// # Errors
/// The profile is inconsistent, or does not have the value that is asked for.
pub fn top(profile: &Profile, options: &Options) -> Result<TopReport, ReportError> {
    let &Options { ref lens, sort: by, rows, node_fraction, edge_fraction } = options;
    let subject = Subject::new(profile, lens)?;
    let nodes = subject.nodes(lens, Objects::Merged)?;
    let weighted = subject.weighted();
    let divisors = subject.divisors(lens);
    if node_fraction > 0.0 || edge_fraction > 0.0 || divisors.is_some() {
        let trim = Trim { nodes: rows, node_fraction, edge_fraction };
        let besides = Besides { divisors: divisors.as_deref(), ..Besides::default() };
        let graph = graph(&nodes, &weighted, trim, Purpose::Text(by), lens.negative, besides);
        return Ok(of_graph(&subject, lens, &graph, node_fraction));
    }
    let mut weights = weigh(&nodes, &weighted);
    weights.retain(|weight| {
        (weight.flat != 0 || weight.cum != 0) && !lens.negative.drops(weight.flat, weight.cum)
    });
    order::sort(&mut weights, nodes.places(), |weight| by.keys(weight.flat, weight.cum));
    let rows_in_all = weights.len();
    weights.truncate(rows.unwrap_or(usize::MAX));
    let inlined = inlining(&nodes, &weighted, &weights, weights.len() < rows_in_all);
    let mut sum = 0_i64;
    let rows = weights.iter().zip(inlined).filter_map(|(weight, inlined)| {
        let &Weight { node, flat, cum } = weight;
        sum = sum.saturating_add(flat);
        Some(TopRow { place: nodes.places().get(node)?.clone().into_owned(), inlined, flat, sum, cum })
    });
    let rows: Vec<TopRow> = rows.collect();
    Ok(report(&subject, lens, Dropped::default(), rows, rows_in_all))
}

fn report(
    subject: &Subject<'_>,
    lens: &Lens,
    dropped: Dropped,
    rows: Vec<TopRow>,
    rows_in_all: usize,
) -> TopReport {
    let values = rows.iter().map(|row| (row.flat, row.cum));
    let numbers = subject.numbers.fitted(values, subject.header.total);
    let Subject { header, filters, unmatched, .. } = subject;
    TopReport {
        header: header.clone(),
        filters: filters.clone(),
        unmatched: unmatched.clone(),
        numbers,
        heading: lens.heading,
        dropped,
        rows,
        rows_in_all,
    }
}

/// The rows of a graph from which small nodes and edges are gone.
fn of_graph(subject: &Subject<'_>, lens: &Lens, graph: &Graph, node_fraction: f64) -> TopReport {
    let mut sum = 0_i64;
    let rows = graph.nodes.iter().filter_map(|node| {
        let calls = node.callers.iter().filter_map(|&edge| graph.edges.get(edge));
        let (some, others) =
            calls.fold((false, false), |(some, others), edge| (some | edge.inlined, others | !edge.inlined));
        let inlined = Inlined::of(some, others);
        sum = sum.saturating_add(node.flat);
        let place = graph.places.get(node.place)?.clone();
        Some(TopRow { place, inlined, flat: node.flat, sum, cum: node.cum })
    });
    // As it is written, the bound is a share of the whole profile's total.
    let node_cutoff = truncated(subject.header.total, node_fraction).saturating_abs();
    let dropped = Dropped { node_cutoff, ..graph.dropped };
    report(subject, lens, dropped, rows.collect(), graph.nodes_in_all)
}

/// For each of the rows whether it was inlined. Only callers that have a row count; a caller's caller does where the
/// caller has none.
fn inlining(nodes: &Nodes<'_>, samples: &[(&Sample, i64)], rows: &[Weight], cut: bool) -> Vec<Inlined> {
    // While nothing is cut off, what has no row (for its values cancel out or are negative) is a caller, too.
    let mut kept = vec![!cut; nodes.places().len()];
    for row in rows {
        if let Some(kept) = kept.get_mut(row.node) {
            *kept = true;
        }
    }
    // By caller and callee: the last sample with this call, and whether it was inlined in all samples.
    let mut calls: HashMap<(usize, usize), (usize, bool)> = HashMap::new();
    for (number, (sample, _)) in samples.iter().enumerate() {
        let mut caller = None;
        for frame in nodes.frames(sample).filter(|frame| kept.get(frame.node).copied().unwrap_or_default()) {
            if let Some(caller) = caller.filter(|&caller| caller != frame.node) {
                let (last, inlined) = calls.entry((caller, frame.node)).or_insert((usize::MAX, true));
                // As in pprof, the outermost call of a sample speaks for all equal ones in it.
                if *last != number {
                    *last = number;
                    *inlined &= frame.inlined;
                }
            }
            caller = Some(frame.node);
        }
    }
    let mut seen: HashMap<usize, (bool, bool)> = HashMap::new();
    for ((_, callee), (_, inlined)) in calls {
        let (some, others) = seen.entry(callee).or_default();
        *some |= inlined;
        *others |= !inlined;
    }
    let verdict = |row: &Weight| {
        let (some, others) = seen.get(&row.node).copied().unwrap_or_default();
        Inlined::of(some, others)
    };
    rows.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests;
