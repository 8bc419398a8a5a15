//! `profiler tree` and `profiler peek`.

use super::{Paint, heat, opening, push_line, rows_left_out, safe, summary};
use crate::report::graph::Edge;
use crate::report::measure::percentage;
use crate::report::tree::TreeReport;

const SEPARATOR: &str = "----------------------------------------------------------+-------------";

/// The tree of [`crate::report::tree::tree`], with a line feed at its end: each function between its callers and its
/// callees, whose shares are those of the function's own cumulative value.
#[must_use]
pub fn tree(report: &TreeReport, paint: Paint) -> String {
    let TreeReport { header, filters, unmatched: _, numbers, heading, graph, chosen } = report;
    let total = header.total;
    let mut out = String::new();
    let mut lines = opening(*heading, header, numbers);
    lines.extend(summary(header, filters, graph.shown(), numbers));
    lines.extend(rows_left_out(header, &graph.dropped, (graph.nodes.len(), graph.nodes_in_all), numbers));
    for line in lines {
        push_line(&mut out, &safe(&line));
    }
    push_line(&mut out, SEPARATOR);
    let columns = format!(
        "{:>10} {:>6} {:>6} {:>10} {:>6} {:>7} {:>6} + context",
        "flat", "flat%", "sum%", "cum", "cum%", "calls", "calls%"
    );
    push_line(&mut out, &paint.wrap("1", &columns));
    let mut sum = 0_i64;
    for node in chosen.iter().filter_map(|&node| graph.nodes.get(node)) {
        push_line(&mut out, SEPARATOR);
        let call = |edge: &Edge, other: usize| {
            let weight =
                format!("{:>50} {:>6}", numbers.value(edge.weight), percentage(edge.weight, node.cum));
            let inlined = if edge.inlined { paint.wrap("2", " (inline)") } else { String::new() };
            format!("{weight} |   {}{inlined}", safe(&graph.name(other)))
        };
        for edge in node.callers.iter().filter_map(|&edge| graph.edges.get(edge)) {
            push_line(&mut out, &call(edge, edge.from));
        }
        sum = sum.saturating_add(node.flat);
        let row = format!(
            "{:>10} {:>6} {:>6} {:>10} {:>6}                | {}",
            numbers.value(node.flat),
            percentage(node.flat, total),
            percentage(sum, total),
            numbers.value(node.cum),
            percentage(node.cum, total),
            safe(&graph.name(node.place))
        );
        let code = heat(node.flat, total);
        push_line(&mut out, &paint.wrap(if code.is_empty() { "1" } else { code }, &row));
        for edge in node.callees.iter().filter_map(|&edge| graph.edges.get(edge)) {
            push_line(&mut out, &call(edge, edge.to));
        }
    }
    if !chosen.is_empty() {
        push_line(&mut out, SEPARATOR);
    }
    out
}

/// The functions of [`crate::report::tree::peek`], as in the tree.
#[must_use]
pub fn peek(report: &TreeReport, paint: Paint) -> String {
    tree(report, paint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::fixture;
    use crate::report::order::Sort;
    use crate::report::subject::Lens;
    use crate::report::tree::peek as report;

    #[test]
    fn reads_like_pprof() {
        let regex = regex::Regex::new("^work$").unwrap();
        let report = report(&fixture::two_threads(), &Lens::default(), Sort::Flat, &regex).unwrap();
        assert_eq!(
            peek(&report, Paint::Plain),
            "\
File: app
Build ID: abcdef
Type: cpu
Time: 2023-11-14 22:13:20 UTC
Duration: 1s, Total samples = 60ms (6.00%)
Showing nodes accounting for 60ms, 100% of 60ms total
----------------------------------------------------------+-------------
      flat  flat%   sum%        cum   cum%   calls calls% + context
----------------------------------------------------------+-------------
                                              60ms   100% |   main
      10ms 16.67% 16.67%       60ms   100%                | work
                                              50ms 83.33% |   inlined (inline)
----------------------------------------------------------+-------------
"
        );
        assert!(peek(&report, Paint::Colours).contains("\x1b[31m"));
    }
}
