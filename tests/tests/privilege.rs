//! What is left to the agent once it runs, thread by thread, and to its processes.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use profiler_tests::chain::Chain;
use profiler_tests::receiver::Receiver;
use profiler_tests::server::{free_port, get};
use profiler_tests::uploads::wait_until;
use profiler_tests::{Pprof, Profiler, Program, Session, Target, family, folder, profiler};

/// Nobody.
const UID: u32 = 65534;
/// Those that docs/privilege.md names, and no other.
const CAPABILITIES: &str = "bpf,+perfmon,+sys_ptrace,+dac_read_search,+syslog,+checkpoint_restore";

/// Bits by `include/uapi/linux/capability.h`.
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_NICE: u64 = 1 << 23;
const SYSLOG: u64 = 1 << 34;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;
const CHECKPOINT_RESTORE: u64 = 1 << 40;
const ALL: u64 = DAC_READ_SEARCH | SYS_PTRACE | SYSLOG | PERFMON | BPF | CHECKPOINT_RESTORE;

/// What docs/privilege.md says of each thread.
fn documented(thread: &str) -> u64 {
    match thread {
        "profiler" => SYS_PTRACE | DAC_READ_SEARCH | CHECKPOINT_RESTORE,
        "opener" => SYS_PTRACE | DAC_READ_SEARCH | CHECKPOINT_RESTORE | SYSLOG,
        "loader" | "capture" => BPF | PERFMON | SYSLOG,
        "tables" => 0,
        _ => DAC_READ_SEARCH,
    }
}

/// Whether the kernel may be one of Debian's, that want `CAP_SYS_ADMIN` of who opens events: docs/privilege.md.
fn may_want_admin() -> bool {
    let value = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    value.trim().parse::<i32>().unwrap() > 2
}

/// The status of each thread, by name.
fn threads_of(pid: u32) -> Vec<(String, BTreeMap<String, String>)> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let status: BTreeMap<_, _> =
            lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect();
        if let Some(name) = status.get("Name") {
            threads.push((name.clone(), status));
        }
    }
    threads
}

fn mask(status: &BTreeMap<String, String>, key: &str) -> u64 {
    u64::from_str_radix(&status[key], 16).unwrap()
}

/// Holds each thread of an agent against what is documented; `more` beside it, and `bounds` in its bounding set.
fn assert_documented(pid: u32, more: u64, bounds: u64) {
    let threads = threads_of(pid);
    for wanted in ["profiler", "opener", "loader", "worker", "capture", "tables", "naming", "http", "upload"]
    {
        assert!(threads.iter().any(|(name, _)| name == wanted), "{wanted} in {threads:?}");
    }
    for (name, status) in &threads {
        let mut kept = documented(name) | more;
        if may_want_admin() && kept & PERFMON != 0 {
            kept |= mask(status, "CapPrm") & SYS_ADMIN;
        }
        assert_eq!(mask(status, "CapPrm"), kept, "{name}: {status:?}");
        assert_eq!(mask(status, "CapEff"), kept, "{name}: {status:?}");
        assert_eq!(mask(status, "CapInh"), 0, "{name}: {status:?}");
        assert_eq!(mask(status, "CapAmb"), 0, "{name}: {status:?}");
        assert_eq!(mask(status, "CapBnd"), bounds, "{name}: {status:?}");
        assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("1", "2"), "{name}: {status:?}");
    }
    for (name, filtered) in [("keeper", "0"), ("reader", "2")] {
        let child = family::child_named(pid, name);
        assert!(child.is_some(), "there is no {name}");
        let threads = threads_of(child.unwrap_or_default());
        assert_eq!(threads.len(), 1, "{threads:?}");
        let status = &threads[0].1;
        for key in ["CapPrm", "CapEff"] {
            assert_eq!(mask(status, key), DAC_READ_SEARCH | more, "{name}: {status:?}");
        }
        assert_eq!((mask(status, "CapInh"), mask(status, "CapAmb")), (0, 0), "{name}: {status:?}");
        assert_eq!(mask(status, "CapBnd"), bounds, "{name}: {status:?}");
        assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("1", filtered), "{name}: {status:?}");
    }
}

/// Whether the kernel that the tests run on has Landlock.
fn has_landlock() -> bool {
    profiler_user::sys::landlock::abi().is_some()
}

