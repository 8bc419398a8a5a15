//! How soon profiling begins: `cold RUNS JSON-FILE|- SVG-FILE|- PART…` with the parts `binary` and `host`. `cargo xtask bench cold`
//! runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use profiler_tests::Session;
use profiler_tests::cold::binary::{self, Cache};
use profiler_tests::cold::host::{self, Host};
use profiler_tests::cold::report::Figures;

fn main() {
    let mut args = std::env::args().skip(1);
    let runs: u32 =
        args.next().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("RUNS is no number"));
    let json_file = args.next().filter(|file| file != "-");
    let svg_file = args.next().filter(|file| file != "-");
    let parts: Vec<String> = args.collect();
    profiler_tests::profiler::binary();
    let session = Session::begin();
    let mut figures = Figures::default();
    if parts.iter().any(|part| part == "binary") {
        let program = binary::build();
        for run in 1..=runs {
            eprintln!("large binary, run {run} of {runs}");
            for cache in Cache::ALL {
                figures.add_binary(cache.name(), &binary::measure(&session, &program, cache));
            }
        }
    }
    if parts.iter().any(|part| part == "host") {
        let host = Host::start(session.folder());
        for run in 1..=runs {
            eprintln!("host of {} processes, run {run} of {runs}", host.processes());
            figures.add_host(&host::measure(&session));
        }
    }
    print!("{}", figures.table());
    for (file, text) in [(json_file, format!("{:#}\n", figures.json())), (svg_file, figures.svg())] {
        if let Some(file) = file
            && let Err(error) = std::fs::write(&file, text)
        {
            panic!("cannot write {file}: {error}");
        }
    }
}
