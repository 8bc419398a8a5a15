//! How fast the page of `profiler view` draws: `page FRAMES STEPS JSON-FILE|-`. `cargo xtask bench page` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use profiler_tests::Session;
use profiler_tests::pages::{Figures, Graph, measure};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [frames, steps, json_file] = &args[..] else { panic!("three arguments") };
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("{text} is no number"));
    let (frames, steps) = (number(frames), number(steps));
    let graphs = [Graph { frames, depth: 40, common: 25 }, Graph { frames, depth: 1000, common: 90 }];
    let session = Session::begin();
    let all: Vec<Figures> = graphs.into_iter().map(|graph| measure(session.folder(), graph, steps)).collect();
    print!("{}", Figures::table(&all));
    if json_file != "-" {
        let all: Vec<_> = all.iter().map(Figures::json).collect();
        std::fs::write(json_file, format!("{:#}\n", serde_json::json!(all)))
            .unwrap_or_else(|error| panic!("cannot write {json_file}: {error}"));
    }
}