#[test]
fn six_capabilities_are_enough_and_no_thread_keeps_them_all() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let binary = session.path("profiler");
    fs::copy(profiler::binary(), &binary).unwrap();
    for folder in [session.folder().to_owned(), session.path("out"), session.path("cache")] {
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&folder, Some(UID), Some(UID)).unwrap();
    }
    let receiver = Receiver::start(0, &[]);
    let (port, uid) = (free_port(), UID.to_string());
    let seventh = if may_want_admin() { ",+sys_admin" } else { "" };
    let kept = format!("+{CAPABILITIES}{seventh}");
    let bounds = format!("-all,{kept}");
    // As the unit says, where it may be raised: kernels before 5.11 count maps.
    let limited = ["sh", "-c", "ulimit -l unlimited 2> /dev/null; exec \"$@\"", "sh"];
    let wrapper = [
        &limited[..],
        &["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "--no-new-privs"][..],
        &["--inh-caps", &kept, "--ambient-caps", &kept, "--bounding-set", &bounds],
    ]
    .concat();
    let (http, upload) = (
        format!("127.0.0.1:{port}"),
        format!("kind = \"pyroscope\", url = \"http://127.0.0.1:{}\"", receiver.port()),
    );
    let args = ["-v", "agent", "-o", "out", "--unwind-cache", "cache", "--window", "2s", "-F", "99"];
    // What is less than an interval is written at the very end.
    let late = format!("{upload}, name = \"late\", interval = \"1h\"");
    let more = ["--http", &http, "--upload", &upload, "--upload", &late];
    let mut words: Vec<&str> = wrapper;
    let binary = binary.to_str().unwrap().to_owned();
    words.push(&binary);
    let (first, rest) = words.split_first().unwrap();
    let arguments: Vec<&str> = rest.iter().copied().chain(args).chain(more).collect();
    let mut agent = Profiler::of(Path::new(first), session.folder(), arguments).start();
    agent.wait_until_sampling();
    let written = || folder::profiles_of(&session.path("out"), target.pid());
    wait_until("three windows", || written().len() >= 3);
    wait_until("an upload", || receiver.requests() > 0);
    assert_documented(agent.pid(), 0, if may_want_admin() { ALL | SYS_ADMIN } else { ALL });
    let metrics = get(port, "/metrics").text();
    for part in ["seccomp", "no_new_privileges"] {
        assert!(metrics.contains(&format!("profiler_confinement{{part=\"{part}\"}} 1\n")), "{metrics}");
    }
    let landlock = format!("profiler_confinement{{part=\"landlock\"}} {}\n", u8::from(has_landlock()));
    assert!(metrics.contains(&landlock), "{metrics}");
    agent.signal(libc::SIGTERM);
    let done = agent.finish();
    done.assert_success();
    let told = done.stderr.lines().filter(|line| line.contains("confined: seccomp")).count();
    done.check(told == 1, "the log says in one line what is in force");
    for refused in ["Operation not permitted", "Permission denied"] {
        done.check(!done.stderr.contains(refused), "nothing that it does is refused");
    }
    // Without urgency the first stacks may come before their tables, on a host that is busy with other tests.
    for file in written().into_iter().skip(1) {
        Chain::of(Program::Pie).assert_whole("without root", &Pprof::read(&file).of_pid(target.pid()));
    }
}

#[test]
fn root_has_no_more_left_than_others() {
    let session = Session::begin();
    let receiver = Receiver::start(0, &[]);
    let upload = format!("kind = \"pyroscope\", url = \"http://127.0.0.1:{}\"", receiver.port());
    let args = ["agent", "-o", "out", "--window", "2s", "--http", "127.0.0.1:0", "--upload", &upload];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    // Where the limit on nice values cannot be raised, for want of CAP_SYS_RESOURCE, the capability stays.
    let may_raise = mask(&threads_of(std::process::id())[0].1, "CapEff") & 1 << 24 != 0;
    assert_documented(agent.pid(), if may_raise { 0 } else { SYS_NICE }, 0);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
}

#[test]
fn what_is_switched_off_is_off() {
    let session = Session::begin();
    let args = ["-v", "agent", "-o", "out", "--window", "2s", "--no-confinement"];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    let own = mask(&threads_of(std::process::id())[0].1, "CapPrm");
    for (name, status) in threads_of(agent.pid()) {
        assert_eq!(mask(&status, "CapPrm"), own, "{name}: {status:?}");
        assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("0", "0"), "{name}: {status:?}");
    }
    agent.signal(libc::SIGTERM);
    let done = agent.finish();
    done.assert_success().check(done.stderr.contains("not confined"), "it says so");
}

