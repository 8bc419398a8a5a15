//! An agent on a host with much of everything: processes, objects, mappings, stacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::outcomes::count_in_comments;
use crate::plot::{self, Bar, Bars};
use crate::stats::spread;
use crate::{Bare, Pprof, Profiler, Session, Target, cpu, elf, folder, held};

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Processes that work for a millisecond each second.
    pub processes: usize,
    /// Files that they run.
    pub objects: usize,
    /// Mappings of another process, half of them of generated code.
    pub lines: usize,
    /// Samples per second and CPU. More of them stand for more CPUs.
    pub hertz: u32,
    /// Windows, and seconds of each.
    pub windows: usize,
    /// See there.
    pub window_seconds: usize,
    /// The agent's budget, MiB.
    pub memory_mib: u64,
}

/// What that cost.
#[derive(Debug, Clone)]
pub struct Cost {
    /// How much there was.
    pub scale: Scale,
    /// CPU time of the agent in each window, seconds.
    pub cpu_seconds: Vec<f64>,
    /// The most memory that the agent used, BPF maps included, bytes.
    pub most_memory: u64,
    /// Samples in the profiles, those of them with complete stacks, those without a stack, and those that were lost.
    pub samples: i64,
    /// See there.
    pub complete: i64,
    /// See there.
    pub without_stack: i64,
    /// See there.
    pub lost: i64,
    /// The most processes, and the most rows, distinct by process, thread and stack, of a window.
    pub processes: usize,
    /// See there.
    pub rows: usize,
    /// Profiles' folders: a window ends early where it has no more room.
    pub folders: usize,
}

/// Lets a process have so many mappings until it is dropped.
#[derive(Debug)]
struct MostMappings(String);

const MOST_MAPPINGS: &str = "/proc/sys/vm/max_map_count";

impl MostMappings {
    fn raise(count: usize) -> MostMappings {
        let before = fs::read_to_string(MOST_MAPPINGS).unwrap_or_default();
        let needed = count + 1000;
        if before.trim().parse().is_ok_and(|most: usize| most < needed) {
            fs::write(MOST_MAPPINGS, needed.to_string())
                .unwrap_or_else(|e| panic!("cannot write {MOST_MAPPINGS}: {e}; run this as root"));
        }
        MostMappings(before)
    }
}

impl Drop for MostMappings {
    fn drop(&mut self) {
        let _ = fs::write(MOST_MAPPINGS, self.0.trim());
    }
}

/// Copies of a program that are other programs to a profiler: each has a build-id of its own.
fn copies(program: &Path, session: &Session, count: usize) -> Vec<String> {
    let original = fs::read(program).unwrap_or_else(|e| panic!("cannot read {}: {e}", program.display()));
    let id = elf::build_id(program).unwrap_or_else(|| panic!("{} has no build-id", program.display()));
    let id: Vec<u8> =
        (0..id.len()).step_by(2).filter_map(|at| u8::from_str_radix(id.get(at..at + 2)?, 16).ok()).collect();
    let at = original.windows(id.len()).position(|window| window == id);
    let at = at.unwrap_or_else(|| panic!("{} does not have its build-id", program.display()));
    let copy = |number: usize| {
        let mut bytes = original.clone();
        bytes[at..at + 8].copy_from_slice(&(number as u64).to_be_bytes());
        let path = session.path(&format!("part-{number}"));
        let permissions = fs::metadata(program).map(|found| found.permissions());
        let written = fs::write(&path, bytes).and_then(|()| fs::set_permissions(&path, permissions?));
        assert!(written.is_ok(), "cannot copy to {}: {written:?}", path.display());
        path.display().to_string()
    };
    (0..count).map(copy).collect()
}

