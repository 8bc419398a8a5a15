//! `profiler live` in a terminal, by its keys and what can be read; and that the terminal is given back.

use profiler_tests::profiler::binary;
use profiler_tests::{Pprof, Profiler, Program, Screen, Session, Target};

fn start(screen: &Screen, options: &str) {
    // What stays on the shell's own screen while the other one is shown.
    screen.run("echo be''fore");
    screen.wait_for("\nbefore");
    screen.run(&format!("{} live {options}; echo code=$?", binary().display()));
}

/// The shell is back, with its own screen, echo and lines; gives all that can be read.
fn given_back(screen: &Screen, code: i32) -> String {
    let text = screen.wait_for(&format!("code={code}"));
    assert!(text.contains("\nbefore"), "the shell's screen is back:\n{text}");
    screen.run("stty -a");
    let text = screen.wait_for("icanon");
    for mode in ["icanon", "echo", "isig", "opost"] {
        // One that is off has a dash.
        assert!(text.split_whitespace().any(|word| word == mode), "{mode} is on:\n{text}");
    }
    screen.run("clear; echo typed''text");
    screen.wait_for("typedtext")
}

#[test]
fn functions_processes_and_calls() {
    let session = Session::begin();
    let chain = Target::start(&Program::Pie.build(), &["burn"]);
    let screen = Screen::open(session.folder());
    start(&screen, "-F 199 --last 5s -o saved.pb.gz");
    let text = screen.wait_for("leaf_heavy");
    for part in [
        "profiler live",
        "199 Hz, every 1 s",
        "last 5 s",
        "CPUs used by",
        "% complete",
        "functions of all processes, by flat",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    // Into a function: its callers.
    screen.press(&["/"]);
    screen.wait_for("filter: /");
    screen.type_text("leaf_heavy");
    screen.press(&["Enter"]);
    screen.wait_for("filter /leaf_heavy/: 1 rows");
    screen.press(&["Enter"]);
    let text = screen.wait_for("callers and callees of leaf_heavy in all processes");
    assert!(text.lines().any(|line| line.contains("from") && line.contains("chain_12")), "{text}");
    screen.press(&["Escape"]);
    screen.wait_for("functions of all processes");
    // Into a process: its functions.
    screen.press(&["Tab"]);
    let text = screen.wait_for("hottest function");
    assert!(text.contains("processes, by flat") && text.contains("chain-pie"), "{text}");
    screen.press(&["/"]);
    screen.type_text("chain-pie");
    screen.press(&["Enter"]);
    screen.wait_for("filter /chain-pie/");
    screen.press(&["Enter"]);
    screen.wait_for(&format!("functions of chain-pie {}", chain.pid()));
    screen.wait_for("leaf_light");
    screen.press(&["s"]);
    screen.wait_for("by cum");
    screen.press(&["h"]);
    screen.wait_for("Any key closes this.");
    screen.press(&["x"]);
    screen.wait_until("no help", |text| !text.contains("Any key closes this."));
    // All since the start, held still.
    screen.press(&["t"]);
    screen.wait_for("since start, 00:00:");
    screen.press(&["Space"]);
    let paused = screen.wait_for("PAUSED");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(screen.text(), paused, "nothing moves while it is paused");
    screen.press(&["Space"]);
    screen.wait_until("new windows", |text| {
        !text.contains("PAUSED") && text.lines().next() != paused.lines().next()
    });
    screen.press(&["w"]);
    screen.wait_for("saved.pb.gz");
    screen.press(&["q"]);
    let text = screen.wait_for("code=0");
    assert!(text.contains("CPUs used by"), "a line tells what was seen:\n{text}");
    given_back(&screen, 0);
    let saved = Pprof::read(&session.path("saved.pb.gz"));
    assert!(saved.stacks.iter().any(|stack| stack.has("leaf_heavy")), "the saved profile has the stacks");
}

#[test]
fn the_terminal_is_given_back() {
    let session = Session::begin();
    for end in ["Ctrl-C", "SIGTERM", "SIGINT", "panic"] {
        let screen = Screen::open(session.folder());
        if end == "panic" {
            start(&screen, "--panic-while-drawing");
            let text = given_back_after_panic(&screen);
            assert!(text.contains("a test asked for this"), "the panic can be read:\n{text}");
            continue;
        }
        start(&screen, "");
        screen.wait_for("functions of all processes");
        match end {
            "Ctrl-C" => screen.press(&["C-c"]),
            signal => {
                let number = if signal == "SIGTERM" { libc::SIGTERM } else { libc::SIGINT };
                // SAFETY: a number only; the process is one that the test's own shell runs.
                assert_eq!(unsafe { libc::kill(screen.running(), number) }, 0);
            }
        }
        given_back(&screen, 0);
    }
}

fn given_back_after_panic(screen: &Screen) -> String {
    let text = screen.wait_for("code=1");
    given_back(screen, 1);
    text
}

#[test]
fn without_a_terminal() {
    let session = Session::begin();
    Profiler::new(session.folder(), ["live"]).run().assert_refused(&["terminal", "record"]);
}
