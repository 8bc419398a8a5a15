//! The figures as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Turn;
use super::tool::Tool;
use crate::stats::spread;

/// A figure of one turn.
type Figure = fn(&Turn, f64) -> Option<f64>;

/// Figures, with their units and the digits that say something.
const FIGURES: [(&str, &str, usize, Figure); 6] = [
    ("CPU time", "s", 3, |turn, _| Some(turn.cost.cpu_seconds + turn.cost.bpf_seconds)),
    ("of it in BPF programs", "s", 3, |turn, _| (turn.cost.bpf_runs > 0).then_some(turn.cost.bpf_seconds)),
    ("memory", "MiB", 0, |turn, _| Some(turn.cost.memory as f64 / 1_048_576.0)),
    ("samples of user code", "", 0, |turn, _| turn.seen.map(|seen| seen.samples as f64)),
    ("of them whole", "%", 1, |turn, _| turn.seen.map(super::stacks::Seen::percent)),
    ("speed of a target", "%", 1, |turn, undisturbed| Some(100.0 * turn.speed / undisturbed)),
];

/// All turns at one rate.
#[derive(Debug)]
pub struct Rate {
    /// Samples per second and CPU.
    pub hertz: u32,
    /// Rounds per CPU second of the target without a profiler, in each turn.
    pub undisturbed: Vec<f64>,
    /// The tools with their turns.
    pub tools: Vec<(Tool, Vec<Turn>)>,
}

impl Rate {
    fn figures(&self, turns: &[Turn], figure: Figure) -> Option<[f64; 3]> {
        let undisturbed = spread(&self.undisturbed).map_or(1.0, |[median, ..]| median);
        spread(&turns.iter().filter_map(|turn| figure(turn, undisturbed)).collect::<Vec<_>>())
    }

    /// The tools that gave an answer.
    fn answered(&self) -> impl Iterator<Item = &(Tool, Vec<Turn>)> {
        self.tools.iter().filter(|(_, turns)| !turns.is_empty())
    }

    /// A markdown table: a row for each tool.
    pub fn markdown(&self) -> String {
        // Who gave no answer has no figures; the example says so below the table.
        let mut text = String::from("| profiler | no frame pointers needed |");
        for (name, ..) in FIGURES {
            let _ = write!(text, " {name} |");
        }
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(FIGURES.len()));
        for (tool, turns) in self.answered() {
            let _ = write!(
                text,
                "| {} | {} |",
                tool.name,
                if tool.without_frame_pointers { "yes" } else { "no" }
            );
            for (_, unit, digits, figure) in FIGURES {
                let _ = match self.figures(turns, figure) {
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

    /// Everything, with each turn's figures.
    pub fn json(&self) -> Value {
        let tools = self.tools.iter().map(|(tool, turns)| {
            let of =
                |figure: Figure| -> Vec<Option<f64>> { turns.iter().map(|turn| figure(turn, 1.0)).collect() };
            let mut figures: serde_json::Map<String, Value> = FIGURES
                .iter()
                .take(5)
                .map(|(name, _, _, figure)| ((*name).to_owned(), json!(of(*figure))))
                .collect();
            let speeds: Vec<f64> = turns.iter().map(|turn| turn.speed).collect();
            figures.insert("rounds per CPU second of a target".to_owned(), json!(speeds));
            (tool.name.to_owned(), Value::Object(figures))
        });
        let tools: serde_json::Map<String, Value> = tools.collect();
        json!({ "hertz": self.hertz, "undisturbed": self.undisturbed, "tools": tools })
    }

    /// A bar for each tool: its CPU time, and its memory, as SVG.
    pub fn svg(&self) -> String {
        const ROW: usize = 26;
        const BAR: f64 = 260.0;
        let figures = [FIGURES[0], FIGURES[2]];
        let tools: Vec<_> = self.answered().collect();
        let height = 46 + ROW * tools.len();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height}\" font-family=\"sans-serif\" \
             font-size=\"13\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        for (column, (name, unit, digits, figure)) in figures.into_iter().enumerate() {
            let left = 170 + column * 350;
            let _ = writeln!(svg, "<text x=\"{left}\" y=\"22\">{name}, {unit}, {} Hz</text>", self.hertz);
            let medians: Vec<Option<f64>> = tools
                .iter()
                .map(|(_, turns)| self.figures(turns, figure).map(|[median, ..]| median))
                .collect();
            let most = medians.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
            for (row, ((tool, _), median)) in tools.iter().zip(&medians).enumerate() {
                let y = 36 + row * ROW;
                if column == 0 {
                    let _ = writeln!(svg, "<text x=\"8\" y=\"{}\">{}</text>", y + 14, tool.name);
                }
                let Some(median) = median else { continue };
                let width = (BAR * median / most).max(1.0);
                let colour = if row == 0 { "#2a7d4f" } else { "#9aa5b1" };
                let _ = writeln!(
                    svg,
                    "<rect x=\"{left}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/>\
                     <text x=\"{:.1}\" y=\"{}\">{median:.digits$}</text>",
                    left as f64 + width + 6.0,
                    y + 14
                );
            }
        }
        svg + "</svg>\n"
    }
}
