//! The figures as a text table, as markdown and as JSON.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use super::stats::Spread;
use super::{floor, profiler};

/// All runs.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// `uname -r`.
    pub(super) kernel: String,
    /// CPUs that were sampled.
    pub(super) cpus: usize,
    /// Length of a run.
    pub(super) seconds: u64,
    /// One per rate.
    pub(super) rows: Vec<Row>,
}

/// All runs at one rate, in the order in which they took turns.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// Samples per second and CPU.
    pub(super) rate: u64,
    /// Runs of the floor.
    pub(super) floor: Vec<floor::Measured>,
    /// Runs of the floor that counts stacks.
    pub(super) stacks: Vec<floor::Measured>,
    /// Runs of the profiler.
    pub(super) profiler: Vec<profiler::Measured>,
}

impl Row {
    /// No runs yet.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate, floor: Vec::new(), stacks: Vec::new(), profiler: Vec::new() }
    }
}

/// One line of the table: what was measured, at the floors (where they have it) and for the profiler.
#[derive(Debug, Serialize)]
struct Line {
    rate: u64,
    figure: &'static str,
    unit: &'static str,
    floor: Option<Spread>,
    stacks: Option<Spread>,
    profiler: Option<Spread>,
}

const MEBIBYTE: f64 = 1024.0 * 1024.0;

fn lines(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    for Row { rate, floor, stacks, profiler } in &report.rows {
        let of_profiler = |figure: fn(&profiler::Measured) -> f64| Spread::of(profiler.iter().map(figure));
        let mut line = |figure, unit, of_floor: Option<fn(&floor::Measured) -> f64>, profiler| {
            let spread = |runs: &[floor::Measured]| Spread::of(runs.iter().map(of_floor?));
            let (floor, stacks) = (spread(floor), spread(stacks));
            lines.push(Line { rate: *rate, figure, unit, floor, stacks, profiler });
        };
        line("ticks per run", "", Some(|m| m.ticks as f64), of_profiler(|m| m.ticks as f64));
        line(
            "kernel time per sample",
            "ns",
            Some(|m| m.kernel_ns_per_sample),
            of_profiler(|m| m.kernel_ns_per_sample),
        );
        line(
            "BPF map memory",
            "MiB",
            Some(|m| m.map_bytes as f64 / MEBIBYTE),
            of_profiler(|m| m.map_bytes as f64 / MEBIBYTE),
        );
        line("user CPU per minute", "s", None, of_profiler(|m| m.user_seconds_per_minute));
        line("user and system CPU per minute", "s", None, of_profiler(|m| m.cpu_seconds_per_minute));
        line("peak resident memory", "MiB", None, of_profiler(|m| m.peak_rss_bytes as f64 / MEBIBYTE));
    }
    lines
}

/// `median (min..max) unit`, with as many digits as say something.
fn show(spread: Option<Spread>, unit: &str) -> String {
    let Some(Spread { median, min, max }) = spread else { return "-".to_owned() };
    let digits = if max < 10.0 { 3 } else { usize::from(max < 100.0) };
    let text = format!("{median:.digits$} ({min:.digits$}..{max:.digits$}) {unit}");
    text.trim_end().to_owned()
}

/// The cells of the table, its head first.
fn cells(report: &Report) -> Vec<[String; 5]> {
    let head = ["rate", "figure", "counts ticks", "counts stacks by frame pointers", "profiler"];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(lines(report).iter().map(|line| {
        [
            format!("{} Hz", line.rate),
            line.figure.to_owned(),
            show(line.floor, line.unit),
            show(line.stacks, line.unit),
            show(line.profiler, line.unit),
        ]
    }));
    cells
}

fn caption(report: &Report) -> String {
    let runs = report.rows.iter().map(|row| row.profiler.len()).min().unwrap_or(0);
    format!(
        "Linux {}, {} CPUs, {runs} runs of {} s each; median (least..greatest).",
        report.kernel, report.cpus, report.seconds
    )
}

/// A table for a terminal.
pub(super) fn text(report: &Report) -> String {
    let cells = cells(report);
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3), width(4)];
    let mut text = format!("{}\n\n", caption(report));
    for row in &cells {
        let line: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The same table for docs/benchmarks.md, with the command that makes it.
pub(super) fn markdown(report: &Report) -> String {
    let rates: Vec<String> = report.rows.iter().map(|row| row.rate.to_string()).collect();
    let runs = report.rows.iter().map(|row| row.profiler.len()).min().unwrap_or(0);
    let mut text = format!(
        "{} Made by `cargo xtask bench --seconds {} --runs {runs} --rates {}`.\n\n",
        caption(report),
        report.seconds,
        rates.join(",")
    );
    for (number, row) in cells(report).iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if number == 0 {
            text.push_str("|---|---|---|---|---|\n");
        }
    }
    text
}

/// The table's figures, and those of every run.
pub(super) fn json(report: &Report) -> Result<String> {
    #[derive(Serialize)]
    struct Shown<'a> {
        summary: Vec<Line>,
        #[serde(flatten)]
        report: &'a Report,
    }
    Ok(serde_json::to_string_pretty(&Shown { summary: lines(report), report })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let floor = |ns| floor::Measured { ticks: 100, kernel_ns_per_sample: ns, map_bytes: 1 << 20 };
        let profiler = |ns| profiler::Measured {
            ticks: 100,
            kernel_ns_per_sample: ns,
            cpu_seconds_per_minute: 0.5,
            user_seconds_per_minute: 0.25,
            peak_rss_bytes: 64 << 20,
            map_bytes: 32 << 20,
        };
        Report {
            kernel: "6.1.0".to_owned(),
            cpus: 2,
            seconds: 20,
            rows: vec![Row {
                rate: 99,
                floor: vec![floor(60.0), floor(50.0), floor(70.0)],
                stacks: vec![floor(400.0), floor(500.0), floor(600.0)],
                profiler: vec![profiler(900.0), profiler(1100.0), profiler(1000.0)],
            }],
        }
    }

    #[test]
    fn the_table_sets_the_profiler_beside_the_floors() {
        let text = text(&report());
        assert!(text.starts_with("Linux 6.1.0, 2 CPUs, 3 runs of 20 s each"), "{text}");
        let line = text.lines().find(|line| line.contains("kernel time per sample")).unwrap();
        assert!(line.contains("60.0 (50.0..70.0) ns") && line.contains("500 (400..600) ns"), "{line}");
        assert!(line.ends_with("1000 (900..1100) ns"), "{line}");
    }

    #[test]
    fn the_markdown_table_has_five_columns_throughout() {
        let markdown = markdown(&report());
        assert!(markdown.contains("--seconds 20 --runs 3 --rates 99"));
        assert!(markdown.lines().skip(2).all(|line| line.matches('|').count() == 6), "{markdown}");
    }

    #[test]
    fn json_keeps_every_run() {
        let value: serde_json::Value = serde_json::from_str(&json(&report()).unwrap()).unwrap();
        assert_eq!(value["rows"][0]["profiler"].as_array().unwrap().len(), 3);
        assert_eq!(value["summary"][1]["profiler"]["median"], 1000.0);
    }
}