/// Runs an agent for some windows.
pub fn run(session: &Session, scale: Scale) -> Cost {
    let program = Bare::c("scale.c", "scale").build();
    let copies = copies(&program, session, scale.objects);
    let _most = MostMappings::raise(scale.lines);
    let (count, lines) = (scale.processes.to_string(), scale.lines.to_string());
    let mut crowd = vec!["crowd", &*count];
    crowd.extend(copies.iter().map(String::as_str));
    let targets = [&crowd[..], &["lines", &lines], &["stacks"]].map(|args| Target::start(&program, args));

    let (hertz, window, memory) =
        (scale.hertz.to_string(), format!("{}s", scale.window_seconds), format!("{}MiB", scale.memory_mib));
    let out = format!("out-{}-{}", scale.processes, scale.lines);
    let args = ["agent", "-o", &out, "--window", &window, "-F", &hertz, "--memory", &memory];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    let mut cpu_seconds = Vec::new();
    let mut before = cpu::seconds_of(agent.pid());
    for window in 1..=scale.windows {
        std::thread::sleep(Duration::from_secs(scale.window_seconds as u64));
        let now = cpu::seconds_of(agent.pid());
        eprintln!("window {window} of {}: {:.2} s of CPU time", scale.windows, now - before);
        cpu_seconds.push(now - before);
        before = now;
    }
    let most_memory = held::most_memory(agent.pid());
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    drop(targets);
    let mut cost = Cost {
        scale,
        cpu_seconds,
        most_memory,
        samples: 0,
        complete: 0,
        without_stack: 0,
        lost: 0,
        processes: 0,
        rows: 0,
        folders: 0,
    };
    cost.read(&session.path(&out));
    cost
}

/// A figure of a run: several values where it has one for each window.
type Figure = fn(&Cost) -> Vec<f64>;

/// Figures, with their units and the digits that say something.
const FIGURES: [(&str, &str, usize, Figure); 9] = [
    ("CPU time, first window", "s", 2, |cost| cost.cpu_seconds.iter().take(1).copied().collect()),
    ("CPU time, each later window", "s", 2, |cost| cost.cpu_seconds.iter().skip(1).copied().collect()),
    ("most memory", "MiB", 0, |cost| vec![cost.most_memory as f64 / 1_048_576.0]),
    ("samples", "", 0, |cost| vec![cost.samples as f64]),
    ("whole", "%", 2, |cost| vec![100.0 * cost.complete as f64 / cost.samples.max(1) as f64]),
    ("without a stack", "", 0, |cost| vec![cost.without_stack as f64]),
    ("lost, and counted", "", 0, |cost| vec![cost.lost as f64]),
    ("most rows of a window", "", 0, |cost| vec![cost.rows as f64]),
    ("most processes of a window", "", 0, |cost| vec![cost.processes as f64]),
];

/// Places in [`FIGURES`] of what is drawn.
const FIRST_WINDOW: usize = 0;
const LATER_WINDOWS: usize = 1;
const MOST_MEMORY: usize = 2;

/// Runs of the same scale together, in the order in which the scales come first.
fn by_scale(costs: &[Cost]) -> Vec<(Scale, Vec<&Cost>)> {
    let mut groups: Vec<(Scale, Vec<&Cost>)> = Vec::new();
    for cost in costs {
        match groups.iter_mut().find(|(scale, _)| *scale == cost.scale) {
            Some((_, runs)) => runs.push(cost),
            None => groups.push((cost.scale, vec![cost])),
        }
    }
    groups
}

impl Cost {
    fn read(&mut self, out: &Path) {
        let mut windows: BTreeMap<PathBuf, (BTreeSet<u32>, usize)> = BTreeMap::new();
        for file in folder::profiles(out) {
            let profile = Pprof::read(&file);
            let comments = profile.comments();
            let number = |name: &str| count_in_comments(&comments, name).unwrap_or(0);
            self.samples += profile.samples(|_| true);
            self.complete += number("complete");
            self.without_stack += number("stack_table_full");
            self.lost += number("lost");
            let window = windows.entry(file.parent().unwrap_or(out).to_owned()).or_default();
            window.0.extend(profile.values("pid").iter().filter_map(|pid| pid.parse::<u32>().ok()));
            window.1 += profile.stacks.len();
        }
        self.folders = windows.len();
        self.processes = windows.values().map(|window| window.0.len()).max().unwrap_or(0);
        self.rows = windows.values().map(|window| window.1).max().unwrap_or(0);
    }

