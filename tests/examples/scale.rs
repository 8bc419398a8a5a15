//! What an agent costs on a host with much of everything:
//! `scale RUNS PROCESSES OBJECTS LINES HERTZ WINDOWS SECONDS MIB JSON-FILE|- SVG-FILE|-`, in turns with a quarter of that.
//! `cargo xtask bench scale` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use profiler_tests::Session;
use profiler_tests::scale::{self, Cost, Scale};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [runs, processes, objects, lines, hertz, windows, window_seconds, memory_mib, json_file, svg_file] =
        &args[..]
    else {
        panic!("ten arguments")
    };
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("{text} is no number"));
    let whole = Scale {
        processes: number(processes),
        objects: number(objects).max(1),
        lines: number(lines).max(1),
        hertz: number(hertz) as u32,
        windows: number(windows),
        window_seconds: number(window_seconds),
        memory_mib: number(memory_mib) as u64,
    };
    let Scale { processes, objects, lines, .. } = whole;
    let quarter = Scale {
        processes: processes.div_ceil(4),
        objects: objects.div_ceil(4),
        lines: lines.div_ceil(4),
        ..whole
    };
    let runs = number(runs);
    let mut costs: Vec<Cost> = Vec::new();
    for run in 1..=runs {
        for scale in [quarter, whole] {
            eprintln!("run {run} of {runs}, {} processes", scale.processes);
            costs.push(scale::run(&Session::begin(), scale));
        }
    }
    print!("{}", Cost::table(&costs));
    let all: Vec<_> = costs.iter().map(Cost::json).collect();
    for (file, text) in
        [(json_file, format!("{:#}\n", serde_json::json!(all))), (svg_file, Cost::svg(&costs))]
    {
        if file != "-" {
            std::fs::write(file, text).unwrap_or_else(|error| panic!("cannot write {file}: {error}"));
        }
    }
}
