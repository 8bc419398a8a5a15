//! Whether an agent's memory and files stay what they are while processes come and go: `soak MINUTES JSON-FILE|- SVG-FILE|-`.
//! `cargo xtask bench soak` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use profiler_tests::{Session, soak};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [minutes, json_file, svg_file] = &args[..] else { panic!("three arguments") };
    let minutes: u32 = minutes.parse().unwrap_or_else(|_| panic!("{minutes} is no number"));
    let session = Session::begin();
    let soak = soak::run(&session, minutes.max(1));
    print!("{}", soak.table());
    for (file, text) in [(json_file, format!("{:#}\n", soak.json())), (svg_file, soak.svg())] {
        if file != "-"
            && let Err(error) = std::fs::write(file, text)
        {
            panic!("cannot write {file}: {error}");
        }
    }
}
