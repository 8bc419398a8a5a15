//! The figures as a table, as JSON and as a drawing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::host::Measured;
use super::log::Start;
use crate::plot::{self, Bar, Bars};
use crate::stats::spread;

/// Figures by name, each with one value per run.
#[derive(Debug, Default)]
pub struct Figures {
    rows: Vec<(String, &'static str, Vec<f64>)>,
}

impl Figures {
    /// Adds a value to a figure.
    fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        let name = name.into();
        match self.rows.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., values)) => values.push(value),
            None => self.rows.push((name, unit, vec![value])),
        }
    }

    /// Adds a run that recorded the large binary; `cache` says what was in memory.
    pub fn add_binary(&mut self, cache: &str, start: &Start) {
        self.add_start(cache, start);
        if let Some(complete) = start.complete_ms {
            self.add(format!("{cache}: first complete stack"), "ms", complete);
        }
        self.add(format!("{cache}: samples before it that were not complete"), "", start.before as f64);
    }

    /// Adds a run that recorded the host.
    pub fn add_host(&mut self, measured: &Measured) {
        self.add_start("host", &measured.start);
        self.add("host: CPU time until the clocks tick", "ms", measured.cpu_ms);
        self.add("host: processes in the window", "", measured.processes as f64);
        self.add("host: user samples in the window", "", measured.user_samples as f64);
        let share = 100.0 * measured.complete as f64 / measured.user_samples.max(1) as f64;
        self.add("host: of these complete", "%", share);
        for (outcome, &samples) in &measured.others {
            self.add(
                format!("host: samples that ended {outcome}, in the runs with such"),
                "",
                samples as f64,
            );
        }
    }

    fn add_start(&mut self, what: &str, start: &Start) {
        self.add(format!("{what}: until the programs are loaded"), "ms", start.prepared_ms);
        for (name, &time) in &start.verified_ms {
            self.add(format!("{what}: loading {name}"), "ms", time);
        }
        self.add(format!("{what}: until the clocks tick"), "ms", start.ticking_ms);
    }

    /// A markdown table: median, least and greatest.
    pub fn table(&self) -> String {
        let mut text = String::from("| figure | median (least..greatest) |\n|---|---|\n");
        for (name, unit, values) in &self.rows {
            let [median, min, max] = spread(values).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {name} | {} |",
                format!("{median:.1} ({min:.1}..{max:.1}) {unit}").trim_end()
            );
        }
        text
    }

    /// A bar for each time until something happened, as SVG.
    pub fn svg(&self) -> String {
        let times = self.rows.iter().filter(|(name, unit, _)| *unit == "ms" && !name.contains(": loading "));
        let bar = |(name, _, values): &(String, &str, Vec<f64>)| {
            Some(Bar { name: name.clone(), ours: true, spread: spread(values)? })
        };
        let bars = times.filter_map(bar).collect();
        plot::bars(&[Bars { title: "ms".to_owned(), digits: 0, bars }])
    }

    /// The value of every run.
    pub fn json(&self) -> Value {
        let figures = self.rows.iter().map(|(name, unit, values)| {
            let [median, min, max] = spread(values).unwrap_or_default();
            (name.clone(), json!({ "unit": unit, "median": median, "min": min, "max": max, "runs": values }))
        });
        json!(figures.collect::<BTreeMap<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_median_of_all_runs() {
        let mut figures = Figures::default();
        for complete_ms in [Some(300.0), Some(500.0), Some(400.0)] {
            figures.add_binary("warm", &Start { complete_ms, ..Start::default() });
        }
        let table = figures.table();
        assert!(table.contains("| warm: first complete stack | 400.0 (300.0..500.0) ms |"), "{table}");
        assert_eq!(figures.svg().matches("<rect x=").count(), 3, "{}", figures.svg());
        assert_eq!(figures.json()["warm: first complete stack"]["runs"][1], 500.0);
    }
}