#[test]
fn a_recorded_command_keeps_what_the_user_has() {
    let session = Session::begin();
    let script = "sleep 0.2; cat /proc/self/status > status; chmod 600 status";
    let args = ["record", "-o", "x.pb.gz", "--", "sh", "-c", script];
    Profiler::new(session.folder(), args).run().assert_success();
    let of = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.trim_start_matches(':').trim().to_owned()
    };
    let (own, command) = (
        fs::read_to_string("/proc/self/status").unwrap(),
        fs::read_to_string(session.path("status")).unwrap(),
    );
    for key in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Uid"] {
        assert_eq!(of(&command, key), of(&own, key), "{key}");
        assert!(!of(&own, key).is_empty(), "{key}");
    }
}

#[test]
fn a_recording_is_written_where_the_user_says() {
    let session = Session::begin();
    // Root may write to other users' folders.
    for name in ["theirs", "also"] {
        fs::create_dir(session.path(name)).unwrap();
        std::os::unix::fs::chown(session.path(name), Some(UID), Some(UID)).unwrap();
        fs::set_permissions(session.path(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    Profiler::new(session.folder(), ["record", "-d", "1s", "-o", "theirs/x.pb.gz"]).run().assert_success();
    Pprof::read(&session.path("theirs/x.pb.gz"));
    Profiler::new(session.folder(), ["record", "-d", "1s", "-o", "theirs/x/"]).run().assert_success();
    let mut agent = Profiler::new(session.folder(), ["agent", "-o", "also/out", "--window", "1s"]).start();
    agent.wait_until_sampling();
    wait_until("a window", || {
        session.path("also/out").exists() && !folder::profiles(&session.path("also/out")).is_empty()
    });
    agent.signal(libc::SIGTERM);
    let done = agent.finish();
    done.assert_success().check(done.stderr.is_empty(), "nothing is wrong");
}

#[test]
fn settings_that_want_more_than_was_kept_are_refused() {
    let session = Session::begin();
    let file = session.path("profiler.toml");
    let write = |output: &str, frequency: u32| {
        let text = format!("output = \"{output}\"\nwindow = \"1s\"\nfrequency = {frequency}\n");
        fs::write(session.path("new"), text).unwrap();
        fs::rename(session.path("new"), &file).unwrap();
    };
    write("out", 99);
    let mut agent = Profiler::new(session.folder(), ["agent", "--config", "profiler.toml"]).start();
    agent.wait_until_sampling();
    let written = |folder: &str| {
        let folder = session.path(folder);
        folder.exists() && !folder::profiles(&folder).is_empty()
    };
    wait_until("a window", || written("out"));
    // Within what was kept.
    write("out/deeper", 49);
    agent.signal(libc::SIGHUP);
    wait_until("a window in a new folder", || written("out/deeper"));
    write("elsewhere", 49);
    agent.signal(libc::SIGHUP);
    if has_landlock() {
        std::thread::sleep(Duration::from_secs(3));
        assert!(!session.path("elsewhere").exists());
    } else {
        wait_until("a window elsewhere", || written("elsewhere"));
    }
    agent.signal(libc::SIGTERM);
    let done = agent.finish();
    done.assert_success();
    let sentence = "elsewhere is outside of the folders that the agent may write to since it has started; restart the agent";
    done.check(done.stderr.contains(sentence) == has_landlock(), "it says what to do");
}

#[test]
fn the_agent_runs_no_programs() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let port = free_port();
    let http = format!("127.0.0.1:{port}");
    let mut agent = Profiler::new(
        session.folder(),
        ["agent", "-o", "out", "--window", "1s", "-F", "99", "--http", &http],
    )
    .start();
    agent.wait_until_sampling();
    wait_until("a window", || {
        session.path("out").exists() && !folder::profiles(&session.path("out")).is_empty()
    });
    let answer = get(port, "/api/graph");
    assert!(answer.status == 200 && answer.text().contains("profiler view FOLDER"), "{}", answer.text());
    assert!(answer.text().contains("digraph"), "what would be drawn is there");
    drop(target);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
}

#[test]
fn readers_drop_what_they_do_not_need() {
    let session = Session::begin();
    Profiler::new(session.folder(), ["record", "-d", "1s", "-o", "x.pb.gz"]).run().assert_success();
    // A reader that waits: its input is a pipe that nobody writes to.
    let pipe = session.path("pipe");
    let name = CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: the name ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let reader = Profiler::new(session.folder(), ["top", "pipe"]).start();
    // DAC_OVERRIDE, DAC_READ_SEARCH, NET_BIND_SERVICE.
    wait_until("fewer capabilities", || {
        threads_of(reader.pid()).first().is_some_and(|(_, status)| mask(status, "CapPrm") == 0b100_0000_0110)
    });
    let bytes = fs::read(session.path("x.pb.gz")).unwrap();
    fs::write(&pipe, bytes).unwrap();
    reader.finish().assert_success();
}
