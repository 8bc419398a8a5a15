//! The reports of real recordings against those of `go tool pprof`, number by number.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy knows tests by their attribute, not their helpers"
)]

#[path = "../../profiler-user/tests/pprof_agreement/commands.rs"]
mod commands;

use profiler_tests::profiler::binary;
use profiler_tests::{Profiler, Program, Session, Target};

/// Records the host with a Go and a Python program and a few commands, and compares every report.
#[test]
fn of_a_recorded_host() {
    let session = Session::begin();
    let _chain = Target::start(&Program::Debug.build(), &["syscall"]);
    let script = "import json\nwhile True: json.loads(json.dumps([{'a': i} for i in range(999)]))";
    let commands =
        format!("timeout 4 python3 -c \"{script}\" & tar cf - /usr/include | gzip -c | wc -c; wait");
    let host = session.path("host.pb.gz");
    let mut recording =
        Profiler::new(session.folder(), ["record", "-d", "5s", "-F", "499", "-o", "host.pb.gz"]).start();
    recording.wait_until_sampling();
    let busy = std::process::Command::new("sh").args(["-c", &commands]).output();
    assert!(busy.is_ok_and(|busy| busy.status.success()), "the commands that keep the host busy");
    recording.finish().assert_success();
    for report in ["top", "tree", "peek", "list", "traces", "tags", "raw"] {
        for request in commands::requests(report, "chain_1|leaf|Eval|vfs_read") {
            commands::compare(binary(), std::slice::from_ref(&host), &request);
        }
    }
    commands::compare_graphs(binary(), std::slice::from_ref(&host));
    // Go's pprof finds nothing in programs written in C by a pattern that begins with `^`.
    commands::compare_instructions(binary(), &host, "leaf_heavy|leaf_light|chain_1");
}

/// Records to a folder with a file for each process, and compares the reports of the busiest ones.
#[test]
fn of_programs_in_several_languages() {
    let session = Session::begin();
    let programs = [Program::Cpp, Program::Rust, Program::Jit, Program::Static];
    let targets = programs.map(|program| Target::start(&program.build(), &["burn"]));
    let script = "import json\nwhile True: json.loads(json.dumps([{'a': i} for i in range(999)]))";
    let python =
        profiler_tests::busy::Busy::start(std::process::Command::new("python3").args(["-c", script]));
    let node = "for (;;) JSON.parse(JSON.stringify([...Array(999).keys()]))";
    let node = profiler_tests::busy::Busy::start(std::process::Command::new("node").args(["-e", node]));
    Profiler::new(session.folder(), ["record", "-d", "6s", "-F", "499", "-o", "all/"]).run().assert_success();
    // The comparisons want the CPUs.
    drop((targets, python, node));
    let mut files = profiler_tests::folder::files(&session.path("all"));
    let size = |path: &std::path::PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
    files.sort_by_key(|path| std::cmp::Reverse(size(path)));
    assert!(files.len() >= 6, "{files:?}");
    for file in &files[..6] {
        for report in ["top", "tree", "peek", "list", "traces"] {
            for request in commands::dozen(report, "chain_1|leaf|Eval|vfs_read") {
                commands::compare(binary(), std::slice::from_ref(file), &request);
            }
        }
    }
}
