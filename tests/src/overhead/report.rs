//! The figures as a table, as JSON and as a drawing.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Turn;
use super::tool::{Tool, version};
use crate::plot::{self, Bar, Bars};
use crate::stats::spread;

/// A figure of one turn.
type Figure = fn(&Turn, f64) -> Option<f64>;

/// Figures, with their units and the digits that say something.
const FIGURES: [(&str, &str, usize, Figure); 9] = [
    ("CPU time", "s", 3, |turn, _| {
        Some(turn.cost.cpu_seconds + turn.cost.bpf_seconds + turn.cost.unwind_seconds)
    }),
    ("of it in BPF programs", "s", 3, |turn, _| (turn.cost.bpf_runs > 0).then_some(turn.cost.bpf_seconds)),
    ("kernel time per tick", "µs", 1, |turn, _| {
        (turn.cost.bpf_runs > 0).then(|| turn.cost.bpf_seconds * 1e6 / turn.cost.bpf_runs as f64)
    }),
    ("CPU time before, to start", "s", 2, |turn, _| {
        (turn.cost.bpf_runs > 0).then_some(turn.cost.start_seconds)
    }),
    ("of the CPU time, to unwind afterwards", "s", 3, |turn, _| {
        (turn.cost.unwind_seconds > 0.0).then_some(turn.cost.unwind_seconds)
    }),
    ("memory", "MiB", 0, |turn, _| Some(turn.cost.memory as f64 / 1_048_576.0)),
    ("samples of user code", "", 0, |turn, _| turn.seen.map(|seen| seen.samples as f64)),
    ("of them whole", "%", 1, |turn, _| turn.seen.map(super::stacks::Seen::percent)),
    ("speed of a target", "%", 1, |turn, undisturbed| Some(100.0 * turn.speed / undisturbed)),
];

/// Places in [`FIGURES`] of the two that are drawn and compared.
const CPU_TIME: usize = 0;
const MEMORY: usize = 5;

/// All turns.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Linux, by its release.
    pub kernel: String,
    /// CPUs of the host.
    pub cpus: i64,
    /// Length of a turn.
    pub seconds: u32,
    /// By rate, in the order in which they were measured.
    pub rates: Vec<Rate>,
}

/// All turns at one rate.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rate {
    /// Samples per second and CPU.
    pub hertz: u32,
    /// Rounds per CPU second of the target without a profiler, in each turn.
    pub undisturbed: Vec<f64>,
    /// The profilers that gave an answer.
    pub tools: Vec<Turns>,
}

/// All turns of one profiler at one rate.
#[derive(Debug, Serialize, Deserialize)]
pub struct Turns {
    /// Its name.
    pub name: String,
    /// What it says of its version.
    pub version: String,
    /// Whether it unwinds code that keeps no frame pointers.
    pub without_frame_pointers: bool,
    /// One after the other.
    pub turns: Vec<Turn>,
}

impl Report {
    /// Without turns.
    pub fn new(seconds: u32) -> Report {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Report {
            kernel: kernel.trim().to_owned(),
            cpus: crate::cpu::online_cpus(),
            seconds,
            rates: Vec::new(),
        }
    }

    /// The turns at a rate, so far.
    pub fn rate(&mut self, hertz: u32) -> &mut Rate {
        let found = self.rates.iter().position(|rate| rate.hertz == hertz);
        let place = found.unwrap_or_else(|| {
            self.rates.push(Rate { hertz, undisturbed: Vec::new(), tools: Vec::new() });
            self.rates.len() - 1
        });
        &mut self.rates[place]
    }

    /// A markdown table for each rate, and how the first profiler, which is ours, stands beside the others.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for rate in &self.rates {
            let runs = rate.tools.iter().map(|tool| tool.turns.len()).min().unwrap_or(0);
            let _ = writeln!(
                text,
                "{} Hz, Linux {}, {} CPUs, {runs} turns of {} s each; median (least..greatest).\n\n{}\n{}",
                rate.hertz,
                self.kernel,
                self.cpus,
                self.seconds,
                rate.table(),
                rate.ratios()
            );
        }
        let tools = self.rates.iter().flat_map(|rate| &rate.tools);
        let versions: std::collections::BTreeSet<String> =
            tools.map(|tool| format!("{}: {}", tool.name, tool.version)).collect();
        for version in versions {
            let _ = writeln!(text, "{version}");
        }
        text
    }

    /// Everything, with each turn's figures.
    pub fn json(&self) -> String {
        let mut value = json!(self);
        for (rate, shown) in self.rates.iter().zip(value["rates"].as_array_mut().into_iter().flatten()) {
            for (tool, shown) in rate.tools.iter().zip(shown["tools"].as_array_mut().into_iter().flatten()) {
                shown["summary"] = rate.summary(tool);
            }
        }
        format!("{value:#}\n")
    }

    /// A bar for each tool at each rate: its CPU time, and its memory, as SVG.
    pub fn svg(&self) -> String {
        let groups = self.rates.iter().flat_map(|rate| {
            [CPU_TIME, MEMORY].map(|figure| {
                let (name, unit, digits, of) = FIGURES[figure];
                let during =
                    if figure == CPU_TIME { format!(" of {} s", self.seconds) } else { String::new() };
                let bar = |tool: &Turns| {
                    let spread = rate.figures(&tool.turns, of)?;
                    Some(Bar { name: tool.name.clone(), ours: tool.name.starts_with("profiler "), spread })
                };
                Bars {
                    title: format!("{name}, {unit}{during}, {} Hz", rate.hertz),
                    digits,
                    bars: rate.tools.iter().filter_map(bar).collect(),
                }
            })
        });
        plot::bars(&groups.collect::<Vec<_>>())
    }
}

