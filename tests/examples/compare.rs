//! Compares with perf: `compare SECONDS HERTZ JSON-FILE|- WORKLOAD…`. `cargo xtask compare perf` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use std::time::Duration;

use profiler_tests::Session;
use profiler_tests::compare;
use profiler_tests::compare::report::Report;
use profiler_tests::compare::workload::{self, Background};

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |what: &str| -> u32 {
        args.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{what} is no number"))
    };
    let (seconds, hertz) = (number("SECONDS"), number("HERTZ"));
    let json_file = args.next().filter(|file| file != "-");
    let workloads: Vec<String> = args.collect();
    // Built now: it would take the time of the recording.
    profiler_tests::profiler::binary();
    let session = Session::begin();
    println!("{}\n{}\n", compare::perf::version(), compare::perf::command(hertz));
    let mut all = Vec::new();
    for name in &workloads {
        let version = workload::version(name, session.folder());
        let running = Background::start(&mut workload::command(name, session.folder()));
        // Past its start, which happens once and tells nothing.
        std::thread::sleep(Duration::from_secs(1));
        let observed = compare::observe(session.folder(), running.pid(), seconds, hertz);
        drop(running);
        let report = Report::of(name, &version, &observed);
        println!("{}", report.text());
        all.push(report.json().clone());
    }
    if let Some(file) = json_file
        && let Err(error) = std::fs::write(&file, format!("{:#}\n", serde_json::Value::from(all)))
    {
        panic!("cannot write {file}: {error}");
    }
}
