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
    for report in ["top", "tree", "peek", "list", "traces", "raw"] {
        for request in commands::requests(report, "chain_1|leaf|Eval|vfs_read") {
            commands::compare(binary(), std::slice::from_ref(&host), &request);
        }
    }
    commands::compare_graphs(binary(), &[host]);
}
