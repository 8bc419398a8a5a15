//! What bad input and missing privilege get: one sentence and exit code 2.

use profiler_tests::{Profiler, Session};

/// Runs the profiler, which has to refuse and to mention each of `words`.
fn refused(args: &[&str], words: &[&str]) {
    let session = Session::begin();
    Profiler::new(session.folder(), args).run().assert_refused(words);
    let written = profiler_tests::folder::files(session.folder());
    assert!(written.is_empty(), "{args:?} wrote {written:?}");
}

#[test]
fn a_pid_that_does_not_exist() {
    // Above the kernel's largest pid, 2^22.
    refused(&["record", "-d", "1s", "-p", "4194305"], &["4194305"]);
}

#[test]
fn a_pid_that_is_none() {
    refused(&["record", "-d", "1s", "-p", "nginx"], &["nginx"]);
    refused(&["record", "-d", "1s", "-p", "-1"], &["-1"]);
}

#[test]
fn an_output_that_cannot_be_written() {
    refused(&["record", "-d", "1s", "-o", "no-such-folder/x.pb.gz"], &["no-such-folder"]);
    refused(&["record", "-d", "1s", "-o", "/proc/x.pb.gz"], &["/proc/x.pb.gz"]);
    refused(&["agent", "--window", "2s", "-o", "/proc/x"], &["/proc/x"]);
}

#[test]
fn a_frequency_out_of_range() {
    for hertz in ["0", "1000", "abc", "-5", ""] {
        refused(&["record", "-d", "1s", "-F", hertz], &["frequency"]);
        refused(&["agent", "-o", "out", "-F", hertz], &["frequency"]);
    }
}

#[test]
fn bad_arguments() {
    refused(&["record", "--no-such-option"], &["--no-such-option"]);
    refused(&["no-such-command"], &["no-such-command"]);
    refused(&["record", "-d", "soon"], &["soon"]);
    refused(&["record", "-d", "0s"], &["-d"]);
    refused(&["agent", "-o", "out", "--window", "0s"], &["--window"]);
    refused(&["record", "stray"], &["stray"]);
}

#[test]
fn not_root() {
    let session = Session::begin();
    let nobody = 65534;
    // Where the test's binary lies may be closed to others, and the folder has to be open to them.
    let copy = tempfile_for_all(&session);
    for args in [["record", "-d", "1s"], ["agent", "-o", "out"]] {
        let run = Profiler::of(&copy, session.folder(), args).uid(nobody).run();
        run.assert_refused(&["root"]);
    }
}

/// A copy of the binary that every user can run, in a folder that every user can enter and write.
fn tempfile_for_all(session: &Session) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let copy = session.path("profiler");
    let open = std::fs::Permissions::from_mode(0o777);
    let done = std::fs::copy(profiler_tests::profiler::binary(), &copy)
        .and_then(|_| std::fs::set_permissions(&copy, open.clone()))
        .and_then(|()| std::fs::set_permissions(session.folder(), open));
    assert!(done.is_ok(), "cannot copy the binary: {done:?}");
    copy
}

#[test]
fn missing_capabilities() {
    let session = Session::begin();
    for (dropped, named) in [
        ("-bpf,-sys_admin", "CAP_BPF"),
        ("-perfmon,-sys_admin", "CAP_PERFMON"),
        ("-bpf,-perfmon,-sys_admin", "CAP_"),
    ] {
        // The user stays root: an exec gives root all that the bounding set leaves.
        let wrapper = ["setpriv", "--bounding-set", dropped, "--inh-caps", dropped, "--"];
        Profiler::wrapped(session.folder(), &wrapper, ["record", "-d", "1s"]).run().assert_refused(&[named]);
    }
}

#[test]
fn doctor_finds_this_host_fit() {
    let session = Session::begin();
    let run = Profiler::new(session.folder(), ["doctor"]).run();
    run.assert_success().check(!run.stdout.is_empty(), "it shows what it found");
    let run = Profiler::new(session.folder(), ["doctor", "--json"]).run();
    run.assert_success();
    let parsed = serde_json::from_str::<serde_json::Value>(&run.stdout);
    run.check(parsed.is_ok_and(|json| json.is_object() || json.is_array()), "--json prints JSON");
}

#[test]
fn doctor_says_what_a_user_without_privilege_lacks() {
    let session = Session::begin();
    let copy = tempfile_for_all(&session);
    let run = Profiler::of(&copy, session.folder(), ["doctor"]).uid(65534).run();
    run.check(run.status.code() != Some(0), "it is not fit to profile");
    run.check(!run.stdout.is_empty() && !run.stderr.contains("panicked"), "it shows the list all the same");
}
