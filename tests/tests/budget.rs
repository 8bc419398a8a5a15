//! The budget of memory: it is kept, and what it costs is time and not samples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use profiler_tests::busy::Busy;
use profiler_tests::held::most_memory;
use profiler_tests::outcomes::count_in_comments;
use profiler_tests::{Pprof, Profiler, Program, Session, Target, folder, tools};

const MIB: u64 = 1 << 20;

/// Sums of outcomes over all profiles in an agent's folder.
fn outcomes(out: &Path) -> BTreeMap<&'static str, i64> {
    let names = ["complete", "truncated", "lost", "stack_table_full", "count_table_full"];
    let profiles: Vec<Pprof> = folder::profiles(out).iter().map(|file| Pprof::read(file)).collect();
    let sum = |name: &'static str| {
        let of = |profile: &Pprof| count_in_comments(&profile.comments(), name).unwrap_or(0);
        (name, profiles.iter().map(of).sum())
    };
    names.into_iter().map(sum).collect()
}

/// A browser without a window, which runs a script and lays out a page over and over. Its profile is a fresh one, and it
/// asks nobody for anything.
fn browser(session: &Session) -> Command {
    let page = "<!doctype html><title>busy</title><div id=list></div><script>
        function fill() {
            const rows = Array.from({ length: 400 }, (_, i) => `<p style='width:${i % 90}%'>${Math.sqrt(i)}</p>`);
            list.innerHTML = rows.sort().join('');
            return list.offsetHeight;
        }
        setInterval(() => { for (let i = 0; i < 5; i++) fill(); }, 10);
        </script>";
    let file = session.path("busy.html");
    let written = std::fs::write(&file, page);
    assert!(written.is_ok(), "cannot write {}: {written:?}", file.display());
    let mut command = Command::new(tools::require("chromium", "chromium"));
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.arg(format!("--user-data-dir={}", session.path("browser").display()));
    // It ends by itself once a page is loaded, unless somebody may debug it.
    command.arg("--remote-debugging-port=0");
    command.arg(format!("file://{}", file.display()));
    command
}

/// Programs with much code, much debug information, or both.
fn large_programs(session: &Session) -> Vec<Busy> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/headers.cpp");
    let clang = tools::clang();
    let compile = format!(
        "while :; do '{}' -std=c++17 -O1 -g -c '{source}' -o '{}'; done",
        clang.display(),
        session.path("headers.o").display()
    );
    let node = "for (;;) JSON.parse(JSON.stringify(Array.from({ length: 3000 }, (_, i) => [i, `${i}`])))";
    let python = "import json\nwhile True: json.loads(json.dumps({str(i): [i] for i in range(999)}))";
    vec![
        Busy::start(&mut browser(session)),
        Busy::start(Command::new("sh").args(["-c", &compile])),
        Busy::start(Command::new(tools::require("node", "nodejs")).args(["-e", node])),
        Busy::start(Command::new(tools::python()).args(["-c", python])),
    ]
}

fn check_budget(memory: u64, least_complete: f64) {
    let session = Session::begin();
    let _programs = large_programs(&session);
    let targets: Vec<Target> =
        [Program::Pie, Program::Rust, Program::Cpp].map(|p| Target::start(&p.build(), &["burn"])).into();
    let budget = format!("{}MiB", memory / MIB);
    let args = ["agent", "-o", "out", "--window", "3s", "-F", "99", "--memory", &budget];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    std::thread::sleep(Duration::from_secs(16));
    let most = most_memory(agent.pid());
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    drop(targets);

    let out = session.path("out");
    for program in ["clang", "chromium", "node", "python3"] {
        let of = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(program) { Pprof::read(file).samples(|_| true) } else { 0 }
        };
        let samples: i64 = folder::profiles(&out).iter().map(of).sum();
        assert!(samples > 20, "{program} has {samples} samples: the host was not what it was meant to be");
    }
    let found = outcomes(&out);
    let complete = found["complete"] as f64 / (found["complete"] + found["truncated"]).max(1) as f64;
    // Shown with --nocapture.
    eprintln!("{} KiB of {budget}, {complete:.4} complete: {found:?}", most >> 10);
    assert!(found["complete"] > 1000, "{found:?}");
    assert!(most * 100 <= memory * 105, "{} KiB of {budget}", most >> 10);
    assert!(complete >= least_complete, "{complete:.3} of the stacks are complete: {found:?}");
}

