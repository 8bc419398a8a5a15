//! `profiler shell` in a terminal: completion, history, and what a line that is wrong gets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use profiler_tests::profiler::binary;
use profiler_tests::{Screen, Session};

const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiler-user/tests/corpus/chain.pb.gz");

fn start(screen: &Screen) {
    screen.run(&format!("XDG_STATE_HOME=$PWD/state {} shell {PROFILE}; echo code=$?", binary().display()));
    screen.wait_for("(profiler)");
}

#[test]
fn completion_and_history() {
    let session = Session::begin();
    let screen = Screen::open(session.folder());
    start(&screen);
    screen.run("top20");
    screen.wait_for("leaf_heavy");
    screen.type_text("pe");
    screen.press(&["Tab"]);
    screen.wait_for("(profiler) peek");
    screen.type_text("leaf_h");
    screen.press(&["Tab"]);
    screen.wait_for("(profiler) peek leaf_heavy");
    screen.press(&["Enter"]);
    screen.wait_for("| leaf_heavy");
    screen.run("focus=(");
    screen.wait_for("focus cannot be \"(\"");
    // A line that is given up, then the end.
    screen.type_text("nonsense");
    screen.press(&["C-c"]);
    screen.press(&["C-d"]);
    screen.wait_for("code=0");
    let history = Path::new(session.folder()).join("state/profiler/shell_history");
    let kept = std::fs::read_to_string(&history).unwrap();
    assert!(kept.contains("top20\npeek leaf_heavy\n") && !kept.contains("nonsense"), "{kept}");
    let mode = std::fs::metadata(&history).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else can read it");
    screen.run("clear");
    start(&screen);
    screen.press(&["Up", "Up", "Up"]);
    screen.wait_for("(profiler) top20");
    screen.press(&["Enter"]);
    screen.wait_for("leaf_heavy");
    screen.run("quit");
    screen.wait_for("code=0");
}
