//! How fast the page of `profiler view` draws: `cargo xtask bench page`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, Instant};

use profiler_user::profile::codec::encode;
use profiler_user::profile::proto::{Function, Line, Location, Mapping, Profile, Sample, ValueType};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::viewer::Viewer;

/// A graph to draw.
#[derive(Clone, Copy, Debug)]
pub struct Graph {
    /// At least so many frames in all.
    pub frames: usize,
    /// Functions on each stack.
    pub depth: usize,
    /// The share of a stack, from its root, that it has in common with others, in percent.
    pub common: usize,
}

/// What drawing one took, milliseconds.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Which.
    pub graph: Graph,
    /// From the request to the graph on the screen.
    pub load: f64,
    /// For each kind of movement, what drawing took and how long each frame was on the screen.
    pub movements: Vec<(String, Vec<f64>, Vec<f64>)>,
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

impl Graph {
    /// A profile with such a graph: names of all lengths in a hundred packages.
    pub fn profile(self) -> Profile {
        const FUNCTIONS: u64 = 4000;
        let mut strings: Vec<String> =
            ["", "samples", "count", "cpu", "nanoseconds", "/usr/bin/app"].map(str::to_owned).into();
        let (mut function, mut location) = (Vec::new(), Vec::new());
        for id in 1..=FUNCTIONS {
            let name = strings.len() as i64;
            strings.push(format!(
                "package{}::module{}::{}",
                id % 100,
                id % 700,
                "long_".repeat(id as usize % 9) + &id.to_string()
            ));
            function.push(Function { id, name, system_name: name, filename: 0, start_line: 0 });
            let line = vec![Line { function_id: id, line: 1, column: 0 }];
            location.push(Location { id, mapping_id: 1, address: 0x1000 + id, line, is_folded: false });
        }
        let mut dice = Dice(88_172_645_463_325_252);
        let mut known: HashSet<u64> = HashSet::new();
        let mut sample = Vec::new();
        while known.len() < self.frames {
            // Outermost first: a few ways share their beginning, then each goes its own.
            let mut way: Vec<u64> = Vec::with_capacity(self.depth);
            let mut hasher = DefaultHasher::new();
            let shared = self.depth * self.common / 100;
            for level in 0..self.depth as u64 {
                let choices = if (level as usize) < shared { 1 + u64::from(level % 16 == 15) } else { 4 };
                let id = 1 + (level * 37 + dice.roll(choices) * 911) % FUNCTIONS;
                way.push(id);
                id.hash(&mut hasher);
                known.insert(hasher.finish());
            }
            way.reverse();
            let count = 1 + dice.roll(20) as i64;
            sample.push(Sample { location_id: way, value: vec![count, count * 10_000_000], label: vec![] });
        }
        Profile {
            sample_type: vec![ValueType { r#type: 1, unit: 2 }, ValueType { r#type: 3, unit: 4 }],
            sample,
            mapping: vec![Mapping {
                id: 1,
                memory_start: 0x1000,
                memory_limit: 0x10_0000,
                filename: 5,
                ..Mapping::default()
            }],
            location,
            function,
            string_table: strings,
            duration_nanos: 10_000_000_000,
            period_type: Some(ValueType { r#type: 3, unit: 4 }),
            period: 10_000_000,
            default_sample_type: 3,
            ..Profile::default()
        }
    }
}

/// Runs in the page: makes a movement for a while, one step for each frame, and notes what it took.
const MEASURE: &str = "
const graph = profiler.graph, steps = STEPS;
const paint = Object.getPrototypeOf(graph).paint;
const taken = [], shown = [];
graph.paint = function () { const start = performance.now(); paint.call(this); taken.push(performance.now() - start); };
const next = () => new Promise(requestAnimationFrame);
let last = await next();
for (let n = 0; n < steps; n++) {
  (MOVE)(graph, n);
  const now = await next();
  shown.push(now - last);
  last = now;
}
delete graph.paint;
return [taken, shown];
";

/// Movements: what is done for each frame.
const MOVEMENTS: [(&str, &str); 4] = [
    (
        "zoom",
        "(graph, n) => { if (n % 24 === 0) graph.zoom(n % 48 === 0 ? graph.tree.order[graph.tree.first[3] + (n / 24) % 5] : 0, true); }",
    ),
    (
        "magnify and pan",
        "(graph, n) => { if (n % 80 < 40) graph.magnify(1.06); else graph.magnify(1 / 1.06); graph.pan(n % 7 - 3); }",
    ),
    ("scroll", "(graph, n) => { graph.host.scrollTop += n % 120 < 60 ? 40 : -40; graph.draw(); }"),
    ("search", "(graph, n) => { graph.search(n % 2 ? /module1/ : /long_long/); }"),
];

/// Opens the graph in a browser and moves it.
pub fn measure(folder: &Path, graph: Graph, steps: usize) -> Figures {
    let file = folder.join(format!("{}-{}.pb.gz", graph.frames, graph.depth));
    std::fs::write(&file, encode(&graph.profile()).expect("a profile")).expect("the profile's file");
    let viewer = Viewer::start(folder, [&file]);
    let browser = Browser::start();
    // The first page of a browser waits for more than the page.
    browser.open("about:blank");
    let begin = Instant::now();
    browser.open(&viewer.page("view=flame"));
    browser.wait("document.body.dataset.shown && profiler.graph && profiler.graph.tree");
    let load = begin.elapsed().as_secs_f64() * 1e3;
    std::thread::sleep(Duration::from_millis(500));
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().map(|list| list.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
    };
    let movements = MOVEMENTS
        .iter()
        .map(|(name, movement)| {
            let script = MEASURE.replace("STEPS", &steps.to_string()).replace("MOVE", movement);
            let result = browser.wait_run(&script);
            assert!(result.is_array(), "{name}: {result}");
            ((*name).to_owned(), numbers(&result[0]), numbers(&result[1]))
        })
        .collect();
    Figures { graph, load, movements }
}

/// The value that this share of the values does not exceed.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

impl Figures {
    /// A table for docs/benchmarks.md.
    pub fn table(all: &[Figures]) -> String {
        let mut out = String::from(
            "| graph | loaded after | movement | drawing a frame, median (95 %) | time between frames, median (95 %, most) |\n|---|---|---|---|---|\n",
        );
        for Figures { graph, load, movements } in all {
            for (name, taken, shown) in movements {
                writeln!(
                    out,
                    "| {} frames, {} deep | {load:.0} ms | {name} | {:.1} ({:.1}) ms | {:.1} ({:.1}, {:.1}) ms |",
                    graph.frames,
                    graph.depth,
                    quantile(taken, 0.5),
                    quantile(taken, 0.95),
                    quantile(shown, 0.5),
                    quantile(shown, 0.95),
                    quantile(shown, 1.0),
                )
                .unwrap();
            }
        }
        out
    }

    /// All figures.
    pub fn json(&self) -> Value {
        let Figures { graph, load, movements } = self;
        let movements: Vec<Value> = movements
            .iter()
            .map(|(name, taken, shown)| json!({"movement": name, "drawing_ms": taken, "between_frames_ms": shown}))
            .collect();
        json!({"frames": graph.frames, "depth": graph.depth, "loaded_ms": load, "movements": movements})
    }
}
