//! What profilers cost beside each other:
//! `overhead RUNS SECONDS RATES FOLDER|- TOOLS|- JSON-FILE|- SVG-FILE|- new|add`. `cargo xtask bench overhead` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use profiler_tests::Session;
use profiler_tests::overhead::measure::Statistics;
use profiler_tests::overhead::report::Report;
use profiler_tests::overhead::tool::{self, Tool};
use profiler_tests::overhead::{self, workload::Workload};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [runs, seconds, rates, folder, wanted, json_file, svg_file, how] = &args[..] else {
        panic!("eight arguments")
    };
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{text} is no number"));
    let (runs, seconds) = (number(runs), number(seconds));
    let given = |file: &str| (file != "-").then(|| PathBuf::from(file));
    let (mut tools, missing) = tool::installed(given(folder).as_deref());
    if wanted != "-" {
        let wanted: Vec<&str> = wanted.split(';').collect();
        if let Some(none) = wanted.iter().find(|name| !tools.iter().any(|tool| tool.name == **name)) {
            let names: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
            panic!("there is no profiler {none:?} here, but {names:?}");
        }
        tools.retain(|tool| wanted.contains(&tool.name));
    }
    let json_file = given(json_file);
    let before = json_file.as_deref().filter(|_| how == "add").and_then(read);
    let mut report = before.unwrap_or_else(|| Report::new(seconds));
    assert!(report.seconds == seconds, "turns of {seconds} s are not added to turns of {} s", report.seconds);

    let mut given_up = BTreeSet::new();
    // Without runs the figures that are there are shown again.
    if runs > 0 {
        let rates: Vec<u32> = rates.split(',').map(number).collect();
        given_up = measure(&mut report, &tools, runs, &rates, json_file.as_deref());
    }
    println!("{}", report.markdown());
    if !missing.is_empty() {
        println!("not installed: {}", missing.join(", "));
    }
    for name in &given_up {
        println!("{name} failed, or gave no answer within a minute after its time");
    }
    if let Some(file) = given(svg_file) {
        write(&file, report.svg());
    }
}

/// Adds turns to the report, which is kept in the file after each rate. Gives the names of profilers that failed.
fn measure(
    report: &mut Report,
    tools: &[Tool],
    runs: u32,
    rates: &[u32],
    json_file: Option<&Path>,
) -> BTreeSet<&'static str> {
    let seconds = report.seconds;
    let session = Session::begin();
    let _statistics = Statistics::enable();
    let mut workload = Workload::start(session.folder());
    let mut given_up = BTreeSet::new();
    for &hertz in rates {
        let rate = report.rate(hertz);
        for run in 1..=runs {
            rate.undisturbed.push(overhead::undisturbed(&mut workload, seconds));
            for tool in tools {
                if given_up.contains(tool.name) {
                    continue;
                }
                eprintln!("{hertz} Hz, run {run} of {runs}: {}", tool.name);
                match overhead::turn(tool, session.folder(), &mut workload, hertz, seconds) {
                    Some(turn) => rate.add(tool, turn),
                    None => drop(given_up.insert(tool.name)),
                }
            }
        }
        if let Some(file) = json_file {
            write(file, report.json());
        }
    }
    given_up
}

/// The turns of an earlier run; none where there is no file yet.
fn read(file: &Path) -> Option<Report> {
    match std::fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{} is no report of this benchmark: {error}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("cannot read {}: {error}", file.display()),
    }
}

fn write(file: &Path, text: String) {
    std::fs::write(file, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
}