#[test]
fn the_smallest_budget_with_large_programs() {
    check_budget(48 * MIB, 0.9);
}

#[test]
fn the_budget_that_is_used_where_nothing_is_said() {
    check_budget(128 * MIB, 0.99);
}

#[test]
fn a_window_without_room_for_its_stacks_ends_early() {
    let session = Session::begin();
    let targets = [(); 2].map(|()| Target::start(&Program::Pie.build(), &["distinct"]));
    let args = ["-v", "agent", "-o", "out", "--window", "1h", "-F", "999", "--memory", "48MiB"];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    std::thread::sleep(Duration::from_secs(12));
    agent.signal(libc::SIGTERM);
    let run = agent.finish();
    run.assert_success();
    drop(targets);

    let out = session.path("out");
    let files = folder::profiles(&out);
    let windows: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    run.check(windows.len() > 1, "there are several windows");
    run.check(run.stderr.contains("ends early"), "the log says why");
    let found = outcomes(&out);
    for lost in ["lost", "stack_table_full", "count_table_full"] {
        assert_eq!(found[lost], 0, "{found:?}\n{run}");
    }
    assert!(found["complete"] > 5000, "{found:?}");
}

#[test]
fn the_parts_of_the_memory_in_use_are_shown_and_add_up() {
    let session = Session::begin();
    let _target = Target::start(&Program::Pie.build(), &["burn"]);
    let args = ["record", "-d", "3s", "--json", "-o", "out.pb.gz"];
    let run = Profiler::new(session.folder(), args).run();
    run.assert_success();
    let shown: serde_json::Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let memory = shown["memory"].as_object().unwrap_or_else(|| panic!("no memory by part\n{run}"));
    let bytes = |part: &str| memory[part].as_u64().unwrap_or_else(|| panic!("no {part}: {memory:?}"));
    let parts: u64 = memory.keys().filter(|part| *part != "total").map(|part| bytes(part)).sum();
    assert_eq!(parts, bytes("total"), "{memory:?}");
    for part in ["names", "kernel_names", "other_heap", "program", "tables", "stacks", "counts", "messages"] {
        assert!(bytes(part) > 0, "{part} takes nothing: {memory:?}");
    }

    // The kernel's account of an agent, beside what it says of itself at the end of a window.
    let args = ["-v", "agent", "-o", "out", "--window", "2s"];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    std::thread::sleep(Duration::from_secs(7));
    let measured = most_memory(agent.pid());
    agent.signal(libc::SIGTERM);
    let run = agent.finish();
    run.assert_success();
    let totals = run.stderr.lines().filter_map(|line| {
        let (parts, total) = line.split_once("memory in use: ")?.1.rsplit_once(" total=")?;
        run.check(parts.contains("names=") && parts.contains("tables="), "the parts are in the line");
        let files = parts.split(' ').find_map(|part| part.strip_prefix("files="))?.parse::<u64>().ok()?;
        // What is mapped of files counts whole, and need not be in memory whole.
        Some(total.trim_end_matches(" KiB").parse::<u64>().ok()? - files)
    });
    // The last window was named after it was measured, and may have been the first one with something in it that takes much.
    let mut totals: Vec<u64> = totals.collect();
    totals.pop();
    let most =
        1024 * totals.into_iter().max().unwrap_or_else(|| panic!("no line tells the memory in use\n{run}"));
    // What a window takes for a moment is over at its end.
    run.check(most <= measured * 11 / 10 && most >= measured / 2, &format!("{most} of {measured} bytes"));
}
