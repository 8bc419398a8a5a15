//! Whether an agent's memory and files stay what they are while processes come and go: `soak MINUTES JSON-FILE|-`.
//! `cargo xtask bench soak` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use profiler_tests::{Session, soak};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [minutes, json_file] = &args[..] else { panic!("two arguments") };
    let minutes: u32 = minutes.parse().unwrap_or_else(|_| panic!("{minutes} is no number"));
    let session = Session::begin();
    let soak = soak::run(&session, minutes.max(1));
    print!("{}", soak.table());
    if json_file != "-"
        && let Err(error) = std::fs::write(json_file, format!("{:#}\n", soak.json()))
    {
        panic!("cannot write {json_file}: {error}");
    }
}
