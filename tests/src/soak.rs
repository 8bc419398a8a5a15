//! An agent that runs for long on a host where processes come and go: what it holds must not grow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use profiler_common::outcome::{Kind, Outcome};
use serde_json::{Value, json};

use crate::brief;
use crate::cpu;
use crate::held::Held;
use crate::outcomes::count_in_comments;
use crate::plot::{self, Line};
use crate::{Agent, Pprof, Session, folder};

/// Processes that begin each second.
const FORKS: usize = 100;

/// What was seen at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Since the first look, minutes.
    pub minutes: f64,
    /// What the agent held.
    pub held: Held,
}

/// A figure of what is held.
type Figure = fn(&Held) -> f64;

/// What is shown, with its unit.
const FIGURES: [(&str, &str, Figure); 3] = [
    ("heap", "KiB", |held| held.memory as f64 / 1024.0),
    ("BPF maps", "KiB", |held| held.maps as f64 / 1024.0),
    ("open files", "", |held| held.files as f64),
];

/// A whole run.
#[derive(Debug)]
pub struct Soak {
    /// Looks, oldest first.
    pub looks: Vec<Look>,
    /// Samples in the profiles, and those that the agent lost.
    pub samples: i64,
    /// See there.
    pub lost: i64,
    /// Ticks that ended in a way by which samples or their stacks are lost, by its name.
    pub losses: BTreeMap<&'static str, f64>,
    /// CPU time of the agent, seconds.
    pub cpu_seconds: f64,
}

/// Lets an agent run for some minutes, and looks at it every ten seconds.
pub fn run(session: &Session, minutes: u32) -> Soak {
    let agent = Agent::start(session, &["--window", "10s", "-F", "19"]);
    let seconds = minutes as usize * 60;
    let spawner = brief::spawner(FORKS * seconds, seconds, &brief::copies(session, "brief-", 20));
    let begin = Instant::now();
    let mut looks = Vec::new();
    while begin.elapsed() < Duration::from_secs(seconds as u64) {
        std::thread::sleep(Duration::from_secs(10));
        let held = Held::by(agent.pid());
        let minutes = begin.elapsed().as_secs_f64() / 60.0;
        eprintln!("{minutes:.1} min: {} KiB of heap, {} files", held.memory >> 10, held.files);
        looks.push(Look { minutes, held });
    }
    let cpu_seconds = cpu::seconds_of(agent.pid());
    drop(spawner);
    let is_loss = |outcome: &Outcome| matches!(outcome.kind(), Kind::SampleLost | Kind::StackLost);
    let losing = Outcome::ALL.into_iter().filter(is_loss);
    let losses = losing.map(|outcome| (outcome.name(), agent.ticks(outcome.name()))).collect();
    agent.finish();
    let (mut samples, mut lost) = (0, 0);
    for file in folder::profiles(&session.path("out")) {
        let profile = Pprof::read(&file);
        samples += profile.samples(|_| true);
        lost += count_in_comments(&profile.comments(), "lost").unwrap_or(0);
    }
    Soak { looks, samples, lost, losses, cpu_seconds }
}

/// How fast something grows per minute by least squares, and the standard error of that.
pub fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    if points.len() < 3 {
        return (0.0, f64::INFINITY);
    }
    let (mean_x, mean_y) =
        (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let spread: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    let slope = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum::<f64>() / spread;
    let rest: f64 = points.iter().map(|p| (p.1 - mean_y - slope * (p.0 - mean_x)).powi(2)).sum();
    (slope, (rest / (n - 2.0) / spread).sqrt())
}

impl Soak {
    /// The second half: by then what is kept on purpose is full.
    fn settled(&self, figure: impl Fn(&Held) -> f64) -> Vec<(f64, f64)> {
        let half = &self.looks[self.looks.len() / 2..];
        half.iter().map(|look| (look.minutes, figure(&look.held))).collect()
    }

    /// The figures as a table.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| figure | first | middle | last | growth in the second half |\n|---|---|---|---|---|\n",
        );
        for (name, unit, figure) in FIGURES {
            let at = |index: usize| self.looks.get(index).map_or(0.0, |look| figure(&look.held));
            let (growth, error) = slope(&self.settled(figure));
            let last = self.looks.len().saturating_sub(1);
            let _ = writeln!(
                text,
                "| {name} | {:.0} {unit} | {:.0} {unit} | {:.0} {unit} | {growth:.1} ± {:.1} {unit} a minute |",
                at(0),
                at(last / 2),
                at(last),
                2.0 * error
            );
        }
        let minutes = self.looks.last().map_or(0.0, |look| look.minutes);
        let _ = writeln!(
            text,
            "\n{minutes:.0} minutes, {FORKS} processes a second: {} samples, {} lost ({}); {:.1} s of CPU time, {:.2} % of \
             one CPU.",
            self.samples,
            self.lost,
            self.losses.iter().map(|(name, ticks)| format!("{name} {ticks}")).collect::<Vec<_>>().join(", "),
            self.cpu_seconds,
            100.0 * self.cpu_seconds / (60.0 * minutes.max(1e-9))
        );
        text
    }

    /// What was held, over time, as SVG.
    pub fn svg(&self) -> String {
        let line = |(name, unit, figure): (&str, &str, Figure)| Line {
            title: format!("{name} {unit}").trim_end().to_owned(),
            points: self.looks.iter().map(|look| (look.minutes, figure(&look.held))).collect(),
        };
        plot::lines("minutes", &FIGURES.map(line))
    }

    /// Everything, with each look.
    pub fn json(&self) -> Value {
        let looks: Vec<Value> = self
            .looks
            .iter()
            .map(|look| {
                let Held { memory, maps, files, objects } = look.held;
                json!({ "minutes": look.minutes, "heap": memory, "maps": maps, "files": files, "objects": objects })
            })
            .collect();
        json!({
            "samples": self.samples, "lost": self.lost, "losses": self.losses, "cpu_seconds": self.cpu_seconds, "looks": looks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_no_error() {
        let points: Vec<(f64, f64)> = (0..10).map(|x| (f64::from(x), 3.0 * f64::from(x) + 1.0)).collect();
        let (slope, error) = slope(&points);
        assert!((slope - 3.0).abs() < 1e-9 && error < 1e-9, "{slope} {error}");
    }

    #[test]
    fn noise_around_nothing_is_within_its_error() {
        let points: Vec<(f64, f64)> = (0..40).map(|x| (f64::from(x), f64::from((x * 7919) % 13))).collect();
        let (slope, error) = slope(&points);
        assert!(slope.abs() <= 2.0 * error, "{slope} {error}");
    }
}