impl Rate {
    /// Adds a turn.
    pub fn add(&mut self, tool: &Tool, turn: Turn) {
        match self.tools.iter_mut().find(|turns| turns.name == tool.name) {
            Some(turns) => turns.turns.push(turn),
            None => self.tools.push(Turns {
                name: tool.name.to_owned(),
                version: version(tool),
                without_frame_pointers: tool.without_frame_pointers,
                turns: vec![turn],
            }),
        }
    }

    fn figures(&self, turns: &[Turn], figure: Figure) -> Option<[f64; 3]> {
        let undisturbed = spread(&self.undisturbed).map_or(1.0, |[median, ..]| median);
        spread(&turns.iter().filter_map(|turn| figure(turn, undisturbed)).collect::<Vec<_>>())
    }

    fn median(&self, tool: &Turns, figure: usize) -> Option<f64> {
        self.figures(&tool.turns, FIGURES[figure].3).map(|[median, ..]| median)
    }

    /// A row for each tool.
    fn table(&self) -> String {
        let mut text = String::from("| profiler | no frame pointers needed |");
        for (name, ..) in FIGURES {
            let _ = write!(text, " {name} |");
        }
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(FIGURES.len()));
        for tool in &self.tools {
            let _ = write!(
                text,
                "| {} | {} |",
                tool.name,
                if tool.without_frame_pointers { "yes" } else { "no" }
            );
            for (_, unit, digits, figure) in FIGURES {
                let _ = match self.figures(&tool.turns, figure) {
                    Some([median, least, greatest]) => {
                        let shown =
                            format!("{median:.digits$} ({least:.digits$}..{greatest:.digits$}) {unit}");
                        write!(text, " {} |", shown.trim_end())
                    }
                    None => write!(text, " - |"),
                };
            }
            text.push('\n');
        }
        text
    }

    /// The first profiler beside the others that need no frame pointers.
    fn ratios(&self) -> String {
        let mut text = String::new();
        let Some((first, others)) = self.tools.split_first() else { return text };
        for other in others.iter().filter(|other| other.without_frame_pointers) {
            // CPU time without the start: it is paid once, and a run of a minute would make much of it.
            let share = |figure| Some(100.0 * self.median(first, figure)? / self.median(other, figure)?);
            if let (Some(cpu), Some(memory)) = (share(CPU_TIME), share(MEMORY)) {
                let _ = writeln!(
                    text,
                    "{} takes {cpu:.0} % of the CPU time and {memory:.0} % of the memory of {}.",
                    first.name, other.name
                );
            }
        }
        text
    }

    fn summary(&self, tool: &Turns) -> Value {
        let figures = FIGURES.iter().filter_map(|(name, unit, _, figure)| {
            let [median, least, greatest] = self.figures(&tool.turns, *figure)?;
            let shown = json!({ "median": median, "least": least, "greatest": greatest, "unit": unit });
            Some(((*name).to_owned(), shown))
        });
        Value::Object(figures.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overhead::measure::Cost;
    use crate::overhead::stacks::Seen;

    fn report() -> Report {
        let turn = |cpu_seconds, memory| Turn {
            cost: Cost {
                cpu_seconds,
                start_seconds: 0.1,
                bpf_seconds: 0.1,
                bpf_runs: 100,
                memory,
                unwind_seconds: 0.0,
            },
            seen: Some(Seen { samples: 1000, whole: 990 }),
            speed: 2.0,
        };
        let turns = |name: &str, costs: &[f64], memory| Turns {
            name: name.to_owned(),
            version: "1".to_owned(),
            without_frame_pointers: true,
            turns: costs.iter().map(|cpu| turn(*cpu, memory)).collect(),
        };
        let ours = turns("profiler agent", &[0.9, 0.1, 0.4], 64 << 20);
        let other = turns("another", &[0.9, 0.9, 2.9], 256 << 20);
        let rate = Rate { hertz: 19, undisturbed: vec![2.0], tools: vec![ours, other] };
        Report { kernel: "6.1".to_owned(), cpus: 2, seconds: 60, rates: vec![rate] }
    }

    #[test]
    fn the_table_has_medians_with_their_spread_and_the_ratios() {
        let text = report().markdown();
        assert!(text.contains("3 turns of 60 s each"), "{text}");
        assert!(
            text.contains("| 0.500 (0.200..1.000) s | 0.100 (0.100..0.100) s | 1000.0 (1000.0..1000.0) µs |"),
            "{text}"
        );
        assert!(text.contains("takes 50 % of the CPU time and 25 % of the memory of another"), "{text}");
        assert!(
            text.lines().filter(|line| line.starts_with('|')).all(|line| line.matches('|').count() == 12)
        );
    }

    #[test]
    fn what_is_unwound_afterwards_counts_as_well() {
        let mut report = report();
        for turn in &mut report.rates[0].tools[1].turns {
            turn.cost.unwind_seconds = 8.0;
        }
        let text = report.markdown();
        assert!(text.contains("| 9.000 (9.000..11.000) s |"), "{text}");
        assert!(text.contains("| 8.000 (8.000..8.000) s | 256"), "{text}");
    }

    #[test]
    fn json_can_be_read_back_and_added_to() {
        let mut report: Report = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(report.rate(19).tools[1].turns.len(), 3);
        assert!(report.rate(99).tools.is_empty());
        let value: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(value["rates"][0]["tools"][0]["summary"]["CPU time"]["median"], 0.5);
    }

    #[test]
    fn every_tool_has_a_bar_in_each_column() {
        let svg = report().svg();
        assert_eq!(svg.matches("<rect x=").count(), 4, "{svg}");
        assert!(svg.contains("CPU time, s of 60 s, 19 Hz"), "{svg}");
    }
}