    /// The figures of several runs as a table: a row for each scale, with the median and the range of its runs.
    pub fn table(costs: &[Cost]) -> String {
        let mut text = String::from("| processes, objects, mappings | rate, window | runs |");
        for (name, ..) in FIGURES {
            let _ = write!(text, " {name} |");
        }
        let _ = writeln!(text, "\n|---|---|---|{}", "---|".repeat(FIGURES.len()));
        for (scale, runs) in by_scale(costs) {
            let Scale { processes, objects, lines, hertz, window_seconds, .. } = scale;
            let _ = write!(
                text,
                "| {processes}, {objects}, {lines} | {hertz} Hz, {window_seconds} s | {} |",
                runs.len()
            );
            for (_, unit, digits, figure) in FIGURES {
                let values: Vec<f64> = runs.iter().flat_map(|cost| figure(cost)).collect();
                let [median, least, greatest] = spread(&values).unwrap_or_default();
                let shown = format!("{median:.digits$} ({least:.digits$}..{greatest:.digits$}) {unit}");
                let _ = write!(text, " {} |", shown.trim_end());
            }
            text.push('\n');
        }
        text
    }

    /// A bar for each scale: CPU time of a window, and memory, as SVG.
    pub fn svg(costs: &[Cost]) -> String {
        let groups = [FIRST_WINDOW, LATER_WINDOWS, MOST_MEMORY].map(|place| {
            let (name, unit, digits, figure) = FIGURES[place];
            let bars = by_scale(costs).into_iter().filter_map(|(scale, runs)| {
                let values: Vec<f64> = runs.iter().flat_map(|cost| figure(cost)).collect();
                let name = format!("{} processes, {} mappings", scale.processes, scale.lines);
                Some(Bar { name, ours: true, spread: spread(&values)? })
            });
            Bars { title: format!("{name}, {unit}"), digits, bars: bars.collect() }
        });
        plot::bars(&groups)
    }

    /// Everything.
    pub fn json(&self) -> Value {
        let Scale { processes, objects, lines, hertz, windows, window_seconds, memory_mib } = self.scale;
        json!({
            "scale": {
                "processes": processes, "objects": objects, "lines": lines, "hertz": hertz, "windows": windows,
                "window_seconds": window_seconds, "memory_mib": memory_mib,
            },
            "cpu_seconds": self.cpu_seconds,
            "most_memory": self.most_memory,
            "samples": self.samples,
            "complete": self.complete,
            "without_stack": self.without_stack,
            "lost": self.lost,
            "processes": self.processes,
            "rows": self.rows,
            "folders": self.folders,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_scale_are_one_row() {
        let scale = |processes| Scale {
            processes,
            objects: 3,
            lines: 100,
            hertz: 99,
            windows: 3,
            window_seconds: 60,
            memory_mib: 128,
        };
        let cost = |processes, cpu: [f64; 3]| Cost {
            scale: scale(processes),
            cpu_seconds: cpu.to_vec(),
            most_memory: 64 << 20,
            samples: 200,
            complete: 150,
            without_stack: 0,
            lost: 7,
            processes: 9,
            rows: 20,
            folders: 3,
        };
        let costs = [cost(1, [3.0, 1.0, 2.0]), cost(4, [9.0; 3]), cost(1, [5.0, 4.0, 3.0])];
        let table = Cost::table(&costs);
        assert_eq!(table.lines().count(), 4, "{table}");
        let row =
            "| 1, 3, 100 | 99 Hz, 60 s | 2 | 4.00 (3.00..5.00) s | 2.50 (1.00..4.00) s | 64 (64..64) MiB |";
        assert!(table.contains(row), "{table}");
        assert_eq!(Cost::svg(&costs).matches("<rect x=").count(), 6);
    }
}
