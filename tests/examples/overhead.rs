//! What profilers cost beside each other: `overhead RUNS SECONDS RATES FOLDER|- JSON-FILE|- SVG-FILE|-`.
//! `cargo xtask bench overhead` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use std::collections::BTreeSet;
use std::path::Path;

use profiler_tests::Session;
use profiler_tests::overhead::{self, measure::Statistics, report::Rate, tool, workload::Workload};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [runs, seconds, rates, folder, json_file, svg_file] = &args[..] else { panic!("six arguments") };
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{text} is no number"));
    let (runs, seconds) = (number(runs), number(seconds));
    let given = |file: &str| (file != "-").then(|| Path::new(file).to_owned());
    let (tools, missing) = tool::installed(given(folder).as_deref());
    let session = Session::begin();
    let _statistics = Statistics::enable();
    let mut workload = Workload::start(session.folder());
    let mut report = Vec::new();
    let mut given_up = BTreeSet::new();
    for hertz in rates.split(',').map(number) {
        let mut rate = Rate {
            hertz,
            undisturbed: Vec::new(),
            tools: tools.iter().map(|tool| (tool.clone(), Vec::new())).collect(),
        };
        for run in 1..=runs {
            rate.undisturbed.push(overhead::undisturbed(&mut workload, seconds));
            for (tool, turns) in &mut rate.tools {
                if given_up.contains(tool.name) {
                    continue;
                }
                eprintln!("{hertz} Hz, run {run} of {runs}: {}", tool.name);
                match overhead::turn(tool, session.folder(), &mut workload, hertz, seconds) {
                    Some(turn) => turns.push(turn),
                    None => drop(given_up.insert(tool.name)),
                }
            }
        }
        println!("{hertz} Hz, {runs} runs of {seconds} s; median (least..greatest).\n\n{}", rate.markdown());
        report.push(rate);
    }
    for tool in &tools {
        println!("{}: {}", tool.name, tool::version(tool));
    }
    if !missing.is_empty() {
        println!("not installed: {}", missing.join(", "));
    }
    for name in &given_up {
        println!("{name} failed, or gave no answer within a minute after its time");
    }
    let write = |file: &str, text: String| {
        if let Some(file) = given(file) {
            std::fs::write(&file, text)
                .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
        }
    };
    let all: Vec<_> = report.iter().map(Rate::json).collect();
    write(json_file, format!("{:#}\n", serde_json::json!(all)));
    write(svg_file, report.last().map(Rate::svg).unwrap_or_default());
}
