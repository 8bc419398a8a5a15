//! An agent on a host with much of everything: processes, objects, mappings, stacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::outcomes::count_in_comments;
use crate::{Bare, Pprof, Profiler, Session, Target, cpu, elf, folder, held};

/// How much there is.
#[derive(Debug, Clone, Copy)]
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

    /// The figures of several runs as a table.
    pub fn table(costs: &[Cost]) -> String {
        let mut text = String::from(
            "| processes, objects, mappings | rate, window | most memory | first window | later windows, each | samples | \
             complete | without a stack | lost | rows of a window |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for cost in costs {
            let Scale { processes, objects, lines, hertz, window_seconds, memory_mib, .. } = cost.scale;
            let first = cost.cpu_seconds.first().copied().unwrap_or(0.0);
            let later: Vec<String> = cost.cpu_seconds.iter().skip(1).map(|s| format!("{s:.2}")).collect();
            let _ = writeln!(
                text,
                "| {processes}, {objects}, {lines} | {hertz} Hz, {window_seconds} s | {} of {memory_mib} MiB | {first:.2} s | \
                 {} s | {} | {:.2} % | {} | {} | {} of {} processes |",
                cost.most_memory >> 20,
                later.join(", "),
                cost.samples,
                100.0 * cost.complete as f64 / cost.samples.max(1) as f64,
                cost.without_stack,
                cost.lost,
                cost.rows,
                cost.processes,
            );
        }
        text
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
